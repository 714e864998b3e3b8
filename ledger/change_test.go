package ledger_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

func TestVersionAt(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	for i, v := range []struct{ made, effective int }{{0, 0}, {10, 17}, {12, 40}, {20, 20}} {
		if _, err := l.PublishVersion(day(v.made), ledger.PlanVersion, "pro", fmt.Appendf(nil, `{"fee":%d}`, i), day(v.effective)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ joined, at, want int }{
		{-5, -5, 1}, // before the first version there is still it
		{0, 0, 1},
		{5, 9, 1},
		{5, 10, 1}, // made, not effective for those who were there
		{5, 16, 1},
		{5, 17, 2},
		{5, 19, 2},
		{5, 20, 4}, // the newest effective one
		{5, 60, 4},
		{10, 10, 2}, // who comes gets the newest
		{12, 12, 3},
		{12, 13, 3},
		{15, 19, 3},
		{15, 20, 4},
		{20, 20, 4},
		{30, 30, 4},
		{30, 50, 4}, // the third becomes effective later, but the fourth is newer
	} {
		v := l.VersionAt(ledger.PlanVersion, "pro", day(c.joined), day(c.at))
		if v == nil || int(v.ID) != c.want {
			t.Errorf("joined on day %d, on day %d it is %+v, want version %d", c.joined, c.at, v, c.want)
		}
	}
	if v := l.VersionAt(ledger.RouteVersion, "pro", day(0), day(0)); v != nil {
		t.Errorf("a plan is taken for a route: %+v", v)
	}
}

func TestPublishVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	publish := func(terms string) ledger.VersionID {
		t.Helper()
		v, err := l.PublishVersion(start, ledger.PlanVersion, "pro", []byte(terms), start)
		if err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	ids := []ledger.VersionID{publish(`{"a":1}`), publish(`{"a":1}`), publish(`{"a":2}`), publish(`{"a":1}`)}
	if want := []ledger.VersionID{1, 1, 2, 3}; !cmp.Equal(ids, want) {
		t.Errorf("versions %v, want %v", ids, want)
	}
	for _, terms := range []string{"", "{", "nonsense"} {
		if v, err := l.PublishVersion(start, ledger.PlanVersion, "pro", []byte(terms), start); err == nil {
			t.Errorf("terms %q made %+v", terms, v)
		}
	}
	if v, err := l.PublishVersion(start, ledger.PlanVersion, "", []byte("{}"), start); err == nil {
		t.Errorf("no name made %+v", v)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	if id := publish(`{"a":1}`); id != 3 {
		t.Errorf("equal terms made version %d after a restart", id)
	}
}

func TestChangeUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	ada := addUser(t, l, "ada@example.com")
	addUser(t, l, "bob@example.com")
	addKey(t, l, ada.ID, "a")
	status := func() uint64 {
		s, err := l.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Seq
	}
	limit := 5 * ledger.Unit
	changed, err := l.ChangeUser(start.Add(time.Hour), "test", ada.ID, func(u *ledger.User) error {
		u.ID, u.Created, u.Keys = 99, time.Time{}, nil // stay
		u.Erased, u.PersonalHash = true, nil
		u.Status, u.SuspendedFor = ledger.Suspended, "operator"
		u.SpendLimit = &limit
		u.Extra = map[string]string{"a": "1"}
		u.Personal.Company = "Ada Ltd"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := *ada
	want.Keys, want.Status, want.SuspendedFor, want.SpendLimit = []ledger.KeyID{1}, ledger.Suspended, "operator", &limit
	want.Extra, want.Personal.Company = map[string]string{"a": "1"}, "Ada Ltd"
	same := cmpopts.IgnoreFields(ledger.User{}, "PersonalHash")
	if diff := cmp.Diff(&want, changed, same); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if ada.Status != ledger.Active || ada.Personal.Company != "" {
		t.Errorf("a snapshot has changed: %+v", ada)
	}

	// What is edited in place is logged too, and the snapshot stays.
	again, err := l.ChangeUser(start, "test", ada.ID, func(u *ledger.User) error {
		u.Extra["a"] = "2"
		*u.SpendLimit = 6 * ledger.Unit
		u.Plans[0].Plan = "pro"
		return nil
	})
	if err != nil || again.Extra["a"] != "2" || *again.SpendLimit != 6*ledger.Unit || again.Plans[0].Plan != "pro" {
		t.Errorf("edited in place: %+v, %v", again, err)
	}
	if changed.Extra["a"] != "1" || *changed.SpendLimit != limit || changed.Plans[0].Plan != "free" {
		t.Errorf("a snapshot has changed: %+v", changed)
	}

	before := status()
	for name, change := range map[string]func(*ledger.User) error{
		"nothing":                   func(*ledger.User) error { return nil },
		"an error":                  func(u *ledger.User) error { u.Status = ledger.Closed; return errors.New("no") },
		"no plan":                   func(u *ledger.User) error { u.Plans = nil; return nil },
		"the address of another":    func(u *ledger.User) error { u.Personal.Email = "BOB@example.com"; return nil },
		"what does not fit a entry": func(u *ledger.User) error { u.Extra["a"] = strings.Repeat("x", 2<<20); return nil },
	} {
		got, err := l.ChangeUser(start, "test", ada.ID, change)
		if (err == nil) != (name == "nothing") {
			t.Errorf("changed by %s: %+v, %v", name, got, err)
		}
	}
	if after := status(); after != before {
		t.Errorf("changes that are none made entries %d to %d", before+1, after)
	}
	if err := l.Ready(); err != nil {
		t.Errorf("after an entry that does not fit: %v", err)
	}
	if _, err := l.ChangeUser(start, "test", 77, func(*ledger.User) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown user: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	if diff := cmp.Diff(again, l.Account(ada.ID).User()); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

func TestEmailIsUnique(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	ada := addUser(t, l, "Ada@Example.com")
	for _, email := range []string{"Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"} {
		if u, err := l.AddUser(start, "test", ledger.Personal{Email: email}, "free"); !errors.Is(err, ledger.ErrExists) {
			t.Errorf("%s again: %+v, %v", email, u, err)
		}
		if a := l.AccountByEmail(email); a == nil || a.ID() != ada.ID {
			t.Errorf("%s is not found", email)
		}
	}
	// The user may write it otherwise, and move away from it.
	for _, email := range []string{"ada@example.com", "lovelace@example.com"} {
		if _, err := l.ChangeUser(start, "test", ada.ID, func(u *ledger.User) error { u.Personal.Email = email; return nil }); err != nil {
			t.Errorf("change to %s: %v", email, err)
		}
	}
	if a := l.AccountByEmail("ada@example.com"); a != nil {
		t.Error("the old address still leads to the user")
	}
	addUser(t, l, "ada@example.com")
	for _, p := range []ledger.Personal{{}, {Name: "Nobody"}} {
		if u, err := l.AddUser(start, "test", p, "free"); err == nil {
			t.Errorf("no address made %+v", u)
		}
	}
	if u, err := l.AddUser(start, "test", ledger.Personal{Email: "x@example.com"}, ""); err == nil {
		t.Errorf("no plan made %+v", u)
	}
}

func TestEraseUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	p := ledger.Personal{Email: "ada.lovelace@example.com", Name: "Lovelace-Name", Company: "Lovelace-Company", Address: "Lovelace-Address", TaxID: "Lovelace-Tax"}
	ada, err := l.AddUser(start, "test", p, "free")
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, start, call(ada.ID, 0, 1, start, 1))
	if err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to be done
		if err := l.EraseUser(start, "test", ada.ID); err != nil {
			t.Fatal(err)
		}
	}
	check := func(l *ledger.Ledger) {
		t.Helper()
		u := l.Account(ada.ID).User()
		if u.Personal != (ledger.Personal{}) || !u.Erased || l.AccountByEmail(p.Email) != nil {
			t.Errorf("after erasing: %+v", u)
		}
		if r, err := l.Verify(context.Background(), ledger.Checks{}, nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("verify after erasing: %v %q", err, r.Problems)
		}
		if plans, err := l.Month(ada.ID, ledger.MonthOf(2025, 1)); err != nil || ledger.Sum(plans).Calls != 1 {
			t.Errorf("the user's usage: %v, %v", plans, err)
		}
	}
	check(l)
	backup := filepath.Join(dir, "backup.db")
	if _, err := l.Backup(context.Background(), backup, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"lovelace", "Lovelace-"} {
		if bytes.Contains(b, []byte(what)) {
			t.Errorf("the backup has %q", what)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	check(l)
	// The address is free, and the user can come back.
	if _, err := l.ChangeUser(start, "test", ada.ID, func(u *ledger.User) error { u.Personal = p; return nil }); err != nil {
		t.Fatal(err)
	}
	if u := l.Account(ada.ID).User(); u.Erased || u.Personal != p {
		t.Errorf("a user who came back: %+v", u)
	}
	if err := l.EraseUser(start, "test", 99); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown user: %v", err)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	ada, bob := addUser(t, l, "ada@example.com"), addUser(t, l, "bob@example.com")
	perDay := 5
	made, err := l.AddKey(start, "test", ada.ID, ledger.Key{ID: 9, User: 9, Index: 9, Hash: sha256.Sum256([]byte("a")), Prefix: "tg_live_a", PerDay: &perDay})
	if err != nil || made.ID != 1 || made.User != ada.ID || made.Index != 0 || !made.Created.Equal(start) {
		t.Fatalf("the first key is %+v, %v", made, err)
	}
	if k, err := l.AddKey(start, "test", bob.ID, ledger.Key{Hash: made.Hash}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the same hash again: %+v, %v", k, err)
	}
	if k, err := l.AddKey(start, "test", 99, ledger.Key{Hash: [32]byte{1}}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a key of an unknown user: %+v, %v", k, err)
	}
	second := addKey(t, l, bob.ID, "b")
	third := addKey(t, l, ada.ID, "c")
	if second.Index != 0 || third.Index != 1 || !cmp.Equal(l.Account(ada.ID).User().Keys, []ledger.KeyID{1, 3}) {
		t.Errorf("keys %+v, %+v of %v", second, third, l.Account(ada.ID).User().Keys)
	}
	changed, err := l.ChangeKey(start.Add(time.Hour), "test", 1, func(k *ledger.Key) error {
		k.Revoked = start.Add(time.Hour)
		*k.PerDay = 7
		k.ID, k.User, k.Index, k.Hash, k.HashHex, k.Created = 5, 5, 5, [32]byte{}, "", time.Time{}
		return nil
	})
	if err != nil || changed.ID != 1 || changed.User != ada.ID || changed.Hash != made.Hash || *changed.PerDay != 7 || changed.Revoked.IsZero() {
		t.Errorf("changed: %+v, %v", changed, err)
	}
	if *made.PerDay != 5 || !made.Revoked.IsZero() {
		t.Errorf("a snapshot has changed: %+v", made)
	}
	if _, err := l.ChangeKey(start, "test", 77, func(*ledger.Key) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown key: %v", err)
	}
	if k, a := l.Key([32]byte{77}); k != nil || a != nil {
		t.Errorf("an unknown hash leads to %+v", k)
	}
	// A record with the key of another user counts for neither key.
	appendAll(t, l, start, call(bob.ID, 1, 1, start, 1))
	a := l.Account(ada.ID)
	a.Lock()
	if n := a.KeyDayCalls(0, l.DayAt(start)); n != 0 {
		t.Errorf("another user's call counts for the key: %d", n)
	}
	a.Unlock()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	if k, a := l.Key(made.Hash); a == nil || a.ID() != ada.ID || !cmp.Equal(k, changed) {
		t.Errorf("after a restart: %+v of %v", k, a)
	}
}

func TestCorrect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	ada := addUser(t, l, "ada@example.com")
	appendAll(t, l, start, call(ada.ID, 0, 1, start, 5), call(0, 0, 1, start, 7))
	var seqs []uint64
	if err := l.Records(context.Background(), 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool { seqs = append(seqs, u.Seq); return true }); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]ledger.Correction{
		"an entry that is no record": {Of: 1},
		"entry 0":                    {},
		"an entry to come":           {Of: 1000},
		"less than nothing":          {Of: seqs[0], Now: ledger.Quantities{Documents: -1}},
		"a negative cost":            {Of: seqs[0], Cost: -1, Billed: true},
		"a cost without a bill":      {Of: seqs[0], Cost: 1},
		"meters out of order":        {Of: seqs[0], Now: ledger.Quantities{Named: []ledger.Quantity{{Meter: "b", N: 1}, {Meter: "a", N: 1}}}},
		"a meter that is no text":    {Of: seqs[0], Now: ledger.Quantities{Named: []ledger.Quantity{{Meter: "\xff", N: 1}}}},
		"too long a reason":          {Of: seqs[0], Reason: strings.Repeat("x", 2<<20)},
	} {
		if err := l.Correct(start, c); err == nil {
			t.Errorf("%s was corrected", name)
		}
	}
	if err := l.Ready(); err != nil {
		t.Fatalf("after refused corrections: %v", err)
	}
	right := ledger.Correction{Of: seqs[0], Now: ledger.Quantities{Documents: 2, Named: []ledger.Quantity{{Meter: "pages", N: 3}}}, Cost: ledger.Unit / 50, Billed: true, Reason: "counted twice", By: "operator"}
	if err := l.Correct(start, right); err != nil {
		t.Fatal(err)
	}
	if err := l.Correct(start, right); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the second correction: %v", err)
	}
	check := func(l *ledger.Ledger) {
		t.Helper()
		plans, err := l.Month(ada.ID, ledger.MonthOf(2025, 1))
		want := ledger.Totals{Calls: 1, Documents: 2, Cost: ledger.Unit / 50, Named: []ledger.Quantity{{Meter: "pages", N: 3}}}
		if err != nil || len(plans) != 1 || !cmp.Equal(plans[0].Totals, want) {
			t.Errorf("the month is %+v, want %+v (%v)", plans, want, err)
		}
		// The record stays as it was.
		var records []ledger.Usage
		if err := l.UserRecords(context.Background(), ada.ID, 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool { records = append(records, *u); return true }); err != nil {
			t.Fatal(err)
		}
		if len(records) != 1 || records[0].Documents != 5 {
			t.Errorf("the records are %+v", records)
		}
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{})
	check(l)
	if err := l.Correct(start, right); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the second correction, after a restart: %v", err)
	}
}

func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{TestClock: true})
	at := start.AddDate(0, 7, 0)
	if err := l.SetClock(at); err != nil {
		t.Fatal(err)
	}
	if err := l.SetClock(time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil {
		t.Error("the clock can be set to the year 12000")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{TestClock: true})
	if s, err := l.Status(); err != nil || !s.Clock.Equal(at) || !s.LastLogged.Equal(at) {
		t.Errorf("after a restart: %+v, %v", s, err)
	}
	if err := ledgertest.New(t, ledger.Options{}).SetClock(at); !errors.Is(err, ledger.ErrMismatch) {
		t.Errorf("the clock of the system is set: %v", err)
	}
}
