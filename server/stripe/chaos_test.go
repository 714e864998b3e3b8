package stripe_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// trouble breaks requests at random.
type trouble struct {
	http.RoundTripper
	s    *sandbox
	rand *rand.Rand
	left int // how many it breaks yet, so that there is an end
	// remembers tells that keys are not forgotten before their day is over.
	remembers bool
}

func (d *trouble) RoundTrip(r *http.Request) (*http.Response, error) {
	kinds := []stripetest.FaultKind{
		stripetest.Refuse, stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter,
		stripetest.BadGatewayBefore, stripetest.BadGatewayAfter, stripetest.RateLimited,
	}
	if !d.remembers {
		kinds = append(kinds, stripetest.ForgetKeys)
	}
	if d.left > 0 && d.rand.IntN(5) < 2 {
		d.left--
		defer d.s.Fail(stripetest.Fault{Kind: kinds[d.rand.IntN(len(kinds))]})()
	}
	return d.RoundTripper.RoundTrip(r)
}

// TestManyFaults takes a user from nothing to a paid and partly refunded invoice
// while two of five requests break. All there is in the end is one of each.
func TestManyFaults(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSandbox(t, stripe.Options{})
		client := newClient(t, stripe.Options{Now: s.clock, HTTP: &trouble{RoundTripper: s.Transport(), s: s, rand: random, left: 30}})
		ctx := t.Context()
		var customer billing.Customer
		s.until(t, random, "the customer", func(int, int) (err error) {
			customer, err = client.Customer(ctx, billing.CustomerRequest{Owner: owner(1), Key: "customer", Personal: ledger.Personal{Email: "ann@example.com"}})
			return err
		})
		if err := s.SetCard(customer.ID, stripetest.CardGood); err != nil {
			t.Fatal(err)
		}
		var charge billing.Charge
		s.until(t, random, "sending", func(attempt, try int) (err error) {
			r := request(customer.ID)
			r.Key, r.Fresh = fmt.Sprint("push-", attempt), try == 1
			charge, err = client.Push(ctx, r)
			return err
		})
		id := charge.ID
		s.until(t, random, "collecting", func(attempt, _ int) (err error) {
			charge, err = client.Pay(ctx, billing.PayRequest{Key: fmt.Sprint("pay-", attempt), ID: id})
			return err
		})
		if charge.State != billing.ChargePaid || charge.Paid != 1234 {
			t.Errorf("seed %d: %+v", seed, charge)
		}
		s.until(t, random, "the refund", func(int, int) (err error) {
			charge, err = client.Credit(ctx, billing.CreditRequest{Owner: owner(1), Key: "refund", ID: id, Amount: 34, Refund: true})
			return err
		})
		if charge.Refunded != 34 || charge.Credited != 0 {
			t.Errorf("seed %d: %+v", seed, charge)
		}
		if c, i, p, r := len(s.Customers()), len(s.Invoices()), len(s.Server.Charges()), len(s.Refunds()); c != 1 || i != 1 || p != 1 || r != 1 {
			t.Errorf("seed %d: %d customers, %d invoices, %d payments, %d refunds, want one of each", seed, c, i, p, r)
		}
	}
}

// until makes a call again and again, as billing does, until it has an outcome: with
// the same key while that is unknown, under a new one after a refusal that says later,
// or a day.
func (s *sandbox) until(t *testing.T, random *rand.Rand, what string, call func(attempt, try int) error) {
	t.Helper()
	attempt := 1
	for try := 1; ; try++ {
		err := call(attempt, try)
		if err == nil {
			return
		}
		var refused *billing.Rejection
		switch {
		case try == 40:
			t.Fatalf("%s has no end: %v", what, err)
		case errors.As(err, &refused) && !refused.Retry:
			t.Fatalf("%s: %v", what, err)
		case refused != nil:
			attempt++
		case !errors.Is(err, billing.ErrUnknown):
			t.Fatalf("%s: %v", what, err)
		case random.IntN(6) == 0:
			s.advance(25 * time.Hour)
			attempt++
		}
	}
}

// TestManyFaultsOfPayments buys a pack, collects usage and gives a part of both back
// while two of five requests break. Before a payment is tried under a new key it is
// looked for, as billing does. All there is in the end is one of each.
func TestManyFaultsOfPayments(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 4))
		s := newSandbox(t, stripe.Options{})
		customer := s.customer(stripetest.CardGood)
		client := newClient(t, stripe.Options{Now: s.clock, HTTP: &trouble{RoundTripper: s.Transport(), s: s, rand: random, left: 30, remembers: true}})
		ctx := t.Context()
		made := func(what string, r billing.PaymentRequest, call func(context.Context, billing.PaymentRequest) (billing.Receipt, error)) (got billing.Receipt) {
			key, last := r.Key, 1
			s.until(t, random, what, func(attempt, _ int) error {
				if attempt != last {
					found, ok, err := client.FindReceipt(ctx, r)
					if err != nil || ok {
						got = found
						return err
					}
					last, r.Key = attempt, fmt.Sprint(key, "-", attempt)
				}
				var err error
				got, err = call(ctx, r)
				return err
			})
			return got
		}
		page := made("the page", pack(customer), client.PayPage)
		var paid []billing.Receipt
		if page.State == billing.ReceiptOpen { // else it was found when it had expired
			s.payOn(page.ID, stripetest.CardGood)
			paid = append(paid, page)
		}
		paid = append(paid, made("collecting", s.usage(customer), client.Collect))
		for n, of := range paid {
			var got billing.Receipt
			s.until(t, random, "the refund", func(int, int) (err error) {
				got, err = client.Return(ctx, billing.ReturnRequest{Owner: owner(1), Key: fmt.Sprint("return", n), ID: of.ID, Part: "first", Amount: 34})
				return err
			})
			if got.ID != of.ID || got.State != billing.ReceiptPaid || got.Refunded != 34 {
				t.Errorf("seed %d: %+v", seed, got)
			}
		}
		if p, c, r := len(s.Sessions()), len(s.Server.Charges()), len(s.Refunds()); p != 1 || c != len(paid) || r != len(paid) {
			t.Errorf("seed %d: %d pages, %d payments, %d refunds, want 1, %d and %d", seed, p, c, r, len(paid), len(paid))
		}
	}
}
