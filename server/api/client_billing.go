package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// PreviewPlan is what a change of plan would mean for the open month. It changes
// nothing.
func (c *Client) PreviewPlan(ctx context.Context, user string, p ChangePlan) (PlanPreview, error) {
	return call[PlanPreview](ctx, c, "POST", userPath(user, "/plan/preview"), p)
}

// RunBilling bills what is unbilled. progress, when not nil, is told how far it is.
func (c *Client) RunBilling(ctx context.Context, run BillRun, progress func(done, total int64)) (BillSummary, error) {
	r, err := c.do(ctx, "POST", "/v1/bill/run", typeNDJSON, run)
	if err != nil {
		return BillSummary{}, err
	}
	defer r.Body.Close()
	for lines := json.NewDecoder(r.Body); ; {
		var line BillProgress
		switch err := lines.Decode(&line); {
		case err != nil:
			return BillSummary{}, fmt.Errorf("tollgate broke off before it was done; what was billed stays billed, and the next run goes on: %w", err)
		case line.Problem != nil:
			return BillSummary{}, &Error{*line.Problem}
		case line.Summary != nil:
			return *line.Summary, nil
		case progress != nil:
			progress(int64(line.Done), int64(line.Total))
		}
	}
}

// BillStatus is how billing stands.
func (c *Client) BillStatus(ctx context.Context) (BillStatus, error) {
	return call[BillStatus](ctx, c, "GET", "/v1/bill/status", nil)
}

// Invoices is a page of invoices, newest first; cursor "" is the first page, limit
// 0 the server's default.
func (c *Client) Invoices(ctx context.Context, q InvoicesQuery, cursor string, limit int) (InvoicesPage, error) {
	return call[InvoicesPage](ctx, c, "GET", "/v1/invoices"+pageQuery(url.Values{"user": {q.User}, "month": {q.Month}, "state": {q.State}}, cursor, limit), nil)
}

// EachInvoice walks all invoices, newest first.
func (c *Client) EachInvoice(ctx context.Context, q InvoicesQuery, each func(Invoice) error) error {
	for cursor := ""; ; {
		page, err := c.Invoices(ctx, q, cursor, maxPage)
		if err != nil {
			return err
		}
		for _, i := range page.Invoices {
			if err := each(i); err != nil {
				return err
			}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = *page.NextCursor
	}
}

// Invoice is one invoice, by id or number.
func (c *Client) Invoice(ctx context.Context, id string) (Invoice, error) {
	return call[Invoice](ctx, c, "GET", invoicePath(id, ""), nil)
}

// Explain drills an invoice, by id or number, down to the usage behind it; or the
// invoice that charges the call of a request id.
func (c *Client) Explain(ctx context.Context, id string) (Explanation, error) {
	return call[Explanation](ctx, c, "GET", invoicePath(id, "/explain"), nil)
}

// ActOnInvoice does something to an invoice, by id or number.
func (c *Client) ActOnInvoice(ctx context.Context, id string, act InvoiceAct, ask ActOnInvoice) (Invoice, error) {
	return call[Invoice](ctx, c, "POST", invoicePath(id, "/"+string(act)), ask)
}

// SetUpStripe makes products and prices for the plans, where they are missing.
func (c *Client) SetUpStripe(ctx context.Context) ([]StripePlan, error) {
	return call[[]StripePlan](ctx, c, "POST", "/v1/stripe/setup", nil)
}

// CheckStripe looks whether all is in place at Stripe.
func (c *Client) CheckStripe(ctx context.Context) (StripeReport, error) {
	return call[StripeReport](ctx, c, "GET", "/v1/stripe/check", nil)
}

func invoicePath(id, rest string) string { return "/v1/invoices/" + url.PathEscape(id) + rest }
