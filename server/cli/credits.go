package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) creditsCommand() *cobra.Command {
	return group("credits", "Give, show and take back prepaid credits", a.creditsGrant(), a.creditsShow(), a.creditsRefund(), a.creditsSettle())
}

func (a *app) creditsGrant() *cobra.Command {
	var expires, reason string
	var promotion bool
	cmd := &cobra.Command{
		Use:   "grant USER AMOUNT",
		Short: "Give a user credits",
		Long: `Gives a user credits, which calls on a prepaid plan burn: what expires first is
burnt first, and what was given before what was bought. On other plans they
wait, and expire.`,
		Example: `  tollgate credits grant ann@example.com 10000
  tollgate credits grant ann@example.com 500 --expires 2027-01-31 --promotion`,
		Args: exactly("USER", "AMOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			amount, err := ledger.ParseAmount(args[1])
			if err != nil || amount <= 0 {
				return usage(cmd, "AMOUNT: %q is not a number of credits above 0, with at most nine decimals", args[1])
			}
			ask := api.GrantCredits{Amount: api.Credits(amount), Reason: reason}
			if promotion {
				ask.Source = ledger.Promotion
			}
			if expires != "" {
				at, err := parseTime(expires)
				if err != nil {
					return usage(cmd, "--expires: %v", err)
				}
				ask.Expires = &at
			}
			return a.asking(func(c *api.Client) error {
				granted, err := c.GrantCredits(cmd.Context(), args[0], ask)
				if err != nil {
					return err
				}
				return a.answer(granted, func(w io.Writer) {
					fmt.Fprintf(w, "%s has %s credits more, and %s now.\n", api.Clean(args[0]), api.Exact(granted.Amount.String()), api.Exact(granted.Balance.String()))
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&expires, "expires", "", "not to be burnt from `TIME` or date on (default: never)")
	f.StringVar(&reason, "reason", "", "`WHY`, for the records")
	f.BoolVar(&promotion, "promotion", false, "a promotion, which is burnt before others that expire with it")
	return cmd
}

func (a *app) creditsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show USER",
		Short: "Show a user's credits",
		Long: `Shows what is left of a user's credits, of which grants, the newest 50 packs
that were bought, and the newest 50 entries of what was granted and what expired
or was taken back. What calls burnt is in their records.`,
		Example: "  tollgate credits show ann@example.com",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				credits, err := c.Credits(cmd.Context(), args[0], "", 50)
				if err != nil {
					return err
				}
				return a.answer(credits, func(w io.Writer) { printCredits(w, credits) })
			})
		},
	}
}

func printCredits(w io.Writer, c api.UserCredits) {
	expiring := ""
	if next := c.ExpiringNext; next != nil {
		expiring = api.Exact(next.Amount.String()) + " at " + moment(next.Expires) + " UTC"
	}
	uncovered := ""
	if c.Uncovered != 0 {
		uncovered = api.Exact(c.Uncovered.String())
	}
	facts(w, "balance", api.Exact(c.Balance.String()), "expiring next", expiring, "granted", api.Exact(c.Granted.String()),
		"burnt", api.Exact(c.Burnt.String()), "expired or taken back", api.Exact(c.Taken.String()), "uncovered", uncovered)
	if len(c.Grants) > 0 {
		fmt.Fprintln(w)
		t := newTable("GRANT>", "LEFT>", "SOURCE", "EXPIRES")
		for _, g := range c.Grants {
			t.add(fmt.Sprint(g.ID), api.Exact(g.Left.String()), string(g.Source), until(g.Expires))
		}
		t.print(w)
	}
	printPurchases(w, c.Purchases)
	if len(c.Entries) > 0 {
		fmt.Fprintln(w)
		t := newTable("WHEN", "WHAT", "GRANT>", "CREDITS>", "REASON")
		for _, e := range c.Entries {
			what := e.Kind
			if e.Source != "" {
				what = string(e.Source)
			}
			t.add(moment(e.Time), what, fmt.Sprint(e.Grant), api.Exact(e.Amount.String()), dash(e.Reason))
		}
		t.print(w)
	}
}

func until(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return moment(*t)
}
