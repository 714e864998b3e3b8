package stripetest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tollgate/server/stripe/stripetest"
)

// submit posts a form of a page as a browser would; status, target and text come back.
func (a *api) submit(address string, pairs ...string) (status int, to, text string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, address, strings.NewReader(form(pairs...).Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.visit(r)
}

func (a *api) browse(address string) (status int, to, text string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.visit(r)
}

func (a *api) visit(r *http.Request) (status int, to, text string) {
	a.t.Helper()
	got, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer got.Body.Close()
	page, err := io.ReadAll(got.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	text = string(page)
	if strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") && !strings.Contains(text, "no money moves") {
		a.t.Errorf("the page does not say that it is a sandbox: %s", text)
	}
	return got.StatusCode, got.Header.Get("Location"), text
}

// setup makes a checkout session that collects a card.
func (a *api) setup(customer string) answer {
	a.t.Helper()
	return a.good(a.post("/v1/checkout/sessions", "mode", "setup", "customer", customer, "currency", "usd", "metadata[tier]", "pro",
		"success_url", "https://app.test/done?s={CHECKOUT_SESSION_ID}", "cancel_url", "https://app.test/back",
		"payment_method_types[0]", "card", "setup_intent_data[metadata][user]", "7"))
}

func TestCheckoutSetupPage(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	session := a.setup(customer)
	a.expect(session, "status", "open", "payment_status", "no_payment_required", "metadata.tier", "pro")
	page := session.text("url")
	status, _, text := a.browse(page)
	if status != 200 || !strings.Contains(text, "ann@example.com") || !strings.Contains(text, `href="https://app.test/back"`) || !strings.Contains(text, "4242 4242 4242 4242") {
		t.Fatalf("%d: %s", status, text)
	}
	for _, card := range []stripetest.Card{stripetest.CardDeclined, stripetest.CardNoFunds} {
		if status, to, text := a.submit(page, "card", string(card)); status != 402 || to != "" || !strings.Contains(text, `role="alert"`) {
			t.Errorf("%s: %d %s: %s", card, status, to, text)
		}
	}
	a.expect(a.good(a.get("/v1/setup_intents/"+session.text("setup_intent"))), "status", "requires_payment_method", "last_setup_error.decline_code", "insufficient_funds")
	if status, _, text := a.submit(page, "card", string(stripetest.CardAuthenticateOnce)); status != 200 || !strings.Contains(text, `name="confirm" value="yes"`) {
		t.Errorf("a card to be confirmed: %d: %s", status, text)
	}
	if status, _, _ := a.submit(page, "card", string(stripetest.CardAuthenticateOnce), "confirm", "no"); status != 402 {
		t.Errorf("not confirmed: %d", status)
	}
	status, to, _ := a.submit(page, "card", string(stripetest.CardAuthenticateOnce), "confirm", "yes")
	if status != 303 || to != "https://app.test/done?s="+session.id() {
		t.Errorf("confirmed: %d to %s", status, to)
	}
	got := a.good(a.get("/v1/checkout/sessions/"+session.id(), "expand[]", "setup_intent.payment_method"))
	a.expect(got, "status", "complete", "setup_intent.status", "succeeded", "setup_intent.metadata.user", "7",
		"setup_intent.payment_method.customer", customer, "setup_intent.payment_method.card.last4", "3155", "url", "")
	// As with Stripe, it is not the default card until somebody says so.
	method := got.text("setup_intent.payment_method.id")
	a.expect(a.good(a.get("/v1/customers/"+customer)), "invoice_settings.default_payment_method", "")
	a.good(a.post("/v1/customers/"+customer, "invoice_settings[default_payment_method]", method))
	// It was confirmed for later, so that it pays without the customer.
	a.expect(a.good(a.post("/v1/invoices/"+a.open(customer, 500)+"/pay")), "status", "paid")
	if _, _, text := a.browse(page); !strings.Contains(text, "This is done") {
		t.Errorf("the page afterwards: %s", text)
	}
	types := map[string]bool{}
	for _, e := range a.server.Events() {
		types[e.Type] = true
	}
	for _, want := range []string{"setup_intent.setup_failed", "payment_method.attached", "setup_intent.succeeded", "checkout.session.completed"} {
		if !types[want] {
			t.Errorf("there is no event %s", want)
		}
	}
}

func TestCheckoutWithoutBrowser(t *testing.T) {
	a := newAPI(t)
	session := a.setup(a.customer("")).id()
	if _, err := a.server.CompleteCheckout(session, stripetest.CardDeclined); err == nil {
		t.Error("a declined card was taken")
	}
	if to, err := a.server.CompleteCheckout(session, stripetest.CardFailsLater); err != nil || to != "https://app.test/done?s="+session {
		t.Errorf("to %q, %v", to, err)
	}
	if _, err := a.server.CompleteCheckout(session, stripetest.CardGood); err == nil {
		t.Error("a session was completed twice")
	}
}

func TestSessionsExpire(t *testing.T) {
	a := newAPI(t)
	session := a.setup(a.customer(""))
	a.clock.advance(24 * time.Hour)
	if _, _, text := a.submit(session.text("url"), "card", string(stripetest.CardGood)); !strings.Contains(text, "expired") {
		t.Errorf("the page: %s", text)
	}
	a.expect(a.good(a.get("/v1/checkout/sessions/"+session.id())), "status", "expired")
	now := a.setup(a.customer("")).id()
	a.expect(a.good(a.post("/v1/checkout/sessions/"+now+"/expire")), "status", "expired")
	a.refused(a.post("/v1/checkout/sessions/"+now+"/expire"), 400, "")
}

func TestCheckoutPaymentPage(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	session := a.good(a.post("/v1/checkout/sessions", "mode", "payment", "customer", customer, "success_url", "https://app.test/done",
		"line_items[0][price_data][currency]", "usd", "line_items[0][price_data][unit_amount]", "10000",
		"line_items[0][price_data][product_data][name]", "10,000 credits", "line_items[0][quantity]", "2",
		"payment_intent_data[metadata][pack]", "10k", "payment_intent_data[setup_future_usage]", "off_session"))
	a.expect(session, "amount_total", "20000", "payment_status", "unpaid", "currency", "usd")
	if _, _, text := a.browse(session.text("url")); !strings.Contains(text, "200.00 USD") || !strings.Contains(text, "10,000 credits") {
		t.Errorf("the page: %s", text)
	}
	if status, _, _ := a.submit(session.text("url"), "card", string(stripetest.CardFailsLater)); status != 402 {
		t.Errorf("a bad card: %d", status)
	}
	if status, to, _ := a.submit(session.text("url"), "card", string(stripetest.CardGood)); status != 303 || to != "https://app.test/done" {
		t.Errorf("a good card: %d to %s", status, to)
	}
	got := a.good(a.get("/v1/checkout/sessions/"+session.id(), "expand[]", "payment_intent.latest_charge"))
	a.expect(got, "payment_status", "paid", "payment_intent.metadata.pack", "10k", "payment_intent.latest_charge.amount", "20000")
	a.expect(a.good(a.get("/v1/payment_methods", "customer", customer)), "data.0.card.last4", "4242")
	a.expect(a.good(a.get("/v1/checkout/sessions/"+session.id()+"/line_items")), "data.0.quantity", "2")
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("%d charges", n)
	}
	a.refused(a.post("/v1/checkout/sessions", "mode", "payment", "success_url", "https://app.test/"), 400, "parameter_missing")
	a.refused(a.post("/v1/checkout/sessions", "mode", "setup", "success_url", "javascript:alert(1)"), 400, "url_invalid")
	a.refused(a.post("/v1/checkout/sessions", "mode", "setup"), 400, "parameter_missing")
}

func TestInvoicePage(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardAuthenticate)
	id := a.open(customer, 4900, 234)
	a.refused(a.post("/v1/invoices/"+id+"/pay"), 402, "invoice_payment_intent_requires_action")
	page := a.good(a.get("/v1/invoices/" + id)).text("hosted_invoice_url")
	if _, _, text := a.browse(page); !strings.Contains(text, "Pay 51.34 USD") || !strings.Contains(text, "ending in 3184") {
		t.Errorf("the page: %s", text)
	}
	if status, _, text := a.submit(page, "card", "default"); status != 200 || !strings.Contains(text, `value="default"`) || !strings.Contains(text, `value="yes"`) {
		t.Errorf("the bank's question: %d: %s", status, text)
	}
	if status, _, text := a.submit(page, "card", "default", "confirm", "no"); status != 402 || !strings.Contains(text, `role="alert"`) {
		t.Errorf("not confirmed: %d: %s", status, text)
	}
	if status, _, _ := a.submit(page, "card", string(stripetest.CardDeclined)); status != 402 {
		t.Errorf("declined: %d", status)
	}
	if status, to, _ := a.submit(page, "card", "default", "confirm", "yes"); status != 303 || to != id {
		t.Errorf("confirmed: %d to %s", status, to)
	}
	if _, _, text := a.browse(page); !strings.Contains(text, "This invoice is paid") || strings.Contains(text, "<form") {
		t.Errorf("the page of a paid invoice: %s", text)
	}
	a.expect(a.good(a.get("/v1/invoices/"+id)), "status", "paid")
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("%d charges", n)
	}
	if status, _, text := a.browse(page + "/pdf"); status != 200 || !strings.HasPrefix(text, "%PDF-1.4") || !strings.Contains(text, "Total: 51.34 USD") {
		t.Errorf("the PDF: %d", status)
	}
	for _, address := range []string{"http://sandbox.test/invoice/" + a.draft(customer, 1), "http://sandbox.test/invoice/in_0", "http://sandbox.test/", "http://sandbox.test/pay/x/y"} {
		if status, _, _ := a.browse(address); status != 404 {
			t.Errorf("%s: %d", address, status)
		}
	}
}

func TestPortalPage(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardDeclined)
	a.open(customer, 700)
	page := a.good(a.post("/v1/billing_portal/sessions", "customer", customer, "return_url", "https://app.test/home")).text("url")
	if _, _, text := a.browse(page); !strings.Contains(text, "ending in 0002") || !strings.Contains(text, "7.00 USD") || !strings.Contains(text, "https://app.test/home") {
		t.Errorf("the page: %s", text)
	}
	if status, _, _ := a.submit(page, "action", "add", "card", string(stripetest.CardDeclined)); status != 402 {
		t.Errorf("a declined card: %d", status)
	}
	if status, to, _ := a.submit(page, "action", "add", "card", string(stripetest.CardGood)); status != 303 || !strings.HasSuffix(page, to) {
		t.Errorf("a good card: %d to %s", status, to)
	}
	got := a.good(a.get("/v1/customers/"+customer, "expand[]", "invoice_settings.default_payment_method"))
	a.expect(got, "invoice_settings.default_payment_method.card.last4", "4242")
	list := a.good(a.get("/v1/payment_methods", "customer", customer))
	old := list.text("data.1.id")
	if status, _, _ := a.submit(page, "action", "default", "method", old); status != 303 {
		t.Errorf("the old card: %d", status)
	}
	a.expect(a.good(a.get("/v1/customers/"+customer)), "invoice_settings.default_payment_method", old)
	if status, _, _ := a.submit(page, "action", "remove", "method", old); status != 303 {
		t.Errorf("removing: %d", status)
	}
	a.expect(a.good(a.get("/v1/customers/"+customer)), "invoice_settings.default_payment_method", "")
	if status, _, _ := a.submit(page, "action", "remove", "method", "pm_0"); status != 400 {
		t.Errorf("removing nothing: %d", status)
	}
}

func TestPagesAreEscaped(t *testing.T) {
	a := newAPI(t)
	customer := a.good(a.post("/v1/customers", "email", "<script>@example.com")).id()
	invoice := a.good(a.post("/v1/invoices", "customer", customer)).id()
	a.good(a.post("/v1/invoiceitems", "customer", customer, "invoice", invoice, "currency", "usd", "amount", "100", "description", "<b>(x\\"))
	a.good(a.post("/v1/invoices/" + invoice + "/finalize"))
	_, _, text := a.browse("http://sandbox.test/invoice/" + invoice)
	if strings.Contains(text, "<script>") || strings.Contains(text, "<b>") {
		t.Errorf("the page: %s", text)
	}
	if _, _, pdf := a.browse("http://sandbox.test/invoice/" + invoice + "/pdf"); !strings.Contains(pdf, `(<b>\(x\\: 1.00 USD)`) {
		t.Errorf("the PDF: %s", pdf)
	}
}

func TestPagesWithoutTheAPI(t *testing.T) {
	a := newAPI(t)
	id := a.open(a.customer(""), 100)
	for path, want := range map[string]int{"/invoice/" + id: 200, "/v1/customers": 404} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer sk_test_1")
		a.server.Pages().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	a := newAPI(t)
	secret := a.server.AddWebhook("http://hooks.test/", "")
	if secret == "" {
		t.Error("there is no secret")
	}
	customer := a.customer(stripetest.CardGood)
	id := a.open(customer, 4900, 234)
	first := a.request(http.MethodPost, "/v1/customers", "k", "name", "Bob")
	a.setup(customer)
	var file bytes.Buffer
	if err := a.server.Save(&file); err != nil {
		t.Fatal(err)
	}
	before := a.get("/v1/events", "limit", "100").raw

	options := stripetest.Options{Now: a.clock.Now, URL: "http://sandbox.test"}
	b := &api{t: t, server: stripetest.New(options), clock: a.clock}
	b.client = b.server.Client()
	if err := b.server.Load(bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := b.server.Save(&again); err != nil {
		t.Fatal(err)
	}
	if again.String() != file.String() {
		t.Errorf("saved again it differs:\n%s\n%s", file.String(), again.String())
	}
	if after := b.get("/v1/events", "limit", "100").raw; after != before {
		t.Errorf("the events differ:\n%s\n%s", before, after)
	}
	if got := b.request(http.MethodPost, "/v1/customers", "k", "name", "Bob"); got.raw != first.raw {
		t.Errorf("the key is forgotten: %s", got.raw)
	}
	got := b.good(b.post("/v1/invoices/" + id + "/pay"))
	b.expect(got, "status", "paid", "amount_paid", "5134", "lines.data.1.amount", "234")
	if got := b.customer(""); strings.Compare(got, first.id()) <= 0 {
		t.Errorf("the id %s is not after %s", got, first.id())
	}

	for name, text := range map[string]string{
		"nothing":         "",
		"no JSON":         "x",
		"another format":  `{"format":9}`,
		"another account": strings.Replace(file.String(), `"account":"acct`, `"account":"other`, 1),
		"a null object":   strings.Replace(file.String(), `"customers":[`, `"customers":[null,`, 1),
	} {
		if err := b.server.Load(strings.NewReader(text)); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
	b.expect(b.good(b.get("/v1/invoices/"+id)), "status", "paid")
}
