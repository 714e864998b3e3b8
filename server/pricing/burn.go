package pricing

import (
	"maps"
	"math/bits"
	"slices"

	"tollgate/ledger"
)

// Burn is the credits, in nanos of one, that a call of so much costs a user of the
// plan: 0 unless the plan is prepaid. By the cost of the call they are rounded to
// the nano, half away from zero. ErrOverflow where no purse could have so many.
func (p *Plan) Burn(q ledger.Quantities, cost ledger.Amount) (ledger.Amount, error) {
	if p.Billing != Prepaid {
		return 0, nil
	}
	if p.CreditsByCost {
		hi, lo := bits.Mul64(uint64(max(cost, 0)), uint64(ledger.Unit))
		value := uint64(p.CreditValue)
		if hi >= value {
			return 0, ledger.ErrOverflow
		}
		n, rest := bits.Div64(hi, lo, value)
		if rest >= value-rest {
			n++
		}
		return burnt(0, n)
	}
	var sum ledger.Amount
	for _, meter := range slices.Sorted(maps.Keys(p.Credits)) {
		hi, n := bits.Mul64(uint64(max(q.Of(meter), 0)), uint64(p.Credits[meter]))
		if hi != 0 || n > uint64(ledger.MaxCredits/ledger.Unit) {
			return 0, ledger.ErrOverflow
		}
		var err error
		if sum, err = burnt(sum, n*uint64(ledger.Unit)); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

func burnt(sum ledger.Amount, n uint64) (ledger.Amount, error) {
	if n > uint64(ledger.MaxCredits-sum) {
		return 0, ledger.ErrOverflow
	}
	return sum + ledger.Amount(n), nil
}
