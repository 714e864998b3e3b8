package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tollgate/ledger"
	"tollgate/server/api"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver is the operator's program that takes webhooks.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	down  bool
	tries map[string]int    // by id, all
	took  map[string]string // by id: type, user and subject of what was taken
}

func newReceiver(t *testing.T) *receiver {
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{tries: map[string]int{}, took: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err == nil {
			err = hook.Verify(body, q.Header)
		}
		var event struct {
			Type string
			Data struct {
				User    ledger.UserID
				Subject string
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err != nil {
			t.Errorf("a webhook with %v: %v", q.Header, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := q.Header.Get("Webhook-Id")
		r.tries[id]++
		if r.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.took[id] != "" {
			t.Errorf("%s was taken and comes again", id)
		}
		r.took[id] = strings.TrimSpace(fmt.Sprint(event.Type, " ", event.Data.User, " ", event.Data.Subject))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) set(down bool) {
	r.mu.Lock()
	r.down = down
	r.mu.Unlock()
}

// TestNoticesFromCallToReceiver has customers use up quotas and credits while the
// operator's receiver is down for a day: in the end it has each event once, signed,
// and each attempt had the same id; the customers have their mails.
func TestNoticesFromCallToReceiver(t *testing.T) {
	upstream, hooks := newCounting(t), newReceiver(t)
	office, smtpAddr := newPostOffice(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hook"), []byte(hookSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	writeConfig(t, folder, serverTable+scanRoute(upstream.URL)+prepaidPlan+`credits_low = 6
[[plan]]
id = "ten"
fee = "0"
quota = { calls = 10, documents = 50 }
on_exceed = "block"
[clock]
mode = "test"
start = "2025-01-10T00:00:00Z"
[notify]
webhook = "`+hooks.URL+`"
webhook_secret_file = "hook"
[mail]
smtp = "smtp://`+smtpAddr+`"
from = "billing@shop.example"
`)
	r := startIn(t, folder)
	hooks.set(true)
	ada, bob := r.user("ada@example.com", "ten"), r.user("bob@example.com", "prepaid")
	if _, err := r.client.GrantCredits(t.Context(), bob.Email, api.GrantCredits{Amount: api.Credits(20 * ledger.Unit)}); err != nil {
		t.Fatal(err)
	}
	for range 14 {
		r.call("POST", "/v1/scan", ada.APIKey, docs(4))
	}
	for range 4 {
		r.call("POST", "/v1/scan", bob.APIKey, docs(7))
	}
	if err := r.Clock().Advance(t.Context(), 23*time.Hour); err != nil {
		t.Fatal(err)
	}
	hooks.set(false)
	if err := r.Clock().Advance(t.Context(), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"quota_80 1 calls": 1, "quota_100 1 calls": 1, "quota_80 1 documents": 1, "credits_low 2": 1,
	}
	hooks.mu.Lock()
	defer hooks.mu.Unlock()
	for id, event := range hooks.took {
		if want[event]--; want[event] < 0 {
			t.Errorf("%s comes once too often, or should not come", event)
		}
		// The others of a user wait behind the first, so that they come in order.
		if first := strings.HasPrefix(event, "quota_80 1 calls") || strings.HasPrefix(event, "credits_low"); first && hooks.tries[id] < 20 {
			t.Errorf("%s was tried %d times in a day", event, hooks.tries[id])
		}
	}
	for event, n := range want {
		if n > 0 {
			t.Errorf("%s did not come", event)
		}
	}
	if len(hooks.tries) != len(hooks.took) {
		t.Errorf("%d ids for %d events", len(hooks.tries), len(hooks.took))
	}
	if mails := office.all(); len(mails) != 4 {
		t.Errorf("%d mails came, want 4", len(mails))
	}
}
