package api

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"tollgate/ledger"
)

// What commands and screens write for people is written here, so that both write
// it alike.

// Clean replaces control characters, and what turns the direction of a text, by
// "?": names, routes and errors come from outside, and a terminal obeys escape
// sequences. Whatever is shown on a terminal and is not a number goes through it.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

// Count writes a number with thousands separators: 1,234,567.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	return sign + group3(digits)
}

// Exact writes an exact decimal such as "1234.500000000" with thousands separators:
// the zeros at its end beyond cents are dropped, nothing is rounded.
func Exact(decimal string) string {
	sign := ""
	if rest, negative := strings.CutPrefix(decimal, "-"); negative {
		sign, decimal = "-", rest
	}
	whole, fraction, point := strings.Cut(decimal, ".")
	if !point {
		return sign + group3(whole)
	}
	for len(fraction) > 2 && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	return sign + group3(whole) + "." + fraction
}

// Minor writes minor units of a currency that has so many decimals, with thousands
// separators and all its decimals: 1,234.50.
func Minor(n int64, digits int) string {
	whole, fraction, point := strings.Cut(ledger.FormatMinor(n, digits), ".")
	if !point {
		return Exact(whole)
	}
	return Exact(whole) + "." + fraction
}

// Size writes bytes with a binary unit: 512 B, 1.5 KiB, 27.0 MiB.
func Size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		value /= 1024
		if value < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

func group3(digits string) string {
	var b strings.Builder
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}
