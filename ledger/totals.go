package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

func (l *Ledger) monthOnDisk(id UserID, m Month) ([]PlanTotals, error) {
	return monthOf(l.db, id, m, l.state)
}

// monthOf reads the totals of a user's month from a file.
func monthOf(db *bolt.DB, id UserID, m Month, s *state) ([]PlanTotals, error) {
	var plans []PlanTotals
	err := view(db, func(tx *bolt.Tx) (err error) {
		plans, err = s.monthIn(tx, id, m)
		return err
	})
	return plans, err
}

func (s *state) monthIn(tx *bolt.Tx, id UserID, m Month) ([]PlanTotals, error) {
	row, err := rowOf(tx.Bucket(bucketMonths), monthPrefix(m), id)
	if err != nil {
		return nil, err
	}
	return decodeMonth(row, s.table.Load())
}

// Month is what a user used in any month, by plan version; of user 0, what
// everyone used together, under plan 0. The caller owns the slice.
func (l *Ledger) Month(user UserID, m Month) ([]PlanTotals, error) {
	a := l.state.account(user)
	if a == nil {
		return nil, fmt.Errorf("user %d: %w", user, ErrNotFound)
	}
	if plans := a.monthInMemory(m); plans != nil {
		return plans, nil
	}
	plans, err := l.monthOnDisk(user, m)
	if err != nil {
		return nil, fmt.Errorf("%v of user %d: %w", m, user, err)
	}
	return plans, nil
}

func (a *Account) monthInMemory(m Month) []PlanTotals {
	a.Lock()
	defer a.Unlock()
	plans := slices.Clone(a.Month(m))
	for i := range plans {
		plans[i].Named = slices.Clone(plans[i].Named)
	}
	return plans
}

// MonthTotals walks the totals of all users with usage in a month, in the
// order of their ids. The slice is valid until each returns.
func (l *Ledger) MonthTotals(ctx context.Context, m Month, each func(UserID, []PlanTotals) error) error {
	l.state.mu.RLock()
	accounts := slices.Clone(l.state.accounts)
	l.state.mu.RUnlock()
	for first := 1; first < len(accounts); first += readValues * 64 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := accounts[first:min(first+readValues*64, len(accounts))]
		// Memory first: what leaves it meanwhile is on disk by then.
		inMemory := make([][]PlanTotals, len(part))
		for i, a := range part {
			inMemory[i] = a.monthInMemory(m)
		}
		onDisk := map[UserID][]PlanTotals{}
		if m < l.state.inMemory() {
			if err := l.monthRows(m, UserID(first), UserID(first+len(part)), onDisk); err != nil {
				return err
			}
		}
		for i, a := range part {
			plans := inMemory[i]
			if plans == nil {
				plans = onDisk[a.id]
			}
			if len(plans) == 0 {
				continue
			}
			if err := each(a.id, plans); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Ledger) monthRows(m Month, from, to UserID, rows map[UserID][]PlanTotals) error {
	n := l.state.table.Load()
	return view(l.db, func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketMonths).Cursor()
		for k, v := c.Seek(groupKey(monthPrefix(m), from)); len(k) == 6 && Month(binary.BigEndian.Uint16(k)) == m; k, v = c.Next() {
			if binary.BigEndian.Uint32(k[2:])*groupUsers >= uint32(to) {
				break
			}
			err := eachRow(k, v, func(id UserID, row []byte) (err error) {
				rows[id], err = decodeMonth(row, n)
				return err
			})
			if err != nil {
				return fmt.Errorf("totals of %v: %w", m, err)
			}
		}
		return nil
	})
}

// RouteHour is what was used on a route version in an hour of UTC.
type RouteHour struct {
	Hour  time.Time
	Route VersionID
	Totals
}

// Hours walks what a user did in the hours that begin in [from, to), by hour
// and route; of user 0, what everyone did together.
func (l *Ledger) Hours(user UserID, from, to time.Time, each func(RouteHour) error) error {
	a := l.state.account(user)
	if a == nil {
		return fmt.Errorf("user %d: %w", user, ErrNotFound)
	}
	first, end := max(hourOf(from.Add(time.Hour-1)), 0), hourOf(to.Add(time.Hour-1)) // keys do not order before 1970
	rows, err := l.hourRows(a, first, end)
	if err != nil {
		return fmt.Errorf("hours of user %d: %w", user, err)
	}
	slices.SortFunc(rows, func(x, y hourTotals) int { return int(x.hour) - int(y.hour) })
	for _, h := range rows {
		for _, r := range h.routes {
			if err := each(RouteHour{time.Unix(int64(h.hour)*3600, 0).UTC(), r.route, r.Totals}); err != nil {
				return err
			}
		}
	}
	return nil
}

// hourRows joins what is on disk with what the next checkpoint will add to it.
func (l *Ledger) hourRows(a *Account, first, end int32) ([]hourTotals, error) {
	rows := map[int32]*hourTotals{}
	add := func(h hourTotals) {
		if h.hour < first || h.hour >= end {
			return
		}
		if rows[h.hour] == nil {
			rows[h.hour] = &hourTotals{hour: h.hour}
		}
		rows[h.hour].merge(h)
	}
	l.drain.RLock() // until the transaction has begun, nothing moves from memory to disk
	a.Lock()
	for _, h := range a.hours {
		add(h)
	}
	for _, h := range a.draining {
		add(h)
	}
	a.Unlock()
	tx, err := l.db.Begin(false)
	l.drain.RUnlock()
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // a read transaction's rollback cannot fail
	err = guard(func() error {
		bucket, n := tx.Bucket(bucketHours), l.state.table.Load()
		c := bucket.Cursor()
		for hour := first; hour < end; hour++ {
			k, _ := c.Seek(hourKey(hour, 0)) // hours without any rows are skipped
			if k == nil {
				break
			}
			if next, _ := splitHourKey(k); next > hour {
				if hour = next; hour >= end {
					break
				}
			}
			row, err := hourRowOf(bucket, hour, a.id, n)
			if err != nil {
				return err
			}
			if row != nil {
				add(row.hourTotals)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]hourTotals, 0, len(rows))
	for _, h := range rows {
		list = append(list, *h)
	}
	return list, nil
}

// hourRowOf reads a user's row of an hour from disk; nil when there is none.
func hourRowOf(bucket *bolt.Bucket, hour int32, user UserID, n names) (*hourRow, error) {
	key, _, err := packedHourOf(bucket, hour, user)
	if err != nil || key == nil {
		return nil, err
	}
	return findHour(key, bucket.Get(key), user, n)
}
