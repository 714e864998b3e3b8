package stripetest

import (
	"net/url"
	"strings"
	"time"
)

// sessionLife is how long a checkout page is open.
const sessionLife = 24 * time.Hour

// webAddress refuses what a browser cannot be sent to.
func webAddress(param, text string) *failure {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return invalid("url_invalid", param, "Not a valid URL")
	}
	return nil
}

func createSession(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("mode", "success_url"); f != nil {
		return nil, f
	}
	meta, f := c.p.metadata(nil)
	if f != nil {
		return nil, f
	}
	o := &Session{
		CancelURL: c.p.str("cancel_url"), ClientReferenceID: c.p.str("client_reference_id"), Currency: c.p.str("currency"),
		CustomerCreation: c.p.str("customer_creation"), CustomerEmail: c.p.str("customer_email"), Mode: c.p.str("mode"),
		PaymentMethodTypes: []string{"card"}, PaymentStatus: "unpaid", Status: "open", SuccessURL: c.p.str("success_url"), UIMode: "hosted",
	}
	if f := webAddress("success_url", o.SuccessURL); f != nil {
		return nil, f
	}
	if o.CancelURL != "" {
		if f := webAddress("cancel_url", o.CancelURL); f != nil {
			return nil, f
		}
	}
	if o.ExpiresAt, f = c.p.integer("expires_at"); f != nil {
		return nil, f
	}
	switch o.Mode {
	case "setup":
		o.PaymentStatus = "no_payment_required"
		if c.p.hasAny("line_items") {
			return nil, invalid("", "line_items", "You can not pass `line_items` in `setup` mode.")
		}
	case "payment":
		if f := c.sessionItems(o); f != nil {
			return nil, f
		}
	default:
		return nil, invalid("", "mode", "Invalid mode: must be one of payment or setup")
	}
	if id := c.p.str("customer"); id != "" {
		customer, f := c.customer("customer", id)
		if f != nil {
			return nil, f
		}
		if o.CustomerEmail != "" {
			return nil, invalid("", "customer_email", "You may only specify one of these parameters: customer, customer_email.")
		}
		o.Customer = customer.ID
		o.CustomerDetails = &CustomerDetails{Email: customer.Email, Name: customer.Name}
	}
	o.Base = s.newBase("cs_test", "checkout.session", meta)
	if s.options.Live {
		o.ID = strings.Replace(o.ID, "test", "live", 1)
	}
	if o.ExpiresAt == 0 {
		o.ExpiresAt = o.Created + int64(sessionLife/time.Second)
	}
	o.URL = s.base() + "/pay/" + o.ID
	if o.Mode == "setup" {
		data := c.p.sub("setup_intent_data")
		meta, f := data.metadata(nil)
		if f != nil {
			return nil, f
		}
		i := &SetupIntent{
			Base: s.newBase("seti", "setup_intent", meta), Customer: o.Customer, Description: data.str("description"),
			PaymentMethodTypes: []string{"card"}, Status: "requires_payment_method", Usage: "off_session",
		}
		i.ClientSecret = i.ID + "_secret_sandbox"
		o.SetupIntent = i.ID
		s.state.SetupIntents.add(i)
		s.emit("setup_intent.created", plain(i))
	}
	s.state.Sessions.add(o)
	s.expireAt(o)
	return s.viewSession(o), nil
}

// sessionItems reads what is bought.
func (c *call) sessionItems(o *Session) *failure {
	for _, e := range c.p.each("line_items") {
		i := SessionItem{Quantity: 1}
		var f *failure
		if e.has("quantity") {
			if i.Quantity, f = e.integer("quantity"); f != nil {
				return f
			}
		}
		if i.Quantity < 1 || i.Quantity > maxQuantity {
			return invalid("parameter_invalid_integer", e.key("quantity"), "Invalid quantity.")
		}
		data := e.sub("price_data")
		currency := data.str("currency")
		unit, f := data.integer("unit_amount")
		if f != nil {
			return f
		}
		i.Description = data.sub("product_data").str("name")
		if id := e.str("price"); id != "" {
			price, ok := c.s.state.Prices.byID[id]
			if !ok {
				return missing("price", e.key("price"), id)
			}
			i.Price, unit, currency = id, price.UnitAmount, price.Currency
			if product := c.s.state.Products.byID[price.Product]; product != nil {
				i.Description = product.Name
			}
		}
		if o.Currency == "" {
			o.Currency = currency
		}
		if o.Currency != currency {
			return invalid("", e.key("price_data"), "All prices must have the same currency.")
		}
		i.Amount = unit * i.Quantity
		if f := checkAmount(i.Amount, currency, e.key("price_data")); f != nil {
			return f
		}
		o.Items = append(o.Items, i)
		o.AmountTotal += i.Amount
	}
	o.AmountSubtotal = o.AmountTotal
	if len(o.Items) == 0 {
		return invalid("parameter_missing", "line_items", "Missing required param: line_items.")
	}
	if o.AmountTotal < minimumCharge(o.Currency) {
		return invalid("amount_too_small", "", "The Checkout Session's total amount must convert to at least the minimum charge.")
	}
	data := c.p.sub("payment_intent_data")
	meta, f := data.metadata(nil)
	o.IntentMetadata, o.IntentDescription = meta, data.str("description")
	o.Keep = data.str("setup_future_usage") != ""
	return f
}

// viewSession is a session as it is now; it expires by the clock.
func (s *Server) viewSession(o *Session) any {
	s.expireDue()
	v := *o
	v.Items, v.IntentMetadata, v.IntentDescription, v.Keep = nil, nil, "", false
	if v.Status != "open" {
		v.URL = ""
	}
	return v
}

// expireDue ends the pages whose time is over. It is called before anything is
// looked at, so that nobody has to look at a page for its event to come.
func (s *Server) expireDue() {
	now := s.now().Unix()
	if s.expiry == 0 || now < s.expiry {
		return
	}
	s.expiry = 0
	next := int64(0)
	for _, o := range s.state.Sessions.all {
		switch {
		case o.Status != "open":
		case now >= o.ExpiresAt:
			s.expire(o)
		case next == 0 || o.ExpiresAt < next:
			next = o.ExpiresAt
		}
	}
	s.expiry = next
}

// expireAt notes when a page ends.
func (s *Server) expireAt(o *Session) {
	if o.Status == "open" && (s.expiry == 0 || o.ExpiresAt < s.expiry) {
		s.expiry = o.ExpiresAt
	}
}

func (s *Server) expire(o *Session) {
	o.Status = "expired"
	s.emit("checkout.session.expired", s.viewSession(o))
}

func (c *call) session() (*Session, *failure) {
	o, ok := c.s.state.Sessions.byID[c.id]
	if !ok {
		return nil, missing("checkout.session", "id", c.id)
	}
	return o, nil
}

func getSession(c *call) (any, *failure) {
	o, f := c.session()
	if f != nil {
		return nil, f
	}
	return c.s.viewSession(o), nil
}

func expireSession(c *call) (any, *failure) {
	o, f := c.session()
	if f != nil {
		return nil, f
	}
	c.s.viewSession(o)
	if o.Status != "open" {
		return nil, refused("", "", "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of "+o.Status+".")
	}
	c.s.expire(o)
	return c.s.viewSession(o), nil
}

func listSessions(c *call) (any, *failure) {
	customer, intent, status := c.p.str("customer"), c.p.str("payment_intent"), c.p.str("status")
	keep := func(o *Session) bool {
		return (customer == "" || o.Customer == customer) && (intent == "" || o.PaymentIntent == intent) && (status == "" || o.Status == status)
	}
	return page(c, &c.s.state.Sessions, keep, c.s.viewSession)
}

func listSessionItems(c *call) (any, *failure) {
	o, f := c.session()
	if f != nil {
		return nil, f
	}
	list := &List{Object: "list", Data: []any{}, URL: c.r.URL.Path}
	for _, i := range o.Items {
		list.Data = append(list.Data, map[string]any{
			"id": "li_" + suffix(o.ID), "object": "item", "amount_total": i.Amount, "amount_subtotal": i.Amount,
			"currency": o.Currency, "description": i.Description, "quantity": i.Quantity,
		})
	}
	return list, nil
}

// complete is what the checkout page does with a card: it gives the address to go
// on to, or says why the card was refused; then the page stays.
func (s *Server) complete(o *Session, k cardKind, confirmed bool) (string, *failure) {
	s.viewSession(o)
	if o.Status != "open" {
		return "", refused("", "", "This checkout session is "+o.Status+".")
	}
	refusal := k.attach
	if refusal == "" && o.Mode == "payment" {
		refusal = k.charge
	}
	if refusal == "" && (k.confirm || k.confirm1) && !confirmed {
		refusal = "authentication_failed"
	}
	customer := s.state.Customers.byID[o.Customer]
	if customer != nil && customer.Deleted {
		return "", missing("customer", "customer", o.Customer)
	}
	if refusal != "" && o.Mode == "setup" {
		f := declined(refusal)
		i := s.state.SetupIntents.byID[o.SetupIntent]
		last := f.APIError
		i.LastSetupError = &last
		s.emit("setup_intent.setup_failed", plain(i))
		return "", f
	}
	if customer == nil && o.CustomerCreation == "always" {
		customer = &Customer{Base: s.newBase("cus", "customer", nil), Email: o.CustomerEmail, TaxExempt: "none", NextNumber: 1}
		customer.InvoicePrefix = s.invoicePrefix()
		s.state.Customers.add(customer)
		s.emit("customer.created", s.viewCustomer(customer))
		o.Customer = customer.ID
	}
	m := s.newCard(k)
	m.SetUp = true
	switch o.Mode {
	case "setup":
		if customer != nil {
			s.attach(m, customer)
		}
		i := s.state.SetupIntents.byID[o.SetupIntent]
		i.Status, i.PaymentMethod, i.LastSetupError = "succeeded", m.ID, nil
		s.emit("setup_intent.succeeded", plain(i))
	case "payment":
		i := s.state.Intents.byID[o.PaymentIntent]
		if i == nil {
			i = s.newIntent(o.AmountTotal, o.Currency, o.Customer, o.IntentMetadata)
			i.Description = o.IntentDescription
			if o.Keep {
				i.SetupFutureUsage = "off_session"
			}
			o.PaymentIntent = i.ID
			s.emit("payment_intent.created", plain(i))
		}
		if refusal == "authentication_failed" {
			return "", declined(refusal)
		}
		if f := s.charge(i, m, payment{confirmed: confirmed}, i.Description); f != nil {
			return "", f
		}
		if customer != nil && o.Keep { // a card that was declined is not kept
			s.attach(m, customer)
		}
		o.PaymentStatus = "paid"
	}
	o.Status = "complete"
	s.emit("checkout.session.completed", s.viewSession(o))
	return strings.ReplaceAll(o.SuccessURL, "{CHECKOUT_SESSION_ID}", o.ID), nil
}

func createPortal(c *call) (any, *failure) {
	if f := c.p.required("customer"); f != nil {
		return nil, f
	}
	back := c.p.str("return_url")
	if back != "" {
		if f := webAddress("return_url", back); f != nil {
			return nil, f
		}
	}
	customer, f := c.customer("customer", c.p.str("customer"))
	if f != nil {
		return nil, f
	}
	o := &PortalSession{Base: c.s.newBase("bps", "billing_portal.session", nil), Customer: customer.ID, ReturnURL: back}
	o.URL = c.s.base() + "/portal/" + o.ID
	portals := &c.s.state.Portals
	portals.add(o)
	// Portal sessions are short-lived; they would pile up in a sandbox that runs for years.
	if n := len(portals.all) - 1000; n > 0 {
		portals.dropFirst(n)
	}
	return *o, nil
}
