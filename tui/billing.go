package tui

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// invoiceStates is what the list of invoices can be narrowed to; "" is all.
var invoiceStates = []string{"", "past_due", "uncollectible", "issued", "paid", "void", api.DraftState}

// billing is the page of runs, invoices and what could not be collected.
type billing struct {
	*shared
	state int // of invoiceStates
	view  *api.BillingView
	lines scroll
}

func (p *billing) open(ctx context.Context) *stream {
	state := invoiceStates[p.state]
	return follow(ctx, func(ctx context.Context, each func(api.BillingView) error) error {
		return p.server.WatchBilling(ctx, state, each)
	}, nil)
}

func (p *billing) show(view any) {
	v := view.(api.BillingView)
	p.view = &v
}

func (p *billing) window() *scroll { return &p.lines }

func (p *billing) asOf() time.Time {
	if p.view == nil {
		return time.Time{}
	}
	return p.view.At
}

func (p *billing) keys() []key.Binding { return []key.Binding{p.keyMap.state, p.keyMap.enter} }

func (p *billing) key(k tea.KeyMsg) tea.Msg {
	switch {
	case matches(k, p.keyMap.state):
		p.state = (p.state + 1) % len(invoiceStates)
		return reopenMsg{}
	case matches(k, p.keyMap.enter):
		switch item := p.lines.chosen().(type) {
		case api.Invoice:
			return invoiceDetail(p.shared, item)
		case api.InvoiceFailure:
			return failureDetail(p.shared, item)
		case api.Payment:
			return paymentDetail(p.shared, item)
		}
	default:
		p.lines.key(k)
	}
	return nil
}

func (p *billing) target() target {
	switch item := p.lines.chosen().(type) {
	case api.Invoice:
		return target{user: invoiceUser(item), invoice: invoiceTarget(item)}
	case api.Payment:
		return target{user: &targetUser{id: strconv.FormatUint(uint64(item.User), 10), email: item.Email}, payment: &item}
	case api.InvoiceFailure:
		return target{invoice: &targetInvoice{
			id: strconv.FormatUint(uint64(item.Invoice), 10), number: item.Number, email: item.Email, state: item.State, due: item.AmountDueCents}}
	}
	return target{}
}

func (p *billing) body(w, h int) []string {
	if p.view == nil {
		return nil
	}
	p.lines.set(p.all(w, true))
	return p.lines.view(p.st, w, h)
}

// all is the page in w columns, with the open month or without.
func (p *billing) all(w int, month bool) []row {
	var rows []row
	add := func(lines ...string) {
		for _, l := range lines {
			rows = append(rows, row{text: l})
		}
	}
	s := p.view.Status
	payments := "payments by the provider"
	if !s.Provider {
		payments = "no payment provider is configured: nothing is collected"
	}
	unbilled := "nothing is unbilled"
	for i, m := range s.Unbilled {
		if i == 0 {
			unbilled = "UNBILLED: "
		} else {
			unbilled += ", "
		}
		unbilled += api.Clean(m.Month) + " of " + plural(int64(m.Users), "user", "users")
	}
	add(wrapAll([]string{p.st.title.Render("BILLING") + "  next run " + minute(&s.NextRun) + " UTC; " + payments, unbilled}, w)...)
	if month {
		add(monthLines(p.shared, p.view.Month, p.view.At)...)
	}

	if len(s.Failures) > 0 {
		t := newTable(column{head: "NOT COLLECTED"}, column{head: "E-MAIL", least: 12}, column{head: "STATE", drop: 3}, column{head: "DUE", right: true},
			column{head: "WHY", least: 8, drop: 1}, column{head: "TRIES", right: true, drop: 4}, column{head: "NEXT TRY (UTC)", drop: 2})
		for _, f := range s.Failures {
			t.add(f.Number, dash(f.Email), f.State, p.o.money(f.AmountDueCents), dash(f.Reason), api.Count(int64(f.Attempts)), minute(f.NextRetry))
		}
		head, cells := t.lay(w - 2)
		add("  " + p.st.bad.Render(head))
		for i, c := range cells {
			rows = append(rows, row{c, "failure " + strconv.FormatUint(uint64(s.Failures[i].Invoice), 10), s.Failures[i]})
		}
		if s.MoreFailures > 0 {
			add("  and " + api.Count(int64(s.MoreFailures)) + " older: tollgate invoice list --state past_due")
		}
	} else {
		add(p.st.title.Render("NOT COLLECTED") + "  nothing")
	}

	if len(s.PaymentFailures) > 0 {
		head, cells := waitingTable(p.shared, s.PaymentFailures).lay(w - 2)
		add("  " + p.st.bad.Render(head))
		for i, c := range cells {
			rows = append(rows, row{c, paymentKey(s.PaymentFailures[i]), s.PaymentFailures[i]})
		}
		if s.MorePaymentFailures > 0 {
			add("  and " + api.Count(int64(s.MorePaymentFailures)) + " older: tollgate bill payments --state past_due")
		}
	}
	if u := s.Undelivered; u != nil {
		add(wrapAll([]string{p.st.bad.Render(fmt.Sprintf("%s given up, the newest for user %d: tollgate user show %d", plural(int64(u.Count), "notice was", "notices were"), u.User, u.User))}, w)...)
	}

	add(p.states(w)...)
	add(p.runs(w)...)

	title := "INVOICES"
	if state := invoiceStates[p.state]; state != "" {
		title += " " + state
	}
	t := invoiceTable(p.shared, title, true)
	for _, i := range p.view.Invoices {
		addInvoice(p.shared, t, i, true)
	}
	head, cells := t.lay(w - 2)
	if len(cells) == 0 {
		add(p.st.title.Render(title) + "  none")
	} else {
		add("  " + p.st.title.Render(head))
	}
	for i, c := range cells {
		rows = append(rows, row{c, invoiceKey(p.view.Invoices[i]), p.view.Invoices[i]})
	}
	return rows
}

// states is the payments and the invoices by state, next to each other where there
// is room.
func (p *billing) states(w int) []string {
	s := p.view.Status
	var invoices, payments []string
	wide := 0
	lay := func(t *table) []string {
		head, cells := t.lay(w)
		for _, l := range append(cells, head) {
			wide = max(wide, width(l))
		}
		return append([]string{p.st.title.Render(head)}, cells...)
	}
	if len(s.Payments) > 0 {
		t := newTable(column{head: "PAYMENTS"}, column{head: "STATE"}, column{head: "COUNT", right: true}, column{head: upper(s.Currency), right: true})
		for _, one := range s.Payments {
			t.add(string(one.Kind), one.State, api.Count(int64(one.Count)), p.o.money(one.AmountCents))
		}
		payments = lay(t)
	}
	if len(s.Invoices) > 0 {
		t := newTable(column{head: "INVOICES BY STATE"}, column{head: "COUNT", right: true}, column{head: "DUE " + upper(s.Currency), right: true})
		for _, i := range s.Invoices {
			t.add(i.State, api.Count(int64(i.Count)), p.o.money(i.AmountDueCents))
		}
		invoices = lay(t)
	}
	if w == plainWidth || 2*wide+gap > w || len(payments) == 0 || len(invoices) == 0 {
		return append(payments, invoices...)
	}
	return beside((w-gap)/2, payments, invoices)
}

func (p *billing) runs(w int) []string {
	if len(p.view.Runs) == 0 {
		return []string{p.st.title.Render("RUNS") + "  none since the start"}
	}
	t := newTable(column{head: "RUNS (UTC)"}, column{head: "MONTH"}, column{head: "USERS", right: true, drop: 3}, column{head: "CHARGED", right: true},
		column{head: "SKIPPED", right: true, drop: 2}, column{head: "FAILED", right: true}, column{head: "REVENUE", right: true, drop: 1}, column{head: "", least: 8})
	for _, r := range p.view.Runs {
		s, wrong := r.Summary, r.Error
		if wrong == "" && len(s.Errors) > 0 {
			wrong = s.Errors[0].Error
		}
		t.add(minute(&r.At), s.Month, api.Count(int64(s.TotalUsers)), api.Count(int64(s.Charged)), api.Count(int64(s.Skipped)), api.Count(int64(s.Failed)),
			p.o.money(s.TotalRevenueCents), wrong)
		if wrong != "" {
			t.style(7, p.st.bad.Render)
		}
	}
	head, cells := t.lay(w)
	return append([]string{p.st.title.Render(head)}, cells...)
}

// invoiceTable is the columns of invoices; those of one user without the user.
func invoiceTable(s *shared, head string, users bool) *table {
	t := newTable(column{head: head}, column{head: "MONTH", drop: 3}, column{head: "STATE"}, column{head: "TOTAL", right: true}, column{head: "DUE", right: true, drop: 1})
	if users {
		t.columns = slices.Insert(t.columns, 1, column{head: "E-MAIL", least: 12, drop: 2})
	}
	return t
}

func addInvoice(s *shared, t *table, i api.Invoice, users bool) {
	cells := []string{invoiceName(i), fmt.Sprintf("%04d-%02d", i.Year, i.Month), i.State, s.o.money(i.TotalCents), s.o.money(i.AmountDueCents)}
	at := 2
	if users {
		cells = slices.Insert(cells, 1, dash(i.Email))
		at = 3
	}
	t.add(cells...)
	if i.State == "past_due" || i.State == "uncollectible" {
		t.style(at, s.st.bad.Render)
	}
}

// invoiceName is what people call an invoice by.
func invoiceName(i api.Invoice) string {
	switch {
	case i.Number != nil:
		return *i.Number
	case i.ID != nil:
		return "invoice " + strconv.FormatUint(uint64(*i.ID), 10)
	}
	return "draft"
}

// invoiceKey is what a row of an invoice is known by.
func invoiceKey(i api.Invoice) string {
	if i.ID == nil {
		return fmt.Sprintf("draft %d %d-%d", i.User, i.Year, i.Month)
	}
	return "invoice " + strconv.FormatUint(uint64(*i.ID), 10)
}

// invoiceDetail is an invoice in full.
func invoiceDetail(s *shared, i api.Invoice) detailMsg {
	pairs := []string{"user", strconv.FormatUint(uint64(i.User), 10) + ", " + dash(i.Email), "month", fmt.Sprintf("%04d-%02d", i.Year, i.Month), "state", i.State}
	if i.Disputed {
		pairs = append(pairs, "disputed", "by the customer")
	}
	if i.HostedURL != nil {
		pairs = append(pairs, "page", *i.HostedURL)
	}
	lines := append(facts(pairs...), "")
	t := newTable(column{head: "LINE"}, column{head: "DESCRIPTION", least: 10}, column{head: "QUANTITY", right: true}, column{head: "UNIT PRICE", right: true},
		column{head: upper(i.Currency), right: true})
	for _, l := range i.Lines {
		quantity, price := "", ""
		if l.Quantity != 0 {
			quantity, price = api.Count(l.Quantity), api.Exact(l.UnitPrice.String())
		}
		t.add(l.Kind, l.Description, quantity, price, s.o.money(l.AmountCents))
	}
	for _, sum := range []struct {
		word   string
		cents  int64
		always bool
	}{
		{"total", i.TotalCents, true}, {"charged while used", i.AdvanceCents, false}, {"left for the next", i.CarriedOutCents, false},
		{"paid", i.PaidCents - i.AdvanceCents, false},
		{"credited", i.CreditedCents, false}, {"given back", i.RefundedCents, false}, {"due", i.AmountDueCents, true},
	} {
		if sum.always || sum.cents != 0 {
			t.add(sum.word, "", "", "", s.o.money(sum.cents))
		}
	}
	head, rows := t.lay(10_000)
	return detailMsg{"INVOICE " + invoiceName(i), append(append(lines, s.st.bold.Render(head)), rows...)}
}

func failureDetail(s *shared, f api.InvoiceFailure) detailMsg {
	next := "none: the customer or you must act"
	if f.NextRetry != nil {
		next = minute(f.NextRetry) + " UTC"
	}
	return detailMsg{"NOT COLLECTED " + f.Number, facts(
		"user", strconv.FormatUint(uint64(f.User), 10)+", "+dash(f.Email), "month", f.Month, "state", f.State, "due", s.o.priced(f.AmountDueCents),
		"why", dash(f.Reason), "tries", api.Count(int64(f.Attempts)), "last try", minute(f.Failed)+" UTC", "next try", next)}
}
