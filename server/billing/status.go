package billing

import (
	"fmt"
	"time"

	"tollgate/ledger"
)

// Unbilled lists the months of a user that have ended and have no invoice, oldest
// first.
func (b *Billing) Unbilled(u *ledger.User) []ledger.Month {
	return b.due(u, b.Now(), scope{early: true})
}

// Drafts is what the invoices of a user's unbilled months would be now, oldest
// first, each carrying over what the one before it does.
func (b *Billing) Drafts(u *ledger.User) ([]*ledger.Invoice, error) {
	var list []*ledger.Invoice
	for _, m := range b.Unbilled(u) {
		i, err := b.draft(u, m, list)
		if err != nil {
			return nil, fmt.Errorf("draft of %v for user %d: %w", m, u.ID, err)
		}
		list = append(list, i)
	}
	return list, nil
}

// NextRun is the next instant at which a period is sealed.
func (b *Billing) NextRun() time.Time {
	now := b.Now()
	open := b.Ledger.PeriodAt(now)
	if at := b.sealAt(b.Ledger.PeriodOf(open.Month - 1)); at.After(now) {
		return at
	}
	return b.sealAt(open)
}
