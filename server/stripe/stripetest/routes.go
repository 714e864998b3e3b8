package stripetest

import (
	"net/http"
	"strings"
)

// endpoint is one method of the API with the parameters that it has.
type endpoint struct {
	allowed map[string]bool
	run     func(*call) (any, *failure)
}

func at(run func(*call) (any, *failure), allowed string) *endpoint {
	e := &endpoint{allowed: map[string]bool{"expand": true}, run: run}
	for name := range strings.FieldsSeq(allowed) {
		e.allowed[name] = true
	}
	return e
}

// route finds the endpoint of a request, and sets the ids that its path has.
func (c *call) route() *endpoint {
	path := strings.TrimPrefix(c.r.URL.Path, "/v1/")
	// Two groups have their resources one level deeper.
	path = strings.Replace(path, "checkout/sessions", "checkout.sessions", 1)
	path = strings.Replace(path, "billing_portal/sessions", "billing_portal.sessions", 1)
	parts := strings.Split(path, "/")
	if len(parts) > 4 {
		return nil
	}
	if len(parts) > 1 {
		c.id = parts[1]
		parts[1] = "*"
	}
	if len(parts) > 3 {
		c.sub = parts[3]
		parts[3] = "*"
	}
	return c.s.endpoints[c.r.Method+" "+strings.Join(parts, "/")]
}

// endpoints is the API. The parameters are those of stripe-go v76, without what
// the stand-in does not do: a request for that is refused, not misunderstood.
func endpoints() map[string]*endpoint {
	const (
		list     = "created limit starting_after ending_before "
		customer = "address balance description email invoice_settings metadata name payment_method phone tax_exempt"
		invoice  = "auto_advance collection_method custom_fields days_until_due default_payment_method description due_date effective_at footer metadata number statement_descriptor"
		product  = "active description metadata name unit_label url"
		hook     = "description enabled_events metadata url"
	)
	get, post, del := http.MethodGet+" ", http.MethodPost+" ", http.MethodDelete+" "
	return map[string]*endpoint{
		get + "account": at(getAccount, ""),

		post + "customers":                     at(createCustomer, customer),
		get + "customers":                      at(listCustomers, list+"email"),
		get + "customers/*":                    at(getCustomer, ""),
		post + "customers/*":                   at(updateCustomer, customer),
		del + "customers/*":                    at(deleteCustomer, ""),
		get + "customers/*/payment_methods":    at(listPaymentMethods, list+"type"),
		get + "customers/*/payment_methods/*":  at(getPaymentMethod, ""),
		get + "payment_methods":                at(listPaymentMethods, list+"customer type"),
		get + "payment_methods/*":              at(getPaymentMethod, ""),
		post + "payment_methods/*/attach":      at(attachPaymentMethod, "customer"),
		post + "payment_methods/*/detach":      at(detachPaymentMethod, ""),
		get + "setup_intents/*":                at(getSetupIntent, ""),
		post + "checkout.sessions":             at(createSession, "cancel_url client_reference_id currency customer customer_creation customer_email expires_at line_items locale metadata mode payment_intent_data payment_method_types setup_intent_data success_url"),
		get + "checkout.sessions":              at(listSessions, list+"customer payment_intent status"),
		get + "checkout.sessions/*":            at(getSession, ""),
		get + "checkout.sessions/*/line_items": at(listSessionItems, list),
		post + "checkout.sessions/*/expire":    at(expireSession, ""),
		post + "billing_portal.sessions":       at(createPortal, "customer return_url locale"),

		post + "invoices":                      at(createInvoice, invoice+" currency customer pending_invoice_items_behavior"),
		get + "invoices":                       at(listInvoices, list+"customer status collection_method"),
		get + "invoices/*":                     at(getInvoice, ""),
		post + "invoices/*":                    at(updateInvoice, invoice),
		del + "invoices/*":                     at(deleteInvoice, ""),
		get + "invoices/*/lines":               at(listLines, list),
		post + "invoices/*/finalize":           at(finalizeInvoice, "auto_advance"),
		post + "invoices/*/pay":                at(payInvoice, "forgive off_session paid_out_of_band payment_method"),
		post + "invoices/*/void":               at(voidInvoice, ""),
		post + "invoices/*/mark_uncollectible": at(markUncollectible, ""),
		post + "invoiceitems":                  at(createItem, "amount currency customer description discountable invoice metadata period price quantity unit_amount"),
		get + "invoiceitems":                   at(listItems, list+"customer invoice pending"),
		get + "invoiceitems/*":                 at(getItem, ""),
		del + "invoiceitems/*":                 at(deleteItem, ""),

		post + "payment_intents":     at(createIntent, "amount automatic_payment_methods confirm currency customer description metadata off_session payment_method payment_method_types setup_future_usage"),
		get + "payment_intents":      at(listIntents, list+"customer"),
		get + "payment_intents/*":    at(getIntent, ""),
		get + "charges":              at(listCharges, list+"customer payment_intent"),
		get + "charges/*":            at(getCharge, ""),
		post + "refunds":             at(createRefund, "amount charge metadata payment_intent reason"),
		get + "refunds":              at(listRefunds, list+"charge payment_intent"),
		get + "refunds/*":            at(getRefund, ""),
		post + "credit_notes":        at(createCreditNote, "amount credit_amount effective_at invoice lines memo metadata out_of_band_amount reason refund refund_amount"),
		get + "credit_notes":         at(listCreditNotes, list+"customer invoice"),
		get + "credit_notes/*":       at(getCreditNote, ""),
		post + "credit_notes/*/void": at(voidCreditNote, ""),
		get + "credit_notes/*/lines": at(listCreditNoteLines, list),
		get + "disputes":             at(listDisputes, list+"charge payment_intent"),
		get + "disputes/*":           at(getDispute, ""),
		post + "products":            at(createProduct, product+" id"),
		get + "products":             at(listProducts, list+"active ids"),
		get + "products/*":           at(getProduct, ""),
		post + "products/*":          at(updateProduct, product),
		post + "prices":              at(createPrice, "active billing_scheme currency lookup_key metadata nickname product product_data recurring tax_behavior transfer_lookup_key unit_amount"),
		get + "prices":               at(listPrices, list+"active currency lookup_keys product type"),
		get + "prices/*":             at(getPrice, ""),
		post + "prices/*":            at(updatePrice, "active lookup_key metadata nickname tax_behavior transfer_lookup_key"),
		get + "events":               at(listEvents, list+"type types"),
		get + "events/*":             at(getEvent, ""),
		post + "webhook_endpoints":   at(createEndpoint, hook+" api_version"),
		get + "webhook_endpoints":    at(listEndpoints, list),
		get + "webhook_endpoints/*":  at(getEndpoint, ""),
		post + "webhook_endpoints/*": at(updateEndpoint, hook+" disabled"),
		del + "webhook_endpoints/*":  at(deleteEndpoint, ""),
	}
}
