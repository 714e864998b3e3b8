package ledger_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestBoundsOfLongAgo: a customer may ask for any time, and gets the answer at
// once.
func TestBoundsOfLongAgo(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	appendAll(t, l, start, call(u.ID, 0, 1, start, 1))
	if err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	ancient, future := time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		from, to time.Time
		want     int
	}{{ancient, future, 1}, {time.Time{}, ancient, 0}, {ancient, ancient.AddDate(1000, 0, 0), 0}, {future, time.Time{}, 0}, {ancient, start, 0}, {start, start.Add(1), 1}} {
		n, of, hours := 0, 0, 0
		if err := l.Records(context.Background(), 0, c.from, c.to, func(*ledger.Usage) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		if err := l.UserRecords(context.Background(), u.ID, 0, c.from, c.to, func(*ledger.Usage) bool { of++; return true }); err != nil {
			t.Fatal(err)
		}
		if err := l.Hours(u.ID, c.from, c.to, func(ledger.RouteHour) error { hours++; return nil }); err != nil {
			t.Fatal(err)
		}
		if n != c.want || of != c.want {
			t.Errorf("[%v, %v) has %d records, %d of the user, want %d", c.from, c.to, n, of, c.want)
		}
		if whole := c.from.Equal(ancient) && c.to.Equal(future); whole != (hours == 1) && !c.from.Equal(start) {
			t.Errorf("[%v, %v) has %d hours", c.from, c.to, hours)
		}
	}
}

// TestLateAfterACrash: a record so late that its month has left memory is
// added to what the month has on disk, also when it is replayed.
func TestLateAfterACrash(t *testing.T) {
	dir := scratch(t)
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	for month := range 4 {
		at := start.AddDate(0, month, 0)
		appendAll(t, l, at, call(u.ID, 0, 1, at, 1))
		if err := l.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, l, start.AddDate(0, 3, 0), call(u.ID, 0, 1, start, 1))
	path := filepath.Join(dir, "crashed.db")
	if err := ledger.CopyAsItIs(l, path); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*ledger.Ledger{l, ledgertest.Open(t, path, ledger.Options{})} {
		for _, id := range []ledger.UserID{0, u.ID} {
			if plans, err := l.Month(id, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(plans).Calls != 2 {
				t.Errorf("%s: user %d has %+v, want 2 calls (%v)", filepath.Base(l.Path()), id, plans, err)
			}
		}
		of := map[ledger.UserID]int64{}
		if err := l.MonthTotals(context.Background(), ledger.MonthOf(2025, 1), func(id ledger.UserID, plans []ledger.PlanTotals) error {
			of[id] = ledger.Sum(plans).Calls
			return nil
		}); err != nil || len(of) != 1 || of[u.ID] != 2 {
			t.Errorf("%s: all users have %v (%v)", filepath.Base(l.Path()), of, err)
		}
	}
}

// TestMonthTotalsWhileMonthsLeaveMemory: at any moment every user has what was
// appended, whether it is in memory or on disk.
func TestMonthTotalsWhileMonthsLeaveMemory(t *testing.T) {
	l := ledgertest.Open(t, filepath.Join(scratch(t), "tollgate.db"), ledger.Options{})
	addRoute(t, l)
	if err := ledger.AddUsers(l, start, manyUsers); err != nil {
		t.Fatal(err)
	}
	january := ledger.MonthOf(2025, 1)
	for month := range 4 {
		at := start.AddDate(0, month, 0)
		var records []ledger.Usage
		for id := range manyUsers {
			records = append(records, call(ledger.UserID(id+1), 0, 1, at, 1))
		}
		appendAll(t, l, at, records...)
		done := make(chan error, 1)
		go func() { done <- l.Checkpoint(context.Background()) }()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			default:
			}
			users := 0
			if err := l.MonthTotals(context.Background(), january, func(id ledger.UserID, plans []ledger.PlanTotals) error {
				users++
				if n := ledger.Sum(plans).Calls; n != 1 {
					t.Errorf("user %d has %d calls", id, n)
				}
				return nil
			}); err != nil || users != manyUsers {
				t.Fatalf("month %d: %d users have used something, want %d (%v)", month, users, manyUsers, err)
			}
		}
	}
}
