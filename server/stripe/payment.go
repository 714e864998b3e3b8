package stripe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

const (
	mostLines     = 100 // of a checkout page in payment mode
	productLength = 250 // of a line's name on it
)

// PayPage begins a payment on Stripe's page. The page expires after 24 hours. The
// same call made again gives the same page, as it is by then; one that was made
// and whose answer was lost is found by the key that it carries.
func (c *Client) PayPage(ctx context.Context, r billing.PaymentRequest) (billing.Receipt, error) {
	receipt, err := c.payPage(ctx, r)
	if err != nil {
		return billing.Receipt{}, fmt.Errorf("beginning payment %d on a page: %w", r.Payment, err)
	}
	return receipt, nil
}

func (c *Client) payPage(ctx context.Context, r billing.PaymentRequest) (billing.Receipt, error) {
	if err := c.collectable(r); err != nil {
		return billing.Receipt{}, err
	}
	if len(r.Lines) > mostLines {
		return billing.Receipt{}, refuse("too_many_lines", "a page takes %d lines, and there are %d", mostLines, len(r.Lines))
	}
	var got *stripego.CheckoutSession
	look := func() (bool, error) {
		var err error
		got, err = c.findPage(ctx, r, madeFor)
		return got != nil, err
	}
	err := c.persist(r.Key+"/page", look, func(key string) error {
		got = &stripego.CheckoutSession{}
		return c.post(ctx, key, sessionsPath, pageParams(r), got)
	})
	if err != nil {
		return billing.Receipt{}, err
	}
	if replayed(got.LastResponse) {
		if got, err = c.session(ctx, got.ID); err != nil {
			return billing.Receipt{}, afterwards(err)
		}
	}
	if got.ID == "" || got.Status == "" || got.Status == stripego.CheckoutSessionStatusOpen && got.URL == "" {
		return billing.Receipt{}, unreadable("reading a checkout session")
	}
	if got.AmountTotal != r.Total || string(got.Currency) != r.Currency {
		// Nobody has the page's address.
		return billing.Receipt{}, refuse(totalDiffers, "%s at Stripe comes to %d %s, and the payment to %d %s; the account must not add taxes",
			got.ID, got.AmountTotal, got.Currency, r.Total, r.Currency)
	}
	receipt, err := c.readPayment(ctx, paymentOn(got))
	return receipt, afterwards(err)
}

func pageParams(r billing.PaymentRequest) *stripego.CheckoutSessionParams {
	metadata := paymentTags(r)
	data := &stripego.CheckoutSessionPaymentIntentDataParams{Metadata: paymentTags(r), Description: describe(r)}
	data.Metadata[tagPage] = "1"
	if r.Keep {
		data.SetupFutureUsage = stripego.String(string(stripego.PaymentIntentSetupFutureUsageOffSession))
	}
	p := &stripego.CheckoutSessionParams{
		Mode:               stripego.String(string(stripego.CheckoutSessionModePayment)),
		Customer:           &r.Customer,
		PaymentMethodTypes: stripego.StringSlice([]string{"card"}), // see Checkout
		SuccessURL:         &r.Success,
		CancelURL:          &r.Cancel, // older versions of the API want it
		Metadata:           metadata,
		PaymentIntentData:  data,
		Expand:             expandedPage(""),
	}
	for _, l := range r.Lines {
		p.LineItems = append(p.LineItems, &stripego.CheckoutSessionLineItemParams{
			Quantity: stripego.Int64(1),
			PriceData: &stripego.CheckoutSessionLineItemPriceDataParams{
				Currency:    &r.Currency,
				UnitAmount:  stripego.Int64(l.Amount),
				ProductData: &stripego.CheckoutSessionLineItemPriceDataProductDataParams{Name: stripego.String(cut(l.Description, productLength))},
			},
		})
	}
	return p
}

// Collect takes a payment at once, the customer not being there. Each attempt is
// a payment of its own at Stripe: the same key collects once as long as Stripe
// remembers it, and after that FindReceipt has to be asked before Collect is
// called again.
func (c *Client) Collect(ctx context.Context, r billing.PaymentRequest) (billing.Receipt, error) {
	receipt, err := c.collectNow(ctx, r)
	if err != nil {
		return billing.Receipt{}, fmt.Errorf("collecting payment %d: %w", r.Payment, err)
	}
	return receipt, nil
}

func (c *Client) collectNow(ctx context.Context, r billing.PaymentRequest) (billing.Receipt, error) {
	if err := c.collectable(r); err != nil {
		return billing.Receipt{}, err
	}
	if r.Method == "" {
		return billing.Receipt{}, refuse("no_payment_method", "customer %s has no payment method", r.Customer)
	}
	p := &stripego.PaymentIntentParams{
		Amount:        &r.Total,
		Currency:      &r.Currency,
		Customer:      &r.Customer,
		PaymentMethod: &r.Method,
		Confirm:       stripego.Bool(true),
		OffSession:    stripego.Bool(true),
		Description:   describe(r),
		Metadata:      paymentTags(r),
		// Whatever kind the customer's payment method is, but for those that send the
		// customer elsewhere.
		AutomaticPaymentMethods: &stripego.PaymentIntentAutomaticPaymentMethodsParams{
			Enabled:        stripego.Bool(true),
			AllowRedirects: stripego.String("never"),
		},
		Expand: expandedIntent(""),
	}
	var got *stripego.PaymentIntent
	look := func() (bool, error) {
		var err error
		got, err = c.findIntent(ctx, r, madeFor)
		return got != nil, err
	}
	err := c.persist(r.Key+"/collect", look, func(key string) error {
		got = &stripego.PaymentIntent{}
		return c.post(ctx, key, intentsPath, p, got)
	})
	if why := declined(err); why != nil {
		return declinedReceipt(r, err, why), nil
	}
	if err != nil {
		return billing.Receipt{}, err
	}
	if replayed(got.LastResponse) {
		if got, err = c.intent(ctx, got.ID); err != nil {
			return billing.Receipt{}, afterwards(err)
		}
	}
	receipt, err := c.readPayment(ctx, payment{intent: got})
	return receipt, afterwards(err)
}

// declinedReceipt is what the answer to a request that was declined tells. Nobody
// can pay such a payment later: only its secret would allow it, which is given to
// nobody.
func declinedReceipt(r billing.PaymentRequest, err error, why *billing.Decline) billing.Receipt {
	receipt := billing.Receipt{
		Owner: r.Owner, Payment: r.Payment, State: billing.ReceiptFailed,
		Currency: r.Currency, Total: r.Total, Decline: why,
	}
	if said := (*stripego.Error)(nil); errors.As(err, &said) && said.PaymentIntent != nil {
		receipt.ID = said.PaymentIntent.ID
	}
	return receipt
}

// collectable refuses what cannot be collected.
func (c *Client) collectable(r billing.PaymentRequest) error {
	if err := c.ours(r.Owner); err != nil {
		return err
	}
	switch {
	case r.Payment == 0:
		return refuse("no_payment", "the payment has no id")
	case r.Customer == "":
		return refuse("no_customer", "user %d has no customer at Stripe", r.User)
	case r.Total <= 0 || len(r.Lines) == 0:
		return refuse("invalid_amount", "there is nothing to collect: the total is %d", r.Total)
	}
	for _, l := range r.Lines {
		if l.Amount < 0 {
			return refuse("invalid_amount", "a line comes to %d", l.Amount)
		}
	}
	return sumTo(r.Currency, r.Lines, r.Total)
}

// sumTo refuses lines that Stripe does not take or that do not come to a total.
func sumTo(currency string, lines []billing.ChargeLine, total int64) error {
	sum := int64(0)
	for _, l := range lines {
		if _, err := amount(currency, l.Amount); err != nil {
			return err
		}
		if l.Amount > 0 && sum > math.MaxInt64-l.Amount || l.Amount < 0 && sum < math.MinInt64-l.Amount {
			return refuse("invalid_amount", "the lines come to more than can be counted")
		}
		sum += l.Amount
	}
	if sum != total {
		return refuse(totalDiffers, "the lines come to %d and the total is %d", sum, total)
	}
	return nil
}

// describe is the payment in a line, as the operator sees it at Stripe.
func describe(r billing.PaymentRequest) *string {
	var texts []string
	for _, l := range r.Lines {
		texts = append(texts, l.Description)
	}
	return stripego.String(cut(strings.Join(texts, ", "), descriptionLength))
}

// paymentTags are the metadata of a payment, and of the page that it is made on.
func paymentTags(r billing.PaymentRequest) map[string]string {
	metadata := tags(r.Owner)
	metadata[tagPayment] = strconv.FormatUint(uint64(r.Payment), 10)
	metadata[tagKey] = r.Key
	tagPurpose(metadata, r.Purpose)
	return metadata
}

// madeFor tells that an object was made for this very request.
func madeFor(metadata map[string]string, r billing.PaymentRequest) bool {
	return carries(metadata, r) && metadata[tagKey] == r.Key
}

// carries tells that an object is of the payment that a request is for. The epoch is
// that in which the payment was begun: ids are given anew after an older backup was
// restored.
func carries(metadata map[string]string, r billing.PaymentRequest) bool {
	return ownerOf(metadata) == r.Owner && paymentOf(metadata) == r.Payment
}
