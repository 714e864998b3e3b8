package stripetest

import (
	"fmt"
	"slices"
)

func createRefund(c *call) (any, *failure) {
	s := c.s
	meta, f := c.p.metadata(nil)
	if f != nil {
		return nil, f
	}
	amount, f := c.p.integer("amount")
	if f != nil {
		return nil, f
	}
	if c.p.has("amount") && amount < 1 {
		return nil, invalid("parameter_invalid_integer", "amount", "This value must be greater than or equal to 1.")
	}
	reason := c.p.str("reason")
	if !slices.Contains([]string{"", "duplicate", "fraudulent", "requested_by_customer"}, reason) {
		return nil, invalid("", "reason", "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer")
	}
	id := c.p.str("charge")
	if intent := c.p.str("payment_intent"); intent != "" {
		i, ok := s.state.Intents.byID[intent]
		if !ok {
			return nil, missing("payment_intent", "payment_intent", intent)
		}
		if i.Status != "succeeded" {
			return nil, refused("", "payment_intent", "This PaymentIntent ("+intent+") does not have a successful charge to refund.")
		}
		id = i.LatestCharge
	}
	if id == "" {
		return nil, invalid("parameter_missing", "charge", "One of the following params should be provided for this request: payment_intent or charge.")
	}
	ch, ok := s.state.Charges.byID[id]
	if !ok {
		return nil, missing("charge", "charge", id)
	}
	if amount == 0 {
		amount = ch.Amount - ch.AmountRefunded
	}
	o, f := s.refund(ch, amount, reason, meta)
	if f != nil {
		return nil, f
	}
	return *o, nil
}

// refund gives a part of a charge back.
func (s *Server) refund(ch *Charge, amount int64, reason string, meta map[string]string) (*Refund, *failure) {
	left := ch.Amount - ch.AmountRefunded
	switch {
	case !ch.Paid:
		return nil, refused("charge_not_refundable", "", "Charge "+ch.ID+" was not successful and cannot be refunded.")
	case ch.Disputed && s.state.Disputes.byID[ch.Dispute].Status != "won":
		return nil, refused("charge_disputed", "", "Charge "+ch.ID+" has been charged back; cannot issue a refund.")
	case left == 0:
		return nil, refused("charge_already_refunded", "", "Charge "+ch.ID+" has already been refunded.")
	case amount > left:
		return nil, refused("", "amount", fmt.Sprintf("Refund amount (%s) is greater than unrefunded amount on charge (%s)", money(amount, ch.Currency), money(left, ch.Currency)))
	}
	o := &Refund{
		Base: s.newBase("re", "refund", meta), Amount: amount, Charge: ch.ID, Currency: ch.Currency,
		PaymentIntent: ch.PaymentIntent, Reason: reason, Status: "succeeded",
	}
	s.state.Refunds.add(o)
	ch.AmountRefunded += amount
	ch.Refunded = ch.AmountRefunded == ch.Amount
	s.emit("charge.refunded", plain(ch))
	return o, nil
}

func getRefund(c *call) (any, *failure) {
	o, ok := c.s.state.Refunds.byID[c.id]
	if !ok {
		return nil, missing("refund", "id", c.id)
	}
	return *o, nil
}

func listRefunds(c *call) (any, *failure) {
	charge, intent := c.p.str("charge"), c.p.str("payment_intent")
	keep := func(o *Refund) bool {
		return (charge == "" || o.Charge == charge) && (intent == "" || o.PaymentIntent == intent)
	}
	return page(c, &c.s.state.Refunds, keep, plain[Refund])
}

func (s *Server) viewCreditNote(o *CreditNote) any {
	v := *o
	v.Parts, v.Credited = nil, 0
	v.Lines = &List{Object: "list", Data: []any{}, URL: "/v1/credit_notes/" + o.ID + "/lines"}
	for i, l := range o.Parts {
		if i == 10 {
			v.Lines.HasMore = true
			break
		}
		v.Lines.Data = append(v.Lines.Data, l)
	}
	return v
}

// createCreditNote lowers what an open invoice still asks for, or gives back what
// a paid one took: as a refund, to the customer's balance, or outside of Stripe.
func createCreditNote(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("invoice"); f != nil {
		return nil, f
	}
	n, f := c.readCreditNote()
	if f != nil {
		return nil, f
	}
	o, f := c.invoice("invoice", c.p.str("invoice"))
	if f != nil {
		return nil, f
	}
	if o.Status != "open" && o.Status != "paid" && o.Status != "uncollectible" {
		return nil, refused("", "invoice", "You cannot create a credit note for a "+o.Status+" invoice. The invoice must be open, uncollectible or paid.")
	}
	given := o.PrePaymentCredit + o.PostPaymentCredit
	if o.Status == "open" && n.amount > o.AmountRemaining || n.amount > o.Total-given {
		return nil, refused("", "amount", "The amount of the credit note is more than what can be credited on this invoice.")
	}
	back := n.refundAmount + n.creditAmount + n.outside
	if o.Status == "paid" && back != n.amount {
		return nil, refused("", "", "The sum of credit amount, refund amount and out of band amount ("+decimal(back)+") must equal the credit note amount ("+decimal(n.amount)+").")
	}
	if o.Status != "paid" && back != 0 {
		return nil, refused("", "", "You can only specify refund_amount, credit_amount, or out_of_band_amount for a paid invoice.")
	}
	note := &CreditNote{
		Amount: n.amount, Subtotal: n.amount, Total: n.amount, Currency: o.Currency, Customer: o.Customer, Invoice: o.ID,
		Memo: c.p.str("memo"), Reason: c.p.str("reason"), OutOfBandAmount: n.outside, Status: "issued", Type: "pre_payment",
		Credited: n.creditAmount, Parts: n.lines,
	}
	if o.Status == "paid" {
		note.Type = "post_payment"
		if f := c.giveBack(o, note, n); f != nil {
			return nil, f
		}
		o.PostPaymentCredit += n.amount
	}
	note.Base = s.newBase("cn", "credit_note", n.metadata)
	note.Number = fmt.Sprintf("%s-CN-%02d", o.Number, s.creditNotesOf(o)+1)
	note.PDF = s.base() + "/invoice/" + o.ID + "/pdf"
	for i := range note.Parts {
		note.Parts[i].ID = fmt.Sprintf("cnli_%s%02d", suffix(note.ID), i)
	}
	s.state.CreditNotes.add(note)
	s.emit("credit_note.created", s.viewCreditNote(note))
	if o.Status != "paid" {
		o.PrePaymentCredit += n.amount
		o.AmountDue -= n.amount
		o.AmountRemaining -= n.amount
		if o.AmountRemaining == 0 {
			s.cancelIntent(o, "")
			s.paid(o)
			return s.viewCreditNote(note), nil
		}
		if i := s.state.Intents.byID[o.PaymentIntent]; i != nil {
			i.Amount = o.AmountRemaining
		}
	}
	s.emit("invoice.updated", s.viewInvoice(o))
	return s.viewCreditNote(note), nil
}

// noteRequest is what a request for a credit note says.
type noteRequest struct {
	amount, refundAmount, creditAmount, outside int64
	lines                                       []CreditNoteLine
	metadata                                    map[string]string
}

func (c *call) readCreditNote() (n noteRequest, f *failure) {
	for _, part := range []struct {
		name  string
		field *int64
	}{{"amount", &n.amount}, {"refund_amount", &n.refundAmount}, {"credit_amount", &n.creditAmount}, {"out_of_band_amount", &n.outside}} {
		if *part.field, f = c.p.integer(part.name); f != nil {
			return n, f
		}
		if *part.field < 0 {
			return n, invalid("parameter_invalid_integer", part.name, "This value must be greater than or equal to 0.")
		}
	}
	if !slices.Contains([]string{"", "duplicate", "fraudulent", "order_change", "product_unsatisfactory"}, c.p.str("reason")) {
		return n, invalid("", "reason", "Invalid reason: must be one of duplicate, fraudulent, order_change, or product_unsatisfactory")
	}
	if n.metadata, f = c.p.metadata(nil); f != nil {
		return n, f
	}
	var sum int64
	for _, e := range c.p.each("lines") {
		l := CreditNoteLine{Object: "credit_note_line_item", Description: e.str("description"), InvoiceLine: e.str("invoice_line_item"), Type: e.str("type"), Quantity: 1}
		if l.Amount, f = e.integer("amount"); f != nil {
			return n, f
		}
		if e.has("unit_amount") {
			if l.Amount, f = e.integer("unit_amount"); f != nil {
				return n, f
			}
			if e.has("quantity") {
				if l.Quantity, f = e.integer("quantity"); f != nil {
					return n, f
				}
				if l.Quantity < 0 || l.Quantity > maxQuantity {
					return n, invalid("parameter_invalid_integer", e.key("quantity"), "Invalid quantity.")
				}
			}
			l.Amount *= l.Quantity
		}
		sum += l.Amount
		n.lines = append(n.lines, l)
	}
	switch {
	case n.amount == 0 && len(n.lines) == 0:
		n.amount = n.refundAmount + n.creditAmount + n.outside
	case n.amount != 0 && len(n.lines) > 0 && sum != n.amount:
		return n, invalid("", "lines", "The sum of the lines does not equal the amount.")
	case n.amount == 0:
		n.amount = sum
	}
	if n.amount <= 0 {
		return n, invalid("", "amount", "You must specify either `amount` or `lines`, and it must be above 0.")
	}
	if len(n.lines) == 0 {
		n.lines = []CreditNoteLine{{Object: "credit_note_line_item", Amount: n.amount, Quantity: 1, Type: "custom_line_item"}}
	}
	return n, nil
}

// giveBack moves the money of a credit note for a paid invoice.
func (c *call) giveBack(o *Invoice, note *CreditNote, n noteRequest) *failure {
	s := c.s
	if id := c.p.str("refund"); id != "" {
		r, ok := s.state.Refunds.byID[id]
		if !ok {
			return missing("refund", "refund", id)
		}
		note.Refund = r.ID
	} else if n.refundAmount > 0 {
		ch := s.state.Charges.byID[o.Charge]
		if ch == nil {
			return refused("", "refund_amount", "This invoice has no charge that could be refunded.")
		}
		r, f := s.refund(ch, n.refundAmount, "", n.metadata)
		if f != nil {
			return f
		}
		note.Refund = r.ID
	}
	if customer := s.state.Customers.byID[o.Customer]; customer != nil && n.creditAmount > 0 {
		customer.Balance -= n.creditAmount
		s.emit("customer.updated", s.viewCustomer(customer))
	}
	return nil
}

// creditNotesOf counts the credit notes of an invoice.
func (s *Server) creditNotesOf(o *Invoice) (n int) {
	for _, note := range s.state.CreditNotes.all {
		if note.Invoice == o.ID {
			n++
		}
	}
	return n
}

func (c *call) creditNote() (*CreditNote, *failure) {
	o, ok := c.s.state.CreditNotes.byID[c.id]
	if !ok {
		return nil, missing("credit_note", "id", c.id)
	}
	return o, nil
}

func getCreditNote(c *call) (any, *failure) {
	o, f := c.creditNote()
	if f != nil {
		return nil, f
	}
	return c.s.viewCreditNote(o), nil
}

func listCreditNotes(c *call) (any, *failure) {
	customer, invoice := c.p.str("customer"), c.p.str("invoice")
	keep := func(o *CreditNote) bool {
		return (customer == "" || o.Customer == customer) && (invoice == "" || o.Invoice == invoice)
	}
	return page(c, &c.s.state.CreditNotes, keep, c.s.viewCreditNote)
}

func listCreditNoteLines(c *call) (any, *failure) {
	o, f := c.creditNote()
	if f != nil {
		return nil, f
	}
	list := &List{Object: "list", Data: []any{}, URL: c.r.URL.Path}
	for _, l := range o.Parts {
		list.Data = append(list.Data, l)
	}
	return list, nil
}

func voidCreditNote(c *call) (any, *failure) {
	note, f := c.creditNote()
	if f != nil {
		return nil, f
	}
	o := c.s.state.Invoices.byID[note.Invoice]
	if note.Status != "issued" || note.Type != "pre_payment" || o.Status != "open" {
		return nil, refused("", "", "You can only void an issued credit note of an open invoice.")
	}
	note.Status, note.VoidedAt = "void", c.s.now().Unix()
	o.PrePaymentCredit -= note.Amount
	o.AmountDue += note.Amount
	o.AmountRemaining += note.Amount
	if i := c.s.state.Intents.byID[o.PaymentIntent]; i != nil {
		i.Amount = o.AmountRemaining
	}
	c.s.emit("credit_note.voided", c.s.viewCreditNote(note))
	c.s.emit("invoice.updated", c.s.viewInvoice(o))
	return c.s.viewCreditNote(note), nil
}

func getDispute(c *call) (any, *failure) {
	o, ok := c.s.state.Disputes.byID[c.id]
	if !ok {
		return nil, missing("dispute", "id", c.id)
	}
	return *o, nil
}

func listDisputes(c *call) (any, *failure) {
	charge, intent := c.p.str("charge"), c.p.str("payment_intent")
	keep := func(o *Dispute) bool {
		return (charge == "" || o.Charge == charge) && (intent == "" || o.PaymentIntent == intent)
	}
	return page(c, &c.s.state.Disputes, keep, plain[Dispute])
}
