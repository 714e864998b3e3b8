package pricing_test

import (
	"encoding/json"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

const cent = ledger.Unit / 100

// period is a month in a zone, as the ledger computes it.
func period(t testing.TB, year int, month time.Month, zone string) ledger.Period {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Period{
		Month: ledger.MonthOf(year, month), Zone: zone,
		Start: time.Date(year, month, 1, 0, 0, 0, 0, loc).UTC(),
		End:   time.Date(year, month+1, 1, 0, 0, 0, 0, loc).UTC(),
	}
}

// april is a period of 30 days.
func april(t testing.TB) ledger.Period { return period(t, 2025, time.April, "UTC") }

func day(n, hour int) time.Time { return time.Date(2025, time.April, n, hour, 0, 0, 0, time.UTC) }

// shipped is one of the shipped plans.
func shipped(t testing.TB, id string) *pricing.Plan {
	t.Helper()
	for _, p := range pricing.Shipped() {
		if p.ID == id {
			return &p
		}
	}
	t.Fatalf("no plan %q is shipped", id)
	return nil
}

// whole is a period on one plan, version 1.
func whole(p ledger.Period, plan *pricing.Plan) pricing.Input {
	return pricing.Input{Period: p, Digits: 2, Segments: []pricing.Segment{{From: p.Start, To: p.End, Version: 1, Plan: plan}}}
}

// moved is a period with a change of plan at an instant, from version 1 to 2.
func moved(p ledger.Period, from, to *pricing.Plan, at time.Time) pricing.Input {
	return pricing.Input{Period: p, Digits: 2, Segments: []pricing.Segment{
		{From: p.Start, To: at, Version: 1, Plan: from},
		{From: at, To: p.End, Version: 2, Plan: to},
	}}
}

// calls is what was used on versions 1, 2, ...
func calls(counts ...int64) []ledger.PlanTotals {
	var list []ledger.PlanTotals
	for i, n := range counts {
		list = append(list, ledger.PlanTotals{Plan: ledger.VersionID(i + 1), Totals: ledger.Totals{Calls: n}})
	}
	return list
}

func documents(n int64) []ledger.PlanTotals {
	return []ledger.PlanTotals{{Plan: 1, Totals: ledger.Totals{Documents: n}}}
}

func rate(t testing.TB, in pricing.Input, used []ledger.PlanTotals) pricing.Statement {
	t.Helper()
	s, err := pricing.Rate(in, used)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func schedule(t testing.TB, in pricing.Input) *pricing.Schedule {
	t.Helper()
	s, err := pricing.NewSchedule(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func amount(t testing.TB, s string) ledger.Amount {
	t.Helper()
	a, err := ledger.ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// planVersion is a plan as the ledger keeps it.
func planVersion(t testing.TB, id ledger.VersionID, p *pricing.Plan, effective time.Time) *ledger.Version {
	t.Helper()
	terms, err := p.Terms()
	if err != nil {
		t.Fatal(err)
	}
	return &ledger.Version{ID: id, Kind: ledger.PlanVersion, Name: p.ID, Terms: terms, Made: effective, Effective: effective}
}

func routeVersion(id ledger.VersionID, pattern, terms string) *ledger.Version {
	return &ledger.Version{ID: id, Kind: ledger.RouteVersion, Name: pattern, Terms: json.RawMessage(terms)}
}
