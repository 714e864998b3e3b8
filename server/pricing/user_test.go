package pricing_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

var (
	_ pricing.Versions = (*ledger.Ledger)(nil)
	_                  = ledger.Checks{Cost: pricing.NewBook().Cost}
)

// published is versions as a ledger finds them.
type published []*ledger.Version

func (list published) VersionAt(kind ledger.VersionKind, name string, joined, at time.Time) *ledger.Version {
	var found *ledger.Version
	for _, v := range list {
		if v.Kind == kind && v.Name == name && v.User == 0 && (found == nil || !v.Made.After(joined) || !v.Effective.After(at) && !v.Made.After(at)) {
			found = v
		}
	}
	return found
}

func (list published) VersionByID(id ledger.VersionID) *ledger.Version {
	for _, v := range list {
		if v.ID == id {
			return v
		}
	}
	return nil
}

func (list published) Versions(ledger.VersionKind) []*ledger.Version { return list.of(0) }

func (list published) OwnVersions(user ledger.UserID) []*ledger.Version { return list.of(user) }

func (list published) of(user ledger.UserID) (found []*ledger.Version) {
	for _, v := range list {
		if v.User == user {
			found = append(found, v)
		}
	}
	return found
}

var longAgo = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

func shippedVersions(t testing.TB) published {
	return published{
		planVersion(t, 1, shipped(t, "free"), longAgo),
		planVersion(t, 2, shipped(t, "pro"), longAgo),
		planVersion(t, 3, shipped(t, "enterprise"), longAgo),
	}
}

func user(created time.Time, plans ...ledger.Assignment) *ledger.User {
	return &ledger.User{ID: 7, Status: ledger.Active, Created: created, Plans: plans}
}

// stretch is a Segment without its plan.
type stretch struct {
	From, To string
	Version  ledger.VersionID
}

func stretches(s *pricing.Schedule) (list []stretch) {
	const form = "02 15:04"
	for _, g := range s.Segments() {
		list = append(list, stretch{g.From.Format(form), g.To.Format(form), g.Version})
	}
	return list
}

func TestScheduleOfAUser(t *testing.T) {
	p := april(t)
	versions := shippedVersions(t)
	changed := shipped(t, "pro")
	changed.Fee = 59 * ledger.Unit
	versions = append(versions, planVersion(t, 4, changed, day(21, 0)))
	versions[3].Made = day(5, 0)

	team := &pricing.Plan{ID: "team", Billing: pricing.Monthly}
	versions = append(versions, planVersion(t, 5, team, longAgo), planVersion(t, 6, team, day(2, 0)))
	versions[5].Made = day(8, 0) // with an effective date in the past

	agreed := func(id ledger.VersionID, plan *pricing.Plan, from time.Time) {
		v := planVersion(t, id, plan, from)
		if v.User = 7; plan.ID == "" {
			v.Name, v.Terms = "enterprise", []byte("null")
		}
		versions = append(versions, v)
	}
	agreed(7, shipped(t, "enterprise"), day(5, 0))
	agreed(8, shipped(t, "enterprise"), day(25, 0)) // replaced by the next
	agreed(9, shipped(t, "enterprise"), day(11, 0))
	agreed(10, &pricing.Plan{}, day(27, 0))
	other := user(longAgo, ledger.Assignment{Plan: "enterprise", From: longAgo})
	other.ID = 8

	closed := user(longAgo, ledger.Assignment{Plan: "free", From: longAgo})
	closed.Status, closed.ClosedAt = ledger.Closed, day(9, 6)
	before := user(longAgo, ledger.Assignment{Plan: "free", From: longAgo})
	before.Status, before.ClosedAt = ledger.Closed, longAgo.Add(time.Hour)

	tests := []struct {
		name string
		user *ledger.User
		want []stretch
	}{
		{"on one plan", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}), []stretch{{"01 00:00", "01 00:00", 1}}},
		{"joined in the month", user(day(3, 4), ledger.Assignment{Plan: "free", From: day(3, 4)}), []stretch{{"03 04:00", "01 00:00", 1}}},
		{"joins later", user(p.End, ledger.Assignment{Plan: "free", From: p.End}), nil},
		{"an upgrade", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: day(3, 12)}, ledger.Assignment{Plan: "free", From: day(4, 0)}),
			[]stretch{{"01 00:00", "03 12:00", 1}, {"03 12:00", "04 00:00", 2}, {"04 00:00", "01 00:00", 1}}},
		{"terms of its own", user(longAgo, ledger.Assignment{Plan: "enterprise", From: longAgo}),
			[]stretch{{"01 00:00", "05 00:00", 3}, {"05 00:00", "11 00:00", 7}, {"11 00:00", "27 00:00", 9}, {"27 00:00", "01 00:00", 3}}},
		{"on the plan for a part of them", user(longAgo, ledger.Assignment{Plan: "enterprise", From: longAgo}, ledger.Assignment{Plan: "free", From: day(6, 0)}, ledger.Assignment{Plan: "enterprise", From: day(20, 0)}),
			[]stretch{{"01 00:00", "05 00:00", 3}, {"05 00:00", "06 00:00", 7}, {"06 00:00", "20 00:00", 1}, {"20 00:00", "27 00:00", 9}, {"27 00:00", "01 00:00", 3}}},
		{"terms of another user", other, []stretch{{"01 00:00", "01 00:00", 3}}},
		{"a change at the month's start", user(longAgo, ledger.Assignment{Plan: "pro", From: longAgo}, ledger.Assignment{Plan: "free", From: p.Start}),
			[]stretch{{"01 00:00", "01 00:00", 1}}},
		{"a change at its end", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: p.End}),
			[]stretch{{"01 00:00", "01 00:00", 1}}},
		{"two changes in one instant: the last counts", user(longAgo, ledger.Assignment{Plan: "pro", From: longAgo},
			ledger.Assignment{Plan: "enterprise", From: day(4, 0)}, ledger.Assignment{Plan: "free", From: day(4, 0)}),
			[]stretch{{"01 00:00", "04 00:00", 2}, {"04 00:00", "01 00:00", 1}}},
		{"the same plan again", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "free", From: day(4, 0)}),
			[]stretch{{"01 00:00", "01 00:00", 1}}},
		{"a new version takes effect", user(longAgo, ledger.Assignment{Plan: "pro", From: longAgo}),
			[]stretch{{"01 00:00", "21 00:00", 2}, {"21 00:00", "01 00:00", 4}}},
		{"joined after it was made", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: day(10, 0)}),
			[]stretch{{"01 00:00", "10 00:00", 1}, {"10 00:00", "01 00:00", 4}}},
		{"a new version does not act before it was made", user(longAgo, ledger.Assignment{Plan: "team", From: longAgo}),
			[]stretch{{"01 00:00", "08 00:00", 5}, {"08 00:00", "01 00:00", 6}}},
		{"closed", closed, []stretch{{"01 00:00", "09 06:00", 1}}},
		{"closed before", before, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := pricing.NewBook().Schedule(versions, tt.user, p, pricing.Basis{Digits: 2})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, stretches(s)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
			if _, err := s.Rate(nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestScheduleRatesAsTheContractSays(t *testing.T) {
	p := april(t)
	book, versions := pricing.NewBook(), shippedVersions(t)
	u := user(day(2, 0), ledger.Assignment{Plan: "free", From: day(2, 0)}, ledger.Assignment{Plan: "pro", From: day(16, 12)})
	s, err := book.Schedule(versions, u, p, pricing.Basis{Digits: 2})
	if err != nil {
		t.Fatal(err)
	}
	now, ok := s.At(day(20, 0))
	if !ok || now.Plan.ID != "pro" {
		t.Fatalf("on the 20th: got %+v, %v", now, ok)
	}
	used := calls(600, 24_200)
	q, limited := s.Quota(now.Version, now.Plan.QuotaMeter(), used)
	if want := (pricing.Quota{Meter: "calls", Included: 24_683, Used: 24_800}); !limited || q != want {
		t.Errorf("quota: got %+v, want %+v", q, want)
	}
	got, err := s.Rate(used)
	if err != nil || got.BaseFee != 2368 || got.Overage != 117 {
		t.Errorf("got %+v, %v", got, err)
	}
	if s.Period() != p {
		t.Errorf("got period %v", s.Period())
	}
}

func TestScheduleAt(t *testing.T) {
	s := schedule(t, moved(april(t), shipped(t, "free"), shipped(t, "pro"), day(16, 12)))
	for at, want := range map[time.Time]ledger.VersionID{
		longAgo: 1, day(1, 0): 1, day(16, 12).Add(-1): 1, day(16, 12): 2, april(t).End.AddDate(1, 0, 0): 2,
	} {
		if got, ok := s.At(at); !ok || got.Version != want {
			t.Errorf("at %v: got version %d, %v; want %d", at, got.Version, ok, want)
		}
	}
	if got, ok := schedule(t, pricing.Input{Period: april(t)}).At(day(1, 0)); ok {
		t.Errorf("without segments: got %+v", got)
	}
}

// A call admitted in the moment of a change of plan may be on a version that
// the user is not on at any time of the period.
func TestScheduleCoversStrayUsage(t *testing.T) {
	u := user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: april(t).Start})
	s, err := pricing.NewBook().Schedule(shippedVersions(t), u, april(t), pricing.Basis{Digits: 2})
	if err != nil {
		t.Fatal(err)
	}
	used := calls(10, 49_995) // 10 on free
	used = append(used, ledger.PlanTotals{Plan: 3, Totals: ledger.Totals{Calls: 1, Cost: 7 * cent}})
	got, err := s.Rate(used)
	if err != nil || got.Overage != 5+7 || got.Quotas[0].Used != 50_005 {
		t.Errorf("got %+v, %v", got, err)
	}
	charge, err := s.UsageCharge(used[1:], used[0])
	if err != nil || charge != 12*cent {
		t.Errorf("UsageCharge: got %v, %v", charge, err)
	}
	if _, err := s.Rate(calls(0, 0, 0, 1)); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a version that does not exist: got %v, want ErrNotFound", err)
	}
}

func TestScheduleNeedsItsTerms(t *testing.T) {
	broken := shippedVersions(t)
	broken[0].Terms = []byte(`{"id":"free","prices":[{"meter":"calls","model":"guess"}]}`)
	for name, tt := range map[string]struct {
		versions published
		plan     string
	}{"an unknown plan": {shippedVersions(t), "gone"}, "terms that cannot be read": {broken, "free"}} {
		u := user(longAgo, ledger.Assignment{Plan: tt.plan, From: longAgo})
		if _, err := pricing.NewBook().Schedule(tt.versions, u, april(t), pricing.Basis{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDescriptionsNameDatesInTheBillingZone(t *testing.T) {
	p := period(t, 2025, time.March, "America/New_York")
	at := time.Date(2025, time.March, 16, 16, 0, 0, 0, time.UTC)
	u := user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: at})
	s, err := pricing.NewBook().Schedule(shippedVersions(t), u, p, pricing.Basis{Digits: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Rate(nil)
	if want := "Pro: monthly fee, 16 Mar 12:00 to 1 Apr 00:00"; err != nil || got.Lines[0].Description != want {
		t.Errorf("got %+v, %v; want %q", got.Lines, err, want)
	}
}

func TestBookIsSafeToShare(t *testing.T) {
	versions := shippedVersions(t)
	route := routeVersion(9, "GET /", `{"pattern":"GET /"}`)
	book := pricing.NewBook()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 100 {
				for _, v := range versions {
					if p, err := book.Plan(v); err != nil || p.ID != v.Name {
						t.Errorf("got %+v, %v", p, err)
					}
				}
				if r, err := book.Route(route); err != nil || r.Pattern != "GET /" {
					t.Errorf("got %+v, %v", r, err)
				}
			}
		})
	}
	wait.Wait()
	a, _ := book.Plan(versions[0])
	if b, _ := book.Plan(versions[0]); a != b {
		t.Error("the same version was read twice")
	}
	if _, err := book.Plan(nil); err == nil {
		t.Error("no version has terms")
	}
}

func TestUpgrade(t *testing.T) {
	free, pro, enterprise := shipped(t, "free"), shipped(t, "pro"), shipped(t, "enterprise")
	for _, tt := range []struct {
		from, to *pricing.Plan
		want     bool
	}{
		{free, pro, true}, {pro, free, false}, {free, enterprise, true}, {enterprise, free, false},
		{enterprise, pro, true}, {pro, enterprise, false}, {free, free, false}, {pro, pro, false},
	} {
		if got := pricing.Upgrade(tt.from, tt.to); got != tt.want {
			t.Errorf("%s to %s: got %v, want %v", tt.from.ID, tt.to.ID, got, tt.want)
		}
	}
}
