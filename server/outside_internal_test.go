package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/config"
	"tollgate/server/stripe/stripetest"
)

const webhookSecret = "whsec_test"

// unserved is an appliance that nobody can reach, on a test clock and the sandbox.
func unserved(t *testing.T, ledgerTable string) *Server {
	t.Helper()
	folder := t.TempDir()
	text := `
[server]
listen = "127.0.0.1:0"
[ledger]
min_free = "1MiB"
` + ledgerTable + `
[stripe]
api_base = "builtin:sandbox"
[clock]
mode = "test"
start = "2025-01-01T00:00:00Z"
`
	path := filepath.Join(folder, "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		if name == "STRIPE_WEBHOOK_SECRET" {
			return webhookSecret
		}
		return ""
	}
	s, err := New(t.Context(), Options{Load: func() (*config.Config, error) { return config.Load(path, env) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestWebhooksAreHints sends what Stripe sends, and what others might: only what
// is signed, and of now, is looked at, and only what is there counts.
func TestWebhooksAreHints(t *testing.T) {
	s := unserved(t, "")
	u, err := s.ledger.AddUser(s.clock.Now(), "test", ledger.Personal{Email: "ada@example.com"}, "free")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.billing.Checkout(t.Context(), u.ID, ""); err != nil {
		t.Fatal(err)
	}
	customer := s.ledger.Account(u.ID).User().StripeCustomer
	if err := s.sandbox.SetCard(customer, stripetest.CardGood); err != nil {
		t.Fatal(err)
	}
	now := s.options.Now()
	for _, step := range []struct {
		name, customer, secret string
		at                     time.Time
		status                 int
		card                   bool
	}{
		{"signed by another", customer, "whsec_other", now, http.StatusBadRequest, false},
		{"of an hour ago", customer, webhookSecret, now.Add(-time.Hour), http.StatusBadRequest, false},
		{"of the future", customer, webhookSecret, now.Add(time.Hour), http.StatusBadRequest, false},
		{"about nobody of ours", "cus_other", webhookSecret, now, http.StatusNoContent, false},
		{"sound", customer, webhookSecret, now, http.StatusNoContent, true},
		{"the same again", customer, webhookSecret, now, http.StatusNoContent, true},
	} {
		before, _ := s.ledger.Status()
		had := s.ledger.Account(u.ID).User().PaymentMethod != ""
		payload := fmt.Sprintf(`{"id":"evt_1","object":"event","type":"customer.updated","api_version":%q,"created":%d,"data":{"object":{"id":%q,"object":"customer"}}}`,
			stripetest.Version, now.Unix(), step.customer)
		r := httptest.NewRequest("POST", "/webhooks/stripe", strings.NewReader(payload))
		r.Header.Set("Stripe-Signature", stripetest.Signature([]byte(payload), step.secret, step.at))
		w := httptest.NewRecorder()
		if !s.own(w, r) || w.Code != step.status {
			t.Errorf("%s: %d %s", step.name, w.Code, w.Body)
		}
		has := s.ledger.Account(u.ID).User().PaymentMethod != ""
		after, _ := s.ledger.Status()
		if has != step.card || has == had && after.Seq != before.Seq {
			t.Errorf("%s: there is a card: %v; %d entries were logged", step.name, has, after.Seq-before.Seq)
		}
	}
}

// TestSnapshots makes one a night for five nights: three stay, each a sound ledger,
// and what else lies in the folder does too.
func TestSnapshots(t *testing.T) {
	s := unserved(t, "snapshot_dir = \"copies\"\nsnapshot_keep = 3\n")
	folder := s.config.Load().Ledger.SnapshotDir
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for range 2 { // the second finds that day's
			if err := s.snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.clock.Advance(t.Context(), 24*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
		if strings.HasSuffix(f.Name(), ".db") {
			ledgertest.Verify(t, filepath.Join(folder, f.Name()))
		}
	}
	if want := []string{"notes.txt", "tollgate-2025-01-03.db", "tollgate-2025-01-04.db", "tollgate-2025-01-05.db"}; !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}
