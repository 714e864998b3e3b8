package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// shop is an appliance without its gateway: a ledger, billing on it, and a Stripe
// that several shops may share.
type shop struct {
	*billing.Billing
	t      *testing.T
	path   string
	now    time.Time
	ledger *ledger.Ledger
	stripe *stripetest.Server

	// die is asked at each place where the process may end: before a request
	// ("request"), after one was done ("answer"), and whenever the time is asked for,
	// which is between any two entries of the ledger ("clock").
	die func(place string) bool

	options  ledger.Options          // of a new ledger: zone, currency
	settings func(*billing.Settings) // what is configured otherwise; nil: nothing
	opened   func()                  // called when the appliance has started; nil: nothing is

	mu    sync.Mutex
	mails map[string]int // by id
}

func newShop(t *testing.T, at *stripetest.Server, now time.Time) *shop {
	s := &shop{t: t, path: filepath.Join(memoryDir(t), "tollgate.db"), now: now, stripe: at, mails: map[string]int{}, die: func(string) bool { return false }}
	s.start()
	return s
}

// start opens a new ledger.
func (s *shop) start() {
	s.open()
	for _, p := range pricing.Shipped() {
		s.publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	s.publish(ledger.RouteVersion, route.Pattern, route.Terms)
}

func (s *shop) publish(kind ledger.VersionKind, name string, terms func() (json.RawMessage, error)) {
	text, err := terms()
	if err == nil {
		_, err = s.ledger.PublishVersion(s.now, kind, name, text, s.now)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) open() {
	var err error
	o := s.options
	o.Now, o.TestClock = s.now, true
	if s.ledger, err = ledger.Open(s.path, o); err != nil {
		s.t.Fatal(err)
	}
	status, err := s.ledger.Status()
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := stripe.New(stripe.Options{
		Key: "sk_test_shop", Ledger: status.ID, APIBase: "http://stripe", HTTP: roundTripper(s.carry), PerSecond: -1,
		Now: func() time.Time { return s.now },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	settings := billing.Settings{
		Grace: time.Hour, RunAt: time.Hour, RetryAfter: []time.Duration{72 * time.Hour, 120 * time.Hour, 168 * time.Hour}, SuspendAfter: 336 * time.Hour,
		PublicURL: "https://api.example.com",
	}
	if s.settings != nil {
		s.settings(&settings)
	}
	s.Billing, err = billing.New(billing.Options{
		Ledger: s.ledger, Book: pricing.NewBook(), Provider: client, Mailer: s, Now: s.clock, Log: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})), TestClock: true,
		Settings: settings,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.opened != nil {
		s.opened()
	}
}

// again ends the process as it is and starts another.
func (s *shop) again() {
	if err := s.ledger.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *shop) clock() time.Time {
	if s.die("clock") {
		panic(errKilled)
	}
	return s.now
}

func (s *shop) carry(r *http.Request) (*http.Response, error) {
	if s.die("request") {
		panic(errKilled)
	}
	res, err := s.stripe.Transport().RoundTrip(r)
	if s.die("answer") {
		if err == nil {
			res.Body.Close()
		}
		panic(errKilled)
	}
	return res, err
}

func (s *shop) SendInvoice(_ context.Context, m billing.InvoiceMail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails[m.ID]++
	return nil
}

func (s *shop) SendNotice(context.Context, billing.NoticeMail) error { return nil }

// try works, and starts again when it is killed in it.
func (s *shop) try(work func(context.Context) error) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case errKilled:
			s.again()
		default:
			panic(p)
		}
	}()
	return work(s.t.Context())
}

// customer adds a user on a plan with a card.
func (s *shop) customer(name, plan string, card stripetest.Card) ledger.UserID {
	s.t.Helper()
	u, err := s.ledger.AddUser(s.now, "test", ledger.Personal{Email: name + "@example.com", Name: name}, plan)
	if err != nil {
		s.t.Fatal(err)
	}
	if card == "" {
		return u.ID
	}
	url, err := s.Checkout(s.t.Context(), u.ID, "")
	if err != nil {
		s.t.Fatal(err)
	}
	session := url[strings.LastIndexByte(url, '/')+1:]
	if _, err := s.stripe.CompleteCheckout(session, card); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Poll(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if s.ledger.Account(u.ID).User().PaymentMethod == "" {
		s.t.Fatal("the card is not there")
	}
	return u.ID
}

func (s *shop) invoice(user ledger.UserID, m ledger.Month) *ledger.Invoice {
	s.t.Helper()
	ref, ok := s.ledger.Account(user).User().InvoiceOf(m)
	if !ok {
		s.t.Fatalf("user %d has no invoice of %v", user, m)
	}
	i, err := s.ledger.Invoice(ref.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

func (s *shop) close() {
	if err := s.ledger.Close(); err != nil {
		s.t.Error(err)
	}
	ledgertest.Verify(s.t, s.path)
}

var (
	winter  = time.Date(2025, time.January, 10, 0, 0, 0, 0, time.UTC)
	january = ledger.MonthOf(2025, time.January)
)

// TestEveryPlaceToDie bills one customer, again and again: each time the process
// ends at the next place where it can, or Stripe fails at the next request in one
// of its ways. With hours between one start and the next, and with more than a
// day, after which Stripe has forgotten the idempotency keys: there is one charge,
// of the right amount, and in the end the invoice is paid.
func TestEveryPlaceToDie(t *testing.T) {
	type way struct {
		name  string
		place string // where the process ends, or:
		fault stripetest.FaultKind
	}
	ways := []way{{name: "killed before a request", place: "request"}, {name: "killed after a request", place: "answer"}, {name: "killed between entries", place: "clock"}}
	for _, k := range stripetest.Faults() {
		ways = append(ways, way{name: k.String(), fault: k})
	}
	for _, w := range ways {
		for _, pause := range []time.Duration{time.Hour, 25 * time.Hour} {
			t.Run(fmt.Sprintf("%s, again after %v", w.name, pause), func(t *testing.T) {
				t.Parallel()
				n := 1
				for struck := true; struck; n++ {
					if raced && n%4 != 0 {
						continue
					}
					// In a bubble a Stripe that hangs costs no time.
					synctest.Test(t, func(t *testing.T) { struck = dieAt(t, w.place, w.fault, n, pause) })
				}
				if n < 6 {
					t.Errorf("only %d places were tried", n-1)
				}
			})
		}
	}
}

// dieAt has the n-th place fail. It is false when there are fewer.
func dieAt(t *testing.T, place string, fault stripetest.FaultKind, n int, pause time.Duration) bool {
	var s *shop
	at := stripetest.New(stripetest.Options{Now: func() time.Time { return s.now }})
	s = &shop{now: winter}
	s = newShop(t, at, winter)
	defer s.close()
	u := s.customer("ada", "pro", stripetest.CardGood)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)

	passed, struck := 0, false
	requests := 0
	s.die = func(here string) bool {
		if here == "request" && fault != stripetest.NoFault {
			if requests++; requests == n {
				struck = true
				at.Fail(stripetest.Fault{Kind: fault})
			}
		}
		if here != place || struck {
			return false
		}
		passed++
		struck = passed == n
		return struck
	}
	for range 8 {
		err := s.try(s.Work)
		var refused *billing.Rejection
		if err != nil && !errors.Is(err, billing.ErrUnknown) && !errors.As(err, &refused) {
			t.Errorf("place %d: %v", n, err)
		}
		if err := s.try(s.Poll); err != nil && !errors.Is(err, billing.ErrUnknown) && !errors.As(err, &refused) {
			t.Errorf("place %d: %v", n, err)
		}
		s.now = s.now.Add(pause)
	}
	s.die = func(string) bool { return false }
	i := s.invoice(u, january)
	var total int64
	for _, c := range at.Charges() {
		total += c.Amount
	}
	kept := 0
	for _, there := range at.Invoices() {
		if there.Status != "draft" && there.Status != "void" {
			kept++
		}
	}
	if i.State != ledger.Paid || i.Total != 3477 || total != i.Total || len(at.Charges()) != 1 || kept != 1 {
		t.Errorf("place %d: the invoice is %+v; Stripe has %d invoices and %d charges of %d", n, i, kept, len(at.Charges()), total)
	}
	if len(s.mails) != 1 {
		t.Errorf("place %d: mails %v", n, s.mails)
	}
	return struck
}
