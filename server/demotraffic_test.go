package server

import (
	"testing"
	"time"

	"tollgate/ledger"
)

func utcPeriod(t time.Time) ledger.Period {
	t = t.UTC()
	start := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return ledger.Period{Month: ledger.MonthOf(t.Year(), t.Month()), Start: start, End: start.AddDate(0, 1, 0), Zone: "UTC"}
}

func TestDemoTraffic(t *testing.T) {
	for _, now := range []time.Time{
		time.Date(2025, 3, 1, 0, 0, 0, 1_000_000, time.UTC), // a millisecond into a month
		time.Date(2025, 1, 17, 14, 25, 3, 0, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 999_000_000, time.UTC),
	} {
		t.Run(now.Format(time.DateTime), func(t *testing.T) {
			customers, periods := demoCustomers(), demoSpan(now, utcPeriod)
			if got, want := periods[0].Month, periods[5].Month-5; got != want {
				t.Fatalf("the oldest month is %v, want %v", got, want)
			}
			calls := make([][demoMonths]int64, len(customers))
			last := periods[0].Start
			for until, hour := range demoTraffic(customers, periods, now, 1) {
				if until.After(now) {
					t.Fatalf("an hour ends at %v, after now", until)
				}
				for _, c := range hour {
					if c.time.Before(last) || !c.time.Before(until) {
						t.Fatalf("a call at %v stands between %v and %v", c.time, last, until)
					}
					last = c.time
					if c.failed() {
						continue
					}
					calls[c.customer][utcPeriod(c.time).Month-periods[0].Month]++
				}
			}
			for i, c := range customers {
				for month, got := range calls[i] {
					want := c.calls[month]
					if month == demoMonths-1 && !c.sofar {
						if got > want {
							t.Errorf("%s has %d calls in the open month, want at most %d", c.email, got, want)
						}
					} else if got != want {
						t.Errorf("%s has %d calls in month %d, want %d", c.email, got, month, want)
					}
				}
			}
		})
	}
}

func TestDemoTrafficIsDeterministic(t *testing.T) {
	now := time.Date(2025, 1, 17, 14, 25, 3, 0, time.UTC)
	sum := func() (sum ledger.Totals) {
		for _, hour := range demoTraffic(demoCustomers(), demoSpan(now, utcPeriod), now, 1) {
			for _, c := range hour {
				sum.Calls++
				sum.Documents += c.Documents
				sum.Tokens += c.Tokens
			}
		}
		return sum
	}
	first, again := sum(), sum()
	if first.Calls != again.Calls || first.Documents != again.Documents || first.Tokens != again.Tokens {
		t.Errorf("two runs differ: %+v and %+v", first, again)
	}
	t.Logf("%d calls", first.Calls)
}
