package gateway_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/gateway"
	"tollgate/server/pricing"
)

// world is a gateway with a ledger, one user and an upstream, all real.
type world struct {
	t        testing.TB
	ledger   *ledger.Ledger
	gate     *admission.Gate
	gateway  *gateway.Gateway
	upstream *httptest.Server
	front    *httptest.Server
	user     *ledger.User
	key      *ledger.Key
	secret   string
	client   *http.Client
	// ledgerClosed tells that the test has closed the ledger.
	ledgerClosed bool
	newest       atomic.Pointer[http.Request] // at the gateway
	ended        chan struct{}                // one for each call whose handler has returned
}

// setup is what a world is made of.
type setup struct {
	routes  []gateway.Route
	prices  map[string]ledger.Amount
	plan    pricing.Plan
	options func(*gateway.Options)
	timeout time.Duration
	headers http.Header
	// narrow makes the gateway's connections keep little of what clients do not read.
	narrow bool
	// limit is the ReadTimeout of the gateway's server.
	limit time.Duration
}

// route is a route as most tests need it.
func route(pattern string, sources ...gateway.Source) gateway.Route {
	return gateway.Route{Pattern: pattern, Upstream: "api", Sources: sources, DrainBytes: 1 << 20, DrainTime: 10 * time.Second}
}

func newWorld(t testing.TB, s setup, upstream http.HandlerFunc) *world {
	t.Helper()
	w := &world{t: t, ended: make(chan struct{}, 1000)}
	dir := t.TempDir()
	var err error
	w.ledger, err = ledger.Open(filepath.Join(dir, "tollgate.db"), ledger.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if s.plan.ID == "" {
		s.plan = pricing.Plan{ID: "free", Name: "Free", OnExceed: pricing.Bill, Billing: pricing.Monthly}
	}
	w.publish(ledger.PlanVersion, s.plan.ID, s.plan)
	for _, r := range s.routes {
		w.publish(ledger.RouteVersion, r.Pattern, pricing.Route{Pattern: r.Pattern, Price: s.prices})
	}
	if w.user, err = w.ledger.AddUser(time.Now(), "test", ledger.Personal{Email: "a@example.com"}, s.plan.ID); err != nil {
		t.Fatal(err)
	}
	w.key, w.secret = w.newKey(w.user)
	w.gate = admission.New(w.ledger, admission.Options{Now: time.Now})
	w.upstream = httptest.NewServer(upstream)
	at, _ := url.Parse(w.upstream.URL)
	routing, err := gateway.NewRouting(s.routes, []gateway.Upstream{{Name: "api", URL: at, Timeout: s.timeout, Headers: s.headers}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	o := gateway.Options{
		Ledger: w.ledger, Gate: w.gate, Routing: routing, Now: time.Now, StateDir: dir,
		Elapsed: func() time.Duration { return time.Since(start) },
	}
	if s.options != nil {
		s.options(&o)
	}
	if w.gateway, err = gateway.New(o); err != nil {
		t.Fatal(err)
	}
	w.front = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() {
			select {
			case w.ended <- struct{}{}:
			default:
			}
		}()
		w.newest.Store(r)
		w.gateway.ServeHTTP(rw, r)
	}))
	if s.narrow {
		w.front.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			if err := conn.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
				t.Error(err)
			}
			return ctx
		}
	}
	w.front.Config.ReadTimeout, w.front.Config.IdleTimeout = s.limit, time.Minute
	w.front.Start()
	w.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	w.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.gateway.Drain(ctx); err != nil {
		w.t.Errorf("drain: %v", err)
	}
	if held := w.gate.Held(); held.Calls != 0 || held.Documents != 0 || held.Tokens != 0 {
		w.t.Errorf("held at the end: %+v", held)
	}
	w.front.CloseClientConnections()
	w.front.Close()
	w.upstream.CloseClientConnections()
	w.upstream.Close()
	if w.ledgerClosed {
		return
	}
	if report, err := w.ledger.Verify(ctx, ledger.Checks{Cost: cost}, nil); err != nil || len(report.Problems) > 0 {
		w.t.Errorf("verify: %v, %v", report.Problems, err)
	}
	if err := w.ledger.Close(); err != nil {
		w.t.Errorf("close the ledger: %v", err)
	}
}

// cost is the price rule that the ledger is verified by.
func cost(route *ledger.Version, q ledger.Quantities) (ledger.Amount, error) {
	var terms pricing.Route
	if err := json.Unmarshal(route.Terms, &terms); err != nil {
		return 0, err
	}
	return terms.Cost(q)
}

func (w *world) publish(kind ledger.VersionKind, name string, terms any) {
	w.t.Helper()
	text, err := json.Marshal(terms)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.ledger.PublishVersion(time.Now(), kind, name, text, time.Time{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newKey(u *ledger.User) (*ledger.Key, string) {
	w.t.Helper()
	secret, hash, prefix, err := admission.NewKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := w.ledger.AddKey(time.Now(), "test", u.ID, ledger.Key{Prefix: prefix, Hash: hash, Scope: ledger.ScopeCall})
	if err != nil {
		w.t.Fatal(err)
	}
	return key, secret
}

// request makes a request with the user's key; headers are "Name: value".
func (w *world) request(method, path string, body io.Reader, headers ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.front.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.secret)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
	code string // of a problem
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	a := answer{Response: res, body: body}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		var problem struct {
			Code   string
			Status int
		}
		if err := json.Unmarshal(body, &problem); err != nil || problem.Status != res.StatusCode {
			w.t.Errorf("problem %s with status %d, %v", body, res.StatusCode, err)
		}
		a.code = problem.Code
	}
	return a
}

func (w *world) call(method, path, body string, headers ...string) answer {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return w.do(w.request(method, path, reader, headers...))
}

// records is all usage records, oldest first.
func (w *world) records() []*ledger.Usage {
	w.t.Helper()
	var list []*ledger.Usage
	err := w.ledger.Records(context.Background(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		list = append(list, u)
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// record is the only record.
func (w *world) record() *ledger.Usage {
	w.t.Helper()
	list := w.records()
	if len(list) != 1 {
		w.t.Fatalf("%d records, want 1", len(list))
	}
	return list[0]
}

// wait waits until a call's handler has returned.
func (w *world) wait() {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(20 * time.Second):
		w.t.Fatal("the call has not ended")
	}
}

// gone waits until the gateway has noticed that the newest call's client left.
func (w *world) gone() {
	w.t.Helper()
	select {
	case <-w.newest.Load().Context().Done():
	case <-time.After(20 * time.Second):
		w.t.Fatal("the gateway has not noticed that the client left")
	}
}

// dial opens a plain connection to the gateway.
func (w *world) dial() net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// reply is an upstream that always gives the same JSON.
func reply(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}
}

// echo is an upstream that answers with the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// quiet waits until no call runs.
func (w *world) quiet() {
	w.t.Helper()
	for range 20_000 {
		if w.gateway.Snapshot().InFlight == 0 {
			return
		}
		runtime.Gosched()
		<-time.After(time.Millisecond)
	}
	w.t.Fatal("a call has not ended")
}
