package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
)

// ErrNotNow reports what cannot be done to an invoice as it stands.
var ErrNotNow = errors.New("that cannot be done to this invoice now")

// Retry tries to collect an invoice at once.
func (b *Billing) Retry(ctx context.Context, by string, id ledger.InvoiceID) (*ledger.Invoice, error) {
	return b.act(ctx, by, id, "", 0, "", func(i *ledger.Invoice) error {
		if i.Due() == 0 {
			return fmt.Errorf("%w: invoice %d is %s, and nothing is due", ErrNotNow, id, i.State)
		}
		i.Next = b.Now()
		if i.State == ledger.Uncollectible {
			i.State = ledger.PastDue
		}
		if i.Failure == authenticate {
			i.Failure = ""
		}
		return nil
	})
}

// Void makes an invoice that was not paid worth nothing. Its month counts as
// billed, until a run with Reissue makes a replacement.
func (b *Billing) Void(ctx context.Context, by string, id ledger.InvoiceID, reason string) (*ledger.Invoice, error) {
	return b.act(ctx, by, id, opVoid, 0, reason, func(i *ledger.Invoice) error {
		if i.State.Settled() {
			return fmt.Errorf("%w: invoice %d is %s; what was paid is given back by a refund", ErrNotNow, id, i.State)
		}
		return nil
	})
}

// MarkPaid notes that an invoice was paid outside the provider.
func (b *Billing) MarkPaid(ctx context.Context, by string, id ledger.InvoiceID, reference string) (*ledger.Invoice, error) {
	return b.act(ctx, by, id, opSettle, 0, reference, func(i *ledger.Invoice) error {
		if i.Due() == 0 {
			return fmt.Errorf("%w: invoice %d is %s, and nothing is due", ErrNotNow, id, i.State)
		}
		return nil
	})
}

// Refund gives back a part of what was paid, in minor units.
func (b *Billing) Refund(ctx context.Context, by string, id ledger.InvoiceID, amount int64, reason string) (*ledger.Invoice, error) {
	return b.act(ctx, by, id, opRefund, amount, reason, func(i *ledger.Invoice) error {
		if amount <= 0 || amount > i.Collected-i.Refunded {
			return fmt.Errorf("%w: %s can be given back of invoice %d", ErrNotNow, ledger.FormatMinor(i.Collected-i.Refunded, b.digits), id)
		}
		return nil
	})
}

// Credit takes a part off what is owed, in minor units.
func (b *Billing) Credit(ctx context.Context, by string, id ledger.InvoiceID, amount int64, reason string) (*ledger.Invoice, error) {
	return b.act(ctx, by, id, opCredit, amount, reason, func(i *ledger.Invoice) error {
		if amount <= 0 || amount > i.Due() {
			return fmt.Errorf("%w: %s is due of invoice %d; what was paid is given back by a refund", ErrNotNow, ledger.FormatMinor(i.Due(), b.digits), id)
		}
		if rest := i.Due() - amount; rest > 0 && rest < b.minimum {
			return fmt.Errorf("%w: the %s that would be left are less than can be charged; credit all of it, or leave more", ErrNotNow, ledger.FormatMinor(rest, b.digits))
		}
		return nil
	})
}

// act does what somebody asks for: check may change the invoice; then op is done
// at the provider, where the invoice is there, or in the ledger alone.
func (b *Billing) act(ctx context.Context, by string, id ledger.InvoiceID, op string, amount int64, reason string, check func(*ledger.Invoice) error) (*ledger.Invoice, error) {
	b.working.Lock()
	defer b.working.Unlock()
	i, err := b.Ledger.Invoice(id)
	if err != nil {
		return nil, err
	}
	// Money that went another way goes back another way.
	there := i.Provider != "" && !(op == opRefund && i.PaidBy != "")
	if there || op == "" {
		if b.Provider == nil {
			return nil, ErrNoProvider
		}
		if err := b.reachable(ctx); err != nil {
			return nil, err
		}
	}
	if op == opSettle && there && i.Intent == nil {
		// It may have been paid there by now, and would be paid twice.
		if _, err := b.taken(ctx, i); err != nil {
			return nil, err
		}
	}
	_, err = b.Ledger.ChangeInvoice(b.Now(), by, id, func(i *ledger.Invoice) error {
		if i.Intent != nil {
			return fmt.Errorf("%w: the outcome of its %s is not known yet", ErrNotNow, i.Intent.Op)
		}
		if err := check(i); err != nil || op == "" {
			return err
		}
		if there {
			b.begin(i, op)
			i.Intent.Amount, i.Intent.Reason, i.Intent.By = amount, reason, by
			return nil
		}
		b.alone(i, op, amount, reason)
		return nil
	})
	if err != nil {
		return nil, err
	}
	refused, err := b.advance(ctx, id, true)
	if err != nil {
		return nil, err
	}
	if i, err = b.Ledger.Invoice(id); err != nil {
		return nil, err
	}
	if err := b.standing(b.Ledger.Account(i.User).User()); err != nil {
		return nil, err
	}
	if refused != nil && (there || op == "") {
		return i, fmt.Errorf("the payment provider refused: %w", refused)
	}
	return i, nil
}

// alone does to an invoice that the provider does not have what op would do.
func (b *Billing) alone(i *ledger.Invoice, op string, amount int64, reason string) {
	switch op {
	case opVoid:
		i.State, i.Next = ledger.Void, time.Time{}
	case opSettle:
		i.PaidBy = reason
		b.paid(i, i.Asked()-i.Credited)
	case opCredit:
		if i.Credited += amount; i.Due() == 0 {
			b.paid(i, i.Collected)
		}
	case opRefund:
		i.Refunded += amount
	}
}
