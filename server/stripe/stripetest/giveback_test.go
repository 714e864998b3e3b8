package stripetest_test

import (
	"testing"

	"tollgate/server/stripe/stripetest"
)

// paid makes a paid invoice and gives its charge.
func (a *api) paid(customer string, amount int) (invoice, charge string) {
	a.t.Helper()
	invoice = a.open(customer, amount)
	got := a.good(a.post("/v1/invoices/" + invoice + "/pay"))
	a.expect(got, "status", "paid")
	return invoice, got.text("charge")
}

func TestRefunds(t *testing.T) {
	a := newAPI(t)
	_, charge := a.paid(a.customer(stripetest.CardGood), 1000)
	a.expect(a.good(a.post("/v1/refunds", "charge", charge, "amount", "300", "reason", "requested_by_customer", "metadata[note]", "x")),
		"status", "succeeded", "amount", "300", "metadata.note", "x")
	a.expect(a.good(a.get("/v1/charges/"+charge)), "amount_refunded", "300", "refunded", "false")
	a.refused(a.post("/v1/refunds", "charge", charge, "amount", "701"), 400, "")
	intent := a.good(a.get("/v1/charges/" + charge)).text("payment_intent")
	a.expect(a.good(a.post("/v1/refunds", "payment_intent", intent)), "amount", "700")
	a.expect(a.good(a.get("/v1/charges/"+charge)), "amount_refunded", "1000", "refunded", "true")
	a.refused(a.post("/v1/refunds", "charge", charge), 400, "charge_already_refunded")
	a.refused(a.post("/v1/refunds", "amount", "1"), 400, "parameter_missing")
	a.refused(a.post("/v1/refunds", "charge", "ch_0"), 400, "resource_missing")
	a.expect(a.good(a.get("/v1/refunds", "charge", charge)), "data.0.amount", "700", "data.1.amount", "300", "has_more", "false")
}

func TestCreditNoteOfAnOpenInvoice(t *testing.T) {
	a := newAPI(t)
	id := a.open(a.customer(stripetest.CardGood), 1000)
	a.refused(a.post("/v1/credit_notes", "invoice", id, "amount", "1001"), 400, "")
	a.refused(a.post("/v1/credit_notes", "invoice", id, "amount", "100", "refund_amount", "100"), 400, "")
	note := a.good(a.post("/v1/credit_notes", "invoice", id, "lines[0][type]", "custom_line_item", "lines[0][description]", "sorry",
		"lines[0][unit_amount]", "150", "lines[0][quantity]", "2", "reason", "order_change", "metadata[ledger]", "l1"))
	a.expect(note, "amount", "300", "status", "issued", "type", "pre_payment", "lines.data.0.amount", "300", "metadata.ledger", "l1")
	a.expect(a.good(a.get("/v1/invoices/"+id)), "amount_remaining", "700", "amount_due", "700", "total", "1000", "pre_payment_credit_notes_amount", "300", "status", "open")
	a.expect(a.good(a.post("/v1/invoices/"+id+"/pay")), "amount_paid", "700", "status", "paid")
	if c := a.server.Charges(); len(c) != 1 || c[0].Amount != 700 {
		t.Errorf("the charges are %+v", c)
	}
	whole := a.open(a.customer(stripetest.CardGood), 500)
	a.good(a.post("/v1/credit_notes", "invoice", whole, "amount", "500"))
	a.expect(a.good(a.get("/v1/invoices/"+whole)), "status", "paid", "amount_paid", "0")
	a.expect(a.good(a.get("/v1/credit_notes", "invoice", whole)), "data.0.amount", "500", "data.1", "")
}

func TestCreditNoteOfAPaidInvoice(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardGood)
	id, charge := a.paid(customer, 1000)
	a.refused(a.post("/v1/credit_notes", "invoice", id, "amount", "100"), 400, "")
	got := a.good(a.post("/v1/credit_notes", "invoice", id, "amount", "300", "refund_amount", "200", "credit_amount", "60", "out_of_band_amount", "40", "expand[]", "refund"))
	a.expect(got, "type", "post_payment", "refund.amount", "200", "refund.charge", charge)
	a.expect(a.good(a.get("/v1/customers/"+customer)), "balance", "-60")
	a.expect(a.good(a.get("/v1/invoices/"+id)), "post_payment_credit_notes_amount", "300", "status", "paid")
	a.refused(a.post("/v1/credit_notes", "invoice", id, "amount", "701", "refund_amount", "701"), 400, "")
	a.refused(a.post("/v1/credit_notes", "invoice", a.draft(customer, 5), "amount", "1"), 400, "")
	outside := a.open(customer, 1000)
	a.good(a.post("/v1/invoices/"+outside+"/pay", "paid_out_of_band", "true"))
	a.refused(a.post("/v1/credit_notes", "invoice", outside, "amount", "100", "refund_amount", "100"), 400, "")
}

func TestDisputes(t *testing.T) {
	a := newAPI(t)
	id, charge := a.paid(a.customer(stripetest.CardGood), 1000)
	dispute, err := a.server.Dispute(id, "")
	if err != nil {
		t.Fatal(err)
	}
	a.expect(a.good(a.get("/v1/disputes/"+dispute)), "status", "needs_response", "amount", "1000", "charge", charge)
	a.expect(a.good(a.get("/v1/disputes", "charge", charge)), "data.0.id", dispute)
	a.expect(a.good(a.get("/v1/charges/"+charge)), "disputed", "true")
	a.refused(a.post("/v1/refunds", "charge", charge), 400, "charge_disputed")
	a.expect(a.good(a.get("/v1/events", "type", "charge.dispute.created")), "data.0.data.object.id", dispute)
	if err := a.server.CloseDispute(dispute, true); err != nil {
		t.Fatal(err)
	}
	a.expect(a.good(a.get("/v1/disputes/"+dispute)), "status", "won")
	a.good(a.post("/v1/refunds", "charge", charge))
	if _, err := a.server.Dispute(id, ""); err == nil {
		t.Error("disputed twice")
	}
	if err := a.server.CloseDispute(dispute, false); err == nil {
		t.Error("closed twice")
	}
}

func TestProductsAndPrices(t *testing.T) {
	a := newAPI(t)
	product := a.good(a.post("/v1/products", "id", "tollgate_pro", "name", "Pro", "metadata[plan]", "pro")).id()
	a.refused(a.post("/v1/products", "id", "tollgate_pro", "name", "Pro"), 400, "resource_already_exists")
	price := a.good(a.post("/v1/prices", "product", product, "currency", "usd", "unit_amount", "4900", "lookup_key", "pro", "recurring[interval]", "month"))
	a.expect(price, "type", "recurring", "unit_amount_decimal", "4900", "recurring.interval", "month", "product", "tollgate_pro")
	a.refused(a.post("/v1/prices", "product", product, "currency", "usd", "unit_amount", "5900", "lookup_key", "pro"), 400, "")
	next := a.good(a.post("/v1/prices", "product", product, "currency", "usd", "unit_amount", "5900", "lookup_key", "pro", "transfer_lookup_key", "true")).id()
	a.expect(a.good(a.get("/v1/prices", "lookup_keys[0]", "pro", "expand[]", "data.product")), "data.0.id", next, "data.1", "", "data.0.product.name", "Pro")
	a.expect(a.good(a.post("/v1/prices/"+price.id(), "active", "false")), "active", "false")
	a.expect(a.good(a.get("/v1/prices", "product", product, "active", "true")), "data.0.id", next, "data.1", "")
	a.expect(a.good(a.post("/v1/products/"+product, "name", "Professional")), "name", "Professional")
	a.expect(a.good(a.get("/v1/products", "ids[0]", product)), "data.0.metadata.plan", "pro")
	a.refused(a.post("/v1/prices", "product", "prod_0", "currency", "usd", "unit_amount", "1"), 400, "resource_missing")
}
