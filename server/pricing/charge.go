package pricing

import (
	"fmt"
	"math"
	"math/bits"

	"tollgate/ledger"
)

// Quota is what is included of a meter in a period, and what was used of it.
type Quota struct {
	Meter    string
	Included int64 // over all segments that pool it
	Used     int64 // in those segments
}

// Remaining is what is left, not below zero.
func (q Quota) Remaining() int64 { return max(0, q.Included-q.Used) }

// Beyond is what was used beyond what is included.
func (q Quota) Beyond() int64 { return max(0, q.Used-q.Included) }

// usage is what was used on each plan version, and what may be added to it.
type usage struct {
	plans []ledger.PlanTotals
	more  ledger.PlanTotals
}

// of is the quantity of a meter on a version.
func (u *usage) of(version ledger.VersionID, meter string) (int64, error) {
	var sum int64
	var ok = true
	for i := range u.plans {
		if u.plans[i].Plan == version {
			sum, ok = plus(sum, u.plans[i].Of(meter), ok)
		}
	}
	if u.more.Plan == version {
		sum, ok = plus(sum, u.more.Of(meter), ok)
	}
	if !ok {
		return 0, fmt.Errorf("sum of %s: %w", meter, ledger.ErrOverflow)
	}
	return max(0, sum), nil
}

func (u *usage) cost(version ledger.VersionID) (sum ledger.Amount, err error) {
	for i := range u.plans {
		if u.plans[i].Plan == version && err == nil {
			sum, err = sum.Add(u.plans[i].Cost)
		}
	}
	if u.more.Plan == version && err == nil {
		sum, err = sum.Add(u.more.Cost)
	}
	return sum, err
}

func plus(a, b int64, ok bool) (int64, bool) {
	return a + b, ok && b >= 0 && a <= math.MaxInt64-b
}

// UsageCharge is the running usage charge, in nanos: what used, and more on top
// of it, come to beyond the fee, without minimums. It is the Usage of the
// [Statement] that Rate gives for the same totals, and what a spend limit is
// held against. more is what is held and asked, on the plan version that it was
// admitted with; the zero value adds nothing. It does not allocate.
func (s *Schedule) UsageCharge(used []ledger.PlanTotals, more ledger.PlanTotals) (ledger.Amount, error) {
	u := usage{used, more}
	full, err := s.covering(&u)
	if err != nil {
		return 0, err
	}
	var sum ledger.Amount
	for i := range full.segments {
		g := &full.segments[i]
		if !g.owner {
			continue
		}
		if g.byCost() {
			cost, err := u.cost(g.Version)
			if err == nil {
				sum, err = sum.Add(cost)
			}
			if err != nil {
				return 0, fmt.Errorf("charging usage on plan %q: %w", g.Plan.ID, err)
			}
		}
		for j := range g.rates {
			r := &g.rates[j]
			if r.free {
				continue
			}
			n, err := full.billable(i, r, &u)
			var part ledger.Amount
			if err == nil {
				part, err = r.price.charge(n)
			}
			if err == nil {
				sum, err = sum.Add(part)
			}
			if err != nil {
				return 0, fmt.Errorf("charging %s on plan %q: %w", r.meter, g.Plan.ID, err)
			}
		}
	}
	return sum, nil
}

func (g *segment) byCost() bool { return g.Plan.ByCost && g.Plan.Billing != Prepaid }

// billable is how many units of r's meter in segment i are beyond what is
// included. The segments of a pool use it up in their order.
func (s *Schedule) billable(i int, r *rate, u *usage) (int64, error) {
	here, err := u.of(s.segments[i].Version, r.meter)
	if err != nil {
		return 0, err
	}
	left := r.included
	if r.pool >= 0 {
		left = s.pools[r.pool].included
		for j := range i {
			if !s.segments[j].pooling(r.pool) {
				continue
			}
			before, err := u.of(s.segments[j].Version, r.meter)
			if err != nil {
				return 0, err
			}
			left = max(0, left-before)
		}
	}
	return max(0, here-left), nil
}

// pooling tells whether usage counted in g uses up a pool.
func (g *segment) pooling(pool int) bool {
	for i := range g.rates {
		if g.rates[i].pool == pool {
			return true
		}
	}
	return false
}

// Quota is what is included of a meter for calls on a plan version, and what
// was used of it. It is false where the version has no quota for the meter:
// unlimited. A version that is in no segment has a quota of nothing. It does not
// allocate.
func (s *Schedule) Quota(plan ledger.VersionID, meter string, used []ledger.PlanTotals) (Quota, bool) {
	q := Quota{Meter: meter}
	known := false
	u := usage{plans: used}
	for i := range s.segments {
		g := &s.segments[i]
		if g.Version != plan || !g.owner {
			continue
		}
		known = true
		for j := range g.rates {
			r := &g.rates[j]
			if r.meter != meter || !r.capped {
				continue
			}
			if r.pool < 0 {
				q.Included, q.Used = r.included, u.saturated(g.Version, meter)
				return q, true
			}
			return s.pooled(r.pool, &u), true
		}
	}
	return q, !known
}

// pooled is the state of a pool.
func (s *Schedule) pooled(pool int, u *usage) Quota {
	q := Quota{Meter: s.pools[pool].meter, Included: s.pools[pool].included}
	for i := range s.segments {
		if s.segments[i].pooling(pool) {
			used := u.saturated(s.segments[i].Version, q.Meter)
			q.Used += min(used, math.MaxInt64-q.Used)
		}
	}
	return q
}

// saturated is for showing and limiting, where more than fits is simply full.
func (u *usage) saturated(version ledger.VersionID, meter string) int64 {
	n, err := u.of(version, meter)
	if err != nil {
		return math.MaxInt64
	}
	return n
}

// covering is s, or s with a segment without length for each version that has
// usage and no segment: a call admitted in the very moment of a change of plan.
func (s *Schedule) covering(u *usage) (*Schedule, error) {
	missing := false
	for i := range u.plans {
		missing = missing || !s.has(u.plans[i].Plan)
	}
	if !missing && (u.more.Plan == 0 || s.has(u.more.Plan)) {
		return s, nil
	}
	return s.withStray(u)
}

func (s *Schedule) has(version ledger.VersionID) bool {
	for i := range s.segments {
		if s.segments[i].Version == version {
			return true
		}
	}
	return false
}

func (s *Schedule) withStray(u *usage) (*Schedule, error) {
	in := s.in
	in.Segments = nil
	start := in.Period.Start
	versions := make([]ledger.VersionID, 0, len(u.plans)+1)
	for i := range u.plans {
		versions = append(versions, u.plans[i].Plan)
	}
	if u.more.Plan != 0 {
		versions = append(versions, u.more.Plan)
	}
	added := make(map[ledger.VersionID]bool)
	for _, v := range versions {
		if s.has(v) || added[v] {
			continue
		}
		if s.terms == nil {
			return nil, fmt.Errorf("rating %v: usage on plan version %d, which no segment has", in.Period.Month, v)
		}
		plan, err := s.terms(v)
		if err != nil {
			return nil, fmt.Errorf("rating %v: usage on plan version %d: %w", in.Period.Month, v, err)
		}
		added[v] = true
		in.Segments = append(in.Segments, Segment{From: start, To: start, Version: v, Plan: plan})
	}
	in.Segments = append(in.Segments, s.in.Segments...)
	return NewSchedule(in)
}

// charge is what n units beyond the included ones come to, without the minimum.
func (p *Price) charge(n int64) (ledger.Amount, error) {
	if p.Model == UnitModel {
		return p.Unit.Times(n)
	}
	var sum ledger.Amount
	var steps [8]step
	list, err := p.steps(n, steps[:0])
	for i := range list {
		if err == nil {
			sum, err = sum.Add(list[i].amount)
		}
	}
	return sum, err
}

// step is one product of which a charge is the sum.
type step struct {
	quantity int64
	unit     ledger.Amount
	amount   ledger.Amount
	tier     int  // index; -1: none
	flat     bool // the tier's flat amount
}

// steps appends the products that price n units.
func (p *Price) steps(n int64, list []step) ([]step, error) {
	if n <= 0 {
		return list, nil
	}
	switch p.Model {
	case UnitModel:
		return appendStep(list, n, p.Unit, -1, false)
	case Package:
		packages := n / p.Size
		if n%p.Size > 0 {
			packages++
		}
		return appendStep(list, packages, p.Unit, -1, false)
	}
	var err error
	below := int64(0) // the end of the tier before
	for i, tier := range p.Tiers {
		end := tier.UpTo
		if end == 0 {
			end = math.MaxInt64
		}
		inside := min(n, end) - below
		if p.Model == Volume {
			inside = n
		}
		if p.Model == Graduated || n <= end {
			if list, err = appendStep(list, inside, tier.Unit, i, false); err != nil {
				return nil, err
			}
			if tier.Flat != 0 {
				list = append(list, step{1, tier.Flat, tier.Flat, i, true})
			}
		}
		if n <= end {
			break
		}
		below = end
	}
	return list, nil
}

func appendStep(list []step, n int64, unit ledger.Amount, tier int, flat bool) ([]step, error) {
	amount, err := unit.Times(n)
	if err != nil {
		return nil, err
	}
	return append(list, step{n, unit, amount, tier, flat}), nil
}

// extrapolate is n × whole ÷ elapsed, rounded to the nearest, for 0 < elapsed <= whole.
func extrapolate(n, whole, elapsed int64) (int64, error) {
	if n <= 0 {
		return n, nil
	}
	hi, lo := bits.Mul64(uint64(n), uint64(whole))
	lo, carry := bits.Add64(lo, uint64(elapsed)/2, 0)
	hi += carry
	if hi >= uint64(elapsed) {
		return 0, ledger.ErrOverflow
	}
	q, _ := bits.Div64(hi, lo, uint64(elapsed))
	if q > math.MaxInt64 {
		return 0, ledger.ErrOverflow
	}
	return int64(q), nil
}
