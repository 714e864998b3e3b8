package ledger_test

import (
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"

	"tollgate/ledger"
)

// modelCredits is a user's credits as plainly as can be: all grants ever, and a
// search through them for each credit that is burnt.
type modelCredits struct {
	grants    []*modelGrant
	burnt     ledger.Amount
	taken     ledger.Amount
	uncovered ledger.Amount
	entries   []ledger.CreditEntry // oldest first, Logged and By aside
}

type modelGrant struct {
	ledger.Grant
	left ledger.Amount
}

// balance is what a call at t can burn.
func (c *modelCredits) balance(t time.Time) (sum ledger.Amount) {
	for _, g := range c.grants {
		if !g.expired(t) {
			sum += g.left
		}
	}
	return sum
}

func (g *modelGrant) expired(t time.Time) bool { return !g.Expires.IsZero() && !t.Before(g.Expires) }

var burntFirst = []ledger.Source{ledger.Promotion, ledger.PlanCredits, ledger.Adjustment, ledger.Purchase}

// next is the grant that a call at t burns next; nil where nothing is left.
func (c *modelCredits) next(t time.Time) (best *modelGrant) {
	sooner := func(a, b *modelGrant) bool {
		switch {
		case !a.Expires.Equal(b.Expires):
			return !a.Expires.IsZero() && (b.Expires.IsZero() || a.Expires.Before(b.Expires))
		case a.Source != b.Source:
			return slices.Index(burntFirst, a.Source) < slices.Index(burntFirst, b.Source)
		}
		return a.Seq < b.Seq
	}
	for _, g := range c.grants {
		if g.left > 0 && !g.expired(t) && (best == nil || sooner(g, best)) {
			best = g
		}
	}
	return best
}

// burn makes of u what the ledger does.
func (c *modelCredits) burn(u *ledger.Usage) {
	asked := u.Burnt
	u.Burnt = min(asked, c.balance(u.Time))
	u.Uncovered += asked - u.Burnt
	for left := u.Burnt; left > 0; {
		g := c.next(u.Time)
		n := min(left, g.left)
		g.left -= n
		left -= n
	}
	c.burnt += u.Burnt
	c.uncovered += u.Uncovered
}

func drawCredits(t *rapid.T) ledger.Amount {
	return ledger.Amount(rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, 1e13)).Draw(t, "credits"))
}

func (m *model) grantCredits(t *rapid.T) {
	u := m.pickUser(t)
	g := ledger.Grant{Source: rapid.SampledFrom(burntFirst).Draw(t, "source"), Amount: drawCredits(t), Reason: "because"}
	if days := rapid.IntRange(0, 2).Draw(t, "expires in days"); days > 0 {
		g.Expires = m.logged.Add(time.Duration(days) * 24 * time.Hour).UTC()
	}
	if m.now.After(m.logged) && !g.Expires.IsZero() {
		g.Expires = m.now.Add(time.Hour).Truncate(time.Millisecond).UTC()
	}
	got, err := m.l.GrantCredits(m.now, "test", u.user.ID, g)
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	g.Seq = got.Seq
	same(t, "grant", g, got)
	u.credits.grants = append(u.credits.grants, &modelGrant{g, g.Amount})
	u.credits.entries = append(u.credits.entries, ledger.CreditEntry{Seq: g.Seq, Grant: g})
}

func (m *model) takeCredits(t *rapid.T) {
	u := m.pickUser(t)
	if len(u.credits.grants) == 0 {
		t.Skip("no credits yet")
	}
	g := rapid.SampledFrom(u.credits.grants).Draw(t, "grant")
	amount, settled := drawCredits(t), &settling{make([]int, 1)}
	got, err := m.l.TakeCredits(m.now, "test", u.user.ID, g.Seq, amount, "expired", "re_1", settlerOf{settled, 0})
	if g.left == 0 {
		if !errors.Is(err, ledger.ErrNotFound) || settled.times[0] != 0 {
			t.Fatalf("take of a grant with nothing left: %v", err)
		}
		return
	}
	want := min(amount, g.left)
	if err != nil || got != want || settled.times[0] != 1 {
		t.Fatalf("took %v of %v, want %v; settled %d times (%v)", got, g.left, want, settled.times[0], err)
	}
	m.tick(t)
	g.left -= want
	u.credits.taken += want
	u.credits.entries = append(u.credits.entries, ledger.CreditEntry{Grant: ledger.Grant{Seq: g.Seq}, Taken: want, Reason: "expired", Reference: "re_1"})
}

// checkCredits compares what is left of each grant, in the order of burning, the
// sums, and the entries.
func (m *model) checkCredits(t *rapid.T, id ledger.UserID) {
	c := m.users[id].credits
	var want []ledger.Left
	var sums ledger.CreditSums
	copied := modelCredits{}
	for _, g := range c.grants {
		own := *g
		copied.grants = append(copied.grants, &own)
		sums.Granted += g.Grant.Amount
	}
	for g := copied.next(time.Time{}); g != nil; g = copied.next(time.Time{}) {
		want = append(want, ledger.Left{Seq: g.Seq, Source: g.Source, Amount: g.left, Expires: g.Expires})
		g.left = 0
	}
	sums.Burnt, sums.Taken, sums.Uncovered = c.burnt, c.taken, c.uncovered
	a := m.l.Account(id)
	a.Lock()
	left, balance, got := slices.Clone(a.Credits()), a.Balance(m.now), a.CreditSums()
	a.Unlock()
	same(t, "credits", want, left)
	same(t, "sums of credits", sums, got)
	if balance != c.balance(m.now) || balance > got.Granted-got.Burnt-got.Taken || balance < 0 {
		t.Fatalf("a balance of %v, want %v; %+v", balance, c.balance(m.now), got)
	}
	at := len(c.entries)
	err := m.l.CreditEntries(background, id, 0, func(e ledger.CreditEntry) bool {
		if at--; at < 0 {
			t.Fatalf("a credit entry more than were made: %+v", e)
		}
		want := c.entries[at]
		want.Seq, want.Logged, want.By = e.Seq, e.Logged, "test"
		same(t, "credit entry", want, e)
		return true
	})
	if err != nil || at != 0 {
		t.Fatalf("%d of %d credit entries are missing: %v", at, len(c.entries), err)
	}
}
