package admission

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
)

// user is what the gate keeps of a user beside the ledger's account. Everything
// but the atomics is guarded by the account's lock.
type user struct {
	seen  atomic.Int64 // the latest time of an admission, Unix nanoseconds
	terms atomic.Pointer[terms]
	offer atomic.Pointer[offerKept]

	shared  limits    // of the keys without limits of their own
	api     window    // calls of the customer API
	own     []*limits // by Key.Counts, of keys with limits of their own; nil for others
	held    []heldMonth
	credits ledger.Amount       // held, in nanos of one
	sums    []ledger.PlanTotals // room to add settled and held up in
}

// limits is what counts against rate limits.
type limits struct {
	minute window
	days   heldDays
}

// heldMonth is what running calls of one period hold, by plan version. Calls
// counts them, each as one that will be billed.
type heldMonth struct {
	month ledger.Month
	plans []ledger.PlanTotals
}

// heldDays is how many running calls were admitted on which day. Usually it is
// one day; a call may run past midnight.
type heldDays []heldDay

type heldDay struct {
	day   int32
	calls int64
}

func (d heldDays) on(day int32) int64 {
	for i := range d {
		if d[i].day == day {
			return d[i].calls
		}
	}
	return 0
}

func (d *heldDays) add(day int32, calls int64) {
	i := slices.IndexFunc(*d, func(h heldDay) bool { return h.day == day })
	if i < 0 {
		*d = append(*d, heldDay{day: day})
		i = len(*d) - 1
	}
	if (*d)[i].calls += calls; (*d)[i].calls == 0 {
		*d = slices.Delete(*d, i, i+1)
	}
}

// holding is what is held in a period.
func (u *user) holding(month ledger.Month) []ledger.PlanTotals {
	for i := range u.held {
		if u.held[i].month == month {
			return u.held[i].plans
		}
	}
	return nil
}

// hold adds q and its cost to what is held, as one call more.
func (u *user) hold(month ledger.Month, plan ledger.VersionID, q ledger.Quantities, cost ledger.Amount) {
	u.change(month, plan, q, cost, 1)
}

// release takes back what hold added.
func (u *user) release(month ledger.Month, plan ledger.VersionID, q ledger.Quantities, cost ledger.Amount) {
	u.change(month, plan, q, cost, -1)
}

func (u *user) change(month ledger.Month, plan ledger.VersionID, q ledger.Quantities, cost ledger.Amount, sign int64) {
	m := slices.IndexFunc(u.held, func(h heldMonth) bool { return h.month == month })
	if m < 0 {
		m = len(u.held)
		u.held = append(u.held, heldMonth{month: month})
	}
	held := &u.held[m]
	i := slices.IndexFunc(held.plans, func(p ledger.PlanTotals) bool { return p.Plan == plan })
	if i < 0 {
		i = len(held.plans)
		held.plans = append(held.plans, ledger.PlanTotals{Plan: plan})
	}
	t := &held.plans[i].Totals
	t.Calls += sign
	t.Documents += sign * q.Documents
	t.Tokens += sign * q.Tokens
	t.Cost += ledger.Amount(sign) * cost
	for _, n := range q.Named {
		t.Named = addNamed(t.Named, n.Meter, sign*n.N)
	}
	if t.Calls > 0 {
		return
	}
	// What no call holds any more goes. The month that calls are admitted in stays,
	// empty, so that a single caller does not allocate it anew for each call.
	held.plans = slices.Delete(held.plans, i, i+1)
	if len(held.plans) == 0 && m != len(u.held)-1 {
		u.held = slices.Delete(u.held, m, m+1)
	}
}

func addNamed(list []ledger.Quantity, meter string, n int64) []ledger.Quantity {
	i := slices.IndexFunc(list, func(q ledger.Quantity) bool { return q.Meter == meter })
	if i < 0 {
		return append(list, ledger.Quantity{Meter: meter, N: n})
	}
	list[i].N += n
	return list
}

// bounded is what a call can reserve: no more than it can be recorded with.
func bounded(n int64) int64 { return min(max(n, 0), ledger.MaxQuantity) }

// boundedAll is q with each quantity between 0 and what a record can have. It copies Named only
// where it changes something.
func boundedAll(q ledger.Quantities) ledger.Quantities {
	q.Documents, q.Tokens = bounded(q.Documents), bounded(q.Tokens)
	copied := false
	for i, n := range q.Named {
		if b := bounded(n.N); b != n.N {
			if !copied {
				q.Named, copied = slices.Clone(q.Named), true
			}
			q.Named[i].N = b
		}
	}
	return q
}

// atLeast is q raised to what is larger in other.
func atLeast(q, other ledger.Quantities) ledger.Quantities {
	q.Documents, q.Tokens = max(q.Documents, other.Documents), max(q.Tokens, other.Tokens)
	if len(other.Named) == 0 {
		return q
	}
	q.Named = slices.Clone(q.Named)
	for _, n := range other.Named {
		i := slices.IndexFunc(q.Named, func(o ledger.Quantity) bool { return o.Meter == n.Meter })
		if i < 0 {
			q.Named = append(q.Named, n)
		} else {
			q.Named[i].N = max(q.Named[i].N, n.N)
		}
	}
	return q
}

// time is when a call at now takes place: now, or the latest time at which a call
// of the user was admitted, where the clock has stepped back since. Refused calls
// move nothing, so that a clock that was wrong for a moment leaves no trace.
func (u *user) time(now time.Time) int64 { return max(now.UnixNano(), u.seen.Load()) }

// raise notes that a call was admitted at t.
func (u *user) raise(t int64) {
	for seen := u.seen.Load(); seen < t && !u.seen.CompareAndSwap(seen, t); {
		seen = u.seen.Load()
	}
}

// users finds a user's state by id without a lock: ids are dense, so that pages
// of pointers do. Pages are added, never moved.
type users struct {
	pages atomic.Pointer[[]*page]
	mu    sync.Mutex // adding a page
}

const pageSize = 512

type page [pageSize]atomic.Pointer[user]

// of finds or makes the state of a user. floor is the earliest time of its calls,
// as is the user's creation.
func (s *users) of(a *ledger.Account, floor int64) *user {
	id := a.ID()
	if u := s.find(id); u != nil {
		return u
	}
	floor = max(floor, a.User().Created.UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	number := int(id / pageSize)
	var pages []*page
	if p := s.pages.Load(); p != nil {
		pages = *p
	}
	if number >= len(pages) {
		pages = slices.Clone(pages)
		for number >= len(pages) {
			pages = append(pages, new(page))
		}
		s.pages.Store(&pages)
	}
	slot := &pages[number][id%pageSize]
	if slot.Load() == nil {
		u := new(user)
		u.seen.Store(floor)
		slot.Store(u)
	}
	return slot.Load()
}

func (s *users) find(id ledger.UserID) *user {
	pages := s.pages.Load()
	if pages == nil || int(id/pageSize) >= len(*pages) {
		return nil
	}
	return (*pages)[id/pageSize][id%pageSize].Load()
}

// each calls f with every user that has a state.
func (s *users) each(f func(ledger.UserID, *user)) {
	pages := s.pages.Load()
	if pages == nil {
		return
	}
	for number, p := range *pages {
		for i := range p {
			if u := p[i].Load(); u != nil {
				f(ledger.UserID(number*pageSize+i), u)
			}
		}
	}
}
