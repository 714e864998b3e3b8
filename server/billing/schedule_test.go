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

// TestSchedule passes three 1sts: a monthly job runs on the 1st at its time, a
// frequent one at once and never twice at once however long it takes, one that
// fails goes on, and stopping ends what runs.
func TestSchedule(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var monthly []time.Time
		var often, running, overlaps, failing atomic.Int64
		jobs := []billing.Job{
			{Name: "monthly", Cron: "90 1 1 * *", Limit: time.Hour, Do: func(context.Context) error { return nil }},
		}
		if _, err := billing.Start(zone, slog.New(slog.DiscardHandler), time.Now, jobs); err == nil {
			t.Error("a time that there is not is taken")
		}
		jobs = []billing.Job{
			{Name: "monthly", Cron: "30 1 1 * *", Limit: time.Hour, Do: func(context.Context) error {
				monthly = append(monthly, time.Now().In(zone))
				return nil
			}},
			{Name: "often", Every: 10 * time.Minute, Limit: time.Hour, Do: func(ctx context.Context) error {
				if running.Add(1) > 1 {
					overlaps.Add(1)
				}
				defer running.Add(-1)
				if often.Add(1)%100 == 0 { // one run takes longer than the time to the next
					<-time.After(25 * time.Minute)
				}
				return ctx.Err()
			}},
			{Name: "failing", Every: time.Hour, Limit: time.Minute, Do: func(ctx context.Context) error {
				if failing.Add(1) == 1 { // runs into its limit
					<-ctx.Done()
					return ctx.Err()
				}
				return errors.New("not today")
			}},
		}
		s, err := billing.Start(zone, slog.New(slog.DiscardHandler), time.Now, jobs)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if often.Load() != 1 {
			t.Errorf("the frequent job ran %d times at the start", often.Load())
		}
		<-time.After(62 * 24 * time.Hour) // from 2000-01-01
		if len(monthly) != 3 || monthly[0].Format("2006-01-02 15:04") != "2000-01-01 01:30" || monthly[1].Format("2006-01-02 15:04") != "2000-02-01 01:30" {
			t.Errorf("the monthly job ran at %v", monthly)
		}
		if n := often.Load(); n < 62*24*6-300 || overlaps.Load() != 0 {
			t.Errorf("the frequent job ran %d times, %d at once with another", n, overlaps.Load())
		}
		states := s.States()
		if states[2].Error != "not today" || states[2].Runs < 62*24-2 || states[0].Next.IsZero() || states[0].Runs != 3 {
			t.Errorf("the jobs stand at %+v", states)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}
