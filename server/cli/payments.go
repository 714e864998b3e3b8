package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) creditsRefund() *cobra.Command {
	var ask api.RefundPayment
	cmd := &cobra.Command{
		Use:   "refund USER PAYMENT [AMOUNT] --reason R",
		Short: "Give back money of a purchase, with its credits",
		Long: `Gives a purchase, a recharge or a realtime charge back to the customer, or
AMOUNT of it in units of the currency. What is left of its credits goes with the
money; what was burnt of them is owed, and keeps the user from calling.
PAYMENT is an id or a receipt's number of "tollgate credits show".`,
		Example: `  tollgate credits refund ann@example.com R-000012 --reason "bought twice"
  tollgate credits refund ann@example.com R-000012 25 --reason "slow for a day"`,
		Args: between(2, "USER", "PAYMENT", "AMOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				amount, err := ledger.ParseAmount(args[2])
				if err != nil {
					return usage(cmd, "AMOUNT: %v", err)
				}
				if amount <= 0 {
					return usage(cmd, "AMOUNT is more than 0")
				}
				ask.Amount = &amount
			}
			if ask.Reason == "" {
				return usage(cmd, "--reason is missing")
			}
			return a.asking(func(c *api.Client) error {
				p, err := c.RefundPayment(cmd.Context(), args[0], args[1], ask)
				if err != nil {
					return err
				}
				return a.answer(p, func(w io.Writer) {
					fmt.Fprintf(w, "Of %s of %s %s are given back, and %s are owed.\n",
						p.Name(), priced(p.AmountCents, p.Currency), priced(p.RefundedCents, p.Currency), priced(p.OwedCents, p.Currency))
				})
			})
		},
	}
	cmd.Flags().StringVar(&ask.Reason, "reason", "", "why, as `TEXT` that is kept with it")
	return cmd
}

func (a *app) creditsSettle() *cobra.Command {
	var ask api.SettlePayment
	cmd := &cobra.Command{
		Use:   "settle USER PAYMENT --reference R",
		Short: "Note that what was owed of a payment was paid",
		Long: `Notes that what a user owes of a payment that went back, for credits that were
burnt or usage that was had, was paid in another way than through the payment
provider. PAYMENT is an id or a receipt's number of "tollgate credits show".`,
		Example: "  tollgate credits settle ann@example.com R-000012 --reference \"transfer 7\"",
		Args:    exactly("USER", "PAYMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ask.Reference == "" {
				return usage(cmd, "--reference is missing")
			}
			return a.asking(func(c *api.Client) error {
				p, err := c.SettlePayment(cmd.Context(), args[0], args[1], ask)
				if err != nil {
					return err
				}
				return a.answer(p, func(w io.Writer) {
					fmt.Fprintf(w, "Nothing more is owed of %s.\n", p.Name())
				})
			})
		},
	}
	cmd.Flags().StringVar(&ask.Reference, "reference", "", "how it was paid, as `TEXT` that you find it by")
	return cmd
}

// billPayments lists payments of all kinds.
func (a *app) billPayments() *cobra.Command {
	var q api.PaymentsQuery
	cmd := &cobra.Command{
		Use:   "payments",
		Short: "List payments that are no invoice's, newest first",
		Long: `Lists payments that are no invoice's, newest first: credit packs that were
bought (purchase) or bought automatically (recharge), and usage that was charged
while it was used (realtime).`,
		Example: `  tollgate bill payments --month 2025-01
  tollgate bill payments --user ann@example.com --json
  tollgate bill payments --state past_due`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkMonth(cmd, q.Month); err != nil {
				return err
			}
			if q.State != "" && !slices.Contains(api.PaymentStates(), q.State) {
				return usage(cmd, "--state is one of %s, not %q", strings.Join(api.PaymentStates(), ", "), q.State)
			}
			return a.asking(func(c *api.Client) error {
				if a.json {
					return a.array(func(add func(any) error) error {
						return c.EachPayment(cmd.Context(), q, func(p api.Payment) error { return add(p) })
					})
				}
				t := newTable("PAYMENT>", "RECEIPT", "USER>", "E-MAIL", "MONTH", "KIND", "AMOUNT>", "", "STATE", "WHY")
				none := true
				err := c.EachPayment(cmd.Context(), q, func(p api.Payment) error {
					none = false
					t.add(fmt.Sprint(p.ID), dash(text(p.Receipt)), userID(p.User), dash(p.Email), p.Month, string(p.Kind),
						inCurrency(p.AmountCents, p.Currency), strings.ToUpper(p.Currency), p.StateText(), dash(paymentReason(p)))
					return nil
				})
				if err != nil {
					return err
				}
				return a.answer(nil, func(w io.Writer) {
					if none {
						fmt.Fprintln(w, "There are no such payments.")
						return
					}
					t.print(w)
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.User, "user", "", "only of `USER`")
	f.StringVar(&q.Month, "month", "", "only of `MONTH`, such as 2025-01")
	f.StringVar(&q.State, "state", "", "only in `STATE`: pending, paid, past_due, failed or owed")
	return cmd
}

// paymentReason is why a payment was not collected, and when it is tried again.
func paymentReason(p api.Payment) string {
	why := p.Reason
	if p.UnderWay != "" {
		why = strings.TrimPrefix(why+"; ", "; ") + "the outcome of its " + p.UnderWay + " is not known yet"
	}
	if p.NextRetry != nil {
		why = strings.TrimPrefix(why+"; ", "; ") + "next try " + moment(*p.NextRetry) + " UTC"
	}
	return why
}

func printPurchases(w io.Writer, list []api.Purchase) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("PAYMENT>", "RECEIPT", "WHEN", "KIND", "PACK", "CREDITS>", strings.ToUpper(list[0].Currency)+">", "STATE")
	for _, p := range list {
		t.add(fmt.Sprint(p.ID), dash(text(p.Receipt)), moment(p.Time), string(p.Kind), p.Pack, api.Exact(p.Credits.String()),
			inCurrency(p.AmountCents, p.Currency), p.StateText())
	}
	t.print(w)
}

// printOwing is a user's payments that wait for money.
func printOwing(w io.Writer, list []api.Payment) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("NOT PAID>", "MONTH", "KIND", strings.ToUpper(list[0].Currency)+">", "STATE", "WHY")
	for _, p := range list {
		t.add(fmt.Sprint(p.ID), p.Month, string(p.Kind), inCurrency(p.AmountCents, p.Currency), p.StateText(), dash(paymentReason(p)))
	}
	t.print(w)
}

func printNotices(w io.Writer, list []api.Notice) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("NOTICE", "WHEN", "WHAT", "DELIVERED")
	for _, n := range list {
		t.add(n.Code, moment(n.Time), n.Text, delivered(n))
	}
	t.print(w)
}

// delivered tells by what a notice went out.
func delivered(n api.Notice) string {
	var ways []string
	for _, d := range n.Deliveries {
		switch {
		case d.Sent != nil:
			ways = append(ways, d.Channel+" "+moment(*d.Sent))
		case d.GivenUp:
			ways = append(ways, fmt.Sprintf("%s GIVEN UP after %d: %s", d.Channel, d.Attempts, d.Error))
		case d.Error != "":
			ways = append(ways, fmt.Sprintf("%s failed %d %s: %s", d.Channel, d.Attempts, plural(d.Attempts, "time"), d.Error))
		default:
			ways = append(ways, d.Channel+" not yet")
		}
	}
	if len(ways) == 0 && n.Done {
		return "to nobody: neither mail nor a webhook is configured for it"
	}
	return dash(strings.Join(ways, "; "))
}
