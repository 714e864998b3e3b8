package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

// TestPathsThatMeanAnotherOnceDecoded: an upstream that decodes before it routes
// must not serve a call at the price of another, or without a key.
func TestPathsThatMeanAnotherOnceDecoded(t *testing.T) {
	open := route("/open/")
	open.Public = true
	w := newWorld(t, setup{routes: []gateway.Route{open, route("POST /v1/scan"), route("POST /v1/items/{id}"), route("/v2/")}},
		func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.EscapedPath()) })
	for _, c := range []struct{ path, route string }{
		{"/v1/scan", "POST /v1/scan"},
		{"/v1/%73can", "POST /v1/scan"},
		{"/open/a", "/open/"},
		{"/open/a%2Fb", "/open/"},
		{"/open/a%20b%3Fc", "/open/"},
		{"/open/a..b/...", "/open/"},
		{"/open/%2e%2e", ""},
		{"/open/%2e%2e/v1/scan", ""},
		{"/open/.%2e/nowhere", ""},
		{"/open/..%2fnowhere", ""},
		{"/open/..%5cv1%5cscan", ""},
		{"/open/%2e/a", ""},
		{"/v1/items/7", "POST /v1/items/{id}"},
		{"/v1/items/group%2Fproject", "POST /v1/items/{id}"}, // no other route
		{"/v1/items/https%3A%2F%2Fexample.com%2F", "POST /v1/items/{id}"},
		{"/v1/items/%2e%2e%2fscan", ""},
		{"/v1/items/..%2f", ""},
		{"/v2/v1%2fscan", "/v2/"},
		{"/v2/%2F/v1/scan", "/v2/"},
	} {
		t.Run(strings.Trim(strings.ReplaceAll(c.path, "/", " "), " "), func(t *testing.T) {
			before := len(w.records())
			a := w.call("POST", c.path, "")
			records := w.records()[before:]
			if c.route == "" {
				equal(t, "code", a.code, "ambiguous_path")
				equal(t, "status", a.StatusCode, http.StatusBadRequest)
				equal(t, "records", len(records), 0)
				return
			}
			equal(t, "the path at the upstream", string(a.body), c.path)
			equal(t, "records", len(records), 1)
			equal(t, "route", w.ledger.VersionByID(records[0].Route).Name, c.route)
		})
	}
	t.Run("a slash that makes it another route", func(t *testing.T) {
		w := newWorld(t, setup{routes: []gateway.Route{route("POST /v1/scan"), route("/")}}, reply("{}"))
		equal(t, "code", w.call("POST", "/v1%2fscan", "").code, "ambiguous_path")
		equal(t, "status", w.call("POST", "/v1%2fother", "").StatusCode, http.StatusOK)
	})
}

// TestTrailersSayNothingForTheGateway: what is taken out of a request's headers
// is taken out of its trailers.
func TestTrailersSayNothingForTheGateway(t *testing.T) {
	for _, sources := range [][]gateway.Source{nil, {{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n", Required: true}}} { // passed on, and read first
		got := make(chan http.Header, 1)
		w := newWorld(t, setup{routes: []gateway.Route{route("POST /v1/scan", sources...)}, prices: map[string]ledger.Amount{}}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			got <- r.Trailer
		})
		r := w.request("POST", "/v1/scan", io.MultiReader(strings.NewReader(`{"n":3}`))) // of no known length
		r.Trailer = http.Header{"X-Tollgate-User": {"7"}, "X_Tollgate_Plan": {"best"}, "Authorization": {"Bearer x"}, "X-Api-Key": {"x"}, "X-Sum": {"abc"}}
		equal(t, "status", w.do(r).StatusCode, http.StatusOK)
		trailer := <-got
		equal(t, "X-Sum", trailer.Get("X-Sum"), "abc")
		equal(t, "trailers", len(trailer), 1)
	}
}
