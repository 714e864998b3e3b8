package server_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

var long = flag.Bool("long", false, "have Stripe fail in each of its ways at every place of a payment")

// dying is something that billing does about a payment, which is ended at each of
// its places.
type dying struct {
	name   string
	begin  func(*till) ledger.UserID
	act    func(*till, ledger.UserID) func(context.Context) error
	places int // at least, for each way to end
	check  func(s *till, u ledger.UserID) error
}

func dyings() []dying {
	return []dying{
		{"a purchase", func(s *till) ledger.UserID { return s.account("ada", "prepaid", "") }, (*till).buyAndPay, 4, func(s *till, u ledger.UserID) error {
			return s.endedWith(u, ledger.PurchasePayment, 10_000, 10_000*credit)
		}},
		{"a recharge", func(s *till) ledger.UserID { return s.account("ada", "refilled", stripetest.CardGood) }, (*till).workAct, 4, func(s *till, u ledger.UserID) error {
			return s.endedWith(u, ledger.RechargePayment, 10_000, 10_000*credit)
		}},
		{"a charge of usage", func(s *till) ledger.UserID {
			u := s.account("ada", "live", stripetest.CardGood)
			if refused := s.call(u, 60); refused != nil {
				s.t.Fatal(refused)
			}
			return u
		}, (*till).workAct, 4, func(s *till, u ledger.UserID) error {
			return s.endedWith(u, ledger.RealtimePayment, 60, 0)
		}},
		{"a return", func(s *till) ledger.UserID {
			u := s.account("ada", "prepaid", "")
			s.bought(u, "10k")
			s.calls(u, 1, 9000)
			return u
		}, (*till).returnAct, 4, func(s *till, u ledger.UserID) error {
			p := s.last(u)
			var there int64
			for _, r := range s.stripe.Refunds() {
				there += r.Amount
			}
			switch {
			case there != 0 && there != 2500 || there != p.Refunded || p.Intent != nil || !p.Next.IsZero():
				return fmt.Errorf("Stripe gave %d back: %+v", there, p)
			case there == 0 && (p.Tries > 1 || s.balance(u) != 1000*credit), there > 0 && (p.Owed != 1500 || s.balance(u) != 0):
				return fmt.Errorf("%v credits, %d owed: %+v", s.balance(u), p.Owed, p)
			}
			return nil
		}},
	}
}

// buyAndPay is a customer who begins a purchase until there is a page, and pays on it.
func (s *till) buyAndPay(u ledger.UserID) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.money() != 0 {
			return nil
		}
		url, err := s.Buy(ctx, "test", u, "10k")
		if err != nil {
			return err
		}
		s.payOn(url[strings.LastIndexByte(url, '/')+1:])
		return nil
	}
}

// workAct is the appliance that does what is due. It may be another one each time.
func (s *till) workAct(ledger.UserID) func(context.Context) error {
	return func(ctx context.Context) error { return s.Work(ctx) }
}

func (s *till) returnAct(u ledger.UserID) func(context.Context) error {
	done := false
	return func(ctx context.Context) error {
		if done {
			return s.Work(ctx)
		}
		done = true
		_, err := s.ReturnPayment(ctx, "test", u, s.last(u).ID, 2500, "sorry")
		var refused *billing.Rejection
		if errors.As(err, &refused) { // and asks once more
			done = false
		}
		return err
	}
}

// endedWith holds that there was one charge, which one payment has, and all others
// were given up; and one grant.
func (s *till) endedWith(u ledger.UserID, kind ledger.PaymentKind, total int64, credits ledger.Amount) error {
	paid := 0
	for _, p := range s.payments(u) {
		if p.Intent != nil || !p.Next.IsZero() || p.Kind != kind {
			return fmt.Errorf("unfinished: %+v", p)
		}
		switch {
		case p.State == ledger.PaymentPaid && p.Total == total:
			paid++
		case p.State != ledger.PaymentGivenUp:
			return fmt.Errorf("left: %+v", p)
		}
	}
	charges := s.stripe.Charges()
	if paid != 1 || len(charges) != 1 || charges[0].Amount != total || s.balance(u) != credits {
		return fmt.Errorf("%d were paid, Stripe has %d charges, there are %v credits", paid, len(charges), s.balance(u))
	}
	return nil
}

// TestEveryPlaceToDieInAPayment ends the process at each place of a purchase, a
// recharge, a charge of usage and a refund, and has Stripe fail in each way at each of
// their requests. With hours between one start and the next, and with more than a day,
// after which Stripe has forgotten the idempotency keys, there is one charge, one grant
// and one refund.
func TestEveryPlaceToDieInAPayment(t *testing.T) {
	type way struct {
		place string
		fault stripetest.FaultKind
	}
	ways := []way{{place: "request"}, {place: "answer"}, {place: "clock"}}
	for _, k := range stripetest.Faults() {
		ways = append(ways, way{"request", k})
	}
	short := []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.ErrorAfter, stripetest.RateLimited}
	for _, d := range dyings() {
		for _, w := range ways {
			if !*long && w.fault != stripetest.NoFault && (raced || !slices.Contains(short, w.fault)) {
				continue
			}
			for _, pause := range []time.Duration{time.Hour, 25 * time.Hour} {
				if !*long && (w.fault != stripetest.NoFault || raced) && pause < 24*time.Hour {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %v, again after %v", d.name, w.place, w.fault, pause), func(t *testing.T) {
					t.Parallel()
					n := 1
					for struck := true; struck; n++ {
						if raced && n%4 != 0 { // which makes it ten times slower
							continue
						}
						// In a bubble a Stripe that hangs costs no time.
						synctest.Test(t, func(t *testing.T) { struck = d.at(t, w.place, w.fault, n, pause) })
					}
					if n <= d.places {
						t.Errorf("only %d places were tried", n-1)
					}
				})
			}
		}
	}
}

// at has the n-th place fail. It is false when there are fewer.
func (d dying) at(t *testing.T, place string, fault stripetest.FaultKind, n int, pause time.Duration) bool {
	refilled := prepaid()
	refilled.ID, refilled.Recharge = "refilled", recharge()
	s := newTill(t, nil, refilled)
	defer s.close()
	u := d.begin(s)
	passed := 0
	s.die = func(here string) bool {
		if here != place || passed >= n {
			return false
		}
		if passed++; passed < n {
			return false
		}
		if fault != stripetest.NoFault {
			s.stripe.Fail(stripetest.Fault{Kind: fault})
		}
		return fault == stripetest.NoFault
	}
	act := d.act(s, u)
	for range 6 {
		for _, do := range []func(context.Context) error{act, s.workAct(u), func(ctx context.Context) error { return s.Poll(ctx) }} {
			var refused *billing.Rejection
			if err := s.try(do); err != nil && !errors.Is(err, billing.ErrUnknown) && !errors.As(err, &refused) {
				t.Errorf("place %d: %v", n, err)
			}
		}
		s.now = s.now.Add(pause)
	}
	s.die = func(string) bool { return false }
	s.later(26 * time.Hour) // pages that nobody has end
	s.later(time.Hour)
	if err := d.check(s, u); err != nil {
		t.Errorf("place %d: %v", n, err)
	}
	s.balanced()
	return passed >= n
}
