package server_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

// reversal is a pack of 10,000 credits for 100.00, so that a credit is a cent, of
// which some were burnt.
func reversal(t *testing.T, burnt int64) (*till, ledger.UserID, *ledger.Payment) {
	t.Helper()
	s := newTill(t, nil)
	t.Cleanup(s.close)
	u := s.account("ada", "prepaid", stripetest.CardGood)
	p := s.bought(u, "10k")
	if burnt > 0 {
		s.calls(u, 1, burnt)
	}
	return s, u, p
}

// refund gives money back on Stripe's own pages.
func (s *till) refund(p *ledger.Payment, amount int64) {
	s.t.Helper()
	for _, i := range s.stripe.Intents() {
		if i.Metadata["tollgate_payment"] == fmt.Sprint(p.ID) {
			s.byHand("/v1/refunds", "payment_intent", i.ID, "amount", fmt.Sprint(amount))
			return
		}
	}
	s.t.Fatalf("payment %d is not at Stripe", p.ID)
}

// TestMoneyGoesBack gives a purchase back, whole and in part, by a refund or a
// dispute, before and after credits were burnt: what is left of them goes with the
// money, what was burnt is owed and suspends, and is paid with the next invoice.
func TestMoneyGoesBack(t *testing.T) {
	for _, burnt := range []int64{0, 4000, 10_000} {
		for _, refunded := range []int64{0, 2500, 10_000} {
			for _, disputed := range []bool{false, true} {
				if refunded == 10_000 == disputed { // nothing, or more than all
					continue
				}
				t.Run(fmt.Sprintf("burnt %d, refunded %d, disputed %v", burnt, refunded, disputed), func(t *testing.T) {
					s, u, p := reversal(t, burnt)
					back := refunded
					if refunded > 0 {
						s.refund(p, refunded)
					}
					if disputed {
						if _, err := s.stripe.Dispute(p.Provider, ""); err != nil {
							t.Fatal(err)
						}
						back = 10_000
					}
					s.hear(billing.Event{Receipt: p.Provider})
					left := max(10_000-burnt-back, 0)
					owed := max(back-(10_000-burnt), 0)
					check := func(status ledger.Status, owed int64) {
						t.Helper()
						if p = s.last(u); s.balance(u) != ledger.Amount(left)*credit || p.Owed != owed || p.Back() != back || s.user(u).Status != status {
							t.Errorf("%v credits, want %d; %d owed, want %d; the user is %s, want %s: %+v", s.balance(u), left, p.Owed, owed, s.user(u).Status, status, p)
						}
						s.balanced()
					}
					status := ledger.Active
					if owed > 0 {
						status = ledger.Suspended
					}
					check(status, owed)
					if s.told(u, ledger.TakenBack) != 1 {
						t.Errorf("%d notices", s.told(u, ledger.TakenBack))
					}
					seq := s.ledger.LastSeq()
					for range 2 {
						s.hear(billing.Event{Receipt: p.Provider})
						if err := s.Poll(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					s.work()
					if s.ledger.LastSeq() != seq {
						t.Errorf("told again, there are %d entries more", s.ledger.LastSeq()-seq)
					}
					if refused := s.call(u, 1); owed > 0 && (refused == nil || refused.Code != admission.AccountSuspended) {
						t.Errorf("a call: %v", refused)
					} else if owed == 0 && left > 0 && refused != nil {
						t.Errorf("a call: %v", refused)
					} else if owed == 0 && left > 0 {
						left--
					}
					s.monthEnds(january)
					check(ledger.Active, 0)
					if owed > 0 {
						s.invoiced(u, january, ledger.Paid, 0, owed, 0, fmt.Sprintf("carried_in %d", owed))
					}
					s.monthEnds(january + 1)
					s.invoiced(u, january+1, ledger.Paid, 0, 0, 0)
					check(ledger.Active, 0)
				})
			}
		}
	}
}

// TestDisputeIsWon: with the money the credits come back; where an invoice has asked
// for what was burnt, the customer has paid twice and gets them twice.
func TestDisputeIsWon(t *testing.T) {
	for _, burnt := range []int64{0, 4000, 10_000} {
		for _, asked := range []bool{false, true} {
			t.Run(fmt.Sprintf("burnt %d, an invoice asked %v", burnt, asked), func(t *testing.T) {
				s, u, p := reversal(t, burnt)
				dispute, err := s.stripe.Dispute(p.Provider, "")
				if err != nil {
					t.Fatal(err)
				}
				s.hear(billing.Event{Receipt: p.Provider})
				if s.balance(u) != 0 || s.last(u).Owed != burnt {
					t.Errorf("%v credits, %+v", s.balance(u), s.last(u))
				}
				want := 10_000 - burnt
				if asked {
					s.monthEnds(january)
					want = 10_000
				}
				if err := s.stripe.CloseDispute(dispute, true); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					s.hear(billing.Event{Receipt: p.Provider})
				}
				if s.balance(u) != ledger.Amount(want)*credit || s.last(u).Owed != 0 || s.last(u).Disputed != 0 || s.user(u).Status != ledger.Active {
					t.Errorf("%v credits, want %d; the user is %s: %+v", s.balance(u), want, s.user(u).Status, s.last(u))
				}
				s.balanced()
				// Then it is given back after all: what came back goes again.
				if want == 0 {
					return
				}
				s.calls(u, 1, 1000)
				s.refund(p, 10_000)
				s.hear(billing.Event{Receipt: p.Provider})
				if left, owed := max(want-1000-10_000, 0), max(10_000-(want-1000), 0); s.balance(u) != ledger.Amount(left)*credit || !asked && s.last(u).Owed != owed {
					t.Errorf("%v credits, want %d; %+v", s.balance(u), left, s.last(u))
				}
				s.balanced()
			})
		}
	}
}

// TestWhatExpiredIsNotOwed: of a pack that has expired only what was burnt is owed
// when its money goes back.
func TestWhatExpiredIsNotOwed(t *testing.T) {
	s := newTill(t, nil)
	defer s.close()
	u := s.account("ada", "prepaid", stripetest.CardGood)
	p := s.bought(u, "1k") // a credit is 1.2 cents
	s.calls(u, 1, 250)
	s.now = s.now.Add(31 * 24 * time.Hour)
	if err := s.gate.ExpireCredits(t.Context(), s.now); err != nil {
		t.Fatal(err)
	}
	s.refund(p, 1200)
	s.hear(billing.Event{Receipt: p.Provider})
	if p = s.last(u); p.Owed != 300 || s.balance(u) != 0 {
		t.Errorf("%v credits: %+v", s.balance(u), p)
	}
	s.balanced()
}

// TestOwedIsSettled: what is owed can be paid otherwise, and that lifts exactly the
// suspension for it.
func TestOwedIsSettled(t *testing.T) {
	s, u, p := reversal(t, 10_000)
	if _, err := s.stripe.Dispute(p.Provider, ""); err != nil {
		t.Fatal(err)
	}
	s.hear(billing.Event{Receipt: p.Provider})
	if _, err := s.ledger.ChangeUser(s.now, "test", u, func(u *ledger.User) error { u.SuspendedFor = "operator"; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SettlePayment("test", u, p.ID, "transfer 7"); err != nil {
		t.Fatal(err)
	}
	if s.user(u).Status != ledger.Suspended {
		t.Error("the operator's suspension was lifted")
	}
	if p = s.last(u); p.Owed != 0 || p.PaidBy != "transfer 7" {
		t.Errorf("%+v", p)
	}
	if _, err := s.SettlePayment("test", u, p.ID, "transfer 8"); !errors.Is(err, billing.ErrNotNow) {
		t.Errorf("twice: %v", err)
	}
	s.monthEnds(january)
	s.invoiced(u, january, ledger.Paid, 0, 0, 0)
	if books := s.ledger.Books(); books["carried"] != 0 {
		t.Errorf("the books: %v", books)
	}
}

// TestReturnPayment: the operator gives a part back, then the rest.
func TestReturnPayment(t *testing.T) {
	s, u, p := reversal(t, 4000)
	for _, c := range []struct{ amount, left, owed int64 }{{2500, 3500, 0}, {3500, 0, 0}, {4000, 0, 4000}} {
		got, err := s.ReturnPayment(t.Context(), "test", u, p.ID, c.amount, "sorry")
		if err != nil {
			t.Fatal(err)
		}
		if s.balance(u) != ledger.Amount(c.left)*credit || got.Owed != c.owed || got.Intent != nil {
			t.Errorf("after %d went back: %v credits, %+v", c.amount, s.balance(u), got)
		}
		s.balanced()
	}
	if _, err := s.ReturnPayment(t.Context(), "test", u, p.ID, 1, "sorry"); !errors.Is(err, billing.ErrNotNow) {
		t.Errorf("more than all: %v", err)
	}
	if n := len(s.stripe.Refunds()); n != 3 || s.money() != 0 {
		t.Errorf("Stripe has %d refunds and %d of our money", n, s.money())
	}
}

// TestEveryPlaceToDieInAReversal ends the process between any two entries that a
// dispute and a refund make: the events that are asked for after the start tell the
// same again, and the end is the same.
func TestEveryPlaceToDieInAReversal(t *testing.T) {
	for _, burnt := range []int64{0, 4000, 10_000} {
		for _, won := range []bool{false, true} {
			n, died := 1, true
			for ; died; n++ {
				s, u, p := reversal(t, burnt)
				dispute, err := s.stripe.Dispute(p.Provider, "")
				if err != nil {
					t.Fatal(err)
				}
				passed := 0
				s.die = func(here string) bool {
					if here == "clock" {
						passed++
					}
					return here == "clock" && passed == n
				}
				hear := func(ctx context.Context) error { return s.Observe(ctx, billing.Event{Receipt: p.Provider}) }
				check := s.try(hear)
				if won {
					if err := s.stripe.CloseDispute(dispute, true); err != nil {
						t.Fatal(err)
					}
					check = errors.Join(check, s.try(hear))
				}
				died = passed >= n
				s.die = func(string) bool { return false }
				s.again()
				if err := errors.Join(check, s.Poll(t.Context())); err != nil {
					t.Fatal(err)
				}
				left, owed := int64(0), burnt
				if won {
					left, owed = 10_000-burnt, 0
				}
				if p = s.last(u); s.balance(u) != ledger.Amount(left)*credit || p.Owed != owed || (s.user(u).Status == ledger.Suspended) != (owed > 0) {
					t.Errorf("burnt %d, won %v, died at %d: %v credits, the user is %s: %+v", burnt, won, n, s.balance(u), s.user(u).Status, p)
				}
				s.balanced()
			}
			if n < 4 {
				t.Errorf("burnt %d, won %v: only %d places were tried", burnt, won, n-1)
			}
		}
	}
}
