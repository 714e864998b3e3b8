package server_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

// TestPurchase: however the news of a payment on the page come, and however often,
// the credits are there once, with one receipt.
func TestPurchase(t *testing.T) {
	intent := func(s *till) string { return s.stripe.Intents()[0].ID }
	poll := func(s *till, _ string) {
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, news := range map[string]func(s *till, page string){
		"a webhook that comes twice": func(s *till, page string) {
			s.hear(billing.Event{Receipt: page})
			s.hear(billing.Event{Receipt: page})
			s.hear(billing.Event{Receipt: intent(s)})
		},
		"of the payment alone": func(s *till, _ string) { s.hear(billing.Event{Receipt: intent(s)}) },
		"late": func(s *till, page string) {
			s.now = s.now.Add(20 * time.Hour)
			s.hear(billing.Event{Receipt: page})
		},
		"never, and the events are asked for": poll,
		"never, and the process was killed": func(s *till, page string) {
			s.again()
			poll(s, page)
		},
		"never, and down for two days": func(s *till, page string) {
			s.now = s.now.Add(48 * time.Hour)
			s.again()
			poll(s, page)
		},
		"no events at all": func(s *till, _ string) { s.later(24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTill(t, nil)
			defer s.close()
			u := s.account("ada", "prepaid", "")
			page := s.buy(u, "10k")
			if s.balance(u) != 0 || s.last(u).State != ledger.PaymentPending {
				t.Fatalf("before it is paid: %v, %+v", s.balance(u), s.last(u))
			}
			s.payOn(page)
			news(s, page)
			for range 3 { // and everything once more
				s.hear(billing.Event{Receipt: page})
				poll(s, page)
				s.later(time.Hour)
			}
			p := s.last(u)
			if p.State != ledger.PaymentPaid || p.ReceiptText() != "R-000001" || s.balance(u) != 10_000*credit || len(s.payments(u)) != 1 || s.told(u, ledger.CreditsBought) != 1 {
				t.Errorf("%d payments, %v credits, %d notices: %+v", len(s.payments(u)), s.balance(u), s.told(u, ledger.CreditsBought), p)
			}
			if p.Intent != nil || !p.Next.IsZero() || p.URL != "" {
				t.Errorf("something is left to be done: %+v", p)
			}
			s.balanced()
			if books := s.ledger.Books(); books["cash"] != 10_000 || books["sold"] != -10_000 {
				t.Errorf("the books: %v", books)
			}
		})
	}
}

// TestPurchasesAside is what becomes of pages otherwise.
func TestPurchasesAside(t *testing.T) {
	t.Run("nobody pays", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		page := s.buy(u, "10k")
		for range 5 {
			s.later(12 * time.Hour)
		}
		given := s.ledger.LastSeq()
		s.hear(billing.Event{Receipt: page}) // checkout.session.expired, twice
		s.hear(billing.Event{Receipt: page})
		if p := s.last(u); p.State != ledger.PaymentGivenUp || p.Number != 0 || s.balance(u) != 0 || s.told(u, ledger.PaymentFailed) != 0 || s.ledger.LastSeq() != given {
			t.Errorf("%d entries later: %+v", s.ledger.LastSeq()-given, p)
		}
		s.balanced()
	})
	t.Run("two pages are paid", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		one, two := s.buy(u, "10k"), s.buy(u, "1k")
		s.payOn(two)
		s.payOn(one)
		s.hear(billing.Event{Receipt: one})
		s.hear(billing.Event{Receipt: two})
		list := s.payments(u)
		if len(list) != 2 || list[0].ReceiptText() != "R-000001" || list[1].ReceiptText() != "R-000002" || s.balance(u) != 11_000*credit {
			t.Errorf("%v credits: %+v", s.balance(u), list)
		}
		s.balanced()
		s.now = s.now.Add(31 * 24 * time.Hour)
		if err := s.gate.ExpireCredits(t.Context(), s.now); err != nil || s.balance(u) != 10_000*credit {
			t.Errorf("a month later: %v (%v)", s.balance(u), err)
		}
	})
	t.Run("declined on the page, then paid", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		page := s.buy(u, "10k")
		for range 2 {
			if _, err := s.stripe.CompleteCheckout(page, stripetest.CardDeclined); err == nil {
				t.Fatal("the card was taken")
			}
			if err := s.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if p := s.last(u); p.State != ledger.PaymentPending || p.URL == "" {
			t.Fatalf("after a declined card: %+v", p)
		}
		s.payOn(page)
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.last(u).State != ledger.PaymentPaid || s.balance(u) != 10_000*credit {
			t.Errorf("%v credits: %+v", s.balance(u), s.last(u))
		}
		s.balanced()
	})
	t.Run("paid after it was given up", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		page := s.buy(u, "10k")
		p := s.last(u)
		if _, err := s.ledger.ChangePayment(s.now, "test", u, p.ID, func(p *ledger.Payment) error {
			p.State, p.Next = ledger.PaymentGivenUp, time.Time{}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.payOn(page)
		s.hear(billing.Event{Receipt: page})
		s.hear(billing.Event{Receipt: page})
		if p := s.last(u); p.State != ledger.PaymentPaid || s.balance(u) != 10_000*credit {
			t.Errorf("%v credits: %+v", s.balance(u), p)
		}
		s.balanced()
	})
	t.Run("its page was never shown", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutAfter, Method: http.MethodPost, Path: "/v1/checkout/sessions"})
		s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodGet, Path: "/v1/checkout/sessions", Times: -1})
		s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodPost, Path: "/v1/checkout/sessions", Times: -1, Nth: 2})
		if _, err := s.Buy(t.Context(), "test", u, "10k"); !errors.Is(err, billing.ErrUnknown) {
			t.Fatalf("the outcome is %v", err)
		}
		s.stripe.Up()
		sessions := s.stripe.Sessions()
		page := sessions[len(sessions)-1].ID
		s.payOn(page) // somebody has it all the same
		s.hear(billing.Event{Receipt: page})
		s.later(time.Hour)
		if p := s.last(u); p.State != ledger.PaymentPaid || s.balance(u) != 10_000*credit {
			t.Errorf("%v credits: %+v", s.balance(u), p)
		}
		s.balanced()
	})
	t.Run("with tax", func(t *testing.T) {
		s := newTill(t, func(s *shop) {
			s.settings = func(o *billing.Settings) { sellPacks(o); o.TaxName, o.TaxPercent = "VAT", 19*ledger.Unit }
		})
		defer s.close()
		u := s.account("ada", "prepaid", "")
		p := s.bought(u, "10k")
		if p.Total != 11_900 || len(p.Lines) != 2 || p.Lines[1].Kind != ledger.TaxLine || p.Lines[1].Amount != 1900 {
			t.Errorf("%+v", p)
		}
		if books := s.ledger.Books(); books["tax"] != -1900 || books["sold"] != -10_000 {
			t.Errorf("the books: %v", books)
		}
		s.balanced()
	})
	t.Run("what is not sold", func(t *testing.T) {
		s := newTill(t, nil)
		defer s.close()
		u := s.account("ada", "prepaid", "")
		if _, err := s.Buy(t.Context(), "test", u, "100k"); !errors.Is(err, billing.ErrNoPack) || len(s.user(u).Payments) != 0 {
			t.Errorf("%v; %+v", err, s.user(u).Payments)
		}
	})
}
