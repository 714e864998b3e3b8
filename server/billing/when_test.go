package billing_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// TestWhenAMonthIsSealed: at run_at by the clock of the zone, after the grace, and
// not a moment before.
func TestWhenAMonthIsSealed(t *testing.T) {
	for _, tt := range []struct {
		name, zone   string
		month        ledger.Month
		runAt, grace time.Duration
		want         string
	}{
		{"run_at", "UTC", january, 3 * time.Hour, time.Hour, "2025-02-01T03:00:00Z"},
		{"grace", "UTC", january, time.Hour, 26 * time.Hour, "2025-02-02T02:00:00Z"},
		{"winter", "America/New_York", january, time.Hour, 0, "2025-02-01T06:00:00Z"},
		{"summer", "America/New_York", january + 5, time.Hour, 0, "2025-07-01T05:00:00Z"},
		{"the day before summer time ends", "America/New_York", january + 9, 90 * time.Minute, 0, "2025-11-01T05:30:00Z"},
		{"a day ahead", "Pacific/Apia", january, time.Hour, time.Hour, "2025-01-31T12:00:00Z"},
		{"half an hour", "Asia/Kolkata", january, time.Hour, time.Hour, "2025-01-31T19:30:00Z"},
		{"a leap day", "Europe/Berlin", ledger.MonthOf(2028, time.February), time.Hour, time.Hour, "2028-03-01T00:00:00Z"},
		// Summer time began there with the month, which therefore began at one o'clock.
		{"midnight is skipped", "America/Asuncion", ledger.MonthOf(2023, time.September), 30 * time.Minute, 0, "2023-10-01T04:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tollgate.db")
			begin := time.Date(tt.month.Year(), tt.month.Month(), 10, 0, 0, 0, 0, time.UTC)
			w := &world{t: t, now: begin}
			w.ledger = ledgertest.Open(t, path, ledger.Options{Now: begin, TestClock: true, Zone: tt.zone})
			for _, p := range pricing.Shipped() {
				w.publish(ledger.PlanVersion, p.ID, p.Terms)
			}
			var err error
			w.Billing, err = billing.New(billing.Options{
				Ledger: w.ledger, Book: pricing.NewBook(), Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler), TestClock: true,
				Settings: billing.Settings{Grace: tt.grace, RunAt: tt.runAt},
			})
			if err != nil {
				t.Fatal(err)
			}
			w.user("pro")
			var steps []time.Time
			for w.ledger.LastInvoice() == 0 && len(steps) < 2000 {
				w.now = w.NextDue(w.now)
				w.work()
				steps = append(steps, w.now)
			}
			if got := w.now.Format(time.RFC3339); got != tt.want {
				t.Errorf("sealed at %s, want %s", got, tt.want)
			}
			if i := w.invoice(1, tt.month); i.Number != 1 {
				t.Errorf("%+v", i)
			}
		})
	}
}

// TestAnotherZone: a new zone begins with the next month, and no time is billed
// twice or left out between the two.
func TestAnotherZone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	w := &world{t: t, now: newYear}
	open := func(zone string) {
		w.ledger = ledgertest.Open(t, path, ledger.Options{Now: w.now, TestClock: true, Zone: zone})
		var err error
		w.Billing, err = billing.New(billing.Options{
			Ledger: w.ledger, Book: pricing.NewBook(), Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler), TestClock: true,
			Settings: billing.Settings{RunAt: time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	open("UTC")
	for _, p := range pricing.Shipped() {
		w.publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	u := w.user("pro")
	w.now = w.now.AddDate(0, 0, 20)
	if err := w.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	open("America/New_York")
	var sealed []string
	for last := ledger.InvoiceID(0); last < 3; {
		w.now = w.NextDue(w.now)
		w.work()
		if l := w.ledger.LastInvoice(); l != last {
			last = l
			sealed = append(sealed, w.now.Format(time.RFC3339))
		}
	}
	if diff := cmp.Diff([]string{"2025-02-01T01:00:00Z", "2025-03-01T06:00:00Z", "2025-04-01T05:00:00Z"}, sealed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2025-01 fee 49.00", "2025-02 fee 49.00", "2025-03 fee 49.00"}, w.months(u)); diff != "" {
		t.Error(diff)
	}
}

// TestClosing: the fee runs to the instant of closing, the last invoice comes at
// the end of the month, and what is too little to be charged is written off on it.
func TestClosing(t *testing.T) {
	end := func(w *world, u ledger.UserID) {
		_, err := w.ledger.ChangeUser(w.now, "test", u, func(u *ledger.User) error {
			u.Status, u.ClosedAt = ledger.Closed, w.now
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		close func(*world) ledger.UserID
		want  []string
	}{
		{"in the middle of a month", func(w *world) ledger.UserID {
			u := w.user("pro")
			w.now = newYear.AddDate(0, 0, 15).Add(12 * time.Hour)
			end(w, u)
			return u
		}, []string{"2025-01 fee 24.50"}},
		{"as soon as it was made", func(w *world) ledger.UserID {
			u := w.user("pro")
			end(w, u)
			return u
		}, []string{"2025-01"}},
		{"where a month begins", func(w *world) ledger.UserID {
			u := w.user("pro")
			w.ends(january)
			w.now = w.ledger.PeriodOf(january + 2).Start
			end(w, u)
			return u
		}, []string{"2025-01 fee 49.00", "2025-02 fee 49.00", "2025-03"}},
		{"made where a month begins", func(w *world) ledger.UserID {
			w.now = w.ledger.PeriodOf(january).End
			return w.user("pro")
		}, []string{"2025-02 fee 49.00", "2025-03 fee 49.00", "2025-04 fee 49.00"}},
		{"with 49 cents left", func(w *world) ledger.UserID {
			u := w.user("free")
			w.use(u, w.now, 1030)
			w.ends(january)
			w.use(u, w.now, 1019)
			end(w, u)
			return u
		}, []string{"2025-01 overage 0.30 carried 0.30", "2025-02 overage 0.19 carried_in 0.30 credit -0.49"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			u := tt.close(w)
			for m := w.ledger.PeriodAt(w.now).Month; m < january+4; m++ {
				w.ends(m)
			}
			if diff := cmp.Diff(tt.want, w.months(u)); diff != "" {
				t.Error(diff)
			}
			if sum := w.run(billing.RunOptions{User: u}); sum.Charged != 0 {
				t.Errorf("and then again: %+v", sum)
			}
			if _, err := w.Run(context.Background(), billing.RunOptions{Month: january + 4}); err == nil {
				t.Error("a month that has not ended is billed")
			}
		})
	}
}
