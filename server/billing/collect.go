package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
)

// The operations at the provider that change an invoice there.
const (
	opPush   = "push"   // make it there
	opPay    = "pay"    // collect it
	opVoid   = "void"   // make it worth nothing
	opSettle = "settle" // it was paid by other means
	opCredit = "credit" // take a part off what is owed
	opRefund = "refund" // give a part of what was paid back
)

// keyLife is how long the provider is trusted to know an idempotency key. Stripe
// says 24 hours (https://docs.stripe.com/api/idempotent_requests).
const keyLife = 23 * time.Hour

const (
	soon  = time.Minute // after a refusal for being too fast
	later = time.Hour   // after a refusal that only the operator can mend
)

// noMethod is the failure of an invoice whose user has no payment method.
const noMethod = "no_payment_method"

// tooManyUnknown is after how many unknown outcomes the provider is
// left alone until the next time.
const tooManyUnknown = 3

// stuck is an invoice whose last call has an unknown outcome. It is left alone for
// a while, so that a few such do not keep the others from being collected.
type stuck struct {
	times int
	until time.Time
}

// yield lets somebody else work who waits for it. What was read before may be old
// after it.
func (b *Billing) yield() {
	b.working.Unlock()
	b.working.Lock()
}

// collect brings every invoice as far as it can go now. The provider is left alone
// when it is down, for which the reason is returned.
func (b *Billing) collect(ctx context.Context, down error) error {
	unknown := 0
	if down != nil {
		unknown = tooManyUnknown // mails can go out all the same
	}
	for a := range b.Ledger.Accounts(0) {
		for _, ref := range a.User().Invoices {
			if !ref.Todo && (ref.State != ledger.Issued || b.Provider == nil) {
				continue
			}
			b.yield()
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := b.advance(ctx, ref.ID, unknown < tooManyUnknown && !b.stuck[ref.ID].until.After(b.Now()))
			switch {
			case err == nil:
			case errors.Is(err, ErrUnknown):
				unknown++
				b.Log.Warn("what became of a call to the payment provider is not known yet", "invoice", ref.ID, "error", err)
			default:
				return err
			}
		}
		if unknown < tooManyUnknown {
			if err := b.attend(ctx, a, &unknown); err != nil {
				return err
			}
		}
		if err := b.standing(a.User()); err != nil {
			return err
		}
	}
	return down
}

// advance takes an invoice through all its steps that are due. It returns the
// first refusal, which is no error: it is noted with the invoice.
func (b *Billing) advance(ctx context.Context, id ledger.InvoiceID, reachable bool) (refused *Rejection, err error) {
	i, err := b.Ledger.Invoice(id)
	if err != nil {
		return nil, err
	}
	for reachable && b.Provider != nil {
		op := b.nextOp(i)
		if op == "" {
			break
		}
		next, no, err := b.step(ctx, i, op)
		if errors.Is(err, ErrUnknown) {
			s := b.stuck[id]
			s.times++
			s.until = b.Now().Add(min(time.Minute<<min(s.times, 5), 30*time.Minute))
			b.stuck[id] = s
		}
		if err != nil {
			return refused, err
		}
		delete(b.stuck, id)
		if i = next; refused == nil {
			refused = no
		}
	}
	return refused, b.sendMails(ctx, i)
}

// nextOp is what is to be done at the provider about an invoice now.
func (b *Billing) nextOp(i *ledger.Invoice) string {
	waits := i.Next.After(b.Now())
	switch {
	case i.Intent != nil:
		return i.Intent.Op
	case i.Due() == 0 || waits:
		return ""
	case i.Provider == "":
		return opPush
	case i.State == ledger.Issued || !i.Next.IsZero():
		return opPay
	}
	return ""
}

// step does one operation: its intent is durable before the call, its outcome
// after it. When the call's outcome is not known the intent stays, and the next
// step makes the same call with the same key.
func (b *Billing) step(ctx context.Context, i *ledger.Invoice, op string) (next *ledger.Invoice, refused *Rejection, err error) {
	u := b.Ledger.Account(i.User).User()
	if op == opPay && i.Intent == nil {
		if u.PaymentMethod == "" {
			next, err = b.record(i, "billing", func(i *ledger.Invoice) { b.declined(i, &Decline{Code: noMethod, Authenticate: true}) })
			return next, nil, err
		}
		if i.Failure == authenticate { // to collect again is in vain: only the customer can
			next, err = b.look(ctx, i)
			return next, nil, err
		}
	}
	resumed := i.Intent != nil
	if !resumed || b.Now().Sub(i.Intent.At) > keyLife && !foundByKey(op) {
		if resumed && op == opPay {
			// The key may be forgotten: look before paying under another.
			if seen, err := b.look(ctx, i); err != nil || seen.Intent == nil {
				return seen, nil, err
			}
		}
		if i, err = b.record(i, "billing", func(i *ledger.Invoice) { b.begin(i, op) }); err != nil {
			return nil, nil, err
		}
	}
	charge, err := b.call(ctx, u, i, !resumed && i.Tries == 1)
	switch {
	case errors.As(err, &refused):
		b.Log.Warn("the payment provider refused", "invoice", i.ID, "operation", op, "error", err)
		next, err = b.refused(ctx, i, refused)
		return next, refused, err
	case err != nil && !errors.Is(err, ErrUnknown):
		return nil, nil, fmt.Errorf("%w: %s of invoice %d: %w", ErrUnknown, op, i.ID, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%s of invoice %d: %w", op, i.ID, err)
	}
	next, err = b.record(i, "provider", func(i *ledger.Invoice) { b.outcome(i, charge) })
	return next, nil, err
}

// foundByKey tells that what an operation did is found at the provider by its key
// for ever, so that it must be tried again with the same one.
func foundByKey(op string) bool { return op == opCredit || op == opRefund }

// asked tells that an operation is done once, for somebody who is told when it is
// refused. The invoice goes on as it was then.
func asked(op string) bool {
	return op == opCredit || op == opRefund || op == opVoid || op == opSettle
}

// refused takes the refusal of an intent. It may be due to what happened to the
// invoice at the provider without us, which is taken up then.
func (b *Billing) refused(ctx context.Context, i *ledger.Invoice, r *Rejection) (*ledger.Invoice, error) {
	op := i.Intent.Op
	var found Charge
	if i.Provider != "" && !r.Retry {
		if c, err := b.Provider.Charge(ctx, i.Provider); err == nil && c.State != ChargeOpen && c.State != ChargeDraft {
			found = c
		}
	}
	return b.record(i, "provider", func(i *ledger.Invoice) {
		i.Intent = nil
		if found.ID != "" {
			b.take(i, found)
		}
		if i.State.Settled() || asked(op) || found.State == ChargeUncollectible {
			return
		}
		i.Failure, i.Next = r.Error(), b.Now().Add(later)
		if r.Retry {
			i.Next = b.Now().Add(soon)
		}
	})
}

// begin makes the intent of an operation. One that is there already is given up
// for it: its key may be forgotten, and a look has shown that it did nothing.
func (b *Billing) begin(i *ledger.Invoice, op string) {
	i.Tries++
	next := &ledger.Intent{Op: op, Attempt: i.Tries, At: b.Now()}
	if i.Intent != nil {
		next.Amount, next.Reason, next.By = i.Intent.Amount, i.Intent.Reason, i.Intent.By
	}
	next.Key = fmt.Sprintf("tollgate-%s-%d-invoice-%d-%s-%d", b.id, b.epoch, i.ID, op, i.Tries)
	i.Intent = next
}

// call makes the call of an invoice's intent.
func (b *Billing) call(ctx context.Context, u *ledger.User, i *ledger.Invoice, fresh bool) (Charge, error) {
	switch in := i.Intent; in.Op {
	case opPush:
		customer, err := b.customer(ctx, u)
		if err != nil {
			return Charge{}, err
		}
		r := InvoiceRequest{
			Owner: b.owner(u.ID), Key: in.Key, Invoice: i.ID, Customer: customer, Number: i.NumberText(), Period: i.Month.String(),
			Currency: b.currency, Total: i.Due(), Fresh: fresh,
		}
		for _, l := range i.Lines {
			r.Lines = append(r.Lines, ChargeLine{l.Description, l.Amount})
		}
		if i.Advance != 0 {
			r.Lines = append(r.Lines, ChargeLine{"Charged before", -i.Advance})
		}
		if i.Credited != 0 { // before the provider had it
			r.Lines = append(r.Lines, ChargeLine{"Credit", -i.Credited})
		}
		return b.Provider.Push(ctx, r)
	case opPay:
		return b.Provider.Pay(ctx, PayRequest{Key: in.Key, ID: i.Provider})
	case opVoid:
		return b.Provider.Void(ctx, in.Key, i.Provider)
	case opSettle:
		return b.Provider.Settle(ctx, in.Key, i.Provider)
	case opCredit, opRefund:
		return b.Provider.Credit(ctx, CreditRequest{
			Owner: b.owner(u.ID), Key: in.Key, ID: i.Provider, Amount: in.Amount, Reason: in.Reason, Refund: in.Op == opRefund,
		})
	default:
		return Charge{}, &Rejection{Message: "tollgate does not know the operation " + in.Op}
	}
}

// outcome takes the answer to an intent.
func (b *Billing) outcome(i *ledger.Invoice, c Charge) {
	in := i.Intent
	i.Intent = nil
	switch in.Op {
	case opSettle:
		i.PaidBy = in.Reason
	case opCredit:
		i.Credited += in.Amount
		if i.Due() == 0 {
			b.paid(i, i.Collected)
		}
		return
	case opRefund:
		i.Refunded += in.Amount
		return
	}
	b.take(i, c)
}

// take brings an invoice up to what the provider says of it.
func (b *Billing) take(i *ledger.Invoice, c Charge) {
	if i.Provider == "" {
		i.Provider = c.ID
	}
	i.URL, i.Disputed = c.URL, c.Disputed
	due := i.Asked()
	if !i.State.Settled() && c.Total > 0 && (c.State == ChargeOpen || c.State == ChargePaid) {
		// What was taken off before the provider had it is not in its total.
		i.Credited = min(max(i.Credited, due-c.Total+c.Credited), due-i.Collected)
	}
	switch {
	case i.State.Settled():
	case c.State == ChargePaid:
		b.paid(i, due-i.Credited)
	case c.State == ChargeVoid:
		i.State, i.Next = ledger.Void, time.Time{}
	case c.State == ChargeUncollectible:
		i.State, i.Next = ledger.Uncollectible, time.Time{}
	case c.Decline != nil:
		b.declined(i, c.Decline)
	}
	i.Refunded = min(max(i.Refunded, c.Refunded), i.Collected)
}

func (b *Billing) paid(i *ledger.Invoice, collected int64) {
	i.State, i.Collected, i.PaidAt = ledger.Paid, collected, b.Now()
	i.Failure, i.Next = "", time.Time{}
}

// authenticate is the failure of a card that the customer must confirm.
const authenticate = "authentication_required"

// declined counts a failed attempt: the next is later, until there is none.
func (b *Billing) declined(i *ledger.Invoice, d *Decline) {
	now := b.Now()
	first := i.Attempts == 0
	i.State, i.Failure, i.Failed, i.Next = ledger.PastDue, d.Code, now, time.Time{}
	if d.Authenticate && d.Code != noMethod {
		i.Failure = authenticate
	}
	if after := b.settings.Load().RetryAfter; i.Attempts < len(after) {
		i.Next = now.Add(after[i.Attempts])
	} else {
		i.State = ledger.Uncollectible
	}
	i.Attempts++
	if first || i.State == ledger.Uncollectible {
		i.Tell = append(i.Tell, ledger.Notice{
			Code: ledger.PaymentFailed, Subject: fmt.Sprintf("invoice %d", i.ID), Invoice: i.ID, Amount: i.Due(), Failure: i.Failure,
		})
		b.queueMail(i, MailFailed, now)
	}
}

// look fetches what became of an invoice at the provider. One that waits for the
// customer is counted as tried.
func (b *Billing) look(ctx context.Context, i *ledger.Invoice) (*ledger.Invoice, error) {
	c, err := b.Provider.Charge(ctx, i.Provider)
	if err != nil {
		return nil, fmt.Errorf("%w: look at invoice %d: %w", ErrUnknown, i.ID, err)
	}
	return b.record(i, "provider", func(i *ledger.Invoice) {
		open := c.State == ChargeOpen
		switch {
		case i.Intent != nil && open: // the intent did nothing; another is begun
			return
		case open:
			c.Decline = &Decline{Code: i.Failure, Authenticate: true}
		}
		i.Intent = nil
		b.take(i, c)
	})
}

// record logs a change of an invoice.
func (b *Billing) record(i *ledger.Invoice, by string, change func(*ledger.Invoice)) (*ledger.Invoice, error) {
	return b.Ledger.ChangeInvoice(b.Now(), by, i.ID, func(i *ledger.Invoice) error { change(i); return nil })
}

func (b *Billing) owner(u ledger.UserID) Owner { return Owner{Ledger: b.id, Epoch: b.epoch, User: u} }

// standing suspends a user whose invoice was not paid for long, and lifts exactly
// that when it is.
func (b *Billing) standing(u *ledger.User) error {
	after := b.settings.Load().SuspendAfter
	switch {
	case u.Status == ledger.Suspended && u.SuspendedFor == "payment" && !u.Owes():
		return b.changeUser(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Active, "" })
	case u.Status != ledger.Active:
		return nil
	case u.Reversed():
		b.Log.Info("a user is suspended", "user", u.ID, "for", "payment", "because", "money went back that was used")
		return b.changeUser(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
	case after == 0 || !u.Owes():
		return nil
	}
	for _, ref := range u.Payments {
		if ref.State == ledger.PaymentPastDue && b.Now().Sub(time.UnixMilli(ref.Made)) >= after {
			b.Log.Info("a user is suspended", "user", u.ID, "for", "payment", "payment", ref.ID)
			return b.changeUser(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
		}
	}
	for _, ref := range u.Invoices {
		if ref.State != ledger.PastDue && ref.State != ledger.Uncollectible {
			continue
		}
		i, err := b.Ledger.Invoice(ref.ID)
		if err != nil {
			return err
		}
		if b.Now().Sub(i.Made) >= after {
			b.Log.Info("a user is suspended", "user", u.ID, "for", "payment", "invoice", i.ID)
			return b.changeUser(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
		}
	}
	return nil
}

func (b *Billing) changeUser(id ledger.UserID, change func(*ledger.User)) error {
	_, err := b.Ledger.ChangeUser(b.Now(), "billing", id, func(u *ledger.User) error { change(u); return nil })
	return err
}
