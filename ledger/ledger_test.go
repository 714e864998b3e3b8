package ledger_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

var start = ledgertest.Start

func addUser(t testing.TB, l *ledger.Ledger, email string) *ledger.User {
	t.Helper()
	u, err := l.AddUser(start, "test", ledger.Personal{Email: email, Name: "Ada"}, "free")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func addKey(t testing.TB, l *ledger.Ledger, user ledger.UserID, secret string) *ledger.Key {
	t.Helper()
	k, err := l.AddKey(start, "test", user, ledger.Key{Hash: sha256.Sum256([]byte(secret)), Prefix: "tg_live_x", Scope: ledger.ScopeCall})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func addRoute(t testing.TB, l *ledger.Ledger) *ledger.Version {
	t.Helper()
	v, err := l.PublishVersion(start, ledger.RouteVersion, "POST /v1/scan", []byte(`{"pattern":"POST /v1/scan"}`), start)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func call(user ledger.UserID, key ledger.KeyID, route ledger.VersionID, at time.Time, documents int64) ledger.Usage {
	plan := ledger.VersionID(2)
	if user == 0 {
		plan = 0
	}
	return ledger.Usage{
		Time: at, Counter: uint32(at.UnixNano()) & 0xffffff, User: user, Key: key, Route: route, Plan: plan, Method: "POST", Status: 200, Billed: true,
		Quantities: ledger.Quantities{Documents: documents, Tokens: 10 * documents},
		Cost:       ledger.Amount(documents) * ledger.Unit / 100, Duration: 12500 * time.Microsecond,
	}
}

func appendAll(t testing.TB, l *ledger.Ledger, now time.Time, records ...ledger.Usage) {
	t.Helper()
	if err := l.Append(now, records, nil).Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	route := addRoute(t, l)
	ada, bob := addUser(t, l, "ada@example.com"), addUser(t, l, "bob@example.com")
	ka, kb := addKey(t, l, ada.ID, "a"), addKey(t, l, bob.ID, "b")
	var want []ledger.Usage
	for i := range 500 {
		at := start.Add(time.Duration(i) * time.Minute)
		u := call(ada.ID, ka.ID, route.ID, at, int64(i))
		if i%3 == 0 {
			u = call(bob.ID, kb.ID, route.ID, at, 1)
		}
		if i%7 == 0 {
			u.Named = []ledger.Quantity{{Meter: "images", N: 2}, {Meter: "pages", N: int64(i)}}
			u.Method = "BREW"
		}
		if i%11 == 0 {
			u.Billed, u.Cost, u.Outcome, u.Status = false, 0, ledger.UpstreamError, 500
		}
		if i%13 == 0 {
			u.Remember = ledger.Remembered{ID: [16]byte{byte(i), 1}, Request: [8]byte{2}}
		}
		want = append(want, u)
		appendAll(t, l, at.Add(13*time.Millisecond), u)
	}
	check := func(l *ledger.Ledger) {
		t.Helper()
		var all, adas []ledger.Usage
		if err := l.Records(context.Background(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
			all = append(all, *u)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		ignore := cmp.FilterPath(func(p cmp.Path) bool {
			f := p.Last().String()
			return f == ".Seq" || f == ".Logged" || f == ".Period"
		}, cmp.Ignore())
		if diff := cmp.Diff(want, all, ignore); diff != "" {
			t.Fatalf("records differ (-want +got):\n%s", diff)
		}
		if err := l.UserRecords(context.Background(), ada.ID, 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
			adas = append(adas, *u)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		var sum ledger.Totals
		i := len(all)
		for _, u := range adas {
			for i--; all[i].User != ada.ID; i-- {
			}
			if all[i].Seq != u.Seq {
				t.Fatalf("newest first: got entry %d, want %d", u.Seq, all[i].Seq)
			}
			if u.Billed {
				sum.Calls++
				sum.Documents += u.Documents
				sum.Tokens += u.Tokens
				sum.Cost += u.Cost
			} else {
				sum.Unbilled++
			}
		}
		plans, err := l.Month(ada.ID, ledger.MonthOf(2025, 1))
		if err != nil {
			t.Fatal(err)
		}
		got := ledger.Sum(plans)
		got.Named = nil
		if diff := cmp.Diff(sum, got); diff != "" {
			t.Fatalf("month's totals (-records +totals):\n%s", diff)
		}
		var hours ledger.Totals
		if err := l.Hours(ada.ID, start.Add(-time.Hour), start.Add(1000*time.Hour), func(h ledger.RouteHour) error {
			hours.Calls += h.Calls
			hours.Unbilled += h.Unbilled
			hours.Documents += h.Documents
			hours.Tokens += h.Tokens
			hours.Cost += h.Cost
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sum, hours); diff != "" {
			t.Fatalf("hours (-records +hours):\n%s", diff)
		}
		u, err := l.RecordByRequest(context.Background(), all[77].RequestID())
		if err != nil || u.Seq != all[77].Seq {
			t.Fatalf("record by request id: %v, %v", u, err)
		}
	}
	check(l)
	if err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	check(l)
	appendAll(t, l, start.Add(600*time.Minute), call(bob.ID, kb.ID, route.ID, start.Add(600*time.Minute), 3))
	want = append(want, call(bob.ID, kb.ID, route.ID, start.Add(600*time.Minute), 3))
	check(l)
	report, err := l.Verify(context.Background(), ledger.Checks{}, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("verify: %v %v", report.Problems, err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := l.Backup(context.Background(), copied, nil); err != nil {
		t.Fatal(err)
	}
	ledgertest.Verify(t, copied)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := ledgertest.Open(t, path, ledger.Options{Now: start.Add(1000 * time.Minute)})
	check(again)
	restored := filepath.Join(t.TempDir(), "restored.db")
	if _, err := ledger.Restore(context.Background(), copied, restored, start.Add(2000*time.Minute), nil); err != nil {
		t.Fatal(err)
	}
	check(ledgertest.Open(t, restored, ledger.Options{}))
}

func BenchmarkAppend(b *testing.B) {
	for _, users := range []int{1000, 100_000} {
		for _, c := range []struct{ callers, records int }{{1, 1}, {90, 1}, {128, 1}, {1024, 1}, {128, 100}} {
			b.Run(fmt.Sprintf("users=%d/callers=%d/records=%d", users, c.callers, c.records), func(b *testing.B) {
				benchmarkAppend(b, users, c.callers, c.records)
			})
		}
	}
}
