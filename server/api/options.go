package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

// Options is what the handlers stand on. All fields are needed, save those
// that say otherwise.
type Options struct {
	Ledger *ledger.Ledger
	Book   *pricing.Book // of this ledger
	Gate   *admission.Gate
	Now    func() time.Time // of the ledger's clock
	Random io.Reader        // for new keys: crypto/rand.Reader
	Log    *slog.Logger     // told of internal errors and of every change

	// Settings is the part of the configuration that a reload can change.
	Settings func() Settings
	// Draining tells whether the server is on its way to stop.
	Draining func() bool
	// ClientAddr is where a request of a customer comes from, behind trusted
	// proxies too. The customer API alone needs it.
	ClientAddr func(*http.Request) netip.Addr

	// Billing bills. Where it is nil, plans change without a payment method, there
	// are no drafts, and what needs billing is refused.
	Billing Billing
	// Stripe is nil where no payment provider is configured.
	Stripe Stripe

	// The rest is needed by the operator API alone.

	Version string
	Started time.Time    // by the system's clock, as Uptime
	Uptime  func() int64 // milliseconds since the start
	Live    func() Live
	Clock   Clock
	// Reload reads the configuration again; its error says what is wrong with
	// the file, and then nothing has changed.
	Reload func(context.Context) error
	Watch  Watch
}

// Settings is what the handlers read of the configuration.
type Settings struct {
	Plans         []pricing.Plan // in the order of the configuration
	DefaultPlan   string
	Packs         []CreditPack // in the order of the configuration; PriceCents is not read
	PublicURL     string       // without a slash at its end; may be empty
	FullProration bool         // proration = "full"
}

// plan is the configured plan of an id.
func (s Settings) plan(id string) (pricing.Plan, bool) {
	for _, p := range s.Plans {
		if p.ID == id {
			return p, true
		}
	}
	return pricing.Plan{}, false
}

// Clock is the clock that the appliance is on.
type Clock interface {
	// Test tells whether the clock is simulated.
	Test() bool
	// Set and Advance move a test clock forward and return when the scheduled
	// work on the way has run.
	Set(ctx context.Context, to time.Time) error
	Advance(ctx context.Context, by time.Duration) error
}

// service is what the handlers of both APIs share.
type service struct {
	Options
	digits int // decimals of the currency's minor unit
	// currency is the ledger's, for ever.
	currency string
	watch    *watching
}

func newService(o Options) *service {
	status, _ := o.Ledger.Status() // an error is about the sizes of file and disk
	currency := status.Currency
	digits, err := ledger.MinorDigits(currency)
	if err != nil {
		panic("api: the ledger has a currency that it should have refused: " + err.Error())
	}
	return &service{Options: o, digits: digits, currency: currency, watch: &watching{}}
}

func (s *service) cents(a ledger.Amount) int64 { return a.Minor(s.digits) }

func (s *service) basis() pricing.Basis {
	return pricing.Basis{Digits: s.digits, Full: s.Settings().FullProration}
}

func (s *service) dollars(cents int64) Dollars { return Dollars{cents, s.digits} }
