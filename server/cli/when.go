package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseTime reads an RFC 3339 time, or a date, which is its first instant in
// UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2025-01-31T15:04:05Z nor a date such as 2025-01-31", s)
}

// parseDuration reads a Go duration such as "90m", or whole days such as "30d".
func parseDuration(s string) (time.Duration, error) {
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90m, 24h or 30d", s)
	}
	return d, nil
}
