package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/api"
)

// target is an upstream that notes what reaches it, whatever it is.
type target struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // Tollgate-Request of each, as the upstream was told
	faults   []string
}

func newTarget(t *testing.T) *target {
	u := &target{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		u.mu.Lock()
		defer u.mu.Unlock()
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			u.requests = append(u.requests, r.Header.Get("X-Tollgate-Request"))
		}
		for _, from := range []http.Header{r.Header, r.Trailer} {
			for name, values := range from {
				switch plain := strings.ToLower(strings.ReplaceAll(name, "_", "-")); {
				case plain == "authorization" || plain == "x-api-key",
					strings.HasPrefix(plain, "x-tollgate-") && (len(values) != 1 || strings.Contains(values[0], "forged")):
					u.faults = append(u.faults, fmt.Sprintf("%s %s reached the upstream with %s: %q", r.Method, r.URL, name, values))
				}
			}
		}
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q}`, r.URL.Path)
	}))
	t.Cleanup(u.Close)
	return u
}

// forgedKey is a key with the right form and checksum that nobody has.
func forgedKey(t *testing.T) string {
	t.Helper()
	secret, _, _, err := admission.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func badConfig(url, routes string) string {
	return `
[server]
listen = "127.0.0.1:0"
max_body = "1MiB"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "api"
url = "` + url + `"
` + planOf("open", "") + routes
}

const badRoutes = `
[[route]]
pattern = "POST /v1/scan"
upstream = "api"
documents = { request = "/docs", count = true }
price = { documents = "0.01" }
[[route]]
pattern = "POST /v1/count"
upstream = "api"
documents = { request = "/n" }
price = { documents = "0.01" }
[[route]]
pattern = "/open/"
upstream = "api"
auth = "none"
`

// everything is routed: what is not tollgate's own or another route's.
const catchAll = `
[[route]]
pattern = "/"
upstream = "api"
`

// exchange sends bytes on a connection of its own and reads all answers until
// the connection is closed.
func exchange(address string, b bad) (string, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	go func() {
		_, _ = io.WriteString(c, b.send) // a refusal may come before the end
		if b.cut {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	var answers []string
	in := bufio.NewReader(c)
	for {
		if _, err := in.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "", fmt.Errorf("the connection stays open after %q", answers)
			}
			break
		}
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return "", fmt.Errorf("reading an answer after %q: %w", answers, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return "", fmt.Errorf("reading the body of an answer after %q: %w", answers, err)
		}
		answer := fmt.Sprint(r.StatusCode)
		if code := (reply{r.StatusCode, r.Header, body}).code(); code != "" {
			answer += " " + code
		} else if r.StatusCode >= 400 {
			answer += " bare"
		}
		answers = append(answers, answer)
	}
	if len(answers) == 0 {
		return "closed", nil
	}
	return strings.Join(answers, ", "), nil
}

// TestBadInput: whatever comes over HTTP is answered with a status that tells
// what is wrong, reaches the upstream only as a call that is recorded, leaves the
// ledger sound, and no key in the log.
func TestBadInput(t *testing.T) {
	upstream := newTarget(t)
	began := time.Now()
	c := spawn(t, instrumented(t), childFolder(t, badConfig(upstream.URL, badRoutes+catchAll)))
	keys := badUsers(t, c)
	secrets := map[string]bool{}
	var words []string
	for word, key := range keys {
		words = append(words, word, key)
		secrets[key] = true
	}
	fill := strings.NewReplacer(append(words, "HOST", c.address)...)
	for _, group := range []struct {
		name string
		list []bad
	}{{"key", badKeys()}, {"header", badHeaders()}, {"body", badBodies()}, {"framing", badFraming()}, {"path", badPaths()}, {"api", badAPI()}} {
		t.Run(group.name, func(t *testing.T) {
			for _, b := range group.list {
				t.Run(b.name, func(t *testing.T) {
					b.send = fill.Replace(b.send)
					got, err := exchange(c.address, b)
					if err != nil || got != b.want {
						t.Errorf("got %s %v, want %s", got, err, b.want)
					}
				})
			}
		})
	}
	c.verify()
	c.stop()
	checkRecorded(t, spawn(t, instrumented(t), c.folder), upstream, began)
	noSecrets(t, filepath.Join(c.folder, "log"), secrets)
	noSecrets(t, filepath.Join(c.folder, "tollgate.db"), secrets)
}

// badUsers makes users and keys of all sorts, by the words that stand for them.
func badUsers(t *testing.T, c *child) map[string]string {
	t.Helper()
	ctx := context.Background()
	add := func(name string, scope ledger.Scope) api.AddedUser {
		u, err := c.client.AddUser(ctx, api.AddUser{Email: name + "@example.com", Plan: "open", Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ann, bob, cas, dan := add("ann", ledger.ScopeCall), add("bob", ledger.ScopeManage), add("cas", ledger.ScopeCall), add("dan", ledger.ScopeCall)
	revoked, err := c.client.CreateKey(ctx, ann.Email, api.OperatorKey{})
	must(revoked, err)
	must(c.client.RevokeKey(ctx, revoked.ID))
	ask := api.OperatorKey{}
	ask.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	elsewhere, err := c.client.CreateKey(ctx, ann.Email, ask)
	must(elsewhere, err)
	must(c.client.Suspend(ctx, cas.Email))
	must(c.client.CloseUser(ctx, dan.Email))
	key := []byte(ann.APIKey)
	key[15], key[16] = key[16], key[15]
	if key[15] == key[16] {
		key[15] ^= 1
	}
	return map[string]string{
		"KEY": ann.APIKey, "MANAGE": bob.APIKey, "SUSPENDED": cas.APIKey, "CLOSED": dan.APIKey,
		"REVOKED": revoked.APIKey, "ELSEWHERE": elsewhere.APIKey, "FORGED": forgedKey(t),
		"MISTYPED": string(key), "SHORT": ann.APIKey[:30], "UPPER": strings.ToUpper(ann.APIKey),
	}
}

// checkRecorded: each call that reached the upstream is recorded, once.
func checkRecorded(t *testing.T, c *child, upstream *target, began time.Time) {
	t.Helper()
	recorded := map[string]api.Record{}
	for _, r := range c.export(began, time.Now()) {
		if _, twice := recorded[r.RequestID]; twice {
			t.Errorf("%s is in the ledger twice", r.RequestID)
		}
		recorded[r.RequestID] = r
	}
	upstream.mu.Lock()
	defer upstream.mu.Unlock()
	for _, f := range upstream.faults {
		t.Error(f)
	}
	for _, id := range upstream.requests {
		if _, ok := recorded[id]; !ok {
			t.Errorf("the upstream was called with the request id %q, which is not in the ledger", id)
		}
	}
	for id, r := range recorded {
		if r.Outcome == "ok" && !slices.Contains(upstream.requests, id) {
			t.Errorf("%+v has not reached the upstream", r)
		}
	}
	t.Logf("%d calls reached the upstream; %d records", len(upstream.requests), len(recorded))
}

// noSecrets: nothing of a key but its prefix is in a file.
func noSecrets(t *testing.T, path string, secrets map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for key := range secrets {
		if at := bytes.Index(text, []byte(key[len(key)-12:])); at >= 0 {
			t.Errorf("%s has a key: %q", path, text[max(0, at-200):at+12])
		}
	}
}
