package ledger_test

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// prepaid is a ledger with a user and a route.
func prepaid(t *testing.T, now time.Time) (*ledger.Ledger, ledger.UserID, ledger.Usage) {
	t.Helper()
	l := ledgertest.New(t, ledger.Options{Now: now})
	route, err := l.PublishVersion(now, ledger.RouteVersion, "/", []byte("{}"), now)
	if err != nil {
		t.Fatal(err)
	}
	u, err := l.AddUser(now, "test", ledger.Personal{Email: "ann@example.com"}, "prepaid")
	if err != nil {
		t.Fatal(err)
	}
	return l, u.ID, ledger.Usage{Time: now, User: u.ID, Route: route.ID, Method: "POST", Status: 200, Billed: true}
}

// TestCreditsNeverFallBelowZero has callers who all believe that there is enough.
func TestCreditsNeverFallBelowZero(t *testing.T) {
	now := time.Date(2025, time.March, 1, 0, 0, 0, 0, time.UTC)
	l, user, record := prepaid(t, now)
	const granted, each, callers, calls = 10_000 * ledger.Unit, 7 * ledger.Unit, 32, 50
	for _, source := range []ledger.Source{ledger.Purchase, ledger.Promotion} {
		if _, err := l.GrantCredits(now, "test", user, ledger.Grant{Source: source, Amount: granted / 2}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := range calls {
				u := record
				u.Counter, u.Burnt = uint32(i*calls+n), each
				if err := l.AppendOne(now, &u, nil).Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	a := l.Account(user)
	a.Lock()
	sums, balance := a.CreditSums(), a.Balance(now)
	a.Unlock()
	want := ledger.CreditSums{Granted: granted, Burnt: granted, Uncovered: callers*calls*each - granted}
	if balance != 0 || sums != want {
		t.Errorf("a balance of %v and %+v, want %+v", balance, sums, want)
	}
	var burnt, uncovered ledger.Amount
	err := l.UserRecords(t.Context(), user, 0, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		burnt += u.Burnt
		uncovered += u.Uncovered
		if u.Burnt+u.Uncovered != each {
			t.Errorf("record %d burnt %v and lacked %v", u.Seq, u.Burnt, u.Uncovered)
		}
		return true
	})
	if err != nil || burnt != sums.Burnt || uncovered != sums.Uncovered {
		t.Errorf("the records come to %v and %v (%v)", burnt, uncovered, err)
	}
}

func TestCreditsThatCannotBe(t *testing.T) {
	now := time.Date(2025, time.March, 1, 0, 0, 0, 0, time.UTC)
	l, user, record := prepaid(t, now)
	for name, g := range map[string]ledger.Grant{
		"nothing":           {Source: ledger.Purchase},
		"less than nothing": {Source: ledger.Purchase, Amount: -1},
		"too much":          {Source: ledger.Purchase, Amount: ledger.MaxCredits + 1},
		"from nowhere":      {Source: "luck", Amount: 1},
		"expired":           {Source: ledger.Purchase, Amount: 1, Expires: now},
		"for ever and more": {Source: ledger.Purchase, Amount: 1, Expires: now.AddDate(5000, 0, 0)},
	} {
		if _, err := l.GrantCredits(now, "test", user, g); err == nil {
			t.Errorf("%s was granted", name)
		}
	}
	if _, err := l.GrantCredits(now, "test", 9, ledger.Grant{Source: ledger.Purchase, Amount: 1}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("to nobody: %v", err)
	}
	most, err := l.GrantCredits(now, "test", user, ledger.Grant{Source: ledger.Adjustment, Amount: ledger.MaxCredits})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.GrantCredits(now, "test", user, ledger.Grant{Source: ledger.Purchase, Amount: 1}); err == nil {
		t.Error("more than a user can ever have was granted")
	}
	if _, err := l.TakeCredits(now, "test", user, most.Seq+1, 1, "expired", "", nil); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("taken of no grant: %v", err)
	}
	for name, edit := range map[string]func(*ledger.Usage){
		"burnt by nobody":        func(u *ledger.Usage) { u.User, u.Burnt = 0, 1 },
		"burnt and not billed":   func(u *ledger.Usage) { u.Billed, u.Burnt = false, 1 },
		"less than nothing":      func(u *ledger.Usage) { u.Burnt = -1 },
		"more than there can be": func(u *ledger.Usage) { u.Uncovered = math.MaxInt64 },
	} {
		u := record
		edit(&u)
		if err := l.AppendOne(now, &u, nil).Wait(t.Context()); err == nil {
			t.Errorf("%s was recorded", name)
		}
	}
}
