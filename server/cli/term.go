package cli

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tollgate/server/api"
)

// progress shows how far long work has come, on a terminal, at most ten times
// a second. The function it returns is called with what is done of the total
// (0: not known yet); end takes the line away.
func (a *app) progress(what string) (step func(done, total int64), end func()) {
	if !a.StderrTerminal {
		return func(int64, int64) {}, func() {}
	}
	var shown time.Time
	step = func(done, total int64) {
		now := a.Now()
		if !shown.IsZero() && now.Sub(shown) < 100*time.Millisecond {
			return
		}
		shown = now
		if total > 0 {
			percent := 100 * float64(min(done, total)) / float64(total)
			fmt.Fprintf(a.Stderr, "\r\x1b[K%s: %.0f%% (%s of %s)", what, percent, api.Count(done), api.Count(total))
		} else {
			fmt.Fprintf(a.Stderr, "\r\x1b[K%s: %s", what, api.Count(done))
		}
	}
	return step, func() {
		if !shown.IsZero() {
			fmt.Fprint(a.Stderr, "\r\x1b[K")
		}
	}
}

// mayAsk refuses what cannot be undone where no person can be asked.
func (a *app) mayAsk(cmd *cobra.Command) error {
	if a.StdinTerminal {
		return nil
	}
	return hint("add --yes when that is what you want",
		usage(cmd, "%s cannot be undone, and there is no terminal to ask on", cmd.CommandPath()))
}

// confirm asks a person to type word.
func (a *app) confirm(consequence, word string) error {
	fmt.Fprintf(a.Stderr, "%s\nType %s to go on: ", consequence, api.Clean(word))
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("reading the confirmation: %w", err)
	}
	if typed := strings.TrimSpace(line); typed != word {
		return hint("nothing was changed", fmt.Errorf("%q is not %s", api.Clean(typed), word))
	}
	return nil
}
