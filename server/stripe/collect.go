package stripe

import (
	"context"
	"errors"
	"fmt"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// notOpen is the code of refusals to collect what was not finalized.
const notOpen = "not_open"

// Pay tries to collect an open invoice with the customer's default payment
// method, the customer not being there. An invoice has one payment at Stripe, so
// that no number of attempts collects it twice. When the attempt was refused, the
// invoice's real state is fetched: it may have been paid in another way.
func (c *Client) Pay(ctx context.Context, r billing.PayRequest) (billing.Charge, error) {
	charge, err := c.collect(ctx, r.Key+"/pay", r.ID, &stripego.InvoicePayParams{OffSession: stripego.Bool(true)})
	if err != nil {
		return billing.Charge{}, fmt.Errorf("collecting invoice %s: %w", r.ID, err)
	}
	return charge, nil
}

// Settle marks an open invoice as paid by other means. It is no error when it is
// paid already, by whatever means.
func (c *Client) Settle(ctx context.Context, key, id string) (billing.Charge, error) {
	charge, err := c.collect(ctx, key+"/settle", id, &stripego.InvoicePayParams{PaidOutOfBand: stripego.Bool(true)})
	if err != nil {
		return billing.Charge{}, fmt.Errorf("marking invoice %s as paid: %w", id, err)
	}
	return charge, nil
}

func (c *Client) collect(ctx context.Context, key, id string, p *stripego.InvoicePayParams) (billing.Charge, error) {
	got, err := c.ourInvoice(ctx, id)
	if err != nil {
		return billing.Charge{}, err
	}
	switch got.Status {
	case stripego.InvoiceStatusPaid:
		return c.read(ctx, got)
	case stripego.InvoiceStatusDraft:
		// Stripe would finalize it, with the lines that happen to be there.
		return billing.Charge{}, refuse(notOpen, "%s is a draft at Stripe; it has to be sent whole first", id)
	}
	p.Expand = expanded("")
	look := func() (bool, error) {
		var err error
		got, err = c.invoice(ctx, id)
		return err == nil && got.Status == stripego.InvoiceStatusPaid, err
	}
	err = c.persist(key, look, func(key string) error {
		got = &stripego.Invoice{}
		return c.post(ctx, key, invoicePath(id, "/pay"), p, got)
	})
	if err == nil {
		charge, err := c.read(ctx, got)
		return charge, afterwards(err)
	}
	why := declined(err)
	if why == nil && rejected(err) == nil {
		return billing.Charge{}, err
	}
	paid, lookErr := look()
	switch {
	case lookErr != nil && why != nil:
		return billing.Charge{}, afterwards(lookErr)
	case why == nil && (lookErr != nil || !paid):
		return billing.Charge{}, err
	}
	charge, err := c.read(ctx, got)
	if err == nil && !paid {
		charge.Decline = why
	}
	return charge, err
}

// Void makes an open invoice worth nothing, and deletes one that is a draft still.
// It is no error when it is void or deleted already; of a deleted one only id and
// state are known.
func (c *Client) Void(ctx context.Context, key, id string) (billing.Charge, error) {
	charge, err := c.void(ctx, key, id)
	if err != nil {
		return billing.Charge{}, fmt.Errorf("voiding invoice %s: %w", id, err)
	}
	return charge, nil
}

func (c *Client) void(ctx context.Context, key, id string) (billing.Charge, error) {
	inv, err := c.ourInvoice(ctx, id)
	if missing(err) {
		return billing.Charge{ID: id, State: billing.ChargeVoid}, nil
	}
	if err != nil {
		return billing.Charge{}, err
	}
	switch inv.Status {
	case stripego.InvoiceStatusVoid:
		return c.read(ctx, inv)
	case stripego.InvoiceStatusDraft:
		if err := c.remove(ctx, key+"/delete", invoicePath(id, "")); err != nil && !missing(err) {
			return billing.Charge{}, err
		}
		inv.Status = stripego.InvoiceStatusVoid
		return c.read(ctx, inv)
	}
	var got *stripego.Invoice
	look := func() (bool, error) {
		var err error
		got, err = c.invoice(ctx, id)
		return err == nil && got.Status == stripego.InvoiceStatusVoid, err
	}
	err = c.persist(key+"/void", look, func(key string) error {
		got = &stripego.Invoice{}
		return c.post(ctx, key, invoicePath(id, "/void"), &stripego.InvoiceVoidInvoiceParams{Expand: expanded("")}, got)
	})
	if err != nil {
		return billing.Charge{}, err
	}
	charge, err := c.read(ctx, got)
	return charge, afterwards(err)
}

// afterwards is the error of a look at what was done. That the look was refused
// does not mean that nothing was.
func afterwards(err error) error {
	if r := (*billing.Rejection)(nil); errors.As(err, &r) {
		return fmt.Errorf("%w: it was done, and then: %s", billing.ErrUnknown, r.Error())
	}
	return err
}

// Credit gives a part of an invoice back by a credit note: money, of a paid
// invoice, or less to pay, of an open one. The credit note carries the request's
// key, by which it is found again.
func (c *Client) Credit(ctx context.Context, r billing.CreditRequest) (billing.Charge, error) {
	charge, err := c.credit(ctx, r)
	if err != nil {
		return billing.Charge{}, fmt.Errorf("crediting invoice %s: %w", r.ID, err)
	}
	return charge, nil
}

func (c *Client) credit(ctx context.Context, r billing.CreditRequest) (billing.Charge, error) {
	if err := c.ours(r.Owner); err != nil {
		return billing.Charge{}, err
	}
	inv, err := c.ourInvoice(ctx, r.ID)
	if err != nil {
		return billing.Charge{}, err
	}
	if _, err := amount(string(inv.Currency), r.Amount); err != nil {
		return billing.Charge{}, err
	}
	if r.Amount <= 0 {
		return billing.Charge{}, refuse("invalid_amount", "%d cannot be given back", r.Amount)
	}
	look := func() (bool, error) { return c.credited(ctx, r) }
	done, err := look()
	if err == nil && !done {
		metadata := tags(r.Owner)
		metadata[tagKey] = r.Key
		p := &stripego.CreditNoteParams{Invoice: &r.ID, Amount: &r.Amount, Metadata: metadata}
		if r.Reason != "" {
			p.Memo = stripego.String(cut(r.Reason, descriptionLength))
		}
		if r.Refund {
			p.RefundAmount = &r.Amount
		}
		err = c.persist(r.Key+"/credit", look, func(key string) error {
			note := &stripego.CreditNote{}
			if err := c.post(ctx, key, "/v1/credit_notes", p, note); err != nil || note.ID != "" {
				return err
			}
			return unreadable("POST /v1/credit_notes")
		})
	}
	if err != nil {
		return billing.Charge{}, err
	}
	if inv, err = c.invoice(ctx, r.ID); err != nil {
		return billing.Charge{}, afterwards(err)
	}
	charge, err := c.read(ctx, inv)
	return charge, afterwards(err)
}

// credited tells whether a credit was given before.
func (c *Client) credited(ctx context.Context, r billing.CreditRequest) (bool, error) {
	p := &stripego.CreditNoteListParams{Invoice: &r.ID}
	for note, err := range list(ctx, c, "/v1/credit_notes", p, func(n *stripego.CreditNote) string { return n.ID }) {
		if err != nil {
			return false, err
		}
		if note.Metadata[tagKey] == r.Key && ownerOf(note.Metadata).Ledger == r.Ledger {
			return true, nil
		}
	}
	return false, nil
}
