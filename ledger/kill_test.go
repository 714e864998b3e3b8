package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

const manyUsers = 1300 // a checkpoint of all of them takes three commits

// TestKilledTwiceInCheckpoints kills a process in the middle of a checkpoint,
// and the next one in the middle of its own: rows of both are on disk, and no
// record is counted twice or not at all.
func TestKilledTwiceInCheckpoints(t *testing.T) {
	dir := scratch(t)
	n := 0
	for first := 2; first <= 6; first += 2 {
		for second := 2; second <= 6; second++ {
			n++
			path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
			l, err := ledger.Open(path, ledger.Options{Now: start})
			if err != nil {
				t.Fatal(err)
			}
			addRoute(t, l)
			if err := ledger.AddUsers(l, start, manyUsers); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			for _, syncs := range []int{first, second} {
				killInCheckpoint(t, path, syncs)
				if err := soundFile(path); err != nil {
					t.Fatalf("killed after %d and %d syncs: %v", first, second, err)
				}
			}
			l = ledgertest.Open(t, path, ledger.Options{})
			for id := range ledger.UserID(manyUsers + 1) {
				plans, err := l.Month(id, ledger.MonthOf(2025, 1))
				want := int64(2)
				if id == 0 {
					want *= manyUsers
				}
				if got := ledger.Sum(plans).Calls; err != nil || got != want {
					t.Fatalf("killed after %d and %d syncs: %d calls of user %d, want %d (%v)", first, second, got, id, want, err)
				}
			}
		}
	}
}

// killInCheckpoint starts a process that appends a record of each user and
// makes a checkpoint, and kills it after some syncs of that.
func killInCheckpoint(t *testing.T, path string, syncs int) {
	t.Helper()
	cmd := inRole("checkpoint", path)
	begun := false
	err := ledgertest.Supervise(t, cmd, filepath.Dir(path), func(c *ledgertest.Call) ledgertest.Answer {
		if c.Path == ledgertest.Stdout {
			begun = true
			return ledgertest.Answer{Done: true}
		}
		if begun && c.Op == ledgertest.OpSync {
			if syncs--; syncs < 0 {
				_ = cmd.Process.Kill() // Wait tells whether it was
			}
		}
		return ledgertest.Answer{}
	})
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatal(err)
	}
}

// checkpointProcess is what killInCheckpoint kills.
func checkpointProcess(args []string) error {
	l, err := ledger.Open(args[0], ledger.Options{Now: start})
	if err != nil {
		return err
	}
	records := make([]ledger.Usage, manyUsers)
	for i := range records {
		records[i] = call(ledger.UserID(i+1), 0, 1, start, 1)
	}
	if err := l.Append(start, records, nil).Wait(context.Background()); err != nil {
		return err
	}
	fmt.Println("checkpoint")
	if err := l.Checkpoint(context.Background()); err != nil {
		return err
	}
	return l.Close()
}
