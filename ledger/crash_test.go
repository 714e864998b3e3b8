package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestCrashImages records every write, sync and rename of a process that works
// on a ledger, and opens what the disk may hold after a loss of power at each
// point: nothing that was acknowledged is missing, nothing is there twice or in
// part, and verify finds nothing.
func TestCrashImages(t *testing.T) {
	dir := scratch(t)
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	disk := newCrashDisk()
	told := &told{groups: map[int]int{}, acked: map[int]bool{}, done: map[string]bool{}}
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	check := startChecks(t, dir, run)
	defer check.end()
	err := ledgertest.Supervise(t, inRole("busy", run), run, func(c *ledgertest.Call) ledgertest.Answer {
		if c.Path == ledgertest.Stdout {
			told.line(t, string(c.Data))
			return ledgertest.Answer{Done: true}
		}
		if c.Op == ledgertest.OpSync {
			check.crashes(disk, c.Path, told, r)
		}
		answer := ledgertest.Answer{Done: true} // of a sync: the disk is simulated
		switch c.Op {
		case ledgertest.OpOpen, ledgertest.OpAllocate:
			answer = ledgertest.Answer{}
		case ledgertest.OpSync:
		default:
			answer = c.Happen()
		}
		disk.happen(c)
		if c.Op == ledgertest.OpRename || c.Op == ledgertest.OpRemove {
			check.crashes(disk, c.Path, told, r)
		}
		return answer
	})
	if err != nil {
		t.Fatalf("the process that was watched: %v", err)
	}
	for _, what := range []string{"opened", "backed up", "mended", "restored", "closed"} {
		if !told.done[what] {
			t.Errorf("the process never got to %q", what)
		}
	}
}

// told is what a process said: which groups of records it was about to append,
// which were acknowledged, and what else it had done.
type told struct {
	groups map[int]int // group -> records
	acked  map[int]bool
	done   map[string]bool
	backup map[int]bool // acked before the backup began
}

func (s *told) line(t *testing.T, line string) {
	var group, records int
	line = strings.TrimSpace(line)
	if _, err := fmt.Sscanf(line, "append %d %d", &group, &records); err == nil {
		s.groups[group] = records
	} else if _, err := fmt.Sscanf(line, "appended %d", &group); err == nil {
		s.acked[group] = true
	} else {
		s.done[line] = true
		if line == "backing up" {
			s.backup = map[int]bool{}
			for g := range s.acked {
				s.backup[g] = true
			}
		}
	}
}

func (s *told) clone() *told {
	c := &told{groups: map[int]int{}, acked: map[int]bool{}, done: map[string]bool{}, backup: s.backup}
	for k, v := range s.groups {
		c.groups[k] = v
	}
	for k, v := range s.acked {
		c.acked[k] = v
	}
	for k, v := range s.done {
		c.done[k] = v
	}
	return c
}

// checks opens images of crashes, some at a time.
type checks struct {
	t        *testing.T
	dir, run string
	work     chan crashed
	wg       sync.WaitGroup
	images   int
}

type crashed struct {
	what  string
	image image
	told  *told
	n     int
}

func startChecks(t *testing.T, dir, run string) *checks {
	c := &checks{t: t, dir: dir, run: run, work: make(chan crashed, 64)}
	for range 4 {
		c.wg.Go(func() {
			for w := range c.work {
				if !t.Failed() {
					c.check(w)
				}
			}
		})
	}
	return c
}

func (c *checks) end() {
	close(c.work)
	c.wg.Wait()
	c.t.Logf("opened %d images", c.images)
}

// crashes has images checked of a crash at this point, at which path is about
// to be synced or was just renamed.
func (c *checks) crashes(d *crashDisk, path string, s *told, r *rand.Rand) {
	n := 1
	if f := d.names[path]; f != nil {
		n = max(1, len(f.pending))
	}
	list := fates(n, *long, r)
	if !*long && s.done["users added"] {
		// Of a crash that is like many others some images do.
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(len(list), amount(len(list), 2, 1))]
		if raced && r.IntN(6) > 0 {
			return
		}
	}
	snapshot := s.clone()
	for _, f := range list {
		c.images++
		c.work <- crashed{fmt.Sprintf("crash %d, unsynced writes that are kept: %s", c.images, f.name), d.crash(f), snapshot, c.images}
	}
}

func (c *checks) check(w crashed) {
	into := filepath.Join(c.dir, fmt.Sprintf("image-%d", w.n))
	if err := os.Mkdir(into, 0o700); err != nil {
		c.t.Error(err)
		return
	}
	w.image.write(c.t, c.run, into)
	if err := checkImage(into, w.told, w.n%4 == 0); err != nil {
		c.t.Errorf("%s: %v", w.what, err)
	}
	if err := os.RemoveAll(into); err != nil {
		c.t.Error(err)
	}
}

func checkImage(dir string, s *told, goOn bool) error {
	live := filepath.Join(dir, "live.db")
	if err := checkLive(live, s, goOn); err != nil {
		return err
	}
	for _, copied := range []struct{ name, done string }{{"backup.db", "backed up"}, {"restored.db", "restored"}} {
		path := filepath.Join(dir, copied.name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !s.done[copied.done] {
			continue
		}
		if err := soundFile(path); err != nil {
			return fmt.Errorf("%s: %w", copied.name, err)
		}
		l, err := ledger.Open(path, ledger.Options{Now: start})
		if err != nil {
			return fmt.Errorf("%s: %w", copied.name, err)
		}
		err = hasGroups(l, &told{groups: s.groups, acked: s.backup})
		if err := errors.Join(err, l.Close()); err != nil {
			return fmt.Errorf("%s: %w", copied.name, err)
		}
	}
	return nil
}

func checkLive(path string, s *told, goOn bool) error {
	if !s.done["opened"] {
		// Nothing was acknowledged: it may be refused, but not crash.
		l, err := ledger.Open(path, ledger.Options{Now: start})
		if errors.Is(err, ledger.ErrCorrupt) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(l.Close(), soundFile(path))
	}
	if _, err := os.Stat(path + ".suspect"); err != nil {
		if err := soundFile(path); err != nil {
			return fmt.Errorf("before it is opened: %w", err)
		}
	}
	l, err := ledger.Open(path, ledger.Options{Now: start})
	if err != nil {
		return err
	}
	err = errors.Join(hasGroups(l, s), hasBought(l, s.done["bought"]))
	if goOn && err == nil {
		u := call(0, 0, 1, start, 0)
		if s.done["users added"] {
			u.User = 1
		}
		err = l.Append(start, []ledger.Usage{u}, nil).Wait(context.Background())
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	if goOn {
		return soundFile(path)
	}
	return nil
}

func soundFile(path string) error {
	r, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
	if err == nil && len(r.Problems) > 0 {
		err = fmt.Errorf("verify: %q", r.Problems)
	}
	return err
}

// hasGroups proves that a ledger has what was acknowledged, and nothing twice
// or in part. Record i of group g has the counter 16 g + i.
func hasGroups(l *ledger.Ledger, s *told) error {
	found := map[int]int{}
	var twice error
	seen := map[uint32]bool{}
	err := l.Records(context.Background(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		if u.Documents == 0 { // appended by this test
			return true
		}
		if seen[u.Counter] {
			twice = fmt.Errorf("record %d is there twice", u.Counter)
		}
		seen[u.Counter] = true
		found[int(u.Counter/16)]++
		return true
	})
	if err := errors.Join(err, twice); err != nil {
		return err
	}
	for g, n := range found {
		if n != s.groups[g] {
			return fmt.Errorf("%d records of group %d, which has %d", n, g, s.groups[g])
		}
	}
	for g := range s.acked {
		if found[g] == 0 {
			return fmt.Errorf("group %d was acknowledged and is missing", g)
		}
	}
	return nil
}

// hasBought proves that what was paid for was granted, and nothing else was.
func hasBought(l *ledger.Ledger, acked bool) error {
	a := l.Account(buyer)
	if a == nil {
		return nil
	}
	var want ledger.Amount
	for _, ref := range a.User().Payments {
		if (ref.Grant != 0) != (ref.State == ledger.PaymentPaid) || ref.Grant != 0 && !a.User().Told(ledger.CreditsBought, ref.Month, "") {
			return fmt.Errorf("payment %+v, notices %+v", ref, a.User().Notices)
		}
		if ref.Grant != 0 {
			want = 10_000 * ledger.Unit
		}
	}
	a.Lock()
	sums := a.CreditSums()
	a.Unlock()
	if sums.Granted != want || acked && want == 0 {
		return fmt.Errorf("%v credits were granted, want %v; the purchase was acknowledged: %v", sums.Granted, want, acked)
	}
	return nil
}

const buyer = 3 // who buys credits

// buy has a pack of credits paid.
func (b *busyProcess) buy() error {
	p, err := b.l.AddPayment(start, "test", purchase(buyer))
	if err != nil {
		return err
	}
	_, err = b.l.ChangePayment(start, "test", buyer, p.ID, func(p *ledger.Payment) error {
		collected(p)
		p.Tell = []ledger.Notice{{Code: ledger.CreditsBought}}
		return nil
	})
	return err
}

// busy is what is watched: it makes a ledger in a folder, fills it while
// checkpoints run, backs it up, restores it, and has it mended.
func busy(args []string) error {
	dir := args[0]
	b := &busyProcess{path: filepath.Join(dir, "live.db")}
	steps := []func() error{
		b.open("opened"),
		func() error { return ledger.AddUsers(b.l, start, 1100) },
		say("users added"),
		b.buy,
		say("bought"),
		func() error { return b.fill(3, false) },
		func() error { return b.fill(5, true) },
		func() error { return b.l.EraseUser(start, "test", 7) },
		say("backing up"),
		func() error {
			_, err := b.l.Backup(context.Background(), filepath.Join(dir, "backup.db"), nil)
			return err
		},
		say("backed up"),
		func() error { return b.fill(2, true) },
		func() error { return b.l.Close() },
		say("closed"),
		// As a failed commit leaves it, the next open rewrites the file.
		func() error { return os.WriteFile(b.path+".suspect", []byte("test\n"), 0o600) },
		b.open("mended"),
		func() error { return b.fill(2, false) },
		func() error { return b.l.Close() },
		func() error {
			_, err := ledger.Restore(context.Background(), filepath.Join(dir, "backup.db"), filepath.Join(dir, "restored.db"), start, nil)
			return err
		},
		say("restored"),
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func say(what string) func() error {
	return func() error {
		_, err := fmt.Println(what)
		return err
	}
}

type busyProcess struct {
	path  string
	l     *ledger.Ledger
	group int
	mu    sync.Mutex
}

func (b *busyProcess) open(what string) func() error {
	return func() error {
		l, err := ledger.Open(b.path, ledger.Options{Now: start})
		if err != nil {
			return err
		}
		b.l = l
		if _, err := l.PublishVersion(start, ledger.RouteVersion, "/", []byte(`{}`), start); err != nil {
			return err
		}
		_, err = fmt.Println(what)
		return err
	}
}

// fill appends groups of records of many users from some goroutines, for some
// rounds, each with a checkpoint beside it.
func (b *busyProcess) fill(rounds int, checkpoints bool) error {
	for round := range rounds {
		var wg sync.WaitGroup
		failed := make(chan error, 100)
		if checkpoints {
			wg.Go(func() { failed <- b.l.Checkpoint(context.Background()) })
		}
		for range 3 {
			wg.Go(func() { failed <- b.append(5, time.Duration(round)*10*24*time.Hour) })
		}
		wg.Wait()
		close(failed)
		for err := range failed {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *busyProcess) append(groups int, after time.Duration) error {
	for range groups {
		b.mu.Lock()
		b.group++
		g := b.group
		b.mu.Unlock()
		records := make([]ledger.Usage, 1+g%12)
		at := start.Add(after)
		for i := range records {
			records[i] = call(ledger.UserID(1+(g*97+i*331)%1100), 0, 1, at, int64(1+g%5))
			if i == 3 {
				records[i].User = buyer
			}
			records[i].Counter = uint32(16*g + i)
			if records[i].User == buyer {
				records[i].Burnt = ledger.Unit
			}
		}
		if _, err := fmt.Printf("append %d %d\n", g, len(records)); err != nil {
			return err
		}
		if err := b.l.Append(at, records, nil).Wait(context.Background()); err != nil {
			return err
		}
		if _, err := fmt.Printf("appended %d\n", g); err != nil {
			return err
		}
	}
	return nil
}
