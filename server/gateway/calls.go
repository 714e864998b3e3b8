package gateway

import (
	"sync"
	"time"
)

// sweepTime is how often the running calls are looked at for clients that have
// left: a watch of its own for each call would cost it more.
const sweepTime = 100 * time.Millisecond

// calls is the calls that are being served, and a count of those that have not
// ended or are not yet recorded.
type calls struct {
	elapsed func() time.Duration

	mu       sync.Mutex
	first    *call // a list through call.next and call.before
	unended  int
	draining bool          // no call begins any more
	idle     chan struct{} // closed when unended falls to 0 while draining
	sweeping bool          // the next sweep is on its way
	sweeper  *time.Timer
}

func newCalls(elapsed func() time.Duration) *calls {
	return &calls{elapsed: elapsed, idle: make(chan struct{})}
}

// enter begins a call, unless the gateway is draining.
func (l *calls) enter(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return false
	}
	l.unended++
	c.next = l.first
	if l.first != nil {
		l.first.before = c
	}
	l.first = c
	if !l.sweeping {
		l.sweeping = true
		l.wakeSweeper()
	}
	return true
}

// leave ends a call.
func (l *calls) leave(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.before == nil {
		l.first = c.next
	} else {
		c.before.next = c.next
	}
	if c.next != nil {
		c.next.before = c.before
	}
	l.end()
}

// keep counts work that outlives its call, until release.
func (l *calls) keep() {
	l.mu.Lock()
	l.unended++
	l.mu.Unlock()
}

func (l *calls) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

func (l *calls) end() {
	if l.unended--; l.unended == 0 && l.draining {
		close(l.idle)
	}
}

// drain lets no call begin any more. idle is closed when all have ended.
func (l *calls) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.draining && l.unended == 0 {
		close(l.idle)
	}
	l.draining = true
}

// upgrade notes that a call's connection was upgraded. It ends with the gateway.
func (l *calls) upgrade(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.upgraded = true
	if l.draining {
		c.cancel()
	}
}

// each calls f, which must not wait, with every call that is being served.
func (l *calls) each(f func(*call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := l.first; c != nil; c = c.next {
		f(c)
	}
}

func (l *calls) wakeSweeper() {
	if l.sweeper == nil {
		l.sweeper = time.AfterFunc(sweepTime, l.sweep)
	} else {
		l.sweeper.Reset(sweepTime)
	}
}

// sweep gives up the upstreams of calls whose client left longer ago than their
// route drains. While no call is served nothing is swept.
func (l *calls) sweep() {
	now := l.elapsed()
	l.each(func(c *call) { c.giveUp(now) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sweeping = l.first != nil; l.sweeping {
		l.wakeSweeper()
	}
}
