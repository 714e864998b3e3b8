package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// benchClock stands still; Set and Advance are not called.
type benchClock struct{ Clock }

func (benchClock) Test() bool { return true }

// benchBilling is real billing, of which only its status is asked.
type benchBilling struct {
	Billing
	real *billing.Billing
}

func (b benchBilling) Collects() bool                         { return true }
func (b benchBilling) Unbilled(u *ledger.User) []ledger.Month { return b.real.Unbilled(u) }
func (b benchBilling) NextRun() time.Time                     { return b.real.NextRun() }

// newCity is the operator's service over a ledger with many users on the shipped
// plans, each of whom called now and then in the last 29 days.
func newCity(b testing.TB, users, callsEach int) (*service, func() time.Time) {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tollgate-bench-") // setting up is thousands of commits
	if err != nil {
		dir = b.TempDir()
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	begin := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	l, err := ledger.Open(filepath.Join(dir, "tollgate.db"), ledger.Options{Now: begin, Zone: "UTC", Currency: "usd", TestClock: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	publish := func(kind ledger.VersionKind, name string, terms func() (json.RawMessage, error)) ledger.VersionID {
		text, err := terms()
		var v *ledger.Version
		if err == nil {
			v, err = l.PublishVersion(begin, kind, name, text, begin)
		}
		if err != nil {
			b.Fatal(err)
		}
		return v.ID
	}
	plans, versions := pricing.Shipped(), []ledger.VersionID{}
	for _, p := range plans {
		versions = append(versions, publish(ledger.PlanVersion, p.ID, p.Terms))
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	scan := publish(ledger.RouteVersion, route.Pattern, route.Terms)
	for n := range users {
		p := ledger.Personal{Email: fmt.Sprintf("u%d@example.com", n), Name: fmt.Sprintf("User %d", n), Company: "A Company Ltd"}
		if _, err := l.AddUser(begin, "bench", p, plans[n%len(plans)].ID); err != nil {
			b.Fatal(err)
		}
	}
	now := begin.Add(29*24*time.Hour + 10*time.Minute)
	var records []ledger.Usage
	all := users * callsEach
	step := now.Sub(begin) / time.Duration(all)
	for i := range all {
		n := (i * 7919) % users
		records = append(records, ledger.Usage{
			Time: begin.Add(time.Duration(i) * step), Counter: uint32(i), User: ledger.UserID(n + 1), Route: scan, Plan: versions[n%len(plans)], Method: "POST", Status: 200,
			Billed: true, Quantities: ledger.Quantities{Documents: int64(n % 100)}, Cost: ledger.Amount(n%100) * ledger.Unit / 100,
		})
		if len(records) == 4096 || i == all-1 {
			if err := l.Append(records[len(records)-1].Time, records, nil).Wait(context.Background()); err != nil {
				b.Fatal(err)
			}
			records = records[:0]
		}
	}
	if err := l.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	clock := func() time.Time { return now }
	book := pricing.NewBook()
	real, err := billing.New(billing.Options{Ledger: l, Book: book, Now: clock, Log: slog.New(slog.DiscardHandler), TestClock: true, Settings: billing.Settings{Grace: time.Hour, RunAt: time.Hour}})
	if err != nil {
		b.Fatal(err)
	}
	return newService(Options{
		Billing: benchBilling{real: real},
		Ledger:  l, Book: book, Gate: admission.New(l, admission.Options{Now: clock, Book: book}), Now: clock, Log: slog.New(slog.DiscardHandler),
		Settings: func() Settings { return Settings{Plans: plans, DefaultPlan: "free"} },
		Draining: func() bool { return false }, Uptime: func() int64 { return 0 }, Clock: benchClock{},
	}), clock
}

// BenchmarkViews is what the screens cost with 100,000 users: that which is done
// each second, and that which is done again after 200 times as long as it took.
func BenchmarkViews(b *testing.B) {
	s, now := newCity(b, 100_000, 10)
	ctx := context.Background()
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	always := func(context.Context) func(time.Duration) bool { return func(time.Duration) bool { return true } }
	run("a pass of rating", func() error {
		if !s.ratePass(ctx, firstSlice, always(ctx)) {
			return context.Canceled
		}
		return nil
	})
	for _, q := range []UsersQuery{{Sort: "calls"}, {Sort: "projected"}, {Sort: "email", Up: true}, {Sort: "calls", Filter: "user 77"}} {
		run(fmt.Sprintf("order of users by %s %s", q.Sort, q.Filter), func() error {
			_, err := s.rank(ctx, now(), s.Ledger.PeriodAt(now()).Month, q)
			return err
		})
	}
	run("users each second", func() error {
		_, err := s.usersView(ctx, now(), UsersQuery{Sort: "calls", Limit: 50})
		return err
	})
	run("overview each second", func() error {
		_, err := s.overview(ctx, now())
		return err
	})
	run("status of billing", func() error {
		_, err := s.billStatus(ctx)
		return err
	})
	run("days of everyone", func() error {
		_, _, err := (&usedDays{}).of(s, 0, now())
		return err
	})
	days := &usedDays{}
	run("user each second", func() error {
		_, err := s.userView(ctx, now(), 777, days)
		return err
	})
	run("days of a user", func() error {
		_, _, err := (&usedDays{}).of(s, 777, now())
		return err
	})
}
