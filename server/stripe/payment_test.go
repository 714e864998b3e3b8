package stripe_test

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// pack is the purchase of credits for 100.00 on a page.
func pack(customer string) billing.PaymentRequest {
	return billing.PaymentRequest{
		Owner: owner(1), Key: testLedger + "/1/payment/40/page/1", Payment: 40, Customer: customer, Currency: "usd", Total: 10000,
		Lines:   []billing.ChargeLine{{Description: "10,000 credits", Amount: 9000}, {Description: "VAT", Amount: 1000}},
		Success: "http://api.test/ok?s={CHECKOUT_SESSION_ID}", Cancel: "http://api.test/no", Keep: true,
	}
}

// usage is a payment of 12.34 that is collected with the customer's default
// payment method.
func (s *sandbox) usage(customer string) billing.PaymentRequest {
	s.t.Helper()
	at, ok := s.Server.Customer(customer)
	if !ok {
		s.t.Fatalf("no customer %s", customer)
	}
	return billing.PaymentRequest{
		Owner: owner(1), Key: testLedger + "/1/payment/41/collect/1", Payment: 41, Customer: customer, Currency: "usd", Total: 1234,
		Lines: []billing.ChargeLine{{Description: "Usage", Amount: 1234}}, Method: at.InvoiceSettings.DefaultPaymentMethod,
	}
}

func (s *sandbox) page(r billing.PaymentRequest) billing.Receipt {
	s.t.Helper()
	got, err := s.PayPage(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *sandbox) collected(r billing.PaymentRequest) billing.Receipt {
	s.t.Helper()
	got, err := s.Collect(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *sandbox) payOn(page string, card stripetest.Card) {
	s.t.Helper()
	if _, err := s.CompleteCheckout(page, card); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sandbox) receipt(id string) billing.Receipt {
	s.t.Helper()
	got, err := s.Receipt(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func TestPayPage(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := pack(s.customer(""))
	open := s.page(r)
	want := billing.Receipt{Owner: owner(1), Payment: 40, ID: open.ID, State: billing.ReceiptOpen, Currency: "usd", Total: 10000, URL: open.URL}
	if diff := cmp.Diff(want, open); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(open.ID, "cs_") || path.Base(open.URL) != open.ID {
		t.Errorf("page %q at %q", open.ID, open.URL)
	}
	if again := s.page(r); !cmp.Equal(again, open) {
		t.Errorf("again: %+v", again)
	}
	// A card that is declined leaves the page as it is.
	if _, err := s.CompleteCheckout(open.ID, stripetest.CardNoFunds); err == nil {
		t.Error("the card was taken")
	}
	intents := s.Intents()
	if len(intents) != 1 {
		t.Fatalf("%d payment intents", len(intents))
	}
	both := []string{open.ID, intents[0].ID}
	for _, id := range both {
		if got := s.receipt(id); !cmp.Equal(got, open) {
			t.Errorf("%s, after a declined card: %+v", id, got)
		}
	}
	s.payOn(open.ID, stripetest.CardGood)
	want.State, want.URL = billing.ReceiptPaid, ""
	for _, id := range both {
		if diff := cmp.Diff(want, s.receipt(id)); diff != "" {
			t.Errorf("%s, paid (-want +got):\n%s", id, diff)
		}
	}
	// The same call later says what became of it.
	if diff := cmp.Diff(want, s.page(r)); diff != "" {
		t.Errorf("the call again (-want +got):\n%s", diff)
	}
	session := s.Sessions()[0]
	for what, m := range map[string]map[string]string{"payment": intents[0].Metadata, "page": session.Metadata} {
		if m["tollgate_ledger"] != testLedger || m["tollgate_payment"] != "40" || m["tollgate_user"] != "1" || m["tollgate_epoch"] != "1" {
			t.Errorf("the %s carries %v", what, m)
		}
	}
	if len(session.Items) != 2 || session.Items[1].Description != "VAT" || session.Items[1].Amount != 1000 {
		t.Errorf("items %+v", session.Items)
	}
}

func TestPagesExpire(t *testing.T) {
	for _, declined := range []bool{false, true} {
		s := newSandbox(t, stripe.Options{})
		r := pack(s.customer(""))
		open := s.page(r)
		want := billing.Receipt{Owner: owner(1), Payment: 40, ID: open.ID, State: billing.ReceiptFailed, Currency: "usd", Total: 10000}
		if declined {
			if _, err := s.CompleteCheckout(open.ID, stripetest.CardDeclined); err == nil {
				t.Fatal("the card was taken")
			}
			want.Decline = &billing.Decline{Code: "generic_decline", Message: "Your card was declined."}
		}
		s.advance(24 * time.Hour)
		if diff := cmp.Diff(want, s.receipt(open.ID)); diff != "" {
			t.Errorf("expired (-want +got):\n%s", diff)
		}
		if found, ok, err := s.FindReceipt(t.Context(), r); !cmp.Equal(found, want) || !ok || err != nil {
			t.Errorf("found %+v, %v, %v", found, ok, err)
		}
	}
}

// TestKeptCards: a card that a page kept pays later without the customer, and is
// the default where there is none.
func TestKeptCards(t *testing.T) {
	ctx := t.Context()
	for _, keep := range []bool{true, false} {
		for _, had := range []bool{true, false} {
			s := newSandbox(t, stripe.Options{})
			cus, first := s.customer(""), ""
			if had {
				if err := s.SetCard(cus, stripetest.CardGood); err != nil {
					t.Fatal(err)
				}
				at, _ := s.Server.Customer(cus)
				first = at.InvoiceSettings.DefaultPaymentMethod
			}
			r := pack(cus)
			r.Keep = keep
			open := s.page(r)
			if _, err := s.CompleteCheckout(open.ID, stripetest.CardDeclined); err == nil {
				t.Fatal("the card was taken")
			}
			if got, err := s.CustomerNow(ctx, cus); err != nil || got.PaymentMethod != first {
				t.Errorf("keep %v, had %v, before: %+v, %v", keep, had, got, err)
			}
			s.payOn(open.ID, stripetest.CardAuthenticateOnce)
			if at, _ := s.Server.Customer(cus); at.InvoiceSettings.DefaultPaymentMethod != first {
				t.Errorf("Stripe makes no card the default by itself: %+v", at.InvoiceSettings)
			}
			for range 2 {
				got, err := s.CustomerNow(ctx, cus)
				switch {
				case err != nil:
					t.Error(err)
				case had && got.PaymentMethod != first, !had && keep == (got.PaymentMethod == ""):
					t.Errorf("keep %v, had %v: the default is %q", keep, had, got.PaymentMethod)
				}
			}
			if !had && keep {
				if got := s.collected(s.usage(cus)); got.State != billing.ReceiptPaid {
					t.Errorf("the kept card: %+v", got)
				}
			}
		}
	}
}

func TestCollect(t *testing.T) {
	const declined, authenticate = "Your card was declined.", "Your card was declined. This transaction requires authentication."
	cases := []struct {
		card    stripetest.Card
		state   billing.ReceiptState
		decline *billing.Decline
	}{
		{card: stripetest.CardGood, state: billing.ReceiptPaid},
		{card: stripetest.CardFailsLater, state: billing.ReceiptFailed, decline: &billing.Decline{Code: "generic_decline", Message: declined}},
		{card: stripetest.CardDeclined, state: billing.ReceiptFailed, decline: &billing.Decline{Code: "generic_decline", Message: declined}},
		{card: stripetest.CardNoFunds, state: billing.ReceiptFailed, decline: &billing.Decline{Code: "insufficient_funds", Message: "Your card has insufficient funds."}},
		{card: stripetest.CardAuthenticate, state: billing.ReceiptFailed, decline: &billing.Decline{Code: "authentication_required", Authenticate: true, Message: authenticate}},
		{card: stripetest.CardAuthenticateOnce, state: billing.ReceiptFailed, decline: &billing.Decline{Code: "authentication_required", Authenticate: true, Message: authenticate}},
	}
	for _, c := range cases {
		t.Run("card "+string(c.card), func(t *testing.T) {
			s := newSandbox(t, stripe.Options{})
			r := s.usage(s.customer(c.card))
			got := s.collected(r)
			want := billing.Receipt{Owner: owner(1), Payment: 41, ID: got.ID, State: c.state, Currency: "usd", Total: 1234, Decline: c.decline}
			if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got.ID, "pi_") {
				t.Errorf("receipt %q (-want +got):\n%s", got.ID, diff)
			}
			if diff := cmp.Diff(want, s.collected(r)); diff != "" {
				t.Errorf("again (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, s.receipt(got.ID)); diff != "" {
				t.Errorf("later (-want +got):\n%s", diff)
			}
			s.ForgetKeys()
			found, ok, err := s.FindReceipt(t.Context(), r)
			if diff := cmp.Diff(want, found); diff != "" || !ok || err != nil {
				t.Errorf("found %v, %v (-want +got):\n%s", ok, err, diff)
			}
			// A further attempt is a payment of its own, and then the newest.
			s.advance(time.Second)
			r.Key += "2"
			second := s.collected(r)
			if second.ID == got.ID || second.State != c.state {
				t.Errorf("a further attempt: %+v", second)
			}
			if found, ok, err := s.FindReceipt(t.Context(), r); found.ID != second.ID || !ok || err != nil {
				t.Errorf("found %+v, %v, %v", found, ok, err)
			}
			i := s.Intents()[0]
			if i.Description != "Usage" || i.Metadata["tollgate_payment"] != "41" || i.Metadata["tollgate_ledger"] != testLedger {
				t.Errorf("the payment is %+v", i)
			}
		})
	}
}

func TestPaymentsThatAreRefused(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	lines := func(amounts ...int64) func(*billing.PaymentRequest) {
		return func(r *billing.PaymentRequest) {
			r.Lines, r.Total = nil, 0
			for _, a := range amounts {
				r.Lines = append(r.Lines, billing.ChargeLine{Description: "x", Amount: a})
				r.Total += a
			}
		}
	}
	cases := []struct {
		name   string
		change func(*billing.PaymentRequest)
		code   string
		page   bool // a page refuses it, too
	}{
		{"another ledger's", func(r *billing.PaymentRequest) { r.Ledger = "another" }, "not_ours", true},
		{"no payment id", func(r *billing.PaymentRequest) { r.Payment = 0 }, "no_payment", true},
		{"no customer", func(r *billing.PaymentRequest) { r.Customer = "" }, "no_customer", true},
		{"an unknown customer", func(r *billing.PaymentRequest) { r.Customer = "cus_none" }, "resource_missing", true},
		{"no payment method", func(r *billing.PaymentRequest) { r.Method = "" }, "no_payment_method", false},
		{"an unknown method", func(r *billing.PaymentRequest) { r.Method = "pm_none" }, "resource_missing", false},
		{"no lines", lines(), "invalid_amount", true},
		{"nothing", lines(0, 0), "invalid_amount", true},
		{"a negative line", lines(2000, -100), "invalid_amount", true},
		{"a wrong sum", func(r *billing.PaymentRequest) { r.Total++ }, "total_differs", true},
		{"below the minimum", lines(49), "amount_too_small", true},
		{"no currency", func(r *billing.PaymentRequest) { r.Currency = "USD" }, "invalid_currency", true},
		{"what is no amount", func(r *billing.PaymentRequest) { r.Currency = "isk" }, "invalid_amount", true},
	}
	for _, c := range cases {
		r := s.usage(cus)
		r.Key, r.Success = "refused/"+c.name, "http://api.test/ok"
		c.change(&r)
		check := func(where string, got billing.Receipt, err error) {
			t.Helper()
			var refused *billing.Rejection
			if !errors.As(err, &refused) || refused.Code != c.code || errors.Is(err, billing.ErrUnknown) {
				t.Errorf("%s %s: %+v, %v", c.name, where, got, err)
			}
		}
		got, err := s.Collect(t.Context(), r)
		check("at once", got, err)
		if c.page {
			got, err := s.PayPage(t.Context(), r)
			check("on a page", got, err)
		}
	}
	r := pack(cus)
	lines(append(make([]int64, 100), 500)...)(&r)
	var refused *billing.Rejection
	if _, err := s.PayPage(t.Context(), r); !errors.As(err, &refused) || refused.Code != "too_many_lines" {
		t.Errorf("101 lines: %v", err)
	}
	if n := len(s.Intents()) + len(s.Sessions()); n != 0 {
		t.Errorf("%d payments and pages", n)
	}
	// A card that was taken from the customer is a refusal, no decline.
	gone := s.usage(cus)
	post(t, s, "/v1/payment_methods/"+gone.Method+"/detach", "")
	if _, err := s.Collect(t.Context(), gone); !errors.As(err, &refused) {
		t.Errorf("a detached card: %v", err)
	}
}
