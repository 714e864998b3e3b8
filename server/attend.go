package server

import (
	"context"
	"sync"

	"tollgate/ledger"
)

// attention is what calls leave behind to be done without them: users whose
// payments are to be seen to, and notices of what was refused. Calls and commits
// add to it and never wait; what a crash loses of it the schedule finds again.
type attention struct {
	wake chan struct{}

	mu      sync.Mutex
	users   map[ledger.UserID]bool
	notices []ledger.Notice
}

// mostNotices bounds what waits, should the ledger be unable to take it.
const mostNotices = 1000

func newAttention() *attention {
	return &attention{wake: make(chan struct{}, 1), users: map[ledger.UserID]bool{}}
}

func (a *attention) user(id ledger.UserID) {
	a.mu.Lock()
	a.users[id] = true
	a.mu.Unlock()
	a.nudge()
}

func (a *attention) notice(n ledger.Notice) {
	a.mu.Lock()
	if len(a.notices) < mostNotices {
		a.notices = append(a.notices, n)
	}
	a.mu.Unlock()
	a.nudge()
}

func (a *attention) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *attention) take() (users map[ledger.UserID]bool, notices []ledger.Notice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	users, notices = a.users, a.notices
	a.users, a.notices = map[ledger.UserID]bool{}, nil
	return users, notices
}

// attend does what calls leave behind, until ctx ends.
func (s *Server) attend(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.attention.wake:
		}
		users, notices := s.attention.take()
		for _, n := range notices {
			if _, _, err := s.ledger.AddNotice(s.clock.Now(), "admission", n); err != nil {
				s.log.Warn("a notice could not be written", "user", n.User, "code", n.Code, "error", err)
			}
		}
		for id := range users {
			if err := s.billing.Attend(ctx, id); err != nil && ctx.Err() == nil {
				s.log.Warn("a user's payments could not be seen to; the schedule tries again", "user", id, "error", err)
			}
		}
	}
}
