package tui

import (
	"strconv"
	"strings"

	"tollgate/server/api"
)

// credits is what a user has of credits, and of which grants.
func (p *user) credits(w int) []string {
	c := p.view.Credits
	if c == nil {
		return nil
	}
	balance := "balance " + api.Exact(c.Balance.String())
	if next := c.ExpiringNext; next != nil {
		balance += ", " + api.Exact(next.Amount.String()) + " expire " + date(next.Expires)
	}
	went := "granted " + api.Exact(c.Granted.String()) + ", burnt " + api.Exact(c.Burnt.String())
	if c.Taken != 0 {
		went += ", taken " + api.Exact(c.Taken.String())
	}
	if c.Uncovered != 0 {
		went += ", " + p.st.warn.Render("not covered "+api.Exact(c.Uncovered.String()))
	}
	var grants []string
	for _, g := range c.Grants {
		text := api.Exact(g.Left.String()) + " " + api.Clean(string(g.Source))
		if g.Expires != nil {
			text += " until " + date(*g.Expires)
		}
		grants = append(grants, text)
	}
	if c.MoreGrants > 0 {
		grants = append(grants, "and "+plural(int64(c.MoreGrants), "grant", "grants")+" more")
	}
	lines := []string{p.st.title.Render("CREDITS") + "  " + balance + "; " + went}
	if len(grants) > 0 {
		lines = append(lines, "left: "+strings.Join(grants, ", "))
	}
	return wrapAll(lines, w)
}

// paymentTable is the columns of a user's payments.
func paymentTable(s *shared, list []api.Payment) *table {
	t := newTable(column{head: "PAYMENTS"}, column{head: "KIND"}, column{head: "CREDITS", right: true, drop: 4}, column{head: "AMOUNT", right: true},
		column{head: "STATE", least: 8}, column{head: "WHY", least: 8, drop: 2}, column{head: "NEXT TRY (UTC)", drop: 3}, column{head: "BEGUN (UTC)", drop: 5})
	why, next := false, false
	for _, p := range list {
		credits := ""
		if p.Credits != 0 {
			credits = api.Exact(p.Credits.String())
		}
		t.add(paymentLabel(p), string(p.Kind), credits, s.o.money(p.AmountCents), p.StateText(), paymentReason(p), minute(p.NextRetry), minute(&p.Time))
		why, next = why || paymentReason(p) != "-", next || p.NextRetry != nil
		if waits(p) != "" || p.DisputedCents != 0 {
			t.style(4, s.st.bad.Render)
		}
	}
	if !why {
		t.hide(5)
	}
	if !next {
		t.hide(6)
	}
	return t
}

// waitingTable is the columns of payments of all users that wait for money.
func waitingTable(s *shared, list []api.Payment) *table {
	t := newTable(column{head: "PAYMENTS OPEN"}, column{head: "E-MAIL", least: 12}, column{head: "KIND", drop: 3}, column{head: "STATE", drop: 4}, column{head: "DUE", right: true},
		column{head: "WHY", least: 8, drop: 1}, column{head: "TRIES", right: true, drop: 5}, column{head: "NEXT TRY (UTC)", drop: 2})
	for _, p := range list {
		due, why := p.AmountCents, paymentReason(p)
		if p.OwedCents != 0 {
			due, why = p.OwedCents, "it went back after it was used"
		}
		t.add(paymentLabel(p), dash(p.Email), string(p.Kind), waits(p), s.o.money(due), why, api.Count(int64(p.Attempts)), minute(p.NextRetry))
	}
	return t
}

// waits is why a payment waits for money, "" where it does not.
func waits(p api.Payment) string {
	switch {
	case p.OwedCents != 0:
		return api.OwedState
	case p.State == "past_due" || p.State == "failed":
		return string(p.State)
	}
	return ""
}

// paymentLabel is the receipt's number, or the id where nothing was paid.
func paymentLabel(p api.Payment) string {
	if p.Receipt != nil {
		return *p.Receipt
	}
	return strconv.FormatUint(uint64(p.ID), 10)
}

// paymentKey is what a row of a payment is known by.
func paymentKey(p api.Payment) string { return "payment " + strconv.FormatUint(uint64(p.ID), 10) }

func paymentReason(p api.Payment) string {
	if p.UnderWay != "" {
		return "under way: " + p.UnderWay
	}
	return dash(p.Reason)
}

// paymentDetail is a payment in full.
func paymentDetail(s *shared, p api.Payment) detailMsg {
	pairs := []string{"payment", strconv.FormatUint(uint64(p.ID), 10), "user", strconv.FormatUint(uint64(p.User), 10) + ", " + dash(p.Email),
		"kind", string(p.Kind), "month", p.Month, "state", p.StateText(), "begun (UTC)", moment(p.Time), "paid (UTC)", minute(p.PaidAt)}
	if p.Pack != "" {
		pairs = append(pairs, "pack", p.Pack, "credits", api.Exact(p.Credits.String()), "they expire", minute(p.Expires))
	}
	if p.Attempts > 0 {
		pairs = append(pairs, "why", dash(p.Reason), "tries", api.Count(int64(p.Attempts)), "last try (UTC)", minute(p.Failed), "next try (UTC)", minute(p.NextRetry))
	}
	if p.UnderWay != "" {
		pairs = append(pairs, "under way", p.UnderWay+": its outcome is not known yet")
	}
	if p.AskedIn != nil {
		pairs = append(pairs, "asked for by", "invoice "+strconv.FormatUint(uint64(*p.AskedIn), 10))
	}
	if p.PaidBy != "" {
		pairs = append(pairs, "owed, paid by", p.PaidBy)
	}
	if p.ProviderID != nil {
		pairs = append(pairs, "at provider", *p.ProviderID)
	}
	lines := append(facts(pairs...), "")
	t := newTable(column{head: "LINE"}, column{head: "DESCRIPTION", least: 10}, column{head: upper(p.Currency), right: true})
	for _, l := range p.Lines {
		t.add(l.Kind, l.Description, s.o.money(l.AmountCents))
	}
	t.add("total", "", s.o.money(p.AmountCents))
	head, rows := t.lay(10_000)
	return detailMsg{strings.ToUpper(p.Name()), append(append(lines, s.st.bold.Render(head)), rows...)}
}
