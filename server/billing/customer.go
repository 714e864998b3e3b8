package billing

import (
	"context"
	"errors"
	"fmt"

	"tollgate/ledger"
)

// wish is where a user's Extra keeps the plan to change to when there is a
// payment method.
const wish = "subscribe"

// customer is the provider's customer of a user, made where there is none.
func (b *Billing) customer(ctx context.Context, u *ledger.User) (string, error) {
	if u.StripeCustomer != "" {
		return u.StripeCustomer, nil
	}
	// The key has no attempt: whenever it is forgotten, the customer is found.
	key := fmt.Sprintf("tollgate-%s-%d-customer-%d", b.id, b.epoch, u.ID)
	c, err := b.Provider.Customer(ctx, CustomerRequest{Owner: b.owner(u.ID), Key: key, Personal: u.Personal})
	if err != nil {
		return "", err
	}
	return c.ID, b.changeUser(u.ID, func(u *ledger.User) { u.StripeCustomer = c.ID })
}

// ErrNoProvider reports what needs a payment provider where none is configured.
var ErrNoProvider = errors.New("no payment provider is configured")

// Checkout is the URL where a user gives a payment method, and is then put on a
// plan; tier "" leaves the plan as it is.
func (b *Billing) Checkout(ctx context.Context, id ledger.UserID, tier string) (string, error) {
	if b.Provider == nil {
		return "", ErrNoProvider
	}
	b.working.Lock()
	defer b.working.Unlock()
	customer, err := b.customer(ctx, b.Ledger.Account(id).User())
	if err != nil {
		return "", fmt.Errorf("customer of user %d: %w", id, err)
	}
	back := b.settings.Load().PublicURL + "/dashboard/plans"
	url, err := b.Provider.Checkout(ctx, CheckoutRequest{
		Owner: b.owner(id), Key: fmt.Sprintf("tollgate-%s-%d-checkout-%d-%d", b.id, b.epoch, id, b.Now().UnixNano()),
		Customer: customer, Tier: tier, Success: back, Cancel: back,
	})
	if err != nil {
		return "", fmt.Errorf("checkout of user %d: %w", id, err)
	}
	err = b.changeUser(id, func(u *ledger.User) {
		if u.Extra == nil {
			u.Extra = map[string]string{}
		}
		if u.Extra[wish] = tier; tier == "" {
			delete(u.Extra, wish)
		}
	})
	return url, err
}

// Portal is the URL of the provider's page for a user.
func (b *Billing) Portal(ctx context.Context, id ledger.UserID) (string, error) {
	if b.Provider == nil {
		return "", ErrNoProvider
	}
	b.working.Lock()
	defer b.working.Unlock()
	customer, err := b.customer(ctx, b.Ledger.Account(id).User())
	if err != nil {
		return "", fmt.Errorf("customer of user %d: %w", id, err)
	}
	return b.Provider.Portal(ctx, customer, b.settings.Load().PublicURL+"/dashboard")
}

// Observe takes a hint that something changed at the provider: what it is about
// is fetched, so that a hint that comes late, twice, out of order or from a liar
// changes nothing.
func (b *Billing) Observe(ctx context.Context, e Event) error {
	b.working.Lock()
	defer b.working.Unlock()
	return b.observe(ctx, e)
}

func (b *Billing) observe(ctx context.Context, e Event) error {
	if e.Customer != "" {
		if err := b.observeCustomer(ctx, e.Customer); err != nil {
			return err
		}
	}
	if e.Receipt != "" {
		if err := b.observePayment(ctx, e.Receipt); err != nil {
			return err
		}
	}
	if e.Charge == "" {
		return nil
	}
	c, err := b.Provider.Charge(ctx, e.Charge)
	if gone(err) || err == nil && c.Ledger != b.id {
		return nil // not ours
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", e.Charge, err)
	}
	i, err := b.Ledger.Invoice(c.Invoice)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && (i.Provider != c.ID || i.Intent != nil) {
		return nil // the intent's own step will see to it
	}
	if err != nil {
		return err
	}
	if _, err := b.takeUp(i, c); err != nil {
		return err
	}
	return b.standing(b.Ledger.Account(i.User).User())
}

// takeUp takes what the provider has of an invoice. Attempts to collect are ours
// alone, and are counted where they are made.
func (b *Billing) takeUp(i *ledger.Invoice, c Charge) (*ledger.Invoice, error) {
	c.Decline = nil
	return b.record(i, "provider", func(i *ledger.Invoice) { b.take(i, c) })
}

// taken is an invoice as the provider has it now.
func (b *Billing) taken(ctx context.Context, i *ledger.Invoice) (*ledger.Invoice, error) {
	c, err := b.Provider.Charge(ctx, i.Provider)
	if err != nil {
		return nil, fmt.Errorf("look at invoice %d: %w", i.ID, err)
	}
	return b.takeUp(i, c)
}

// gone tells that what was asked for is not there.
func gone(err error) bool {
	var r *Rejection
	return errors.As(err, &r) && r.Code == "resource_missing"
}

// observeCustomer takes up a payment method that was added or removed. Where one
// was added, what was waiting for it happens.
func (b *Billing) observeCustomer(ctx context.Context, id string) error {
	c, err := b.Provider.CustomerNow(ctx, id)
	if gone(err) || err == nil && c.Ledger != b.id {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at customer %s: %w", id, err)
	}
	a := b.Ledger.Account(c.User)
	if a == nil || a.User().StripeCustomer != c.ID {
		return nil
	}
	u := a.User()
	if u.PaymentMethod == c.PaymentMethod {
		return nil
	}
	tier := u.Extra[wish]
	err = b.changeUser(u.ID, func(u *ledger.User) {
		u.PaymentMethod = c.PaymentMethod
		delete(u.Extra, wish)
	})
	if err != nil || c.PaymentMethod == "" {
		return err
	}
	if tier != "" && b.ChangePlan != nil {
		if err := b.ChangePlan(ctx, u.ID, tier); err != nil {
			b.Log.Error("a user could not be put on the plan asked for", "user", u.ID, "plan", tier, "error", err)
		}
	}
	for _, ref := range a.User().Payments {
		if ref.State != ledger.PaymentPastDue {
			continue
		}
		p, err := b.Ledger.Payment(u.ID, ref.ID)
		if err == nil && p.Intent == nil {
			_, err = b.recordPayment(p, "provider", func(p *ledger.Payment) { p.Next, p.Failure = b.Now(), "" })
		}
		if err != nil {
			return err
		}
	}
	for _, ref := range a.User().Invoices { // try again at once with the new method
		if ref.State != ledger.PastDue && ref.State != ledger.Uncollectible {
			continue
		}
		i, err := b.Ledger.Invoice(ref.ID)
		if err != nil {
			return err
		}
		if _, err := b.record(i, "provider", func(i *ledger.Invoice) {
			i.State, i.Next, i.Failure = ledger.PastDue, b.Now(), ""
		}); err != nil {
			return err
		}
	}
	return nil
}

// Poll looks at what happened at the provider since the last poll, for what no
// webhook told. After a start it goes back for as long as the ledger was not
// written to, and a day more.
func (b *Billing) Poll(ctx context.Context) error {
	if b.Provider == nil {
		return nil
	}
	b.working.Lock()
	defer b.working.Unlock()
	for {
		events, err := b.Provider.Events(ctx, b.polled.since, b.polled.after)
		if err != nil {
			return fmt.Errorf("poll the payment provider: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		for _, e := range events {
			if err := b.observe(ctx, e); err != nil {
				return err
			}
			b.polled.since, b.polled.after = e.Time, e.ID
			b.yield()
		}
	}
}
