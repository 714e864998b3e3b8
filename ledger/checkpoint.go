package ledger

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// foldVersion is the version of what apply makes of the log. When it changes,
// the rows of older files are made anew from their log at open.
const foldVersion = 3

// sliceAccounts is how many accounts a checkpoint writes with one commit, so
// that no commit waits long for it.
const sliceAccounts = 512

// checkpointRow says which entries the folded rows stand for. While a
// checkpoint runs, Next is what it will stand for, and the rows of users up to
// Done are there already.
type checkpointRow struct {
	Fold int        `json:"fold"`
	At   checkmark  `json:"at"`
	Next *checkmark `json:"next,omitempty"`
	Done int64      `json:"done,omitempty"`
}

type checkmark struct {
	Seq    uint64 `json:"seq"`
	Head   []byte `json:"head"`
	Logged int64  `json:"logged"`
}

func (p position) mark() checkmark { return checkmark{p.seq, p.head[:], p.logged} }

func (m checkmark) position() position {
	p := position{seq: m.Seq, logged: m.Logged}
	copy(p.head[:], m.Head)
	return p
}

// checkpoint writes everything that changed since the last one, as it was at
// one position, over as many commits as that takes. Accounts that change
// meanwhile are set aside first (checkpoint.save).
type checkpoint struct {
	state    *state
	before   position
	at       position
	done     int64 // rows of users up to it stand for at, or for what the process before was at
	registry []byte
	accounts []*Account // to be written, by id
	slice    []*Account // in the running commit
	finished bool
	waiting  []chan error

	room   []savedAccount // to save an allocation for each account
	memory []byte         // that saved rows share
}

// begin takes what is to be written. It is called between commits.
func (s *state) begin(before, at position) (*checkpoint, error) {
	c := &checkpoint{state: s, before: before, at: at, done: s.ahead, accounts: s.dirty}
	s.dirty, s.ahead = nil, 0
	s.loaded.Store(int32(max(s.inMemory(), s.newest-1)))
	slices.SortFunc(c.accounts, func(a, b *Account) int { return cmp.Compare(a.id, b.id) })
	for _, a := range c.accounts {
		a.dirty, a.saving = false, c
	}
	if s.tableChanged {
		var err error
		if c.registry, err = s.encodeRegistry(); err != nil {
			return nil, err
		}
		s.tableChanged = false
	}
	s.remembered.freeze()
	return c, nil
}

// savedAccount is an account's rows as they were when the checkpoint began.
type savedAccount struct {
	user   []byte // nil when unchanged
	row    []byte
	months []savedMonth
	room   [2]savedMonth
	err    error
}

type savedMonth struct {
	month Month
	row   []byte
}

// save sets aside what the checkpoint is to write of a.
func (c *checkpoint) save(a *Account) {
	if len(c.room) == 0 {
		c.room = make([]savedAccount, sliceAccounts)
	}
	saved := &c.room[0]
	c.room = c.room[1:]
	saved.months = saved.room[:0]
	a.saving, a.saved = nil, saved
	if a.userChanged {
		a.userChanged = false
		saved.user, saved.err = json.Marshal(c.state.userRow(a))
	}
	n := c.state.table.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	saved.row = c.keep(func(b []byte) []byte { return a.appendRow(b) })
	for i := range a.months {
		if m := &a.months[i]; m.changed {
			m.changed = false
			saved.months = append(saved.months, savedMonth{m.month, c.keep(func(b []byte) []byte { return appendMonth(b, m.plans, n) })})
		}
	}
	a.draining, a.hours = a.hours, a.draining
}

// keep returns what appendRow appends, in memory that many rows share.
func (c *checkpoint) keep(appendRow func([]byte) []byte) []byte {
	if cap(c.memory)-len(c.memory) < 1024 {
		c.memory = make([]byte, 0, 1<<16)
	}
	before := len(c.memory)
	c.memory = appendRow(c.memory)
	return c.memory[before:len(c.memory):len(c.memory)]
}

// userRow is what is kept of a user beside the totals and the personal data.
type userRow struct {
	User *User  `json:"user"`
	Keys []*Key `json:"keys,omitempty"`
}

func (s *state) userRow(a *Account) userRow {
	row := userRow{User: a.User()}
	for _, id := range row.User.Keys {
		row.Keys = append(row.Keys, s.keys[id])
	}
	return row
}

// write puts the next slice into tx.
func (c *checkpoint) write(tx *bolt.Tx) error {
	table := c.state.table.Load()
	if c.registry != nil {
		if err := tx.Bucket(bucketMeta).Put(registryKey, c.registry); err != nil {
			return fmt.Errorf("checkpoint registry: %w", err)
		}
		c.registry = nil
	}
	n := min(sliceAccounts, len(c.accounts))
	for n < len(c.accounts) && int64(c.accounts[n].id) <= c.done {
		n++ // all whose rows are ahead go first, so that users up to one stand for the same
	}
	c.slice = c.accounts[:n]
	c.accounts = c.accounts[len(c.slice):]
	hours, err := c.writeRows(tx)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	slices.SortFunc(hours, func(a, b hourRow) int {
		return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.user, b.user))
	})
	if err := mergeHours(hoursBucket(tx), hours, table); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	row := checkpointRow{Fold: foldVersion, At: c.at.mark()}
	if len(c.accounts) == 0 {
		if err := c.state.remembered.write(tx); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		c.finished = true
	} else {
		next := c.at.mark()
		c.done = max(c.done, int64(c.slice[len(c.slice)-1].id))
		row.At, row.Next, row.Done = c.before.mark(), &next, c.done
	}
	return putJSON(tx, checkpointKey, row)
}

// wrote is called when the slice is durable: what it wrote leaves memory.
func (c *checkpoint) wrote() {
	for _, a := range c.slice {
		a.saved = nil
		a.mu.Lock()
		a.draining = a.draining[:0]
		a.months = slices.DeleteFunc(a.months, func(m monthTotals) bool { return m.month < c.state.inMemory() && !m.changed })
		a.mu.Unlock()
	}
	c.slice = nil
	if c.finished {
		c.state.remembered.wrote()
	}
}

func (c *checkpoint) tell(err error) {
	for _, w := range c.waiting {
		w <- err
	}
	c.waiting = nil
}

// writeRows writes the rows of the slice's users, and returns what is to be
// added to their hours.
func (c *checkpoint) writeRows(tx *bolt.Tx) ([]hourRow, error) {
	rows := make([]groupRow, 0, len(c.slice))
	months := map[Month][]groupRow{}
	hours := make([]hourRow, 0, len(c.slice))
	for _, a := range c.slice {
		if a.saving != nil {
			c.save(a)
		}
		s := a.saved
		if s.err != nil {
			return nil, s.err
		}
		if s.user != nil && a.id != 0 {
			if err := tx.Bucket(bucketUsers).Put(userKey(a.id), s.user); err != nil {
				return nil, fmt.Errorf("write user %d: %w", a.id, err)
			}
		}
		rows = append(rows, groupRow{a.id, s.row})
		for _, m := range s.months {
			months[m.month] = append(months[m.month], groupRow{a.id, m.row})
		}
		for _, h := range a.draining {
			hours = append(hours, hourRow{a.id, h})
		}
	}
	if err := putRows(tx.Bucket(bucketAccounts), nil, rows); err != nil {
		return nil, err
	}
	for _, m := range slices.Sorted(maps.Keys(months)) {
		if err := putRows(tx.Bucket(bucketMonths), monthPrefix(m), months[m]); err != nil {
			return nil, err
		}
	}
	return hours, nil
}

// appendRow packs the part of an account that changes with every call:
// last, late, day, its calls, the number of keys, of each: last used, day, its
// calls; and the credits.
func (a *Account) appendRow(b []byte) []byte {
	b = binary.AppendUvarint(b, a.last)
	b = binary.AppendUvarint(b, uint64(a.late))
	b = binary.AppendVarint(b, int64(a.day.number))
	b = binary.AppendUvarint(b, uint64(a.day.calls))
	b = binary.AppendUvarint(b, uint64(len(a.keys)))
	for _, k := range a.keys {
		b = binary.AppendVarint(b, k.last)
		b = binary.AppendVarint(b, int64(k.day.number))
		b = binary.AppendUvarint(b, uint64(k.day.calls))
	}
	return a.purse.appendRow(b)
}

func (a *Account) readRow(b []byte) error {
	r := reader{b: b}
	a.last = r.uvarint()
	a.tail = a.last
	a.late = r.count()
	a.day = dayCount{int32(r.varint()), r.count()}
	a.keys = nil
	for n := r.count(); n > 0 && !r.bad; n-- {
		a.keys = append(a.keys, keyUse{r.varint(), dayCount{int32(r.varint()), r.count()}})
	}
	if a.purse = nil; len(r.b) > 0 {
		a.credits().readRow(&r)
	}
	if r.bad {
		return fmt.Errorf("account of user %d: %w", a.id, errMalformed)
	}
	return nil
}

func appendMonth(b []byte, plans []PlanTotals, n names) []byte {
	for i := range plans {
		b = binary.AppendUvarint(b, uint64(plans[i].Plan))
		b = appendTotals(b, &plans[i].Totals, n)
	}
	return b
}

func decodeMonth(b []byte, n names) ([]PlanTotals, error) {
	r := reader{b: b}
	var plans []PlanTotals
	for len(r.b) > 0 && !r.bad {
		plans = append(plans, PlanTotals{VersionID(r.id()), r.totals(n)})
	}
	if r.bad {
		return nil, fmt.Errorf("monthly totals: %w", errMalformed)
	}
	return plans, nil
}

// registry is the row of everything but users: few and small.
type registry struct {
	Identity  genesis      `json:"identity"`
	Epochs    []epochBegun `json:"epochs,omitempty"`
	Zones     []zoneSet    `json:"zones"`
	Periods   []Period     `json:"periods,omitempty"`
	Names     []nameGiven  `json:"names,omitempty"`
	Versions  []*Version   `json:"versions,omitempty"`
	Clock     time.Time    `json:"clock,omitzero"`
	Corrected []uint64     `json:"corrected,omitempty"`
	Billing   billing      `json:"billing,omitzero"`
}

func (s *state) encodeRegistry() ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := registry{Identity: s.identity, Epochs: s.epochs, Clock: s.clock, Versions: s.versions[1:], Billing: s.billing}
	for _, z := range s.zones {
		r.Zones = append(r.Zones, z.zoneSet)
	}
	for _, p := range s.periods {
		r.Periods = append(r.Periods, p)
	}
	r.Corrected = slices.Sorted(maps.Keys(s.corrected))
	slices.SortFunc(r.Periods, func(a, b Period) int { return cmp.Compare(a.Month, b.Month) })
	for i, text := range s.table.Load().texts {
		if i >= nameBase {
			r.Names = append(r.Names, nameGiven{uint32(i), text})
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode registry: %w", err)
	}
	return text, nil
}

func (s *state) readRegistry(text []byte) error {
	var r registry
	if err := readJSON(text, &r); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if len(r.Zones) == 0 {
		return fmt.Errorf("registry: %w: no time zone", errMalformed)
	}
	s.identity, s.epochs, s.clock, s.billing = r.Identity, r.Epochs, r.Clock, r.Billing
	for _, z := range r.Zones {
		if err := s.addZone(z); err != nil {
			return err
		}
	}
	for _, p := range r.Periods {
		s.periods[p.Month] = p
	}
	table := newNameTable()
	for _, g := range r.Names {
		if g.ID > nameBase+maxNames {
			return fmt.Errorf("registry: %w: name number %d", errMalformed, g.ID)
		}
		table = table.with(g)
	}
	s.table.Store(table)
	for _, v := range r.Versions {
		if v == nil {
			return fmt.Errorf("registry: %w: no version", errMalformed)
		}
		if err := s.addVersion(*v); err != nil {
			return fmt.Errorf("registry: %w", err)
		}
	}
	for _, seq := range r.Corrected {
		s.corrected[seq] = struct{}{}
	}
	s.tableChanged = false
	return nil
}
