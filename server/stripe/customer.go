package stripe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// Stripe takes no more characters of a name.
const nameLength = 256

// Customer makes the customer of a user, or finds the one that was made before.
// It is looked for by e-mail address, since only that can be asked for: a user
// whose address changed between two attempts may have two customers, of which
// the first stays without payment method and invoices.
func (c *Client) Customer(ctx context.Context, r billing.CustomerRequest) (billing.Customer, error) {
	if err := c.ours(r.Owner); err != nil {
		return billing.Customer{}, err
	}
	var got *stripego.Customer
	look := func() (bool, error) {
		var err error
		got, err = c.findCustomer(ctx, r)
		return got != nil, err
	}
	done, err := look()
	if err == nil && !done {
		// The same key with other parameters would be refused.
		of := digest(strings.Join([]string{r.Personal.Email, r.Personal.Name, r.Personal.Company, r.Personal.Address}, "\x00"))
		err = c.persist(r.Key+"/customer/"+of, look, func(key string) error {
			got = &stripego.Customer{}
			return c.post(ctx, key, "/v1/customers", customerParams(r), got)
		})
	}
	if err != nil {
		return billing.Customer{}, fmt.Errorf("making the customer of user %d: %w", r.User, err)
	}
	return readCustomer(got)
}

func customerParams(r billing.CustomerRequest) *stripego.CustomerParams {
	p := &stripego.CustomerParams{Metadata: tags(r.Owner)}
	if r.Personal.Email != "" {
		p.Email = &r.Personal.Email
	}
	// A company pays, where there is one; the person is whom to ask.
	if name := cmp.Or(r.Personal.Company, r.Personal.Name); name != "" {
		p.Name = stripego.String(cut(name, nameLength))
	}
	if r.Personal.Company != "" && r.Personal.Name != "" {
		p.Description = stripego.String(cut(r.Personal.Name, nameLength))
	}
	if first, rest, _ := strings.Cut(strings.TrimSpace(r.Personal.Address), "\n"); first != "" {
		p.Address = &stripego.AddressParams{Line1: stripego.String(strings.TrimSpace(first))}
		if rest = strings.TrimSpace(rest); rest != "" {
			p.Address.Line2 = stripego.String(strings.Join(strings.FieldsFunc(rest, func(r rune) bool { return r == '\n' || r == '\r' }), ", "))
		}
	}
	return p
}

// findCustomer looks for the oldest customer of a user; nil where there is none.
func (c *Client) findCustomer(ctx context.Context, r billing.CustomerRequest) (*stripego.Customer, error) {
	if r.Personal.Email == "" {
		return nil, nil // the list would be that of all customers
	}
	var found *stripego.Customer
	p := &stripego.CustomerListParams{Email: &r.Personal.Email}
	for cus, err := range list(ctx, c, "/v1/customers", p, func(c *stripego.Customer) string { return c.ID }) {
		if err != nil {
			return nil, err
		}
		if o := ownerOf(cus.Metadata); o.Ledger == r.Ledger && o.User == r.User && !cus.Deleted {
			found = cus
		}
	}
	return found, nil
}

// CustomerNow fetches a customer. A payment method that was collected by the
// newest completed checkout is made the default one first, once; where there is
// no default, the newest that is attached is: Checkout only attaches what it
// collects, also where a payment's page is to keep the card.
func (c *Client) CustomerNow(ctx context.Context, id string) (billing.Customer, error) {
	got, err := c.customer(ctx, id)
	if err == nil && !got.Deleted && ownerOf(got.Metadata).Ledger == c.ledger {
		got, err = c.adoptPaymentMethod(ctx, got)
	}
	if err != nil {
		return billing.Customer{}, fmt.Errorf("fetching customer %s: %w", id, err)
	}
	return readCustomer(got)
}

func (c *Client) customer(ctx context.Context, id string) (*stripego.Customer, error) {
	var got stripego.Customer
	err := c.get(ctx, stripego.FormatURLPath("/v1/customers/%s", id), &stripego.CustomerParams{}, &got)
	return &got, err
}

func readCustomer(got *stripego.Customer) (billing.Customer, error) {
	if got.ID == "" {
		return billing.Customer{}, unreadable("reading a customer")
	}
	return billing.Customer{Owner: ownerOf(got.Metadata), ID: got.ID, PaymentMethod: defaultMethod(got), Gone: got.Deleted}, nil
}

func defaultMethod(cus *stripego.Customer) string {
	if cus.InvoiceSettings == nil || cus.InvoiceSettings.DefaultPaymentMethod == nil {
		return ""
	}
	return cus.InvoiceSettings.DefaultPaymentMethod.ID
}

// adoptPaymentMethod makes a payment method the default one where that is due,
// and returns the customer as it is then. That a checkout was seen to is noted in
// the customer's metadata with the same request, so that it never overrides what
// the customer chooses later.
func (c *Client) adoptPaymentMethod(ctx context.Context, cus *stripego.Customer) (*stripego.Customer, error) {
	session, err := c.lastCheckout(ctx, cus.ID)
	if err != nil {
		return nil, err
	}
	fresh := session != nil && session.ID != cus.Metadata[tagCheckout]
	if !fresh && defaultMethod(cus) != "" {
		return cus, nil
	}
	attached, err := c.paymentMethods(ctx, cus.ID)
	if err != nil || len(attached) == 0 {
		return cus, err
	}
	choice := defaultMethod(cus)
	if choice == "" {
		choice = attached[0].ID
	}
	p := &stripego.CustomerParams{}
	step := "attached"
	if fresh {
		collected := session.SetupIntent.PaymentMethod.ID
		if slices.ContainsFunc(attached, func(m *stripego.PaymentMethod) bool { return m.ID == collected }) {
			choice = collected
		}
		step = session.ID
		p.AddMetadata(tagCheckout, session.ID)
	}
	p.InvoiceSettings = &stripego.CustomerInvoiceSettingsParams{DefaultPaymentMethod: &choice}
	// To choose twice is to choose once, so that the key need not be the same after
	// a crash. It must be a new one when the same choice is due again later: Stripe
	// would repeat its answer and do nothing.
	key := fmt.Sprintf("%s/default/%s/%s/%s/%d", c.ledger, cus.ID, choice, step, c.now().UnixMilli())
	var got stripego.Customer
	err = c.post(ctx, key, stripego.FormatURLPath("/v1/customers/%s", cus.ID), p, &got)
	if missing(err) || err == nil && replayed(got.LastResponse) {
		return c.customer(ctx, cus.ID) // detached in the meantime
	}
	return &got, err
}

// lastCheckout is the newest completed checkout of ours; nil where there is none.
// Only the newest are looked at, since sessions expire after a day; pages that
// payments are made on are among them.
func (c *Client) lastCheckout(ctx context.Context, customer string) (*stripego.CheckoutSession, error) {
	p := &stripego.CheckoutSessionListParams{Customer: &customer}
	p.AddExpand("data.setup_intent")
	got, err := listPage[*stripego.CheckoutSession](ctx, c, "/v1/checkout/sessions", p)
	if err != nil {
		return nil, err
	}
	for _, s := range got.Data {
		if s.Mode == stripego.CheckoutSessionModeSetup && s.Status == stripego.CheckoutSessionStatusComplete &&
			ownerOf(s.Metadata).Ledger == c.ledger && s.SetupIntent != nil && s.SetupIntent.PaymentMethod != nil {
			return s, nil
		}
	}
	return nil, nil
}

// paymentMethods are those that are attached to a customer, newest first.
func (c *Client) paymentMethods(ctx context.Context, customer string) ([]*stripego.PaymentMethod, error) {
	got, err := listPage[*stripego.PaymentMethod](ctx, c, "/v1/payment_methods", &stripego.PaymentMethodListParams{Customer: &customer})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(got.Data, func(a, b *stripego.PaymentMethod) int { return cmp.Compare(b.Created, a.Created) })
	return got.Data, nil
}

// Checkout begins to collect a card. The payment method becomes the default one
// when the customer is looked at afterwards, see [Client.CustomerNow].
func (c *Client) Checkout(ctx context.Context, r billing.CheckoutRequest) (string, error) {
	if err := c.ours(r.Owner); err != nil {
		return "", err
	}
	metadata := tags(r.Owner)
	if r.Tier != "" {
		metadata[tagTier] = r.Tier
	}
	p := &stripego.CheckoutSessionParams{
		Mode:     stripego.String(string(stripego.CheckoutSessionModeSetup)),
		Customer: &r.Customer,
		// Cards can be charged later without the customer being there; what else the
		// account has switched on is not for us to offer.
		PaymentMethodTypes: stripego.StringSlice([]string{"card"}),
		SuccessURL:         &r.Success,
		CancelURL:          &r.Cancel,
		Metadata:           metadata,
		SetupIntentData:    &stripego.CheckoutSessionSetupIntentDataParams{Metadata: metadata},
	}
	var got stripego.CheckoutSession
	err := c.persist(r.Key+"/checkout", nothingLeft, func(key string) error {
		got = stripego.CheckoutSession{}
		return c.post(ctx, key, "/v1/checkout/sessions", p, &got)
	})
	if err == nil && got.URL == "" {
		err = unreadable("reading a checkout session")
	}
	if err != nil {
		return "", fmt.Errorf("beginning a checkout of customer %s: %w", r.Customer, err)
	}
	return got.URL, nil
}

// nothingLeft is for steps that may leave something behind which nobody uses.
func nothingLeft() (bool, error) { return false, nil }

// Portal is a page where the customer sees to payment methods and receipts. Each
// call makes a new one, since they end after some minutes.
func (c *Client) Portal(ctx context.Context, customer, returnTo string) (string, error) {
	p := &stripego.BillingPortalSessionParams{Customer: &customer, ReturnURL: &returnTo}
	key := fmt.Sprintf("%s/portal/%s/%d", c.ledger, customer, c.now().UnixNano())
	var got stripego.BillingPortalSession
	err := c.persist(key, nothingLeft, func(key string) error {
		got = stripego.BillingPortalSession{}
		return c.post(ctx, key, "/v1/billing_portal/sessions", p, &got)
	})
	if err == nil && got.URL == "" {
		err = unreadable("reading a portal session")
	}
	if err != nil {
		return "", fmt.Errorf("opening the portal for customer %s: %w", customer, err)
	}
	return got.URL, nil
}
