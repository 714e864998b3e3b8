package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"sync"
)

// forward sends a call to its upstream and the answer to its client. It does
// what httputil.ReverseProxy does, which serves upgrades, without a copy of the
// request and its headers: a fifth more calls for the same work.
//
// It panics with [http.ErrAbortHandler] where an answer breaks off, so that the
// client's connection does too.
func (c *call) forward(r *http.Request) {
	c.early.begin(&c.w)
	out := r.WithContext(c)
	out.Close = false
	out.Body = nil // also where it is empty: then the transport may try again
	if r.ContentLength != 0 && c.spool.from == nil {
		out.Body = &c.upload
		defer c.upload.Close() // the transport may go on reading when the answer is there
	}
	takesTrailers := hasToken(r.Header["Te"], "trailers")
	dropHopHeaders(out.Header)
	if takesTrailers {
		out.Header["Te"] = trailersOnly
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = noAgent
	}
	c.g.rewrite(&httputil.ProxyRequest{In: r, Out: out})

	res, err := c.route.upstream.transport.RoundTrip(out)
	c.early.end()
	if err != nil {
		c.g.unanswered(&c.w, out, err)
		return
	}
	c.g.early.Put(c.early) // after an error the transport might still use it
	dropHopHeaders(res.Header)
	if err := c.g.answered(res); err != nil {
		res.Body.Close() // the call is over; nothing of it is wanted
		c.g.unanswered(&c.w, out, err)
		return
	}
	c.pass(res)
}

// What every request has in common. Header values are never changed in place.
var (
	trailersOnly = []string{"trailers"}
	noAgent      = []string{""} // keeps the transport from adding its own
)

// pass sends the answer on: headers, body piece by piece, trailers.
func (c *call) pass(res *http.Response) {
	h := c.w.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	announced := len(res.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			names = append(names, name)
		}
		h.Add("Trailer", strings.Join(names, ", "))
	}
	c.w.WriteHeader(res.StatusCode)
	err := c.copyBody(res)
	res.Body.Close() // it may drain: the call is recorded in there at the latest
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(res.Trailer) == 0 {
		return
	}
	// Trailers need a chunked answer, also of a short body.
	_ = c.w.FlushError() // a client that has left is noticed elsewhere
	for name, values := range res.Trailer {
		if len(res.Trailer) != announced {
			name = http.TrailerPrefix + name
		}
		for _, v := range values {
			h.Add(name, v)
		}
	}
}

// copyBody copies the answer's body. Streams, and answers whose length is not
// known, are flushed with their headers and with each piece.
func (c *call) copyBody(res *http.Response) error {
	flush := res.ContentLength == -1 || isEventStream(res.Header)
	if flush {
		if err := c.w.FlushError(); err != nil {
			return err
		}
	}
	chunk := c.g.buffers.Get()
	defer c.g.buffers.Put(chunk)
	for {
		n, err := res.Body.Read(chunk)
		if n > 0 {
			if _, err := c.w.Write(chunk[:n]); err != nil {
				return err
			}
			if flush {
				if err := c.w.FlushError(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// earlyAnswers passes on informational answers (1xx), which come from another
// goroutine, until the answer itself is there. A gateway uses them again, with
// the context that has the transport call them.
type earlyAnswers struct {
	traced context.Context

	mu sync.Mutex
	w  *writer // nil: nobody waits for them
}

func newEarlyAnswers() any {
	e := new(earlyAnswers)
	e.traced = httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: e.pass})
	return e
}

func (e *earlyAnswers) begin(w *writer) {
	e.mu.Lock()
	e.w = w
	e.mu.Unlock()
}

func (e *earlyAnswers) end() { e.begin(nil) }

func (e *earlyAnswers) pass(status int, header textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return nil
	}
	h := e.w.Header()
	for name, values := range header {
		h[name] = values
	}
	e.w.WriteHeader(status)
	clear(h)
	return nil
}

// hopHeaders are about one connection and are not passed on (RFC 9110, section
// 7.6.1), beside those that Connection names.
var hopHeaders = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func dropHopHeaders(h http.Header) {
	for _, field := range h["Connection"] {
		for name := range strings.SplitSeq(field, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopHeaders {
		delete(h, name)
	}
}

// hasToken tells whether a list of header values has a token.
func hasToken(fields []string, token string) bool {
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			part, _, _ = strings.Cut(part, ";")
			if strings.EqualFold(textproto.TrimString(part), token) {
				return true
			}
		}
	}
	return false
}
