package admission

import (
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Ask is what a call wants.
type Ask struct {
	Now   time.Time // by the clock of Options.Now, with its monotonic reading if it has one
	Route string    // the route's pattern, as its versions are named in the ledger
	// Asked is what the call will use, or what the route holds where that is not
	// known before the call. Negative quantities count as 0. It is kept until the
	// hold ends and must not be changed.
	//
	// A call that asks for 0 of a meter passes when its quota is used up exactly: it
	// fits. So a route whose size is not known has to ask for 1 at least.
	Asked ledger.Quantities
	// Free is a call that will not be billed, whatever it uses: the repeat of one
	// whose answer was cut off. Rate limits hold for it, quotas and the spend limit
	// do not, and it reserves nothing of them.
	Free bool
}

// Limit is a limit with what is left of it, for the headers.
type Limit struct {
	// Name is "minute", "day" or "month"; "month-documents" and the like for the
	// quotas that a plan has beside its first one.
	Name      string
	Limit     int64 // calls; of a month's quota: units of its meter
	Remaining int64 // with the call itself taken off, if it was admitted; never negative
	Window    time.Duration
	// Reset is when the day or the period ends. Of the minute it is when the oldest
	// of its calls leaves it, so that more may be made. ResetIn is how long that is
	// after the call.
	Reset   time.Time
	ResetIn time.Duration
	// Soft tells that calls beyond it are billed, not refused.
	Soft bool
}

// Admit decides whether a call may be made, and reserves what it asks for. It
// looks at the key again and at the user's status, the rate limits of the key or
// those that it shares, the quotas of the plan, the spend limit and the credits, in
// this order. The hold has to end, see [Hold]; the refusal is counted under the route.
//
// c is nil on a route that takes no keys: nothing is limited or reserved then,
// and the hold names the route's version alone.
func (g *Gate) Admit(c *Caller, a Ask) (*Hold, *Refusal) {
	h, r := g.admit(c, &a)
	if r != nil {
		return nil, g.Refuse(a.Route, r)
	}
	return h, nil
}

func (g *Gate) admit(c *Caller, a *Ask) (*Hold, *Refusal) {
	if err := g.ledger.Ready(); err != nil {
		return nil, unavailable(err)
	}
	if c == nil {
		return g.admitAnyone(a)
	}
	// Of a closed user there may be no terms to be found. It is looked at again
	// under the lock.
	if r := checkUser(c.Account.User()); r != nil {
		return nil, r
	}
	u := g.users.of(c.Account, g.floor)
	h := &Hold{Caller: c, user: u, free: a.Free, asked: boundedAll(a.Asked)}
	since := g.since(u, a.Now)
	for wall := u.time(a.Now); ; {
		m, err := g.moment(c, u, wall, a.Route)
		if err != nil {
			return nil, internal(err)
		}
		c.Account.Lock()
		if seen := u.seen.Load(); seen > wall && !m.holds(seen) {
			// Another call has begun a new day or period in the meantime. This one
			// belongs to it too: the one before must not be added to any more.
			c.Account.Unlock()
			wall = seen
			continue
		}
		r := g.decide(h, &m, since)
		c.Account.Unlock()
		if r != nil {
			if r.meter != "" {
				g.offer(r, u, &m, r.meter)
			}
			g.tellRefused(&m, r)
			return nil, r
		}
		return h, nil
	}
}

// admitAnyone admits a call without a user.
func (g *Gate) admitAnyone(a *Ask) (*Hold, *Refusal) {
	wall := g.nobody.time(a.Now)
	g.nobody.raise(wall)
	now := time.Unix(0, wall).UTC()
	v, prices, err := g.route(a.Route, now, now)
	if err != nil {
		return nil, internal(err)
	}
	return &Hold{Time: now.Truncate(time.Millisecond), Period: g.ledger.PeriodAt(now), RouteVersion: v, RouteTerms: prices}, nil
}

// internal is the refusal of a call whose terms cannot be found: a fault of the
// installation, which the client can do nothing about.
func internal(err error) *Refusal {
	r := NewRefusal(InternalError, "The terms of this call could not be found. The operator of this API has to look at it.")
	r.Cause = err
	return r
}

// decide is the critical section: the account is locked.
func (g *Gate) decide(h *Hold, m *moment, since int64) *Refusal {
	if r := checkUser(m.user); r != nil {
		return r
	}
	if r := checkKey(m.key, m.time); r != nil {
		return r
	}
	h.Limits = h.room[:0]
	h.cost = costOf(m.prices, h.asked)
	rate := rateOf(h.user, m)
	r := g.checkRate(h, m, &rate, since)
	quotas := len(h.Limits)
	if r == nil {
		if r = g.checkQuotas(h, m); h.free {
			r = nil
		}
	}
	if r == nil && (m.spend >= 0 || m.exposure() > 0) && !h.free {
		r = g.checkSpend(h, m)
	}
	if r == nil && m.plan.Billing == pricing.Prepaid && !h.free {
		r = g.checkCredits(h, m)
	}
	if r != nil {
		r.Limits = slices.Clone(h.Limits)
		return r
	}

	if rate.perMinute > 0 {
		rate.minute.add(since, rate.perMinute)
	}
	h.user.raise(m.wall)
	rate.days.add(m.day.Number, 1)
	if !h.free {
		h.user.hold(m.period.Month, m.version.ID, h.asked, h.cost)
		h.user.credits += h.credits
	}
	g.watch(h, m, h.near)
	h.days, h.day = rate.days, m.day.Number
	h.Time, h.Period = m.time.Truncate(time.Millisecond), m.period
	h.RouteVersion, h.RouteTerms = m.route, m.prices
	h.PlanVersion, h.PlanTerms = m.version, m.plan
	for i := range h.Limits {
		asked := int64(1)
		switch {
		case i >= quotas && h.free:
			asked = 0
		case i >= quotas:
			asked = h.asked.Of(m.meters[i-quotas])
		}
		h.Limits[i].Remaining = max(0, h.Limits[i].Remaining-asked)
	}
	return nil
}
