package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

var (
	// ErrUnavailable reports that a commit failed. Its outcome is unknown, and
	// nothing goes on until the ledger is opened anew.
	ErrUnavailable = errors.New("the ledger is unavailable")
	// ErrLowDisk reports that less than Options.MinFree is left on the disk.
	// Nothing was written; writing goes on when there is room.
	ErrLowDisk = errors.New("the disk is almost full")
	// ErrClosed reports an append to a ledger that was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrNotFound reports an unknown user, key or record.
	ErrNotFound = errors.New("not found")
	// ErrExists reports an e-mail address or key that another user has.
	ErrExists = errors.New("already exists")
	// ErrInUse reports that another process has the ledger open.
	ErrInUse = errors.New("another process has the ledger open")
	// ErrCorrupt reports a file that is damaged or is not a ledger.
	ErrCorrupt = errors.New("not a sound ledger")
	// ErrMismatch reports options that the ledger was not made with.
	ErrMismatch = errors.New("the ledger was made with other settings")
)

// Options says how a ledger is opened.
type Options struct {
	// Now is the time of opening; a new ledger is created at it.
	Now time.Time
	// Zone is the IANA name of the billing time zone, UTC when empty. A change
	// starts at the end of the open period.
	Zone string
	// Currency is an ISO 4217 code in lower case, usd when empty. It cannot change.
	Currency string
	// TestClock tells that time is simulated. A ledger stays on the kind of
	// clock that it was made with.
	TestClock bool
	// CommitInterval spaces commits, for relaxed durability; 0 commits at once.
	CommitInterval time.Duration
	// MinFree is how many bytes must stay free on the disk of the file.
	MinFree int64
	// Progress, when set, is told of long work at open.
	Progress func(what string, done, total uint64)
}

// Ledger is an open ledger file. Its methods may be called from any goroutine.
type Ledger struct {
	path     string
	db       *bolt.DB
	disk     *disk
	state    *state
	queue    *queue
	interval time.Duration

	askCheckpoint chan chan error
	askView       chan func(position)
	stopped       chan struct{} // the writer has returned

	// drain is held by the writer while hourly totals move from memory to disk.
	drain      sync.RWMutex
	position   atomic.Pointer[position] // of what is durable and folded
	openPeriod atomic.Pointer[Period]
	openDay    atomic.Pointer[Day]
	low        atomic.Bool
	broken     chan struct{}
	breakOnce  sync.Once
	changing   sync.Mutex // one change of users, keys or versions at a time
	closing    sync.Once
	before     time.Time // of the last entry when it was opened
	commits    commitCounts
	stuck      bool // set by the writer: the file cannot be closed any more
}

// Path is the path of the file.
func (l *Ledger) Path() string { return l.path }

// Failed is closed when a commit failed: the process must end, and open the
// ledger anew.
func (l *Ledger) Failed() <-chan struct{} { return l.broken }

func (l *Ledger) failed() bool {
	select {
	case <-l.broken:
		return true
	default:
		return false
	}
}

// ended is why the writer has stopped.
func (l *Ledger) ended() error {
	if l.failed() {
		return ErrUnavailable
	}
	return ErrClosed
}

// fail ends all writing after an error whose outcome on disk is unknown. The
// marker makes the next open rewrite the file before it trusts it.
func (l *Ledger) fail(cause error) error {
	l.breakOnce.Do(func() {
		if err := os.WriteFile(markerPath(l.path), []byte(cause.Error()+"\n"), 0o600); err != nil {
			cause = errors.Join(cause, fmt.Errorf("leave a marker: %w", err))
		}
		close(l.broken)
		l.queue.close(ErrUnavailable)
	})
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

func markerPath(path string) string { return path + ".suspect" }

// Ready returns nil when records can be appended, else ErrUnavailable or
// ErrLowDisk. It is cheap.
func (l *Ledger) Ready() error {
	switch {
	case l.failed():
		return ErrUnavailable
	case l.low.Load():
		return l.CheckDisk()
	}
	return nil
}

// CheckDisk looks at the disk and returns ErrLowDisk or nil.
func (l *Ledger) CheckDisk() error {
	err := l.disk.enough()
	l.low.Store(err != nil)
	return err
}

// Info describes an open ledger.
type Info struct {
	ID         string    // random, for ever
	Epoch      int       // counts restores
	Restored   time.Time // when this epoch began, UTC; zero in the first
	Seq        uint64    // the last entry
	Head       [32]byte
	LastLogged time.Time // of the last entry, UTC
	Before     time.Time // of the last entry when the ledger was opened, UTC; zero when it was new
	Created    time.Time
	Currency   string
	Zone       string
	TestClock  bool
	Clock      time.Time // of the test clock
	Users      int
	FileBytes  int64
	FreeBytes  int64 // on the disk
}

// Status describes the ledger as it is now.
func (l *Ledger) Status() (Info, error) {
	at := l.position.Load()
	l.state.mu.RLock()
	s := Info{
		ID: l.state.identity.ID, Epoch: len(l.state.epochs), Seq: at.seq, Head: at.head,
		LastLogged: time.UnixMilli(at.logged).UTC(), Created: l.state.identity.Created,
		Currency: l.state.identity.Currency, Zone: l.state.zones[len(l.state.zones)-1].Zone,
		TestClock: l.state.identity.TestClock, Clock: l.state.clock, Users: len(l.state.accounts) - 1,
		Before: l.before,
	}
	if s.Epoch > 0 {
		s.Restored = l.state.epochs[s.Epoch-1].At
	}
	l.state.mu.RUnlock()
	info, err := os.Stat(l.path)
	if err != nil {
		return s, fmt.Errorf("size of the ledger: %w", err)
	}
	s.FileBytes = info.Size()
	s.FreeBytes, err = freeBytes(l.path)
	return s, err
}

// Checkpoint writes the totals down, so that the next open has little to
// replay, and returns when that is done; ErrLowDisk when there is no room.
func (l *Ledger) Checkpoint(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case l.askCheckpoint <- done:
	case <-l.stopped:
		return l.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-l.broken:
		return ErrUnavailable
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close commits what was appended, writes a checkpoint and closes the file.
func (l *Ledger) Close() error {
	var err error
	l.closing.Do(func() {
		l.queue.close(ErrClosed)
		<-l.stopped
		if !l.stuck {
			err = l.db.Close()
		}
		err = errors.Join(err, l.disk.close())
	})
	return err
}

// view runs f in a read transaction. A damaged page, also one that the file no
// longer has, becomes ErrCorrupt instead of the end of the process.
func view(db *bolt.DB, f func(*bolt.Tx) error) (err error) {
	return guard(func() error { return db.View(f) })
}

func guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer recoverDamage(&err)
	if err = f(); errors.Is(err, errMalformed) && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrCorrupt, r)
	}
}
