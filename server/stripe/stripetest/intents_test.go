package stripetest_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"tollgate/server/stripe/stripetest"
)

// card is the customer's default payment method.
func (a *api) card(customer string) string {
	a.t.Helper()
	return a.good(a.get("/v1/customers/" + customer)).text("invoice_settings.default_payment_method")
}

// collect asks for a payment while the customer is away.
func (a *api) collect(customer, key string, more ...string) answer {
	a.t.Helper()
	return a.request(http.MethodPost, "/v1/payment_intents", key, append([]string{"amount", "700", "currency", "usd", "confirm", "true", "off_session", "true",
		"customer", customer, "payment_method", a.card(customer), "description", "Usage", "metadata[payment]", "7"}, more...)...)
}

func TestPaymentIntents(t *testing.T) {
	for _, test := range []struct {
		name          string
		card          stripetest.Card
		status        int
		code, decline string
		intent        string
	}{
		{"good", stripetest.CardGood, 200, "", "", "succeeded"},
		{"declined", stripetest.CardDeclined, 402, "card_declined", "generic_decline", "requires_payment_method"},
		{"no funds", stripetest.CardNoFunds, 402, "card_declined", "insufficient_funds", "requires_payment_method"},
		{"fails later", stripetest.CardFailsLater, 402, "card_declined", "generic_decline", "requires_payment_method"},
		{"confirm each", stripetest.CardAuthenticate, 402, "authentication_required", "authentication_required", "requires_payment_method"},
		{"confirm once, not done", stripetest.CardAuthenticateOnce, 402, "authentication_required", "authentication_required", "requires_payment_method"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t)
			customer := a.customer(test.card)
			got := a.collect(customer, "k")
			if got.status != test.status || got.text("error.code") != test.code || got.text("error.decline_code") != test.decline {
				t.Fatalf("%d %s", got.status, got.raw)
			}
			id := got.id()
			if test.status == 402 {
				id = got.text("error.payment_intent.id")
				a.expect(got, "error.payment_intent.status", test.intent, "error.payment_intent.metadata.payment", "7")
			}
			now := a.good(a.get("/v1/payment_intents/"+id, "expand[]", "latest_charge"))
			a.expect(now, "status", test.intent, "amount", "700", "customer", customer, "description", "Usage", "metadata.payment", "7",
				"latest_charge.metadata.payment", "7", "last_payment_error.decline_code", test.decline)
			a.expect(a.good(a.get("/v1/payment_intents", "customer", customer)), "data.0.id", id, "data.0.metadata.payment", "7", "data.1", "")
			// The same key repeats the answer, whatever it was.
			if again := a.collect(customer, "k"); again.status != got.status || again.raw != got.raw || again.header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("again: %d %s", again.status, again.raw)
			}
			if n := len(a.server.Intents()); n != 1 {
				t.Errorf("%d payment intents", n)
			}
			a.collect(customer, "another")
			if n := len(a.server.Intents()); n != 2 {
				t.Errorf("%d payment intents after another attempt", n)
			}
		})
	}
}

func TestPaymentIntentsThatAreRefused(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	mine, theirs := a.card(customer), a.card(a.customer(stripetest.CardGood))
	for _, test := range []struct {
		name string
		code string
		form []string
	}{
		{"below the minimum", "amount_too_small", []string{"amount", "49", "currency", "usd"}},
		{"no amount", "parameter_missing", []string{"currency", "usd"}},
		{"less than nothing", "parameter_invalid_integer", []string{"amount", "-1", "currency", "usd"}},
		{"no currency", "parameter_missing", []string{"amount", "70"}},
		{"no customer there", "resource_missing", []string{"amount", "70", "currency", "usd", "customer", "cus_0"}},
		{"no card there", "resource_missing", []string{"amount", "70", "currency", "usd", "customer", customer, "payment_method", "pm_0"}},
		{"a number for a card", "resource_missing", []string{"amount", "70", "currency", "usd", "payment_method", "4242"}},
		{"another's card", "", []string{"amount", "70", "currency", "usd", "customer", customer, "payment_method", theirs}},
		{"a card without its customer", "", []string{"amount", "70", "currency", "usd", "payment_method", mine}},
		{"nothing to confirm", "payment_intent_unexpected_state", []string{"amount", "70", "currency", "usd", "confirm", "true"}},
		{"away and not now", "", []string{"amount", "70", "currency", "usd", "off_session", "true"}},
	} {
		got := a.post("/v1/payment_intents", test.form...)
		if got.status != 400 || got.text("error.code") != test.code || got.text("error.type") != "invalid_request_error" {
			t.Errorf("%s: %d %s", test.name, got.status, got.raw)
		}
	}
	if n := len(a.server.Intents()); n != 0 {
		t.Errorf("%d payment intents", n)
	}
	// What is only made waits, and takes nothing.
	a.expect(a.good(a.post("/v1/payment_intents", "amount", "70", "currency", "usd")), "status", "requires_payment_method")
	a.expect(a.good(a.post("/v1/payment_intents", "amount", "70", "currency", "usd", "customer", customer, "payment_method", mine)), "status", "requires_confirmation")
	a.good(a.post("/v1/payment_methods/" + mine + "/detach"))
	a.refused(a.post("/v1/payment_intents", "amount", "70", "currency", "usd", "customer", customer, "payment_method", mine, "confirm", "true"), 400, "")
	if n := len(a.server.Charges()); n != 0 {
		t.Errorf("%d charges", n)
	}
}

func TestPaymentIntentsAreGivenBack(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	id := a.good(a.collect(customer, "")).id()
	a.expect(a.good(a.post("/v1/refunds", "payment_intent", id, "amount", "300", "metadata[part]", "1")), "payment_intent", id, "metadata.part", "1")
	a.expect(a.good(a.get("/v1/refunds", "payment_intent", id)), "data.0.metadata.part", "1", "data.1", "")
	dispute, err := a.server.Dispute(id, "")
	if err != nil {
		t.Fatal(err)
	}
	a.expect(a.good(a.get("/v1/disputes", "payment_intent", id)), "data.0.id", dispute, "data.0.amount", "400")
	a.refused(a.post("/v1/refunds", "payment_intent", id), 400, "charge_disputed")
	if err := a.server.CloseDispute(dispute, false); err != nil {
		t.Fatal(err)
	}
	a.expect(a.good(a.get("/v1/disputes/"+dispute)), "status", "lost")
	if _, err := a.server.Dispute("pi_0", ""); err == nil {
		t.Error("what is not there was disputed")
	}
	declined := a.collect(a.customer(stripetest.CardFailsLater), "").text("error.payment_intent.id")
	a.refused(a.post("/v1/refunds", "payment_intent", declined), 400, "")
	if _, err := a.server.Dispute(declined, ""); err == nil {
		t.Error("what was declined was disputed")
	}
}

// TestCardsOfPaymentPages: a card is kept only where it was asked for and paid, is
// not made the default, and pays later without the customer.
func TestCardsOfPaymentPages(t *testing.T) {
	a := newAPI(t)
	page := func(customer string, more ...string) answer {
		return a.good(a.post("/v1/checkout/sessions", append([]string{"mode", "payment", "customer", customer, "success_url", "https://app.test/done",
			"line_items[0][price_data][currency]", "usd", "line_items[0][price_data][unit_amount]", "10000", "line_items[0][quantity]", "1",
			"line_items[0][price_data][product_data][name]", "10,000 credits"}, more...)...))
	}
	for _, keep := range []bool{true, false} {
		customer := a.customer("")
		var more []string
		if keep {
			more = []string{"payment_intent_data[setup_future_usage]", "off_session"}
		}
		at := page(customer, more...).text("url")
		if status, _, _ := a.submit(at, "card", string(stripetest.CardDeclined)); status != 402 {
			t.Errorf("a declined card: %d", status)
		}
		list := "/v1/payment_methods?customer=" + customer
		a.expect(a.good(a.get(list)), "data.0", "")
		if status, _, _ := a.submit(at, "card", string(stripetest.CardAuthenticateOnce), "confirm", "yes"); status != 303 {
			t.Errorf("a confirmed card: %d", status)
		}
		a.expect(a.good(a.get("/v1/customers/"+customer)), "invoice_settings.default_payment_method", "")
		kept := a.good(a.get(list)).text("data.0.id")
		if (kept != "") != keep {
			t.Errorf("keep is %v, and the card is %q", keep, kept)
		}
		if keep {
			a.expect(a.good(a.post("/v1/payment_intents", "amount", "70", "currency", "usd", "customer", customer, "payment_method", kept,
				"confirm", "true", "off_session", "true")), "status", "succeeded")
		}
	}
}

// TestExpiryIsTold: the event comes when the time is over, though nobody looks at
// the page, also after a restart.
func TestExpiryIsTold(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	first := a.setup(customer).id()
	a.clock.advance(time.Hour)
	second := a.setup(customer).id()
	var file bytes.Buffer
	if err := a.server.Save(&file); err != nil {
		t.Fatal(err)
	}
	if err := a.server.Load(&file); err != nil {
		t.Fatal(err)
	}
	told := func() answer { return a.good(a.get("/v1/events", "type", "checkout.session.expired")) }
	a.clock.advance(23*time.Hour - time.Second)
	a.expect(told(), "data.0", "")
	a.clock.advance(time.Second)
	a.expect(told(), "data.0.data.object.id", first, "data.0.data.object.status", "expired", "data.1", "")
	a.clock.advance(time.Hour)
	a.expect(told(), "data.0.data.object.id", second, "data.1.data.object.id", first, "data.2", "")
	a.clock.advance(time.Hour)
	a.expect(told(), "data.2", "")
}
