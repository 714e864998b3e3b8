package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// AddUsers adds n users with few commits, for tests with many.
func AddUsers(l *Ledger, now time.Time, n int) error {
	first := len(l.state.accounts)
	for done := 0; done < n; done += 1000 {
		var bodies []body
		personal := map[UserID][]byte{}
		for i := done; i < min(n, done+1000); i++ {
			id := UserID(first + i)
			row, hash, err := newPersonalRow(Personal{Email: fmt.Sprintf("u%d@example.com", id)})
			if err != nil {
				return err
			}
			personal[id] = row
			bodies = append(bodies, userChange{User: User{ID: id, Status: Active, Created: now, PersonalHash: hash}},
				assignment{User: id, Plans: []Assignment{{"free", now}}})
		}
		if err := l.record(now, personal, bodies...); err != nil {
			return err
		}
	}
	return nil
}

// Sizes is what the buckets of a file take, whole pages and all.
type Sizes struct{ LogBytes, HourBytes, HourRows int }

// Measure measures a file that no ledger has open.
func Measure(path string) (Sizes, error) {
	var s Sizes
	db, err := openFile(path, true)
	if err != nil {
		return s, err
	}
	defer db.Close()
	return s, view(db, func(tx *bolt.Tx) error {
		pages := func(name []byte) int {
			st := tx.Bucket(name).Stats()
			return st.LeafAlloc + st.BranchAlloc
		}
		s.LogBytes, s.HourBytes = pages(bucketLog), pages(bucketHours)
		return tx.Bucket(bucketHours).ForEach(func(k, v []byte) error {
			rows, err := decodeHour(k, v, newNameTable())
			for _, r := range rows {
				if r.user != 0 {
					s.HourRows += len(r.routes)
				}
			}
			return err
		})
	})
}

// CopyAsItIs copies the file as a process that is killed now leaves it.
func CopyAsItIs(l *Ledger, path string) error {
	return l.db.View(func(tx *bolt.Tx) error { return tx.CopyFile(path, 0o600) })
}

// Abandon closes a ledger without writing anything more to its file.
func Abandon(l *Ledger) error {
	_ = l.fail(errors.New("abandoned by a test"))
	return l.Close()
}

// Forge logs an invoice as it is, whatever the rules say. Nil moves are those
// that follow from it.
func Forge(l *Ledger, now time.Time, i Invoice, forged []Move) error {
	if forged == nil {
		old, err := l.Invoice(i.ID)
		if err != nil {
			old = nil
		}
		if forged, err = i.follows(old); err != nil {
			forged = []Move{}
		}
	}
	return l.record(now, nil, entered{i, forged, "forger"})
}

// UserGrant is a grant to a user, maybe as if a payment had bought it.
type UserGrant struct {
	User    UserID
	Grant   Grant
	Payment PaymentID
}

// PaymentEntry is a payment as it is from then on. Nil moves are those that follow.
type PaymentEntry struct {
	Payment Payment
	Moves   []Move
}

// InOneCommit logs records, corrections, notices, grants, invoices and payments, in
// their order, in one commit, whatever the rules say. A correction is of a record
// that is there.
func InOneCommit(l *Ledger, now time.Time, list ...any) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	var items []item
	for _, v := range list {
		it := item{now: now}
		switch v := v.(type) {
		case Usage:
			it.entry.usage = v
		case Notice:
			it.entry.body = noticeEntered{Notice: v}
		case UserGrant:
			it.entry.body = granted{User: v.User, Grant: v.Grant, Back: l.Account(v.User).creditEntry(), Payment: v.Payment}
		case Invoice:
			moves, err := v.follows(nil)
			if err != nil {
				return err
			}
			it.entry.body = entered{v, moves, "forger"}
		case PaymentEntry:
			if v.Moves == nil {
				old, err := l.Payment(v.Payment.User, v.Payment.ID)
				if err != nil {
					old = nil
				}
				if v.Moves, err = v.Payment.follows(old); err != nil {
					v.Moves = []Move{}
				}
			}
			it.entry.body = paymentEntered{v.Payment, v.Moves, "forger"}
		case Correction:
			u, err := l.usageAt(v.Of)
			if err != nil {
				return err
			}
			it.entry.body = corrected{Correction: v, User: u.User, Time: u.Time, Period: u.Period, Route: u.Route, Plan: u.Plan, Was: u.Quantities, Paid: u.Cost, Bill: u.Billed}
		}
		items = append(items, it)
	}
	if err := l.queue.join(); err != nil {
		return err
	}
	l.queue.open.items = append(l.queue.open.items, items...)
	return l.queue.leave().Wait(context.Background())
}

// Untell makes a ledger believe that a user was never told anything.
func Untell(l *Ledger, user UserID) {
	a := l.Account(user)
	u := *a.User()
	u.Notices = nil
	a.user.Store(&u)
}

// InCheckpoint tells whether a file was left in the middle of a checkpoint.
func InCheckpoint(path string) (bool, error) {
	db, err := openFile(path, true)
	if err != nil {
		return false, err
	}
	defer db.Close()
	var row checkpointRow
	err = view(db, func(tx *bolt.Tx) (err error) {
		row, err = readCheckpoint(tx)
		return err
	})
	return row.Next != nil, err
}
