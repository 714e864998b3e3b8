package ledger

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// InvoiceRef is what is kept in memory of an invoice. The whole of it is read
// from the log.
type InvoiceRef struct {
	ID    InvoiceID    `json:"id"`
	Month Month        `json:"month"`
	Seq   uint64       `json:"seq"` // the newest entry
	State InvoiceState `json:"state"`
	Due   int64        `json:"due,omitempty"`  // minor units
	Todo  bool         `json:"todo,omitempty"` // an intent, a mail or an attempt to collect waits
}

// billing is what is folded of all invoices together.
type billing struct {
	Numbered   uint32           `json:"numbered,omitempty"` // the highest number
	Books      map[string]int64 `json:"books,omitempty"`    // account to minor units; they sum to zero
	Provider   Provider         `json:"provider,omitzero"`
	Seq        uint64           `json:"seq,omitempty"`        // the last entry in Books
	Receipts   uint32           `json:"receipts,omitempty"`   // the highest number
	Reconciled int              `json:"reconciled,omitempty"` // the epoch that was compared with the provider
}

// Provider is the provider's account that a ledger belongs to for ever.
type Provider struct {
	Account string `json:"account"`
	Live    bool   `json:"live,omitempty"`
}

// Owes tells whether an invoice of the user, or usage charged as it came, could not
// be collected, or the money of a payment went back that was used already.
func (u *User) Owes() bool {
	return slices.ContainsFunc(u.Invoices, func(r InvoiceRef) bool { return r.State == PastDue || r.State == Uncollectible }) ||
		slices.ContainsFunc(u.Payments, func(r PaymentRef) bool { return r.State == PaymentPastDue }) || u.Reversed()
}

// Reversed tells whether the money of a payment went back that was used already, and
// was not paid again.
func (u *User) Reversed() bool {
	return slices.ContainsFunc(u.Payments, func(r PaymentRef) bool {
		return r.Owed != 0 || r.AskedIn != 0 && slices.ContainsFunc(u.Invoices, func(i InvoiceRef) bool { return i.ID == r.AskedIn && !i.State.Settled() })
	})
}

// InvoiceOf is the user's invoice of a month: the newest that is not void, else
// the newest. The second result is false when the month was never billed.
func (u *User) InvoiceOf(m Month) (ref InvoiceRef, ok bool) {
	for _, r := range u.Invoices {
		if r.Month == m && (!ok || r.State != Void || ref.State == Void) {
			ref, ok = r, true
		}
	}
	return ref, ok
}

// todo tells whether something waits to be done about i.
func (i *Invoice) todo() bool {
	if i.Intent != nil || !i.Next.IsZero() {
		return true
	}
	return slices.ContainsFunc(i.Mails, func(m Mail) bool { return m.Sent.IsZero() && !m.GivenUp })
}

func (i *Invoice) ref(seq uint64) InvoiceRef {
	return InvoiceRef{ID: i.ID, Month: i.Month, Seq: seq, State: i.State, Due: i.Due(), Todo: i.todo()}
}

// AddInvoices logs new invoices in one commit, so that either all are there or
// none. IDs and Made are set here, and Number where something is due and the
// invoice is not adopted with the number that it has. A user has
// one invoice a month, save that a new one may replace one that is void: else
// ErrExists.
func (l *Ledger) AddInvoices(now time.Time, by string, list []Invoice) ([]*Invoice, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	now = l.notBefore(now)
	l.state.mu.RLock()
	next, number := InvoiceID(len(l.state.invoices)), l.state.billing.Numbered
	l.state.mu.RUnlock()
	made, bodies := make([]*Invoice, len(list)), make([]body, 0, len(list))
	var debts []PaymentID
	for n := range list {
		i := list[n]
		i.ID, i.Made = next, now
		if !i.Adopted {
			i.Number = 0
		}
		if i.Total-i.Carried > 0 && !i.Adopted {
			number++
			i.Number = number
		}
		next++
		moves, err := i.follows(nil)
		if err == nil {
			err = l.state.admits(&i)
		}
		if err == nil && slices.ContainsFunc(list[:n], func(o Invoice) bool { return o.User == i.User && o.Month == i.Month }) {
			err = ErrExists
		}
		if err != nil {
			return nil, fmt.Errorf("invoice of user %d for %v: %w", i.User, i.Month, err)
		}
		asked, err := l.askFor(now, by, &i, &debts)
		if err != nil {
			return nil, fmt.Errorf("invoice of user %d for %v: %w", i.User, i.Month, err)
		}
		notices := i.Tell
		i.Tell = nil
		bodies = append(append(bodies, entered{i, moves, by}), asked...)
		bodies = append(bodies, l.noticeBodies(now, i.User, notices)...)
		made[n] = &i
	}
	if len(list) == 0 {
		return nil, nil
	}
	if err := l.record(now, nil, bodies...); err != nil {
		return nil, fmt.Errorf("add %d invoices: %w", len(list), err)
	}
	return made, nil
}

// askFor is the entries of the payments whose debts a new invoice asks for. done is
// those that the commit has entries of.
func (l *Ledger) askFor(now time.Time, by string, i *Invoice, done *[]PaymentID) (bodies []body, err error) {
	for _, line := range i.Lines {
		if line.Payment == 0 {
			continue
		}
		old, err := l.Payment(i.User, line.Payment)
		if err != nil {
			return nil, err
		}
		if line.Kind != CarriedIn || line.Amount != old.Owed || old.Owed == 0 || slices.Contains(*done, old.ID) {
			return nil, fmt.Errorf("%w: a line of %d for payment %d, which owes %d", errInvoice, line.Amount, old.ID, old.Owed)
		}
		*done = append(*done, old.ID)
		p := *old
		p.Owed, p.AskedIn, p.Asked = 0, i.ID, old.Asked+old.Owed
		more, err := l.paymentBodies(now, by, old, &p)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, more...)
	}
	return bodies, nil
}

// askNoMore is the entries of the payments whose debts an invoice asked for that
// becomes void: they are owed again, save what has come again since.
func (l *Ledger) askNoMore(now time.Time, by string, i *Invoice) (bodies []body, err error) {
	for _, line := range i.Lines {
		if line.Payment == 0 {
			continue
		}
		old, err := l.Payment(i.User, line.Payment)
		if err != nil {
			return nil, err
		}
		p := *old
		p.Asked -= line.Amount
		p.Owed += min(line.Amount, p.Back()-p.Owed)
		if p.AskedIn == i.ID {
			p.AskedIn = 0
		}
		more, err := l.paymentBodies(now, by, old, &p)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, more...)
	}
	return bodies, nil
}

// ChangeInvoice lets change edit a copy of an invoice and logs the result: its
// state, what was paid, its intent, attempts and mails. What was sealed stays.
func (l *Ledger) ChangeInvoice(now time.Time, by string, id InvoiceID, change func(*Invoice) error) (*Invoice, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	old, err := l.Invoice(id)
	if err != nil {
		return nil, err
	}
	i := *old
	i.Lines, i.Head, i.Intent, i.Mails = slices.Clone(old.Lines), slices.Clone(old.Head), clonePointer(old.Intent), slices.Clone(old.Mails)
	if err := change(&i); err != nil {
		return nil, err
	}
	moves, err := i.follows(old)
	if err != nil {
		return nil, fmt.Errorf("change invoice %d: %w", id, err)
	}
	notices := i.Tell
	i.Tell = nil
	now = l.notBefore(now)
	var bodies []body
	if !reflect.DeepEqual(&i, old) {
		bodies = append(bodies, entered{i, moves, by})
	}
	if i.State == Void && old.State != Void {
		again, err := l.askNoMore(now, by, &i)
		if err != nil {
			return nil, fmt.Errorf("change invoice %d: %w", id, err)
		}
		bodies = append(bodies, again...)
	}
	bodies = append(bodies, l.noticeBodies(now, i.User, notices)...)
	if len(bodies) == 0 {
		return old, nil
	}
	if err := l.record(now, nil, bodies...); err != nil {
		return nil, fmt.Errorf("change invoice %d: %w", id, err)
	}
	return &i, nil
}

// Invoice reads an invoice as it is now. The caller owns it.
func (l *Ledger) Invoice(id InvoiceID) (*Invoice, error) {
	l.state.mu.RLock()
	var owner UserID
	if int(id) < len(l.state.invoices) {
		owner = l.state.invoices[id]
	}
	l.state.mu.RUnlock()
	if owner != 0 {
		for _, ref := range l.Account(owner).User().Invoices {
			if ref.ID == id {
				return l.invoiceAt(ref.Seq)
			}
		}
	}
	return nil, fmt.Errorf("invoice %d: %w", id, ErrNotFound)
}

func (l *Ledger) invoiceAt(seq uint64) (*Invoice, error) {
	var e entry
	if err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, seq, &e) }); err != nil {
		return nil, err
	}
	b, ok := e.body.(entered)
	if !ok {
		return nil, fmt.Errorf("%w: entry %d is no invoice", ErrCorrupt, seq)
	}
	return &b.Invoice, nil
}

// LastInvoice is the highest id that was given; 0 when there is no invoice.
func (l *Ledger) LastInvoice() InvoiceID {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return InvoiceID(len(l.state.invoices) - 1)
}

// Seal is what a period came to, and the entries that say so.
type Seal struct {
	Plans []PlanTotals
	First uint64 // an entry at or before the period's first
	Last  uint64 // the user's newest usage entry; 0: there is none
	Head  []byte // the chain's, after Last
}

// Seal reads the totals of a user's month and the entries that they stand for.
func (l *Ledger) Seal(user UserID, m Month) (Seal, error) {
	a := l.Account(user)
	if a == nil {
		return Seal{}, fmt.Errorf("seal %v of user %d: %w", m, user, ErrNotFound)
	}
	var s Seal
	for before := a.newest(); ; before = s.Last {
		var err error
		if s.Plans, err = l.Month(user, m); err != nil {
			return Seal{}, fmt.Errorf("seal %v of user %d: %w", m, user, err)
		}
		if s.Last = a.newest(); s.Last == before { // nothing came meanwhile
			break
		}
	}
	if s.Last == 0 {
		return s, nil
	}
	if err := view(l.db, func(tx *bolt.Tx) error {
		s.First = min(firstLogged(tx, l.PeriodOf(m).Start.Add(-MaxAhead).UnixMilli()), s.Last)
		return nil
	}); err != nil {
		return Seal{}, fmt.Errorf("seal %v of user %d: %w", m, user, err)
	}
	head, err := headAt(l.db, s.Last)
	if err != nil {
		return Seal{}, fmt.Errorf("seal %v of user %d: %w", m, user, err)
	}
	s.Head = head[:]
	return s, nil
}

func (a *Account) newest() uint64 {
	a.Lock()
	defer a.Unlock()
	return a.last
}

// headAt is the chain's head after an entry.
func headAt(db *bolt.DB, seq uint64) (head [32]byte, err error) {
	err = view(db, func(tx *bolt.Tx) error {
		found := errors.New("found")
		err := eachPacked(tx, seq, func(first uint64, value []byte) error {
			p, err := openPacked(first, value)
			if err != nil {
				return err
			}
			for head = p.at.head; p.at.seq < seq; {
				stored, err := p.next()
				if err != nil {
					return err
				}
				if stored == nil {
					return nil // the last one of the log: the tail follows
				}
				head = chain(head, stored)
			}
			return found
		})
		switch {
		case err == found:
			return nil
		case err == nil:
			return fmt.Errorf("entry %d: %w", seq, ErrNotFound)
		}
		return err
	})
	return head, err
}

// PinProvider ties the ledger to the provider's account. ErrMismatch when it is
// tied to another.
func (l *Ledger) PinProvider(now time.Time, p Provider) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	switch pinned := l.Provider(); {
	case pinned == p:
		return nil
	case pinned != Provider{}:
		return fmt.Errorf("pin the payment provider: %w: it belongs to account %s (live %v) and cannot go to %s (live %v)", ErrMismatch, pinned.Account, pinned.Live, p.Account, p.Live)
	}
	if err := l.record(l.notBefore(now), nil, providerPinned{p}); err != nil {
		return fmt.Errorf("pin the payment provider: %w", err)
	}
	return nil
}

// Provider is the provider's account that the ledger is tied to; the zero value
// when it is tied to none.
func (l *Ledger) Provider() Provider {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return l.state.billing.Provider
}

// Reconciled tells whether this epoch was compared with the provider. The first
// needs no comparison.
func (l *Ledger) Reconciled() bool {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return l.state.billing.Reconciled == len(l.state.epochs)
}

func (l *Ledger) epoch() int {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return len(l.state.epochs)
}

// Reconcile notes that this epoch was compared with the provider. Numbers go on
// above numbered, the highest that the provider has.
func (l *Ledger) Reconcile(now time.Time, by string, numbered uint32) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	if l.Reconciled() {
		return nil
	}
	if err := l.record(l.notBefore(now), nil, reconciled{l.epoch(), numbered, by}); err != nil {
		return fmt.Errorf("note the reconciliation: %w", err)
	}
	return nil
}

// Books is the balance of each account, in minor units. They sum to zero.
func (l *Ledger) Books() map[string]int64 {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return maps.Clone(l.state.billing.Books)
}
