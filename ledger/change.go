package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Changes of users, keys and versions are made one at a time, under changing:
// each looks at the state as it is and logs what it becomes. When a call
// returns without an error its entry is durable and folded. By says who did it.

// AddUser adds a user on a plan. ErrExists when the e-mail address is taken.
func (l *Ledger) AddUser(now time.Time, by string, p Personal, plan string) (*User, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	if p.Email == "" || plan == "" {
		return nil, fmt.Errorf("add user: an e-mail address and a plan are needed")
	}
	if other := l.AccountByEmail(p.Email); other != nil {
		return nil, fmt.Errorf("user %d has the e-mail address %s: %w", other.id, p.Email, ErrExists)
	}
	l.state.mu.RLock()
	id := UserID(len(l.state.accounts))
	l.state.mu.RUnlock()
	row, hash, err := newPersonalRow(p)
	if err != nil {
		return nil, err
	}
	now = l.notBefore(now)
	u := User{ID: id, Status: Active, Created: now, PersonalHash: hash}
	err = l.record(now, map[UserID][]byte{id: row},
		userChange{User: u, By: by}, assignment{User: id, Plans: []Assignment{{Plan: plan, From: now}}, By: by})
	if err != nil {
		return nil, fmt.Errorf("add user: %w", err)
	}
	l.state.setPersonal(id, p)
	return l.state.account(id).User(), nil
}

// notBefore keeps times of change from running behind the log, to the millisecond.
func (l *Ledger) notBefore(now time.Time) time.Time {
	return time.UnixMilli(max(now.UnixMilli(), l.position.Load().logged)).UTC()
}

// ChangeUser lets change edit a copy of the user and logs the result: status,
// plans, limits, provider's ids, personal data. ID, Created, Keys, Erased and
// PersonalHash stay.
func (l *Ledger) ChangeUser(now time.Time, by string, id UserID, change func(*User) error) (*User, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(id)
	if a == nil {
		return nil, fmt.Errorf("user %d: %w", id, ErrNotFound)
	}
	old := a.User()
	u := *old
	u.Plans, u.Extra = slices.Clone(old.Plans), maps.Clone(old.Extra)
	u.SpendLimit, u.OwnLimit = clonePointer(old.SpendLimit), clonePointer(old.OwnLimit)
	if err := change(&u); err != nil {
		return nil, err
	}
	if len(u.Plans) == 0 {
		return nil, fmt.Errorf("change user %d: a user is always on a plan", id)
	}
	u.ID, u.Created, u.Keys, u.Invoices = old.ID, old.Created, old.Keys, old.Invoices
	u.Payments, u.Notices = old.Payments, old.Notices
	u.Erased, u.PersonalHash = old.Erased, old.PersonalHash
	var personal map[UserID][]byte
	if u.Personal != old.Personal {
		if other := l.AccountByEmail(u.Personal.Email); other != nil && other.id != id {
			return nil, fmt.Errorf("user %d has the e-mail address %s: %w", other.id, u.Personal.Email, ErrExists)
		}
		row, hash, err := newPersonalRow(u.Personal)
		if err != nil {
			return nil, err
		}
		personal, u.PersonalHash, u.Erased = map[UserID][]byte{id: row}, hash, false
	}
	if err := l.logUser(now, by, old, &u, personal); err != nil {
		return nil, fmt.Errorf("change user %d: %w", id, err)
	}
	if personal != nil {
		l.state.setPersonal(id, u.Personal)
	}
	return a.User(), nil
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// logUser logs what differs between old and u: the plans in an entry of their own.
func (l *Ledger) logUser(now time.Time, by string, old, u *User, personal map[UserID][]byte) error {
	var bodies []body
	rest, oldRest := *u, *old
	rest.Plans, oldRest.Plans = nil, nil
	if !reflect.DeepEqual(rest, oldRest) {
		rest.Keys, rest.Invoices, rest.Payments, rest.Notices = nil, nil, nil, nil
		bodies = append(bodies, userChange{User: rest, By: by})
	}
	if !slices.Equal(u.Plans, old.Plans) {
		bodies = append(bodies, assignment{User: u.ID, Plans: u.Plans, By: by})
	}
	if len(bodies) == 0 {
		return nil
	}
	return l.record(l.notBefore(now), personal, bodies...)
}

// EraseUser deletes the user's personal data. The log has only had their
// salted hash; the bytes leave the file when their page is used again, and are
// in no later backup.
func (l *Ledger) EraseUser(now time.Time, by string, id UserID) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(id)
	if a == nil {
		return fmt.Errorf("user %d: %w", id, ErrNotFound)
	}
	old := a.User()
	u := *old
	u.Erased = true
	if err := l.logUser(now, by, old, &u, map[UserID][]byte{id: nil}); err != nil {
		return fmt.Errorf("erase user %d: %w", id, err)
	}
	l.state.setPersonal(id, Personal{})
	return nil
}

// AddKey adds a key to a user; k's ID, User, Index, Counts and Created are set
// here. Hash must be set. ErrExists when a key with that hash exists.
func (l *Ledger) AddKey(now time.Time, by string, user UserID, k Key) (*Key, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(user)
	if a == nil {
		return nil, fmt.Errorf("user %d: %w", user, ErrNotFound)
	}
	if other, _ := l.Key(k.Hash); other != nil {
		return nil, fmt.Errorf("a key with this hash: %w", ErrExists)
	}
	l.state.mu.RLock()
	k.ID = KeyID(len(l.state.keys))
	l.state.mu.RUnlock()
	now = l.notBefore(now)
	k.User, k.Index, k.Created, k.HashHex = user, len(a.User().Keys), now, hex.EncodeToString(k.Hash[:])
	k.Counts = k.Index
	if old := l.KeyByID(k.Replaces); old != nil && old.User == user {
		k.Counts = old.Counts
	}
	if err := l.record(now, nil, keyChange{Key: k, By: by}); err != nil {
		return nil, fmt.Errorf("add key: %w", err)
	}
	return l.KeyByID(k.ID), nil
}

// ChangeKey lets change edit a copy of the key and logs the result. ID, User,
// Index, Hash and Created stay.
func (l *Ledger) ChangeKey(now time.Time, by string, id KeyID, change func(*Key) error) (*Key, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	old := l.KeyByID(id)
	if old == nil {
		return nil, fmt.Errorf("key %d: %w", id, ErrNotFound)
	}
	k := *old
	k.Networks, k.PerMinute, k.PerDay = slices.Clone(old.Networks), clonePointer(old.PerMinute), clonePointer(old.PerDay)
	if err := change(&k); err != nil {
		return nil, err
	}
	k.ID, k.User, k.Index, k.Hash, k.HashHex, k.Created = old.ID, old.User, old.Index, old.Hash, old.HashHex, old.Created
	k.Replaces, k.Counts = old.Replaces, old.Counts
	if reflect.DeepEqual(k, *old) {
		return old, nil
	}
	if err := l.record(l.notBefore(now), nil, keyChange{Key: k, By: by}); err != nil {
		return nil, fmt.Errorf("change key %d: %w", id, err)
	}
	return l.KeyByID(id), nil
}

// PublishVersion logs the terms of a plan or route, effective for those who
// are there from an instant on. Terms equal to the newest version's make no
// new one.
func (l *Ledger) PublishVersion(now time.Time, kind VersionKind, name string, terms []byte, effective time.Time) (*Version, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.state.mu.RLock()
	known := l.state.byName[versionName{kind, name}]
	l.state.mu.RUnlock()
	if len(known) > 0 && bytes.Equal(known[len(known)-1].Terms, terms) {
		return known[len(known)-1], nil
	}
	v, err := l.publish(now, Version{Kind: kind, Name: name, Terms: terms, Effective: effective})
	if err != nil {
		return nil, fmt.Errorf("publish %s %q: %w", kind, name, err)
	}
	return v, nil
}

// Agree logs terms of a plan that were agreed with one user, in force from an
// instant on that is not before now; null ends them. ErrNotFound when there is
// no such user.
func (l *Ledger) Agree(now time.Time, by string, user UserID, plan string, terms []byte, effective time.Time) (*Version, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	if l.Account(user) == nil {
		return nil, fmt.Errorf("agree on terms with user %d: %w", user, ErrNotFound)
	}
	if now = l.notBefore(now); effective.Before(now) {
		effective = now
	}
	v, err := l.publish(now, Version{Kind: PlanVersion, Name: plan, User: user, By: by, Terms: terms, Effective: effective})
	if err != nil {
		return nil, fmt.Errorf("agree on terms with user %d: %w", user, err)
	}
	return v, nil
}

// publish logs a version, to which it gives a number and its time. It is called
// under changing.
func (l *Ledger) publish(now time.Time, v Version) (*Version, error) {
	if !json.Valid(v.Terms) || v.Name == "" {
		return nil, errors.New("the terms are not JSON, or are of nothing")
	}
	l.state.mu.RLock()
	v.ID = VersionID(len(l.state.versions))
	l.state.mu.RUnlock()
	v.Made, v.Effective = l.notBefore(now), v.Effective.UTC()
	if err := l.record(v.Made, nil, versionMade{v}); err != nil {
		return nil, err
	}
	return l.VersionByID(v.ID), nil
}

// Correct replaces what a usage record measured. ErrNotFound when there is no
// such record, ErrExists when it was corrected before.
func (l *Ledger) Correct(now time.Time, c Correction) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	u, err := l.usageAt(c.Of)
	if err != nil {
		return fmt.Errorf("correct entry %d: %w", c.Of, err)
	}
	if err := checkQuantities(c.Now, c.Cost, c.Billed); err != nil {
		return fmt.Errorf("correct entry %d: %w", c.Of, err)
	}
	if l.state.wasCorrected(c.Of) {
		return fmt.Errorf("a correction of entry %d: %w", c.Of, ErrExists)
	}
	full := corrected{Correction: c, User: u.User, Time: u.Time, Period: u.Period, Route: u.Route, Plan: u.Plan,
		Was: u.Quantities, Paid: u.Cost, Bill: u.Billed}
	if err := l.record(l.notBefore(now), nil, full); err != nil {
		return fmt.Errorf("correct entry %d: %w", c.Of, err)
	}
	return nil
}

// SetClock logs the time of a test clock, so that a restart resumes at it.
func (l *Ledger) SetClock(now time.Time) error {
	if !l.state.identity.TestClock {
		return fmt.Errorf("set clock: %w: it is on the system's clock", ErrMismatch)
	}
	if err := l.record(now, nil, clockSet{now.UTC()}); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// Account is the account of a user; nil when there is none.
func (l *Ledger) Account(id UserID) *Account {
	if id == 0 {
		return nil
	}
	return l.state.account(id)
}

// AccountByEmail is the account with an e-mail address, in any case; nil when there is none.
func (l *Ledger) AccountByEmail(email string) *Account {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	if id, ok := l.state.byEmail[strings.ToLower(email)]; ok {
		return l.state.accounts[id]
	}
	return nil
}

// Accounts walks the accounts after a user, in the order of their ids.
func (l *Ledger) Accounts(after UserID) iter.Seq[*Account] {
	return func(yield func(*Account) bool) {
		for id := after + 1; ; id++ {
			a := l.state.account(id)
			if a == nil || !yield(a) {
				return
			}
		}
	}
}

// Key is the key with a hash and its account; nil when there is none. Revoked
// and expired keys are found too.
func (l *Ledger) Key(hash [32]byte) (*Key, *Account) {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	k := l.state.byHash[hash]
	if k == nil {
		return nil, nil
	}
	return k, l.state.accounts[k.User]
}

// KeyByID is a key; nil when there is none.
func (l *Ledger) KeyByID(id KeyID) *Key {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	if int(id) >= len(l.state.keys) {
		return nil
	}
	return l.state.keys[id]
}

// VersionAt is the version of a plan or route, everyone's, that holds at an instant for a
// user who came to it at joined: the newest of those made by then that were
// there when the user came, or have become effective since. Nil when there is
// none.
func (l *Ledger) VersionAt(kind VersionKind, name string, joined, at time.Time) *Version {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	var v *Version
	for i, next := range l.state.byName[versionName{kind, name}] {
		if i == 0 || !next.Made.After(joined) || !next.Effective.After(at) && !next.Made.After(at) {
			v = next
		}
	}
	return v
}

// VersionByID is a version; nil when there is none.
func (l *Ledger) VersionByID(id VersionID) *Version {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	if int(id) >= len(l.state.versions) {
		return nil
	}
	return l.state.versions[id]
}

// OwnVersions lists the terms that were agreed with a user, in the order they
// were made. The list is shared: read only.
func (l *Ledger) OwnVersions(user UserID) []*Version {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return l.state.own[user]
}

// Versions lists all versions of a kind in the order they were made, save those
// of single users.
func (l *Ledger) Versions(kind VersionKind) []*Version {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	var list []*Version
	for _, v := range l.state.versions[1:] {
		if v.Kind == kind && v.User == 0 {
			list = append(list, v)
		}
	}
	return list
}
