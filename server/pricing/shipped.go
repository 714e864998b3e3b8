package pricing

import "tollgate/ledger"

// Shipped is the plans that an installation starts with, changeable in the
// configuration. The caller may change what it gets.
func Shipped() []Plan {
	const cent = ledger.Unit / 100
	return []Plan{
		{
			ID: "free", Name: "Free", Quota: map[string]int64{"calls": 1000}, Overage: map[string]ledger.Amount{"calls": cent},
			OnExceed: BillIfPayable, Billing: Monthly, Public: true, PerMinute: 60, PerDay: 10_000,
		},
		{
			ID: "pro", Name: "Pro", Fee: 49 * ledger.Unit, Quota: map[string]int64{"calls": 50_000}, Overage: map[string]ledger.Amount{"calls": cent},
			OnExceed: Bill, Billing: Monthly, Public: true, PerMinute: 60, PerDay: 10_000,
		},
		{
			ID: "enterprise", Name: "Enterprise", Custom: true, ByCost: true,
			OnExceed: Bill, Billing: Monthly, Public: true, PerMinute: 60, PerDay: 10_000,
		},
	}
}

// Upgrade tells whether a change of plan acts at once: to a higher fee, or away
// from a plan without fee. Anything else waits for the next period.
func Upgrade(from, to *Plan) bool {
	return to.Fee > from.Fee || from.Fee == 0 && !from.Custom && from.ID != to.ID
}

// QuotaMeter is the meter whose quota is shown where there is room for one:
// calls if it has a quota, else the first by name; "" where all is unlimited.
func (p *Plan) QuotaMeter() string {
	first := ""
	for meter := range p.Quota {
		if meter == "calls" {
			return meter
		}
		if first == "" || meter < first {
			first = meter
		}
	}
	return first
}
