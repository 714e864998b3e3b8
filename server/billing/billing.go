package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Options is what a Billing stands on.
type Options struct {
	Ledger   *ledger.Ledger
	Book     *pricing.Book // of this ledger
	Provider Provider      // nil: invoices are issued and nothing is collected
	Mailer   Mailer        // nil: no mail is queued
	Now      func() time.Time
	Log      *slog.Logger
	Settings Settings
	// TestClock tells that Now is simulated, and never that of the provider.
	TestClock bool
	// ChangePlan puts a user on the plan that was asked for before there was a
	// payment method, at once or at the next period as any change of plan.
	ChangePlan func(ctx context.Context, user ledger.UserID, tier string) error
}

// Settings is the part of the configuration that a reload can change.
type Settings struct {
	Full         bool            // proration = "full"
	Grace        time.Duration   // after a period's end, while late usage still lands in it
	RunAt        time.Duration   // on the 1st, since midnight on the clock of the billing zone
	RetryAfter   []time.Duration // each counted from the failure before
	SuspendAfter time.Duration   // of an invoice that is not paid
	TaxName      string
	TaxPercent   ledger.Amount // percent in nanos: 19 % is 19 units
	Issuer       string
	PublicURL    string // without a slash at its end
}

// Billing makes invoices of what was used and sees that they are paid. Its
// methods may be called from any goroutine; what changes invoices is done by one
// at a time.
type Billing struct {
	Options
	settings atomic.Pointer[Settings]
	working  sync.Mutex // held by the one that bills, collects or mails

	id       string // the ledger's
	epoch    int
	currency string
	digits   int
	minimum  int64 // minor units that the provider takes at least

	pinned time.Time // when the provider's account and clock were last compared
	opened time.Time // the ledger's last entry when it was opened
	polled struct {  // guarded by working
		since time.Time
		after string
	}
}

// New makes a Billing of an open ledger.
func New(o Options) (*Billing, error) {
	status, err := o.Ledger.Status()
	if err != nil {
		return nil, err
	}
	b := &Billing{Options: o, id: status.ID, epoch: status.Epoch, currency: status.Currency, opened: status.LastLogged}
	if b.digits, err = ledger.MinorDigits(b.currency); err != nil {
		return nil, err
	}
	b.minimum = minimumCharge(b.currency, b.digits)
	b.settings.Store(&o.Settings)
	return b, nil
}

// Configure puts other settings in force.
func (b *Billing) Configure(s Settings) { b.settings.Store(&s) }

// Work does all that is due: it seals the periods that have ended, brings
// invoices to the provider, collects, mails and suspends. It may be called at any
// time and as often as one likes; what was done is not done again.
func (b *Billing) Work(ctx context.Context) error {
	b.working.Lock()
	defer b.working.Unlock()
	if err := b.ready(ctx); err != nil {
		return err
	}
	if _, err := b.closeDue(ctx, scope{}); err != nil {
		return err
	}
	return b.collect(ctx)
}

// ready makes sure that the ledger may bill: a restored one was compared with the
// provider.
func (b *Billing) ready(ctx context.Context) error {
	if b.Provider == nil || b.Ledger.Reconciled() {
		return nil
	}
	if err := b.Pin(ctx); err != nil {
		return err
	}
	return b.reconcile(ctx)
}

// maxDrift is how far our clock may be from the provider's.
const maxDrift = 5 * time.Minute

// ErrClock reports a clock that is so far off that nothing may be charged by it.
var ErrClock = errors.New("the clock is not the payment provider's")

// Pin ties the ledger to the provider's account, or makes sure that it is the one
// it is tied to: [ledger.ErrMismatch]. It compares the clocks as well.
func (b *Billing) Pin(ctx context.Context) error {
	account, err := b.Provider.Account(ctx)
	if err != nil {
		return fmt.Errorf("ask the payment provider who we are: %w", err)
	}
	if err := b.Ledger.PinProvider(b.Now(), ledger.Provider{Account: account.ID, Live: account.Live}); err != nil {
		return err
	}
	if drift := b.Now().Sub(account.Now); drift.Abs() > maxDrift && (account.Live || !b.TestClock) {
		return fmt.Errorf("%w: it is %s ahead of it; set the clock of this machine, and until then nothing is charged", ErrClock, drift.Round(time.Second))
	}
	b.pinned = b.Now()
	return nil
}

// NextDue is the next instant after t at which time alone makes work due: the
// sealing of a period, or the full hour, at which what failed is tried again.
func (b *Billing) NextDue(t time.Time) time.Time {
	next := t.Truncate(time.Hour).Add(time.Hour)
	open := b.Ledger.PeriodAt(t)
	for _, p := range []ledger.Period{b.Ledger.PeriodOf(open.Month - 1), open} {
		if at := b.sealAt(p); at.After(t) && at.Before(next) {
			next = at
		}
	}
	return next
}

// sealAt is when a period is sealed: at run_at on the 1st, and not before its
// grace has ended.
func (b *Billing) sealAt(p ledger.Period) time.Time {
	s := b.settings.Load()
	zone, err := time.LoadLocation(p.Zone)
	if err != nil {
		zone = time.UTC // the ledger was opened with the zone, so it is there
	}
	first := p.End.In(zone)
	at := time.Date(first.Year(), first.Month(), first.Day(), 0, int(s.RunAt/time.Minute), 0, 0, zone)
	if graced := p.End.Add(s.Grace); graced.After(at) {
		return graced
	}
	return at.UTC()
}

func (b *Billing) basis() pricing.Basis {
	return pricing.Basis{Digits: b.digits, Full: b.settings.Load().Full}
}

// minimumCharge is the least that Stripe takes, in minor units
// (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts). For
// currencies that are not listed there it is half a unit, as for most that are.
func minimumCharge(currency string, digits int) int64 {
	cents := map[string]int64{
		"aed": 200, "bgn": 100, "chf": 50, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500,
		"mxn": 1000, "myr": 200, "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000,
	}[currency]
	if cents == 0 {
		cents = 50
	}
	switch {
	case digits == 0 && cents == 50:
		return 50 // JPY and its like, of which a unit is about a cent
	case digits == 3:
		return 10 * cents
	}
	return cents
}
