package ledger

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets of the file. log and tail are the truth, personal is what the
// truth has only a hash of; the rest is folded and can be made anew.
var (
	bucketMeta     = []byte("meta")
	bucketLog      = []byte("log")      // first sequence number -> packed value
	bucketTail     = []byte("tail")     // tailKey -> the open packed value: see tail
	bucketPersonal = []byte("personal") // user -> personalRow as JSON
	bucketUsers    = []byte("users")    // user -> userRow as JSON
	bucketAccounts = []byte("accounts") // group of users -> what changes with every call
	bucketMonths   = []byte("months")   // month, group of users -> totals by plan version
	bucketHours    = []byte("hours")    // hour, user -> packed rows
	bucketIDs      = []byte("ids")

	buckets = [][]byte{bucketMeta, bucketLog, bucketTail, bucketPersonal, bucketUsers, bucketAccounts, bucketMonths, bucketHours, bucketIDs}

	checkpointKey = []byte("checkpoint")
	registryKey   = []byte("registry")
	formatKey     = []byte("format")
	tailKey       = []byte("t")
)

const fileFormat = "tollgate ledger 1"

func userKey(id UserID) []byte { return binary.BigEndian.AppendUint32(nil, uint32(id)) }

// monthPrefix begins the keys of a month's groups of users.
func monthPrefix(m Month) []byte { return binary.BigEndian.AppendUint16(nil, uint16(m)) }

func hoursBucket(tx *bolt.Tx) *bolt.Bucket {
	b := tx.Bucket(bucketHours)
	b.FillPercent = 1 // hours come in order
	return b
}

func putJSON(tx *bolt.Tx, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return tx.Bucket(bucketMeta).Put(key, text)
}

// Open opens the ledger at path, or creates it.
func Open(path string, o Options) (*Ledger, error) {
	o.Zone, o.Currency = cmp.Or(o.Zone, "UTC"), cmp.Or(o.Currency, "usd")
	if o.Now.UnixMilli() <= 0 {
		return nil, fmt.Errorf("open ledger %s: the time of opening is not set", path)
	}
	if _, err := MinorDigits(o.Currency); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if _, err := time.LoadLocation(o.Zone); err != nil {
		return nil, fmt.Errorf("open ledger: time zone: %w", err)
	}
	if err := mend(path, o); err != nil {
		return nil, err
	}
	db, err := openFile(path, false)
	if err != nil {
		return nil, err
	}
	l, err := start(path, db, o)
	if err != nil {
		_ = db.Close() // err says more
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if err := l.settle(o); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), l.Close())
	}
	return l, nil
}

// openFile opens a bbolt file, after looking whether it can be mapped safely.
func openFile(path string, readOnly bool) (db *bolt.DB, err error) {
	if err := precheck(path); err != nil {
		if readOnly || !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("open ledger %s: %w", path, err)
		}
	}
	var file *os.File
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         time.Second,
			ReadOnly:        readOnly,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: mapSize, // address space only: a remap would wait for all readers
			NoStatistics:    true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		_ = file.Close() // bbolt had no chance to; the lock would stay
	}
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrCorrupt):
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open ledger %s: %w", path, ErrInUse)
	case errors.As(err, &errno): // the system's refusal says nothing about the file
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("open ledger %s: %w: %w", path, ErrCorrupt, err)
	}
	return db, nil
}

const mapSize = 1 << 40

// precheck reads the two meta pages of an existing file: bbolt maps what they
// claim, and reading past the end of a shorter file would kill the process.
func precheck(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%w: it is a folder", ErrCorrupt)
	}
	if info.Size() == 0 {
		return os.ErrNotExist // a crash while it was created
	}
	head := make([]byte, maxHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	m, ok := newestMeta(head[:n])
	if !ok {
		return fmt.Errorf("%w: no valid header", ErrCorrupt)
	}
	if info.Size() < m.end() {
		return fmt.Errorf("%w: it is cut off: %d of %d bytes", ErrCorrupt, info.Size(), m.end())
	}
	return nil
}

// maxHead is where the second meta page of any file ends.
const maxHead = 1 << 17

// meta is what a meta page says.
type meta struct {
	pageSize       int
	root, freelist uint64 // pages
	high           uint64 // pages from here on are not in use
	transaction    uint64
}

// end is how many bytes are in use.
func (m meta) end() int64 { return int64(m.high) * int64(m.pageSize) }

// newestMeta reads the newer valid meta page. The layout is bbolt's: a page
// header of 16 bytes, then magic, version, page size, flags (4 bytes each),
// root bucket (16), freelist, high-water mark, transaction, checksum (8 each).
func newestMeta(head []byte) (newest meta, found bool) {
	const magic, version = 0xED0CDAED, 2
	for offset := 0; offset+80 <= len(head); {
		b := head[offset+16:]
		le := binary.LittleEndian
		pageSize := int(le.Uint32(b[8:]))
		if le.Uint32(b) == magic && le.Uint32(b[4:]) == version && le.Uint64(b[56:]) == fnv1a(b[:56]) {
			if transaction := le.Uint64(b[48:]); !found || transaction >= newest.transaction {
				found, newest = true, meta{pageSize, le.Uint64(b[16:]), le.Uint64(b[32:]), le.Uint64(b[40:]), transaction}
			}
		}
		if offset > 0 {
			break
		}
		offset = 4096
		if pageSize >= 512 && pageSize <= 1<<16 && found {
			offset = pageSize
		}
	}
	return newest, found
}

func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// start loads the state of an open file, or makes its buckets, and starts the writer.
func start(path string, db *bolt.DB, o Options) (*Ledger, error) {
	var fresh bool
	if err := view(db, func(tx *bolt.Tx) error {
		fresh = tx.Bucket(bucketMeta) == nil
		if fresh && firstBucket(tx) != nil {
			return fmt.Errorf("%w: it is a bbolt file of another program", ErrCorrupt)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if fresh {
		if err := create(db); err != nil {
			return nil, err
		}
		if err := syncDir(path); err != nil { // until then the file may lose its name
			return nil, err
		}
	}
	d, err := openDisk(path, o.MinFree)
	if err != nil {
		return nil, err
	}
	var r recovered
	if err := view(db, func(tx *bolt.Tx) (err error) {
		r, err = recoverState(tx, o.Progress)
		return err
	}); err != nil {
		return nil, errors.Join(err, d.close())
	}
	l := &Ledger{
		path: path, db: db, disk: d, state: r.state, queue: newQueue(), interval: o.CommitInterval,
		askCheckpoint: make(chan chan error), askView: make(chan func(position)),
		stopped: make(chan struct{}), broken: make(chan struct{}),
	}
	l.state.monthOnDisk = l.monthOnDisk
	at := r.at
	l.position.Store(&at)
	if err := l.CheckDisk(); err != nil && !errors.Is(err, ErrLowDisk) {
		return nil, errors.Join(err, d.close())
	}
	w := &writer{l: l, disk: d, at: r.at, value: r.value, first: r.first, saved: r.saved, names: r.state.table.Load(), opened: map[Month]bool{}, spending: spending{}, watched: newWatched()}
	for m := range r.state.periods {
		w.opened[m] = true
	}
	go w.run()
	return l, nil
}

func firstBucket(tx *bolt.Tx) []byte {
	k, _ := tx.Cursor().First()
	return k
}

func create(db *bolt.DB) error {
	err := db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(formatKey, []byte(fileFormat))
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return nil
}

// settle writes what a new ledger begins with and holds an old one to its settings.
func (l *Ledger) settle(o Options) error {
	if l.position.Load().seq == 0 {
		id := make([]byte, 12)
		if _, err := rand.Read(id); err != nil {
			return fmt.Errorf("make ledger id: %w", err)
		}
		return l.record(o.Now, nil,
			genesis{ID: hex.EncodeToString(id), Created: o.Now.UTC(), Currency: o.Currency, TestClock: o.TestClock},
			zoneSet{Zone: o.Zone})
	}
	l.before = time.UnixMilli(l.position.Load().logged).UTC()
	id := l.state.identity
	if id.Currency != o.Currency {
		return fmt.Errorf("%w: its currency is %s and cannot become %s", ErrMismatch, id.Currency, o.Currency)
	}
	if id.TestClock != o.TestClock {
		return fmt.Errorf("%w: it is on a %s clock for ever and cannot go on a %s clock", ErrMismatch, clockName(id.TestClock), clockName(o.TestClock))
	}
	if z := l.state.zones[len(l.state.zones)-1]; z.Zone != o.Zone {
		now := time.UnixMilli(max(o.Now.UnixMilli(), l.position.Load().logged))
		open := l.PeriodAt(now)
		return l.record(o.Now, nil, periodOpened{open}, zoneSet{Zone: o.Zone, From: open.Month + 1})
	}
	return nil
}

func clockName(test bool) string {
	if test {
		return "test"
	}
	return "system"
}

func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder of %s: %w", path, err)
	}
	return nil
}
