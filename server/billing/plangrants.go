package billing

import (
	"context"
	"fmt"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// GrantPlans gives the credits of the open period to everybody whose plan has
// some. It is called often, and does a period's once. What expired with the period
// before must have been taken before it is called.
func (b *Billing) GrantPlans(ctx context.Context) error {
	for a := range b.Ledger.Accounts(0) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.GrantPlan(ctx, a.ID()); err != nil {
			if b.fatal(err) {
				return err
			}
			b.Log.Error("a user was not given the credits of the plan", "user", a.ID(), "error", err)
		}
	}
	return nil
}

// GrantPlan gives a user the credits that the plan has for the open period: all of
// them at its beginning, or when the user comes to the plan; where the plan becomes
// a larger one within the period, those that it has more.
func (b *Billing) GrantPlan(ctx context.Context, id ledger.UserID) error {
	a := b.Ledger.Account(id)
	b.granting.Lock()
	defer b.granting.Unlock()
	u := a.User()
	plan := b.planNow(u)
	if plan == nil || plan.Billing != pricing.Prepaid || plan.Grant == nil || u.Status == ledger.Closed {
		return nil
	}
	var err error
	now := b.Now()
	period := b.Ledger.PeriodAt(now)
	a.Lock()
	month, given := a.PlanGranted()
	a.Unlock()
	g := ledger.Grant{
		Source: ledger.PlanCredits, Month: period.Month, Expires: period.End.UTC(), Reason: plan.ID,
		Amount: ledger.Amount(plan.Grant.Credits) * ledger.Unit,
	}
	switch {
	case month > period.Month: // the clock went back
		return nil
	case month == period.Month:
		if g.Amount -= given; g.Amount <= 0 {
			return nil
		}
	case month != 0:
		if g.Rolled, err = b.rolled(ctx, u, month, period.Month); err != nil {
			return fmt.Errorf("roll over the credits of user %d: %w", id, err)
		}
		g.Amount += g.Rolled
	}
	_, err = b.Ledger.GrantCredits(now, "billing", id, g)
	return err
}

// rolled is what a period begins with of the credits that the plan gave before: for
// the period last, and for those since in which nothing was done.
func (b *Billing) rolled(ctx context.Context, u *ledger.User, last, next ledger.Month) (ledger.Amount, error) {
	left, err := b.leftOver(ctx, u.ID, last)
	for m := last + 1; m <= next && err == nil; m++ {
		at := b.Ledger.PeriodOf(m).Start
		if m == next {
			at = b.Now()
		}
		plan := b.planAt(u, at)
		if plan == nil || plan.Billing != pricing.Prepaid || plan.Grant == nil {
			left = 0
			continue
		}
		left = min(left, ledger.Amount(plan.Grant.Rollover)*ledger.Unit)
		if m < next {
			left += ledger.Amount(plan.Grant.Credits) * ledger.Unit
		}
	}
	return left, err
}

// leftOver is what expired of the credits that a plan gave for a period.
func (b *Billing) leftOver(ctx context.Context, id ledger.UserID, m ledger.Month) (ledger.Amount, error) {
	var left ledger.Amount
	expired := map[uint64]ledger.Amount{} // by grant; the entries come newest first
	start := b.Ledger.PeriodOf(m).Start.Add(-time.Minute)
	err := b.Ledger.CreditEntries(ctx, id, 0, func(e ledger.CreditEntry) bool {
		switch {
		case e.Taken > 0 && e.Reason == "expired":
			expired[e.Grant.Seq] += e.Taken
		case e.Taken == 0 && e.Grant.Source == ledger.PlanCredits && e.Grant.Month == m:
			left += expired[e.Grant.Seq]
		}
		return !e.Logged.Before(start)
	})
	return left, err
}
