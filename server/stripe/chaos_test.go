package stripe_test

import (
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
}

func (d *trouble) RoundTrip(r *http.Request) (*http.Response, error) {
	kinds := []stripetest.FaultKind{
		stripetest.Refuse, stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter,
		stripetest.BadGatewayBefore, stripetest.BadGatewayAfter, stripetest.RateLimited, stripetest.ForgetKeys,
	}
	if d.left > 0 && d.rand.IntN(5) < 2 {
		d.left--
		defer d.s.Fail(stripetest.Fault{Kind: kinds[d.rand.IntN(len(kinds))]})()
	}
	return d.RoundTripper.RoundTrip(r)
}

// TestManyFaults takes a user from nothing to a paid and partly refunded invoice
// while two of five requests break. Each call is made again as billing does: with
// the same key while its outcome is unknown, under a new one after a refusal that
// says later, or a day. All there is in the end is one of each.
func TestManyFaults(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSandbox(t, stripe.Options{})
		client := newClient(t, stripe.Options{Now: s.clock, HTTP: &trouble{RoundTripper: s.Transport(), s: s, rand: random, left: 30}})
		ctx := t.Context()
		until := func(what string, call func(attempt, try int) error) {
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
					t.Fatalf("seed %d: %s has no end: %v", seed, what, err)
				case errors.As(err, &refused) && !refused.Retry:
					t.Fatalf("seed %d: %s: %v", seed, what, err)
				case refused != nil:
					attempt++
				case !errors.Is(err, billing.ErrUnknown):
					t.Fatalf("seed %d: %s: %v", seed, what, err)
				case random.IntN(6) == 0:
					s.advance(25 * time.Hour)
					attempt++
				}
			}
		}
		var customer billing.Customer
		until("the customer", func(int, int) (err error) {
			customer, err = client.Customer(ctx, billing.CustomerRequest{Owner: owner(1), Key: "customer", Personal: ledger.Personal{Email: "ann@example.com"}})
			return err
		})
		if err := s.SetCard(customer.ID, stripetest.CardGood); err != nil {
			t.Fatal(err)
		}
		var charge billing.Charge
		until("sending", func(attempt, try int) (err error) {
			r := request(customer.ID)
			r.Key, r.Fresh = fmt.Sprint("push-", attempt), try == 1
			charge, err = client.Push(ctx, r)
			return err
		})
		id := charge.ID
		until("collecting", func(attempt, _ int) (err error) {
			charge, err = client.Pay(ctx, billing.PayRequest{Key: fmt.Sprint("pay-", attempt), ID: id})
			return err
		})
		if charge.State != billing.ChargePaid || charge.Paid != 1234 {
			t.Errorf("seed %d: %+v", seed, charge)
		}
		until("the refund", func(int, int) (err error) {
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
