package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

// second serves the gateway over HTTP/2 as well.
func (w *world) second() *http.Client {
	s := httptest.NewUnstartedServer(w.front.Config.Handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	w.front.URL = s.URL
	w.t.Cleanup(s.Close)
	return s.Client()
}

func TestHTTP2Clients(t *testing.T) {
	finish := make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest, tokensAt("/t", gateway.Zero))}}, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/small":
			_, _ = io.WriteString(rw, `{"t":1}`)
		case "/trailers":
			rw.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(rw, `{"t":2}`)
			rw.Header().Set("X-Sum", "7")
		case "/breaks":
			_, _ = io.WriteString(rw, `{"t":3,`)
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		case "/slow":
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, "data: {\"t\":4}\n\n")
			_ = http.NewResponseController(rw).Flush()
			<-finish
			_, _ = io.WriteString(rw, "data: {\"t\":5}\n\n")
		}
	})
	client := w.second()
	get := func(ctx context.Context, path string) (*http.Response, error) {
		return client.Do(w.request("POST", path, strings.NewReader(`{"docs":[1]}`)).WithContext(ctx))
	}
	newest := func() *ledger.Usage {
		list := w.records()
		return list[len(list)-1]
	}

	for _, path := range []string{"/small", "/trailers"} {
		res, err := get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.ProtoMajor != 2 {
			t.Errorf("HTTP/%d, %v", res.ProtoMajor, err)
		}
		equal(t, "request id", res.Header.Get("Tollgate-Request"), newest().RequestID().String())
		if path == "/trailers" {
			equal(t, "trailer", res.Trailer.Get("X-Sum"), "7")
		}
		<-w.ended
	}

	res, err := get(t.Context(), "/breaks")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("the answer has an end")
	}
	w.wait()
	equal(t, "outcome", newest().Outcome, ledger.UpstreamAborted)
	equal(t, "tokens", newest().Tokens, int64(3))

	ctx, leave := context.WithCancel(t.Context())
	if res, err = get(ctx, "/slow"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	leave()
	res.Body.Close()
	w.gone()
	close(finish)
	w.wait()
	equal(t, "outcome", newest().Outcome, ledger.ClientLeft)
	equal(t, "tokens", newest().Tokens, int64(5))
}
