package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// recovered is what open learns from the file.
type recovered struct {
	state *state
	at    position // after the last entry
	value []byte   // the open packed value
	first uint64   // its first entry
	saved position // the checkpoint that the rows on disk stand for
}

// recoverState loads the last checkpoint and replays the entries after it. It
// proves their chain on the way, so that a torn copy is told here.
func recoverState(tx *bolt.Tx, progress func(string, uint64, uint64)) (recovered, error) {
	if err := isLedger(tx); err != nil {
		return recovered{}, err
	}
	mark, err := readCheckpoint(tx)
	if err != nil {
		return recovered{}, err
	}
	r := recovered{state: newState()}
	r.state.monthOnDisk = func(id UserID, m Month) ([]PlanTotals, error) { return r.state.monthIn(tx, id, m) }
	for _, name := range [][]byte{bucketUsers, bucketAccounts, bucketMonths, bucketHours} {
		if k, _ := tx.Bucket(name).Cursor().First(); k != nil && mark.Fold == 0 {
			return recovered{}, fmt.Errorf("%w: nothing says which entries its totals stand for", ErrCorrupt)
		}
	}
	if mark.Fold != 0 {
		if err := r.state.load(tx); err != nil {
			return r, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	r.saved = mark.At.position()
	var done skip
	if mark.Next != nil {
		done = skip{seq: mark.Next.Seq, to: mark.Done}
		r.state.ahead = mark.Done
	}
	if err := r.replay(tx, done, progress); err != nil {
		return r, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if mark.Next != nil && r.at.seq < mark.Next.Seq {
		return r, fmt.Errorf("%w: its log ends at entry %d, before its totals", ErrCorrupt, r.at.seq)
	}
	return r, loadPersonal(tx, r.state)
}

// isLedger returns ErrCorrupt for a file without the buckets and the format of
// a ledger.
func isLedger(tx *bolt.Tx) error {
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: it has no bucket %q", ErrCorrupt, name)
		}
	}
	if format := tx.Bucket(bucketMeta).Get(formatKey); string(format) != fileFormat {
		return fmt.Errorf("%w: its format is %q and this tollgate reads %q", ErrCorrupt, format, fileFormat)
	}
	return nil
}

// replay folds the entries after the checkpoint.
func (r *recovered) replay(tx *bolt.Tx, done skip, progress func(string, uint64, uint64)) error {
	r.at = r.saved
	last := lastEntry(tx)
	var e entry
	table := func(n uint32) string { return r.state.table.Load().name(n) }
	err := eachPacked(tx, r.saved.seq+1, func(first uint64, value []byte) error {
		p, err := openPacked(first, value)
		if err != nil {
			return err
		}
		if first > r.at.seq && p.at != r.at {
			return fmt.Errorf("the packed value of entry %d does not follow entry %d on the chain", first, r.at.seq)
		}
		for {
			before := p.at.logged
			stored, err := p.next()
			if err != nil {
				return err
			}
			if stored == nil {
				break
			}
			if err := decodeEntry(stored, before, &e, table); err != nil {
				return fmt.Errorf("entry %d: %w", p.at.seq, err)
			}
			p.at.logged = e.logged
			if p.at.seq <= r.saved.seq {
				continue
			}
			if p.at.seq != r.at.seq+1 {
				return fmt.Errorf("entry %d follows entry %d", p.at.seq, r.at.seq)
			}
			e.seq, e.usage.Seq = p.at.seq, p.at.seq
			r.at = position{p.at.seq, chain(r.at.head, stored), e.logged}
			if err := r.state.apply(&e, done, nil); err != nil {
				return err
			}
			if u := &e.usage; e.body == nil && u.User != 0 {
				r.state.accounts[u.User].tail = e.seq
			}
		}
		r.value, r.first = append(r.value[:0], value...), first
		if progress != nil && r.at.seq-r.saved.seq > checkpointEntries {
			progress("replaying the ledger", r.at.seq, last)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t, ok, err := readTail(tx)
	switch {
	case err != nil:
		return err
	case ok != (r.at.seq > 0) || ok && r.first != t.first:
		return errors.New("its log and its tail do not meet")
	case ok && t.head != r.at.head:
		return fmt.Errorf("its chain does not end as it should at entry %d", r.at.seq)
	}
	if r.at.seq < r.saved.seq || r.at.seq == r.saved.seq && r.saved.seq > 0 && !r.endsAtCheckpoint() {
		return fmt.Errorf("its log does not lead to its checkpoint at entry %d", r.saved.seq)
	}
	return nil
}

// endsAtCheckpoint proves that the open value ends with the checkpoint's entry
// and head, when there was nothing to replay.
func (r *recovered) endsAtCheckpoint() bool {
	p, err := openPacked(r.first, r.value)
	if err != nil {
		return false
	}
	head := p.at.head
	for {
		stored, err := p.next()
		if err != nil {
			return false
		}
		if stored == nil {
			p.at.head = head
			return p.at == r.saved
		}
		head = chain(head, stored)
		step := reader{b: stored[1:]}
		p.at.logged += step.count()
	}
}

// load reads the folded rows.
func (s *state) load(tx *bolt.Tx) error {
	// Whatever checkpoint wrote rows wrote the registry before them.
	if err := s.readRegistry(tx.Bucket(bucketMeta).Get(registryKey)); err != nil {
		return err
	}
	if err := tx.Bucket(bucketUsers).ForEach(func(k, v []byte) error {
		var row userRow
		if err := json.Unmarshal(v, &row); err != nil {
			return fmt.Errorf("user %x: %w", k, err)
		}
		return s.loadUser(row)
	}); err != nil {
		return err
	}
	if err := tx.Bucket(bucketAccounts).ForEach(func(k, v []byte) error {
		return eachRow(k, v, func(id UserID, row []byte) error {
			a, err := s.accountOf(id)
			if err != nil {
				return err
			}
			return a.readRow(row)
		})
	}); err != nil {
		return err
	}
	return s.loadMonths(tx.Bucket(bucketMonths))
}

func (s *state) loadUser(row userRow) error {
	if row.User == nil || int(row.User.ID) != len(s.accounts) {
		return fmt.Errorf("row of no user that follows user %d: %w", len(s.accounts)-1, errMalformed)
	}
	a := &Account{id: row.User.ID}
	a.user.Store(row.User)
	s.accounts = append(s.accounts, a)
	for _, ref := range row.User.Invoices {
		if err := s.place(row.User.ID, ref.ID); err != nil {
			return err
		}
	}
	for _, k := range row.Keys {
		if k == nil || k.ID == 0 || k.ID > maxID || k.Index < 0 || k.Index >= int(k.ID) || k.Counts < 0 || k.Counts > k.Index {
			return fmt.Errorf("keys of user %d: %w", a.id, errMalformed)
		}
		hash, err := hashFromHex(k.HashHex)
		if err != nil {
			return fmt.Errorf("key %d of user %d: %w: %w", k.ID, a.id, errMalformed, err)
		}
		k.Hash = hash
		for len(s.keys) <= int(k.ID) {
			s.keys = append(s.keys, nil)
		}
		s.keys[k.ID] = k
		s.byHash[hash] = k
	}
	return nil
}

// accountOf is the account that a row is of.
func (s *state) accountOf(id UserID) (*Account, error) {
	if int(id) < len(s.accounts) && s.accounts[id] != nil {
		return s.accounts[id], nil
	}
	return nil, fmt.Errorf("totals of user %d, who was never added: %w", id, errMalformed)
}

// loadMonths reads the totals of the newest month and the one before it.
func (s *state) loadMonths(bucket *bolt.Bucket) error {
	c := bucket.Cursor()
	last, _ := c.Last()
	if last == nil {
		return nil
	}
	if len(last) != 6 {
		return fmt.Errorf("monthly totals under %x: %w", last, errMalformed)
	}
	s.newest = Month(binary.BigEndian.Uint16(last))
	s.loaded.Store(int32(s.newest - 1))
	n := s.table.Load()
	for k, v := c.Seek(monthPrefix(s.inMemory())); k != nil; k, v = c.Next() {
		if len(k) != 6 {
			return fmt.Errorf("monthly totals under %x: %w", k, errMalformed)
		}
		err := eachRow(k, v, func(id UserID, row []byte) error {
			a, err := s.accountOf(id)
			if err != nil {
				return err
			}
			plans, err := decodeMonth(row, n)
			a.months = append(a.months, monthTotals{month: Month(binary.BigEndian.Uint16(k)), plans: plans})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPacked walks the packed values, the tail last, from the one that has or
// would have entry from.
func eachPacked(tx *bolt.Tx, from uint64, f func(first uint64, value []byte) error) error {
	c := tx.Bucket(bucketLog).Cursor()
	k, v := c.Seek(packKey(from))
	switch {
	case k == nil:
		k, v = c.Last()
	case len(k) == 8 && binary.BigEndian.Uint64(k) > from:
		if before, value := c.Prev(); before != nil {
			k, v = before, value
		} else {
			k, v = c.First()
		}
	}
	for ; k != nil; k, v = c.Next() {
		if len(k) != 8 {
			return fmt.Errorf("log key %x: %w", k, errMalformed)
		}
		if err := f(binary.BigEndian.Uint64(k), v); err != nil {
			return err
		}
	}
	t, ok, err := readTail(tx)
	if err != nil || !ok {
		return err
	}
	return f(t.first, t.value)
}

// lastEntry is the sequence number of the last entry, 0 when there is none or
// it cannot be told.
func lastEntry(tx *bolt.Tx) uint64 {
	t, ok, err := readTail(tx)
	if err != nil || !ok {
		return 0
	}
	p, err := openPacked(t.first, t.value)
	for err == nil {
		var stored []byte
		if stored, err = p.next(); stored == nil {
			break
		}
	}
	return p.at.seq
}
