package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

func TestIdempotencyKeys(t *testing.T) {
	const key = "Idempotency-Key: one"
	arrived, finish := make(chan struct{}), make(chan struct{})
	var abort atomic.Bool
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero)), route("/other")}}, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Query().Has("wait") {
			arrived <- struct{}{}
			<-finish
		}
		fmt.Fprintf(rw, `{"t":%d,"body":%q}`, len(body), body)
		if abort.Load() {
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
	})

	// In flight.
	done := make(chan answer, 1)
	go func() { done <- w.call("POST", "/?wait", "abc", key) }()
	<-arrived
	a := w.call("POST", "/?wait", "abc", key)
	equal(t, "in flight", a.StatusCode, 409)
	equal(t, "code", a.code, "idempotency_in_flight")
	equal(t, "retry", a.Header.Get("Retry-After"), "1")
	_, other := w.newKey(w.user)
	equal(t, "with another key of the user", w.call("POST", "/?wait", "abc", key, "Authorization: Bearer "+other).StatusCode, 409)
	stranger, err := w.ledger.AddUser(w.user.Created, "test", ledger.Personal{Email: "b@example.com"}, "free")
	if err != nil {
		t.Fatal(err)
	}
	_, others := w.newKey(stranger)
	equal(t, "of another user", w.call("POST", "/other", "abc", key, "Authorization: Bearer "+others).StatusCode, 200)
	close(finish)
	equal(t, "the first", (<-done).StatusCode, 200)

	// Another call.
	for _, r := range []*http.Request{w.request("PUT", "/?wait", nil, key), w.request("POST", "/other", nil, key), w.request("POST", "/?x", nil, key)} {
		a := w.do(r)
		equal(t, "other call", a.StatusCode, 422)
		equal(t, "code", a.code, "idempotency_mismatch")
	}
	go func() {
		for range arrived {
		}
	}()
	equal(t, "other body", w.call("POST", "/?wait", "abd", key).StatusCode, 422)

	// A repeat after a whole answer is a new call.
	before := len(w.records())
	equal(t, "repeat", w.call("POST", "/?wait", "abc", key).StatusCode, 200)
	list := w.records()
	equal(t, "records", len(list), before+1)
	equal(t, "billed", list[before].Billed, true)

	// A repeat after an answer that was cut off is free, once.
	const second = "Idempotency-Key: two"
	cut := func() {
		t.Helper()
		res, err := w.client.Do(w.request("POST", "/", nil, second))
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Error("not cut off")
		}
		w.quiet()
	}
	abort.Store(true)
	cut()
	cut()
	cut()
	abort.Store(false)
	equal(t, "repeat", w.call("POST", "/", "", second).StatusCode, 200)
	equal(t, "repeat", w.call("POST", "/", "", second).StatusCode, 200)
	var billed []bool
	for _, u := range w.records()[before+1:] {
		billed = append(billed, u.Billed)
	}
	// t is 0: an answer that was cut off and showed nothing is not billed itself.
	// Cut, its free repeat, a new call that was cut, its free repeat, a new call.
	equal(t, "billed", fmt.Sprint(billed), "[false false false false true]")
}

// TestAFreeRepeatOfABilledCall repeats calls whose answer did not arrive whole:
// the first repeat reaches the upstream beyond the quota and is free, the second
// is a new call. What the answer cost stays with the call that was cut off.
func TestAFreeRepeatOfABilledCall(t *testing.T) {
	const (
		key  = "Idempotency-Key: one"
		body = `{"docs":[1]}`
	)
	for _, tt := range []struct {
		name    string
		outcome ledger.Outcome
		path    string
		cut     func(*world)
		// documents are known from the request, which is billed only where the
		// upstream has finished.
		documents int64
	}{
		{name: "the upstream broke off", outcome: ledger.UpstreamAborted, path: "/?abort", cut: func(w *world) {
			res, err := w.client.Do(w.request("POST", "/?abort", strings.NewReader(body), key))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				w.t.Error("not cut off")
			}
		}},
		{name: "the client left", outcome: ledger.ClientLeft, path: "/?leave", documents: 1, cut: func(w *world) {
			ctx, leave := context.WithCancel(w.t.Context())
			defer leave()
			res, err := w.client.Do(w.request("POST", "/?leave", strings.NewReader(body), key).WithContext(ctx))
			if err != nil {
				w.t.Fatal(err)
			}
			defer res.Body.Close()
			if _, err := io.ReadFull(res.Body, make([]byte, 3)); err != nil {
				w.t.Fatal(err)
			}
			leave()
			w.gone()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w *world
			var forwarded atomic.Int64
			w = newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest, tokensAt("/t", gateway.Zero))}, plan: limited("calls", 1)}, func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(rw, `{"t":5,`)
				_ = http.NewResponseController(rw).Flush()
				if n := forwarded.Add(1); n == 1 && r.URL.Query().Has("abort") {
					panic(http.ErrAbortHandler)
				} else if n == 1 {
					w.gone()
				}
				_, _ = io.WriteString(rw, `"x":1}`)
			})
			tt.cut(w)
			w.wait()
			equal(t, "another call", w.call("POST", tt.path, body).code, "quota_exceeded")
			equal(t, "free repeat beyond the quota", w.call("POST", tt.path, body, key).StatusCode, 200)
			equal(t, "the next", w.call("POST", tt.path, body, key).code, "quota_exceeded")
			equal(t, "forwarded", forwarded.Load(), int64(2))
			list := w.records()
			equal(t, "records", len(list), 2)
			equal(t, "first outcome", list[0].Outcome, tt.outcome)
			equal(t, "first billed", list[0].Billed, true)
			equal(t, "first tokens", list[0].Tokens, int64(5))
			equal(t, "first documents", list[0].Documents, tt.documents)
			equal(t, "repeat billed", list[1].Billed, false)
			equal(t, "repeat outcome", list[1].Outcome, ledger.OK)
		})
	}
}

func TestKeysWorkWhereTheBodyIsMeasuredToo(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}}, echo)
	const key = "Idempotency-Key: k"
	a := w.call("POST", "/", `{"docs":[1,2]}`, key)
	equal(t, "body", string(a.body), `{"docs":[1,2]}`)
	equal(t, "other body", w.call("POST", "/", `{"docs":[1]}`, key).code, "idempotency_mismatch")
	equal(t, "refused calls leave no mark", w.call("POST", "/", `{"docs":1}`, "Idempotency-Key: l").code, "unmeasurable_request")
	equal(t, "so another body is taken", w.call("POST", "/", `{"docs":[1]}`, "Idempotency-Key: l").StatusCode, 200)
}

func TestSeveralKeysAreRefused(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}}, echo)
	for _, second := range []string{"one", "two", ""} {
		r := w.request("POST", "/", strings.NewReader("x"), "Idempotency-Key: one")
		r.Header.Add("Idempotency-Key", second)
		a := w.do(r)
		equal(t, "status", a.StatusCode, 400)
		equal(t, "code", a.code, "bad_request")
	}
	equal(t, "one of them", w.call("POST", "/", "x", "Idempotency-Key: one").StatusCode, 200)
	w.record()
}
