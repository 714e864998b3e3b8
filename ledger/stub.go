package ledger

// Signatures that other packages build on; each moves to its own file as it is built.

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Options says how a ledger is opened.
type Options struct {
	// Now is the time of opening; a new ledger is created at it.
	Now time.Time
	// Zone is the IANA billing time zone; a change starts at the end of the open period.
	Zone string
	// Currency is lower case; it cannot change in the life of a ledger.
	Currency string
	// TestClock tells that time is simulated; a ledger stays on the kind of clock it was made with.
	TestClock bool
	// CommitInterval spaces commits (relaxed durability); 0 commits at once.
	CommitInterval time.Duration
	// MinFree is how many bytes must stay free on the file's disk; below it nothing commits.
	MinFree int64
	// Progress, when set, is told of long work at open.
	Progress func(what string, done, total int64)
}

var (
	// ErrUnavailable: a commit failed, its outcome is unknown, nothing goes on until the ledger is opened anew.
	ErrUnavailable = errors.New("ledger unavailable")
	// ErrLowDisk: less than Options.MinFree is left; nothing was written, and writing goes on when there is room.
	ErrLowDisk = errors.New("disk almost full")
	// ErrNotFound: no such user, key or record.
	ErrNotFound = errors.New("not found")
	// ErrExists: the e-mail address is taken.
	ErrExists = errors.New("already exists")
	// ErrInUse: another process has the ledger open.
	ErrInUse = errors.New("ledger in use")
	// ErrCorrupt: the file is damaged or not a ledger.
	ErrCorrupt = errors.New("not a sound ledger")
)

// Ledger is an open ledger file. Its methods may be called from any goroutine.
type Ledger struct{}

func Open(path string, o Options) (*Ledger, error) { panic("not built yet") }
func (l *Ledger) Close() error                     { panic("not built yet") }
func (l *Ledger) Path() string                     { panic("not built yet") }

// Failed is closed when a commit failed: the process must end and open the ledger anew.
func (l *Ledger) Failed() <-chan struct{}

// Ready is nil, ErrUnavailable or ErrLowDisk; cheap, for admission and readyz.
func (l *Ledger) Ready() error                         { panic("not built yet") }
func (l *Ledger) Status() LedgerStatus                 { panic("not built yet") }
func (l *Ledger) Checkpoint(ctx context.Context) error { panic("not built yet") }

type LedgerStatus struct {
	ID         string // random, for ever
	Epoch      int    // counts restores
	Seq        uint64
	Head       [32]byte
	LastLogged time.Time
	Created    time.Time
	Currency   string
	Zone       string
	TestClock  bool
	Users      int
	FileBytes  int64
	FreeBytes  int64 // on the disk
}

// Append hands over usage records to be committed together. Each record's settler, when not nil (settlers may be
// nil), is called once, when the records are in the totals, under the lock of the record's account.
func (l *Ledger) Append(now time.Time, records []Usage, settlers []Settler) Pending {
	panic("not built yet")
}

// AppendOne is Append for a single record; it does not keep u.
func (l *Ledger) AppendOne(now time.Time, u *Usage, s Settler) Pending { panic("not built yet") }

type Settler interface{ Settle() }

// Pending is an append on its way to the disk.
type Pending struct{}

// Wait returns when the records are durable, or with the error that kept them from being so. When ctx ends first its
// outcome is unknown.
func (p Pending) Wait(ctx context.Context) error { panic("not built yet") }

// --- accounts: the hot path

// Account is a user with what has been used; Lock guards its totals and, by convention, the holds that admission keeps for it.
type Account struct{}

func (a *Account) ID() UserID  { panic("not built yet") }
func (a *Account) User() *User // snapshot, no lock needed { panic("not built yet") }
func (a *Account) Lock()       { panic("not built yet") }
func (a *Account) Unlock()     { panic("not built yet") }

// Month is what the user used in a month, by plan version; under Lock. The slice is valid until Unlock. Only the open
// and the previous period; others: Ledger.Month.
func (a *Account) Month(m Month) []PlanTotals { panic("not built yet") }

// DayCalls and KeyDayCalls count records (billed or not) admitted on the day; under Lock.
func (a *Account) DayCalls(d Day) int64               { panic("not built yet") }
func (a *Account) KeyDayCalls(index int, d Day) int64 { panic("not built yet") }
func (a *Account) KeyLastUsed(index int) time.Time    { panic("not built yet") }

type PlanTotals struct {
	Plan VersionID
	Totals
}

func (l *Ledger) Account(id UserID) *Account               // nil when unknown { panic("not built yet") }
func (l *Ledger) Key(hash [32]byte) (*Key, *Account)       // nil, nil when unknown; also revoked and expired keys { panic("not built yet") }
func (l *Ledger) KeyByID(id KeyID) *Key                    { panic("not built yet") }
func (l *Ledger) AccountByEmail(email string) *Account     // case-insensitive { panic("not built yet") }
func (l *Ledger) Accounts(after UserID) iter.Seq[*Account] { panic("not built yet") }

// --- time
func (l *Ledger) PeriodAt(t time.Time) Period { panic("not built yet") }
func (l *Ledger) PeriodOf(m Month) Period     { panic("not built yet") }
func (l *Ledger) DayAt(t time.Time) Day       { panic("not built yet") }

// --- versions
// VersionAt is the version of a plan or route for a user who joined it (the plan) or was created (routes) at joined: the
// newest that was made by then, or that has become effective since; nil when there is none.
func (l *Ledger) VersionAt(kind VersionKind, name string, joined, at time.Time) *Version {
	panic("not built yet")
}
func (l *Ledger) VersionByID(id VersionID) *Version    { panic("not built yet") }
func (l *Ledger) Versions(kind VersionKind) []*Version { panic("not built yet") }

// PublishVersion records terms; when they equal the newest version's it does nothing and returns that.
func (l *Ledger) PublishVersion(now time.Time, kind VersionKind, name string, terms []byte, effective time.Time) (*Version, error) {
	panic("not built yet")
}

// --- changes; each is an entry, durable when the call returns. by: who did it.
func (l *Ledger) AddUser(now time.Time, by string, p Personal, plan string) (*User, error) {
	panic("not built yet")
}

// ChangeUser applies change to a copy of the user and records the result; e.g. status, plans, limits, personal data.
func (l *Ledger) ChangeUser(now time.Time, by string, id UserID, change func(*User) error) (*User, error) {
	panic("not built yet")
}

// EraseUser removes the personal data for good.
func (l *Ledger) EraseUser(now time.Time, by string, id UserID) error { panic("not built yet") }

// AddKey records a key; ID, User, Index and Created are set.
func (l *Ledger) AddKey(now time.Time, by string, user UserID, k Key) (*Key, error) {
	panic("not built yet")
}
func (l *Ledger) ChangeKey(now time.Time, by string, id KeyID, change func(*Key) error) (*Key, error) {
	panic("not built yet")
}
func (l *Ledger) Correct(now time.Time, c Correction) error { panic("not built yet") }

// SetClock records the time of a test clock, so that a restart resumes at it.
func (l *Ledger) SetClock(now time.Time) error { panic("not built yet") }

// --- reading
// Month is what a user used in any month.
func (l *Ledger) Month(user UserID, m Month) ([]PlanTotals, error) { panic("not built yet") }

// MonthTotals walks the totals of all users with usage in a month, in the order of their ids.
func (l *Ledger) MonthTotals(ctx context.Context, m Month, each func(UserID, []PlanTotals) error) error {
	panic("not built yet")
}

// RouteHour is what a user did on a route version in an hour (UTC). User 0 is everyone together.
type RouteHour struct {
	Hour  time.Time
	Route VersionID
	Totals
}

func (l *Ledger) Hours(user UserID, from, to time.Time, each func(RouteHour) error) error {
	panic("not built yet")
}

// UserRecords walks the records of a user, newest first, from cursor (0: the newest; else below that sequence number)
// whose time lies in [from, to); zero times mean no bound. each returns false to stop.
func (l *Ledger) UserRecords(ctx context.Context, user UserID, cursor uint64, from, to time.Time, each func(*Usage) bool) error {
	panic("not built yet")
}

// Records walks the records of everyone in the order logged, after cursor.
func (l *Ledger) Records(ctx context.Context, cursor uint64, from, to time.Time, each func(*Usage) bool) error {
	panic("not built yet")
}
func (l *Ledger) RecordByRequest(ctx context.Context, id RequestID) (*Usage, error) {
	panic("not built yet")
}

// Recall finds the newest record with a remembered idempotency key of the last 24 h before now.
func (l *Ledger) Recall(now time.Time, id [16]byte) (*Usage, error) { panic("not built yet") }

// --- care
// Checks are the rules of price that Verify proves and the ledger does not know.
type Checks struct {
	Cost func(route *Version, q Quantities) (Amount, error)
}
type Report struct {
	Entries  uint64
	Records  uint64
	Users    int
	Head     [32]byte
	Problems []string
}

func (l *Ledger) Verify(ctx context.Context, c Checks, progress func(done, total int64)) (Report, error) {
	panic("not built yet")
}

// VerifyFile verifies a ledger that no process has open.
func VerifyFile(ctx context.Context, path string, c Checks, progress func(done, total int64)) (Report, error) {
	panic("not built yet")
}

// Backup writes a consistent copy to path while work goes on.
func (l *Ledger) Backup(ctx context.Context, path string, progress func(done, total int64)) (Report, error) {
	panic("not built yet")
}

// Restore makes a ledger at path from a backup, in a new epoch; path must not exist.
func Restore(ctx context.Context, backup, path string, now time.Time, progress func(done, total int64)) (Report, error) {
	panic("not built yet")
}
