package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/muesli/termenv"
	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/tui"
)

var errDumb = errors.New("this terminal (TERM) cannot show screens")

func (a *app) topCommand() *cobra.Command {
	var plain, write bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch traffic, users, records and billing live in the terminal",
		Long: `Shows the running server live: its traffic and health, the users and their
quotas, one user, the records as they are made, and billing. The key ? shows the
keys. Without --write nothing can be changed; with it each change is asked for
again. What is no terminal gets one report, as with --plain.`,
		Example: "  tollgate top\n  tollgate top --write\n  tollgate top --plain | less\n  tollgate top --json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if write && (plain || a.json) {
				return usage(cmd, "--write does not go with --plain or --json: a report changes nothing")
			}
			if plain && a.json {
				return usage(cmd, "--plain and --json do not go together")
			}
			return a.asking(func(c *api.Client) error {
				if a.json {
					look, err := tui.Look(cmd.Context(), tui.Of(c))
					if err != nil {
						return err
					}
					return a.answer(look, nil)
				}
				return a.top(cmd.Context(), c, plain || !a.StdoutTerminal, write)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&plain, "plain", false, "print one report and end, for pipes and screen readers")
	f.BoolVar(&write, "write", false, "allow to suspend users, change plans, revoke keys and so on")
	return cmd
}

// top shows the report or the screens. That nobody answers is said before the
// screen is taken.
func (a *app) top(ctx context.Context, c *api.Client, plain, write bool) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	o := tui.Options{Currency: status.Ledger.Currency, Write: write, Profile: termenv.ANSI, Colour: a.Getenv("NO_COLOR") == ""}
	if o.Digits, err = ledger.MinorDigits(o.Currency); err != nil {
		o.Digits = 2 // a currency that this program does not know yet
	}
	if plain {
		return tui.Plain(ctx, tui.Of(c), o, a.Stdout)
	}
	if term := a.Getenv("TERM"); term == "dumb" || term == "" {
		return hint("tollgate top --plain prints a report", errDumb)
	}
	var in io.Reader
	if a.Stdin != os.Stdin {
		in = a.Stdin
	}
	return tui.Run(ctx, tui.Of(c), o, in, a.Stdout)
}
