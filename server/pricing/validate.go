package pricing

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"tollgate/ledger"
)

// Problem is one thing that is wrong with terms. Key is where, as the
// configuration writes it: "fee", "overage.calls", "price.documents.tiers".
type Problem struct {
	Of     string // such as `plan "pro"`
	Key    string
	Detail string // what is wrong, and what to do
}

func (p *Problem) Error() string { return p.Of + ": " + p.Key + ": " + p.Detail }

// problems collects what is wrong with one thing.
type problems struct {
	of   string
	list []error
}

func (p *problems) add(key, format string, args ...any) {
	p.list = append(p.list, &Problem{p.of, key, fmt.Sprintf(format, args...)})
}

func (p *problems) notNegative(key string, a ledger.Amount) {
	if a < 0 {
		p.add(key, "%s is below zero; use 0 or more", a.Short())
	}
}

// wholeUnits refuses decimals in a currency that has none.
func (p *problems) wholeUnits(key string, a ledger.Amount, digits int) {
	if digits == 0 && a%ledger.Unit != 0 {
		p.add(key, "%s has decimals, but the currency has no minor unit; use a whole number", a.Short())
	}
}

func (p *problems) oneOf(key, word string, words ...string) {
	if !slices.Contains(words, word) {
		p.add(key, "%q is not known; use one of %q", word, words)
	}
}

// Validate tells all that is wrong with prices for a currency whose minor unit
// has so many digits: joined errors, each a *[Problem].
func (r *Route) Validate(currencyDigits int) error {
	p := problems{of: fmt.Sprintf("route %q", r.Pattern)}
	for _, meter := range slices.Sorted(maps.Keys(r.Price)) {
		p.wholeUnits("price."+meter, r.Price[meter], currencyDigits)
	}
	return errors.Join(append(r.problems(), p.list...)...)
}

// problems is what makes a route's cost meaningless.
func (r *Route) problems() []error {
	p := problems{of: fmt.Sprintf("route %q", r.Pattern)}
	if r.Pattern == "" {
		p.add("pattern", "is missing")
	}
	for _, meter := range slices.Sorted(maps.Keys(r.Price)) {
		p.meter("price", meter)
		p.notNegative("price."+meter, r.Price[meter])
		if r.Price[meter] > ledger.MaxCost {
			p.add("price."+meter, "%s is more than any call can cost; use at most %s", r.Price[meter].Short(), ledger.MaxCost.Short())
		}
	}
	return p.list
}

func (p *problems) meter(key, meter string) {
	valid := meter != ""
	for _, c := range meter {
		valid = valid && (c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !valid {
		p.add(key, "%q is not the name of a meter; use lower-case letters, digits and _", meter)
	}
}

// Validate tells all that is wrong with a plan for a currency whose minor unit
// has so many digits: joined errors, each a *[Problem].
func (p *Plan) Validate(currencyDigits int) error {
	found := problems{of: fmt.Sprintf("plan %q", p.ID)}
	p.checkSound(&found)
	p.checkFit(&found)
	p.checkBilling(&found)
	p.amounts(func(key string, a ledger.Amount) { found.wholeUnits(key, a, currencyDigits) })
	return errors.Join(found.list...)
}

// sound tells what would make rating impossible; it holds for each version
// that was ever made.
func (p *Plan) sound() error {
	found := problems{of: fmt.Sprintf("plan %q", p.ID)}
	p.checkSound(&found)
	return errors.Join(found.list...)
}

// amounts visits every sum of money in the plan with its key.
func (p *Plan) amounts(visit func(key string, a ledger.Amount)) {
	visit("fee", p.Fee)
	for _, meter := range slices.Sorted(maps.Keys(p.Overage)) {
		visit("overage."+meter, p.Overage[meter])
	}
	for i := range p.Prices {
		price := &p.Prices[i]
		visit(price.key("unit"), price.Unit)
		visit(price.key("minimum"), price.Minimum)
		for _, tier := range price.Tiers {
			visit(price.key("tiers"), tier.Unit)
			visit(price.key("tiers"), tier.Flat)
		}
	}
	visit("minimum", p.Minimum)
	visit("exposure", p.Exposure)
	visit("charge_threshold", p.ChargeThreshold)
	visit("credit_value", p.CreditValue)
}

func (p *Price) key(field string) string { return "price." + p.Meter + "." + field }

func (p *Plan) checkSound(found *problems) {
	if p.ID == "" {
		found.add("id", "is missing")
	}
	p.amounts(found.notNegative)
	for _, meter := range slices.Sorted(maps.Keys(p.Quota)) {
		found.meter("quota", meter)
		if n := p.Quota[meter]; n < 0 {
			found.add("quota."+meter, "%d is below zero; leave the meter out where it is unlimited", n)
		}
	}
	for _, meter := range slices.Sorted(maps.Keys(p.Overage)) {
		found.meter("overage", meter)
	}
	priced := map[string]bool{}
	for i := range p.Prices {
		price := &p.Prices[i]
		found.meter("price", price.Meter)
		if priced[price.Meter] {
			found.add("price."+price.Meter, "the meter is priced twice; keep one")
		}
		if _, ok := p.Overage[price.Meter]; ok {
			found.add("overage."+price.Meter, "the meter is priced twice, by overage and by price; keep one")
		}
		priced[price.Meter] = true
		price.checkSound(found)
	}
}

func (p *Price) checkSound(found *problems) {
	if p.Included < 0 {
		found.add(p.key("included"), "%d is below zero; use 0 or more", p.Included)
	}
	switch p.Model {
	case Package:
		if p.Size <= 0 {
			found.add(p.key("size"), "a package needs a size of 1 or more, not %d", p.Size)
		}
	case Graduated, Volume:
		p.checkTiers(found)
	case UnitModel:
	default:
		found.oneOf(p.key("model"), p.Model, UnitModel, Package, Graduated, Volume)
	}
}

func (p *Price) checkTiers(found *problems) {
	key := p.key("tiers")
	if len(p.Tiers) == 0 {
		found.add(key, "the model %q needs tiers, such as { up_to = 1000, unit = \"0.01\" }, { unit = \"0.005\" }", p.Model)
	}
	below := int64(0)
	for i, tier := range p.Tiers {
		last := i == len(p.Tiers)-1
		switch {
		case last && tier.UpTo != 0:
			found.add(key, "the last tier ends at %d, and nothing prices what comes after; leave out its up_to", tier.UpTo)
		case !last && tier.UpTo == 0:
			found.add(key, "tier %d has no up_to, which only the last may leave out", i+1)
		case !last && tier.UpTo <= below:
			found.add(key, "tier %d is up to %d and the one before it up to %d; they must ascend without overlap", i+1, tier.UpTo, below)
		}
		below = tier.UpTo
	}
}

// checkFit finds terms that contradict each other or have no effect.
func (p *Plan) checkFit(found *problems) {
	for i := range p.Prices {
		price := &p.Prices[i]
		tiered := price.Model == Graduated || price.Model == Volume
		if tiered && price.Unit != 0 {
			found.add(price.key("unit"), "the model %q is priced by its tiers; leave unit out", price.Model)
		}
		if !tiered && len(price.Tiers) > 0 {
			found.add(price.key("tiers"), "tiers are for the models %q and %q, not %q", Graduated, Volume, price.Model)
		}
		if price.Size != 0 && price.Model != Package {
			found.add(price.key("size"), "a size is for the model %q, not %q", Package, price.Model)
		}
		if _, ok := p.Quota[price.Meter]; ok && price.Included > 0 {
			found.add(price.key("included"), "the quota already says what is included; leave one out")
		}
	}
	for _, meter := range slices.Sorted(maps.Keys(p.Overage)) {
		if _, ok := p.Quota[meter]; !ok {
			found.add("overage."+meter, "there is no quota of %s to go beyond; add one, or price every unit with [[plan.price]]", meter)
		}
	}
	if p.ByCost && (len(p.Overage) > 0 || len(p.Prices) > 0) {
		found.add("overage", "a plan that charges the cost of the calls cannot price them again; leave out overage and price")
	}
	if p.OnExceed != "" || len(p.Quota) > 0 {
		found.oneOf("on_exceed", p.OnExceed, Block, Bill, BillIfPayable)
	}
	if p.OnExceed != Bill && p.OnExceed != BillIfPayable {
		return
	}
	for _, meter := range slices.Sorted(maps.Keys(p.Quota)) {
		_, overage := p.Overage[meter]
		price := slices.ContainsFunc(p.Prices, func(price Price) bool { return price.Meter == meter })
		switch {
		case p.ByCost || p.Billing == Prepaid:
			found.add("quota."+meter, "this plan has no price beyond a quota; use on_exceed = %q, or leave the quota out", Block)
		case !overage && !price:
			found.add("quota."+meter, "on_exceed = %q needs a price beyond the quota; add overage = { %s = \"0.01\" }, or use on_exceed = %q", p.OnExceed, meter, Block)
		}
	}
}

func (p *Plan) checkBilling(found *problems) {
	found.oneOf("billing", p.Billing, Monthly, Realtime, Prepaid)
	if p.PerMinute < 0 {
		found.add("rate_limits.per_minute", "%d is below zero; use 0 for no limit", p.PerMinute)
	}
	if p.PerDay < 0 {
		found.add("rate_limits.per_day", "%d is below zero; use 0 for no limit", p.PerDay)
	}
	if p.ChargeThreshold != 0 && p.Billing != Realtime {
		found.add("charge_threshold", "it is for billing = %q, not %q", Realtime, p.Billing)
	}
	if p.Billing == Realtime && p.Exposure == 0 {
		found.add("exposure", "billing = %q needs one, or a charge_threshold of which it is ten times: where a card fails, usage must end somewhere", Realtime)
	}
	if p.Billing != Prepaid {
		for _, field := range []struct {
			key   string
			given bool
		}{{"credits", len(p.Credits) > 0 || p.CreditsByCost}, {"credit_value", p.CreditValue != 0}, {"credits_low", p.CreditsLow != 0}, {"grant", p.Grant != nil}, {"recharge", p.Recharge != nil}} {
			if field.given {
				found.add(field.key, "it is for billing = %q, not %q", Prepaid, p.Billing)
			}
		}
		return
	}
	p.checkPrepaid(found)
}

// maxWholeCredits is the most credits that a user can ever be granted.
const maxWholeCredits = int64(ledger.MaxCredits / ledger.Unit)

func (p *Plan) checkPrepaid(found *problems) {
	if p.ByCost || len(p.Overage) > 0 || len(p.Prices) > 0 || p.Minimum != 0 {
		found.add("billing", "calls of a prepaid plan burn credits; leave out overage, price, minimum and charging by cost")
	}
	switch {
	case p.CreditsByCost && len(p.Credits) > 0:
		found.add("credits", "credits burn by the cost or by meters, not both")
	case p.CreditsByCost && p.CreditValue <= 0:
		found.add("credit_value", "credits = \"cost\" needs the value of a credit, such as credit_value = \"0.01\"")
	case !p.CreditsByCost && p.CreditValue != 0:
		found.add("credit_value", "it is for credits = \"cost\"")
	case !p.CreditsByCost && len(p.Credits) == 0:
		found.add("credits", "a prepaid plan needs what a call burns, such as credits = { documents = 1 }")
	}
	for _, meter := range slices.Sorted(maps.Keys(p.Credits)) {
		found.meter("credits", meter)
		if n := p.Credits[meter]; n <= 0 {
			found.add("credits."+meter, "%d credits a unit; use 1 or more", n)
		}
	}
	if p.CreditsLow < 0 || p.CreditsLow > maxWholeCredits {
		found.add("credits_low", "%d credits; use 0 or more, and at most %d", p.CreditsLow, maxWholeCredits)
	}
	if g := p.Grant; g != nil {
		if g.Credits <= 0 || g.Credits > maxWholeCredits {
			found.add("grant.credits", "%d credits a month; use 1 or more, and at most %d", g.Credits, maxWholeCredits)
		}
		if g.Rollover < 0 || g.Rollover > maxWholeCredits {
			found.add("grant.rollover", "%d credits; use 0 or more, and at most %d", g.Rollover, maxWholeCredits)
		}
	}
	if r := p.Recharge; r != nil && (r.Below <= 0 || r.Pack == "" || r.PerDay <= 0) {
		found.add("recharge", "it needs below (credits), pack (an id) and per_day (times), each above zero")
	}
}
