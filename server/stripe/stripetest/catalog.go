package stripetest

import "slices"

func createProduct(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("name"); f != nil {
		return nil, f
	}
	o := &Product{Active: true, Type: "service"}
	if f := c.applyProduct(o); f != nil {
		return nil, f
	}
	id := c.p.str("id")
	if _, taken := s.state.Products.byID[id]; taken {
		return nil, refused("resource_already_exists", "id", "Product already exists.")
	}
	o.Base = s.newBase("prod", "product", o.Metadata)
	if id != "" {
		o.ID = id
	}
	o.Updated = o.Created
	s.state.Products.add(o)
	s.emit("product.created", plain(o))
	return *o, nil
}

func (c *call) applyProduct(o *Product) *failure {
	meta, f := c.p.metadata(o.Metadata)
	if f != nil {
		return f
	}
	active, f := c.p.boolean("active", o.Active)
	if f != nil {
		return f
	}
	o.Metadata, o.Active = meta, active
	for name, field := range map[string]*string{"name": &o.Name, "description": &o.Description, "unit_label": &o.UnitLabel, "url": &o.URL} {
		if c.p.has(name) {
			*field = c.p.str(name)
		}
	}
	return nil
}

func getProduct(c *call) (any, *failure) {
	o, ok := c.s.state.Products.byID[c.id]
	if !ok {
		return nil, missing("product", "id", c.id)
	}
	return *o, nil
}

func updateProduct(c *call) (any, *failure) {
	o, ok := c.s.state.Products.byID[c.id]
	if !ok {
		return nil, missing("product", "id", c.id)
	}
	if f := c.applyProduct(o); f != nil {
		return nil, f
	}
	o.Updated = c.s.now().Unix()
	c.s.emit("product.updated", plain(o))
	return *o, nil
}

func listProducts(c *call) (any, *failure) {
	ids := c.p.strings("ids")
	fits, f := c.ifActive()
	if f != nil {
		return nil, f
	}
	keep := func(o *Product) bool {
		return fits(o.Active) && (len(ids) == 0 || slices.Contains(ids, o.ID))
	}
	return page(c, &c.s.state.Products, keep, plain[Product])
}

// ifActive is the filter `active`.
func (c *call) ifActive() (func(bool) bool, *failure) {
	want, f := c.p.boolean("active", false)
	given := c.p.str("active") != ""
	return func(active bool) bool { return !given || active == want }, f
}

func createPrice(c *call) (any, *failure) {
	s := c.s
	if f := c.p.required("currency", "unit_amount"); f != nil {
		return nil, f
	}
	o := &Price{Active: true, BillingScheme: "per_unit", Currency: c.p.str("currency"), TaxBehavior: "unspecified", Type: "one_time"}
	var f *failure
	if o.UnitAmount, f = c.p.integer("unit_amount"); f != nil {
		return nil, f
	}
	if o.UnitAmount < 0 {
		return nil, invalid("parameter_invalid_integer", "unit_amount", "This value must be greater than or equal to 0.")
	}
	if f := checkAmount(o.UnitAmount, o.Currency, "unit_amount"); f != nil {
		return nil, f
	}
	o.UnitAmountDecimal = decimal(o.UnitAmount)
	if scheme := c.p.str("billing_scheme"); scheme != "" && scheme != "per_unit" {
		return nil, invalid("", "billing_scheme", "The sandbox has only per_unit prices.")
	}
	if r := c.p.sub("recurring"); c.p.hasAny("recurring") {
		o.Type = "recurring"
		o.Recurring = &Recurring{Interval: r.str("interval"), IntervalCount: 1, UsageType: "licensed"}
		if !slices.Contains([]string{"day", "week", "month", "year"}, o.Recurring.Interval) {
			return nil, invalid("", r.key("interval"), "Invalid recurring[interval]: must be one of day, week, month, or year")
		}
		if r.has("interval_count") {
			if o.Recurring.IntervalCount, f = r.integer("interval_count"); f != nil {
				return nil, f
			}
		}
		if kind := r.str("usage_type"); kind != "" {
			o.Recurring.UsageType = kind
		}
	}
	name := c.p.sub("product_data").str("name")
	switch o.Product = c.p.str("product"); {
	case o.Product == "" && name == "":
		return nil, invalid("parameter_missing", "product", "Must provide product or product_data.")
	case o.Product != "":
		if _, ok := s.state.Products.byID[o.Product]; !ok {
			return nil, missing("product", "product", o.Product)
		}
	}
	if f := c.applyPrice(o); f != nil {
		return nil, f
	}
	if o.Product == "" {
		p := &Product{Base: s.newBase("prod", "product", nil), Active: true, Name: name, Type: "service", Updated: s.now().Unix()}
		s.state.Products.add(p)
		s.emit("product.created", plain(p))
		o.Product = p.ID
	}
	o.Base = s.newBase("price", "price", o.Metadata)
	s.state.Prices.add(o)
	s.emit("price.created", plain(o))
	return *o, nil
}

// applyPrice changes what can be changed of a price. A lookup key belongs to one
// price; it is taken from another only if the request says so.
func (c *call) applyPrice(o *Price) *failure {
	meta, f := c.p.metadata(o.Metadata)
	if f != nil {
		return f
	}
	active, f := c.p.boolean("active", o.Active)
	if f != nil {
		return f
	}
	transfer, f := c.p.boolean("transfer_lookup_key", false)
	if f != nil {
		return f
	}
	if c.p.has("lookup_key") {
		key := c.p.str("lookup_key")
		for _, other := range c.s.state.Prices.all {
			if key == "" || other.LookupKey != key || other.ID == o.ID {
				continue
			}
			if !transfer {
				return refused("", "lookup_key", "A price (`"+other.ID+"`) already uses that lookup key.")
			}
			other.LookupKey = ""
			c.s.emit("price.updated", plain(other))
		}
		o.LookupKey = key
	}
	o.Metadata, o.Active = meta, active
	for name, field := range map[string]*string{"nickname": &o.Nickname, "tax_behavior": &o.TaxBehavior} {
		if c.p.has(name) {
			*field = c.p.str(name)
		}
	}
	return nil
}

func getPrice(c *call) (any, *failure) {
	o, ok := c.s.state.Prices.byID[c.id]
	if !ok {
		return nil, missing("price", "id", c.id)
	}
	return *o, nil
}

func updatePrice(c *call) (any, *failure) {
	o, ok := c.s.state.Prices.byID[c.id]
	if !ok {
		return nil, missing("price", "id", c.id)
	}
	if f := c.applyPrice(o); f != nil {
		return nil, f
	}
	c.s.emit("price.updated", plain(o))
	return *o, nil
}

func listPrices(c *call) (any, *failure) {
	product, kind, currency, lookups := c.p.str("product"), c.p.str("type"), c.p.str("currency"), c.p.strings("lookup_keys")
	fits, f := c.ifActive()
	if f != nil {
		return nil, f
	}
	keep := func(o *Price) bool {
		return fits(o.Active) && (product == "" || o.Product == product) && (kind == "" || o.Type == kind) &&
			(currency == "" || o.Currency == currency) && (len(lookups) == 0 || slices.Contains(lookups, o.LookupKey))
	}
	return page(c, &c.s.state.Prices, keep, plain[Price])
}
