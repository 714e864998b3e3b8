package admission

import (
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// terms is what the plan of a user says for one period, made ready for
// admission. It holds as long as the user's snapshot, the period and the plan
// version in force stay what they were, and is made anew when one has changed.
// It is never changed.
type terms struct {
	user     *ledger.User
	period   ledger.Period
	version  *ledger.Version
	plan     *pricing.Plan
	schedule *pricing.Schedule
	meters   []string // that the plan has a quota for, the one shown first in front
	spend    int64    // nanos: the lower of the user's two spend limits; -1: none
	own      []int    // Key.Index of the keys with a day limit of their own
}

// moment is what has to be known of a call before the account is locked,
// because finding it takes the ledger's own lock.
type moment struct {
	wall   int64 // Unix nanoseconds
	time   time.Time
	day    ledger.Day
	key    *ledger.Key
	route  *ledger.Version
	prices *pricing.Route
	*terms
}

// holds tells whether t, in Unix nanoseconds, lies in the moment's day and period.
func (m *moment) holds(t int64) bool {
	at := time.Unix(0, t)
	return m.day.Contains(at) && m.period.Contains(at)
}

// moment finds what a call on a route is admitted with at a time.
func (g *Gate) moment(c *Caller, u *user, wall int64, route string) (m moment, err error) {
	m.wall = wall
	m.time = time.Unix(0, wall).UTC()
	m.day = g.ledger.DayAt(m.time)
	m.key = g.ledger.KeyByID(c.Key.ID)
	if m.key == nil {
		return m, fmt.Errorf("key %d: %w", c.Key.ID, ledger.ErrNotFound)
	}
	if m.terms, err = g.terms(c.Account, u, m.time); err != nil {
		return m, err
	}
	m.route, m.prices, err = g.route(route, m.user.Created, m.time)
	return m, err
}

// route is the version of a route's prices for a user who was created at joined.
func (g *Gate) route(pattern string, joined, now time.Time) (*ledger.Version, *pricing.Route, error) {
	v := g.ledger.VersionAt(ledger.RouteVersion, pattern, joined, now)
	if v == nil {
		return nil, nil, fmt.Errorf("prices of route %q at %v: %w", pattern, now, ledger.ErrNotFound)
	}
	prices, err := g.book.Route(v)
	return v, prices, err
}

// terms is the user's terms at now, from memory where nothing has changed.
func (g *Gate) terms(a *ledger.Account, u *user, now time.Time) (*terms, error) {
	snapshot := a.User()
	if len(snapshot.Plans) == 0 {
		return nil, fmt.Errorf("plan of user %d: %w", snapshot.ID, ledger.ErrNotFound)
	}
	assigned := snapshot.PlanAt(now)
	version := g.ledger.VersionAt(ledger.PlanVersion, assigned.Plan, assigned.From, now)
	if version == nil {
		return nil, fmt.Errorf("plan %q of user %d at %v: %w", assigned.Plan, snapshot.ID, now, ledger.ErrNotFound)
	}
	if t := u.terms.Load(); t != nil && t.user == snapshot && t.version == version && t.period.Contains(now) {
		return t, nil
	}
	t := &terms{user: snapshot, version: version, period: g.ledger.PeriodAt(now), spend: spendLimit(snapshot)}
	var err error
	if t.plan, err = g.book.Plan(version); err != nil {
		return nil, err
	}
	if t.schedule, err = g.book.Schedule(g.versions(), snapshot, t.period, g.basis); err != nil {
		return nil, err
	}
	t.meters = quotaMeters(t.plan)
	for _, id := range snapshot.Keys {
		if k := g.ledger.KeyByID(id); k != nil && k.PerDay != nil {
			t.own = append(t.own, k.Index)
		}
	}
	u.terms.Store(t)
	return t, nil
}

// quotaMeters is the meters with a quota, the one that is shown first in front.
func quotaMeters(p *pricing.Plan) []string {
	first := p.QuotaMeter()
	var meters []string
	for meter := range p.Quota {
		if meter != first {
			meters = append(meters, meter)
		}
	}
	slices.Sort(meters)
	if first != "" {
		meters = slices.Insert(meters, 0, first)
	}
	return meters
}

// spendLimit is the lower of the operator's and the customer's own limit, in
// nanos; -1 where there is neither.
func spendLimit(u *ledger.User) int64 {
	limit := int64(-1)
	for _, l := range []*ledger.Amount{u.SpendLimit, u.OwnLimit} {
		if l != nil && (limit < 0 || int64(*l) < limit) {
			limit = max(0, int64(*l))
		}
	}
	return limit
}

// versions is what a schedule may ask for while an account is locked: it finds
// plan versions without the ledger's lock. It has those that were known when it
// was made; usage on later ones belongs to later terms.
type versions struct {
	*ledger.Ledger
	plans []*ledger.Version
}

// versions is made anew only when there are new ones, since each user's
// schedule keeps it.
func (g *Gate) versions() *versions {
	plans := g.ledger.Versions(ledger.PlanVersion)
	if v := g.known.Load(); v != nil && slices.Equal(v.plans, plans) {
		return v
	}
	v := &versions{g.ledger, plans}
	g.known.Store(v)
	return v
}

// Versions is the plan versions; nothing here asks for those of routes.
func (v *versions) Versions(kind ledger.VersionKind) []*ledger.Version {
	if kind != ledger.PlanVersion {
		return nil
	}
	return v.plans
}

// VersionByID finds a plan version.
func (v *versions) VersionByID(id ledger.VersionID) *ledger.Version {
	for _, p := range v.plans {
		if p.ID == id {
			return p
		}
	}
	return nil
}
