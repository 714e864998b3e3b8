package stripe_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

const testLedger = "5f0c6a9be1d84c7f9d3e2b1a40c8e7d6"

// start is when the stand-in's time begins in tests.
var start = time.Date(2025, 2, 1, 1, 0, 0, 0, time.UTC)

// sandbox is an account at the stand-in with a client.
type sandbox struct {
	*stripetest.Server
	*stripe.Client
	t *testing.T

	mu  sync.Mutex
	now time.Time
}

// newSandbox makes an empty account. o needs neither key nor transport.
func newSandbox(t *testing.T, o stripe.Options) *sandbox {
	t.Helper()
	s := &sandbox{t: t, now: start}
	s.Server = stripetest.New(stripetest.Options{Now: s.clock, URL: "http://stripe.test"})
	o.Now = s.clock
	if o.HTTP == nil {
		o.HTTP = s.Server.Transport()
	}
	s.Client = newClient(t, o)
	return s
}

func (s *sandbox) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *sandbox) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func owner(user ledger.UserID) billing.Owner {
	return billing.Owner{Ledger: testLedger, Epoch: 1, User: user}
}

// customer makes a customer with a card; "" is none.
func (s *sandbox) customer(card stripetest.Card) string {
	s.t.Helper()
	c, err := s.Client.Customer(s.t.Context(), billing.CustomerRequest{Owner: owner(1), Key: "customer", Personal: ledger.Personal{Email: "ann@example.com", Name: "Ann"}})
	if err != nil {
		s.t.Fatal(err)
	}
	if card != "" {
		if err := s.SetCard(c.ID, card); err != nil {
			s.t.Fatal(err)
		}
	}
	return c.ID
}

// request is an invoice of 12.34 in three lines.
func request(customer string) billing.InvoiceRequest {
	return billing.InvoiceRequest{
		Owner: owner(1), Key: testLedger + "/1/invoice/7/push/1", Invoice: 7, Customer: customer,
		Number: "2025-000003", Period: "2025-01", Currency: "usd", Total: 1234, Fresh: true,
		Lines: []billing.ChargeLine{{Description: "Pro", Amount: 1000}, {Description: "Usage", Amount: 334}, {Description: "Credit", Amount: -100}},
	}
}

// pushed is an open invoice.
func (s *sandbox) pushed(customer string) billing.Charge {
	s.t.Helper()
	c, err := s.Push(s.t.Context(), request(customer))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *sandbox) paid(customer string) billing.Charge {
	s.t.Helper()
	c, err := s.Pay(s.t.Context(), billing.PayRequest{Key: "pay-1", ID: s.pushed(customer).ID})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// sent is a request that the client sent.
type sent struct {
	Method, Path string
	Form         url.Values
	Key          string
}

// recording keeps what passes.
type recording struct {
	http.RoundTripper
	mu   sync.Mutex
	sent []sent
}

func (r *recording) RoundTrip(q *http.Request) (*http.Response, error) {
	form := q.URL.Query()
	if q.GetBody != nil {
		body, err := q.GetBody()
		if err != nil {
			return nil, err
		}
		form = readForm(form, body)
	}
	r.mu.Lock()
	r.sent = append(r.sent, sent{q.Method, q.URL.Path, form, q.Header.Get("Idempotency-Key")})
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(q)
}

func (r *recording) all() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

func readForm(form url.Values, body io.ReadCloser) url.Values {
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		panic(err) // it is in memory
	}
	more, err := url.ParseQuery(string(text))
	if err != nil {
		panic(err) // it was made by stripe-go
	}
	for k, v := range more {
		form[k] = append(form[k], v...)
	}
	return form
}

// newRequest is one as someone else with the account's key would send it.
func newRequest(method, path, form string) (*http.Request, error) {
	r, err := http.NewRequest(method, "http://stripe.test"+path, strings.NewReader(form))
	if err == nil {
		r.Header.Set("Authorization", "Bearer sk_test_dashboard")
	}
	return r, err
}

// post changes something as the operator or Stripe's pages would.
func post(t *testing.T, s *sandbox, path, form string) {
	t.Helper()
	r, err := newRequest(http.MethodPost, path, form)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if body, err := io.ReadAll(a.Body); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %v", path, body, err)
	}
}
