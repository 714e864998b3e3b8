package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// state is everything folded from the log. Only apply changes it, and only one
// goroutine applies: the writer, or the one that opens, verifies or copies.
// Others read: maps and lists under mu, an account's totals under its lock.
type state struct {
	mu        sync.RWMutex
	identity  genesis
	epochs    []epochBegun
	accounts  []*Account // by UserID; 0 is everyone together
	keys      []*Key     // by KeyID
	byHash    map[[32]byte]*Key
	byEmail   map[string]UserID          // lower case
	versions  []*Version                 // by VersionID
	byName    map[versionName][]*Version // everyone's
	own       map[UserID][]*Version      // one user's
	periods   map[Month]Period
	zones     []zone              // by Month, the first from the beginning
	clock     time.Time           // of the test clock
	corrected map[uint64]struct{} // records that were
	billing   billing
	invoices  []UserID // by InvoiceID: whose it is

	table atomic.Pointer[nameTable]

	// The rest belongs to the applying goroutine.
	loaded       atomic.Int32 // a Month: those before it are on disk only, unless an account has one
	newest       Month        // the newest period with usage
	openDay      Day          // the day of the record last applied
	dirty        []*Account
	tableChanged bool // the registry row is old
	remembered   *memory
	// ahead is the last user up to whom rows on disk stand for more than the
	// last finished checkpoint: one was under way when the process ended.
	ahead int64

	// monthOnDisk loads the totals of a month that is not in memory.
	monthOnDisk func(UserID, Month) ([]PlanTotals, error)
}

type versionName struct {
	kind VersionKind
	name string
}

// nameTable interns the texts of records: methods and meters. It is replaced,
// never changed, so that reading records takes no lock.
type nameTable struct {
	texts   []string
	numbers map[string]uint32
}

// commonNames have fixed numbers; others are given by name entries.
var commonNames = [...]string{"", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"}

// maxNames caps interning, so that what clients send cannot grow the ledger;
// past it a method or meter is kept as otherName. Methods, which any client can
// make up, stop at half of it and leave the rest to meters.
const (
	maxNames   = 4096
	maxMethods = maxNames / 2
	// maxNameBytes is what a method or meter may have; a longer one is kept as otherName.
	maxNameBytes = 64
	otherName    = "other"
	nameBase     = 16 // the first number of a name entry
)

func newNameTable() *nameTable {
	t := &nameTable{texts: make([]string, nameBase), numbers: map[string]uint32{}}
	copy(t.texts, commonNames[:])
	for i, name := range commonNames {
		t.numbers[name] = uint32(i)
	}
	return t
}

func (t *nameTable) with(g nameGiven) *nameTable {
	next := &nameTable{texts: slices.Clone(t.texts), numbers: maps.Clone(t.numbers)}
	for uint32(len(next.texts)) <= g.ID {
		next.texts = append(next.texts, "")
	}
	next.texts[g.ID] = g.Name
	next.numbers[g.Name] = g.ID
	return next
}

func (t *nameTable) name(number uint32) string {
	if number < uint32(len(t.texts)) {
		return t.texts[number]
	}
	return otherName
}

func (t *nameTable) number(name string) uint32 { return t.numbers[name] }

func newState() *state {
	s := &state{
		accounts:   []*Account{{}},
		keys:       []*Key{nil},
		byHash:     map[[32]byte]*Key{},
		byEmail:    map[string]UserID{},
		versions:   []*Version{nil},
		byName:     map[versionName][]*Version{},
		own:        map[UserID][]*Version{},
		periods:    map[Month]Period{},
		corrected:  map[uint64]struct{}{},
		invoices:   []UserID{0},
		remembered: newMemory(),
	}
	s.table.Store(newNameTable())
	s.monthOnDisk = func(UserID, Month) ([]PlanTotals, error) { return nil, nil }
	return s
}

func (s *state) account(id UserID) *Account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if int(id) >= len(s.accounts) {
		return nil
	}
	return s.accounts[id]
}

// known is the users and versions as they were at a moment: the lists only
// grow, so that they can be read on without the lock.
type known struct {
	accounts []*Account
	versions []*Version
}

func (s *state) known() known {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return known{s.accounts, s.versions}
}

// check refuses what a record cannot be of.
func (k known) check(user UserID, route VersionID) error {
	if int(user) >= len(k.accounts) || k.accounts[user] == nil {
		return fmt.Errorf("%w: no user %d", errRecord, user)
	}
	if route == 0 || int(route) >= len(k.versions) || k.versions[route].Kind != RouteVersion {
		return fmt.Errorf("%w: no route version %d", errRecord, route)
	}
	return nil
}

// skip keeps apply from counting entries up to seq for users up to one:
// rows of an unfinished checkpoint have them already. The zero value skips nothing.
type skip struct {
	seq uint64
	to  int64
}

func (k skip) has(seq uint64, user UserID) bool {
	return seq <= k.seq && int64(user) <= k.to
}

// apply folds one entry. It is the only way state comes about: after a commit,
// at open, in verify and in copies.
func (s *state) apply(e *entry, done skip, settler Settler) error {
	if e.body != nil {
		return s.applyBody(e, done, settler)
	}
	u := &e.usage
	if u.Billed && u.Documents|u.Tokens|int64(u.Cost) < 0 {
		return fmt.Errorf("entry %d: %w: negative quantity", e.seq, errMalformed)
	}
	if u.Period > s.newest {
		s.newest = u.Period
	}
	if u.Remember != (Remembered{}) {
		s.remembered.add(u.Remember.ID, u.Time, e.seq)
	}
	if err := s.fold(s.accounts[0], u, done, nil); err != nil || u.User == 0 {
		if settler != nil {
			settler.Settle()
		}
		return err
	}
	if int(u.User) >= len(s.accounts) || s.accounts[u.User] == nil {
		return fmt.Errorf("entry %d: %w: user %d was never added", e.seq, errMalformed, u.User)
	}
	return s.fold(s.accounts[u.User], u, done, settler)
}

// fold counts a record for an account.
func (s *state) fold(a *Account, u *Usage, done skip, settler Settler) error {
	if done.has(u.Seq, a.id) {
		return nil
	}
	s.touch(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if settler != nil {
		defer settler.Settle()
	}
	month, err := s.month(a, u.Period)
	if err != nil {
		return err
	}
	a.late = max(a.late, u.Logged.Sub(u.Time).Milliseconds())
	a.count(u, month, 1)
	if a.id == 0 {
		return nil
	}
	if u.Burnt|u.Uncovered != 0 {
		if err := a.credits().burn(u.Time, u.Burnt, u.Uncovered); err != nil {
			return fmt.Errorf("entry %d: %w: %w", u.Seq, errMalformed, err)
		}
	}
	a.last = u.Seq
	day := s.day(u.Time, u.Period)
	a.day.add(day)
	if key := s.keyOf(u); key != nil {
		for len(a.keys) <= key.Index {
			a.keys = append(a.keys, keyUse{})
		}
		a.keys[key.Index].last = max(a.keys[key.Index].last, u.Time.UnixMilli())
		a.keys[key.Counts].day.add(day)
	}
	return nil
}

// credit changes a user's credits.
func (s *state) credit(e *entry, user UserID, done skip, settler Settler, change func(*purse) error) error {
	if user == 0 || int(user) >= len(s.accounts) {
		return fmt.Errorf("entry %d: %w: user %d was never added", e.seq, errMalformed, user)
	}
	if done.has(e.seq, user) {
		return nil
	}
	a := s.accounts[user]
	s.touch(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if settler != nil {
		defer settler.Settle()
	}
	if err := change(a.credits()); err != nil {
		return fmt.Errorf("entry %d: %w: %w", e.seq, errMalformed, err)
	}
	a.purse.seq = e.seq
	return nil
}

func (s *state) keyOf(u *Usage) *Key {
	if int(u.Key) < len(s.keys) && s.keys[u.Key] != nil && s.keys[u.Key].User == u.User {
		return s.keys[u.Key]
	}
	return nil
}

func (s *state) day(t time.Time, month Month) int32 {
	if !s.openDay.Contains(t) {
		s.openDay = s.dayOf(t, month)
	}
	return s.openDay.Number
}

// month finds or begins an account's totals of a month.
func (s *state) month(a *Account, m Month) (*monthTotals, error) {
	for i := range a.months {
		if a.months[i].month == m {
			return &a.months[i], nil
		}
	}
	t := monthTotals{month: m}
	if m < s.inMemory() {
		var err error
		if t.plans, err = s.monthOnDisk(a.id, m); err != nil {
			return nil, err
		}
	}
	a.months = append(a.months, t)
	return &a.months[len(a.months)-1], nil
}

// touch readies an account for a change: it is in the next checkpoint, and the
// running one gets it as it was.
func (s *state) touch(a *Account) {
	if a.saving != nil {
		a.saving.save(a)
	}
	if !a.dirty {
		a.dirty = true
		s.dirty = append(s.dirty, a)
	}
}

func (s *state) applyBody(e *entry, done skip, settler Settler) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch b := e.body.(type) {
	case genesis:
		s.identity = b
	case epochBegun:
		if !slices.Contains(s.epochs, b) {
			s.epochs = append(s.epochs, b)
		}
	case clockSet:
		s.clock = b.Time
	case nameGiven:
		if b.ID < nameBase || b.ID > nameBase+maxNames {
			return fmt.Errorf("entry %d: %w: name number %d", e.seq, errMalformed, b.ID)
		}
		s.table.Store(s.table.Load().with(b))
		s.tableChanged = true
	case periodOpened:
		s.periods[b.Period.Month] = b.Period
	case zoneSet:
		return s.addZone(b)
	case versionMade:
		if err := s.addVersion(b.Version); err != nil {
			return err
		}
	case userChange:
		return s.putUser(b.User)
	case assignment:
		return s.changeUser(b.User, func(u *User) { u.Plans = b.Plans })
	case keyChange:
		return s.putKey(b.Key)
	case granted:
		if b.Payment != 0 {
			if err := s.bought(e.seq, b.User, b.Payment); err != nil {
				return fmt.Errorf("entry %d: %w", e.seq, err)
			}
		}
		return s.credit(e, b.User, done, settler, func(p *purse) error {
			p.byPlan(b.Grant)
			return p.grant(Left{e.seq, b.Grant.Source, b.Grant.Amount, b.Grant.Expires})
		})
	case taken:
		return s.credit(e, b.User, done, settler, func(p *purse) error {
			if b.Amount == 0 { // all of it was just being burnt
				return nil
			}
			return p.take(b.Grant, b.Amount)
		})
	case corrected:
		return s.correct(e, b, done)
	case entered:
		if err := s.enter(e.seq, &b); err != nil {
			return fmt.Errorf("entry %d: %w", e.seq, err)
		}
	case paymentEntered:
		if err := s.enterPayment(e.seq, &b); err != nil {
			return fmt.Errorf("entry %d: %w", e.seq, err)
		}
	case noticeEntered:
		if err := s.enterNotice(e.seq, &b, done); err != nil {
			return fmt.Errorf("entry %d: %w", e.seq, err)
		}
	case providerPinned:
		s.billing.Provider = b.Provider
	case reconciled:
		s.billing.Reconciled, s.billing.Numbered = b.Epoch, max(s.billing.Numbered, b.Numbered)
	default:
		return fmt.Errorf("entry %d: %w: no rule for it", e.seq, errMalformed)
	}
	s.tableChanged = true
	return nil
}

func (s *state) addVersion(v Version) error {
	if v.ID == 0 || int(v.ID) > len(s.versions) {
		return fmt.Errorf("%w: version %d follows version %d", errMalformed, v.ID, len(s.versions)-1)
	}
	if int(v.ID) < len(s.versions) {
		return nil // replayed
	}
	if v.User != 0 && (v.Kind != PlanVersion || v.User > maxID) {
		return fmt.Errorf("%w: version %d is of user %d", errMalformed, v.ID, v.User)
	}
	s.versions = append(s.versions, &v)
	if v.User != 0 {
		s.own[v.User] = append(s.own[v.User], &v)
		return nil
	}
	name := versionName{v.Kind, v.Name}
	s.byName[name] = append(s.byName[name], &v)
	return nil
}

const maxID = 1 << 28 // of users and keys: a malformed entry must not ask for all memory

func (s *state) putUser(u User) error {
	if u.ID == 0 || u.ID > maxID || int(u.ID) > len(s.accounts) {
		return fmt.Errorf("%w: user %d follows user %d", errMalformed, u.ID, len(s.accounts)-1)
	}
	if int(u.ID) == len(s.accounts) {
		a := &Account{id: u.ID}
		a.user.Store(&User{ID: u.ID})
		s.accounts = append(s.accounts, a)
	}
	return s.changeUser(u.ID, func(old *User) {
		u.Plans, u.Keys, u.Personal = old.Plans, old.Keys, old.Personal
		u.Invoices, u.Payments, u.Notices = old.Invoices, old.Payments, old.Notices
		*old = u
	})
}

func (s *state) changeUser(id UserID, change func(*User)) error {
	if id == 0 || int(id) >= len(s.accounts) {
		return fmt.Errorf("%w: user %d was never added", errMalformed, id)
	}
	a := s.accounts[id]
	s.touch(a)
	a.userChanged = true
	u := *a.User()
	change(&u)
	a.user.Store(&u)
	return nil
}

// setPersonal gives a user the personal data that is kept outside the log.
func (s *state) setPersonal(id UserID, p Personal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[id]
	u := *a.User()
	delete(s.byEmail, strings.ToLower(u.Personal.Email))
	u.Personal = p
	if p.Email != "" {
		s.byEmail[strings.ToLower(p.Email)] = id
	}
	a.user.Store(&u)
}

func (s *state) putKey(k Key) error {
	if k.ID == 0 || k.ID > maxID || int(k.ID) > len(s.keys) {
		return fmt.Errorf("%w: key %d follows key %d", errMalformed, k.ID, len(s.keys)-1)
	}
	if k.Index < 0 || k.Index >= int(k.ID) || k.Counts < 0 || k.Counts > k.Index {
		return fmt.Errorf("%w: key %d at place %d of its user counts as place %d", errMalformed, k.ID, k.Index, k.Counts)
	}
	hash, err := hashFromHex(k.HashHex)
	if err != nil {
		return fmt.Errorf("%w: key %d: %w", errMalformed, k.ID, err)
	}
	k.Hash = hash
	if int(k.ID) == len(s.keys) {
		s.keys = append(s.keys, nil)
	}
	s.keys[k.ID] = &k
	s.byHash[k.Hash] = &k
	return s.changeUser(k.User, func(u *User) {
		if !slices.Contains(u.Keys, k.ID) {
			u.Keys = append(slices.Clip(u.Keys), k.ID)
		}
	})
}

// correct folds a correction: what the record was is taken back, what it is now is counted.
func (s *state) correct(e *entry, c corrected, done skip) error {
	was, now := c.records()
	s.corrected[c.Of] = struct{}{}
	s.tableChanged = true
	for _, id := range []UserID{0, c.User} {
		if int(id) >= len(s.accounts) {
			return fmt.Errorf("%w: correction for user %d, who was never added", errMalformed, id)
		}
		if done.has(e.seq, id) {
			continue
		}
		a := s.accounts[id]
		s.touch(a)
		a.mu.Lock()
		month, err := s.month(a, c.Period)
		if err == nil {
			a.count(&was, month, -1)
			a.count(&now, month, 1)
		}
		a.mu.Unlock()
		if err != nil {
			return err
		}
		if c.User == 0 {
			break
		}
	}
	return nil
}

func (s *state) wasCorrected(seq uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.corrected[seq]
	return ok
}

// inMemory is the first month of which all totals are in memory.
func (s *state) inMemory() Month { return Month(s.loaded.Load()) }
