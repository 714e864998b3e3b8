package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Explanation drills an invoice down to the usage that it charges, and says
// whether that usage, rated again, comes to the invoice.
type Explanation struct {
	Invoice *ledger.Invoice
	Period  ledger.Period
	Lines   []ExplainedLine // one for each of the invoice's, in its order
	Days    []DayUse        // all usage of the period that was sealed
	Sealed  ledger.Totals   // the sum of Days
	// Problems are sentences; none when the usage comes to exactly the invoice.
	Problems []string
	// Late is the usage of the period that came after the seal, and Pending what
	// it still adds to the next invoice as an adjustment, in minor units.
	Late    ledger.Totals
	Pending int64
}

// ExplainedLine is a line with the usage behind it: of its meter on its plan, or,
// for an adjustment, what came after the invoice that it adjusts. Lines that no
// usage is behind, such as fees, have no days.
type ExplainedLine struct {
	ledger.InvoiceLine
	Used ledger.Totals // the sum of Days
	Days []DayUse
}

// DayUse is what was used on a day of the billing zone: [Start, End), which the
// period's bounds may cut short.
type DayUse struct {
	Date       string // "2025-01-31"
	Start, End time.Time
	Routes     []RouteUse // by name
}

// RouteUse is what was used on a route, all of its versions together.
type RouteUse struct {
	Route string
	ledger.Totals
}

// place is where a day's usage on a plan version and a route is counted.
type place struct {
	day   int32
	plan  ledger.VersionID
	route ledger.VersionID
}

type tally map[place]ledger.Totals

// Explain explains an invoice, or a draft of [Billing.Draft]. It reads hourly
// totals, and records only where an hour is cut by midnight, by a change of plan
// or by a bound of the period, or came late.
func (b *Billing) Explain(ctx context.Context, i *ledger.Invoice) (Explanation, error) {
	e := Explanation{Invoice: i, Period: b.Ledger.PeriodOf(i.Month)}
	a := b.Ledger.Account(i.User)
	if a == nil {
		return e, fmt.Errorf("explain invoice %d: user %d: %w", i.ID, i.User, ledger.ErrNotFound)
	}
	u := a.User()
	now, err := b.Ledger.Seal(u.ID, i.Month)
	if err != nil {
		return e, fmt.Errorf("explain invoice %d: %w", i.ID, err)
	}
	late := tally{}
	if err := b.eachRecord(ctx, u.ID, e.Period, i.Last, now.Last, late.count); err != nil {
		return e, fmt.Errorf("explain invoice %d: %w", i.ID, err)
	}
	e.Late = late.sum(nil)
	sealed := without(now.Plans, late)
	used, err := b.usedByDay(ctx, u, e.Period, i.Last, sealed)
	if err != nil {
		return e, fmt.Errorf("explain invoice %d: %w", i.ID, err)
	}
	e.Days, e.Sealed = b.days(used, e.Period, nil), used.sum(nil)
	for _, l := range i.Lines {
		explained := ExplainedLine{InvoiceLine: l}
		behind, of := used, e.Period
		var keep func(place, ledger.Totals) bool
		switch kind := pricing.Kind(l.Kind); {
		case l.Kind == adjustmentLine && l.Of == i.Month: // it takes back what others charged
			behind = nil
		case l.Kind == adjustmentLine:
			of = b.Ledger.PeriodOf(l.Of)
			if behind, err = b.lateOf(ctx, u, i, l.Of); err != nil {
				return e, fmt.Errorf("explain the adjustment of %v on invoice %d: %w", l.Of, i.ID, err)
			}
		case kind == pricing.OverageLine, kind == pricing.UsageLine, kind == pricing.MinimumLine && l.Meter != "":
			keep = func(p place, t ledger.Totals) bool { return p.plan == l.Plan && (l.Meter == "" || t.Of(l.Meter) != 0) }
		default:
			behind = nil
		}
		explained.Used, explained.Days = behind.sum(keep), b.days(behind, of, keep)
		e.Lines = append(e.Lines, explained)
	}
	if e.Problems, err = b.prove(u, i, sealed, used); err != nil {
		return e, fmt.Errorf("rate invoice %d again: %w", i.ID, err)
	}
	if i.ID != 0 && i.State != ledger.Void && !i.Adopted {
		e.Pending, err = b.pending(u, i, now.Plans)
	}
	if err != nil {
		return e, fmt.Errorf("explain invoice %d: %w", i.ID, err)
	}
	return e, nil
}

// prove rates the sealed usage again and holds the invoice against it.
func (b *Billing) prove(u *ledger.User, i *ledger.Invoice, sealed []ledger.PlanTotals, used tally) ([]string, error) {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if total, err := sum(i.Lines); err != nil || total != i.Total {
		problem("The lines come to %s, and the total is %s.", ledger.FormatMinor(total, b.digits), ledger.FormatMinor(i.Total, b.digits))
	}
	if i.Adopted {
		problem("The invoice was found at the payment provider after a backup was restored; the entries that it was made from are lost.")
		return problems, nil
	}
	if t := used.sum(nil); !alike(t, ledger.Sum(sealed)) {
		problem("The days come to %d calls, and the month's totals to %d.", t.Calls, ledger.Sum(sealed).Calls)
	}
	if !alike(ledger.Sum(sealed), i.Used) {
		problem("The entries up to %d come to %d calls, and the invoice was made of %d.", i.Last, ledger.Sum(sealed).Calls, i.Used.Calls)
	}
	statement, err := b.rate(u, i.Month, sealed)
	if err != nil {
		return problems, err
	}
	if statement.Total != i.Rated {
		problem("Rated again the usage comes to %s, and the invoice was made of %s.", ledger.FormatMinor(statement.Total, b.digits), ledger.FormatMinor(i.Rated, b.digits))
	}
	var rated []ledger.InvoiceLine
	for _, l := range statement.Lines {
		if l.Minor != 0 || l.Amount != 0 {
			rated = append(rated, ledger.InvoiceLine{
				Kind: string(l.Kind), Description: l.Description, Plan: l.Plan, Meter: l.Meter,
				Quantity: l.Quantity, UnitPrice: l.UnitPrice, Amount: l.Minor, From: l.From, To: l.To,
			})
		}
	}
	if len(rated) > len(i.Lines) {
		problem("Rated again the usage has %d lines, and the invoice %d.", len(rated), len(i.Lines))
		return problems, nil
	}
	for n, l := range i.Lines[:len(rated)] {
		if want := rated[n]; l.Kind != want.Kind || l.Meter != want.Meter || l.Quantity != want.Quantity || l.UnitPrice != want.UnitPrice || l.Amount != want.Amount {
			problem("Line %d is %d x %v = %s, and rated again it is %d x %v = %s.", n+1, l.Quantity, l.UnitPrice, ledger.FormatMinor(l.Amount, b.digits),
				want.Quantity, want.UnitPrice, ledger.FormatMinor(want.Amount, b.digits))
		}
	}
	return problems, nil
}

// pending is what the month comes to now beyond what was invoiced for it, by its
// own invoice and by adjustments.
func (b *Billing) pending(u *ledger.User, i *ledger.Invoice, used []ledger.PlanTotals) (int64, error) {
	statement, err := b.rate(u, i.Month, used)
	if err != nil {
		return 0, err
	}
	more := statement.Total - i.Rated
	for _, ref := range u.Invoices {
		if ref.State == ledger.Void {
			continue
		}
		other, err := b.Ledger.Invoice(ref.ID)
		if err != nil {
			return 0, err
		}
		for _, l := range other.Lines {
			if l.Kind == adjustmentLine && l.Of == i.Month {
				more -= l.Amount
			}
		}
	}
	return more, nil
}

// lateOf is the usage of a month that came after the invoices before i were made.
func (b *Billing) lateOf(ctx context.Context, u *ledger.User, i *ledger.Invoice, m ledger.Month) (tally, error) {
	var after uint64
	for _, ref := range u.Invoices {
		// The invoice of m stood when i was made, or i had nothing to adjust.
		if ref.State == ledger.Void && ref.Month != m || i.ID != 0 && ref.ID >= i.ID {
			continue
		}
		before, err := b.Ledger.Invoice(ref.ID)
		if err != nil {
			return nil, err
		}
		after = max(after, before.Last)
	}
	late := tally{}
	return late, b.eachRecord(ctx, u.ID, b.Ledger.PeriodOf(m), after, i.Last, late.count)
}

var errPast = errors.New("past")

// eachRecord walks the user's records of a period with sequence numbers in
// (after, last], newest first.
func (b *Billing) eachRecord(ctx context.Context, user ledger.UserID, p ledger.Period, after, last uint64, each func(day int32, u *ledger.Usage)) error {
	if after >= last {
		return nil
	}
	return b.Ledger.UserRecords(ctx, user, 0, p.Start, p.End, func(u *ledger.Usage) bool {
		if u.Seq > after && u.Seq <= last && u.Period == p.Month {
			each(b.Ledger.DayAt(u.Time).Number, u)
		}
		return u.Seq > after
	})
}

// usedByDay counts the period's usage up to last by day, plan and route. It must
// come to sealed: where the hourly totals do not, because calls came in while
// they were read or in the moment of a change of plan, the records are counted.
func (b *Billing) usedByDay(ctx context.Context, u *ledger.User, p ledger.Period, last uint64, sealed []ledger.PlanTotals) (tally, error) {
	used, err := b.fromHours(ctx, u, p, last)
	if err != nil && !errors.Is(err, errPast) {
		return nil, err
	}
	if err == nil && slices.EqualFunc(used.plans(), tallied(sealed), func(a, b ledger.PlanTotals) bool { return a.Plan == b.Plan && alike(a.Totals, b.Totals) }) {
		return used, nil
	}
	used = tally{}
	return used, b.eachRecord(ctx, u.ID, p, 0, last, used.count)
}

// fromHours counts hourly totals; errPast when usage came in meanwhile.
func (b *Billing) fromHours(ctx context.Context, u *ledger.User, p ledger.Period, last uint64) (tally, error) {
	schedule, err := b.Book.Schedule(b.Ledger, u, p, b.basis())
	if err != nil {
		return nil, err
	}
	before, err := b.Ledger.Seal(u.ID, p.Month)
	if err != nil {
		return nil, err
	}
	used := tally{}
	var cut []time.Time
	first := p.Start.Truncate(time.Hour)
	err = b.Ledger.Hours(u.ID, first, p.End, func(h ledger.RouteHour) error {
		day, whole := b.whole(h.Hour, p, schedule)
		switch {
		case !whole && (len(cut) == 0 || !cut[len(cut)-1].Equal(h.Hour)):
			cut = append(cut, h.Hour)
		case whole:
			segment, _ := schedule.At(h.Hour)
			used.add(place{day, segment.Version, h.Route}, h.Totals)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, hour := range cut {
		err := b.Ledger.UserRecords(ctx, u.ID, 0, hour, hour.Add(time.Hour), func(r *ledger.Usage) bool {
			if r.Period == p.Month {
				used.count(b.Ledger.DayAt(r.Time).Number, r)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	after, err := b.Ledger.Seal(u.ID, p.Month)
	if err != nil {
		return nil, err
	}
	if after.Last != before.Last {
		return nil, errPast
	}
	err = b.eachRecord(ctx, u.ID, p, last, after.Last, func(day int32, r *ledger.Usage) { used.countTimes(day, r, -1) })
	return used, err
}

// whole tells whether an hour lies in one day, one segment and the period.
func (b *Billing) whole(hour time.Time, p ledger.Period, s *pricing.Schedule) (day int32, whole bool) {
	end := hour.Add(time.Hour)
	d := b.Ledger.DayAt(hour)
	if hour.Before(p.Start) || end.After(p.End) || d.End.Before(end) {
		return 0, false
	}
	segments := s.Segments()
	for _, g := range segments {
		if g.From.After(hour) && g.From.Before(end) {
			return 0, false
		}
	}
	return d.Number, len(segments) > 0
}

func (t tally) add(p place, more ledger.Totals) {
	t[p] = ledger.Sum([]ledger.PlanTotals{{Totals: t[p]}, {Totals: more}})
}

func (t tally) count(day int32, u *ledger.Usage) { t.countTimes(day, u, 1) }

// countTimes counts a record n times: 1, or -1 to take it away.
func (t tally) countTimes(day int32, u *ledger.Usage, n int64) {
	more := ledger.Totals{Unbilled: n}
	if u.Billed {
		more = ledger.Totals{Calls: n, Documents: n * u.Documents, Tokens: n * u.Tokens, Cost: ledger.Amount(n) * u.Cost}
		for _, q := range u.Named {
			more.Named = append(more.Named, ledger.Quantity{Meter: q.Meter, N: n * q.N})
		}
		slices.SortFunc(more.Named, func(a, b ledger.Quantity) int { return strings.Compare(a.Meter, b.Meter) })
	}
	t.add(place{day, u.Plan, u.Route}, more)
}

// sum adds up what keep keeps; nil keeps all.
func (t tally) sum(keep func(place, ledger.Totals) bool) ledger.Totals {
	var list []ledger.PlanTotals
	for p, totals := range t {
		if keep == nil || keep(p, totals) {
			list = append(list, ledger.PlanTotals{Totals: totals})
		}
	}
	return ledger.Sum(list)
}

// plans adds up the plan versions that have usage, by id.
func (t tally) plans() []ledger.PlanTotals {
	byPlan := tally{}
	for p, totals := range t {
		byPlan.add(place{plan: p.plan}, totals)
	}
	var list []ledger.PlanTotals
	for p, totals := range byPlan {
		list = append(list, ledger.PlanTotals{Plan: p.plan, Totals: totals})
	}
	return tallied(list)
}

// tallied orders totals by plan, without those of nothing.
func tallied(list []ledger.PlanTotals) []ledger.PlanTotals {
	list = slices.DeleteFunc(slices.Clone(list), func(p ledger.PlanTotals) bool { return p.Unbilled == 0 && alike(p.Totals, ledger.Totals{}) })
	slices.SortFunc(list, func(a, b ledger.PlanTotals) int { return int(a.Plan) - int(b.Plan) })
	return list
}

// without takes late usage away from the totals of a month.
func without(plans []ledger.PlanTotals, late tally) []ledger.PlanTotals {
	if len(late) == 0 {
		return plans
	}
	rest := tally{}
	for _, p := range plans {
		rest.add(place{plan: p.Plan}, p.Totals)
	}
	for p, t := range late {
		less := ledger.Totals{Calls: -t.Calls, Unbilled: -t.Unbilled, Documents: -t.Documents, Tokens: -t.Tokens, Cost: -t.Cost}
		for _, q := range t.Named {
			less.Named = append(less.Named, ledger.Quantity{Meter: q.Meter, N: -q.N})
		}
		rest.add(place{plan: p.plan}, less)
	}
	return rest.plans()
}

// alike tells whether two totals bill the same: a meter of which nothing was used
// may be there or not.
func alike(a, b ledger.Totals) bool {
	used := func(list []ledger.Quantity) []ledger.Quantity {
		return slices.DeleteFunc(slices.Clone(list), func(q ledger.Quantity) bool { return q.N == 0 })
	}
	a.Named, b.Named = used(a.Named), used(b.Named)
	return sameTotals(a, b)
}

// days lists what keep keeps by day, and by the names of routes.
func (b *Billing) days(t tally, p ledger.Period, keep func(place, ledger.Totals) bool) []DayUse {
	type row struct {
		day   int32
		route string
	}
	rows := map[row]ledger.Totals{}
	for at, totals := range t {
		if keep != nil && !keep(at, totals) || totals.Unbilled == 0 && alike(totals, ledger.Totals{}) {
			continue
		}
		r := row{day: at.day}
		if v := b.Ledger.VersionByID(at.route); v != nil {
			r.route = v.Name
		}
		rows[r] = ledger.Sum([]ledger.PlanTotals{{Totals: rows[r]}, {Totals: totals}})
	}
	order := make([]row, 0, len(rows))
	for r := range rows {
		order = append(order, r)
	}
	slices.SortFunc(order, func(a, b row) int {
		if a.day != b.day {
			return int(a.day) - int(b.day)
		}
		return strings.Compare(a.route, b.route)
	})
	var list []DayUse
	for n, r := range order {
		if n == 0 || order[n-1].day != r.day {
			list = append(list, b.day(r.day, p))
		}
		last := &list[len(list)-1]
		last.Routes = append(last.Routes, RouteUse{r.route, rows[r]})
	}
	return list
}

// day is an empty day of a period.
func (b *Billing) day(number int32, p ledger.Period) DayUse {
	date := time.Unix(int64(number)*86400, 0).UTC()
	// Noon of the date in UTC lies in the day or beside it: zones are at most 14
	// hours off.
	d := b.Ledger.DayAt(date.Add(12 * time.Hour))
	for d.Number < number {
		d = b.Ledger.DayAt(d.End)
	}
	for d.Number > number {
		d = b.Ledger.DayAt(d.Start.Add(-1))
	}
	day := DayUse{Date: date.Format(time.DateOnly), Start: d.Start, End: d.End}
	if day.Start.Before(p.Start) {
		day.Start = p.Start
	}
	if day.End.After(p.End) {
		day.End = p.End
	}
	return day
}
