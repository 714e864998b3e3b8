package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// witness is an upstream in the test's process. It notes each call that reaches
// it, by the id that the gateway gave it.
type witness struct {
	*httptest.Server

	mu        sync.Mutex
	reached   func()            // called at each call, when not nil
	calls     map[string]string // Tollgate-Request -> the caller's id
	documents int64
	faults    []string
}

// order is what a caller sends to the witness, and what it is answered by.
type order struct {
	ID     string     `json:"id"`
	Docs   []struct{} `json:"docs"`
	Tokens int64      `json:"answer_with_tokens"`
}

func newWitness(t testing.TB) *witness {
	w := &witness{calls: map[string]string{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(func() {
		w.CloseClientConnections() // a child that was killed has not closed its own
		w.Close()
		for _, f := range w.faults {
			t.Error(f)
		}
	})
	return w
}

// kinds are the ways in which the witness answers, by path.
var kinds = []string{"/v1/plain", "/v1/chunked", "/v1/stream"}

// pieces is the answer to an order; a flush follows each piece but the first of
// a single one.
func pieces(kind string, o order) []string {
	usage := fmt.Sprintf(`{"id":%q,"usage":{"total_tokens":%d}}`, o.ID, o.Tokens)
	switch kind {
	case "/v1/chunked":
		half := len(usage) / 2
		return []string{usage[:half], usage[half:]}
	case "/v1/stream":
		return []string{
			"data: {\"delta\":\"one\"}\n\n",
			"event: more\ndata: {\"usage\":{\"total_tokens\":1}}\n\n", // the last one counts
			"data: " + usage + "\n\n", "data: [DONE]\n\n",
		}
	}
	return []string{usage}
}

func (u *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		if !errors.Is(err, io.ErrUnexpectedEOF) { // the child was killed while it sent
			u.fault("the upstream was sent no JSON: %v", err)
		}
		return
	}
	request := r.Header.Get("X-Tollgate-Request")
	u.mu.Lock()
	if before, twice := u.calls[request]; twice {
		u.faults = append(u.faults, fmt.Sprintf("request %q reached the upstream as %s and as %s", request, before, o.ID))
	}
	u.calls[request] = o.ID
	u.documents += int64(len(o.Docs))
	reached := u.reached
	u.mu.Unlock()
	if reached != nil {
		reached()
	}
	if r.URL.Path == "/v1/stream" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	list := pieces(r.URL.Path, o)
	for _, piece := range list {
		if _, err := io.WriteString(w, piece); err != nil {
			return // the child was killed
		}
		if len(list) > 1 {
			w.(http.Flusher).Flush()
		}
	}
}

func (u *witness) fault(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = append(u.faults, fmt.Sprintf(format, args...))
}

func (u *witness) setReached(reached func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reached = reached
}

// count is how many calls have reached the upstream, with how many documents.
func (u *witness) count() (calls int, documents int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.calls), u.documents
}

// caller is the caller's id of a request that reached the upstream.
func (u *witness) caller(request string) (string, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	id, ok := u.calls[request]
	return id, ok
}

// witnessConfig is a configuration whose routes lead to the witness.
func witnessConfig(url string) string {
	text := `
[server]
listen = "127.0.0.1:0"
[ledger]
durability = "strict"
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "api"
url = "` + url + `"
`
	for _, path := range kinds {
		text += `[[route]]
pattern = "POST ` + path + `"
upstream = "api"
documents = { request = "/docs", count = true }
tokens = { response = "/usage/total_tokens", missing = "zero" }
price = { documents = "0.01", tokens = "0.000002" }
`
	}
	return text + planOf("open", "") + planOf("calls400", "calls = 400") + planOf("docs4000", "documents = 4000")
}

// planOf is a plan without rate limits, which blocks at its quota.
func planOf(id, quota string) string {
	return `[[plan]]
id = "` + id + `"
name = "` + id + `"
fee = "0"
quota = { ` + quota + ` }
on_exceed = "block"
billing = "monthly"
rate_limits = { per_minute = 0, per_day = 0 }
`
}

// prepaidPlan is a plan without rate limits whose calls burn credits.
func prepaidPlan(id, credits string) string {
	return `[[plan]]
id = "` + id + `"
name = "` + id + `"
fee = "0"
billing = "prepaid"
credits = { ` + credits + ` }
rate_limits = { per_minute = 0, per_day = 0 }
`
}

// orderOf is the body of a call for n documents.
func orderOf(id string, n int, tokens int64) []byte {
	return []byte(fmt.Sprintf(`{"id":%q,"docs":[%s],"answer_with_tokens":%d}`, id, strings.TrimSuffix(strings.Repeat("{},", n), ","), tokens))
}

// newAnswering is an upstream that answers each call with the same JSON.
func newAnswering(t testing.TB, answer []byte) *httptest.Server {
	u := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	t.Cleanup(u.Close)
	return u
}
