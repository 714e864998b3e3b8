package stripe

import (
	"context"
	"fmt"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// Return gives a part of a payment back by a refund. The refund carries the part's
// name, by which it is found again: a part that was given back is not given back
// again, whatever the key.
func (c *Client) Return(ctx context.Context, r billing.ReturnRequest) (billing.Receipt, error) {
	receipt, err := c.giveBack(ctx, r)
	if err != nil {
		return billing.Receipt{}, fmt.Errorf("giving back %q of payment %s: %w", r.Part, r.ID, err)
	}
	return receipt, nil
}

func (c *Client) giveBack(ctx context.Context, r billing.ReturnRequest) (billing.Receipt, error) {
	if err := c.ours(r.Owner); err != nil {
		return billing.Receipt{}, err
	}
	if r.Part == "" || r.Amount <= 0 {
		return billing.Receipt{}, refuse("invalid_amount", "%d cannot be given back as %q", r.Amount, r.Part)
	}
	p, err := c.payment(ctx, r.ID)
	if err != nil {
		return billing.Receipt{}, err
	}
	if p.intent == nil {
		return billing.Receipt{}, refuse("not_paid", "nobody has paid on the page")
	}
	if err := c.ours(ownerOf(p.intent.Metadata)); err != nil {
		return billing.Receipt{}, err
	}
	if _, err := amount(string(p.intent.Currency), r.Amount); err != nil {
		return billing.Receipt{}, err
	}
	look := func() (bool, error) { return c.returned(ctx, p.intent.ID, r) }
	done, err := look()
	if err == nil && !done {
		err = c.refund(ctx, p, r, look)
	}
	if err != nil {
		return billing.Receipt{}, err
	}
	// The payment that was fetched above does not show it.
	receipt, err := c.Receipt(ctx, r.ID)
	return receipt, afterwards(err)
}

func (c *Client) refund(ctx context.Context, p payment, r billing.ReturnRequest, look func() (bool, error)) error {
	metadata := tags(r.Owner)
	metadata[tagPayment] = p.intent.Metadata[tagPayment]
	metadata[tagPart] = r.Part
	if r.Reason != "" { // Stripe's own reasons are three, and none is for this
		metadata[tagReason] = cut(r.Reason, metadataLength)
	}
	params := &stripego.RefundParams{PaymentIntent: &p.intent.ID, Amount: &r.Amount, Metadata: metadata}
	err := c.persist(r.Key+"/refund", look, func(key string) error {
		refund := &stripego.Refund{}
		if err := c.post(ctx, key, "/v1/refunds", params, refund); err != nil || refund.ID != "" {
			return err
		}
		return unreadable("POST /v1/refunds")
	})
	if rejected(err) != nil {
		// Somebody else with the same part may have been faster.
		if done, lookErr := look(); done && lookErr == nil {
			return nil
		}
	}
	return err
}

// returned tells whether a part was given back before. A refund that failed gave
// nothing: the money is ours again.
func (c *Client) returned(ctx context.Context, intent string, r billing.ReturnRequest) (bool, error) {
	p := &stripego.RefundListParams{PaymentIntent: &intent}
	for refund, err := range list(ctx, c, "/v1/refunds", p, func(r *stripego.Refund) string { return r.ID }) {
		if err != nil {
			return false, err
		}
		if refund.Metadata[tagPart] == r.Part && ownerOf(refund.Metadata).Ledger == r.Ledger &&
			refund.Status != stripego.RefundStatusFailed && refund.Status != stripego.RefundStatusCanceled {
			return true, nil
		}
	}
	return false, nil
}
