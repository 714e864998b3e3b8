package server_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// A limit is a limit: of callers who come all at once exactly as many reach the
// upstream as fit, and what the customer is told, what the operator is told and
// what the ledger holds agree with what the upstream saw.

func TestHardCapOfCalls(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL)+`
[[plan]]
id = "capped"
name = "Capped"
fee = "0"
quota = { calls = 400 }
on_exceed = "block"
billing = "monthly"
rate_limits = { per_minute = 0, per_day = 0 }
`)
	u := r.user("cap@example.com", "capped")

	const clients, attempts = 64, 2000
	var next, passed, refused atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for next.Add(1) <= attempts {
				a, err := r.do("POST", "/v1/scan", u.APIKey, docs(1))
				switch {
				case err != nil:
					t.Errorf("a call was not answered: %v", err)
				case a.status == http.StatusOK:
					passed.Add(1)
				case a.status == http.StatusTooManyRequests && a.code() == "quota_exceeded":
					refused.Add(1)
				default:
					t.Errorf("got %d %s", a.status, a.body)
				}
			}
		})
	}
	all.Wait()
	if got := upstream.calls.Load(); got != 400 {
		t.Errorf("%d calls reached the upstream, want 400", got)
	}
	if passed.Load() != 400 || refused.Load() != attempts-400 {
		t.Errorf("%d passed and %d were refused, want 400 and %d", passed.Load(), refused.Load(), attempts-400)
	}
	usage, err := r.client.Usage(t.Context(), u.Email, "")
	if err != nil {
		t.Fatal(err)
	}
	if usage.CurrentUsage.TotalCalls != 400 {
		t.Errorf("the ledger has %d calls, want 400", usage.CurrentUsage.TotalCalls)
	}
}

func TestHardCapOfDocuments(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL)+`
[[plan]]
id = "capped"
name = "Capped"
fee = "0"
quota = { documents = 4000 }
on_exceed = "block"
billing = "monthly"
rate_limits = { per_minute = 0, per_day = 0 }
`)
	u := r.user("cap@example.com", "capped")
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for {
				a, err := r.do("POST", "/v1/scan", u.APIKey, docs(7))
				if err != nil {
					t.Errorf("a call was not answered: %v", err)
					return
				}
				if a.status != http.StatusOK {
					if a.code() != "quota_exceeded" {
						t.Errorf("got %d %s", a.status, a.body)
					}
					return
				}
			}
		})
	}
	all.Wait()
	// 571 calls of 7 fit; 3 documents stay, which no call of 7 may have.
	if got := upstream.documents.Load(); got != 3997 {
		t.Errorf("%d documents reached the upstream, want 3997 of 4000", got)
	}
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(3)); a.status != http.StatusOK {
		t.Errorf("3 documents for the 3 that are left: got %d %s", a.status, a.body)
	}
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.code() != "quota_exceeded" {
		t.Errorf("one more: got %d %s", a.status, a.body)
	}
	usage, err := r.client.Usage(t.Context(), u.Email, "")
	if err != nil {
		t.Fatal(err)
	}
	if usage.CurrentUsage.TotalDocuments != 4000 {
		t.Errorf("the ledger has %d documents, want 4000", usage.CurrentUsage.TotalDocuments)
	}
}

// TestHardCapOverManyUsers: the caps of users do not touch each other.
func TestHardCapOverManyUsers(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL)+`
[[plan]]
id = "capped"
name = "Capped"
fee = "0"
quota = { calls = 10 }
on_exceed = "block"
billing = "monthly"
rate_limits = { per_minute = 0, per_day = 0 }
`)
	var all sync.WaitGroup
	for i := range 16 {
		u := r.user(fmt.Sprintf("u%d@example.com", i), "capped")
		for range 4 {
			all.Go(func() {
				for range 5 {
					if _, err := r.do("POST", "/v1/scan", u.APIKey, docs(1)); err != nil {
						t.Errorf("a call was not answered: %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	if got := upstream.calls.Load(); got != 160 {
		t.Errorf("%d calls reached the upstream, want 160", got)
	}
}
