package gateway_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// give is an upstream that answers with a status, headers and a body.
func give(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func tokensAt(pointer string, missing gateway.Missing) gateway.Source {
	return gateway.Source{Meter: "tokens", From: gateway.ResponseJSON, Pointer: pointer, Missing: missing, Else: 77}
}

func TestEverySourceIsMeasured(t *testing.T) {
	const json = "Content-Type: application/json"
	const stream = "Content-Type: text/event-stream"
	docs := gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true}
	header := gateway.Source{Meter: "documents", From: gateway.ResponseHeader, Header: "x-usage-documents", Strip: true}
	tests := []struct {
		name     string
		sources  []gateway.Source
		method   string // default POST
		body     string
		headers  []string
		upstream http.HandlerFunc
		want     ledger.Quantities
		unbilled bool
		estimate bool
		outcome  ledger.Outcome
	}{
		{name: "count in the request", sources: []gateway.Source{docs}, body: `{"docs":[1,2]}`, upstream: reply("{}"), want: ledger.Quantities{Documents: 2}},
		{name: "number in the request", sources: []gateway.Source{{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n"}}, body: `{"n":4.2e1}`, upstream: reply("{}"), want: ledger.Quantities{Documents: 42}},
		{name: "request with a byte order mark", sources: []gateway.Source{docs}, body: "\xef\xbb\xbf" + `{"docs":[1,2]}`, upstream: reply("{}"), want: ledger.Quantities{Documents: 2}},
		{name: "compressed request", sources: []gateway.Source{docs}, body: zipped(`{"docs":[1,2,3]}`), headers: []string{"Content-Encoding: gzip"}, upstream: reply("{}"), want: ledger.Quantities{Documents: 3}},
		{name: "request that may miss it", sources: []gateway.Source{{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n", Missing: gateway.Instead, Else: 5, Required: true}}, body: `{}`, upstream: reply("{}"), want: ledger.Quantities{Documents: 5}},
		{name: "unmeasurable where nothing depends on it", sources: []gateway.Source{{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n"}}, body: `x`, upstream: reply("{}")},
		{name: "bytes of the request", sources: []gateway.Source{{Meter: "up", From: gateway.RequestBytes}}, body: "12345", upstream: reply("{}"), want: ledger.Quantities{Named: []ledger.Quantity{{Meter: "up", N: 5}}}},
		{name: "bytes of the answer", sources: []gateway.Source{{Meter: "down", From: gateway.ResponseBytes}}, upstream: give(200, "123456"), want: ledger.Quantities{Named: []ledger.Quantity{{Meter: "down", N: 6}}}},
		{name: "constant", sources: []gateway.Source{{Meter: "documents", From: gateway.Fixed, N: 3}}, upstream: reply("{}"), want: ledger.Quantities{Documents: 3}},
		{name: "several named meters", sources: []gateway.Source{{Meter: "b", From: gateway.Fixed, N: 2}, {Meter: "a", From: gateway.ResponseJSON, Pointer: "/a"}}, upstream: reply(`{"a":1}`),
			want: ledger.Quantities{Named: []ledger.Quantity{{Meter: "a", N: 1}, {Meter: "b", N: 2}}}},
		{name: "header", sources: []gateway.Source{header}, upstream: give(200, "x", "X-Usage-Documents: 12"), want: ledger.Quantities{Documents: 12}},
		{name: "header twice", sources: []gateway.Source{header}, upstream: give(200, "x", "X-Usage-Documents: 12", "X-Usage-Documents: 13"), outcome: ledger.Quarantined},
		{name: "header that is no number", sources: []gateway.Source{header}, upstream: give(200, "x", "X-Usage-Documents: twelve"), outcome: ledger.Quarantined},
		{name: "header missing", sources: []gateway.Source{{Meter: "documents", From: gateway.ResponseHeader, Header: "X-D", Missing: gateway.Instead, Else: 7}}, upstream: give(200, "x"), want: ledger.Quantities{Documents: 7}},
		{name: "number in the answer", sources: []gateway.Source{tokensAt("/usage/t", gateway.NoRule)}, upstream: reply(`{"usage":{"t":9}}`), want: ledger.Quantities{Tokens: 9}},
		{name: "count in the answer", sources: []gateway.Source{{Meter: "documents", From: gateway.ResponseJSON, Pointer: "/results", Count: true}}, upstream: reply(`{"results":[{},{}]}`), want: ledger.Quantities{Documents: 2}},
		{name: "zero is zero", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":0}`)},
		{name: "compressed answer", sources: []gateway.Source{tokensAt("/t", gateway.NoRule)}, headers: []string{"Accept-Encoding: gzip"}, upstream: give(200, zipped(`{"t":11}`), "Content-Encoding: gzip"), want: ledger.Quantities{Tokens: 11}},
		{name: "coding that cannot be read", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: give(200, `{"t":11}`, "Content-Encoding: br"), want: ledger.Quantities{Tokens: 77}},
		{name: "events", sources: []gateway.Source{tokensAt("/usage/t", gateway.NoRule)}, upstream: give(200, "data: {\"usage\":{\"t\":1}}\n\ndata: {\"usage\":{\"t\":5}}\n\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n", stream+"; charset=utf-8"), want: ledger.Quantities{Tokens: 5}},
		{name: "compressed events", sources: []gateway.Source{tokensAt("/t", gateway.NoRule)}, upstream: give(200, zipped("data: {\"t\":1}\r\n\r\ndata: {\"t\":6}\r\n\r\n"), stream, "Content-Encoding: gzip"), want: ledger.Quantities{Tokens: 6}},
		{name: "missing: zero", sources: []gateway.Source{tokensAt("/t", gateway.Zero)}, upstream: reply(`{}`)},
		{name: "missing: fixed", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{}`), want: ledger.Quantities{Tokens: 77}},
		{name: "missing: null", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":null}`), want: ledger.Quantities{Tokens: 77}},
		{name: "missing: not JSON", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: give(200, "<html>"), want: ledger.Quantities{Tokens: 77}},
		{name: "missing: estimate by the text", sources: []gateway.Source{tokensAt("/t", gateway.Estimate)}, upstream: reply(`{"x":"12345678"}`), want: ledger.Quantities{Tokens: 4}, estimate: true},
		{name: "missing: estimate by the decoded text", sources: []gateway.Source{tokensAt("/t", gateway.Estimate)}, upstream: give(200, zipped(`{"x":"12345678"}`), "Content-Encoding: gzip"), want: ledger.Quantities{Tokens: 4}, estimate: true},
		{name: "missing: estimate by the events", sources: []gateway.Source{tokensAt("/t", gateway.Estimate)}, upstream: give(200, "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", stream), want: ledger.Quantities{Tokens: 2}, estimate: true},
		{name: "304 follows missing", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, method: "GET", upstream: give(304, ""), want: ledger.Quantities{Tokens: 77}},
		{name: "206 follows missing", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, method: "GET", upstream: give(206, `{"t":1}`, json, "Content-Range: bytes 0-6/7"), want: ledger.Quantities{Tokens: 77}},
		{name: "204 follows missing", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: give(204, ""), want: ledger.Quantities{Tokens: 77}},
		{name: "HEAD follows missing", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, method: "HEAD", upstream: reply(`{"t":1}`), want: ledger.Quantities{Tokens: 77}},
		{name: "302 has used nothing", sources: []gateway.Source{tokensAt("/t", gateway.Instead), docs}, body: `{"docs":[1]}`, upstream: give(302, "", "Location: /x"), want: ledger.Quantities{Documents: 1}},
		{name: "negative", sources: []gateway.Source{tokensAt("/t", gateway.Instead), docs}, body: `{"docs":[1]}`, upstream: reply(`{"t":-1}`), want: ledger.Quantities{Documents: 1}, outcome: ledger.Quarantined},
		{name: "not whole", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":1.5}`), outcome: ledger.Quarantined},
		{name: "text", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":"42"}`), outcome: ledger.Quarantined},
		{name: "absurd", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":1e300}`), outcome: ledger.Quarantined},
		{name: "milliseconds", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":1790000000000}`), outcome: ledger.Quarantined},
		{name: "costs more than a record can", sources: []gateway.Source{tokensAt("/t", gateway.Instead)}, upstream: reply(`{"t":1099511627776}`), outcome: ledger.Quarantined},
		{name: "4xx is not billed", sources: []gateway.Source{tokensAt("/t", gateway.Instead), docs}, body: `{"docs":[1]}`, upstream: give(404, `{"t":1}`), unbilled: true, outcome: ledger.UpstreamError},
		{name: "5xx is not billed", sources: []gateway.Source{tokensAt("/t", gateway.Instead), docs}, body: `{"docs":[1]}`, upstream: give(503, `{"t":1}`), unbilled: true, outcome: ledger.UpstreamError},
	}
	s := setup{prices: map[string]ledger.Amount{"tokens": cents, "documents": 2 * cents}}
	upstreams := http.NewServeMux()
	for i, tt := range tests {
		path := fmt.Sprint("/", i)
		s.routes = append(s.routes, route(path, tt.sources...))
		upstreams.Handle(path, tt.upstream)
	}
	w := newWorld(t, s, upstreams.ServeHTTP)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = "POST"
			}
			a := w.call(tt.method, fmt.Sprint("/", i), tt.body, tt.headers...)
			if got := a.Header.Get("X-Usage-Documents"); got != "" {
				t.Errorf("the header %q was not stripped", got)
			}
			list := w.records()
			equal(t, "records", len(list), i+1)
			u := list[len(list)-1]
			if diff := cmp.Diff(tt.want, u.Quantities); diff != "" {
				t.Error(diff)
			}
			equal(t, "billed", u.Billed, !tt.unbilled)
			equal(t, "cost", u.Cost, ledger.Amount(u.Tokens)*cents+ledger.Amount(u.Documents)*2*cents)
			equal(t, "outcome", u.Outcome, tt.outcome)
			equal(t, "estimated", u.Estimated, tt.estimate)
			equal(t, "status", u.Status, a.StatusCode)
			equal(t, "request id", a.Header.Get("Tollgate-Request"), u.RequestID().String())
		})
	}
}

func TestBillStatusOfTheRoute(t *testing.T) {
	r := route("/x", gateway.Source{Meter: "documents", From: gateway.Fixed, N: 2})
	r.Bills = func(status int) bool { return status == 404 }
	w := newWorld(t, setup{routes: []gateway.Route{r}}, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("found") {
			return
		}
		rw.WriteHeader(404)
	})
	w.call("GET", "/x", "")
	w.call("GET", "/x?found", "")
	list := w.records()
	equal(t, "404 is billed", list[0].Billed, true)
	equal(t, "its documents", list[0].Documents, int64(2))
	equal(t, "its outcome", list[0].Outcome, ledger.UpstreamError)
	equal(t, "200 is billed", list[1].Billed, false)
}

func TestRequestsThatCannotBeMeasuredAreRefused(t *testing.T) {
	count := gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true}
	number := gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n", Required: true}
	w := newWorld(t, setup{routes: []gateway.Route{route("/docs", count), route("/n", number)}}, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was called") })
	for i, tt := range []struct {
		source  gateway.Source
		body    string
		headers []string
	}{
		{source: count},
		{source: count, body: `{}`},
		{source: count, body: `{"docs":null}`},
		{source: count, body: `{"docs":{"a":1}}`},
		{source: count, body: `{"docs":[1],"docs":[]}`},
		{source: count, body: `{"docs":[],"Docs":[1]}`},
		{source: count, body: `{"docs":[1]`},
		{source: count, body: `{"docs":[1]} {"docs":[1]}`},
		{source: count, body: `docs=1`},
		{source: count, body: `{"docs":[1]}`, headers: []string{"Content-Encoding: br"}},
		{source: count, body: `{"docs":[1]}`, headers: []string{"Content-Encoding: gzip"}},
		{source: count, body: zipped(zipped(`{"docs":[1]}`)), headers: []string{"Content-Encoding: gzip, gzip"}},
		{source: count, body: zipped(`{"docs":[1]}`)[:20], headers: []string{"Content-Encoding: gzip"}},
		{source: number, body: `{"n":-1}`},
		{source: number, body: `{"n":"42"}`},
		{source: number, body: `{"n":1.5}`},
		{source: number, body: `{"n":1e30}`},
		{source: number, body: `{"n":[1]}`},
	} {
		t.Run(fmt.Sprintf("%s %q %v", tt.source.Pointer, tt.body, tt.headers), func(t *testing.T) {
			a := w.call("POST", tt.source.Pointer, tt.body, tt.headers...)
			equal(t, "status", a.StatusCode, 400)
			equal(t, "code", a.code, "unmeasurable_request")
			equal(t, "records", len(w.records()), 0)
			var counted int64
			for _, c := range w.gate.Refusals() {
				if c.Code == "unmeasurable_request" {
					counted += c.Count
				}
			}
			equal(t, "refusals", counted, int64(i+1))
		})
	}
}

func TestACompressionBombIsRefused(t *testing.T) {
	w := newWorld(t, setup{
		routes:  []gateway.Route{route("/x", gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true})},
		options: func(o *gateway.Options) { o.MaxBody = 100_000 },
	}, reply("{}"))
	a := w.call("POST", "/x", zipped(strings.Repeat(" ", 2<<20)+`{"docs":[1]}`), "Content-Encoding: gzip")
	equal(t, "code", a.code, "unmeasurable_request")
}
