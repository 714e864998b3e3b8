package admission_test

import (
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

// prepaid burns a credit for each document.
func prepaid() pricing.Plan {
	return pricing.Plan{ID: "prepaid", Name: "Prepaid", OnExceed: pricing.Block, Billing: pricing.Prepaid, Credits: map[string]int64{"documents": 1}}
}

func (b *bench) grant(user ledger.UserID, g ledger.Grant) ledger.Grant {
	b.t.Helper()
	if g.Source == "" {
		g.Source = ledger.Purchase
	}
	g, err := b.ledger.GrantCredits(b.now(), "test", user, g)
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

func (b *bench) balance(user ledger.UserID) ledger.Amount {
	a := b.ledger.Account(user)
	a.Lock()
	defer a.Unlock()
	return a.Balance(b.now())
}

func TestCreditsCoverACallOrRefuseIt(t *testing.T) {
	b := newBenchIn(t, "2025-01-15T12:00:00Z", "UTC", admission.Options{PurchaseURL: "https://api.example.com/dashboard/credits"}, prepaid())
	u, secret := b.user("prepaid")
	c := b.caller(secret)
	b.refused(c, 1, admission.InsufficientCredits)
	b.admit(c, 0).Release() // burns nothing
	b.grant(u.ID, ledger.Grant{Amount: 10 * ledger.Unit})

	h := b.admit(c, 7)
	if h.CreditsLeft != 3*ledger.Unit {
		t.Errorf("%v are left, want 3", h.CreditsLeft)
	}
	r := b.refused(c, 4, admission.InsufficientCredits)
	if r.Status != 402 || r.Balance == nil || *r.Balance != 3*ledger.Unit || r.PurchaseURL != "https://api.example.com/dashboard/credits" || !r.NoRetry {
		t.Errorf("got %+v", r)
	}
	if p := r.Problem(); p.Balance != "3" || p.PurchaseURL == "" {
		t.Errorf("got %+v", p)
	}
	second := b.admit(c, 3)
	second.Release() // never made
	if !h.Extend(documents(9)) {
		t.Error("9 of 10 credits are not covered")
	}
	b.refused(c, 2, admission.InsufficientCredits)
	if h.Extend(documents(11)) {
		t.Error("11 of 10 credits are covered")
	}
	b.refused(c, 1, admission.InsufficientCredits)
	h.Release()
	b.admit(c, 10).Release()
	b.nothingHeld()
}

// TestCreditsExpire: a call burns what had not expired when it was admitted, also
// where it ends later, and what expires meanwhile is taken from what nobody holds.
func TestCreditsExpire(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", prepaid())
	u, secret := b.user("prepaid")
	c := b.caller(secret)
	soon := b.grant(u.ID, ledger.Grant{Amount: 10 * ledger.Unit, Expires: b.now().Add(time.Hour)})
	b.grant(u.ID, ledger.Grant{Amount: 5 * ledger.Unit})
	h := b.admit(c, 4)
	b.advance(time.Hour)
	if got := b.balance(u.ID); got != 5*ledger.Unit {
		t.Errorf("a balance of %v, want 5", got)
	}
	b.expire()
	if got := b.left(u.ID, soon.Seq); got != 4*ledger.Unit {
		t.Errorf("%v of what expired is left, want the 4 that a call holds", got)
	}
	b.refused(c, 2, admission.InsufficientCredits) // until the call has ended its credits may be of either grant
	b.admit(c, 1).Release()
	b.burn(h, 4)
	b.expire()
	if got := b.left(u.ID, soon.Seq); got != 0 {
		t.Errorf("%v of what expired is left", got)
	}
	b.admit(c, 5).Release()
	b.refused(c, 6, admission.InsufficientCredits)
	b.nothingHeld()
}

func (b *bench) expire() {
	b.t.Helper()
	if err := b.gate.ExpireCredits(b.t.Context(), b.now()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) left(user ledger.UserID, grant uint64) ledger.Amount {
	a := b.ledger.Account(user)
	a.Lock()
	defer a.Unlock()
	for _, l := range a.Credits() {
		if l.Seq == grant {
			return l.Amount
		}
	}
	return 0
}

// burn settles a call of n documents with what it burns.
func (b *bench) burn(h *admission.Hold, n int64) {
	b.t.Helper()
	u := b.record(h, n, true)
	var err error
	if u.Burnt, err = h.PlanTerms.Burn(u.Quantities, u.Cost); err != nil {
		b.t.Fatal(err)
	}
	h.HandOver()
	if err := b.ledger.AppendOne(h.NotBefore(b.now()), &u, h).Wait(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// TestCreditsAreNotOverrun has calls come, end and expire all at once.
func TestCreditsAreNotOverrun(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", prepaid())
	u, secret := b.user("prepaid")
	c := b.caller(secret)
	b.grant(u.ID, ledger.Grant{Amount: 500 * ledger.Unit, Expires: b.now().Add(time.Millisecond)})
	b.grant(u.ID, ledger.Grant{Amount: 1000 * ledger.Unit})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 60 {
				h, refusal := b.try(c, 7)
				switch {
				case refusal == nil && n%5 == 4:
					h.Release()
				case refusal == nil:
					b.burn(h, 7)
				case refusal.Code != admission.InsufficientCredits:
					t.Error(refusal)
				}
				if i == 0 && n == 5 {
					b.advance(time.Second)
				}
				if i == 1 {
					b.expire()
				}
			}
		})
	}
	all.Wait()
	b.expire()
	a := b.ledger.Account(u.ID)
	a.Lock()
	defer a.Unlock()
	sums := a.CreditSums()
	if sums.Uncovered != 0 || sums.Burnt%(7*ledger.Unit) != 0 || sums.Granted-sums.Burnt-sums.Taken != a.Balance(b.now()) {
		t.Errorf("%+v and a balance of %v", sums, a.Balance(b.now()))
	}
	if got := a.Balance(b.now()); got < 0 || got >= 7*ledger.Unit {
		t.Errorf("a balance of %v is left", got)
	}
}
