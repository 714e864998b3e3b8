package admission

import (
	"net/http"
	"time"

	"tollgate/ledger"
)

// The codes of refusals, as in the `code` of a problem document.
const (
	MissingKey          = "missing_key"
	InvalidKey          = "invalid_key"
	KeyRevoked          = "key_revoked"
	KeyExpired          = "key_expired"
	NetworkNotAllowed   = "network_not_allowed"
	AccountSuspended    = "account_suspended"
	AccountClosed       = "account_closed"
	RateLimited         = "rate_limited"
	QuotaExceeded       = "quota_exceeded"
	SpendLimitReached   = "spend_limit_reached"
	InsufficientCredits = "insufficient_credits"
	PaymentRequired     = "payment_required"
	UnmeasurableRequest = "unmeasurable_request"
	NoRoute             = "no_route"
	LedgerUnavailable   = "ledger_unavailable"
	InternalError       = "internal_error"
)

// kinds gives each code its status and its title.
var kinds = map[string]struct {
	status int
	title  string
}{
	MissingKey:          {http.StatusUnauthorized, "API key missing"},
	InvalidKey:          {http.StatusUnauthorized, "API key not valid"},
	KeyRevoked:          {http.StatusUnauthorized, "API key revoked"},
	KeyExpired:          {http.StatusUnauthorized, "API key expired"},
	NetworkNotAllowed:   {http.StatusForbidden, "Network not allowed"},
	AccountSuspended:    {http.StatusForbidden, "Account suspended"},
	AccountClosed:       {http.StatusForbidden, "Account closed"},
	RateLimited:         {http.StatusTooManyRequests, "Too many calls"},
	QuotaExceeded:       {http.StatusTooManyRequests, "Quota used up"},
	SpendLimitReached:   {http.StatusPaymentRequired, "Spend limit reached"},
	InsufficientCredits: {http.StatusPaymentRequired, "Not enough credits"},
	PaymentRequired:     {http.StatusPaymentRequired, "Payment required"},
	UnmeasurableRequest: {http.StatusBadRequest, "Request cannot be measured"},
	NoRoute:             {http.StatusNotFound, "No such route"},
	LedgerUnavailable:   {http.StatusServiceUnavailable, "Ledger not available"},
	InternalError:       {http.StatusInternalServerError, "Internal error"},
}

// Refusal says why a call was refused: all that the client is told. It never
// holds any part of a key. A refusal belongs to the call that got it.
type Refusal struct {
	Status int    // HTTP status
	Code   string // one of the codes above, or one of a package that refuses for its own reasons
	Title  string // of the code, the same each time
	Detail string // of this refusal: what happened and what to do next

	// Limit, Used and Remaining are of the limit that was in the way, nil where
	// there is none: calls of the minute or the day, units of the quota's meter, or
	// minor units of the currency (cents) of the spend limit. Used has what is held
	// by calls that are still running.
	Limit, Used, Remaining *int64
	Reset                  time.Time // UTC: when the limit starts anew; zero: not at a time that is known
	UpgradeURL             string
	// Balance is the credits that no running call holds, in nanos of one; nil unless
	// they were in the way. PurchaseURL is where more can be bought.
	Balance     *ledger.Amount
	PurchaseURL string

	RetryAfter time.Duration // sent as Retry-After in whole seconds, rounded up; 0: not sent
	NoRetry    bool          // sends x-should-retry: false, which client libraries obey
	Limits     []Limit       // in force, for the RateLimit headers

	Cause error // of an internal_error: for the log, never shown to the client

	meter string // whose quota is used up
}

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Error is the code and the detail.
func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// NewRefusal makes a refusal with the status and title of a code of this
// package. It panics on another code.
func NewRefusal(code, detail string) *Refusal {
	kind, ok := kinds[code]
	if !ok {
		panic("admission: no such refusal code: " + code)
	}
	return &Refusal{Status: kind.status, Code: code, Title: kind.title, Detail: detail}
}
