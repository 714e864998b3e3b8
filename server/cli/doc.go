// Package cli is the command line of tollgate.
//
// [Run] is the process: its arguments, streams, environment and signals. [Main]
// is the same with all of them passed in, so that tests run commands in
// process. An [Env] carries what a command may touch besides files and the
// network; a command has no other way to a terminal or to the environment.
//
// Most commands are thin: they ask the running server over its unix socket
// through the client of package api and print what comes back. serve and demo
// are the server. verify FILE, restore and config check work on files and need
// no server.
//
// Manners, the same for all commands:
//
//   - The answer goes to standard output, everything else (prompts, progress,
//     errors, the log of serve) to standard error.
//   - With --json an answer is exactly one JSON value in the shape of the
//     operator API; export prints the format that --format names. An error
//     prints nothing on standard output, save of commands that find something
//     out: they print what they found, and fail when it is a problem.
//   - An error is one sentence and, where something can be done, a line that
//     starts with "hint:".
//   - The exit code is 0 for done, 1 for failed, 2 for a command that was
//     written wrongly and did nothing.
//   - Progress of long work shows on a terminal only.
//   - What cannot be undone (user close, user erase) asks for the user's e-mail
//     address to be typed on a terminal, and needs --yes elsewhere.
//
// Which socket: --socket, else TOLLGATE_SOCKET, else that of the configuration
// named with -c, else tollgate.sock in the working directory, which is where
// serve without a configuration puts it, beside the ledger.
//
// A crash in the middle of backup or restore leaves no file at the name that
// was asked for; both write beside it and rename when all is on disk. A crash
// of export leaves output that ends early: its exit code is not 0.
package cli
