package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
)

// Watch is what package server tells the screens of what the running parts
// count. A function that is nil tells nothing.
type Watch struct {
	Gauges func() Gauges
	// Jobs is the work of the schedule, in any order.
	Jobs func() []ScheduledRun
	// Billed is the runs of billing that ended since the start, newest first.
	Billed func() []BillRunDone
	// Doubt is why the clock is in doubt, as far as that is known without waiting
	// for anybody; "": it is not.
	Doubt func() string
	// Snapshot is when the last snapshot of the ledger was made, zero where there is
	// none, and whether one should have been made since.
	Snapshot func() (last time.Time, missing bool)
	MinFree  int64         // bytes on the disk below which nothing commits
	Every    time.Duration // how often a view may be sent; 0: each second
}

// Gauges is what is measured without the ledger's entries.
type Gauges struct {
	Traffic           Traffic
	Calls             int64 // recorded in the last minute
	CommitP50         time.Duration
	CommitP99         time.Duration // of the commits of the last minute; 0: there were none
	Unrecorded        int64         // calls that the ledger could not commit, in the last minute
	UnrecordedInAll   int64         // since the start
	EntriesPerHour    int64         // as the ledger grows now; 0: not known yet
	BytesEntriesReach int64         // bytes of the file that an entry comes to
}

const (
	watchEvery = time.Second
	// signOfLife is after how many times something is sent although nothing changed.
	signOfLife = 15
	// stuckAfter is how long a client may take to accept a view.
	stuckAfter = 30 * time.Second
	// rest is for how many times as long as it took a figure of the whole ledger is
	// not made again: it costs at most half a percent of a core.
	rest = 200
)

// watching is what the screens that are open share.
type watching struct {
	verified atomic.Pointer[verified]
	// turn counts what the operator changed: figures from before are not kept.
	turn atomic.Uint64

	mu       sync.Mutex
	watchers int    // of what is rated or ordered
	leave    func() // ends rating and waits for it

	rating rating
	days   usedDays // of everyone
	bill   memo[BillStatus]
	drafts memo[InvoicesPage]
	lists  memos[[]ledger.InvoiceID]
	ranks  memos[ranking]
	texts  texts
}

// verified is the last proof of the ledger.
type verified struct {
	at    time.Time
	found int
}

func (s *service) watchEndpoints() []endpoint {
	user := []param{{name: "sort"}, {name: "up"}, {name: "filter"}, {name: "offset"}, limitParam}
	record := []param{{name: "user"}, {name: "route"}, {name: "status"}, {name: "outcome"}, limitParam}
	return []endpoint{
		{method: "GET", path: "/v1/watch/overview", handle: s.watchOverview},
		{method: "GET", path: "/v1/watch/users", params: user, handle: s.watchUsers},
		{method: "GET", path: "/v1/watch/users/{user}", handle: s.watchUser},
		{method: "GET", path: "/v1/watch/records", params: record, handle: s.watchRecords},
		{method: "GET", path: "/v1/watch/billing", params: []param{{name: "state"}}, handle: s.watchBilling},
	}
}

// stream answers with lines of what look sees: at once, and then as often as it
// has changed, but at most once a second. It ends when the client leaves, when
// look fails, and when the server stops. same tells whether nothing is new.
//
// The server's limit on a whole request would end a stream after it, for net/http
// takes a read that times out for a client that left: it is lifted here.
func stream[T any](s *service, r *request, same func(before, now *T) bool, look func(context.Context, time.Time) (T, error)) error {
	ctx := r.Context()
	if s.Draining() {
		return s.ready()
	}
	connection := http.NewResponseController(r.w)
	_ = connection.SetReadDeadline(time.Time{}) // a recorder of a test has none
	view, err := look(ctx, s.Now())
	if err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", typeNDJSON)
	r.w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return nil
	}
	type line struct {
		View    *T       `json:"view,omitempty"`
		Problem *Problem `json:"problem,omitempty"`
	}
	encoder := json.NewEncoder(r.w)
	encoder.SetEscapeHTML(false)
	defer func() { _ = connection.SetWriteDeadline(time.Time{}) }()
	send := func(l line) bool {
		_ = connection.SetWriteDeadline(time.Now().Add(stuckAfter))
		return encoder.Encode(l) == nil && connection.Flush() == nil
	}
	end := func(err error) {
		document := problem(err).Problem()
		send(line{Problem: &document})
	}
	every := s.watchEvery()
	tick := time.NewTicker(every)
	defer tick.Stop()
	if !send(line{View: &view}) {
		return nil
	}
	for sent := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.Draining() {
			end(s.ready())
			return nil
		}
		next, err := look(ctx, s.Now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if problem(err).Code == "internal_error" {
				s.Log.Error("request failed", "path", r.URL.Path, "error", err)
			}
			end(err)
			return nil
		}
		out := line{View: &next}
		if same(&view, &next) {
			if time.Since(sent) < signOfLife*every {
				continue
			}
			out.View = nil
		}
		if view, sent = next, time.Now(); !send(out) {
			return nil
		}
	}
}

// undated compares two views of which date has taken the times that pass by
// themselves.
func undated[T any](date func(*T)) func(before, now *T) bool {
	return func(before, now *T) bool {
		a, b := *before, *now
		date(&a)
		date(&b)
		return reflect.DeepEqual(a, b)
	}
}

// enter begins rating with the first watcher of what is rated; what it returns ends
// it with the last. Nothing is computed while nobody watches.
func (s *service) enter() (leave func()) {
	w := s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchers++; w.watchers == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.keepRating(ctx)
		}()
		w.leave = func() {
			cancel()
			<-done
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.watchers--; w.watchers == 0 {
			w.leave()
			w.texts.forget()
			w.ranks.forget()
		}
	}
}

// memo is a figure that is made of the whole ledger, kept for all who watch. The
// longer it took, the older it may get: a core has better things to do.
type memo[T any] struct {
	mu    sync.Mutex
	value T
	made  time.Time // zero: never
	took  time.Duration
	turn  uint64
	seq   uint64
}

// get is the figure, made anew where it may have changed and is old enough. Only
// one makes it; the others wait for it. An error is kept by nobody.
func (m *memo[T]) get(s *service, most time.Duration, make func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	turn, seq, age := s.watch.turn.Load(), s.Ledger.LastSeq(), time.Since(m.made)
	if !m.made.IsZero() && m.turn == turn && age < most && (m.seq == seq || age < rest*m.took) {
		return m.value, nil
	}
	begin := time.Now()
	value, err := make()
	if err != nil {
		return value, err
	}
	m.value, m.made, m.took, m.turn, m.seq = value, time.Now(), time.Since(begin), turn, seq
	return value, nil
}

// maxQuestions is how many questions are remembered: somebody may be typing.
const maxQuestions = 8

// memos is a memo for each of the last few questions.
type memos[T any] struct {
	mu sync.Mutex
	by map[string]*asking[T]
}

type asking[T any] struct {
	memo[T]
	asked time.Time
}

// of is the memo of a question.
func (m *memos[T]) of(question string) *memo[T] {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	a := m.by[question]
	if a == nil {
		if m.by == nil {
			m.by = map[string]*asking[T]{}
		}
		if len(m.by) == maxQuestions {
			delete(m.by, m.oldest())
		}
		a = &asking[T]{}
		m.by[question] = a
	}
	a.asked = now
	return &a.memo
}

func (m *memos[T]) oldest() (question string) {
	for q, a := range m.by {
		if before := m.by[question]; before == nil || a.asked.Before(before.asked) {
			question = q
		}
	}
	return question
}

func (m *memos[T]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by = nil
}

// noteVerified keeps what the last proof of the ledger found.
func (s *service) noteVerified(report ledger.Report, err error) {
	v := &verified{at: s.Now().UTC(), found: len(report.Problems)}
	switch {
	case errors.Is(err, ledger.ErrCorrupt):
		v.found++
	case err != nil:
		return
	}
	s.watch.verified.Store(v)
}
