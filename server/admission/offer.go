package admission

import (
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Offer is a larger plan and what it means for the open month, if the user
// changed to it at once.
type Offer struct {
	Plan      *pricing.Plan // shared: read only
	Fee       int64         // minor units: all fees of this month, pro rata
	Included  int64         // of the meter, in this month as a whole
	Unlimited bool          // the plan has no quota for the meter
}

// Offer is the cheapest public plan that a user can change to at once and that
// gives more of a meter this month, or bills what is beyond it; false where
// there is none. It is computed by the functions that bill. The account must not
// be locked.
func (g *Gate) Offer(u *ledger.User, meter string, now time.Time) (Offer, bool) {
	if g.plans == nil || len(u.Plans) == 0 {
		return Offer{}, false
	}
	period := g.ledger.PeriodAt(now)
	assigned := u.PlanAt(now)
	current, from, err := g.book.Terms(g.ledger, u, assigned.Plan, assigned.From, now)
	if err != nil {
		return Offer{}, false
	}
	schedule, err := g.book.Schedule(g.versions(), u, period, g.basis)
	if err != nil {
		return Offer{}, false
	}
	has, limited := schedule.Quota(current.ID, meter, nil)
	if !limited {
		return Offer{}, false
	}
	var best Offer
	for _, p := range g.plans() {
		if !p.Public || p.Custom || p.Billing == pricing.Prepaid || p.ID == from.ID || !pricing.Upgrade(from, &p) {
			continue
		}
		if best.Plan != nil && best.Plan.Fee <= p.Fee {
			continue
		}
		offer, ok := g.preview(u, p.ID, meter, period, now)
		if ok && (offer.Unlimited || offer.Included > has.Included || p.OnExceed == pricing.Bill && from.OnExceed != pricing.Bill) {
			best = offer
		}
	}
	return best, best.Plan != nil
}

// preview is the month as it is when the user changes to a plan now.
func (g *Gate) preview(u *ledger.User, plan, meter string, period ledger.Period, now time.Time) (Offer, bool) {
	changed := *u
	changed.Plans = slices.DeleteFunc(slices.Clone(u.Plans), func(a ledger.Assignment) bool { return a.From.After(now) })
	changed.Plans = append(changed.Plans, ledger.Assignment{Plan: plan, From: now})
	schedule, err := g.book.Schedule(g.versions(), &changed, period, g.basis)
	if err != nil {
		return Offer{}, false
	}
	statement, err := schedule.Rate(nil)
	if err != nil {
		return Offer{}, false
	}
	segment, ok := schedule.At(now)
	if !ok || segment.Plan.ID != plan {
		return Offer{}, false
	}
	quota, limited := schedule.Quota(segment.Version, meter, nil)
	return Offer{segment.Plan, statement.BaseFee, quota.Included, !limited}, true
}

// offerKept is an offer's words, kept for a user who keeps calling beyond the quota.
type offerKept struct {
	terms  *terms
	meter  string
	until  time.Time
	detail string
}

// offer adds to a quota's refusal what a larger plan would give this month.
func (g *Gate) offer(r *Refusal, u *user, m *moment, meter string) {
	kept := u.offer.Load()
	if kept == nil || kept.terms != m.terms || kept.meter != meter || !m.time.Before(kept.until) {
		kept = &offerKept{m.terms, meter, m.time.Add(time.Minute), ""}
		if o, ok := g.Offer(m.user, meter, m.time); ok {
			kept.detail = g.describe(o, meter)
		}
		u.offer.Store(kept)
	}
	r.Detail += kept.detail
}

func (g *Gate) describe(o Offer, meter string) string {
	gives := "unlimited " + meter
	if !o.Unlimited {
		gives = count(o.Included) + " " + meter + " in all"
	}
	name := o.Plan.Name
	if name == "" {
		name = o.Plan.ID
	}
	monthly := o.Plan.Fee.Minor(g.basis.Digits)
	text := " Plan " + name + " gives " + gives + " this month, for a fee of " + g.money(o.Fee) + " this month"
	if o.Fee != monthly {
		text += " and " + g.money(monthly) + " a month after it"
	}
	return text + "."
}

// money writes minor units of the ledger's currency.
func (g *Gate) money(minor int64) string {
	return ledger.FormatMinor(minor, g.basis.Digits) + " " + g.currency
}
