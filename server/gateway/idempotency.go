package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"sync"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

const (
	idempotencyHeader = "Idempotency-Key"
	// remembered is how long a key is known after the call.
	remembered = 24 * time.Hour

	idempotencyInFlight = "idempotency_in_flight"
	idempotencyMismatch = "idempotency_mismatch"
)

// freeRepeat is the bit of Remembered.Request that marks the record of a repeat
// that was free, so that the next one is not. The other 63 bits are of the hash.
const freeRepeat = 1

// running is the idempotency keys of calls that have not ended. It dies with
// the process, as those calls do.
type running struct {
	mu  sync.Mutex
	ids map[[16]byte]struct{}
}

func (r *running) begin(id [16]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.ids[id]; there {
		return false
	}
	if r.ids == nil {
		r.ids = make(map[[16]byte]struct{})
	}
	r.ids[id] = struct{}{}
	return true
}

func (r *running) end(id [16]byte) {
	r.mu.Lock()
	delete(r.ids, id)
	r.mu.Unlock()
}

// repeat is what a call has of an idempotency key.
type repeat struct {
	ledger.Remembered
	held bool      // in running
	body hash.Hash // of the request; nil without a key
	free bool      // it repeats a call whose answer was cut off
}

// repeatID names a key of a user.
func repeatID(user ledger.UserID, key string) (id [16]byte) {
	text := make([]byte, 0, 64)
	text = binary.BigEndian.AppendUint32(text, uint32(user))
	sum := sha256.Sum256(append(text, key...))
	return [16]byte(sum[:])
}

// begin takes the key of a call; the refusal says that a call with it is running,
// or that there are several keys.
func (p *repeat) begin(r *running, user ledger.UserID, call *http.Request) *admission.Refusal {
	keys := call.Header[idempotencyHeader]
	if len(keys) > 1 {
		return &admission.Refusal{
			Status: http.StatusBadRequest, Code: badRequest, Title: "Request cannot be read", NoRetry: true,
			Detail: "The request has more than one Idempotency-Key. Send one.",
		}
	}
	if len(keys) == 0 || keys[0] == "" || user == 0 {
		return nil
	}
	key := keys[0]
	p.ID = repeatID(user, key)
	if !r.begin(p.ID) {
		return &admission.Refusal{
			Status: http.StatusConflict, Code: idempotencyInFlight, Title: "Call still running", RetryAfter: time.Second,
			Detail: "A call with this Idempotency-Key is still running. Wait until it has ended.",
		}
	}
	p.held = true
	p.body = sha256.New()
	fmt.Fprintf(p.body, "%s %s\n", call.Method, call.URL.RequestURI())
	return nil
}

// compare looks the key up once the request's body is in the hash.
func (p *repeat) compare(l *ledger.Ledger, now time.Time) (*admission.Refusal, error) {
	copy(p.Request[:], p.body.Sum(nil))
	p.Request[7] &^= freeRepeat
	before, err := l.Recall(now.Add(-remembered), p.ID)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up an idempotency key: %w", err)
	}
	first := before.Remember.Request
	wasFree := first[7]&freeRepeat != 0
	first[7] &^= freeRepeat
	if first != p.Request {
		return &admission.Refusal{
			Status: http.StatusUnprocessableEntity, Code: idempotencyMismatch, Title: "Idempotency-Key used for another call", NoRetry: true,
			Detail: "This Idempotency-Key was used for another method, path, query or body within the last 24 hours. Use a new key for another call.",
		}, nil
	}
	cutOff := before.Outcome == ledger.ClientLeft || before.Outcome == ledger.UpstreamAborted
	if p.free = cutOff && !wasFree; p.free {
		p.Request[7] |= freeRepeat
	}
	return nil, nil
}

func (p *repeat) end(r *running) {
	if p.held {
		p.held = false
		r.end(p.ID)
	}
}
