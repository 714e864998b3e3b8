package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"tollgate/server/api"
)

// percent is used of limit in tenths of a percent, rounded down: 84.7%.
func percent(used, limit int64) string {
	if limit <= 0 {
		return "100.0%"
	}
	tenths := int64(float64(used) / float64(limit) * 1000)
	if used < 1<<50 { // no overflow: exact, as the customer's page has it
		tenths = used * 1000 / limit
	}
	return fmt.Sprintf("%s.%d%%", api.Count(tenths/10), tenths%10)
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
	return api.Count(n) + " " + many
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

func upper(s string) string { return strings.ToUpper(api.Clean(s)) }

// plain is a text without what dresses it.
func plain(s string) string { return ansi.Strip(s) }

// wrap breaks a text into lines of at most w columns, between words where it can.
func wrap(s string, w int) []string {
	if w <= 0 {
		return []string{s}
	}
	return strings.Split(ansi.Wrap(s, w, ""), "\n")
}
