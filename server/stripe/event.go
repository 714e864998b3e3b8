package stripe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// EventTypes are the events that say something to us. They are what a webhook
// endpoint should send and what is polled for; Stripe takes at most 20 at once.
// The events checkout.session.async_payment_... are understood, and not asked for:
// the payment intent's own say the same.
func EventTypes() []string {
	return []string{
		"checkout.session.completed",
		"checkout.session.expired",
		"payment_intent.succeeded",
		"payment_intent.payment_failed",
		"customer.updated",
		"customer.deleted",
		"payment_method.attached",
		"payment_method.detached",
		"invoice.paid",
		"invoice.payment_failed",
		"invoice.payment_action_required",
		"invoice.voided",
		"invoice.marked_uncollectible",
		"invoice.deleted",
		"credit_note.created",
		"credit_note.voided",
		"charge.refunded",
		"charge.dispute.created",
		"charge.dispute.updated",
		"charge.dispute.closed",
	}
}

// Events lists what happened after the event with the id after, or since an
// instant where after is "" or too old for Stripe, which keeps events for 30 days
// (https://docs.stripe.com/api/events/list). Oldest first, at most 100.
func (c *Client) Events(ctx context.Context, since time.Time, after string) ([]billing.Event, error) {
	got, err := c.eventsAfter(ctx, after)
	if after == "" || missing(err) {
		got, err = c.eventsSince(ctx, since)
	}
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	events := make([]billing.Event, 0, len(got))
	for _, e := range slices.Backward(got) {
		event, charge := readEvent(e)
		if event, err = c.complete(ctx, event, charge); err != nil {
			return nil, fmt.Errorf("reading event %s: %w", e.ID, err)
		}
		events = append(events, event)
	}
	return events, nil
}

// eventsAfter is the page just after an event, newest first as Stripe has it.
func (c *Client) eventsAfter(ctx context.Context, after string) ([]*stripego.Event, error) {
	if after == "" {
		return nil, nil
	}
	p := &stripego.EventListParams{Types: stripego.StringSlice(EventTypes())}
	p.EndingBefore = &after
	got, err := listPage[*stripego.Event](ctx, c, "/v1/events", p)
	if err != nil {
		return nil, err
	}
	return got.Data, nil
}

// eventsSince is the oldest page since an instant, newest first. Stripe can only
// be asked for the newest, so that all pages are gone through.
func (c *Client) eventsSince(ctx context.Context, since time.Time) ([]*stripego.Event, error) {
	p := &stripego.EventListParams{
		Types:        stripego.StringSlice(EventTypes()),
		CreatedRange: &stripego.RangeQueryParams{GreaterThanOrEqual: max(since.Unix(), 1)},
	}
	var oldest []*stripego.Event
	for {
		got, err := listPage[*stripego.Event](ctx, c, "/v1/events", p)
		if err != nil {
			return nil, err
		}
		// The last page may be short; it is filled up from the one before it.
		oldest = append(oldest, got.Data...)
		oldest = oldest[max(0, len(oldest)-pageSize):]
		if !got.HasMore || len(got.Data) == 0 {
			return oldest, nil
		}
		p.StartingAfter = &got.Data[len(got.Data)-1].ID
	}
}

// Complete finds the invoice or payment of an event that names only a charge of
// it, such as a dispute. Events that [Client.Events] lists are complete.
func (c *Client) Complete(ctx context.Context, e billing.Event) (billing.Event, error) {
	if e.Charge != "" || e.Receipt != "" || !strings.HasPrefix(e.Type, "charge.") {
		return e, nil
	}
	var got stripego.Event
	err := c.get(ctx, stripego.FormatURLPath("/v1/events/%s", e.ID), &stripego.EventParams{}, &got)
	if missing(err) {
		return e, nil // too old to be asked for
	}
	if err == nil {
		event, charge := readEvent(&got)
		e, err = c.complete(ctx, event, charge)
	}
	if err != nil {
		return billing.Event{}, fmt.Errorf("reading event %s: %w", e.ID, err)
	}
	return e, nil
}

func (c *Client) complete(ctx context.Context, e billing.Event, charge string) (billing.Event, error) {
	if e.Charge != "" || charge == "" {
		return e, nil
	}
	var got stripego.Charge
	err := c.get(ctx, stripego.FormatURLPath("/v1/charges/%s", charge), &stripego.ChargeParams{}, &got)
	if missing(err) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	switch {
	case got.Invoice != nil:
		e.Charge = got.Invoice.ID
	case got.PaymentIntent != nil:
		e.Receipt = got.PaymentIntent.ID
	}
	if got.Customer != nil {
		e.Customer = got.Customer.ID
	}
	return e, nil
}

// readEvent reads an event of Stripe. charge is the charge that it is about, where
// it is about one that has to be asked whose it is.
//
// Sessions and payment intents are only named where they are payments of ours:
// sessions collect cards as well, and invoices have payment intents, too, whose
// events say nothing that those of the invoices do not.
func readEvent(e *stripego.Event) (_ billing.Event, charge string) {
	event := billing.Event{ID: e.ID, Type: string(e.Type), Time: time.Unix(e.Created, 0).UTC()}
	if e.Data == nil {
		return event, ""
	}
	// The object is as its version of the API has it: what is not as expected is
	// not there, and what is there is only a name to ask for.
	var object struct {
		ID       text   `json:"id"`
		Object   text   `json:"object"`
		Customer text   `json:"customer"`
		Invoice  text   `json:"invoice"`
		Charge   text   `json:"charge"`
		Metadata tagsOf `json:"metadata"`
	}
	if json.Unmarshal(e.Data.Raw, &object) != nil {
		return event, ""
	}
	event.Customer, event.Charge = string(object.Customer), string(object.Invoice)
	switch object.Object {
	case "customer":
		event.Customer = string(object.ID)
	case "invoice":
		event.Charge = string(object.ID)
	case "charge":
		charge = string(object.ID)
	case "dispute", "refund":
		charge = string(object.Charge)
	case "checkout.session":
		if paymentOf(object.Metadata) != 0 {
			event.Receipt = string(object.ID)
		}
	case "payment_intent":
		if paymentOf(object.Metadata) == 0 {
			event.Customer, event.Charge = "", ""
			break
		}
		event.Receipt = string(object.ID)
	}
	return event, charge
}

// tagsOf reads metadata, and anything else as none.
type tagsOf map[string]string

func (t *tagsOf) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if json.Unmarshal(b, &m) != nil {
		m = nil
	}
	*t = m
	return nil
}

// text reads a string or an object's id, and anything else as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if s := ""; json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var object struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(b, &object) == nil {
		*t = text(object.ID)
	}
	return nil
}
