package billing

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxDrift is how far our clock may be from the provider's.
	maxDrift = 5 * time.Minute
	// maxGap is how long after the ledger's last entry a start is believed.
	maxGap = 93 * 24 * time.Hour
	// maxJump is how far the clock may run ahead of the time that has passed. Less
	// than that comes with grace, and from machines that slept for a moment.
	maxJump = time.Hour
	// pinFor is how long the provider is not asked again who and when it is.
	pinFor = time.Hour
)

// ErrClock reports a clock that is so far off that nothing may be charged by it.
var ErrClock = errors.New("the clock is not the payment provider's")

// ErrDoubt reports a clock that went where it can hardly be right. Nothing is
// billed until the provider's says the same, or [Billing.AcceptClock] is called:
// a month that was sealed too early cannot be opened again.
var ErrDoubt = errors.New("the clock is in doubt")

// doubted is why the clock is in doubt; "": it is not. A test clock goes where it
// is set.
func (b *Billing) doubted() string {
	if b.TestClock {
		return ""
	}
	now, passed := b.Now(), time.Duration(0)
	if b.Elapsed != nil {
		passed = b.Elapsed()
	}
	switch {
	case b.clock.seen.IsZero():
		if gap := now.Sub(b.opened); !b.opened.IsZero() && gap > maxGap {
			b.clock.doubt = fmt.Sprintf("it is %d days past the last entry of the ledger", gap/(24*time.Hour))
		}
	case b.Elapsed != nil:
		jump := now.Round(0).Sub(b.clock.seen) - (passed - b.clock.passed)
		if jump.Abs() > maxDrift {
			b.pinned = time.Time{} // what was compared says nothing any more
		}
		if jump > maxJump {
			b.clock.doubt = fmt.Sprintf("it jumped %s ahead", jump.Round(time.Second))
		}
	}
	b.clock.seen, b.clock.passed = now.Round(0), passed
	doubt := b.clock.doubt
	b.doubtSeen.Store(&doubt)
	return doubt
}

// trustClock returns an error when months may not be sealed by our clock. What
// the provider says decides, where it can be asked; down is why it cannot be used.
func (b *Billing) trustClock(ctx context.Context) (down, err error) {
	doubt := b.doubted()
	if b.Provider == nil {
		if doubt != "" {
			return nil, fmt.Errorf("%w: %s; if it is right, confirm it with: tollgate clock accept", ErrDoubt, doubt)
		}
		return nil, nil
	}
	down = b.reachable(ctx)
	switch {
	case errors.Is(down, ErrClock):
		return down, down
	case down != nil && doubt != "":
		return down, fmt.Errorf("%w: %s, and the payment provider could not be asked: %w; if it is right, confirm it with: tollgate clock accept", ErrDoubt, doubt, down)
	}
	return down, nil // a provider that is down keeps nobody from being invoiced
}

// reachable returns nil when the provider may be used: it was asked in the last
// hour who we are to it, and what time it has.
func (b *Billing) reachable(ctx context.Context) error {
	if b.clock.doubt == "" && !b.pinned.IsZero() && b.Now().Sub(b.pinned) < pinFor {
		return nil
	}
	return b.Pin(ctx)
}

// AcceptClock confirms that the clock is right although it is in doubt. It does
// not set aside what the provider's clock says.
func (b *Billing) AcceptClock() {
	b.working.Lock()
	defer b.working.Unlock()
	if doubt := b.doubted(); doubt != "" {
		b.Log.Warn("the clock was confirmed", "clock", b.Now(), "doubt", doubt)
	}
	b.noDoubt()
}

// ClockDoubt is why the clock is in doubt, for the operator; "": it is not.
func (b *Billing) ClockDoubt() string {
	b.working.Lock()
	defer b.working.Unlock()
	return b.doubted()
}
