package billing_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/server/billing"
)

// TestScheduleRunsOneAtATime: a job that takes longer than its turn is not begun
// again before it has ended, and one that waits for an answer that never comes is
// ended when the schedule stops, or when its time is up.
func TestScheduleRunsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, runs, hung, late atomic.Int32
		s, err := billing.Start(time.UTC, slog.New(slog.DiscardHandler), time.Now, []billing.Job{
			{Name: "slow", Every: time.Minute, Limit: time.Hour, Do: func(ctx context.Context) error {
				most.Store(max(most.Load(), running.Add(1)))
				select {
				case <-time.After(150 * time.Second):
				case <-ctx.Done():
				}
				running.Add(-1)
				runs.Add(1)
				return nil
			}},
			{Name: "hangs", Every: time.Minute, Limit: 10 * time.Minute, Do: func(ctx context.Context) error {
				<-ctx.Done()
				if ctx.Err() == context.Canceled {
					time.Sleep(10 * time.Second) // it has to put things in order
				}
				if hung.Add(1); errors.Is(ctx.Err(), context.DeadlineExceeded) {
					late.Add(1)
				}
				return ctx.Err()
			}},
			{Name: "by the calendar", Cron: "30 3 1 * *", Limit: time.Hour, Do: func(context.Context) error { return nil }},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Minute)
		if most.Load() != 1 || runs.Load() < 5 || late.Load() != 2 {
			t.Errorf("%d at once, %d runs, %d ended by their limit", most.Load(), runs.Load(), late.Load())
		}
		for _, state := range s.States() {
			if state.Name == "by the calendar" && (state.Runs != 0 || state.Next.Day() != 1 || state.Next.Hour() != 3) {
				t.Errorf("%+v", state)
			}
			if state.Name == "hangs" && state.Error == "" {
				t.Errorf("%+v", state)
			}
		}
		stopped := time.Now()
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(stopped); took > time.Minute || hung.Load() != late.Load()+1 {
			t.Errorf("to stop took %v, %d of the hanging have ended", took, hung.Load())
		}
		synctest.Wait()
	})
}
