package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
		for second := 2; second <= 6; second += amount(1, 1, 2) {
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

// TestKilled kills a process that appends from many goroutines, again and
// again, at any moment: what it said was acknowledged is there, once.
func TestKilled(t *testing.T) {
	rounds := amount(200, 10, 4)
	path := filepath.Join(scratch(t), "tollgate.db")
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	seen := map[uint32]bool{}
	asked := map[ledger.UserID]ledger.Amount{} // credits, by records
	var cursor uint64
	var last uint32 // receipt that was acknowledged
	for round := range rounds {
		acked, users, receipts := killAfter(t, path, round, r.IntN(4000))
		l, err := ledger.Open(path, ledger.Options{Now: start})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := l.Records(context.Background(), cursor, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
			if seen[u.Counter] {
				t.Errorf("round %d: record %d is there twice", round, u.Counter)
			}
			seen[u.Counter], cursor = true, u.Seq
			asked[u.User] += u.Burnt + u.Uncovered
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for _, n := range acked {
			if !seen[n] {
				t.Errorf("round %d: record %d was acknowledged and is missing", round, n)
			}
		}
		for _, email := range users {
			if l.AccountByEmail(email) == nil {
				t.Errorf("round %d: user %s was acknowledged and is missing", round, email)
			}
		}
		last = max(last, receipts)
		if err := creditsAddUp(l, asked, last); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		total, err := l.Month(0, ledger.MonthOf(2025, 1))
		if got := ledger.Sum(total).Calls; err != nil || got != int64(len(seen)) {
			t.Errorf("round %d: the month has %d calls, the log %d (%v)", round, got, len(seen), err)
		}
		if round%2 == 0 { // else the next process finds it as the killed one left it
			err = l.Close()
		} else {
			left := path + ".left"
			err = errors.Join(ledger.CopyAsItIs(l, left), l.Close(), os.Rename(left, path))
		}
		if err == nil {
			err = soundFile(path)
		}
		if err != nil || t.Failed() {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d records and %d receipts in %d rounds", len(seen), last, rounds)
}

// creditsAddUp proves that what was paid for was granted, all that records asked for
// was burnt or noted as uncovered, and acknowledged receipts are there.
func creditsAddUp(l *ledger.Ledger, asked map[ledger.UserID]ledger.Amount, receipts uint32) error {
	paid := uint32(0)
	for id := ledger.UserID(1); id <= buyers; id++ {
		a := l.Account(id)
		if a == nil {
			return nil // killed before there were users
		}
		var want ledger.Amount
		for _, ref := range a.User().Payments {
			if (ref.Grant != 0) != (ref.State == ledger.PaymentPaid) {
				return fmt.Errorf("payment %+v", ref)
			}
			if ref.Grant != 0 {
				paid++
				want += 10 * ledger.Unit
			}
		}
		a.Lock()
		s, balance := a.CreditSums(), a.Balance(start)
		a.Unlock()
		if s.Granted != want || s.Burnt+s.Uncovered != asked[id] || balance != s.Granted-s.Burnt || balance < 0 {
			return fmt.Errorf("user %d bought %v credits and used %v; there are %v of %+v", id, want, asked[id], balance, s)
		}
	}
	if paid < receipts {
		return fmt.Errorf("receipt %d was acknowledged, and %d payments are paid", receipts, paid)
	}
	return nil
}

// killAfter starts a process that appends and kills it when it has said so many
// times that something is durable. It returns what.
func killAfter(t *testing.T, path string, round, after int) (acked []uint32, users []string, receipts uint32) {
	t.Helper()
	cmd := inRole("appender", path, fmt.Sprint(round))
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for n := 0; lines.Scan(); n++ {
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		var record, receipt uint32
		if _, err := fmt.Sscanf(lines.Text(), "record %d", &record); err == nil {
			acked = append(acked, record)
		} else if _, err := fmt.Sscanf(lines.Text(), "receipt %d", &receipt); err == nil {
			receipts = max(receipts, receipt)
		} else if email, ok := strings.CutPrefix(lines.Text(), "user "); ok {
			users = append(users, email)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return acked, users, receipts
}

const buyers = 5 // users who buy credits and burn them

// appender is what killAfter kills.
func appender(args []string) error {
	round, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	l, err := ledger.Open(args[0], ledger.Options{Now: start})
	if err != nil {
		return err
	}
	if _, err := l.PublishVersion(start, ledger.RouteVersion, "/", []byte(`{}`), start); err != nil {
		return err
	}
	if l.Account(manyUsers) == nil {
		if err := ledger.AddUsers(l, start, manyUsers); err != nil {
			return err
		}
	}
	failed := make(chan error)
	var next atomic.Uint32
	next.Store(uint32(round) * 50_000)
	for g := range 64 {
		go func() {
			r := rand.New(rand.NewPCG(uint64(round), uint64(g)))
			for {
				n := next.Add(1)
				u := call(ledger.UserID(r.IntN(manyUsers)+1), 0, 1, start.Add(time.Duration(n)*time.Millisecond), 1)
				u.Counter = n
				if n%8 == 0 {
					u.User, u.Burnt = ledger.UserID(1+r.IntN(buyers)), ledger.Unit
				}
				if err := l.AppendOne(u.Time, &u, nil).Wait(context.Background()); err != nil {
					failed <- err
					return
				}
				fmt.Printf("record %d\n", n)
			}
		}()
	}
	go func() {
		for {
			for id := ledger.UserID(1); id <= buyers; id++ {
				if err := buyTen(l, id); err != nil {
					failed <- err
					return
				}
			}
		}
	}()
	go func() {
		for i := 0; ; i++ {
			email := fmt.Sprintf("%d-%d@example.com", round, i)
			if _, err := l.AddUser(start, "test", ledger.Personal{Email: email}, "free"); err != nil {
				failed <- err
				return
			}
			fmt.Printf("user %s\n", email)
			if err := l.Checkpoint(context.Background()); err != nil {
				failed <- err
				return
			}
		}
	}()
	return <-failed
}

// buyTen has ten credits bought, and says so.
func buyTen(l *ledger.Ledger, id ledger.UserID) error {
	p := purchase(id)
	p.Credits = 10 * ledger.Unit
	begun, err := l.AddPayment(start, "test", p)
	if err != nil {
		return err
	}
	paid, err := l.ChangePayment(start, "test", id, begun.ID, func(p *ledger.Payment) error { collected(p); return nil })
	if err != nil {
		return err
	}
	_, err = fmt.Printf("receipt %d\n", paid.Number)
	return err
}
