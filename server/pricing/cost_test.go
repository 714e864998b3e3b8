package pricing_test

import (
	"errors"
	"math"
	"testing"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

func TestRouteCost(t *testing.T) {
	pages := []ledger.Quantity{{Meter: "pages", N: 7}}
	tests := []struct {
		name  string
		price map[string]ledger.Amount
		q     ledger.Quantities
		want  string
	}{
		{"no price", nil, ledger.Quantities{Documents: 5}, "0"},
		{"documents", map[string]ledger.Amount{"documents": cent}, ledger.Quantities{Documents: 23450}, "234.5"},
		{"the smallest price", map[string]ledger.Amount{"tokens": 1}, ledger.Quantities{Tokens: 3}, "0.000000003"},
		{"a call counts one", map[string]ledger.Amount{"calls": 2 * cent}, ledger.Quantities{}, "0.02"},
		{"several meters", map[string]ledger.Amount{"calls": cent, "documents": 1, "tokens": 10, "pages": 100},
			ledger.Quantities{Documents: 3, Tokens: 5, Named: pages}, "0.010000753"},
		{"a meter that the call has not", map[string]ledger.Amount{"pages": cent}, ledger.Quantities{Documents: 1}, "0"},
		{"zero", map[string]ledger.Amount{"documents": cent}, ledger.Quantities{}, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := pricing.Route{Pattern: "POST /scan", Price: tt.price}
			got, err := r.Cost(tt.q)
			if want := amount(t, tt.want); err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestRouteCostRefusesWhatDoesNotFit(t *testing.T) {
	product := pricing.Route{Price: map[string]ledger.Amount{"tokens": ledger.Unit}}
	if _, err := product.Cost(ledger.Quantities{Tokens: math.MaxInt64}); !errors.Is(err, ledger.ErrOverflow) {
		t.Errorf("a product too large: got %v, want ErrOverflow", err)
	}
	sum := pricing.Route{Price: map[string]ledger.Amount{"tokens": 1, "documents": 1}}
	if _, err := sum.Cost(ledger.Quantities{Tokens: math.MaxInt64, Documents: 1}); !errors.Is(err, ledger.ErrOverflow) {
		t.Errorf("a sum too large: got %v, want ErrOverflow", err)
	}
	if _, err := sum.Cost(ledger.Quantities{Tokens: -1}); err == nil {
		t.Error("a negative quantity was given a cost")
	}
}

func TestBookCost(t *testing.T) {
	book := pricing.NewBook()
	got, err := book.Cost(routeVersion(1, "GET /", `{"pattern":"GET /","price":{"documents":"0.01"}}`), ledger.Quantities{Documents: 3})
	if err != nil || got != 3*cent {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := book.Cost(routeVersion(2, "GET /", `{}`), ledger.Quantities{}); err == nil {
		t.Error("a route that cannot be read has a cost")
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	route := routeVersion(300, "POST /scan", `{"pattern":"POST /scan","price":{"documents":"0.01","tokens":"0.000001","pages":"0.1"}}`)
	plan := planVersion(t, 301, shipped(t, "pro"), day(1, 0))
	book := pricing.NewBook()
	terms, err := book.Route(route)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := book.Plan(plan); err != nil {
		t.Fatal(err)
	}
	q := ledger.Quantities{Documents: 4, Tokens: 900, Named: []ledger.Quantity{{Meter: "pages", N: 2}}}
	one := schedule(t, whole(april(t), shipped(t, "pro")))
	two := schedule(t, moved(april(t), shipped(t, "free"), shipped(t, "pro"), day(16, 12)))
	used, more := calls(51_000, 60_000), ledger.PlanTotals{Plan: 1, Totals: ledger.Totals{Calls: 1}}
	tiered := schedule(t, whole(april(t), &pricing.Plan{ID: "volume", Prices: []pricing.Price{graduated}}))

	for name, call := range map[string]func() error{
		"Route.Cost":                    func() error { _, err := terms.Cost(q); return err },
		"Book.Route":                    func() error { _, err := book.Route(route); return err },
		"Book.Cost":                     func() error { _, err := book.Cost(route, q); return err },
		"Book.Plan":                     func() error { _, err := book.Plan(plan); return err },
		"UsageCharge with one segment":  func() error { _, err := one.UsageCharge(used[:1], more); return err },
		"UsageCharge with two segments": func() error { _, err := two.UsageCharge(used, more); return err },
		"UsageCharge with tiers":        func() error { _, err := tiered.UsageCharge(used[:1], more); return err },
		"Quota":                         func() error { two.Quota(2, "calls", used); return nil },
		"At":                            func() error { two.At(day(20, 0)); return nil },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times a call", name, n)
		}
	}
}
