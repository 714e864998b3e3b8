package ledger_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"tollgate/ledger"
)

func TestParseAmount(t *testing.T) {
	for _, c := range []struct {
		in   string
		want ledger.Amount
		text string
	}{
		{"0", 0, "0.000000000"},
		{"-0", 0, "0.000000000"},
		{"0.01", 10_000_000, "0.010000000"},
		{"49", 49 * ledger.Unit, "49.000000000"},
		{"-49.5", -49*ledger.Unit - ledger.Unit/2, "-49.500000000"},
		{"-0.000000001", -1, "-0.000000001"},
		{"007.10", 7*ledger.Unit + ledger.Unit/10, "7.100000000"},
		{"9223372036.854775807", math.MaxInt64, "9223372036.854775807"},
		{"-9223372036.854775807", -math.MaxInt64, "-9223372036.854775807"},
	} {
		got, err := ledger.ParseAmount(c.in)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("%q is %v (%d), %v; want %s", c.in, got, got, err, c.text)
		}
	}
	for _, s := range []string{"", "-", ".", "1.", ".5", "1e3", "+1", " 1", "1 ", "1,000", "1_000", "0x10", "１", "1.0000000001", "--1", "1.-1", "NaN"} {
		if got, err := ledger.ParseAmount(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
	for _, s := range []string{"9223372036.854775808", "9223372037", "-9223372036.854775808", "99999999999999999999999"} {
		if got, err := ledger.ParseAmount(s); !errors.Is(err, ledger.ErrOverflow) {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	if s := ledger.Amount(math.MinInt64).String(); s != "-9223372036.854775808" {
		t.Errorf("the lowest amount is %s", s)
	}
}

func TestAmountInJSON(t *testing.T) {
	type priced struct {
		Cost ledger.Amount `json:"cost"`
	}
	b, err := json.Marshal(priced{234_500_000_000})
	if err != nil || string(b) != `{"cost":"234.500000000"}` {
		t.Errorf("%s, %v", b, err)
	}
	var p priced
	if err := json.Unmarshal(b, &p); err != nil || p.Cost != 234_500_000_000 {
		t.Errorf("%v, %v", p, err)
	}
	for _, s := range []string{`{"cost":234.5}`, `{"cost":"234.5.0"}`} {
		if err := json.Unmarshal([]byte(s), &p); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func TestMinor(t *testing.T) {
	for _, c := range []struct {
		amount string
		digits int
		want   int64
		text   string
	}{
		{"0.005", 2, 1, "0.01"}, // half away from zero
		{"-0.005", 2, -1, "-0.01"},
		{"0.004999999", 2, 0, "0.00"},
		{"-0.004999999", 2, 0, "0.00"},
		{"1234.5", 2, 123450, "1234.50"},
		{"0.015", 2, 2, "0.02"}, // never to even
		{"0.025", 2, 3, "0.03"},
		{"0.5", 0, 1, "1"},
		{"-0.5", 0, -1, "-1"},
		{"0.499999999", 0, 0, "0"},
		{"0.0005", 3, 1, "0.001"},
		{"-12.3454", 3, -12345, "-12.345"},
		{"9223372036.854775807", 2, 922337203685, "9223372036.85"},
		{"0.000000001", 9, 1, "0.000000001"},
	} {
		a, err := ledger.ParseAmount(c.amount)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Minor(c.digits); got != c.want || ledger.FormatMinor(got, c.digits) != c.text {
			t.Errorf("%s to %d digits is %d, %q; want %d, %q", c.amount, c.digits, got, ledger.FormatMinor(got, c.digits), c.want, c.text)
		}
		back, err := ledger.FromMinor(c.want, c.digits)
		if err != nil || back.Minor(c.digits) != c.want {
			t.Errorf("%d of %d digits is %v, %v", c.want, c.digits, back, err)
		}
	}
	if a, err := ledger.FromMinor(math.MaxInt64, 2); !errors.Is(err, ledger.ErrOverflow) {
		t.Errorf("too many cents are %v, %v", a, err)
	}
}

func TestMinorDigits(t *testing.T) {
	for currency, want := range map[string]int{"usd": 2, "eur": 2, "jpy": 0, "krw": 0, "kwd": 3, "tnd": 3} {
		if got, err := ledger.MinorDigits(currency); err != nil || got != want {
			t.Errorf("%s has %d, %v", currency, got, err)
		}
	}
	for _, currency := range []string{"", "us", "USD", "usdx", "xxx", "d a", "y c", "€"} {
		if got, err := ledger.MinorDigits(currency); err == nil {
			t.Errorf("%q is taken for a currency of %d digits", currency, got)
		}
	}
}

// TestAmountArithmetic compares with big numbers, also at the ends of the range.
func TestAmountArithmetic(t *testing.T) {
	number := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1000, 1000), rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, y := big.NewInt(a), big.NewInt(b)
		// The lowest int64 has no opposite: it may be refused, never wrong.
		expect := func(what string, want *big.Int, got ledger.Amount, err error) {
			t.Helper()
			switch {
			case err != nil && !errors.Is(err, ledger.ErrOverflow):
				t.Errorf("%d %s %d: %v", a, what, b, err)
			case err == nil && want.Cmp(big.NewInt(int64(got))) != 0:
				t.Errorf("%d %s %d is %d, want %v", a, what, b, got, want)
			case err != nil && want.IsInt64() && want.Int64() != math.MinInt64:
				t.Errorf("%d %s %d is refused and would be %v", a, what, b, want)
			}
		}
		sum, err := ledger.Amount(a).Add(ledger.Amount(b))
		expect("+", new(big.Int).Add(x, y), sum, err)
		product, err := ledger.Amount(a).Times(b)
		expect("×", new(big.Int).Mul(x, y), product, err)

		whole := rapid.OneOf(rapid.Int64Range(1, 1000), rapid.Int64Range(1, math.MaxInt64)).Draw(t, "whole")
		share, err := ledger.Amount(a).Share(b, whole)
		// Half away from zero: the floor of twice the magnitude plus the whole, over twice the whole.
		want := new(big.Int).Mul(x, y)
		sign := int64(want.Sign())
		want.Abs(want).Lsh(want, 1).Add(want, big.NewInt(whole))
		want.Div(want, new(big.Int).Lsh(big.NewInt(whole), 1)).Mul(want, big.NewInt(sign))
		expect("shared", want, share, err)
	})
}

func TestShareOfNothing(t *testing.T) {
	for _, whole := range []int64{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a share of %d is taken", whole)
				}
			}()
			_, _ = ledger.Amount(1).Share(1, whole)
		}()
	}
}
