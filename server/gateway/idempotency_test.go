package gateway_test

import (
	"fmt"
	"io"
	"net/http"
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

func TestAFreeRepeatOfABilledCall(t *testing.T) {
	var abort atomic.Bool
	abort.Store(true)
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}, plan: limited("calls", 1)}, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, `{"t":5,`)
		_ = http.NewResponseController(rw).Flush()
		if abort.Load() {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(rw, `"x":1}`)
	})
	const key = "Idempotency-Key: one"
	res, err := w.client.Do(w.request("GET", "/", nil, key))
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("not cut off")
	}
	w.quiet()
	abort.Store(false)
	a := w.call("GET", "/", "", key)
	equal(t, "free repeat beyond the quota", a.StatusCode, 200)
	equal(t, "the next", w.call("GET", "/", "", key).code, "quota_exceeded")
	list := w.records()
	equal(t, "first billed", list[0].Billed, true)
	equal(t, "first tokens", list[0].Tokens, int64(5))
	equal(t, "repeat billed", list[1].Billed, false)
	equal(t, "repeat outcome", list[1].Outcome, ledger.OK)
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
