package pricing_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

func TestShippedPlans(t *testing.T) {
	var ids []string
	for _, p := range pricing.Shipped() {
		ids = append(ids, p.ID)
		if err := p.Validate(2); err != nil {
			t.Error(err)
		}
		if !p.Public || p.PerMinute != 60 || p.PerDay != 10_000 {
			t.Errorf("plan %q is not public with the usual limits: %+v", p.ID, p)
		}
	}
	if diff := cmp.Diff([]string{"free", "pro", "enterprise"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	pricing.Shipped()[0].Quota["calls"] = 1
	if got := shipped(t, "free").Quota["calls"]; got != 1000 {
		t.Errorf("a caller changed what is shipped: %d", got)
	}
}

func TestTermsComeBack(t *testing.T) {
	everything := &pricing.Plan{
		ID: "x", Name: "X", Fee: 5, Custom: true, Quota: map[string]int64{"calls": 0, "pages": 7}, Overage: map[string]ledger.Amount{"calls": cent},
		Prices: []pricing.Price{graduated, {Meter: "pages", Model: pricing.Package, Size: 10, Unit: cent, Included: 4, Minimum: 9}}, ByCost: true,
		Minimum: 6, OnExceed: pricing.Block, Billing: pricing.Prepaid, Public: true, Exposure: 8, PerMinute: 1, PerDay: 2, ChargeThreshold: 3,
		Credits: map[string]int64{"documents": 1}, CreditsByCost: true, CreditValue: 10, CreditsLow: 4, Grant: &pricing.PlanGrant{Credits: 5, Rollover: 6}, Recharge: &pricing.Recharge{Below: 1, Pack: "10k", PerDay: 3},
	}
	for _, want := range []*pricing.Plan{everything, shipped(t, "free"), shipped(t, "pro"), shipped(t, "enterprise")} {
		got, err := pricing.ParsePlan(planVersion(t, 1, want, longAgo))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plan (-want +got):\n%s", diff)
		}
	}
	route := &pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": cent, "calls": 1}}
	terms, err := route.Terms()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"pattern":"POST /v1/scan","price":{"calls":"0.000000001","documents":"0.010000000"}}`; string(terms) != want {
		t.Errorf("got %s, want %s: ledgers hold the old bytes", terms, want)
	}
	got, err := pricing.ParseRoute(routeVersion(1, "POST /v1/scan", string(terms)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(route, got); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	routes := map[string]*ledger.Version{
		"no version":        nil,
		"a plan":            planVersion(t, 1, shipped(t, "free"), longAgo),
		"nothing":           routeVersion(1, "GET /", ``),
		"an unknown field":  routeVersion(1, "GET /", `{"pattern":"GET /","prices":{}}`),
		"a number as price": routeVersion(1, "GET /", `{"pattern":"GET /","price":{"calls":0.01}}`),
		"ten decimals":      routeVersion(1, "GET /", `{"pattern":"GET /","price":{"calls":"0.0000000001"}}`),
		"a negative price":  routeVersion(1, "GET /", `{"pattern":"GET /","price":{"calls":"-1"}}`),
		"more behind":       routeVersion(1, "GET /", `{"pattern":"GET /"}{}`),
		"another's terms":   routeVersion(1, "GET /", `{"pattern":"GET /other"}`),
		"no pattern":        routeVersion(1, "", `{}`),
		"a meter's name":    routeVersion(1, "GET /", `{"pattern":"GET /","price":{"Öre":"1"}}`),
	}
	for name, v := range routes {
		if r, err := pricing.ParseRoute(v); err == nil {
			t.Errorf("route of %s: got %+v", name, r)
		}
	}
	for name, terms := range map[string]string{
		"a negative fee":     `{"id":"x","fee":"-1"}`,
		"an unknown model":   `{"id":"x","fee":"0","prices":[{"meter":"calls","model":"guess"}]}`,
		"a package of zero":  `{"id":"x","fee":"0","prices":[{"meter":"calls","model":"package"}]}`,
		"no tiers":           `{"id":"x","fee":"0","prices":[{"meter":"calls","model":"volume"}]}`,
		"another's terms":    `{"id":"y","fee":"0"}`,
		"a negative quota":   `{"id":"x","fee":"0","quota":{"calls":-1}}`,
		"a quota too large":  `{"id":"x","fee":"0","quota":{"calls":9223372036854775808}}`,
		"a fractional quota": `{"id":"x","fee":"0","quota":{"calls":1.5}}`,
	} {
		v := &ledger.Version{ID: 1, Kind: ledger.PlanVersion, Name: "x", Terms: json.RawMessage(terms)}
		if p, err := pricing.ParsePlan(v); err == nil {
			t.Errorf("plan with %s: got %+v", name, p)
		}
	}
}

func TestValidate(t *testing.T) {
	price := func(p pricing.Price) func(*pricing.Plan) {
		p.Meter = "documents"
		return func(plan *pricing.Plan) { plan.Prices = []pricing.Price{p} }
	}
	tiers := func(list ...pricing.Tier) func(*pricing.Plan) {
		return price(pricing.Price{Model: pricing.Graduated, Tiers: list})
	}
	tests := []struct {
		name   string
		change func(*pricing.Plan) // of the shipped pro
		want   string              // "": nothing is wrong
	}{
		{"as shipped", func(*pricing.Plan) {}, ""},
		{"no id", func(p *pricing.Plan) { p.ID = "" }, `plan "": id: is missing`},
		{"negative fee", func(p *pricing.Plan) { p.Fee = -cent }, `plan "pro": fee: -0.01 is below zero; use 0 or more`},
		{"negative quota", func(p *pricing.Plan) { p.Quota["calls"] = -5 }, `quota.calls: -5 is below zero; leave the meter out where it is unlimited`},
		{"negative overage", func(p *pricing.Plan) { p.Overage["calls"] = -1 }, `overage.calls: -0.000000001 is below zero`},
		{"overage without quota", func(p *pricing.Plan) { p.Overage["tokens"] = 1 }, `overage.tokens: there is no quota of tokens to go beyond; add one, or price every unit with [[plan.price]]`},
		{"billing without a price", func(p *pricing.Plan) { p.Overage = nil }, `quota.calls: on_exceed = "bill" needs a price beyond the quota; add overage = { calls = "0.01" }, or use on_exceed = "block"`},
		{"blocking without a price", func(p *pricing.Plan) { p.Overage, p.OnExceed = nil, pricing.Block }, ""},
		{"blocking with one, from the shipped plan", func(p *pricing.Plan) { p.OnExceed = pricing.Block }, ""},
		{"unknown on_exceed", func(p *pricing.Plan) { p.OnExceed = "charge" }, `on_exceed: "charge" is not known; use one of ["block" "bill" "bill_if_payable"]`},
		{"no on_exceed", func(p *pricing.Plan) { p.OnExceed = "" }, `on_exceed: "" is not known`},
		{"no on_exceed, nothing to exceed", func(p *pricing.Plan) { p.OnExceed, p.Quota, p.Overage = "", nil, nil }, ""},
		{"unknown billing", func(p *pricing.Plan) { p.Billing = "yearly" }, `billing: "yearly" is not known; use one of ["monthly" "realtime" "prepaid"]`},
		{"a meter's name", func(p *pricing.Plan) { p.Quota["Pages "] = 1; p.OnExceed = pricing.Block }, `quota: "Pages " is not the name of a meter`},
		{"priced twice", func(p *pricing.Plan) { p.Prices = []pricing.Price{{Meter: "calls", Model: pricing.UnitModel, Unit: 1}} },
			`overage.calls: the meter is priced twice, by overage and by price; keep one`},
		{"two prices", func(p *pricing.Plan) { p.Prices = []pricing.Price{graduated, graduated} }, `price.documents: the meter is priced twice; keep one`},
		{"tiers", tiers(graduated.Tiers...), ""},
		{"tiers out of order", tiers(pricing.Tier{UpTo: 10}, pricing.Tier{UpTo: 10}, pricing.Tier{}), `price.documents.tiers: tier 2 is up to 10 and the one before it up to 10; they must ascend`},
		{"the last with an end", tiers(pricing.Tier{UpTo: 10}), `price.documents.tiers: the last tier ends at 10, and nothing prices what comes after; leave out its up_to`},
		{"one in the middle without", tiers(pricing.Tier{}, pricing.Tier{}), `price.documents.tiers: tier 1 has no up_to, which only the last may leave out`},
		{"a negative tier", tiers(pricing.Tier{Unit: -1}), `price.documents.tiers: -0.000000001 is below zero`},
		{"no tiers", tiers(), `price.documents.tiers: the model "graduated" needs tiers`},
		{"unknown model", price(pricing.Price{Model: "stairs"}), `price.documents.model: "stairs" is not known; use one of ["unit" "package" "graduated" "volume"]`},
		{"unit with tiers", price(pricing.Price{Model: pricing.UnitModel, Tiers: graduated.Tiers}), `price.documents.tiers: tiers are for the models "graduated" and "volume", not "unit"`},
		{"tiers with a unit", price(pricing.Price{Model: pricing.Graduated, Tiers: graduated.Tiers, Unit: 1}), `price.documents.unit: the model "graduated" is priced by its tiers`},
		{"package", price(pricing.Price{Model: pricing.Package, Size: 10, Unit: 1}), ""},
		{"package without size", price(pricing.Price{Model: pricing.Package, Unit: 1}), `price.documents.size: a package needs a size of 1 or more, not 0`},
		{"a size elsewhere", price(pricing.Price{Model: pricing.UnitModel, Size: 5}), `price.documents.size: a size is for the model "package", not "unit"`},
		{"negative included", price(pricing.Price{Model: pricing.UnitModel, Included: -1}), `price.documents.included: -1 is below zero`},
		{"included twice", func(p *pricing.Plan) {
			p.Overage, p.Prices = nil, []pricing.Price{{Meter: "calls", Model: pricing.UnitModel, Unit: 1, Included: 1}}
		}, `price.calls.included: the quota already says what is included; leave one out`},
		{"cost and overage", func(p *pricing.Plan) { p.ByCost, p.Quota = true, nil }, `overage: a plan that charges the cost of the calls cannot price them again`},
		{"cost and a quota that bills", func(p *pricing.Plan) { p.ByCost, p.Overage = true, nil }, `quota.calls: this plan has no price beyond a quota; use on_exceed = "block"`},
		{"a threshold on monthly", func(p *pricing.Plan) { p.ChargeThreshold = ledger.Unit }, `charge_threshold: it is for billing = "realtime", not "monthly"`},
		{"realtime", func(p *pricing.Plan) {
			p.Billing, p.ChargeThreshold, p.Exposure = pricing.Realtime, ledger.Unit, 10*ledger.Unit
		}, ""},
		{"realtime without an end", func(p *pricing.Plan) { p.Billing, p.ChargeThreshold, p.Exposure = pricing.Realtime, ledger.Unit, 0 }, `exposure: billing = "realtime" needs one, or a charge_threshold of which it is ten times: where a card fails, usage must end somewhere`},
		{"credits on monthly", func(p *pricing.Plan) { p.Credits = map[string]int64{"calls": 1} }, `credits: it is for billing = "prepaid", not "monthly"`},
		{"negative rate limits", func(p *pricing.Plan) { p.PerMinute = -1 }, `rate_limits.per_minute: -1 is below zero; use 0 for no limit`},
		{"negative exposure", func(p *pricing.Plan) { p.Exposure = -1 }, `exposure: -0.000000001 is below zero`},
		{"prepaid with overage", func(p *pricing.Plan) { p.Billing, p.Credits = pricing.Prepaid, map[string]int64{"calls": 1} }, `billing: calls of a prepaid plan burn credits; leave out overage`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := shipped(t, "pro")
			tt.change(p)
			check(t, p.Validate(2), tt.want)
		})
	}
}

func TestValidatePrepaid(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*pricing.Plan)
		want   string
	}{
		{"per meter", func(p *pricing.Plan) { p.Credits = map[string]int64{"documents": 1} }, ""},
		{"by cost", func(p *pricing.Plan) { p.CreditsByCost, p.CreditValue = true, cent }, ""},
		{"nothing burns", func(*pricing.Plan) {}, `credits: a prepaid plan needs what a call burns`},
		{"both", func(p *pricing.Plan) { p.CreditsByCost, p.Credits = true, map[string]int64{"documents": 1} }, `credits: credits burn by the cost or by meters, not both`},
		{"by cost without a value", func(p *pricing.Plan) { p.CreditsByCost = true }, `credit_value: credits = "cost" needs the value of a credit`},
		{"a value without cost", func(p *pricing.Plan) { p.CreditValue, p.Credits = cent, map[string]int64{"documents": 1} }, `credit_value: it is for credits = "cost"`},
		{"no credits a unit", func(p *pricing.Plan) { p.Credits = map[string]int64{"documents": 0} }, `credits.documents: 0 credits a unit; use 1 or more`},
		{"told at a balance below zero", func(p *pricing.Plan) { p.Credits, p.CreditsLow = map[string]int64{"documents": 1}, -1 }, `credits_low: -1 credits; use 0 or more`},
		{"credits each month", func(p *pricing.Plan) {
			p.Credits, p.Grant = map[string]int64{"documents": 1}, &pricing.PlanGrant{Credits: 10, Rollover: 20}
		}, ""},
		{"no credits each month", func(p *pricing.Plan) { p.Credits, p.Grant = map[string]int64{"documents": 1}, &pricing.PlanGrant{} }, `grant.credits: 0 credits a month; use 1 or more`},
		{"a negative rollover", func(p *pricing.Plan) {
			p.Credits, p.Grant = map[string]int64{"documents": 1}, &pricing.PlanGrant{Credits: 1, Rollover: -1}
		}, `grant.rollover: -1 credits; use 0 or more`},
		{"half a recharge", func(p *pricing.Plan) {
			p.Credits, p.Recharge = map[string]int64{"documents": 1}, &pricing.Recharge{Below: 1}
		}, `recharge: it needs below`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pricing.Plan{ID: "prepaid", Billing: pricing.Prepaid}
			tt.change(p)
			check(t, p.Validate(2), tt.want)
		})
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v\nwant %s", err, want)
	}
	var p *pricing.Problem
	if err != nil && (!errors.As(err, &p) || p.Key == "") {
		t.Errorf("%v does not say where", err)
	}
}

func TestCurrenciesWithoutMinorUnit(t *testing.T) {
	check(t, shipped(t, "free").Validate(0), `plan "free": overage.calls: 0.01 has decimals, but the currency has no minor unit; use a whole number`)
	yen := shipped(t, "pro")
	yen.Fee, yen.Overage["calls"] = 4900*ledger.Unit, 2*ledger.Unit
	check(t, yen.Validate(0), "")
	yen.Fee = amount(t, "4900.5")
	check(t, yen.Validate(0), `fee: 4900.5 has decimals`)
	route := &pricing.Route{Pattern: "GET /", Price: map[string]ledger.Amount{"calls": cent}}
	check(t, route.Validate(0), `route "GET /": price.calls: 0.01 has decimals`)
	check(t, route.Validate(2), "")
	in := whole(april(t), yen)
	in.Digits = 0
	yen.Fee = 4900 * ledger.Unit
	in.Segments[0].From = april(t).Start.Add(time.Hour * 24 * 20)
	if got := rate(t, in, nil); got.Total != 1633 {
		t.Errorf("a third of the month: got %d yen, want 1633", got.Total)
	}
}

func TestAllProblemsAreTold(t *testing.T) {
	p := &pricing.Plan{ID: "x", Fee: -1, PerDay: -1, Billing: "never"}
	err := p.Validate(2)
	for _, key := range []string{"fee", "per_day", "billing"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in: %v", key, err)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	for _, p := range pricing.Shipped() {
		f.Add([]byte(planVersion(f, 1, &p, longAgo).Terms), int64(1234))
	}
	f.Add([]byte(`{"id":"x","fee":"1","prices":[{"meter":"calls","model":"volume","tiers":[{"up_to":3,"unit":"1"},{"unit":"0.5","flat":"2"}],"minimum":"5"}],"minimum":"7"}`), int64(4))
	f.Fuzz(func(t *testing.T, terms []byte, n int64) {
		var name struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(terms, &name) != nil {
			return
		}
		p, err := pricing.ParsePlan(&ledger.Version{ID: 1, Kind: ledger.PlanVersion, Name: name.ID, Terms: terms})
		if err != nil {
			return
		}
		// What parses can be rated, and comes back the same.
		s, err := pricing.Rate(whole(april(t), p), calls(n))
		if err != nil && !errors.Is(err, ledger.ErrOverflow) {
			t.Fatal(err)
		}
		if err == nil && (s.BaseFee < 0 || s.Overage < 0) {
			t.Errorf("got %+v", s)
		}
		again, err := p.Terms()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := pricing.ParsePlan(&ledger.Version{ID: 1, Kind: ledger.PlanVersion, Name: p.ID, Terms: again}); err != nil || q.Fee != p.Fee {
			t.Errorf("got %+v, %v from %s", q, err, again)
		}
	})
}
