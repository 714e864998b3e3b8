package admission

import (
	"net/netip"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Options of a Gate.
type Options struct {
	// Now is read once, by New: the instant from which minutes are measured. The
	// times passed to the gate's methods must come from the same clock.
	Now func() time.Time
	// UpgradeURL is where a customer chooses a larger plan; empty: no link is given.
	UpgradeURL string
	// APIPerMinute is how many calls of the customer API a user may make in any 60
	// seconds; 0: 120.
	APIPerMinute int
}

// Caller is who makes a call: an unrevoked key with its user, as they were when
// the key was presented. The user may be suspended or closed: [Gate.Admit]
// looks at that, the customer API does not.
type Caller struct {
	Key     *ledger.Key
	Account *ledger.Account
	User    *ledger.User
}

// Ask is what a call wants.
type Ask struct {
	Now   time.Time // from the clock of Options.Now, with its monotonic reading if it has one
	Route string    // the route's pattern, as its versions are named in the ledger
	// Asked is what the call will use, or what the route holds where that is not
	// known before the call. Negative quantities count as 0. It is kept until the
	// hold ends and must not be changed.
	Asked ledger.Quantities
}

// Limit is a limit in force with what is left of it, for the headers.
type Limit struct {
	// Name is "minute", "day" or "month"; "month-documents" and the like for the
	// quotas that a plan has beside its first one.
	Name      string
	Limit     int64 // calls; of a month's quota: units of its meter
	Remaining int64 // with the call admitted taken off; never negative
	Window    time.Duration
	// Reset is when the day or the period ends. Of the minute: when the oldest of
	// its calls leaves it, so that more may be made.
	Reset time.Time
	// Soft tells that calls beyond it are billed, not refused.
	Soft bool
}

func New(l *ledger.Ledger, o Options) *Gate { panic("not built yet") }

type Gate struct{}

func (g *Gate) Authenticate(secret string, from netip.Addr, now time.Time) (*Caller, *Refusal) {
	panic("not built yet")
}
func (g *Gate) AdmitAPI(c *Caller, now time.Time) *Refusal { panic("not built yet") }
func (g *Gate) Admit(c *Caller, a Ask) (*Hold, *Refusal)   { panic("not built yet") }
func (g *Gate) Recheck(c *Caller, now time.Time) *Refusal  { panic("not built yet") }
func (g *Gate) Refuse(route string, r *Refusal) *Refusal   { panic("not built yet") }
func (g *Gate) Refusals() []RefusalCount                   { panic("not built yet") }
func (g *Gate) Held() Held                                 { panic("not built yet") }

// RefusalCount is how often a code was given on a route since the start.
type RefusalCount struct {
	Code  string
	Route string // the pattern; "" before a route is known
	Count int64
}

// Held is the sum of the holds that have not ended.
type Held struct {
	Calls     int64
	Documents int64
	Tokens    int64
}

type Hold struct {
	Caller       *Caller
	Time         time.Time
	Period       ledger.Period
	RouteVersion *ledger.Version
	PlanVersion  *ledger.Version
	RouteTerms   *pricing.Route
	PlanTerms    *pricing.Plan
	Limits       []Limit
}

func (h *Hold) Extend(q ledger.Quantities) { panic("not built yet") }
func (h *Hold) HandOver()                  { panic("not built yet") }
func (h *Hold) Settle()                    { panic("not built yet") }
func (h *Hold) Release()                   { panic("not built yet") }
func (h *Hold) Abandon()                   { panic("not built yet") }
