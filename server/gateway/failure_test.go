package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/gateway"
	"tollgate/server/pricing"
)

var docsInRequest = gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true}

func TestAnUpstreamThatIsNotThere(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}}, nil)
	w.upstream.Close()
	a := w.call("POST", "/", `{"docs":[1]}`)
	equal(t, "status", a.StatusCode, 502)
	equal(t, "code", a.code, "upstream_unreachable")
	u := w.record()
	equal(t, "outcome", u.Outcome, ledger.Unreachable)
	equal(t, "billed", u.Billed, false)
	equal(t, "status", u.Status, 502)
	equal(t, "request id", a.Header.Get("Tollgate-Request"), u.RequestID().String())
	if diff := cmp.Diff(ledger.Quantities{}, u.Quantities); diff != "" {
		t.Error(diff)
	}
}

func TestAnUpstreamThatClosesBeforeItAnswers(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	a := w.call("POST", "/", `{"docs":[1]}`)
	equal(t, "code", a.code, "upstream_unreachable")
	equal(t, "outcome", w.record().Outcome, ledger.Unreachable)
}

func TestAnUpstreamThatIsTooSlow(t *testing.T) {
	stop := make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, timeout: 50 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) { <-stop })
	defer close(stop)
	a := w.call("POST", "/", `{"docs":[1]}`)
	equal(t, "status", a.StatusCode, 504)
	equal(t, "code", a.code, "upstream_timeout")
	u := w.record()
	equal(t, "outcome", u.Outcome, ledger.TimedOut)
	equal(t, "billed", u.Billed, false)
}

func TestAnUpstreamThatBreaksOff(t *testing.T) {
	fixed := gateway.Source{Meter: "pages", From: gateway.Fixed, N: 5}
	tests := []struct {
		name    string
		sources []gateway.Source
		answer  string
		stream  bool
		length  bool
		billed  bool
		want    ledger.Quantities
	}{
		{name: "reported in an event", sources: []gateway.Source{docsInRequest, tokensAt("/t", gateway.Zero)}, answer: "data: {\"t\":7}\n\ndata: {\"x", stream: true, billed: true, want: ledger.Quantities{Tokens: 7}},
		{name: "reported in the body", sources: []gateway.Source{docsInRequest, tokensAt("/t", gateway.Zero)}, answer: `{"t":7,"x":`, length: true, billed: true, want: ledger.Quantities{Tokens: 7}},
		{name: "observed elements", sources: []gateway.Source{fixed, {Meter: "documents", From: gateway.ResponseJSON, Pointer: "/r", Count: true}}, answer: `{"r":[{},{}`, billed: true, want: ledger.Quantities{Documents: 2, Named: []ledger.Quantity{{Meter: "pages"}}}},
		{name: "observed bytes", sources: []gateway.Source{{Meter: "down", From: gateway.ResponseBytes}}, answer: "12345", billed: true, want: ledger.Quantities{Named: []ledger.Quantity{{Meter: "down", N: 5}}}},
		{name: "estimated from what was seen", sources: []gateway.Source{tokensAt("/t", gateway.Estimate)}, answer: `{"x":"12345`, billed: true, want: ledger.Quantities{Tokens: 3}},
		{name: "nothing but the request's", sources: []gateway.Source{docsInRequest, tokensAt("/t", gateway.Instead)}, answer: `{"x`},
		{name: "the record's own rule is for whole answers", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, answer: `{"x":1`, length: true},
	}
	s := setup{}
	upstreams := http.NewServeMux()
	for i, tt := range tests {
		path := fmt.Sprint("/", i)
		s.routes = append(s.routes, route(path, tt.sources...))
		upstreams.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if tt.stream {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			if tt.length {
				w.Header().Set("Content-Length", "1000")
			}
			_, _ = io.WriteString(w, tt.answer)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
	}
	w := newWorld(t, s, upstreams.ServeHTTP)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := w.client.Do(w.request("POST", fmt.Sprint("/", i), strings.NewReader(`{"docs":[1,2,3]}`)))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Error("the client's answer has an end")
			}
			w.wait()
			list := w.records()
			u := list[len(list)-1]
			equal(t, "outcome", u.Outcome, ledger.UpstreamAborted)
			equal(t, "status", u.Status, 200)
			equal(t, "billed", u.Billed, tt.billed)
			if diff := cmp.Diff(tt.want, u.Quantities); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// leave makes a call on a connection of its own, reads the answer's first bytes
// if there are any to come, and closes the connection.
func (w *world) leave(path string, read bool) {
	w.t.Helper()
	conn := w.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 12\r\n\r\n{\"docs\":[1]}", path, w.secret)
	if read {
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			w.t.Fatal(err)
		}
	}
	conn.Close()
}

func TestAClientThatLeavesIsBilledWhatTheUpstreamUsed(t *testing.T) {
	left := make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/stream", docsInRequest, tokensAt("/t", gateway.Zero)), route("/early", docsInRequest, tokensAt("/t", gateway.Zero))}}, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/stream" {
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, "data: {\"t\":1}\n\n")
			_ = http.NewResponseController(rw).Flush()
		} else {
			left <- struct{}{}
		}
		<-left
		if r.URL.Path == "/stream" {
			for range 200 {
				_, _ = io.WriteString(rw, ": "+strings.Repeat("x", 1000)+"\n\n")
				_ = http.NewResponseController(rw).Flush()
			}
			_, _ = io.WriteString(rw, "data: {\"t\":9}\n\n")
		} else {
			_, _ = io.WriteString(rw, `{"t":8}`)
		}
	})
	w.leave("/stream", true)
	w.gone()
	close(left)
	w.wait()
	u := w.records()[0]
	equal(t, "outcome", u.Outcome, ledger.ClientLeft)
	equal(t, "tokens", u.Tokens, int64(9))
	equal(t, "documents", u.Documents, int64(1))
	equal(t, "billed", u.Billed, true)
	equal(t, "status", u.Status, 200)

	// Before the answer's headers.
	left = make(chan struct{})
	conn := w.dial()
	fmt.Fprintf(conn, "POST /early HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 12\r\n\r\n{\"docs\":[1]}", w.secret)
	<-left
	conn.Close()
	w.gone()
	left <- struct{}{}
	w.wait()
	u = w.records()[1]
	equal(t, "outcome", u.Outcome, ledger.ClientLeft)
	equal(t, "tokens", u.Tokens, int64(8))
	equal(t, "billed", u.Billed, true)
}

func TestDrainingIsBounded(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		r := route("/", docsInRequest, gateway.Source{Meter: "down", From: gateway.ResponseBytes})
		r.DrainBytes = 100_000
		w := newWorld(t, setup{routes: []gateway.Route{r}}, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(rw, repeated('x'))
		})
		w.leave("/", true)
		w.wait()
		u := w.record()
		equal(t, "outcome", u.Outcome, ledger.ClientLeft)
		equal(t, "documents", u.Documents, int64(1))
		if down := u.Of("down"); down < 100_000 || down > 50*megabyte {
			t.Errorf("%d bytes", down)
		}
	})
	t.Run("time", func(t *testing.T) {
		r := route("/", docsInRequest, tokensAt("/t", gateway.Zero))
		r.DrainTime = 50 * time.Millisecond
		ended := make(chan struct{})
		w := newWorld(t, setup{routes: []gateway.Route{r}}, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, "data: {\"t\":4}\n\n")
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
			close(ended)
		})
		w.leave("/", true)
		w.wait()
		u := w.record()
		equal(t, "outcome", u.Outcome, ledger.ClientLeft)
		equal(t, "tokens", u.Tokens, int64(4))
		equal(t, "documents", u.Documents, int64(1))
		<-ended
	})
	t.Run("time before the headers", func(t *testing.T) {
		r := route("/", docsInRequest)
		r.DrainTime = 50 * time.Millisecond
		arrived := make(chan struct{})
		w := newWorld(t, setup{routes: []gateway.Route{r}}, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
		})
		conn := w.dial()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 12\r\n\r\n{\"docs\":[1]}", w.secret)
		<-arrived
		conn.Close()
		w.wait()
		u := w.record()
		equal(t, "outcome", u.Outcome, ledger.ClientLeft)
		equal(t, "billed", u.Billed, false)
		equal(t, "status", u.Status, 499)
	})
}

// TestAClientThatTakesNothing has clients that keep their connection and stop
// reading, until nothing more fits into the buffers of the sockets.
func TestAClientThatTakesNothing(t *testing.T) {
	down := gateway.Source{Meter: "down", From: gateway.ResponseBytes}
	endless := func(begin func(http.ResponseWriter)) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			begin(rw)
			_, _ = io.Copy(rw, repeated('x'))
		}
	}
	const small = 30_000 // bytes of an answer that is one piece
	for _, tt := range []struct {
		name     string
		upstream http.HandlerFunc
		calls    int // that the client sends at once
		tokens   int64
		down     int64 // at least
	}{
		{name: "length given", calls: 1, down: small, upstream: endless(func(rw http.ResponseWriter) { rw.Header().Set("Content-Length", "1000000000000") })},
		{name: "length unknown", calls: 1, down: small, upstream: endless(func(http.ResponseWriter) {})},
		{name: "stream", calls: 1, tokens: 7, down: small, upstream: endless(func(rw http.ResponseWriter) {
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, "data: {\"t\":7}\n\n: ")
		})},
		{name: "first piece behind the answers before", calls: 1000, down: small, upstream: func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, strings.Repeat("x", small))
			_ = http.NewResponseController(rw).Flush()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := route("/", docsInRequest, down, tokensAt("/t", gateway.Zero))
			r.DrainBytes = 1000
			w := newWorld(t, setup{narrow: true, routes: []gateway.Route{r}, options: func(o *gateway.Options) { o.Patience = 50 * time.Millisecond }}, tt.upstream)
			conn := w.dial()
			if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			var sent sync.WaitGroup
			defer sent.Wait()
			defer conn.Close()
			sent.Go(func() {
				request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 12\r\n\r\n{\"docs\":[1]}", w.secret)
				_, _ = io.WriteString(conn, strings.Repeat(request, tt.calls)) // the gateway takes what it gets to
			})
			var u *ledger.Usage
			for u == nil || u.Outcome == ledger.OK {
				w.wait()
				list := w.records()
				u = list[len(list)-1]
			}
			equal(t, "outcome", u.Outcome, ledger.ClientLeft)
			equal(t, "status", u.Status, 200)
			equal(t, "billed", u.Billed, true)
			equal(t, "documents", u.Documents, int64(1))
			equal(t, "tokens", u.Tokens, tt.tokens)
			if got := u.Of("down"); got < tt.down {
				t.Errorf("%d bytes observed, want at least %d", got, tt.down)
			}
			held := w.gate.Held()
			equal(t, "calls held", held.Calls, int64(0))
			equal(t, "documents held", held.Documents, int64(0))
		})
	}
}

func TestAnUploadThatBreaksOff(t *testing.T) {
	for name, sources := range map[string][]gateway.Source{"passed on": nil, "read first": {docsInRequest}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{routes: []gateway.Route{route("/", sources...)}}, func(rw http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err == nil {
					t.Error("the upstream has a whole body")
				}
			})
			conn := w.dial()
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 1000\r\n\r\n{\"docs\":[1]}", w.secret)
			_ = conn.(*net.TCPConn).CloseWrite()
			w.wait()
			for _, u := range w.records() {
				equal(t, "billed", u.Billed, false)
				equal(t, "outcome", u.Outcome, ledger.ClientLeft)
			}
		})
	}
}

// TestNothingIsAnsweredUnrecorded closes the ledger under a running call.
func TestNothingIsAnsweredUnrecorded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		answer http.HandlerFunc
		aborts bool
	}{
		{name: "small answer", method: "GET", answer: reply("{}")},
		{name: "no body", method: "GET", answer: give(204, "")},
		{name: "HEAD", method: "HEAD", answer: reply("{}")},
		{name: "stream", method: "GET", aborts: true, answer: func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "some")
			_ = http.NewResponseController(rw).Flush()
			_, _ = io.WriteString(rw, "thing")
		}},
		{name: "large answer", method: "GET", aborts: true, answer: func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "1000000")
			_, _ = io.WriteString(rw, strings.Repeat("x", 1_000_000))
		}},
		{name: "unreachable", method: "GET", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w *world
			w = newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}}, func(rw http.ResponseWriter, r *http.Request) {
				if !w.ledgerClosed {
					w.ledgerClosed = true
					if err := w.ledger.Close(); err != nil {
						t.Error(err)
					}
				}
				tt.answer(rw, r)
			})
			res, err := w.client.Do(w.request(tt.method, "/", strings.NewReader(`{"docs":[1]}`)))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if tt.aborts {
				if err == nil {
					t.Error("the answer has an end")
				}
			} else if err != nil {
				t.Error(err)
			} else {
				equal(t, "status", res.StatusCode, 503)
				equal(t, "retry", res.Header.Get("Retry-After"), "5")
			}
			equal(t, "unrecorded", w.gateway.Snapshot().Unrecorded, int64(1))
		})
	}
}

func TestRelaxedDurabilityDoesNotWait(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, options: func(o *gateway.Options) { o.Relaxed = true }}, reply("{}"))
	for range 20 {
		equal(t, "status", w.call("POST", "/", `{"docs":[1]}`).StatusCode, 200)
	}
	if err := w.gateway.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "records", len(w.records()), 20)
}

// limited is a plan that blocks at a quota.
func limited(meter string, n int64) pricing.Plan {
	return pricing.Plan{ID: "limited", Name: "Limited", OnExceed: pricing.Block, Billing: pricing.Monthly, Quota: map[string]int64{meter: n}}
}

func TestExactlyAsManyPassAsFit(t *testing.T) {
	for _, tt := range []struct {
		plan     pricing.Plan
		attempts int
		want     int64
	}{
		{limited("calls", 40), 200, 40},
		{limited("documents", 400), 200, 57}, // of 7 each
	} {
		var reached atomic.Int64
		w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, plan: tt.plan}, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			reached.Add(1)
		})
		var passed, refused atomic.Int64
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				for range tt.attempts / 16 {
					switch a := w.call("POST", "/", `{"docs":[1,2,3,4,5,6,7]}`); {
					case a.StatusCode == 200:
						passed.Add(1)
					case a.code == "quota_exceeded":
						refused.Add(1)
					default:
						t.Errorf("status %d, %s", a.StatusCode, a.body)
					}
				}
			})
		}
		callers.Wait()
		equal(t, "passed", passed.Load(), tt.want)
		equal(t, "reached the upstream", reached.Load(), tt.want)
		equal(t, "answers", passed.Load()+refused.Load(), int64(tt.attempts/16*16))
	}
}

func TestAHoldGrowsWithTheStream(t *testing.T) {
	next := make(chan struct{})
	r := route("/", tokensAt("/t", gateway.Zero))
	r.Hold = map[string]int64{"tokens": 10}
	w := newWorld(t, setup{routes: []gateway.Route{r}, plan: limited("tokens", 100)}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, n := range []int{5, 95, 120} {
			fmt.Fprintf(rw, "data: {\"t\":%d}\n\n", n)
			_ = http.NewResponseController(rw).Flush()
			<-next
		}
	})
	res, err := w.client.Do(w.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	line := func() {
		t.Helper()
		for range 2 {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	line()
	equal(t, "held at first", w.gate.Held().Tokens, int64(10))
	next <- struct{}{}
	line()
	equal(t, "held then", w.gate.Held().Tokens, int64(95))
	equal(t, "another call", w.call("GET", "/", "").code, "quota_exceeded")
	next <- struct{}{}
	line()
	next <- struct{}{}
	if _, err := io.ReadAll(lines); err != nil {
		t.Fatal(err)
	}
	equal(t, "tokens", w.record().Tokens, int64(120))
}

func TestDrainWaitsForRunningCalls(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}}, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(rw, "done")
	})
	answers, drained := make(chan answer, 1), make(chan error, 1)
	go func() { answers <- w.call("GET", "/", "") }()
	<-arrived
	go func() { drained <- w.gateway.Drain(t.Context()) }()
	for { // until the drain has begun
		a := w.call("GET", "/other", "")
		if a.code == "shutting_down" {
			break
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a call running: %v", err)
	default:
	}
	close(finish)
	equal(t, "body", string((<-answers).body), "done")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	w.record()
}

func TestDrainThatTakesTooLongCutsCallsOff(t *testing.T) {
	arrived := make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: {\"t\":6}\n\n")
		_ = http.NewResponseController(rw).Flush()
		close(arrived)
		<-r.Context().Done()
	})
	res, err := w.client.Do(w.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.gateway.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the answer has an end")
	}
	u := w.record()
	equal(t, "tokens", u.Tokens, int64(6))
	equal(t, "outcome", u.Outcome, ledger.UpstreamAborted)
}
