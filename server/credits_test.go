package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"tollgate/ledger"
	"tollgate/server/api"
)

const prepaidPlan = `
[[plan]]
id = "prepaid"
name = "Prepaid"
fee = "0"
billing = "prepaid"
credits = { documents = 1 }
rate_limits = { per_minute = 0, per_day = 0 }
`

// TestCreditsOfParallelCalls burns 10,000 credits in calls of 7 documents from 64
// clients at once, until each is refused: what the upstream counted, what the
// answers said and what the ledger has agree.
func TestCreditsOfParallelCalls(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL)+prepaidPlan)
	u := r.user("ann@example.com", "prepaid")
	if _, err := r.client.GrantCredits(t.Context(), u.Email, api.GrantCredits{Amount: api.Credits(10_000 * ledger.Unit)}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var passed atomic.Int64
	for range 64 {
		all.Go(func() {
			for {
				a, err := r.do("POST", "/v1/scan", u.APIKey, docs(7))
				switch {
				case err != nil:
					t.Errorf("a call was not answered: %v", err)
					return
				case a.status == http.StatusOK:
					passed.Add(1)
				case a.status == http.StatusPaymentRequired && a.code() == "insufficient_credits":
					return
				default:
					t.Errorf("got %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 1428 || upstream.calls.Load() != 1428 {
		t.Errorf("%d passed and %d reached the upstream, want 1428", passed.Load(), upstream.calls.Load())
	}
	credits, err := r.client.Credits(t.Context(), u.Email, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if credits.Balance != api.Credits(4*ledger.Unit) || credits.Burnt != api.Credits(9996*ledger.Unit) || credits.Uncovered != 0 {
		t.Errorf("%+v", credits)
	}
}

// TestCreditsOfCallsOfUnknownSize has calls whose size only their answers tell,
// more than is held for them: what was burnt and what was not covered is what the
// upstream used, and no balance falls below zero.
func TestCreditsOfCallsOfUnknownSize(t *testing.T) {
	var used atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := used.Add(9)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"n":9,"sum":%d}`, n)
	}))
	t.Cleanup(upstream.Close)
	r := start(t, serverTable+fmt.Sprintf(`
[[upstream]]
name = "api"
url = %q
[[route]]
pattern = "POST /v1/scan"
upstream = "api"
documents = { response = "/n", missing = "zero" }
hold = { documents = 3 }
`, upstream.URL)+prepaidPlan)
	u := r.user("ann@example.com", "prepaid")
	if _, err := r.client.GrantCredits(t.Context(), u.Email, api.GrantCredits{Amount: api.Credits(1000 * ledger.Unit)}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 40 {
				if a, err := r.do("POST", "/v1/scan", u.APIKey, "{}"); err != nil || a.status != http.StatusOK && a.code() != "insufficient_credits" {
					t.Errorf("got %d %s (%v)", a.status, a.body, err)
				}
			}
		})
	}
	all.Wait()
	credits, err := r.client.Credits(t.Context(), u.Email, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if sum := credits.Burnt + credits.Uncovered; sum != api.Credits(ledger.Amount(used.Load())*ledger.Unit) {
		t.Errorf("burnt %v and not covered %v, the upstream used %d", credits.Burnt, credits.Uncovered, used.Load())
	}
	if credits.Balance < 0 || credits.Balance >= api.Credits(3*ledger.Unit) || credits.Burnt+credits.Balance != api.Credits(1000*ledger.Unit) {
		t.Errorf("%+v", credits)
	}
}

// TestAStreamThatBurnsAllCredits is broken off where the credits end.
func TestAStreamThatBurnsAllCredits(t *testing.T) {
	seen, ended := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 1; ; n++ {
			if _, err := fmt.Fprintf(w, "data: {\"n\":%d}\n\n", n); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			if n == 1 {
				<-seen
			}
		}
	}))
	t.Cleanup(upstream.Close)
	r := start(t, serverTable+fmt.Sprintf(`
[[upstream]]
name = "api"
url = %q
[[route]]
pattern = "GET /v1/stream"
upstream = "api"
documents = { response = "/n", missing = "zero" }
`, upstream.URL)+prepaidPlan)
	u := r.user("ann@example.com", "prepaid")
	if _, err := r.client.GrantCredits(t.Context(), u.Email, api.GrantCredits{Amount: api.Credits(25 * ledger.Unit)}); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), "GET", r.url("/v1/stream"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", u.APIKey)
	answer, err := r.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Header.Get("X-Credits-Remaining"); got != "24" {
		t.Errorf("%s credits remain, want 24", got)
	}
	lines := bufio.NewReader(answer.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "data: {\"n\":1}\n" {
		t.Errorf("got %q (%v)", line, err)
	}
	close(seen)
	if _, err := io.Copy(io.Discard, lines); err == nil {
		t.Error("the stream ended well")
	}
	<-ended
	credits, err := r.client.Credits(t.Context(), u.Email, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if credits.Balance != 0 || credits.Burnt != api.Credits(25*ledger.Unit) || credits.Uncovered < api.Credits(ledger.Unit) {
		t.Errorf("%+v", credits)
	}
}
