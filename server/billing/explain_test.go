package billing_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// newWorldIn is newWorld in another billing zone.
func newWorldIn(t *testing.T, zone string) *world {
	t.Helper()
	w := &world{t: t, now: newYear.AddDate(0, 0, 2)}
	w.ledger = ledgertest.New(t, ledger.Options{Now: w.now, TestClock: true, Zone: zone})
	for _, p := range pricing.Shipped() {
		w.publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	w.route = w.publish(ledger.RouteVersion, route.Pattern, route.Terms)
	var err error
	w.Billing, err = billing.New(billing.Options{
		Ledger: w.ledger, Book: pricing.NewBook(), Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), TestClock: true,
		Settings: billing.Settings{Grace: time.Hour, RunAt: time.Hour, TaxName: "VAT", TaxPercent: 20 * ledger.Unit},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) explain(i *ledger.Invoice) billing.Explanation {
	w.t.Helper()
	e, err := w.Explain(context.Background(), i)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// explained is a line in few words: its days with their calls, and their sum.
func explained(l billing.ExplainedLine) string {
	text := fmt.Sprintf("%s %d:", l.Kind, l.Amount)
	calls := int64(0)
	for _, d := range l.Days {
		for _, r := range d.Routes {
			text += fmt.Sprintf(" %s %s %d", d.Date[5:], r.Route, r.Calls)
			calls += r.Calls
		}
	}
	if calls != l.Used.Calls {
		text += fmt.Sprintf(", but the sum is %d", l.Used.Calls)
	}
	return text
}

func (w *world) wantExplained(i *ledger.Invoice, want ...string) billing.Explanation {
	w.t.Helper()
	e := w.explain(i)
	var got []string
	for _, l := range e.Lines {
		got = append(got, explained(l))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
	if len(e.Problems) > 0 {
		w.t.Errorf("it is not proved: %q", e.Problems)
	}
	return e
}

// TestExplain has calls at the edges of days and months, in zones whose midnight
// is and is not on the hour of UTC, in memory and on disk.
func TestExplain(t *testing.T) {
	for _, zone := range []string{"UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"} {
		t.Run(zone, func(t *testing.T) {
			w := newWorldIn(t, zone)
			u := w.user("pro")
			p := w.ledger.PeriodAt(w.now)
			third := w.ledger.DayAt(w.now)
			w.use(u, w.now, 50_000)
			w.now = third.End
			w.use(u, third.End.Add(-time.Millisecond), 1)
			w.use(u, third.End, 20)
			w.now = p.End
			w.use(u, p.End.Add(-time.Millisecond), 300)
			w.use(u, p.End, 4000) // the next period's
			if err := w.ledger.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.now = p.End.Add(time.Hour)
			w.work()
			sealed := w.invoice(u, p.Month)
			first, second, last := third.Start, third.End, p.End.Add(-time.Millisecond)
			location, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			on := func(at time.Time, calls int) string {
				return fmt.Sprintf(" %s POST /v1/scan %d", at.In(location).Format("01-02"), calls)
			}
			days := on(first, 50_001) + on(second, 20) + on(last, 300)
			fee := sealed.Lines[0].Amount
			over := 50_321 - 50_000*w.seconds(w.ledger.Account(u).User().Created, p.End)/w.seconds(p.Start, p.End)
			e := w.wantExplained(sealed,
				fmt.Sprintf("fee %d:", fee), fmt.Sprintf("overage %d:%s", over, days),
				fmt.Sprintf("tax %d:", sealed.Total-fee-over))
			if e.Late.Calls != 0 || e.Pending != 0 || e.Sealed.Calls != 50_321 {
				t.Errorf("sealed %+v, late %+v, pending %d", e.Sealed, e.Late, e.Pending)
			}
			for _, d := range e.Days {
				if d.Start.Before(p.Start) || d.End.After(p.End) || !d.Start.Before(d.End) {
					t.Errorf("a day from %v to %v", d.Start, d.End)
				}
				records := 0
				err := w.ledger.UserRecords(t.Context(), u, 0, d.Start, d.End, func(*ledger.Usage) bool { records++; return true })
				if err != nil || int64(records) != d.Routes[0].Calls {
					t.Errorf("%s has %d records (%v) and %d calls", d.Date, records, err, d.Routes[0].Calls)
				}
			}

			// What comes late is on the next invoice, and explained there.
			w.use(u, third.End, 7)
			e = w.wantExplained(sealed, fmt.Sprintf("fee %d:", fee), fmt.Sprintf("overage %d:%s", over, days), fmt.Sprintf("tax %d:", sealed.Total-fee-over))
			if e.Late.Calls != 7 || e.Pending != 7 {
				t.Errorf("late %+v, pending %d", e.Late, e.Pending)
			}
			w.now = w.ledger.PeriodOf(p.Month + 1).End.Add(time.Hour)
			w.work()
			next := w.invoice(u, p.Month+1)
			w.wantExplained(next, "fee 4900:", "adjustment 7:"+on(second, 7), fmt.Sprintf("tax %d:", next.Total-4907))
			if e := w.explain(sealed); e.Late.Calls != 7 || e.Pending != 0 {
				t.Errorf("after the adjustment: late %+v, pending %d", e.Late, e.Pending)
			}
		})
	}
}

func (w *world) seconds(from, to time.Time) int64 { return to.Unix() - from.Unix() }

// TestExplainPlans changes the plan in the middle of an hour: usage is told apart
// by plan, also where it was admitted with the old one in the very moment.
func TestExplainPlans(t *testing.T) {
	w := newWorldIn(t, "UTC")
	u := w.user("enterprise")
	noon := newYear.AddDate(0, 0, 15).Add(12*time.Hour + 10*time.Minute)
	w.now = noon
	w.use(u, noon.Add(-time.Minute), 30)
	w.use(u, noon, 5) // admitted before the change, in its millisecond
	w.plan(u, "pro", noon)
	w.use(u, noon, 40_000)
	w.now = newYear.AddDate(0, 1, 0).Add(time.Hour)
	draft, err := w.Draft(w.ledger.Account(u).User(), january)
	if err != nil {
		t.Fatal(err)
	}
	w.work()
	sealed := w.invoice(u, january)
	for _, i := range []*ledger.Invoice{draft, sealed} {
		e := w.explain(i)
		if len(e.Problems) > 0 || len(e.Lines) != 4 {
			t.Fatalf("%q, %d lines", e.Problems, len(e.Lines))
		}
		got := []string{explained(e.Lines[0]), explained(e.Lines[2])}
		over := e.Lines[2].Amount
		want := []string{"usage 35: 01-16 POST /v1/scan 35", fmt.Sprintf("overage %d: 01-16 POST /v1/scan 40000", over)}
		if diff := cmp.Diff(want, got); diff != "" || e.Lines[0].Used.Cost != 35*ledger.Unit/100 {
			t.Errorf("used %+v\n%s", e.Lines[0].Used, diff)
		}
	}

	// An invoice that is not what its entries come to is told.
	for name, change := range map[string]func(*ledger.Invoice){
		"an amount":  func(i *ledger.Invoice) { i.Lines[0].Amount++; i.Total++ },
		"a total":    func(i *ledger.Invoice) { i.Total++ },
		"a quantity": func(i *ledger.Invoice) { i.Lines[2].Quantity-- },
		"usage":      func(i *ledger.Invoice) { i.Used.Calls++ },
		"the range":  func(i *ledger.Invoice) { i.Last-- },
		"a line":     func(i *ledger.Invoice) { i.Total, i.Lines = i.Total-i.Lines[3].Amount-i.Lines[2].Amount, i.Lines[:2] },
	} {
		wrong := *sealed
		wrong.Lines = slices.Clone(sealed.Lines)
		change(&wrong)
		if e := w.explain(&wrong); len(e.Problems) == 0 {
			t.Errorf("%s: nothing is told", name)
		}
	}
}

func TestDrafts(t *testing.T) {
	w := newWorldIn(t, "UTC")
	u := w.user("free")
	w.use(u, w.now, 980) // 7 % of the first period are missing; it has its whole quota
	w.use(u, w.now, 50)
	w.now = newYear.AddDate(0, 2, 0)
	drafts, err := w.Drafts(w.ledger.Account(u).User())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range drafts {
		got = append(got, append([]string{i.Month.String()}, told(i)...)...)
	}
	want := []string{
		"2025-01", "overage 30 x 0.010000000 = 30", "tax 0 x 0.000000000 = 6", "paid 36, carried 36",
		"2025-02", "carried_in 0 x 0.000000000 = 36", "paid 36, carried 36",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if next := w.NextRun(); !next.Equal(w.now.Add(time.Hour)) {
		t.Errorf("the next run is at %v", next)
	}
	w.now = w.now.Add(time.Hour)
	w.work()
	if next := w.NextRun(); !next.Equal(newYear.AddDate(0, 3, 0).Add(time.Hour)) {
		t.Errorf("the next run is at %v", next)
	}
	if u := w.ledger.Account(u).User(); len(w.Unbilled(u)) != 0 || len(u.Invoices) != 2 {
		t.Errorf("unbilled %v, %d invoices", w.Unbilled(u), len(u.Invoices))
	}
}

// TestExplainAnything explains months of random calls and changes of plan, of
// which some usage comes late, and holds the days against a plain count.
func TestExplainAnything(t *testing.T) {
	for _, zone := range []string{"UTC", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s, seed %d", zone, seed), func(t *testing.T) {
				w := newWorldIn(t, zone)
				w.now = time.Date(2025, time.March, 3, 0, 0, 0, 0, time.UTC) // clocks change in March and April
				random := rand.New(rand.NewPCG(seed, 7))
				location, err := time.LoadLocation(zone)
				if err != nil {
					t.Fatal(err)
				}
				plans := []string{"free", "pro", "enterprise"}
				u := w.user(plans[random.IntN(3)])
				p := w.ledger.PeriodAt(w.now)
				want := map[string]int64{}
				use := func(at time.Time) {
					calls := 1 + random.IntN(600)
					w.use(u, at, calls)
					want[at.In(location).Format(time.DateOnly)] += int64(calls)
				}
				for at := w.now; at.Before(p.End); at = at.Add(time.Duration(1+random.IntN(40*3600_000)) * time.Millisecond) {
					w.now = at
					if random.IntN(4) == 0 {
						w.plan(u, plans[random.IntN(3)], at)
					}
					use(at)
					if random.IntN(9) == 0 {
						if err := w.ledger.Checkpoint(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				w.now = p.End.Add(time.Hour)
				w.work()
				sealed := w.invoice(u, p.Month)
				check := func(i *ledger.Invoice, want map[string]int64) billing.Explanation {
					t.Helper()
					e := w.explain(i)
					if len(e.Problems) > 0 {
						t.Errorf("%q", e.Problems)
					}
					got := map[string]int64{}
					for _, d := range e.Days {
						got[d.Date] = d.Routes[0].Calls
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
					return e
				}
				check(sealed, maps.Clone(want))
				before := maps.Clone(want)
				for range 5 {
					use(p.Start.Add(time.Duration(2*24*3600_000+random.Int64N(28*24*3600_000)) * time.Millisecond))
				}
				pending := check(sealed, before).Pending
				w.now = w.ledger.PeriodOf(p.Month + 1).End.Add(time.Hour)
				w.work()
				if after := check(sealed, before).Pending; after != 0 {
					t.Errorf("%d are pending after the adjustment", after)
				}
				adjusted := int64(0)
				for _, l := range check(w.invoice(u, p.Month+1), map[string]int64{}).Lines {
					if l.Kind == "adjustment" {
						adjusted += l.Amount
						if late := w.explain(sealed).Late; !cmp.Equal(l.Used, late) {
							t.Errorf("the adjustment is of %+v, and late was %+v", l.Used, late)
						}
					}
				}
				if adjusted != pending {
					t.Errorf("pending was %d, and %d were adjusted", pending, adjusted)
				}
			})
		}
	}
}

// TestExplainReplacement voids an invoice after a later one has adjusted its
// month, and replaces it.
func TestExplainReplacement(t *testing.T) {
	w := newWorldIn(t, "UTC")
	u := w.user("enterprise")
	at := w.now
	w.use(u, at, 100)
	w.now = newYear.AddDate(0, 1, 0).Add(time.Hour)
	w.work()
	w.use(u, at, 60) // late
	w.now = newYear.AddDate(0, 2, 0).Add(time.Hour)
	w.work()
	first, second := w.invoice(u, january), w.invoice(u, january+1)
	w.wantExplained(second, "adjustment 60: 01-03 POST /v1/scan 60", "tax 12:")
	if _, err := w.Void(t.Context(), "test", first.ID, "wrong"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run(t.Context(), billing.RunOptions{Month: january, Reissue: true}); err != nil {
		t.Fatal(err)
	}
	again := w.invoice(u, january)
	e := w.explain(again)
	if again.ID == first.ID || len(e.Problems) > 0 || e.Sealed.Calls != 160 || e.Pending != 0 {
		t.Errorf("%q, sealed %+v, pending %d", e.Problems, e.Sealed, e.Pending)
	}
	w.wantExplained(second, "adjustment 60: 01-03 POST /v1/scan 60", "tax 12:")
	w.use(u, at, 5)
	if e := w.explain(again); e.Pending != 5 || e.Late.Calls != 5 {
		t.Errorf("late %+v, pending %d", e.Late, e.Pending)
	}
}
