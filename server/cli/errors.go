package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tollgate/server/config"
)

// usageError is a command line that was written wrongly: exit code 2.
type usageError struct {
	command string
	text    string
}

func (e *usageError) Error() string { return e.text }

// usage reports a wrong use of cmd.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Sprintf(format, args...)}
}

// hintedError carries what to do next.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// hint adds what to do next to an error; the outermost hint is shown.
func hint(next string, err error) error {
	if err == nil {
		return nil
	}
	return &hintedError{err, next}
}

// report writes what went wrong, if anything did, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return ExitDone
	}
	code, next := ExitFailed, ""
	if wrong := (*usageError)(nil); errors.As(err, &wrong) {
		code, next = ExitUsage, fmt.Sprintf("%q explains it", wrong.command+" --help")
	}
	if hinted := (*hintedError)(nil); errors.As(err, &hinted) {
		next = hinted.hint
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "tollgate: interrupted before it was done")
		return ExitFailed
	}
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		fmt.Fprintf(w, "tollgate: the configuration is refused, for %d %s:\n%v\n", len(wrong.Problems), plural(len(wrong.Problems), "reason"), wrong)
	} else {
		fmt.Fprintf(w, "tollgate: %v\n", err)
	}
	if next != "" {
		fmt.Fprintf(w, "hint: %s\n", next)
	}
	return code
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
