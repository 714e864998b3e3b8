package ledger

import (
	"fmt"
	"time"
)

// Month names a calendar month: year × 12 + month − 1. It orders and subtracts
// like a number, and is what entries and totals carry for their period.
type Month int32

// MonthOf is the Month of a year and a calendar month.
func MonthOf(year int, month time.Month) Month { return Month(year*12 + int(month) - 1) }

// ParseMonth reads "2025-01".
func ParseMonth(s string) (Month, error) {
	t, err := time.Parse("2006-01", s)
	if err != nil || len(s) != 7 {
		return 0, fmt.Errorf("%q is not a month such as \"2025-01\"", s)
	}
	return MonthOf(t.Year(), t.Month()), nil
}

// Year is the calendar year.
func (m Month) Year() int { return int(m) / 12 }

// Month is the month of the year.
func (m Month) Month() time.Month { return time.Month(int(m)%12 + 1) }

// String is "2025-01".
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", m.Year(), int(m.Month())) }

// start is the first instant of the month in loc.
func (m Month) start(loc *time.Location) time.Time {
	return firstInstant(m.Year(), m.Month(), 1, loc)
}

// Period is a billing month: half-open, [Start, End), both instants in UTC.
// They are computed once from the billing time zone and kept in the ledger, so
// that no later change of zone or of zone data moves them.
type Period struct {
	Month Month     `json:"month"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Zone  string    `json:"zone"` // the IANA zone they were computed in
}

// Contains tells whether t lies in the period.
func (p Period) Contains(t time.Time) bool { return !t.Before(p.Start) && t.Before(p.End) }

// monthAt is the calendar month of t in loc.
func monthAt(t time.Time, loc *time.Location) Month {
	local := t.In(loc)
	return MonthOf(local.Year(), local.Month())
}

// Day is a calendar day in the billing zone: [Start, End), and its number
// counted from 1970-01-01, by which daily limits are kept.
type Day struct {
	Number     int32
	Start, End time.Time
}

// Contains tells whether t lies in the day.
func (d Day) Contains(t time.Time) bool { return !t.Before(d.Start) && t.Before(d.End) }

func dayAt(t time.Time, loc *time.Location) Day {
	year, month, day := t.In(loc).Date()
	return Day{
		Number: int32(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400),
		Start:  firstInstant(year, month, day, loc),
		End:    firstInstant(year, month, day+1, loc),
	}
}

// firstInstant is when a day begins: at midnight, where the clock skips
// midnight when it does so, where midnight comes twice at the first, and where
// the whole day is skipped at the start of the next.
func firstInstant(year int, month time.Month, day int, loc *time.Location) time.Time {
	date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	before := func(t time.Time) bool {
		y, m, d := t.In(loc).Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Before(date)
	}
	t := time.Date(year, month, day, 0, 0, 0, 0, loc)
	begin, end := t.ZoneBounds()
	switch {
	case before(t):
		t = end
	case !begin.IsZero() && !before(begin.Add(-1)):
		_, offset := begin.Add(-1).Zone()
		t = date.Add(-time.Duration(offset) * time.Second)
	}
	return t.UTC()
}
