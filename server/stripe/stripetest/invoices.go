package stripetest

import "slices"

// maxItems is how many items an invoice takes.
const maxItems = 250

// invoice is the invoice that a parameter or the path names.
func (c *call) invoice(param, id string) (*Invoice, *failure) {
	o, ok := c.s.state.Invoices.byID[id]
	if !ok {
		return nil, missing("invoice", param, id)
	}
	return o, nil
}

// draft is that invoice, if it can still be changed.
func (c *call) draft(param, id string) (*Invoice, *failure) {
	o, f := c.invoice(param, id)
	if f == nil && o.Status != "draft" {
		return nil, refused("invoice_not_editable", "", "Invoice is no longer editable")
	}
	return o, f
}

// viewInvoice is an invoice as it is now, with its first ten lines.
func (s *Server) viewInvoice(o *Invoice) any {
	v := *o
	v.items = nil
	n := min(len(o.items), 10)
	v.Lines = &List{
		Object: "list", Data: make([]any, n), HasMore: len(o.items) > n,
		TotalCount: len(o.items), URL: "/v1/invoices/" + o.ID + "/lines",
	}
	for i := range n {
		v.Lines.Data[i] = o.items[i].line()
	}
	return v
}

// line is the line that an item makes.
func (i *InvoiceItem) line() Line {
	return Line{
		Base:   Base{ID: "il_" + suffix(i.ID), Object: "line_item", Livemode: i.Livemode, Metadata: i.Metadata},
		Amount: i.Amount, AmountExcludingTax: i.Amount, Currency: i.Currency, Description: i.Description,
		Discountable: i.Discountable, Invoice: i.Invoice, InvoiceItem: i.ID, Period: i.Period, Price: i.Price,
		Quantity: i.Quantity, Type: "invoiceitem",
	}
}

// total adds the lines of a draft up.
func (s *Server) total(o *Invoice) {
	var sum int64
	for _, i := range o.items {
		sum += i.Amount
	}
	o.Subtotal, o.SubtotalExcludingTax, o.Total, o.TotalExcludingTax = sum, sum, sum, sum
	if customer := s.state.Customers.byID[o.Customer]; customer != nil {
		o.StartingBalance = customer.Balance
	}
	o.AmountDue = max(sum+o.StartingBalance, 0)
	o.AmountRemaining = o.AmountDue
}

func createInvoice(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("customer"); f != nil {
		return nil, f
	}
	o := &Invoice{
		AccountCountry: "US", AccountName: "Sandbox", BillingReason: "manual", CollectionMethod: "charge_automatically",
		Currency: "usd", Status: "draft", PeriodStart: s.now().Unix(), PeriodEnd: s.now().Unix(),
	}
	pendingToo := false
	switch behaviour := c.p.str("pending_invoice_items_behavior"); behaviour {
	case "include":
		pendingToo = true
	case "", "exclude": // the default since 2022-08-01
	default:
		return nil, invalid("", "pending_invoice_items_behavior", "Invalid pending_invoice_items_behavior: must be one of exclude or include")
	}
	if f := c.applyInvoice(o); f != nil {
		return nil, f
	}
	customer, f := c.customer("customer", c.p.str("customer"))
	if f != nil {
		return nil, f
	}
	if currency := c.p.str("currency"); currency != "" {
		if f := checkAmount(0, currency, "currency"); f != nil {
			return nil, f
		}
		o.Currency = currency
	} else if customer.Currency != "" {
		o.Currency = customer.Currency
	}
	o.Customer, o.CustomerEmail, o.CustomerName, o.CustomerAddress = customer.ID, customer.Email, customer.Name, customer.Address
	o.Base = s.newBase("in", "invoice", o.Metadata)
	s.state.Invoices.add(o)
	if pendingToo {
		for _, i := range s.state.Items.all {
			if i.Customer == customer.ID && i.Invoice == "" && i.Currency == o.Currency && len(o.items) < maxItems {
				i.Invoice = o.ID
				o.items = append(o.items, i)
			}
		}
	}
	customer.Currency = o.Currency
	s.total(o)
	s.emit("invoice.created", s.viewInvoice(o))
	return s.viewInvoice(o), nil
}

// applyInvoice changes an invoice as the request says.
func (c *call) applyInvoice(o *Invoice) *failure {
	meta, f := c.p.metadata(o.Metadata)
	if f != nil {
		return f
	}
	advance, f := c.p.boolean("auto_advance", o.AutoAdvance)
	if f != nil {
		return f
	}
	due, f := c.p.integer("due_date")
	if f != nil {
		return f
	}
	days, f := c.p.integer("days_until_due")
	if f != nil {
		return f
	}
	effective, f := c.p.integer("effective_at")
	if f != nil {
		return f
	}
	method := o.CollectionMethod
	if c.p.has("collection_method") {
		method = c.p.str("collection_method")
	}
	switch {
	case method != "charge_automatically" && method != "send_invoice":
		return invalid("", "collection_method", "Invalid collection_method: must be one of charge_automatically or send_invoice")
	case method == "charge_automatically" && (days != 0 || due != 0):
		return invalid("", "days_until_due", "You can only specify a due date when collection_method is send_invoice.")
	case method == "send_invoice" && days == 0 && due == 0 && o.DueDate == 0:
		return invalid("", "days_until_due", "If invoices are sent, days_until_due or due_date is required.")
	}
	if id := c.p.str("default_payment_method"); id != "" {
		if _, ok := c.s.state.PaymentMethods.byID[id]; !ok {
			return missing("PaymentMethod", "default_payment_method", id)
		}
	}
	o.Metadata, o.AutoAdvance, o.CollectionMethod = meta, advance, method
	if days > 0 {
		due = c.s.now().AddDate(0, 0, int(min(days, 3650))).Unix()
	}
	if due > 0 {
		o.DueDate = due
	}
	if effective > 0 {
		o.EffectiveAt = effective
	}
	for name, field := range map[string]*string{
		"description": &o.Description, "footer": &o.Footer, "number": &o.Number,
		"default_payment_method": &o.DefaultPaymentMethod, "statement_descriptor": &o.StatementDescriptor,
	} {
		if c.p.has(name) {
			*field = c.p.str(name)
		}
	}
	if c.p.hasAny("custom_fields") {
		o.CustomFields = nil
		for _, e := range c.p.each("custom_fields") {
			o.CustomFields = append(o.CustomFields, CustomField{Name: e.str("name"), Value: e.str("value")})
		}
	}
	return nil
}

func getInvoice(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	return c.s.viewInvoice(o), nil
}

// updateInvoice changes a draft; of one that is finalized only what is not printed.
func updateInvoice(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	if o.Status != "draft" {
		open := map[string]bool{"metadata": true, "auto_advance": true, "expand": true, "default_payment_method": true}
		if name := c.p.unknown(open); name != "" {
			return nil, refused("invoice_not_editable", name, "Finalized invoices can't be updated in this way")
		}
	}
	if f := c.applyInvoice(o); f != nil {
		return nil, f
	}
	c.s.emit("invoice.updated", c.s.viewInvoice(o))
	return c.s.viewInvoice(o), nil
}

func deleteInvoice(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	if o.Status != "draft" {
		return nil, refused("", "", "You can only delete draft invoices.")
	}
	for _, i := range o.items {
		c.s.state.Items.remove(i.ID)
	}
	c.s.state.Invoices.remove(o.ID)
	c.s.emit("invoice.deleted", c.s.viewInvoice(o))
	return map[string]any{"id": o.ID, "object": "invoice", "deleted": true}, nil
}

func listInvoices(c *call) (any, *failure) {
	customer, status, method := c.p.str("customer"), c.p.str("status"), c.p.str("collection_method")
	if status != "" && !slices.Contains([]string{"draft", "open", "paid", "uncollectible", "void"}, status) {
		return nil, invalid("", "status", "Invalid status: must be one of draft, open, paid, uncollectible, or void")
	}
	keep := func(o *Invoice) bool {
		return (customer == "" || o.Customer == customer) && (status == "" || o.Status == status) && (method == "" || o.CollectionMethod == method)
	}
	return page(c, &c.s.state.Invoices, keep, c.s.viewInvoice)
}

// listLines lists the lines of an invoice in their own order.
func listLines(c *call) (any, *failure) {
	o, f := c.invoice("id", c.id)
	if f != nil {
		return nil, f
	}
	reversed := table[Line, *Line]{}
	for i := len(o.items) - 1; i >= 0; i-- {
		l := o.items[i].line()
		reversed.add(&l)
	}
	return page(c, &reversed, func(*Line) bool { return true }, plain[Line])
}

func createItem(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("customer"); f != nil {
		return nil, f
	}
	i := &InvoiceItem{Customer: c.p.str("customer"), Discountable: true, Quantity: 1, Date: s.now().Unix()}
	i.Period = Period{i.Date, i.Date}
	meta, f := c.p.metadata(nil)
	if f != nil {
		return nil, f
	}
	i.Description = c.p.str("description")
	if f := c.itemAmount(i); f != nil {
		return nil, f
	}
	if i.Discountable, f = c.p.boolean("discountable", i.Amount > 0); f != nil {
		return nil, f
	}
	if c.p.hasAny("period") {
		if i.Period.Start, f = c.p.sub("period").integer("start"); f != nil {
			return nil, f
		}
		if i.Period.End, f = c.p.sub("period").integer("end"); f != nil {
			return nil, f
		}
		if i.Period.End < i.Period.Start {
			return nil, invalid("", "period", "The end of the period must not be before its start.")
		}
	}
	if _, f := c.customer("customer", i.Customer); f != nil {
		return nil, f
	}
	var o *Invoice
	if id := c.p.str("invoice"); id != "" {
		if o, f = c.draft("invoice", id); f != nil {
			return nil, f
		}
		switch {
		case o.Customer != i.Customer:
			return nil, refused("", "invoice", "The invoice belongs to another customer.")
		case o.Currency != i.Currency:
			return nil, refused("", "currency", "The currency of the invoice item ("+i.Currency+") must match that of the invoice ("+o.Currency+").")
		case len(o.items) >= maxItems:
			return nil, refused("", "invoice", "An invoice can have at most 250 invoice items.")
		}
		i.Invoice = o.ID
	}
	i.Base = s.newBase("ii", "invoiceitem", meta)
	s.state.Items.add(i)
	s.emit("invoiceitem.created", *i)
	if o != nil {
		o.items = append(o.items, i)
		s.total(o)
		s.emit("invoice.updated", s.viewInvoice(o))
	}
	return *i, nil
}

// itemAmount reads what an item costs: an amount, or quantity times unit amount or price.
func (c *call) itemAmount(i *InvoiceItem) *failure {
	var f *failure
	i.Currency = c.p.str("currency")
	if c.p.has("quantity") {
		if i.Quantity, f = c.p.integer("quantity"); f != nil {
			return f
		}
		if i.Quantity < 0 || i.Quantity > maxQuantity {
			return invalid("parameter_invalid_integer", "quantity", "Invalid quantity.")
		}
	}
	switch {
	case c.p.has("amount"):
		if i.Amount, f = c.p.integer("amount"); f != nil {
			return f
		}
		if c.p.has("quantity") || c.p.has("unit_amount") {
			return invalid("parameters_exclusive", "amount", "You may only specify one of these parameters: amount, quantity.")
		}
		i.UnitAmount = i.Amount
	case c.p.has("price"):
		price, ok := c.s.state.Prices.byID[c.p.str("price")]
		if !ok {
			return missing("price", "price", c.p.str("price"))
		}
		i.Price, i.Currency, i.UnitAmount = price.ID, price.Currency, price.UnitAmount
		if product := c.s.state.Products.byID[price.Product]; product != nil && i.Description == "" {
			i.Description = product.Name
		}
	case c.p.has("unit_amount"):
		if i.UnitAmount, f = c.p.integer("unit_amount"); f != nil {
			return f
		}
	default:
		return invalid("parameter_missing", "amount", "You must pass either `amount` or `price`.")
	}
	if !c.p.has("amount") {
		i.Amount = i.UnitAmount * i.Quantity
	}
	if i.Currency == "" {
		return invalid("parameter_missing", "currency", "Missing required param: currency.")
	}
	i.UnitAmountDecimal = decimal(i.UnitAmount)
	return checkAmount(i.Amount, i.Currency, "amount")
}

func getItem(c *call) (any, *failure) {
	i, ok := c.s.state.Items.byID[c.id]
	if !ok {
		return nil, missing("invoiceitem", "id", c.id)
	}
	return *i, nil
}

func listItems(c *call) (any, *failure) {
	customer, invoice := c.p.str("customer"), c.p.str("invoice")
	pendingOnly, f := c.p.boolean("pending", false)
	if f != nil {
		return nil, f
	}
	keep := func(i *InvoiceItem) bool {
		return (customer == "" || i.Customer == customer) && (invoice == "" || i.Invoice == invoice) && (!pendingOnly || i.Invoice == "")
	}
	if o := c.s.state.Invoices.byID[invoice]; o != nil {
		// The items of one invoice are at hand; all items are many.
		own := table[InvoiceItem, *InvoiceItem]{}
		for _, i := range o.items {
			own.add(i)
		}
		return page(c, &own, keep, plain[InvoiceItem])
	}
	return page(c, &c.s.state.Items, keep, plain[InvoiceItem])
}

func deleteItem(c *call) (any, *failure) {
	i, ok := c.s.state.Items.byID[c.id]
	if !ok {
		return nil, missing("invoiceitem", "id", c.id)
	}
	if i.Invoice != "" {
		o, f := c.draft("invoice", i.Invoice)
		if f != nil {
			return nil, f
		}
		o.items = slices.DeleteFunc(o.items, func(other *InvoiceItem) bool { return other == i })
		c.s.total(o)
		c.s.emit("invoice.updated", c.s.viewInvoice(o))
	}
	c.s.state.Items.remove(i.ID)
	c.s.emit("invoiceitem.deleted", *i)
	return map[string]any{"id": i.ID, "object": "invoiceitem", "deleted": true}, nil
}
