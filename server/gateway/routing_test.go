package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestLiteralRoutesAreTheMuxs asks for paths of all kinds, of routings with
// patterns of all kinds: what is found without the mux is what it finds.
func TestLiteralRoutesAreTheMuxs(t *testing.T) {
	upstream := Upstream{Name: "api", URL: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}}
	found := 0
	for _, patterns := range [][]string{
		{"GET /v1/a", "/v1/a", "POST /v1/a", "/v1/{x}", "/v1/"},
		{"POST /v1/a", "POST /v1/{x...}", "GET /"},
		{"POST /v1/a/", "POST /v1/a", "GET /v1/{$}", "GET /v1/%61"},
		{"GET  /v1/a", "GET\t/v1/b", "CONNECT /v1//c", "CONNECT /v1/d", "GET /"},
		{"GET /v1/a", "example.com/v1/a", "GET example.com/v1/b", "/v1/b"},
		{"CONNECT /v1/a", "HEAD /v1/b", "OPTIONS /v1/a", "GET /v1/b"},
	} {
		routes := make([]Route, len(patterns))
		for i, p := range patterns {
			routes[i] = Route{Pattern: p, Upstream: "api"}
		}
		r, err := NewRouting(routes, []Upstream{upstream})
		if err != nil {
			t.Fatalf("%q: %v", patterns, err)
		}
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "CONNECT", "get"} {
			for _, host := range []string{"example.com", "example.com:8080", "elsewhere"} {
				for _, path := range []string{"/", "/v1", "/v1/", "/v1/a", "/v1/b", "/v1/a/", "/v1/%61", "/v1/%2561", "/v1//a", "/v1//c", "/v1/./d", "/v1/d", "/v1/../v1/a", "/v1/a/b", "/v1/a%2fb", "/V1/A"} {
					call := httptest.NewRequest("GET", "http://"+host+path, nil)
					call.Method = method
					h, _ := r.mux.Handler(call)
					want, _ := h.(*route)
					got, _ := r.match(call)
					if got != want {
						t.Errorf("%q: %s %s%s is %v, to the mux %v", patterns, method, host, path, pattern(got), pattern(want))
					}
					if r.literal[literal{method, path}] != nil && got != nil {
						found++
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no route was found without the mux")
	}
}

func pattern(h http.Handler) string {
	if r, ok := h.(*route); ok && r != nil {
		return r.Pattern
	}
	return "no route"
}
