package ledger

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Account is a user with what has been used. Its lock guards the totals and, by
// convention, the holds that admission keeps for the user: settled and held are
// read and changed together.
type Account struct {
	id   UserID
	user atomic.Pointer[User]

	mu     sync.Mutex
	last   uint64 // the user's newest usage entry
	late   int64  // milliseconds: the longest time from happening to logging
	months []monthTotals
	day    dayCount
	keys   []keyUse // by Key.Index, days by Key.Counts
	purse  *purse   // nil: credits were never granted or missed

	// hours is what was added since the last checkpoint; draining is what the
	// running checkpoint is about to add to the rows on disk.
	// Their memory is used in turn.
	hours, draining []hourTotals

	// watcher is here because the writer looks at it where it looks at tail: with many
	// users each place in memory that it has to wait for is felt.
	watcher atomic.Pointer[Watcher]

	// The rest belongs to the writer goroutine.
	tail        uint64 // the newest usage entry encoded, ahead of last by one batch
	dirty       bool   // in state.dirty
	userChanged bool   // its users row is old
	saved       *savedAccount
	saving      *checkpoint // the running one, while it has not saved the account
}

// PlanTotals is what a user used on one plan version in a month.
type PlanTotals struct {
	Plan VersionID
	Totals
}

type monthTotals struct {
	month   Month
	changed bool
	plans   []PlanTotals
}

func (m *monthTotals) plan(id VersionID) *Totals {
	for i := range m.plans {
		if m.plans[i].Plan == id {
			return &m.plans[i].Totals
		}
	}
	m.plans = append(m.plans, PlanTotals{Plan: id})
	return &m.plans[len(m.plans)-1].Totals
}

type dayCount struct {
	number int32
	calls  int64
}

func (c *dayCount) add(day int32) {
	switch {
	case day > c.number:
		*c = dayCount{day, 1}
	case day == c.number:
		c.calls++
	}
}

func (c dayCount) on(day int32) int64 {
	if c.number == day {
		return c.calls
	}
	return 0
}

type keyUse struct {
	last int64 // milliseconds
	day  dayCount
}

// ID is the user's number.
func (a *Account) ID() UserID { return a.id }

// User is the user as it is now: a snapshot that nobody changes.
func (a *Account) User() *User { return a.user.Load() }

// Lock guards the account's totals. It is held for moments only; no ledger
// method may be called under it.
func (a *Account) Lock() { a.mu.Lock() }

// Unlock ends Lock.
func (a *Account) Unlock() { a.mu.Unlock() }

// Month is what the user used in a month, by plan version, in the open and the
// previous period; of others it may be nil: see [Ledger.Month]. Call it under
// Lock; the slice is valid until Unlock.
func (a *Account) Month(m Month) []PlanTotals {
	for i := range a.months {
		if a.months[i].month == m {
			return a.months[i].plans
		}
	}
	return nil
}

// DayCalls counts the user's records, billed or not, admitted on a day; 0 when
// a later day has begun. Call it under Lock.
func (a *Account) DayCalls(d Day) int64 { return a.day.on(d.Number) }

// KeyDayCalls is DayCalls of one key and those it was rotated from, by [Key.Counts].
func (a *Account) KeyDayCalls(index int, d Day) int64 {
	if index >= len(a.keys) {
		return 0
	}
	return a.keys[index].day.on(d.Number)
}

// KeyLastUsed is when the newest record of a key was admitted, in UTC; zero
// when there is none. Call it under Lock.
func (a *Account) KeyLastUsed(index int) time.Time {
	if index >= len(a.keys) || a.keys[index].last == 0 {
		return time.Time{}
	}
	return time.UnixMilli(a.keys[index].last).UTC()
}

// plus is a + b, or the nearest value that there is: totals that wrapped around
// would be negative, and a ledger of such would not open.
func plus[T ~int64](a, b T) T {
	sum := a + b
	switch {
	case b > 0 && sum < a:
		return math.MaxInt64
	case b < 0 && sum > a:
		return math.MinInt64
	}
	return sum
}

// add counts a record, n times: 1, or -1 to take a corrected one back.
func (t *Totals) add(u *Usage, n int64) {
	if !u.Billed {
		t.Unbilled += n
		return
	}
	t.Calls += n
	t.Documents = plus(t.Documents, n*u.Documents)
	t.Tokens = plus(t.Tokens, n*u.Tokens)
	t.Cost = plus(t.Cost, Amount(n)*u.Cost)
	for _, q := range u.Named {
		t.addNamed(q.Meter, n*q.N)
	}
}

// merge adds other to t.
func (t *Totals) merge(other Totals) {
	t.Calls += other.Calls
	t.Unbilled += other.Unbilled
	t.Documents = plus(t.Documents, other.Documents)
	t.Tokens = plus(t.Tokens, other.Tokens)
	t.Cost = plus(t.Cost, other.Cost)
	for _, q := range other.Named {
		t.addNamed(q.Meter, q.N)
	}
}

func (t *Totals) addNamed(meter string, n int64) {
	i, found := slices.BinarySearchFunc(t.Named, meter, func(q Quantity, m string) int {
		switch {
		case q.Meter < m:
			return -1
		case q.Meter > m:
			return 1
		}
		return 0
	})
	if !found {
		t.Named = slices.Insert(t.Named, i, Quantity{Meter: meter})
	}
	t.Named[i].N = plus(t.Named[i].N, n)
}

// Sum adds up the plans of a month.
func Sum(plans []PlanTotals) Totals {
	var t Totals
	for _, p := range plans {
		t.merge(p.Totals)
	}
	return t
}

// count folds a record into the account's totals, n times.
func (a *Account) count(u *Usage, month *monthTotals, n int64) {
	plan := u.Plan
	if a.id == 0 {
		plan = 0 // everyone together is on no plan
	}
	month.changed = true
	month.plan(plan).add(u, n)
	a.hour(hourOf(u.Time)).count(u, n)
}

// hour is the open delta of an hour.
func (a *Account) hour(number int32) *hourTotals {
	for i := len(a.hours) - 1; i >= 0; i-- {
		if a.hours[i].hour == number {
			return &a.hours[i]
		}
	}
	if len(a.hours) < cap(a.hours) { // one that a checkpoint is done with, and its routes
		a.hours = a.hours[:len(a.hours)+1]
	} else {
		a.hours = append(a.hours, hourTotals{})
	}
	h := &a.hours[len(a.hours)-1]
	*h = hourTotals{hour: number, routes: h.routes[:0]}
	return h
}
