package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// paymentEntered is a payment as it is from then on, and what that moves in the
// books.
type paymentEntered struct {
	Payment Payment `json:"payment"`
	Moves   []Move  `json:"moves,omitempty"`
	By      string  `json:"by,omitempty"`
}

func (paymentEntered) kind() kind { return kindPayment }

var errPayment = errors.New("impossible payment")

// Back is what was given or taken back of a payment, in minor units.
func (p *Payment) Back() int64 { return min(plus(p.Refunded, p.Disputed), p.Total) }

// Buys tells whether the payment is for credits.
func (k PaymentKind) Buys() bool { return k == PurchasePayment || k == RechargePayment }

// follows tells whether a payment can become p, nil being one that is not there
// yet, and what that moves in the books.
func (p *Payment) follows(old *Payment) ([]Move, error) {
	if err := p.possible(); err != nil {
		return nil, err
	}
	was := Payment{State: PaymentPending}
	if old != nil {
		was = *old
		a, b := *old, *p
		for _, v := range []*Payment{&a, &b} { // what may change
			v.State, v.Number, v.PaidAt, v.Refunded, v.Disputed, v.Owed, v.AskedIn, v.Asked = "", 0, b.PaidAt, 0, 0, 0, 0, 0
			v.Method, v.PaidBy, v.Provider, v.URL, v.Intent, v.Tries, v.Attempts, v.Failed, v.Failure, v.Next = "", "", "", "", nil, 0, 0, b.Failed, "", b.Next
			v.Tell = nil
		}
		if !reflect.DeepEqual(a, b) {
			return nil, fmt.Errorf("%w: what it is for cannot change", errPayment)
		}
	}
	switch {
	case !was.State.leadsTo(p.State, p.Kind) || old == nil && p.State != PaymentPending:
		return nil, fmt.Errorf("%w: from %s it cannot become %s", errPayment, was.State, p.State)
	case was.Number != 0 && was.Number != p.Number:
		return nil, fmt.Errorf("%w: the number of its receipt cannot change", errPayment)
	case p.Tries < was.Tries || p.Intent != nil && was.Intent != nil && p.Intent.Key != was.Intent.Key && p.Tries == was.Tries:
		return nil, fmt.Errorf("%w: an intent is replaced without an outcome", errPayment)
	case p.PaidBy != was.PaidBy && (p.PaidBy == "" || p.Owed != 0 || was.Owed == 0 || p.AskedIn != was.AskedIn || p.Back() != was.Back()):
		return nil, fmt.Errorf("%w: what it owes was paid by %q", errPayment, p.PaidBy)
	case p.Asked > was.Asked && (p.AskedIn == 0 || p.AskedIn == was.AskedIn || p.Owed != 0 || p.Asked != was.Asked+was.Owed):
		return nil, fmt.Errorf("%w: invoice %d asks for what it owes", errPayment, p.AskedIn)
	case p.Asked <= was.Asked && p.AskedIn != was.AskedIn && (p.AskedIn != 0 || p.Asked == was.Asked):
		return nil, fmt.Errorf("%w: invoice %d asks for nothing", errPayment, p.AskedIn)
	case p.Asked < was.Asked && (p.Asked < 0 || p.Owed < was.Owed || p.Owed > was.Owed+was.Asked-p.Asked || p.Back() != was.Back() || p.PaidBy != was.PaidBy):
		return nil, fmt.Errorf("%w: of %d that an invoice asked for, %d are owed again", errPayment, was.Asked-p.Asked, p.Owed-was.Owed)
	}
	var b moves
	if p.State == PaymentPaid && was.State != PaymentPaid {
		for _, line := range p.Lines {
			b.move(p.source(line.Kind), cash, line.Amount)
		}
	}
	to := sold
	if !p.Kind.Buys() {
		to = credits
	}
	owed := p.Owed - was.Owed
	if p.Asked < was.Asked {
		b.move(carried, to, was.Asked-p.Asked-owed) // it came again since
	}
	if p.Asked != was.Asked {
		owed = 0 // the invoice moves it
	}
	b.move(cash, carried, owed)
	if p.PaidBy != was.PaidBy {
		owed = 0 // it was paid
	}
	b.move(cash, to, p.Back()-was.Back()-owed)
	return b, nil
}

// source is the account that a paid line comes from.
func (p *Payment) source(kind string) string {
	switch {
	case kind == TaxLine && p.Kind.Buys():
		return taxes
	case p.Kind.Buys():
		return sold
	}
	return advance // tax is on the invoice that it is for
}

// possible tells whether a payment can be as it is.
func (p *Payment) possible() error {
	var sum int64
	for _, line := range p.Lines {
		if line.Amount < 0 {
			return fmt.Errorf("%w: a line of %d", errPayment, line.Amount)
		}
		sum = plus(sum, line.Amount)
	}
	switch buys := p.Kind.Buys(); {
	case p.User == 0 || !buys && p.Kind != RealtimePayment:
		return fmt.Errorf("%w: of kind %q by user %d", errPayment, p.Kind, p.User)
	case sum != p.Total || p.Total <= 0:
		return fmt.Errorf("%w: its lines come to %d, its total is %d", errPayment, sum, p.Total)
	case buys != (p.Credits != 0) || p.Credits < 0 || p.Credits > MaxCredits || !fitsExpiry(p.Expires):
		return fmt.Errorf("%w: a %s of %v credits that expire at %v", errPayment, p.Kind, p.Credits, p.Expires)
	case (p.State == PaymentPaid) != (p.Number != 0):
		return fmt.Errorf("%w: it is %s, and the number of its receipt is %d", errPayment, p.State, p.Number)
	case p.Refunded < 0 || p.Disputed < 0 || p.Owed < 0 || p.Owed > p.Back() || p.State != PaymentPaid && p.Refunded|p.Disputed != 0:
		return fmt.Errorf("%w: of %d, %d were refunded, %d disputed, and %d are owed", errPayment, p.Total, p.Refunded, p.Disputed, p.Owed)
	}
	return nil
}

func (s PaymentState) leadsTo(next PaymentState, k PaymentKind) bool {
	switch s {
	case next:
		return true
	case PaymentPending:
		return next == PaymentPaid || next == PaymentGivenUp || next == PaymentPastDue && k == RealtimePayment
	case PaymentPastDue:
		return next == PaymentPaid || next == PaymentGivenUp
	case PaymentGivenUp: // the customer was quicker
		return next == PaymentPaid && k == PurchasePayment
	}
	return false
}

// AddPayment logs a payment that begins. ID, Epoch, Made, Month where it has none,
// and State are set here. ErrNotFound when there is no such user.
func (l *Ledger) AddPayment(now time.Time, by string, p Payment) (*Payment, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(p.User)
	if a == nil {
		return nil, fmt.Errorf("add a payment of user %d: %w", p.User, ErrNotFound)
	}
	now = l.notBefore(now)
	p.ID, p.Made, p.State, p.Epoch = 0, now, PaymentPending, l.epoch()
	if !p.Expires.IsZero() { // to what is kept of a grant, which must not fail when the money is there
		p.Expires = time.UnixMilli(p.Expires.UnixMilli()).UTC()
	}
	if p.Month == 0 {
		p.Month = l.PeriodAt(now).Month
	}
	moves, err := p.follows(nil)
	switch {
	case err != nil || !p.Kind.Buys():
	case !p.Expires.IsZero() && !p.Expires.After(now):
		err = fmt.Errorf("%w: its credits expire at %v", errPayment, p.Expires)
	default:
		err = a.copyOf().grant(p.grant())
	}
	if err != nil {
		return nil, fmt.Errorf("add a payment of user %d: %w", p.User, err)
	}
	if err := l.record(now, nil, paymentEntered{p, moves, by}); err != nil {
		return nil, fmt.Errorf("add a payment of user %d: %w", p.User, err)
	}
	refs := a.User().Payments
	p.ID = refs[len(refs)-1].ID
	return &p, nil
}

// ChangePayment lets change edit a copy of a payment and logs the result, with
// the notices that it was given. Where the payment becomes paid, it gets the next
// number, and the credits that it bought are granted in the same commit.
func (l *Ledger) ChangePayment(now time.Time, by string, user UserID, id PaymentID, change func(*Payment) error) (*Payment, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	old, err := l.Payment(user, id)
	if err != nil {
		return nil, err
	}
	p := *old
	p.Lines, p.Intent = slices.Clone(old.Lines), clonePointer(old.Intent)
	if err := change(&p); err != nil {
		return nil, err
	}
	if p.AskedIn != old.AskedIn || p.Asked != old.Asked {
		return nil, fmt.Errorf("change payment %d: %w: only invoices ask for what it owes", id, errPayment)
	}
	now = l.notBefore(now)
	bodies, err := l.paymentBodies(now, by, old, &p)
	if err != nil || bodies == nil {
		return old, err
	}
	if err := l.record(now, nil, bodies...); err != nil {
		return nil, fmt.Errorf("change payment %d: %w", id, err)
	}
	p.Tell = nil
	return &p, nil
}

// paymentBodies is the entries that make p of old; nil where nothing differs.
func (l *Ledger) paymentBodies(now time.Time, by string, old, p *Payment) ([]body, error) {
	paid := p.State == PaymentPaid && old.State != PaymentPaid
	if paid {
		l.state.mu.RLock()
		p.Number = l.state.billing.Receipts + 1
		l.state.mu.RUnlock()
	}
	notices := p.Tell
	p.Tell = nil
	moves, err := p.follows(old)
	if err != nil {
		return nil, fmt.Errorf("change payment %d: %w", p.ID, err)
	}
	tell := l.noticeBodies(now, p.User, notices)
	if reflect.DeepEqual(p, old) {
		return tell, nil
	}
	bodies := []body{paymentEntered{*p, moves, by}}
	if paid && p.Credits > 0 {
		purse := l.Account(p.User).copyOf()
		back, left := purse.seq, p.grant()
		if err := purse.grant(left); err != nil {
			return nil, fmt.Errorf("grant the credits of payment %d: %w", p.ID, err)
		}
		g := Grant{Source: left.Source, Amount: left.Amount, Expires: left.Expires, Reference: p.ReceiptText()}
		bodies = append(bodies, granted{User: p.User, Grant: g, By: by, Back: back, Payment: p.ID})
	}
	return append(bodies, tell...), nil
}

// grant is the credits that a payment buys; their entry is still to come.
func (p *Payment) grant() Left { return Left{1, Purchase, p.Credits, p.Expires} }

// Payment reads a payment as it is now. The caller owns it.
func (l *Ledger) Payment(user UserID, id PaymentID) (*Payment, error) {
	if a := l.Account(user); a != nil {
		if ref, ok := a.User().payment(id); ok {
			return l.paymentAt(ref)
		}
	}
	return nil, fmt.Errorf("payment %d of user %d: %w", id, user, ErrNotFound)
}

func (u *User) payment(id PaymentID) (PaymentRef, bool) {
	n, ok := slices.BinarySearchFunc(u.Payments, id, func(r PaymentRef, id PaymentID) int {
		return int(int64(r.ID) - int64(id))
	})
	if !ok {
		return PaymentRef{}, false
	}
	return u.Payments[n], true
}

// PaymentRef is what is kept in memory of a payment of the user.
func (u *User) PaymentRef(id PaymentID) (PaymentRef, bool) { return u.payment(id) }

// Advance is what the user has paid of a month before its invoice, in minor units.
func (u *User) Advance(m Month) (sum int64) {
	for _, r := range u.Payments { // not in the order of months: the rest of one is charged in the next
		if r.Kind == RealtimePayment && r.State == PaymentPaid && r.Month == m {
			sum += r.Total
		}
	}
	return sum
}

func (l *Ledger) paymentAt(ref PaymentRef) (*Payment, error) {
	var e entry
	if err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, ref.Seq, &e) }); err != nil {
		return nil, err
	}
	b, ok := e.body.(paymentEntered)
	if !ok {
		return nil, fmt.Errorf("%w: entry %d is no payment", ErrCorrupt, ref.Seq)
	}
	b.Payment.ID = ref.ID
	return &b.Payment, nil
}

func (p *Payment) todo() bool { return p.Intent != nil || !p.Next.IsZero() }

func (p *Payment) ref(seq uint64) PaymentRef {
	return PaymentRef{ID: p.ID, Seq: seq, Kind: p.Kind, State: p.State, Month: p.Month, Total: p.Total, Made: p.Made.UnixMilli(), Owed: p.Owed, AskedIn: p.AskedIn, Method: p.Method, Todo: p.todo()}
}

// enterPayment folds a payment entry. It is called under mu. The rows that a replay
// begins with may have the entry already.
func (s *state) enterPayment(seq uint64, b *paymentEntered) error {
	p := b.Payment
	if p.ID == 0 {
		p.ID = PaymentID(seq)
	}
	if p.User == 0 || int(p.User) >= len(s.accounts) {
		return fmt.Errorf("%w: payment of user %d, who was never added", errMalformed, p.User)
	}
	s.book(seq, b.Moves)
	s.billing.Receipts = max(s.billing.Receipts, p.Number)
	refs := s.accounts[p.User].User().Payments
	ref := p.ref(seq)
	at, found := slices.BinarySearchFunc(refs, p.ID, func(r PaymentRef, id PaymentID) int { return int(int64(r.ID) - int64(id)) })
	if found && refs[at].Seq >= seq {
		return nil
	}
	if !found && (at != len(refs) || p.ID != PaymentID(seq)) {
		return fmt.Errorf("%w: payment %d was never begun", errMalformed, p.ID)
	}
	return s.changeUser(p.User, func(u *User) {
		u.Payments = append(refs[:0:0], refs...)
		if !found {
			u.Payments = append(u.Payments, ref)
			return
		}
		ref.Grant = refs[at].Grant
		u.Payments[at] = ref
	})
}

// bought notes which entry has the credits of a payment.
func (s *state) bought(seq uint64, user UserID, id PaymentID) error {
	if user == 0 || int(user) >= len(s.accounts) {
		return fmt.Errorf("%w: credits of user %d, who was never added", errMalformed, user)
	}
	old := s.accounts[user].User()
	at := slices.IndexFunc(old.Payments, func(r PaymentRef) bool { return r.ID == id })
	if at < 0 || old.Payments[at].Grant != 0 && old.Payments[at].Grant != seq {
		return fmt.Errorf("%w: credits of payment %d", errMalformed, id)
	}
	return s.changeUser(user, func(u *User) {
		u.Payments = slices.Clone(u.Payments)
		u.Payments[at].Grant = seq
	})
}

// book adds the moves of an entry to the books, once.
func (s *state) book(seq uint64, list []Move) {
	if seq <= s.billing.Seq {
		return
	}
	if s.billing.Books = maps.Clone(s.billing.Books); s.billing.Books == nil {
		s.billing.Books = map[string]int64{}
	}
	for _, m := range list {
		s.billing.Books[m.Account] = plus(s.billing.Books[m.Account], m.Amount)
	}
	s.billing.Seq = seq
}

// inspectPayment proves that a payment entry follows from the one before it.
func (v *verifier) inspectPayment(seq uint64, b paymentEntered, s *state) {
	p := b.Payment
	var old *Payment
	a := s.account(p.User)
	if a == nil || p.User == 0 {
		v.problem("entry %d: a payment of user %d, who was never added", seq, p.User)
		return
	}
	id := p.ID
	if id == 0 {
		id = PaymentID(seq)
	} else {
		ref, _ := a.User().payment(id)
		before, ok := v.bodyAt(ref.Seq, s).(paymentEntered)
		if !ok {
			v.problem("entry %d: payment %d cannot be read as it was before", seq, id)
			return
		}
		before.Payment.ID = id
		old = &before.Payment
	}
	if p.Number != 0 && (old == nil || old.Number == 0) && p.Number != s.billing.Receipts+1 {
		v.problem("entry %d: receipt number %d follows number %d", seq, p.Number, s.billing.Receipts)
	}
	if p.Provider != "" {
		hash := sha256.Sum256([]byte(p.Provider))
		if other, taken := v.paidAtProvider[hash]; taken && other != id {
			v.problem("entry %d: payment %d is %s at the provider, which payment %d is already", seq, id, p.Provider, other)
		}
		v.paidAtProvider[hash] = id
	}
	moves, err := p.follows(old)
	if err != nil || !bytes.Equal(mustJSON(moves), mustJSON(b.Moves)) {
		v.problem("entry %d: payment %d moves %v, by its lines it would be %v (%v)", seq, id, b.Moves, moves, err)
	}
	if p.State == PaymentPaid && p.Credits > 0 && (old == nil || old.State != PaymentPaid) {
		v.bought = &p
	}
	if old != nil && p.Asked != old.Asked {
		want := debt{p.User, id, p.AskedIn, p.Asked - old.Asked}
		if want.amount < 0 {
			want.invoice = 0
		}
		if len(v.debts) == 0 || v.debts[0] != want {
			v.problem("entry %d: payment %d says that an invoice asks for %d of it", seq, id, want.amount)
			return
		}
		v.debts = v.debts[1:]
	}
}

// debt is what a new invoice asks for of a payment, whose entry is next to it; or,
// below zero, what one that becomes void asks for no more.
type debt struct {
	user    UserID
	payment PaymentID
	invoice InvoiceID // 0 where it is void
	amount  int64
}

// inspectNext proves that what belongs next to the entry before is there: the
// credits that were just paid for, the payments whose debts an invoice asks for. e is
// nil at the end of the log.
func (v *verifier) inspectNext(e *entry) {
	var b body
	at := "the end"
	if e != nil {
		b, at = e.body, fmt.Sprintf("entry %d", e.seq)
	}
	g, isGrant := b.(granted)
	switch p := v.bought; {
	case p != nil && (g.Payment != p.ID || g.User != p.User || g.Grant.Source != Purchase || g.Grant.Amount != p.Credits || !g.Grant.Expires.Equal(p.Expires)):
		v.problem("%s: payment %d has bought %v credits, and payment %d is given %v", at, p.ID, p.Credits, g.Payment, g.Grant.Amount)
	case p == nil && isGrant && g.Payment != 0:
		v.problem("%s: payment %d is given %v credits that it has not just bought", at, g.Payment, g.Grant.Amount)
	}
	v.bought = nil
	if _, isPayment := b.(paymentEntered); !isPayment && len(v.debts) > 0 {
		v.problem("%s: an invoice asks for %d of payment %d, and the payment does not say so", at, v.debts[0].amount, v.debts[0].payment)
		v.debts = nil
	}
}
