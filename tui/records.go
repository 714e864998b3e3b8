package tui

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// mostRecords is how many records are kept to look back on.
const mostRecords = 500

// records is the page that follows the calls as they are recorded.
type records struct {
	*shared
	filter  string // as it was typed
	asked   api.RecordsFilter
	at      time.Time
	shown   []api.Record // oldest first
	skipped int64
	paused  bool
	waiting api.RecordsTail // what came during a pause
	lines   scroll
}

func newRecords(s *shared) *records { return &records{shared: s} }

// of follows one user's records.
func (p *records) of(user string) { p.ask("user:" + user) }

func (p *records) ask(filter string) {
	p.filter, p.asked = filter, parseFilter(filter)
	p.shown, p.waiting, p.skipped, p.paused = nil, api.RecordsTail{}, 0, false
	p.lines = scroll{}
}

func (p *records) open(ctx context.Context) *stream {
	f := p.asked
	f.Limit = 100
	p.shown, p.waiting = nil, api.RecordsTail{} // it begins with the newest again
	return follow(ctx, func(ctx context.Context, each func(tail) error) error {
		first := true
		return p.server.WatchRecords(ctx, f, func(t api.RecordsTail) error {
			begin := first
			first = false
			return each(tail{t, begin})
		})
	}, joinTails)
}

// tail is records that came; begin: they are the newest of all, from a new
// connection, and stand in for what was shown.
type tail struct {
	api.RecordsTail
	begin bool
}

// joinTails is what came in two steps as if it had come in one.
func joinTails(old, next tail) tail {
	if next.begin {
		return next
	}
	old.At, old.Skipped = next.At, old.Skipped+next.Skipped
	old.Records = newest(old.Records, next.Records)
	return old
}

// newest is the last mostRecords of both.
func newest(old, next []api.Record) []api.Record {
	all := slices.Concat(old, next)
	return slices.Clone(all[max(0, len(all)-mostRecords):])
}

func (p *records) show(view any) {
	t := view.(tail)
	if p.paused {
		p.waiting = joinTails(tail{p.waiting, false}, t).RecordsTail
		return
	}
	p.take(t)
}

func (p *records) take(t tail) {
	if t.begin {
		p.shown = nil
	}
	p.at, p.skipped = t.At, p.skipped+t.Skipped
	p.shown = newest(p.shown, t.Records)
}

func (p *records) window() *scroll { return &p.lines }

func (p *records) asOf() time.Time { return p.at }
func (p *records) target() target  { return target{} }
func (p *records) keys() []key.Binding {
	k := p.keyMap
	return []key.Binding{k.pause, k.filter, k.enter}
}

func (p *records) key(k tea.KeyMsg) tea.Msg {
	keys := p.keyMap
	switch {
	case matches(k, keys.pause):
		if p.paused = !p.paused; !p.paused {
			if !p.waiting.At.IsZero() {
				p.take(tail{p.waiting, false})
			}
			p.waiting = api.RecordsTail{}
		}
	case matches(k, keys.filter):
		return promptMsg{"filter", "user:ann@example.com route:/v1 status:5xx outcome:ok", p.filter, func(text string) tea.Msg {
			p.ask(text)
			return reopenMsg{}
		}}
	case matches(k, keys.back) && p.filter != "":
		p.ask("")
		return reopenMsg{}
	case matches(k, keys.enter):
		if r, ok := p.lines.chosen().(api.Record); ok {
			return recordDetail(p.shared, r)
		}
	default:
		p.lines.key(k)
	}
	return nil
}

// parseFilter reads words such as user:ann@example.com route:/v1/scan status:5xx
// outcome:client_left. A bare word is taken for what it looks like.
func parseFilter(text string) api.RecordsFilter {
	var f api.RecordsFilter
	for word := range strings.FieldsSeq(text) {
		name, value, named := strings.Cut(word, ":")
		if !named {
			name, value = looksLike(word), word
		}
		switch name {
		case "user":
			f.User = value
		case "status":
			f.Status = value
		case "outcome":
			f.Outcome = value
		case "route":
			f.Route = value
		default: // a route may have a colon
			f.Route = word
		}
	}
	return f
}

// outcomes is those that records have.
var outcomes = []string{"ok", "upstream_error", "upstream_unreachable", "upstream_timeout", "upstream_aborted", "client_left", "quarantined"}

func looksLike(word string) string {
	status := len(word) == 3 && word[0] >= '1' && word[0] <= '5' && (word[1:] == "xx" || strings.Trim(word[1:], "0123456789") == "")
	switch {
	case strings.Contains(word, "@"):
		return "user"
	case status:
		return "status"
	case slices.Contains(outcomes, word):
		return "outcome"
	}
	return "route"
}

func (p *records) body(w, h int) []string {
	head := p.st.title.Render("RECORDS")
	switch {
	case p.paused:
		head += "  " + p.st.warn.Render("PAUSED, "+plural(int64(len(p.waiting.Records)), "record waits", "records wait"))
	case len(p.shown) > 0:
		head += fmt.Sprintf("  the newest %s", api.Count(int64(len(p.shown))))
	}
	if p.filter != "" {
		head += fmt.Sprintf("  filter %q", api.Clean(p.filter))
	}
	if p.skipped > 0 {
		head += "  " + api.Count(p.skipped) + " came too fast and were not looked at"
	}
	lines := []string{head}
	if len(p.shown) == 0 {
		switch {
		case p.at.IsZero():
			return lines
		case p.filter != "":
			return append(lines, "No record fits yet. esc drops the filter.")
		}
		return append(lines, "No calls are recorded yet.")
	}
	t := recordTable("TIME (UTC)", true)
	for _, r := range slices.Backward(p.shown) {
		addRecord(p.shared, t, r, true)
	}
	heading, cells := t.lay(w - 2)
	rows := make([]row, len(cells))
	for i, r := range slices.Backward(p.shown) {
		at := len(p.shown) - 1 - i
		rows[at] = row{cells[at], "record " + strconv.FormatUint(r.Seq, 10), r}
	}
	p.lines.set(rows)
	lines = append(lines, "  "+p.st.bold.Render(heading))
	return append(lines, p.lines.view(p.st, w, h-len(lines))...)
}

// recordTable is the columns of records; of one user without the user.
func recordTable(head string, users bool) *table {
	t := newTable(column{head: head}, column{head: "STATUS"}, column{head: "OUTCOME", drop: 3}, column{head: "ROUTE", least: 16}, column{head: "DOCS", right: true, drop: 4}, column{head: "TOKENS", right: true, drop: 5},
		column{head: "COST", right: true, drop: 1}, column{head: "TOOK", right: true, drop: 2}, column{head: "REQUEST", drop: 9})
	if users {
		t.columns = slices.Insert(t.columns, 1, column{head: "USER", right: true})
	}
	return t
}

func addRecord(s *shared, t *table, r api.Record, users bool) {
	outcome := r.Outcome
	if r.Estimated {
		outcome += " (estimated)"
	}
	cost := api.Exact(r.Cost.String())
	if !r.Billed {
		cost = "unbilled"
	}
	cells := []string{r.Time.UTC().Format("15:04:05"), strconv.Itoa(r.StatusCode), outcome, r.Route, api.Count(r.Documents), api.Count(r.Tokens),
		cost, api.Count(r.ResponseTimeMS) + " ms", r.RequestID}
	at := 1
	if users {
		user := strconv.FormatUint(uint64(r.User), 10)
		if r.User == 0 {
			user = "-"
		}
		cells = slices.Insert(cells, 1, user)
		at = 2
	}
	t.add(cells...)
	if r.StatusCode >= 400 || r.Outcome != "ok" {
		t.style(at, s.st.bad.Render)
		t.style(at+1, s.st.bad.Render)
	}
}

// recordDetail is a record in full.
func recordDetail(s *shared, r api.Record) detailMsg {
	billed := "yes"
	if !r.Billed {
		billed = "no: not in the totals, and counts against no quota"
	}
	estimated := "no"
	if r.Estimated {
		estimated = "yes: the answer had no usage"
	}
	pairs := []string{"request", r.RequestID, "entry", api.Count(int64(r.Seq)), "time", r.Time.UTC().Format("2006-01-02 15:04:05.000") + " UTC",
		"user", strconv.FormatUint(uint64(r.User), 10), "key", strconv.FormatUint(uint64(r.Key), 10), "method", r.Method, "route", r.Route,
		"status", strconv.Itoa(r.StatusCode), "outcome", r.Outcome, "took", api.Count(r.ResponseTimeMS) + " ms",
		"documents", api.Count(r.Documents), "tokens", api.Count(r.Tokens)}
	for _, name := range slices.Sorted(maps.Keys(r.Meters)) {
		pairs = append(pairs, name, api.Count(r.Meters[name]))
	}
	pairs = append(pairs, "cost", api.Exact(r.Cost.String())+" "+upper(s.o.Currency), "billed", billed, "estimated", estimated)
	if r.CreditsBurnt != 0 || r.Uncovered != 0 {
		pairs = append(pairs, "credits burnt", api.Exact(r.CreditsBurnt.String()), "not covered", api.Exact(r.Uncovered.String()))
	}
	return detailMsg{"RECORD " + r.RequestID, facts(pairs...)}
}
