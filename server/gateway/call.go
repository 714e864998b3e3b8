package gateway

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// call is one call on its way. It belongs to the goroutine that serves it, but
// for what is marked as shared. It is also the context of the request to the
// upstream, which ends with the call and not with the client, so that an answer
// can be drained after the client has left.
type call struct {
	context.Context // its cancellation
	cancel          context.CancelFunc
	client          context.Context // of the client's request; its values
	early           *earlyAnswers   // nil for an upgrade

	g      *Gateway
	route  *route
	caller *admission.Caller
	hold   *admission.Hold
	start  time.Duration
	method string
	w      writer

	spool  spool
	reader *requestReader // measures it; nil: nothing is measured
	upload upload         // the body as it comes
	repeat repeat
	asked  ledger.Quantities
	held   ledger.Quantities // asked, or what it was extended to

	id        ledger.RequestID
	counter   uint32
	proxied   bool // the peer is a trusted proxy
	preflight bool // forwarded without being metered
	status    int  // of the upstream's answer; 0: there is none
	streaming bool
	answer    answerReader
	tail      answerBody
	recorded  bool // or was tried to be
	usage     ledger.Usage
	values    [12]string // of headers, so that each needs no allocation

	// Shared with whoever goes through the calls.
	abandoned atomic.Bool // a write to the client failed
	cut       atomic.Bool // the upstream was given up after the client had left

	// Guarded by calls.mu.
	next, before *call
	upgraded     bool
	leaving      bool          // the client was seen to have left,
	leftAt       time.Duration // then
}

type callKey struct{}

// Value finds the call itself, and the values of the client's request.
func (c *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.client.Value(key)
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// prepare makes what the call's parts need of the client's request.
func (c *call) prepare(w http.ResponseWriter, r *http.Request) {
	parent := context.Background()
	if r.Header["Upgrade"] == nil {
		c.early = c.g.early.Get().(*earlyAnswers)
		parent = c.early.traced
	}
	c.Context, c.cancel = context.WithCancel(parent)
	duplex := r.ProtoMajor > 1
	c.w.ResponseWriter, c.w.patience, c.w.http2 = w, c.g.Patience, duplex
	c.upload.ReadCloser, c.upload.length, c.upload.left, c.upload.trailer = r.Body, r.ContentLength, c.g.MaxBody, r.Trailer
	c.upload.w, c.upload.patience, c.upload.duplex = w, c.g.Patience, duplex
	if s, ok := c.client.Value(http.ServerContextKey).(*http.Server); ok {
		c.upload.timed = s.ReadTimeout > 0 && s.ReadTimeout <= c.g.Patience
	}
}

// giveUp ends the call's request to the upstream when its client left longer ago
// than the route drains.
func (c *call) giveUp(now time.Duration) {
	switch {
	case !c.left() && !c.abandoned.Load():
	case !c.leaving:
		c.leaving, c.leftAt = true, now
	case now-c.leftAt >= c.route.DrainTime:
		c.cut.Store(true)
		c.cancel()
	}
}

// left tells whether the client has gone.
func (c *call) left() bool { return c.client.Err() != nil }

// end gives back whatever the call still has. Every way out of it leads here.
func (c *call) end() {
	c.cancel()
	c.upload.finish()
	if c.hold != nil {
		c.hold.Release()
	}
	if c.upgraded {
		c.g.stats.upgraded.Add(-1)
	}
	if c.streaming {
		c.g.stats.streaming.Add(-1)
	}
	c.repeat.end(&c.g.repeats)
	if c.reader != nil {
		c.reader.close()
	}
	c.g.stats.bytesIn.Add(c.upload.n.Load())
	c.g.stats.bytesOut.Add(c.answer.bytes)
	c.answer.close()
	c.spool.release()
	c.g.calls.leave(c)
}

// statusLeft is what is recorded as the status of a call whose client left before
// there was an answer.
const statusLeft = 499

// record measures what the call used, prices it, and hands the record to the
// ledger. It returns when the record is durable, or at once where durability is
// relaxed. It is called once in the life of a call.
func (c *call) record(how ending, outcome ledger.Outcome, status int) error {
	c.recorded = true
	h := c.hold
	u := &c.usage
	*u = ledger.Usage{
		Time: h.Time, Counter: c.counter, Route: h.RouteVersion.ID, Method: c.method, Status: status, Outcome: outcome,
		Duration: c.g.Elapsed() - c.start, Remember: c.repeat.Remembered,
	}
	if c.caller != nil {
		u.User, u.Key, u.Plan = c.caller.Account.ID(), c.caller.Key.ID, h.PlanVersion.ID
	}
	if c.status != 0 {
		c.price(u, how)
	}
	if !c.g.Relaxed {
		h.HandOver()
		err := c.g.Ledger.AppendOne(c.g.Now(), u, h).Wait(context.Background())
		c.counted(err)
		return err
	}
	h.HandOver()
	pending := c.g.Ledger.AppendOne(c.g.Now(), u, h)
	repeat := c.repeat
	c.repeat.held = false // the key stays taken until the record can be found
	c.g.calls.keep()
	go func() {
		defer c.g.calls.release()
		c.counted(pending.Wait(context.Background()))
		repeat.end(&c.g.repeats)
	}()
	return nil
}

// counted takes note of a commit. A hold whose record was not written ends here.
func (c *call) counted(err error) {
	if err == nil {
		c.g.stats.recorded(c.usage.Outcome, c.usage.Duration)
		return
	}
	c.hold.Abandon()
	c.g.stats.unrecorded.Add(1)
	c.g.Log.Error("a call could not be recorded", "request", c.id.String(), "error", err)
}

// price fills in what was used and what that costs.
func (c *call) price(u *ledger.Usage, how ending) {
	status := c.status
	// An upgrade is a success, whatever its number.
	bills := c.route.Bills(status) || status == http.StatusSwitchingProtocols && c.route.Bills(http.StatusOK)
	expected := status >= 200 && status < 300 || status == http.StatusNotModified || status == http.StatusSwitchingProtocols
	used := c.answer.used(c.asked, how, expected)
	cost, burnt, err := c.costs(used.Quantities)
	if err != nil {
		// What no amount of money or credits can hold was never used.
		used.Quantities, used.quarantined = c.route.measure.quantities(), true
		cost, burnt, _ = c.costs(used.Quantities)
	}
	if u.Outcome == ledger.OK && status >= 400 {
		u.Outcome = ledger.UpstreamError
	}
	if used.quarantined && u.Outcome == ledger.OK {
		u.Outcome = ledger.Quarantined
	}
	if !bills || c.repeat.free || how == brokenOff && !used.observed {
		// An unbilled record has no quantities: so the sums of records and totals agree.
		return
	}
	u.Billed, u.Quantities, u.Cost, u.Burnt, u.Estimated = true, used.Quantities, cost, burnt, used.estimated
}

// costs is what quantities cost at the price list, and the credits they burn.
func (c *call) costs(q ledger.Quantities) (cost, burnt ledger.Amount, err error) {
	if cost, err = c.hold.RouteTerms.Cost(q); err == nil && c.caller != nil {
		burnt, err = c.hold.PlanTerms.Burn(q, cost)
	}
	return cost, burnt, err
}

// grow extends the hold to what the answer has shown. It is false where the
// credits of a prepaid plan do not cover that.
func (c *call) grow() bool {
	seen := c.answer.seen(c.asked)
	if !exceeds(seen, c.held) {
		return true
	}
	c.held = seen
	return c.hold.Extend(seen)
}

func exceeds(a, b ledger.Quantities) bool {
	if a.Documents > b.Documents || a.Tokens > b.Tokens {
		return true
	}
	for i := range a.Named { // both are of the same route
		if a.Named[i].N > b.Named[i].N {
			return true
		}
	}
	return false
}
