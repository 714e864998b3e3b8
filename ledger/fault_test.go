package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// fault is how one call of a process goes wrong.
type fault struct {
	name     string
	happens  bool // the call happens and yet says that it failed
	loses    bool // what was not synced before is lost, as after a failed sync
	errno    syscall.Errno
	fromHere bool // and all further ones go wrong too
}

var faults = []fault{
	{name: "failed", errno: syscall.EIO},
	{name: "failed but happened", happens: true, errno: syscall.EIO},
	{name: "failed and what was not synced is lost", loses: true, errno: syscall.EIO},
	{name: "no room any more", errno: syscall.ENOSPC, fromHere: true},
}

// TestFaults breaks each write, sync and rename of a process once, in several
// ways. The ledger refuses everything from then on, and the next open finds all
// that was acknowledged.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			step := amount(4, 23, 199) // other calls in each run of the test
			parent := scratch(t)
			hit := true
			for n := int(time.Now().UnixNano() % int64(step)); hit; n += step {
				dir := filepath.Join(parent, fmt.Sprint(n))
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				var s *told
				s, hit = runFaulty(t, "unlucky", dir, f, n)
				if s.done["marked"] {
					if _, err := os.Stat(filepath.Join(dir, "live.db.suspect")); err != nil {
						t.Fatalf("call %d %s: there is no marker: %v", n, f.name, err)
					}
					// The process that mends the file may fail as well.
					runFaulty(t, "unlucky again", dir, f, n%29)
				}
				if err := errors.Join(checkAfterFault(dir, s), os.RemoveAll(dir)); err != nil {
					t.Fatalf("call %d %s: %v", n, f.name, err)
				}
			}
		})
	}
}

// runFaulty runs a process of which call n goes wrong, and tells whether it
// made so many.
func runFaulty(t *testing.T, role, dir string, f fault, n int) (*told, bool) {
	t.Helper()
	s := &told{groups: map[int]int{}, acked: map[int]bool{}, done: map[string]bool{}}
	disk := newCrashDisk()
	calls, hit := 0, false
	err := ledgertest.Supervise(t, inRole(role, dir), dir, func(c *ledgertest.Call) ledgertest.Answer {
		if c.Path == ledgertest.Stdout {
			s.line(t, string(c.Data))
			return ledgertest.Answer{Done: true}
		}
		if c.Op == ledgertest.OpOpen {
			disk.happen(c)
			return ledgertest.Answer{}
		}
		if strings.HasSuffix(c.Path, ".suspect") {
			return ledgertest.Answer{} // a second fault at the same time is not looked at
		}
		if calls++; calls-1 == n || f.fromHere && hit {
			first := !hit
			hit = true
			if f.happens {
				c.Happen()
			}
			if f.loses && first {
				loseUnsynced(t, disk, c)
			}
			return ledgertest.Answer{Error: f.errno}
		}
		if c.Op == ledgertest.OpAllocate {
			return ledgertest.Answer{}
		}
		a := ledgertest.Answer{Done: true}
		if c.Op != ledgertest.OpSync {
			a = c.Happen()
		}
		disk.happen(c)
		return a
	})
	if err != nil {
		t.Fatalf("call %d %s: the process: %v", n, f.name, err)
	}
	return s, hit
}

// loseUnsynced puts the pages of a file back as they were at its last sync.
func loseUnsynced(t *testing.T, d *crashDisk, c *ledgertest.Call) {
	f := d.names[c.Path]
	if f == nil || c.Op == ledgertest.OpRename || c.Op == ledgertest.OpRemove {
		return
	}
	file, err := os.OpenFile(c.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	for _, w := range f.pending {
		if w.data == nil {
			continue
		}
		old := f.pages[w.offset/pageSize]
		if old == nil {
			old = &page{}
		}
		if _, err := file.WriteAt(old[:], w.offset/pageSize*pageSize); err != nil {
			t.Error(err)
		}
	}
	f.pending = nil
}

func checkAfterFault(dir string, s *told) error {
	path := filepath.Join(dir, "live.db")
	l, err := ledger.Open(path, ledger.Options{Now: start})
	if err != nil && !s.done["opened"] && errors.Is(err, ledger.ErrCorrupt) {
		return nil // it was never made; nothing was acknowledged
	}
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	err = hasGroups(l, s)
	if _, statErr := os.Stat(path + ".suspect"); statErr == nil {
		err = errors.Join(err, errors.New("the marker is still there"))
	}
	if err := errors.Join(err, l.Close(), soundFile(path)); err != nil {
		return err
	}
	backup := filepath.Join(dir, "backup.db")
	if _, err := os.Stat(backup); err == nil {
		return soundFile(backup)
	} else if s.done["backed up"] {
		return err
	}
	return nil
}

// unlucky works on a ledger until something fails, and sees that the ledger
// then refuses everything.
func unlucky(args []string) error {
	b := &busyProcess{path: filepath.Join(args[0], "live.db")}
	if err := b.open("opened")(); err != nil {
		if b.l == nil {
			return nil // it said so; the next process will see
		}
		return b.failedAsItShould(err)
	}
	steps := []func() error{
		func() error { return ledger.AddUsers(b.l, start, 1100) },
		func() error { return b.append(2, 0) },
		func() error { return b.l.Checkpoint(context.Background()) },
		func() error { return b.append(3, 10*24*time.Hour) },
		func() error { return b.fill(1, true) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return b.failedAsItShould(err)
		}
	}
	backup := filepath.Join(args[0], "backup.db")
	if _, err := b.l.Backup(context.Background(), backup, nil); err == nil {
		fmt.Println("backed up")
	} else if b.l.Ready() != nil && !errors.Is(b.l.Ready(), ledger.ErrLowDisk) {
		return fmt.Errorf("a failed backup stopped the ledger: %w", b.l.Ready())
	}
	return b.l.Close()
}

// failedAsItShould looks at a ledger after a failed commit, or one for which
// there was no room.
func (b *busyProcess) failedAsItShould(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if errors.Is(err, ledger.ErrLowDisk) {
		if _, err := b.l.AddUser(start, "test", ledger.Personal{Email: "late@example.com"}, "free"); !errors.Is(err, ledger.ErrLowDisk) {
			return fmt.Errorf("without room a change gives %w", err)
		}
		if err := b.l.Ready(); err != nil && !errors.Is(err, ledger.ErrLowDisk) {
			return fmt.Errorf("without room the ledger is %w", err)
		}
		return b.l.Close()
	}
	if !errors.Is(err, ledger.ErrUnavailable) {
		return fmt.Errorf("a commit failed with %w", err)
	}
	if _, err := os.Stat(b.path + ".suspect"); err != nil {
		return fmt.Errorf("no marker: %w", err)
	}
	fmt.Println("marked")
	select {
	case <-b.l.Failed():
	case <-ctx.Done():
		return errors.New("Failed is not closed")
	}
	if _, err := b.l.Verify(ctx, ledger.Checks{}, nil); err == nil {
		return errors.New("after a failed commit verify finds nothing")
	}
	_, userErr := b.l.AddUser(start, "test", ledger.Personal{Email: "late@example.com"}, "free")
	for what, err := range map[string]error{
		"ready":      b.l.Ready(),
		"append":     b.l.Append(start, nil, nil).Wait(ctx),
		"add user":   userErr,
		"checkpoint": b.l.Checkpoint(ctx),
	} {
		if !errors.Is(err, ledger.ErrUnavailable) && !errors.Is(err, ledger.ErrClosed) {
			return fmt.Errorf("after a failed commit %s gives %w", what, err)
		}
	}
	return b.l.Close()
}

// unluckyAgain opens the ledger, which is mended then.
func unluckyAgain(args []string) error {
	l, err := ledger.Open(filepath.Join(args[0], "live.db"), ledger.Options{Now: start})
	if err != nil {
		return nil // the next one will see
	}
	return l.Close()
}

// TestLowDisk: without room nothing is written and nothing is lost, reading
// goes on, and when there is room again writing does.
func TestLowDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l, err := ledger.Open(path, ledger.Options{Now: start, MinFree: 1 << 60})
	if !errors.Is(err, ledger.ErrLowDisk) {
		t.Fatalf("a new ledger without room: %v, %v", l, err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 3))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err = ledger.Open(path, ledger.Options{Now: start, MinFree: 1 << 60})
	if err != nil {
		t.Fatalf("open needs no room: %v", err)
	}
	settled := &settling{times: []int{0}}
	u := call(0, 0, 1, start, 4)
	if err := l.AppendOne(start, &u, settlerOf{settled, 0}).Wait(context.Background()); !errors.Is(err, ledger.ErrLowDisk) {
		t.Errorf("append: %v", err)
	}
	if settled.times[0] != 0 {
		t.Error("a record that was not written was settled")
	}
	if err := l.Ready(); !errors.Is(err, ledger.ErrLowDisk) {
		t.Errorf("ready: %v", err)
	}
	select {
	case <-l.Failed():
		t.Error("a full disk is no failure")
	default:
	}
	if got, err := l.Month(0, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(got).Documents != 3 {
		t.Errorf("the month: %v, %v", got, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has changed (%v)", err)
	}
}

// TestRoomComesBack: the disk is full for some allocations, and then is not.
func TestRoomComesBack(t *testing.T) {
	dir := scratch(t)
	path := filepath.Join(dir, "live.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	appendAll(t, l, start, call(0, 0, 1, start, 1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	said := ""
	full := true
	err := ledgertest.Supervise(t, inRole("patient", path), dir, func(c *ledgertest.Call) ledgertest.Answer {
		switch {
		case c.Path == ledgertest.Stdout:
			said += string(c.Data)
			full = strings.Count(said, "no room") < 3
			return ledgertest.Answer{Done: true}
		case full && c.Op != ledgertest.OpOpen:
			return ledgertest.Answer{Error: syscall.ENOSPC}
		}
		return ledgertest.Answer{}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "opened\nno room\nno room\nno room\nwritten\n"; said != want {
		t.Errorf("the process said %q, want %q", said, want)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	if got, err := l.Month(0, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(got).Calls != 2 {
		t.Errorf("the month: %v, %v", got, err)
	}
}

// patient appends until there is room.
func patient(args []string) error {
	l, err := ledger.Open(args[0], ledger.Options{Now: start})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	for {
		err := l.Append(start, []ledger.Usage{call(0, 0, 1, start, 1)}, nil).Wait(context.Background())
		if err == nil {
			break
		}
		if !errors.Is(err, ledger.ErrLowDisk) {
			return err
		}
		fmt.Println("no room")
	}
	fmt.Println("written")
	return errors.Join(l.Ready(), l.Close())
}
