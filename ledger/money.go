package ledger

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Amount is a sum of money as a count of nanos: 10^-9 of the currency unit.
// Its JSON and text form is the exact decimal string, such as "234.500000000".
type Amount int64

// Unit is one whole unit of the currency, such as one dollar.
const Unit Amount = 1_000_000_000

// ErrOverflow reports a sum or product of money that does not fit an Amount,
// which holds a little over nine billion units.
var ErrOverflow = errors.New("amount of money out of range")

// ParseAmount reads a decimal string with at most nine decimals, such as
// "0.01" or "-49". It accepts no exponent, no spaces and no separators.
func ParseAmount(s string) (Amount, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || point && fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return 0, fmt.Errorf("%q is not a decimal number such as \"0.01\"", s)
	}
	if len(fraction) > 9 {
		return 0, fmt.Errorf("%q has more than nine decimals", s)
	}
	units, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || units > 9_223_372_036 {
		return 0, fmt.Errorf("%q: %w", s, ErrOverflow)
	}
	nanos, _ := strconv.ParseUint((fraction + "000000000")[:9], 10, 64)
	sum := units*uint64(Unit) + nanos
	if sum > 1<<63-1 {
		return 0, fmt.Errorf("%q: %w", s, ErrOverflow)
	}
	if negative {
		return -Amount(sum), nil
	}
	return Amount(sum), nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// String is the exact decimal form with nine decimals.
func (a Amount) String() string {
	u, sign := a.abs()
	return fmt.Sprintf("%s%d.%09d", sign, u/uint64(Unit), u%uint64(Unit))
}

// Short is the exact decimal form without zeros at its end: "12.5", "100".
func (a Amount) Short() string {
	return strings.TrimSuffix(strings.TrimRight(a.String(), "0"), ".")
}

func (a Amount) abs() (magnitude uint64, sign string) {
	if a < 0 {
		return -uint64(a), "-"
	}
	return uint64(a), ""
}

// MarshalText implements [encoding.TextMarshaler] with the exact decimal form.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseAmount].
func (a *Amount) UnmarshalText(text []byte) error {
	v, err := ParseAmount(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// Add returns a + b, or ErrOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	sum := a + b
	if (a^sum)&(b^sum) < 0 {
		return 0, fmt.Errorf("%v + %v: %w", a, b, ErrOverflow)
	}
	return sum, nil
}

// Times returns a multiplied by a count, exactly, or ErrOverflow.
func (a Amount) Times(n int64) (Amount, error) {
	x, _ := a.abs()
	y, _ := Amount(n).abs()
	hi, lo := bits.Mul64(x, y)
	if hi != 0 || lo > 1<<63-1 {
		return 0, fmt.Errorf("%v × %d: %w", a, n, ErrOverflow)
	}
	if (a < 0) != (n < 0) {
		return -Amount(lo), nil
	}
	return Amount(lo), nil
}

// Share returns a × part ÷ whole rounded half away from zero to a nano, for
// pro-rata sums. It panics when whole is not positive.
func (a Amount) Share(part, whole int64) (Amount, error) {
	if whole <= 0 {
		panic(fmt.Sprintf("ledger: share of a whole of %d", whole))
	}
	product := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(part))
	sign := product.Sign()
	product.Abs(product)
	divisor := big.NewInt(whole)
	product.Add(product, new(big.Int).Rsh(divisor, 1))
	product.Quo(product, divisor)
	if !product.IsInt64() {
		return 0, fmt.Errorf("%v × %d / %d: %w", a, part, whole, ErrOverflow)
	}
	return Amount(product.Int64() * int64(sign)), nil
}

// Minor rounds half away from zero to the currency's minor unit and returns
// how many minor units that is: cents for two digits.
func (a Amount) Minor(digits int) int64 {
	step := uint64(minorStep(digits))
	u, sign := a.abs()
	n := u / step
	if u%step >= (step+1)/2 {
		n++
	}
	if sign != "" {
		return -int64(n)
	}
	return int64(n)
}

// FromMinor is the amount of n minor units of a currency with that many digits.
func FromMinor(n int64, digits int) (Amount, error) { return minorStep(digits).Times(n) }

func minorStep(digits int) Amount {
	step := Unit
	for range digits {
		step /= 10
	}
	return step
}

// FormatMinor writes minor units with the decimal point: 123450 and two digits
// give "1234.50".
func FormatMinor(n int64, digits int) string {
	u, sign := Amount(n).abs()
	if digits == 0 {
		return fmt.Sprintf("%s%d", sign, u)
	}
	step := uint64(1)
	for range digits {
		step *= 10
	}
	return fmt.Sprintf("%s%d.%0*d", sign, u/step, digits, u%step)
}

// MinorDigits is how many decimals the minor unit of an ISO 4217 currency has:
// 2 for usd, 0 for jpy, 3 for kwd. Currencies follow the list of Stripe
// (https://docs.stripe.com/currencies), lower case.
func MinorDigits(currency string) (int, error) {
	if len(currency) != 3 || strings.Trim(currency, "abcdefghijklmnopqrstuvwxyz") != "" {
		return 0, fmt.Errorf("%q is not a currency code of three lower-case letters", currency)
	}
	switch {
	case strings.Contains("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf", currency):
		return 0, nil
	case strings.Contains("kwd bhd jod omr tnd", currency):
		return 3, nil
	case strings.Contains(twoDigitCurrencies, currency):
		return 2, nil
	}
	return 0, fmt.Errorf("%q is not a currency that can be charged", currency)
}

const twoDigitCurrencies = "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn " +
	"bzd cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr " +
	"ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn " +
	"nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top " +
	"try ttd twd tzs uah ugx uyu uzs wst xcd yer zar zmw"
