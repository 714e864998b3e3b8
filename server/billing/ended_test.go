package billing_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/billing"
)

// TestRunsThatEnded: those asked for and those of the schedule that made invoices
// are remembered, the newest first; previews and idle minutes are not.
func TestRunsThatEnded(t *testing.T) {
	w := newWorld(t, nil)
	w.user("pro")
	w.work()
	if got := w.Ended(); len(got) != 0 {
		t.Errorf("nothing was due: got %+v", got)
	}
	w.now = time.Date(2025, 2, 1, 2, 0, 0, 0, time.UTC)
	w.work()
	w.now = w.now.Add(time.Minute)
	w.work()
	byTime := billing.EndedRun{At: w.now.Add(-time.Minute), Summary: billing.Summary{Month: "2025-01", Users: 1, Charged: 1, Revenue: 4900, Errors: []billing.Failure{}}}
	if diff := cmp.Diff([]billing.EndedRun{byTime}, w.Ended()); diff != "" {
		t.Error(diff)
	}
	w.now = time.Date(2025, 3, 1, 0, 30, 0, 0, time.UTC) // in the hour of grace
	w.run(billing.RunOptions{DryRun: true})
	w.run(billing.RunOptions{})
	if _, err := w.Run(context.Background(), billing.RunOptions{Month: w.ledger.PeriodAt(w.now).Month}); err == nil {
		t.Error("a month that has not ended was billed")
	}
	asked := billing.EndedRun{At: w.now, Summary: billing.Summary{Month: "2025-02", Users: 1, Charged: 1, Revenue: 4900, Errors: []billing.Failure{}}}
	if diff := cmp.Diff([]billing.EndedRun{asked, byTime}, w.Ended()); diff != "" {
		t.Error(diff)
	}
	for range 20 {
		w.run(billing.RunOptions{})
	}
	if got := w.Ended(); len(got) != 12 || got[0].Summary.Charged != 0 {
		t.Errorf("got %d runs, the newest %+v", len(got), got[0])
	}
}
