package stripetest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// maxPending bounds what waits for an endpoint that takes nothing. Stripe gives up
// after three days.
const (
	maxPending  = 100_000
	pendingLife = 3 * 24 * time.Hour
)

// pending is an event on its way to an endpoint. It has the event itself: the
// list of events may have forgotten it.
type pending struct {
	Endpoint string `json:"endpoint"`
	Event    *Event `json:"event"`
}

func (s *Server) queue(p pending) {
	s.state.Pending = append(s.state.Pending, p)
	if n := len(s.state.Pending) - maxPending; n > 0 {
		s.state.Pending = slices.Delete(s.state.Pending, 0, n)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func createEndpoint(c *call) (any, *failure) {
	if f := c.p.required("enabled_events", "url"); f != nil {
		return nil, f
	}
	o := &Endpoint{Status: "enabled", APIVersion: c.p.str("api_version")}
	if f := c.applyEndpoint(o); f != nil {
		return nil, f
	}
	o.Base = c.s.newBase("we", "webhook_endpoint", o.Metadata)
	o.Secret = "whsec_" + suffix(o.ID)
	c.s.state.Endpoints.add(o)
	return *o, nil // the one answer that has the secret
}

func (c *call) applyEndpoint(o *Endpoint) *failure {
	meta, f := c.p.metadata(o.Metadata)
	if f != nil {
		return f
	}
	off, f := c.p.boolean("disabled", o.Status == "disabled")
	if f != nil {
		return f
	}
	if c.p.has("url") {
		if f := webAddress("url", c.p.str("url")); f != nil {
			return f
		}
		o.URL = c.p.str("url")
	}
	if c.p.hasAny("enabled_events") {
		o.EnabledEvents = c.p.strings("enabled_events")
	}
	if c.p.has("description") {
		o.Description = c.p.str("description")
	}
	o.Metadata = meta
	if off {
		o.Status = "disabled"
	} else {
		o.Status = "enabled"
	}
	return nil
}

func viewEndpoint(o *Endpoint) any {
	v := *o
	v.Secret = ""
	return v
}

func getEndpoint(c *call) (any, *failure) {
	o, ok := c.s.state.Endpoints.byID[c.id]
	if !ok {
		return nil, missing("webhook endpoint", "id", c.id)
	}
	return viewEndpoint(o), nil
}

func updateEndpoint(c *call) (any, *failure) {
	o, ok := c.s.state.Endpoints.byID[c.id]
	if !ok {
		return nil, missing("webhook endpoint", "id", c.id)
	}
	if f := c.applyEndpoint(o); f != nil {
		return nil, f
	}
	return viewEndpoint(o), nil
}

func deleteEndpoint(c *call) (any, *failure) {
	if _, ok := c.s.state.Endpoints.byID[c.id]; !ok {
		return nil, missing("webhook endpoint", "id", c.id)
	}
	c.s.state.Endpoints.remove(c.id)
	return map[string]any{"id": c.id, "object": "webhook_endpoint", "deleted": true}, nil
}

func listEndpoints(c *call) (any, *failure) {
	return page(c, &c.s.state.Endpoints, func(*Endpoint) bool { return true }, viewEndpoint)
}

// AddWebhook sends all events from now on to a URL, signed with a secret. "" makes
// one up; it is returned.
func (s *Server) AddWebhook(url, secret string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &Endpoint{Base: s.newBase("we", "webhook_endpoint", nil), APIVersion: Version, EnabledEvents: []string{"*"}, Secret: secret, Status: "enabled", URL: url}
	if secret == "" {
		o.Secret = "whsec_" + suffix(o.ID)
	}
	s.state.Endpoints.add(o)
	return o.Secret
}

// Signature is the header Stripe-Signature of a payload,
// see https://docs.stripe.com/webhooks#verify-manually.
func Signature(payload []byte, secret string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.", at.Unix())
	mac.Write(payload)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// Delivery is how the events that wait are sent. The zero value sends each once, in order.
type Delivery struct {
	Lose      func(Event) bool // these are never sent
	Hold      func(Event) bool // these wait for the next delivery
	OlderThan time.Duration    // what is younger by the stand-in's clock waits too
	Duplicate int              // how many times more each is sent, all at the end
	Reverse   bool             // the newest first
	Shuffle   uint64           // seed of a random order; 0: none
	Skew      time.Duration    // added to the time in the signatures
}

// DeliverWebhooks sends what waits, and returns how many requests were answered
// with 2xx. What was not waits on, for three days by the stand-in's clock. Only a
// ctx that has ended is an error.
func (s *Server) DeliverWebhooks(ctx context.Context, d Delivery) (int, error) {
	s.mu.Lock()
	s.expireDue()
	now := s.now()
	var send, wait []pending
	for _, p := range s.state.Pending {
		at := time.Unix(p.Event.Created, 0)
		switch {
		case s.state.Endpoints.byID[p.Endpoint] == nil, now.Sub(at) > pendingLife, d.Lose != nil && d.Lose(*p.Event):
			p.Event.PendingWebhooks--
		case now.Sub(at) < d.OlderThan, d.Hold != nil && d.Hold(*p.Event):
			wait = append(wait, p)
		default:
			send = append(send, p)
		}
	}
	s.state.Pending = wait
	s.mu.Unlock()

	if d.Reverse {
		slices.Reverse(send)
	}
	if d.Shuffle != 0 {
		rand.New(rand.NewPCG(d.Shuffle, 0)).Shuffle(len(send), func(i, j int) { send[i], send[j] = send[j], send[i] })
	}
	taken := make(map[int]bool, len(send))
	count := 0
	for range d.Duplicate + 1 {
		for i, p := range send {
			if ctx.Err() == nil && s.deliver(ctx, p, now.Add(d.Skew)) {
				taken[i] = true
				count++
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []pending
	for i, p := range send {
		if taken[i] {
			p.Event.PendingWebhooks--
		} else {
			failed = append(failed, p)
		}
	}
	s.state.Pending = append(failed, s.state.Pending...)
	return count, ctx.Err()
}

// deliver sends one event, and tells whether it was taken.
func (s *Server) deliver(ctx context.Context, p pending, at time.Time) bool {
	s.mu.Lock()
	o := s.state.Endpoints.byID[p.Endpoint]
	if o == nil {
		s.mu.Unlock()
		return false
	}
	url, secret := o.URL, o.Secret
	payload, err := json.Marshal(p.Event)
	s.mu.Unlock()
	if err != nil {
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
	r.Header.Set("Stripe-Signature", Signature(payload, secret, at))
	answer, err := s.client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	return answer.StatusCode >= 200 && answer.StatusCode < 300
}

// RunWebhooks delivers events as they happen until ctx ends. What an endpoint did
// not take is tried again with the next event, or after retry; 0 is 5 seconds.
func (s *Server) RunWebhooks(ctx context.Context, retry time.Duration) {
	if retry <= 0 {
		retry = 5 * time.Second
	}
	again := time.NewTicker(retry)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-again.C:
		}
		if _, err := s.DeliverWebhooks(ctx, Delivery{}); err != nil {
			return
		}
	}
}
