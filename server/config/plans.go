package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tollgate/server/pricing"
)

// plans merges the file's plans over the shipped ones.
func (r *reading) plans() {
	seen := make(map[string]*node)
	for _, f := range r.raw.Plans {
		r.required(f.At, "id")
		if f.ID == "" {
			continue
		}
		at := f.At.get("id")
		r.name(at, f.ID)
		if first := seen[f.ID]; first != nil {
			r.problem(at, "plan %q is given twice; first in line %d", f.ID, first.line)
			continue
		}
		seen[f.ID] = at
		i := slices.IndexFunc(r.c.Plans, func(p pricing.Plan) bool { return p.ID == f.ID })
		if i < 0 {
			i = len(r.c.Plans)
			r.c.Plans = append(r.c.Plans, newPlan(f.ID))
			r.newPlan(f)
		}
		r.merge(&r.c.Plans[i], f)
		if !r.failed[f.At] {
			r.validate(f.At, &r.c.Plans[i])
		}
		if f.Effective != nil {
			r.c.Effective[f.ID] = f.Effective.in(r.c.Billing.Location)
		}
	}
	var ids []string
	for i := range r.c.Plans {
		p := &r.c.Plans[i]
		ids = append(ids, p.ID)
		if seen[p.ID] == nil {
			r.validateShipped(p)
		}
	}
	if id := r.c.Billing.DefaultPlan; !slices.Contains(ids, id) {
		r.wrong(r.root.get("billing", "default_plan"), "is %q, but there is no such plan%s", id, meant(id, ids))
	}
}

// newPlan is what holds for a plan that is not shipped where the file says
// nothing.
func newPlan(id string) pricing.Plan {
	return pricing.Plan{ID: id, Name: id, OnExceed: pricing.Block, Billing: pricing.Monthly, PerMinute: 60, PerDay: 10_000}
}

// newPlan asks for what a plan cannot do without, and has no default that is
// right for all.
func (r *reading) newPlan(f planFile) {
	r.required(f.At, "fee")
	if len(f.Quota) > 0 && f.OnExceed == nil && !r.failed[f.At] {
		r.problem(f.At, "plan %q has a quota: say with on_exceed what happens beyond it (%s)",
			f.ID, alternatives([]string{pricing.Block, pricing.Bill, pricing.BillIfPayable}))
	}
}

// exposedThresholds is how many charge thresholds of usage may be unpaid on a
// realtime plan that says nothing of its exposure.
const exposedThresholds = 10

// merge replaces the terms that are given and keeps the others.
func (r *reading) merge(p *pricing.Plan, f planFile) {
	set(&p.Name, f.Name)
	if f.Fee != nil {
		p.Fee, p.Custom = f.Fee.amount, f.Fee.custom
	}
	if f.Quota != nil {
		p.Quota = f.Quota
	}
	if f.Overage != nil {
		p.Overage = f.Overage
	}
	if f.Prices != nil {
		p.Prices = r.prices(f)
	}
	set(&p.ByCost, f.ByCost)
	set(&p.Minimum, f.Minimum)
	set(&p.OnExceed, f.OnExceed)
	set(&p.Billing, f.Billing)
	set(&p.Public, f.Public)
	set(&p.Exposure, f.Exposure)
	if f.RateLimits != nil {
		set(&p.PerMinute, f.RateLimits.PerMinute)
		set(&p.PerDay, f.RateLimits.PerDay)
	}
	set(&p.ChargeThreshold, f.ChargeThreshold)
	if p.Billing == pricing.Realtime && p.Exposure == 0 {
		// Where a card fails, usage must end somewhere.
		if most, err := p.ChargeThreshold.Times(exposedThresholds); err == nil {
			p.Exposure = most
		}
	}
	if f.Credits != nil {
		p.Credits, p.CreditsByCost = f.Credits.perMeter, f.Credits.byCost
	}
	set(&p.CreditValue, f.CreditValue)
	if f.Recharge != nil {
		p.Recharge = r.recharge(*f.Recharge)
	}
	set(&p.CreditsLow, f.CreditsLow)
	if f.CreditsLow == nil && p.Recharge != nil {
		p.CreditsLow = p.Recharge.Below
	}
	if f.Grant != nil {
		r.required(f.Grant.At, "credits")
		p.Grant = &pricing.PlanGrant{Rollover: f.Grant.Rollover}
		set(&p.Grant.Credits, f.Grant.Credits)
	}
	if p.Billing == pricing.Prepaid && f.Credits == nil && !p.CreditsByCost && len(p.Credits) == 0 {
		p.Credits = map[string]int64{"documents": 1}
	}
}

func set[T any](target *T, given *T) {
	if given != nil {
		*target = *given
	}
}

func (r *reading) recharge(f rechargeFile) *pricing.Recharge {
	r.required(f.At, "below", "pack")
	var packs []string
	for _, pack := range r.c.CreditPacks {
		packs = append(packs, pack.ID)
	}
	if at := f.At.get("pack"); f.Pack != "" && !slices.Contains(packs, f.Pack) && !r.failed[at] {
		r.problem(at, "there is no [[credit_pack]] %q%s", f.Pack, meant(f.Pack, packs))
	}
	recharge := &pricing.Recharge{Pack: f.Pack, PerDay: 1}
	set(&recharge.Below, f.Below)
	set(&recharge.PerDay, f.PerDay)
	return recharge
}

// prices checks [[plan.price]].
func (r *reading) prices(f planFile) []pricing.Price {
	seen := make(map[string]*node)
	list := make([]pricing.Price, 0, len(f.Prices))
	for _, price := range f.Prices {
		r.required(price.At, "meter", "model")
		if first := seen[price.Meter]; first != nil && price.Meter != "" {
			r.problem(price.At, "plan %q prices %q twice; first in line %d", f.ID, price.Meter, first.line)
		}
		seen[price.Meter] = price.At
		if !r.failed[price.At] {
			list = append(list, r.price(f, price))
		}
	}
	return list
}

// price reads one price. What has no zero that could stand for "not given" is
// asked for here; the rest is for the plan's own Validate.
func (r *reading) price(plan planFile, f priceFile) pricing.Price {
	p := pricing.Price{Meter: f.Meter, Model: f.Model, Included: f.Included, Minimum: f.Minimum}
	what := fmt.Sprintf("plan %q: price.%s", plan.ID, f.Meter)
	tiered := f.Model == pricing.Graduated || f.Model == pricing.Volume
	if !tiered && f.Unit == nil {
		r.problem(f.At, "%s: model = %q needs unit", what, f.Model)
	}
	set(&p.Unit, f.Unit)
	set(&p.Size, f.Size)
	for i, tier := range f.Tiers {
		if tier.Unit == nil {
			r.problem(tier.At, "%s.tiers: tier %d needs unit, the price of one", what, i+1)
			continue
		}
		t := pricing.Tier{Unit: *tier.Unit, Flat: tier.Flat}
		set(&t.UpTo, tier.UpTo)
		p.Tiers = append(p.Tiers, t)
	}
	return p
}

// validate asks pricing whether a plan makes sense, and tells what does not at
// the lines that say it.
func (r *reading) validate(at *node, p *pricing.Plan) {
	for _, bad := range pricingProblems(p.Validate(r.c.Billing.MinorDigits)) {
		r.problem(termNode(at, bad.Key), "%v", bad)
	}
	if p.Custom && p.ID == r.c.Billing.DefaultPlan {
		r.problem(at.get("fee"), "plan %q is the default plan, and cannot have fee = \"custom\"", p.ID)
	}
}

// validateShipped finds terms of the shipped plans that another currency does
// not have.
func (r *reading) validateShipped(p *pricing.Plan) {
	at := r.root.get("billing", "currency")
	for _, bad := range pricingProblems(p.Validate(r.c.Billing.MinorDigits)) {
		r.problem(at, "%v (this plan is shipped; give it terms of your own with [[plan]] id = %q)", bad, p.ID)
	}
}

// pricingProblems takes apart what Validate joined.
func pricingProblems(err error) []*pricing.Problem {
	var list []*pricing.Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			list = append(list, pricingProblems(err)...)
		}
		return list
	}
	var bad *pricing.Problem
	if errors.As(err, &bad) {
		list = append(list, bad)
	}
	return list
}

// termNode is where a plan says what pricing calls by a dotted key, such as
// "overage.calls" or "price.documents.tiers".
func termNode(at *node, key string) *node {
	words := strings.Split(key, ".")
	prices := at.fields["price"]
	if words[0] != "price" || prices == nil || len(words) < 2 || prices.kind != arrayKind {
		return at.get(words...)
	}
	for _, price := range prices.items {
		if meter := price.fields["meter"]; meter != nil && meter.value == words[1] {
			return price.get(words[2:]...)
		}
	}
	return prices
}

// planMeters lists the meters that a plan's terms name, each with the key that
// names it.
func planMeters(p *pricing.Plan) map[string]string {
	named := make(map[string]string)
	add := func(key string, meters []string) {
		for _, meter := range meters {
			if named[meter] == "" {
				named[meter] = key
			}
		}
	}
	add("quota", slices.Collect(maps.Keys(p.Quota)))
	add("overage", slices.Collect(maps.Keys(p.Overage)))
	for _, price := range p.Prices {
		add("price", []string{price.Meter})
	}
	if p.Billing == pricing.Prepaid {
		add("credits", slices.Collect(maps.Keys(p.Credits)))
	}
	return named
}

// Plan is the plan with an id, or nil.
func (c *Config) Plan(id string) *pricing.Plan {
	for i := range c.Plans {
		if c.Plans[i].ID == id {
			return &c.Plans[i]
		}
	}
	return nil
}
