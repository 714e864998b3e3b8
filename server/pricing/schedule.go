package pricing

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"

	"tollgate/ledger"
)

// Input is a user's period before usage: what a [Schedule] is made of.
type Input struct {
	Period   ledger.Period
	Digits   int            // of the currency's minor unit: 2 for usd
	Segments []Segment      // by time, without overlap, within the period
	First    bool           // the user's first period
	Full     bool           // proration = "full": the month of an upgrade is whole
	Zone     *time.Location // in which descriptions name dates; nil: UTC
}

// Segment is a stretch of a period, [From, To), in which one version of one plan
// was in force. Plan is shared and not changed.
type Segment struct {
	From, To time.Time
	Version  ledger.VersionID
	Plan     *Plan
}

// Schedule is a user's segments of one period, compiled for rating. It is
// immutable and may be used from any goroutine.
type Schedule struct {
	in       Input
	whole    int64 // seconds of the period
	pools    []pool
	segments []segment
	terms    func(ledger.VersionID) (*Plan, error) // of versions that no segment has; nil: an error
}

// pool is the quota of a meter over all segments that have one.
type pool struct {
	meter    string
	included int64
}

// segment is a Segment as rating needs it.
type segment struct {
	Segment
	span  int64 // seconds that the fee is charged for
	owner bool  // the usage of its version is counted here
	term  int64 // owner: seconds of its version, by which minimums and included units count
	rates []rate
}

// rate is how a segment treats one meter.
type rate struct {
	meter    string
	pool     int   // index into pools; -1: rated alone
	included int64 // alone: what is included
	capped   bool  // the plan has a quota for it
	free     bool  // beyond what is included nothing is charged: the plan blocks there, bills the cost, or burns credits
	price    Price
}

// NewSchedule compiles in, whose segments must lie in order within the period.
func NewSchedule(in Input) (*Schedule, error) {
	s := &Schedule{in: in, whole: seconds(in.Period.Start, in.Period.End)}
	if s.whole <= 0 {
		return nil, fmt.Errorf("rating %v: the period is empty", in.Period.Month)
	}
	at := in.Period.Start
	for _, g := range in.Segments {
		if g.Plan == nil {
			return nil, fmt.Errorf("rating %v: a segment from %v has no plan", in.Period.Month, g.From)
		}
		if g.From.Before(at) || g.To.Before(g.From) || g.To.After(in.Period.End) {
			return nil, fmt.Errorf("rating %v: the segment of plan %q from %v to %v overlaps another or leaves the period", in.Period.Month, g.Plan.ID, g.From, g.To)
		}
		if err := g.Plan.sound(); err != nil {
			return nil, fmt.Errorf("rating %v: %w", in.Period.Month, err)
		}
		at = g.To
		s.segments = append(s.segments, segment{Segment: g})
	}
	s.compile()
	return s, nil
}

// compile computes spans, owners, pools and rates, in this order.
func (s *Schedule) compile() {
	top := s.wholeFrom()
	terms := make(map[ledger.VersionID]int64, len(s.segments))
	for i := range s.segments {
		g := &s.segments[i]
		g.span = s.feeSpan(i, top)
		terms[g.Version] += g.span
	}
	seen := make(map[ledger.VersionID]bool, len(s.segments))
	for i := len(s.segments) - 1; i >= 0; i-- {
		g := &s.segments[i]
		g.owner, g.term = !seen[g.Version], terms[g.Version]
		seen[g.Version] = true
	}
	s.fillPools(top)
	for i := range s.segments {
		g := &s.segments[i]
		if g.owner {
			g.rates = s.rates(g)
		}
	}
}

// wholeFrom is the last segment that counts from the period's start under
// proration "full"; -1 where there is none.
func (s *Schedule) wholeFrom() int {
	top, before := -1, -1
	if !s.in.Full {
		return top
	}
	for i := range s.segments {
		if s.segments[i].length() == 0 {
			continue
		}
		plan := s.segments[i].Plan
		switch {
		case before < 0:
			if s.in.First && plan.Fee > 0 {
				top = i
			}
		case s.segments[before].Plan.ID != plan.ID && Upgrade(s.segments[before].Plan, plan):
			top = i
		}
		before = i
	}
	return top
}

func (s *Schedule) feeSpan(i, top int) int64 {
	g := &s.segments[i]
	switch {
	case i < top:
		return 0
	case i == top:
		return seconds(s.in.Period.Start, g.To)
	}
	return g.length()
}

// quotaSpan is how many seconds of quota segment i adds to a pool. wholeTop
// tells that the segment top has a quota of the same meter, whole.
func (s *Schedule) quotaSpan(i, top int, wholeTop bool) int64 {
	if wholeTop {
		return s.feeSpan(i, top)
	}
	g := &s.segments[i]
	from, to := g.From, g.To
	if g.Plan.Fee == 0 && g.length() > 0 {
		if s.in.First && i == s.firstHeld() {
			from = s.in.Period.Start
		}
		if i == s.lastHeld() {
			to = s.in.Period.End
		}
	}
	return seconds(from, to)
}

// firstHeld and lastHeld are the outer segments that last at all.
func (s *Schedule) firstHeld() int {
	return slices.IndexFunc(s.segments, func(g segment) bool { return g.length() > 0 })
}

func (s *Schedule) lastHeld() int {
	for i := len(s.segments) - 1; i >= 0; i-- {
		if s.segments[i].length() > 0 {
			return i
		}
	}
	return -1
}

// fillPools makes the pool of each meter that a pooling segment has a quota for.
func (s *Schedule) fillPools(top int) {
	for i := range s.segments {
		if !s.segments[i].pools() {
			continue
		}
		for meter := range s.segments[i].Plan.Quota {
			if s.poolOf(meter) < 0 {
				s.pools = append(s.pools, pool{meter: meter})
			}
		}
	}
	slices.SortFunc(s.pools, func(a, b pool) int { return cmp.Compare(a.meter, b.meter) })
	for p := range s.pools {
		meter := s.pools[p].meter
		wholeTop := false
		if top >= 0 && s.segments[top].pools() {
			_, wholeTop = s.segments[top].Plan.Quota[meter]
		}
		var sum wide
		for i := range s.segments {
			if quota, ok := s.segments[i].Plan.Quota[meter]; ok && s.segments[i].pools() {
				sum.add(quota, s.quotaSpan(i, top, wholeTop))
			}
		}
		s.pools[p].included = sum.over(s.whole)
	}
}

func (s *Schedule) poolOf(meter string) int {
	return slices.IndexFunc(s.pools, func(p pool) bool { return p.meter == meter })
}

// rates is how g treats each meter that its plan names, by meter.
func (s *Schedule) rates(g *segment) []rate {
	byMeter := make(map[string]rate, len(g.Plan.Quota)+len(g.Plan.Prices))
	alone := func(n int64) int64 {
		var share wide
		share.add(n, g.term)
		return share.over(s.whole)
	}
	if g.pools() {
		for meter, unit := range g.Plan.Overage {
			byMeter[meter] = rate{pool: -1, price: Price{Meter: meter, Model: UnitModel, Unit: unit}}
		}
		for _, price := range g.Plan.Prices {
			byMeter[price.Meter] = rate{pool: -1, included: alone(price.Included), price: price}
		}
	}
	for meter, quota := range g.Plan.Quota {
		r := byMeter[meter]
		r.capped, r.pool = true, -1
		if g.pools() {
			r.pool = s.poolOf(meter)
			r.free = g.Plan.OnExceed == Block || r.price.Model == ""
		} else {
			r.included, r.free = alone(quota), true
		}
		byMeter[meter] = r
	}
	list := make([]rate, 0, len(byMeter))
	for _, meter := range slices.Sorted(maps.Keys(byMeter)) {
		r := byMeter[meter]
		r.meter = meter
		list = append(list, r)
	}
	return list
}

// pools tells whether g's quotas join those of the other segments.
func (g *segment) pools() bool { return !g.Plan.ByCost && g.Plan.Billing != Prepaid }

func (g *segment) length() int64 { return seconds(g.From, g.To) }

// seconds counts whole seconds of the clock, so that adjoining stretches add up.
func seconds(from, to time.Time) int64 { return to.Unix() - from.Unix() }

// wide sums products of 64-bit counts, saturating far beyond what fits one.
type wide struct{ hi, lo uint64 }

func (w *wide) add(n, times int64) {
	if n <= 0 || times <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(n), uint64(times))
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, lo, 0)
	w.hi += hi + carry // n and times are below 2^63, spans below 2^36: it cannot wrap
}

// over divides, rounding down; what does not fit is as good as unlimited.
func (w *wide) over(whole int64) int64 {
	if w.hi >= uint64(whole) {
		return math.MaxInt64
	}
	n, _ := bits.Div64(w.hi, w.lo, uint64(whole))
	return int64(min(n, math.MaxInt64))
}

// Segments is the segments in order; a copy.
func (s *Schedule) Segments() []Segment {
	list := make([]Segment, len(s.segments))
	for i := range s.segments {
		list[i] = s.segments[i].Segment
	}
	return list
}

// Period is the period that the schedule is of.
func (s *Schedule) Period() ledger.Period { return s.in.Period }

// At is the segment in force at t: the last that began by then, else the first
// one. It is false for a user who is on no plan in the period.
func (s *Schedule) At(t time.Time) (Segment, bool) {
	for i := len(s.segments) - 1; i >= 0; i-- {
		if i == 0 || !s.segments[i].From.After(t) && s.segments[i].length() > 0 {
			return s.segments[i].Segment, true
		}
	}
	return Segment{}, false
}
