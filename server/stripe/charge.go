package stripe

import (
	"context"
	"fmt"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// expandInvoice is what has to come with an invoice for it to be read: refunds and
// disputes are told by its charge, declines by its payment intent.
var expandInvoice = [...]string{"charge", "payment_intent"}

// expanded is expandInvoice below a prefix, as stripe-go takes it.
func expanded(prefix string) []*string {
	var list []*string
	for _, name := range expandInvoice {
		list = append(list, stripego.String(prefix+name))
	}
	return list
}

func invoicePath(id, action string) string {
	return stripego.FormatURLPath("/v1/invoices/%s", id) + action
}

// invoice fetches an invoice with all that it is read from.
func (c *Client) invoice(ctx context.Context, id string) (*stripego.Invoice, error) {
	var got stripego.Invoice
	err := c.get(ctx, invoicePath(id, ""), &stripego.InvoiceParams{Expand: expanded("")}, &got)
	if err == nil && got.ID == "" {
		err = unreadable("GET " + invoicePath(id, ""))
	}
	return &got, err
}

// ourInvoice fetches an invoice that is to be changed.
func (c *Client) ourInvoice(ctx context.Context, id string) (*stripego.Invoice, error) {
	got, err := c.invoice(ctx, id)
	if err != nil {
		return nil, err
	}
	return got, c.ours(ownerOf(got.Metadata))
}

// Charge fetches an invoice.
func (c *Client) Charge(ctx context.Context, id string) (billing.Charge, error) {
	got, err := c.invoice(ctx, id)
	if err != nil {
		return billing.Charge{}, fmt.Errorf("fetching invoice %s: %w", id, err)
	}
	return c.read(ctx, got)
}

// read tells billing of an invoice.
//
// Credited is what credit notes took off before it was paid, and makes less owed;
// Refunded is what was given back of what was paid, whether by a credit note or
// by a refund alone. An amount is in one of the two.
func (c *Client) read(ctx context.Context, got *stripego.Invoice) (billing.Charge, error) {
	if got.ID == "" || got.Status == "" {
		return billing.Charge{}, unreadable("reading an invoice")
	}
	charge := billing.Charge{
		Owner:    ownerOf(got.Metadata),
		Invoice:  invoiceOf(got.Metadata),
		ID:       got.ID,
		Number:   got.Metadata[tagNumber],
		Period:   got.Metadata[tagPeriod],
		State:    billing.ChargeState(got.Status),
		Currency: string(got.Currency),
		Total:    got.Total,
		Paid:     got.AmountPaid,
		Credited: got.PrePaymentCreditNotesAmount,
		URL:      got.HostedInvoiceURL,
	}
	if got.Charge != nil {
		charge.Refunded = got.Charge.AmountRefunded
		if got.Charge.Disputed {
			var err error
			if charge.Disputed, err = c.disputed(ctx, got.Charge.ID); err != nil {
				return billing.Charge{}, fmt.Errorf("fetching the disputes of invoice %s: %w", got.ID, err)
			}
		}
	}
	if charge.State == billing.ChargeOpen && got.PaymentIntent != nil {
		charge.Decline = lastDecline(got.PaymentIntent)
	}
	return charge, nil
}

// lastDecline is why the last attempt failed, as the payment intent has it.
func lastDecline(pi *stripego.PaymentIntent) *billing.Decline {
	switch {
	case pi.Status == stripego.PaymentIntentStatusRequiresAction:
		return &billing.Decline{
			Code:         string(stripego.ErrorCodeAuthenticationRequired),
			Message:      "The customer has to confirm this payment.",
			Authenticate: true,
		}
	case pi.LastPaymentError != nil:
		return decline(pi.LastPaymentError)
	}
	return nil
}

// disputed tells whether a charge has a dispute that was not decided for us. The
// charge's own mark stays after a dispute was won.
func (c *Client) disputed(ctx context.Context, charge string) (bool, error) {
	p := &stripego.DisputeListParams{Charge: &charge}
	for d, err := range list(ctx, c, "/v1/disputes", p, func(d *stripego.Dispute) string { return d.ID }) {
		if err != nil {
			return false, err
		}
		if d.Status != stripego.DisputeStatusWon && d.Status != stripego.DisputeStatusWarningClosed {
			return true, nil
		}
	}
	return false, nil
}

// Charges walks all invoices of a ledger, oldest first. An error of each ends the
// walk and is returned.
func (c *Client) Charges(ctx context.Context, ledgerID string, each func(billing.Charge) error) error {
	fetch := func(from stripego.ListParams) (*page[*stripego.Invoice], error) {
		return listPage[*stripego.Invoice](ctx, c, "/v1/invoices", &stripego.InvoiceListParams{ListParams: from, Expand: expanded("data.")})
	}
	for inv, err := range oldestFirst(fetch, func(i *stripego.Invoice) string { return i.ID }) {
		if err != nil {
			return fmt.Errorf("listing invoices: %w", err)
		}
		if ownerOf(inv.Metadata).Ledger != ledgerID {
			continue
		}
		charge, err := c.read(ctx, inv)
		if err != nil {
			return err
		}
		if err := each(charge); err != nil {
			return err
		}
	}
	return nil
}
