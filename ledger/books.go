package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
)

// Move adds minor units to an account of the books. The moves of an entry sum to
// zero.
type Move struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
}

// The accounts of the books. What comes in or is owed to the operator is
// positive, where it came from is negative.
const (
	receivable = "receivable" // owed by customers
	carried    = "carried"    // owed, and too little to be asked for yet
	cash       = "cash"       // collected, less what was given back
	revenue    = "revenue"
	taxes      = "tax"
	credits    = "credited" // taken back from revenue by credit notes and refunds
	voided     = "voided"   // taken back with whole invoices
	sold       = "sold"     // credits that were paid for
	advance    = "advance"  // usage that was paid for before its invoice
)

// The kinds of invoice lines that the books tell apart.
const (
	CarriedIn = "carried_in"
	TaxLine   = "tax"
)

var errInvoice = errors.New("impossible invoice")

// follows tells whether an invoice can become i, nil being one that is not there
// yet, and what that moves in the books. The same rules hold what is logged and
// what is read.
func (i *Invoice) follows(old *Invoice) ([]Move, error) {
	var sum int64
	for _, line := range i.Lines {
		sum = plus(sum, line.Amount)
	}
	switch {
	case sum != i.Total || i.Advance < 0 || i.Total < i.Advance && i.Asked() != 0 || i.Carried != 0 && i.Asked() != 0:
		return nil, fmt.Errorf("%w: its lines come to %d, its total is %d, %d were paid in advance, %d are carried", errInvoice, sum, i.Total, i.Advance, i.Carried)
	case i.Collected < 0 || i.Credited < 0 || i.Refunded < 0 || i.Collected+i.Credited > i.Asked() || i.Refunded > i.Collected:
		return nil, fmt.Errorf("%w: of %d, %d were collected, %d credited and %d refunded", errInvoice, i.Asked(), i.Collected, i.Credited, i.Refunded)
	case i.State == Paid && i.Collected+i.Credited != i.Asked():
		return nil, fmt.Errorf("%w: it is paid, but of %d only %d were collected and %d credited", errInvoice, i.Asked(), i.Collected, i.Credited)
	case (i.Number != 0) != (i.Total-i.Carried > 0):
		return nil, fmt.Errorf("%w: its number is %d, and %d are due", errInvoice, i.Number, i.Total-i.Carried)
	}
	if old == nil {
		return i.begin()
	}
	was, is := *old, *i
	for _, v := range []*Invoice{&was, &is} { // what may change
		v.State, v.PaidAt, v.PaidBy, v.Collected, v.Credited, v.Refunded, v.Disputed = "", is.PaidAt, "", 0, 0, 0, false
		v.URL, v.Intent, v.Tries, v.Attempts, v.Failed, v.Failure, v.Next, v.Mails = "", nil, 0, 0, is.Failed, "", is.Next, nil
		v.Tell = nil
	}
	if was.Provider == "" {
		was.Provider = is.Provider
	}
	switch {
	case !reflect.DeepEqual(was, is):
		return nil, fmt.Errorf("%w: what was sealed cannot change", errInvoice)
	case !old.State.leadsTo(i.State):
		return nil, fmt.Errorf("%w: from %s it cannot become %s", errInvoice, old.State, i.State)
	case i.Tries < old.Tries || i.Intent != nil && old.Intent != nil && i.Intent.Key != old.Intent.Key && i.Tries == old.Tries:
		return nil, fmt.Errorf("%w: an intent is replaced without an outcome", errInvoice)
	case i.Collected < old.Collected || i.Credited < old.Credited || i.Refunded < old.Refunded:
		return nil, fmt.Errorf("%w: what was paid or given back cannot become less", errInvoice)
	}
	var b moves
	b.move(receivable, cash, i.Collected-old.Collected)
	b.move(receivable, credits, i.Credited-old.Credited)
	b.move(cash, credits, i.Refunded-old.Refunded)
	if i.State == Void && old.State != Void {
		again := old.carriedIn()
		b.move(receivable, carried, again) // the next one takes it up again
		b.move(receivable, voided, old.Asked()-old.Collected-old.Credited-again)
		b.move(advance, voided, old.Advance) // it pays for the replacement
	}
	return b, nil
}

// carriedIn is what it took up of the invoices before it.
func (i *Invoice) carriedIn() (sum int64) {
	for _, line := range i.Lines {
		if line.Kind == CarriedIn {
			sum = plus(sum, line.Amount)
		}
	}
	return sum
}

// begin is the moves of a new invoice.
func (i *Invoice) begin() ([]Move, error) {
	due := i.Asked()
	if i.State != Issued && i.State != Paid || (i.State == Issued) != (due > 0) || i.Collected+i.Credited+i.Refunded != 0 || i.User == 0 {
		return nil, fmt.Errorf("%w: it cannot begin as %s with %d due", errInvoice, i.State, due)
	}
	var b moves
	for _, line := range i.Lines {
		switch line.Kind {
		case CarriedIn:
			b.move(carried, receivable, line.Amount)
		case TaxLine:
			b.move(taxes, receivable, line.Amount)
		default:
			b.move(revenue, receivable, line.Amount)
		}
	}
	b.move(receivable, carried, i.Carried)
	b.move(receivable, advance, i.Advance)
	return b, nil
}

// leadsTo tells which states may follow. A payment may come in any of them, and
// may be lost again to a dispute.
func (s InvoiceState) leadsTo(next InvoiceState) bool {
	switch s {
	case next:
		return true
	case Issued, PastDue, Uncollectible:
		return next == Paid || next == PastDue || next == Uncollectible || next == Void
	case Paid:
		return next == PastDue
	}
	return false
}

// moves adds up what goes from one account to another.
type moves []Move

func (b *moves) move(from, to string, amount int64) {
	b.add(from, -amount)
	b.add(to, amount)
}

func (b *moves) add(account string, amount int64) {
	for n := range *b {
		if (*b)[n].Account == account {
			(*b)[n].Amount += amount
			return
		}
	}
	if amount != 0 {
		*b = append(*b, Move{account, amount})
	}
}

// admits tells whether a new invoice has its place: the user is there, and the
// month was not billed.
func (s *state) admits(i *Invoice) error {
	a := s.account(i.User)
	if i.User == 0 || a == nil {
		return fmt.Errorf("user %d: %w", i.User, ErrNotFound)
	}
	ref, ok := a.User().InvoiceOf(i.Month)
	switch {
	case ok && ref.State != Void:
		return fmt.Errorf("invoice %d: %w", ref.ID, ErrExists)
	case ok && i.Replaces != ref.ID || !ok && i.Replaces != 0:
		return fmt.Errorf("%w: it replaces invoice %d", errInvoice, i.Replaces)
	case i.Advance != a.User().Advance(i.Month):
		return fmt.Errorf("%w: %d were paid in advance, it says %d", errInvoice, a.User().Advance(i.Month), i.Advance)
	}
	return nil
}

// enter folds an invoice entry. It is called under mu. The rows that a replay
// begins with may have the entry already.
func (s *state) enter(seq uint64, b *entered) error {
	i := &b.Invoice
	if i.User == 0 || int(i.User) >= len(s.accounts) {
		return fmt.Errorf("%w: invoice of user %d, who was never added", errMalformed, i.User)
	}
	s.book(seq, b.Moves)
	if int(i.ID) >= len(s.invoices) || s.invoices[i.ID] == 0 {
		if err := s.place(i.User, i.ID); err != nil {
			return err
		}
	}
	refs := s.accounts[i.User].User().Invoices
	at := len(refs)
	for n := range refs {
		if refs[n].ID == i.ID {
			at = n
		}
	}
	if at < len(refs) && refs[at].Seq >= seq {
		return nil
	}
	s.billing.Numbered = max(s.billing.Numbered, i.Number)
	return s.changeUser(i.User, func(u *User) {
		next := append(refs[:0:0], refs...)
		if at == len(next) {
			next = append(next, InvoiceRef{})
		}
		next[at] = i.ref(seq)
		u.Invoices = next
	})
}

// place notes whose an invoice is.
func (s *state) place(user UserID, id InvoiceID) error {
	if id == 0 || id > maxID {
		return fmt.Errorf("%w: invoice %d", errMalformed, id)
	}
	for len(s.invoices) <= int(id) {
		s.invoices = append(s.invoices, 0)
	}
	if s.invoices[id] != 0 {
		return fmt.Errorf("%w: invoice %d twice", errMalformed, id)
	}
	s.invoices[id] = user
	return nil
}

// invoiceAt reads an invoice from the log that is verified; nil when it is not there.
func (v *verifier) invoiceAt(seq uint64, s *state) *Invoice {
	b, ok := v.bodyAt(seq, s).(entered)
	if !ok {
		return nil
	}
	return &b.Invoice
}

// inspectInvoice proves that an invoice entry follows from the one before it.
func (v *verifier) inspectInvoice(seq uint64, b entered, s *state) {
	var old *Invoice
	i := &b.Invoice
	if a := s.account(i.User); a != nil && i.User != 0 {
		for _, ref := range a.User().Invoices {
			if ref.ID == i.ID {
				old = v.invoiceAt(ref.Seq, s)
				if old == nil {
					v.problem("entry %d: invoice %d cannot be read at entry %d", seq, i.ID, ref.Seq)
					return
				}
			}
		}
	}
	if old != nil && old.State != Void && i.State == Void {
		for _, line := range i.Lines {
			if line.Payment != 0 {
				v.debts = append(v.debts, debt{i.User, line.Payment, 0, -line.Amount})
			}
		}
	}
	if old == nil {
		if err := s.admits(i); err != nil {
			v.problem("entry %d: invoice %d: %v", seq, i.ID, err)
		}
		for _, line := range i.Lines {
			if line.Payment != 0 {
				v.debts = append(v.debts, debt{i.User, line.Payment, i.ID, line.Amount})
			}
		}
		if int(i.ID) != len(s.invoices) {
			v.problem("entry %d: invoice %d follows invoice %d", seq, i.ID, len(s.invoices)-1)
		}
		if i.Number != 0 && i.Number != s.billing.Numbered+1 && !i.Adopted {
			v.problem("entry %d: invoice number %d follows number %d", seq, i.Number, s.billing.Numbered)
		}
	}
	if i.Provider != "" {
		id := sha256.Sum256([]byte(i.Provider))
		if other, taken := v.atProvider[id]; taken && other != i.ID {
			v.problem("entry %d: invoice %d is %s at the provider, which invoice %d is already", seq, i.ID, i.Provider, other)
		}
		v.atProvider[id] = i.ID
	}
	if i.Last != 0 {
		if head, err := headAt(v.src, i.Last); err != nil || i.Last >= seq || !bytes.Equal(head[:], i.Head) {
			v.problem("entry %d: what invoice %d was sealed with is not on the chain at entry %d (%v)", seq, i.ID, i.Last, err)
		}
	}
	moves, err := i.follows(old)
	if err != nil || !bytes.Equal(mustJSON(moves), mustJSON(b.Moves)) {
		v.problem("entry %d: invoice %d moves %v, by its lines it would be %v (%v)", seq, i.ID, b.Moves, moves, err)
	}
}
