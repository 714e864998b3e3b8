package pricing_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// TestContract holds the worked figures of the product's contract.
func TestContract(t *testing.T) {
	p := april(t)
	free, pro, enterprise := shipped(t, "free"), shipped(t, "pro"), shipped(t, "enterprise")
	byCost := []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{Calls: 847, Cost: amount(t, "234.5")}}}
	tests := []struct {
		name      string
		in        pricing.Input
		used      []ledger.PlanTotals
		fee, over int64
		included  int64
	}{
		{"free, within the quota", whole(p, free), calls(847), 0, 0, 1000},
		{"free, 1,234 used", whole(p, free), calls(1234), 0, 234, 1000},
		{"pro, nothing used", whole(p, pro), nil, 4900, 0, 50_000},
		{"pro, 51,000 used", whole(p, pro), calls(51_000), 4900, 1000, 50_000},
		{"enterprise pays the cost", whole(p, enterprise), byCost, 0, 23_450, 0},
		{"free to pro on the 16th at noon", moved(p, free, pro, day(16, 12)), calls(600, 24_083), 2368, 0, 24_683},
		{"free to pro, beyond the pool", moved(p, free, pro, day(16, 12)), calls(600, 24_200), 2368, 117, 24_683},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := rate(t, tt.in, tt.used)
			if got.BaseFee != tt.fee || got.Overage != tt.over || got.Total != tt.fee+tt.over {
				t.Errorf("got fee %d, overage %d, total %d; want %d, %d\n%+v", got.BaseFee, got.Overage, got.Total, tt.fee, tt.over, got.Lines)
			}
			if tt.included != 0 && (len(got.Quotas) != 1 || got.Quotas[0].Included != tt.included) {
				t.Errorf("got quotas %+v, want %d calls included", got.Quotas, tt.included)
			}
		})
	}
}

func TestLines(t *testing.T) {
	p := april(t)
	in := moved(p, shipped(t, "free"), shipped(t, "pro"), day(16, 12))
	got := rate(t, in, calls(25_000, 100))
	want := []pricing.Line{
		{Kind: pricing.OverageLine, Plan: 1, Meter: "calls", Quantity: 317, UnitPrice: cent, Amount: 317 * cent, Minor: 317, From: p.Start, To: day(16, 12),
			Description: "Free: calls beyond the 24,683 included, 1 Apr 00:00 to 16 Apr 12:00"},
		{Kind: pricing.FeeLine, Plan: 2, Quantity: 1, UnitPrice: 49 * ledger.Unit, Amount: amount(t, "23.683333333"), Minor: 2368, From: day(16, 12), To: p.End,
			Description: "Pro: monthly fee, 16 Apr 12:00 to 1 May 00:00"},
		{Kind: pricing.OverageLine, Plan: 2, Meter: "calls", Quantity: 100, UnitPrice: cent, Amount: ledger.Unit, Minor: 100, From: day(16, 12), To: p.End,
			Description: "Pro: calls beyond the 24,683 included, 16 Apr 12:00 to 1 May 00:00"},
	}
	if diff := cmp.Diff(want, got.Lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got.Usage != 417*cent || got.Total != 2368+417 {
		t.Errorf("got usage %v and total %d", got.Usage, got.Total)
	}
}

func TestFeeRoundsOnceFromTheExactValue(t *testing.T) {
	p := april(t)
	tests := []struct {
		name  string
		fee   string
		from  time.Time
		nanos ledger.Amount
		want  int64
	}{
		{"half a cent goes up", "0.01", day(16, 0), 5_000_000, 1},
		{"a second less does not", "0.01", day(16, 0).Add(time.Second), 4_999_996, 0},
		{"less than a second is none", "0.005", p.Start.Add(999 * time.Millisecond), 5_000_000, 1},
		{"two roundings would make it a cent", "0.005000001", p.Start.Add(time.Second), 4_999_999, 0},
		{"nearly all there is", "9000000000", p.Start.Add(time.Second), 8_999_996_527_777_777_778, 899_999_652_778},
	}
	for _, tt := range tests {
		in := whole(p, &pricing.Plan{ID: "x", Fee: amount(t, tt.fee)})
		in.Segments[0].From = tt.from
		got := rate(t, in, nil)
		if got.BaseFee != tt.want || got.Lines[0].Amount != tt.nanos {
			t.Errorf("%s: got %d cents, %v; want %d, %v", tt.name, got.BaseFee, got.Lines[0].Amount, tt.want, tt.nanos)
		}
	}
}

// The line's nanos are rounded up to half a cent and its cents are not: they
// come from the exact value, just below.
func TestCentsDoNotComeFromRoundedNanos(t *testing.T) {
	p := april(t)
	in := whole(p, &pricing.Plan{ID: "x", Fee: 15_000_017})
	in.Segments[0].From = p.End.Add(-863_999 * time.Second) // × 863,999 ÷ 2,592,000 = 4,999,999.88 nanos
	got := rate(t, in, nil)
	if got.Lines[0].Amount != 5_000_000 || got.BaseFee != 0 {
		t.Errorf("got %v and %d cents, want half a cent and 0", got.Lines[0].Amount, got.BaseFee)
	}
}

func TestMonthsOfEveryLength(t *testing.T) {
	pro := shipped(t, "pro")
	tests := []struct {
		year  int
		month time.Month
		zone  string
		hours int64
	}{
		{2025, time.February, "UTC", 28 * 24},
		{2028, time.February, "UTC", 29 * 24},
		{2025, time.March, "America/New_York", 31*24 - 1},
		{2025, time.November, "America/New_York", 30*24 + 1},
		{2025, time.January, "Asia/Kolkata", 31 * 24},
		{2011, time.December, "Pacific/Apia", 30 * 24}, // the 30th was left out
	}
	for _, tt := range tests {
		p := period(t, tt.year, tt.month, tt.zone)
		half := p.Start.Add(p.End.Sub(p.Start) / 2)
		if got := int64(p.End.Sub(p.Start) / time.Hour); got != tt.hours {
			t.Fatalf("%v in %s has %d hours, want %d", p.Month, tt.zone, got, tt.hours)
		}
		if got := rate(t, whole(p, pro), nil); got.Total != 4900 || got.Quotas[0].Included != 50_000 || got.Lines[0].Description != "Pro: monthly fee" {
			t.Errorf("%v in %s: got %+v", p.Month, tt.zone, got)
		}
		in := moved(p, shipped(t, "free"), pro, half)
		if got := rate(t, in, nil); got.Total != 2450 || got.Quotas[0].Included != 25_500 {
			t.Errorf("%v in %s, half: got %d cents and %+v", p.Month, tt.zone, got.Total, got.Quotas)
		}
	}
}

func TestQuotaPool(t *testing.T) {
	p := april(t)
	plan := func(id string, fee ledger.Amount, quota int64, overage ledger.Amount) *pricing.Plan {
		return &pricing.Plan{ID: id, Fee: fee, Quota: map[string]int64{"calls": quota}, Overage: map[string]ledger.Amount{"calls": overage},
			OnExceed: pricing.Bill, Billing: pricing.Monthly}
	}
	small, big := plan("small", ledger.Unit, 100, 2*cent), plan("big", 2*ledger.Unit, 200, cent)
	blocks := plan("small", ledger.Unit, 100, 2*cent)
	blocks.OnExceed = pricing.Block
	unlimited := &pricing.Plan{ID: "unlimited", Fee: ledger.Unit, Billing: pricing.Monthly}
	byCost := &pricing.Plan{ID: "cost", ByCost: true, Billing: pricing.Monthly}
	prepaid := &pricing.Plan{ID: "prepaid", Billing: pricing.Prepaid, Credits: map[string]int64{"calls": 1}}
	costly := calls(80, 100)
	costly[1].Cost = 5 * ledger.Unit

	tests := []struct {
		name     string
		in       pricing.Input
		used     []ledger.PlanTotals
		included int64
		usage    ledger.Amount
	}{
		{"within the pool", moved(p, small, big, day(16, 0)), calls(120, 30), 150, 0},
		{"the latest calls are beyond it", moved(p, small, big, day(16, 0)), calls(120, 40), 150, 10 * cent},
		{"then those before", moved(p, small, big, day(16, 0)), calls(170, 40), 150, 40*cent + 20*2*cent},
		{"the sum is rounded down, not its parts", moved(p, small, big, p.Start.Add(time.Duration(p.End.Sub(p.Start))/8)), calls(0, 188), 187, cent},
		{"a plan that blocks has no terms beyond", moved(p, blocks, big, day(16, 0)), calls(170, 40), 150, 40 * cent},
		{"an unlimited segment is apart", moved(p, small, unlimited, day(16, 0)), calls(60, 1_000_000), 50, 10 * 2 * cent},
		{"so is one charged by cost", moved(p, small, byCost, day(16, 0)), costly, 50, 30*2*cent + 5*ledger.Unit},
		{"and a prepaid one", moved(p, small, prepaid, day(16, 0)), costly, 50, 30 * 2 * cent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := rate(t, tt.in, tt.used)
			if len(got.Quotas) != 1 || got.Quotas[0].Included != tt.included || got.Usage != tt.usage {
				t.Errorf("got usage %v, quotas %+v; want %v, %d", got.Usage, got.Quotas, tt.usage, tt.included)
			}
			charge, err := schedule(t, tt.in).UsageCharge(tt.used, ledger.PlanTotals{})
			if err != nil || charge != tt.usage {
				t.Errorf("UsageCharge: got %v, %v; want %v", charge, err, tt.usage)
			}
		})
	}
}

func TestFirstAndLastDaysWithoutFee(t *testing.T) {
	p := april(t)
	free, pro := shipped(t, "free"), shipped(t, "pro")
	between := func(plan *pricing.Plan, from, to time.Time, first bool) pricing.Input {
		return pricing.Input{Period: p, Digits: 2, First: first, Segments: []pricing.Segment{{From: from, To: to, Version: 1, Plan: plan}}}
	}
	joined := moved(p, free, pro, day(16, 12))
	joined.First, joined.Segments[0].From = true, day(11, 0)
	tests := []struct {
		name     string
		in       pricing.Input
		included int64
		fee      int64
	}{
		{"joined the plan without fee on the 20th", between(free, day(20, 0), p.End, true), 1000, 0},
		{"joined pro on the 16th", between(pro, day(16, 0), p.End, true), 25_000, 2450},
		{"left the plan without fee on the 16th", between(free, p.Start, day(16, 0), false), 1000, 0},
		{"left pro on the 16th", between(pro, p.Start, day(16, 0), false), 25_000, 2450},
		{"joined and left within the month", between(free, day(11, 0), day(12, 0), true), 1000, 0},
		{"joined without fee on the 11th, pro from the 16th at noon", joined, 24_683, 2368},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := rate(t, tt.in, nil)
			if got.BaseFee != tt.fee || got.Quotas[0].Included != tt.included {
				t.Errorf("got fee %d, included %d; want %d, %d", got.BaseFee, got.Quotas[0].Included, tt.fee, tt.included)
			}
		})
	}
}

func TestProrationFull(t *testing.T) {
	p := april(t)
	free, pro := shipped(t, "free"), shipped(t, "pro")
	biggest := &pricing.Plan{ID: "max", Name: "Max", Fee: 99 * ledger.Unit, Quota: map[string]int64{"calls": 100_000}, OnExceed: pricing.Block}
	unlimited := &pricing.Plan{ID: "unlimited", Fee: 999 * ledger.Unit}
	back := moved(p, free, pro, day(11, 0))
	back.Segments[1].To = day(21, 0)
	back.Segments = append(back.Segments, pricing.Segment{From: day(21, 0), To: p.End, Version: 1, Plan: free})
	joined := whole(p, pro)
	joined.First, joined.Segments[0].From = true, day(21, 0)
	stays := whole(p, pro)
	stays.Segments[0].To = day(16, 0)

	tests := []struct {
		name     string
		in       pricing.Input
		included int64
		fee      int64
	}{
		{"an upgrade is whole", moved(p, free, pro, day(16, 12)), 50_000, 4900},
		{"and takes the place of a plan with a fee", moved(p, pro, biggest, day(16, 12)), 100_000, 9900},
		{"an unlimited one leaves what was before its share of quota", moved(p, free, unlimited, day(16, 0)), 500, 99_900},
		{"a downgrade is by time", moved(p, pro, free, day(16, 0)), 25_500, 2450},
		{"back again: the upgrade counts from the start", back, 33_666, 3267},
		{"joining a plan with a fee", joined, 50_000, 4900},
		{"closing is by time", stays, 25_000, 2450},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Full = true
			got := rate(t, tt.in, nil)
			if got.BaseFee != tt.fee || got.Quotas[0].Included != tt.included {
				t.Errorf("got fee %d, included %d; want %d, %d\n%+v", got.BaseFee, got.Quotas[0].Included, tt.fee, tt.included, got.Lines)
			}
		})
	}
}

func TestReturningToAPlanIsRatedOnce(t *testing.T) {
	p := april(t)
	priced := &pricing.Plan{ID: "a", Minimum: 30 * ledger.Unit, Billing: pricing.Monthly, Prices: []pricing.Price{
		{Meter: "calls", Model: pricing.UnitModel, Unit: cent, Included: 300},
	}}
	in := moved(p, priced, shipped(t, "enterprise"), day(11, 0))
	in.Segments[1].To = day(21, 0)
	in.Segments = append(in.Segments, pricing.Segment{From: day(21, 0), To: p.End, Version: 1, Plan: priced})
	got := rate(t, in, calls(1200))
	// 20 of 30 days: 200 included, 1,000 charged, up to a minimum of $20.
	if got.Usage != 10*ledger.Unit || got.Total != 2000 {
		t.Errorf("got usage %v, total %d\n%+v", got.Usage, got.Total, got.Lines)
	}
}

func TestUsageOnAVersionWithoutSegment(t *testing.T) {
	in := whole(april(t), shipped(t, "free"))
	if _, err := pricing.Rate(in, calls(10, 10)); err == nil {
		t.Error("usage on an unknown version was left out")
	}
	if _, err := schedule(t, in).UsageCharge(calls(10), ledger.PlanTotals{Plan: 9}); err == nil {
		t.Error("more usage on an unknown version was left out")
	}
	if q, limited := schedule(t, in).Quota(9, "calls", nil); !limited || q.Remaining() != 0 {
		t.Errorf("an unknown version has a quota of %+v, %v", q, limited)
	}
}

func TestBadSegments(t *testing.T) {
	p := april(t)
	free := shipped(t, "free")
	unpriceable := &pricing.Plan{ID: "x", Prices: []pricing.Price{{Meter: "calls", Model: pricing.Package}}}
	for name, in := range map[string]pricing.Input{
		"no plan":           whole(p, nil),
		"overlap":           {Period: p, Segments: []pricing.Segment{{p.Start, day(10, 0), 1, free}, {day(9, 0), p.End, 2, free}}},
		"beyond the period": {Period: p, Segments: []pricing.Segment{{p.Start, p.End.Add(1), 1, free}}},
		"before the period": {Period: p, Segments: []pricing.Segment{{p.Start.Add(-1), p.End, 1, free}}},
		"backwards":         {Period: p, Segments: []pricing.Segment{{day(9, 0), day(8, 0), 1, free}}},
		"an empty period":   {},
		"unpriceable":       whole(p, unpriceable),
	} {
		if _, err := pricing.NewSchedule(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOverflowIsAnError(t *testing.T) {
	p := april(t)
	dear := &pricing.Plan{ID: "dear", Fee: math.MaxInt64, Quota: map[string]int64{"calls": 0}, Overage: map[string]ledger.Amount{"calls": ledger.Unit}, OnExceed: pricing.Bill}
	byCost := &pricing.Plan{ID: "cost", ByCost: true}
	costs := []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{Cost: math.MaxInt64}}, {Plan: 1, Totals: ledger.Totals{Cost: 1}}}
	for name, tt := range map[string]struct {
		plan *pricing.Plan
		used []ledger.PlanTotals
	}{
		"a product":  {dear, calls(10_000_000_000)},
		"a sum":      {byCost, costs},
		"a quantity": {dear, append(calls(math.MaxInt64), calls(1)...)},
		"tiers":      {&pricing.Plan{ID: "t", Prices: []pricing.Price{{Meter: "calls", Model: pricing.Graduated, Tiers: []pricing.Tier{{UpTo: 10, Unit: math.MaxInt64 / 10}, {Unit: 1}}}}}, calls(100)},
	} {
		s := schedule(t, whole(p, tt.plan))
		if _, err := s.Rate(tt.used); !errors.Is(err, ledger.ErrOverflow) {
			t.Errorf("%s: Rate: got %v, want ErrOverflow", name, err)
		}
		if _, err := s.UsageCharge(tt.used, ledger.PlanTotals{}); !errors.Is(err, ledger.ErrOverflow) {
			t.Errorf("%s: UsageCharge: got %v, want ErrOverflow", name, err)
		}
	}
	// The largest fee there is can be charged.
	if got := rate(t, whole(p, dear), nil); got.Lines[0].Amount != math.MaxInt64 || got.Total != math.MaxInt64/10_000_000 {
		t.Errorf("got %+v", got)
	}
}
