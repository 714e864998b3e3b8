package stripetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/server/stripe/stripetest"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2025, 1, 31, 23, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// api calls a stand-in.
type api struct {
	t      testing.TB
	server *stripetest.Server
	clock  *clock
	client *http.Client
}

func newAPI(t *testing.T) *api {
	t.Helper()
	c := newClock()
	s := stripetest.New(stripetest.Options{Now: c.Now, URL: "http://sandbox.test", Record: true})
	return &api{t, s, c, s.Client()}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
	err    error
}

func (a answer) id() string { return a.text("id") }

// at is what is at a path such as "error.code" or "data.0.id".
func (a answer) at(path string) any {
	var v any = a.body
	for part := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			v = node[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(node) {
				return nil
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

// text is that as text; "" where nothing is.
func (a answer) text(path string) string {
	v := a.at(path)
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// form makes a form of names and values in turns.
func form(pairs ...string) url.Values {
	f := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

// request makes a request; the error of a broken connection is in the answer.
func (a *api) request(method, path, key string, pairs ...string) answer {
	a.t.Helper()
	target, body := "http://stripe.test"+path, io.Reader(nil)
	if encoded := form(pairs...).Encode(); method == http.MethodPost {
		body = strings.NewReader(encoded)
	} else if encoded != "" {
		target += "?" + encoded
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, target, body)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sk_test_1")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return a.do(r)
}

func (a *api) do(r *http.Request) answer {
	a.t.Helper()
	got, err := a.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer got.Body.Close()
	raw, err := io.ReadAll(got.Body)
	out := answer{status: got.StatusCode, header: got.Header, raw: string(raw), err: err}
	if strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") && err == nil {
		d := json.NewDecoder(strings.NewReader(out.raw))
		d.UseNumber()
		if err := d.Decode(&out.body); err != nil {
			a.t.Fatalf("%s %s: %v in %s", r.Method, r.URL, err, raw)
		}
	}
	return out
}

func (a *api) post(path string, pairs ...string) answer {
	a.t.Helper()
	return a.request(http.MethodPost, path, "", pairs...)
}

func (a *api) get(path string, pairs ...string) answer {
	a.t.Helper()
	return a.request(http.MethodGet, path, "", pairs...)
}

// good is a request that must go well.
func (a *api) good(got answer) answer {
	a.t.Helper()
	if got.err != nil || got.status != http.StatusOK {
		a.t.Fatalf("status %d, error %v: %s", got.status, got.err, got.raw)
	}
	return got
}

// refused is a request that must fail so.
func (a *api) refused(got answer, status int, code string) answer {
	a.t.Helper()
	if got.err != nil || got.status != status || got.text("error.code") != code {
		a.t.Fatalf("got status %d, code %q, error %v: %s; want %d, %q", got.status, got.text("error.code"), got.err, got.raw, status, code)
	}
	return got
}

// expect compares what is at paths: path and value in turns.
func (a *api) expect(got answer, pairs ...string) {
	a.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if is := got.text(pairs[i]); is != pairs[i+1] {
			a.t.Errorf("%s is %q, want %q", pairs[i], is, pairs[i+1])
		}
	}
}

// customer makes a customer with a card; "" is none.
func (a *api) customer(card stripetest.Card) string {
	a.t.Helper()
	id := a.good(a.post("/v1/customers", "email", "ann@example.com", "name", "Ann", "metadata[user]", "7")).id()
	if card != "" {
		if err := a.server.SetCard(id, card); err != nil {
			a.t.Fatal(err)
		}
	}
	return id
}

// draft makes an invoice with one item for each amount.
func (a *api) draft(customer string, amounts ...int) string {
	a.t.Helper()
	id := a.good(a.post("/v1/invoices", "customer", customer, "auto_advance", "false", "metadata[ledger]", "l1", "currency", "usd")).id()
	for i, amount := range amounts {
		a.good(a.post("/v1/invoiceitems", "customer", customer, "invoice", id, "currency", "usd",
			"amount", fmt.Sprint(amount), "description", fmt.Sprintf("line %d", i)))
	}
	return id
}

// open makes an open invoice.
func (a *api) open(customer string, amounts ...int) string {
	a.t.Helper()
	id := a.draft(customer, amounts...)
	a.expect(a.good(a.post("/v1/invoices/"+id+"/finalize")), "status", "open")
	return id
}
