package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"
)

// noticeEntered is a notice as it is from then on.
type noticeEntered struct {
	Notice Notice `json:"notice"`
	By     string `json:"by,omitempty"`

	// logged is where the writer puts the entry's number; nobody asks where it is nil.
	logged *uint64
}

func (noticeEntered) kind() kind { return kindNotice }

// Watcher knows at which use of an account something is to be told. It is asked by
// the writer, before the commit of a record, what is to be told in it: used is what
// the account has used in the record's period, by plan version, and balance what is
// left of its credits, both with the record. It must neither wait nor keep used, and
// calls no method of the ledger. A notice that was there already is left out.
type Watcher interface {
	Notices(u *Usage, used []PlanTotals, balance Amount) []Notice
}

// Watch has w asked about each further record of the account; nil ends that.
func (a *Account) Watch(w Watcher) {
	if w == nil {
		a.watcher.Store(nil)
		return
	}
	a.watcher.Store(&w)
}

// Watched tells whether a watcher is asked about the account's records.
func (a *Account) Watched() bool { return a.watcher.Load() != nil }

var errNotice = errors.New("impossible notice")

// noticed is the account and month of totals that a commit will change.
type noticed struct {
	account *Account
	month   Month
}

// watched is what accounts with a watcher will have used, and been told, when the
// entries of the running commit are folded.
type watched struct {
	used      map[noticed][]PlanTotals
	told      map[UserID][]Notice
	corrected bool // there is a correction in the running commit
}

func newWatched() watched {
	return watched{used: map[noticed][]PlanTotals{}, told: map[UserID][]Notice{}}
}

func (w *watched) clear() {
	clear(w.used)
	clear(w.told)
	w.corrected = false
}

// watch is the notices that a record brings with it.
func (w *writer) watch(a *Account, u *Usage, logged int64) ([]Notice, error) {
	watcher := a.watcher.Load()
	key := noticed{a, u.Period}
	if watcher == nil {
		if len(w.watched.used) > 0 {
			delete(w.watched.used, key) // it was watched a moment ago, and lacks this record
		}
		return nil, nil
	}
	used, ok := w.watched.used[key]
	if !ok {
		var err error
		if used, err = w.usedSoFar(key); err != nil {
			return nil, err
		}
	}
	used = addTo(used, u, 1)
	w.watched.used[key] = used
	p := w.spending.of(a)
	_, gone := p.expired(u.Time)
	var fresh []Notice
	for _, n := range (*watcher).Notices(u, used, p.sum-gone) {
		n.ID, n.User, n.Month, n.Time = 0, a.id, u.Period, time.UnixMilli(logged).UTC()
		if !w.watched.was(a, n) && n.fits() { // in this order: most were told long ago
			w.watched.tell(a, n)
			fresh = append(fresh, n)
		}
	}
	return fresh, nil
}

// usedSoFar is what an account will have used in a month when the entries before
// the next are folded. The watcher may have come in the middle of the commit.
func (w *writer) usedSoFar(key noticed) ([]PlanTotals, error) {
	a := key.account
	used, err := w.l.state.usedBefore(a, key.month)
	if err != nil || a.tail == a.last && !w.watched.corrected {
		return used, err
	}
	for _, c := range w.coded {
		switch b := c.entry.body.(type) {
		case nil:
			if u := &c.entry.usage; u.User == a.id && u.Period == key.month {
				used = addTo(used, u, 1)
			}
		case corrected:
			if b.User == a.id && b.Period == key.month {
				was, now := b.records()
				used = addTo(addTo(used, &was, -1), &now, 1)
			}
		}
	}
	return used, nil
}

// correct notes that a correction is in the running commit.
func (w *watched) correct(a *Account, c corrected) {
	w.corrected = true
	delete(w.used, noticed{a, c.Period})
}

// was tells whether a notice is there, or in the running commit.
func (w *watched) was(a *Account, n Notice) bool {
	return a.User().was(n) || slices.ContainsFunc(w.told[a.id], n.same)
}

// tell notes that a notice is in the running commit.
func (w *watched) tell(a *Account, n Notice) { w.told[a.id] = append(w.told[a.id], n) }

// usedBefore copies what an account has used in a month.
func (s *state) usedBefore(a *Account, m Month) ([]PlanTotals, error) {
	a.Lock()
	plans := a.Month(m)
	var used []PlanTotals
	for _, p := range plans {
		p.Named = slices.Clone(p.Named)
		used = append(used, p)
	}
	a.Unlock()
	if plans == nil && m < s.inMemory() {
		return s.monthOnDisk(a.id, m)
	}
	return used, nil
}

// addTo adds a record, n times, to totals that nobody else has.
func addTo(used []PlanTotals, u *Usage, n int64) []PlanTotals {
	m := monthTotals{plans: used}
	m.plan(u.Plan).add(u, n)
	return m.plans
}

// maxTold is how many bytes code and subject of a notice may have: they stay in memory.
const maxTold = 1024

// fits tells whether a notice can be stored, and comes back as it went in. A
// watcher's that cannot is no reason to lose a record, nor another's to lose a payment.
func (n *Notice) fits() bool {
	for _, text := range [...]string{n.Code, n.Subject, n.Meter, n.Failure} {
		if !utf8.ValidString(text) {
			return false
		}
	}
	if n.Code == "" || n.User == 0 || len(n.Code)+len(n.Subject) > maxTold {
		return false
	}
	stored, err := appendBody(nil, &entry{body: noticeEntered{Notice: *n}}, 0)
	return err == nil && len(stored) <= maxEntry-binary.MaxVarintLen64
}

func (n *Notice) givenUp() bool {
	return slices.ContainsFunc(n.Deliveries, func(d Delivery) bool { return d.GivenUp })
}

func (n Notice) same(o Notice) bool {
	return n.Code == o.Code && n.Month == o.Month && n.Subject == o.Subject
}

// was tells whether the user has been told.
func (u *User) was(n Notice) bool {
	return slices.ContainsFunc(u.Notices, func(r NoticeRef) bool {
		return r.Code == n.Code && r.Month == n.Month && r.Subject == n.Subject
	})
}

// Told tells whether there is a notice of that code, month and subject.
func (u *User) Told(code string, m Month, subject string) bool {
	return u.was(Notice{Code: code, Month: m, Subject: subject})
}

// noticeBodies is the entries of notices that were not there. It is called under
// changing.
func (l *Ledger) noticeBodies(now time.Time, user UserID, list []Notice) (bodies []body) {
	u := l.Account(user).User()
	for i, n := range list {
		n.ID, n.User, n.Time = 0, user, now
		if n.Month == 0 {
			n.Month = l.PeriodAt(now).Month
		}
		if n.fits() && !u.was(n) && !slices.ContainsFunc(list[:i], n.same) {
			bodies = append(bodies, noticeEntered{Notice: n})
		}
	}
	return bodies
}

// AddNotice logs a notice. User, Code and, where it is not that of now, Month must
// be set; Time is set here. fresh is false where one of that code, month and
// subject was there: nothing is logged then.
func (l *Ledger) AddNotice(now time.Time, by string, n Notice) (made *Notice, fresh bool, err error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(n.User)
	if a == nil {
		return nil, false, fmt.Errorf("add a notice for user %d: %w", n.User, ErrNotFound)
	}
	if !n.fits() {
		return nil, false, fmt.Errorf("add a notice for user %d: %w: without a code, too long or no text", n.User, errNotice)
	}
	now = l.notBefore(now)
	bodies := l.noticeBodies(now, n.User, []Notice{n})
	if len(bodies) == 0 {
		return nil, false, nil
	}
	var seq uint64
	b := bodies[0].(noticeEntered)
	b.By, b.logged = by, &seq
	if err := l.record(now, nil, b); err != nil {
		return nil, false, fmt.Errorf("add a notice for user %d: %w", n.User, err)
	}
	if seq == 0 { // a record that was on its way has brought it
		return nil, false, nil
	}
	b.Notice.ID = NoticeID(seq)
	return &b.Notice, true, nil
}

// ChangeNotice lets change edit a copy of a notice and logs the result: its
// deliveries, and whether it is done with. One that is done with cannot change.
func (l *Ledger) ChangeNotice(now time.Time, user UserID, id NoticeID, change func(*Notice) error) (*Notice, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	old, err := l.Notice(user, id)
	if err != nil {
		return nil, err
	}
	n := *old
	n.Deliveries = slices.Clone(old.Deliveries)
	if err := change(&n); err != nil {
		return nil, err
	}
	if err := n.follows(old); err != nil {
		return nil, fmt.Errorf("change notice %d: %w", id, err)
	}
	if reflect.DeepEqual(&n, old) {
		return old, nil
	}
	if err := l.record(l.notBefore(now), nil, noticeEntered{Notice: n}); err != nil {
		return nil, fmt.Errorf("change notice %d: %w", id, err)
	}
	return &n, nil
}

// follows tells whether a notice can become n.
func (n *Notice) follows(old *Notice) error {
	was, is := *old, *n
	was.Deliveries, is.Deliveries, was.Done, is.Done = nil, nil, false, false
	if !reflect.DeepEqual(was, is) {
		return fmt.Errorf("%w: what it tells cannot change", errNotice)
	}
	if old.Done && !reflect.DeepEqual(n, old) { // it may be forgotten at any moment
		return fmt.Errorf("%w: it was done with", errNotice)
	}
	return nil
}

// Notice reads a notice as it is now. The caller owns it.
func (l *Ledger) Notice(user UserID, id NoticeID) (*Notice, error) {
	if a := l.Account(user); a != nil {
		for _, ref := range a.User().Notices {
			if ref.ID == id {
				return l.noticeAt(ref)
			}
		}
	}
	return nil, fmt.Errorf("notice %d of user %d: %w", id, user, ErrNotFound)
}

func (l *Ledger) noticeAt(ref NoticeRef) (*Notice, error) {
	var e entry
	if err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, ref.Seq, &e) }); err != nil {
		return nil, err
	}
	b, ok := e.body.(noticeEntered)
	if !ok {
		return nil, fmt.Errorf("%w: entry %d is no notice", ErrCorrupt, ref.Seq)
	}
	b.Notice.ID = ref.ID
	return &b.Notice, nil
}

// remembersNotices is for how many months after its own a notice is kept in mind,
// so that it is not given again for a record that comes late.
const remembersNotices = 3

// enterNotice folds a notice entry. It is called under mu. Rows of an unfinished
// checkpoint have it, or have forgotten it already.
func (s *state) enterNotice(seq uint64, b *noticeEntered, done skip) error {
	n := b.Notice
	if n.ID == 0 {
		n.ID = NoticeID(seq)
	}
	if n.User == 0 || int(n.User) >= len(s.accounts) {
		return fmt.Errorf("%w: notice for user %d, who was never added", errMalformed, n.User)
	}
	if done.has(seq, n.User) {
		return nil
	}
	refs := s.accounts[n.User].User().Notices
	ref := NoticeRef{ID: n.ID, Seq: seq, Code: n.Code, Month: n.Month, Subject: n.Subject, Done: n.Done, GivenUp: n.givenUp()}
	at := slices.IndexFunc(refs, func(r NoticeRef) bool { return r.ID == n.ID })
	if at < 0 && n.ID != NoticeID(seq) {
		return nil // it is forgotten
	}
	return s.changeUser(n.User, func(u *User) {
		next := make([]NoticeRef, 0, len(refs)+1)
		for i, r := range refs {
			switch {
			case i == at:
				next = append(next, ref)
			case !r.Done || r.Month+remembersNotices >= n.Month:
				next = append(next, r)
			}
		}
		if at < 0 {
			next = append(next, ref)
		}
		u.Notices = next
	})
}

// inspectNotice proves that a notice entry is the first of its code, month and
// subject, or follows from the one before it.
func (v *verifier) inspectNotice(seq uint64, b noticeEntered, s *state) {
	n := b.Notice
	a := s.account(n.User)
	if a == nil || n.User == 0 {
		v.problem("entry %d: a notice for user %d, who was never added", seq, n.User)
		return
	}
	if n.ID == 0 {
		if a.User().was(n) {
			v.problem("entry %d: user %d was given notice of %s %s in %v before", seq, n.User, n.Code, n.Subject, n.Month)
		}
		return
	}
	for _, ref := range a.User().Notices {
		if ref.ID != n.ID {
			continue
		}
		old, ok := v.bodyAt(ref.Seq, s).(noticeEntered)
		old.Notice.ID = ref.ID
		if err := n.follows(&old.Notice); err != nil || !ok {
			v.problem("entry %d: notice %d does not follow from entry %d (%v)", seq, n.ID, ref.Seq, err)
		}
		return
	}
	v.problem("entry %d: notice %d was never given", seq, n.ID)
}
