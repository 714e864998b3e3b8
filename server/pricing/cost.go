package pricing

import (
	"fmt"

	"tollgate/ledger"
)

// Cost is what a call costs at the price list: the sum of quantity × unit
// price, in nanos, exact. It does not allocate. The error wraps
// [ledger.ErrOverflow] for more than [ledger.MaxCost], or names a negative
// quantity.
func (r *Route) Cost(q ledger.Quantities) (ledger.Amount, error) {
	var sum ledger.Amount
	for meter, unit := range r.Price {
		n := q.Of(meter)
		if n < 0 {
			return 0, fmt.Errorf("cost of a call to %q: %s is %d, below zero", r.Pattern, meter, n)
		}
		part, err := unit.Times(n)
		if err == nil {
			sum, err = sum.Add(part)
		}
		if err != nil {
			return 0, fmt.Errorf("cost of a call to %q: %d %s: %w", r.Pattern, n, meter, err)
		}
	}
	if sum > ledger.MaxCost {
		return 0, fmt.Errorf("cost of a call to %q: %v: %w", r.Pattern, sum, ledger.ErrOverflow)
	}
	return sum, nil
}
