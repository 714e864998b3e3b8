package stripe_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

func TestEvents(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	if got, err := s.Client.Events(ctx, start, ""); err != nil || len(got) != 0 {
		t.Fatalf("before anything: %v, %v", got, err)
	}
	cus := s.customer(stripetest.CardGood)
	paid := s.paid(cus)
	if _, err := s.Dispute(paid.ID, ""); err != nil {
		t.Fatal(err)
	}
	got, err := s.Client.Events(ctx, start, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []billing.Event{
		{Type: "payment_method.attached", Time: start, Customer: cus},
		{Type: "customer.updated", Time: start, Customer: cus},
		{Type: "payment_intent.succeeded", Time: start}, // the invoice's own
		{Type: "invoice.paid", Time: start, Customer: cus, Charge: paid.ID},
		{Type: "charge.dispute.created", Time: start, Customer: cus, Charge: paid.ID},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(billing.Event{}, "ID")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	dispute := got[4]
	for after, left := range map[int]int{0: 4, 2: 2, 4: 0} {
		if rest, err := s.Client.Events(ctx, start, got[after].ID); err != nil || !cmp.Equal(rest, got[after+1:], cmpopts.EquateEmpty()) {
			t.Errorf("after %d: got %v, %v, want %d", after, rest, err, left)
		}
	}
	// A webhook names only the payment of a dispute.
	hint := billing.Event{ID: dispute.ID, Type: dispute.Type, Time: dispute.Time}
	if full, err := s.Complete(ctx, hint); err != nil || full != dispute {
		t.Errorf("completed: %+v, %v", full, err)
	}
	if same, err := s.Complete(ctx, got[3]); err != nil || same != got[3] {
		t.Errorf("complete already: %+v, %v", same, err)
	}
	old := billing.Event{ID: "evt_long_ago", Type: "charge.refunded"}
	if same, err := s.Complete(ctx, old); err != nil || same != old {
		t.Errorf("too old to be completed: %+v, %v", same, err)
	}
	// An id that Stripe has forgotten: what is since.
	s.advance(time.Hour)
	if err := s.SetCard(cus, ""); err != nil {
		t.Fatal(err)
	}
	if rest, err := s.Client.Events(ctx, start.Add(time.Minute), "evt_long_ago"); err != nil || len(rest) != 1 || rest[0].Type != "customer.updated" {
		t.Errorf("after one that is gone: %v, %v", rest, err)
	}
}

// TestManyEvents are read page by page, each once and in order.
func TestManyEvents(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer("")
	const changes = 357
	for i := range changes {
		s.advance(time.Second)
		post(t, s, "/v1/customers/"+cus, fmt.Sprintf("description=%d", i))
	}
	var all []billing.Event
	after := ""
	for {
		got, err := s.Client.Events(t.Context(), start, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		if len(got) > 100 {
			t.Errorf("a page of %d", len(got))
		}
		all = append(all, got...)
		after = got[len(got)-1].ID
	}
	seen := map[string]bool{}
	for i, e := range all {
		seen[e.ID] = true
		if i > 0 && e.Time.Before(all[i-1].Time) {
			t.Errorf("event %d lies before the one before it", i)
		}
	}
	if len(all) != changes || len(seen) != changes {
		t.Errorf("%d events, %d different ones, want %d", len(all), len(seen), changes)
	}
}

func TestEventTypes(t *testing.T) {
	if n := len(stripe.EventTypes()); n > 20 {
		t.Errorf("%d types; Stripe takes 20", n)
	}
}
