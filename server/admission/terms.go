package admission

import (
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// terms is what the plan of a user says for a stretch of a period, made ready
// for admission. It holds from one instant until another, as long as the user's
// snapshot stays what it is and the ledger has no newer versions: these four say
// when it is made anew. It is never changed.
type terms struct {
	user     *ledger.User
	from     time.Time
	until    time.Time
	versions *versions

	period   ledger.Period
	version  *ledger.Version
	plan     *pricing.Plan
	schedule *pricing.Schedule
	meters   []string      // that the plan has a quota for, the one shown first in front
	names    []string      // of their limits
	spend    int64         // nanos: the lower of the user's two spend limits; -1: none
	advance  ledger.Amount // nanos: what was paid of the period's usage as it came
	owed     ledger.Amount // nanos: what is not paid of invoices of the periods before
	own      []int         // Key.Counts of the keys with a day limit of their own
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
	t := u.terms.Load()
	if t != nil && t.user == snapshot && !now.Before(t.from) && now.Before(t.until) && t.versions.newest() {
		return t, nil
	}
	t = &terms{user: snapshot, versions: g.versions(), period: g.ledger.PeriodAt(now), spend: -1}
	if limit := pricing.SpendLimit(snapshot); limit != nil {
		t.spend = max(0, int64(*limit))
	}
	var err error
	if t.advance, err = ledger.FromMinor(snapshot.Advance(t.period.Month), g.basis.Digits); err != nil {
		return nil, err
	}
	var owed int64
	for _, i := range snapshot.Invoices {
		owed += i.Due
	}
	if t.owed, err = ledger.FromMinor(owed, g.basis.Digits); err != nil {
		return nil, err
	}
	if t.schedule, err = g.book.Schedule(t.versions, snapshot, t.period, g.basis); err != nil {
		return nil, err
	}
	segment, ok := t.schedule.At(now)
	if !ok {
		return nil, fmt.Errorf("plan of user %d at %v: %w", snapshot.ID, now, ledger.ErrNotFound)
	}
	t.from, t.until = segment.From, segment.To
	if now.Before(t.from) {
		t.from = now
	}
	if t.version, t.plan = t.versions.VersionByID(segment.Version), segment.Plan; t.version == nil {
		return nil, fmt.Errorf("plan version %d of user %d: %w", segment.Version, snapshot.ID, ledger.ErrNotFound)
	}
	t.meters = quotaMeters(t.plan)
	for i, meter := range t.meters {
		name := "month"
		if i > 0 {
			name = "month-" + meter
		}
		t.names = append(t.names, name)
	}
	for _, id := range snapshot.Keys {
		if k := g.ledger.KeyByID(id); k != nil && k.PerDay != nil && !slices.Contains(t.own, k.Counts) {
			t.own = append(t.own, k.Counts)
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

// versions is what a schedule may ask for while an account is locked: it finds
// plan versions without the ledger's lock. It has those that were known when it
// was made; usage on later ones belongs to later terms.
type versions struct {
	*ledger.Ledger
	plans []*ledger.Version // everyone's
	byID  []*ledger.Version // all, of single users and of routes too
}

// versions is made anew only when there are new ones: each user's terms keep it.
func (g *Gate) versions() *versions {
	known := g.known.Load()
	if known != nil && known.newest() {
		return known
	}
	v := &versions{Ledger: g.ledger, byID: []*ledger.Version{nil}}
	if known != nil {
		v.byID = slices.Clip(known.byID)
	}
	for next := v.next(); next != nil; next = v.next() {
		v.byID = append(v.byID, next)
	}
	// A version that is made now is in the list already, and in the next one again.
	v.plans = g.ledger.Versions(ledger.PlanVersion)
	g.known.Store(v)
	return v
}

// newest tells whether the ledger has no version that was made after v.
func (v *versions) newest() bool { return v.next() == nil }

func (v *versions) next() *ledger.Version {
	return v.Ledger.VersionByID(ledger.VersionID(len(v.byID)))
}

// Versions is the plan versions; nothing here asks for those of routes.
func (v *versions) Versions(kind ledger.VersionKind) []*ledger.Version {
	if kind != ledger.PlanVersion {
		return nil
	}
	return v.plans
}

// VersionByID finds a version.
func (v *versions) VersionByID(id ledger.VersionID) *ledger.Version {
	if int(id) >= len(v.byID) {
		return nil
	}
	return v.byID[id]
}
