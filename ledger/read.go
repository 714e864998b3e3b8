package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Reading takes short read transactions and calls back between them, never
// inside: a slow reader must not keep bbolt from using freed pages again.
const (
	readRecords = 256 // records of a user in one transaction, at the most
	firstRead   = 16  // in the first: mostly a page of few is wanted
	readValues  = 16  // packed values of the log in one transaction
)

func (l *Ledger) name(n uint32) string { return l.state.table.Load().name(n) }

// seekEntry finds the packed value of an entry and moves to just before it.
func seekEntry(tx *bolt.Tx, seq uint64) (packed, error) {
	first, value := uint64(0), []byte(nil)
	t, ok, err := readTail(tx)
	switch {
	case err != nil:
		return packed{}, err
	case ok && t.first <= seq:
		first, value = t.first, t.value
	default:
		c := tx.Bucket(bucketLog).Cursor()
		k, v := c.Seek(packKey(seq))
		if !bytes.Equal(k, packKey(seq)) {
			if k == nil {
				k, v = c.Last()
			} else {
				k, v = c.Prev()
			}
		}
		if len(k) != 8 {
			return packed{}, fmt.Errorf("entry %d: %w", seq, ErrNotFound)
		}
		first, value = binary.BigEndian.Uint64(k), v
	}
	p, err := openPacked(first, value)
	for err == nil && p.at.seq+1 < seq {
		var stored []byte
		if stored, err = p.next(); stored == nil {
			break
		}
		step := reader{b: stored[1:]}
		p.at.logged += step.count()
	}
	if err == nil && (p.at.seq+1 != seq || len(p.rest) == 0) {
		err = fmt.Errorf("entry %d: %w", seq, ErrNotFound)
	}
	return p, err
}

func (l *Ledger) readEntry(tx *bolt.Tx, seq uint64, e *entry) error {
	p, err := seekEntry(tx, seq)
	if err == nil {
		_, err = p.read(e, l.name)
	}
	return err
}

// usageAt reads one usage record.
func (l *Ledger) usageAt(seq uint64) (*Usage, error) {
	var e entry
	err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, seq, &e) })
	if err == nil && e.body != nil {
		err = fmt.Errorf("entry %d is no usage record: %w", seq, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &e.usage, nil
}

// UserRecords walks the records of a user, newest first in the order logged,
// whose time lies in [from, to); zero times mean no bound. It starts below the
// sequence number cursor, which must be of a record of the user, or at the
// newest when cursor is 0. each returns false to stop.
func (l *Ledger) UserRecords(ctx context.Context, user UserID, cursor uint64, from, to time.Time, each func(*Usage) bool) error {
	a := l.Account(user)
	if a == nil {
		return fmt.Errorf("user %d: %w", user, ErrNotFound)
	}
	next, err := l.newestOf(a, cursor, to)
	if err != nil {
		return err
	}
	page := make([]Usage, 0, firstRead)
	for most := firstRead; next != 0; most = min(4*most, readRecords) {
		if err := ctx.Err(); err != nil {
			return err
		}
		page = page[:0]
		err := view(l.db, func(tx *bolt.Tx) error {
			var e entry
			for n := 0; next != 0 && n < most; n++ {
				if err := l.readEntry(tx, next, &e); err != nil {
					return err
				}
				u := &e.usage
				if e.body != nil || u.User != user || e.back >= next {
					return fmt.Errorf("%w: entry %d is not of user %d", ErrCorrupt, next, user)
				}
				if !from.IsZero() && u.Logged.Add(MaxAhead).Before(from) {
					next = 0
					break
				}
				if !u.Time.Before(from) && (to.IsZero() || u.Time.Before(to)) {
					page = append(page, *u)
				}
				next -= e.back
				if e.back == 0 {
					next = 0
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("records of user %d: %w", user, err)
		}
		for i := range page {
			if !each(&page[i]) {
				return nil
			}
		}
	}
	return nil
}

// newestOf is where a walk over a user's records starts: the newest, or where
// to lies back, the last record of the first hour in which none can be of
// before to any more.
func (l *Ledger) newestOf(a *Account, cursor uint64, to time.Time) (uint64, error) {
	if cursor != 0 {
		var e entry
		err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, cursor, &e) })
		if err == nil && (e.body != nil || e.usage.User != a.id) || errors.Is(err, ErrNotFound) {
			return 0, fmt.Errorf("cursor %d is no record of user %d: %w", cursor, a.id, ErrNotFound)
		}
		if err != nil || e.back == 0 {
			return 0, err
		}
		return cursor - e.back, nil
	}
	a.Lock()
	last, late := a.last, time.Duration(a.late)*time.Millisecond
	a.Unlock()
	if to.IsZero() {
		return last, nil
	}
	err := view(l.db, func(tx *bolt.Tx) error {
		bucket, n := tx.Bucket(bucketHours), l.state.table.Load()
		oldest, _ := bucket.Cursor().First()
		if len(oldest) != 8 {
			return nil
		}
		first, _ := splitHourKey(oldest)
		// Records of before to are logged within late of their time; any record
		// that happened MaxAhead after that was logged after all of them.
		c := bucket.Cursor()
		for hour, end := max(hourOf(to.Add(late+MaxAhead))+1, first), hourOf(l.lastLogged()); hour <= end; hour++ {
			k, _ := c.Seek(hourKey(hour, 0)) // hours without any rows are skipped
			if len(k) != 8 {
				return nil
			}
			if next, _ := splitHourKey(k); next > hour {
				if hour = next; hour > end {
					return nil
				}
			}
			row, err := hourRowOf(bucket, hour, a.id, n)
			if err != nil {
				return err
			}
			if row != nil {
				last = row.last
				return nil
			}
		}
		return nil
	})
	return last, err
}

func (l *Ledger) lastLogged() time.Time { return time.UnixMilli(l.position.Load().logged).UTC() }

// Records walks the records of everyone, in the order logged, from the entry
// after cursor, whose time lies in [from, to); zero times mean no bound. each
// returns false to stop.
func (l *Ledger) Records(ctx context.Context, cursor uint64, from, to time.Time, each func(*Usage) bool) error {
	end := l.position.Load().seq
	everyone := l.state.account(0)
	everyone.Lock()
	late := time.Duration(everyone.late) * time.Millisecond
	everyone.Unlock()
	next := cursor + 1
	if !from.IsZero() {
		err := view(l.db, func(tx *bolt.Tx) error {
			next = max(next, firstLogged(tx, from.Add(-MaxAhead).UnixMilli()))
			return nil
		})
		if err != nil {
			return err
		}
	}
	var page []Usage
	for next <= end {
		if err := ctx.Err(); err != nil {
			return err
		}
		page = page[:0]
		past, before := false, next
		err := view(l.db, func(tx *bolt.Tx) error {
			values := 0
			err := eachPacked(tx, next, func(first uint64, value []byte) error {
				p, err := openPacked(first, value)
				var e entry
				for ok := true; err == nil && ok; {
					if ok, err = p.read(&e, l.name); !ok || e.seq < next || e.seq > end {
						continue
					}
					next = e.seq + 1
					past = !to.IsZero() && e.logged > to.Add(late).UnixMilli()
					if u := &e.usage; e.body == nil && !u.Time.Before(from) && (to.IsZero() || u.Time.Before(to)) {
						page = append(page, *u)
					}
				}
				if values++; err == nil && (values == readValues || past) {
					return errEnough
				}
				return err
			})
			if errors.Is(err, errEnough) {
				err = nil
			}
			if err == nil && next == before { // pages that lead nowhere, or in a circle
				err = fmt.Errorf("%w: the log has no entry %d", ErrCorrupt, next)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("records: %w", err)
		}
		for i := range page {
			if !each(&page[i]) {
				return nil
			}
		}
		if past {
			return nil
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// firstLogged is an entry at or before the first that was logged at milli or
// later: the start of its packed value, found by bisection.
func firstLogged(tx *bolt.Tx, milli int64) uint64 {
	c := tx.Bucket(bucketLog).Cursor()
	k, _ := c.Last()
	if len(k) != 8 {
		return 1
	}
	last := binary.BigEndian.Uint64(k)
	seq := sort.Search(int(last), func(i int) bool {
		_, v := c.Seek(packKey(uint64(i) + 1))
		p, err := openPacked(1, v)
		return err == nil && p.at.logged >= milli
	})
	// The value before has the entry, if it is not the value's own first.
	k, _ = c.Seek(packKey(uint64(seq) + 1))
	if k != nil {
		k, _ = c.Prev()
	} else {
		k, _ = c.Last()
	}
	if len(k) != 8 {
		return 1
	}
	return binary.BigEndian.Uint64(k)
}

// RecordByRequest finds the record of a request id. It seeks to the time in
// the id and looks on from there: a record is logged when its call has ended.
func (l *Ledger) RecordByRequest(ctx context.Context, id RequestID) (*Usage, error) {
	var found *Usage
	at := id.Time()
	err := l.Records(ctx, 0, at, at.Add(time.Millisecond), func(u *Usage) bool {
		if u.RequestID() == id {
			found = u
		}
		return found == nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("record of %v: %w", id, ErrNotFound)
	}
	return found, err
}

// Recall finds the newest record with a remembered id that was admitted at
// since or later; ErrNotFound when there is none.
func (l *Ledger) Recall(since time.Time, id [16]byte) (*Usage, error) {
	inMemory := l.state.remembered.inMemory(id) // before the transaction: ids move from memory to disk
	var found *Usage
	err := view(l.db, func(tx *bolt.Tx) error {
		onDisk, err := l.state.remembered.onDisk(tx, id, since)
		for _, seq := range append(inMemory, onDisk...) {
			var e entry
			if err := l.readEntry(tx, seq, &e); err != nil {
				return err
			}
			if e.body == nil && e.usage.Remember.ID == id && !e.usage.Time.Before(since) {
				found = &e.usage
				return nil
			}
		}
		return err
	})
	if err == nil && found == nil {
		err = fmt.Errorf("remembered id: %w", ErrNotFound)
	}
	return found, err
}
