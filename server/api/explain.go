package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tollgate/ledger"
)

// getExplanation explains the invoice that the path names by id or number, or the
// one that charges the call whose request id it is.
func (s *service) getExplanation(r *request) (Explanation, error) {
	b, err := s.billing()
	if err != nil {
		return Explanation{}, err
	}
	text := r.PathValue("id")
	if strings.HasPrefix(text, "req_") {
		return s.explainCall(r, b, text)
	}
	i, err := s.invoiceNamed(r)
	if err != nil {
		return Explanation{}, err
	}
	e, _, err := s.explanation(r, b, i)
	return e, err
}

// explanation is the explanation of an invoice as JSON has it.
func (s *service) explanation(r *request, b Billing, i *ledger.Invoice) (Explanation, InvoiceUsage, error) {
	usage, err := b.Explain(r.Context(), i)
	if err != nil {
		return Explanation{}, usage, err
	}
	e := Explanation{
		Invoice: s.invoice(i), Lines: []ExplainedLine{}, Days: explainedDays(i.User, usage.Days, "calls"),
		Proof: Proof{Proved: len(usage.Problems) == 0, Problems: usage.Problems, Usage: s.currentUsage(usage.Sealed), TotalCents: i.Total},
		Late:  LateUsage{usage.Late.Calls, usage.Late.Cost, usage.Pending},
	}
	if e.Proof.Problems == nil {
		e.Proof.Problems = []string{}
	}
	for n, l := range i.Lines {
		e.Lines = append(e.Lines, explainedLine(i.User, l, usage.Lines[n]))
	}
	return e, usage, nil
}

func explainedLine(user ledger.UserID, l ledger.InvoiceLine, usage LineUsage) ExplainedLine {
	meter := l.Meter
	if meter == "" {
		meter = "calls"
	}
	view := ExplainedLine{
		Kind: l.Kind, Description: l.Description, AmountCents: l.Amount, Meter: meter,
		Quantity: usage.Used.Of(meter), Cost: usage.Used.Cost, Days: explainedDays(user, usage.Days, meter),
	}
	return view
}

// explainedDays is the days on which something that is billed was used.
func explainedDays(user ledger.UserID, days []DayUsage, meter string) []ExplainedDay {
	list := []ExplainedDay{}
	for _, d := range days {
		day := ExplainedDay{Date: d.Date, Start: d.Start.UTC(), End: d.End.UTC(), Records: recordsPath(user, d.Start, d.End)}
		for _, t := range d.Routes {
			if t.Calls != 0 || t.Of(meter) != 0 || t.Cost != 0 {
				day.Routes = append(day.Routes, ExplainedRoute{t.Route, t.Calls, t.Documents, t.Tokens, t.Of(meter), t.Cost})
			}
		}
		if len(day.Routes) > 0 {
			list = append(list, day)
		}
	}
	return list
}

// recordsPath is where the operator API lists a user's records of [from, to).
func recordsPath(user ledger.UserID, from, to time.Time) string {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	return fmt.Sprintf("/v1/users/%d/records?%s", user, q.Encode())
}

// explainCall explains the invoice that charges a call, or, before there is one,
// what it would be now.
func (s *service) explainCall(r *request, b Billing, text string) (Explanation, error) {
	id, err := ledger.ParseRequestID(text)
	if err != nil {
		return Explanation{}, badParameter("%s.", sentence(err))
	}
	u, err := s.Ledger.RecordByRequest(r.Context(), id)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && u.User == 0 {
		return Explanation{}, refusal(http.StatusNotFound, "record_not_found", "There is no record of %s that a user is charged for.", id)
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("reading the record of %s: %w", id, err)
	}
	user := s.Ledger.Account(u.User).User()
	i, where, err := s.invoiceOfCall(b, user, u)
	if err != nil {
		return Explanation{}, err
	}
	e, usage, err := s.explanation(r, b, i)
	if err != nil {
		return Explanation{}, err
	}
	e.Record = &ExplainedCall{Record: s.record(u), Lines: []int{}, Where: where}
	if !u.Billed {
		e.Record.Where = "It is not billed: it costs nothing and counts against no quota."
		return e, nil
	}
	if u.Seq > i.Last {
		return e, nil
	}
	for n, l := range i.Lines {
		adjusts := l.Kind == "adjustment" && l.Of == u.Period
		counts := i.Month == u.Period && l.Plan == u.Plan && len(usage.Lines[n].Days) > 0 && (l.Meter == "" || u.Of(l.Meter) > 0)
		if adjusts || counts {
			e.Record.Lines = append(e.Record.Lines, n)
		}
	}
	if len(e.Record.Lines) == 0 {
		e.Record.Where += " No line charges it: it is within what the plan includes."
	}
	return e, nil
}

// invoiceOfCall finds the invoice that a call belongs to: its month's, or, for
// one that came after that, the one that has the adjustment.
func (s *service) invoiceOfCall(b Billing, user *ledger.User, u *ledger.Usage) (i *ledger.Invoice, where string, err error) {
	ref, ok := user.InvoiceOf(u.Period)
	if !ok {
		i, err = b.Draft(user, u.Period)
		if s.Ledger.PeriodAt(s.Now()).Month == u.Period {
			return i, fmt.Sprintf("It is of the open month %v, whose invoice would be this now.", u.Period), err
		}
		return i, fmt.Sprintf("It is of %v, which has ended and is not invoiced yet.", u.Period), err
	}
	if i, err = s.Ledger.Invoice(ref.ID); err != nil {
		return nil, "", fmt.Errorf("reading the invoice of %v: %w", u.Period, err)
	}
	if u.Seq <= i.Last {
		return i, fmt.Sprintf("It is one of the entries that invoice %s was made from.", invoiceName(i)), nil
	}
	for _, ref := range user.Invoices { // the first that was sealed after it
		if ref.Month <= i.Month || ref.State == ledger.Void {
			continue
		}
		later, err := s.Ledger.Invoice(ref.ID)
		if err != nil {
			return nil, "", fmt.Errorf("reading invoice %d: %w", ref.ID, err)
		}
		if u.Seq <= later.Last {
			return later, fmt.Sprintf("It came after the invoice of %v was made, and is adjusted on invoice %s.", u.Period, invoiceName(later)), nil
		}
	}
	return i, fmt.Sprintf("It came after invoice %s was made: the next invoice adjusts what is owed for %v.", invoiceName(i), u.Period), nil
}

// invoiceName is the number, or the id of an invoice without one.
func invoiceName(i *ledger.Invoice) string {
	if text := i.NumberText(); text != "" {
		return text
	}
	return fmt.Sprint(i.ID)
}
