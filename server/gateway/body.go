package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// upload passes the request's body on as it comes, and bounds it in bytes and in
// time.
type upload struct {
	io.ReadCloser
	w        http.ResponseWriter // of the connection that the body comes from
	length   int64               // -1: not known
	left     int64               // of the largest body
	trailer  http.Header
	patience time.Duration // of the gateway
	duplex   bool          // answers are passed on while the body comes

	// Shared: the transport reads in a goroutine of its own.
	n      atomic.Int64
	failed atomic.Bool // the client broke off
	over   atomic.Bool // the body is too large
	late   atomic.Bool // the client sent nothing for too long

	// mu orders the deadlines of the connection: none is set by a transport that
	// reads on when the call, and perhaps the next one, has the connection.
	mu     sync.Mutex
	closed bool
	timed  bool  // a deadline was set
	free   bool  // there is no limit any more
	ended  bool  // the body has wholly come
	fresh  int64 // bytes that came since the deadline was set
	enough int64 // so many of them renew it; 0: each read does
}

// steady is how much of a body that is read before admission must come in the
// gateway's patience, so that a trickle keeps no call.
const steady = 4 << 10

// Close ends reading. It leaves the client's body open: closing that would read
// it to its end first, which may never come.
func (u *upload) Close() error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	return nil
}

// await lets the next piece be read, within the gateway's patience, or tells why
// there is none. Deadlines of connections are by the clock of the system;
// net/http takes them off when the body has come. One that cannot be set leaves
// the client as patient as the server is.
func (u *upload) await() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.ended:
		// The transport looks for more than was announced, and by then net/http
		// may have closed the body to write the answer. Its error would have the
		// transport break that answer off.
		return io.EOF
	case u.closed:
		return http.ErrBodyReadAfterClose
	}
	if !u.free && (!u.timed || u.fresh >= u.enough) {
		u.timed, u.fresh = true, 0
		_ = http.NewResponseController(u.w).SetReadDeadline(time.Now().Add(u.patience))
	}
	return nil
}

func (u *upload) came(n int, end bool) {
	u.mu.Lock()
	u.fresh += int64(n)
	u.ended = u.ended || end
	u.mu.Unlock()
}

// unlimit lets the client send at any pace once the upstream has begun to answer,
// which knows what it waits for. Over HTTP/1 net/http passes no answer on while
// the body is read, so that the limit must stay.
func (u *upload) unlimit() {
	if !u.duplex {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.free = true
	if u.timed && !u.ended {
		_ = http.NewResponseController(u.w).SetReadDeadline(time.Time{})
	}
}

// finish bounds what net/http reads of a body that has not wholly come, before
// it takes the next call or closes the connection.
func (u *upload) finish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.length != 0 && !u.ended && !u.late.Load() {
		_ = http.NewResponseController(u.w).SetReadDeadline(time.Now().Add(u.patience))
	}
}

var errBodyTooLarge = errors.New("the request's body is too large")

func (u *upload) Read(p []byte) (int, error) {
	if err := u.await(); err != nil {
		return 0, err
	}
	n, err := u.ReadCloser.Read(p)
	u.came(n, u.n.Add(int64(n)) == u.length || err == io.EOF)
	if u.left -= int64(n); u.left < 0 {
		u.over.Store(true)
		return 0, errBodyTooLarge
	}
	switch {
	case err == io.EOF:
		dropPrivate(u.trailer) // it is there now, and is sent next
	case err != nil:
		u.late.Store(errors.Is(err, os.ErrDeadlineExceeded))
		u.failed.Store(true)
	}
	return n, err
}

// answerBody is the body of an answer on its way to the client. It measures
// what passes, and holds the end back until the call's record is durable: with a
// length given that is the last piece, otherwise only the end itself.
type answerBody struct {
	io.ReadCloser // of the upstream
	call          *call
	length        int64 // -1: not known
	atEnd         bool  // the upstream's answer ended; the end is still held back
}

// errUnrecorded breaks an answer off because its record could not be committed.
var errUnrecorded = errors.New("the call could not be recorded")

func (b *answerBody) Read(p []byte) (int, error) {
	c := b.call
	if b.atEnd {
		return 0, b.complete(io.EOF)
	}
	n, err := b.ReadCloser.Read(p)
	// What the last piece tells is recorded at once: it needs no hold.
	if n > 0 && c.answer.feed(p[:n]) && c.answer.bytes != b.length && !c.grow() && !c.recorded {
		return 0, b.exhausted()
	}
	switch {
	case c.recorded:
	case b.length >= 0 && c.answer.bytes == b.length:
		if failed := b.complete(nil); failed != nil {
			return 0, failed
		}
	case err == io.EOF && n > 0:
		b.atEnd = true
		return n, nil
	case err == io.EOF:
		return 0, b.complete(io.EOF)
	case err != nil:
		b.broken()
	}
	return n, err
}

// errExhausted breaks an answer off because the credits of a prepaid plan are
// burnt.
var errExhausted = errors.New("the credits are used up")

// exhausted ends a call in the middle of its answer. What was used without
// credits for it is in its record.
func (b *answerBody) exhausted() error {
	c := b.call
	c.cancel()
	_ = c.record(leftOff, ledger.OK, c.status) // the connection breaks either way
	return errExhausted
}

// complete records a call whose answer has wholly come. It returns end, or why
// the client must not get the end.
func (b *answerBody) complete(end error) error {
	c := b.call
	outcome := ledger.OK
	if c.left() {
		outcome = ledger.ClientLeft
	}
	if err := c.record(whollyRead, outcome, c.status); err != nil {
		c.w.replace(unrecorded())
		return errUnrecorded
	}
	return end
}

// broken records a call whose answer broke off. The client's connection breaks
// next, whether or not that can be recorded.
func (b *answerBody) broken() {
	c := b.call
	if c.cut.Load() {
		_ = c.record(leftOff, ledger.ClientLeft, c.status)
		return
	}
	_ = c.record(brokenOff, ledger.UpstreamAborted, c.status)
}

// Close ends the answer. Where it has not ended by itself, the client has left:
// the rest is read for what it tells of the call's usage.
func (b *answerBody) Close() error {
	if !b.call.recorded {
		b.drain()
	}
	return b.ReadCloser.Close()
}

func (b *answerBody) drain() {
	c := b.call
	c.abandoned.Store(true) // the server may not have noticed that the client left
	chunk := c.g.buffers.Get()
	defer c.g.buffers.Put(chunk)
	how := leftOff
	for most := c.answer.bytes + c.route.DrainBytes; c.answer.bytes < most || b.atEnd; {
		var n int
		err := io.EOF
		if !b.atEnd {
			n, err = b.ReadCloser.Read(chunk)
		}
		if c.answer.feed(chunk[:n]) {
			c.grow()
		}
		if err == io.EOF || b.length >= 0 && c.answer.bytes == b.length {
			how = whollyRead
			break
		}
		if err != nil {
			if !c.cut.Load() {
				how = brokenOff
			}
			break
		}
	}
	_ = c.record(how, ledger.ClientLeft, c.status) // there is nobody to tell
}

// unrecorded is the refusal of a call whose record could not be committed.
func unrecorded() *admission.Refusal {
	r := admission.NewRefusal(admission.LedgerUnavailable, "The call could not be recorded, so its answer is not given. Try again shortly.")
	r.RetryAfter = 5 * time.Second
	return r
}

// bodyless tells whether an answer ends with its headers.
func bodyless(method string, res *http.Response) bool {
	return method == http.MethodHead || res.ContentLength == 0 || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified || res.StatusCode == http.StatusSwitchingProtocols
}
