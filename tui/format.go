package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// clean replaces control characters: names and routes come from outside, and a
// terminal obeys escape sequences.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

// count writes a number with thousands separators: 1,234,567.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	return sign + group3(digits)
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

// cents writes minor units of a currency that has so many decimals.
func cents(n int64, digits int) string {
	text, sign := strconv.FormatInt(n, 10), ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	if digits <= 0 {
		return sign + group3(text)
	}
	if missing := digits + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	return sign + group3(text[:len(text)-digits]) + "." + text[len(text)-digits:]
}

// exact writes an exact decimal such as "1234.500000000": the zeros at its end
// beyond cents are dropped, nothing is rounded.
func exact(decimal string) string {
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

// percent is used of limit in tenths of a percent, rounded down: 84.7%.
func percent(used, limit int64) string {
	if limit <= 0 {
		return "100.0%"
	}
	tenths := int64(float64(used) / float64(limit) * 1000)
	if used < 1<<50 { // no overflow: exact, as the customer's page has it
		tenths = used * 1000 / limit
	}
	return fmt.Sprintf("%s.%d%%", count(tenths/10), tenths%10)
}

// moment writes an instant in UTC to the second, "-" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// minute writes an instant in UTC to the minute, "-" for none.
func minute(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

// span writes a duration for people, by its largest unit or two: 45s, 12m, 3h05m,
// 2d04h.
func span(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// size writes bytes with a binary unit: 512 B, 1.5 KiB, 27.0 MiB.
func size(n int64) string {
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

// millis writes a duration in milliseconds with three digits that matter.
func millis(ms float64) string {
	switch {
	case ms <= 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// width is how many columns of a terminal a text takes.
func width(s string) int { return ansi.StringWidth(s) }

// fit cuts a text to w columns; an ellipsis tells that something is missing.
func fit(s string, w int) string {
	if w <= 0 {
		return ""
	}
	return ansi.Truncate(s, w, "…")
}

// left sets a text in exactly w columns.
func left(s string, w int) string {
	s = fit(s, w)
	return s + strings.Repeat(" ", max(0, w-width(s)))
}

func upper(s string) string { return strings.ToUpper(clean(s)) }

// plain is a text without what dresses it.
func plain(s string) string { return ansi.Strip(s) }

// wrap breaks a text into lines of at most w columns, between words where it can.
func wrap(s string, w int) []string {
	if w <= 0 {
		return []string{s}
	}
	return strings.Split(ansi.Wrap(s, w, ""), "\n")
}
