package api

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"tollgate/ledger"
)

// Dollars is a sum of money in whole minor units (cents) whose JSON is a number
// with exactly the currency's decimals: 234.50 for usd, 1000 for jpy. It never
// passes through a float.
type Dollars struct {
	Minor  int64 // minor units
	Digits int   // decimals of the currency
}

// String is the number without a currency sign.
func (d Dollars) String() string { return ledger.FormatMinor(d.Minor, d.Digits) }

// MarshalJSON implements [encoding/json.Marshaler].
func (d Dollars) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads what MarshalJSON wrote; the decimals given are the digits.
func (d *Dollars) UnmarshalJSON(text []byte) error {
	whole, fraction, _ := strings.Cut(string(text), ".")
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a sum of money", text)
	}
	*d = Dollars{n, len(fraction)}
	return nil
}

// Tenths is a number with one decimal, such as a percentage: 847 is 84.7.
type Tenths int64

// String is the number with its decimal.
func (t Tenths) String() string { return ledger.FormatMinor(int64(t), 1) }

// MarshalJSON implements [encoding/json.Marshaler].
func (t Tenths) MarshalJSON() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Tenths) UnmarshalJSON(text []byte) error {
	var d Dollars
	if err := d.UnmarshalJSON(text); err != nil || d.Digits != 1 {
		return fmt.Errorf("%q is not a number with one decimal", text)
	}
	*t = Tenths(d.Minor)
	return nil
}

// percent is used of total in tenths of a percent, rounded down, so that 100.0
// means used up. A total of zero is used up.
func percent(used, total int64) Tenths {
	if total <= 0 {
		return 1000
	}
	hi, lo := bits.Mul64(uint64(max(used, 0)), 1000)
	if hi >= uint64(total) {
		return math.MaxInt64
	}
	tenths, _ := bits.Div64(hi, lo, uint64(total))
	return Tenths(min(tenths, math.MaxInt64))
}
