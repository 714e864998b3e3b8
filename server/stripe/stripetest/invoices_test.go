package stripetest_test

import (
	"net/http"
	"testing"

	"tollgate/server/stripe/stripetest"
)

func TestInvoiceFromDraftToPaid(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	id := a.draft(customer, 4900, 1000, -400)
	got := a.good(a.get("/v1/invoices/" + id))
	a.expect(got, "status", "draft", "total", "5500", "amount_due", "5500", "metadata.ledger", "l1",
		"lines.data.2.amount", "-400", "lines.data.0.description", "line 0", "hosted_invoice_url", "", "number", "")
	got = a.good(a.post("/v1/invoices/" + id + "/finalize"))
	a.expect(got, "status", "open", "amount_remaining", "5500", "hosted_invoice_url", "http://sandbox.test/invoice/"+id)
	if got.text("number") == "" || got.text("payment_intent") == "" {
		t.Errorf("an open invoice has no number or no payment intent: %s", got.raw)
	}
	got = a.good(a.post("/v1/invoices/"+id+"/pay", "expand[0]", "payment_intent", "expand[1]", "charge"))
	a.expect(got, "status", "paid", "amount_paid", "5500", "amount_remaining", "0", "paid", "true", "attempt_count", "1",
		"payment_intent.status", "succeeded", "charge.amount", "5500", "charge.invoice", id)
	charges := a.server.Charges()
	if len(charges) != 1 || charges[0].Amount != 5500 || charges[0].Invoice != id {
		t.Errorf("the charges are %+v", charges)
	}
	a.refused(a.post("/v1/invoices/"+id+"/pay"), http.StatusBadRequest, "")
	a.refused(a.post("/v1/invoices/"+id+"/void"), http.StatusBadRequest, "")
	a.refused(a.post("/v1/invoices/"+id+"/finalize"), http.StatusBadRequest, "")
	a.refused(a.post("/v1/invoiceitems", "customer", customer, "invoice", id, "currency", "usd", "amount", "1"), http.StatusBadRequest, "invoice_not_editable")
	a.refused(a.post("/v1/invoices/"+id, "description", "x"), http.StatusBadRequest, "invoice_not_editable")
	a.expect(a.good(a.post("/v1/invoices/"+id, "metadata[run]", "9")), "metadata.run", "9", "metadata.ledger", "l1")
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("there are %d charges", n)
	}
}

func TestCards(t *testing.T) {
	for _, test := range []struct {
		name          string
		card          stripetest.Card
		status        int
		code, decline string
		intent        string
		attempts      int
	}{
		{"good", stripetest.CardGood, 200, "", "", "succeeded", 1},
		{"declined", stripetest.CardDeclined, 402, "card_declined", "generic_decline", "requires_payment_method", 1},
		{"no funds", stripetest.CardNoFunds, 402, "card_declined", "insufficient_funds", "requires_payment_method", 1},
		{"fails later", stripetest.CardFailsLater, 402, "card_declined", "generic_decline", "requires_payment_method", 1},
		{"confirm each", stripetest.CardAuthenticate, 402, "invoice_payment_intent_requires_action", "", "requires_action", 0},
		{"confirm once, not done", stripetest.CardAuthenticateOnce, 402, "authentication_required", "authentication_required", "requires_payment_method", 1},
		{"none", "", 400, "resource_missing", "", "requires_payment_method", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t)
			id := a.open(a.customer(test.card), 700)
			got := a.post("/v1/invoices/" + id + "/pay")
			if got.status != test.status || got.text("error.code") != test.code || got.text("error.decline_code") != test.decline {
				t.Errorf("paying: %d %s", got.status, got.raw)
			}
			now := a.good(a.get("/v1/invoices/"+id, "expand[]", "payment_intent"))
			a.expect(now, "payment_intent.status", test.intent)
			if test.decline != "" {
				a.expect(now, "payment_intent.last_payment_error.code", test.code, "payment_intent.last_payment_error.decline_code", test.decline,
					"status", "open", "attempted", "true", "amount_remaining", "700")
				a.expect(a.good(a.get("/v1/charges/"+now.text("charge"))), "status", "failed", "paid", "false")
			}
			if n := len(a.server.Attempts()); n != test.attempts {
				t.Errorf("%d attempts, want %d", n, test.attempts)
			}
			if test.status == 200 {
				return
			}
			// The customer pays on the invoice's page with what asks for a confirmation.
			if err := a.server.PayInvoice(id, stripetest.CardAuthenticate); err != nil {
				t.Fatal(err)
			}
			a.expect(a.good(a.get("/v1/invoices/"+id)), "status", "paid", "amount_paid", "700")
			if n := len(a.server.Charges()); n != 1 {
				t.Errorf("%d successful charges, want 1", n)
			}
		})
	}
}

func TestBelowTheMinimumGoesToTheBalance(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	id := a.draft(customer, 49)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/finalize")), "status", "paid", "amount_due", "0", "amount_paid", "0", "total", "49", "ending_balance", "49", "charge", "")
	a.expect(a.good(a.get("/v1/customers/"+customer)), "balance", "49")
	// The next one asks for it too.
	next := a.draft(customer, 100)
	a.expect(a.good(a.get("/v1/invoices/"+next)), "starting_balance", "49", "amount_due", "149")
	a.expect(a.good(a.post("/v1/invoices/"+next+"/pay")), "status", "paid", "amount_paid", "149", "total", "100", "ending_balance", "0")
	a.expect(a.good(a.get("/v1/customers/"+customer)), "balance", "0")
	if charges := a.server.Charges(); len(charges) != 1 || charges[0].Amount != 149 {
		t.Errorf("the charges are %+v", charges)
	}
	exactly := a.draft(customer, 50)
	a.expect(a.good(a.post("/v1/invoices/"+exactly+"/finalize")), "status", "open")
}

func TestNothingOrLessDue(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	a.expect(a.good(a.post("/v1/invoices/"+a.draft(customer)+"/finalize")), "status", "paid", "total", "0", "payment_intent", "")
	a.expect(a.good(a.post("/v1/invoices/"+a.draft(customer, 100, -400)+"/finalize")), "status", "paid", "total", "-300", "ending_balance", "-300")
	id := a.draft(customer, 1000)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/finalize")), "status", "open", "amount_due", "700", "starting_balance", "-300")
	a.expect(a.good(a.post("/v1/invoices/"+id+"/void")), "status", "void")
	a.expect(a.good(a.get("/v1/customers/"+customer)), "balance", "-300")
	if n := len(a.server.Charges()); n != 0 {
		t.Errorf("%d charges", n)
	}
}

func TestVoidUncollectibleAndOutside(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	id := a.open(customer, 500)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/void", "expand[]", "payment_intent")), "status", "void", "payment_intent.status", "canceled")
	a.refused(a.post("/v1/invoices/"+id+"/pay"), 400, "")
	id = a.open(customer, 500)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/mark_uncollectible")), "status", "uncollectible")
	a.expect(a.good(a.post("/v1/invoices/"+id+"/pay")), "status", "paid")
	id = a.open(customer, 500)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/pay", "paid_out_of_band", "true")), "status", "paid", "paid_out_of_band", "true", "charge", "")
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("%d charges, want 1", n)
	}
	id = a.draft(customer, 100)
	a.expect(a.good(a.request(http.MethodDelete, "/v1/invoices/"+id, "")), "deleted", "true")
	a.refused(a.get("/v1/invoices/"+id), 404, "resource_missing")
	a.refused(a.request(http.MethodDelete, "/v1/invoices/"+a.open(customer, 100), ""), 400, "")
}

func TestListsArePaged(t *testing.T) {
	a := newAPI(t)
	ann, bob := a.customer(""), a.customer("")
	var made []string
	for range 25 {
		made = append(made, a.draft(ann))
		a.draft(bob)
	}
	var seen []string
	for after := ""; ; {
		pairs := []string{"customer", ann, "limit", "7"}
		if after != "" {
			pairs = append(pairs, "starting_after", after)
		}
		got := a.good(a.get("/v1/invoices", pairs...))
		for _, o := range got.at("data").([]any) {
			seen = append(seen, o.(map[string]any)["id"].(string))
		}
		if got.text("has_more") == "false" {
			break
		}
		after = seen[len(seen)-1]
	}
	if len(seen) != 25 || seen[0] != made[24] || seen[24] != made[0] {
		t.Errorf("seen %v of %v", seen, made)
	}
	got := a.good(a.get("/v1/invoices", "customer", ann, "ending_before", made[20], "limit", "3"))
	a.expect(got, "data.0.id", made[23], "data.2.id", made[21], "has_more", "true")
	a.expect(a.good(a.get("/v1/invoices", "status", "paid")), "data.0.id", "", "has_more", "false")
	a.expect(a.good(a.get("/v1/invoices", "created[gt]", "1738364400")), "data.0.id", "")
	a.expect(a.good(a.get("/v1/invoices", "customer", ann, "created[gte]", "1738364400")), "data.0.id", made[24])
	a.refused(a.get("/v1/invoices", "limit", "101"), 400, "parameter_invalid_integer")
	a.refused(a.get("/v1/invoices", "starting_after", "in_nothing"), 400, "resource_missing")
}

func TestLinesBeyondTen(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	amounts := make([]int, 250)
	for i := range amounts {
		amounts[i] = i
	}
	id := a.draft(customer, amounts...)
	got := a.good(a.get("/v1/invoices/" + id))
	a.expect(got, "lines.has_more", "true", "lines.total_count", "250", "lines.data.9.amount", "9", "lines.data.10", "", "total", "31125")
	got = a.good(a.get("/v1/invoices/"+id+"/lines", "limit", "100"))
	a.expect(got, "data.0.amount", "0", "data.99.amount", "99", "has_more", "true")
	got = a.good(a.get("/v1/invoices/"+id+"/lines", "limit", "100", "starting_after", got.text("data.99.id")))
	a.expect(got, "data.0.amount", "100")
	a.refused(a.post("/v1/invoiceitems", "customer", customer, "invoice", id, "currency", "usd", "amount", "1"), 400, "")
}

func TestItemsCanBeRemovedAndWait(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	waiting := a.good(a.post("/v1/invoiceitems", "customer", customer, "currency", "usd", "amount", "70")).id()
	without := a.draft(customer, 100)
	a.expect(a.good(a.get("/v1/invoices/"+without)), "total", "100")
	with := a.good(a.post("/v1/invoices", "customer", customer, "pending_invoice_items_behavior", "include"))
	a.expect(with, "total", "70", "lines.data.0.invoice_item", waiting)
	a.expect(a.good(a.request(http.MethodDelete, "/v1/invoiceitems/"+waiting, "")), "deleted", "true")
	a.expect(a.good(a.get("/v1/invoices/"+with.id())), "total", "0")
	a.expect(a.good(a.get("/v1/invoiceitems", "invoice", without)), "data.0.amount", "100", "data.1", "")
	a.refused(a.post("/v1/invoiceitems", "customer", customer, "invoice", without, "currency", "eur", "amount", "1"), 400, "")
}

func TestWhatMakesNoSense(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	for _, test := range []struct {
		name   string
		got    answer
		status int
		code   string
	}{
		{"unknown parameter", a.post("/v1/customers", "nonsense", "1"), 400, "parameter_unknown"},
		{"missing parameter", a.post("/v1/invoices"), 400, "parameter_missing"},
		{"no such customer", a.post("/v1/invoices", "customer", "cus_0"), 400, "resource_missing"},
		{"no such path", a.get("/v1/nonsense"), 404, ""},
		{"no such method", a.request(http.MethodDelete, "/v1/events/evt_1", ""), 404, ""},
		{"no integer", a.post("/v1/invoiceitems", "customer", customer, "currency", "usd", "amount", "1.5"), 400, "parameter_invalid_integer"},
		{"no boolean", a.post("/v1/invoices", "customer", customer, "auto_advance", "maybe"), 400, ""},
		{"no currency", a.post("/v1/invoiceitems", "customer", customer, "amount", "1"), 400, "parameter_missing"},
		{"a currency in capitals", a.post("/v1/invoiceitems", "customer", customer, "amount", "1", "currency", "USD"), 400, ""},
		{"half a krona of Iceland", a.post("/v1/invoiceitems", "customer", customer, "amount", "150", "currency", "isk"), 400, ""},
		{"too large", a.post("/v1/invoiceitems", "customer", customer, "amount", "100000000", "currency", "usd"), 400, "amount_too_large"},
		{"bad e-mail", a.post("/v1/customers", "email", "ann"), 400, "email_invalid"},
	} {
		if test.got.status != test.status || test.got.text("error.code") != test.code {
			t.Errorf("%s: %d %s", test.name, test.got.status, test.got.raw)
		}
	}
}

func TestCustomers(t *testing.T) {
	a := newAPI(t)
	id := a.good(a.post("/v1/customers", "email", "ann@example.com", "name", "Ann", "address[line1]", "1 Road", "address[country]", "GB",
		"metadata[a]", "1", "metadata[b]", "2")).id()
	got := a.good(a.post("/v1/customers/"+id, "metadata[a]", "", "metadata[c]", "3", "name", "Anne"))
	a.expect(got, "name", "Anne", "email", "ann@example.com", "address.country", "GB", "metadata.a", "", "metadata.b", "2", "metadata.c", "3")
	a.expect(a.good(a.get("/v1/customers", "email", "ann@example.com")), "data.0.id", id)
	a.expect(a.good(a.get("/v1/customers", "email", "bob@example.com")), "data.0", "")
	method := a.good(a.post("/v1/payment_methods/pm_card_visa/attach", "customer", id)).id()
	a.expect(a.good(a.get("/v1/customers/"+id)), "invoice_settings.default_payment_method", "")
	got = a.good(a.post("/v1/customers/"+id, "invoice_settings[default_payment_method]", method, "expand[]", "invoice_settings.default_payment_method"))
	a.expect(got, "invoice_settings.default_payment_method.card.last4", "4242")
	a.expect(a.good(a.get("/v1/payment_methods", "customer", id, "type", "card")), "data.0.id", method)
	a.refused(a.post("/v1/customers/"+a.customer(""), "invoice_settings[default_payment_method]", method), 400, "")
	a.refused(a.post("/v1/payment_methods/pm_card_chargeDeclined/attach", "customer", id), 402, "card_declined")
	a.good(a.post("/v1/payment_methods/" + method + "/detach"))
	a.expect(a.good(a.get("/v1/customers/"+id)), "invoice_settings.default_payment_method", "")
	a.expect(a.good(a.request(http.MethodDelete, "/v1/customers/"+id, "")), "deleted", "true")
	a.expect(a.good(a.get("/v1/customers/"+id)), "deleted", "true", "email", "")
	a.refused(a.post("/v1/customers/"+id, "name", "x"), 404, "resource_missing")
	a.refused(a.post("/v1/invoices", "customer", id), 400, "resource_missing")
}
