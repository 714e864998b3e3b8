package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tollgate/ledger"
)

// takeBack takes up what of a paid payment was refunded or is disputed: what is
// left of its credits goes with the money, and what was burnt is owed, as is usage
// that was charged as it came and is disputed. answer tells that the receipt is what
// became of the payment's intent, which is done with then.
func (b *Billing) takeBack(p *ledger.Payment, r Receipt, answer bool) (*ledger.Payment, error) {
	if r.Refunded == p.Refunded && r.Disputed == p.Disputed && p.Next.IsZero() {
		if !answer {
			return p, nil
		}
		return b.recordPayment(p, "provider", func(p *ledger.Payment) { p.Intent = nil })
	}
	if p.Kind.Buys() {
		// Credits are taken in entries of their own. Should the process end between
		// them and the last one, it is looked at again what they were taken for.
		var err error
		if p, err = b.recordPayment(p, "provider", func(p *ledger.Payment) { p.Next = b.Now() }); err != nil {
			return nil, err
		}
	}
	back := min(r.Refunded+r.Disputed, p.Total)
	owed := min(r.Disputed, p.Total) - p.Asked // refunds of usage are given
	var gone ledger.Amount
	if p.Kind.Buys() {
		var err error
		if gone, owed, err = b.takeCredits(p, back-p.Asked); err != nil {
			return nil, err
		}
	} else if owed < 0 {
		b.Log.Warn("usage was paid twice: the dispute was won, and an invoice has asked for it again", "user", p.User, "payment", p.ID, "invoice", p.AskedIn, "amount", -owed)
	}
	b.Log.Info("the money of a payment went back", "user", p.User, "payment", p.ID, "refunded", r.Refunded, "disputed", r.Disputed, "owed", owed)
	return b.recordPayment(p, "provider", func(p *ledger.Payment) {
		if answer {
			p.Intent = nil
		}
		p.Refunded, p.Disputed, p.Next = r.Refunded, r.Disputed, noTime
		if p.PaidBy == "" {
			p.Owed = max(owed, 0)
		}
		if back > 0 {
			p.Tell = append(p.Tell, ledger.Notice{
				Code: ledger.TakenBack, Subject: fmt.Sprintf("%s %d", subject(p.ID), back), Payment: p.ID, Credits: max(gone, 0), Amount: p.Owed,
			})
		}
	})
}

// takeCredits takes of the credits that a payment bought as many as went back with
// its money, or gives back what was taken when a dispute was won. back is in minor
// units, less what invoices have asked for: below zero where credits were paid twice.
// It returns how many are gone now, and what those that were burnt are worth in minor
// units.
func (b *Billing) takeCredits(p *ledger.Payment, back int64) (gone ledger.Amount, owed int64, err error) {
	due, err := p.Credits.Share(back, p.Total)
	if err != nil {
		return 0, 0, err
	}
	mark := subject(p.ID)
	gone, burnt, grants, err := b.creditsOf(p, mark)
	if err != nil {
		return 0, 0, err
	}
	now := b.Now()
	for _, grant := range grants {
		if gone >= due {
			break
		}
		took, err := b.Ledger.TakeCredits(now, "billing", p.User, grant, due-gone, "refunded", mark, nil)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return 0, 0, err
		}
		gone += took
	}
	if gone > due && (p.Expires.IsZero() || p.Expires.After(now)) {
		g := ledger.Grant{Source: ledger.Adjustment, Amount: gone - due, Expires: p.Expires, Reason: "the dispute was won", Reference: mark}
		if _, err := b.Ledger.GrantCredits(now, "billing", p.User, g); err != nil {
			return 0, 0, err
		}
		gone = due
	}
	exact, err := ledger.FromMinor(p.Total, b.digits)
	if err != nil {
		return 0, 0, err
	}
	worth, err := exact.Share(int64(min(due-gone, burnt)), int64(p.Credits))
	return gone, worth.Minor(b.digits), err
}

// creditsOf is what became of the credits of a payment: how many were taken because
// its money went back, less those that were given back; how many calls have burnt;
// and the grants, that which was paid for first.
func (b *Billing) creditsOf(p *ledger.Payment, mark string) (gone, burnt ledger.Amount, grants []uint64, err error) {
	a := b.Ledger.Account(p.User)
	ref, _ := a.User().PaymentRef(p.ID)
	taken := map[uint64]ledger.Amount{} // of grants, which come after it in the walk
	err = b.Ledger.CreditEntries(context.Background(), p.User, 0, func(e ledger.CreditEntry) bool {
		switch {
		case e.Taken > 0:
			taken[e.Grant.Seq] += e.Taken
			if e.Reference == mark {
				gone += e.Taken
			}
		case e.Grant.Reference == mark || e.Seq == ref.Grant:
			grants = append(grants, e.Seq)
			burnt += e.Grant.Amount - taken[e.Seq]
			if e.Seq != ref.Grant {
				gone -= e.Grant.Amount
			}
		}
		return e.Seq > ref.Grant
	})
	slices.Reverse(grants)
	a.Lock()
	for _, left := range a.Credits() {
		if slices.Contains(grants, left.Seq) {
			burnt -= left.Amount
		}
	}
	a.Unlock()
	return gone, burnt, grants, err
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
