package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http/httputil"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// Options is what a Gateway stands on.
type Options struct {
	Ledger  *ledger.Ledger
	Gate    *admission.Gate
	Routing *Routing
	// Now is the clock that calls are admitted by.
	Now func() time.Time
	// Elapsed is monotonic time from any fixed instant; durations are measured by it.
	Elapsed func() time.Duration
	Log     *slog.Logger // nil: nothing is logged
	// Relaxed answers calls before their records are durable.
	Relaxed bool
	// StateDir takes request bodies that are too large for memory.
	StateDir string
	// MaxBody is the largest request body in bytes; 0: 32 MiB.
	MaxBody int64
	// SpoolMemory is how many bytes of request bodies are kept in memory at most,
	// over all calls; 0: 64 MiB.
	SpoolMemory int64
	// DecodeLimit is how many bytes of a compressed answer are decoded at most, to
	// measure it; 0: 256 MiB.
	DecodeLimit int64
	// Patience is how long a client may take to accept a piece of an answer, or to
	// send one of its request, before it counts as having left; 0: DefaultPatience.
	Patience time.Duration
	// TrustedProxies are the networks whose X-Forwarded-For counts.
	TrustedProxies []netip.Prefix
}

const (
	// DefaultPatience is that of a gateway that is given none. A server with it as
	// its ReadTimeout saves each call a deadline.
	DefaultPatience    = time.Minute
	defaultMaxBody     = 32 << 20
	defaultDecodeLimit = 256 << 20
	// inflation is how many times the largest body a compressed one may decode to.
	inflation = 8
	// settleTime is what running calls get, once they were cut, to be recorded.
	settleTime = 5 * time.Second
)

// Gateway is the handler of all calls. Make one with [New].
type Gateway struct {
	Options
	routing atomic.Pointer[Routing]
	spooler *spooler
	buffers *buffers
	repeats running
	calls   *calls
	early   sync.Pool // of *earlyAnswers
	stats   stats
	counter atomic.Uint32 // of request ids
}

// New makes a gateway.
func New(o Options) (*Gateway, error) {
	if o.Ledger == nil || o.Gate == nil || o.Routing == nil || o.Now == nil || o.Elapsed == nil {
		return nil, errors.New("gateway: Ledger, Gate, Routing, Now and Elapsed must be given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.SpoolMemory == 0 {
		o.SpoolMemory = spoolMemory
	}
	if o.DecodeLimit == 0 {
		o.DecodeLimit = defaultDecodeLimit
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if info, err := os.Stat(o.StateDir); err != nil {
		return nil, fmt.Errorf("folder for request bodies: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("folder for request bodies: %s is not a folder", o.StateDir)
	}
	status, err := o.Ledger.Status()
	if err != nil {
		return nil, err
	}
	g := &Gateway{Options: o, buffers: newBuffers(), calls: newCalls(o.Elapsed)}
	g.early.New = newEarlyAnswers
	g.spooler = newSpooler(o.StateDir, o.SpoolMemory, g.buffers)
	g.stats.bounds = latencyBounds()
	// A restart within the millisecond, or on a clock that stands still, must not
	// give the ids of calls that are recorded again.
	g.counter.Store(uint32(status.Seq))
	g.Reload(o.Routing)
	return g, nil
}

// Reload serves by another routing from the next call on; running calls keep
// theirs. The routing belongs to the gateway from here on.
func (g *Gateway) Reload(r *Routing) {
	old := g.routing.Load()
	for name, u := range r.upstreams {
		if old != nil && u.same(old.upstreams[name]) {
			u.transport = old.upstreams[name].transport // with its connections
		}
		u.proxy = &httputil.ReverseProxy{
			Rewrite:        g.rewrite,
			Transport:      u.transport,
			BufferPool:     g.buffers,
			ModifyResponse: g.answered,
			ErrorHandler:   g.unanswered,
			ErrorLog:       log.New(io.Discard, "", 0), // calls are in the ledger with how they ended
		}
	}
	g.routing.Store(r)
	if old == nil {
		return
	}
	for name, u := range old.upstreams {
		if now := r.upstreams[name]; now == nil || now.transport != u.transport {
			u.transport.CloseIdleConnections()
		}
	}
}

// Drain refuses new calls, closes upgraded connections and waits until all calls
// have ended and are recorded. When ctx ends first, what still runs is cut off
// from its upstream and recorded as it stands; the error is then ctx's.
func (g *Gateway) Drain(ctx context.Context) error {
	g.calls.drain()
	g.calls.each((*call).closeUpgraded)
	select {
	case <-g.calls.idle:
		for _, u := range g.routing.Load().upstreams {
			u.transport.CloseIdleConnections()
		}
		return nil
	case <-ctx.Done():
	}
	g.calls.each(func(c *call) { c.cancel() })
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	select {
	case <-g.calls.idle:
	case <-settled.C:
	}
	return fmt.Errorf("calls were cut off: %w", ctx.Err())
}
