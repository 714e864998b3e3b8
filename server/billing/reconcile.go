package billing

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tollgate/ledger"
)

// reconcile compares a restored ledger with the provider, before anything is
// billed: what was invoiced after the backup is adopted, so that it is not
// invoiced again, and numbers go on above the highest that was given.
func (b *Billing) reconcile(ctx context.Context) error {
	var highest uint32
	var lost []Charge
	err := b.Provider.Charges(ctx, b.id, func(c Charge) error {
		highest = max(highest, numberOf(c.Number))
		if c.State == ChargeDraft { // worth nothing; sending its invoice finds it
			return nil
		}
		i, err := b.Ledger.Invoice(c.Invoice)
		if err == nil && i.NumberText() == c.Number && i.User == c.User {
			_, err = b.record(i, "reconcile", func(i *ledger.Invoice) {
				i.Intent = nil
				b.take(i, c)
			})
			return err
		}
		lost = append(lost, c)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare the restored ledger with the payment provider: %w", err)
	}
	slices.SortStableFunc(lost, func(a, b Charge) int { return cmp.Compare(a.Number, b.Number) })
	for _, c := range lost {
		if err := b.adopt(c); err != nil {
			return err
		}
	}
	b.Log.Warn("this ledger was restored from a backup: usage, and revocations of keys, that came after it are lost", "invoices adopted", len(lost))
	return b.Ledger.Reconcile(b.Now(), "reconcile", highest)
}

// adopt makes an invoice of what the provider has of this ledger. A void one is
// adopted too: its month counts as billed.
func (b *Billing) adopt(c Charge) error {
	a := b.Ledger.Account(c.User)
	m, err := ledger.ParseMonth(c.Period)
	if a == nil || c.User == 0 || err != nil {
		b.Log.Error("the payment provider has an invoice of a user who is not in the backup", "user", c.User, "invoice", c.ID, "number", c.Number)
		return nil
	}
	if ref, ok := a.User().InvoiceOf(m); ok && (ref.State != ledger.Void || c.State == ChargeVoid) {
		if c.State == ChargeVoid {
			return nil // another took its place
		}
		b.Log.Error("the payment provider has a second invoice of a month", "user", c.User, "month", m, "invoice", c.ID, "number", c.Number)
		return nil
	}
	i := ledger.Invoice{
		User: c.User, Month: m, Number: numberOf(c.Number), State: ledger.Issued, Total: c.Total + a.User().Advance(m), Rated: c.Total, Adopted: true,
		Provider: c.ID, URL: c.URL, Advance: a.User().Advance(m), Replaces: b.replaced(a.User(), m),
		Lines: []ledger.InvoiceLine{{Kind: "usage", Description: "As invoiced before the ledger was restored from a backup", Amount: c.Total + a.User().Advance(m)}},
	}
	made, err := b.Ledger.AddInvoices(b.Now(), "reconcile", []ledger.Invoice{i})
	if err != nil {
		return err
	}
	_, err = b.record(made[0], "reconcile", func(i *ledger.Invoice) { b.take(i, c) })
	return err
}

// numberOf takes the number out of "2025-01-000042".
func numberOf(text string) uint32 {
	n, err := strconv.ParseUint(text[strings.LastIndexByte(text, '-')+1:], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
