package server_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tollgate/server"
)

var noon = time.Date(2025, 1, 15, 12, 0, 0, 0, time.UTC)

func TestTestClockStandsStillUntilMoved(t *testing.T) {
	var saved time.Time
	c := server.NewTestClock(noon, func(t time.Time) error { saved = t; return nil })
	if got := c.Now(); !got.Equal(noon) || got.Location() != time.UTC {
		t.Errorf("got %v, want %v", got, noon)
	}
	if err := c.Advance(t.Context(), 90*time.Minute); err != nil {
		t.Fatal(err)
	}
	if want := noon.Add(90 * time.Minute); !c.Now().Equal(want) || !saved.Equal(want) {
		t.Errorf("got %v, saved %v, want %v", c.Now(), saved, want)
	}
	if err := c.Set(t.Context(), noon); !errors.Is(err, server.ErrClock) {
		t.Errorf("set back: got %v, want ErrClock", err)
	}
	if err := c.Advance(t.Context(), -time.Second); !errors.Is(err, server.ErrClock) {
		t.Errorf("advanced backwards: got %v, want ErrClock", err)
	}
}

func TestTestClockStaysWhereItCouldNotBeSaved(t *testing.T) {
	full := errors.New("disk full")
	c := server.NewTestClock(noon, func(time.Time) error { return full })
	if err := c.Advance(t.Context(), time.Hour); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if !c.Now().Equal(noon) {
		t.Errorf("moved to %v", c.Now())
	}
}

// TestTestClockDrives: work is done in order as time passes, at the instants that
// are due and at the end; a clock that is stopped on the way stays where it is,
// also for the next start.
func TestTestClockDrives(t *testing.T) {
	var saved time.Time
	var worked []string
	ctx, stop := context.WithCancel(t.Context())
	c := server.NewTestClock(noon, func(t time.Time) error { saved = t; return nil })
	c.Drive(func(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }, func(context.Context) {
		worked = append(worked, c.Now().Format("15:04"))
		if c.Now().Hour() == 16 {
			stop()
		}
	})
	if err := c.Advance(ctx, 150*time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := c.Advance(ctx, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	if want := []string{"13:00", "14:00", "14:30", "15:00"}; !slices.Equal(worked, want) || saved.Hour() != 15 {
		t.Errorf("worked at %v, want %v; saved %v", worked, want, saved)
	}
	if err := c.Advance(ctx, 48*time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped on the way: %v", err)
	}
	if !c.Now().Equal(noon.Add(4*time.Hour)) || !saved.Equal(c.Now()) {
		t.Errorf("it stands at %v, saved %v", c.Now(), saved)
	}
}

func TestSystemClockCannotBeMoved(t *testing.T) {
	c := server.NewSystemClock(time.Now, time.Time{})
	if err := c.Set(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, server.ErrClock) {
		t.Errorf("got %v, want ErrClock", err)
	}
}

// handClock is a system clock in the hand of a test. Its readings have no
// monotonic part, so that time passes only as the test sets it.
type handClock struct{ now time.Time }

func (h *handClock) read() time.Time { return h.now }

func TestSystemClockNeverGoesBack(t *testing.T) {
	hand := &handClock{now: noon}
	c := server.NewSystemClock(hand.read, time.Time{})
	if !c.Now().Equal(noon) {
		t.Fatalf("got %v, want %v", c.Now(), noon)
	}
	hand.now = noon.Add(-time.Hour)
	if !c.Now().Equal(noon) {
		t.Errorf("set back an hour: got %v, want it to stay at %v", c.Now(), noon)
	}
	hand.now = hand.now.Add(time.Minute)
	if want := noon.Add(30 * time.Second); !c.Now().Equal(want) {
		t.Errorf("a minute on: got %v, want half of it: %v", c.Now(), want)
	}
	hand.now = noon.Add(2 * time.Hour)
	if !c.Now().Equal(hand.now) {
		t.Errorf("caught up: got %v, want %v", c.Now(), hand.now)
	}
	hand.now = noon
	if want := noon.Add(2 * time.Hour); !c.Now().Equal(want) {
		t.Errorf("set back again: got %v, want %v", c.Now(), want)
	}
}

func TestSystemClockStartsAtTheLedgersTime(t *testing.T) {
	hand := &handClock{now: noon}
	last := noon.Add(time.Minute)
	c := server.NewSystemClock(hand.read, last)
	if !c.Now().Equal(last) {
		t.Errorf("got %v, want %v", c.Now(), last)
	}
}

func TestSystemClockIsOrderedForEveryReader(t *testing.T) {
	start := time.Now()
	c := server.NewSystemClock(func() time.Time { return start.Add(time.Since(start)) }, start.Add(time.Millisecond))
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			var last time.Time
			for range 2000 {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("%v came after %v", now, last)
					return
				}
				last = now
			}
		})
	}
	readers.Wait()
}
