package stripe

import (
	"context"
	"fmt"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

const (
	sessionsPath = "/v1/checkout/sessions"
	intentsPath  = "/v1/payment_intents"
)

// payment is a payment at Stripe that is not an invoice's.
type payment struct {
	page   *stripego.CheckoutSession // that it is made on; nil: it was collected without one
	intent *stripego.PaymentIntent   // nil: nobody has tried to pay on the page yet
}

func paymentOn(page *stripego.CheckoutSession) payment {
	return payment{page: page, intent: page.PaymentIntent}
}

// expandedIntent is what has to come with a payment intent for it to be read:
// refunds and disputes are told by its charge.
func expandedIntent(prefix string) []*string {
	return []*string{stripego.String(prefix + "latest_charge")}
}

// expandedPage is what has to come with a checkout session.
func expandedPage(prefix string) []*string { return expandedIntent(prefix + "payment_intent.") }

func (c *Client) session(ctx context.Context, id string) (*stripego.CheckoutSession, error) {
	path := stripego.FormatURLPath(sessionsPath+"/%s", id)
	var got stripego.CheckoutSession
	err := c.get(ctx, path, &stripego.CheckoutSessionParams{Expand: expandedPage("")}, &got)
	if err == nil && (got.ID == "" || got.Status == "") {
		err = unreadable("GET " + path)
	}
	return &got, err
}

func (c *Client) intent(ctx context.Context, id string) (*stripego.PaymentIntent, error) {
	path := stripego.FormatURLPath(intentsPath+"/%s", id)
	var got stripego.PaymentIntent
	err := c.get(ctx, path, &stripego.PaymentIntentParams{Expand: expandedIntent("")}, &got)
	if err == nil && (got.ID == "" || got.Status == "") {
		err = unreadable("GET " + path)
	}
	return &got, err
}

// payment fetches a payment by the id of its page or by its own.
func (c *Client) payment(ctx context.Context, id string) (payment, error) {
	if strings.HasPrefix(id, "cs_") {
		page, err := c.session(ctx, id)
		if err != nil {
			return payment{}, err
		}
		return paymentOn(page), nil
	}
	intent, err := c.intent(ctx, id)
	if err != nil {
		return payment{}, err
	}
	return c.withPage(ctx, intent)
}

// withPage finds the page that a payment was made on. A payment intent does not
// name its page, only that it has one.
func (c *Client) withPage(ctx context.Context, intent *stripego.PaymentIntent) (payment, error) {
	if intent.Metadata[tagPage] == "" {
		return payment{intent: intent}, nil
	}
	p := &stripego.CheckoutSessionListParams{PaymentIntent: &intent.ID, Expand: expandedPage("data.")}
	got, err := listPage[*stripego.CheckoutSession](ctx, c, sessionsPath, p)
	if err != nil {
		return payment{}, err
	}
	for _, page := range got.Data {
		if ownerOf(page.Metadata) == ownerOf(intent.Metadata) && page.PaymentIntent != nil && page.PaymentIntent.ID == intent.ID {
			return paymentOn(page), nil
		}
	}
	return payment{}, fmt.Errorf("%w: the page of %s is not in Stripe's list", billing.ErrUnknown, intent.ID)
}

// Receipt fetches a payment by the id of the page or of the payment intent. One
// that was made on a page has the page's id, whichever was asked for.
func (c *Client) Receipt(ctx context.Context, id string) (billing.Receipt, error) {
	p, err := c.payment(ctx, id)
	if err != nil {
		return billing.Receipt{}, fmt.Errorf("fetching payment %s: %w", id, err)
	}
	return c.readPayment(ctx, p)
}

// readPayment tells billing of a payment.
func (c *Client) readPayment(ctx context.Context, p payment) (billing.Receipt, error) {
	var r billing.Receipt
	switch {
	case p.page != nil:
		r = billing.Receipt{ID: p.page.ID, Currency: string(p.page.Currency), Total: p.page.AmountTotal}
		r.Owner, r.Purpose, r.Payment = ownerOf(p.page.Metadata), purposeOf(p.page.Metadata), paymentOf(p.page.Metadata)
	case p.intent != nil:
		r = billing.Receipt{ID: p.intent.ID, Currency: string(p.intent.Currency), Total: p.intent.Amount}
		r.Owner, r.Purpose, r.Payment = ownerOf(p.intent.Metadata), purposeOf(p.intent.Metadata), paymentOf(p.intent.Metadata)
	}
	if r.ID == "" || p.page != nil && p.page.Status == "" || p.intent != nil && p.intent.Status == "" {
		return billing.Receipt{}, unreadable("reading a payment")
	}
	r.State = p.state()
	switch {
	case r.State == billing.ReceiptOpen && p.page != nil:
		r.URL = p.page.URL
	case r.State == billing.ReceiptFailed && p.intent != nil:
		r.Decline = p.decline()
	}
	if p.intent == nil || p.intent.LatestCharge == nil {
		return r, nil
	}
	r.Refunded = p.intent.LatestCharge.AmountRefunded
	if p.intent.LatestCharge.Disputed {
		var err error
		if r.Disputed, err = c.takenBack(ctx, p.intent.ID); err != nil {
			return billing.Receipt{}, fmt.Errorf("fetching the disputes of payment %s: %w", r.ID, err)
		}
	}
	return r, nil
}

// state is where a payment stands. Money that was taken counts before all else.
// On an open page a declined card can be followed by another; without a page there
// is nobody who could go on, so that what Stripe waits for will not come.
func (p payment) state() billing.ReceiptState {
	if p.intent != nil {
		switch p.intent.Status {
		case stripego.PaymentIntentStatusSucceeded:
			return billing.ReceiptPaid
		case stripego.PaymentIntentStatusRequiresPaymentMethod, stripego.PaymentIntentStatusRequiresConfirmation,
			stripego.PaymentIntentStatusRequiresAction, stripego.PaymentIntentStatusCanceled:
		default: // the bank has not decided
			return billing.ReceiptOpen
		}
	}
	switch {
	case p.page == nil:
	case p.page.PaymentStatus == stripego.CheckoutSessionPaymentStatusPaid:
		return billing.ReceiptPaid
	case p.page.Status == stripego.CheckoutSessionStatusOpen,
		p.page.Status == stripego.CheckoutSessionStatusComplete && p.intent == nil:
		return billing.ReceiptOpen
	}
	return billing.ReceiptFailed
}

// decline is why a payment failed: the bank's word, where it has one.
func (p payment) decline() *billing.Decline {
	if d := lastDecline(p.intent); d != nil {
		return d
	}
	return &billing.Decline{Code: string(p.intent.Status), Message: "The payment was not completed."}
}

// takenBack is how much of a payment disputes hold that are open or lost. An
// inquiry ("warning_...") takes nothing yet
// (https://docs.stripe.com/disputes/how-disputes-work#inquiries).
func (c *Client) takenBack(ctx context.Context, intent string) (int64, error) {
	sum := int64(0)
	p := &stripego.DisputeListParams{PaymentIntent: &intent}
	for d, err := range list(ctx, c, "/v1/disputes", p, func(d *stripego.Dispute) string { return d.ID }) {
		if err != nil {
			return 0, err
		}
		switch d.Status {
		case stripego.DisputeStatusNeedsResponse, stripego.DisputeStatusUnderReview, stripego.DisputeStatusLost:
			sum += d.Amount
		}
	}
	return sum, nil
}

// FindReceipt looks for the newest page or payment of the customer that carries
// the request's payment id and our ledger's. It must not be asked while a request
// may still be under way: half of it may be there.
func (c *Client) FindReceipt(ctx context.Context, r billing.PaymentRequest) (billing.Receipt, bool, error) {
	found, err := c.findPayment(ctx, r)
	if err == nil && found == nil {
		return billing.Receipt{}, false, nil
	}
	var receipt billing.Receipt
	if err == nil {
		receipt, err = c.readPayment(ctx, *found)
	}
	if err != nil {
		return billing.Receipt{}, false, fmt.Errorf("looking for payment %d: %w", r.Payment, err)
	}
	return receipt, true, nil
}

func (c *Client) findPayment(ctx context.Context, r billing.PaymentRequest) (*payment, error) {
	if err := c.collectable(r); err != nil {
		return nil, err
	}
	page, err := c.findPage(ctx, r, carries)
	if err != nil {
		return nil, err
	}
	intent, err := c.findIntent(ctx, r, carries)
	switch {
	case err != nil:
		return nil, err
	case page == nil && intent == nil:
		return nil, nil
	case page == nil || intent != nil && intent.Created > page.Created:
		return &payment{intent: intent}, nil
	}
	found := paymentOn(page)
	return &found, nil
}

// findPage is the customer's newest page for what a request comes to, and whose
// metadata fits; nil where there is none. Lists are consistent at Stripe, search
// is not.
func (c *Client) findPage(ctx context.Context, r billing.PaymentRequest, fits func(map[string]string, billing.PaymentRequest) bool) (*stripego.CheckoutSession, error) {
	p := &stripego.CheckoutSessionListParams{Customer: &r.Customer, Expand: expandedPage("data.")}
	for page, err := range list(ctx, c, sessionsPath, p, func(s *stripego.CheckoutSession) string { return s.ID }) {
		if err != nil {
			return nil, err
		}
		if page.Mode == stripego.CheckoutSessionModePayment && page.AmountTotal == r.Total && string(page.Currency) == r.Currency && fits(page.Metadata, r) {
			return page, nil
		}
	}
	return nil, nil
}

// findIntent is the same for payments without a page.
func (c *Client) findIntent(ctx context.Context, r billing.PaymentRequest, fits func(map[string]string, billing.PaymentRequest) bool) (*stripego.PaymentIntent, error) {
	p := &stripego.PaymentIntentListParams{Customer: &r.Customer, Expand: expandedIntent("data.")}
	for intent, err := range list(ctx, c, intentsPath, p, func(i *stripego.PaymentIntent) string { return i.ID }) {
		if err != nil {
			return nil, err
		}
		if intent.Metadata[tagPage] == "" && intent.Amount == r.Total && string(intent.Currency) == r.Currency && fits(intent.Metadata, r) {
			return intent, nil
		}
	}
	return nil, nil
}

// Receipts walks all payments of a ledger that were made, oldest first, also those
// that were given back since. Those of invoices are not among them. An error of
// each ends the walk and is returned.
func (c *Client) Receipts(ctx context.Context, ledgerID string, each func(billing.Receipt) error) error {
	fetch := func(from stripego.ListParams) (*page[*stripego.PaymentIntent], error) {
		return listPage[*stripego.PaymentIntent](ctx, c, intentsPath, &stripego.PaymentIntentListParams{ListParams: from, Expand: expandedIntent("data.")})
	}
	id := func(i *stripego.PaymentIntent) string { return i.ID }
	for intent, err := range oldestFirst(fetch, id) {
		if err != nil {
			return fmt.Errorf("listing payments: %w", err)
		}
		if ownerOf(intent.Metadata).Ledger != ledgerID || paymentOf(intent.Metadata) == 0 ||
			intent.Invoice != nil || intent.Status != stripego.PaymentIntentStatusSucceeded {
			continue
		}
		p, err := c.withPage(ctx, intent)
		if err != nil {
			return fmt.Errorf("fetching the page of payment %s: %w", intent.ID, err)
		}
		receipt, err := c.readPayment(ctx, p)
		if err != nil {
			return err
		}
		if err := each(receipt); err != nil {
			return err
		}
	}
	return nil
}
