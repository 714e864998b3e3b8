package api

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// termsEndpoints are about what was agreed with single users.
func (s *service) termsEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{method: "GET", path: "/v1/users/{user}/terms"}, func(r *request) (UserTerms, error) {
			u, err := s.userOf(r)
			if err != nil {
				return UserTerms{}, err
			}
			return s.userTerms(u, r.now)
		}),
		takes(endpoint{method: "PUT", path: "/v1/users/{user}/terms"}, func(r *request, ask AgreeTerms) (UserTerms, error) {
			u, err := s.userOf(r)
			if err != nil {
				return UserTerms{}, err
			}
			return s.agree(u, r.now, r.by, ask)
		}),
	}
}

// planOf is what a configured plan is for a user: what was agreed with the user
// on it, or the plan itself.
func (s *service) planOf(u *ledger.User, p pricing.Plan, now time.Time) pricing.Plan {
	if _, own, err := s.Book.Terms(s.Ledger, u, p.ID, now, now); err == nil {
		return *own
	}
	return p
}

// userTerms is what holds for a user now, and what was agreed for later.
func (s *service) userTerms(u *ledger.User, now time.Time) (UserTerms, error) {
	plan := u.PlanAt(now)
	version, terms, err := s.Book.Terms(s.Ledger, u, plan.Plan, plan.From, now)
	if err != nil {
		return UserTerms{}, fmt.Errorf("reading the terms of user %d: %w", u.ID, err)
	}
	answer := UserTerms{User: u.ID, InForce: s.terms(version, terms), Next: []Terms{}}
	for _, v := range pending(s.Ledger.OwnVersions(u.ID), now) {
		on := u.PlanAt(v.Effective)
		if on.Plan != v.Name {
			continue // it waits for a plan that the user is not on then
		}
		version, terms, err := s.Book.Terms(s.Ledger, u, on.Plan, on.From, v.Effective)
		if err != nil {
			return UserTerms{}, fmt.Errorf("reading the terms of user %d at %v: %w", u.ID, v.Effective, err)
		}
		next := s.terms(version, terms)
		next.From = v.Effective
		answer.Next = append(answer.Next, next)
	}
	return answer, nil
}

// pending leaves what begins after now and is not replaced by something that was
// agreed later and begins no later.
func pending(own []*ledger.Version, now time.Time) []*ledger.Version {
	var list []*ledger.Version
	for _, v := range own {
		for len(list) > 0 && list[len(list)-1].Name == v.Name && !list[len(list)-1].Effective.Before(v.Effective) {
			list = list[:len(list)-1]
		}
		if v.Effective.After(now) {
			list = append(list, v)
		}
	}
	return list
}

func (s *service) terms(v *ledger.Version, p *pricing.Plan) Terms {
	t := Terms{
		Plan: p.ID, Agreed: v.User != 0, From: v.Effective, FeeCents: s.cents(p.Fee),
		Quota: p.Quota, Overage: p.Overage, Prices: publicPrices(p), ByCost: p.ByCost, OnExceed: p.OnExceed,
	}
	if t.Quota == nil {
		t.Quota = map[string]int64{}
	}
	if t.Overage == nil {
		t.Overage = map[string]ledger.Amount{}
	}
	return t
}

// agree makes terms of the plan that the user is on at their beginning: those in
// force then, with what was asked for in their place.
func (s *service) agree(u *ledger.User, now time.Time, by string, ask AgreeTerms) (UserTerms, error) {
	if err := staysClosed(u); err != nil {
		return UserTerms{}, err
	}
	from := now
	if ask.From != nil {
		if from = *ask.From; from.Before(now) {
			return UserTerms{}, badField("from", "%s has passed: what was used until now was used on other terms", from.UTC().Format(time.RFC3339))
		}
	}
	changes := ask.Fee != nil || len(ask.Quota) > 0 || len(ask.Overage) > 0
	if changes == ask.Reset {
		return UserTerms{}, badField("reset", "ask either for a fee, a quota or an overage, or for the plan's own terms")
	}
	plan := u.PlanAt(from)
	text := []byte("null")
	if changes {
		_, terms, err := s.Book.Terms(s.Ledger, u, plan.Plan, plan.From, from)
		if err != nil {
			return UserTerms{}, fmt.Errorf("reading the terms of user %d: %w", u.ID, err)
		}
		changed := with(*terms, ask)
		for meter, n := range ask.Quota {
			if _, priced := changed.Overage[meter]; n != nil && !priced && changed.OnExceed != pricing.Block {
				return UserTerms{}, badField("quota."+meter, "there is no price for what is beyond it; give an overage for it too")
			}
		}
		if err := changed.Validate(s.digits); err != nil {
			return UserTerms{}, badTerms(err)
		}
		if text, err = changed.Terms(); err != nil {
			return UserTerms{}, err
		}
	}
	v, err := s.Ledger.Agree(now, by, u.ID, plan.Plan, text, from.UTC().Truncate(time.Millisecond))
	if err != nil {
		return UserTerms{}, err
	}
	s.Log.Info("terms agreed", "user", u.ID, "plan", plan.Plan, "version", v.ID, "from", v.Effective, "by", by)
	return s.userTerms(u, now)
}

// with is a plan's terms with others in their place. Where a unit gets a price
// the plan bills by it, not by the cost of the calls: what is beyond the quota,
// or, where there is none, every unit.
func with(p pricing.Plan, ask AgreeTerms) pricing.Plan {
	p.Quota, p.Overage = maps.Clone(p.Quota), maps.Clone(p.Overage)
	if ask.Fee != nil {
		p.Fee, p.Custom = *ask.Fee, false
	}
	for meter, n := range ask.Quota {
		if n == nil { // nothing is beyond it either
			delete(p.Quota, meter)
			delete(p.Overage, meter)
			continue
		}
		if p.Quota == nil {
			p.Quota = map[string]int64{}
		}
		p.Quota[meter] = *n
	}
	for _, meter := range slices.Sorted(maps.Keys(ask.Overage)) {
		unit := ask.Overage[meter]
		p.Prices = withoutMeter(p.Prices, meter)
		delete(p.Overage, meter)
		if unit == nil {
			continue
		}
		p.ByCost = false
		if _, limited := p.Quota[meter]; !limited {
			p.Prices = append(p.Prices, pricing.Price{Meter: meter, Model: pricing.UnitModel, Unit: *unit})
			continue
		}
		if p.Overage == nil {
			p.Overage = map[string]ledger.Amount{}
		}
		p.Overage[meter] = *unit
		if p.OnExceed == pricing.Block {
			p.OnExceed = pricing.Bill
		}
	}
	return p
}

func withoutMeter(prices []pricing.Price, meter string) []pricing.Price {
	var kept []pricing.Price
	for _, p := range prices {
		if p.Meter != meter {
			kept = append(kept, p)
		}
	}
	return kept
}

// badTerms is the first thing that is wrong with terms.
func badTerms(err error) error {
	if problem, ok := errors.AsType[*pricing.Problem](err); ok {
		return badField(problem.Key, "%s", problem.Detail)
	}
	return err
}
