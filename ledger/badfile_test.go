package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// smallLedger is the bytes of a ledger with a bit of everything, as it is with
// its last entries not in a checkpoint yet. Pages never used are cut off.
func smallLedger(t testing.TB) []byte {
	t.Helper()
	dir := scratch(t)
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	route := addRoute(t, l)
	var users []*ledger.User
	for i := range 40 {
		u := addUser(t, l, fmt.Sprintf("u%d@example.com", i))
		users = append(users, u)
		addKey(t, l, u.ID, u.Personal.Email)
	}
	for month := range 3 {
		for i := range 40 {
			at := start.AddDate(0, month, 0).Add(time.Duration(i) * 10 * time.Minute)
			var records []ledger.Usage
			for j := range 12 {
				u := call(users[(i+j)%40].ID, ledger.KeyID((i+j)%40+1), route.ID, at, int64(j))
				u.Remember.ID = [16]byte{byte(month), byte(i), byte(j), 1}
				records = append(records, u)
			}
			appendAll(t, l, at, records...)
		}
		var bills []ledger.Invoice
		for _, u := range users[:3] {
			bills = append(bills, bill(u.ID, january+ledger.Month(month), 100*int64(u.ID)))
		}
		if made, err := l.AddInvoices(start, "test", bills); err != nil {
			t.Fatal(err)
		} else {
			changeInvoice(t, l, made[0].ID, pay)
		}
		for _, u := range users[:3] {
			p := addPayment(t, l, purchase(u.ID))
			changePayment(t, l, u.ID, p.ID, func(p *ledger.Payment) {
				collected(p)
				p.Provider, p.Tell = fmt.Sprint("cs_", p.ID), []ledger.Notice{{Code: ledger.CreditsBought, Subject: fmt.Sprint(p.ID)}}
			})
		}
		if month < 2 {
			if err := l.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(dir, "copy.db")
	if err := ledger.CopyAsItIs(l, path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// use does with a file what a server and verify do. An error is a finding, a
// panic or a hang is a fault.
func use(path string) error {
	report, verifyErr := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
	if len(report.Problems) > 0 {
		verifyErr = fmt.Errorf("%w: %q", ledger.ErrCorrupt, report.Problems)
	}
	l, err := ledger.Open(path, ledger.Options{Now: start.AddDate(0, 3, 0)})
	if err != nil {
		if verifyErr == nil {
			return fmt.Errorf("verify finds nothing, but open does: %w", err)
		}
		return err
	}
	err = verifyErr
	see := func(what string, e error) {
		if e != nil && verifyErr == nil {
			err = errors.Join(err, fmt.Errorf("verify finds nothing, but %s does: %w", what, e))
		}
		if e != nil && !errors.Is(e, ledger.ErrCorrupt) && !errors.Is(e, ledger.ErrUnavailable) && !errors.Is(e, ledger.ErrNotFound) && !errors.Is(e, ledger.ErrClosed) {
			err = errors.Join(err, fmt.Errorf("%s gives an unclear error: %w", what, e))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	none := func(*ledger.Usage) bool { return true }
	see("records", l.Records(ctx, 0, start, time.Time{}, none))
	for a := range l.Accounts(0) {
		if a.ID() > 50 {
			break
		}
		see("a user's records", l.UserRecords(ctx, a.ID(), 0, time.Time{}, start.AddDate(0, 1, 0), none))
		_, e := l.Month(a.ID(), ledger.MonthOf(2025, 1))
		see("a month", e)
		for _, ref := range a.User().Payments {
			_, e := l.Payment(a.ID(), ref.ID)
			see("a payment", e)
		}
		for _, ref := range a.User().Notices {
			_, e := l.Notice(a.ID(), ref.ID)
			see("a notice", e)
		}
		see("hours", l.Hours(a.ID(), start, start.AddDate(0, 3, 0), func(ledger.RouteHour) error { return nil }))
	}
	_, e := l.Recall(time.Time{}, [16]byte{0, 3, 3, 1})
	if !errors.Is(e, ledger.ErrNotFound) {
		see("recall", e)
	}
	if verifyErr != nil {
		// bbolt writes where a damaged page says; that verify finds it has to do.
		see("abandon", ledger.Abandon(l))
		return err
	}
	if l.Account(1) != nil {
		u := call(1, 0, 1, start, 1)
		see("append", l.Append(start.AddDate(0, 3, 0), []ledger.Usage{u}, nil).Wait(ctx))
		see("checkpoint", l.Checkpoint(ctx))
	}
	see("close", l.Close())
	return err
}

// within fails the test when use of a changed file hangs, or tells of it wrongly.
func within(t *testing.T, what, path string) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- use(path) }()
	select {
	case err := <-done:
		if err != nil && (!errors.Is(err, ledger.ErrCorrupt) || strings.Contains(err.Error(), "unclear")) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "verify finds nothing") {
			t.Errorf("%s: %v", what, err)
		}
		return err
	case <-time.After(time.Minute):
		debug.SetTraceback("all")
		panic(what + ": it hangs")
	}
}

func TestCutOff(t *testing.T) {
	whole := smallLedger(t)
	dir := scratch(t)
	path := filepath.Join(dir, "cut.db")
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	sizes := []int{1, 15, 16, 79, 80, 511, 512, 4095, 4097, 8191, 8193, len(whole) - 1}
	for size := 4096; size < len(whole); size += 4096 {
		sizes = append(sizes, size, size+1+r.IntN(4094))
	}
	for _, size := range sizes {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := within(t, fmt.Sprintf("cut off at %d of %d bytes", size, len(whole)), path); err == nil {
			t.Errorf("cut off at %d of %d bytes: nothing is found", size, len(whole))
		}
		removeAll(t, dir)
	}
}

func removeAll(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFlippedBits flips single bits everywhere. A flip in bytes that mean
// nothing is not found; any other is, and none does more harm than an error.
func TestFlippedBits(t *testing.T) {
	whole := smallLedger(t)
	dir := scratch(t)
	path := filepath.Join(dir, "flipped.db")
	each := amount(100, 4, 1)
	r := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	found, flips := 0, 0
	for at := 0; at < len(whole); at += 4096 {
		for range each {
			bit := r.IntN(4096 * 8)
			if r.IntN(3) == 0 {
				bit = r.IntN(128 * 8) // where a page says what it is
			}
			changed := bytes.Clone(whole)
			changed[at+bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			flips++
			if within(t, fmt.Sprintf("bit %d of byte %d of page %d", bit%8, bit/8, at/4096), path) != nil {
				found++
			}
			removeAll(t, dir)
		}
	}
	t.Logf("%d of %d flipped bits in %d pages were found", found, flips, len(whole)/4096)
}

// TestOtherFiles opens what is not a sound ledger at all.
func TestOtherFiles(t *testing.T) {
	garbage := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range garbage {
		garbage[i] = byte(r.Uint32())
	}
	sound := smallLedger(t)
	for _, c := range []struct {
		name string
		make func(path string) error
		want error
	}{
		{"garbage", func(path string) error { return os.WriteFile(path, garbage, 0o600) }, ledger.ErrCorrupt},
		{"zeros", func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) }, ledger.ErrCorrupt},
		{"text", func(path string) error { return os.WriteFile(path, []byte("id,email\n1,a@example.com\n"), 0o600) }, ledger.ErrCorrupt},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, ledger.ErrCorrupt},
		{"garbage after the header", func(path string) error {
			return os.WriteFile(path, append(bytes.Clone(sound[:8192]), garbage...), 0o600)
		}, ledger.ErrCorrupt},
		{"bbolt of another program", otherBolt("things", ""), ledger.ErrCorrupt},
		{"bbolt with a bucket of the same name", otherBolt("meta", ""), ledger.ErrCorrupt},
		{"a later format", otherBolt("meta", "tollgate ledger 99"), ledger.ErrCorrupt},
		{"no folder", func(string) error { return nil }, fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tollgate.db")
			if errors.Is(c.want, fs.ErrNotExist) {
				path = filepath.Join(path, "tollgate.db")
			}
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			l, err := ledger.Open(path, ledger.Options{Now: start})
			if err == nil {
				err = errors.Join(errors.New("it opens"), l.Close())
			}
			if !errors.Is(err, c.want) {
				t.Errorf("open: %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("open: %q does not name the file", err)
			}
			report, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
			if err == nil && len(report.Problems) > 0 {
				err = fmt.Errorf("%w: %q", ledger.ErrCorrupt, report.Problems)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("verify: %v, want %v", err, c.want)
			}
			target := filepath.Join(t.TempDir(), "restored.db")
			if _, err := ledger.Restore(context.Background(), path, target, start, nil); !errors.Is(err, c.want) {
				t.Errorf("restore: %v, want %v", err, c.want)
			}
			if list, err := os.ReadDir(filepath.Dir(target)); err != nil || len(list) > 0 {
				t.Errorf("restore left %v behind (%v)", list, err)
			}
		})
	}
}

func otherBolt(bucket, format string) func(path string) error {
	return func(path string) error {
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			return err
		}
		return errors.Join(db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte(bucket))
			if err == nil {
				err = b.Put([]byte("format"), []byte(format))
			}
			return err
		}), db.Close())
	}
}

// TestEmptyFile: a file of no bytes is what a crash at the very start leaves.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil); err == nil {
		t.Error("verify says that an empty file is a sound ledger")
	}
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 1))
}

// TestCopyOfLiveFile copies the file under load, as people do with cp. Such a
// copy may be torn; it is then told, or it is sound.
func TestCopyOfLiveFile(t *testing.T) {
	dir := scratch(t)
	path := filepath.Join(dir, "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	if err := ledger.AddUsers(l, start, manyUsers); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var copying sync.RWMutex // appenders rest while a copy is looked at: the file need not grow for ever
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				copying.RLock()
				at := start.Add(time.Duration(i) * time.Second)
				records := make([]ledger.Usage, 5)
				for j := range records {
					records[j] = call(ledger.UserID((g*171+i*5+j)%manyUsers+1), 0, 1, at, 1)
				}
				err := l.Append(at, records, nil).Wait(context.Background())
				copying.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	copied := filepath.Join(dir, "copies")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	torn, copies := 0, amount(100, 12, 3)
	for i := range copies {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(copied, "copy.db")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		copying.Lock()
		if within(t, fmt.Sprintf("copy %d", i), name) != nil {
			torn++
		}
		copying.Unlock()
		removeAll(t, copied)
	}
	stop()
	wg.Wait()
	t.Logf("%d of %d copies were torn", torn, copies)
}

// TestNoPermission: the system refuses the file.
func TestNoPermission(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tollgate.db")
	if err := ledgertest.Open(t, path, ledger.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	said := ""
	// Root may open anything, so the refusal is put into the call.
	if err := ledgertest.Supervise(t, inRole("opener", path), dir, func(c *ledgertest.Call) ledgertest.Answer {
		if c.Path == ledgertest.Stdout {
			said += string(c.Data)
		}
		if c.Op == ledgertest.OpOpen {
			return ledgertest.Answer{Error: syscall.EACCES}
		}
		return ledgertest.Answer{}
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, path) || !strings.Contains(said, "permission denied") || strings.Contains(said, "sound") {
		t.Errorf("open says %q", said)
	}
}

// opener opens a ledger and says how that went, then holds it until its input
// ends.
func opener(args []string) error {
	l, err := ledger.Open(args[0], ledger.Options{Now: start})
	fmt.Println("opened:", err)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return l.Close()
}

// TestInUse: one process has the ledger at a time.
func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	holder := inRole("opener", path)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "opened: <nil>\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	if _, err := ledger.Open(path, ledger.Options{Now: start}); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("open: %v", err)
	}
	if _, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("verify: %v", err)
	}
	if _, err := ledger.Restore(context.Background(), path, path+".restored", start, nil); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("restore from it: %v", err)
	}
	if err := errors.Join(in.Close(), holder.Wait()); err != nil {
		t.Fatal(err)
	}
	ledgertest.Open(t, path, ledger.Options{})
}

func TestOtherSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	if err := ledgertest.Open(t, path, ledger.Options{Currency: "eur", TestClock: true}).Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    ledger.Options
		want error
		says string
	}{
		{"currency", ledger.Options{Now: start, Currency: "usd", TestClock: true}, ledger.ErrMismatch, "eur"},
		{"clock", ledger.Options{Now: start, Currency: "eur"}, ledger.ErrMismatch, "test clock"},
		{"no time", ledger.Options{Currency: "eur", TestClock: true}, nil, "time of opening"},
		{"no such currency", ledger.Options{Now: start, Currency: "EUR", TestClock: true}, nil, "EUR"},
		{"no such zone", ledger.Options{Now: start, Currency: "eur", TestClock: true, Zone: "Mars/Olympus"}, nil, "Mars/Olympus"},
	} {
		l, err := ledger.Open(path, c.o)
		if err == nil {
			err = errors.Join(errors.New("it opens"), l.Close())
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("other %s: %v", c.name, err)
		}
	}
}
