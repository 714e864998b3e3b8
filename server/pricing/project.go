package pricing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
)

// Outlook is what a projection needs to know of the user.
type Outlook struct {
	Payable    bool           // else calls beyond a bill_if_payable quota will be refused
	SpendLimit *ledger.Amount // nanos; the lower of the operator's and the customer's own
}

// Projection is what a period comes to if it goes on as it has begun.
type Projection struct {
	Totals    ledger.Totals // over all plan versions, billed records
	Statement Statement     // of those totals
	Charge    int64         // minor units: the statement's total, or less where usage charges will be refused
}

// Project extrapolates what was used by the elapsed share of the period and
// rates it with [Schedule.Rate]. What is added falls on the plan in force at
// now. The first hour counts as elapsed from the start, so that one early call
// is not taken for thousands.
func (s *Schedule) Project(used []ledger.PlanTotals, now time.Time, o Outlook) (Projection, error) {
	rows, err := s.extrapolate(used, now)
	if err != nil {
		return Projection{}, fmt.Errorf("projecting %v: %w", s.in.Period.Month, err)
	}
	p := Projection{Totals: ledger.Sum(rows)}
	if p.Statement, err = s.Rate(rows); err != nil {
		return Projection{}, err
	}
	p.Charge = p.Statement.Total
	likely, err := s.blocking(now, o)
	if err != nil {
		return Projection{}, err
	}
	limited := p.Statement.Usage
	if likely != s {
		charged, err := likely.Rate(rows)
		if err != nil {
			return Projection{}, err
		}
		limited = charged.Usage
	}
	if o.SpendLimit != nil {
		limited = min(limited, max(0, *o.SpendLimit))
	}
	if limited < p.Statement.Usage {
		// What is charged already stays charged.
		today, err := s.Rate(used)
		if err != nil {
			return Projection{}, err
		}
		usage := max(limited, today.Usage).Minor(s.in.Digits)
		p.Charge = min(p.Charge, max(today.Total, p.Statement.BaseFee+usage))
	}
	return p, nil
}

// extrapolate gives used with what is still to come on the plan in force.
func (s *Schedule) extrapolate(used []ledger.PlanTotals, now time.Time) ([]ledger.PlanTotals, error) {
	rows := slices.Clone(used)
	for i := range rows {
		rows[i].Named = slices.Clone(rows[i].Named)
	}
	elapsed := min(s.whole, max(seconds(s.in.Period.Start, now), 3600))
	current, ok := s.At(now)
	if !ok || elapsed == s.whole || len(rows) == 0 {
		return rows, nil
	}
	at := slices.IndexFunc(rows, func(p ledger.PlanTotals) bool { return p.Plan == current.Version })
	if at < 0 {
		rows = append(rows, ledger.PlanTotals{Plan: current.Version})
		at = len(rows) - 1
	}
	var errs []error
	sum := ledger.Sum(rows)
	more := func(have int64) int64 {
		then, err := extrapolate(have, s.whole, elapsed)
		errs = append(errs, err)
		return then - have
	}
	row := &rows[at]
	row.Calls += more(sum.Calls)
	row.Documents += more(sum.Documents)
	row.Tokens += more(sum.Tokens)
	row.Cost += ledger.Amount(more(int64(sum.Cost)))
	for _, q := range sum.Named {
		i, found := slices.BinarySearchFunc(row.Named, q.Meter, func(n ledger.Quantity, meter string) int { return strings.Compare(n.Meter, meter) })
		if !found {
			row.Named = slices.Insert(row.Named, i, ledger.Quantity{Meter: q.Meter})
		}
		row.Named[i].N += more(q.N)
	}
	return rows, errors.Join(errs...)
}

// blocking is s, with the plan in force at now blocking where it bills only
// users who are payable and this one is not.
func (s *Schedule) blocking(now time.Time, o Outlook) (*Schedule, error) {
	current, ok := s.At(now)
	if !ok || o.Payable || current.Plan.OnExceed != BillIfPayable {
		return s, nil
	}
	in := s.in
	in.Segments = slices.Clone(s.in.Segments)
	for i := range in.Segments {
		if in.Segments[i].Version == current.Version {
			plan := *current.Plan
			plan.OnExceed = Block
			in.Segments[i].Plan = &plan
		}
	}
	blocked, err := NewSchedule(in)
	if err != nil {
		return nil, err
	}
	blocked.terms = s.terms
	return blocked, nil
}
