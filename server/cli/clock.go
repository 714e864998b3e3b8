package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tollgate/server/api"
)

func (a *app) clockCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the time the ledger goes by",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.clock(cmd.Context(), (*api.Client).Clock)
		},
	}
	advance := &cobra.Command{
		Use:   "advance DURATION",
		Short: "Move a test clock forward",
		Long: `Moves a test clock forward. Scheduled work runs, in order, as time passes it;
the command returns when it has. Only with [clock] mode = "test".`,
		Example: "  tollgate clock advance 36h\n  tollgate clock advance 30d",
		Args:    exactly("DURATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			by, err := parseDuration(args[0])
			if err != nil {
				return usage(cmd, "%v", err)
			}
			return a.clock(cmd.Context(), func(c *api.Client, ctx context.Context) (api.ClockState, error) {
				return c.AdvanceClock(ctx, by)
			})
		},
	}
	set := &cobra.Command{
		Use:   "set TIME",
		Short: "Set a test clock to a later time",
		Long: `Sets a test clock to a later time. Scheduled work runs, in order, as time
passes it; the command returns when it has. Only with [clock] mode = "test".`,
		Example: "  tollgate clock set 2025-02-01\n  tollgate clock set 2025-02-01T01:00:00Z",
		Args:    exactly("TIME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := parseTime(args[0])
			if err != nil {
				return usage(cmd, "%v", err)
			}
			return a.clock(cmd.Context(), func(c *api.Client, ctx context.Context) (api.ClockState, error) {
				return c.SetClock(ctx, to)
			})
		},
	}
	accept := &cobra.Command{
		Use:   "accept",
		Short: "Confirm that a clock in doubt is right",
		Long: `Confirms that the clock is right although it jumped, or is long past the last
entry of the ledger. Until then nothing is billed by it: a month that is billed
too early cannot be opened again. Look at the time first.`,
		Example: "  tollgate clock show\n  tollgate clock accept",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.clock(cmd.Context(), (*api.Client).AcceptClock)
		},
	}
	return group("clock", "Show or accept the clock, or move a test clock", show, accept, advance, set)
}

// clock asks for the clock, having moved it or not, and prints it.
func (a *app) clock(ctx context.Context, ask func(*api.Client, context.Context) (api.ClockState, error)) error {
	return a.asking(func(c *api.Client) error {
		state, err := ask(c, ctx)
		if err != nil {
			return err
		}
		return a.answer(state, func(w io.Writer) {
			fmt.Fprintf(w, "%s UTC (%s clock)\n", moment(state.Now), state.Mode)
			if state.Doubt != "" {
				fmt.Fprintf(w, "It is in doubt, and nothing is billed: %s. If it is right: tollgate clock accept\n", api.Clean(state.Doubt))
			}
		})
	})
}
