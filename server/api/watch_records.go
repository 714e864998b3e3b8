package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
)

const (
	// sentRecords is how many records are sent a second, the newest.
	sentRecords = 200
	// readRecords is how many entries are read for them, the newest: of what comes
	// faster only the number is known.
	readRecords = 5000
	// beginRecords is how far back the first ones are looked for.
	beginRecords = 50_000
	beginWith    = 50
)

// tail follows the records that fit a filter.
type tail struct {
	s       *service
	user    ledger.UserID // 0: everyone
	route   string        // lower case
	status  string
	outcome string
	limit   int

	seen   uint64                    // entries up to here were looked at
	begun  bool                      // the first were sent
	routes map[ledger.VersionID]bool // whether they fit
}

func (s *service) watchRecords(r *request) error {
	t, err := s.tail(r)
	if err != nil {
		return err
	}
	same := func(_, now *RecordsTail) bool { return len(now.Records) == 0 && now.Skipped == 0 }
	return stream(s, r, same, t.next)
}

func (s *service) tail(r *request) (*tail, error) {
	t := &tail{s: s, route: strings.ToLower(r.param("route")), status: strings.ToLower(r.param("status")), outcome: r.param("outcome"), routes: map[ledger.VersionID]bool{}}
	if text := r.param("user"); text != "" {
		u, err := s.userNamed(text)
		if err != nil {
			return nil, err
		}
		t.user = u.ID
	}
	if !isStatus(t.status) {
		return nil, badParameter("The parameter status is %q; give one such as 200, or 5xx for all of a hundred.", t.status)
	}
	if names := outcomeNames(); t.outcome != "" && !slices.Contains(names, t.outcome) {
		return nil, badParameter("The parameter outcome is %q; give one of %s.", t.outcome, strings.Join(names, ", "))
	}
	var err error
	t.limit, err = r.number("limit", 1, maxPage, beginWith)
	return t, err
}

// isStatus tells whether text is a status code, a hundred of them, or nothing.
func isStatus(text string) bool {
	if text == "" {
		return true
	}
	return len(text) == 3 && text[0] >= '1' && text[0] <= '5' && (text[1:] == "xx" || isDigit(text[1]) && isDigit(text[2]))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func outcomeNames() []string {
	var names []string
	for o := ledger.OK; o.String() != "unknown"; o++ {
		names = append(names, o.String())
	}
	return names
}

func (t *tail) fits(u *ledger.Usage) bool {
	if t.user != 0 && u.User != t.user || t.outcome != "" && u.Outcome.String() != t.outcome {
		return false
	}
	if t.status != "" {
		code := fmt.Sprintf("%03d", u.Status)
		if code != t.status && (t.status[1:] != "xx" || code[0] != t.status[0]) {
			return false
		}
	}
	if t.route == "" {
		return true
	}
	fits, known := t.routes[u.Route]
	if !known {
		v := t.s.Ledger.VersionByID(u.Route)
		fits = v != nil && strings.Contains(strings.ToLower(v.Name), t.route)
		t.routes[u.Route] = fits
	}
	return fits
}

// next is what has come since the last time, at first the newest.
func (t *tail) next(ctx context.Context, now time.Time) (RecordsTail, error) {
	view := RecordsTail{At: now.UTC(), Records: []Record{}}
	most, far, count := sentRecords, uint64(readRecords), true
	if !t.begun {
		most, far, count = t.limit, beginRecords, false
	}
	end := t.s.Ledger.LastSeq()
	if end == t.seen && t.begun {
		return view, nil
	}
	var found []ledger.Usage
	var skipped int64
	var err error
	if t.user != 0 {
		found, skipped, err = t.back(ctx, end, most, far)
	} else {
		found, skipped, err = t.forth(ctx, end, most, far)
	}
	if err != nil {
		return view, err
	}
	for i := range found {
		view.Records = append(view.Records, t.s.record(&found[i]))
	}
	if count {
		view.Skipped = skipped
	}
	t.seen, t.begun = end, true
	return view, nil
}

// back walks the records of one user from the newest up to end.
func (t *tail) back(ctx context.Context, end uint64, most int, far uint64) (found []ledger.Usage, skipped int64, err error) {
	looked := uint64(0)
	err = t.s.Ledger.UserRecords(ctx, t.user, 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		if u.Seq > end { // of the next time
			return true
		}
		if u.Seq <= t.seen || looked == far {
			return false
		}
		looked++
		switch {
		case !t.fits(u):
		case len(found) < most:
			found = append(found, *u)
		case !t.begun:
			return false
		default:
			skipped++
		}
		return true
	})
	slices.Reverse(found)
	return found, skipped, err
}

// forth reads everyone's entries up to end, stretch by stretch from the newest: one
// is enough, unless the first records are looked for.
func (t *tail) forth(ctx context.Context, end uint64, most int, far uint64) (found []ledger.Usage, skipped int64, err error) {
	to, lowest, stretch := end, max(t.seen, end-min(end, far)), uint64(4*most)
	skipped = int64(lowest - t.seen)
	for to > lowest {
		from := lowest
		if !t.begun { // mostly the newest few are enough
			from = max(lowest, to-min(to, stretch))
			stretch *= 2
		}
		var part []ledger.Usage
		err = t.s.Ledger.Records(ctx, from, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
			if u.Seq > to {
				return false
			}
			if t.fits(u) {
				part = append(part, *u)
			}
			return true
		})
		if err != nil {
			return nil, 0, err
		}
		found = append(part, found...)
		if over := len(found) - most; over > 0 {
			skipped += int64(over)
			found = found[over:]
		}
		if len(found) == most {
			break
		}
		to = from
	}
	return found, skipped, nil
}
