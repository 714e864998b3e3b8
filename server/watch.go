package server

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/gateway"
)

const (
	// sampleEvery is how often the counters are read, whether or not anybody
	// watches, and samplesKept how many are kept: ten minutes.
	sampleEvery = 5 * time.Second
	samplesKept = 120
)

// sampler reads the counters of the running parts now and then, so that the
// screens can tell of the last minute when they are opened. Nothing is counted
// for it alone.
type sampler struct {
	read func() counters

	mu   sync.Mutex
	ring []counters // oldest first
}

// counters is what was counted since the start. What it points to is not changed.
type counters struct {
	at       time.Time // with its monotonic reading
	live     gateway.Snapshot
	commits  ledger.CommitTimes
	refusals map[string]int64 // by code
	seq      uint64
}

func (s *Server) readCounters() counters {
	c := counters{at: time.Now(), live: s.gateway.Snapshot(), commits: s.ledger.CommitTimes(), refusals: map[string]int64{}, seq: s.ledger.LastSeq()}
	for _, r := range s.gate.Refusals() {
		c.refusals[r.Code] += r.Count
	}
	return c
}

// keep takes samples until ctx ends.
func (s *sampler) keep(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.add(s.read())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *sampler) add(c counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) > samplesKept {
		s.ring = slices.Delete(s.ring, 0, 1)
	}
	s.ring = append(s.ring, c)
}

// gauges compares the counters as they are with those kept.
func (s *sampler) gauges() api.Gauges {
	now := s.read()
	s.mu.Lock()
	ring := s.ring
	if len(ring) == 0 {
		ring = []counters{now}
	}
	calls := make([]int64, 0, samplesKept)
	for i := 1; i < len(ring); i++ {
		calls = append(calls, ring[i].live.Calls-ring[i-1].live.Calls)
	}
	second, minute, oldest := before(ring, now, time.Second), before(ring, now, time.Minute), ring[0]
	s.mu.Unlock()
	g := api.Gauges{
		Traffic: api.Traffic{
			CallsPerSecond: rate(now.live.Calls-second.live.Calls, now.at.Sub(second.at), time.Second),
			InFlight:       now.live.InFlight, Streaming: now.live.Streaming, Upgraded: now.live.Upgraded,
			Samples: calls, SampleMS: sampleEvery.Milliseconds(),
		},
		Calls: now.live.Calls - minute.live.Calls, Unrecorded: now.live.Unrecorded - minute.live.Unrecorded, UnrecordedInAll: now.live.Unrecorded,
	}
	latency := difference(now.live.Latency.Counts, minute.live.Latency.Counts)
	at := func(percent int64) float64 {
		return float64(percentile(now.live.Latency.Bounds, latency, percent)) / float64(time.Millisecond)
	}
	g.Traffic.P50MS, g.Traffic.P95MS, g.Traffic.P99MS = at(50), at(95), at(99)
	commits := difference(now.commits.Counts, minute.commits.Counts)
	g.CommitP50, g.CommitP99 = percentile(now.commits.Bounds, commits, 50), percentile(now.commits.Bounds, commits, 99)
	outcomes := map[string]int64{}
	earlier := map[string]int64{}
	for o, n := range now.live.Outcomes {
		if o != ledger.OK {
			outcomes[o.String()], earlier[o.String()] = n, minute.live.Outcomes[o]
		}
	}
	g.Traffic.Outcomes = reasons(outcomes, earlier)
	g.Traffic.Refusals = reasons(now.refusals, minute.refusals)
	if passed := now.at.Sub(oldest.at); passed >= time.Minute {
		g.EntriesPerHour = rate(int64(now.seq-oldest.seq), passed, time.Hour)
	}
	return g
}

// before is the newest of the kept counters that are at least so old, or else the
// oldest.
func before(ring []counters, now counters, age time.Duration) counters {
	for _, c := range slices.Backward(ring) {
		if now.at.Sub(c.at) >= age {
			return c
		}
	}
	return ring[0]
}

// rate is n in passed, rounded, as so many in each unit.
func rate(n int64, passed, unit time.Duration) int64 {
	if passed <= 0 {
		return 0
	}
	return int64(float64(n)*float64(unit)/float64(passed) + 0.5)
}

func difference(now, then []int64) []int64 {
	d := slices.Clone(now)
	for i := range then {
		d[i] -= then[i]
	}
	return d
}

// percentile is the upper bound of the step of a histogram that the percentile is
// in; of the step above all bounds, the last one. It is 0 of nothing.
func percentile(bounds []time.Duration, counts []int64, percent int64) time.Duration {
	all := int64(0)
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return 0
	}
	below := int64(0)
	for i, n := range counts {
		if below += n; below*100 >= all*percent {
			return bounds[min(i, len(bounds)-1)]
		}
	}
	return bounds[len(bounds)-1]
}

// reasons lists what was counted, the most in the last minute first.
func reasons(now, minute map[string]int64) []api.ReasonCount {
	list := []api.ReasonCount{}
	for reason, n := range now {
		if n > 0 {
			list = append(list, api.ReasonCount{Reason: reason, Minute: n - minute[reason], Total: n})
		}
	}
	slices.SortFunc(list, func(a, b api.ReasonCount) int {
		return cmp.Or(cmp.Compare(b.Minute, a.Minute), cmp.Compare(b.Total, a.Total), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// watch is what the screens of the operator need of the running parts.
func (s *Server) watch() api.Watch {
	w := api.Watch{Gauges: s.gauges, Jobs: s.scheduledRuns, Snapshot: s.lastSnapshot, MinFree: int64(s.config.Load().Ledger.MinFree)}
	if s.billing != nil {
		w.Billed, w.Doubt = s.billedRuns, s.billing.DoubtSeen
	}
	return w
}

func (s *Server) gauges() api.Gauges {
	g := s.sampler.gauges()
	if status, err := s.ledger.Status(); err == nil && status.Seq > 1000 {
		g.BytesEntriesReach = status.FileBytes / int64(status.Seq)
	}
	return g
}

// scheduledRuns is the jobs as the screens show them.
func (s *Server) scheduledRuns() []api.ScheduledRun {
	var runs []api.ScheduledRun
	for _, j := range s.jobs() {
		run := api.ScheduledRun{Name: j.Name, Error: j.Error, Running: j.Began.After(j.Ended)}
		if !j.Next.IsZero() {
			next := j.Next.UTC()
			run.Next = &next
		}
		if !j.Ended.IsZero() {
			ended := j.Ended.UTC()
			run.Last = &ended
		}
		runs = append(runs, run)
	}
	return runs
}

// billedRuns is the runs of billing that ended, in the API's own types.
func (s *Server) billedRuns() []api.BillRunDone {
	var runs []api.BillRunDone
	for _, r := range s.billing.Ended() {
		runs = append(runs, api.BillRunDone{At: r.At, Summary: billSummary(r.Summary), Error: r.Error})
	}
	return runs
}

// snapshotsLate is how old the last snapshot may get: one is made each night.
const snapshotsLate = 48 * time.Hour

// lastSnapshot is when the newest snapshot in the folder was written. On a test
// clock none is made.
func (s *Server) lastSnapshot() (last time.Time, missing bool) {
	folder := s.config.Load().Ledger.SnapshotDir
	if folder == "" || s.clock.Test() {
		return last, false
	}
	list, err := os.ReadDir(folder) // sorted by name, which is by date
	if err != nil {
		list = nil // none was made yet, or the folder is gone: both are told
	}
	for _, f := range slices.Backward(list) {
		if !strings.HasPrefix(f.Name(), snapshotPrefix) || !strings.HasSuffix(f.Name(), snapshotSuffix) {
			continue
		}
		if info, err := os.Stat(filepath.Join(folder, f.Name())); err == nil {
			last = info.ModTime()
			break
		}
	}
	since := last
	if last.IsZero() {
		if status, err := s.ledger.Status(); err == nil {
			since = status.Created
		}
	}
	return last, s.options.Now().Sub(since) > snapshotsLate
}
