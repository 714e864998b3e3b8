package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestNoticesRace: records and others tell of the same things at the same time. One
// of them does, and knows.
func TestNoticesRace(t *testing.T) {
	const step, last = 10, 3000
	l := ledgertest.New(t, ledger.Options{})
	route := addRoute(t, l)
	ada := addUser(t, l, "ada@example.com").ID
	l.Account(ada).Watch(every(step))
	byHand := map[ledger.NoticeID]*ledger.Notice{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range last / step / 8 {
				if err := l.Append(start, []ledger.Usage{call(ada, 0, route.ID, start, step)}, nil).Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for limit := step; limit <= last; limit += step {
			n := ledger.Notice{User: ada, Code: ledger.Quota100, Subject: fmt.Sprint(limit), Failure: "by hand"}
			made, fresh, err := l.AddNotice(start, "test", n)
			if err != nil || fresh != (made != nil) {
				t.Errorf("%+v, %v, %v", made, fresh, err)
			}
			if fresh {
				byHand[made.ID] = made
			}
			if again, fresh, err := l.AddNotice(start, "test", n); again != nil || fresh || err != nil {
				t.Errorf("again: %+v, %v, %v", again, fresh, err)
			}
		}
	})
	all.Wait()
	want := map[string]*ledger.Notice{}
	for _, n := range crossings(t, l, ada, step) {
		want[n.Subject] = n
	}
	list := toldTo(t, l, ada)
	for _, n := range list {
		if n.Failure != "" {
			if diff := cmp.Diff(byHand[n.ID], n); diff != "" {
				t.Errorf("by hand (-returned +logged):\n%s", diff)
			}
			delete(byHand, n.ID)
		} else if n.Used != want[n.Subject].Used {
			t.Errorf("%+v, want %d used", n, want[n.Subject].Used)
		}
		delete(want, n.Subject)
	}
	if len(list) != last/step || len(want) != 0 || len(byHand) != 0 {
		t.Errorf("%d notices of %d; not told: %d; not there: %v", len(list), last/step, len(want), byHand)
	}
	t.Logf("%d of %d by hand", len(list)-len(want), len(list))
}

// TestNoticesAreKept: what is not done with stays, what is done with is forgotten
// after some months, and can be told again only then.
func TestNoticesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	ada := addUser(t, l, "ada@example.com").ID
	tell := func(m ledger.Month, done bool) {
		t.Helper()
		n, fresh, err := l.AddNotice(start, "test", ledger.Notice{User: ada, Code: ledger.Quota80, Month: m, Meter: "calls", Subject: "calls"})
		if err != nil || !fresh {
			t.Fatalf("%v: %v, %v", m, fresh, err)
		}
		if done {
			if _, err := l.ChangeNotice(start, ada, n.ID, func(n *ledger.Notice) error { n.Done = true; return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	months := func() (list []ledger.Month) {
		for _, r := range l.Account(ada).User().Notices {
			list = append(list, r.Month-january)
		}
		return list
	}
	tell(january, false)
	for m := range ledger.Month(8) {
		tell(january+1+m, true)
		for _, how := range []string{"as it is", "reopened"} {
			want := []ledger.Month{0}
			for before := max(1, m+1-3); before <= m+1; before++ {
				want = append(want, before)
			}
			if got := months(); !slices.Equal(got, want) {
				t.Fatalf("%s, after %d months: %v, want %v", how, m+1, got, want)
			}
			if how == "as it is" {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = ledgertest.Open(t, path, ledger.Options{})
			}
		}
	}
	forgotten := january + 2
	if l.Account(ada).User().Told(ledger.Quota80, forgotten, "calls") || !l.Account(ada).User().Told(ledger.Quota80, january+6, "calls") {
		t.Errorf("of %v", months())
	}
	tell(forgotten, false)
}

// TestForgottenStaysForgotten: the process ends in the middle of a checkpoint that
// has the user as it is after a notice was forgotten; the entries are replayed.
func TestForgottenStaysForgotten(t *testing.T) {
	dir := scratch(t)
	l := ledgertest.Open(t, filepath.Join(dir, "tollgate.db"), ledger.Options{})
	route := addRoute(t, l)
	if err := ledger.AddUsers(l, start, manyUsers); err != nil {
		t.Fatal(err)
	}
	for _, m := range []ledger.Month{january, january + 1, january + 9} {
		n, _, err := l.AddNotice(start, "test", ledger.Notice{User: 1, Code: ledger.Quota80, Month: m})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.ChangeNotice(start, 1, n.ID, func(n *ledger.Notice) error { n.Done = m != january; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, l, start.Add(2*time.Minute), call(2, 0, route.ID, start, 1)) // a checkpoint is due with the next
	path := filepath.Join(dir, "crashed.db")
	u := call(3, 0, route.ID, start, 1)
	if err := l.AppendOne(start.Add(2*time.Minute), &u, settlerFunc(func() {
		if err := ledger.CopyAsItIs(l, path); err != nil {
			t.Error(err)
		}
	})).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if unfinished, err := ledger.InCheckpoint(path); err != nil || !unfinished {
		t.Fatalf("no checkpoint was under way (%v)", err)
	}
	ledgertest.Verify(t, path)
	crashed := ledgertest.Open(t, path, ledger.Options{Now: start.Add(2 * time.Minute)})
	want := l.Account(1).User().Notices
	if diff := cmp.Diff(want, crashed.Account(1).User().Notices); diff != "" || len(want) != 2 {
		t.Errorf("%+v (-before +after):\n%s", want, diff)
	}
}

type settlerFunc func()

func (f settlerFunc) Settle() { f() }

// TestImpossibleNotices: what tells something else, or cannot be stored, is refused.
func TestImpossibleNotices(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	ada := addUser(t, l, "ada@example.com").ID
	before := status(t, l).Seq
	for name, change := range map[string]func(*ledger.Notice){
		"for nobody":         func(n *ledger.Notice) { n.User = 0 },
		"for a stranger":     func(n *ledger.Notice) { n.User = 9 },
		"of nothing":         func(n *ledger.Notice) { n.Code = "" },
		"a code of no text":  func(n *ledger.Notice) { n.Code = "\xff" },
		"a subject too long": func(n *ledger.Notice) { n.Subject = strings.Repeat("x", 2000) },
		"too long":           func(n *ledger.Notice) { n.Failure = strings.Repeat("<", 1<<18) },
	} {
		n := ledger.Notice{User: ada, Code: ledger.CreditsLow}
		change(&n)
		if made, fresh, err := l.AddNotice(start, "test", n); err == nil || fresh || made != nil {
			t.Errorf("%s: %+v", name, made)
		}
	}
	if after := status(t, l).Seq; after != before {
		t.Fatalf("%d entries were logged", after-before)
	}
	made, fresh, err := l.AddNotice(start, "test", ledger.Notice{
		ID: 7, User: ada, Code: ledger.Quota80, Subject: "calls", Meter: "calls", Used: 80, Limit: 100, Balance: 1, Credits: 2, Invoice: 3, Payment: 4, Amount: 5, Failure: "none",
		Time: start.AddDate(1, 0, 0), Deliveries: []ledger.Delivery{{Channel: "mail"}},
	})
	if err != nil || !fresh || made.ID != ledger.NoticeID(before+1) || !made.Time.Equal(start) || made.Month != january {
		t.Fatalf("%+v, %v, %v", made, fresh, err)
	}
	refuses := func(state string, table map[string]func(*ledger.Notice)) {
		t.Helper()
		before := status(t, l).Seq
		for name, change := range table {
			if _, err := l.ChangeNotice(start, ada, made.ID, func(n *ledger.Notice) error { change(n); return nil }); err == nil {
				t.Errorf("%s: %s is taken", state, name)
			}
		}
		no := errors.New("no")
		if _, err := l.ChangeNotice(start, ada, made.ID, func(n *ledger.Notice) error { n.Done = !n.Done; return no }); !errors.Is(err, no) {
			t.Errorf("%s: an error of the caller: %v", state, err)
		}
		if _, err := l.ChangeNotice(start, ada, made.ID, func(*ledger.Notice) error { return nil }); err != nil {
			t.Errorf("%s: no change: %v", state, err)
		}
		if after := status(t, l).Seq; after != before {
			t.Errorf("%s: %d entries were logged", state, after-before)
		}
	}
	table := map[string]func(*ledger.Notice){
		"another id":        func(n *ledger.Notice) { n.ID++ },
		"another user":      func(n *ledger.Notice) { n.User++ },
		"another code":      func(n *ledger.Notice) { n.Code = ledger.Quota100 },
		"another month":     func(n *ledger.Notice) { n.Month++ },
		"another subject":   func(n *ledger.Notice) { n.Subject = "documents" },
		"another time":      func(n *ledger.Notice) { n.Time = start.Add(1) },
		"another meter":     func(n *ledger.Notice) { n.Meter = "documents" },
		"more used":         func(n *ledger.Notice) { n.Used++ },
		"another limit":     func(n *ledger.Notice) { n.Limit++ },
		"another balance":   func(n *ledger.Notice) { n.Balance++ },
		"more credits":      func(n *ledger.Notice) { n.Credits++ },
		"another invoice":   func(n *ledger.Notice) { n.Invoice++ },
		"another payment":   func(n *ledger.Notice) { n.Payment++ },
		"another amount":    func(n *ledger.Notice) { n.Amount++ },
		"another failure":   func(n *ledger.Notice) { n.Failure = "" },
		"a year of no kind": func(n *ledger.Notice) { n.Deliveries[0].Next = start.AddDate(50_000, 0, 0) },
		"too much to say":   func(n *ledger.Notice) { n.Deliveries[0].Error = strings.Repeat("x", 2<<20) },
	}
	refuses("new", table)
	deliver := func(change func(*ledger.Notice)) {
		t.Helper()
		changed, err := l.ChangeNotice(start, ada, made.ID, func(n *ledger.Notice) error { change(n); return nil })
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Notice(ada, made.ID)
		if diff := cmp.Diff(changed, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	deliver(func(n *ledger.Notice) {
		n.Deliveries[0].Attempts, n.Deliveries[0].Error, n.Deliveries[0].Next = 1, "no route", start.Add(time.Minute)
		n.Deliveries = append(n.Deliveries, ledger.Delivery{Channel: "webhook"})
	})
	refuses("tried", table)
	deliver(func(n *ledger.Notice) {
		n.Deliveries[0].Sent, n.Deliveries[1].GivenUp, n.Done = start, true, true
	})
	refuses("done with", table)
	refuses("done with", map[string]func(*ledger.Notice){
		"not done":         func(n *ledger.Notice) { n.Done = false },
		"another attempt":  func(n *ledger.Notice) { n.Deliveries[0].Attempts++ },
		"another delivery": func(n *ledger.Notice) { n.Deliveries = n.Deliveries[:1] },
	})
	for _, id := range []ledger.NoticeID{0, 1, made.ID + 1} {
		if _, err := l.ChangeNotice(start, ada, id, func(*ledger.Notice) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("notice %d: %v", id, err)
		}
	}
	if _, err := l.Notice(2, made.ID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("another's notice: %v", err)
	}
}
