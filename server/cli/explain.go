package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) invoiceExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID|REQUEST_ID",
		Short: "Drill an invoice down to days, routes and records",
		Long: `Shows the usage behind each line of an invoice by day and route, and rates it
again: that must come to exactly the invoice. With a request id it shows where
that call is charged. ID is the invoice's id or its number.`,
		Example: `  tollgate invoice explain 2025-01-000042
  tollgate invoice explain req_06bxtn9c8rbs1d2`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				e, err := c.Explain(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := a.answer(e, func(w io.Writer) { printExplanation(w, e) }); err != nil || e.Proof.Proved {
					return err
				}
				return hint("tollgate verify tells whether the ledger is sound", fmt.Errorf("%s is not what its entries come to", invoiceName(e.Invoice)))
			})
		},
	}
}

func printExplanation(w io.Writer, e api.Explanation) {
	i := e.Invoice
	fmt.Fprintf(w, "%s of user %s, %s, %s: %s\n", invoiceName(i), userID(i.User), invoiceMonth(i), i.State, priced(i.TotalCents, i.Currency))
	if r := e.Record; r != nil {
		fmt.Fprintf(w, "\nCall %s, %s UTC, %s: %s\n", api.Clean(r.Record.RequestID), moment(r.Record.Time), api.Clean(r.Record.Route), api.Clean(r.Where))
	}
	day := ""
	for n, l := range e.Lines {
		mark := ""
		if e.Record != nil && slices.Contains(e.Record.Lines, n) {
			mark = "  <- the call counts here"
		}
		fmt.Fprintf(w, "\n%d. %s\n   %s  %s%s\n", n+1, api.Clean(l.Description), l.Kind, priced(l.AmountCents, i.Currency), mark)
		if len(l.Days) == 0 {
			continue
		}
		t := newTable("  DAY", "ROUTE", "CALLS>", meterHeading(l.Meter), "COST>")
		calls := int64(0)
		for _, d := range l.Days {
			for _, r := range d.Routes {
				t.add("  "+d.Date, r.Route, api.Count(r.Calls), quantityOf(l.Meter, r.Quantity), api.Exact(r.Cost.String()))
				calls += r.Calls
			}
			day = recordsCommand(i.User, d)
		}
		t.add("  total", "", api.Count(calls), quantityOf(l.Meter, l.Quantity), api.Exact(l.Cost.String()))
		fmt.Fprintln(w)
		t.print(w)
	}
	if day == "" && len(e.Days) > 0 { // all of it is included
		t := newTable("USED", "ROUTE", "CALLS>", "DOCUMENTS>", "TOKENS>", "COST>")
		for _, d := range e.Days {
			for _, r := range d.Routes {
				t.add(d.Date, r.Route, api.Count(r.Calls), api.Count(r.Documents), api.Count(r.Tokens), api.Exact(r.Cost.String()))
			}
			day = recordsCommand(i.User, d)
		}
		fmt.Fprintln(w)
		t.print(w)
	}
	fmt.Fprintln(w)
	if i.AdvanceCents != 0 {
		fmt.Fprintf(w, "Charged while it was used: %s of %s, see: tollgate bill payments --user %s --month %s\n",
			priced(i.AdvanceCents, i.Currency), priced(i.TotalCents, i.Currency), userID(i.User), invoiceMonth(i))
	}
	printProof(w, e)
	if day != "" {
		fmt.Fprintf(w, "Records of a day: %s\n", day)
	}
}

// recordsCommand lists the records of a day.
func recordsCommand(user ledger.UserID, d api.ExplainedDay) string {
	return fmt.Sprintf("tollgate usage records %s --from %s --to %s", userID(user), d.Start.UTC().Format(time.RFC3339), d.End.UTC().Format(time.RFC3339))
}

// meterHeading is the column of a meter; calls have theirs already.
func meterHeading(meter string) string {
	if meter == "calls" {
		return ">"
	}
	return api.Clean(meter) + ">"
}

func quantityOf(meter string, n int64) string {
	if meter == "calls" {
		return ""
	}
	return api.Count(n)
}

func printProof(w io.Writer, e api.Explanation) {
	i := e.Invoice
	switch {
	case e.Proof.Proved && e.Proof.Usage.TotalCalls == 0:
		fmt.Fprintf(w, "Proved: no billed call, rated again: exactly these lines and %s.\n", priced(e.Proof.TotalCents, i.Currency))
	case e.Proof.Proved:
		fmt.Fprintf(w, "Proved: %s %s in entries %d to %d, rated again: exactly these lines and %s.\n",
			api.Count(e.Proof.Usage.TotalCalls), plural(int(e.Proof.Usage.TotalCalls), "call"), i.Ledger.First, i.Ledger.Last, priced(e.Proof.TotalCents, i.Currency))
	}
	for _, p := range e.Proof.Problems {
		fmt.Fprintln(w, "NOT PROVED: "+api.Clean(p))
	}
	if e.Late.Calls != 0 || e.Late.PendingCents != 0 {
		fmt.Fprintf(w, "Late: %s %s of this month came after it was sealed", api.Count(e.Late.Calls), plural(int(e.Late.Calls), "call"))
		if e.Late.PendingCents == 0 {
			fmt.Fprintln(w, "; nothing of that is open.")
		} else {
			fmt.Fprintf(w, "; the next invoice adjusts %s.\n", priced(e.Late.PendingCents, i.Currency))
		}
	}
}
