package server_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

// newStripe is a Stripe on the clock of a shop that is made after it.
func newStripe(s **shop) *stripetest.Server {
	return stripetest.New(stripetest.Options{Now: func() time.Time { return (*s).now }})
}

// TestNothingIsBilledTwice runs the bill twice, and at once from two terminals.
func TestNothingIsBilledTwice(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	defer s.close()
	for n := range 20 {
		s.customer(fmt.Sprint("c", n), "pro", stripetest.CardGood)
	}
	s.now = s.ledger.PeriodOf(january).End.Add(time.Minute)
	var wg sync.WaitGroup
	sums := make([]billing.Summary, 4)
	for n := range sums {
		wg.Go(func() {
			var err error
			if sums[n], err = s.Run(t.Context(), billing.RunOptions{Month: january}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	charged, revenue := 0, int64(0)
	for _, sum := range sums {
		charged += sum.Charged
		revenue += sum.Revenue
		if sum.Failed != 0 || sum.Charged+sum.Skipped != 20 {
			t.Errorf("a run says %+v", sum)
		}
	}
	if charged != 20 || revenue != 20*3477 || len(s.stripe.Charges()) != 20 || len(s.mails) != 20 {
		t.Errorf("%d users were charged %d in all, Stripe has %d charges, and there were %d mails", charged, revenue, len(s.stripe.Charges()), len(s.mails))
	}
	if _, err := s.Run(t.Context(), billing.RunOptions{Month: january + 1}); err == nil {
		t.Error("a month that has not ended is billed")
	}
}

// TestRestoredBackup puts back a backup of before the bill. What Stripe has is
// adopted, nobody is charged again, and numbers go on.
func TestRestoredBackup(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	ada, bob := s.customer("ada", "pro", stripetest.CardGood), s.customer("bob", "pro", stripetest.CardFailsLater)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.ledger.Backup(t.Context(), backup, nil); err != nil {
		t.Fatal(err)
	}
	late := s.customer("eve", "pro", stripetest.CardGood) // is in no backup
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	if err := s.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.invoice(late, january).State != ledger.Paid {
		t.Fatal("eve has not paid")
	}
	s.close()
	s.path = filepath.Join(t.TempDir(), "restored.db")
	if _, err := ledger.Restore(t.Context(), backup, s.path, s.now, nil); err != nil {
		t.Fatal(err)
	}
	s.open()
	defer s.close()
	s.now = s.now.Add(time.Hour)
	for range 3 {
		if err := s.Work(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if i := s.invoice(ada, january); i.State != ledger.Paid || i.Collected != 3477 || !i.Adopted || i.Number != 1 {
		t.Errorf("ada has %+v", i)
	}
	if i := s.invoice(bob, january); i.State == ledger.Paid || i.Due() != 3477 || i.Number != 2 {
		t.Errorf("bob has %+v", i)
	}
	if n := len(s.stripe.Charges()); n != 2 {
		t.Errorf("Stripe has %d charges, want ada's and eve's", n)
	}
	s.now = s.ledger.PeriodOf(january + 1).End.Add(time.Hour)
	if err := s.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := s.invoice(ada, january+1); i.Number != 4 || i.Total != 4900 || i.State != ledger.Paid {
		t.Errorf("the next month: %+v; eve had number 3", i)
	}
}

// TestANewCardPaysWhatWasGivenUp: an invoice that could not be collected for weeks
// is when the customer gives a card that works, and the suspension ends.
func TestANewCardPaysWhatWasGivenUp(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	defer s.close()
	u := s.customer("ada", "pro", stripetest.CardFailsLater)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	for range 20 {
		if err := s.Work(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(24 * time.Hour)
	}
	user := func() *ledger.User { return s.ledger.Account(u).User() }
	if i := s.invoice(u, january); i.State != ledger.Uncollectible || user().Status != ledger.Suspended {
		t.Fatalf("after weeks the invoice is %+v, the user %s", i, user().Status)
	}
	if err := s.stripe.SetCard(user().StripeCustomer, stripetest.CardGood); err != nil {
		t.Fatal(err)
	}
	for _, work := range []func() error{func() error { return s.Poll(t.Context()) }, func() error { return s.Work(t.Context()) }} {
		if err := work(); err != nil {
			t.Fatal(err)
		}
	}
	if i := s.invoice(u, january); i.State != ledger.Paid || user().Status != ledger.Active || len(s.stripe.Charges()) != 1 {
		t.Errorf("with a new card the invoice is %+v, the user %s", i, user().Status)
	}
}

// TestTwoAppliances puts two ledgers on one account of Stripe: neither touches
// what is the other's.
func TestTwoAppliances(t *testing.T) {
	s := &shop{now: winter}
	at := newStripe(&s)
	s = newShop(t, at, winter)
	defer s.close()
	o := newShop(t, at, winter)
	defer o.close()
	ours, theirs := s.customer("ada", "pro", stripetest.CardGood), o.customer("ada", "pro", stripetest.CardGood)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	o.now = s.now
	for range 2 {
		for _, each := range []*shop{s, o} {
			if err := each.Work(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := each.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b := s.invoice(ours, january), o.invoice(theirs, january)
	if a.State != ledger.Paid || b.State != ledger.Paid || a.Provider == b.Provider || len(at.Charges()) != 2 {
		t.Errorf("%+v and %+v, %d charges", a, b, len(at.Charges()))
	}
	if err := s.Observe(t.Context(), billing.Event{Charge: b.Provider, Customer: o.ledger.Account(theirs).User().StripeCustomer}); err != nil {
		t.Errorf("a hint about the other's: %v", err)
	}
}
