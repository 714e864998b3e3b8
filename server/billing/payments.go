package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
)

// The operations at the provider about a payment that is no invoice's.
const (
	opPage    = "page"    // a page where the customer pays
	opCollect = "collect" // take it with the customer's payment method
	opReturn  = "return"  // give a part of it back
)

// pageLife is for how long the provider's page can be paid on at most: Stripe says
// 24 hours (https://docs.stripe.com/api/checkout/sessions/create, expires_at).
const pageLife = keyLife

// subject is how notices, references and keys name a payment.
func subject(id ledger.PaymentID) string { return fmt.Sprintf("payment %d", id) }

// advancePayment takes a payment through all its steps that are due. What the
// provider refuses is no error: it is noted with the payment.
func (b *Billing) advancePayment(ctx context.Context, u *ledger.User, id ledger.PaymentID) (*ledger.Payment, *Rejection, error) {
	p, err := b.Ledger.Payment(u.ID, id)
	if err != nil {
		return nil, nil, err
	}
	var refused *Rejection
	for b.Provider != nil {
		op := b.nextPaymentOp(p)
		if op == "" {
			break
		}
		next, no, err := b.paymentStep(ctx, u, p, op)
		if err != nil {
			return p, refused, err
		}
		if p = next; refused == nil {
			refused = no
		}
		if no != nil {
			break
		}
	}
	return p, refused, nil
}

const opLook = "look" // what became of a page, or of what was paid

// nextPaymentOp is what is to be done at the provider about a payment now.
func (b *Billing) nextPaymentOp(p *ledger.Payment) string {
	switch {
	case p.Intent != nil:
		return p.Intent.Op
	case p.Next.IsZero() || p.Next.After(b.Now()):
		return ""
	case p.Kind == ledger.PurchasePayment || p.State == ledger.PaymentPaid || p.State == ledger.PaymentPending && p.Provider != "":
		return opLook
	}
	return opCollect
}

// paymentStep does one operation, as [Billing.step] does for invoices: the intent is
// durable before the call, the outcome after it.
func (b *Billing) paymentStep(ctx context.Context, u *ledger.User, p *ledger.Payment, op string) (next *ledger.Payment, refused *Rejection, err error) {
	if op == opLook {
		if p.Provider == "" { // the process ended before there was a page
			next, err = b.recordPayment(p, "billing", func(p *ledger.Payment) { b.notPaid(u, p, nil) })
			return next, nil, err
		}
		r, err := b.Provider.Receipt(ctx, p.Provider)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: look at payment %d: %w", ErrUnknown, p.ID, err)
		}
		next, err = b.takeReceipt(p, r, true)
		return next, nil, err
	}
	resumed := p.Intent != nil
	if op == opCollect && !resumed && u.PaymentMethod == "" {
		next, err = b.recordPayment(p, "billing", func(p *ledger.Payment) { b.notPaid(u, p, &Decline{Code: noMethod}) })
		return next, nil, err
	}
	customer, err := b.customer(ctx, u)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: customer of user %d: %w", ErrUnknown, u.ID, err)
	}
	if !resumed || b.Now().Sub(p.Intent.At) > keyLife && op != opReturn {
		if resumed {
			// The key may be forgotten: look before paying under another.
			found, ok, err := b.Provider.FindReceipt(ctx, b.paymentRequest(u, p, customer))
			if err != nil {
				return nil, nil, fmt.Errorf("%w: look for payment %d: %w", ErrUnknown, p.ID, err)
			}
			switch {
			case ok && (op == opPage || found.State != ReceiptFailed): // one that failed may be the attempt before
				next, err = b.takeReceipt(p, found, true)
				return next, nil, err
			case op == opPage: // nobody waits for it any more
				next, err = b.recordPayment(p, "billing", func(p *ledger.Payment) { b.notPaid(u, p, nil) })
				return next, nil, err
			}
		}
		if p, err = b.recordPayment(p, "billing", func(p *ledger.Payment) { b.beginPayment(u, p, op) }); err != nil {
			return nil, nil, err
		}
	}
	var r Receipt
	switch op {
	case opPage:
		r, err = b.Provider.PayPage(ctx, b.paymentRequest(u, p, customer))
	case opCollect:
		r, err = b.Provider.Collect(ctx, b.paymentRequest(u, p, customer))
	case opReturn:
		in := p.Intent
		r, err = b.Provider.Return(ctx, ReturnRequest{
			Owner: b.ownerOf(p), Key: in.Key, ID: p.Provider, Part: in.Key, Amount: in.Amount, Reason: in.Reason,
		})
	default:
		err = &Rejection{Message: "tollgate does not know the operation " + op}
	}
	switch {
	case errors.As(err, &refused):
		b.Log.Warn("the payment provider refused", "payment", p.ID, "operation", op, "error", err)
		next, err = b.recordPayment(p, "provider", func(p *ledger.Payment) { b.paymentRefused(u, p, refused) })
		return next, refused, err
	case err != nil && !errors.Is(err, ErrUnknown):
		return nil, nil, fmt.Errorf("%w: %s of payment %d: %w", ErrUnknown, op, p.ID, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%s of payment %d: %w", op, p.ID, err)
	}
	next, err = b.takeReceipt(p, r, true)
	return next, nil, err
}

func (b *Billing) beginPayment(u *ledger.User, p *ledger.Payment, op string) {
	if op == opCollect {
		p.Method = u.PaymentMethod // the same call must have the same
	}
	p.Tries++
	p.Next = noTime
	next := &ledger.Intent{Op: op, Attempt: p.Tries, At: b.Now()}
	if p.Intent != nil {
		next.Amount, next.Reason, next.By = p.Intent.Amount, p.Intent.Reason, p.Intent.By
	}
	next.Key = fmt.Sprintf("tollgate-%s-%d-payment-%d-%s-%d", b.id, b.epoch, p.ID, op, p.Tries)
	p.Intent = next
}

func (b *Billing) paymentRequest(u *ledger.User, p *ledger.Payment, customer string) PaymentRequest {
	back := b.settings.Load().PublicURL + "/dashboard/credits"
	r := PaymentRequest{
		Owner: b.ownerOf(p), Payment: p.ID, Customer: customer, Currency: b.currency, Total: p.Total, Method: p.Method,
		Keep: p.Kind == ledger.PurchasePayment && u.PaymentMethod == "" && b.recharges(u) != nil, Success: back, Cancel: back,
	}
	if p.Intent != nil {
		r.Key = p.Intent.Key
	}
	r.Purpose = Purpose{Kind: p.Kind, Month: p.Month, Pack: p.Pack, Credits: p.Credits, Expires: p.Expires}
	for _, l := range p.Lines {
		r.Lines = append(r.Lines, ChargeLine{l.Description, l.Amount})
		if l.Kind == ledger.TaxLine {
			r.Tax += l.Amount
		}
	}
	return r
}

// ownerOf has the epoch in which the payment was begun: in another its id may be that
// of another payment.
func (b *Billing) ownerOf(p *ledger.Payment) Owner {
	return Owner{Ledger: b.id, Epoch: p.Epoch, User: p.User}
}

// takeReceipt brings a payment up to what the provider says of it. Credits are
// granted in the commit in which it becomes paid. answer tells that it is what became
// of the payment's intent.
func (b *Billing) takeReceipt(p *ledger.Payment, r Receipt, answer bool) (*ledger.Payment, error) {
	if r.Total != p.Total || r.Currency != b.currency {
		return nil, fmt.Errorf("%w: payment %d is %d %s at the provider as %s, and %d %s here", ErrUnknown, p.ID, r.Total, r.Currency, r.ID, p.Total, b.currency)
	}
	switch {
	case p.State == ledger.PaymentPaid:
		return b.takeBack(p, r, answer)
	case p.State == ledger.PaymentGivenUp && (r.State != ReceiptPaid || p.Kind != ledger.PurchasePayment):
		return p, nil // that is known
	}
	u := b.Ledger.Account(p.User).User()
	p, err := b.recordPayment(p, "provider", func(p *ledger.Payment) {
		p.Intent, p.URL = nil, r.URL
		if r.State != ReceiptFailed {
			p.Provider = r.ID
		}
		switch r.State {
		case ReceiptPaid:
			b.paymentPaid(p)
		case ReceiptFailed:
			b.notPaid(u, p, r.Decline)
		case ReceiptOpen:
			p.Next = b.nextLook(p)
		}
	})
	if err != nil || p.State != ledger.PaymentPaid {
		return p, err
	}
	return b.takeBack(p, r, false)
}

// nextLook is when it is looked at what became of a payment that the provider has
// not decided. Until then its being looked at for another reason changes nothing.
func (b *Billing) nextLook(p *ledger.Payment) time.Time {
	now := b.Now()
	if ends := p.Made.Add(pageLife); p.Kind == ledger.PurchasePayment && ends.After(now) {
		return ends
	}
	if p.Next.After(now) {
		return p.Next
	}
	return now.Add(later) // the page is about to end, or the bank takes its time
}

func (b *Billing) paymentPaid(p *ledger.Payment) {
	p.State, p.PaidAt, p.Failure, p.Next = ledger.PaymentPaid, b.Now(), "", noTime
	if p.Kind.Buys() && b.Ledger.Reconciled() { // of what is adopted the customer was told
		p.Tell = append(p.Tell, ledger.Notice{
			Code: ledger.CreditsBought, Subject: subject(p.ID), Payment: p.ID, Credits: p.Credits, Amount: p.Total,
		})
	}
}

// notPaid takes note that a payment was declined, or not made in time. Usage that
// is charged as it comes is tried again as invoices are; after the last time it
// waits for another payment method, or for the month's invoice.
func (b *Billing) notPaid(u *ledger.User, p *ledger.Payment, d *Decline) {
	now := b.Now()
	p.Intent, p.Next = nil, noTime
	if d == nil {
		d = &Decline{Code: "expired"}
	}
	p.Failure, p.Failed = d.Code, now
	if d.Authenticate {
		p.Failure = authenticate
	}
	p.Attempts++
	switch p.Kind {
	case ledger.PurchasePayment: // the customer went away, and knows
		p.State = ledger.PaymentGivenUp
		return
	case ledger.RechargePayment:
		p.State = ledger.PaymentGivenUp
	default:
		p.State = ledger.PaymentPastDue
		if after := b.settings.Load().RetryAfter; p.Attempts <= len(after) && !d.Authenticate {
			p.Next = now.Add(after[p.Attempts-1])
		}
	}
	b.Log.Info("a payment was not collected", "user", u.ID, "payment", p.ID, "kind", p.Kind, "failure", p.Failure)
	p.Tell = append(p.Tell, ledger.Notice{
		Code: ledger.PaymentFailed, Subject: subject(p.ID), Payment: p.ID, Amount: p.Total, Failure: p.Failure,
	})
}

// paymentRefused takes the refusal of an intent: nothing was done.
func (b *Billing) paymentRefused(u *ledger.User, p *ledger.Payment, r *Rejection) {
	op := p.Intent.Op
	p.Intent = nil
	switch {
	case op == opReturn:
	case p.Kind == ledger.RealtimePayment || r.Retry:
		p.Failure, p.Next = r.Error(), b.Now().Add(later)
		if r.Retry {
			p.Next = b.Now().Add(soon)
		}
		if p.Kind == ledger.PurchasePayment { // nobody waits for the page any more
			p.State, p.Next = ledger.PaymentGivenUp, noTime
		}
	default:
		b.notPaid(u, p, &Decline{Code: r.Error()})
	}
}

// recordPayment logs a change of a payment.
func (b *Billing) recordPayment(p *ledger.Payment, by string, change func(*ledger.Payment)) (*ledger.Payment, error) {
	return b.Ledger.ChangePayment(b.Now(), by, p.User, p.ID, func(p *ledger.Payment) error { change(p); return nil })
}

// observePayment takes up what the provider has of a payment.
func (b *Billing) observePayment(ctx context.Context, id string) error {
	r, err := b.Provider.Receipt(ctx, id)
	if gone(err) || err == nil && r.Ledger != b.id {
		return nil // not ours
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", id, err)
	}
	p, err := b.paymentOf(r)
	if err == nil && p == nil && r.State == ReceiptPaid && b.Ledger.Reconciled() {
		p, err = b.adoptPayment(r) // on a page that was begun after the backup was made
	}
	if err != nil || p == nil {
		return err
	}
	if p.Provider != r.ID || p.Intent != nil && p.Intent.Op != opReturn {
		return nil // the intent's own step will see to it
	}
	if r.State == ReceiptFailed && p.Kind != ledger.PurchasePayment {
		return nil // attempts to collect are ours alone, and are counted where they are made
	}
	if _, err := b.takeReceipt(p, r, false); err != nil {
		return err
	}
	return b.standing(b.Ledger.Account(r.User).User())
}

// payments takes all payments of a user through their steps that are due. unknown
// counts outcomes that are not known.
func (b *Billing) payments(ctx context.Context, a *ledger.Account, unknown *int) error {
	if b.Provider == nil {
		return nil
	}
	for _, ref := range a.User().Payments {
		if !ref.Todo || *unknown >= tooManyUnknown || b.stuckPayments[ref.ID].until.After(b.Now()) {
			continue
		}
		b.yield()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.goOn(ctx, a.User(), ref.ID, unknown); err != nil {
			return err
		}
	}
	return nil
}

// goOn takes a payment through its steps that are due. What goes wrong with one keeps
// no other from being seen to; where an outcome is unknown, the payment is left alone
// for a while.
func (b *Billing) goOn(ctx context.Context, u *ledger.User, id ledger.PaymentID, unknown *int) error {
	_, _, err := b.advancePayment(ctx, u, id)
	switch {
	case err == nil || b.fatal(err):
		delete(b.stuckPayments, id)
		return err
	case errors.Is(err, ErrUnknown):
		*unknown++
		s := b.stuckPayments[id]
		s.times++
		s.until = b.Now().Add(min(time.Minute<<min(s.times, 5), 30*time.Minute))
		b.stuckPayments[id] = s
		b.Log.Warn("what became of a call to the payment provider is not known yet", "payment", id, "error", err)
	default:
		b.Log.Error("a payment could not be seen to", "user", u.ID, "payment", id, "error", err)
	}
	return nil
}
