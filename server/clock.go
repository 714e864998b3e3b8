package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClock reports a clock that cannot be moved as asked.
var ErrClock = errors.New("the clock cannot be moved")

// Clock is the time that tollgate goes by: the system's, or a test clock that
// stands still until it is moved. It never goes back, over restarts too. Its
// methods may be called from any goroutine.
type Clock struct {
	// last is the newest time given out, in Unix nanoseconds.
	last atomic.Int64
	test bool

	// mu serialises the moves of a test clock, and the slow path of a system
	// clock that was set back.
	mu     sync.Mutex
	system func() time.Time
	save   func(time.Time) error
	// due is the next instant at which time makes work due, and work does it; nil:
	// there is none.
	due  func(time.Time) time.Time
	work func(context.Context)
	// mark is the system's time, with its monotonic reading, when marked was
	// given out; only while the system's clock is behind.
	mark   time.Time
	marked int64
}

// NewSystemClock follows system, but never goes below last, the newest time in
// the ledger. While the system's clock is behind, as after it was set back, time
// passes at half its speed until that has caught up: limits by the minute go on
// working and no period opens again.
func NewSystemClock(system func() time.Time, last time.Time) *Clock {
	c := &Clock{system: system}
	if !last.IsZero() {
		c.last.Store(last.UnixNano())
	}
	return c
}

// NewTestClock stands at start until it is moved. save makes a move durable
// before anybody sees it, so that a restart resumes there.
func NewTestClock(start time.Time, save func(time.Time) error) *Clock {
	c := &Clock{test: true, save: save}
	c.last.Store(start.UnixNano())
	return c
}

// Drive has work done whenever a test clock passes an instant that due names, and
// when it has come to where it was to go. It is called before the clock moves.
func (c *Clock) Drive(due func(time.Time) time.Time, work func(context.Context)) {
	c.due, c.work = due, work
}

// Test tells whether it is a test clock.
func (c *Clock) Test() bool { return c.test }

// Now is the time, in UTC.
func (c *Clock) Now() time.Time {
	if c.test {
		return time.Unix(0, c.last.Load()).UTC()
	}
	now := c.system()
	for {
		last := c.last.Load()
		if now.UnixNano() < last {
			return c.catchUp(now)
		}
		if c.last.CompareAndSwap(last, now.UnixNano()) {
			return now.UTC()
		}
	}
}

// catchUp is the time while the system's clock is behind what was given out.
func (c *Clock) catchUp(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.last.Load()
	if c.marked != last { // behind only now: others were given the system's time since
		c.mark, c.marked = now, last
	}
	// The two readings carry the monotonic clock, which is not set back.
	if passed := int64(now.Sub(c.mark)) / 2; passed > 0 {
		c.mark, c.marked = now, last+passed
		if !c.last.CompareAndSwap(last, c.marked) { // the system has caught up meanwhile
			c.marked = 0
		}
	}
	return time.Unix(0, c.last.Load()).UTC()
}

// Set moves a test clock to t, which must not lie before its time.
func (c *Clock) Set(ctx context.Context, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.move(ctx, t)
}

// Advance moves a test clock forward.
func (c *Clock) Advance(ctx context.Context, by time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.move(ctx, c.Now().Add(by))
}

func (c *Clock) move(ctx context.Context, to time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !c.test {
		return fmt.Errorf("%w: it is the system's; only a ledger made with [clock] mode = \"test\" has one that moves", ErrClock)
	}
	now := c.Now()
	if to.Before(now) {
		return fmt.Errorf("%w back to %s: it stands at %s and only goes forward", ErrClock, to.UTC().Format(time.RFC3339), now.Format(time.RFC3339))
	}
	worked := now
	if c.due != nil {
		// A time in between is kept by what is logged at it, and by nothing where
		// nothing is: to keep each would be thousands of commits for a year.
		for next := c.due(now); !next.After(to); next = c.due(next) {
			if err := ctx.Err(); err != nil {
				return errors.Join(fmt.Errorf("the clock stopped at %s: %w", worked.Format(time.RFC3339), err), c.keep(worked))
			}
			c.last.Store(next.UnixNano())
			c.work(ctx)
			worked = next
		}
	}
	if err := c.keep(to); err != nil {
		return err
	}
	c.last.Store(to.UnixNano())
	if c.due != nil && to.After(worked) {
		c.work(ctx) // what is due by the minute, such as an attempt to collect
	}
	return nil
}

func (c *Clock) keep(t time.Time) error {
	if err := c.save(t.UTC()); err != nil {
		return fmt.Errorf("keeping the time of the test clock: %w", err)
	}
	return nil
}
