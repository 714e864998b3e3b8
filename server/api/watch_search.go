package api

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"tollgate/ledger"
)

// texts is what users are found by, in lower case. Where each letter of a filter
// asks for 100,000 users, one string of each is read in a fourth of the time that
// five at five places take. It is kept while somebody watches.
type texts struct {
	mu sync.Mutex
	by []userText // by id
}

type userText struct {
	user  *ledger.User // the snapshot that it is of
	until int64        // Unix nanoseconds at which the plan changes; 0: never
	text  string       // fields and lines between them, which no word has
}

// fitting keeps of a list the users who have each word somewhere.
func (t *texts) fitting(ctx context.Context, now time.Time, words []string, list []rank) ([]rank, error) {
	if len(words) == 0 {
		return list, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := list[:0]
	for n, r := range list {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if t.fits(r, now, words) {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func (t *texts) fits(r rank, now time.Time, words []string) bool {
	for int(r.user) >= len(t.by) {
		t.by = append(t.by, userText{})
	}
	of, u := &t.by[r.user], r.account.User()
	if of.user != u || of.until != 0 && now.UnixNano() >= of.until {
		*of = newUserText(u, now)
	}
	for _, word := range words {
		if !strings.Contains(of.text, word) && !isID(r.user, word) {
			return false
		}
	}
	return true
}

func newUserText(u *ledger.User, now time.Time) userText {
	plan := u.PlanAt(now).Plan
	fields := []string{u.Personal.Email, u.Personal.Name, u.Personal.Company, plan, string(u.Status)}
	of := userText{user: u, text: strings.ToLower(strings.Join(fields, "\n"))}
	for _, a := range u.Plans {
		if a.From.After(now) {
			of.until = a.From.UnixNano()
			break
		}
	}
	return of
}

func isID(id ledger.UserID, word string) bool {
	if !isDigit(word[0]) {
		return false
	}
	n, err := strconv.ParseUint(word, 10, 32)
	return err == nil && ledger.UserID(n) == id
}

func (t *texts) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by = nil
}
