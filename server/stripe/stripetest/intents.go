package stripetest

// newIntent makes a payment intent without a payment method.
func (s *Server) newIntent(amount int64, currency, customer string, metadata map[string]string) *PaymentIntent {
	i := &PaymentIntent{
		Base:   s.newBase("pi", "payment_intent", metadata),
		Amount: amount, Currency: currency, Customer: customer, CaptureMethod: "automatic",
		PaymentMethodTypes: []string{"card"}, Status: "requires_payment_method",
	}
	i.ClientSecret = i.ID + "_secret_sandbox"
	s.state.Intents.add(i)
	return i
}

// createIntent makes a payment intent and, where the request says confirm,
// collects it at once. A card that was refused is 402 with the intent in the
// error; the intent stays.
func createIntent(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("amount", "currency"); f != nil {
		return nil, f
	}
	meta, f := c.p.metadata(nil)
	if f != nil {
		return nil, f
	}
	amount, f := c.p.integer("amount")
	if f != nil {
		return nil, f
	}
	confirm, f := c.p.boolean("confirm", false)
	if f != nil {
		return nil, f
	}
	away, f := c.p.boolean("off_session", false)
	if f != nil {
		return nil, f
	}
	if away && !confirm {
		return nil, invalid("", "off_session", "The parameter `off_session` cannot be passed when creating a PaymentIntent unless `confirm` is set to true.")
	}
	currency := c.p.str("currency")
	if amount < 1 {
		return nil, invalid("parameter_invalid_integer", "amount", "This value must be greater than or equal to 1.")
	}
	if f := checkAmount(amount, currency, "amount"); f != nil {
		return nil, f
	}
	if least := minimumCharge(currency); amount < least {
		return nil, invalid("amount_too_small", "amount", "Amount must be at least "+money(least, currency))
	}
	customer := c.p.str("customer")
	if customer != "" {
		if _, f := c.customer("customer", customer); f != nil {
			return nil, f
		}
	}
	m, f := c.methodOfIntent(customer)
	if f != nil {
		return nil, f
	}
	if confirm && m == nil {
		return nil, refused("payment_intent_unexpected_state", "", "You cannot confirm this PaymentIntent because it's missing a payment method.")
	}
	i := s.newIntent(amount, currency, customer, meta)
	i.Description, i.SetupFutureUsage = c.p.str("description"), c.p.str("setup_future_usage")
	s.emit("payment_intent.created", plain(i))
	switch {
	case confirm:
		if f := s.charge(i, m, payment{offSession: away}, i.Description); f != nil {
			now := *i
			f.PaymentIntent = &now
			return nil, f
		}
	case m != nil:
		i.Status, i.PaymentMethod = "requires_confirmation", m.ID
	}
	return *i, nil
}

// methodOfIntent is the payment method that a request for a payment intent names;
// nil if it names none. A test card's token is a new card of nobody.
func (c *call) methodOfIntent(customer string) (*PaymentMethod, *failure) {
	id := c.p.str("payment_method")
	if id == "" {
		return nil, nil
	}
	m, ok := c.s.state.PaymentMethods.byID[id]
	if !ok {
		k, ok := kindOf(id)
		if !ok || k.token != id {
			return nil, missing("PaymentMethod", "payment_method", id)
		}
		return c.s.newCard(k), nil
	}
	switch {
	case m.Customer == "":
		return nil, refused("", "payment_method", "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer first.")
	case m.Customer != customer:
		return nil, refused("", "payment_method", "The payment method supplied ("+id+") belongs to the Customer "+m.Customer+". Please include the Customer in the `customer` parameter on the PaymentIntent.")
	}
	return m, nil
}

// payment is how a card is charged.
type payment struct {
	offSession bool // the customer is not there
	confirmed  bool // the customer has confirmed it
}

// charge tries to collect a payment intent by a card.
//
// A card that has to be confirmed leaves the intent of an invoice waiting for the
// customer, who has the invoice's page to do it on. Without an invoice and without
// the customer there is nothing to wait for: the card is declined
// (https://docs.stripe.com/payments/save-and-reuse?platform=web#web-submit-payment).
func (s *Server) charge(i *PaymentIntent, m *PaymentMethod, p payment, description string) *failure {
	k := m.kind()
	i.NextAction = nil
	alone := p.offSession && i.Invoice == ""
	if k.confirm && !p.confirmed && !alone {
		// The bank wants to ask the customer: no charge is made.
		i.Status, i.PaymentMethod = "requires_action", m.ID
		i.NextAction = &NextStep{Type: "use_stripe_sdk"}
		i.LastPaymentError = nil
		s.emit("payment_intent.requires_action", plain(i))
		f := declined("authentication_required")
		f.DeclineCode = ""
		return f
	}
	ch := &Charge{
		Base:   s.newBase("ch", "charge", i.Metadata),
		Amount: i.Amount, BillingDetails: m.BillingDetails, Currency: i.Currency, Customer: i.Customer,
		Description: description, Invoice: i.Invoice, PaymentIntent: i.ID, PaymentMethod: m.ID,
	}
	i.LatestCharge = ch.ID
	s.state.Charges.add(ch)
	refusal := k.charge
	if (k.confirm || k.confirm1 && !m.SetUp) && p.offSession && !p.confirmed {
		refusal = "authentication_required"
	}
	if refusal != "" {
		f := declined(refusal)
		f.Charge = ch.ID
		ch.Status, ch.FailureCode, ch.FailureMessage = "failed", f.Code, f.Message
		ch.Outcome = &Outcome{NetworkStatus: "declined_by_network", Reason: refusal, RiskLevel: "normal", SellerMessage: "The bank declined the payment.", Type: "issuer_declined"}
		last := f.APIError
		card := *m
		last.PaymentMethod = &card
		i.Status, i.PaymentMethod, i.LastPaymentError = "requires_payment_method", "", &last
		s.emit("charge.failed", plain(ch))
		s.emit("payment_intent.payment_failed", plain(i))
		return f
	}
	ch.Status, ch.Paid, ch.Captured, ch.AmountCaptured = "succeeded", true, true, i.Amount
	ch.Outcome = &Outcome{NetworkStatus: "approved_by_network", RiskLevel: "normal", SellerMessage: "Payment complete.", Type: "authorized"}
	i.Status, i.PaymentMethod, i.LastPaymentError, i.AmountReceived = "succeeded", m.ID, nil, i.Amount
	s.emit("charge.succeeded", plain(ch))
	s.emit("payment_intent.succeeded", plain(i))
	return nil
}

func getIntent(c *call) (any, *failure) {
	i, ok := c.s.state.Intents.byID[c.id]
	if !ok {
		return nil, missing("payment_intent", "id", c.id)
	}
	return *i, nil
}

func listIntents(c *call) (any, *failure) {
	customer := c.p.str("customer")
	return page(c, &c.s.state.Intents, func(i *PaymentIntent) bool { return customer == "" || i.Customer == customer }, plain[PaymentIntent])
}
