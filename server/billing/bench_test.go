package billing_test

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
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// benchUsers is how many users the benchmarks bill.
const benchUsers = 100_000

// city is a ledger with many users on the shipped plans, each of which has made
// some calls in January, and billing on it at a time.
type city struct {
	*billing.Billing
	ledger *ledger.Ledger
	now    time.Time
}

func newCity(b *testing.B, users, callsEach int) *city {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tollgate-bench-") // setting up is thousands of commits
	if err != nil {
		dir = b.TempDir()
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &city{now: newYear}
	if c.ledger, err = ledger.Open(filepath.Join(dir, "tollgate.db"), ledger.Options{Now: c.now, Zone: "UTC", Currency: "usd", TestClock: true}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.ledger.Close() })
	publish := func(kind ledger.VersionKind, name string, terms func() (json.RawMessage, error)) ledger.VersionID {
		text, err := terms()
		var v *ledger.Version
		if err == nil {
			v, err = c.ledger.PublishVersion(c.now, kind, name, text, c.now)
		}
		if err != nil {
			b.Fatal(err)
		}
		return v.ID
	}
	plans := pricing.Shipped()
	for _, p := range plans {
		publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	scan := publish(ledger.RouteVersion, route.Pattern, route.Terms)
	for n := range users {
		if _, err := c.ledger.AddUser(c.now, "bench", ledger.Personal{Email: fmt.Sprintf("u%d@example.com", n)}, plans[n%len(plans)].ID); err != nil {
			b.Fatal(err)
		}
	}
	c.now = c.now.AddDate(0, 0, 20)
	var records []ledger.Usage
	counter := uint32(0)
	send := func() {
		if len(records) > 0 {
			if err := c.ledger.Append(c.now, records, nil).Wait(context.Background()); err != nil {
				b.Fatal(err)
			}
			records = records[:0]
		}
	}
	for range callsEach {
		for n := range users {
			counter++
			plan := c.ledger.VersionAt(ledger.PlanVersion, plans[n%len(plans)].ID, c.now, c.now)
			records = append(records, ledger.Usage{
				Time: c.now, Counter: counter, User: ledger.UserID(n + 1), Route: scan, Plan: plan.ID, Method: "POST", Status: 200, Billed: true,
				Quantities: ledger.Quantities{Documents: 100}, Cost: ledger.Unit,
			})
			if len(records) == 4096 {
				send()
			}
		}
	}
	send()
	c.Billing, err = billing.New(billing.Options{
		Ledger: c.ledger, Book: pricing.NewBook(), Now: func() time.Time { return c.now }, Log: slog.New(slog.DiscardHandler), TestClock: true,
		Settings: billing.Settings{Grace: time.Hour, RunAt: time.Hour, SuspendAfter: 336 * time.Hour},
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkRate is the bill of 100,000 users with usage on several plans, without
// writing it down: it must take less than 5 s, however many records there are.
func BenchmarkRate(b *testing.B) {
	for _, calls := range []int{2, 20} {
		b.Run(fmt.Sprintf("records=%d", benchUsers*calls), func(b *testing.B) {
			c := newCity(b, benchUsers, calls)
			c.now = c.ledger.PeriodOf(january).End.Add(2 * time.Hour)
			b.ReportAllocs()
			for b.Loop() {
				sum, err := c.Run(context.Background(), billing.RunOptions{DryRun: true})
				if err != nil || sum.Failed != 0 || sum.Charged == 0 {
					b.Fatalf("%+v (%v)", sum, err)
				}
			}
		})
	}
}

// BenchmarkWork is the work of each minute with 100,000 users of three months and
// nothing to do; and the sealing of a month, in which each gets an invoice.
func BenchmarkWork(b *testing.B) {
	c := newCity(b, benchUsers, 0)
	seal := func() {
		c.now = c.ledger.PeriodAt(c.now).End.Add(2 * time.Hour)
		if err := c.Work(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	for range 3 {
		seal()
	}
	b.Run("nothing due", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Work(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("a month sealed", func(b *testing.B) {
		for b.Loop() {
			seal()
		}
	})
}
