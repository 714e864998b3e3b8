package stripetest

import (
	"fmt"
	"strconv"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func finalizeInvoice(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	advance, f := c.p.boolean("auto_advance", o.AutoAdvance)
	if f != nil {
		return nil, f
	}
	if o.Status == "draft" {
		o.AutoAdvance = advance
	}
	if f := c.s.finalize(o); f != nil {
		return nil, f
	}
	return c.s.viewInvoice(o), nil
}

// finalize closes a draft. With what the customer's balance adds or pays, three
// things can come of it: it is open; nothing is due and it is paid; or less is
// due than Stripe can charge, then it is paid and the amount goes to the
// customer's balance, to be added to the next invoice.
func (s *Server) finalize(o *Invoice) *failure {
	if o.Status != "draft" {
		return refused("", "", "This invoice is already finalized, you can't re-finalize a non-draft invoice.")
	}
	s.total(o)
	now := s.now().Unix()
	customer := s.state.Customers.byID[o.Customer]
	if customer == nil || customer.Deleted {
		return missing("customer", "customer", o.Customer)
	}
	if o.Number == "" {
		o.Number = fmt.Sprintf("%s-%04d", customer.InvoicePrefix, customer.NextNumber)
		customer.NextNumber++
	}
	o.CustomerEmail, o.CustomerName, o.CustomerAddress = customer.Email, customer.Name, customer.Address
	o.Status = "open"
	o.StatusTransitions.FinalizedAt = now
	if o.EffectiveAt == 0 {
		o.EffectiveAt = now
	}
	o.HostedInvoiceURL = s.base() + "/invoice/" + o.ID
	o.InvoicePDF = o.HostedInvoiceURL + "/pdf"

	due := o.Total + o.StartingBalance
	var ending int64
	if due <= 0 || due < minimumCharge(o.Currency) {
		ending = due
		o.AmountDue = 0
	} else {
		o.AmountDue = due
	}
	o.AmountRemaining = o.AmountDue
	o.EndingBalance = &ending
	if customer.Balance != ending {
		customer.Balance = ending
		s.emit("customer.updated", s.viewCustomer(customer))
	}
	if o.AmountDue > 0 {
		i := s.newIntent(o.AmountDue, o.Currency, o.Customer, nil)
		i.Invoice = o.ID
		i.Description = "Payment for Invoice"
		o.PaymentIntent = i.ID
		s.emit("payment_intent.created", plain(i))
	}
	s.emit("invoice.finalized", s.viewInvoice(o))
	if o.AmountDue == 0 {
		s.paid(o)
	}
	return nil
}

// paid ends an invoice well.
func (s *Server) paid(o *Invoice) {
	o.Status, o.Paid = "paid", true
	o.AmountPaid += o.AmountRemaining
	o.AmountRemaining = 0
	o.Attempted = true
	o.StatusTransitions.PaidAt = s.now().Unix()
	s.emit("invoice.updated", s.viewInvoice(o))
	s.emit("invoice.paid", s.viewInvoice(o))
	if !o.PaidOutOfBand {
		s.emit("invoice.payment_succeeded", s.viewInvoice(o))
	}
}

func payInvoice(c *call) (any, *failure) {
	s := c.s
	outside, f := c.p.boolean("paid_out_of_band", false)
	if f != nil {
		return nil, f
	}
	away, f := c.p.boolean("off_session", true)
	if f != nil {
		return nil, f
	}
	if _, f := c.p.boolean("forgive", false); f != nil {
		return nil, f
	}
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	if f := payable(o); f != nil {
		return nil, f
	}
	if o.Status == "draft" {
		if f := s.finalize(o); f != nil {
			return nil, f
		}
		if o.Status == "paid" {
			return s.viewInvoice(o), nil
		}
	}
	if outside {
		o.PaidOutOfBand = true
		s.cancelIntent(o, "")
		s.paid(o)
		return s.viewInvoice(o), nil
	}
	m, f := c.methodFor(o)
	if f != nil {
		return nil, f
	}
	if f := s.collect(o, m, payment{offSession: away}); f != nil {
		return nil, f
	}
	return s.viewInvoice(o), nil
}

// payable refuses to collect an invoice that is done with.
func payable(o *Invoice) *failure {
	switch o.Status {
	case "paid":
		return refused("", "", "Invoice is already paid")
	case "void":
		return refused("", "", "This invoice can no longer be paid because it has been voided.")
	}
	return nil
}

// methodFor is what pays an invoice: the one in the request, else the invoice's,
// else the customer's default.
func (c *call) methodFor(o *Invoice) (*PaymentMethod, *failure) {
	s := c.s
	customer := s.state.Customers.byID[o.Customer]
	if id := c.p.str("payment_method"); id != "" {
		m, ok := s.state.PaymentMethods.byID[id]
		if !ok || m.Customer != o.Customer {
			return nil, missing("PaymentMethod", "payment_method", id)
		}
		return m, nil
	}
	for _, id := range []string{o.DefaultPaymentMethod, customer.InvoiceSettings.DefaultPaymentMethod} {
		if m := s.state.PaymentMethods.byID[id]; m != nil && m.Customer == o.Customer {
			return m, nil
		}
	}
	return nil, refused("resource_missing", "", "This customer has no attached payment source or default payment method. Please consider adding a default payment method.")
}

// collect charges what remains of an open invoice. A refusal changes the invoice
// too: it has been attempted.
func (s *Server) collect(o *Invoice, m *PaymentMethod, p payment) *failure {
	i := s.state.Intents.byID[o.PaymentIntent]
	if i == nil {
		return serverError()
	}
	o.Attempted = true
	o.AttemptCount++
	i.Amount = o.AmountRemaining
	f := s.charge(i, m, p, o.Description)
	if i.LatestCharge != "" {
		o.Charge = i.LatestCharge
	}
	if f == nil {
		s.paid(o)
		return nil
	}
	s.emit("invoice.updated", s.viewInvoice(o))
	if i.Status == "requires_action" {
		s.emit("invoice.payment_action_required", s.viewInvoice(o))
		f.Code = "invoice_payment_intent_requires_action"
		f.DocURL = docURL(f.Code)
		f.Message = "This payment requires additional user action before it can be completed successfully. Payment can be completed using the `PaymentIntent` associated with the invoice."
	}
	s.emit("invoice.payment_failed", s.viewInvoice(o))
	return f
}

// cancelIntent ends the payment intent of an invoice that needs none any more.
func (s *Server) cancelIntent(o *Invoice, reason string) {
	i := s.state.Intents.byID[o.PaymentIntent]
	if i == nil || i.Status == "succeeded" || i.Status == "canceled" {
		return
	}
	i.Status, i.CanceledAt, i.CancellationReason, i.NextAction = "canceled", s.now().Unix(), reason, nil
	s.emit("payment_intent.canceled", plain(i))
}

func voidInvoice(c *call) (any, *failure) {
	s := c.s
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	if o.Status != "open" && o.Status != "uncollectible" {
		return nil, refused("", "", "You can only pass in open or uncollectible invoices to be voided. This invoice is "+o.Status+".")
	}
	// What the balance gave to the invoice or took from it goes back.
	if customer := s.state.Customers.byID[o.Customer]; customer != nil && o.EndingBalance != nil && o.StartingBalance != *o.EndingBalance {
		customer.Balance += o.StartingBalance - *o.EndingBalance
		s.emit("customer.updated", s.viewCustomer(customer))
	}
	o.Status = "void"
	o.StatusTransitions.VoidedAt = s.now().Unix()
	s.cancelIntent(o, "void_invoice")
	s.emit("invoice.updated", s.viewInvoice(o))
	s.emit("invoice.voided", s.viewInvoice(o))
	return s.viewInvoice(o), nil
}

func markUncollectible(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	if o.Status != "open" {
		return nil, refused("", "", "You can only mark open invoices as uncollectible. This invoice is "+o.Status+".")
	}
	o.Status = "uncollectible"
	o.StatusTransitions.MarkedUncollectibleAt = c.s.now().Unix()
	c.s.emit("invoice.updated", c.s.viewInvoice(o))
	c.s.emit("invoice.marked_uncollectible", c.s.viewInvoice(o))
	return c.s.viewInvoice(o), nil
}

func getCharge(c *call) (any, *failure) {
	o, ok := c.s.state.Charges.byID[c.id]
	if !ok {
		return nil, missing("charge", "id", c.id)
	}
	return *o, nil
}

func listCharges(c *call) (any, *failure) {
	customer, intent := c.p.str("customer"), c.p.str("payment_intent")
	keep := func(o *Charge) bool {
		return (customer == "" || o.Customer == customer) && (intent == "" || o.PaymentIntent == intent)
	}
	return page(c, &c.s.state.Charges, keep, plain[Charge])
}
