package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync"
	"testing"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

const benchBody = `{"docs":[{"id":"a","content":"hello world"}]}`

// discard takes an answer without a network, so that what is measured is the
// proxy alone.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// benchRoutes is the route of the benchmark against a bare proxy.
func benchRoutes() setup {
	return setup{routes: []gateway.Route{route("POST /v1/scan", docsInRequest, tokensAt("/usage/total_tokens", gateway.Zero))}, prices: map[string]ledger.Amount{"documents": cents}}
}

func benchUpstream() http.HandlerFunc {
	return reply(`{"results":[{"id":"a","risk":0.1}],"summary":{"total_docs":1},"usage":{"total_tokens":42}}`)
}

type chunks struct{ sync.Pool }

func (c *chunks) Get() []byte  { return c.Pool.Get().(*[32 << 10]byte)[:] }
func (c *chunks) Put(p []byte) { c.Pool.Put((*[32 << 10]byte)(p)) }

// BenchmarkCall compares the handler of the gateway, metered and strict, with
// the reverse proxy of the standard library: time and allocations of one call,
// those of the connection to the upstream in both. At 64 callers commits are
// shared, as in production.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		w := newWorld(b, benchRoutes(), benchUpstream())
		at := mustURL(w.upstream.URL)
		bare := func(pool httputil.BufferPool) http.Handler {
			return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, Transport: &http.Transport{MaxIdleConnsPerHost: 1024}, BufferPool: pool}
		}
		for _, bench := range []struct {
			name    string
			handler http.Handler
		}{
			{"bare", bare(nil)},
			{"pooled", bare(&chunks{sync.Pool{New: func() any { return new([32 << 10]byte) }}})},
			{"gateway", w.gateway},
		} {
			b.Run(fmt.Sprintf("%s/callers=%d", bench.name, callers), func(b *testing.B) {
				b.ReportAllocs()
				var running sync.WaitGroup
				turns := make(chan struct{}, callers)
				for range callers {
					running.Go(func() {
						for range turns {
							r := httptest.NewRequest("POST", "/v1/scan", nil)
							r.Header.Set("Authorization", "Bearer "+w.secret)
							r.Body, r.ContentLength = io.NopCloser(newText(benchBody)), int64(len(benchBody))
							bench.handler.ServeHTTP(&discard{http.Header{}}, r)
						}
					})
				}
				for b.Loop() {
					turns <- struct{}{}
				}
				close(turns)
				running.Wait()
			})
		}
	}
}

type text struct {
	s string
}

func newText(s string) *text { return &text{s} }

func (t *text) Read(p []byte) (int, error) {
	if t.s == "" {
		return 0, io.EOF
	}
	n := copy(p, t.s)
	t.s = t.s[n:]
	return n, nil
}

// BenchmarkConnections is the same over real connections, with a client that
// costs little: 64 of them, as in the benchmark of the whole program.
func BenchmarkConnections(b *testing.B) {
	w := newWorld(b, benchRoutes(), benchUpstream())
	at := mustURL(w.upstream.URL)
	serve := func(pool httputil.BufferPool) *httptest.Server {
		s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, Transport: &http.Transport{MaxIdleConnsPerHost: 1024}, BufferPool: pool})
		b.Cleanup(s.Close)
		return s
	}
	request := fmt.Sprintf("POST /v1/scan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", w.secret, len(benchBody), benchBody)
	front := httptest.NewServer(w.gateway)
	b.Cleanup(front.Close)
	for _, bench := range []struct {
		name string
		at   string
	}{
		{"bare", serve(nil).Listener.Addr().String()},
		{"pooled", serve(&chunks{sync.Pool{New: func() any { return new([32 << 10]byte) }}}).Listener.Addr().String()},
		{"gateway", front.Listener.Addr().String()},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			const connections = 64
			turns := make(chan struct{}, connections)
			var running sync.WaitGroup
			for range connections {
				conn, err := net.Dial("tcp", bench.at)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				running.Go(func() {
					lines := bufio.NewReader(conn)
					for range turns {
						_, _ = io.WriteString(conn, request)
						res, err := http.ReadResponse(lines, nil)
						if err != nil || res.StatusCode != 200 {
							b.Errorf("%v, %v", res, err)
							return
						}
						_, _ = io.Copy(io.Discard, res.Body)
					}
				})
			}
			for b.Loop() {
				turns <- struct{}{}
			}
			close(turns)
			running.Wait()
		})
	}
}
