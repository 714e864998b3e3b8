package stripetest

import (
	"errors"
	"fmt"
	"slices"
)

// What tests ask and do without the API: as the customer, the customer's bank, or
// Stripe itself. Objects are copies.

// Customer is a customer as it is now.
func (s *Server) Customer(id string) (Customer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.state.Customers.byID[id]
	if !ok {
		return Customer{}, false
	}
	return *o, true
}

// Customers are all customers, oldest first, also those that were deleted.
func (s *Server) Customers() []Customer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.state.Customers.all)
}

// Invoice is an invoice as it is now, without its lines.
func (s *Server) Invoice(id string) (Invoice, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.state.Invoices.byID[id]
	if !ok {
		return Invoice{}, false
	}
	v := *o
	v.items = nil
	return v, true
}

// Invoices are all invoices, oldest first, without their lines.
func (s *Server) Invoices() []Invoice {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := copies(s.state.Invoices.all)
	for i := range list {
		list[i].items = nil
	}
	return list
}

// Lines are the lines of an invoice in their order.
func (s *Server) Lines(invoice string) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.state.Invoices.byID[invoice]
	if o == nil {
		return nil
	}
	var list []Line
	for _, i := range o.items {
		list = append(list, i.line())
	}
	return list
}

// Charges are the charges that took money, oldest first, also those that were
// given back later.
func (s *Server) Charges() []Charge {
	return slices.DeleteFunc(s.Attempts(), func(c Charge) bool { return !c.Paid })
}

// Attempts are all charges, also those that were declined.
func (s *Server) Attempts() []Charge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.state.Charges.all)
}

// Intents are all payment intents, oldest first, also those of invoices.
func (s *Server) Intents() []PaymentIntent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.state.Intents.all)
}

// Refunds are all refunds, oldest first.
func (s *Server) Refunds() []Refund {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.state.Refunds.all)
}

// Events are the events of the last 30 days, oldest first.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireDue()
	return copies(s.state.Events.all)
}

// Sessions are all checkout sessions, oldest first.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireDue()
	return copies(s.state.Sessions.all)
}

func copies[T any](all []*T) []T {
	list := make([]T, len(all))
	for i, o := range all {
		list[i] = *o
	}
	return list
}

var errNoCard = errors.New("there is no such test card")

// SetCard makes a card the customer's default, whatever it would say to being
// added: it was good once. "" takes the default away.
func (s *Server) SetCard(customer string, card Card) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.state.Customers.byID[customer]
	if o == nil || o.Deleted {
		return fmt.Errorf("there is no customer %s", customer)
	}
	o.InvoiceSettings.DefaultPaymentMethod = ""
	if card != "" {
		k, ok := kindOf(string(card))
		if !ok {
			return errNoCard
		}
		m := s.newCard(k)
		s.attach(m, o)
		o.InvoiceSettings.DefaultPaymentMethod = m.ID
	}
	s.emit("customer.updated", s.viewCustomer(o))
	return nil
}

// CompleteCheckout is the customer at the checkout page, with a card that is
// confirmed where it has to be. It returns the URL to go on to. A card that is
// refused is an error, and the session stays open.
func (s *Server) CompleteCheckout(session string, card Card) (string, error) {
	k, ok := kindOf(string(card))
	if !ok {
		return "", errNoCard
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.state.Sessions.byID[session]
	if o == nil {
		return "", fmt.Errorf("there is no checkout session %s", session)
	}
	to, f := s.complete(o, k, true)
	if f != nil {
		return "", f
	}
	return to, nil
}

// PayInvoice is the customer at an invoice's page, with a card that is confirmed
// where it has to be. "" is the customer's default card. A card that is refused
// is an error.
func (s *Server) PayInvoice(invoice string, card Card) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.state.Invoices.byID[invoice]
	if o == nil {
		return fmt.Errorf("there is no invoice %s", invoice)
	}
	if f := s.payOnPage(o, string(card), true); f != nil {
		return f
	}
	return nil
}

// payOnPage pays an invoice with a card that the customer gives, or with the default one.
func (s *Server) payOnPage(o *Invoice, card string, confirmed bool) *failure {
	if o.Status == "draft" {
		return refused("", "", "This invoice is not open yet.")
	}
	if f := payable(o); f != nil {
		return f
	}
	var m *PaymentMethod
	if card == "" {
		if customer := s.state.Customers.byID[o.Customer]; customer != nil {
			m = s.state.PaymentMethods.byID[customer.InvoiceSettings.DefaultPaymentMethod]
		}
		if m == nil {
			return refused("", "", "There is no card.")
		}
	} else {
		k, ok := kindOf(card)
		if !ok {
			return refused("", "", errNoCard.Error())
		}
		m = s.newCard(k)
	}
	return s.collect(o, m, payment{confirmed: confirmed})
}

// Dispute is the card's owner contesting what was charged: of names an invoice, a
// checkout session, a payment intent, or a charge. It returns the dispute's id.
func (s *Server) Dispute(of, reason string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := of
	if o := s.state.Sessions.byID[id]; o != nil {
		id = o.PaymentIntent
	}
	if o := s.state.Invoices.byID[id]; o != nil {
		id = o.Charge
	}
	if o := s.state.Intents.byID[id]; o != nil {
		id = o.LatestCharge
	}
	ch := s.state.Charges.byID[id]
	switch {
	case ch == nil || !ch.Paid:
		return "", fmt.Errorf("there is no charge of %s", of)
	case ch.Disputed:
		return "", fmt.Errorf("charge %s is disputed already", ch.ID)
	}
	if reason == "" {
		reason = "fraudulent"
	}
	o := &Dispute{
		Base: s.newBase("dp", "dispute", nil), Amount: ch.Amount - ch.AmountRefunded, Charge: ch.ID, Currency: ch.Currency,
		PaymentIntent: ch.PaymentIntent, Reason: reason, Status: "needs_response",
	}
	s.state.Disputes.add(o)
	ch.Disputed, ch.Dispute = true, o.ID
	s.emit("charge.dispute.created", plain(o))
	s.emit("charge.dispute.funds_withdrawn", plain(o))
	return o.ID, nil
}

// CloseDispute is the bank's decision.
func (s *Server) CloseDispute(id string, won bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.state.Disputes.byID[id]
	if o == nil || o.Status == "won" || o.Status == "lost" {
		return fmt.Errorf("there is no open dispute %s", id)
	}
	o.Status = "lost"
	if won {
		o.Status = "won"
		s.emit("charge.dispute.funds_reinstated", plain(o))
	}
	s.emit("charge.dispute.closed", plain(o))
	return nil
}
