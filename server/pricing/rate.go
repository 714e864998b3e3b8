package pricing

import (
	"fmt"
	"math/big"
	"strconv"
	"time"

	"tollgate/ledger"
)

// Kind is what an invoice line is for. Billing has further kinds.
type Kind string

// The kinds of lines that rating makes.
const (
	FeeLine     Kind = "fee"     // the plan's monthly fee, or its share
	OverageLine Kind = "overage" // units beyond a quota
	UsageLine   Kind = "usage"   // units without a quota, or the cost of the calls
	MinimumLine Kind = "minimum" // what usage charges fall short of an agreed minimum
)

// Line is one line of a statement. Quantity × UnitPrice is Amount, save where a
// fee or minimum is for a part of the month.
type Line struct {
	Kind        Kind
	Description string
	Plan        ledger.VersionID
	Meter       string // "" for fees, costs and the plan's minimum
	Quantity    int64
	UnitPrice   ledger.Amount // nanos
	Amount      ledger.Amount // nanos; exact, save a share of a fee or minimum, which is rounded for showing
	Minor       int64         // minor units, rounded once from the exact value, half away from zero
	From, To    time.Time     // the segment
}

// Statement is a rated period. BaseFee, Overage and Total are minor units, sums
// of the lines' Minor.
type Statement struct {
	Lines   []Line
	Quotas  []Quota       // of each meter that is pooled, by meter
	Usage   ledger.Amount // nanos, exact: overage and usage lines, as UsageCharge gives it
	BaseFee int64         // fee lines
	Overage int64         // all other lines
	Total   int64
}

// Rate rates a period: what was used on each plan version, by the terms of in.
func Rate(in Input, used []ledger.PlanTotals) (Statement, error) {
	s, err := NewSchedule(in)
	if err != nil {
		return Statement{}, err
	}
	return s.Rate(used)
}

// Rate is the statement of the period with what was used on each plan version.
func (s *Schedule) Rate(used []ledger.PlanTotals) (Statement, error) {
	u := usage{plans: used}
	s, err := s.covering(&u)
	if err != nil {
		return Statement{}, err
	}
	r := rating{Schedule: s, usage: &u}
	for i := range s.segments {
		if err := r.segment(i); err != nil {
			return Statement{}, fmt.Errorf("rating %v on plan %q: %w", s.in.Period.Month, s.segments[i].Plan.ID, err)
		}
	}
	for p := range s.pools {
		r.out.Quotas = append(r.out.Quotas, s.pooled(p, &u))
	}
	return r.out, nil
}

// rating is a statement in the making.
type rating struct {
	*Schedule
	usage *usage
	out   Statement
}

func (r *rating) segment(i int) error {
	g := &r.segments[i]
	if g.Plan.Fee != 0 && g.span > 0 {
		line := r.line(FeeLine, g, "", 1, g.Plan.Fee)
		line.Description = g.Plan.title() + ": monthly fee" + r.stretch(g)
		if err := r.share(&line, g.Plan.Fee, 0, g.span); err != nil {
			return err
		}
	}
	if !g.owner {
		return nil
	}
	before := r.out.Usage
	if g.byCost() {
		if err := r.cost(g); err != nil {
			return err
		}
	}
	topped := ledger.Amount(0) // what minimums of meters added, in nanos
	for j := range g.rates {
		added, err := r.meter(i, &g.rates[j])
		if err == nil {
			topped, err = topped.Add(added)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", g.rates[j].meter, err)
		}
	}
	if g.Plan.Minimum == 0 || g.Plan.Billing == Prepaid {
		return nil
	}
	reached, err := (r.out.Usage - before).Add(topped)
	if err != nil {
		return err
	}
	line := r.line(MinimumLine, g, "", 1, g.Plan.Minimum)
	line.Description = g.Plan.title() + ": up to the monthly minimum" + r.stretch(g)
	return r.share(&line, g.Plan.Minimum, reached, g.term)
}

// cost adds the line of a plan that charges the cost of the calls.
func (r *rating) cost(g *segment) error {
	cost, err := r.usage.cost(g.Version)
	if err != nil || cost == 0 {
		return err
	}
	calls, err := r.usage.of(g.Version, "calls")
	if err != nil {
		return err
	}
	line := r.line(UsageLine, g, "", 1, cost)
	line.Description = g.Plan.title() + ": cost of " + Grouped(calls) + " calls" + r.stretch(g)
	line.Amount = cost
	return r.addUsage(line)
}

// meter adds the lines of one meter, and returns what its minimum added.
func (r *rating) meter(i int, m *rate) (ledger.Amount, error) {
	g := &r.segments[i]
	var reached ledger.Amount
	if !m.free {
		n, err := r.billable(i, m, r.usage)
		if err != nil {
			return 0, err
		}
		steps, err := m.price.steps(n, nil)
		if err != nil {
			return 0, err
		}
		for _, step := range steps {
			if step.amount == 0 {
				continue
			}
			line := r.line(UsageLine, g, m.meter, step.quantity, step.unit)
			if m.capped {
				line.Kind = OverageLine
			}
			line.Description = g.Plan.title() + ": " + r.priced(m, n, step) + r.stretch(g)
			line.Amount = step.amount
			if err := r.addUsage(line); err != nil {
				return 0, err
			}
			if reached, err = reached.Add(step.amount); err != nil {
				return 0, err
			}
		}
	}
	if m.price.Minimum == 0 {
		return 0, nil
	}
	line := r.line(MinimumLine, g, m.meter, 1, m.price.Minimum)
	line.Description = g.Plan.title() + ": " + m.meter + ", up to the monthly minimum" + r.stretch(g)
	before := len(r.out.Lines)
	err := r.share(&line, m.price.Minimum, reached, g.term)
	if err != nil || len(r.out.Lines) == before {
		return 0, err
	}
	return line.Amount, nil
}

func (r *rating) line(kind Kind, g *segment, meter string, n int64, unit ledger.Amount) Line {
	return Line{Kind: kind, Plan: g.Version, Meter: meter, Quantity: n, UnitPrice: unit, From: g.From, To: g.To}
}

// addUsage adds a line whose amount is exact.
func (r *rating) addUsage(line Line) (err error) {
	if r.out.Usage, err = r.out.Usage.Add(line.Amount); err != nil {
		return err
	}
	line.Minor = line.Amount.Minor(r.in.Digits)
	return r.add(line)
}

// share fills in and adds the line of a month's sum × span ÷ whole, less what is
// reached of it, if anything remains. Both roundings are from the exact value.
func (r *rating) share(line *Line, sum, reached ledger.Amount, span int64) error {
	whole := big.NewInt(r.whole)
	exact := new(big.Int).Mul(big.NewInt(int64(sum)), big.NewInt(span))
	exact.Sub(exact, new(big.Int).Mul(big.NewInt(int64(reached)), whole))
	if exact.Sign() <= 0 {
		return nil
	}
	line.Amount = ledger.Amount(nearest(exact, whole))
	step, err := ledger.FromMinor(1, r.in.Digits)
	if err != nil {
		return err
	}
	line.Minor = nearest(exact, whole.Mul(whole, big.NewInt(int64(step))))
	return r.add(*line)
}

// nearest is n ÷ d rounded half up, both positive; here it never exceeds a sum
// that was an int64.
func nearest(n, d *big.Int) int64 {
	q, rest := new(big.Int).QuoRem(n, d, new(big.Int))
	if rest.Lsh(rest, 1).Cmp(d) >= 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

func (r *rating) add(line Line) error {
	part := &r.out.Overage
	if line.Kind == FeeLine {
		part = &r.out.BaseFee
	}
	sum, ok := plus(*part, line.Minor, true)
	if ok {
		*part = sum
		r.out.Total, ok = plus(r.out.Total, line.Minor, ok)
	}
	if !ok {
		return fmt.Errorf("sum of the lines: %w", ledger.ErrOverflow)
	}
	r.out.Lines = append(r.out.Lines, line)
	return nil
}

// priced says what a line charges.
func (r *rating) priced(m *rate, n int64, step step) string {
	text := m.meter
	switch included := r.includedIn(m); {
	case m.capped:
		text += " beyond the " + Grouped(included) + " included"
	case included > 0:
		text += " after " + Grouped(included) + " included"
	}
	switch {
	case m.price.Model == Package:
		return text + ", " + Grouped(n) + " in packages of " + Grouped(m.price.Size)
	case step.tier < 0:
		return text
	}
	tier := "up to " + Grouped(m.price.Tiers[step.tier].UpTo)
	if m.price.Tiers[step.tier].UpTo == 0 {
		tier = "any number"
		if step.tier > 0 {
			tier = "above " + Grouped(m.price.Tiers[step.tier-1].UpTo)
		}
	}
	if step.flat {
		tier += ", flat"
	}
	return text + ", tier " + tier
}

func (r *rating) includedIn(m *rate) int64 {
	if m.pool >= 0 {
		return r.pools[m.pool].included
	}
	return m.included
}

// stretch names the dates of a segment that is not the whole period.
func (r *rating) stretch(g *segment) string {
	from, to := g.From, g.To
	if g.span > g.length() {
		from = r.in.Period.Start
	}
	if from.Equal(r.in.Period.Start) && to.Equal(r.in.Period.End) || from.Equal(to) {
		return ""
	}
	zone := r.in.Zone
	if zone == nil {
		zone = time.UTC
	}
	const form = "2 Jan 15:04"
	return ", " + from.In(zone).Format(form) + " to " + to.In(zone).Format(form)
}

func (p *Plan) title() string {
	if p.Name != "" {
		return p.Name
	}
	return p.ID
}

// Grouped writes a count in groups of three digits: 50,000.
func Grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	text := make([]byte, 0, len(digits)+len(digits)/3)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			text = append(text, ',')
		}
		text = append(text, digits[i])
	}
	return string(text)
}
