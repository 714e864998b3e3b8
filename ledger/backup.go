package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the ledger to path, which must not
// exist, while work goes on. It appears there when it is complete and durable.
func (l *Ledger) Backup(ctx context.Context, path string, progress func(done, total uint64)) (Report, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return Report{}, fmt.Errorf("back up to %s: %w", path, os.ErrExist)
	}
	tmp := path + ".partial"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Report{}, fmt.Errorf("back up: %w", err)
	}
	report, err := copyFile(ctx, l.db, tmp, progress)
	if err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	return report, syncDir(path)
}

// Restore makes a ledger at path, which must not exist, from a backup, and
// begins a new epoch in it at now, or where its test clock stands: what was outside tollgate since the backup
// was made may know more than the ledger does.
func Restore(ctx context.Context, backup, path string, now time.Time, progress func(done, total uint64)) (Report, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return Report{}, fmt.Errorf("restore to %s: %w", path, os.ErrExist)
	}
	src, err := openFile(backup, true)
	if err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	tmp := path + ".restoring"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Report{}, errors.Join(fmt.Errorf("restore: %w", err), src.Close())
	}
	report, err := copyFile(ctx, src, tmp, progress)
	if err := errors.Join(err, src.Close()); err != nil {
		return report, fmt.Errorf("restore: %w", err)
	}
	if err := beginEpoch(tmp, now, report); err != nil {
		return report, fmt.Errorf("restore: %w", errors.Join(err, os.Remove(tmp)))
	}
	if err := os.Rename(tmp, path); err != nil {
		return report, fmt.Errorf("restore: %w", err)
	}
	return report, syncDir(path)
}

func beginEpoch(path string, now time.Time, r Report) error {
	db, err := openFile(path, false)
	if err != nil {
		return err
	}
	l, err := start(path, db, Options{Now: now})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if l.state.identity.TestClock { // whose time has nothing to do with now
		now = l.state.clock
	}
	at := time.UnixMilli(max(now.UnixMilli(), r.Last.UnixMilli())).UTC()
	err = l.record(at, nil, epochBegun{Epoch: len(l.state.epochs) + 1, From: r.Entries, At: at})
	return errors.Join(err, l.Close())
}

// mend rewrites a file that a failed commit left behind, or whose totals are
// of another version: a new file is made of its log and takes its place.
func mend(path string, o Options) error {
	marker := markerPath(path)
	_, err := os.Lstat(marker)
	marked := err == nil
	if !marked {
		if old, err := otherFold(path); err != nil || !old {
			return err
		}
	}
	src, err := openFile(path, true)
	if err != nil {
		return fmt.Errorf("rewrite ledger: %w", err)
	}
	tmp := path + ".rewriting"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("rewrite ledger: %w", err), src.Close())
	}
	_, err = copyFile(context.Background(), src, tmp, func(done, total uint64) {
		if o.Progress != nil {
			o.Progress("rewriting the ledger", done, total)
		}
	})
	if err := errors.Join(err, src.Close()); err != nil {
		return fmt.Errorf("rewrite ledger %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("rewrite ledger: %w", err)
	}
	if err := syncDir(path); err != nil || !marked {
		return err
	}
	if err := os.Remove(marker); err != nil {
		return fmt.Errorf("rewrite ledger: %w", err)
	}
	return syncDir(path)
}

// otherFold tells whether the totals in an existing file are of another version.
func otherFold(path string) (bool, error) {
	if err := precheck(path); err != nil {
		return false, nil // Open says what is wrong
	}
	db, err := openFile(path, true)
	if err != nil {
		return false, err
	}
	other := false
	err = view(db, func(tx *bolt.Tx) error {
		if isLedger(tx) != nil {
			return nil // Open says what is wrong
		}
		mark, err := readCheckpoint(tx)
		other = cmp.Or(mark.Fold, foldVersion) != foldVersion
		return err
	})
	if err != nil {
		err = fmt.Errorf("open ledger %s: %w", path, err)
	}
	return other, errors.Join(err, db.Close())
}
