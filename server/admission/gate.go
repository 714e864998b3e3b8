package admission

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Options of a Gate.
type Options struct {
	// Now is read once, by New: the instant from which minutes are measured. The
	// times passed to the gate's methods must come from the same clock. Nil:
	// time.Now.
	Now func() time.Time
	// UpgradeURL is where a customer chooses a larger plan; empty: no link is given.
	UpgradeURL string
	// PurchaseURL is where a customer buys credits; empty: no link is given.
	PurchaseURL string
	// APIPerMinute is how many calls of the customer API a user may make in any 60
	// seconds; 0: 120.
	APIPerMinute int
	// Book remembers parsed terms, and may be shared with others; nil: an own one.
	Book *pricing.Book
	// FullProration is whether an upgrade gives the whole month's quota
	// (`proration = "full"`).
	FullProration bool
	// Plans is the configured plans, from which a larger one is offered to a user
	// whose quota is used up; nil: none is.
	Plans func() []pricing.Plan
	// Attend is told of users whose payments are to be seen to: credits run low, or
	// usage is to be charged. Notice is told what a customer is to be told because
	// calls are refused. Both are called in the middle of calls and of commits, often
	// for the same, and must not wait; nil: nobody is.
	Attend func(ledger.UserID)
	Notice func(ledger.Notice)
}

const defaultAPIPerMinute = 120

// Gate admits calls. There is one for a ledger; its methods may be called from
// any goroutine.
type Gate struct {
	ledger *ledger.Ledger
	book   *pricing.Book
	basis  pricing.Basis
	known  atomic.Pointer[versions]
	users  users
	nobody user // the time of calls without a user; it holds nothing
	counts counts

	start      time.Time // minutes are measured from it
	monotonic  bool      // start has a monotonic reading
	floor      int64     // the time of the last entry: no call is admitted at an earlier one
	currency   string    // as people write it, such as USD
	plans      func() []pricing.Plan
	upgradeURL string

	purchaseURL string
	onAttend    func(ledger.UserID)
	onNotice    func(ledger.Notice)
	apiLimit    int64
}

// New makes the gate of a ledger.
func New(l *ledger.Ledger, o Options) *Gate {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Book == nil {
		o.Book = pricing.NewBook()
	}
	if o.APIPerMinute == 0 {
		o.APIPerMinute = defaultAPIPerMinute
	}
	g := &Gate{
		ledger: l, book: o.Book, basis: pricing.Basis{Digits: 2, Full: o.FullProration},
		start: o.Now(), plans: o.Plans, upgradeURL: o.UpgradeURL, purchaseURL: o.PurchaseURL, onAttend: o.Attend, onNotice: o.Notice, apiLimit: int64(o.APIPerMinute),
	}
	g.monotonic = g.start != g.start.Round(0) // Round(0) takes the reading away
	// What cannot be told of the file's size does not matter here.
	status, _ := l.Status()
	g.floor = status.LastLogged.UnixNano()
	g.nobody.seen.Store(g.floor)
	g.currency = strings.ToUpper(status.Currency)
	if digits, err := ledger.MinorDigits(status.Currency); err == nil {
		g.basis.Digits = digits
	}
	return g
}

// since is a time as minutes are measured: now by the monotonic clock, so that it
// does not step with the clock of the wall; where there is none, as on a test
// clock, the time of the user's call.
func (g *Gate) since(u *user, now time.Time) int64 {
	if g.monotonic {
		return int64(now.Sub(g.start))
	}
	return u.time(now) - g.start.UnixNano()
}

// Caller is who makes a call: a key that is neither revoked nor expired, and its
// user, as they were when the key was presented. The user may be suspended or
// closed: [Gate.Admit] refuses them, the customer API does not.
type Caller struct {
	Key     *ledger.Key
	Account *ledger.Account
	User    *ledger.User
}

// Authenticate finds the caller of a key: secret as the client sent it, "" where
// it sent none. from is where the call comes from, as far as it can be trusted;
// keys with allowed networks refuse the zero Addr. The refusal is counted.
func (g *Gate) Authenticate(secret string, from netip.Addr, now time.Time) (*Caller, *Refusal) {
	c, r := g.find(secret, from, now)
	if r != nil {
		return nil, g.Refuse("", r)
	}
	return c, nil
}

// Identify is Authenticate with the key that a request's header has.
func (g *Gate) Identify(h http.Header, from netip.Addr, now time.Time) (*Caller, *Refusal) {
	secret, r := KeyFromHeader(h)
	if r != nil {
		return nil, g.Refuse("", r)
	}
	return g.Authenticate(secret, from, now)
}

func (g *Gate) find(secret string, from netip.Addr, now time.Time) (*Caller, *Refusal) {
	if secret == "" {
		return nil, missingKey()
	}
	var key *ledger.Key
	var account *ledger.Account
	if hash, ok := hashKey(secret); ok {
		key, account = g.ledger.Key(hash)
	}
	switch {
	case key != nil && account != nil:
	case CheckKey(secret) != nil:
		return nil, NewRefusal(InvalidKey, "The API key is mistyped or incomplete: its form or checksum is wrong.")
	default:
		return nil, NewRefusal(InvalidKey, "There is no such API key.")
	}
	if r := checkKey(key, now); r != nil {
		return nil, r
	}
	if !allowed(key.Networks, from) {
		return nil, NewRefusal(NetworkNotAllowed, "This API key may not be used from the network that the call comes from.")
	}
	return &Caller{key, account, account.User()}, nil
}

// checkKey refuses a revoked or expired key.
func checkKey(k *ledger.Key, now time.Time) *Refusal {
	switch {
	case !k.Revoked.IsZero():
		return NewRefusal(KeyRevoked, "This API key was revoked. Use another one, or create one.")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return NewRefusal(KeyExpired, "This API key expired on "+k.Expires.UTC().Format(time.RFC3339)+". Use another one, or create one.")
	}
	return nil
}

// checkUser refuses a suspended or closed user.
func checkUser(u *ledger.User) *Refusal {
	switch u.Status {
	case ledger.Active:
		return nil
	case ledger.Suspended:
		if u.SuspendedFor == "payment" {
			return NewRefusal(AccountSuspended, "The account is suspended until its open invoices are paid.")
		}
		return NewRefusal(AccountSuspended, "The account was suspended by the operator of this API.")
	}
	return NewRefusal(AccountClosed, "The account is closed.")
}

func allowed(networks []netip.Prefix, from netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	from = from.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(from) {
			return true
		}
	}
	return false
}

// Recheck tells whether a caller whose call is still running may go on: it
// refuses where the key was revoked or has expired, or the user was suspended or
// closed, since. It is for connections that stay open. The refusal is not counted.
func (g *Gate) Recheck(c *Caller, now time.Time) *Refusal {
	key := g.ledger.KeyByID(c.Key.ID)
	if key == nil {
		return NewRefusal(InvalidKey, "There is no such API key.")
	}
	if r := checkKey(key, now); r != nil {
		return r
	}
	return checkUser(c.Account.User())
}

// AdmitAPI lets a call of the customer API pass, also of a suspended or closed
// user, under a rate limit of its own that all keys of the user share. It
// reserves nothing. The refusal is counted.
func (g *Gate) AdmitAPI(c *Caller, now time.Time) *Refusal {
	u := g.users.of(c.Account, g.floor)
	since := g.since(u, now)
	c.Account.Lock()
	defer c.Account.Unlock()
	used := u.api.used(since)
	if used >= g.apiLimit {
		wait := u.api.wait(since, g.apiLimit)
		l := Limit{Name: "minute", Limit: g.apiLimit, Window: time.Minute, Reset: now.Add(wait).UTC(), ResetIn: wait}
		r := rateLimited("The account may make "+count(g.apiLimit)+" calls of this API in any 60 seconds.", l, used)
		r.Limits = []Limit{l}
		return g.Refuse("", r)
	}
	u.api.add(since, g.apiLimit)
	return nil
}

// Refuse counts a refusal under a route's pattern ("" where there is none yet)
// and returns it. It is for refusals that others make with [NewRefusal]; those
// that the gate's methods return are counted already.
func (g *Gate) Refuse(route string, r *Refusal) *Refusal {
	g.counts.add(r.Code, route)
	return r
}

// Refusals is how often which code was given on which route since the process
// started, by code and route.
func (g *Gate) Refusals() []RefusalCount { return g.counts.list() }

// Held is the sum of the holds that have not ended.
type Held struct {
	Users     int // with a call running
	Calls     int64
	Documents int64
	Tokens    int64
}

// Held adds up what is reserved by running calls. It looks at each user who has
// made a call, under the account's lock: a few tens of nanoseconds each.
func (g *Gate) Held() Held {
	var sum Held
	g.users.each(func(id ledger.UserID, u *user) {
		account := g.ledger.Account(id)
		account.Lock()
		defer account.Unlock()
		before := sum.Calls
		for _, month := range u.held {
			for i := range month.plans {
				sum.Calls += month.plans[i].Calls
				sum.Documents += month.plans[i].Documents
				sum.Tokens += month.plans[i].Tokens
			}
		}
		if sum.Calls > before {
			sum.Users++
		}
	})
	return sum
}

// unavailable is the refusal of a call whose record could not be kept.
func unavailable(err error) *Refusal {
	detail := "Calls cannot be recorded at the moment, so none is made. Try again shortly."
	if errors.Is(err, ledger.ErrLowDisk) {
		detail = "Calls cannot be recorded because the disk is almost full, so none is made. Try again later."
	}
	r := NewRefusal(LedgerUnavailable, detail)
	r.RetryAfter = 5 * time.Second
	return r
}
