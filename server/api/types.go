package api

import (
	"net/netip"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// Period is a billing month as customers see it: half-open [Start, End).
type Period struct {
	Year     int       `json:"year"`
	Month    int       `json:"month"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Timezone string    `json:"timezone" doc:"IANA name of the billing time zone"`
}

// Usage answers GET /v1/billing/usage.
type Usage struct {
	Period           Period         `json:"period"`
	CurrentUsage     CurrentUsage   `json:"current_usage"`
	Quota            Quota          `json:"quota"`
	Charges          Charges        `json:"charges"`
	Projected        Projected      `json:"projected"`
	Credits          *CreditBalance `json:"credits" doc:"null on plans that are not prepaid"`
	Warnings         []Warning      `json:"warnings"`
	SubscriptionTier string         `json:"subscription_tier" doc:"id of the plan in force"`
}

// CurrentUsage sums the records of a period. All but UnbilledCalls count billed
// records only.
type CurrentUsage struct {
	TotalCalls       int64            `json:"total_calls"`
	TotalDocuments   int64            `json:"total_documents"`
	TotalTokens      int64            `json:"total_tokens"`
	Meters           map[string]int64 `json:"meters,omitempty" doc:"totals of the meters that the configuration names"`
	TotalCostCents   int64            `json:"total_cost_cents"`
	TotalCostDollars Dollars          `json:"total_cost_dollars"`
	Cost             ledger.Amount    `json:"cost" doc:"exact, at the price list, before any plan"`
	UnbilledCalls    int64            `json:"unbilled_calls"`
}

// Quota is what the plan includes of a meter this month. Of several the one
// used most is shown.
type Quota struct {
	Meter       string `json:"meter"`
	Total       *int64 `json:"total" doc:"null: unlimited"`
	Used        int64  `json:"used"`
	Remaining   *int64 `json:"remaining" doc:"null: unlimited"`
	PercentUsed Tenths `json:"percent_used" doc:"rounded down; 0.0 where unlimited"`
}

// Charges is what the customer owes for a period so far. Each part is the sum
// of rounded lines, and Total is the sum of the parts.
type Charges struct {
	BaseFeeCents        int64   `json:"base_fee_cents"`
	OverageCents        int64   `json:"overage_cents" doc:"everything that depends on usage"`
	CreditsAppliedCents int64   `json:"credits_applied_cents"`
	TotalCents          int64   `json:"total_cents"`
	TotalDollars        Dollars `json:"total_dollars"`
	ChargedCents        int64   `json:"charged_cents,omitzero" doc:"of the total, what was charged already, while it was used"`
}

// Projected extrapolates the period's usage by elapsed time, and rates it.
type Projected struct {
	Calls         int64   `json:"calls"`
	Documents     int64   `json:"documents"`
	Tokens        int64   `json:"tokens"`
	CostCents     int64   `json:"cost_cents"`
	CostDollars   Dollars `json:"cost_dollars"`
	ChargeCents   int64   `json:"charge_cents"`
	ChargeDollars Dollars `json:"charge_dollars"`
}

// Warning tells that a quota is nearly or fully used.
type Warning struct {
	Code       string `json:"code" doc:"quota_80 or quota_100"`
	Detail     string `json:"detail"`
	UpgradeURL string `json:"upgrade_url,omitempty"`
}

// History answers GET /v1/billing/usage/history, newest first.
type History struct {
	History          []HistoryMonth `json:"history"`
	SubscriptionTier string         `json:"subscription_tier" doc:"id of the plan in force"`
}

// HistoryMonth is one month of History.
type HistoryMonth struct {
	Year           int     `json:"year"`
	Month          int     `json:"month"`
	TotalCalls     int64   `json:"total_calls"`
	TotalDocuments int64   `json:"total_documents"`
	TotalTokens    int64   `json:"total_tokens"`
	CostCents      int64   `json:"cost_cents"`
	CostDollars    Dollars `json:"cost_dollars"`
	ChargeCents    int64   `json:"charge_cents"`
	ChargeDollars  Dollars `json:"charge_dollars"`
}

// Record is one metered call.
type Record struct {
	Seq            uint64           `json:"seq"`
	RequestID      string           `json:"request_id"`
	Time           time.Time        `json:"time" doc:"of admission"`
	User           ledger.UserID    `json:"user"`
	Key            ledger.KeyID     `json:"key"`
	Route          string           `json:"route" doc:"pattern of the route"`
	Method         string           `json:"method"`
	Documents      int64            `json:"documents"`
	Tokens         int64            `json:"tokens"`
	Cost           ledger.Amount    `json:"cost"`
	CostCents      int64            `json:"cost_cents"`
	ResponseTimeMS int64            `json:"response_time_ms"`
	StatusCode     int              `json:"status_code"`
	Outcome        string           `json:"outcome"`
	Billed         bool             `json:"billed" doc:"false: not in the totals, and counts against no quota"`
	Estimated      bool             `json:"estimated"`
	CreditsBurnt   Credits          `json:"credits_burnt,omitzero"`
	Uncovered      Credits          `json:"uncovered,omitzero" doc:"used when there were no credits left"`
	Meters         map[string]int64 `json:"meters,omitempty" doc:"quantities of the meters that the configuration names"`
}

// RecordsPage is a page of records, newest first.
type RecordsPage struct {
	Records    []Record `json:"records"`
	NextCursor *string  `json:"next_cursor" doc:"null on the last page"`
}

// Pricing answers GET /v1/billing/pricing.
type Pricing struct {
	Currency    string       `json:"currency"`
	Plans       []PublicPlan `json:"plans"`
	CreditPacks []CreditPack `json:"credit_packs"`
}

// CreditPack is an amount of credits for sale.
type CreditPack struct {
	ID         string        `json:"id"`
	Credits    int64         `json:"credits"`
	Price      ledger.Amount `json:"price" doc:"exact, without tax"`
	PriceCents int64         `json:"price_cents"`
	Expires    Duration      `json:"expires,omitzero" doc:"how long after the purchase its credits expire; not there: never"`
}

// PublicPlan is a plan that customers can choose.
type PublicPlan struct {
	ID         string                   `json:"id"`
	Name       string                   `json:"name"`
	Custom     bool                     `json:"custom" doc:"the fee is agreed per customer"`
	FeeCents   *int64                   `json:"fee_cents" doc:"a month; null where custom"`
	FeeDollars *Dollars                 `json:"fee_dollars"`
	Quota      map[string]int64         `json:"quota" doc:"included a month by meter; a meter not named is unlimited"`
	Overage    map[string]ledger.Amount `json:"overage" doc:"price of one unit beyond the quota, by meter"`
	Prices     []PublicPrice            `json:"prices" doc:"where one unit price is not enough"`
	ByCost     bool                     `json:"by_cost" doc:"billed by the price list of the routes"`
	OnExceed   string                   `json:"on_exceed"`
	Billing    string                   `json:"billing"`
	RateLimits RateLimits               `json:"rate_limits"`
}

// PublicPrice is how a plan prices a meter.
type PublicPrice struct {
	Meter    string        `json:"meter"`
	Model    string        `json:"model" doc:"unit, package, graduated or volume"`
	Unit     ledger.Amount `json:"unit"`
	Size     int64         `json:"size,omitempty"`
	Included int64         `json:"included,omitempty"`
	Minimum  ledger.Amount `json:"minimum"`
	Tiers    []PublicTier  `json:"tiers,omitempty"`
}

// PublicTier is one step of a graduated or volume price.
type PublicTier struct {
	UpTo *int64        `json:"up_to" doc:"null: no end"`
	Unit ledger.Amount `json:"unit"`
	Flat ledger.Amount `json:"flat"`
}

// RateLimits are calls; 0 is no limit.
type RateLimits struct {
	PerMinute int `json:"per_minute"`
	PerDay    int `json:"per_day"`
}

// Key is an API key without its secret.
type Key struct {
	ID        ledger.KeyID   `json:"id"`
	User      ledger.UserID  `json:"user"`
	Name      string         `json:"name"`
	Prefix    string         `json:"prefix" doc:"for display"`
	Scope     ledger.Scope   `json:"scope"`
	Status    string         `json:"status" doc:"active, expired or revoked"`
	Created   time.Time      `json:"created"`
	LastUsed  *time.Time     `json:"last_used"`
	Expires   *time.Time     `json:"expires"`
	Revoked   *time.Time     `json:"revoked"`
	Networks  []netip.Prefix `json:"networks" doc:"empty: any"`
	PerMinute *int           `json:"per_minute" doc:"null: shares the plan's limit with the user's other keys; 0: none"`
	PerDay    *int           `json:"per_day"`
}

// The states of a key.
const (
	KeyActive  = "active"
	KeyExpired = "expired"
	KeyRevoked = "revoked"
)

// KeysPage is a page of keys in order of creation.
type KeysPage struct {
	Keys       []Key   `json:"keys"`
	NextCursor *string `json:"next_cursor" doc:"null on the last page"`
}

// NewKey is a key just made. APIKey is the secret, which is shown only here.
type NewKey struct {
	ID      ledger.KeyID `json:"id"`
	APIKey  string       `json:"api_key"`
	Prefix  string       `json:"prefix"`
	Name    string       `json:"name"`
	Scope   ledger.Scope `json:"scope"`
	Expires *time.Time   `json:"expires"`
	// Replaces is the key that was rotated; it works until ReplacedUntil.
	Replaces      ledger.KeyID `json:"replaces,omitempty"`
	ReplacedUntil *time.Time   `json:"replaced_until,omitempty"`
}

// CreateKey asks for a new key.
type CreateKey struct {
	Name     string         `json:"name,omitempty"`
	Scope    ledger.Scope   `json:"scope,omitempty" doc:"call (the default) or manage"`
	Expires  *time.Time     `json:"expires,omitempty"`
	Networks []netip.Prefix `json:"networks,omitempty"`
}

// RotateKey asks for a new key in place of one.
type RotateKey struct {
	Grace *Duration `json:"grace,omitempty" doc:"how long the old key still works: 24h unless given, at most 720h"`
}

// SpendLimit answers PUT /v1/billing/limit. Limits are of a month's usage
// charges, without the fee; null is none.
type SpendLimit struct {
	Cents         *int64 `json:"cents" doc:"the customer's own"`
	OperatorCents *int64 `json:"operator_cents" doc:"set by the operator"`
	InForceCents  *int64 `json:"in_force_cents" doc:"the lower of the two"`
}

// SetSpendLimit asks for the customer's own spend limit; null removes it.
type SetSpendLimit struct {
	Cents *int64 `json:"cents"`
}

// Health answers GET /healthz and GET /readyz.
type Health struct {
	Status string `json:"status"`
}

// Problem is an RFC 9457 problem document.
type Problem = admission.Problem

// Duration is a [time.Duration] written as in Go, such as "24h" or "90m".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
