package stripetest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/server/stripe/stripetest"
)

// receiver takes webhooks and checks them.
type receiver struct {
	t      *testing.T
	secret string
	clock  *clock
	skew   time.Duration
	fail   atomic.Bool
	types  []string
	ids    []string
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.fail.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	stamp, signature, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Stripe-Signature"), "t="), ",v1=")
	if want := fmt.Sprint(h.clock.Now().Add(h.skew).Unix()); !ok || stamp != want {
		h.t.Errorf("the signature's time is %q, want %s", stamp, want)
	}
	mac := hmac.New(sha256.New, []byte(h.secret))
	io.WriteString(mac, stamp+"."+string(payload))
	if want := hex.EncodeToString(mac.Sum(nil)); signature != want {
		h.t.Errorf("the signature is %q, want %q", signature, want)
	}
	var e struct {
		ID, Object, Type string
		APIVersion       string `json:"api_version"`
		Data             struct{ Object struct{ ID string } }
	}
	if err := json.Unmarshal(payload, &e); err != nil || e.Object != "event" || e.APIVersion != "2023-10-16" || e.Data.Object.ID == "" {
		h.t.Errorf("the payload is %s, %v", payload, err)
	}
	h.types = append(h.types, e.Type)
	h.ids = append(h.ids, e.ID)
}

func withReceiver(t *testing.T) (*api, *receiver) {
	c := newClock()
	h := &receiver{t: t, clock: c}
	s := stripetest.New(stripetest.Options{Now: c.Now, Webhooks: &http.Client{Transport: stripetest.Transport(h)}})
	return &api{t, s, c, s.Client()}, h
}

func TestWebhooksAreDelivered(t *testing.T) {
	a, h := withReceiver(t)
	deliver := func(d stripetest.Delivery, want ...string) {
		t.Helper()
		h.types, h.ids = nil, nil
		if _, err := a.server.DeliverWebhooks(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(h.types, want) {
			t.Errorf("delivered %v, want %v", h.types, want)
		}
	}
	a.customer("") // nobody listens yet
	got := a.good(a.post("/v1/webhook_endpoints", "url", "https://app.test/webhooks/stripe", "enabled_events[0]", "customer.created",
		"enabled_events[1]", "customer.updated", "enabled_events[2]", "customer.deleted", "api_version", "2023-10-16"))
	h.secret = got.text("secret")
	a.expect(a.good(a.get("/v1/webhook_endpoints/"+got.id())), "secret", "", "url", "https://app.test/webhooks/stripe", "status", "enabled")
	a.expect(a.good(a.get("/v1/webhook_endpoints")), "data.0.id", got.id())
	deliver(stripetest.Delivery{})

	change := func() {
		id := a.customer("")
		a.draft(id, 100) // not asked for
		a.good(a.post("/v1/customers/"+id, "name", "Anne"))
		a.good(a.request(http.MethodDelete, "/v1/customers/"+id, ""))
	}
	made, updated, deleted := "customer.created", "customer.updated", "customer.deleted"
	change()
	deliver(stripetest.Delivery{}, made, updated, deleted)
	deliver(stripetest.Delivery{})
	change()
	deliver(stripetest.Delivery{Duplicate: 1}, made, updated, deleted, made, updated, deleted)
	if h.ids[0] != h.ids[3] {
		t.Error("a duplicate has another id")
	}
	change()
	deliver(stripetest.Delivery{Reverse: true}, deleted, updated, made)
	change()
	deliver(stripetest.Delivery{Lose: func(e stripetest.Event) bool { return e.Type == updated }}, made, deleted)
	deliver(stripetest.Delivery{})
	change()
	deliver(stripetest.Delivery{Hold: func(e stripetest.Event) bool { return e.Type == made }}, updated, deleted)
	deliver(stripetest.Delivery{}, made)
	change()
	deliver(stripetest.Delivery{OlderThan: time.Hour})
	a.clock.advance(time.Hour)
	deliver(stripetest.Delivery{OlderThan: time.Hour}, made, updated, deleted)
	change()
	h.skew = 10 * time.Minute
	deliver(stripetest.Delivery{Skew: 10 * time.Minute, Shuffle: 3}, updated, deleted, made)
	h.skew = 0

	// What was not taken is sent again, for three days.
	change()
	h.fail.Store(true)
	deliver(stripetest.Delivery{})
	h.fail.Store(false)
	deliver(stripetest.Delivery{}, made, updated, deleted)
	change()
	h.fail.Store(true)
	deliver(stripetest.Delivery{})
	h.fail.Store(false)
	a.clock.advance(73 * time.Hour)
	deliver(stripetest.Delivery{})
}

func TestWebhooksAsTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := withReceiver(t)
		h.secret = "whsec_mine"
		if got := a.server.AddWebhook("http://app.test/", h.secret); got != h.secret {
			t.Errorf("the secret is %q", got)
		}
		go a.server.RunWebhooks(t.Context(), time.Minute)
		a.customer("")
		synctest.Wait()
		if !slices.Equal(h.types, []string{"customer.created"}) {
			t.Errorf("delivered %v", h.types)
		}
		h.fail.Store(true)
		a.customer("")
		synctest.Wait()
		h.fail.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(h.types) != 2 {
			t.Errorf("delivered %v", h.types)
		}
	})
}

func TestEventsAreListed(t *testing.T) {
	a := newAPI(t)
	customer := a.customer("")
	first := a.good(a.get("/v1/events", "limit", "1"))
	a.expect(first, "data.0.type", "customer.created", "data.0.data.object.id", customer, "data.0.request.id", "req_"+strings.TrimPrefix(first.text("data.0.request.id"), "req_"))
	cursor := first.text("data.0.id")
	a.expect(a.good(a.get("/v1/events", "ending_before", cursor)), "data.0", "", "has_more", "false")
	a.clock.advance(time.Minute)
	since := a.clock.Now().Unix()
	id := a.open(customer, 100)
	got := a.good(a.get("/v1/events", "ending_before", cursor, "limit", "100"))
	a.expect(got, "data.0.type", "invoice.finalized", "data.0.data.object.id", id, "data.0.data.object.status", "open", "data.0.data.object.metadata.ledger", "l1")
	a.expect(a.good(a.get("/v1/events", "created[gte]", fmt.Sprint(since), "types[0]", "invoice.created", "types[1]", "invoice.voided")), "data.0.data.object.status", "draft", "data.1", "")
	a.expect(a.good(a.get("/v1/events", "created[gt]", fmt.Sprint(since))), "data.0", "")
	a.expect(a.good(a.get("/v1/events/"+cursor)), "data.object.id", customer)
	// Two invoices open at once page forward, oldest page first.
	page := a.good(a.get("/v1/events", "ending_before", cursor, "limit", "2"))
	a.expect(page, "data.1.type", "invoice.created", "has_more", "true")
	// Events are kept for 30 days.
	a.clock.advance(31 * 24 * time.Hour)
	a.customer("")
	a.expect(a.good(a.get("/v1/events")), "data.0.type", "customer.created", "data.1", "")
	a.refused(a.get("/v1/events", "ending_before", cursor), 400, "resource_missing")
}
