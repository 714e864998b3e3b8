package billing

import (
	"context"
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
	Webhooks WebhookSender // nil: no program is told of notices
	Now      func() time.Time
	// Elapsed is the time that has passed since some instant, by a clock that is
	// never set; nil: jumps of the clock are not seen.
	Elapsed  func() time.Duration
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
	Packs        []Pack
	NoticeMails  bool // customers are told of notices by mail
}

// Billing makes invoices of what was used and sees that they are paid. Its
// methods may be called from any goroutine; what changes invoices is done by one
// at a time.
type Billing struct {
	Options
	settings atomic.Pointer[Settings]
	// working is held by the one that bills, collects or mails. Between one invoice
	// and the next it is free for a moment, for those who wait in front of a page.
	working  sync.Mutex
	granting sync.Mutex // held by the one that gives a plan's credits

	id       string // the ledger's
	epoch    int
	restored time.Time // when the epoch began; zero: the ledger was never restored
	currency string
	digits   int
	coarse   int64 // minor units: amounts are multiples of it
	minimum  int64 // minor units that the provider takes at least

	ended     endedRuns
	outbox    outbox
	doubtSeen atomic.Pointer[string] // what doubted said last

	// The rest is guarded by working.

	pinned time.Time // when the provider's account and clock were last compared
	opened time.Time // the ledger's last entry when it was opened; zero: it was new
	clock  struct {
		seen   time.Time // without its monotonic reading
		passed time.Duration
		doubt  string // why it may be wrong
	}
	stuck map[ledger.InvoiceID]stuck // by invoices whose last call has an unknown outcome
	// stuckPayments is likewise by payments.
	stuckPayments map[ledger.PaymentID]stuck
	polled        struct {
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
	b := &Billing{Options: o, id: status.ID, epoch: status.Epoch, restored: status.Restored, currency: status.Currency, opened: status.Before, stuck: map[ledger.InvoiceID]stuck{}, stuckPayments: map[ledger.PaymentID]stuck{}}
	b.outbox.waiting = map[ledger.NoticeID][]ledger.Delivery{}
	if b.digits, err = ledger.MinorDigits(b.currency); err != nil {
		return nil, err
	}
	b.coarse, b.minimum = chargeStep(b.currency), minimumCharge(b.currency, b.digits)
	b.settings.Store(&o.Settings)
	b.polled.since = status.LastLogged.Add(-24 * time.Hour)
	if !b.opened.IsZero() {
		b.polled.since = b.opened.Add(-24 * time.Hour)
	}
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
	down, err := b.ready(ctx)
	if err != nil {
		return err
	}
	if err := b.closeByTime(ctx); err != nil {
		return err
	}
	return b.collect(ctx, down)
}

// ready makes sure that the ledger may bill: its clock is to be trusted, and a
// restored one was compared with the provider. down is why the provider cannot be
// used, which keeps nothing but collecting from being done.
func (b *Billing) ready(ctx context.Context) (down, err error) {
	if down, err = b.trustClock(ctx); err != nil || b.Provider == nil || b.Ledger.Reconciled() {
		return down, err
	}
	if down != nil {
		return down, down
	}
	return nil, b.reconcile(ctx)
}

// Pin ties the ledger to the provider's account, or makes sure that it is the one
// it is tied to: [ledger.ErrMismatch]. It compares the clocks as well. Nobody may
// be billing: it is called at the start, and by billing itself.
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
	b.noDoubt()
	return nil
}

// NextDue is the next instant after t at which time alone makes work due: the
// sealing of a period, or the full hour, at which what failed is tried again.
func (b *Billing) NextDue(t time.Time) time.Time {
	next := t.Truncate(time.Hour).Add(time.Hour)
	open := b.Ledger.PeriodAt(t)
	if open.End.After(t) && open.End.Before(next) { // plans give their credits then
		next = open.End
	}
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

// chargeStep is how many minor units of a currency can be charged at least and in
// steps of (https://docs.stripe.com/currencies#special-cases).
func chargeStep(currency string) int64 {
	switch currency {
	case "isk", "ugx":
		return 100
	case "bhd", "jod", "kwd", "omr", "tnd":
		return 10
	}
	return 1
}

// minor rounds once, to what can be charged.
func (b *Billing) minor(a ledger.Amount) int64 {
	digits := b.digits
	for step := b.coarse; step > 1; step /= 10 {
		digits--
	}
	return a.Minor(digits) * b.coarse
}

// minimumCharge is the least that Stripe takes, in minor units
// (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts). For
// currencies that are not listed there it is half a unit, as for most that are;
// where a unit is worth little, about half a US dollar.
func minimumCharge(currency string, digits int) int64 {
	cents := map[string]int64{
		"aed": 200, "bgn": 100, "chf": 50, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500,
		"mxn": 1000, "myr": 200, "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000,

		"bif": 1500, "clp": 500, "djf": 100, "gnf": 5000, "jpy": 50, "kmf": 250, "krw": 750, "mga": 2500, "pyg": 4000, "rwf": 750, "vnd": 14000,
		"vuv": 65, "xaf": 350, "xof": 350, "xpf": 60, "isk": 8000, "ugx": 200000,
	}[currency]
	if cents == 0 {
		cents = 50
	}
	if digits == 3 {
		return 10 * cents
	}
	return cents
}
