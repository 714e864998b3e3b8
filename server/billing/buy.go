package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Pack is credits that can be bought together.
type Pack struct {
	ID      string
	Credits ledger.Amount // nanos of a credit
	Price   ledger.Amount // nanos, without tax
	Expires time.Duration // after the purchase; 0: never
}

// ErrNoPack reports a pack that is not sold.
var ErrNoPack = errors.New("there is no such credit pack")

// noTime is an instant that will not come.
var noTime time.Time

func (s *Settings) pack(id string) (Pack, bool) {
	for _, p := range s.Packs {
		if p.ID == id {
			return p, true
		}
	}
	return Pack{}, false
}

// bundle is the payment of a pack.
func (b *Billing) bundle(u *ledger.User, kind ledger.PaymentKind, id string) (ledger.Payment, error) {
	s := b.settings.Load()
	pack, ok := s.pack(id)
	if !ok {
		return ledger.Payment{}, fmt.Errorf("%w: %q", ErrNoPack, id)
	}
	i := ledger.Invoice{Lines: []ledger.InvoiceLine{{
		Kind: "credits", Description: pricing.Grouped(int64(pack.Credits/ledger.Unit)) + " credits", Quantity: int64(pack.Credits / ledger.Unit), Amount: b.minor(pack.Price),
	}}}
	if err := b.addTax(&i); err != nil {
		return ledger.Payment{}, err
	}
	p := ledger.Payment{Kind: kind, User: u.ID, Pack: pack.ID, Credits: pack.Credits, Lines: i.Lines}
	if pack.Expires > 0 {
		p.Expires = b.Now().Add(pack.Expires).UTC().Truncate(time.Millisecond)
	}
	var err error
	p.Total, err = sum(i.Lines)
	if err == nil && p.Total < b.minimum {
		err = fmt.Errorf("%w: %q costs %s %s, and the payment provider takes %s at least", ErrNoPack, id, ledger.FormatMinor(p.Total, b.digits), b.currency, ledger.FormatMinor(b.minimum, b.digits))
	}
	return p, err
}

// Buy is the URL of the provider's page where a user pays for a pack. The credits
// are there when the provider has the money, whatever becomes of the browser.
func (b *Billing) Buy(ctx context.Context, by string, id ledger.UserID, pack string) (string, error) {
	if b.Provider == nil {
		return "", ErrNoProvider
	}
	b.working.Lock()
	defer b.working.Unlock()
	u := b.Ledger.Account(id).User()
	p, err := b.bundle(u, ledger.PurchasePayment, pack)
	if err != nil {
		return "", err
	}
	if err := b.reachable(ctx); err != nil {
		return "", err
	}
	made, err := b.start(by, p)
	if err == nil { // without an intent nobody would ever have seen the page, and it is given up
		made, err = b.recordPayment(made, by, func(p *ledger.Payment) { b.beginPayment(u, p, opPage) })
	}
	if err != nil {
		return "", err
	}
	made, refused, err := b.advancePayment(ctx, u, made.ID)
	switch {
	case err != nil:
		return "", fmt.Errorf("begin a purchase of user %d: %w", id, err)
	case refused != nil:
		return "", fmt.Errorf("begin a purchase of user %d: the payment provider refused: %w", id, refused)
	}
	return made.URL, nil
}

// start logs a payment whose first step is due at once.
func (b *Billing) start(by string, p ledger.Payment) (*ledger.Payment, error) {
	p.Next = b.Now()
	return b.Ledger.AddPayment(b.Now(), by, p)
}

// recharges is what a user's plan says of buying packs by itself; nil: nothing.
func (b *Billing) recharges(u *ledger.User) *pricing.Recharge {
	if plan := b.planNow(u); plan != nil && plan.Billing == pricing.Prepaid {
		return plan.Recharge
	}
	return nil
}

// planNow is the terms that a user is on; nil where there are none.
func (b *Billing) planNow(u *ledger.User) *pricing.Plan { return b.planAt(u, b.Now()) }

func (b *Billing) planAt(u *ledger.User, t time.Time) *pricing.Plan {
	at := u.PlanAt(t)
	_, plan, err := b.Book.Terms(b.Ledger, u, at.Plan, at.From, t)
	if err != nil {
		return nil
	}
	return plan
}

// rechargeRest is how long nothing is bought after a recharge was declined: the
// balance stays low, and the bank would be asked each minute.
const rechargeRest = 24 * time.Hour

// recharge buys a pack for a user whose balance is below what the plan says, so
// often a day as it says.
func (b *Billing) recharge(ctx context.Context, a *ledger.Account, unknown *int) error {
	u := a.User()
	rule := b.recharges(u)
	now := b.Now()
	if rule == nil || u.PaymentMethod == "" || u.Status != ledger.Active || u.Owes() {
		return nil
	}
	a.Lock()
	balance := a.Balance(now)
	a.Unlock()
	if balance >= ledger.Amount(rule.Below)*ledger.Unit {
		return nil
	}
	today, times := b.Ledger.DayAt(now), 0
	for _, ref := range u.Payments {
		if ref.Kind != ledger.RechargePayment {
			continue
		}
		made := time.UnixMilli(ref.Made)
		switch {
		case ref.State == ledger.PaymentPending:
			return nil
		case ref.State == ledger.PaymentGivenUp && now.Sub(made) < rechargeRest && ref.Method == u.PaymentMethod:
			return nil
		case b.Ledger.DayAt(made) == today:
			times++
		}
	}
	if times >= rule.PerDay {
		return nil
	}
	p, err := b.bundle(u, ledger.RechargePayment, rule.Pack)
	if err != nil {
		return fmt.Errorf("recharge user %d: %w", u.ID, err)
	}
	made, err := b.start("billing", p)
	if err != nil {
		return err
	}
	return b.goOn(ctx, u, made.ID, unknown)
}
