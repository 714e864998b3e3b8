package stripetest_test

import (
	"net/http"
	"strings"
	"testing"

	"tollgate/server/stripe/stripetest"
)

// TestEachObjectIsRead reads one of each kind by its id and in its list.
func TestEachObjectIsRead(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	invoice, charge := a.paid(customer, 1000)
	note := a.good(a.post("/v1/credit_notes", "invoice", invoice, "amount", "100", "refund_amount", "100"))
	product := a.good(a.post("/v1/products", "name", "Pro")).id()
	price := a.good(a.post("/v1/prices", "product_data[name]", "Plus", "currency", "usd", "unit_amount", "5")).id()
	session := a.setup(customer).id()
	endpoint := a.good(a.post("/v1/webhook_endpoints", "url", "https://app.test/", "enabled_events[]", "*")).id()
	dispute, err := a.server.Dispute(charge, "duplicate")
	if err != nil {
		t.Fatal(err)
	}
	now := a.good(a.get("/v1/invoices/" + invoice))
	for _, test := range []struct{ kind, path, id, list string }{
		{"customer", "/v1/customers/", customer, "/v1/customers"},
		{"payment_method", "/v1/payment_methods/", a.text1("/v1/payment_methods?customer="+customer, "data.0.id"), "/v1/customers/" + customer + "/payment_methods"},
		{"checkout.session", "/v1/checkout/sessions/", session, "/v1/checkout/sessions?customer=" + customer},
		{"invoice", "/v1/invoices/", invoice, "/v1/invoices?customer=" + customer},
		{"invoiceitem", "/v1/invoiceitems/", now.text("lines.data.0.invoice_item"), "/v1/invoiceitems?customer=" + customer},
		{"payment_intent", "/v1/payment_intents/", now.text("payment_intent"), "/v1/payment_intents?customer=" + customer},
		{"charge", "/v1/charges/", charge, "/v1/charges?payment_intent=" + now.text("payment_intent")},
		{"refund", "/v1/refunds/", note.text("refund"), "/v1/refunds?payment_intent=" + now.text("payment_intent")},
		{"credit_note", "/v1/credit_notes/", note.id(), "/v1/credit_notes?customer=" + customer},
		{"dispute", "/v1/disputes/", dispute, "/v1/disputes?charge=" + charge},
		{"product", "/v1/products/", product, "/v1/products?ids[]=" + product},
		{"price", "/v1/prices/", price, "/v1/prices?currency=usd"},
		{"webhook_endpoint", "/v1/webhook_endpoints/", endpoint, "/v1/webhook_endpoints"},
	} {
		got := a.good(a.get(test.path + test.id))
		a.expect(got, "id", test.id, "object", test.kind, "livemode", "false")
		a.expect(a.good(a.get(test.list)), "data.0.id", test.id, "object", "list")
		a.refused(a.get(test.path+"x_0"), 404, "resource_missing")
	}
	a.expect(a.good(a.get("/v1/customers/"+customer+"/payment_methods/"+a.text1("/v1/payment_methods?customer="+customer, "data.0.id"))), "customer", customer)
	a.expect(a.good(a.get("/v1/credit_notes/"+note.id()+"/lines")), "data.0.amount", "100")
	a.expect(a.good(a.post("/v1/webhook_endpoints/"+endpoint, "disabled", "true", "description", "x")), "status", "disabled")
	a.expect(a.good(a.request(http.MethodDelete, "/v1/webhook_endpoints/"+endpoint, "")), "deleted", "true")

	if o, ok := a.server.Customer(customer); !ok || o.Email != "ann@example.com" {
		t.Errorf("the customer is %+v", o)
	}
	if lines := a.server.Lines(invoice); len(lines) != 1 || lines[0].Amount != 1000 {
		t.Errorf("the lines are %+v", lines)
	}
	if refunds := a.server.Refunds(); len(refunds) != 1 || refunds[0].Amount != 100 {
		t.Errorf("the refunds are %+v", refunds)
	}
	if sessions := a.server.Sessions(); len(sessions) != 1 || sessions[0].ID != session {
		t.Errorf("the sessions are %+v", sessions)
	}
}

// text1 is what an answer has at a path.
func (a *api) text1(path, at string) string {
	a.t.Helper()
	return a.good(a.get(path)).text(at)
}

func TestVoidCreditNote(t *testing.T) {
	a := newAPI(t)
	id := a.open(a.customer(stripetest.CardGood), 1000)
	note := a.good(a.post("/v1/credit_notes", "invoice", id, "amount", "300")).id()
	a.expect(a.good(a.post("/v1/credit_notes/"+note+"/void")), "status", "void")
	a.refused(a.post("/v1/credit_notes/"+note+"/void"), 400, "")
	a.expect(a.good(a.get("/v1/invoices/"+id)), "amount_remaining", "1000", "pre_payment_credit_notes_amount", "0")
	a.expect(a.good(a.post("/v1/invoices/"+id+"/pay")), "amount_paid", "1000")
}

func TestCurrencies(t *testing.T) {
	for _, test := range []struct {
		currency string
		amount   string
		status   string
		page     string
	}{
		{"usd", "49", "paid", ""},
		{"usd", "50", "open", "0.50 USD"},
		{"gbp", "30", "open", "0.30 GBP"},
		{"gbp", "29", "paid", ""},
		{"jpy", "49", "paid", ""},
		{"jpy", "50", "open", "50 JPY"},
		{"sek", "299", "paid", ""},
		{"sek", "300", "open", "3.00 SEK"},
		{"kwd", "1230", "open", "1.230 KWD"},
		{"isk", "12300", "open", "123.00 ISK"},
	} {
		a := newAPI(t)
		customer := a.customer("")
		id := a.good(a.post("/v1/invoices", "customer", customer, "currency", test.currency)).id()
		a.good(a.post("/v1/invoiceitems", "customer", customer, "invoice", id, "currency", test.currency, "amount", test.amount))
		a.expect(a.good(a.post("/v1/invoices/"+id+"/finalize")), "status", test.status, "total", test.amount)
		if _, _, text := a.browse("http://sandbox.test/invoice/" + id); !strings.Contains(text, test.page) {
			t.Errorf("%s %s: %s", test.amount, test.currency, text)
		}
	}
}

func TestInvoiceFields(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardDeclined)
	price := a.good(a.post("/v1/prices", "product_data[name]", "Scan", "currency", "usd", "unit_amount", "5")).id()
	got := a.good(a.post("/v1/invoices", "customer", customer, "collection_method", "send_invoice", "days_until_due", "30", "number", "2025-000042",
		"description", "January", "footer", "Thanks", "custom_fields[0][name]", "Period", "custom_fields[0][value]", "2025-01"))
	a.expect(got, "number", "2025-000042", "custom_fields.0.value", "2025-01", "due_date", "1740956400", "collection_method", "send_invoice")
	a.good(a.post("/v1/invoiceitems", "customer", customer, "invoice", got.id(), "price", price, "quantity", "300"))
	a.good(a.post("/v1/invoiceitems", "customer", customer, "invoice", got.id(), "currency", "usd", "unit_amount", "7", "quantity", "2", "period[start]", "1735689600", "period[end]", "1738368000"))
	now := a.good(a.post("/v1/invoices/"+got.id()+"/finalize", "auto_advance", "false"))
	a.expect(now, "number", "2025-000042", "total", "1514", "lines.data.0.description", "Scan", "lines.data.1.period.end", "1738368000")
	other := a.good(a.post("/v1/payment_methods/pm_card_visa/attach", "customer", customer)).id()
	a.refused(a.post("/v1/invoices/"+got.id()+"/pay"), 402, "card_declined")
	a.refused(a.post("/v1/invoices/"+got.id()+"/pay", "payment_method", "pm_0"), 400, "resource_missing")
	a.expect(a.good(a.post("/v1/invoices/"+got.id()+"/pay", "payment_method", other)), "status", "paid")

	for name, pairs := range map[string][]string{
		"a due date when charging":     {"days_until_due", "3"},
		"no due date when sending":     {"collection_method", "send_invoice"},
		"an unknown way of collecting": {"collection_method", "beg"},
		"an unknown rule":              {"pending_invoice_items_behavior", "maybe"},
	} {
		if got := a.post("/v1/invoices", append(pairs, "customer", customer)...); got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if got := a.post("/v1/invoices", "customer", customer, "default_payment_method", "pm_0"); got.status != 400 {
		t.Errorf("an unknown card: %d %s", got.status, got.raw)
	}
}

func TestKeysCanBeForgotten(t *testing.T) {
	a := newAPI(t)
	first := a.good(a.request(http.MethodPost, "/v1/customers", "k")).id()
	a.server.ForgetKeys()
	if second := a.good(a.request(http.MethodPost, "/v1/customers", "k")).id(); second == first {
		t.Error("the key is remembered")
	}
	for _, kind := range stripetest.Faults() {
		if name := kind.String(); name == "" || strings.HasPrefix(name, "fault") {
			t.Errorf("a fault is called %q", name)
		}
	}
}
