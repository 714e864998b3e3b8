package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestTotalsDoNotWrapAround: sums that no int64 holds stay at the largest one,
// and the ledger of such opens.
func TestTotalsDoNotWrapAround(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	records := make([]ledger.Usage, 1000)
	for i := range records {
		records[i] = call(u.ID, 0, 1, start, ledger.MaxQuantity)
		records[i].Tokens, records[i].Cost = 1, ledger.MaxCost
	}
	for range 10 {
		appendAll(t, l, start, records...)
	}
	full := func(l *ledger.Ledger) {
		t.Helper()
		for _, id := range []ledger.UserID{0, u.ID} {
			plans, err := l.Month(id, ledger.MonthOf(2025, 1))
			if got := ledger.Sum(plans); err != nil || got.Cost != math.MaxInt64 || got.Documents != 10_000*ledger.MaxQuantity || got.Tokens != 10_000 {
				t.Errorf("user %d has %+v (%v)", id, got, err)
			}
		}
	}
	full(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{Now: start})
	full(l)
	appendAll(t, l, start, records[0])
}

func TestImpossibleRecords(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	plan, err := l.PublishVersion(start, ledger.PlanVersion, "free", []byte(`{}`), start)
	if err != nil {
		t.Fatal(err)
	}
	var many []ledger.Quantity
	for i := range 65 {
		many = append(many, ledger.Quantity{Meter: fmt.Sprintf("m%02d", i), N: 1})
	}
	for name, change := range map[string]func(*ledger.Usage){
		"negative documents":       func(u *ledger.Usage) { u.Documents = -1 },
		"negative tokens":          func(u *ledger.Usage) { u.Tokens = math.MinInt64 },
		"negative cost":            func(u *ledger.Usage) { u.Cost = -1 },
		"too many documents":       func(u *ledger.Usage) { u.Documents = ledger.MaxQuantity + 1 },
		"too many tokens":          func(u *ledger.Usage) { u.Tokens = ledger.MaxQuantity + 1 },
		"too high a cost":          func(u *ledger.Usage) { u.Cost = ledger.MaxCost + 1 },
		"too much of a meter":      func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "a", N: ledger.MaxQuantity + 1}} },
		"a cost that is no charge": func(u *ledger.Usage) { u.Billed = false },
		"no such outcome":          func(u *ledger.Usage) { u.Outcome = ledger.Quarantined + 1 },
		"no time":                  func(u *ledger.Usage) { u.Time = time.Time{} },
		"before 1970":              func(u *ledger.Usage) { u.Time = time.Unix(-1, 0) },
		"too far ahead":            func(u *ledger.Usage) { u.Time = start.Add(ledger.MaxAhead + time.Millisecond) },
		"no such user":             func(u *ledger.Usage) { u.User = 2 },
		"no such route":            func(u *ledger.Usage) { u.Route = 77 },
		"no route":                 func(u *ledger.Usage) { u.Route = 0 },
		"a plan for a route":       func(u *ledger.Usage) { u.Route = plan.ID },
		"a key without a user":     func(u *ledger.Usage) { u.User, u.Plan, u.Key = 0, 0, 1 },
		"a plan without a user":    func(u *ledger.Usage) { u.User = 0 },
		"a meter without a name":   func(u *ledger.Usage) { u.Named = []ledger.Quantity{{N: 1}} },
		"a meter twice":            func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "a", N: 1}, {Meter: "a", N: 1}} },
		"meters out of order":      func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "b", N: 1}, {Meter: "a", N: 1}} },
		"a negative meter":         func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "a", N: -1}} },
		"a meter with a long name": func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: strings.Repeat("m", 65), N: 1}} },
		"a meter that is no text":  func(u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "\xff", N: 1}} },
		"too many meters":          func(u *ledger.Usage) { u.Named = many },
	} {
		bad := call(u.ID, 0, 1, start, 1)
		change(&bad)
		if err := l.AppendOne(start, &bad, nil).Wait(context.Background()); err == nil {
			t.Errorf("%s is taken", name)
		}
		// It takes the others of its append with it.
		if err := l.Append(start, []ledger.Usage{call(u.ID, 0, 1, start, 1), bad}, nil).Wait(context.Background()); err == nil {
			t.Errorf("%s is taken with others", name)
		}
	}
	late := time.Date(5000, 1, 1, 0, 0, 0, 0, time.UTC)
	soon := call(u.ID, 0, 1, start, 1)
	if err := l.AppendOne(late, &soon, nil).Wait(context.Background()); err == nil {
		t.Error("a record of the year 5000 is taken")
	}
	if err := l.Ready(); err != nil {
		t.Errorf("after refused records: %v", err)
	}
	edge := call(u.ID, 0, 1, start.Add(ledger.MaxAhead), 1)
	edge.Named, edge.Duration = many[:64], -time.Second
	appendAll(t, l, start, edge)
	if plans, err := l.Month(0, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(plans).Calls != 1 {
		t.Errorf("the month has %+v, want the one call (%v)", plans, err)
	}
}

// TestRecordsAreCopied: what the caller does with its records after Append is
// its own business.
func TestRecordsAreCopied(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{CommitInterval: 20 * time.Millisecond})
	addRoute(t, l)
	list := []ledger.Usage{call(0, 0, 1, start, 1), call(0, 0, 1, start, 1)}
	list[0].Named = []ledger.Quantity{{Meter: "pages", N: 7}}
	one := call(0, 0, 1, start, 1)
	one.Named = []ledger.Quantity{{Meter: "pages", N: 9}}
	pending := []ledger.Pending{l.Append(start, list, nil), l.AppendOne(start, &one, nil)}
	list[0].Named[0], list[0].Documents, list[1] = ledger.Quantity{Meter: "changed", N: -1}, -5, ledger.Usage{}
	one.Named[0], one.Documents = ledger.Quantity{Meter: "changed", N: -1}, -5
	for _, p := range pending {
		if err := p.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	plans, err := l.Month(0, ledger.MonthOf(2025, 1))
	want := []ledger.Quantity{{Meter: "pages", N: 16}}
	if err != nil || !cmp.Equal(plans[0].Named, want) || plans[0].Documents != 3 {
		t.Errorf("the month has %+v (%v)", plans, err)
	}
}

// holding is what admission keeps of a user under the account's lock.
type holding struct {
	held    int64
	settled atomic.Int64
}

type oneHold struct {
	h *holding
	n int64
}

func (o oneHold) Settle() {
	o.h.held -= o.n // under the account's lock: the race detector sees to it
	o.h.settled.Add(1)
}

// TestSettledInOneStep: while records are appended from many goroutines, what
// is held and what is used are always together what was handed over.
func TestSettledInOneStep(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	addRoute(t, l)
	u := addUser(t, l, "ada@example.com")
	a := l.Account(u.ID)
	month := l.PeriodAt(start).Month
	h := &holding{}
	issued := int64(0) // guarded by the account's lock, as in admission
	done := make(chan struct{})
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			a.Lock()
			used := ledger.Sum(a.Month(month)).Documents
			if used+h.held != issued {
				t.Errorf("%d used and %d held of %d", used, h.held, issued)
			}
			a.Unlock()
		}
	})
	const each = 200
	for range 8 {
		work.Go(func() {
			for i := range each {
				n := int64(i%3 + 1)
				a.Lock()
				h.held += n
				issued += n
				a.Unlock()
				r := call(u.ID, 0, 1, start, n)
				if err := l.AppendOne(start, &r, oneHold{h, n}).Wait(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	close(done)
	watch.Wait()
	if h.held != 0 || h.settled.Load() != 8*each {
		t.Errorf("%d still held, %d settled of %d", h.held, h.settled.Load(), 8*each)
	}
}

func TestPending(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{CommitInterval: 50 * time.Millisecond})
	addRoute(t, l)
	ended, end := context.WithCancel(context.Background())
	end()
	u := call(0, 0, 1, start, 1)
	p := l.AppendOne(start, &u, nil)
	if err := p.Wait(ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("wait without patience: %v", err)
	}
	for range 2 { // the append goes on, and anyone may ask again
		if err := p.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if err := p.Wait(ended); err != nil {
		t.Errorf("what is durable needs no patience: %v", err)
	}
	if err := l.Append(start, nil, nil).Wait(context.Background()); err != nil {
		t.Errorf("an append of nothing: %v", err)
	}
	if err := (ledger.Pending{}).Wait(context.Background()); err != nil {
		t.Errorf("nothing pending: %v", err)
	}
	last := l.AppendOne(start, &u, nil) // Close commits it
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := last.Wait(context.Background()); err != nil {
		t.Errorf("appended before Close: %v", err)
	}
	_, userErr := l.AddUser(start, "test", ledger.Personal{Email: "ada@example.com"}, "free")
	_, verifyErr := l.Verify(context.Background(), ledger.Checks{}, nil)
	_, backupErr := l.Backup(context.Background(), path+".backup", nil)
	for what, err := range map[string]error{
		"append":     l.Append(start, []ledger.Usage{u}, nil).Wait(context.Background()),
		"append one": l.AppendOne(start, &u, nil).Wait(context.Background()),
		"add user":   userErr,
		"checkpoint": l.Checkpoint(context.Background()),
	} {
		if !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if verifyErr == nil || backupErr == nil {
		t.Errorf("after Close verify gives %v, backup %v", verifyErr, backupErr)
	}
	again := ledgertest.Open(t, path, ledger.Options{})
	if plans, err := again.Month(0, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(plans).Calls != 2 {
		t.Errorf("the month has %+v, want 2 calls (%v)", plans, err)
	}
}

// TestCloseWhileAppending: each append is either durable or refused.
func TestCloseWhileAppending(t *testing.T) {
	path := filepath.Join(scratch(t), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	var wg sync.WaitGroup
	var taken atomic.Int64
	begun := make(chan struct{}, 100)
	for range 16 {
		wg.Go(func() {
			for {
				u := call(0, 0, 1, start, 1)
				err := l.AppendOne(start, &u, nil).Wait(context.Background())
				if errors.Is(err, ledger.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	l = ledgertest.Open(t, path, ledger.Options{})
	if plans, err := l.Month(0, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(plans).Calls != taken.Load() {
		t.Errorf("the month has %+v, want %d calls (%v)", plans, taken.Load(), err)
	}
}

// TestNamesAreCapped: clients can make up methods, and must not grow the
// ledger by them, nor use up the names of meters.
func TestNamesAreCapped(t *testing.T) {
	path := filepath.Join(scratch(t), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	var records []ledger.Usage
	for i := range 3000 {
		u := call(0, 0, 1, start, 1)
		u.Counter, u.Method = uint32(i), fmt.Sprintf("M%d", i)
		records = append(records, u)
	}
	records[0].Method, records[1].Method = strings.Repeat("M", 65), "B\xff"
	appendAll(t, l, start, records...)
	var metered []ledger.Usage
	for i := range 2500 {
		u := call(0, 0, 1, start, 1)
		u.Counter = uint32(10_000 + i)
		u.Named = []ledger.Quantity{{Meter: "a", N: 1}, {Meter: fmt.Sprintf("m%d", i), N: 2}, {Meter: fmt.Sprintf("x%d", i), N: 3}}
		metered = append(metered, u)
	}
	appendAll(t, l, start, metered...)
	type seen struct{ Methods, Meters map[string]int64 }
	look := func(l *ledger.Ledger) seen {
		s := seen{map[string]int64{}, map[string]int64{}}
		if err := l.Records(context.Background(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
			s.Methods[u.Method]++
			for _, q := range u.Named {
				s.Meters[q.Meter] += q.N
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		plans, err := l.Month(0, ledger.MonthOf(2025, 1))
		if err != nil {
			t.Fatal(err)
		}
		total := map[string]int64{}
		for _, q := range plans[0].Named {
			total[q.Meter] = q.N
		}
		if diff := cmp.Diff(s.Meters, total); diff != "" {
			t.Errorf("the month has other meters than the records (-records +month):\n%s", diff)
		}
		return s
	}
	s := look(l)
	if n := len(s.Methods); n < 2000 || n > 2100 || s.Methods["other"] < 900 || s.Methods["M2"] != 1 || s.Methods["M2999"] != 0 {
		t.Errorf("%d methods are kept, %d records have another", n, s.Methods["other"])
	}
	if n := len(s.Meters); n < 2000 || n > 2100 || s.Meters["a"] != 2500 || s.Meters["m5"] != 2 || s.Meters["other"] < 5*1000 {
		t.Errorf("%d meters are kept, %d of others", n, s.Meters["other"])
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	if diff := cmp.Diff(s, look(l)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}
