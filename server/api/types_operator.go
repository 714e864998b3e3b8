package api

import (
	"time"

	"tollgate/ledger"
)

// User is a customer as the operator sees it.
type User struct {
	ID             ledger.UserID  `json:"id"`
	Email          string         `json:"email"`
	Name           string         `json:"name"`
	Company        string         `json:"company"`
	Address        string         `json:"address"`
	TaxID          string         `json:"tax_id"`
	Plan           string         `json:"plan"`
	NextPlan       *PendingPlan   `json:"next_plan" doc:"null: no change is pending"`
	Status         ledger.Status  `json:"status"`
	SuspendedFor   string         `json:"suspended_for,omitempty"`
	Erased         bool           `json:"erased"`
	Created        time.Time      `json:"created"`
	Closed         *time.Time     `json:"closed"`
	SpendLimit     *ledger.Amount `json:"spend_limit" doc:"set by the operator"`
	OwnSpendLimit  *ledger.Amount `json:"own_spend_limit" doc:"set by the customer"`
	PaymentMethod  bool           `json:"payment_method" doc:"whether one is on file"`
	StripeCustomer string         `json:"stripe_customer,omitempty"`
	Keys           int            `json:"keys" doc:"active ones"`
}

// PendingPlan is a change of plan that lies ahead.
type PendingPlan struct {
	Plan string    `json:"plan"`
	From time.Time `json:"from"`
}

// UsersPage is a page of users in the order of their ids.
type UsersPage struct {
	Users      []User  `json:"users"`
	NextCursor *string `json:"next_cursor" doc:"null on the last page"`
}

// AddUser asks for a new user with a first key.
type AddUser struct {
	Email   string       `json:"email"`
	Name    string       `json:"name,omitempty"`
	Company string       `json:"company,omitempty"`
	Address string       `json:"address,omitempty"`
	TaxID   string       `json:"tax_id,omitempty"`
	Plan    string       `json:"plan,omitempty"`  // the default plan unless given
	Scope   ledger.Scope `json:"scope,omitempty"` // of the first key; call unless given
}

// AddedUser is a user just added. APIKey is shown only here.
type AddedUser struct {
	ID     ledger.UserID `json:"id"`
	Email  string        `json:"email"`
	Plan   string        `json:"plan"`
	APIKey string        `json:"api_key"`
}

// ChangePlan asks for another plan. An upgrade acts at once, anything else at
// the next period unless Now is set.
type ChangePlan struct {
	Plan string `json:"plan"`
	Now  bool   `json:"now,omitempty"`
}

// PlanChanged tells when a change of plan acts.
type PlanChanged struct {
	User             ledger.UserID    `json:"user"`
	SubscriptionTier string           `json:"subscription_tier" doc:"the plan asked for"`
	EffectiveAt      time.Time        `json:"effective_at"`
	FeeCents         int64            `json:"fee_cents" doc:"a full month's fee"`
	Quota            map[string]int64 `json:"quota" doc:"a full month's quota by meter"`
}

// UserTerms is what holds for a user now, and what was agreed for later, by time.
type UserTerms struct {
	User    ledger.UserID `json:"user"`
	InForce Terms         `json:"in_force"`
	Next    []Terms       `json:"next"`
}

// Terms is what a plan says for a user from an instant on.
type Terms struct {
	Plan     string                   `json:"plan"`
	Agreed   bool                     `json:"agreed" doc:"with this user; false: those of the plan"`
	From     time.Time                `json:"from"`
	FeeCents int64                    `json:"fee_cents" doc:"a full month's"`
	Quota    map[string]int64         `json:"quota" doc:"a full month's by meter; a meter not named is unlimited"`
	Overage  map[string]ledger.Amount `json:"overage" doc:"price of one unit beyond the quota, by meter"`
	Prices   []PublicPrice            `json:"prices" doc:"of every unit, where one price beyond a quota is not what is agreed"`
	ByCost   bool                     `json:"by_cost" doc:"the charge is the cost of the calls"`
	OnExceed string                   `json:"on_exceed"`
}

// AgreeTerms asks for terms of one user, in place of those in force at From. What
// is not named stays.
type AgreeTerms struct {
	Fee     *ledger.Amount            `json:"fee,omitempty"`     // a month
	Quota   map[string]*int64         `json:"quota,omitempty"`   // by meter; null: unlimited
	Overage map[string]*ledger.Amount `json:"overage,omitempty"` // of one unit, by meter; null: none
	Reset   bool                      `json:"reset,omitempty"`   // the plan's own terms again
	From    *time.Time                `json:"from,omitempty"`    // not in the past; nil: now
}

// LimitUser asks for the operator's spend limit of a user; null removes it.
type LimitUser struct {
	Amount *ledger.Amount `json:"amount"`
}

// OperatorKey asks for a new key of a user, with what only the operator may
// set.
type OperatorKey struct {
	CreateKey
	PerMinute *int `json:"per_minute,omitempty"` // nil: shares the plan's; 0: no limit
	PerDay    *int `json:"per_day,omitempty"`
}

// MonthUsage is what a user used in a month, and owes for it.
type MonthUsage struct {
	User             ledger.UserID `json:"user"`
	Email            string        `json:"email"`
	Period           Period        `json:"period"`
	CurrentUsage     CurrentUsage  `json:"current_usage"`
	Quota            Quota         `json:"quota"`
	Charges          Charges       `json:"charges"`
	SubscriptionTier string        `json:"subscription_tier"`
}

// TopUser is a line of the report of top users.
type TopUser struct {
	User           ledger.UserID `json:"user"`
	Email          string        `json:"email"`
	TotalCalls     int64         `json:"total_calls"`
	TotalDocuments int64         `json:"total_documents"`
	TotalCostCents int64         `json:"total_cost_cents"`
}

// BackupRequest names the file to write, an absolute path on the server. It
// must not exist.
type BackupRequest struct {
	Path string `json:"path"`
}

// Progress is one line of long work: either how far it is, or, last, how it
// ended.
type Progress struct {
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	Result  *LedgerReport `json:"result,omitempty"`
	Problem *Problem      `json:"problem,omitempty"`
}

// LedgerReport is what verify or backup found. Without problems the ledger is
// sound.
type LedgerReport struct {
	Entries  uint64   `json:"entries"`
	Records  uint64   `json:"records"`
	Users    int      `json:"users"`
	Head     string   `json:"head" doc:"of the hash chain, in hex"`
	Problems []string `json:"problems"`
}

// NewLedgerReport is a ledger's report as JSON has it; for commands that read
// a ledger without a server too.
func NewLedgerReport(r ledger.Report) LedgerReport {
	problems := r.Problems
	if problems == nil {
		problems = []string{}
	}
	return LedgerReport{r.Entries, r.Records, r.Users, hexHead(r.Head), problems}
}

// ClockState is the clock that the ledger is on.
type ClockState struct {
	Mode string    `json:"mode" doc:"system or test"`
	Now  time.Time `json:"now"`
	// Doubt is why nothing is billed by this clock until it is accepted; only the
	// clock's own answer has it.
	Doubt string `json:"doubt,omitempty"`
}

// SetClock sets a test clock; time only goes forward.
type SetClock struct {
	Time time.Time `json:"time"`
}

// AdvanceClock moves a test clock forward.
type AdvanceClock struct {
	By Duration `json:"by"`
}

// Status is the appliance at a glance.
type Status struct {
	Version  string       `json:"version"`
	Started  time.Time    `json:"started"`
	UptimeMS int64        `json:"uptime_ms"`
	Clock    ClockState   `json:"clock"`
	Ready    bool         `json:"ready"`
	NotReady string       `json:"not_ready,omitempty" doc:"why it is not"`
	Ledger   LedgerStatus `json:"ledger"`
	Live     Live         `json:"live"`
	Refusals []Refused    `json:"refusals" doc:"since the start"`
}

// Refused is how often calls were refused with a code on a route.
type Refused struct {
	Code  string `json:"code"`
	Route string `json:"route" doc:"empty: before a route was known"`
	Count int64  `json:"count"`
}

// LedgerStatus is the state of the ledger's file.
type LedgerStatus struct {
	Path       string    `json:"path" doc:"absolute"`
	ID         string    `json:"id"`
	Epoch      int       `json:"epoch"`
	Seq        uint64    `json:"seq"`
	Head       string    `json:"head"`
	LastLogged time.Time `json:"last_logged"`
	Created    time.Time `json:"created"`
	Currency   string    `json:"currency"`
	Timezone   string    `json:"timezone"`
	Users      int       `json:"users"`
	FileBytes  int64     `json:"file_bytes"`
	FreeBytes  int64     `json:"free_bytes" doc:"left on the disk"`
}

// Live counts what passes through the gateway since the start.
type Live struct {
	Calls      int64 `json:"calls" doc:"answered, refusals aside"`
	InFlight   int64 `json:"in_flight"`
	Streaming  int64 `json:"streaming" doc:"in flight, past the headers"`
	BytesIn    int64 `json:"bytes_in"`
	BytesOut   int64 `json:"bytes_out"`
	Unrecorded int64 `json:"unrecorded" doc:"broken off because the ledger could not commit"`
}
