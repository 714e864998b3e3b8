package server_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe/stripetest"
)

func recharge() *pricing.Recharge { return &pricing.Recharge{Below: 500, Pack: "10k", PerDay: 3} }

// newRefill is a till with one customer on a plan that buys packs of 10,000 credits
// by itself when fewer than 500 are left.
func newRefill(t *testing.T, card stripetest.Card, change func(*shop)) (*till, ledger.UserID) {
	t.Helper()
	plan := prepaid()
	plan.ID, plan.Recharge = "refilled", recharge()
	s := newTill(t, change, plan)
	t.Cleanup(s.close)
	u := s.customer("ada", "refilled", "")
	if _, err := s.ledger.GrantCredits(s.now, "test", u, ledger.Grant{Source: ledger.Promotion, Amount: 1000 * credit}); err != nil {
		t.Fatal(err)
	}
	s.card(u, card)
	return s, u
}

func TestRecharge(t *testing.T) {
	s, u := newRefill(t, stripetest.CardGood, func(s *shop) {
		s.settings = func(o *billing.Settings) { sellPacks(o); o.TaxName, o.TaxPercent = "VAT", 19*ledger.Unit }
	})
	s.calls(u, 5, 100)
	s.work()
	if len(s.payments(u)) != 0 {
		t.Fatalf("at %v credits: %+v", s.balance(u), s.last(u))
	}
	s.calls(u, 1, 1)
	p := s.last(u)
	if p.Kind != ledger.RechargePayment || p.State != ledger.PaymentPaid || p.Total != 11_900 || p.Lines[1].Kind != ledger.TaxLine || s.balance(u) != 10_499*credit {
		t.Errorf("%v credits, %+v", s.balance(u), p)
	}
	s.work()
	s.charged(11_900)
	if s.told(u, ledger.CreditsBought) != 1 || p.ReceiptText() != "R-000001" {
		t.Errorf("%d notices, receipt %s", s.told(u, ledger.CreditsBought), p.ReceiptText())
	}
	// A call that the credits do not cover asks for it, too.
	if refused := s.call(u, 10_400); refused != nil {
		t.Fatal(refused)
	}
	for len(s.attend) > 0 { // nobody hears of it
		<-s.attend
	}
	if refused := s.call(u, 200); refused == nil || refused.Code != admission.InsufficientCredits {
		t.Fatalf("%v", refused)
	}
	s.attended()
	s.calls(u, 1, 200)
	s.charged(11_900, 11_900)
	s.balanced()
}

// TestRechargesOfADay buys so often a day as the plan says, by the days of the
// billing zone.
func TestRechargesOfADay(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	s, u := newRefill(t, stripetest.CardGood, func(s *shop) { s.options.Zone = zone.String() })
	burn := func(times int) {
		t.Helper()
		for range times {
			if left := s.balance(u) - 100*credit; left > 0 {
				if refused := s.call(u, int64(left/credit)); refused != nil {
					t.Fatal(refused)
				}
			}
			s.attended()
			s.work()
		}
	}
	s.now = time.Date(2025, time.January, 20, 23, 0, 0, 0, zone) // already the 21st in UTC
	burn(2)
	s.now = time.Date(2025, time.January, 20, 23, 59, 0, 0, zone)
	burn(5)
	if n := len(s.stripe.Charges()); n != 3 || s.balance(u) != 100*credit {
		t.Errorf("on the 20th: %d charges, %v credits", n, s.balance(u))
	}
	s.now = time.Date(2025, time.January, 21, 0, 1, 0, 0, zone)
	burn(1)
	if n := len(s.stripe.Charges()); n != 4 {
		t.Errorf("after midnight: %d charges", n)
	}
	burn(9)
	if n := len(s.stripe.Charges()); n != 6 {
		t.Errorf("on the 21st: %d charges", n)
	}
	s.balanced()
}

// TestOneRechargeAtATime: while it is not known what became of one, none is begun.
func TestOneRechargeAtATime(t *testing.T) {
	s, u := newRefill(t, stripetest.CardGood, nil)
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: method, Path: "/v1/payment_intents", Times: -1})
	}
	s.calls(u, 6, 100)
	for range 5 {
		s.now = s.now.Add(time.Minute)
		if err := s.Work(t.Context()); err != nil && !errors.Is(err, billing.ErrUnknown) {
			t.Fatal(err)
		}
		s.calls(u, 1, 10)
	}
	if n := len(s.payments(u)); n != 1 || s.last(u).Intent == nil {
		t.Errorf("%d payments, %+v", n, s.last(u))
	}
	s.stripe.Up()
	s.later(time.Hour)
	s.charged(10_000)
	s.balanced()
}

// TestRechargeIsDeclined: it is told once, and nothing is tried for a day, or until
// there is another card.
func TestRechargeIsDeclined(t *testing.T) {
	s, u := newRefill(t, stripetest.CardFailsLater, nil)
	attempts := func(want int) {
		t.Helper()
		if got := len(s.stripe.Attempts()); got != want || s.told(u, ledger.PaymentFailed) != want {
			t.Errorf("%d attempts, %d notices, want %d", got, s.told(u, ledger.PaymentFailed), want)
		}
	}
	s.calls(u, 6, 100)
	for range 22 {
		s.later(time.Hour)
		s.calls(u, 1, 1)
	}
	attempts(1)
	if p := s.last(u); p.State != ledger.PaymentGivenUp || s.user(u).Owes() {
		t.Errorf("%+v", p)
	}
	s.later(3 * time.Hour)
	attempts(2)
	s.card(u, stripetest.CardGood)
	s.work()
	s.charged(10_000)
	s.balanced()
}

// TestNotRecharged: those who owe something, are suspended or have no card are not
// charged, nor those whose plan is another meanwhile.
func TestNotRecharged(t *testing.T) {
	for name, change := range map[string]func(*till, ledger.UserID){
		"no card": func(s *till, u ledger.UserID) { s.card(u, "") },
		"suspended": func(s *till, u ledger.UserID) {
			if _, err := s.ledger.ChangeUser(s.now, "test", u, func(u *ledger.User) error {
				u.Status, u.SuspendedFor = ledger.Suspended, "operator"
				return nil
			}); err != nil {
				s.t.Fatal(err)
			}
		},
		"owing": func(s *till, u ledger.UserID) {
			p := s.bought(u, "1k")
			s.calls(u, 1, 1500)
			if _, err := s.stripe.Dispute(p.Provider, ""); err != nil {
				s.t.Fatal(err)
			}
			s.hear(billing.Event{Receipt: p.Provider})
		},
		"on another plan": func(s *till, u ledger.UserID) { s.plan(u, "prepaid") },
	} {
		t.Run(name, func(t *testing.T) {
			s, u := newRefill(t, stripetest.CardGood, nil)
			change(s, u)
			had := len(s.payments(u))
			if s.user(u).Status == ledger.Active {
				s.calls(u, 1, int64(min(s.balance(u)/credit, 900)))
			} else if a := s.ledger.Account(u); s.balance(u) > 0 {
				a.Lock()
				grant := a.Credits()[0].Seq
				a.Unlock()
				if _, err := s.ledger.TakeCredits(s.now, "test", u, grant, 900*credit, "test", "", nil); err != nil {
					t.Fatal(err)
				}
			}
			s.work()
			if err := s.Attend(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if s.balance(u) >= 500*credit || len(s.payments(u)) != had {
				t.Errorf("%v credits, %+v", s.balance(u), s.last(u))
			}
		})
	}
}

// TestOneBadPlanKeepsNobodyBack: plans that buy a pack which is not sold any more
// keep nobody else's from being bought.
func TestOneBadPlanKeepsNobodyBack(t *testing.T) {
	s, _ := newRefill(t, stripetest.CardGood, nil)
	old := prepaid()
	old.ID, old.Recharge = "old", &pricing.Recharge{Below: 500, Pack: "gone", PerDay: 3}
	s.publish(ledger.PlanVersion, old.ID, old.Terms)
	var charged []int64
	for n, name := range []string{"a", "b", "c", "d", "e"} {
		plan := "old"
		if n == 4 {
			plan = "refilled"
			charged = append(charged, 10_000)
		}
		s.account(name, plan, stripetest.CardGood)
	}
	s.work()
	s.charged(charged...)
	// Nor do those of which nothing can be learned.
	s.now = s.now.Add(time.Hour)
	var broken []ledger.UserID
	for _, name := range []string{"f", "g", "h"} {
		broken = append(broken, s.account(name, "refilled", stripetest.CardGood))
	}
	last := s.account("i", "refilled", stripetest.CardGood)
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.ErrorBefore, Method: http.MethodPost, Path: "/v1/payment_intents", Times: 9})
	for range 40 {
		s.later(time.Minute)
	}
	if s.balance(last) != 10_000*credit {
		t.Errorf("the last has %v", s.balance(last))
	}
	for range 48 {
		s.later(time.Hour)
	}
	if !slices.ContainsFunc(broken, func(u ledger.UserID) bool { return s.balance(u) == 10_000*credit }) {
		t.Error("none of the others has been charged")
	}
	s.balanced()
}
