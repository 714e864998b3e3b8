package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"tollgate/ledger"
)

// cutTime is how long a call may take to end after it was cut.
const cutTime = 5 * time.Second

// Run serves until ctx ends, then lets running calls finish for [server] drain,
// cuts the others, settles, closes everything and returns nil. It returns an
// error when a listener or the ledger failed; then the process must end, and
// the next start opens the ledger anew. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	var background sync.WaitGroup
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { s.notify.watch(watching) })
	background.Go(func() { s.care(watching) })
	background.Go(func() { s.sampler.keep(watching) })
	background.Go(func() { s.attend(watching) })
	defer background.Wait()
	defer stopWatching()

	broken := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		background.Go(func() {
			if err := l.http.Serve(l.listener); !errors.Is(err, http.ErrServerClosed) {
				broken <- fmt.Errorf("serving the %s listener: %w", l.name, err)
			}
		})
	}
	schedule, err := s.schedule()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	s.log.Info("tollgate is serving", "listen", s.Addr(), "socket", s.socket, "ledger", s.ledger.Path())
	s.notify.ready()

	var cause error
	drain := s.config.Load().Server.Drain
	select {
	case <-ctx.Done():
		s.log.Info("stopping: running calls may finish", "within", drain)
	case cause = <-broken:
	case <-s.ledger.Failed():
		// Nothing can be recorded any more, so nothing may be answered.
		cause = fmt.Errorf("%w: a commit failed; the ledger is opened anew at the next start", ledger.ErrUnavailable)
		drain = 0
	}
	if cause != nil {
		s.log.Error("stopping", "error", cause)
	}
	s.drain(drain)
	if schedule != nil {
		cause = errors.Join(cause, schedule.Stop())
	}
	err = errors.Join(cause, s.keepSandbox(), s.Close())
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}

// drain stops taking calls and waits until the running ones have ended, or have
// been cut after the time they had.
func (s *Server) drain(within time.Duration) {
	s.draining.Store(true)
	s.notify.stopping(within)
	patience, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(func() { s.shutdown(patience, true) })
	ending.Go(func() {
		if err := s.gateway.Drain(patience); err != nil {
			s.log.Warn("stopping", "error", err)
		}
	})
	ending.Wait()
	s.cut()
	cut, cancel := context.WithTimeout(context.Background(), cutTime)
	defer cancel()
	s.shutdown(cut, true)
	s.shutdown(cut, false)
}

// shutdown stops the listeners that drain, or the others, and waits for their
// running requests until ctx ends.
func (s *Server) shutdown(ctx context.Context, drains bool) {
	var all sync.WaitGroup
	for _, l := range s.listeners {
		if l.drains == drains {
			all.Go(func() {
				if err := l.http.Shutdown(ctx); err != nil {
					s.log.Debug("requests are still running", "listener", l.name, "error", err)
				}
			})
		}
	}
	all.Wait()
}

// care does what must be done from time to time: connections of keys that have
// expired are closed, the disk is looked at, so that readyz tells of a full one
// before a call meets it. When nothing has been recorded for ten seconds the
// appliance is idle, and after a minute the ledger writes a checkpoint.
func (s *Server) care(ctx context.Context) {
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	var seen, saved, idle uint64
	var refusing bool
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		s.gateway.CloseUpgraded(s.clock.Now()) // keys expire
		err := s.ledger.CheckDisk()
		if (err != nil) != refusing {
			refusing = err != nil
			s.log.Warn("whether calls are served has changed", "refused", refusing, "error", err)
		}
		if err != nil {
			continue
		}
		status, err := s.ledger.Status()
		if err != nil {
			s.log.Warn("the ledger's state cannot be read", "error", err)
			continue
		}
		if status.Seq != seen {
			seen, since = status.Seq, time.Now()
		}
		if idle != seen && time.Since(since) >= 10*time.Second && s.options.Idle != nil {
			idle = seen
			s.options.Idle()
		}
		if seen == saved || time.Since(since) < time.Minute {
			continue
		}
		switch err := s.ledger.Checkpoint(ctx); {
		case err == nil:
			saved = seen
		case ctx.Err() == nil:
			s.log.Warn("the ledger's checkpoint failed", "error", err)
		}
	}
}

// Close closes everything at once: what still runs is cut, what was appended is
// committed. After [Server.Run] it does nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.cut()
		for _, l := range s.listeners {
			l.http.Close()
			l.listener.Close() // of a server that never served; twice does no harm
		}
		if s.socket != "" {
			if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.closed = fmt.Errorf("removing the socket: %w", err)
			}
		}
		if s.sample != nil {
			s.sample.http.Close()
		}
		if s.ledger != nil {
			if err := s.ledger.Close(); err != nil {
				s.closed = errors.Join(s.closed, fmt.Errorf("closing the ledger: %w", err))
			}
		}
	})
	return s.closed
}
