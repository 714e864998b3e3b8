package stripe_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

func TestPay(t *testing.T) {
	cases := []struct {
		card    stripetest.Card
		state   billing.ChargeState
		decline *billing.Decline
		refused string
	}{
		{card: stripetest.CardGood, state: billing.ChargePaid},
		{card: stripetest.CardFailsLater, state: billing.ChargeOpen,
			decline: &billing.Decline{Code: "generic_decline", Message: "Your card was declined."}},
		{card: stripetest.CardNoFunds, state: billing.ChargeOpen,
			decline: &billing.Decline{Code: "insufficient_funds", Message: "Your card has insufficient funds."}},
		{card: stripetest.CardAuthenticate, state: billing.ChargeOpen, decline: &billing.Decline{
			Code: "invoice_payment_intent_requires_action", Authenticate: true,
			Message: "This payment requires additional user action before it can be completed successfully. Payment can be completed using the `PaymentIntent` associated with the invoice.",
		}},
		{card: stripetest.CardAuthenticateOnce, state: billing.ChargeOpen, decline: &billing.Decline{
			Code: "authentication_required", Authenticate: true, Message: "Your card was declined. This transaction requires authentication.",
		}},
		{card: "", refused: "resource_missing"},
	}
	for _, c := range cases {
		t.Run("card "+string(c.card), func(t *testing.T) {
			s := newSandbox(t, stripe.Options{})
			id := s.pushed(s.customer(c.card)).ID
			got, err := s.Pay(t.Context(), billing.PayRequest{Key: "pay-1", ID: id})
			if c.refused != "" {
				var refused *billing.Rejection
				if !errors.As(err, &refused) || refused.Code != c.refused {
					t.Fatalf("got %v, want %s", err, c.refused)
				}
				return
			}
			if err != nil || got.State != c.state {
				t.Fatalf("got %+v, %v, want %s", got, err, c.state)
			}
			if diff := cmp.Diff(c.decline, got.Decline); diff != "" {
				t.Errorf("decline (-want +got):\n%s", diff)
			}
			// The same attempt again says the same, a look later that it failed.
			if again, err := s.Pay(t.Context(), billing.PayRequest{Key: "pay-1", ID: id}); err != nil || !cmp.Equal(got, again) {
				t.Errorf("again: %+v, %v", again, err)
			}
			later, err := s.Charge(t.Context(), id)
			if err != nil || (later.Decline != nil) != (c.decline != nil) || c.decline != nil && later.Decline.Authenticate != c.decline.Authenticate {
				t.Errorf("later: %+v, %v", later.Decline, err)
			}
			// The customer pays on the invoice's page; the next attempt finds it paid.
			if c.decline != nil {
				if err := s.PayInvoice(id, stripetest.CardGood); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"pay-1", "pay-2"} {
				if got, err = s.Pay(t.Context(), billing.PayRequest{Key: key, ID: id}); err != nil || got.State != billing.ChargePaid || got.Paid != 1234 || got.Decline != nil {
					t.Errorf("%s: %+v, %v", key, got, err)
				}
			}
			if n := len(s.Server.Charges()); n != 1 {
				t.Errorf("%d charges, want 1", n)
			}
		})
	}
}

func TestVoidAndSettle(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	ctx := t.Context()
	void := s.pushed(cus)
	for _, key := range []string{"void-1", "void-1", "void-2"} {
		if got, err := s.Void(ctx, key, void.ID); err != nil || got.State != billing.ChargeVoid || got.Invoice != 7 {
			t.Fatalf("%s: %+v, %v", key, got, err)
		}
	}
	r := request(cus)
	r.Key, r.Invoice = "second", 8
	settled, err := s.Push(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"settle-1", "settle-1", "settle-2"} {
		if got, err := s.Settle(ctx, key, settled.ID); err != nil || got.State != billing.ChargePaid {
			t.Fatalf("%s: %+v, %v", key, got, err)
		}
	}
	if n := len(s.Server.Charges()); n != 0 {
		t.Errorf("%d charges, want none", n)
	}
	var refused *billing.Rejection
	if _, err := s.Void(ctx, "void-3", settled.ID); !errors.As(err, &refused) {
		t.Errorf("voiding what is paid: %v", err)
	}
	if _, err := s.Settle(ctx, "settle-3", void.ID); !errors.As(err, &refused) {
		t.Errorf("settling what is void: %v", err)
	}
	if _, err := s.Pay(ctx, billing.PayRequest{Key: "pay", ID: void.ID}); !errors.As(err, &refused) {
		t.Errorf("collecting what is void: %v", err)
	}
}

func TestCredit(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	ctx := t.Context()
	paid := s.paid(cus)
	refund := billing.CreditRequest{Owner: owner(1), Key: "refund-1", ID: paid.ID, Amount: 234, Reason: "An outage", Refund: true}
	for i := range 3 {
		got, err := s.Credit(ctx, refund)
		if err != nil || got.Refunded != 234 || got.Credited != 0 || got.Paid != 1234 || got.State != billing.ChargePaid {
			t.Fatalf("refund %d: %+v, %v", i, got, err)
		}
		if i == 1 {
			s.ForgetKeys()
		}
	}
	refund.Key, refund.Amount = "refund-2", 1000
	if got, err := s.Credit(ctx, refund); err != nil || got.Refunded != 1234 {
		t.Errorf("the rest: %+v, %v", got, err)
	}
	var refused *billing.Rejection
	refund.Key = "refund-3"
	if _, err := s.Credit(ctx, refund); !errors.As(err, &refused) {
		t.Errorf("more than was paid: %v", err)
	}

	r := request(cus)
	r.Key, r.Invoice = "second", 8
	open, err := s.Push(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	credit := billing.CreditRequest{Owner: owner(1), Key: "credit-1", ID: open.ID, Amount: 200, Reason: "An outage"}
	for i := range 2 {
		if got, err := s.Credit(ctx, credit); err != nil || got.Credited != 200 || got.Refunded != 0 || got.State != billing.ChargeOpen {
			t.Fatalf("credit %d: %+v, %v", i, got, err)
		}
	}
	if got, err := s.Pay(ctx, billing.PayRequest{Key: "pay-2", ID: open.ID}); err != nil || got.Paid != 1034 || got.Credited != 200 {
		t.Errorf("paid after a credit: %+v, %v", got, err)
	}
	for _, wrong := range []int64{0, -1} {
		credit.Key, credit.Amount = fmt.Sprint("wrong", wrong), wrong
		if _, err := s.Credit(ctx, credit); !errors.As(err, &refused) {
			t.Errorf("a credit of %d: %v", wrong, err)
		}
	}
}

// TestFaultsOfCredit breaks each request of a refund.
func TestFaultsOfCredit(t *testing.T) {
	for _, kind := range []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.RateLimited} {
		for n := 1; n <= 4; n++ {
			for _, forgotten := range []bool{false, true} {
				s := newSandbox(t, stripe.Options{})
				paid := s.paid(s.customer(stripetest.CardGood))
				s.Fail(stripetest.Fault{Kind: kind, Nth: n})
				r := billing.CreditRequest{Owner: owner(1), Key: "refund-1", ID: paid.ID, Amount: 234, Refund: true}
				_, err := s.Credit(t.Context(), r)
				if err == nil {
					t.Errorf("%v of request %d: no error", kind, n)
				}
				if forgotten {
					s.ForgetKeys()
				}
				if got, err := s.Credit(t.Context(), r); err != nil || got.Refunded != 234 || len(s.Refunds()) != 1 {
					t.Errorf("%v of request %d: %+v, %v", kind, n, got, err)
				}
			}
		}
	}
}

// TestFaultsOfVoidAndSettle breaks each request of voiding and settling.
func TestFaultsOfVoidAndSettle(t *testing.T) {
	for _, kind := range []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.RateLimited} {
		for n := 1; n <= 2; n++ {
			s := newSandbox(t, stripe.Options{})
			cus := s.customer(stripetest.CardGood)
			calls := map[billing.ChargeState]func(id string) (billing.Charge, error){
				billing.ChargeVoid: func(id string) (billing.Charge, error) { return s.Void(t.Context(), "void", id) },
				billing.ChargePaid: func(id string) (billing.Charge, error) { return s.Settle(t.Context(), "settle", id) },
			}
			for state, call := range calls {
				r := request(cus)
				r.Key = string(state)
				r.Invoice = 10
				if state == billing.ChargeVoid {
					r.Invoice = 11
				}
				open, err := s.Push(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				s.Fail(stripetest.Fault{Kind: kind, Nth: n})
				if _, err := call(open.ID); err == nil {
					t.Errorf("%v of request %d of %s: no error", kind, n, state)
				}
				if got, err := call(open.ID); err != nil || got.State != state {
					t.Errorf("%v of request %d of %s: %+v, %v", kind, n, state, got, err)
				}
			}
		}
	}
}

func TestDisputes(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	paid := s.paid(s.customer(stripetest.CardGood))
	dispute, err := s.Dispute(paid.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want bool) {
		t.Helper()
		if got, err := s.Charge(t.Context(), paid.ID); err != nil || got.Disputed != want {
			t.Errorf("%s: %+v, %v", when, got, err)
		}
	}
	check("when it was disputed", true)
	if err := s.CloseDispute(dispute, true); err != nil {
		t.Fatal(err)
	}
	check("when it was won", false)
}

func TestChargesAreOldestFirst(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	none := func(billing.Charge) error { t.Error("there is one"); return nil }
	if err := s.Client.Charges(t.Context(), testLedger, none); err != nil {
		t.Error(err)
	}
	var want []string
	for i := range 230 {
		s.advance(time.Second)
		r := request(cus)
		r.Key, r.Invoice, r.Lines = fmt.Sprint("push", i), 100, []billing.ChargeLine{{Amount: 1234}}
		r.Invoice += ledger.InvoiceID(i)
		client := s.Client
		if i%10 == 3 {
			client, r.Ledger = other, "another"
		}
		got, err := client.Push(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if client == s.Client {
			want = append(want, got.ID)
		}
	}
	var got []string
	if err := s.Client.Charges(t.Context(), testLedger, func(c billing.Charge) error {
		got = append(got, c.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("charges (-want +got):\n%s", diff)
	}
	enough := errors.New("enough")
	if err := s.Client.Charges(t.Context(), testLedger, func(billing.Charge) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}
