package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// folder reads a log from its first entry, proves its chain and folds it into
// a new file: with the log itself that is a copy (backup, restore, mending),
// without it the totals that verify compares with.
type folder struct {
	dst      *bolt.DB
	state    *state
	withLog  bool
	at       position
	saved    position
	entry    entry
	inspect  func(e *entry, s *state) // called before each entry is folded
	progress func(done, total uint64)
}

const foldValues = 1024 // packed values in one transaction: short, so that freed pages can be used again

// newFolder makes the file at path, which must not exist.
func newFolder(path string, withLog bool) (*folder, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	dst, err := openFile(path, false)
	if err != nil {
		return nil, err
	}
	dst.NoSync = true // synced once, at the end
	if err := create(dst); err != nil {
		return nil, errors.Join(err, dst.Close())
	}
	f := &folder{dst: dst, state: newState(), withLog: withLog}
	f.state.monthOnDisk = func(id UserID, m Month) ([]PlanTotals, error) { return monthOf(dst, id, m, f.state) }
	return f, nil
}

// everything is past the last entry of any log.
const everything = 1 << 63

// paced folds the packed values of src but the open one, up to an entry, in
// short transactions, so that it can be in use.
func (f *folder) paced(ctx context.Context, src *bolt.DB, upTo uint64) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more := false
		var values []packedValue
		var total uint64
		err := view(src, func(tx *bolt.Tx) error {
			total = lastEntry(tx)
			c := tx.Bucket(bucketLog).Cursor()
			for k, v := c.Seek(packKey(f.at.seq + 1)); k != nil; k, v = c.Next() {
				if len(values) == foldValues {
					more = true
					return nil
				}
				if len(k) != 8 {
					return fmt.Errorf("%w: log key %x", ErrCorrupt, k)
				}
				if binary.BigEndian.Uint64(k) > upTo {
					return nil
				}
				values = append(values, packedValue{binary.BigEndian.Uint64(k), append([]byte{}, v...)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := f.add(values, upTo); err != nil {
			return err
		}
		if f.progress != nil {
			f.progress(f.at.seq, total)
		}
		if !more {
			return nil
		}
	}
}

// rest folds and copies what is left of src, the tail included.
func (f *folder) rest(tx *bolt.Tx) error {
	var values []packedValue
	err := eachPacked(tx, f.at.seq+1, func(first uint64, value []byte) error {
		if first > f.at.seq {
			values = append(values, packedValue{first, append([]byte{}, value...)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	t, ok, err := readTail(tx)
	if err != nil || !ok {
		return err
	}
	open := len(values) - 1
	if open < 0 || t.first != values[open].first {
		return fmt.Errorf("%w: its log and its tail do not meet", ErrCorrupt)
	}
	if err := f.add(values[:open], everything); err != nil {
		return err
	}
	if err := f.fold(values[open], everything); err != nil {
		return err
	}
	if f.at.head != t.head {
		return fmt.Errorf("%w: its chain does not end as it should at entry %d", ErrCorrupt, f.at.seq)
	}
	return f.dst.Update(t.store)
}

// upTo folds from src, without copying, up to an entry.
func (f *folder) upTo(tx *bolt.Tx, seq uint64) error {
	return eachPacked(tx, f.at.seq+1, func(first uint64, value []byte) error {
		if first > seq {
			return nil
		}
		return f.fold(packedValue{first, value}, seq)
	})
}

// add folds packed values, copies them, and checkpoints now and then.
func (f *folder) add(values []packedValue, upTo uint64) error {
	for _, v := range values {
		if err := f.fold(v, upTo); err != nil {
			return err
		}
	}
	if f.withLog && len(values) > 0 {
		err := f.dst.Update(func(tx *bolt.Tx) error {
			log := tx.Bucket(bucketLog)
			log.FillPercent = 1
			for _, v := range values {
				if err := log.Put(packKey(v.first), v.value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("copy log: %w", err)
		}
	}
	if f.at.seq-f.saved.seq >= checkpointEntries {
		return f.checkpoint()
	}
	return nil
}

// fold folds the entries of a packed value that are new, up to an entry.
func (f *folder) fold(v packedValue, upTo uint64) error {
	p, err := openPacked(v.first, v.value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if v.first > f.at.seq && p.at != f.at {
		return fmt.Errorf("%w: the packed value of entry %d does not follow entry %d on the chain", ErrCorrupt, v.first, f.at.seq)
	}
	for p.at.seq < upTo {
		stored, err := p.next()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if stored == nil {
			return nil
		}
		if p.at.seq <= f.at.seq {
			continue
		}
		if err := decodeEntry(stored, f.at.logged, &f.entry, f.state.table.Load().name); err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, p.at.seq, err)
		}
		f.entry.seq, f.entry.usage.Seq = p.at.seq, p.at.seq
		f.at = position{p.at.seq, chain(f.at.head, stored), f.entry.logged}
		if f.inspect != nil {
			f.inspect(&f.entry, f.state)
		}
		if err := f.state.apply(&f.entry, skip{}, nil); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return nil
}

func (f *folder) checkpoint() error {
	if f.at.seq == f.saved.seq {
		return nil
	}
	c, err := f.state.begin(f.saved, f.at)
	if err != nil {
		return err
	}
	for !c.finished {
		if err := f.dst.Update(c.write); err != nil {
			return fmt.Errorf("write totals: %w", err)
		}
		c.wrote()
	}
	f.saved = f.at
	return nil
}

// copyPersonal copies the personal data of the users that were folded.
func (f *folder) copyPersonal(src *bolt.Tx) error {
	users := len(f.state.accounts)
	return f.dst.Update(func(dst *bolt.Tx) error {
		b := dst.Bucket(bucketPersonal)
		return src.Bucket(bucketPersonal).ForEach(func(k, v []byte) error {
			if len(k) != 4 || int(binary.BigEndian.Uint32(k)) >= users {
				return fmt.Errorf("%w: personal data of a user %x who was never added", ErrCorrupt, k)
			}
			return b.Put(k, v)
		})
	})
}

// finish makes the new file durable and closes it.
func (f *folder) finish() error {
	err := f.checkpoint()
	if err == nil {
		err = f.dst.Sync()
	}
	return errors.Join(err, f.dst.Close())
}

// abandon closes and removes the new file.
func (f *folder) abandon() {
	path := f.dst.Path()
	_ = f.dst.Close() // it is removed
	_ = os.Remove(path)
}

// copyFile makes a new ledger at path of the log and the personal data in src,
// while src may be in use.
func copyFile(ctx context.Context, src *bolt.DB, path string, progress func(done, total uint64)) (Report, error) {
	f, err := newFolder(path, true)
	if err != nil {
		return Report{}, fmt.Errorf("copy ledger: %w", err)
	}
	f.progress = progress
	records := uint64(0)
	f.inspect = func(e *entry, _ *state) {
		if e.body == nil {
			records++
		}
	}
	err = view(src, isLedger)
	if err == nil {
		err = f.paced(ctx, src, everything)
	}
	if err == nil {
		// What came meanwhile, the tail and the personal data belong together.
		err = view(src, func(tx *bolt.Tx) error {
			if err := f.rest(tx); err != nil {
				return err
			}
			return f.copyPersonal(tx)
		})
	}
	if err != nil {
		f.abandon()
		return Report{}, fmt.Errorf("copy ledger: %w", err)
	}
	report := f.report()
	report.Records = records
	if err := f.finish(); err != nil {
		return Report{}, fmt.Errorf("copy ledger: %w", errors.Join(err, os.Remove(path)))
	}
	return report, nil
}

// Report says what a backup, restore or verification found.
type Report struct {
	Entries  uint64
	Records  uint64 // usage records among them
	Users    int
	Head     [32]byte  // the chain after the last entry
	Last     time.Time // when that was logged, UTC
	Problems []string  // of a verification; empty when the ledger is sound
}

func (f *folder) report() Report {
	return Report{Entries: f.at.seq, Users: len(f.state.accounts) - 1, Head: f.at.head, Last: time.UnixMilli(f.at.logged).UTC()}
}
