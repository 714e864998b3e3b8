// Package quiet keeps bubbletea from asking the terminal for its background
// colour whenever the program starts.
//
// Bubbletea v1 does so in an init function (tea_init.go), so it does in every
// command of a program that it is part of: it prints an escape sequence, swallows
// what was typed ahead, and waits five seconds for an answer on a terminal that
// gives none. Its look at the terminal (github.com/muesli/termenv) is left out
// where the environment has CI, which is thus set until bubbletea has been
// initialized. The screens of tui never need the answer.
//
// That this package comes first is how Go orders initialization (The Go
// Programming Language Specification, "Program initialization"): by import path,
// each as soon as all that it imports is initialized. This package needs syscall
// alone, so it comes before "unicode", which bubbletea needs. It must import
// nothing else. A test of the program on a terminal that gives no answer guards it.
package quiet
