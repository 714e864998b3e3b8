package billing

import (
	"context"
	"fmt"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// attend does what a user's plan asks for between invoices: payments go on, usage
// is charged as it comes, packs are bought when credits run low.
func (b *Billing) attend(ctx context.Context, a *ledger.Account, unknown *int) error {
	if err := b.payments(ctx, a, unknown); err != nil || *unknown >= tooManyUnknown || b.Provider == nil {
		return err
	}
	for _, step := range []func(context.Context, *ledger.Account, *int) error{b.chargeUsage, b.recharge} {
		switch err := step(ctx, a, unknown); {
		case b.fatal(err):
			return err
		case err != nil: // one user keeps nobody else from being seen to
			b.Log.Error("a user could not be charged", "user", a.ID(), "error", err)
		}
	}
	return nil
}

// Attend is what [Billing.Work] does about the payments of one user, at once.
func (b *Billing) Attend(ctx context.Context, id ledger.UserID) error {
	a := b.Ledger.Account(id)
	if a == nil || b.Provider == nil {
		return nil
	}
	b.working.Lock()
	defer b.working.Unlock()
	if down, err := b.ready(ctx); down != nil || err != nil {
		return err
	}
	unknown := 0
	if err := b.attend(ctx, a, &unknown); err != nil {
		return err
	}
	return b.standing(a.User())
}

// chargeUsage charges what a user on a realtime plan has used of the open month and
// not paid, when that has reached the plan's threshold. One charge is under way at
// a time; while one could not be collected, no other is made.
func (b *Billing) chargeUsage(ctx context.Context, a *ledger.Account, unknown *int) error {
	u := a.User()
	plan := b.planNow(u)
	if plan == nil || plan.Billing != pricing.Realtime || u.Status == ledger.Closed {
		return nil
	}
	for _, ref := range u.Payments {
		if ref.Kind == ledger.RealtimePayment && (ref.State == ledger.PaymentPending || ref.State == ledger.PaymentPastDue) {
			return nil
		}
	}
	m := b.Ledger.PeriodAt(b.Now()).Month
	more, err := b.uncharged(u, m)
	if err != nil || more < max(b.minor(plan.ChargeThreshold), b.minimum) {
		return err
	}
	made, err := b.start("billing", ledger.Payment{
		Kind: ledger.RealtimePayment, User: u.ID, Month: m, Total: more,
		Lines: []ledger.InvoiceLine{{Kind: "usage", Description: fmt.Sprintf("Usage of %v so far", m), Amount: more}},
	})
	if err != nil {
		return err
	}
	return b.goOn(ctx, u, made.ID, unknown)
}

// uncharged is what the usage of a month comes to beyond what was paid of it, in
// minor units, by the very function that bills.
func (b *Billing) uncharged(u *ledger.User, m ledger.Month) (int64, error) {
	used, err := b.Ledger.Month(u.ID, m)
	if err != nil {
		return 0, err
	}
	statement, err := b.rate(u, m, used)
	if err != nil {
		return 0, err
	}
	sum := -u.Advance(m)
	for _, l := range statement.Lines {
		if l.Kind == pricing.UsageLine || l.Kind == pricing.OverageLine {
			sum += l.Minor
		}
	}
	return sum, nil
}

// closeUsage ends the charges of a month that is about to be sealed: what could not
// be collected is on the invoice then. It is an error while the outcome of one is
// not known: it would be paid twice.
func (b *Billing) closeUsage(u *ledger.User, m ledger.Month) error {
	for _, ref := range u.Payments {
		if ref.Kind != ledger.RealtimePayment || ref.Month != m || ref.State != ledger.PaymentPending && ref.State != ledger.PaymentPastDue {
			continue
		}
		p, err := b.Ledger.Payment(u.ID, ref.ID)
		if err != nil {
			return err
		}
		if p.Intent != nil || p.State == ledger.PaymentPending && p.Provider != "" {
			return fmt.Errorf("%w: payment %d of %v", ErrUnknown, p.ID, m)
		}
		if _, err := b.recordPayment(p, "billing", func(p *ledger.Payment) { p.State, p.Next = ledger.PaymentGivenUp, time.Time{} }); err != nil {
			return err
		}
	}
	return nil
}
