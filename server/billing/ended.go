package billing

import (
	"context"
	"slices"
	"sync"
	"time"

	"tollgate/ledger"
)

// keptRuns is how many runs are remembered.
const keptRuns = 12

// EndedRun is a run of billing that has ended: one that was asked for, or work of
// the schedule that made invoices or failed to.
type EndedRun struct {
	At      time.Time
	Summary Summary
	Error   string // why it ended early
}

// endedRuns is the last runs since the start, newest first.
type endedRuns struct {
	mu   sync.Mutex
	list []EndedRun
}

// Ended lists the last runs since the start, newest first.
func (b *Billing) Ended() []EndedRun {
	b.ended.mu.Lock()
	defer b.ended.mu.Unlock()
	return slices.Clone(b.ended.list)
}

func (e *endedRuns) add(r EndedRun) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) == keptRuns {
		e.list = e.list[:keptRuns-1]
	}
	e.list = slices.Insert(e.list, 0, r)
}

// repeats tells whether a run came to nothing but what the one before came to: the
// schedule tries each minute.
func (e *endedRuns) repeats(r EndedRun) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.list) > 0 && e.list[0].Error == r.Error && slices.Equal(e.list[0].Summary.Errors, r.Summary.Errors)
}

// closeByTime seals what is due by time alone, and remembers what came of it.
func (b *Billing) closeByTime(ctx context.Context) error {
	var last ledger.Month
	sum := Summary{Users: b.users(), Errors: []Failure{}}
	made := 0
	failed, err := b.closeDue(ctx, scope{each: func(i *ledger.Invoice) {
		made++
		last = max(last, i.Month)
		if due := i.Total - i.Carried; due > 0 {
			sum.Charged++
			sum.Revenue += due
		}
	}})
	if made == 0 && len(failed) == 0 { // an error alone is told of by the job
		return err
	}
	if last == 0 {
		last = b.Ledger.PeriodAt(b.Now()).Month - 1
	}
	sum.Month, sum.Errors = last.String(), append(sum.Errors, failed...)
	sum.finish()
	run := EndedRun{At: b.Now().UTC(), Summary: sum}
	if err != nil {
		run.Error = err.Error()
	}
	if made > 0 || !b.ended.repeats(run) {
		b.ended.add(run)
	}
	return err
}

// DoubtSeen is why the clock was in doubt when that was looked at last, as it is
// each minute; "": it was not. Unlike [Billing.ClockDoubt] it waits for nobody.
func (b *Billing) DoubtSeen() string {
	if seen := b.doubtSeen.Load(); seen != nil {
		return *seen
	}
	return ""
}

// noDoubt takes back the doubt of the clock.
func (b *Billing) noDoubt() {
	none := ""
	b.clock.doubt = none
	b.doubtSeen.Store(&none)
}
