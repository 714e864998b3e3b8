package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// overview is the page of the appliance at a glance.
type overview struct {
	*shared
	view  *api.Overview
	lines scroll
}

func (p *overview) open(ctx context.Context) *stream {
	return follow(ctx, p.server.WatchOverview, nil)
}

func (p *overview) show(view any) {
	v := view.(api.Overview)
	p.view = &v
}

func (p *overview) window() *scroll { return &p.lines }

func (p *overview) asOf() time.Time {
	if p.view == nil {
		return time.Time{}
	}
	return p.view.At
}

func (p *overview) keys() []key.Binding { return nil }
func (p *overview) target() target      { return target{} }

func (p *overview) key(k tea.KeyMsg) tea.Msg {
	p.lines.key(k)
	return nil
}

// wideEnough is from where two blocks stand side by side.
const wideEnough = 110

func (p *overview) body(w, h int) []string {
	if p.view == nil {
		return nil
	}
	var rows []row
	add := func(lines []string) {
		for _, l := range lines {
			rows = append(rows, row{text: l})
		}
	}
	add(p.attention(w))
	add(p.program())
	if w >= wideEnough {
		half := (w - gap) / 2
		high := min(16, max(7, h-len(rows)-len(p.view.Runs)-7))
		add(beside(half, append(p.traffic(half), p.troubles(half)...), p.days(half, high)))
		add(beside(half, p.month(half), p.ledger(half)))
		add(p.runs(w))
	} else {
		troubles := p.troubles(w)
		high := min(4, max(2, h-16-len(rows)-len(troubles)))
		add(p.traffic(w))
		if len(troubles) > 1 { // what goes wrong is seen first
			add(troubles)
		}
		add(p.days(w, high))
		add(p.month(w))
		add(p.ledger(w))
		add(p.runs(w))
		if len(troubles) == 1 {
			add(troubles)
		}
	}
	p.lines.set(rows)
	return p.lines.view(p.st, w, h)
}

// beside sets two blocks next to each other, the left one w wide.
func beside(w int, a, b []string) []string {
	lines := make([]string, max(len(a), len(b)))
	for i := range lines {
		if i < len(a) {
			lines[i] = a[i]
		}
		if i < len(b) {
			lines[i] = left(lines[i], w) + strings.Repeat(" ", gap) + b[i]
		}
	}
	return lines
}

// program is the running server in a line.
func (p *overview) program() []string {
	v := p.view
	state := "ready"
	if !v.Ready {
		state = p.st.bad.Render("NOT READY")
	}
	if v.TestClock {
		state += ", " + p.st.warn.Render("ON A TEST CLOCK")
	}
	return []string{p.st.title.Render("TOLLGATE "+api.Clean(dash(v.Version))) + "  " + state + fmt.Sprintf(", up %s, %s", span(time.Duration(v.UptimeMS)*time.Millisecond), plural(int64(v.Users), "user", "users"))}
}

func (p *overview) attention(w int) []string {
	if len(p.view.Attention) == 0 && p.view.Ready {
		return nil
	}
	lines := []string{p.st.title.Render("NEEDS ATTENTION")}
	if !p.view.Ready {
		lines = append(lines, p.st.bad.Render("! bad   not ready: "+api.Clean(p.view.NotReady)))
	}
	for _, a := range p.view.Attention {
		sign, style := "- "+left(api.Clean(a.Level), 5)+" ", p.st.warn
		if a.Level == "bad" {
			sign, style = "! bad   ", p.st.bad
		}
		for i, l := range wrap(api.Clean(a.Text), w-width(sign)) {
			if i > 0 {
				sign = strings.Repeat(" ", width(sign))
			}
			lines = append(lines, style.Render(sign+l))
		}
	}
	return lines
}

func (p *overview) traffic(w int) []string {
	t := p.view.Traffic
	rate := api.Count(t.CallsPerSecond) + " calls/s "
	covered := time.Duration(int64(len(t.Samples))*t.SampleMS) * time.Millisecond
	tail := fmt.Sprintf(" %s", span(covered))
	return []string{
		p.st.title.Render("TRAFFIC") + "  " + p.inFlight(),
		rate + p.st.bar.Render(sparkline(t.Samples, w-width(rate)-width(tail))) + p.st.faint.Render(tail),
		p.latency(),
	}
}

func (p *overview) inFlight() string {
	t := p.view.Traffic
	text := fmt.Sprintf("%s in flight", api.Count(t.InFlight))
	if t.Streaming > 0 {
		text += fmt.Sprintf(", %s streaming", api.Count(t.Streaming))
	}
	if t.Upgraded > 0 {
		text += fmt.Sprintf(", %s upgraded", api.Count(t.Upgraded))
	}
	return text
}

func (p *overview) latency() string {
	t := p.view.Traffic
	if t.P99MS == 0 {
		return "latency: no calls in the last minute"
	}
	return fmt.Sprintf("latency p50 %s  p95 %s  p99 %s", millis(t.P50MS), millis(t.P95MS), millis(t.P99MS))
}

// troubles is what did not end well or was refused, by reason.
func (p *overview) troubles(w int) []string {
	t := newTable(column{head: "NOT OK AND REFUSED", least: 12}, column{head: "LAST MINUTE", right: true}, column{head: "SINCE START", right: true})
	for _, list := range []struct {
		kind    string
		reasons []api.ReasonCount
	}{{"", p.view.Traffic.Outcomes}, {"refused: ", p.view.Traffic.Refusals}} {
		for _, r := range list.reasons {
			t.add(list.kind+r.Reason, api.Count(r.Minute), api.Count(r.Total))
		}
	}
	if len(t.rows) == 0 {
		return []string{p.st.title.Render("NOT OK AND REFUSED") + "  none since the start"}
	}
	head, rows := t.lay(w)
	return append([]string{p.st.title.Render(head)}, rows...)
}

func (p *overview) days(w, h int) []string {
	return dayChart(p.shared, p.view.Days, w, h)
}

// dayChart draws calls by day and says what the columns stand for.
func dayChart(s *shared, days []api.UsedOnDay, w, h int) []string {
	if len(days) == 0 {
		return []string{s.st.title.Render("CALLS BY DAY") + "  no days yet"}
	}
	days = days[max(0, len(days)-max(w, 1)):]
	values := make([]int64, len(days))
	most := 0
	for i, d := range days {
		values[i] = d.Calls
		if d.Calls > values[most] {
			most = i
		}
	}
	today := days[len(days)-1]
	lines := []string{fit(s.st.title.Render(fmt.Sprintf("CALLS, LAST %d DAYS", len(days)))+
		fmt.Sprintf("  today %s  most %s on %s", api.Count(today.Calls), api.Count(values[most]), api.Clean(days[most].Date)), w)}
	for _, l := range chart(values, w, h) {
		lines = append(lines, s.st.bar.Render(l))
	}
	return lines
}

func (p *overview) month(w int) []string {
	return monthLines(p.shared, p.view.Month, p.view.At)
}

// monthLines is the open period of all users.
func monthLines(s *shared, m api.MonthSoFar, at time.Time) []string {
	head := s.st.title.Render("MONTH "+api.Clean(m.Month)) + "  " + progress(m, at)
	used := fmt.Sprintf("%s, %s, %s", plural(m.Calls, "call", "calls"), plural(m.Documents, "document", "documents"), plural(m.Tokens, "token", "tokens"))
	revenue := "revenue is not rated yet"
	if c := m.Charges; c != nil {
		revenue = fmt.Sprintf("revenue %s so far, %s projected", s.o.money(c.SoFarCents), s.o.priced(c.ProjectedCents))
		if at.Sub(c.At) > time.Minute {
			revenue += " (" + c.At.UTC().Format("15:04") + ")"
		}
	}
	lines := []string{head, used, "cost " + s.o.priced(m.CostCents) + " at the price list", revenue}
	if m.SoldCents != 0 {
		lines = append(lines, "credit packs sold for "+s.o.priced(m.SoldCents))
	}
	return lines
}

func progress(m api.MonthSoFar, at time.Time) string {
	if m.End.IsZero() || !m.End.After(m.Start) {
		return ""
	}
	return percent(int64(at.Sub(m.Start)/time.Second), int64(m.End.Sub(m.Start)/time.Second)) + " over, ends " + minute(&m.End)
}

func (p *overview) ledger(w int) []string {
	l := p.view.Ledger
	commits := "no commit in the last minute"
	if l.CommitP99US > 0 {
		commits = fmt.Sprintf("commit p50 %s  p99 %s", millis(float64(l.CommitP50US)/1000), millis(float64(l.CommitP99US)/1000))
	}
	snapshot := "snapshot: none"
	if l.LastSnapshot != nil {
		snapshot = "snapshot " + minute(l.LastSnapshot) + " (" + span(p.view.At.Sub(*l.LastSnapshot)) + " ago)"
	}
	verified := "verified: not yet"
	switch {
	case l.LastVerify != nil && l.VerifyFound > 0:
		verified = p.st.bad.Render(fmt.Sprintf("! verified %s: %s", minute(l.LastVerify), plural(int64(l.VerifyFound), "PROBLEM", "PROBLEMS")))
	case l.LastVerify != nil:
		verified = "verified " + minute(l.LastVerify) + ": sound"
	}
	return []string{
		p.st.title.Render("LEDGER") + fmt.Sprintf("  %s entries, %s, %s free", api.Count(int64(l.Entries)), api.Size(l.FileBytes), api.Size(l.FreeBytes)),
		commits,
		snapshot,
		verified,
	}
}

func (p *overview) runs(w int) []string {
	if len(p.view.Runs) == 0 {
		return []string{p.st.title.Render("NEXT RUNS") + "  none is scheduled"}
	}
	t := newTable(column{head: "NEXT RUNS"}, column{head: "NEXT (UTC)"}, column{head: "IN", right: true}, column{head: "LAST", drop: 2}, column{head: "STATE", least: 5})
	for _, r := range p.view.Runs {
		in, state := "-", "ok"
		if r.Next != nil {
			in = span(max(0, r.Next.Sub(p.view.At)))
		}
		switch {
		case r.Running:
			state = "running"
		case r.Error != "":
			state = "FAILED: " + r.Error
		case r.Last == nil:
			state = "-"
		}
		t.add(r.Name, minute(r.Next), in, minute(r.Last), state)
		if r.Error != "" {
			t.style(4, p.st.bad.Render)
		}
	}
	head, rows := t.lay(w)
	return append([]string{p.st.title.Render(head)}, rows...)
}
