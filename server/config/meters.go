package config

import (
	"maps"
	"slices"

	"tollgate/server/pricing"
)

// meters checks that what is priced, limited or burns credits is measured, and
// that it is settled what counts where an answer lacks it.
func (r *reading) meters() {
	measured := []string{"calls"}
	for i, f := range r.raw.Routes {
		own := r.routeMeters(f)
		r.routePrices(&r.c.Routes[i], f, own)
		for _, meter := range own {
			if !slices.Contains(measured, meter) {
				measured = append(measured, meter)
			}
		}
	}
	limits := r.planLimits(measured)
	for i, f := range r.raw.Routes {
		r.missingRules(&r.c.Routes[i], f, limits)
	}
	r.unheld()
}

// routeMeters lists what a route measures, by what is written: a source with a
// problem still names its meter.
func (r *reading) routeMeters(f routeFile) []string {
	list := []string{"calls"}
	for _, meter := range []string{"documents", "tokens"} {
		if f.At.has(meter) {
			list = append(list, meter)
		}
	}
	if own := f.At.fields["meters"]; own != nil {
		list = append(list, own.keys...)
	}
	return list
}

// sourceNode is where a route says how it measures a meter.
func sourceNode(f routeFile, meter string) *node {
	if meter == "documents" || meter == "tokens" {
		return f.At.get(meter)
	}
	return f.At.get("meters", meter)
}

// routePrices checks what a route's price and hold name.
func (r *reading) routePrices(route *Route, f routeFile, measured []string) {
	for _, meter := range slices.Sorted(maps.Keys(f.Price)) {
		if !slices.Contains(measured, meter) {
			r.problem(f.At.get("price", meter), "route %q has a price for %q, which it does not measure%s", f.Pattern, meter, meant(meter, measured))
		}
	}
	for _, meter := range slices.Sorted(maps.Keys(f.Hold)) {
		at := f.At.get("hold", meter)
		switch s := route.Source(meter); {
		case meter == "calls":
			r.problem(at, "route %q: each call holds one of \"calls\"; leave it out", f.Pattern)
		case !slices.Contains(measured, meter):
			r.problem(at, "route %q holds %q, which it does not measure%s", f.Pattern, meter, meant(meter, measured))
		case s != nil && s.KnownBefore():
			r.problem(at, "route %q: %s is known before the call, which holds exactly that; leave it out", f.Pattern, meter)
		}
	}
	for _, meter := range route.Meters() {
		s := route.Source(meter)
		byLength := meter == "tokens" && s.Kind == FromResponse
		if s.Missing == MissingEstimate && !byLength && f.Hold[meter] == 0 && !r.failed[f.At.fields["hold"]] {
			r.problem(sourceNode(f, meter).get("missing"), "route %q: the estimate of %s is what the route holds; add hold = { %s = N }", f.Pattern, meter, meter)
		}
	}
	terms := pricing.Route{Pattern: f.Pattern, Price: f.Price}
	if r.failed[f.At] {
		return
	}
	for _, bad := range pricingProblems(terms.Validate(r.c.Billing.MinorDigits)) {
		r.problem(termNode(f.At, bad.Key), "%v", bad)
	}
}

// planLimits checks the meters that plans name against those that some route
// measures, and returns them, each with the plan that names it. Where there is
// no route at all, usage comes as events, and any meter may.
func (r *reading) planLimits(measured []string) map[string]string {
	limits := make(map[string]string)
	for i := range r.c.Plans {
		p := &r.c.Plans[i]
		at := r.root
		for _, f := range r.raw.Plans {
			if f.ID == p.ID {
				at = f.At
			}
		}
		named := planMeters(p)
		for _, meter := range slices.Sorted(maps.Keys(named)) {
			if limits[meter] == "" {
				limits[meter] = p.ID
			}
			if len(r.raw.Routes) > 0 && !slices.Contains(measured, meter) {
				r.problem(termNode(at, named[meter]+"."+meter), "plan %q names the meter %q (%s), which no route measures%s", p.ID, meter, named[meter], meant(meter, measured))
			}
		}
	}
	return limits
}

// missingRules asks for `missing` where it decides about money.
func (r *reading) missingRules(route *Route, f routeFile, limits map[string]string) {
	if route.Auth == AuthNone {
		return
	}
	for _, meter := range route.Meters() {
		at := sourceNode(f, meter)
		if !route.Source(meter).CanMiss() || at.has("missing") {
			continue
		}
		_, priced := route.Price[meter]
		why := "the route prices it"
		if plan := limits[meter]; !priced && plan == "" {
			continue
		} else if !priced {
			why = "plan \"" + plan + "\" prices or limits it"
		}
		r.problem(at, "route %q: %s needs missing = \"zero\", \"estimate\" or a number, for answers without it, as %s", f.Pattern, meter, why)
	}
}

// unheld warns of quotas that calls at the same time can overrun, because
// nothing is reserved for what only the answer tells.
func (r *reading) unheld() {
	for i, f := range r.raw.Routes {
		route := &r.c.Routes[i]
		for _, meter := range route.Meters() {
			if route.Auth == AuthNone || route.Source(meter).KnownBefore() || route.Hold[meter] > 0 {
				continue
			}
			for _, p := range r.c.Plans {
				if _, limited := p.Quota[meter]; limited && p.OnExceed == pricing.Block {
					r.warn(sourceNode(f, meter), "route %q: %s is not known before the call: without hold = { %s = N }, calls at the same time can overrun the quota of plan %q",
						f.Pattern, meter, meter, p.ID)
					break
				}
			}
		}
	}
}
