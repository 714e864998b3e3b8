package stripetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/server/stripe/stripetest"
)

func TestIdempotencyKeys(t *testing.T) {
	a := newAPI(t)
	post := func(key string, pairs ...string) answer {
		return a.request(http.MethodPost, "/v1/customers", key, pairs...)
	}
	first := a.good(post("k1", "name", "Ann", "metadata[x]", "1"))
	again := a.good(post("k1", "metadata[x]", "1", "name", "Ann"))
	if again.raw != first.raw || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("the replay differs: %s, %v", again.raw, again.header)
	}
	if again.header.Get("Original-Request") != first.header.Get("Request-Id") {
		t.Errorf("the replay names %q", again.header.Get("Original-Request"))
	}
	got := a.refused(post("k1", "name", "Bob"), 400, "")
	a.expect(got, "error.type", "idempotency_error")
	got = a.refused(a.request(http.MethodPost, "/v1/invoices", "k1", "name", "Ann", "metadata[x]", "1"), 400, "parameter_unknown")
	a.expect(got, "error.type", "invalid_request_error")
	a.expect(a.request(http.MethodPost, "/v1/invoices", "k1", "customer", first.id()), "error.type", "idempotency_error")
	if n := len(a.server.Customers()); n != 1 {
		t.Fatalf("%d customers", n)
	}

	// What makes no sense leaves the key free.
	a.refused(post("k2", "email", "nobody"), 400, "email_invalid")
	a.good(post("k2", "email", "ann@example.com"))

	// 24 hours later it is forgotten.
	a.clock.advance(24*time.Hour - time.Second)
	a.expect(a.good(post("k1", "name", "Ann", "metadata[x]", "1")), "id", first.id())
	a.clock.advance(time.Second)
	if second := a.good(post("k1", "name", "Bob")); second.id() == first.id() {
		t.Error("a key of yesterday is remembered")
	}
}

func TestFailuresAreReplayed(t *testing.T) {
	a := newAPI(t)
	customer := a.customer(stripetest.CardDeclined)
	id := a.open(customer, 900)
	pay := func(key string) answer {
		return a.request(http.MethodPost, "/v1/invoices/"+id+"/pay", key)
	}
	a.refused(pay("p1"), 402, "card_declined")
	if err := a.server.SetCard(customer, stripetest.CardGood); err != nil {
		t.Fatal(err)
	}
	a.refused(pay("p1"), 402, "card_declined")
	if n := len(a.server.Attempts()); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
	a.good(pay("p2"))
	a.good(pay("p2"))
	a.refused(pay("p3"), 400, "")
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("%d charges, want 1", n)
	}
}

// TestFaults strikes the payment of an invoice with each fault, and tries again
// with the same key.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		kind   stripetest.FaultKind
		broken bool // an error of the connection
		status int
		paid   bool // after the first request
		again  int  // status of the second with the same key
	}{
		{stripetest.Refuse, true, 0, false, 200},
		{stripetest.CutBefore, true, 0, false, 200},
		{stripetest.CutAfter, true, 0, true, 200},
		{stripetest.Truncate, true, 200, true, 200},
		{stripetest.ErrorBefore, false, 500, false, 500},
		{stripetest.ErrorAfter, false, 500, true, 500},
		{stripetest.BadGatewayBefore, false, 502, false, 200},
		{stripetest.BadGatewayAfter, false, 502, true, 200},
		{stripetest.RateLimited, false, 429, false, 200},
		{stripetest.ForgetKeys, false, 200, true, 200},
	} {
		for _, over := range []string{"memory", "network"} {
			t.Run(test.kind.String()+" over "+over, func(t *testing.T) {
				a := newAPI(t)
				id := a.open(a.customer(stripetest.CardGood), 900)
				if over == "network" {
					web := httptest.NewServer(a.server)
					defer web.Close()
					a.client = &http.Client{Transport: redirect{web.Listener.Addr().String()}}
				}
				a.server.Fail(stripetest.Fault{Kind: test.kind, Method: http.MethodPost, Path: "/v1/invoices/*/pay", RetryAfter: 7 * time.Second})
				a.good(a.get("/v1/invoices/" + id)) // not struck
				got := a.request(http.MethodPost, "/v1/invoices/"+id+"/pay", "p")
				if got.status != test.status || (got.err != nil) != test.broken {
					t.Errorf("first: %d, %v: %s", got.status, got.err, got.raw)
				}
				switch test.status {
				case 429:
					a.expect(got, "error.code", "rate_limit")
					if got.header.Get("Retry-After") != "7" {
						t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
					}
				case 502:
					if !strings.Contains(got.raw, "<html>") {
						t.Errorf("502 with %s", got.raw)
					}
				}
				invoice, _ := a.server.Invoice(id)
				if invoice.Paid != test.paid {
					t.Errorf("paid is %v", invoice.Paid)
				}
				if got := a.request(http.MethodPost, "/v1/invoices/"+id+"/pay", "p"); got.status != test.again {
					t.Errorf("again: %d, %v: %s", got.status, got.err, got.raw)
				}
				if n := len(a.server.Charges()); n > 1 {
					t.Errorf("%d charges", n)
				}
			})
		}
	}
}

// redirect sends every request to one address.
type redirect struct{ address string }

func (d redirect) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = d.address
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

func TestHangingRequests(t *testing.T) {
	for _, kind := range []stripetest.FaultKind{stripetest.HangBefore, stripetest.HangAfter} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				send := func(key string, timeout time.Duration) (int, error) {
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://stripe.test/v1/customers", strings.NewReader("name=Ann"))
					r.Header.Set("Authorization", "Bearer sk_test_1")
					r.Header.Set("Idempotency-Key", key)
					got := a.do(r)
					return got.status, got.err
				}
				a.server.Fail(stripetest.Fault{Kind: kind})
				var wait sync.WaitGroup
				wait.Go(func() {
					if _, err := send("k", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("the hanging request ended with %v", err)
					}
				})
				synctest.Wait()
				want := http.StatusConflict // in flight
				if kind == stripetest.HangAfter {
					want = http.StatusOK // it was done
				}
				if status, err := send("k", time.Second); status != want || err != nil {
					t.Errorf("meanwhile: %d, %v", status, err)
				}
				wait.Wait()
				if status, err := send("k", time.Second); status != http.StatusOK || err != nil {
					t.Errorf("after: %d, %v", status, err)
				}
				if n := len(a.server.Customers()); n != 1 {
					t.Errorf("%d customers", n)
				}

				// Until lets the request go on.
				until := make(chan struct{})
				a.server.Fail(stripetest.Fault{Kind: kind, Until: until})
				wait.Go(func() {
					if status, err := send("k2", time.Hour); status != http.StatusOK || err != nil {
						t.Errorf("let go: %d, %v", status, err)
					}
				})
				synctest.Wait()
				close(until)
				wait.Wait()
			})
		})
	}
}

func TestReadsHangToo(t *testing.T) {
	for _, kind := range []stripetest.FaultKind{stripetest.HangBefore, stripetest.HangAfter} {
		a := newAPI(t)
		a.server.Fail(stripetest.Fault{Kind: kind, Path: "/v1/account"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://stripe.test/v1/account", nil)
			r.Header.Set("Authorization", "Bearer sk_test_1")
			_, err := a.client.Do(r)
			done <- err
		}()
		a.good(a.get("/v1/customers")) // others go on
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func TestWhichRequestIsStruck(t *testing.T) {
	statuses := func(a *api, n int) (list []int) {
		for range n {
			list = append(list, a.get("/v1/account").status)
		}
		return list
	}
	for _, test := range []struct {
		name  string
		fault stripetest.Fault
		want  string
	}{
		{"the first", stripetest.Fault{}, "X____"},
		{"the third", stripetest.Fault{Nth: 3}, "__X__"},
		{"two from the second", stripetest.Fault{Nth: 2, Times: 2}, "_XX__"},
		{"all from the fourth", stripetest.Fault{Nth: 4, Times: -1}, "___XX"},
		{"another path", stripetest.Fault{Path: "/v1/invoices", Times: -1}, "_____"},
		{"another method", stripetest.Fault{Method: http.MethodPost}, "_____"},
		{"this path", stripetest.Fault{Path: "/v1/*", Method: http.MethodGet}, "X____"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t)
			test.fault.Kind = stripetest.ErrorBefore
			cancel := a.server.Fail(test.fault)
			var got strings.Builder
			for _, status := range statuses(a, len(test.want)) {
				got.WriteByte("_X"[map[int]int{200: 0, 500: 1}[status]])
			}
			if got.String() != test.want {
				t.Errorf("struck %s, want %s", got.String(), test.want)
			}
			cancel()
			if status := a.get("/v1/account").status; status != 200 {
				t.Errorf("after cancel: %d", status)
			}
		})
	}
}

func TestDownForADay(t *testing.T) {
	a := newAPI(t)
	a.server.Down(24 * time.Hour)
	if got := a.get("/v1/account"); got.err == nil {
		t.Errorf("it answers %d", got.status)
	}
	a.clock.advance(24 * time.Hour)
	a.good(a.get("/v1/account"))
	a.server.Down(0)
	a.clock.advance(1000 * time.Hour)
	if got := a.get("/v1/account"); got.err == nil {
		t.Errorf("it answers %d", got.status)
	}
	a.server.Up()
	a.good(a.get("/v1/account"))
}

func TestSecretKeys(t *testing.T) {
	for _, test := range []struct {
		name    string
		options stripetest.Options
		header  string
		status  int
	}{
		{"test", stripetest.Options{}, "Bearer sk_test_x", 200},
		{"restricted", stripetest.Options{}, "Bearer rk_test_x", 200},
		{"basic", stripetest.Options{}, "Basic c2tfdGVzdF94Og==", 200},
		{"live on test", stripetest.Options{}, "Bearer sk_live_x", 401},
		{"live", stripetest.Options{Live: true}, "Bearer sk_live_x", 200},
		{"test on live", stripetest.Options{Live: true}, "Bearer sk_test_x", 401},
		{"none", stripetest.Options{}, "", 401},
		{"the one", stripetest.Options{Key: "sk_test_one"}, "Bearer sk_test_one", 200},
		{"another", stripetest.Options{Key: "sk_test_one"}, "Bearer sk_test_x", 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			test.options.Now = c.Now
			r := httptest.NewRequest(http.MethodGet, "/v1/account", nil)
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			w := httptest.NewRecorder()
			stripetest.New(test.options).ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
			if date := w.Header().Get("Date"); date != "Fri, 31 Jan 2025 23:00:00 GMT" {
				t.Errorf("the date is %q", date)
			}
		})
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	a := newAPI(t)
	a.request(http.MethodPost, "/v1/customers", "k", "name", "Ann", "metadata[user]", "7")
	a.server.Fail(stripetest.Fault{Kind: stripetest.CutBefore})
	a.get("/v1/events", "limit", "3")
	got := a.server.Requests()
	if len(got) != 2 || got[0].Method != "POST" || got[0].Path != "/v1/customers" || got[0].Form.Get("metadata[user]") != "7" ||
		got[0].IdempotencyKey != "k" || got[0].Status != 200 || got[1].Status != 0 || got[1].Form.Get("limit") != "3" {
		t.Errorf("recorded %+v", got)
	}
}

func TestSameRequestsSameBytes(t *testing.T) {
	run := func(seed uint64) string {
		c := newClock()
		s := stripetest.New(stripetest.Options{Now: c.Now, Seed: seed})
		a := &api{t, s, c, s.Client()}
		var all strings.Builder
		id := a.open(a.customer(stripetest.CardGood), 900)
		all.WriteString(a.post("/v1/invoices/" + id + "/pay").raw)
		all.WriteString(a.get("/v1/events", "limit", "100").raw)
		if err := s.Save(&all); err != nil {
			t.Fatal(err)
		}
		return all.String()
	}
	first, again := run(1), run(1)
	if first != again {
		t.Error("the same run gives other bytes")
	}
	if first == run(2) {
		t.Error("another seed gives the same ids")
	}
}

func TestConcurrentPayments(t *testing.T) {
	a := newAPI(t)
	id := a.open(a.customer(stripetest.CardGood), 900)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://stripe.test/v1/invoices/"+id+"/pay", nil)
			r.Header.Set("Authorization", "Bearer sk_test_1")
			r.Header.Set("Idempotency-Key", string(rune('a'+i%4)))
			got, err := a.client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, got.Body)
			got.Body.Close()
		})
	}
	wait.Wait()
	if n := len(a.server.Charges()); n != 1 {
		t.Errorf("%d charges", n)
	}
}
