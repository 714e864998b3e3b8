package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// watcher is a function that is asked.
type watcher func(u *ledger.Usage, used []ledger.PlanTotals, balance ledger.Amount) []ledger.Notice

func (w watcher) Notices(u *ledger.Usage, used []ledger.PlanTotals, balance ledger.Amount) []ledger.Notice {
	return w(u, used, balance)
}

// every tells of each so many documents that were used, with each record that comes after it.
func every(step int64) watcher {
	return func(_ *ledger.Usage, used []ledger.PlanTotals, _ ledger.Amount) (list []ledger.Notice) {
		sum := ledger.Sum(used)
		for limit := step; limit <= sum.Documents; limit += step {
			list = append(list, ledger.Notice{Code: ledger.Quota100, Subject: fmt.Sprint(limit), Meter: "documents", Used: sum.Documents, Limit: limit, Amount: sum.Tokens})
		}
		return list
	}
}

// toldTo is all notices of a user, oldest first.
func toldTo(t testing.TB, l *ledger.Ledger, user ledger.UserID) (list []*ledger.Notice) {
	t.Helper()
	for _, ref := range l.Account(user).User().Notices {
		n, err := l.Notice(user, ref.ID)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// crossings is the notices of every that the records of a user call for, in the
// order of the log.
func crossings(t testing.TB, l *ledger.Ledger, user ledger.UserID, step int64) (list []*ledger.Notice) {
	t.Helper()
	sums := map[ledger.Month]*ledger.Totals{}
	err := l.Records(t.Context(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		if u.User != user {
			return true
		}
		if sums[u.Period] == nil {
			sums[u.Period] = &ledger.Totals{}
		}
		s := sums[u.Period]
		before := s.Documents
		s.Documents, s.Tokens = s.Documents+u.Documents, s.Tokens+u.Tokens
		seq := u.Seq
		for limit := (before/step + 1) * step; limit <= s.Documents; limit += step {
			seq++
			list = append(list, &ledger.Notice{
				ID: ledger.NoticeID(seq), User: user, Code: ledger.Quota100, Month: u.Period, Subject: fmt.Sprint(limit), Time: u.Logged,
				Meter: "documents", Used: s.Documents, Limit: limit, Amount: s.Tokens,
			})
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestThresholds has 64 callers append records of a watched user at once, alone and
// several together, among those of others. Each threshold is told once, right behind
// the record that reaches it, with what was used by then. So it stays when the ledger
// is opened again and restored, and records go on.
func TestThresholds(t *testing.T) {
	const step = 50
	dir := t.TempDir()
	path := filepath.Join(dir, "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	route := addRoute(t, l)
	ada, bob, eve := addUser(t, l, "ada@example.com").ID, addUser(t, l, "bob@example.com").ID, addUser(t, l, "eve@example.com").ID
	load := func() {
		t.Helper()
		l.Account(bob).Watch(every(step))
		var all sync.WaitGroup
		for g := range 64 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(g)))
				for n := range 12 {
					if g == 7 && n == 4 {
						l.Account(ada).Watch(every(step)) // in the middle of it
					}
					records := make([]ledger.Usage, 1+r.IntN(4))
					for i := range records {
						user := []ledger.UserID{0, ada, ada, bob, eve}[r.IntN(5)]
						at := start
						if r.IntN(4) == 0 {
							at = start.AddDate(0, -1, 0) // it comes late
						}
						records[i] = call(user, 0, route.ID, at, int64(r.IntN(20)))
					}
					if err := l.Append(start, records, nil).Wait(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	load()
	want := crossings(t, l, bob, step)
	if diff := cmp.Diff(want, toldTo(t, l, bob)); diff != "" || len(want) < 20 {
		t.Fatalf("bob, of %d (-want +got):\n%s", len(want), diff)
	}
	// Of ada, those that were reached before she was watched come with the first record then.
	late := map[string]bool{}
	for _, n := range toldTo(t, l, ada) {
		key := fmt.Sprint(n.Month, n.Subject)
		if late[key] || n.Used < n.Limit {
			t.Errorf("told twice or too soon: %+v", n)
		}
		late[key] = true
	}
	for _, n := range crossings(t, l, ada, step) {
		if !late[fmt.Sprint(n.Month, n.Subject)] {
			t.Errorf("never told: %+v", n)
		}
	}
	if n := toldTo(t, l, eve); len(n) != 0 {
		t.Errorf("nobody watches eve, who was told %+v", n[0])
	}
	for _, how := range []string{"reopened", "restored"} {
		if how == "restored" {
			backup, restored := filepath.Join(dir, "backup.db"), filepath.Join(dir, "restored.db")
			if _, err := l.Backup(t.Context(), backup, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.Restore(t.Context(), backup, restored, start, nil); err != nil {
				t.Fatal(err)
			}
			path = restored
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = ledgertest.Open(t, path, ledger.Options{})
		if l.Account(bob).Watched() {
			t.Errorf("%s: it is watched by nobody", how)
		}
		load()
		if diff := cmp.Diff(crossings(t, l, bob, step), toldTo(t, l, bob)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", how, diff)
		}
	}
	if r, err := l.Verify(t.Context(), ledger.Checks{}, nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("verify: %v %q", err, r.Problems)
	}
}

// TestWatchedInOneCommit: what a watcher is told is what will have been used when
// the record is folded, whatever else is in its commit.
func TestWatchedInOneCommit(t *testing.T) {
	type asked struct {
		Period    ledger.Month
		Documents int64
		Pages     int64
		Calls     int64
		Balance   ledger.Amount // whole credits
	}
	l := ledgertest.New(t, ledger.Options{})
	route := addRoute(t, l)
	ada, bob := addUser(t, l, "ada@example.com").ID, addUser(t, l, "bob@example.com").ID
	var got []asked
	var watch watcher = func(u *ledger.Usage, used []ledger.PlanTotals, balance ledger.Amount) []ledger.Notice {
		s := ledger.Sum(used)
		got = append(got, asked{u.Period, s.Documents, s.Of("pages"), s.Calls, balance / ledger.Unit})
		return nil
	}
	var on, off watcher // what a record of bob does to ada's watcher
	on = func(*ledger.Usage, []ledger.PlanTotals, ledger.Amount) []ledger.Notice {
		l.Account(ada).Watch(watch)
		l.Account(bob).Watch(off)
		return nil
	}
	off = func(*ledger.Usage, []ledger.PlanTotals, ledger.Amount) []ledger.Notice {
		l.Account(ada).Watch(nil)
		l.Account(bob).Watch(on)
		return nil
	}
	l.Account(bob).Watch(on)
	of := func(n int64) ledger.Usage {
		u := call(ada, 0, route.ID, start, n)
		u.Named = []ledger.Quantity{{Meter: "pages", N: 2 * n}}
		return u
	}
	burning := func(n int64, credits ledger.Amount) ledger.Usage {
		u := of(n)
		u.Burnt = credits * ledger.Unit
		return u
	}
	late := func(n int64) ledger.Usage {
		u := of(n)
		u.Time = start.AddDate(0, -3, 0)
		return u
	}
	unbilled := of(1000)
	unbilled.Billed, unbilled.Cost = false, 0
	toggle := call(bob, 0, route.ID, start, 1)
	grant := func(credits ledger.Amount, expires time.Time) ledger.UserGrant {
		return ledger.UserGrant{User: ada, Grant: ledger.Grant{Source: ledger.Adjustment, Amount: credits * ledger.Unit, Expires: expires}}
	}
	record := func(n int) uint64 {
		var list []uint64
		if err := l.UserRecords(t.Context(), ada, 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool { list = append(list, u.Seq); return true }); err != nil {
			t.Fatal(err)
		}
		return list[len(list)-1-n]
	}
	jan := january
	october := january - 3
	for _, s := range []struct {
		name   string
		commit func() []any
		want   []asked
	}{
		{"nobody watches", func() []any { return []any{of(1), late(5)} }, nil},
		{"watched in the middle", func() []any { return []any{of(2), late(6), toggle, of(4), late(7), unbilled} },
			[]asked{{jan, 7, 14, 3, 0}, {october, 18, 36, 3, 0}, {jan, 7, 14, 3, 0}}},
		{"not watched for a record", func() []any { return []any{of(8), toggle, of(16), toggle, of(32)} },
			[]asked{{jan, 15, 30, 4, 0}, {jan, 63, 126, 6, 0}}},
		{"corrected before", func() []any {
			return []any{ledger.Correction{Of: record(0), Now: ledger.Quantities{Documents: 101}, Billed: true}, of(64)}
		}, []asked{{jan, 227, 252, 7, 0}}},
		{"corrected between", func() []any {
			return []any{of(100), ledger.Correction{Of: record(2)}, of(100)}
		}, []asked{{jan, 327, 452, 8, 0}, {jan, 425, 648, 8, 0}}},
		{"granted before", func() []any {
			return []any{grant(10, time.Time{}), burning(1, 4), grant(5, start.Add(time.Hour)), burning(1, 1), burning(1, 20)}
		}, []asked{{jan, 426, 650, 9, 6}, {jan, 427, 652, 10, 10}, {jan, 428, 654, 11, 0}}},
		{"some have expired", func() []any {
			u := burning(1, 7)
			u.Time = start.Add(time.Minute)
			return []any{grant(10, start.Add(time.Minute)), grant(9, time.Time{}), u}
		}, []asked{{jan, 429, 656, 12, 2}}},
	} {
		got = nil
		list := s.commit()
		if err := ledger.InOneCommit(l, start, list...); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
		if len(got) == 0 {
			continue
		}
		plans, err := l.Month(ada, jan)
		a := l.Account(ada)
		a.Lock()
		balance := a.Balance(start.Add(time.Minute))
		a.Unlock()
		if last, sum := got[len(got)-1], ledger.Sum(plans); err != nil || last.Documents != sum.Documents || last.Calls != sum.Calls || last.Pages != sum.Of("pages") || last.Balance != balance/ledger.Unit {
			t.Errorf("%s: %+v was said last, and after the commit it is %+v and %v (%v)", s.name, last, sum, balance, err)
		}
	}
}

// TestWhoIsAsked: a watcher is asked about the records of its own account, once
// each, and about none when it has gone.
func TestWhoIsAsked(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	route := addRoute(t, l)
	ada, bob := addUser(t, l, "ada@example.com").ID, addUser(t, l, "bob@example.com").ID
	asked := 0
	l.Account(ada).Watch(watcher(func(u *ledger.Usage, _ []ledger.PlanTotals, _ ledger.Amount) []ledger.Notice {
		if asked++; u.User != ada {
			t.Errorf("asked about user %d", u.User)
		}
		return nil
	}))
	records := []ledger.Usage{call(ada, 0, route.ID, start, 1), call(bob, 0, route.ID, start, 1), call(0, 0, route.ID, start, 1)}
	appendAll(t, l, start, records...)
	if err := l.Correct(start, ledger.Correction{Of: status(t, l).Seq - 2, Billed: true}); err != nil {
		t.Fatal(err)
	}
	l.Account(ada).Watch(nil)
	appendAll(t, l, start, records...)
	if asked != 1 || l.Account(ada).Watched() {
		t.Errorf("asked %d times, want once", asked)
	}
	seq := status(t, l).Seq
	appendAll(t, l, start, records...)
	if after := status(t, l).Seq; after != seq+3 {
		t.Errorf("%d entries of 3 records", after-seq)
	}
}

// TestAbsurdNotices: whatever a watcher says, the record is there; what cannot be
// told is not.
func TestAbsurdNotices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	route := addRoute(t, l)
	ada := addUser(t, l, "ada@example.com").ID
	big := strings.Repeat("\x01", 1<<18)
	absurd := map[string]ledger.Notice{
		"nothing":              {},
		"a long code":          {Code: big},
		"a long subject":       {Code: "a", Subject: big},
		"no text":              {Code: "b", Subject: "\xff\xfe"},
		"a failure of no text": {Code: "c", Failure: "\xff"},
		"a long failure":       {Code: "d", Failure: big},
		"a long meter":         {Code: "e", Meter: big},
		"a long delivery":      {Code: "f", Deliveries: []ledger.Delivery{{Channel: big, Error: big}}},
		"many deliveries":      {Code: "g", Deliveries: make([]ledger.Delivery, 1<<17)},
		"a year without end":   {Code: "h", Deliveries: []ledger.Delivery{{Next: start.AddDate(50_000, 0, 0)}}},
	}
	good := ledger.Notice{ID: 99, User: 99, Month: 99, Code: "good <&>\u2028 \x00", Subject: "Zoë", Failure: "\x01", Deliveries: []ledger.Delivery{{}}, Time: start.AddDate(50_000, 0, 0)}
	l.Account(ada).Watch(watcher(func(u *ledger.Usage, used []ledger.PlanTotals, _ ledger.Amount) (list []ledger.Notice) {
		for _, n := range absurd {
			list = append(list, n, n)
		}
		return append(list, good, good)
	}))
	before := status(t, l).Seq
	for range 3 {
		appendAll(t, l, start, call(ada, 0, route.ID, start, 1))
	}
	if err := l.Ready(); err != nil {
		t.Fatal(err)
	}
	// One is the period.
	if after := status(t, l).Seq; after != before+1+3+1 {
		t.Errorf("%d entries of 3 records and a notice", after-before)
	}
	want := good
	want.ID, want.User, want.Month, want.Time = ledger.NoticeID(before+3), ada, january, start
	for _, how := range []string{"as it is", "reopened"} {
		if diff := cmp.Diff([]*ledger.Notice{&want}, toldTo(t, l, ada)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", how, diff)
		}
		if !l.Account(ada).User().Told(good.Code, january, good.Subject) {
			t.Errorf("%s: it was not told", how)
		}
		if plans, err := l.Month(ada, january); err != nil || ledger.Sum(plans).Calls != 3 {
			t.Errorf("%s: the month is %+v, %v", how, plans, err)
		}
		if how == "as it is" {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = ledgertest.Open(t, path, ledger.Options{})
		}
	}
}
