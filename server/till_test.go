package server_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe/stripetest"
)

const (
	cent    = ledger.Unit / 100
	credit  = ledger.Unit
	scanned = "POST /v1/scan"
)

// till is a shop that calls are made at: through admission, as the gateway does.
type till struct {
	*shop
	gate *admission.Gate
	keys map[ledger.UserID]string
	// attend is the users whose payments the calls ask to be seen to.
	attend  chan ledger.UserID
	counter uint32
}

// newTill is a till in which packs are sold for credits, or usage is charged as it
// comes. change may be nil.
func newTill(t *testing.T, change func(*shop), plans ...pricing.Plan) *till {
	t.Helper()
	s := &till{keys: map[ledger.UserID]string{}, attend: make(chan ledger.UserID, 10_000)}
	s.shop = &shop{t: t, path: filepath.Join(memoryDir(t), "tollgate.db"), now: winter, mails: map[string]int{}, die: func(string) bool { return false }}
	s.stripe = newStripe(&s.shop)
	s.settings = sellPacks
	if change != nil {
		change(s.shop)
	}
	s.opened = func() {
		s.gate = admission.New(s.ledger, admission.Options{
			Now: func() time.Time { return s.now }, Attend: func(u ledger.UserID) { s.attend <- u }, Notice: func(ledger.Notice) {},
		})
	}
	s.shop.start()
	for _, p := range append(plans, prepaid(), live()) {
		s.publish(ledger.PlanVersion, p.ID, p.Terms)
	}
	return s
}

// sellPacks has two packs: 10,000 credits for 100.00, and 1,000 that last a month
// for 12.00.
func sellPacks(o *billing.Settings) {
	o.Packs = []billing.Pack{
		{ID: "10k", Credits: 10_000 * credit, Price: 100 * ledger.Unit},
		{ID: "1k", Credits: 1000 * credit, Price: 12 * ledger.Unit, Expires: 30 * 24 * time.Hour},
	}
}

// prepaid is a plan on which a document burns a credit.
func prepaid() pricing.Plan {
	return pricing.Plan{ID: "prepaid", Name: "Prepaid", OnExceed: pricing.Bill, Billing: pricing.Prepaid, Credits: map[string]int64{"documents": 1}}
}

// live is a plan on which a cent a document is charged as it comes, 50 of them at
// a time, and 2.00 may be unpaid.
func live() pricing.Plan {
	return pricing.Plan{ID: "live", Name: "Live", ByCost: true, OnExceed: pricing.Bill, Billing: pricing.Realtime, ChargeThreshold: 50 * cent, Exposure: 200 * cent}
}

// admit asks for a call of n documents.
func (s *till) admit(user ledger.UserID, n int64) (*admission.Hold, *admission.Refusal) {
	s.t.Helper()
	if s.keys[user] == "" {
		secret, hash, prefix, err := admission.NewKey(rand.Reader)
		if err == nil {
			_, err = s.ledger.AddKey(s.now, "test", user, ledger.Key{Scope: ledger.ScopeCall, Hash: hash, Prefix: prefix})
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.keys[user] = secret
	}
	c, refused := s.gate.Authenticate(s.keys[user], netip.MustParseAddr("192.0.2.7"), s.now)
	if refused != nil {
		return nil, refused
	}
	return s.gate.Admit(c, admission.Ask{Now: s.now, Route: scanned, Asked: ledger.Quantities{Documents: n}})
}

// settle records a call of n documents that was admitted. The entry that it returns
// is the record's where nothing else is logged meanwhile.
func (s *till) settle(h *admission.Hold, n int64) uint64 {
	s.t.Helper()
	s.mu.Lock()
	s.counter++
	u := ledger.Usage{
		Time: h.Time, Counter: s.counter, User: h.Caller.Account.ID(), Key: h.Caller.Key.ID, Route: h.RouteVersion.ID, Plan: h.PlanVersion.ID,
		Method: "POST", Quantities: ledger.Quantities{Documents: n}, Billed: true, Status: 200, Duration: time.Millisecond,
	}
	s.mu.Unlock()
	var err error
	if u.Cost, err = h.RouteTerms.Cost(u.Quantities); err != nil {
		s.t.Error(err)
	}
	if h.PlanTerms.Billing == pricing.Prepaid {
		if u.Burnt, err = h.PlanTerms.Burn(u.Quantities, u.Cost); err != nil {
			s.t.Error(err)
		}
	}
	h.HandOver()
	if err := s.ledger.AppendOne(h.NotBefore(s.now), &u, h).Wait(s.t.Context()); err != nil {
		h.Abandon()
		s.t.Error(err)
	}
	return s.ledger.LastSeq()
}

// call makes a call of n documents.
func (s *till) call(user ledger.UserID, n int64) *admission.Refusal {
	s.t.Helper()
	h, refused := s.admit(user, n)
	if refused == nil {
		s.settle(h, n)
	}
	return refused
}

// calls makes calls of n documents each that all have to pass, and has what they
// ask for done.
func (s *till) calls(user ledger.UserID, times int, n int64) {
	s.t.Helper()
	for i := range times {
		if refused := s.call(user, n); refused != nil {
			s.t.Fatalf("call %d of %d: %v", i+1, times, refused)
		}
		s.attended()
	}
}

// attended does what calls have asked for.
func (s *till) attended() {
	s.t.Helper()
	for {
		select {
		case u := <-s.attend:
			if err := s.Attend(s.t.Context(), u); err != nil {
				s.t.Errorf("attend to user %d: %v", u, err)
			}
		default:
			return
		}
	}
}

func (s *till) user(id ledger.UserID) *ledger.User { return s.ledger.Account(id).User() }

// account makes a customer who is at Stripe already, with a card or without.
func (s *till) account(name, plan string, card stripetest.Card) ledger.UserID {
	s.t.Helper()
	u := s.customer(name, plan, "")
	s.card(u, card)
	return u
}

// card gives a customer another card; "" takes the one that is there away.
func (s *till) card(u ledger.UserID, card stripetest.Card) {
	s.t.Helper()
	if s.user(u).StripeCustomer == "" {
		if _, err := s.Checkout(s.t.Context(), u, ""); err != nil {
			s.t.Fatal(err)
		}
	}
	if method := s.user(u).PaymentMethod; card == "" && method != "" {
		s.byHand("/v1/payment_methods/" + method + "/detach")
	}
	if err := s.stripe.SetCard(s.user(u).StripeCustomer, card); err != nil {
		s.t.Fatal(err)
	}
	s.hear(billing.Event{Customer: s.user(u).StripeCustomer})
}

// hear takes a webhook.
func (s *till) hear(e billing.Event) {
	s.t.Helper()
	if err := s.Observe(s.t.Context(), e); err != nil {
		s.t.Errorf("a webhook of %+v: %v", e, err)
	}
}

// buy begins a purchase and returns the page's id.
func (s *till) buy(u ledger.UserID, pack string) string {
	s.t.Helper()
	url, err := s.Buy(s.t.Context(), "test", u, pack)
	if err != nil {
		s.t.Fatal(err)
	}
	return url[strings.LastIndexByte(url, '/')+1:]
}

// bought is a purchase that was paid and heard of.
func (s *till) bought(u ledger.UserID, pack string) *ledger.Payment {
	s.t.Helper()
	page := s.buy(u, pack)
	s.payOn(page)
	s.hear(billing.Event{Receipt: page})
	return s.last(u)
}

// payOn pays on a page.
func (s *till) payOn(page string) {
	s.t.Helper()
	if _, err := s.stripe.CompleteCheckout(page, stripetest.CardGood); err != nil {
		s.t.Fatal(err)
	}
}

// payments is all payments of a user.
func (s *till) payments(u ledger.UserID) (list []*ledger.Payment) {
	s.t.Helper()
	for _, ref := range s.user(u).Payments {
		p, err := s.ledger.Payment(u, ref.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// last is the user's newest payment.
func (s *till) last(u ledger.UserID) *ledger.Payment {
	s.t.Helper()
	list := s.payments(u)
	if len(list) == 0 {
		s.t.Fatalf("user %d has no payments", u)
	}
	return list[len(list)-1]
}

// balance is a user's credits.
func (s *till) balance(u ledger.UserID) ledger.Amount {
	a := s.ledger.Account(u)
	a.Lock()
	defer a.Unlock()
	return a.Balance(s.now)
}

// told is how many notices of a code a user was given.
func (s *till) told(u ledger.UserID, code string) (n int) {
	for _, ref := range s.user(u).Notices {
		if ref.Code == code {
			n++
		}
	}
	return n
}

// later lets time pass and does what is due at its end.
func (s *till) later(d time.Duration) {
	s.t.Helper()
	s.now = s.now.Add(d)
	s.work()
}

// monthEnds goes to where a month is sealed, and works twice: what was sealed is
// collected.
func (s *till) monthEnds(m ledger.Month) {
	s.t.Helper()
	s.now = s.ledger.PeriodOf(m).End.Add(time.Hour)
	s.work()
	s.work()
}

// balanced holds the books against themselves and against Stripe's money.
func (s *till) balanced() {
	s.t.Helper()
	books := s.ledger.Books()
	var sum int64
	for _, amount := range books {
		sum += amount
	}
	if sum != 0 {
		s.t.Errorf("the books do not sum to zero: %v", books)
	}
	if there := s.money(); books["cash"] != there {
		s.t.Errorf("the books have %d collected, and Stripe has %d: %v", books["cash"], there, books)
	}
}

// money is what Stripe has collected for us and not given back.
func (s *till) money() (sum int64) {
	s.t.Helper()
	for _, c := range s.stripe.Charges() {
		sum += c.Amount - c.AmountRefunded
	}
	for _, d := range s.disputes() {
		if d.Status != "won" {
			sum -= d.Amount
		}
	}
	return sum
}

func (s *till) disputes() []stripetest.Dispute {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://stripe/v1/disputes?limit=100", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sk_test_shop")
	res, err := s.stripe.Transport().RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var list struct{ Data []stripetest.Dispute }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %v", res.Status, err)
	}
	return list.Data
}

// lines is the lines of an invoice in short.
func lines(i *ledger.Invoice) []string {
	var list []string
	for _, l := range i.Lines {
		list = append(list, fmt.Sprintf("%s %d", l.Kind, l.Amount))
	}
	return list
}

// invoiced says what the invoice of a month has to be: its lines in short, what was
// charged before, what is asked for and what is carried.
func (s *till) invoiced(u ledger.UserID, m ledger.Month, state ledger.InvoiceState, advance, asked, carried int64, want ...string) *ledger.Invoice {
	s.t.Helper()
	i := s.invoice(u, m)
	if i.State != state || i.Advance != advance || i.Asked() != asked || i.Carried != carried || !slices.Equal(lines(i), want) {
		s.t.Errorf("the invoice of %v is %s: %q, of which %d were charged, %d are asked for and %d carried; want %s: %q, %d, %d and %d",
			m, i.State, lines(i), i.Advance, i.Asked(), i.Carried, state, want, advance, asked, carried)
	}
	return i
}
