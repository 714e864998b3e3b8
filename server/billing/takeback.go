package billing

import (
	"context"
	"errors"
	"fmt"

	"tollgate/ledger"
)

// takeBack takes up what of a paid payment was refunded or is disputed: what is
// left of its credits goes with the money, and what was burnt is owed, as is usage
// that was charged as it came and is disputed. Each step leaves what the next one
// looks for, so that a crash in between changes nothing.
func (b *Billing) takeBack(p *ledger.Payment, r Receipt) (*ledger.Payment, error) {
	if r.Refunded == p.Refunded && r.Disputed == p.Disputed {
		return p, nil
	}
	back := min(r.Refunded+r.Disputed, p.Total)
	owed := r.Disputed // refunds of usage are given
	var taken ledger.Amount
	if p.Kind.Buys() {
		var err error
		if taken, owed, err = b.takeCredits(p, back); err != nil {
			return nil, err
		}
	}
	asked, err := b.askedFor(p)
	if err != nil {
		return nil, err
	}
	b.Log.Info("the money of a payment went back", "user", p.User, "payment", p.ID, "refunded", r.Refunded, "disputed", r.Disputed, "owed", owed)
	return b.recordPayment(p, "provider", func(p *ledger.Payment) {
		p.Refunded, p.Disputed = r.Refunded, r.Disputed
		if p.PaidBy == "" {
			p.Owed = max(min(owed, p.Total)-asked, 0)
		}
		if back > 0 {
			p.Tell = append(p.Tell, ledger.Notice{
				Code: ledger.TakenBack, Subject: fmt.Sprintf("%s %d", subject(p.ID), back), Payment: p.ID, Credits: taken, Amount: p.Owed,
			})
		}
	})
}

// askedFor is what an invoice has asked for already of what a payment owed.
func (b *Billing) askedFor(p *ledger.Payment) (int64, error) {
	if p.AskedIn == 0 {
		return 0, nil
	}
	i, err := b.Ledger.Invoice(p.AskedIn)
	if err != nil {
		return 0, err
	}
	for _, l := range i.Lines {
		if l.Payment == p.ID {
			return l.Amount, nil
		}
	}
	return 0, nil
}

// takeCredits takes of the credits that a payment bought as many as went back with
// its money, or gives back what was taken when a dispute was won. It returns how
// many are gone now, and what those that were burnt are worth in minor units.
func (b *Billing) takeCredits(p *ledger.Payment, back int64) (gone ledger.Amount, owed int64, err error) {
	ref, _ := b.Ledger.Account(p.User).User().PaymentRef(p.ID)
	due, err := p.Credits.Share(back, p.Total)
	if err != nil {
		return 0, 0, err
	}
	mark := subject(p.ID)
	had := due // had is what can have been taken at most
	err = b.Ledger.CreditEntries(context.Background(), p.User, 0, func(e ledger.CreditEntry) bool {
		switch {
		case e.Reference == mark && e.Grant.Seq == ref.Grant && e.Taken > 0:
			gone += e.Taken
		case e.Grant.Reference == mark && e.Grant.Amount > 0: // given back
			gone -= e.Grant.Amount
		}
		return e.Seq > ref.Grant
	})
	if err != nil {
		return 0, 0, err
	}
	now := b.Now()
	switch more := had - gone; {
	case more > 0:
		took, err := b.Ledger.TakeCredits(now, "billing", p.User, ref.Grant, more, "refunded", mark, nil)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return 0, 0, err
		}
		gone += took
	case more < 0:
		g := ledger.Grant{Source: ledger.Adjustment, Amount: -more, Reason: "the dispute was won", Reference: mark}
		if _, err := b.Ledger.GrantCredits(now, "billing", p.User, g); err != nil {
			return 0, 0, err
		}
		gone += more
	}
	exact, err := ledger.FromMinor(p.Total, b.digits)
	if err != nil {
		return 0, 0, err
	}
	worth, err := exact.Share(int64(due-gone), int64(p.Credits))
	return gone, worth.Minor(b.digits), err
}

// wentBack asks for what payments owe that no invoice has asked for.
func (b *Billing) wentBack(u *ledger.User, unsealed []*ledger.Invoice) (lines []ledger.InvoiceLine) {
	for _, ref := range u.Payments {
		if ref.Owed == 0 || asksFor(unsealed, ref.ID) {
			continue
		}
		lines = append(lines, ledger.InvoiceLine{
			Kind: ledger.CarriedIn, Description: "Used of a payment that went back", Amount: ref.Owed, Payment: ref.ID,
		})
	}
	return lines
}

func asksFor(list []*ledger.Invoice, id ledger.PaymentID) bool {
	for _, i := range list {
		for _, l := range i.Lines {
			if l.Payment == id && i.ID == 0 { // of a preview: in the ledger it would be noted
				return true
			}
		}
	}
	return false
}

// ReturnPayment gives a part of a payment back, in minor units, and takes what is
// left of its credits.
func (b *Billing) ReturnPayment(ctx context.Context, by string, user ledger.UserID, id ledger.PaymentID, amount int64, reason string) (*ledger.Payment, error) {
	if b.Provider == nil {
		return nil, ErrNoProvider
	}
	b.working.Lock()
	defer b.working.Unlock()
	if err := b.reachable(ctx); err != nil {
		return nil, err
	}
	p, err := b.Ledger.ChangePayment(b.Now(), by, user, id, func(p *ledger.Payment) error {
		switch {
		case p.Intent != nil:
			return fmt.Errorf("%w: the outcome of its %s is not known yet", ErrNotNow, p.Intent.Op)
		case p.State != ledger.PaymentPaid || amount <= 0 || amount > p.Total-p.Back():
			return fmt.Errorf("%w: %s can be given back of payment %d", ErrNotNow, ledger.FormatMinor(p.Total-p.Back(), b.digits), id)
		}
		b.beginPayment(nil, p, opReturn)
		p.Intent.Amount, p.Intent.Reason, p.Intent.By = amount, reason, by
		return nil
	})
	if err != nil {
		return nil, err
	}
	u := b.Ledger.Account(user).User()
	p, refused, err := b.advancePayment(ctx, u, p.ID)
	if err != nil {
		return nil, err
	}
	if err := b.standing(b.Ledger.Account(user).User()); err != nil {
		return nil, err
	}
	if refused != nil {
		return p, fmt.Errorf("the payment provider refused: %w", refused)
	}
	return p, nil
}

// SettlePayment notes that what a payment owes was paid outside the provider.
func (b *Billing) SettlePayment(by string, user ledger.UserID, id ledger.PaymentID, reference string) (*ledger.Payment, error) {
	b.working.Lock()
	defer b.working.Unlock()
	p, err := b.Ledger.ChangePayment(b.Now(), by, user, id, func(p *ledger.Payment) error {
		if p.Owed == 0 {
			return fmt.Errorf("%w: nothing is owed of payment %d", ErrNotNow, id)
		}
		p.Owed, p.PaidBy = 0, reference
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, b.standing(b.Ledger.Account(user).User())
}
