package billing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// world is a ledger with the shipped plans and one priced route, and billing on it.
type world struct {
	*billing.Billing
	t      *testing.T
	ledger *ledger.Ledger
	now    time.Time
	route  ledger.VersionID
	calls  uint32
}

var newYear = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, change func(*billing.Options)) *world {
	t.Helper()
	w := &world{t: t, now: newYear}
	w.ledger = ledgertest.New(t, ledger.Options{Now: w.now, TestClock: true})
	for _, p := range pricing.Shipped() {
		w.publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	w.route = w.publish(ledger.RouteVersion, route.Pattern, route.Terms)
	o := billing.Options{
		Ledger: w.ledger, Book: pricing.NewBook(), Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), TestClock: true,
		Settings: billing.Settings{
			Grace: time.Hour, RunAt: time.Hour, RetryAfter: []time.Duration{72 * time.Hour, 120 * time.Hour, 168 * time.Hour}, SuspendAfter: 336 * time.Hour,
			PublicURL: "https://api.example.com",
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.Billing, err = billing.New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) publish(kind ledger.VersionKind, name string, terms func() (json.RawMessage, error)) ledger.VersionID {
	w.t.Helper()
	text, err := terms()
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.ledger.PublishVersion(w.now, kind, name, text, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.ID
}

// user adds a user with a payment method.
func (w *world) user(plan string) ledger.UserID {
	w.t.Helper()
	u, err := w.ledger.AddUser(w.now, "test", ledger.Personal{Email: fmt.Sprintf("u%d@example.com", len(plan)+int(w.calls))}, plan)
	if err == nil {
		_, err = w.ledger.ChangeUser(w.now, "test", u.ID, func(u *ledger.User) error { u.PaymentMethod = "pm_1"; return nil })
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return u.ID
}

// use records calls of one document each, at an instant.
func (w *world) use(user ledger.UserID, at time.Time, calls int) {
	w.t.Helper()
	plan := w.ledger.Account(user).User().PlanAt(at)
	version, _, err := pricing.NewBook().Terms(w.ledger, w.ledger.Account(user).User(), plan.Plan, plan.From, at)
	if err != nil {
		w.t.Fatal(err)
	}
	for calls > 0 {
		n := min(calls, 4096)
		calls -= n
		records := make([]ledger.Usage, n)
		for i := range records {
			w.calls++
			records[i] = ledger.Usage{
				Time: at, Counter: w.calls, User: user, Route: w.route, Plan: version.ID, Method: "POST", Status: 200, Billed: true,
				Quantities: ledger.Quantities{Documents: 1}, Cost: ledger.Unit / 100,
			}
		}
		if err := w.ledger.Append(w.now, records, nil).Wait(context.Background()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) plan(user ledger.UserID, plan string, from time.Time) {
	w.t.Helper()
	_, err := w.ledger.ChangeUser(w.now, "test", user, func(u *ledger.User) error {
		u.Plans = append(u.Plans, ledger.Assignment{Plan: plan, From: from})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) work() {
	w.t.Helper()
	if err := w.Work(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) invoice(user ledger.UserID, m ledger.Month) *ledger.Invoice {
	w.t.Helper()
	ref, ok := w.ledger.Account(user).User().InvoiceOf(m)
	if !ok {
		w.t.Fatalf("user %d has no invoice of %v", user, m)
	}
	i, err := w.ledger.Invoice(ref.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

var january = ledger.MonthOf(2025, time.January)

// TestContract is the figures that the product's contract names.
func TestContract(t *testing.T) {
	june := time.Date(2025, time.June, 1, 0, 0, 0, 0, time.UTC) // of 30 days
	for _, tt := range []struct {
		name string
		use  func(w *world) ledger.UserID
		want []string
	}{
		{"free, 1,234 calls", func(w *world) ledger.UserID {
			u := w.user("free")
			w.use(u, w.now, 1234)
			return u
		}, []string{"overage 234 x 0.010000000 = 234", "issued 234"}},
		{"pro, 51,000 calls", func(w *world) ledger.UserID {
			u := w.user("pro")
			w.use(u, w.now, 51_000)
			return u
		}, []string{"fee 1 x 49.000000000 = 4900", "overage 1000 x 0.010000000 = 1000", "issued 5900"}},
		{"enterprise, by cost", func(w *world) ledger.UserID {
			u := w.user("enterprise")
			w.use(u, w.now, 777)
			return u
		}, []string{"usage 1 x 7.770000000 = 777", "issued 777"}},
		{"49 cents are carried", func(w *world) ledger.UserID {
			u := w.user("free")
			w.use(u, w.now, 1049)
			return u
		}, []string{"overage 49 x 0.010000000 = 49", "paid 49, carried 49"}},
		{"nothing", func(w *world) ledger.UserID { return w.user("free") }, []string{"paid 0"}},
		{"from free to pro on the 16th at noon", func(w *world) ledger.UserID {
			u := w.user("free")
			noon := june.AddDate(0, 0, 15).Add(12 * time.Hour)
			w.now = noon
			w.plan(u, "pro", noon)
			w.use(u, noon, 24_693) // ten more than are included
			return u
		}, []string{"fee 1 x 49.000000000 = 2368", "overage 10 x 0.010000000 = 10", "issued 2378"}},
		{"terms agreed on the 16th at noon", func(w *world) ledger.UserID {
			u := w.user("enterprise")
			noon := june.AddDate(0, 0, 15).Add(12 * time.Hour)
			w.now = june
			w.use(u, w.now, 7)
			w.now = noon
			terms, err := (&pricing.Plan{
				ID: "enterprise", Fee: 400 * ledger.Unit, Quota: map[string]int64{"calls": 100}, Overage: map[string]ledger.Amount{"calls": 5 * ledger.Unit},
				OnExceed: pricing.Bill, Billing: pricing.Monthly,
			}).Terms()
			if err == nil {
				_, err = w.ledger.Agree(noon, "test", u, "enterprise", terms, noon)
			}
			if err != nil {
				w.t.Fatal(err)
			}
			w.use(u, noon, 50) // two more than are included: 100 × 14.5 / 30
			return u
		}, []string{"usage 1 x 0.070000000 = 7", "fee 1 x 400.000000000 = 19333", "overage 2 x 5.000000000 = 1000", "issued 20340"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.now = june.AddDate(0, -1, 0)
			u := tt.use(w)
			m := w.ledger.PeriodAt(w.now).Month
			if m != w.ledger.PeriodAt(june).Month { // a month before the one with an upgrade
				m = w.ledger.PeriodAt(june).Month - 1
			}
			w.now = w.ledger.PeriodOf(m).End.Add(59 * time.Minute)
			w.work()
			if _, ok := w.ledger.Account(u).User().InvoiceOf(m); ok {
				t.Error("it is issued before its grace has ended")
			}
			w.now = w.now.Add(time.Minute)
			w.work()
			w.work()
			if diff := cmp.Diff(tt.want, told(w.invoice(u, m))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// told is an invoice in few words.
func told(i *ledger.Invoice) []string {
	var list []string
	for _, l := range i.Lines {
		list = append(list, fmt.Sprintf("%s %d x %v = %d", l.Kind, l.Quantity, l.UnitPrice, l.Amount))
	}
	text := fmt.Sprintf("%s %d", i.State, i.Total)
	if i.Carried != 0 {
		text += fmt.Sprintf(", carried %d", i.Carried)
	}
	return append(list, text)
}
