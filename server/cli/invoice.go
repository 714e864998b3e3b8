package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) invoiceCommand() *cobra.Command {
	return group("invoice", "List, explain and correct invoices",
		a.invoiceList(), a.invoiceShow(), a.invoiceExplain(),
		a.invoiceAct(api.RetryInvoice, "retry ID", "Try at once to collect an invoice",
			"Tries at once to collect an invoice that is not paid, also one that was given\nup.",
			"  tollgate invoice retry 2025-01-000042"),
		a.invoiceAct(api.VoidInvoice, "void ID", "Make an unpaid invoice worth nothing",
			`Makes an invoice that is not paid worth nothing. Its month counts as billed;
"tollgate bill run --reissue" makes another one in its place.`,
			"  tollgate invoice void 2025-01-000042 --reason \"wrong plan\""),
		a.invoiceAct(api.PayInvoice, "paid ID --reference R", "Note that an invoice was paid by other means",
			"Notes that an invoice was paid in another way than through the payment provider.",
			"  tollgate invoice paid 2025-01-000042 --reference \"transfer of 2025-02-03\""),
		a.invoiceAct(api.RefundInvoice, "refund ID AMOUNT --reason R", "Give back a part of what was paid",
			"Gives AMOUNT, in units of the currency, of what was paid back to the customer.",
			"  tollgate invoice refund 2025-01-000042 12.50 --reason \"double upload\""),
		a.invoiceAct(api.CreditInvoice, "credit ID AMOUNT --reason R", "Take something off an unpaid invoice",
			"Takes AMOUNT, in units of the currency, off what is still owed of an invoice.",
			"  tollgate invoice credit 2025-01-000042 12.50 --reason \"outage of the 3rd\""),
	)
}

func invoiceStates() []string {
	return []string{api.DraftState, string(ledger.Issued), string(ledger.Paid), string(ledger.PastDue), string(ledger.Uncollectible), string(ledger.Void)}
}

func (a *app) invoiceList() *cobra.Command {
	var q api.InvoicesQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List invoices, newest first",
		Long: `Lists invoices, newest first. Drafts are what the invoices of months that have
ended would be now; --state draft lists them.`,
		Example: `  tollgate invoice list --month 2025-01
  tollgate invoice list --user ann@example.com --json
  tollgate invoice list --state past_due`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkMonth(cmd, q.Month); err != nil {
				return err
			}
			if q.State != "" && !slices.Contains(invoiceStates(), q.State) {
				return usage(cmd, "--state is one of %s, not %q", strings.Join(invoiceStates(), ", "), q.State)
			}
			return a.asking(func(c *api.Client) error {
				if a.json {
					return a.array(func(add func(any) error) error {
						return c.EachInvoice(cmd.Context(), q, func(i api.Invoice) error { return add(i) })
					})
				}
				t := newTable("ID>", "NUMBER", "USER>", "E-MAIL", "MONTH", "STATE", "TOTAL>", "DUE>", "")
				none := true
				err := c.EachInvoice(cmd.Context(), q, func(i api.Invoice) error {
					none = false
					t.add(invoiceID(i), dash(text(i.Number)), userID(i.User), dash(i.Email), invoiceMonth(i), i.State,
						inCurrency(i.TotalCents, i.Currency), inCurrency(i.AmountDueCents, i.Currency), strings.ToUpper(i.Currency))
					return nil
				})
				if err != nil {
					return err
				}
				return a.answer(nil, func(w io.Writer) {
					if none {
						fmt.Fprintln(w, "There are no such invoices. What is unbilled tells: tollgate bill status")
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
	f.StringVar(&q.State, "state", "", "only in `STATE`, such as past_due or draft")
	return cmd
}

func invoiceID(i api.Invoice) string {
	if i.ID == nil {
		return "-"
	}
	return strconv.FormatUint(uint64(*i.ID), 10)
}

func invoiceMonth(i api.Invoice) string { return fmt.Sprintf("%04d-%02d", i.Year, i.Month) }

// invoiceName is what people call an invoice by.
func invoiceName(i api.Invoice) string {
	switch {
	case i.Number != nil:
		return "Invoice " + *i.Number
	case i.ID != nil:
		return "Invoice " + invoiceID(i)
	}
	return "The draft of " + invoiceMonth(i)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *app) invoiceShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one invoice",
		Long:    "Shows one invoice. ID is its id or its number.",
		Example: "  tollgate invoice show 2025-01-000042",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				i, err := c.Invoice(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.answer(i, func(w io.Writer) { printInvoice(w, i) })
			})
		},
	}
}

func printInvoice(w io.Writer, i api.Invoice) {
	replaces, disputed := "", ""
	if i.Replaces != nil {
		replaces = strconv.FormatUint(uint64(*i.Replaces), 10)
	}
	if i.Disputed {
		disputed = "by the customer"
	}
	email := ""
	if i.Email != "" {
		email = ", " + i.Email
	}
	entries := "none: the user had made no call"
	if i.Ledger.Last != 0 {
		entries = fmt.Sprintf("%d to %d of the ledger", i.Ledger.First, i.Ledger.Last)
	}
	facts(w, "invoice", invoiceID(i), "number", dash(text(i.Number)), "user", userID(i.User)+email, "month", invoiceMonth(i),
		"state", i.State, "disputed", disputed, "replaces", replaces, "at provider", text(i.ProviderID), "page", text(i.HostedURL),
		"entries", entries, "head", i.Ledger.Head)
	fmt.Fprintln(w)
	t := newTable("LINE", "DESCRIPTION", "QUANTITY>", "UNIT PRICE>", strings.ToUpper(i.Currency)+">")
	for _, l := range i.Lines {
		quantity, price := "", ""
		if l.Quantity != 0 {
			quantity, price = api.Count(l.Quantity), api.Exact(l.UnitPrice.String())
		}
		t.add(l.Kind, l.Description, quantity, price, inCurrency(l.AmountCents, i.Currency))
	}
	sums := []struct {
		word   string
		cents  int64
		always bool
	}{
		{"total", i.TotalCents, true}, {"charged while it was used", i.AdvanceCents, false}, {"left for the next invoice", i.CarriedOutCents, false},
		{"paid", i.PaidCents - i.AdvanceCents, false},
		{"credited", i.CreditedCents, false}, {"given back", i.RefundedCents, false}, {"due", i.AmountDueCents, true},
	}
	for _, s := range sums {
		if s.always || s.cents != 0 {
			t.add(s.word, "", "", "", inCurrency(s.cents, i.Currency))
		}
	}
	t.print(w)
}

// invoiceAct is a command that does something to an invoice.
func (a *app) invoiceAct(act api.InvoiceAct, use, short, long, example string) *cobra.Command {
	var ask api.ActOnInvoice
	hasAmount := act == api.RefundInvoice || act == api.CreditInvoice
	arguments := []string{"ID"}
	if hasAmount {
		arguments = append(arguments, "AMOUNT")
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + "\nID is the invoice's id or its number.", Example: example, Args: exactly(arguments...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if hasAmount {
				amount, err := ledger.ParseAmount(args[1])
				if err != nil {
					return usage(cmd, "AMOUNT: %v", err)
				}
				if amount <= 0 {
					return usage(cmd, "AMOUNT is more than 0")
				}
				ask.Amount = &amount
			}
			if hasAmount && ask.Reason == "" {
				return usage(cmd, "--reason is missing")
			}
			if act == api.PayInvoice && ask.Reference == "" {
				return usage(cmd, "--reference is missing")
			}
			return a.asking(func(c *api.Client) error {
				i, err := c.ActOnInvoice(cmd.Context(), args[0], act, ask)
				if err != nil {
					return err
				}
				err = a.answer(i, func(w io.Writer) {
					fmt.Fprintf(w, "%s is %s, %s due.\n", invoiceName(i), i.State, priced(i.AmountDueCents, i.Currency))
				})
				if err == nil && act == api.RetryInvoice && i.AmountDueCents > 0 {
					err = hint("tollgate bill status tells why, and when it is tried again", fmt.Errorf("%s could not be collected", invoiceName(i)))
				}
				return err
			})
		},
	}
	switch {
	case act == api.PayInvoice:
		cmd.Flags().StringVar(&ask.Reference, "reference", "", "how it was paid, as `TEXT` that you find it by")
	case act != api.RetryInvoice:
		cmd.Flags().StringVar(&ask.Reason, "reason", "", "why, as `TEXT` that is kept with it")
	}
	return cmd
}
