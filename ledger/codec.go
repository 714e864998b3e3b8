package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// kind is the first byte of a stored entry. Numbers are never reused.
type kind byte

const (
	kindGenesis    kind = 1 // the ledger's identity: always entry 1
	kindUsage      kind = 2
	kindUser       kind = 3
	kindAssignment kind = 4
	kindKey        kind = 5
	kindVersion    kind = 6
	kindName       kind = 7
	kindPeriod     kind = 8
	kindZone       kind = 9
	kindCorrection kind = 10
	kindClock      kind = 11
	kindEpoch      kind = 12
	kindInvoice    kind = 13
	kindProvider   kind = 14
	kindReconciled kind = 15
	kindGrant      kind = 16
	kindTaken      kind = 17
	kindPayment    kind = 18
	kindNotice     kind = 19
)

// body is the content of every kind of entry but usage. It is stored as JSON:
// these entries are few, and JSON lets them grow fields.
type body interface{ kind() kind }

type (
	genesis struct {
		ID        string    `json:"id"`
		Created   time.Time `json:"created"`
		Currency  string    `json:"currency"`
		TestClock bool      `json:"test_clock,omitempty"`
	}
	// userChange is the whole of a user but plans and keys, which have entries of their own.
	userChange struct {
		User User   `json:"user"`
		By   string `json:"by,omitempty"`
	}
	assignment struct {
		User  UserID       `json:"user"`
		Plans []Assignment `json:"plans"`
		By    string       `json:"by,omitempty"`
	}
	keyChange struct {
		Key Key    `json:"key"`
		By  string `json:"by,omitempty"`
	}
	versionMade struct {
		Version Version `json:"version"`
	}
	nameGiven struct {
		ID   uint32 `json:"id"`
		Name string `json:"name"`
	}
	periodOpened struct {
		Period Period `json:"period"`
	}
	// zoneSet puts the ledger on a billing time zone from the start of a month on.
	zoneSet struct {
		Zone string `json:"zone"`
		From Month  `json:"from"`
	}
	// corrected carries what the record was, so that folding it needs no look-up; verify compares.
	corrected struct {
		Correction
		User   UserID     `json:"user"`
		Time   time.Time  `json:"time"`
		Period Month      `json:"period"`
		Route  VersionID  `json:"route"`
		Plan   VersionID  `json:"plan"`
		Was    Quantities `json:"was"`
		Paid   Amount     `json:"was_cost"`
		Bill   bool       `json:"was_billed"`
	}
	clockSet struct {
		Time time.Time `json:"time"`
	}
	epochBegun struct {
		Epoch int       `json:"epoch"`
		From  uint64    `json:"from"` // the last entry of the backup
		At    time.Time `json:"at"`
	}
)

// records is the record as it was counted, and as it is counted instead.
func (c *corrected) records() (was, now Usage) {
	was = Usage{Period: c.Period, Time: c.Time, User: c.User, Route: c.Route, Plan: c.Plan, Quantities: c.Was, Cost: c.Paid, Billed: c.Bill}
	now = was
	now.Quantities, now.Cost, now.Billed = c.Now, c.Cost, c.Billed
	return was, now
}

// entered is an invoice as it is from then on, and what that moves in the books.
type entered struct {
	Invoice Invoice `json:"invoice"`
	Moves   []Move  `json:"moves,omitempty"`
	By      string  `json:"by,omitempty"`
}

type (
	providerPinned struct {
		Provider Provider `json:"provider"`
	}
	reconciled struct {
		Epoch    int    `json:"epoch"`
		Numbered uint32 `json:"numbered,omitempty"`
		By       string `json:"by,omitempty"`
	}
)

func (genesis) kind() kind        { return kindGenesis }
func (userChange) kind() kind     { return kindUser }
func (assignment) kind() kind     { return kindAssignment }
func (keyChange) kind() kind      { return kindKey }
func (versionMade) kind() kind    { return kindVersion }
func (nameGiven) kind() kind      { return kindName }
func (periodOpened) kind() kind   { return kindPeriod }
func (zoneSet) kind() kind        { return kindZone }
func (corrected) kind() kind      { return kindCorrection }
func (clockSet) kind() kind       { return kindClock }
func (epochBegun) kind() kind     { return kindEpoch }
func (entered) kind() kind        { return kindInvoice }
func (providerPinned) kind() kind { return kindProvider }
func (reconciled) kind() kind     { return kindReconciled }

// entry is one element of the log in memory: usage or body is set.
type entry struct {
	seq    uint64
	logged int64  // milliseconds since 1970
	back   uint64 // usage: distance to the same user's previous usage entry, 0 if none
	method uint32 // usage: the name of Method
	usage  Usage
	body   body
}

var errMalformed = errors.New("malformed entry")

// The flags of a usage entry share a byte with its outcome.
const (
	flagCredits   = 1 << 3 // it burnt credits, or should have
	flagBilled    = 1 << 4
	flagEstimated = 1 << 5
	flagNamed     = 1 << 6
	flagRemember  = 1 << 7
	outcomeMask   = 1<<3 - 1
)

// appendUsage appends the stored form of a usage entry without its length.
// last is the logged time of the entry before it, in milliseconds; names gives
// the numbers of meters.
func appendUsage(b []byte, e *entry, last int64, number func(string) uint32) []byte {
	u := &e.usage
	flags := byte(u.Outcome) & outcomeMask
	if u.Billed {
		flags |= flagBilled
	}
	if u.Estimated {
		flags |= flagEstimated
	}
	if len(u.Named) > 0 {
		flags |= flagNamed
	}
	if u.Remember != (Remembered{}) {
		flags |= flagRemember
	}
	if u.Burnt|u.Uncovered != 0 {
		flags |= flagCredits
	}
	milli := u.Time.UnixMilli()
	b = append(b, byte(kindUsage))
	b = binary.AppendUvarint(b, uint64(e.logged-last))
	b = append(b, flags)
	b = binary.AppendVarint(b, e.logged-milli)
	b = append(b, byte(u.Counter>>16), byte(u.Counter>>8), byte(u.Counter))
	b = binary.AppendVarint(b, int64(u.Period-utcMonth(milli)))
	b = binary.AppendUvarint(b, uint64(u.User))
	if u.User != 0 {
		b = binary.AppendUvarint(b, e.back)
		b = binary.AppendVarint(b, int64(u.Key)-int64(u.User)) // keys are mostly made with their user
		b = binary.AppendUvarint(b, uint64(u.Plan))
	}
	b = binary.AppendUvarint(b, uint64(u.Route))
	b = binary.AppendUvarint(b, uint64(e.method))
	b = binary.AppendVarint(b, int64(u.Status-statusBase))
	b = binary.AppendUvarint(b, uint64(max(u.Duration, 0)/durationUnit))
	b = binary.AppendUvarint(b, uint64(u.Documents))
	b = binary.AppendUvarint(b, uint64(u.Tokens))
	b = appendAmount(b, u.Cost)
	if flags&flagNamed != 0 {
		b = binary.AppendUvarint(b, uint64(len(u.Named)))
		for _, q := range u.Named {
			b = binary.AppendUvarint(b, uint64(number(q.Meter)))
			b = binary.AppendUvarint(b, uint64(q.N))
		}
	}
	if flags&flagRemember != 0 {
		b = append(b, u.Remember.ID[:]...)
		b = append(b, u.Remember.Request[:]...)
	}
	if flags&flagCredits != 0 {
		b = appendAmount(b, u.Burnt)
		b = appendAmount(b, u.Uncovered)
	}
	return b
}

const (
	statusBase   = 200 // most answers then take one byte
	durationUnit = 10 * time.Microsecond
)

// utcMonth is the UTC calendar month of an instant in milliseconds.
func utcMonth(milli int64) Month { return monthAt(time.UnixMilli(milli), time.UTC) }

// appendBody appends the stored form of any other entry without its length.
func appendBody(b []byte, e *entry, last int64) ([]byte, error) {
	b = append(b, byte(e.body.kind()))
	b = binary.AppendUvarint(b, uint64(e.logged-last))
	text, err := json.Marshal(e.body)
	if err != nil {
		return nil, fmt.Errorf("encode entry of kind %d: %w", e.body.kind(), err)
	}
	return append(b, text...), nil
}

// appendAmount packs a sum that is not negative as mantissa and decimal
// exponent: prices have few digits, so most costs take one or two bytes.
func appendAmount(b []byte, a Amount) []byte {
	var exponent uint64
	for exponent < 14 && a != 0 && a%10 == 0 {
		a /= 10
		exponent++
	}
	if a < 1<<59 {
		return binary.AppendUvarint(b, uint64(a)<<4|exponent)
	}
	b = binary.AppendUvarint(b, 15)
	return binary.AppendUvarint(b, uint64(a))
}

// reader takes a stored form apart. After a malformed field bad is set and
// every further field is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// count reads a number that is never negative.
func (r *reader) count() int64 {
	v := r.uvarint()
	if v > 1<<63-1 {
		r.bad = true
		return 0
	}
	return int64(v)
}

// id reads a number of 32 bits.
func (r *reader) id() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.bad = true
	}
	return uint32(v)
}

func (r *reader) bytes(n int) []byte {
	if len(r.b) < n {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) amount() Amount {
	v := r.uvarint()
	if v == 15 {
		return Amount(r.count())
	}
	a, exponent := Amount(v>>4), v&15
	if a == 0 && exponent != 0 { // never written
		r.bad = true
	}
	for range exponent {
		if a > (1<<63-1)/10 {
			r.bad = true
			return 0
		}
		a *= 10
	}
	return a
}

// decodeEntry reads a stored entry, without its length, into e. last is the
// logged time of the entry before it. The text of names is resolved by name.
func decodeEntry(b []byte, last int64, e *entry, name func(uint32) string) error {
	if len(b) < 2 {
		return errMalformed
	}
	k := kind(b[0])
	r := reader{b: b[1:]}
	step := r.count()
	e.logged = last + step
	if r.bad || e.logged < last || e.logged > maxMilli {
		return errMalformed
	}
	if k != kindUsage {
		e.usage = Usage{}
		e.body = nil
		return decodeBody(k, r.b, e)
	}
	e.body = nil
	u := &e.usage
	flags := r.bytes(1)[0]
	milli := e.logged - r.varint()
	if milli < 0 || milli > maxMilli {
		return errMalformed
	}
	*u = Usage{
		Logged:    time.UnixMilli(e.logged).UTC(),
		Time:      time.UnixMilli(milli).UTC(),
		Outcome:   Outcome(flags & outcomeMask),
		Billed:    flags&flagBilled != 0,
		Estimated: flags&flagEstimated != 0,
	}
	c := r.bytes(3)
	u.Counter = uint32(c[0])<<16 | uint32(c[1])<<8 | uint32(c[2])
	u.Period = utcMonth(milli) + Month(r.varint())
	u.User = UserID(r.id())
	e.back = 0
	if u.User != 0 {
		e.back = r.uvarint()
		u.Key = KeyID(r.varint() + int64(u.User))
		u.Plan = VersionID(r.id())
	}
	u.Route = VersionID(r.id())
	e.method = r.id()
	u.Method = name(e.method)
	u.Status = int(r.varint()) + statusBase
	duration := r.count()
	u.Duration = time.Duration(duration) * durationUnit
	u.Documents = r.count()
	u.Tokens = r.count()
	u.Cost = r.amount()
	if flags&flagNamed != 0 {
		n := r.count()
		if r.bad || n > int64(len(r.b)) {
			return errMalformed
		}
		u.Named = make([]Quantity, n)
		for i := range u.Named {
			u.Named[i] = Quantity{Meter: name(r.id()), N: r.count()}
		}
	}
	if flags&flagRemember != 0 {
		copy(u.Remember.ID[:], r.bytes(16))
		copy(u.Remember.Request[:], r.bytes(8))
	}
	if flags&flagCredits != 0 {
		u.Burnt, u.Uncovered = r.amount(), r.amount()
		r.bad = r.bad || u.User == 0 || u.Burnt|u.Uncovered == 0
	}
	if r.bad || len(r.b) != 0 || u.Outcome >= outcomes || duration > int64(math.MaxInt64/durationUnit) {
		return errMalformed
	}
	return nil
}

// maxMilli is the end of the year 4999: months then fit the 16 bits that keys
// have for them, and times print as RFC 3339.
const maxMilli = 95617583999999

func decodeBody(k kind, text []byte, e *entry) error {
	var err error
	switch k {
	case kindGenesis:
		e.body, err = decodeJSON[genesis](text)
	case kindUser:
		e.body, err = decodeJSON[userChange](text)
	case kindAssignment:
		e.body, err = decodeJSON[assignment](text)
	case kindKey:
		e.body, err = decodeJSON[keyChange](text)
	case kindVersion:
		e.body, err = decodeJSON[versionMade](text)
	case kindName:
		e.body, err = decodeJSON[nameGiven](text)
	case kindPeriod:
		e.body, err = decodeJSON[periodOpened](text)
	case kindZone:
		e.body, err = decodeJSON[zoneSet](text)
	case kindCorrection:
		e.body, err = decodeJSON[corrected](text)
	case kindClock:
		e.body, err = decodeJSON[clockSet](text)
	case kindEpoch:
		e.body, err = decodeJSON[epochBegun](text)
	case kindInvoice:
		e.body, err = decodeJSON[entered](text)
	case kindProvider:
		e.body, err = decodeJSON[providerPinned](text)
	case kindReconciled:
		e.body, err = decodeJSON[reconciled](text)
	case kindGrant:
		e.body, err = decodeJSON[granted](text)
	case kindTaken:
		e.body, err = decodeJSON[taken](text)
	case kindPayment:
		e.body, err = decodeJSON[paymentEntered](text)
	case kindNotice:
		e.body, err = decodeJSON[noticeEntered](text)
	default:
		return fmt.Errorf("%w: unknown kind %d; a newer tollgate may have written it", errMalformed, k)
	}
	return err
}

func decodeJSON[T body](text []byte) (body, error) {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("%w of kind %d: %w", errMalformed, v.kind(), err)
	}
	return v, nil
}
