package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) billCommand() *cobra.Command {
	return group("bill", "Bill months that have ended, and see how billing stands", a.billRun(), a.billStatus(), a.billPayments())
}

func (a *app) billRun() *cobra.Command {
	var run api.BillRun
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Bill what is unbilled",
		Long: `Bills the months that have ended and are not billed yet, in order, and collects
what is due. The server does it by itself on the 1st; to run it again bills and
charges nothing twice. A month that has not ended is never billed; one whose
grace still runs is.`,
		Example: `  tollgate bill run --dry-run
  tollgate bill run --month 2025-01
  tollgate bill run --month 2025-01 --user ann@example.com --reissue`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkMonth(cmd, run.Month); err != nil {
				return err
			}
			return a.asking(func(c *api.Client) error {
				step, end := a.progress("billing")
				summary, err := c.RunBilling(cmd.Context(), run, step)
				end()
				if err != nil {
					return err
				}
				if a.json {
					return a.answer(summary, nil)
				}
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				return a.answer(summary, func(w io.Writer) { printSummary(w, summary, run.DryRun, status.Ledger.Currency) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&run.Month, "month", "", "up to `MONTH`, such as 2025-01 (default: all that have ended)")
	f.StringVar(&run.User, "user", "", "only `USER`")
	f.BoolVar(&run.DryRun, "dry-run", false, "tell what would be billed, and bill nothing")
	f.BoolVar(&run.Reissue, "reissue", false, "also replace void invoices, of MONTH if it is given")
	return cmd
}

func printSummary(w io.Writer, s api.BillSummary, dry bool, currency string) {
	if dry {
		fmt.Fprintln(w, "Nothing was billed. It would be:")
	}
	facts(w, "month", s.Month, "users", api.Count(int64(s.TotalUsers)), "charged", api.Count(int64(s.Charged)), "skipped", api.Count(int64(s.Skipped)),
		"failed", api.Count(int64(s.Failed)), "revenue", priced(s.TotalRevenueCents, currency))
	if len(s.Errors) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("USER>", "WHY IT FAILED")
	for _, f := range s.Errors {
		t.add(userID(f.User), f.Error)
	}
	t.print(w)
}

// priced is a sum in minor units with its currency: 1,234.50 USD.
func priced(cents int64, currency string) string {
	return inCurrency(cents, currency) + " " + strings.ToUpper(currency)
}

// inCurrency is a sum in minor units with as many decimals as the currency has.
func inCurrency(cents int64, currency string) string {
	digits, err := ledger.MinorDigits(currency)
	if err != nil {
		digits = 2 // a currency that this program does not know yet
	}
	return api.Minor(cents, digits)
}

func (a *app) billStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what is unbilled, unpaid and failing",
		Long: `Shows the months that are not billed yet, the invoices by state, this month's
payments for credits and for usage that is charged while it is used, what of
both could not be collected with the reason and the next try, and the books.`,
		Example: "  tollgate bill status",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.asking(func(c *api.Client) error {
				status, err := c.BillStatus(cmd.Context())
				if err != nil {
					return err
				}
				return a.answer(status, func(w io.Writer) { printBillStatus(w, status) })
			})
		},
	}
}

func printBillStatus(w io.Writer, s api.BillStatus) {
	collects := "by the payment provider"
	if !s.Provider {
		collects = "no payment provider is configured: invoices are issued, and nothing is collected"
	}
	unbilled := ""
	if len(s.Unbilled) == 0 {
		unbilled = "nothing"
	}
	facts(w, "next run", moment(s.NextRun)+" UTC", "payments", collects, "unbilled", unbilled)
	due := "DUE " + strings.ToUpper(s.Currency) + ">"
	if len(s.Unbilled) > 0 {
		t := newTable("UNBILLED", "USERS>")
		for _, m := range s.Unbilled {
			t.add(m.Month, api.Count(int64(m.Users)))
		}
		fmt.Fprintln(w)
		t.print(w)
	}
	if len(s.Invoices) > 0 {
		t := newTable("INVOICES", "COUNT>", due)
		for _, i := range s.Invoices {
			t.add(i.State, api.Count(int64(i.Count)), inCurrency(i.AmountDueCents, s.Currency))
		}
		fmt.Fprintln(w)
		t.print(w)
	}
	if len(s.Failures) > 0 {
		t := newTable("NOT COLLECTED", "USER>", "E-MAIL", "STATE", due, "WHY", "TRIES>", "NEXT TRY (UTC)")
		for _, f := range s.Failures {
			t.add(f.Number, userID(f.User), dash(f.Email), f.State, inCurrency(f.AmountDueCents, s.Currency), dash(f.Reason), api.Count(int64(f.Attempts)), dash(pointed(f.NextRetry, moment)))
		}
		fmt.Fprintln(w)
		t.print(w)
		if s.MoreFailures > 0 {
			fmt.Fprintf(w, "and %s older: tollgate invoice list --state past_due\n", api.Count(int64(s.MoreFailures)))
		}
	}
	if len(s.Payments) > 0 {
		t := newTable("PAYMENTS", "STATE", "COUNT>", strings.ToUpper(s.Currency)+">")
		for _, p := range s.Payments {
			t.add(string(p.Kind), p.State, api.Count(int64(p.Count)), inCurrency(p.AmountCents, s.Currency))
		}
		fmt.Fprintln(w)
		t.print(w)
	}
	if len(s.PaymentFailures) > 0 {
		t := newTable("PAYMENT>", "USER>", "E-MAIL", "KIND", strings.ToUpper(s.Currency)+">", "STATE", "WHY")
		for _, p := range s.PaymentFailures {
			t.add(fmt.Sprint(p.ID), userID(p.User), dash(p.Email), string(p.Kind), inCurrency(p.AmountCents, s.Currency), p.StateText(), dash(paymentReason(p)))
		}
		fmt.Fprintln(w)
		t.print(w)
		if s.MorePaymentFailures > 0 {
			fmt.Fprintf(w, "and %s older: tollgate bill payments --state past_due\n", api.Count(int64(s.MorePaymentFailures)))
		}
	}
	if u := s.Undelivered; u != nil {
		fmt.Fprintf(w, "\n%s %s given up: see why with: tollgate user show %s\n", api.Count(int64(u.Count)), plural(u.Count, "notice"), userID(u.User))
	}
	if len(s.Books) > 0 {
		t := newTable("BOOKS", strings.ToUpper(s.Currency)+">")
		for _, account := range slices.Sorted(maps.Keys(s.Books)) {
			t.add(account, inCurrency(s.Books[account], s.Currency))
		}
		fmt.Fprintln(w)
		t.print(w)
	}
}
