package api

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
)

// TestDaysOfAZone has a call in each hour of a month in which a day has 23 of them,
// and records that come while the sums are kept.
func TestDaysOfAZone(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2025, 2, 10, 0, 0, 0, 0, time.UTC)
	l, err := ledger.Open(filepath.Join(t.TempDir(), "tollgate.db"), ledger.Options{Now: begin, Zone: zone.String(), Currency: "usd", TestClock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	route, err := l.PublishVersion(begin, ledger.RouteVersion, "GET /", json.RawMessage(`{}`), begin)
	if err != nil {
		t.Fatal(err)
	}
	call := func(at time.Time) {
		u := ledger.Usage{Time: at, Route: route.ID, Method: "GET", Status: 200, Billed: true, Quantities: ledger.Quantities{Tokens: 2}, Cost: ledger.Unit / 50}
		if err := l.AppendOne(at, &u, nil).Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	s, days := newService(Options{Ledger: l}), &usedDays{}
	calls := map[string]int64{}
	for at := begin; at.Before(begin.AddDate(0, 0, 40)); at = at.Add(time.Hour) {
		call(at)
		calls[at.In(zone).Format(time.DateOnly)]++
		if at.Hour()%8 != 0 || at.Before(begin.AddDate(0, 0, 26)) {
			continue
		}
		if at.Hour() == 16 {
			if err := l.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		var want []UsedOnDay
		for n := 29; n >= 0; n-- {
			date := at.In(zone).AddDate(0, 0, -n).Format(time.DateOnly)
			want = append(want, UsedOnDay{Date: date, Calls: calls[date], Tokens: 2 * calls[date], CostCents: 2 * calls[date]})
		}
		got, routes, err := days.of(s, 0, at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v: %s", at, diff)
		}
		month, err := l.Month(0, l.PeriodAt(at).Month)
		if err != nil || len(routes) != 1 || routes[0].Route != "GET /" || routes[0].Calls != ledger.Sum(month).Calls {
			t.Fatalf("%v: got %+v, want %+v (%v)", at, routes, month, err)
		}
	}
	if calls["2025-03-09"] != 23 {
		t.Errorf("got %v", calls)
	}
}
