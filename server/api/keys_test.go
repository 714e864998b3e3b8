package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

func TestWhoMayDoWhat(t *testing.T) {
	const paths = `GET /v1/billing/usage
GET /v1/billing/usage/history
GET /v1/usage/records
GET /v1/billing/pricing
PUT /v1/billing/limit
GET /v1/keys
POST /v1/keys
POST /v1/keys/1/rotate
DELETE /v1/keys/1
GET /healthz
GET /readyz
GET /openapi.json`
	for _, tt := range []struct {
		who  string
		key  func(h *house, u *ledger.User, call, manage string) string
		want string // statuses, in the order of paths
	}{
		{"nobody", func(*house, *ledger.User, string, string) string { return "" }, "401 401 401 200 401 401 401 401 401 200 200 200"},
		{"unknown key", func(*house, *ledger.User, string, string) string { return "tg_live_x" }, "401 401 401 200 401 401 401 401 401 200 200 200"},
		{"scope call", func(_ *house, _ *ledger.User, call, _ string) string { return call }, "200 200 200 200 403 403 403 403 403 200 200 200"},
		{"scope manage", func(_ *house, _ *ledger.User, _, manage string) string { return manage }, "200 200 200 200 200 200 201 201 204 200 200 200"},
		{"suspended", func(h *house, u *ledger.User, _, manage string) string {
			h.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
			return manage
		}, "200 200 200 200 200 200 403 403 204 200 200 200"},
		{"closed", func(h *house, u *ledger.User, _, manage string) string {
			h.change(u.ID, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, start })
			return manage
		}, "200 200 200 200 200 200 403 403 204 200 200 200"},
		{"someone else", func(h *house, _ *ledger.User, _, _ string) string {
			_, _, manage := h.user("b@example.com", "free")
			return manage
		}, "200 200 200 200 200 200 201 404 404 200 200 200"},
	} {
		t.Run(tt.who, func(t *testing.T) {
			h := newHouse(t)
			u, call, manage := h.user("a@example.com", "free")
			key := tt.key(h, u, call, manage)
			var got []string
			for line := range strings.SplitSeq(paths, "\n") {
				method, path, _ := strings.Cut(line, " ")
				body := ""
				if method == "PUT" {
					body = `{"cents": 100}`
				}
				w := h.call(method, path, key, body)
				if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: no problem document: %s", line, w.Body)
				}
				got = append(got, fmt.Sprint(w.Code))
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestKeyLives(t *testing.T) {
	h := newHouse(t)
	u, call, manage := h.user("a@example.com", "free")
	h.record(u.ID, start, 1, nil)
	wantProblem(t, h.call("POST", "/v1/keys", call, `{"name":"x"}`), 403, "scope_required")

	made := read[api.NewKey](t, h.call("POST", "/v1/keys", manage, `{"name":"build server","networks":["192.0.2.7/24"]}`), http.StatusCreated)
	if made.Name != "build server" || made.Scope != ledger.ScopeCall || !strings.HasPrefix(made.APIKey, made.Prefix) {
		t.Errorf("got %+v", made)
	}
	if w := h.call("GET", "/v1/billing/usage", made.APIKey, ""); w.Code != 200 {
		t.Errorf("the new key: got %d: %s", w.Code, w.Body)
	}

	page := get[api.KeysPage](h, "/v1/keys", manage)
	if len(page.Keys) != 3 || page.NextCursor != nil {
		t.Fatalf("got %+v", page)
	}
	if k := page.Keys[0]; k.LastUsed == nil || !k.LastUsed.Equal(start) {
		t.Errorf("the key that was used: got %v", k.LastUsed)
	}
	if k := page.Keys[2]; k.ID != made.ID || len(k.Networks) != 1 || k.Networks[0].String() != "192.0.2.0/24" || k.Status != api.KeyActive {
		t.Errorf("got %+v", k)
	}
	if strings.Contains(h.call("GET", "/v1/keys", manage, "").Body.String(), made.APIKey) {
		t.Error("the list shows a secret")
	}

	rotated := read[api.NewKey](t, h.call("POST", fmt.Sprintf("/v1/keys/%d/rotate", made.ID), manage, `{"grace":"1h"}`), http.StatusCreated)
	if rotated.Replaces != made.ID || rotated.ReplacedUntil == nil || !rotated.ReplacedUntil.Equal(start.Add(time.Hour)) || rotated.Name != made.Name {
		t.Errorf("got %+v", rotated)
	}
	for _, key := range []string{made.APIKey, rotated.APIKey} {
		if w := h.call("GET", "/v1/billing/usage", key, ""); w.Code != 200 {
			t.Errorf("in the grace time: got %d: %s", w.Code, w.Body)
		}
	}
	h.at(start.Add(time.Hour))
	wantProblem(t, h.call("GET", "/v1/billing/usage", made.APIKey, ""), 401, "key_expired")
	wantProblem(t, h.call("POST", fmt.Sprintf("/v1/keys/%d/rotate", made.ID), manage, ``), 409, "key_not_active")

	for range 2 {
		if w := h.call("DELETE", fmt.Sprintf("/v1/keys/%d", rotated.ID), manage, ""); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
	}
	wantProblem(t, h.call("GET", "/v1/billing/usage", rotated.APIKey, ""), 401, "key_revoked")

	at := read[api.NewKey](t, h.call("POST", "/v1/keys/1/rotate", manage, `{"grace":"0s"}`), http.StatusCreated)
	if at.ReplacedUntil == nil {
		t.Errorf("got %+v", at)
	}
	wantProblem(t, h.call("GET", "/v1/billing/usage", call, ""), 401, "key_revoked")
}

func TestKeysPage(t *testing.T) {
	h := newHouse(t)
	u, _, manage := h.user("a@example.com", "free")
	for range 5 {
		h.key(u.ID, ledger.ScopeCall)
	}
	var seen []ledger.KeyID
	for cursor := ""; ; {
		page := get[api.KeysPage](h, "/v1/keys?limit=3&cursor="+cursor, manage)
		for _, k := range page.Keys {
			seen = append(seen, k.ID)
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	if fmt.Sprint(seen) != "[1 2 3 4 5 6 7]" {
		t.Errorf("got %v", seen)
	}
}

func TestKeysRefused(t *testing.T) {
	h := newHouse(t)
	_, _, manage := h.user("a@example.com", "free")
	for body, code := range map[string]string{
		`{"scope":"admin"}`:                           "invalid_field",
		`{"expires":"2025-01-01T00:00:00Z"}`:          "invalid_field",
		`{"expires":"tomorrow"}`:                      "invalid_field",
		`{"networks":["10.0.0.1"]}`:                   "invalid_field",
		`{"networks":[""]}`:                           "invalid_field",
		`{"name":"a\nb"}`:                             "invalid_field",
		`{"name":"` + strings.Repeat("x", 201) + `"}`: "invalid_field",
		`{"per_minute":0}`:                            "invalid_field",
		`{"Name":1}`:                                  "invalid_field",
		`{"name":"x"`:                                 "invalid_json",
		`"x"`:                                         "invalid_json",
		`{"name":"a","name":"b"}`:                     "duplicate_field",
		`{"name":"a","scope":"call","NAME":"a"}`:      "duplicate_field",
		`{"networks":[],"networ\u212As":[]}`:          "duplicate_field", // the Kelvin sign is a k
		`{"x":[{"a":{}},{"a":{"b":1,"b":1}}]}`:        "duplicate_field",
		`{"x":[{"a":{}},{"a":{"b":1}}]}`:              "invalid_field",
	} {
		wantProblem(t, h.call("POST", "/v1/keys", manage, body), 400, code)
	}
	for _, id := range []string{"0", "99", "x", "-1", "99999999999", "1%2F2"} {
		wantProblem(t, h.call("DELETE", "/v1/keys/"+id, manage, ""), 404, "key_not_found")
	}
	for _, grace := range []string{`"-1h"`, `"721h"`, `"soon"`, `5`} {
		wantProblem(t, h.call("POST", "/v1/keys/1/rotate", manage, `{"grace":`+grace+`}`), 400, "invalid_field")
	}
	wantProblem(t, h.call("POST", "/v1/keys", manage, `name=x`, "Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")
	wantProblem(t, h.call("POST", "/v1/keys", manage, `{"name":"`+strings.Repeat("x", 70<<10)+`"}`), 413, "body_too_large")
	for range 98 {
		read[api.NewKey](t, h.call("POST", "/v1/keys", manage, ""), http.StatusCreated)
	}
	wantProblem(t, h.call("POST", "/v1/keys", manage, ""), 409, "too_many_keys")
}

func TestNothingThere(t *testing.T) {
	h := newHouse(t)
	_, _, manage := h.user("a@example.com", "free")
	for _, path := range []string{"/", "/v1/billing", "/v1/billing/invoice/2025", "/v1/keys/1", "/v1/usage", "/v1/billing/usage/", "/V1/keys"} {
		method, status, code := "GET", 404, "not_found"
		if path == "/v1/keys/1" {
			status, code = 405, "method_not_allowed"
		}
		wantProblem(t, h.call(method, path, manage, ""), status, code)
	}
	w := h.call("DELETE", "/v1/billing/usage", manage, "")
	wantProblem(t, w, 405, "method_not_allowed")
	if allow := w.Header().Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("got Allow: %q", allow)
	}
}

func TestReadiness(t *testing.T) {
	h := newHouse(t)
	if w := h.call("GET", "/readyz", "", ""); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
	h.draining.Store(true)
	wantProblem(t, h.call("GET", "/readyz", "", ""), 503, "draining")
	if w := h.call("GET", "/healthz", "", ""); w.Code != 200 {
		t.Errorf("alive while draining: got %d", w.Code)
	}
}
