package gateway

import (
	"net/http"
	"sync"

	"tollgate/server/admission"
)

// writer holds the headers of an answer back until its first byte, so that a
// commit that fails before it can still be answered with 503.
type writer struct {
	http.ResponseWriter

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
	return w.ResponseWriter.Write(p)
}

// FlushError flushes, as [http.ResponseController] asks for it.
func (w *writer) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
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
