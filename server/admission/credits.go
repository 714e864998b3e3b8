package admission

import (
	"context"
	"errors"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// checkCredits refuses a call on a prepaid plan that the credits do not cover, and
// notes in h what it would burn. The account is locked.
func (g *Gate) checkCredits(h *Hold, m *moment) *Refusal {
	h.credits = burnOf(m.plan, h.asked, h.cost)
	left := h.Caller.Account.Balance(m.time) - h.user.credits
	if h.credits <= left {
		h.CreditsLeft = left - h.credits
		return nil
	}
	h.CreditsLeft = max(0, left)
	balance := h.CreditsLeft
	r := NewRefusal(InsufficientCredits, "The call burns "+h.credits.Short()+" credits, and "+balance.Short()+" are left. Buy more to go on.")
	r.Balance, r.PurchaseURL, r.NoRetry = &balance, g.purchaseURL, true
	return r
}

// burnOf is what quantities burn; more than there can be where it fits no amount.
func burnOf(p *pricing.Plan, q ledger.Quantities, cost ledger.Amount) ledger.Amount {
	n, err := p.Burn(q, cost)
	if err != nil {
		return ledger.MaxCredits
	}
	return n
}

// ExpireCredits takes what has expired at now and is not held by running calls.
// What they hold is taken when it is called again after they have ended.
func (g *Gate) ExpireCredits(ctx context.Context, now time.Time) error {
	for a := range g.ledger.Accounts(0) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for {
			e, ok := g.expiring(a, now)
			if !ok {
				break
			}
			if _, err := g.ledger.TakeCredits(now, "expiry", a.ID(), e.grant, e.amount, "expired", "", e); err != nil {
				e.abandon()
				if !errors.Is(err, ledger.ErrNotFound) { // a call has burnt more than it held
					return err
				}
			}
		}
	}
	return nil
}

// expiry holds credits that have expired until they are taken.
type expiry struct {
	account *ledger.Account
	user    *user
	grant   uint64
	amount  ledger.Amount
	ended   bool
}

// expiring holds what is to be taken of the first grant of which anything is.
func (g *Gate) expiring(a *ledger.Account, now time.Time) (*expiry, bool) {
	a.Lock()
	defer a.Unlock()
	all := a.Credits()
	if len(all) == 0 || all[0].Expires.IsZero() || all[0].Expires.After(now) {
		return nil, false
	}
	u := g.users.find(a.ID())
	for _, left := range all {
		if left.Expires.IsZero() || left.Expires.After(now) {
			break
		}
		amount := left.Amount
		if u != nil { // any of it may be what running calls will burn
			amount -= u.credits
		}
		if amount <= 0 {
			continue
		}
		if u != nil {
			u.credits += amount
		}
		return &expiry{account: a, user: u, grant: left.Seq, amount: amount}, true
	}
	return nil, false
}

// Settle implements [ledger.Settler]: the credits are gone.
func (e *expiry) Settle() {
	if e.user != nil && !e.ended {
		e.user.credits -= e.amount
	}
	e.ended = true
}

func (e *expiry) abandon() {
	e.account.Lock()
	e.Settle()
	e.account.Unlock()
}
