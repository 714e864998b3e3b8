package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// rating is what all users owe for the open period. It is made user by user, in
// the background, as long as somebody watches: with 100,000 users a pass takes
// about a second of a core, which is spread over a minute.
type rating struct {
	mu    sync.Mutex
	month ledger.Month
	users []ratedUser // by id, as far as this pass and the one before came
	done  *MonthCharges
	// blocked counts active users at the end of a quota that refuses more.
	blocked int
	failed  error // the first user of the last pass who could not be rated
}

// ratedUser is a user in the ranking, which may be older than what is shown.
type ratedUser struct {
	charge, projected int64 // minor units
	used              Tenths
	blocked           bool
}

const (
	// A slice of rating works for sliceTime and rests for the rest of sliceEvery: 2 %
	// of a core, with its garbage 3 %. When charges are known already it is half of
	// that. The first slice may take firstSlice, so that the charges of a small ledger
	// are there when they are asked for.
	sliceTime  = 2 * time.Millisecond
	sliceEvery = 100 * time.Millisecond
	firstSlice = 50 * time.Millisecond
	// ratedAgain is how old charges get although nothing was used: projections
	// fall as time passes.
	ratedAgain = time.Minute
)

// keepRating makes passes until ctx ends, each followed by a rest as long as it
// took.
func (s *service) keepRating(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	pause := func(d time.Duration) bool {
		wait.Reset(d)
		select {
		case <-ctx.Done():
			return false
		case <-wait.C:
			return true
		}
	}
	<-wait.C
	var seq, turn uint64
	for first := firstSlice; ctx.Err() == nil; first = 0 {
		begin := time.Now()
		seq, turn = s.Ledger.LastSeq(), s.watch.turn.Load()
		if !s.ratePass(ctx, first, pause) {
			return
		}
		ended := time.Now()
		for again := false; !again; {
			if !pause(sliceEvery) {
				return
			}
			rested := time.Since(ended)
			changed := seq != s.Ledger.LastSeq() || turn != s.watch.turn.Load()
			again = changed && rested >= max(s.watchEvery()/2, ended.Sub(begin)) || rested >= ratedAgain
		}
	}
}

func (s *service) watchEvery() time.Duration {
	if s.Watch.Every != 0 {
		return s.Watch.Every
	}
	return watchEvery
}

// ratePass rates everybody once, for the time first at first. It is false when it
// was ended before.
func (s *service) ratePass(ctx context.Context, first time.Duration, pause func(time.Duration) bool) bool {
	w := &s.watch.rating
	var sum MonthCharges
	var failed error
	blocked := 0
	month := s.Ledger.PeriodAt(s.Now()).Month
	slice := sliceTime
	if w.begin(month) {
		slice /= 2
	}
	begin, budget := time.Now(), max(first, slice)
	for a := range s.Ledger.Accounts(0) {
		now := s.Now()
		if !s.Ledger.PeriodOf(month).Contains(now) {
			return ctx.Err() == nil // a new month: begin again
		}
		rated, err := s.rateUser(a.User(), now, month)
		if err != nil && failed == nil {
			failed = err
		}
		sum.SoFarCents += rated.charge
		sum.ProjectedCents += rated.projected
		if rated.blocked {
			blocked++
		}
		w.put(a.ID(), rated)
		if time.Since(begin) >= budget {
			if !pause(sliceEvery - slice) {
				return false
			}
			begin, budget = time.Now(), slice
		}
	}
	if ctx.Err() != nil {
		return false
	}
	sum.At = s.Now().UTC()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done, w.blocked, w.failed = &sum, blocked, failed
	return true
}

// begin begins a pass; known tells that there was one in the month.
func (w *rating) begin(month ledger.Month) (known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.month != month {
		w.month, w.users, w.done, w.blocked, w.failed = month, nil, nil, 0, nil
	}
	return w.done != nil
}

func (w *rating) put(id ledger.UserID, rated ratedUser) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for int(id) >= len(w.users) {
		w.users = append(w.users, ratedUser{used: -1})
	}
	w.users[id] = rated
}

// of is what the open period comes to; nil until it is known.
func (w *rating) of(month ledger.Month) (charges *MonthCharges, blocked int, failed error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.month != month {
		return nil, 0, nil
	}
	return w.done, w.blocked, w.failed
}

// rateUser rates a user by the functions that the user's own usage is rated by.
func (s *service) rateUser(u *ledger.User, now time.Time, month ledger.Month) (ratedUser, error) {
	a, projection, err := s.projected(u, now, month)
	if err != nil {
		return ratedUser{used: -1}, err
	}
	rated := ratedUser{charge: a.statement.Total, projected: projection.Charge, used: -1}
	for _, q := range a.quotas() {
		used := percent(q.Used, q.Limit)
		if rated.used < 0 { // the one shown first
			rated.used = used
		}
		if u.Status == ledger.Active && !q.Soft && used >= 1000 {
			rated.blocked = true
		}
	}
	return rated, nil
}

// projected is a user's month and what it will come to.
func (s *service) projected(u *ledger.User, now time.Time, month ledger.Month) (account, pricing.Projection, error) {
	a, err := s.account(u, now, month)
	if err != nil {
		return a, pricing.Projection{}, err
	}
	p, err := a.project(now)
	return a, p, err
}

// project is what the month will come to if it goes on as it has begun.
func (a *account) project(now time.Time) (pricing.Projection, error) {
	p, err := a.schedule.Project(a.used, now, pricing.Outlook{Payable: a.on && a.payable(), SpendLimit: pricing.SpendLimit(a.user)})
	if err != nil {
		return p, fmt.Errorf("projecting user %d: %w", a.user.ID, err)
	}
	return p, nil
}
