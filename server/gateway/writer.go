package gateway

import (
	"net/http"
	"sync"
	"time"

	"tollgate/server/admission"
)

// writer holds the headers of an answer back until its first byte, so that a
// commit that fails before it can still be answered with 503.
type writer struct {
	http.ResponseWriter
	// patience is how long the client may take to accept a piece of the answer.
	// One that takes nothing would otherwise keep its call, and what it holds,
	// for ever. A small first piece goes into the server's buffer and needs no
	// limit: so most calls do not pay for one.
	patience time.Duration
	http2    bool // a deadline is of the stream, not of the connection
	begun    bool // a piece was written
	limited  bool // a deadline was set

	// mu guards what follows: the proxy flushes streams from another goroutine.
	mu       sync.Mutex
	status   int
	sent     bool
	replaced bool // the answer was replaced by a refusal
}

// Unwrap is for [http.ResponseController], which hijacks upgrades.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader passes informational headers on and holds the others back.
func (w *writer) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.mu.Lock()
	w.status = status
	w.mu.Unlock()
}

func (w *writer) Write(p []byte) (int, error) {
	w.begin()
	if w.limited || w.begun || len(p) > buffered {
		w.limit()
	}
	w.begun = true
	n, err := w.ResponseWriter.Write(p)
	w.rest()
	return n, err
}

// buffered is how many bytes net/http keeps of an answer before it sends any.
const buffered = 2048

// limit gives the client its time for the next piece. Deadlines of connections
// are by the clock of the system. One that cannot be set leaves the client as
// patient as the server is.
func (w *writer) limit() {
	w.limited = true
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience))
}

// rest takes the deadline off a stream of HTTP/2, which it would end also while
// there is nothing to write. That of a connection waits for the next piece.
func (w *writer) rest() {
	if w.limited && w.http2 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// FlushError flushes, as [http.ResponseController] asks for it.
func (w *writer) FlushError() error {
	w.begin()
	if !w.limited || w.http2 { // else Write has just set it
		w.limit()
	}
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.rest()
	return err
}

// begin sends the headers, if there are any that were not sent.
func (w *writer) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sent && w.status != 0 {
		w.sent = true
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// end sends the headers of an answer without a body. What the server still has
// of another goes out after it, in the client's time; net/http then takes the
// deadline off the connection.
func (w *writer) end() {
	w.begin()
	if w.limited {
		w.limit()
	}
}

// replace answers with a refusal instead, where nothing was sent.
func (w *writer) replace(r *admission.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent {
		return
	}
	w.sent, w.replaced = true, true
	clear(w.Header())
	admission.WriteProblem(w.ResponseWriter, r)
}
