package ledger

import (
	"math/bits"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// LastSeq is the sequence number of the last entry that is durable and folded.
func (l *Ledger) LastSeq() uint64 { return l.position.Load().seq }

// CommitTimes is how long the commits since the open took, as a histogram.
type CommitTimes struct {
	Bounds []time.Duration // upper, exclusive; each is at most a quarter above the one before
	Counts []int64         // by bound, each without those below
}

// CommitTimes reads the histogram; it is cheap. What bbolt measures is counted:
// pages put in order, written and synced, without the time that callers wait for
// the commit before theirs.
func (l *Ledger) CommitTimes() CommitTimes {
	t := CommitTimes{Bounds: make([]time.Duration, commitSteps), Counts: make([]int64, commitSteps)}
	for i := range t.Counts {
		t.Bounds[i], t.Counts[i] = commitBound(i), l.commits[i].Load()
	}
	return t
}

// commitSteps reaches to 2^30 microseconds, a quarter of an hour, four steps to
// each power of two; what takes longer is in the last.
const commitSteps = 4 * 29

type commitCounts [commitSteps]atomic.Int64

func (c *commitCounts) add(s bolt.TxStats) {
	took := s.GetRebalanceTime() + s.GetSpillTime() + s.GetWriteTime()
	c[commitStep(took)].Add(1)
}

// commitStep is the step of a duration: the power of two of its microseconds
// and the two bits after the highest.
func commitStep(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 4))
	power := bits.Len64(us) - 1
	return min(4*(power-2)+int(us>>(power-2)&3), commitSteps-1)
}

func commitBound(step int) time.Duration {
	power := step/4 + 2
	return time.Duration(uint64(step%4+5)<<(power-2)) * time.Microsecond
}
