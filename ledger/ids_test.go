package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestRecall remembers ids over several runs, checkpoints and a restart.
func TestRecall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	route, user := addRoute(t, l), addUser(t, l, "ada@example.com")
	// Ids that share their first 64 bits in threes are told apart all the same.
	id := func(i int) (id [16]byte) {
		binary.BigEndian.PutUint64(id[:], uint64(i/3)*0x9e3779b97f4a7c15)
		id[8], id[15] = 1, byte(i)
		return id
	}
	const count = 70_000
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for first := 0; first < count; first += 10_000 {
		var records []ledger.Usage
		for i := first; i < first+10_000; i++ {
			u := call(user.ID, 0, route.ID, at(i), int64(i))
			u.Remember = ledger.Remembered{ID: id(i), Request: [8]byte{byte(i)}}
			records = append(records, u)
		}
		appendAll(t, l, at(first+10_000), records...)
		if first%20_000 == 0 {
			if err := l.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(l *ledger.Ledger) {
		t.Helper()
		for i := 0; i < count; i += 97 {
			u, err := l.Recall(at(i), id(i))
			if err != nil || u.Documents != int64(i) {
				t.Fatalf("recall %d: %v, %v", i, u, err)
			}
			if _, err := l.Recall(at(i+1), id(i)); !errors.Is(err, ledger.ErrNotFound) {
				t.Fatalf("recall %d from after it: %v, want ErrNotFound", i, err)
			}
		}
		if _, err := l.Recall(start, [16]byte{1, 2, 3}); !errors.Is(err, ledger.ErrNotFound) {
			t.Fatalf("recall of an unknown id: %v, want ErrNotFound", err)
		}
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(ledgertest.Open(t, path, ledger.Options{Now: at(count)}))
}

// TestVerifyMissesNoRun takes all remembered ids out of a file: a repeat would be
// taken for a new call.
func TestVerifyMissesNoRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	var records []ledger.Usage
	for i := range 100 {
		r := call(u.ID, 0, 1, start, 1)
		r.Remember.ID = [16]byte{byte(i), 1}
		records = append(records, r)
	}
	appendAll(t, l, start, records...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(t.TempDir(), "taken.db")
	whole, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(taken, whole, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(taken, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("ids")), errorOf(tx.CreateBucket([]byte("ids"))))
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	if r, err := ledger.VerifyFile(t.Context(), taken, ledger.Checks{}, nil); err != nil || len(r.Problems) != 1 {
		t.Errorf("verify finds %q (%v)", r.Problems, err)
	}
}

func errorOf(_ *bolt.Bucket, err error) error { return err }
