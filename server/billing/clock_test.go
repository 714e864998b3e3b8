package billing_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// hours is billing by the system's clock, with a ledger that is opened again.
type hours struct {
	*billing.Billing
	t      *testing.T
	path   string
	now    time.Time
	passed time.Duration // by a clock that is never set
	at     provider
	given  bool // there is a provider
	ledger *ledger.Ledger
}

// provider is one that knows the time, or does not answer.
type provider struct {
	billing.Provider
	now  time.Time
	down bool
}

func (p *provider) Account(context.Context) (billing.Account, error) {
	if p.down {
		return billing.Account{}, billing.ErrUnknown
	}
	return billing.Account{ID: "acct_1", Now: p.now}, nil
}

func newHours(t *testing.T, given bool) *hours {
	h := &hours{t: t, path: filepath.Join(t.TempDir(), "tollgate.db"), now: newYear, given: given}
	h.open()
	text, err := (&pricing.Plan{ID: "free", Name: "Free"}).Terms()
	if err == nil {
		_, err = h.ledger.PublishVersion(h.now, ledger.PlanVersion, "free", text, h.now)
	}
	if err == nil {
		_, err = h.ledger.AddUser(h.now, "test", ledger.Personal{Email: "ada@example.com"}, "free")
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hours) open() {
	h.ledger = ledgertest.Open(h.t, h.path, ledger.Options{Now: h.now})
	o := billing.Options{
		Ledger: h.ledger, Book: pricing.NewBook(), Now: func() time.Time { return h.now }, Elapsed: func() time.Duration { return h.passed },
		Log: slog.New(slog.NewTextHandler(h.t.Output(), nil)),
	}
	if h.given {
		o.Provider = &h.at
	}
	var err error
	if h.Billing, err = billing.New(o); err != nil {
		h.t.Fatal(err)
	}
}

// pass lets time pass, by the clock of this machine and by the provider's.
func (h *hours) pass(d, here time.Duration) {
	h.now, h.passed, h.at.now = h.now.Add(d+here), h.passed+d, h.at.now.Add(d)
}

// works works, and tells how many invoices there are.
func (h *hours) works(want error, invoices ledger.InvoiceID) {
	h.t.Helper()
	if err := h.Work(context.Background()); !errors.Is(err, want) {
		h.t.Errorf("work: %v, want %v", err, want)
	}
	if n := h.ledger.LastInvoice(); n != invoices {
		h.t.Errorf("there are %d invoices, want %d", n, invoices)
	}
}

const day = 24 * time.Hour

// TestClockInDoubt: a clock that went where it can hardly be right seals nothing,
// until the provider says the same or somebody confirms it.
func TestClockInDoubt(t *testing.T) {
	t.Run("a jump", func(t *testing.T) {
		h := newHours(t, false)
		h.works(nil, 0)
		h.pass(time.Minute, 40*day)
		h.works(billing.ErrDoubt, 0)
		h.pass(time.Minute, 0)
		h.works(billing.ErrDoubt, 0)
		if h.ClockDoubt() == "" || h.DoubtSeen() != h.ClockDoubt() {
			t.Error("the operator is not told")
		}
		h.AcceptClock()
		if h.DoubtSeen() != "" {
			t.Error("the operator is told of a doubt that was set aside")
		}
		h.works(nil, 1)
		h.pass(40*day, 0)
		h.works(nil, 2)
		h.pass(30*day, 10*time.Minute) // a machine that was paused
		h.works(nil, 3)
	})
	t.Run("a long absence", func(t *testing.T) {
		h := newHours(t, false)
		if err := h.ledger.Close(); err != nil {
			t.Fatal(err)
		}
		h.now = h.now.Add(94 * day)
		h.open()
		// What is logged at the start makes the absence no shorter.
		if _, err := h.ledger.PublishVersion(h.now, ledger.PlanVersion, "free", []byte(`{"id":"free","name":"New"}`), h.now); err != nil {
			t.Fatal(err)
		}
		h.works(billing.ErrDoubt, 0)
		h.AcceptClock()
		h.works(nil, 3)
	})
	t.Run("an absence", func(t *testing.T) {
		h := newHours(t, false)
		if err := h.ledger.Close(); err != nil {
			t.Fatal(err)
		}
		h.now = h.now.Add(92 * day)
		h.open()
		h.works(nil, 3)
	})
	t.Run("asked at the provider", func(t *testing.T) {
		h := newHours(t, true)
		h.at.now = h.now
		h.works(nil, 0)
		h.pass(time.Minute, 40*day)
		h.works(billing.ErrClock, 0)
		h.AcceptClock() // it is wrong all the same
		h.works(billing.ErrClock, 0)
		h.at.now = h.now
		h.works(nil, 1)
		h.pass(time.Minute, 40*day) // such as a machine that slept
		h.at.now, h.at.down = h.now, true
		h.works(billing.ErrDoubt, 1)
		h.at.down = false
		h.works(nil, 2)
		h.pass(time.Minute, 10*time.Minute) // no doubt, and too far off to charge
		h.works(billing.ErrClock, 2)
	})
	t.Run("a provider that is down for weeks", func(t *testing.T) {
		h := newHours(t, true)
		h.at.now, h.at.down = h.now, true
		for n := range ledger.InvoiceID(3) {
			h.works(billing.ErrUnknown, n)
			h.pass(32*day, 0)
		}
		h.works(billing.ErrUnknown, 3)
	})
}
