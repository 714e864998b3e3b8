package stripetest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// errReset is what a caller sees when the connection breaks.
var errReset = errors.New("connection reset by peer")

// Transport calls the server without a network, whatever the host in the URL. Cut
// connections, truncated answers and the end of a request's context are seen as
// over a real one.
func (s *Server) Transport() http.RoundTripper { return Transport(s) }

// Client is an HTTP client on [Server.Transport] that follows no redirects.
func (s *Server) Client() *http.Client {
	return &http.Client{
		Transport:     s.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport calls any handler without a network; see [Server.Transport].
func Transport(h http.Handler) http.RoundTripper { return direct{h} }

type direct struct{ handler http.Handler }

// recorder keeps an answer.
type recorder struct {
	header  http.Header
	status  int
	body    bytes.Buffer
	flushed bool
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func (w *recorder) Flush() { w.flushed = true }

// RoundTrip implements [http.RoundTripper].
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	w := &recorder{header: http.Header{}}
	aborted := serve(d.handler, w, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if aborted && !w.flushed {
		return nil, errReset
	}
	w.WriteHeader(http.StatusOK)
	answer := &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Request: r, ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body),
	}
	if aborted {
		answer.ContentLength = -1
		answer.Body = io.NopCloser(io.MultiReader(&w.body, broken{}))
	}
	return answer, nil
}

// serve runs the handler, and tells whether it broke the connection off.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// broken is the end of a body that ended early.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
