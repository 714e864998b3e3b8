package tui

import (
	"context"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

const (
	// pace is the least time between two redraws for new data.
	pace = time.Second
	// firstRetry and lastRetry bound the pause before a lost connection is tried
	// again; it doubles with each failure.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// stream follows one view of the server until it is closed. Its goroutine puts
// what comes into a box of one, from which next takes it: a slow terminal holds
// up nothing, and sees the newest.
type stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	watch  func(ctx context.Context, each func(any) error) error
	merge  func(old, next any) any // nil: the next replaces the old

	news chan struct{} // of one: the box has something
	mu   sync.Mutex
	box  newsMsg   // guarded by mu
	last time.Time // when next took something; only next uses it
}

// newsMsg is what a stream has to tell.
type newsMsg struct {
	from *stream
	view any   // nil: nothing new
	lost error // why there is no connection; nil: there is
}

// follow makes a stream; its start is the command that begins it.
func follow[T any](ctx context.Context, watch func(ctx context.Context, each func(T) error) error, merge func(old, next T) T) *stream {
	s := &stream{news: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.watch = func(ctx context.Context, each func(any) error) error {
		return watch(ctx, func(v T) error { return each(v) })
	}
	if merge != nil {
		s.merge = func(old, next any) any { return merge(old.(T), next.(T)) }
	}
	return s
}

// start is a command: it begins to follow and waits for the first news.
func (s *stream) start() tea.Msg {
	go s.run()
	return s.next()
}

// run connects, and again whenever the connection is lost, until closed.
func (s *stream) run() {
	pause := firstRetry
	for {
		err := s.watch(s.ctx, func(v any) error {
			pause = firstRetry
			s.tell(v, nil)
			return s.ctx.Err()
		})
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = api.ErrWatchEnded
		}
		s.tell(nil, err)
		if !s.wait(pause) {
			return
		}
		pause = min(2*pause, lastRetry)
	}
}

func (s *stream) tell(view any, lost error) {
	s.mu.Lock()
	switch {
	case view == nil:
	case s.box.view != nil && s.merge != nil:
		s.box.view = s.merge(s.box.view, view)
	default:
		s.box.view = view
	}
	s.box.lost = lost
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default: // it is told already
	}
}

// next is a command: it waits for news, no sooner than pace after the last. It
// returns nil when the stream is closed.
func (s *stream) next() tea.Msg {
	if !s.last.IsZero() && !s.wait(pace-time.Since(s.last)) {
		return nil
	}
	select {
	case <-s.ctx.Done():
		return nil
	case <-s.news:
	}
	s.mu.Lock()
	msg := s.box
	s.box = newsMsg{}
	s.mu.Unlock()
	s.last = time.Now()
	msg.from = s
	return msg
}

// wait tells whether the stream is still wanted after d.
func (s *stream) wait(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
