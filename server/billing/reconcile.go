package billing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
)

// reconcile compares a restored ledger with the provider, before anything is
// billed: what was invoiced after the backup is adopted, so that it is not
// invoiced again, and numbers go on above the highest that was given.
func (b *Billing) reconcile(ctx context.Context) error {
	payments, err := b.reconcilePayments(ctx) // invoices have what was charged before them
	if err != nil {
		return fmt.Errorf("compare the payments of the restored ledger with the payment provider: %w", err)
	}
	var highest uint32
	var lost []Charge
	err = b.Provider.Charges(ctx, b.id, func(c Charge) error {
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
	b.Log.Warn("this ledger was restored from a backup: usage, and revocations of keys, that came after it are lost", "invoices adopted", len(lost), "payments adopted", payments)
	return b.Ledger.Reconcile(b.Now(), "reconcile", highest)
}

// adopt makes an invoice of what the provider has of this ledger. A void one is
// adopted too: its month counts as billed.
func (b *Billing) adopt(c Charge) error {
	a := b.backedUp(c.User)
	m, err := ledger.ParseMonth(c.Period)
	if a == nil || err != nil {
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

// backedUp is the account of a user who was in the backup; nil: there is none. Ids of
// those who came later may be given again.
func (b *Billing) backedUp(id ledger.UserID) *ledger.Account {
	a := b.Ledger.Account(id)
	if id == 0 || a == nil || a.User().Created.After(b.restored) {
		return nil
	}
	return a
}

// reconcilePayments takes up what the provider has of payments. What was paid after
// the backup is adopted, oldest first, with the credits that it was for. It returns
// how many were.
func (b *Billing) reconcilePayments(ctx context.Context) (adopted int, err error) {
	err = b.Provider.Receipts(ctx, b.id, func(r Receipt) error {
		p, err := b.paymentOf(r)
		if err == nil && p == nil {
			if p, err = b.adoptPayment(r); p != nil {
				adopted++
			}
		}
		if err != nil || p == nil {
			return err
		}
		if _, err = b.takeReceipt(p, r, false); errors.Is(err, ErrUnknown) {
			b.Log.Error("a payment is another one at the payment provider", "user", r.User, "payment", p.ID, "error", err)
			return nil
		}
		return err
	})
	return adopted, err
}

// paymentOf is our payment of a receipt; nil: we have none. One that was adopted has
// another id than the provider knows.
func (b *Billing) paymentOf(r Receipt) (*ledger.Payment, error) {
	p, err := b.Ledger.Payment(r.User, r.Payment)
	if err == nil && p.Epoch == r.Epoch {
		return p, nil
	}
	if err != nil && !errors.Is(err, ledger.ErrNotFound) || b.epoch == 0 {
		return nil, ignoreNotFound(err)
	}
	a := b.Ledger.Account(r.User)
	if a == nil {
		return nil, nil
	}
	for _, ref := range a.User().Payments {
		if p, err := b.Ledger.Payment(r.User, ref.ID); err != nil || p.Provider == r.ID {
			return p, err
		}
	}
	return nil, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	return err
}

// adoptPayment begins a payment that the provider has and we lack: it becomes paid
// when its receipt is taken. nil: it is nobody's here.
func (b *Billing) adoptPayment(r Receipt) (*ledger.Payment, error) {
	a := b.backedUp(r.User)
	bought := r.Kind.Buys() && r.Credits > 0
	if a == nil || !bought && r.Kind != ledger.RealtimePayment || r.Currency != b.currency || r.Tax < 0 || r.Tax >= r.Total {
		b.Log.Error("the payment provider has a payment that cannot be adopted", "user", r.User, "payment", r.ID, "kind", r.Kind, "total", r.Total)
		return nil, nil
	}
	p := ledger.Payment{
		Kind: r.Kind, User: r.User, Month: r.Month, Pack: r.Pack, Credits: r.Credits, Expires: r.Expires, Total: r.Total,
		Provider: r.ID, // by which it is known should the process end now
		Lines:    []ledger.InvoiceLine{{Kind: "usage", Description: fmt.Sprintf("Usage of %v so far", r.Month), Amount: r.Total - r.Tax}},
	}
	if bought {
		p.Lines[0].Kind, p.Lines[0].Description, p.Lines[0].Quantity = "credits", r.Credits.Short()+" credits", int64(r.Credits/ledger.Unit)
	}
	if r.Tax > 0 {
		p.Lines = append(p.Lines, ledger.InvoiceLine{Kind: ledger.TaxLine, Description: b.settings.Load().TaxName, Amount: r.Tax})
	}
	if soon := b.Now().Add(time.Second); !p.Expires.IsZero() && p.Expires.Before(soon) {
		p.Expires = soon // they have expired, and do so again
	}
	return b.start("reconcile", p)
}

// numberOf takes the number out of "2025-01-000042".
func numberOf(text string) uint32 {
	n, err := strconv.ParseUint(text[strings.LastIndexByte(text, '-')+1:], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
