package api

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"tollgate/ledger"
)

// shownDays is how many days the charts show.
const shownDays = 30

// usedDays is what somebody used by day and by route, from hourly totals. Hours
// into which hardly a call falls any more are added up once in a while, the
// newest each time. An hour that midnight cuts counts where it begins.
type usedDays struct {
	mu    sync.Mutex
	month ledger.Period
	days  []ledger.Day // oldest first; the last is today
	past  memo[used]
	until time.Time // that past has
}

// used is sums by day and, in the open period, by route.
type used struct {
	days   map[int32]sums
	routes map[string]sums
}

type sums struct {
	calls, documents, tokens int64
	cost                     ledger.Amount
}

func (a sums) plus(t ledger.Totals) sums {
	return sums{plus(a.calls, t.Calls), plus(a.documents, t.Documents), plus(a.tokens, t.Tokens), plus(a.cost, t.Cost)}
}

func (a sums) and(b sums) sums {
	return a.plus(ledger.Totals{Calls: b.calls, Documents: b.documents, Tokens: b.tokens, Cost: b.cost})
}

// plus is a + b, or the largest value that there is, as in the ledger's totals.
func plus[T ~int64](a, b T) T {
	if sum := a + b; b < 0 || sum >= a {
		return sum
	}
	return math.MaxInt64
}

// of is the last days, oldest first, and the routes of the open period, most
// calls first.
func (d *usedDays) of(s *service, user ledger.UserID, now time.Time) ([]UsedOnDay, []UsedOnRoute, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.days); n == 0 || !d.days[n-1].Contains(now) || !d.month.Contains(now) {
		d.begin(s, now)
	}
	// Calls count in the hour in which they began; few last longer than another.
	cut := now.Truncate(time.Hour).Add(-2 * time.Hour)
	if cut.After(d.until) {
		d.until, d.past.made = cut, time.Time{}
	}
	past, err := d.past.get(s, 5*time.Minute, func() (used, error) { return d.sum(s, user, d.begins(), d.until) })
	if err != nil {
		return nil, nil, err
	}
	newest, err := d.sum(s, user, later(d.until, d.begins()), now.Add(time.Hour+ledger.MaxAhead))
	if err != nil {
		return nil, nil, err
	}
	list := make([]UsedOnDay, 0, shownDays)
	for _, day := range d.days {
		t := past.days[day.Number].and(newest.days[day.Number])
		date := time.Unix(int64(day.Number)*86400, 0).UTC().Format(time.DateOnly)
		list = append(list, UsedOnDay{Date: date, Calls: t.calls, Documents: t.documents, Tokens: t.tokens, CostCents: s.cents(t.cost)})
	}
	return list, s.usedOnRoutes(past.routes, newest.routes), nil
}

func (s *service) usedOnRoutes(parts ...map[string]sums) []UsedOnRoute {
	by := map[string]sums{}
	for _, part := range parts {
		for route, t := range part {
			by[route] = by[route].and(t)
		}
	}
	routes := make([]UsedOnRoute, 0, len(by))
	for route, t := range by {
		routes = append(routes, UsedOnRoute{Route: route, Calls: t.calls, Documents: t.documents, Tokens: t.tokens, CostCents: s.cents(t.cost)})
	}
	slices.SortFunc(routes, func(a, b UsedOnRoute) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Route, b.Route))
	})
	return routes
}

// begin starts a day.
func (d *usedDays) begin(s *service, now time.Time) {
	d.month = s.Ledger.PeriodAt(now)
	d.days = d.days[:0]
	for day := s.Ledger.DayAt(now); ; day = s.Ledger.DayAt(day.Start.Add(-1)) {
		if d.days = append(d.days, day); len(d.days) == shownDays {
			break
		}
	}
	slices.Reverse(d.days)
	d.past.made, d.until = time.Time{}, time.Time{}
}

// begins is the first instant that is shown.
func (d *usedDays) begins() time.Time {
	if first := d.days[0].Start; first.Before(d.month.Start) {
		return first
	}
	return d.month.Start
}

// sum adds up the hours that begin in [from, to).
func (d *usedDays) sum(s *service, user ledger.UserID, from, to time.Time) (used, error) {
	u := used{map[int32]sums{}, map[string]sums{}}
	if !from.Before(to) {
		return u, nil
	}
	day := 0
	err := s.Ledger.Hours(user, from, to, func(h ledger.RouteHour) error {
		for day+1 < len(d.days) && !h.Hour.Before(d.days[day].End) {
			day++
		}
		if number := d.days[day].Number; d.days[day].Contains(h.Hour) {
			u.days[number] = u.days[number].plus(h.Totals)
		}
		if d.month.Contains(h.Hour) {
			name := ""
			if v := s.Ledger.VersionByID(h.Route); v != nil {
				name = v.Name
			}
			u.routes[name] = u.routes[name].plus(h.Totals)
		}
		return nil
	})
	if err != nil {
		return u, fmt.Errorf("reading the days of user %d: %w", user, err)
	}
	return u, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
