package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe/stripetest"
)

// newBill is a shop with one customer, whose January of 34.77 has been worked at.
func newBill(t *testing.T, card stripetest.Card) (*shop, ledger.UserID) {
	t.Helper()
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	t.Cleanup(s.close)
	u := s.customer("ada", "pro", card)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	s.work()
	return s, u
}

func (s *shop) work() {
	s.t.Helper()
	if err := s.Work(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// byHand does at Stripe what somebody does in its dashboard.
func (s *shop) byHand(path string, form ...string) {
	s.t.Helper()
	v := url.Values{}
	for n := 0; n < len(form); n += 2 {
		v.Set(form[n], form[n+1])
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://stripe"+path, strings.NewReader(v.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer sk_test_shop")
	res, err := s.stripe.Transport().RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s", path, res.Status)
	}
}

// TestRefundIsGivenOnce: what became of a refund is not known for more than a day,
// after which Stripe has forgotten the key. It is not given again.
func TestRefundIsGivenOnce(t *testing.T) {
	s, u := newBill(t, stripetest.CardGood)
	i := s.invoice(u, january)
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutAfter, Method: http.MethodPost, Path: "/v1/credit_notes"})
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodGet, Path: "/v1/credit_notes", Nth: 2, Times: -1})
	if _, err := s.Refund(t.Context(), "test", i.ID, 1000, "sorry"); !errors.Is(err, billing.ErrUnknown) {
		t.Fatalf("the outcome is %v", err)
	}
	s.stripe.Up()
	s.now = s.now.Add(26 * time.Hour)
	s.stripe.ForgetKeys()
	s.work()
	if i = s.invoice(u, january); len(s.stripe.Refunds()) != 1 || i.Refunded != 1000 || i.Intent != nil {
		t.Errorf("Stripe has %d refunds; the invoice is %+v", len(s.stripe.Refunds()), i)
	}
}

// TestRefusedWishChangesNothing: what Stripe refuses leaves the invoice as it was,
// with its next attempt to collect and why the last one failed.
func TestRefusedWishChangesNothing(t *testing.T) {
	s, u := newBill(t, stripetest.CardAuthenticate)
	was := s.invoice(u, january)
	if was.State != ledger.PastDue || was.Next.IsZero() || was.Failure == "" {
		t.Fatalf("the invoice is %+v", was)
	}
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.RateLimited, Method: http.MethodPost, Times: -1})
	var refused *billing.Rejection
	if _, err := s.Void(t.Context(), "test", was.ID, "sorry"); !errors.As(err, &refused) {
		t.Errorf("to void it: %v", err)
	}
	if _, err := s.Credit(t.Context(), "test", was.ID, 100, "sorry"); !errors.As(err, &refused) {
		t.Errorf("to credit it: %v", err)
	}
	if is := s.invoice(u, january); is.State != was.State || !is.Next.Equal(was.Next) || is.Failure != was.Failure || is.Intent != nil {
		t.Errorf("the invoice is %+v, and was %+v", is, was)
	}
	if _, err := s.Credit(t.Context(), "test", was.ID, 3477-49, "sorry"); !errors.Is(err, billing.ErrNotNow) {
		t.Errorf("49 cents can be left, which nobody can pay: %v", err)
	}
}

// TestCreditBeforeStripeHasIt: what was taken off an invoice that Stripe does not
// have yet is not collected.
func TestCreditBeforeStripeHasIt(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	defer s.close()
	u := s.customer("ada", "pro", stripetest.CardGood)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	s.stripe.Down(12 * time.Hour)
	if err := s.Work(t.Context()); !errors.Is(err, billing.ErrUnknown) {
		t.Errorf("with Stripe down: %v", err)
	}
	i := s.invoice(u, january)
	if _, err := s.Credit(t.Context(), "test", i.ID, 1000, "sorry"); i.State != ledger.Issued || err != nil && !errors.Is(err, billing.ErrUnknown) {
		t.Fatalf("%+v: %v", i, err)
	}
	s.now = s.now.Add(24 * time.Hour)
	s.work()
	s.work()
	i = s.invoice(u, january)
	if c := s.stripe.Charges(); i.State != ledger.Paid || i.Collected != 2477 || i.Credited != 1000 || len(c) != 1 || c[0].Amount != 2477 {
		t.Errorf("charged %+v; the invoice is %+v", c, i)
	}
}

// TestDoneInTheDashboard: what somebody does to our invoices at Stripe itself is
// taken up, also where no event told of it.
func TestDoneInTheDashboard(t *testing.T) {
	t.Run("credited, then paid", func(t *testing.T) {
		s, u := newBill(t, stripetest.CardFailsLater)
		i := s.invoice(u, january)
		s.byHand("/v1/credit_notes", "invoice", i.Provider, "amount", "1000")
		if err := s.stripe.PayInvoice(i.Provider, stripetest.CardGood); err != nil {
			t.Fatal(err)
		}
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i = s.invoice(u, january); i.State != ledger.Paid || i.Credited != 1000 || i.Collected != 2477 {
			t.Errorf("the invoice is %+v", i)
		}
	})
	t.Run("paid and refunded", func(t *testing.T) {
		s, u := newBill(t, stripetest.CardFailsLater)
		i := s.invoice(u, january)
		if err := s.stripe.PayInvoice(i.Provider, stripetest.CardGood); err != nil {
			t.Fatal(err)
		}
		s.byHand("/v1/refunds", "charge", s.stripe.Charges()[0].ID, "amount", "477")
		if err := s.Observe(t.Context(), billing.Event{Charge: i.Provider}); err != nil {
			t.Fatal(err)
		}
		if i = s.invoice(u, january); i.State != ledger.Paid || i.Collected != 3477 || i.Refunded != 477 {
			t.Errorf("the invoice is %+v", i)
		}
	})
	t.Run("void, and the attempt to collect is refused", func(t *testing.T) {
		s, u := newBill(t, stripetest.CardFailsLater)
		i := s.invoice(u, january)
		s.byHand("/v1/invoices/" + i.Provider + "/void")
		if _, err := s.Retry(t.Context(), "test", i.ID); err == nil {
			t.Error("it can be collected")
		}
		if i = s.invoice(u, january); i.State != ledger.Void || i.Intent != nil || s.ledger.Account(u).User().Owes() {
			t.Errorf("the invoice is %+v", i)
		}
	})
}

// TestPaidElsewhere: money that did not come through Stripe does not go back
// through it; and what was paid there cannot be paid elsewhere too.
func TestPaidElsewhere(t *testing.T) {
	s, u := newBill(t, stripetest.CardFailsLater)
	i := s.invoice(u, january)
	if _, err := s.MarkPaid(t.Context(), "test", i.ID, "transfer 7"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Refund(t.Context(), "test", i.ID, 1000, "sorry"); err != nil {
		t.Errorf("to give a transfer back: %v", err)
	}
	if i = s.invoice(u, january); i.PaidBy != "transfer 7" || i.Refunded != 1000 || i.Collected != 3477 {
		t.Errorf("the invoice is %+v", i)
	}

	s, u = newBill(t, stripetest.CardFailsLater)
	i = s.invoice(u, january)
	if err := s.stripe.PayInvoice(i.Provider, stripetest.CardGood); err != nil {
		t.Fatal(err)
	}
	if _, err := s.MarkPaid(t.Context(), "test", i.ID, "transfer 8"); !errors.Is(err, billing.ErrNotNow) {
		t.Errorf("paid twice: %v", err)
	}
	if i = s.invoice(u, january); i.State != ledger.Paid || i.PaidBy != "" {
		t.Errorf("the invoice is %+v", i)
	}
}

// TestRestoredVoid: a month whose invoice was made void after the backup counts
// as billed, and a draft is nothing that can be collected.
func TestRestoredVoid(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	ada := s.customer("ada", "pro", stripetest.CardGood)
	void := s.customer("bob", "pro", stripetest.CardFailsLater)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.ledger.Backup(t.Context(), backup, nil); err != nil {
		t.Fatal(err)
	}
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	s.work()
	if _, err := s.Void(t.Context(), "test", s.invoice(void, january).ID, "sorry"); err != nil {
		t.Fatal(err)
	}
	s.now = s.ledger.PeriodOf(january + 1).End.Add(time.Hour)
	s.work() // february: ada's is adopted below, with january before it
	s.close()
	s.path = filepath.Join(t.TempDir(), "restored.db")
	if _, err := ledger.Restore(t.Context(), backup, s.path, s.now, nil); err != nil {
		t.Fatal(err)
	}
	s.open()
	defer s.close()
	for range 2 {
		s.now = s.now.Add(time.Hour)
		s.work()
	}
	if i := s.invoice(void, january); i.State != ledger.Void || !i.Adopted {
		t.Errorf("the void invoice is %+v", i)
	}
	if i := s.invoice(ada, january+1); i.State != ledger.Paid || !i.Adopted || len(s.stripe.Charges()) != 2 {
		t.Errorf("ada's is %+v; Stripe has %d charges", i, len(s.stripe.Charges()))
	}
}

// TestDraftIsSent: a ledger was restored while Stripe had a draft of an invoice
// that the backup has too.
func TestDraftIsSent(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	u := s.customer("ada", "pro", stripetest.CardGood)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodPost, Path: "/v1/invoiceitems", Times: -1})
	if err := s.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := s.invoice(u, january); i.Intent == nil || len(s.stripe.Invoices()) != 1 {
		t.Fatalf("%+v", i)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.ledger.Backup(t.Context(), backup, nil); err != nil {
		t.Fatal(err)
	}
	s.close()
	s.stripe.Up()
	s.path = filepath.Join(t.TempDir(), "restored.db")
	if _, err := ledger.Restore(t.Context(), backup, s.path, s.now, nil); err != nil {
		t.Fatal(err)
	}
	s.open()
	defer s.close()
	for range 3 {
		s.now = s.now.Add(2 * time.Hour)
		s.work()
	}
	if i := s.invoice(u, january); i.State != ledger.Paid || len(s.stripe.Charges()) != 1 {
		t.Errorf("the invoice is %+v", i)
	}
}

// TestFewKeepNobodyBack: three invoices of which nothing can be learned do not
// keep the others from being collected.
func TestFewKeepNobodyBack(t *testing.T) {
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	defer s.close()
	var users []ledger.UserID
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		users = append(users, s.customer(name, "pro", stripetest.CardGood))
	}
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	pay := func(id string) stripetest.Fault {
		return stripetest.Fault{Kind: stripetest.ErrorBefore, Method: http.MethodPost, Path: "/v1/invoices/" + id + "/pay", Times: -1}
	}
	cancel := s.stripe.Fail(pay("*"))
	s.work()
	cancel()
	for _, u := range users[:3] {
		s.stripe.Fail(pay(s.invoice(u, january).Provider))
	}
	s.now = s.now.Add(time.Minute)
	s.work()
	for n, u := range users {
		if paid := s.invoice(u, january).State == ledger.Paid; paid != (n > 2) {
			t.Errorf("customer %d: paid is %v", n, paid)
		}
	}
	s.stripe.Up()
	s.now = s.now.Add(time.Hour)
	s.work()
	if n := len(s.stripe.Charges()); n != len(users) {
		t.Errorf("Stripe has %d charges in the end", n)
	}
}

// TestEveryPlaceToDieInARefund ends the process at each place of a refund and of
// a credit, and has Stripe fail in each way at each of their requests: they are
// done once, or not at all where they were not begun.
func TestEveryPlaceToDieInARefund(t *testing.T) {
	type way struct {
		place string
		fault stripetest.FaultKind
	}
	ways := []way{{place: "request"}, {place: "answer"}, {place: "clock"}}
	for _, k := range stripetest.Faults() {
		if !strings.HasPrefix(k.String(), "hang") { // which takes its time, and ends as a cut does
			ways = append(ways, way{"request", k})
		}
	}
	if raced { // which makes it ten times slower
		ways = ways[:4]
	}
	for _, w := range ways {
		for _, pause := range []time.Duration{time.Hour, 25 * time.Hour} {
			for _, refund := range []bool{true, false} {
				n := 1
				for giveBackAt(t, w.place, w.fault, n, pause, refund) {
					n++
				}
				if n < 4 {
					t.Errorf("%s, %v: only %d places were tried", w.place, w.fault, n-1)
				}
			}
		}
	}
}

// giveBackAt has the n-th place fail. It is false when there are fewer.
func giveBackAt(t *testing.T, place string, fault stripetest.FaultKind, n int, pause time.Duration, refund bool) bool {
	card, wish := stripetest.CardFailsLater, (*shop).credit10
	if refund {
		card, wish = stripetest.CardGood, (*shop).refund10
	}
	s := &shop{now: winter}
	s = newShop(t, newStripe(&s), winter)
	defer s.close()
	u := s.customer("ada", "pro", card)
	s.now = s.ledger.PeriodOf(january).End.Add(time.Hour)
	s.work()
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
	err := s.try(func(ctx context.Context) error { return wish(s, ctx) })
	begun := err == nil || !errors.Is(err, billing.ErrNotNow)
	for range 3 {
		s.now = s.now.Add(pause)
		_ = s.try(s.Work) // what fails is tried again
	}
	s.die = func(string) bool { return false }
	s.stripe.Up()
	s.now = s.now.Add(time.Hour)
	s.work()
	i := s.invoice(u, january)
	var there int64
	for _, r := range s.stripe.Refunds() {
		there += r.Amount
	}
	ours := i.Refunded
	if !refund {
		at, _ := s.stripe.Invoice(i.Provider)
		there, ours = at.PrePaymentCredit, i.Credited
	}
	if i.Intent != nil || ours != there || there != 0 && there != 1000 || !begun {
		t.Errorf("%s %d, %v, refund %v: ours is %d, and Stripe's %d; the invoice is %+v", place, n, fault, refund, ours, there, i)
	}
	return passed >= n
}

func (s *shop) refund10(ctx context.Context) error {
	_, err := s.Refund(ctx, "test", 1, 1000, "sorry")
	return err
}

func (s *shop) credit10(ctx context.Context) error {
	_, err := s.Credit(ctx, "test", 1, 1000, "sorry")
	return err
}
