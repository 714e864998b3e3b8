package gateway

import (
	"sync/atomic"
	"time"

	"tollgate/ledger"
)

// Snapshot counts what passed through the gateway since the start.
type Snapshot struct {
	Calls      int64                    // recorded, or broken off because they could not be
	InFlight   int64                    // being served, refusals and preflights not counted
	Streaming  int64                    // of those: past the answer's headers
	Upgraded   int64                    // of those: WebSockets and the like
	BytesIn    int64                    // bodies of requests
	BytesOut   int64                    // bodies of answers, as the upstreams sent them
	Unrecorded int64                    // calls whose record could not be committed
	Outcomes   map[ledger.Outcome]int64 // recorded calls
	Latency    Latency
}

// Latency is a histogram of the durations of recorded calls.
type Latency struct {
	Bounds []time.Duration // upper, inclusive
	Counts []int64         // by bound, each without those below; one more for what is above all
	Sum    time.Duration
}

// latencyBounds are those of the histogram.
func latencyBounds() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{ms / 2, ms, 2 * ms, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, 1000 * ms, 2500 * ms, 5000 * ms, 10_000 * ms, 30_000 * ms, 60_000 * ms}
}

const (
	latencySteps = 17 // one more than there are bounds
	outcomeCount = int(ledger.Quarantined) + 1
)

// stats is the live counters.
type stats struct {
	bounds     []time.Duration
	inFlight   atomic.Int64
	streaming  atomic.Int64
	upgraded   atomic.Int64
	bytesIn    atomic.Int64
	bytesOut   atomic.Int64
	unrecorded atomic.Int64
	outcomes   [outcomeCount]atomic.Int64
	latency    [latencySteps]atomic.Int64
	sum        atomic.Int64
}

func (s *stats) recorded(outcome ledger.Outcome, d time.Duration) {
	s.outcomes[outcome].Add(1)
	i := 0
	for i < len(s.bounds) && d > s.bounds[i] {
		i++
	}
	s.latency[i].Add(1)
	s.sum.Add(int64(d))
}

// Snapshot reads the live counters, one after the other.
func (g *Gateway) Snapshot() Snapshot {
	s := &g.stats
	snap := Snapshot{
		InFlight: s.inFlight.Load(), Streaming: s.streaming.Load(), Upgraded: s.upgraded.Load(),
		BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Unrecorded: s.unrecorded.Load(),
		Outcomes: make(map[ledger.Outcome]int64, outcomeCount),
		Latency:  Latency{Bounds: s.bounds, Counts: make([]int64, latencySteps), Sum: time.Duration(s.sum.Load())},
	}
	snap.Calls = snap.Unrecorded
	for i := range s.outcomes {
		n := s.outcomes[i].Load()
		snap.Outcomes[ledger.Outcome(i)] = n
		snap.Calls += n
	}
	for i := range s.latency {
		snap.Latency.Counts[i] = s.latency[i].Load()
	}
	return snap
}
