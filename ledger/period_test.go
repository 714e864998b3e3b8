package ledger_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

func utc(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func TestPeriodOf(t *testing.T) {
	for _, c := range []struct{ zone, month, start, end string }{
		{"UTC", "2025-01", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"},
		{"UTC", "2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"UTC", "2023-12", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"},
		{"America/New_York", "2025-03", "2025-03-01T05:00:00Z", "2025-04-01T04:00:00Z"}, // DST begins
		{"America/New_York", "2025-11", "2025-11-01T04:00:00Z", "2025-12-01T05:00:00Z"}, // and ends
		{"Asia/Kolkata", "2025-01", "2024-12-31T18:30:00Z", "2025-01-31T18:30:00Z"},
		{"Pacific/Apia", "2011-12", "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"}, // a day was skipped
		{"Pacific/Apia", "2012-01", "2011-12-31T10:00:00Z", "2012-01-31T10:00:00Z"},
		{"America/Asuncion", "2017-10", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z"}, // the clock went from midnight to one on the 1st
		{"America/Asuncion", "2017-09", "2017-09-01T04:00:00Z", "2017-10-01T04:00:00Z"},
		{"Asia/Amman", "2002-03", "2002-02-28T22:00:00Z", "2002-03-31T21:00:00Z"},
		{"America/Havana", "2020-11", "2020-11-01T04:00:00Z", "2020-12-01T05:00:00Z"}, // midnight came twice on the 1st
		{"Pacific/Kiritimati", "2025-01", "2024-12-31T10:00:00Z", "2025-01-31T10:00:00Z"},
	} {
		l := ledgertest.New(t, ledger.Options{Zone: c.zone})
		month, err := ledger.ParseMonth(c.month)
		if err != nil {
			t.Fatal(err)
		}
		want := ledger.Period{Month: month, Start: utc(t, c.start), End: utc(t, c.end), Zone: c.zone}
		if diff := cmp.Diff(want, l.PeriodOf(month)); diff != "" {
			t.Errorf("%s in %s (-want +got):\n%s", c.month, c.zone, diff)
		}
		for _, at := range []time.Time{want.Start, want.Start.Add(time.Hour), want.End.Add(-time.Millisecond)} {
			if got := l.PeriodAt(at); got.Month != month || !got.Contains(at) {
				t.Errorf("%v in %s is in %v, want %s", at, c.zone, got.Month, c.month)
			}
		}
		if got := l.PeriodAt(want.End).Month; got != month+1 {
			t.Errorf("%v in %s is in %v, want the month after %s", want.End, c.zone, got, c.month)
		}
	}
}

func TestDayAt(t *testing.T) {
	for _, c := range []struct{ zone, at, start, end string }{
		{"UTC", "2024-02-29T23:59:59Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"America/New_York", "2025-03-09T12:00:00Z", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"}, // 23 hours
		{"America/New_York", "2025-11-02T12:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, // 25 hours
		{"Asia/Kolkata", "2025-01-15T18:29:59Z", "2025-01-14T18:30:00Z", "2025-01-15T18:30:00Z"},
		{"Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},      // the 29th
		{"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},      // the 31st: there was no 30th
		{"America/Sao_Paulo", "2018-11-04T02:30:00Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"}, // the last hour before a day without midnight
		{"America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"America/Havana", "2020-11-01T04:30:00Z", "2020-11-01T04:00:00Z", "2020-11-02T05:00:00Z"}, // midnight came twice
		{"America/Havana", "2020-11-01T05:30:00Z", "2020-11-01T04:00:00Z", "2020-11-02T05:00:00Z"},
		{"Asia/Beirut", "2024-10-26T21:30:00Z", "2024-10-25T21:00:00Z", "2024-10-26T22:00:00Z"}, // the last hour comes twice
	} {
		l := ledgertest.New(t, ledger.Options{Zone: c.zone})
		at := utc(t, c.at)
		d := l.DayAt(at)
		if !d.Start.Equal(utc(t, c.start)) || !d.End.Equal(utc(t, c.end)) || !d.Contains(at) {
			t.Errorf("the day of %v in %s is [%v, %v), want [%v, %v)", at, c.zone, d.Start, d.End, c.start, c.end)
		}
	}
}

// TestTimeHasNoGaps: in every zone each instant is in one period and one day;
// they follow each other, and are those of the calendar.
func TestTimeHasNoGaps(t *testing.T) {
	dir := scratch(t)
	for _, zone := range []string{
		"UTC", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/Asuncion", "America/Santiago", "Asia/Kolkata", "Asia/Beirut", "Asia/Amman",
		"Asia/Damascus", "Asia/Gaza", "Africa/Cairo", "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Asia/Tehran", "Europe/Berlin",
	} {
		l := ledgertest.Open(t, filepath.Join(dir, filepath.Base(zone)+".db"), ledger.Options{Zone: zone})
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			at := time.Unix(rapid.Int64Range(946684800, 2208988800).Draw(t, "at"), 0) // 2000 to 2040
			if rapid.Bool().Draw(t, "near a change") {
				if _, end := at.In(loc).ZoneBounds(); !end.IsZero() {
					at = end.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "seconds")) * time.Second)
				}
			}
			local := at.In(loc)
			p := l.PeriodAt(at)
			if !p.Contains(at) || p.Month != ledger.MonthOf(local.Year(), local.Month()) {
				t.Errorf("%v in %s: period %v [%v, %v)", at.UTC(), zone, p.Month, p.Start, p.End)
			}
			if next := l.PeriodOf(p.Month + 1); !next.Start.Equal(p.End) {
				t.Errorf("%v in %s ends at %v, the next begins at %v", p.Month, zone, p.End, next.Start)
			}
			d := l.DayAt(at)
			midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
			if !d.Contains(at) || int64(d.Number) != midnight.Unix()/86400 {
				t.Errorf("%v in %s: day %d [%v, %v)", at.UTC(), zone, d.Number, d.Start, d.End)
			}
			if next := l.DayAt(d.End); !next.Start.Equal(d.End) || next.Number <= d.Number {
				t.Errorf("day %d in %s ends at %v, day %d begins at %v", d.Number, zone, d.End, next.Number, next.Start)
			}
		})
	}
}

// TestZoneChange: a new zone starts at the end of the open period, and no
// period moves that the log has.
func TestZoneChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 1), call(0, 0, 1, start.AddDate(0, -1, 0), 1))
	december, january, february := ledger.MonthOf(2024, 12), ledger.MonthOf(2025, 1), ledger.MonthOf(2025, 2)
	before := []ledger.Period{l.PeriodOf(december), l.PeriodOf(january)}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(zone string, feb, mar string) {
		t.Helper()
		l := ledgertest.Open(t, path, ledger.Options{Zone: zone, Now: start})
		if diff := cmp.Diff(before, []ledger.Period{l.PeriodOf(december), l.PeriodOf(january)}); diff != "" {
			t.Errorf("%s: periods in the log moved (-before +after):\n%s", zone, diff)
		}
		want := ledger.Period{Month: february, Start: utc(t, "2025-02-01T00:00:00Z"), End: utc(t, feb), Zone: zone}
		if diff := cmp.Diff(want, l.PeriodOf(february)); diff != "" {
			t.Errorf("%s: the first period (-want +got):\n%s", zone, diff)
		}
		want = ledger.Period{Month: february + 1, Start: utc(t, feb), End: utc(t, mar), Zone: zone}
		if diff := cmp.Diff(want, l.PeriodOf(february+1)); diff != "" {
			t.Errorf("%s: the second period (-want +got):\n%s", zone, diff)
		}
		if s, err := l.Status(); err != nil || s.Zone != zone {
			t.Errorf("status says %q, want %q (%v)", s.Zone, zone, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check("America/New_York", "2025-03-01T05:00:00Z", "2025-04-01T04:00:00Z")
	check("Asia/Kolkata", "2025-02-28T18:30:00Z", "2025-03-31T18:30:00Z")
	check("UTC", "2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z") // back before it began
	check("Asia/Kolkata", "2025-02-28T18:30:00Z", "2025-03-31T18:30:00Z")

	// A late record falls into its old period, one of the new zone into the new.
	l = ledgertest.Open(t, path, ledger.Options{Zone: "Asia/Kolkata", Now: start})
	at := utc(t, "2025-02-28T19:00:00Z")
	appendAll(t, l, at, call(0, 0, 1, utc(t, "2025-01-31T23:00:00Z"), 1), call(0, 0, 1, at, 1))
	for month, calls := range map[ledger.Month]int64{january: 2, february: 0, february + 1: 1} {
		if plans, err := l.Month(0, month); err != nil || ledger.Sum(plans).Calls != calls {
			t.Errorf("%v has %v, want %d calls (%v)", month, plans, calls, err)
		}
	}
}

// TestZoneChangeWhileNextPeriodIsOpen: a record may lie five minutes ahead, in
// the next period, which then is in the log and stays as it is.
func TestZoneChangeWhileNextPeriodIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	now := utc(t, "2025-01-31T23:58:00Z")
	l := ledgertest.Open(t, path, ledger.Options{Now: now})
	addRoute(t, l)
	appendAll(t, l, now, call(0, 0, 1, now.Add(4*time.Minute), 1))
	february := l.PeriodOf(ledger.MonthOf(2025, 2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{Now: now, Zone: "America/New_York"})
	if diff := cmp.Diff(february, l.PeriodOf(february.Month)); diff != "" {
		t.Errorf("a period in the log moved (-before +after):\n%s", diff)
	}
	march := l.PeriodOf(ledger.MonthOf(2025, 3))
	if !march.Start.Equal(february.End) || !march.End.Equal(utc(t, "2025-04-01T04:00:00Z")) {
		t.Errorf("March is [%v, %v)", march.Start, march.End)
	}
}

// TestLateDayAfterZoneChange: whether a record counts on a day must not depend
// on what was asked before it, or a restart would count otherwise.
func TestLateDayAfterZoneChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	now := utc(t, "2025-01-31T20:00:00Z")
	l := ledgertest.Open(t, path, ledger.Options{Now: now})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{Now: now, Zone: "Pacific/Kiritimati"})
	first := utc(t, "2025-02-01T00:30:00Z") // in Kiritimati the 1st, since ten hours before the change
	appendAll(t, l, first, call(u.ID, 0, 1, first, 1))
	appendAll(t, l, first, call(u.ID, 0, 1, utc(t, "2025-01-31T23:30:00Z"), 1)) // by the old zone the 31st
	a := l.Account(u.ID)
	a.Lock()
	defer a.Unlock()
	if got := a.DayCalls(l.DayAt(first)); got != 1 {
		t.Errorf("%d calls on the 1st, want 1", got)
	}
}

func TestMonths(t *testing.T) {
	if m := ledger.MonthOf(2025, 12) + 1; m.String() != "2026-01" || m.Year() != 2026 || m.Month() != time.January {
		t.Errorf("after 2025-12 comes %v", m)
	}
	if n := ledger.MonthOf(2025, 3) - ledger.MonthOf(2024, 11); n != 4 {
		t.Errorf("from November to March it is %d months", n)
	}
	for _, s := range []string{"", "2025", "2025-1", "2025-13", "2025-00", "2025-01-01", " 2025-01", "２０２５-01"} {
		if m, err := ledger.ParseMonth(s); err == nil {
			t.Errorf("%q is taken for %v", s, m)
		}
	}
}
