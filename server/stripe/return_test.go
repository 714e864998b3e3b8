package stripe_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// giveBack is a return of 2.34.
func giveBack(id string) billing.ReturnRequest {
	return billing.ReturnRequest{Owner: owner(1), Key: "return-1", ID: id, Part: "credits/17", Amount: 234, Reason: strings.Repeat("Not needed – ", 60)}
}

func TestReturn(t *testing.T) {
	for _, on := range []string{"a page", "a card"} {
		t.Run(on, func(t *testing.T) {
			s := newSandbox(t, stripe.Options{})
			ctx := t.Context()
			cus := s.customer(stripetest.CardGood)
			var id string
			if on == "a page" {
				id = s.page(pack(cus)).ID
				s.payOn(id, stripetest.CardGood)
			} else {
				id = s.collected(s.usage(cus)).ID
			}
			total := s.receipt(id).Total
			r := giveBack(id)
			again := func(what string) {
				t.Helper()
				got, err := s.Return(ctx, r)
				if err != nil || got.ID != id || got.State != billing.ReceiptPaid || got.Refunded != 234 || got.Total != total {
					t.Errorf("%s: %+v, %v", what, got, err)
				}
			}
			again("once")
			again("again")
			s.advance(25 * time.Hour)
			again("a day later")
			r.Key = "return-2"
			again("the same part with another key")
			if m := s.Refunds()[0].Metadata; m["tollgate_part"] != r.Part || m["tollgate_ledger"] != testLedger || !strings.HasPrefix(m["tollgate_reason"], "Not needed") {
				t.Errorf("the refund carries %v", m)
			}
			// The rest is another part, and then there is nothing left.
			rest := giveBack(id)
			rest.Key, rest.Part, rest.Amount = "return-3", "the rest", total-234
			if got, err := s.Return(ctx, rest); err != nil || got.Refunded != total {
				t.Errorf("the rest: %+v, %v", got, err)
			}
			if got, err := s.Return(ctx, rest); err != nil || got.Refunded != total {
				t.Errorf("the rest again: %+v, %v", got, err)
			}
			more := giveBack(id)
			more.Key, more.Part = "return-4", "more"
			var refused *billing.Rejection
			if _, err := s.Return(ctx, more); !errors.As(err, &refused) || refused.Code != "charge_already_refunded" {
				t.Errorf("more than was paid: %v", err)
			}
			if n := len(s.Refunds()); n != 2 {
				t.Errorf("%d refunds, want 2", n)
			}
		})
	}
}

func TestReturnsThatAreRefused(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	paid := s.collected(s.usage(cus)).ID
	waits := s.page(pack(cus)).ID
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	theirs := s.usage(cus)
	theirs.Ledger, theirs.Key = "another", "theirs"
	foreign, err := other.Collect(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	bad := s.usage(cus)
	if err := s.SetCard(cus, stripetest.CardFailsLater); err != nil {
		t.Fatal(err)
	}
	bad.Key, bad.Method = "bad", s.usage(cus).Method
	declined := s.collected(bad).ID
	for _, c := range []struct {
		name   string
		change func(*billing.ReturnRequest)
		code   string
	}{
		{"nothing", func(r *billing.ReturnRequest) { r.Amount = 0 }, "invalid_amount"},
		{"less than nothing", func(r *billing.ReturnRequest) { r.Amount = -1 }, "invalid_amount"},
		{"no part", func(r *billing.ReturnRequest) { r.Part = "" }, "invalid_amount"},
		{"for another ledger", func(r *billing.ReturnRequest) { r.Ledger = "another" }, "not_ours"},
		{"another ledger's payment", func(r *billing.ReturnRequest) { r.ID = foreign.ID }, "not_ours"},
		{"a page that waits", func(r *billing.ReturnRequest) { r.ID = waits }, "not_paid"},
		{"a payment that was declined", func(r *billing.ReturnRequest) { r.ID = declined }, "invalid_request_error"},
		{"more than was paid", func(r *billing.ReturnRequest) { r.Amount = 1235 }, "invalid_request_error"},
		{"no payment", func(r *billing.ReturnRequest) { r.ID = "pi_none" }, "resource_missing"},
	} {
		r := giveBack(paid)
		r.Key = c.name
		c.change(&r)
		var refused *billing.Rejection
		if got, err := s.Return(t.Context(), r); !errors.As(err, &refused) || refused.Code != c.code {
			t.Errorf("%s: %+v, %v, want %s", c.name, got, err, c.code)
		}
	}
	if n := len(s.Refunds()); n != 0 {
		t.Errorf("%d refunds", n)
	}
}

// TestReturnsThatFailed: what a bank could not take was not given back.
func TestReturnsThatFailed(t *testing.T) {
	for status, want := range map[string]bool{"failed": true, "canceled": true, "succeeded": false, "pending": false, "requires_action": false} {
		posts := 0
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
			ours := `"metadata":{"tollgate_ledger":"` + testLedger + `","tollgate_part":"credits/17","tollgate_payment":"41"}`
			switch {
			case r.Method == http.MethodPost:
				posts++
				return response(200, `{"id":"re_2","object":"refund","status":"pending"}`), nil
			case r.URL.Path == "/v1/refunds":
				return response(200, `{"object":"list","data":[{"id":"re_1","object":"refund","status":"`+status+`",`+ours+`}]}`), nil
			}
			return response(200, `{"id":"pi_1","object":"payment_intent","status":"succeeded","amount":500,"currency":"usd",`+ours+`}`), nil
		})})
		if _, err := client.Return(t.Context(), giveBack("pi_1")); err != nil || (posts == 1) != want {
			t.Errorf("%s: %d refunds were made, %v", status, posts, err)
		}
	}
}
