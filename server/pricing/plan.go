package pricing

import "tollgate/ledger"

// The words of a plan's OnExceed: what happens to a call beyond the quota.
const (
	Block         = "block"           // refused
	Bill          = "bill"            // priced as overage
	BillIfPayable = "bill_if_payable" // priced where the user is payable, else refused
)

// The words of a plan's Billing.
const (
	Monthly  = "monthly"  // in arrears
	Realtime = "realtime" // each call charged as it ends
	Prepaid  = "prepaid"  // credits
)

// Plan is the terms of one version of a plan. Its JSON is what the ledger
// keeps as the version's terms: a field once used keeps its name and meaning.
type Plan struct {
	ID        string                   `json:"id"`
	Name      string                   `json:"name"`
	Fee       ledger.Amount            `json:"fee"`               // a month, in nanos
	Custom    bool                     `json:"custom,omitempty"`  // fee agreed per user: shown as "custom"
	Quota     map[string]int64         `json:"quota,omitempty"`   // meter to what is included; no entry: unlimited
	Overage   map[string]ledger.Amount `json:"overage,omitempty"` // meter to the price of one unit beyond the quota
	Prices    []Price                  `json:"prices,omitempty"`  // where one unit price is not enough
	ByCost    bool                     `json:"by_cost,omitempty"` // the charge is the cost of the calls
	Minimum   ledger.Amount            `json:"minimum,omitempty"` // least usage charge a month
	OnExceed  string                   `json:"on_exceed"`
	Billing   string                   `json:"billing"`
	Public    bool                     `json:"public,omitempty"`
	Exposure  ledger.Amount            `json:"exposure,omitempty"` // unpaid usage at which a user is no longer payable; 0: none
	PerMinute int                      `json:"per_minute"`         // calls; 0: no limit
	PerDay    int                      `json:"per_day"`            // calls, the day being the billing zone's; 0: no limit

	ChargeThreshold ledger.Amount    `json:"charge_threshold,omitempty"` // realtime
	Credits         map[string]int64 `json:"credits,omitempty"`          // prepaid: credits that one unit of a meter burns
	CreditsByCost   bool             `json:"credits_by_cost,omitempty"`  // prepaid: burns cost / CreditValue
	CreditValue     ledger.Amount    `json:"credit_value,omitempty"`
	CreditsLow      int64            `json:"credits_low,omitempty"` // prepaid: credits at which the customer is told
	Grant           *PlanGrant       `json:"grant,omitempty"`
	Recharge        *Recharge        `json:"recharge,omitempty"`
}

// PlanGrant is the credits that each period of a prepaid plan begins with. What is
// left of them at its end expires, but for at most Rollover credits.
type PlanGrant struct {
	Credits  int64 `json:"credits"`
	Rollover int64 `json:"rollover,omitempty"`
}

// Recharge buys a pack off-session when the balance falls below Below.
type Recharge struct {
	Below  int64  `json:"below"`
	Pack   string `json:"pack"`
	PerDay int    `json:"per_day"`
}

// The words of a Price's Model.
const (
	UnitModel = "unit"      // every unit at one price
	Package   = "package"   // started packages of Size units
	Graduated = "graduated" // each unit at the price of the tier it falls in
	Volume    = "volume"    // all units at the price of the tier the total falls in
)

// Price is how a plan prices one meter.
type Price struct {
	Meter    string        `json:"meter"`
	Model    string        `json:"model"`
	Unit     ledger.Amount `json:"unit,omitempty"`     // unit and package: price of a unit, of a package
	Size     int64         `json:"size,omitempty"`     // package
	Included int64         `json:"included,omitempty"` // free units before the price starts
	Minimum  ledger.Amount `json:"minimum,omitempty"`  // least charge for this meter a month
	Tiers    []Tier        `json:"tiers,omitempty"`
}

// Tier is one step of a graduated or volume price.
type Tier struct {
	UpTo int64         `json:"up_to,omitempty"` // 0 only in the last tier: no end
	Unit ledger.Amount `json:"unit"`
	Flat ledger.Amount `json:"flat,omitempty"` // added once when the tier is reached
}

// Route is the prices of one version of a route. Its JSON is what the ledger
// keeps as the version's terms.
type Route struct {
	Pattern string                   `json:"pattern"`
	Price   map[string]ledger.Amount `json:"price,omitempty"` // meter to the price of one unit, in nanos
}
