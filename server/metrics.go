package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/gateway"
)

// metricsHandler serves what the parts count for Prometheus. It has a registry
// of its own, so that several servers fit into one process; nothing is counted
// for it alone, so that a call costs the same with it and without.
func metricsHandler(version string, src metricSources) http.Handler {
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tollgate_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	registry := prometheus.NewRegistry()
	registry.MustRegister(build, src, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// metricSources is what the other parts count, as a Prometheus collector.
type metricSources struct {
	ledger  *ledger.Ledger
	gate    *admission.Gate
	gateway *gateway.Gateway
	ready   func() bool
	jobs    func() []billing.JobState
}

func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tollgate_"+name, help, labels, nil)
}

// The descriptions are fixed; Describe and Collect agree by using the same ones.
var (
	readyDesc      = description("ready", "1 when calls are served, as /readyz tells.")
	callsDesc      = description("calls_total", "Recorded calls by outcome.", "outcome")
	durationDesc   = description("call_duration_seconds", "Time from the start of a recorded call to the end of its answer.")
	inFlightDesc   = description("calls_in_flight", "Calls that are running.")
	streamingDesc  = description("calls_streaming", "Calls that are running and past the headers of their answer.")
	upgradedDesc   = description("calls_upgraded", "Calls that are running and became a WebSocket or the like.")
	bytesInDesc    = description("request_bytes_total", "Bytes of request bodies.")
	bytesOutDesc   = description("answer_bytes_total", "Bytes of answer bodies.")
	unrecordedDesc = description("calls_unrecorded_total", "Calls broken off because the ledger could not commit.")
	refusalsDesc   = description("refusals_total", "Refused calls by code and route.", "code", "route")
	heldDesc       = description("held_calls", "Calls held at admission and not settled.")
	entriesDesc    = description("ledger_entries", "Sequence number of the newest ledger entry.")
	loggedDesc     = description("ledger_last_entry_timestamp_seconds", "When the newest ledger entry was logged.")
	fileDesc       = description("ledger_file_bytes", "Size of the ledger's file.")
	freeDesc       = description("ledger_disk_free_bytes", "Room left on the disk of the ledger's file.")
	failedDesc     = description("ledger_failed", "1 when a commit failed and the process is about to end.")
	usersDesc      = description("users", "Users in the ledger.")
	jobRunsDesc    = description("job_runs_total", "Runs of scheduled work that have ended.", "job")
	jobFailedDesc  = description("job_failed", "1 when the last run of scheduled work failed; it is tried again.", "job")
	jobEndedDesc   = description("job_last_end_timestamp_seconds", "When the last run of scheduled work ended.", "job")
)

// Describe implements [prometheus.Collector].
func (s metricSources) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		readyDesc, callsDesc, durationDesc, inFlightDesc, streamingDesc, upgradedDesc, bytesInDesc, bytesOutDesc, unrecordedDesc, refusalsDesc, heldDesc,
		entriesDesc, loggedDesc, fileDesc, freeDesc, failedDesc, usersDesc, jobRunsDesc, jobFailedDesc, jobEndedDesc,
	} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (s metricSources) Collect(values chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		values <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	live := s.gateway.Snapshot()
	gauge(readyDesc, number(s.ready()))
	for outcome, n := range live.Outcomes {
		counter(callsDesc, n, outcome.String())
	}
	values <- histogram(durationDesc, live.Latency)
	gauge(inFlightDesc, float64(live.InFlight))
	gauge(streamingDesc, float64(live.Streaming))
	gauge(upgradedDesc, float64(live.Upgraded))
	counter(bytesInDesc, live.BytesIn)
	counter(bytesOutDesc, live.BytesOut)
	counter(unrecordedDesc, live.Unrecorded)
	for _, r := range s.gate.Refusals() {
		counter(refusalsDesc, r.Count, r.Code, r.Route)
	}
	gauge(heldDesc, float64(s.gate.Held().Calls))
	for _, j := range s.jobs() {
		counter(jobRunsDesc, int64(j.Runs), j.Name)
		gauge(jobFailedDesc, number(j.Error != ""), j.Name)
		if !j.Ended.IsZero() {
			gauge(jobEndedDesc, float64(j.Ended.Unix()), j.Name)
		}
	}
	select {
	case <-s.ledger.Failed():
		gauge(failedDesc, 1)
	default:
		gauge(failedDesc, 0)
	}
	status, err := s.ledger.Status()
	if err != nil {
		return // the rest is not known now
	}
	gauge(entriesDesc, float64(status.Seq))
	gauge(loggedDesc, float64(status.LastLogged.Unix()))
	gauge(fileDesc, float64(status.FileBytes))
	gauge(freeDesc, float64(status.FreeBytes))
	gauge(usersDesc, float64(status.Users))
}

func histogram(d *prometheus.Desc, l gateway.Latency) prometheus.Metric {
	buckets := make(map[float64]uint64, len(l.Bounds))
	var below uint64 // Prometheus wants each bucket with those below it
	for i, bound := range l.Bounds {
		below += uint64(l.Counts[i])
		buckets[bound.Seconds()] = below
	}
	all := below + uint64(l.Counts[len(l.Bounds)])
	return prometheus.MustNewConstHistogram(d, all, l.Sum.Seconds(), buckets)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
