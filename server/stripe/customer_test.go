package stripe_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

func TestCustomer(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	r := billing.CustomerRequest{Owner: owner(7), Key: "customer-7", Personal: ledger.Personal{
		Email: "ann@example.com", Name: "Ann", Company: "Example Ltd", Address: "1 High Street\nLondon\nUK",
	}}
	got, err := s.Client.Customer(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(billing.Customer{Owner: owner(7), ID: got.ID}, got); diff != "" {
		t.Errorf("customer (-want +got):\n%s", diff)
	}
	at, _ := s.Server.Customer(got.ID)
	if at.Name != "Example Ltd" || at.Description != "Ann" || at.Email != "ann@example.com" || at.Address == nil ||
		at.Address.Line1 != "1 High Street" || at.Address.Line2 != "London, UK" {
		t.Errorf("at Stripe: %+v, address %+v", at, at.Address)
	}
	for i, again := range []func(*billing.CustomerRequest){
		func(*billing.CustomerRequest) {},
		func(*billing.CustomerRequest) { s.ForgetKeys() },
		func(r *billing.CustomerRequest) { r.Key = "another" },
	} {
		again(&r)
		if repeat, err := s.Client.Customer(ctx, r); err != nil || repeat != got {
			t.Errorf("again %d: %+v, %v", i, repeat, err)
		}
	}
	// The same address at another ledger, or of another user, is another customer.
	r.User, r.Key = 8, "customer-8"
	if second, err := s.Client.Customer(ctx, r); err != nil || second.ID == got.ID {
		t.Errorf("another user: %+v, %v", second, err)
	}
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	r.Owner, r.Key = billing.Owner{Ledger: "another", Epoch: 1, User: 7}, "another-7"
	if third, err := other.Customer(ctx, r); err != nil || third.ID == got.ID {
		t.Errorf("another ledger: %+v, %v", third, err)
	}
	// An address that changed before the first outcome was known makes another.
	r.Owner, r.Key, r.Personal.Email = owner(7), "customer-7", "bob@example.com"
	if fourth, err := s.Client.Customer(ctx, r); err != nil || fourth.ID == got.ID {
		t.Errorf("another address: %+v, %v", fourth, err)
	}
	// Nobody is taken for someone without an address.
	for i := range 2 {
		r := billing.CustomerRequest{Owner: owner(9), Key: "customer-9"}
		if _, err := s.Client.Customer(ctx, r); err != nil {
			t.Errorf("without an address %d: %v", i, err)
		}
	}
	if n := len(s.Customers()); n != 5 {
		t.Errorf("%d customers, want 5", n)
	}
}

func TestFaultsOfCustomer(t *testing.T) {
	for _, kind := range []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.BadGatewayAfter, stripetest.RateLimited} {
		for n := 1; n <= 2; n++ {
			for _, forgotten := range []bool{false, true} {
				s := newSandbox(t, stripe.Options{})
				r := billing.CustomerRequest{Owner: owner(7), Key: "customer-7", Personal: ledger.Personal{Email: "ann@example.com"}}
				s.Fail(stripetest.Fault{Kind: kind, Nth: n})
				if _, err := s.Client.Customer(t.Context(), r); err == nil {
					t.Errorf("%v of request %d: no error", kind, n)
				}
				if forgotten {
					s.ForgetKeys()
				}
				if _, err := s.Client.Customer(t.Context(), r); err != nil || len(s.Customers()) != 1 {
					t.Errorf("%v of request %d: %v and %d customers", kind, n, err, len(s.Customers()))
				}
			}
		}
	}
}

func TestCheckoutGivesADefault(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	cus := s.customer("")
	method := func() string {
		t.Helper()
		got, err := s.CustomerNow(ctx, cus)
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := s.Server.Customer(cus); at.InvoiceSettings.DefaultPaymentMethod != got.PaymentMethod {
			t.Errorf("it says %q and Stripe has %q", got.PaymentMethod, at.InvoiceSettings.DefaultPaymentMethod)
		}
		return got.PaymentMethod
	}
	checkout := func(key string) string {
		t.Helper()
		s.advance(time.Minute)
		url, err := s.Checkout(ctx, billing.CheckoutRequest{Owner: owner(1), Key: key, Customer: cus, Tier: "pro",
			Success: "http://api.test/ok", Cancel: "http://api.test/no"})
		if err != nil || !strings.HasPrefix(url, "http") {
			t.Fatalf("got %q, %v", url, err)
		}
		all := s.Sessions()
		return all[len(all)-1].ID
	}
	complete := func(session string, card stripetest.Card) {
		t.Helper()
		if _, err := s.CompleteCheckout(session, card); err != nil {
			t.Fatal(err)
		}
	}
	if got := method(); got != "" {
		t.Errorf("before: %q", got)
	}
	session := checkout("checkout-1")
	if again := checkout("checkout-1"); again != session {
		t.Error("the same call made another session")
	}
	if tier := s.Sessions()[0].Metadata["tollgate_tier"]; tier != "pro" {
		t.Errorf("tier %q", tier)
	}
	if got := method(); got != "" {
		t.Errorf("while it is open: %q", got)
	}
	complete(session, stripetest.CardGood)
	first := method()
	if first == "" || method() != first {
		t.Errorf("after: %q", first)
	}
	// A second checkout replaces the card, once; what the customer chooses later stays.
	complete(checkout("checkout-2"), stripetest.CardFailsLater)
	second := method()
	if second == "" || second == first {
		t.Errorf("after the second: %q", second)
	}
	post(t, s, "/v1/customers/"+cus, "invoice_settings[default_payment_method]="+first)
	if got := method(); got != first {
		t.Errorf("the customer's choice is %q, want %q", got, first)
	}
	// The default is taken away: the one that is left is used, now and a day later.
	post(t, s, "/v1/payment_methods/"+first+"/detach", "")
	if got := method(); got != second {
		t.Errorf("after detaching: %q, want %q", got, second)
	}
	s.advance(time.Hour)
	post(t, s, "/v1/customers/"+cus, "invoice_settings[default_payment_method]=")
	if got := method(); got != second {
		t.Errorf("again: %q, want %q", got, second)
	}
	post(t, s, "/v1/payment_methods/"+second+"/detach", "")
	if got := method(); got != "" {
		t.Errorf("without any: %q", got)
	}
}

func TestCustomersThatAreGone(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	r, err := newRequest("DELETE", "/v1/customers/"+cus, "")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.Server.Client().Do(r); err != nil || a.StatusCode != 200 {
		t.Fatal(a, err)
	}
	if got, err := s.CustomerNow(t.Context(), cus); err != nil || !got.Gone || got.ID != cus {
		t.Errorf("got %+v, %v", got, err)
	}
	var refused *billing.Rejection
	if _, err := s.CustomerNow(t.Context(), "cus_none"); !errors.As(err, &refused) || refused.Code != "resource_missing" {
		t.Errorf("got %v", err)
	}
}

func TestPortal(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer("")
	first, err := s.Portal(t.Context(), cus, "http://api.test/dashboard")
	if err != nil || !strings.HasPrefix(first, "http") {
		t.Fatalf("got %q, %v", first, err)
	}
	s.advance(time.Second)
	if second, err := s.Portal(t.Context(), cus, "http://api.test/dashboard"); err != nil || second == first {
		t.Errorf("got %q again, %v", second, err)
	}
}
