package pricing_test

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

var meters = []string{"calls", "documents", "pages"}

// drawPlan makes any plan that can be rated; volume tells whether it may get
// cheaper with use.
func drawPlan(t *rapid.T, id string, volume bool) *pricing.Plan {
	price := func(label string) ledger.Amount {
		return ledger.Amount(rapid.Int64Range(0, 3*int64(ledger.Unit)).Draw(t, label))
	}
	p := &pricing.Plan{
		ID: id, Name: id, Quota: map[string]int64{}, Overage: map[string]ledger.Amount{},
		OnExceed: rapid.SampledFrom([]string{pricing.Block, pricing.Bill, pricing.BillIfPayable}).Draw(t, "on_exceed"),
		Billing:  rapid.SampledFrom([]string{pricing.Monthly, pricing.Monthly, pricing.Realtime, pricing.Prepaid}).Draw(t, "billing"),
		ByCost:   rapid.IntRange(0, 5).Draw(t, "by cost") == 0,
	}
	if rapid.Bool().Draw(t, "has a fee") {
		p.Fee = price("fee")
	}
	if rapid.IntRange(0, 3).Draw(t, "has a minimum") == 0 {
		p.Minimum = price("minimum")
	}
	for _, meter := range meters {
		if rapid.Bool().Draw(t, "quota") {
			p.Quota[meter] = rapid.Int64Range(0, 100).Draw(t, "quota of "+meter)
		}
		switch rapid.IntRange(0, 2).Draw(t, "priced") {
		case 1:
			p.Overage[meter] = price("overage")
		case 2:
			p.Prices = append(p.Prices, drawPrice(t, meter, volume))
		}
	}
	return p
}

func drawPrice(t *rapid.T, meter string, volume bool) pricing.Price {
	amount := func(label string) ledger.Amount {
		return ledger.Amount(rapid.Int64Range(0, int64(ledger.Unit)).Draw(t, label))
	}
	models := []string{pricing.UnitModel, pricing.Package, pricing.Graduated}
	if volume {
		models = append(models, pricing.Volume)
	}
	p := pricing.Price{Meter: meter, Model: rapid.SampledFrom(models).Draw(t, "model"), Unit: amount("unit"), Size: 1,
		Included: rapid.Int64Range(0, 20).Draw(t, "included")}
	if rapid.IntRange(0, 3).Draw(t, "has a minimum") == 0 {
		p.Minimum = amount("minimum")
	}
	switch p.Model {
	case pricing.Package:
		p.Size = rapid.Int64Range(1, 30).Draw(t, "size")
	case pricing.Graduated, pricing.Volume:
		end := int64(0)
		for range rapid.IntRange(0, 10).Draw(t, "tiers") {
			end += rapid.Int64Range(1, 20).Draw(t, "tier")
			p.Tiers = append(p.Tiers, pricing.Tier{UpTo: end, Unit: amount("tier unit"), Flat: amount("tier flat")})
		}
		p.Tiers = append(p.Tiers, pricing.Tier{Unit: amount("last unit")})
	}
	return p
}

// drawInput makes a period of one to four segments on up to three versions.
func drawInput(t *rapid.T, volume bool) pricing.Input {
	start := time.Date(2025, time.April, 1, 0, 0, 0, 0, time.UTC)
	p := ledger.Period{Month: ledger.MonthOf(2025, time.April), Start: start, End: start.AddDate(0, 1, 0), Zone: "UTC"}
	in := pricing.Input{Period: p, Digits: rapid.IntRange(0, 3).Draw(t, "digits"), First: rapid.Bool().Draw(t, "first"), Full: rapid.Bool().Draw(t, "full")}
	var plans []*pricing.Plan
	for i := range rapid.IntRange(1, 3).Draw(t, "plans") {
		plans = append(plans, drawPlan(t, fmt.Sprintf("plan%d", i), volume))
	}
	at := p.Start
	for range rapid.IntRange(1, 4).Draw(t, "segments") {
		end := at.Add(time.Duration(rapid.Int64Range(0, int64(p.End.Sub(at)/time.Millisecond)).Draw(t, "length")) * time.Millisecond)
		plan := rapid.IntRange(0, len(plans)-1).Draw(t, "plan")
		in.Segments = append(in.Segments, pricing.Segment{From: at, To: end, Version: ledger.VersionID(plan + 1), Plan: plans[plan]})
		at = end
	}
	return in
}

// drawUsage is usage on versions that in has.
func drawUsage(t *rapid.T, in pricing.Input) (list []ledger.PlanTotals) {
	for range rapid.IntRange(0, 4).Draw(t, "rows") {
		version := rapid.SampledFrom(in.Segments).Draw(t, "on").Version
		list = append(list, ledger.PlanTotals{Plan: version, Totals: drawTotals(t)})
	}
	return list
}

func drawTotals(t *rapid.T) ledger.Totals {
	n := func(label string) int64 { return rapid.Int64Range(0, 300).Draw(t, label) }
	return ledger.Totals{Calls: n("calls"), Documents: n("documents"), Cost: ledger.Amount(n("cost")) * 12_345_678,
		Named: []ledger.Quantity{{Meter: "pages", N: n("pages")}}}
}

func mustRate(t *rapid.T, in pricing.Input, used []ledger.PlanTotals) pricing.Statement {
	s, err := pricing.Rate(in, used)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The total is the sum of the lines, each rounded once, and the usage charge
// that admission sees is the one that is billed.
func TestTotalIsTheSumOfTheLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, true)
		used := drawUsage(t, in)
		got := mustRate(t, in, used)
		var fee, over int64
		var usage ledger.Amount
		for _, line := range got.Lines {
			exact := line.Kind == pricing.OverageLine || line.Kind == pricing.UsageLine
			switch {
			case line.Minor < 0 || line.Amount < 0:
				t.Errorf("a line below zero: %+v", line)
			case exact && (line.Amount.Minor(in.Digits) != line.Minor || line.UnitPrice*ledger.Amount(line.Quantity) != line.Amount):
				t.Errorf("a line is not exact: %+v", line)
			}
			if line.Kind == pricing.FeeLine {
				fee += line.Minor
			} else {
				over += line.Minor
			}
			if exact {
				usage += line.Amount
			}
		}
		if got.BaseFee != fee || got.Overage != over || got.Total != fee+over || got.Usage != usage {
			t.Errorf("got %d + %d = %d and usage %v; the lines come to %d, %d and %v", got.BaseFee, got.Overage, got.Total, got.Usage, fee, over, usage)
		}
		s, err := pricing.NewSchedule(in)
		if err != nil {
			t.Fatal(err)
		}
		charge, err := s.UsageCharge(used, ledger.PlanTotals{})
		if err != nil || charge != usage {
			t.Errorf("UsageCharge: got %v, %v; want %v", charge, err, usage)
		}
	})
}

// More usage never costs less, save where a volume price is agreed.
func TestRatingIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, false)
		for _, g := range in.Segments { // their lines shrink, and each line is rounded: see the next test
			g.Plan.Minimum = 0
			for i := range g.Plan.Prices {
				g.Plan.Prices[i].Minimum = 0
			}
		}
		less := drawUsage(t, in)
		more := append(slices.Clip(less), ledger.PlanTotals{Plan: rapid.SampledFrom(in.Segments).Draw(t, "more on").Version, Totals: drawTotals(t)})
		a, b := mustRate(t, in, less), mustRate(t, in, more)
		if a.Usage > b.Usage || a.Total > b.Total {
			t.Errorf("%+v costs %v, %d; with more of it %v, %d", less, a.Usage, a.Total, b.Usage, b.Total)
		}
	})
}

// A minimum is reached from below and left above: the exact sum never falls.
func TestRatingIsMonotonicWithMinimums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, false)
		in.Segments = in.Segments[:1]
		in.Segments[0].From, in.Segments[0].To = in.Period.Start, in.Period.End
		version := in.Segments[0].Version
		sum := func(s pricing.Statement) (sum ledger.Amount) {
			for _, line := range s.Lines {
				sum += line.Amount
			}
			return sum
		}
		less := []ledger.PlanTotals{{Plan: version, Totals: drawTotals(t)}}
		more := append(slices.Clip(less), ledger.PlanTotals{Plan: version, Totals: drawTotals(t)})
		if a, b := sum(mustRate(t, in, less)), sum(mustRate(t, in, more)); a > b {
			t.Errorf("%+v costs %v, with more of it %v", less, a, b)
		}
	})
}

// It does not matter in how many rows usage is told, nor in which order, nor
// whether it is told as more on top.
func TestSplittingUsageChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, true)
		used := drawUsage(t, in)
		merged := map[ledger.VersionID]*ledger.PlanTotals{}
		var together []ledger.PlanTotals
		for _, row := range used {
			m := merged[row.Plan]
			if m == nil {
				m = &ledger.PlanTotals{Plan: row.Plan, Totals: ledger.Totals{Named: []ledger.Quantity{{Meter: "pages"}}}}
				merged[row.Plan] = m
			}
			m.Calls += row.Calls
			m.Documents += row.Documents
			m.Cost += row.Cost
			m.Named[0].N += row.Named[0].N
		}
		for _, m := range merged {
			together = append(together, *m)
		}
		a, b := mustRate(t, in, used), mustRate(t, in, together)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("(-in rows +together):\n%s", diff)
		}
		if len(used) > 0 {
			s, err := pricing.NewSchedule(in)
			if err != nil {
				t.Fatal(err)
			}
			charge, err := s.UsageCharge(used[1:], used[0])
			if err != nil || charge != a.Usage {
				t.Errorf("with more on top: got %v, %v; want %v", charge, err, a.Usage)
			}
		}
	})
}

// A plan that is cut into two versions with the same terms includes and charges
// the same.
func TestSplittingTimeChangesNoExactSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := drawPlan(t, "x", false)
		plan.Prices, plan.Minimum = nil, 0
		p := ledger.Period{Month: ledger.MonthOf(2025, time.April), Start: day(1, 0), End: day(1, 0).AddDate(0, 1, 0)}
		at := p.Start.Add(time.Duration(rapid.Int64Range(0, int64(p.End.Sub(p.Start)/time.Second)).Draw(t, "cut")) * time.Second)
		before, after := drawTotals(t), drawTotals(t)
		a := mustRate(t, whole(p, plan), []ledger.PlanTotals{{Plan: 1, Totals: before}, {Plan: 1, Totals: after}})
		b := mustRate(t, moved(p, plan, plan, at), []ledger.PlanTotals{{Plan: 1, Totals: before}, {Plan: 2, Totals: after}})
		if a.Usage != b.Usage {
			t.Errorf("whole: %v, cut: %v", a.Usage, b.Usage)
		}
		if diff := cmp.Diff(a.Quotas, b.Quotas); diff != "" {
			t.Errorf("quotas (-whole +cut):\n%s", diff)
		}
	})
}

// Call by call in the order of time, the pool is used up first, and each call
// beyond it is charged at the terms it was made under.
func TestPoolAgreesWithCallByCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, false)
		var used []ledger.PlanTotals
		pool := new(big.Rat)
		whole := in.Period.End.Unix() - in.Period.Start.Unix()
		in.First, in.Full = false, false
		in.Segments[len(in.Segments)-1].To = in.Period.End // not closed
		for i := range in.Segments {
			g := &in.Segments[i]
			g.Version = ledger.VersionID(i + 1) // nobody returns to a version
			plan := *g.Plan
			plan.Prices = nil
			g.Plan = &plan
			n := rapid.Int64Range(0, 150).Draw(t, "calls")
			used = append(used, ledger.PlanTotals{Plan: g.Version, Totals: ledger.Totals{Calls: n}})
			if quota, ok := plan.Quota["calls"]; ok && !plan.ByCost && plan.Billing != pricing.Prepaid {
				pool.Add(pool, big.NewRat(quota*(g.To.Unix()-g.From.Unix()), whole))
			}
		}
		left := new(big.Int).Quo(pool.Num(), pool.Denom()).Int64()
		var want ledger.Amount
		for i, g := range in.Segments {
			if g.Plan.ByCost || g.Plan.Billing == pricing.Prepaid {
				continue
			}
			_, quota := g.Plan.Quota["calls"]
			for range used[i].Calls {
				switch {
				case quota && left > 0:
					left--
				case quota && g.Plan.OnExceed == pricing.Block:
				default:
					want += g.Plan.Overage["calls"]
				}
			}
		}
		if got := mustRate(t, in, used).Usage; got != want {
			t.Errorf("got %v, call by call %v", got, want)
		}
	})
}

// A charge is the exact sum or ErrOverflow, whatever the numbers.
func TestNothingOverflowsSilently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		quota := rapid.Int64Min(0).Draw(t, "quota")
		unit := rapid.Int64Min(0).Draw(t, "unit")
		documents := rapid.Int64Min(0).Draw(t, "documents")
		plan := &pricing.Plan{ID: "x", Quota: map[string]int64{"calls": quota}, Overage: map[string]ledger.Amount{"calls": ledger.Amount(unit)},
			OnExceed: pricing.Bill, Prices: []pricing.Price{{Meter: "documents", Model: pricing.UnitModel, Unit: ledger.Amount(unit)}}}
		want := new(big.Int).Mul(big.NewInt(max(0, n-quota)), big.NewInt(unit))
		want.Add(want, new(big.Int).Mul(big.NewInt(documents), big.NewInt(unit)))
		start := day(1, 0)
		in := whole(ledger.Period{Month: ledger.MonthOf(2025, time.April), Start: start, End: start.AddDate(0, 1, 0)}, plan)
		s, err := pricing.NewSchedule(in)
		if err != nil {
			t.Fatal(err)
		}
		used := []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{Calls: n, Documents: documents}}}
		charge, err := s.UsageCharge(used, ledger.PlanTotals{})
		statement, rateErr := s.Rate(used)
		if !want.IsInt64() {
			if !errors.Is(err, ledger.ErrOverflow) || !errors.Is(rateErr, ledger.ErrOverflow) {
				t.Errorf("%v does not fit; got %v, %v and %v, %v", want, charge, err, statement.Usage, rateErr)
			}
			return
		}
		if err != nil || rateErr != nil || int64(charge) != want.Int64() || statement.Usage != charge {
			t.Errorf("got %v, %v and %v, %v; want %v", charge, err, statement.Usage, rateErr, want)
		}
	})
}

// Fees of a month cut anywhere are shares of it: together the month's fee, but
// for half a minor unit a line.
func TestFeeSharesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fee := ledger.Amount(rapid.Int64Range(0, 1000*int64(ledger.Unit)).Draw(t, "fee"))
		plan := &pricing.Plan{ID: "x", Fee: fee}
		p := ledger.Period{Month: ledger.MonthOf(2025, time.April), Start: day(1, 0), End: day(1, 0).AddDate(0, 1, 0)}
		at := p.Start.Add(time.Duration(rapid.Int64Range(0, int64(p.End.Sub(p.Start))).Draw(t, "cut")))
		got := mustRate(t, moved(p, plan, plan, at), nil)
		var sum ledger.Amount
		for _, line := range got.Lines {
			sum += line.Amount
		}
		if d := sum - fee; d < -1 || d > 1 {
			t.Errorf("the shares come to %v of %v", sum, fee)
		}
		if d := got.Total - fee.Minor(2); d < -1 || d > 1 {
			t.Errorf("the lines come to %d of %d", got.Total, fee.Minor(2))
		}
	})
}
