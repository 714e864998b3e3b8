package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server"
	"tollgate/server/api"
)

func TestDefaultsServeTheSampleAPI(t *testing.T) {
	r := start(t, serverTable+`
[[upstream]]
name = "sample"
url = "builtin:sample"
[[route]]
pattern = "POST /v1/scan"
upstream = "sample"
documents = { request = "/docs", count = true }
tokens = { response = "/usage/total_tokens", missing = "zero" }
price = { documents = "0.01" }
`)
	u := r.user("ann@example.com", "free")
	a := r.call("POST", "/v1/scan", u.APIKey, docs(3))
	if a.status != http.StatusOK || !strings.Contains(a.body, `"total_docs":3`) || a.header.Get("Tollgate-Request") == "" {
		t.Fatalf("got %d %s with %v", a.status, a.body, a.header)
	}
	usage, err := r.client.Usage(t.Context(), u.Email, "")
	if err != nil {
		t.Fatal(err)
	}
	got := usage.CurrentUsage
	if got.TotalCalls != 1 || got.TotalDocuments != 3 || got.TotalTokens != 6 || got.TotalCostCents != 3 {
		t.Errorf("got %+v, want 1 call, 3 documents, 6 tokens, 3 cents", got)
	}
}

func TestOwnPathsWinOverRoutes(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "upstream "+r.URL.Path)
	}))
	defer upstream.Close()
	r := start(t, serverTable+`
[[upstream]]
name = "api"
url = "`+upstream.URL+`"
[[route]]
pattern = "/"
upstream = "api"
auth = "none"
`)
	for path, own := range map[string]bool{
		"/healthz": true, "/readyz": true, "/openapi.json": true, "/v1/billing/pricing": true, "/v1/billing/nothing": true, "/v1/keys": true,
		"/other": false, "/v1/billings": false, "/healthz2": false,
	} {
		a := r.call("GET", path, "", "")
		if got := !strings.HasPrefix(a.body, "upstream "); got != own {
			t.Errorf("%s: own is %v, want %v (%d %s)", path, got, own, a.status, a.body)
		}
	}
}

// slow is an upstream whose answers end when they are told to.
type slow struct {
	*httptest.Server
	reached chan struct{}
	finish  chan struct{}
}

func newSlow(t *testing.T) *slow {
	u := &slow{reached: make(chan struct{}, 10), finish: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"first":1,`)
		w.(http.Flusher).Flush()
		u.reached <- struct{}{}
		select {
		case <-u.finish:
			io.WriteString(w, `"last":2}`)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(u.Close)
	return u
}

func TestStopLetsRunningCallsFinish(t *testing.T) {
	upstream := newSlow(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	answers := make(chan answer, 1)
	go func() {
		a, err := r.do("POST", "/v1/scan", u.APIKey, docs(2))
		if err != nil {
			t.Errorf("the running call: %v", err)
		}
		answers <- a
	}()
	<-upstream.reached
	address := r.Addr().String()
	r.cancel()
	for { // until nobody listens any more
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
	}
	close(upstream.finish)
	if a := <-answers; a.status != http.StatusOK || a.body != `{"first":1,"last":2}` {
		t.Errorf("the running call got %d %q", a.status, a.body)
	}
	r.stop()
	if _, err := os.Stat(filepath.Join(r.folder, "tollgate.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if got := recorded(t, r.folder); len(got) != 1 || got[0].Outcome != ledger.OK || got[0].Documents != 2 {
		t.Errorf("the ledger has %+v", got)
	}
}

func TestStopCutsWhatLastsTooLong(t *testing.T) {
	upstream := newSlow(t)
	r := start(t, strings.Replace(serverTable, "[ledger]", "drain = \"100ms\"\n[ledger]", 1)+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	broken := make(chan error, 1)
	go func() {
		_, err := r.do("POST", "/v1/scan", u.APIKey, docs(2))
		broken <- err
	}()
	<-upstream.reached
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if err := <-broken; err == nil {
		t.Error("a call that was cut looked complete to its client")
	}
	if got := recorded(t, r.folder); len(got) != 1 {
		t.Errorf("the ledger has %d records of the call that was cut, want 1", len(got))
	}
}

// recorded opens the ledger of a stopped server, verifies it and returns all
// records.
func recorded(t *testing.T, folder string) []ledger.Usage {
	t.Helper()
	l, err := ledger.Open(filepath.Join(folder, "tollgate.db"), ledger.Options{Now: time.Now()})
	if err != nil {
		t.Fatalf("opening the ledger again: %v", err)
	}
	defer l.Close()
	report, err := l.Verify(t.Context(), ledger.Checks{}, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v %v", err, report.Problems)
	}
	var list []ledger.Usage
	if err := l.Records(t.Context(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		list = append(list, *u)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSecondServerOnTheSameLedger(t *testing.T) {
	r := start(t, serverTable)
	_, err := server.New(t.Context(), server.Options{Load: load(r.folder)})
	if !errors.Is(err, ledger.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("the first server has lost its socket: %v", err)
	}
}

func TestLowDiskRefusesCallsAndServesReads(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	r.stop()
	// No disk has this much room: the ledger opens, and takes nothing.
	writeConfig(t, r.folder, strings.Replace(serverTable, `"1MiB"`, `"8000000GiB"`, 1)+scanRoute(upstream.URL))
	r = startIn(t, r.folder)
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusServiceUnavailable || a.code() != "ledger_unavailable" {
		t.Errorf("a call: got %d %s", a.status, a.body)
	}
	if a := r.call("GET", "/readyz", "", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("readyz: got %d %s", a.status, a.body)
	}
	if a := r.call("GET", "/healthz", "", ""); a.status != http.StatusOK {
		t.Errorf("healthz: got %d %s", a.status, a.body)
	}
	if a := r.call("GET", "/v1/billing/usage", u.APIKey, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"total_calls":1`) {
		t.Errorf("usage: got %d %s", a.status, a.body)
	}
	if got := upstream.calls.Load(); got != 1 {
		t.Errorf("%d calls reached the upstream, want 1", got)
	}
}

func TestTestClockOutlivesARestart(t *testing.T) {
	text := serverTable + "[clock]\nmode = \"test\"\nstart = \"2025-01-15T00:00:00Z\"\n"
	r := start(t, text)
	if state, err := r.client.AdvanceClock(t.Context(), 36*time.Hour); err != nil || !state.Now.Equal(time.Date(2025, 1, 16, 12, 0, 0, 0, time.UTC)) {
		t.Fatalf("got %+v, %v", state, err)
	}
	r.stop()
	r = startIn(t, r.folder)
	state, err := r.client.Clock(t.Context())
	if want := (api.ClockState{Mode: "test", Now: time.Date(2025, 1, 16, 12, 0, 0, 0, time.UTC)}); err != nil || state.Mode != want.Mode || !state.Now.Equal(want.Now) {
		t.Errorf("got %+v, %v; want %+v", state, err, want)
	}
	if _, err := r.client.SetClock(t.Context(), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil {
		t.Error("the test clock went back")
	}
	r.stop()
	writeConfig(t, r.folder, serverTable)
	if _, err := server.New(t.Context(), server.Options{Load: load(r.folder)}); err == nil {
		t.Error("a ledger of a test clock was opened on the system's")
	}
}

func TestMetrics(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	r.call("POST", "/v1/scan", u.APIKey, docs(1))
	r.call("POST", "/v1/scan", "", docs(1))
	response, err := http.Get("http://" + r.MetricsAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	seen := map[string]string{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), " "); found {
			seen[name] = value
		}
	}
	for name, want := range map[string]string{
		`tollgate_calls_total{outcome="ok"}`:                   "1",
		`tollgate_call_duration_seconds_count`:                 "1",
		`tollgate_call_duration_seconds_bucket{le="+Inf"}`:     "1",
		`tollgate_refusals_total{code="missing_key",route=""}`: "1",
		`tollgate_ready`:         "1",
		`tollgate_users`:         "1",
		`tollgate_held_calls`:    "0",
		`tollgate_ledger_failed`: "0",
	} {
		if seen[name] != want {
			t.Errorf("%s is %q, want %q", name, seen[name], want)
		}
	}
}
