package ledger

import (
	"encoding/json"
	"net/netip"
	"time"
)

// UserID numbers users from 1. User 0 stands for calls without a user.
type UserID uint32

// KeyID numbers API keys from 1, over all users.
type KeyID uint32

// VersionID numbers the versions of plans and routes from 1, in one sequence.
type VersionID uint32

// Quantity is a count of a named meter, beside the built-in ones.
type Quantity struct {
	Meter string `json:"meter"`
	N     int64  `json:"n"`
}

// Quantities is what one call measured. Counts are never negative. Named is
// sorted by meter and is nil where a route names no meter of its own.
type Quantities struct {
	Documents int64
	Tokens    int64
	Named     []Quantity
}

// Of is the quantity of a meter; for "calls" it is 1.
func (q Quantities) Of(meter string) int64 {
	switch meter {
	case "calls":
		return 1
	case "documents":
		return q.Documents
	case "tokens":
		return q.Tokens
	}
	return named(q.Named, meter)
}

func named(list []Quantity, meter string) int64 {
	for _, n := range list {
		if n.Meter == meter {
			return n.N
		}
	}
	return 0
}

// What one record can have at most. More is the mistake of a program: times in
// milliseconds, read as tokens, are beyond it. Eight million records of the one
// and nine thousand of the other fit a total.
const (
	MaxQuantity        = 1 << 40          // of each meter
	MaxCost     Amount = 1_000_000 * Unit // nanos
)

// Totals sums usage records. A sum beyond an int64 stays at its largest value. Calls, Documents, Tokens, Named and Cost count
// billed records only; Unbilled is the number of the others.
type Totals struct {
	Calls     int64
	Unbilled  int64
	Documents int64
	Tokens    int64
	Cost      Amount // nanos, exact
	Named     []Quantity
}

// Of is the total of a meter.
func (t Totals) Of(meter string) int64 {
	switch meter {
	case "calls":
		return t.Calls
	case "documents":
		return t.Documents
	case "tokens":
		return t.Tokens
	}
	return named(t.Named, meter)
}

// Outcome says how a call ended.
type Outcome uint8

// The outcomes of product contract section 2.
const (
	OK              Outcome = iota // answered 2xx or 3xx, measured
	UpstreamError                  // the upstream answered 4xx or 5xx
	Unreachable                    // the upstream refused the connection
	TimedOut                       // no headers before the timeout
	UpstreamAborted                // the upstream broke off mid-answer
	ClientLeft                     // the client left mid-answer
	Quarantined                    // the answer's usage was absurd: recorded as zero
	outcomes                       // how many there are
)

var outcomeNames = [...]string{"ok", "upstream_error", "upstream_unreachable", "upstream_timeout", "upstream_aborted", "client_left", "quarantined"}

// String is the word used in the API and in exports.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Usage is the record of one metered call. The caller fills it; the ledger sets
// Seq, Logged and Period when it is appended.
type Usage struct {
	Seq     uint64
	Logged  time.Time // when it was appended; never falls from one entry to the next
	Period  Month     // the period that Time lies in
	Time    time.Time // when the call was admitted, to the millisecond; decides Period
	Counter uint32    // with Time this is the request id; 24 bits
	User    UserID    // 0 on routes without keys
	Key     KeyID     // 0 on routes without keys
	Route   VersionID // the route version admitted with: its pattern and prices
	Plan    VersionID // the plan version admitted with; 0 without a user
	Method  string
	Quantities
	Cost      Amount        // nanos, at the price list of Route
	Burnt     Amount        // credits, in nanos of one; the ledger lowers it to what there are,
	Uncovered Amount        // and adds the rest here
	Billed    bool          // false: costs nothing and counts against no quota
	Estimated bool          // a quantity was estimated because the answer had none
	Duration  time.Duration // response time, kept to 10 microseconds
	Status    int           // HTTP status code sent to the client
	Outcome   Outcome
	Remember  Remembered // the idempotency key of the call, if it had one
}

// RequestID is the id that the caller was given in Tollgate-Request.
func (u *Usage) RequestID() RequestID { return NewRequestID(u.Time, u.Counter) }

// Remembered is what a record keeps of an idempotency key: a hash of user and
// key, and one of the request that used it first. The zero value means none.
type Remembered struct {
	ID      [16]byte // over user and key
	Request [8]byte  // over method, path, query and body
}

// Status is the state of a user.
type Status string

// The states of a user.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Closed    Status = "closed"
)

// Personal is what can be erased of a user. It is kept outside the chain,
// which holds only its salted hash.
type Personal struct {
	Email   string `json:"email,omitempty"`
	Name    string `json:"name,omitempty"`
	Company string `json:"company,omitempty"`
	Address string `json:"address,omitempty"`
	TaxID   string `json:"tax_id,omitempty"`
}

// User is the customer who pays. Values handed out are snapshots, never changed.
type User struct {
	ID             UserID            `json:"id"`
	Personal       Personal          `json:"-"`
	Erased         bool              `json:"erased,omitempty"`
	External       string            `json:"external,omitempty"` // the operator's own id of the user
	Status         Status            `json:"status"`
	SuspendedFor   string            `json:"suspended_for,omitempty"` // "payment" or "operator"
	Created        time.Time         `json:"created"`
	ClosedAt       time.Time         `json:"closed_at,omitzero"`
	Plans          []Assignment      `json:"plans"`                     // by From; the newest may lie ahead
	SpendLimit     *Amount           `json:"spend_limit,omitempty"`     // set by the operator
	OwnLimit       *Amount           `json:"own_limit,omitempty"`       // set by the customer
	PaymentMethod  string            `json:"payment_method,omitempty"`  // the provider's id of the default one
	StripeCustomer string            `json:"stripe_customer,omitempty"` // the provider's id
	Keys           []KeyID           `json:"keys,omitempty"`            // in order of creation
	Invoices       []InvoiceRef      `json:"invoices,omitempty"`        // in order of making
	Payments       []PaymentRef      `json:"payments,omitempty"`        // in order of making
	Notices        []NoticeRef       `json:"notices,omitempty"`         // those not done with, and of the last months
	Extra          map[string]string `json:"extra,omitempty"`
	PersonalHash   []byte            `json:"personal_hash,omitempty"` // SHA-256 over salt and personal data
}

// PlanAt is the plan that the user is on at t.
func (u *User) PlanAt(t time.Time) Assignment {
	var plan Assignment
	for i, a := range u.Plans {
		if i == 0 || !a.From.After(t) {
			plan = a
		}
	}
	return plan
}

// Assignment puts a user on a plan from an instant on.
type Assignment struct {
	Plan string    `json:"plan"`
	From time.Time `json:"from"`
}

// Scope says what a key may do.
type Scope string

// The scopes of a key.
const (
	ScopeCall   Scope = "call"   // calls, and reading usage
	ScopeManage Scope = "manage" // also keys, plan, purchases, portal
)

// Key is an API key of a user. Values handed out are snapshots, never changed.
type Key struct {
	ID        KeyID          `json:"id"`
	User      UserID         `json:"user"`
	Index     int            `json:"index"` // its place in User.Keys
	Name      string         `json:"name,omitempty"`
	Prefix    string         `json:"prefix"` // for display
	Hash      [32]byte       `json:"-"`      // SHA-256 of the key
	HashHex   string         `json:"hash"`
	Scope     Scope          `json:"scope"`
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires,omitzero"`
	Revoked   time.Time      `json:"revoked,omitzero"`
	Networks  []netip.Prefix `json:"networks,omitempty"`   // empty: any
	PerMinute *int           `json:"per_minute,omitempty"` // nil: shares the plan's limit with the user's other keys
	PerDay    *int           `json:"per_day,omitempty"`    // 0 means no limit
	Replaces  KeyID          `json:"replaces,omitempty"`   // the key that it was rotated from
	Counts    int            `json:"counts,omitempty"`     // the Index that its own limits count under: its own, or that of the first key rotated
}

// VersionKind tells plan versions from route versions.
type VersionKind string

// The kinds of versions.
const (
	PlanVersion  VersionKind = "plan"
	RouteVersion VersionKind = "route"
)

// Version is the terms of a plan or the prices of a route as they were from
// some instant on. The ledger keeps Terms without reading them; pricing does.
//
// A version with a User is what was agreed with one user: it takes the place of
// the plan's for as long as that user is on the plan. Where its terms are null,
// those of the plan hold again.
type Version struct {
	ID        VersionID       `json:"id"`
	Kind      VersionKind     `json:"kind"`
	Name      string          `json:"name"`           // plan id or route pattern
	User      UserID          `json:"user,omitempty"` // 0: everyone
	By        string          `json:"by,omitempty"`   // who agreed it, where there is a User
	Terms     json.RawMessage `json:"terms"`
	Made      time.Time       `json:"made"`
	Effective time.Time       `json:"effective"` // for users who were there when it was made
}

// Correction puts a usage record right: its quantities are replaced by Now.
// A record can be corrected once.
type Correction struct {
	Of     uint64     `json:"of"` // the sequence number of the record
	Now    Quantities `json:"now"`
	Cost   Amount     `json:"cost"`
	Billed bool       `json:"billed"`
	Reason string     `json:"reason"`
	By     string     `json:"by"`
}
