package server_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

// backup makes a backup, for restore.
func (s *till) backup() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "backup.db")
	if _, err := s.ledger.Backup(s.t.Context(), path, nil); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// restore loses all that came after a backup.
func (s *till) restore(backup string) {
	s.t.Helper()
	s.close()
	s.path = filepath.Join(memoryDir(s.t), "restored.db")
	if _, err := ledger.Restore(s.t.Context(), backup, s.path, s.now, nil); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// newRefilled is a till with customers on all kinds of plans.
func newRefilled(t *testing.T) (s *till, buyer, refilled, realtime ledger.UserID) {
	t.Helper()
	plan := prepaid()
	plan.ID, plan.Recharge = "refilled", recharge()
	s = newTill(t, func(s *shop) {
		s.settings = func(o *billing.Settings) { sellPacks(o); o.TaxName, o.TaxPercent = "VAT", 19*ledger.Unit }
	}, plan)
	buyer = s.account("ada", "prepaid", "")
	realtime = s.account("bob", "live", stripetest.CardGood)
	refilled = s.account("cleo", "refilled", stripetest.CardGood)
	return s, buyer, refilled, realtime
}

// TestRestoredPayments puts back a backup of before everything was paid. What Stripe
// has is adopted, with its credits, and nobody is charged again.
func TestRestoredPayments(t *testing.T) {
	s, buyer, refilled, realtime := newRefilled(t)
	first := s.bought(buyer, "10k")
	waits := s.buy(buyer, "1k") // in the backup, and paid after it
	backup := s.backup()
	s.now = s.now.Add(time.Minute)
	s.payOn(waits)
	s.hear(billing.Event{Receipt: waits})
	second := s.bought(buyer, "1k")
	s.work() // the recharge
	s.calls(realtime, 70, 1)
	eve := s.account("eve", "prepaid", "") // is in no backup
	s.bought(eve, "10k")
	late := s.buy(buyer, "10k") // is paid after the restore
	s.refund(first, 2380)
	dispute, err := s.stripe.Dispute(second.Provider, "")
	if err != nil {
		t.Fatal(err)
	}
	charges := len(s.stripe.Charges())
	money := s.money()

	s.restore(backup)
	defer s.close()
	s.now = s.now.Add(time.Hour)
	nobody := s.customer("mallory", "prepaid", "") // has eve's id
	if nobody != eve {
		t.Fatalf("user %d, want %d", nobody, eve)
	}
	for range 3 {
		s.later(time.Hour)
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.stripe.Charges()) != charges || s.balance(nobody) != 0 {
		t.Errorf("Stripe has %d charges, and had %d; the new user has %v credits", len(s.stripe.Charges()), charges, s.balance(nobody))
	}
	list := s.payments(buyer)
	if len(list) != 3 || s.balance(buyer) != 9000*credit {
		t.Fatalf("%v credits, %+v", s.balance(buyer), list)
	}
	if p := list[0]; p.Refunded != 2380 || p.Number != 1 {
		t.Errorf("the first, of which 2380 were refunded: %+v", p)
	}
	if p := list[1]; p.State != ledger.PaymentPaid || p.Provider != waits {
		t.Errorf("the one that was paid after the backup: %+v", p)
	}
	if p := list[2]; p.Pack != "1k" || p.Provider != second.Provider || p.Total != 1428 || p.Lines[1].Amount != 228 || p.Disputed != 1428 || p.Credits != 1000*credit || !p.Expires.Equal(second.Expires) {
		t.Errorf("the one that was begun after the backup: %+v", p)
	}
	if p := s.last(refilled); len(s.payments(refilled)) != 1 || p.Kind != ledger.RechargePayment || s.balance(refilled) != 10_000*credit {
		t.Errorf("the recharge: %v credits, %+v", s.balance(refilled), p)
	}
	if got := s.user(realtime).Advance(january); got != 50 {
		t.Errorf("%d of January were charged before", got)
	}
	if s.told(buyer, ledger.CreditsBought) != 1 { // before the backup
		t.Errorf("%d notices", s.told(buyer, ledger.CreditsBought))
	}
	if there := s.ledger.Books()["cash"]; there != money-11_900 {
		t.Errorf("the books have %d, and Stripe %d with eve's", there, money)
	}
	// The page that nobody here has begun is paid.
	s.payOn(late)
	for range 2 {
		s.hear(billing.Event{Receipt: late})
	}
	if p := s.last(buyer); s.balance(buyer) != 19_000*credit || p.Provider != late || s.told(buyer, ledger.CreditsBought) != 2 {
		t.Errorf("%v credits, %+v", s.balance(buyer), p)
	}
	// What was adopted can be given back, and a dispute won.
	if err := s.stripe.CloseDispute(dispute, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.balance(buyer) != 20_000*credit {
		t.Errorf("after the dispute was won: %v", s.balance(buyer))
	}
	if _, err := s.ReturnPayment(t.Context(), "test", refilled, s.last(refilled).ID, 11_900, "sorry"); err != nil || s.balance(refilled) != 0 {
		t.Errorf("given back: %v, %v credits", err, s.balance(refilled))
	}
	s.plan(refilled, "prepaid")
	s.monthEnds(january)
	s.invoiced(realtime, january, ledger.Paid, 50, 0, -50) // its calls are lost
	if there := s.ledger.Books()["cash"]; there != s.money()-11_900 {
		t.Errorf("the books have %d, and Stripe %d with eve's", there, s.money())
	}
}

// TestRestoredMonth: charges and the statement that took them up are both adopted.
func TestRestoredMonth(t *testing.T) {
	s, _, _, realtime := newRefilled(t)
	s.calls(realtime, 10, 1)
	backup := s.backup()
	s.calls(realtime, 200, 1)
	s.monthEnds(january)
	was := s.invoice(realtime, january)
	charges := len(s.stripe.Charges())
	s.restore(backup)
	defer s.close()
	for range 3 {
		s.later(time.Hour)
	}
	i := s.invoice(realtime, january)
	if len(s.stripe.Charges()) != charges || i.Advance != was.Advance || i.State != ledger.Paid || i.Asked() != was.Asked() && was.Number != 0 {
		t.Errorf("Stripe has %d charges, and had %d; the invoice is %+v, and was %+v", len(s.stripe.Charges()), charges, i, was)
	}
	s.balanced()
}

// TestEveryPlaceToDieWhileReconciling ends the process between any two entries and
// at each request: each payment is adopted once.
func TestEveryPlaceToDieWhileReconciling(t *testing.T) {
	for _, place := range []string{"clock", "request", "answer"} {
		n, died := 1, true
		for ; died; n++ {
			s, buyer, refilled, realtime := newRefilled(t)
			waits := s.buy(buyer, "1k")
			backup := s.backup()
			s.payOn(waits)
			s.bought(buyer, "10k")
			s.work()
			s.calls(realtime, 50, 1)
			s.restore(backup)
			passed := 0
			s.die = func(here string) bool {
				if here == place {
					passed++
				}
				return here == place && passed == n
			}
			work := s.workAct(0)
			for range 3 {
				if err := s.try(work); err != nil {
					t.Errorf("%s %d: %v", place, n, err)
				}
				s.now = s.now.Add(time.Hour)
			}
			died = passed >= n
			s.die = func(string) bool { return false }
			s.later(time.Hour)
			if s.balance(buyer) != 11_000*credit || s.balance(refilled) != 10_000*credit || s.user(realtime).Advance(january) != 50 || len(s.payments(buyer)) != 2 || len(s.stripe.Charges()) != 4 {
				t.Errorf("%s %d: %v and %v credits, %+v", place, n, s.balance(buyer), s.balance(refilled), s.payments(buyer))
			}
			s.balanced()
			s.close()
		}
		if n < 6 {
			t.Errorf("%s: only %d places were tried", place, n-1)
		}
	}
}

// sameIds is a till in a second epoch, in which the next payment will have the id of
// one that is lost, with the page of that one. The customer has paid on it, or will.
func sameIds(t *testing.T, paid bool) (s *till, buyer ledger.UserID, lost string, id ledger.PaymentID) {
	t.Helper()
	s, buyer, _, _ = newRefilled(t)
	passes := func() { // an entry
		if _, err := s.ledger.ChangeUser(s.now, "test", buyer, func(u *ledger.User) error { u.External = s.now.String(); return nil }); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(time.Second)
	}
	backup := s.backup()
	for range 40 {
		passes()
	}
	lost = s.buy(buyer, "10k")
	id = s.last(buyer).ID
	if paid {
		s.payOn(lost)
	}
	s.restore(backup)
	s.work()
	for s.ledger.LastSeq() < uint64(id)-1 {
		passes()
	}
	return s, buyer, lost, id
}

// TestSameIdsInTwoEpochs: a payment that is begun after a restore has the id of one
// that is lost. Neither is taken for the other.
func TestSameIdsInTwoEpochs(t *testing.T) {
	s, buyer, lost, id := sameIds(t, false)
	defer s.close()
	again := s.buy(buyer, "10k")
	if s.last(buyer).ID != id {
		t.Fatalf("its id is %d, want %d", s.last(buyer).ID, id)
	}
	s.payOn(lost)
	s.hear(billing.Event{Receipt: lost})
	if p := s.payments(buyer); len(p) != 2 || p[0].State != ledger.PaymentPending || p[1].Provider != lost || s.balance(buyer) != 10_000*credit {
		t.Errorf("%v credits, %+v", s.balance(buyer), p)
	}
	s.payOn(again)
	s.hear(billing.Event{Receipt: again})
	s.hear(billing.Event{Receipt: lost})
	if p := s.payments(buyer); len(p) != 2 || p[0].State != ledger.PaymentPaid || s.balance(buyer) != 20_000*credit {
		t.Errorf("%v credits, %+v", s.balance(buyer), p)
	}
	s.balanced()
}

// TestLostPaymentIsNotFound: what became of a payment is not known for more than a
// day, and Stripe has one with its id, for the same, from before the restore.
func TestLostPaymentIsNotFound(t *testing.T) {
	s, buyer, lost, id := sameIds(t, true)
	defer s.close()
	if p := s.last(buyer); p.Provider != lost || s.balance(buyer) != 10_000*credit {
		t.Fatalf("what is lost was not adopted: %+v", p)
	}
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodPost, Path: "/v1/checkout/sessions", Times: -1})
	if _, err := s.Buy(t.Context(), "test", buyer, "10k"); !errors.Is(err, billing.ErrUnknown) || s.last(buyer).ID != id {
		t.Fatalf("payment %d: %v", s.last(buyer).ID, err)
	}
	s.stripe.Up()
	s.stripe.ForgetKeys()
	s.later(26 * time.Hour)
	s.later(time.Hour)
	if p := s.last(buyer); p.State != ledger.PaymentGivenUp || s.balance(buyer) != 10_000*credit {
		t.Errorf("%v credits, %+v", s.balance(buyer), p)
	}
	s.balanced()
}
