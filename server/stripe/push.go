package stripe

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

const (
	mostItems         = 250 // of an invoice at Stripe
	descriptionLength = 500
	numberLength      = 140 // of a custom field's value
)

// totalDiffers is the code of refusals to finalize a draft that does not come to
// the request's total.
const totalDiffers = "total_differs"

// Push brings an invoice to Stripe and makes it payable there, see
// [billing.Provider]. When it fails after the draft was made, the draft stays: it
// is worth nothing, and the next Push finds it. That Push must not be Fresh.
func (c *Client) Push(ctx context.Context, r billing.InvoiceRequest) (billing.Charge, error) {
	items, err := c.itemsFor(r)
	if err != nil {
		return billing.Charge{}, fmt.Errorf("sending invoice %d: %w", r.Invoice, err)
	}
	got, err := c.push(ctx, r, items)
	if err != nil {
		return billing.Charge{}, fmt.Errorf("sending invoice %d: %w", r.Invoice, err)
	}
	return c.read(ctx, got)
}

// itemsFor refuses what cannot become an invoice, and returns the items to send.
func (c *Client) itemsFor(r billing.InvoiceRequest) ([]billing.ChargeLine, error) {
	if err := c.ours(r.Owner); err != nil {
		return nil, err
	}
	if r.Total <= 0 || len(r.Lines) == 0 {
		return nil, refuse("invalid_amount", "there is nothing to collect: the total is %d", r.Total)
	}
	if err := sumTo(r.Currency, r.Lines, r.Total); err != nil {
		return nil, err
	}
	if len(r.Lines) <= mostItems {
		return r.Lines, nil
	}
	items := slices.Clone(r.Lines[:mostItems-1])
	rest := billing.ChargeLine{Description: fmt.Sprintf("%d further lines", len(r.Lines)-len(items))}
	for _, l := range r.Lines[len(items):] {
		rest.Amount += l.Amount
	}
	return append(items, rest), nil
}

func (c *Client) push(ctx context.Context, r billing.InvoiceRequest, items []billing.ChargeLine) (*stripego.Invoice, error) {
	var got *stripego.Invoice
	look := func() (bool, error) {
		var err error
		got, err = c.find(ctx, r)
		return got != nil, err
	}
	if !r.Fresh {
		if _, err := look(); err != nil {
			return nil, err
		}
	}
	made := false
	if got == nil {
		var err error
		if made, err = c.makeDraft(ctx, r, look, &got); err == nil && !made {
			got, err = c.invoice(ctx, got.ID)
		}
		if err != nil {
			return nil, err
		}
	}
	if got.Status != stripego.InvoiceStatusDraft {
		return got, c.compare(r, got)
	}
	had := map[int]bool{} // the lines that are there
	if !made {
		if err := c.itemsOf(ctx, got.ID, had); err != nil {
			return nil, err
		}
	}
	return c.fill(ctx, r, got, items, had)
}

// find looks for the invoice in the customer's list; nil where there is none. Id,
// number and month have to fit: ids are given anew after an older backup was
// restored, while numbers go on above the highest one that Stripe has. Where
// there are several, which only someone else can have made, the one that was got
// furthest with counts.
func (c *Client) find(ctx context.Context, r billing.InvoiceRequest) (*stripego.Invoice, error) {
	var found *stripego.Invoice
	p := &stripego.InvoiceListParams{Customer: &r.Customer, Expand: expanded("data.")}
	for inv, err := range list(ctx, c, "/v1/invoices", p, func(i *stripego.Invoice) string { return i.ID }) {
		if err != nil {
			return nil, err
		}
		m := inv.Metadata
		if ownerOf(m).Ledger != r.Ledger || invoiceOf(m) != r.Invoice || m[tagNumber] != r.Number || m[tagPeriod] != r.Period {
			continue
		}
		if found == nil || rank(inv.Status) >= rank(found.Status) {
			found = inv
		}
	}
	return found, nil
}

func rank(s stripego.InvoiceStatus) int {
	switch s {
	case stripego.InvoiceStatusPaid:
		return 4
	case stripego.InvoiceStatusOpen, stripego.InvoiceStatusUncollectible:
		return 3
	case stripego.InvoiceStatusVoid:
		return 2
	}
	return 1
}

// makeDraft makes the invoice, without lines. made is false where the answer is
// that of an earlier request: then more may be there by now than it shows.
func (c *Client) makeDraft(ctx context.Context, r billing.InvoiceRequest, look func() (bool, error), got **stripego.Invoice) (made bool, err error) {
	p := &stripego.InvoiceParams{
		Customer:                    &r.Customer,
		Currency:                    &r.Currency,
		AutoAdvance:                 stripego.Bool(false),
		CollectionMethod:            stripego.String(string(stripego.InvoiceCollectionMethodChargeAutomatically)),
		PendingInvoiceItemsBehavior: stripego.String("exclude"),
		Metadata:                    invoiceTags(r),
	}
	if r.Number != "" {
		p.Description = stripego.String(cut(fmt.Sprintf("Invoice %s for %s", r.Number, r.Period), descriptionLength))
		p.CustomFields = []*stripego.InvoiceCustomFieldParams{{Name: stripego.String("Invoice"), Value: stripego.String(cut(r.Number, numberLength))}}
	}
	err = c.persist(r.Key+"/draft", look, func(key string) error {
		*got, made = &stripego.Invoice{}, false
		if err := c.post(ctx, key, "/v1/invoices", p, *got); err != nil {
			return err
		}
		made = !replayed((*got).LastResponse)
		return nil
	})
	if err == nil && (*got).ID == "" {
		err = unreadable("reading a draft")
	}
	return made, err
}

func invoiceTags(r billing.InvoiceRequest) map[string]string {
	metadata := tags(r.Owner)
	metadata[tagInvoice] = strconv.FormatUint(uint64(r.Invoice), 10)
	metadata[tagNumber] = r.Number
	metadata[tagPeriod] = r.Period
	return metadata
}

// itemsOf notes which lines a draft has.
func (c *Client) itemsOf(ctx context.Context, invoice string, had map[int]bool) error {
	p := &stripego.InvoiceItemListParams{Invoice: &invoice}
	for item, err := range list(ctx, c, "/v1/invoiceitems", p, func(i *stripego.InvoiceItem) string { return i.ID }) {
		if err != nil {
			return err
		}
		if n, err := strconv.Atoi(item.Metadata[tagLine]); err == nil && ownerOf(item.Metadata).Ledger == c.ledger {
			had[n] = true
		}
	}
	return nil
}

// fill adds the lines that a draft lacks, and finalizes it when it comes to the
// total.
func (c *Client) fill(ctx context.Context, r billing.InvoiceRequest, draft *stripego.Invoice, items []billing.ChargeLine, had map[int]bool) (*stripego.Invoice, error) {
	for n, l := range items {
		if had[n] {
			continue
		}
		if err := c.addItem(ctx, r, draft.ID, n, l, had); err != nil {
			return nil, err
		}
	}
	draft, err := c.invoice(ctx, draft.ID)
	if err != nil {
		return nil, err
	}
	if err := c.compare(r, draft); err != nil {
		return nil, err
	}
	if draft.Status != stripego.InvoiceStatusDraft {
		return draft, nil
	}
	return c.finalize(ctx, r, draft.ID)
}

func (c *Client) addItem(ctx context.Context, r billing.InvoiceRequest, invoice string, n int, l billing.ChargeLine, had map[int]bool) error {
	metadata := invoiceTags(r)
	metadata[tagLine] = strconv.Itoa(n)
	p := &stripego.InvoiceItemParams{
		Invoice:     &invoice,
		Customer:    &r.Customer,
		Currency:    &r.Currency,
		Amount:      stripego.Int64(l.Amount),
		Description: stripego.String(cut(l.Description, descriptionLength)),
		Metadata:    metadata,
	}
	look := func() (bool, error) {
		err := c.itemsOf(ctx, invoice, had)
		return had[n], err
	}
	// The draft is part of the key: one that was deleted by hand is made again, and
	// its lines with it.
	return c.persist(r.Key+"/"+invoice+"/line/"+strconv.Itoa(n), look, func(key string) error {
		return c.post(ctx, key, "/v1/invoiceitems", p, &stripego.InvoiceItem{})
	})
}

// compare refuses an invoice that is not the request's, and a draft of which
// something else would be collected than its total: Stripe takes a customer's
// balance into account, and owes itself what is below the minimum charge.
func (c *Client) compare(r billing.InvoiceRequest, inv *stripego.Invoice) error {
	if inv.Total != r.Total || string(inv.Currency) != r.Currency {
		return refuse(totalDiffers, "%s at Stripe (%s) comes to %d %s, and our invoice to %d %s; a draft that someone changed is to be deleted there, and the customer must have no discount or automatic tax",
			inv.ID, inv.Status, inv.Total, inv.Currency, r.Total, r.Currency)
	}
	if inv.Status == stripego.InvoiceStatusDraft && inv.AmountDue != inv.Total {
		return refuse(totalDiffers, "of %s at Stripe %d %s would be collected, and it comes to %d; the customer must have no balance there, and the total must not be below what Stripe charges at least",
			inv.ID, inv.AmountDue, inv.Currency, inv.Total)
	}
	return nil
}

func (c *Client) finalize(ctx context.Context, r billing.InvoiceRequest, id string) (*stripego.Invoice, error) {
	var got *stripego.Invoice
	look := func() (bool, error) {
		var err error
		got, err = c.invoice(ctx, id)
		return err == nil && got.Status != stripego.InvoiceStatusDraft, err
	}
	err := c.persist(r.Key+"/"+id+"/finalize", look, func(key string) error {
		got = &stripego.Invoice{}
		p := &stripego.InvoiceFinalizeInvoiceParams{AutoAdvance: stripego.Bool(false), Expand: expanded("")}
		return c.post(ctx, key, invoicePath(id, "/finalize"), p, got)
	})
	if rejected(err) != nil {
		// It may have been finalized by someone else just now.
		if done, lookErr := look(); done && lookErr == nil {
			err = c.compare(r, got)
		}
	}
	return got, err
}
