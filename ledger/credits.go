package ledger

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Source says where credits come from. It decides in which order grants that
// expire together are burnt: what was given before what was bought.
type Source string

// The sources of a grant, in the order they are burnt.
const (
	Promotion   Source = "promotion"
	PlanCredits Source = "plan"
	Adjustment  Source = "adjustment"
	Purchase    Source = "purchase"
)

var sources = [...]Source{Promotion, PlanCredits, Adjustment, Purchase}

// MaxCredits is the most that a user can ever be granted, in nanos of a credit:
// 4.6 billion credits.
const MaxCredits Amount = 1 << 62

// Grant is an amount of credits that a user was given. Amounts are nanos of a
// credit.
type Grant struct {
	Seq       uint64    `json:"-"` // of its entry, which names it
	Source    Source    `json:"source"`
	Amount    Amount    `json:"amount"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never
	Reason    string    `json:"reason,omitempty"`
	Reference string    `json:"reference,omitempty"` // the receipt of the purchase, or what it makes good
	Month     Month     `json:"month,omitempty"`     // of PlanCredits: the period that they are for
	Rolled    Amount    `json:"rolled,omitempty"`    // of PlanCredits: of Amount, what was left of the period before
}

// Left is what is left of a grant.
type Left struct {
	Seq     uint64 // the grant
	Source  Source
	Amount  Amount    // nanos of a credit, more than 0
	Expires time.Time // UTC; zero: never
}

// The bodies of credit entries. Back is the user's credit entry before it, so
// that they can be walked newest first.
type (
	granted struct {
		User  UserID `json:"user"`
		Grant Grant  `json:"grant"`
		By    string `json:"by,omitempty"`
		Back  uint64 `json:"back,omitempty"`
		// Payment bought the credits; its entry is in the same commit.
		Payment PaymentID `json:"payment,omitempty"`
	}
	// taken is credits of a grant that are gone and were not burnt.
	taken struct {
		User      UserID `json:"user"`
		Grant     uint64 `json:"grant"`
		Amount    Amount `json:"amount"`
		Reason    string `json:"reason"` // "expired", "refunded", ...
		Reference string `json:"reference,omitempty"`
		By        string `json:"by,omitempty"`
		Back      uint64 `json:"back,omitempty"`
	}
)

func (granted) kind() kind { return kindGrant }
func (taken) kind() kind   { return kindTaken }

// purse is the credits of an account. Grants with something left are kept in the
// order in which they are burnt; the rest of a grant is read from the log.
type purse struct {
	seq    uint64 // the user's newest credit entry
	left   []Left
	sum    Amount // of left
	given  Amount // ever granted
	burnt  Amount // ever
	lost   Amount // ever: expired, refunded or otherwise taken
	missed Amount // ever: used, and not covered by any credits

	planMonth Month  // the newest period that the plan has given credits for,
	planGiven Amount // and how many, without those left over from the period before
}

// burnOrder is soonest expiry first, then what was given, then what was bought,
// the oldest first.
func burnOrder(a, b Left) int {
	switch {
	case a.Expires.IsZero() != b.Expires.IsZero():
		if a.Expires.IsZero() {
			return 1
		}
		return -1
	case !a.Expires.Equal(b.Expires):
		return a.Expires.Compare(b.Expires)
	}
	return cmp.Or(cmp.Compare(slices.Index(sources[:], a.Source), slices.Index(sources[:], b.Source)), cmp.Compare(a.Seq, b.Seq))
}

var errCredits = errors.New("impossible credits")

func (p *purse) grant(l Left) error {
	switch {
	case !slices.Contains(sources[:], l.Source):
		return fmt.Errorf("%w: a grant from %q", errCredits, l.Source)
	case l.Amount <= 0 || l.Amount > MaxCredits-p.given:
		return fmt.Errorf("%w: a grant of %v; it is more than 0, and with all before it at most %v", errCredits, l.Amount, MaxCredits)
	case !fitsExpiry(l.Expires):
		return fmt.Errorf("%w: a grant that expires at %v", errCredits, l.Expires)
	}
	at, _ := slices.BinarySearchFunc(p.left, l, burnOrder)
	p.left = slices.Insert(p.left, at, l)
	p.sum += l.Amount
	p.given += l.Amount
	return nil
}

// fitsExpiry tells whether an instant, or none, comes back as it was.
func fitsExpiry(t time.Time) bool {
	milli := milliOf(t)
	return milli <= maxMilli && (t.IsZero() || t.Equal(time.UnixMilli(int64(milli))))
}

// expired is the number of grants that have expired at t, which come first, and
// what is left of them.
func (p *purse) expired(t time.Time) (n int, sum Amount) {
	for n < len(p.left) && !p.left[n].Expires.IsZero() && !p.left[n].Expires.After(t) {
		sum += p.left[n].Amount
		n++
	}
	return n, sum
}

// burn is for a call that was admitted at t: what had expired then it cannot have.
func (p *purse) burn(t time.Time, amount, uncovered Amount) error {
	from, gone := p.expired(t)
	if amount < 0 || amount > p.sum-gone || uncovered < 0 {
		return fmt.Errorf("%w: %v burnt of %v", errCredits, amount, p.sum-gone)
	}
	p.sum -= amount
	p.burnt, p.missed = p.burnt+amount, plus(p.missed, uncovered)
	to := from
	for amount > 0 {
		n := min(amount, p.left[to].Amount)
		amount -= n
		if p.left[to].Amount -= n; p.left[to].Amount == 0 {
			to++
		}
	}
	p.left = slices.Delete(p.left, from, to)
	return nil
}

func (p *purse) take(grant uint64, amount Amount) error {
	i := p.find(grant)
	if i < 0 || amount <= 0 || amount > p.left[i].Amount {
		return fmt.Errorf("%w: %v taken of grant %d", errCredits, amount, grant)
	}
	p.sum -= amount
	p.lost += amount
	if p.left[i].Amount -= amount; p.left[i].Amount == 0 {
		p.left = slices.Delete(p.left, i, i+1)
	}
	return nil
}

func (p *purse) find(grant uint64) int {
	return slices.IndexFunc(p.left, func(l Left) bool { return l.Seq == grant })
}

// appendRow packs a purse: nothing where there is none.
func (p *purse) appendRow(b []byte) []byte {
	if p == nil {
		return b
	}
	b = binary.AppendUvarint(b, p.seq)
	for _, a := range [...]Amount{p.given, p.burnt, p.lost, p.missed, Amount(p.planMonth), p.planGiven} {
		b = binary.AppendUvarint(b, uint64(a))
	}
	for _, l := range p.left {
		b = binary.AppendUvarint(b, l.Seq)
		b = append(b, byte(slices.Index(sources[:], l.Source)))
		b = binary.AppendUvarint(b, uint64(l.Amount))
		b = binary.AppendUvarint(b, milliOf(l.Expires))
	}
	return b
}

// milliOf is an instant in milliseconds, 0 where there is none.
func milliOf(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}

func (p *purse) readRow(r *reader) {
	p.seq = r.uvarint()
	p.given, p.burnt, p.lost, p.missed = Amount(r.count()), Amount(r.count()), Amount(r.count()), Amount(r.count())
	p.planMonth, p.planGiven = Month(r.count()), Amount(r.count())
	for len(r.b) > 0 && !r.bad {
		l := Left{Seq: r.uvarint()}
		source := r.bytes(1)[0]
		l.Amount = Amount(r.count())
		milli := r.count()
		if milli > maxMilli || int(source) >= len(sources) || l.Amount <= 0 || l.Amount > MaxCredits-p.sum {
			r.bad = true
			return
		}
		if l.Source = sources[source]; milli > 0 {
			l.Expires = time.UnixMilli(milli).UTC()
		}
		p.left = append(p.left, l)
		p.sum += l.Amount
	}
	r.bad = r.bad || p.seq == 0 && p.given|p.lost != 0 || p.seq == 0 && p.missed == 0 || p.given-p.burnt-p.lost != p.sum || !slices.IsSortedFunc(p.left, burnOrder)
}

// credits is the account's purse to be changed. Most users have none.
func (a *Account) credits() *purse {
	if a.purse == nil {
		a.purse = new(purse)
	}
	return a.purse
}

// copyOf is the account's purse as it is now.
func (a *Account) copyOf() *purse {
	a.Lock()
	defer a.Unlock()
	own := new(purse)
	if a.purse != nil {
		*own = *a.purse
		own.left = slices.Clone(own.left)
	}
	return own
}

// Balance is what is left of the account's credits for a call at t, in nanos of a
// credit: what has expired by then is not. Call it under Lock.
func (a *Account) Balance(t time.Time) Amount {
	if a.purse == nil {
		return 0
	}
	_, gone := a.purse.expired(t)
	return a.purse.sum - gone
}

// Credits is what is left of each grant, in the order it will be burnt; those that
// have expired and were not taken yet come first. Call it under Lock; the slice is
// valid until Unlock.
func (a *Account) Credits() []Left {
	if a.purse == nil {
		return nil
	}
	return a.purse.left
}

// CreditSums is what became of all credits that an account ever had, in nanos of
// a credit: Granted is Burnt, Taken and what is left.
type CreditSums struct {
	Granted, Burnt, Taken Amount
	Uncovered             Amount // used when there were no credits any more
}

// CreditSums adds up the account's credits. Call it under Lock.
func (a *Account) CreditSums() CreditSums {
	if a.purse == nil {
		return CreditSums{}
	}
	return CreditSums{Granted: a.purse.given, Burnt: a.purse.burnt, Taken: a.purse.lost, Uncovered: a.purse.missed}
}

// byPlan notes credits that came with the plan.
func (p *purse) byPlan(g Grant) {
	if g.Source != PlanCredits || g.Month < p.planMonth {
		return
	}
	if g.Month > p.planMonth {
		p.planMonth, p.planGiven = g.Month, 0
	}
	p.planGiven += g.Amount - g.Rolled
}

// PlanGranted is the newest period that the plan has given the account credits for,
// and how many, in nanos of a credit, without those that were left over from the
// period before. Call it under Lock.
func (a *Account) PlanGranted() (Month, Amount) {
	if a.purse == nil {
		return 0, 0
	}
	return a.purse.planMonth, a.purse.planGiven
}

// GrantCredits gives a user credits. ErrNotFound when there is no such user.
func (l *Ledger) GrantCredits(now time.Time, by string, user UserID, g Grant) (Grant, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(user)
	if a == nil {
		return g, fmt.Errorf("grant credits to user %d: %w", user, ErrNotFound)
	}
	now = l.notBefore(now)
	if !g.Expires.IsZero() {
		g.Expires = time.UnixMilli(g.Expires.UnixMilli()).UTC()
	}
	if g.Rolled < 0 || g.Rolled > g.Amount || g.Rolled > 0 && g.Source != PlanCredits {
		return g, fmt.Errorf("%w: of a grant of %v from %q, %v were left over", errCredits, g.Amount, g.Source, g.Rolled)
	}
	if !g.Expires.IsZero() && !g.Expires.After(now) {
		return g, fmt.Errorf("%w: a grant that has expired, at %v", errCredits, g.Expires)
	}
	before := a.copyOf()
	back := before.seq
	// What cannot be folded must not reach the writer, which would fail for good.
	if err := before.grant(Left{1, g.Source, g.Amount, g.Expires}); err != nil {
		return g, err
	}
	if err := l.record(now, nil, granted{User: user, Grant: g, By: by, Back: back}); err != nil {
		return g, fmt.Errorf("grant credits to user %d: %w", user, err)
	}
	g.Seq = a.creditEntry()
	return g, nil
}

// creditEntry is the account's newest credit entry.
func (a *Account) creditEntry() uint64 {
	return a.copyOf().seq
}

// TakeCredits takes what is left of a grant, up to amount: because it has expired,
// or was paid back.
// It returns what was taken. settler, when not nil, is told under the account's
// lock once that is done. ErrNotFound when nothing is left of the grant.
func (l *Ledger) TakeCredits(now time.Time, by string, user UserID, grant uint64, amount Amount, reason, reference string, settler Settler) (Amount, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	a := l.Account(user)
	if a == nil {
		return 0, fmt.Errorf("take credits of user %d: %w", user, ErrNotFound)
	}
	before := a.copyOf()
	if before.find(grant) < 0 || amount <= 0 {
		return 0, fmt.Errorf("take %v of grant %d of user %d: %w", amount, grant, user, ErrNotFound)
	}
	t := taken{User: user, Grant: grant, Amount: amount, Reason: reason, Reference: reference, By: by, Back: before.seq}
	if err := l.recordSettling(l.notBefore(now), settler, t); err != nil {
		return 0, fmt.Errorf("take credits of user %d: %w", user, err)
	}
	return a.copyOf().lost - before.lost, nil
}

// spending is the purses that entries of the running commit burn of or take from,
// as they will be when these are folded.
type spending map[UserID]*purse

func (s spending) of(a *Account) *purse {
	p := s[a.id]
	if p == nil {
		p = a.copyOf()
		s[a.id] = p
	}
	return p
}

// cover splits what a record burns into what there are credits for and the rest:
// whatever its caller believed, no balance falls below zero.
func (s spending) cover(a *Account, u *Usage) error {
	if u.Burnt == 0 {
		return nil
	}
	p := s.of(a)
	_, gone := p.expired(u.Time)
	covered := min(u.Burnt, p.sum-gone)
	u.Burnt, u.Uncovered = covered, plus(u.Uncovered, u.Burnt-covered)
	return p.burn(u.Time, covered, 0)
}

// bound leaves of t what the grant has.
func (s spending) bound(a *Account, t *taken) error {
	p := s.of(a)
	i := p.find(t.Grant)
	if i < 0 {
		t.Amount = 0
		return nil
	}
	t.Amount = min(t.Amount, p.left[i].Amount)
	return p.take(t.Grant, t.Amount)
}

// CreditEntry is a grant, or credits that were taken of one.
type CreditEntry struct {
	Seq    uint64
	Logged time.Time // UTC
	By     string
	Grant  Grant // of a grant; the one it was taken of has its Seq alone
	// Taken is 0 for a grant.
	Taken     Amount
	Reason    string // why it was taken
	Reference string
}

// CreditEntries walks the credit entries of a user, newest first, from before the
// given one on (0: the newest), until each returns false. It calls back outside
// of transactions.
func (l *Ledger) CreditEntries(ctx context.Context, user UserID, before uint64, each func(CreditEntry) bool) error {
	a := l.Account(user)
	if a == nil {
		return fmt.Errorf("credits of user %d: %w", user, ErrNotFound)
	}
	seq := a.creditEntry()
	for seq != 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var e entry
		if err := view(l.db, func(tx *bolt.Tx) error { return l.readEntry(tx, seq, &e) }); err != nil {
			return fmt.Errorf("credits of user %d: %w", user, err)
		}
		c := CreditEntry{Seq: seq, Logged: time.UnixMilli(e.logged).UTC()}
		var owner UserID
		var back uint64
		switch b := e.body.(type) {
		case granted:
			c.Grant, c.By, owner, back = b.Grant, b.By, b.User, b.Back
			c.Grant.Seq = seq
		case taken:
			c.Grant.Seq, c.Taken, c.Reason, c.Reference, c.By, owner, back = b.Grant, b.Amount, b.Reason, b.Reference, b.By, b.User, b.Back
		}
		if owner != user || back >= seq {
			return fmt.Errorf("%w: entry %d is no credit entry of user %d", ErrCorrupt, seq, user)
		}
		if (before == 0 || seq < before) && !each(c) {
			return nil
		}
		seq = back
	}
	return nil
}
