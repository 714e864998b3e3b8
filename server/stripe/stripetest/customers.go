package stripetest

import "strings"

// customer is the customer that a parameter names; nobody who was deleted.
func (c *call) customer(param, id string) (*Customer, *failure) {
	o, ok := c.s.state.Customers.byID[id]
	if !ok || o.Deleted {
		return nil, missing("customer", param, id)
	}
	return o, nil
}

// viewCustomer is a customer as it is now; of a deleted one only that it is.
func (s *Server) viewCustomer(o *Customer) any {
	if o.Deleted {
		return map[string]any{"id": o.ID, "object": "customer", "deleted": true}
	}
	return *o
}

func createCustomer(c *call) (any, *failure) {
	s := c.s
	o := &Customer{TaxExempt: "none", NextNumber: 1}
	// The parameters are read before an id is used up.
	if f := c.applyCustomer(o); f != nil {
		return nil, f
	}
	o.Base = s.newBase("cus", "customer", o.Metadata)
	o.InvoicePrefix = s.invoicePrefix()
	s.state.Customers.add(o)
	s.emit("customer.created", s.viewCustomer(o))
	if token := c.p.str("payment_method"); token != "" {
		if _, f := c.attachByToken(token, o); f != nil {
			return nil, f
		}
	}
	return s.viewCustomer(o), nil
}

// applyCustomer changes a customer as the request says.
func (c *call) applyCustomer(o *Customer) *failure {
	meta, f := c.p.metadata(o.Metadata)
	if f != nil {
		return f
	}
	balance, f := c.p.integer("balance")
	if f != nil {
		return f
	}
	if email := c.p.str("email"); email != "" && !strings.Contains(email, "@") {
		return invalid("email_invalid", "email", "Invalid email address: "+email)
	}
	settings := c.p.sub("invoice_settings")
	if id := settings.str("default_payment_method"); id != "" {
		m, ok := c.s.state.PaymentMethods.byID[id]
		if !ok {
			return missing("PaymentMethod", "invoice_settings[default_payment_method]", id)
		}
		if m.Customer == "" || m.Customer != o.ID {
			return refused("", "", "The customer does not have a payment method with the ID "+id+". The payment method must be attached to the customer.")
		}
	}
	o.Metadata = meta
	if c.p.has("balance") {
		o.Balance = balance
	}
	if settings.has("default_payment_method") {
		o.InvoiceSettings.DefaultPaymentMethod = settings.str("default_payment_method")
	}
	if c.p.hasAny("address") {
		o.Address = c.p.address("address")
	}
	for name, field := range map[string]*string{
		"name": &o.Name, "email": &o.Email, "description": &o.Description, "phone": &o.Phone, "tax_exempt": &o.TaxExempt,
	} {
		if c.p.has(name) {
			*field = c.p.str(name)
		}
	}
	return nil
}

func getCustomer(c *call) (any, *failure) {
	o, ok := c.s.state.Customers.byID[c.id]
	if !ok {
		return nil, missing("customer", "id", c.id)
	}
	return c.s.viewCustomer(o), nil
}

func updateCustomer(c *call) (any, *failure) {
	o, f := c.customer("id", c.id)
	if f != nil {
		return nil, f
	}
	if f := c.applyCustomer(o); f != nil {
		return nil, f
	}
	c.s.emit("customer.updated", c.s.viewCustomer(o))
	return c.s.viewCustomer(o), nil
}

func deleteCustomer(c *call) (any, *failure) {
	o, f := c.customer("id", c.id)
	if f != nil {
		return nil, f
	}
	before := c.s.viewCustomer(o)
	for _, m := range c.s.state.PaymentMethods.all {
		if m.Customer == o.ID {
			m.Customer = ""
		}
	}
	o.Deleted = true
	c.s.emit("customer.deleted", before)
	return c.s.viewCustomer(o), nil
}

func listCustomers(c *call) (any, *failure) {
	email := c.p.str("email")
	keep := func(o *Customer) bool { return !o.Deleted && (email == "" || o.Email == email) }
	return page(c, &c.s.state.Customers, keep, c.s.viewCustomer)
}

// attachByToken gives a card to a customer: one that is there, or a new one of a
// test card's token.
func (c *call) attachByToken(id string, o *Customer) (*PaymentMethod, *failure) {
	m, ok := c.s.state.PaymentMethods.byID[id]
	if !ok {
		k, ok := kindOf(id)
		if !ok {
			return nil, missing("PaymentMethod", "id", id)
		}
		if k.attach != "" {
			return nil, declined(k.attach)
		}
		m = c.s.newCard(k)
	}
	if k := m.kind(); k.attach != "" {
		return nil, declined(k.attach)
	}
	if m.Customer != "" && m.Customer != o.ID {
		return nil, refused("", "", "The payment method you provided has already been attached to a customer.")
	}
	c.s.attach(m, o)
	return m, nil
}

func attachPaymentMethod(c *call) (any, *failure) {
	if f := c.p.required("customer"); f != nil {
		return nil, f
	}
	o, f := c.customer("customer", c.p.str("customer"))
	if f != nil {
		return nil, f
	}
	m, f := c.attachByToken(c.id, o)
	if f != nil {
		return nil, f
	}
	return *m, nil
}

func detachPaymentMethod(c *call) (any, *failure) {
	m, ok := c.s.state.PaymentMethods.byID[c.id]
	if !ok {
		return nil, missing("PaymentMethod", "id", c.id)
	}
	if m.Customer == "" {
		return nil, refused("", "", "The payment method you provided is not attached to a customer so detachment is impossible.")
	}
	c.s.detach(m)
	return *m, nil
}

// detach takes a card from its customer; if it was the default there is none any more.
func (s *Server) detach(m *PaymentMethod) {
	o := s.state.Customers.byID[m.Customer]
	m.Customer = ""
	s.emit("payment_method.detached", plain(m))
	if o != nil && o.InvoiceSettings.DefaultPaymentMethod == m.ID {
		o.InvoiceSettings.DefaultPaymentMethod = ""
		s.emit("customer.updated", s.viewCustomer(o))
	}
}

func getPaymentMethod(c *call) (any, *failure) {
	id := c.id
	if c.sub != "" {
		id = c.sub // of /v1/customers/{id}/payment_methods/{sub}
	}
	m, ok := c.s.state.PaymentMethods.byID[id]
	if !ok || c.sub != "" && m.Customer != c.id {
		return nil, missing("PaymentMethod", "id", id)
	}
	return *m, nil
}

func listPaymentMethods(c *call) (any, *failure) {
	of := c.id
	if of == "" {
		of = c.p.str("customer")
	}
	if of == "" {
		return nil, invalid("parameter_missing", "customer", "Missing required param: customer.")
	}
	if _, f := c.customer("customer", of); f != nil {
		return nil, f
	}
	kind := c.p.str("type")
	keep := func(m *PaymentMethod) bool { return m.Customer == of && (kind == "" || m.Type == kind) }
	return page(c, &c.s.state.PaymentMethods, keep, plain[PaymentMethod])
}

func getSetupIntent(c *call) (any, *failure) {
	o, ok := c.s.state.SetupIntents.byID[c.id]
	if !ok {
		return nil, missing("setupintent", "id", c.id)
	}
	return *o, nil
}

func getAccount(c *call) (any, *failure) { return c.s.account(), nil }

func (s *Server) account() any {
	return map[string]any{
		"id": s.options.Account, "object": "account", "business_type": "company", "charges_enabled": true,
		"country": "US", "default_currency": "usd", "details_submitted": true, "email": "sandbox@example.com",
		"metadata": map[string]string{}, "payouts_enabled": true, "type": "standard",
		"settings": map[string]any{"dashboard": map[string]any{"display_name": "Sandbox", "timezone": "Etc/UTC"}},
	}
}
