package tui

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// mostUsers is how many users are asked for at once, and fewestUsers how many at
// least.
const (
	mostUsers   = 100
	fewestUsers = 20
)

// userSorts is the orders that users can have, as the server names them.
var userSorts = []string{"calls", "cost", "quota", "projected", "email", "id"}

// users is the page of all users: a window of the server's list.
type users struct {
	*shared
	query api.UsersQuery // as asked for
	sort  int            // of userSorts
	view  *api.UsersView
	from  int // the offset of what is shown
	lines scroll
}

func newUsers(s *shared) *users {
	return &users{shared: s, query: api.UsersQuery{Sort: userSorts[0]}}
}

func (p *users) open(ctx context.Context) *stream {
	p.query.Limit = p.fitting()
	q := p.query
	return follow(ctx, func(ctx context.Context, each func(usersFrom) error) error {
		return p.server.WatchUsers(ctx, q, func(v api.UsersView) error { return each(usersFrom{q.Offset, v}) })
	}, nil)
}

// fitting is how many users the screen has room for, within bounds.
func (p *users) fitting() int { return min(max(p.h-5, fewestUsers), mostUsers) }

// usersFrom is a view with the offset that was asked for.
type usersFrom struct {
	offset int
	view   api.UsersView
}

func (p *users) show(view any) {
	v := view.(usersFrom)
	p.view, p.from = &v.view, v.offset
}

func (p *users) window() *scroll { return &p.lines }

func (p *users) asOf() time.Time {
	if p.view == nil {
		return time.Time{}
	}
	return p.view.At
}

func (p *users) keys() []key.Binding {
	k := p.keyMap
	return []key.Binding{k.enter, k.filter, k.sort, k.turn, k.nextPage, k.previousPage, k.records}
}

func (p *users) chosen() (api.UserRow, bool) {
	u, ok := p.lines.chosen().(api.UserRow)
	return u, ok
}

func (p *users) target() target {
	u, ok := p.chosen()
	if !ok {
		return target{}
	}
	return target{user: &targetUser{rowID(u), u.Email, u.Plan, string(u.Status)}}
}

// rowID is the id of a user as it is asked for.
func rowID(u api.UserRow) string { return strconv.FormatUint(uint64(u.ID), 10) }

func (p *users) key(k tea.KeyMsg) tea.Msg {
	keys := p.keyMap
	switch {
	case matches(k, keys.enter):
		if u, ok := p.chosen(); ok {
			return openMsg{rowID(u)}
		}
	case matches(k, keys.records):
		if u, ok := p.chosen(); ok {
			return followMsg{rowID(u)}
		}
	case matches(k, keys.filter):
		return promptMsg{"filter", "in e-mail, name, company, plan, status, id", p.query.Filter, func(text string) tea.Msg {
			return p.ask(func() { p.query.Filter = text })
		}}
	case matches(k, keys.back) && p.query.Filter != "":
		return p.ask(func() { p.query.Filter = "" })
	case matches(k, keys.sort):
		return p.ask(func() {
			p.sort = (p.sort + 1) % len(userSorts)
			p.query.Sort = userSorts[p.sort]
			p.query.Up = p.query.Sort == "email" || p.query.Sort == "id"
		})
	case matches(k, keys.turn):
		return p.ask(func() { p.query.Up = !p.query.Up })
	case matches(k, keys.nextPage):
		return p.leaf(p.query.Limit)
	case matches(k, keys.previousPage):
		return p.leaf(-p.query.Limit)
	default:
		mine, moved := p.lines.key(k)
		if mine && !moved { // past the edge of what the server sent
			switch k.String() {
			case "down", "j", "pgdown", " ":
				return p.leaf(p.query.Limit)
			case "up", "k", "pgup", "b":
				return p.leaf(-p.query.Limit)
			}
		}
	}
	return nil
}

// ask changes what is asked for, from the first user on.
func (p *users) ask(change func()) tea.Msg {
	change()
	p.query.Offset = 0
	p.lines.first()
	return reopenMsg{}
}

// leaf goes on by so many users, where there are some.
func (p *users) leaf(by int) tea.Msg {
	to := max(0, p.query.Offset+by)
	if p.view == nil || to == p.query.Offset || to >= p.view.Total {
		return nil
	}
	p.query.Offset = to
	p.lines.first()
	return reopenMsg{}
}

func (p *users) body(w, h int) []string {
	if p.view == nil {
		return nil
	}
	v := p.view
	lines := []string{fit(p.head(), w)}
	if len(v.Users) == 0 {
		if v.All == 0 {
			return append(lines, "There are no users. Add one with: tollgate user add --email E")
		}
		return append(lines, "No user fits. esc drops the filter.")
	}
	t := newTable(
		column{head: "USER" + p.mark("id"), right: true, drop: 10},
		column{head: "E-MAIL" + p.mark("email"), least: 18},
		column{head: "PLAN", drop: 5},
		column{head: "CALLS" + p.mark("calls"), right: true, drop: 6},
		column{head: "QUOTA" + p.mark("quota"), right: true},
		column{head: "", drop: 9},
		column{head: "DOCUMENTS", right: true, drop: 12},
		column{head: "TOKENS", right: true, drop: 13},
		column{head: "COST" + p.mark("cost"), right: true, drop: 4},
		column{head: "SO FAR", right: true, drop: 11},
		column{head: "PROJECTED" + p.mark("projected"), right: true, drop: 7},
		column{head: "CREDITS", right: true, drop: 8},
		column{head: "STATUS", drop: 1, least: 9},
	)
	for i, c := range t.columns { // what they are ordered by is always seen
		if c.head != strings.TrimRight(c.head, "▲▼") {
			t.columns[i].drop = 0
		}
	}
	for _, u := range v.Users {
		quota, bar := quotaText(u.Quota), ""
		if u.Quota != nil {
			bar = meter(u.Quota.Used, u.Quota.Limit, 10)
		}
		balance := "-"
		if u.Balance != nil {
			balance = api.Count(*u.Balance)
		}
		name := dash(u.Email)
		if u.Status != "active" || u.Owes {
			name = "! " + name // where the status has no room
		}
		t.add(rowID(u), name, u.Plan, api.Count(u.Calls), quota, bar, api.Count(u.Documents), api.Count(u.Tokens),
			p.o.money(u.CostCents), p.o.money(u.ChargeCents), p.o.money(u.ProjectedCents), balance, statusText(u))
		if quotaLevel(u.Quota) > 0 {
			t.style(4, p.st.warn.Render)
		}
		t.style(5, p.st.bar.Render)
		if u.Status != "active" || u.Owes {
			t.style(12, p.st.bad.Render)
		}
	}
	if !slices.ContainsFunc(v.Users, func(u api.UserRow) bool { return u.Balance != nil }) {
		t.hide(11)
	}
	head, cells := t.lay(w - 2)
	rows := make([]row, len(cells))
	for i, c := range cells {
		rows[i] = row{c, rowID(v.Users[i]), v.Users[i]}
	}
	p.lines.set(rows)
	lines = append(lines, "  "+p.st.bold.Render(head))
	return append(lines, p.lines.view(p.st, w, h-len(lines))...)
}

// head says which users are shown, of how many, in which order.
func (p *users) head() string {
	v := p.view
	text := p.st.title.Render("USERS " + api.Clean(v.Month))
	if len(v.Users) > 0 {
		text += fmt.Sprintf("  %s-%s of %s", api.Count(int64(p.from+1)), api.Count(int64(p.from+len(v.Users))), api.Count(int64(v.Total)))
	}
	if p.query.Filter != "" {
		text += fmt.Sprintf("  filter %q (of %s)", api.Clean(p.query.Filter), api.Count(int64(v.All)))
	}
	return text + "  by " + p.query.Sort
}

// mark shows the order in the heading of its column.
func (p *users) mark(sort string) string {
	switch {
	case p.query.Sort != sort:
		return ""
	case p.query.Up:
		return "▲"
	}
	return "▼"
}

// quotaText is 847 / 1,000 (84.7%), with a word where it is used up.
func quotaText(q *api.MeterQuota) string {
	if q == nil {
		return "unlimited"
	}
	text := fmt.Sprintf("%s / %s (%s)", api.Count(q.Used), api.Count(q.Limit), percent(q.Used, q.Limit))
	switch quotaLevel(q) {
	case 2:
		if q.Soft {
			return text + " over"
		}
		return text + " FULL"
	case 1:
		return text + " !"
	}
	return text
}

// quotaLevel is 1 from 80 % on and 2 where all is used.
func quotaLevel(q *api.MeterQuota) int {
	switch {
	case q == nil:
		return 0
	case q.Used >= q.Limit:
		return 2
	case q.Used >= q.Limit-q.Limit/5:
		return 1
	}
	return 0
}

// statusText is a user's status with its reason, and what else is wrong.
func statusText(u api.UserRow) string {
	text := string(u.Status)
	if u.SuspendedFor != "" {
		text += " (" + u.SuspendedFor + ")"
	}
	if u.Owes {
		text += ", owes"
	}
	return text
}
