package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tollgate/server/api"
)

func (a *app) stripeCommand() *cobra.Command {
	return group("stripe", "Set up and check the payment provider", a.stripeSetup(), a.stripeCheck())
}

func (a *app) stripeSetup() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Make products and prices for the plans at Stripe",
		Long: `Makes a product and a monthly price at Stripe for each plan, where they are not
there yet. To run it again is safe: what is there stays. A fee that changed gets
a further price.`,
		Example: "  tollgate stripe setup",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.asking(func(c *api.Client) error {
				plans, err := c.SetUpStripe(cmd.Context())
				if err != nil {
					return err
				}
				return a.answer(plans, func(w io.Writer) {
					t := newTable("PLAN", "PRODUCT", "PRICE", "MADE NOW>")
					for _, p := range plans {
						t.add(p.Plan, p.Product, dash(text(p.Price)), api.Count(int64(len(p.Made))))
					}
					t.print(w)
				})
			})
		},
	}
}

func (a *app) stripeCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check key, clock, webhook and API version",
		Long: `Asks Stripe who the secret key belongs to and what time it is there, and looks
at the webhook endpoint that sends to this server. A problem makes it fail.`,
		Example: "  tollgate stripe check",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.asking(func(c *api.Client) error {
				report, err := c.CheckStripe(cmd.Context())
				if err != nil {
					return err
				}
				if err := a.answer(report, func(w io.Writer) { printStripe(w, report) }); err != nil || len(report.Problems) == 0 {
					return err
				}
				return fmt.Errorf("%s found %d %s", cmd.CommandPath(), len(report.Problems), plural(len(report.Problems), "problem"))
			})
		},
	}
}

func printStripe(w io.Writer, r api.StripeReport) {
	mode, key, webhook := "test", "secret", "none: events are polled for"
	if r.Live {
		mode = "live: real money"
	}
	if r.Restricted {
		key = "restricted"
	}
	if r.Webhook != nil {
		state := "enabled"
		if !r.Webhook.Enabled {
			state = "disabled"
		}
		webhook = strings.Join([]string{r.Webhook.ID, state, r.Webhook.URL}, ", ")
	}
	facts(w, "account", r.Account, "mode", mode, "key", key, "clock", "Stripe's is "+(time.Duration(r.ClockMS)*time.Millisecond).String()+" before ours",
		"API version", r.APIVersion, "webhook", webhook)
	for _, p := range r.Problems {
		fmt.Fprintln(w, "problem: "+api.Clean(p))
	}
}
