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

func project(t *testing.T, in pricing.Input, used []ledger.PlanTotals, now time.Time, o pricing.Outlook) pricing.Projection {
	t.Helper()
	p, err := schedule(t, in).Project(used, now, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProjectionExtrapolates(t *testing.T) {
	used := []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{
		Calls: 800, Unbilled: 12, Documents: 23_450, Tokens: 5, Cost: amount(t, "234.5"), Named: []ledger.Quantity{{Meter: "pages", N: 3}},
	}}}
	got := project(t, whole(april(t), shipped(t, "free")), used, day(21, 0), pricing.Outlook{Payable: true})
	want := ledger.Totals{Calls: 1200, Unbilled: 12, Documents: 35_175, Tokens: 8, Cost: amount(t, "351.75"), Named: []ledger.Quantity{{Meter: "pages", N: 5}}}
	if diff := cmp.Diff(want, got.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if got.Charge != 200 || got.Statement.Total != 200 {
		t.Errorf("got charge %d, total %d, want 200", got.Charge, got.Statement.Total)
	}
	if used[0].Calls != 800 || used[0].Named[0].N != 3 {
		t.Errorf("the totals were changed to %+v", used[0])
	}
}

func TestProjectionFallsOnThePlanInForce(t *testing.T) {
	in := moved(april(t), shipped(t, "free"), shipped(t, "enterprise"), day(11, 0))
	used := []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{Calls: 100, Cost: ledger.Unit, Named: []ledger.Quantity{{Meter: "pages", N: 4}}}}}
	got := project(t, in, used, day(16, 0), pricing.Outlook{})
	if got.Totals.Calls != 200 || got.Statement.Usage != ledger.Unit || got.Totals.Of("pages") != 8 {
		t.Errorf("got %+v", got)
	}
}

func TestProjectionAtTheEdges(t *testing.T) {
	p := april(t)
	in := whole(p, shipped(t, "pro"))
	for _, tt := range []struct {
		name string
		now  time.Time
		want int64
	}{
		{"at the start an hour has passed", p.Start, 720},
		{"and within it", p.Start.Add(time.Minute), 720},
		{"before it", p.Start.Add(-time.Hour), 720},
		{"at the end", p.End, 1},
		{"after it", p.End.Add(time.Hour), 1},
	} {
		if got := project(t, in, calls(1), tt.now, pricing.Outlook{}); got.Totals.Calls != tt.want || got.Charge != 4900 {
			t.Errorf("%s: got %d calls, %d cents; want %d, 4900", tt.name, got.Totals.Calls, got.Charge, tt.want)
		}
	}
	if got := project(t, in, nil, day(3, 0), pricing.Outlook{}); got.Totals.Calls != 0 || got.Charge != 4900 {
		t.Errorf("nothing used: got %+v", got)
	}
	if got := project(t, pricing.Input{Period: p, Digits: 2}, nil, day(3, 0), pricing.Outlook{}); got.Charge != 0 {
		t.Errorf("on no plan: got %+v", got)
	}
	if _, err := schedule(t, in).Project(calls(math.MaxInt64/2), day(3, 0), pricing.Outlook{}); !errors.Is(err, ledger.ErrOverflow) {
		t.Errorf("too much: got %v, want ErrOverflow", err)
	}
}

func TestProjectionKnowsWhatWillBeRefused(t *testing.T) {
	limit := func(a ledger.Amount) *ledger.Amount { return &a }
	free, pro := whole(april(t), shipped(t, "free")), whole(april(t), shipped(t, "pro"))
	tests := []struct {
		name string
		in   pricing.Input
		used int64 // by the middle of the month
		o    pricing.Outlook
		want int64
	}{
		{"payable", free, 1000, pricing.Outlook{Payable: true}, 1000},
		{"not payable: refused", free, 1000, pricing.Outlook{}, 0},
		{"no longer payable: what is charged stays", free, 1300, pricing.Outlook{}, 300},
		{"pro bills all", pro, 30_000, pricing.Outlook{}, 4900 + 100_00},
		{"a spend limit, without the fee", pro, 30_000, pricing.Outlook{SpendLimit: limit(30 * ledger.Unit)}, 4900 + 3000},
		{"a spend limit not reached", pro, 30_000, pricing.Outlook{SpendLimit: limit(300 * ledger.Unit)}, 4900 + 100_00},
		{"a spend limit lowered below what is charged", pro, 50_500, pricing.Outlook{SpendLimit: limit(0)}, 4900 + 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := project(t, tt.in, calls(tt.used), day(16, 0), tt.o); got.Charge != tt.want {
				t.Errorf("got %d, want %d", got.Charge, tt.want)
			}
		})
	}
}
