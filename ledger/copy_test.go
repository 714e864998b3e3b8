package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

func TestCopiesTakeNobodysPlace(t *testing.T) {
	dir := t.TempDir()
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 1))
	backup := filepath.Join(dir, "backup.db")
	// What a crash left of an earlier one is in the way of nothing.
	if err := os.WriteFile(backup+".partial", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := l.Backup(context.Background(), backup, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := l.Status(); err != nil || made.Entries != s.Seq || made.Head != s.Head || made.Records != 1 || !made.Last.Equal(s.LastLogged) {
		t.Errorf("the backup is %+v of %+v (%v)", made, s, err)
	}
	before, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"backup":                 second(l.Backup(context.Background(), backup, nil)),
		"backup onto the ledger": second(l.Backup(context.Background(), l.Path(), nil)),
		"restore":                second(ledger.Restore(context.Background(), backup, l.Path(), start, nil)),
		"restore onto itself":    second(ledger.Restore(context.Background(), backup, backup, start, nil)),
	} {
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after, err := os.ReadFile(backup); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the backup was changed (%v)", err)
	}
	for what, err := range map[string]error{
		"backup into no folder":  second(l.Backup(context.Background(), filepath.Join(dir, "none", "b.db"), nil)),
		"restore into no folder": second(ledger.Restore(context.Background(), backup, filepath.Join(dir, "none", "r.db"), start, nil)),
		"restore of nothing":     second(ledger.Restore(context.Background(), filepath.Join(dir, "none.db"), filepath.Join(dir, "r.db"), start, nil)),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := l.Backup(stopped, filepath.Join(dir, "stopped.db"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup that is stopped: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("there are %v, want the ledger and its backup (%v)", left, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestRestoreBeginsAnEpoch(t *testing.T) {
	dir := t.TempDir()
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 1))
	id, err := l.Status()
	if err != nil {
		t.Fatal(err)
	}
	path := l.Path()
	for epoch := 1; epoch <= 2; epoch++ {
		backup, restored := filepath.Join(dir, fmt.Sprintf("backup-%d.db", epoch)), filepath.Join(dir, fmt.Sprintf("restored-%d.db", epoch))
		l := ledgertest.Open(t, restoreFrom(t, path, backup, restored, start.Add(time.Duration(epoch)*time.Hour)), ledger.Options{})
		s, err := l.Status()
		if err != nil || s.Epoch != epoch || s.ID != id.ID || !s.LastLogged.Equal(start.Add(time.Duration(epoch)*time.Hour)) {
			t.Errorf("restored for the %d. time: %+v, %v", epoch, s, err)
		}
		ledgertest.Verify(t, backup)
		path = restored
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func restoreFrom(t *testing.T, path, backup, restored string, now time.Time) string {
	t.Helper()
	if _, err := os.Stat(backup); errors.Is(err, os.ErrNotExist) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(backup, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.Restore(context.Background(), backup, restored, now, nil); err != nil {
		t.Fatal(err)
	}
	return restored
}

// TestCopiesUnderLoad: backups, and verify, of a ledger that is written to have
// everything acknowledged before they began, and are sound.
func TestCopiesUnderLoad(t *testing.T) {
	dir := scratch(t)
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	addRoute(t, l)
	if err := ledger.AddUsers(l, start, manyUsers); err != nil {
		t.Fatal(err)
	}
	var acked atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(g)))
			for i := 0; ctx.Err() == nil; i++ {
				at := start.Add(time.Duration(i) * 3 * time.Second) // checkpoints come by themselves
				records := make([]ledger.Usage, 8)
				for j := range records {
					records[j] = call(ledger.UserID(r.IntN(manyUsers)+1), 0, 1, at, 1)
				}
				if err := l.Append(at, records, nil).Wait(context.Background()); err != nil {
					t.Error(err)
					return
				}
				acked.Add(8)
			}
		})
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			p := ledger.Personal{Email: fmt.Sprintf("new%d@example.com", i)}
			u, err := l.AddUser(start, "test", p, "free")
			if err == nil && i%2 == 0 {
				err = l.EraseUser(start, "test", u.ID)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range amount(15, 5, 2) {
		least := acked.Load()
		path := filepath.Join(dir, fmt.Sprintf("backup-%d.db", i))
		made, err := l.Backup(context.Background(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if found := ledgertest.Verify(t, path); found.Entries != made.Entries || found.Head != made.Head || found.Records != made.Records || int64(found.Records) < least {
			t.Errorf("backup %d has %+v and says %+v; %d records were acknowledged", i, found, made, least)
		}
		least = acked.Load()
		if r, err := l.Verify(context.Background(), ledger.Checks{}, nil); err != nil || len(r.Problems) > 0 || int64(r.Records) < least {
			t.Errorf("verify %d: %v, %q, %d records of %d", i, err, r.Problems, r.Records, least)
		}
	}
	stop()
	wg.Wait()
}

// TestVerifyFindsWhatWasChanged changes, removes and adds each row of a sound
// ledger once, by the means of bbolt, so that the file itself is sound.
func TestVerifyFindsWhatWasChanged(t *testing.T) {
	whole := smallLedger(t)
	dir := scratch(t)
	path := filepath.Join(dir, "planted.db")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(6, seed))
	plant := func(change func(*bolt.Tx) (string, error)) (what string, found bool) {
		t.Helper()
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(func(tx *bolt.Tx) (err error) { what, err = change(tx); return err }), db.Close()); err != nil {
			t.Fatal(err)
		}
		report, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
		if err != nil && !errors.Is(err, ledger.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		return what, err != nil || len(report.Problems) > 0
	}
	rows := map[string][][]byte{}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, _ []byte) error {
				rows[string(name)] = append(rows[string(name)], bytes.Clone(k))
				return nil
			})
		})
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	for bucket, keys := range rows {
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		keys = keys[:min(len(keys), amount(len(keys), 6, 2))]
		for _, key := range keys {
			for _, change := range []func(*bolt.Bucket) (string, error){
				func(b *bolt.Bucket) (string, error) { return "removed", b.Delete(key) },
				func(b *bolt.Bucket) (string, error) {
					v := bytes.Clone(b.Get(key))
					i := r.IntN(len(v))
					v[i] ^= 1 << r.IntN(8)
					return fmt.Sprintf("byte %d of %d changed in", i, len(v)), b.Put(key, v)
				},
				func(b *bolt.Bucket) (string, error) {
					v := bytes.Clone(b.Get(key))
					return "cut off:", b.Put(key, v[:len(v)-1])
				},
				func(b *bolt.Bucket) (string, error) {
					other := bytes.Clone(key)
					other[len(other)-1] ^= 0x55
					if b.Get(other) != nil || bucket == "meta" || bucket == "tail" { // where more rows mean nothing
						return "removed", b.Delete(key)
					}
					return "copied to another key:", b.Put(other, bytes.Clone(b.Get(key)))
				},
			} {
				what, found := plant(func(tx *bolt.Tx) (string, error) {
					what, err := change(tx.Bucket([]byte(bucket)))
					return fmt.Sprintf("%s row %x of %s", what, key, bucket), err
				})
				if !found {
					t.Errorf("%s: verify finds nothing", what)
				}
			}
		}
	}
	if what, found := plant(func(tx *bolt.Tx) (string, error) {
		return "a bucket removed", tx.DeleteBucket([]byte("hours"))
	}); !found {
		t.Errorf("%s: verify finds nothing", what)
	}
}

// TestVerifyUsesTheChecks: what only the caller knows is asked for each record.
func TestVerifyUsesTheChecks(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	route := addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 3), call(0, 0, 1, start, 4))
	asked := 0
	c := ledger.Checks{Cost: func(v *ledger.Version, q ledger.Quantities) (ledger.Amount, error) {
		if v.ID != route.ID {
			t.Errorf("asked for version %d", v.ID)
		}
		asked++
		if q.Documents == 4 {
			return ledger.Unit, nil
		}
		return ledger.Amount(q.Documents) * ledger.Unit / 100, nil
	}}
	r, err := l.Verify(context.Background(), c, nil)
	if err != nil || asked != 2 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "1.000000000") {
		t.Errorf("asked %d times; %v, %q", asked, err, r.Problems)
	}
}
