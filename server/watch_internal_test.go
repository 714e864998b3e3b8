package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/gateway"
)

// TestGauges feeds the sampler a quarter of an hour of counters.
func TestGauges(t *testing.T) {
	begin := time.Now()
	bounds := []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond}
	at := func(seconds int64) counters {
		slow := max(0, seconds-890) // in the last ten seconds one of five calls is slow
		return counters{
			at: begin.Add(time.Duration(seconds) * time.Second),
			live: gateway.Snapshot{
				Calls: 100 * seconds, InFlight: 3, Outcomes: map[ledger.Outcome]int64{ledger.OK: 90 * seconds, ledger.TimedOut: 10 * seconds, ledger.ClientLeft: 7},
				Latency: gateway.Latency{Bounds: bounds, Counts: []int64{100*seconds - 20*slow, 0, 10 * slow, 10 * slow}}, Unrecorded: 2,
			},
			commits:  ledger.CommitTimes{Bounds: bounds, Counts: []int64{seconds, 9 * seconds, 0}},
			refusals: map[string]int64{"rate_limited": seconds, "invalid_key": 5},
			seq:      uint64(50 * seconds),
		}
	}
	s := &sampler{}
	s.read = func() counters { return at(0) }
	if g := s.gauges(); g.Traffic.CallsPerSecond != 0 || g.Traffic.P99MS != 0 || g.CommitP50 != 0 || g.EntriesPerHour != 0 || len(g.Traffic.Samples) != 0 {
		t.Errorf("before any sample: got %+v", g)
	}
	for second := int64(0); second <= 895; second += 5 {
		s.add(at(second))
	}
	s.read = func() counters { return at(899) }
	got := s.gauges()
	samples := make([]int64, 120)
	for i := range samples {
		samples[i] = 500
	}
	want := api.Gauges{
		Traffic: api.Traffic{
			CallsPerSecond: 100, InFlight: 3, Samples: samples, SampleMS: 5000, P50MS: 1, P95MS: 1, P99MS: 100,
			Outcomes: []api.ReasonCount{{Reason: "upstream_timeout", Minute: 640, Total: 8990}, {Reason: "client_left", Total: 7}},
			Refusals: []api.ReasonCount{{Reason: "rate_limited", Minute: 64, Total: 899}, {Reason: "invalid_key", Total: 5}},
		},
		Calls: 6400, CommitP50: 10 * time.Millisecond, CommitP99: 10 * time.Millisecond, UnrecordedInAll: 2, EntriesPerHour: 180_000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(s.ring) != samplesKept+1 {
		t.Errorf("%d samples are kept", len(s.ring))
	}
}
