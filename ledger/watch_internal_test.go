package ledger

import (
	"testing"
	"time"
)

func TestCommitStepsFollowEachOther(t *testing.T) {
	for us := time.Duration(0); us < 1<<22; us = us*9/8 + 1 {
		d := us * time.Microsecond
		step := commitStep(d)
		if d >= commitBound(step) {
			t.Errorf("%v is in step %d, which ends at %v", d, step, commitBound(step))
		}
		if step > 0 && d < commitBound(step-1) {
			t.Errorf("%v is in step %d, and the one below ends at %v", d, step, commitBound(step-1))
		}
	}
	if step := commitStep(time.Hour); step != commitSteps-1 {
		t.Errorf("an hour is in step %d of %d", step, commitSteps)
	}
}
