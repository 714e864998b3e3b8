package api

import (
	"time"

	"tollgate/ledger"
)

// What the screens of `tollgate top` show. Each is sent whole when it is first
// asked for and again when it has changed, at most once a second. Amounts are
// minor units of the ledger's currency unless they say otherwise; times are UTC.

// Overview is the appliance at a glance.
type Overview struct {
	At        time.Time      `json:"at" doc:"by the ledger's clock"`
	Version   string         `json:"version"`
	UptimeMS  int64          `json:"uptime_ms"`
	TestClock bool           `json:"test_clock"`
	Ready     bool           `json:"ready"`
	NotReady  string         `json:"not_ready,omitempty"`
	Currency  string         `json:"currency"`
	Timezone  string         `json:"timezone"`
	Users     int            `json:"users"`
	Traffic   Traffic        `json:"traffic"`
	Month     MonthSoFar     `json:"month"`
	Days      []UsedOnDay    `json:"days" doc:"the last 30 days of the billing zone, oldest first; the last is today so far"`
	Ledger    LedgerHealth   `json:"ledger"`
	Runs      []ScheduledRun `json:"runs" doc:"by when they are next due"`
	Attention []Attention    `json:"attention" doc:"most urgent first; empty: all is well"`
}

// Traffic is what passes through the gateway.
type Traffic struct {
	CallsPerSecond int64         `json:"calls_per_second" doc:"over the newest sample"`
	InFlight       int64         `json:"in_flight"`
	Streaming      int64         `json:"streaming"`
	Upgraded       int64         `json:"upgraded"`
	Samples        []int64       `json:"samples" doc:"calls in each of the last stretches of sample_ms, oldest first"`
	SampleMS       int64         `json:"sample_ms"`
	P50MS          float64       `json:"p50_ms" doc:"upper bound of the durations' median over the last minute; 0: no calls"`
	P95MS          float64       `json:"p95_ms"`
	P99MS          float64       `json:"p99_ms"`
	Outcomes       []ReasonCount `json:"outcomes" doc:"recorded calls that did not end well"`
	Refusals       []ReasonCount `json:"refusals" doc:"refused calls by code"`
}

// ReasonCount is how often something happened.
type ReasonCount struct {
	Reason string `json:"reason"`
	Minute int64  `json:"minute" doc:"in the last minute"`
	Total  int64  `json:"total" doc:"since the start"`
}

// MonthSoFar is the open billing period of all users together.
type MonthSoFar struct {
	Month     string    `json:"month" doc:"such as 2025-01"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Calls     int64     `json:"calls"`
	Documents int64     `json:"documents"`
	Tokens    int64     `json:"tokens"`
	CostCents int64     `json:"cost_cents" doc:"at the price list"`
	SoldCents int64     `json:"sold_cents" doc:"credit packs that were bought and paid, with tax; beside the charges"`
	// Charges are rated for all users from time to time; null until that is done.
	Charges *MonthCharges `json:"charges"`
}

// MonthCharges is what the open period comes to.
type MonthCharges struct {
	At             time.Time `json:"at" doc:"when they were rated"`
	SoFarCents     int64     `json:"so_far_cents" doc:"fees of the month and usage so far"`
	ProjectedCents int64     `json:"projected_cents" doc:"at the end of the month"`
}

// UsedOnDay is a day's usage.
type UsedOnDay struct {
	Date      string `json:"date" doc:"such as 2025-01-31"`
	Calls     int64  `json:"calls"`
	Documents int64  `json:"documents"`
	Tokens    int64  `json:"tokens"`
	CostCents int64  `json:"cost_cents"`
}

// LedgerHealth is the state of the ledger's file and what keeps it safe.
type LedgerHealth struct {
	Entries      uint64     `json:"entries"`
	FileBytes    int64      `json:"file_bytes"`
	FreeBytes    int64      `json:"free_bytes" doc:"left on the disk"`
	LastLogged   time.Time  `json:"last_logged"`
	CommitP50US  int64      `json:"commit_p50_us" doc:"time of a commit over the last minute, in microseconds; 0: none"`
	CommitP99US  int64      `json:"commit_p99_us"`
	LastSnapshot *time.Time `json:"last_snapshot" doc:"null: none is there"`
	LastVerify   *time.Time `json:"last_verify" doc:"the last one by the running server; null: none"`
	VerifyFound  int        `json:"verify_found" doc:"problems that it found"`
}

// ScheduledRun is a job of the schedule.
type ScheduledRun struct {
	Name    string     `json:"name"`
	Next    *time.Time `json:"next" doc:"null: not known"`
	Last    *time.Time `json:"last" doc:"when it last ended; null: not since the start"`
	Running bool       `json:"running"`
	Error   string     `json:"error,omitempty" doc:"of the last run"`
}

// Attention is something that the operator should look at.
type Attention struct {
	Level string `json:"level" doc:"bad: something fails now; warn: it will, or somebody must act"`
	Text  string `json:"text" doc:"a sentence with what to do"`
}

// UsersQuery says which users to watch and in which order.
type UsersQuery struct {
	Sort   string // calls, cost, quota, projected, email, id; "": calls
	Up     bool   // the smallest first
	Filter string // in e-mail, name, company, plan, status or id, in any case
	Offset int
	Limit  int
}

// UsersView is a page of users with their usage in the open period.
type UsersView struct {
	At    time.Time `json:"at"`
	Month string    `json:"month"`
	Total int       `json:"total" doc:"users that fit the filter"`
	All   int       `json:"all" doc:"all users"`
	Users []UserRow `json:"users"`
}

// UserRow is a user in a list.
type UserRow struct {
	ID             ledger.UserID `json:"id"`
	Email          string        `json:"email"`
	Plan           string        `json:"plan"`
	Status         ledger.Status `json:"status"`
	SuspendedFor   string        `json:"suspended_for,omitempty"`
	Calls          int64         `json:"calls"`
	Documents      int64         `json:"documents"`
	Tokens         int64         `json:"tokens"`
	CostCents      int64         `json:"cost_cents" doc:"at the price list"`
	Quota          *MeterQuota   `json:"quota" doc:"the one shown first; null: unlimited"`
	ChargeCents    int64         `json:"charge_cents" doc:"fee and usage so far"`
	ProjectedCents int64         `json:"projected_cents" doc:"fee and usage at the end of the month"`
	Balance        *int64        `json:"balance" doc:"whole credits; null: not on a prepaid plan"`
	Payment        bool          `json:"payment_method"`
	Owes           bool          `json:"owes" doc:"an invoice could not be collected"`
}

// MeterQuota is how far a quota is used.
type MeterQuota struct {
	Meter string `json:"meter"`
	Limit int64  `json:"limit"`
	Used  int64  `json:"used"`
	Soft  bool   `json:"soft" doc:"what is beyond it is billed, not refused"`
}

// UserView is all about one user.
type UserView struct {
	At        time.Time     `json:"at"`
	User      User          `json:"user"`
	Usage     MonthUsage    `json:"usage" doc:"of the open period, as tollgate usage has it"`
	Row       UserRow       `json:"row"`
	Quotas    []MeterQuota  `json:"quotas"`
	PerMinute int           `json:"per_minute" doc:"calls of the plan; 0: no limit"`
	PerDay    int           `json:"per_day"`
	Days      []UsedOnDay   `json:"days" doc:"the last 30, oldest first"`
	Routes    []UsedOnRoute `json:"routes" doc:"in the open period, most calls first"`
	Keys      []Key         `json:"keys" doc:"newest first, at most 50"`
	Invoices  []Invoice     `json:"invoices" doc:"newest first, at most 12"`
	Credits   *HeldCredits  `json:"credits" doc:"null: there never were any, and the plan is not prepaid"`
	Payments  []Payment     `json:"payments" doc:"that are no invoice's, newest first, at most 12"`
	Records   []Record      `json:"records" doc:"newest first, at most 20"`
}

// HeldCredits is a user's credits.
type HeldCredits struct {
	CreditBalance
	Granted    Credits       `json:"granted" doc:"ever, as the next ones"`
	Burnt      Credits       `json:"burnt"`
	Taken      Credits       `json:"taken" doc:"because they expired or were paid back"`
	Uncovered  Credits       `json:"uncovered" doc:"used when there were none left"`
	Grants     []CreditGrant `json:"grants" doc:"with something left, in the order they are burnt, at most 12"`
	MoreGrants int           `json:"more_grants"`
}

// UsedOnRoute is a user's usage of a route.
type UsedOnRoute struct {
	Route     string `json:"route"`
	Calls     int64  `json:"calls"`
	Documents int64  `json:"documents"`
	Tokens    int64  `json:"tokens"`
	CostCents int64  `json:"cost_cents"`
}

// RecordsFilter says which records to follow. Zero values ask for all.
type RecordsFilter struct {
	User    string // an id or an e-mail address
	Route   string // a part of the pattern
	Status  string // such as 200 or 5xx
	Outcome string // ok, upstream_error, ...
	Limit   int    // how many of the newest to begin with
}

// RecordsTail is records as they are made, oldest first.
type RecordsTail struct {
	At      time.Time `json:"at"`
	Records []Record  `json:"records"`
	Skipped int64     `json:"skipped" doc:"records that came too fast to be looked at"`
}

// BillingView is how billing stands.
type BillingView struct {
	At       time.Time     `json:"at"`
	Status   BillStatus    `json:"status"`
	Runs     []BillRunDone `json:"runs" doc:"since the start, newest first, at most 12"`
	Invoices []Invoice     `json:"invoices" doc:"newest first, at most 50, of the state asked for"`
	Month    MonthSoFar    `json:"month" doc:"the open period, which is billed next"`
}

// BillRunDone is a run that has ended.
type BillRunDone struct {
	At      time.Time   `json:"at"`
	Summary BillSummary `json:"summary"`
	Error   string      `json:"error,omitempty"`
}
