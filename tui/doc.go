// Package tui is the terminal UI of tollgate: what `tollgate top` shows.
//
// It shows five pages (overview, users, one user, records, billing) of a running
// server, live, over the operator API's client. [Run] is the program on a
// terminal, [New] its model, which tests drive, and [Plain] one linear report of
// the same numbers for pipes and screen readers.
//
// The types: a model holds the pages, a page is a component with its keys and the
// lines of its body, a stream follows one view of the server for the page that is
// shown, and a dialog stands before each act.
//
// What always holds:
//
//   - Update does no I/O. What asks the server is a command, which returns a
//     message; a command never touches the model.
//   - Only the page that is shown follows the server. Its stream hands over what
//     is new at most once a second, the newest value only, so memory does not
//     grow with the server's load; the records shown are bounded.
//   - A lost connection is said, and tried again with growing pauses; the old
//     numbers stay, with the time that they are of.
//   - Nothing is shown by colour alone, and nothing that comes from outside is
//     printed with its control characters.
//   - Nothing changes the server without --write, and nothing is done before what
//     it concerns was typed.
//
// A crash loses nothing: all state is the server's.
package tui
