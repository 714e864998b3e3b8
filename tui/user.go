package tui

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// user is the page of one user.
type user struct {
	*shared
	asked string // id or e-mail; "": nobody yet
	view  *api.UserView
	lines scroll
}

// of asks for another user.
func (p *user) of(asked string) {
	if asked != p.asked {
		p.asked, p.view = asked, nil
		p.lines = scroll{}
	}
}

func (p *user) open(ctx context.Context) *stream {
	if p.asked == "" {
		return nil
	}
	asked := p.asked
	return follow(ctx, func(ctx context.Context, each func(api.UserView) error) error {
		return p.server.WatchUser(ctx, asked, each)
	}, nil)
}

func (p *user) show(view any) {
	v := view.(api.UserView)
	p.view = &v
}

func (p *user) window() *scroll { return &p.lines }

func (p *user) asOf() time.Time {
	if p.view == nil {
		return time.Time{}
	}
	return p.view.At
}

func (p *user) keys() []key.Binding {
	k := p.keyMap
	ask := k.filter
	ask.SetHelp("/", "user, by e-mail or id")
	return []key.Binding{ask, k.enter, k.records}
}

func (p *user) key(k tea.KeyMsg) tea.Msg {
	keys := p.keyMap
	switch {
	case matches(k, keys.filter):
		return promptMsg{"user", "e-mail address or id", "", func(text string) tea.Msg {
			if text == "" {
				return nil
			}
			return openMsg{text}
		}}
	case matches(k, keys.back):
		return turnMsg{usersPage}
	case matches(k, keys.records) && p.view != nil:
		return followMsg{rowID(p.view.Row)}
	case matches(k, keys.enter):
		switch item := p.lines.chosen().(type) {
		case api.Record:
			return recordDetail(p.shared, item)
		case api.Invoice:
			return invoiceDetail(p.shared, item)
		case api.Key:
			return keyDetail(item)
		case api.Payment:
			return paymentDetail(p.shared, item)
		}
		return nil
	}
	p.lines.key(k)
	return nil
}

func (p *user) target() target {
	if p.view == nil {
		return target{}
	}
	t := target{user: &targetUser{rowID(p.view.Row), p.view.User.Email, p.view.User.Plan, string(p.view.User.Status)}}
	switch item := p.lines.chosen().(type) {
	case api.Key:
		t.key = &item
	case api.Invoice:
		t.invoice = invoiceTarget(item)
	case api.Payment:
		t.payment = &item
	}
	return t
}

func (p *user) body(w, h int) []string {
	if p.asked == "" {
		return wrapAll([]string{"No user is chosen. Open one from Users (2) with enter, or press / and type an e-mail address or an id."}, w)
	}
	if p.view == nil {
		return []string{p.st.title.Render("USER " + api.Clean(p.asked))}
	}
	var rows []row
	add := func(lines ...string) {
		for _, l := range lines {
			rows = append(rows, row{text: l})
		}
	}
	v := p.view
	add(wrapAll(p.who(), w)...)
	add(p.credits(w)...)
	add(dayChart(p.shared, v.Days, w, min(4, max(2, h/6)))...)
	add(p.quotas(w)...)
	section := func(t *table, none string, items []any, ids []string) {
		head, cells := t.lay(w - 2)
		if len(cells) == 0 {
			add(p.st.title.Render(t.columns[0].head) + "  " + none)
			return
		}
		if items == nil {
			add(p.st.title.Render(head))
			add(cells...)
			return
		}
		add("  " + p.st.title.Render(head))
		for i, c := range cells {
			rows = append(rows, row{c, ids[i], items[i]})
		}
	}
	section(p.routes(), "no calls this month", nil, nil)
	keys, items, ids := p.keysTable()
	section(keys, "none", items, ids)
	invoices := invoiceTable(p.shared, "INVOICES", false)
	items, ids = nil, nil
	for _, i := range v.Invoices {
		addInvoice(p.shared, invoices, i, false)
		items, ids = append(items, i), append(ids, invoiceKey(i))
	}
	section(invoices, "none", items, ids)
	if len(v.Payments) > 0 {
		items, ids = nil, nil
		for _, one := range v.Payments {
			items, ids = append(items, one), append(ids, paymentKey(one))
		}
		section(paymentTable(p.shared, v.Payments), "none", items, ids)
	}
	recent := recordTable("RECENT RECORDS", false)
	items, ids = nil, nil
	for _, r := range v.Records {
		addRecord(p.shared, recent, r, false)
		items, ids = append(items, r), append(ids, "record "+strconv.FormatUint(r.Seq, 10))
	}
	section(recent, "none", items, ids)
	p.lines.set(rows)
	return p.lines.view(p.st, w, h)
}

// who is the lines on top: the user, the plan, the month.
func (p *user) who() []string {
	v := p.view
	u := v.User
	name := api.Clean(dash(u.Email))
	for _, more := range []string{u.Name, u.Company} {
		if more != "" {
			name += ", " + api.Clean(more)
		}
	}
	status := api.Clean(statusText(v.Row))
	if u.Status == "active" && !v.Row.Owes {
		status = p.st.good.Render(status)
	} else {
		status = p.st.bad.Render(status)
	}
	plan := "plan " + api.Clean(u.Plan)
	if u.NextPlan != nil {
		plan += ", " + api.Clean(u.NextPlan.Plan) + " from " + date(u.NextPlan.From)
	}
	payment := "no payment method"
	if u.PaymentMethod {
		payment = "payment method on file"
	}
	credits := ""
	if v.Row.Balance != nil {
		credits = ", credits " + api.Count(*v.Row.Balance)
	}
	used, charges := v.Usage.CurrentUsage, v.Usage.Charges
	charged := ""
	if charges.ChargedCents != 0 {
		charged = ", " + p.o.money(charges.ChargedCents) + " of it charged already"
	}
	return []string{
		p.st.title.Render("USER "+rowID(v.Row)) + "  " + name,
		status + ", " + plan + ", " + payment + credits + ", since " + date(u.Created),
		fmt.Sprintf("month %04d-%02d: %s, %s, %s, cost %s", v.Usage.Period.Year, v.Usage.Period.Month,
			plural(used.TotalCalls, "call", "calls"), plural(used.TotalDocuments, "document", "documents"), plural(used.TotalTokens, "token", "tokens"),
			api.Exact(used.Cost.String())),
		fmt.Sprintf("charge %s so far (fee %s, usage %s)%s, %s projected; %s unbilled", p.o.priced(charges.TotalCents), p.o.money(charges.BaseFeeCents),
			p.o.money(charges.OverageCents), charged, p.o.priced(v.Row.ProjectedCents), plural(used.UnbilledCalls, "call", "calls")),
	}
}

func (p *user) quotas(w int) []string {
	v := p.view
	rates := func(n int, word string) string {
		if n == 0 {
			return "no limit a " + word
		}
		return api.Count(int64(n)) + " a " + word
	}
	limits := rates(v.PerMinute, "minute") + ", " + rates(v.PerDay, "day")
	if l := v.User.SpendLimit; l != nil {
		limits += ", spend limit " + api.Exact(l.String())
	}
	if l := v.User.OwnSpendLimit; l != nil {
		limits += ", own spend limit " + api.Exact(l.String())
	}
	lines := []string{p.st.title.Render("LIMITS") + "  " + limits}
	if len(v.Quotas) == 0 {
		return append(lines, "quota: unlimited")
	}
	for _, q := range v.Quotas {
		text := quotaText(&q)
		if quotaLevel(&q) > 0 {
			text = p.st.warn.Render(text)
		}
		lines = append(lines, left(api.Clean(q.Meter), 10)+" "+p.st.bar.Render(meter(q.Used, q.Limit, min(20, max(0, w-50))))+" "+text)
	}
	return lines
}

func (p *user) routes() *table {
	t := newTable(column{head: "ROUTES", least: 16}, column{head: "CALLS", right: true}, column{head: "DOCUMENTS", right: true, drop: 2},
		column{head: "TOKENS", right: true, drop: 3}, column{head: "COST", right: true, drop: 1})
	for _, r := range p.view.Routes {
		t.add(r.Route, api.Count(r.Calls), api.Count(r.Documents), api.Count(r.Tokens), p.o.money(r.CostCents))
	}
	return t
}

func (p *user) keysTable() (t *table, items []any, ids []string) {
	t = newTable(column{head: "KEYS"}, column{head: "NAME", least: 6, drop: 4}, column{head: "SCOPE", drop: 5}, column{head: "STATUS"},
		column{head: "LAST USED (UTC)", drop: 2}, column{head: "EXPIRES", drop: 6}, column{head: "LIMITS", drop: 7})
	for _, k := range p.view.Keys {
		limits := "the plan's"
		if k.PerMinute != nil || k.PerDay != nil {
			limits = own(k.PerMinute, "min") + " " + own(k.PerDay, "day")
		}
		used := "never"
		if k.LastUsed != nil {
			used = minute(k.LastUsed)
		}
		t.add(k.Prefix, dash(k.Name), string(k.Scope), k.Status, used, minute(k.Expires), limits)
		items, ids = append(items, k), append(ids, "key "+strconv.FormatUint(uint64(k.ID), 10))
	}
	return t, items, ids
}

func own(n *int, word string) string {
	switch {
	case n == nil:
		return "plan/" + word
	case *n == 0:
		return "none/" + word
	}
	return api.Count(int64(*n)) + "/" + word
}

func keyDetail(k api.Key) detailMsg {
	networks := "any"
	if len(k.Networks) > 0 {
		networks = fmt.Sprint(k.Networks)
	}
	return detailMsg{"KEY " + k.Prefix, facts(
		"id", strconv.FormatUint(uint64(k.ID), 10), "name", dash(k.Name), "scope", string(k.Scope), "status", k.Status,
		"created (UTC)", moment(k.Created), "last used (UTC)", minute(k.LastUsed), "expires (UTC)", minute(k.Expires), "revoked (UTC)", minute(k.Revoked),
		"networks", networks, "limits", own(k.PerMinute, "min")+" "+own(k.PerDay, "day"))}
}

// facts is pairs of a word and its value, one a line.
func facts(pairs ...string) []string {
	wide := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		wide = max(wide, width(pairs[i]))
	}
	var lines []string
	for i := 0; i+1 < len(pairs); i += 2 {
		lines = append(lines, left(api.Clean(pairs[i]), wide)+"  "+api.Clean(pairs[i+1]))
	}
	return lines
}

func wrapAll(lines []string, w int) []string {
	var all []string
	for _, l := range lines {
		all = append(all, wrap(l, w)...)
	}
	return all
}
