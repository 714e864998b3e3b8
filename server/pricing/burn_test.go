package pricing_test

import (
	"errors"
	"testing"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

func TestBurn(t *testing.T) {
	byMeter := &pricing.Plan{Billing: pricing.Prepaid, Credits: map[string]int64{"documents": 2, "calls": 1, "pages": 3}}
	byCost := func(value ledger.Amount) *pricing.Plan {
		return &pricing.Plan{Billing: pricing.Prepaid, CreditsByCost: true, CreditValue: value}
	}
	for _, tt := range []struct {
		name string
		plan *pricing.Plan
		q    ledger.Quantities
		cost ledger.Amount
		want ledger.Amount
		err  error
	}{
		{"another plan burns nothing", &pricing.Plan{Billing: pricing.Monthly, Credits: byMeter.Credits}, ledger.Quantities{Documents: 9}, 9, 0, nil},
		{"by meters", byMeter, ledger.Quantities{Documents: 7, Tokens: 99, Named: []ledger.Quantity{{Meter: "pages", N: 2}}}, 99, 21 * ledger.Unit, nil},
		{"a call of nothing", byMeter, ledger.Quantities{}, 0, ledger.Unit, nil},
		{"by cost", byCost(ledger.Unit / 100), ledger.Quantities{Documents: 9}, 7 * ledger.Unit / 100, 7 * ledger.Unit, nil},
		{"by cost, a third", byCost(3), ledger.Quantities{}, 1, 333_333_333, nil},
		{"by cost, two thirds", byCost(3), ledger.Quantities{}, 2, 666_666_667, nil},
		{"by cost, half a nano", byCost(2 * ledger.Unit), ledger.Quantities{}, 1, 1, nil},
		{"by cost, less", byCost(2*ledger.Unit + 1), ledger.Quantities{}, 1, 0, nil},
		{"the largest cost", byCost(ledger.Unit), ledger.Quantities{}, ledger.MaxCost, ledger.MaxCost, nil},
		{"more than there can be", byCost(1), ledger.Quantities{}, ledger.MaxCost, 0, ledger.ErrOverflow},
		{"more than there can be, of a meter", &pricing.Plan{Billing: pricing.Prepaid, Credits: map[string]int64{"documents": 1 << 40}}, ledger.Quantities{Documents: 1 << 40}, 0, 0, ledger.ErrOverflow},
		{"more than there can be, together", &pricing.Plan{Billing: pricing.Prepaid, Credits: map[string]int64{"documents": 4, "tokens": 4}},
			ledger.Quantities{Documents: 1 << 30, Tokens: 1 << 30}, 0, 0, ledger.ErrOverflow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.plan.Burn(tt.q, tt.cost)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}
