package admission_test

import (
	"strings"
	"testing"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

func amount(s string) *ledger.Amount {
	a, err := ledger.ParseAmount(s)
	if err != nil {
		panic(err)
	}
	return &a
}

func TestSpendLimit(t *testing.T) {
	overage := pricing.Plan{
		ID: "pro", Name: "Pro", Fee: 49 * ledger.Unit, Quota: map[string]int64{"documents": 10}, Overage: map[string]ledger.Amount{"documents": ledger.Unit / 100},
		OnExceed: pricing.Bill, Billing: pricing.Monthly,
	}
	byCost := pricing.Plan{ID: "pro", Name: "Pro", Custom: true, ByCost: true, OnExceed: pricing.Bill, Billing: pricing.Monthly}
	tests := []struct {
		name        string
		plan        pricing.Plan
		operator    *ledger.Amount
		own         *ledger.Amount
		calls       int64 // that pass, of one document each
		used, limit int64 // cents in the refusal
		never       bool
	}{
		{"overage", overage, amount("0.05"), nil, 15, 5, 5, false},
		{"overage, between two calls", overage, amount("0.055"), nil, 15, 5, 6, false},
		{"the lower one is the operator's", overage, amount("0.02"), amount("0.05"), 12, 2, 2, false},
		{"the lower one is the customer's", overage, amount("100"), amount("0.03"), 13, 3, 3, false},
		{"nothing beyond what is included", overage, amount("0"), nil, 10, 0, 0, false},
		{"by cost", byCost, nil, amount("0.07"), 7, 7, 7, false},
		{"no limit", overage, nil, nil, 30, 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "2025-01-01T00:00:00Z", tt.plan)
			u, secret := b.user("pro")
			b.change(u.ID, func(u *ledger.User) { u.SpendLimit, u.OwnLimit = tt.operator, tt.own })
			c := b.caller(secret)
			var refusal *admission.Refusal
			passed := int64(0)
			for range 30 {
				if refusal = b.call(c, 1); refusal != nil {
					break
				}
				passed++
			}
			if passed != tt.calls {
				t.Errorf("%d calls passed, want %d", passed, tt.calls)
			}
			if tt.never {
				return
			}
			if refusal.Status != 402 || refusal.Code != admission.SpendLimitReached || refusal.RetryAfter != 0 || !refusal.Reset.Equal(at("2025-02-01T00:00:00Z")) {
				t.Errorf("got %+v", refusal)
			}
			if *refusal.Used != tt.used || *refusal.Limit != tt.limit {
				t.Errorf("used %d of %d cents, want %d of %d", *refusal.Used, *refusal.Limit, tt.used, tt.limit)
			}
			if !strings.Contains(refusal.Detail, "USD") {
				t.Errorf("detail %q", refusal.Detail)
			}
			// Raising it acts on the next call; the next month begins at nothing.
			b.change(u.ID, func(u *ledger.User) { u.SpendLimit, u.OwnLimit = amount("1"), nil })
			b.calls(c, 1)
			b.change(u.ID, func(u *ledger.User) { u.SpendLimit, u.OwnLimit = amount("0.01"), nil })
			b.refused(c, 1, admission.SpendLimitReached)
			b.set("2025-02-01T00:00:00Z")
			b.calls(c, 1)
			b.nothingHeld()
		})
	}
}

func TestSpendLimitCountsWhatRuns(t *testing.T) {
	plan := pricing.Plan{
		ID: "pro", Quota: map[string]int64{"calls": 1000}, Overage: map[string]ledger.Amount{"calls": 1}, OnExceed: pricing.Bill, Billing: pricing.Monthly,
		Prices: []pricing.Price{{Meter: "documents", Model: pricing.UnitModel, Unit: ledger.Unit}},
	}
	b := newBench(t, "2025-01-01T00:00:00Z", plan)
	u, secret := b.user("pro")
	b.change(u.ID, func(u *ledger.User) { u.OwnLimit = amount("10") })
	c := b.caller(secret)
	one, two := b.admit(c, 4), b.admit(c, 6)
	b.refused(c, 1, admission.SpendLimitReached)
	if h := b.admit(c, 0); h != nil { // costs nothing: included
		h.Release()
	}
	one.Release()
	b.refused(c, 5, admission.SpendLimitReached)
	three := b.admit(c, 3)
	three.Extend(documents(50)) // a call that runs finishes, the next is refused
	b.refused(c, 1, admission.SpendLimitReached)
	b.settle(two, 6, true)
	b.settle(three, 50, true)
	b.refused(c, 1, admission.SpendLimitReached)
	b.nothingHeld()
}

func TestManyCallersAtTheSpendLimit(t *testing.T) {
	plan := pricing.Plan{
		ID: "pro", Quota: map[string]int64{"calls": 100}, Overage: map[string]ledger.Amount{"calls": ledger.Unit / 100}, OnExceed: pricing.Bill, Billing: pricing.Monthly,
	}
	b := newBench(t, "2025-01-01T00:00:00Z", plan)
	u, secret := b.user("pro")
	b.change(u.ID, func(u *ledger.User) { u.OwnLimit = amount("1.50") })
	if got := b.storm(secret, 32, 20, 1); got != 250 {
		t.Errorf("%d calls passed, want 100 included and 150 billed", got)
	}
	b.nothingHeld()
}

// Usage on a plan version of before, that no segment has any more, is looked up
// without the ledger's lock.
func TestSpendLimitWithUsageOnAPlanThatTheUserIsNotOn(t *testing.T) {
	byCost := pricing.Plan{ID: "cost", Custom: true, ByCost: true, OnExceed: pricing.Bill, Billing: pricing.Monthly}
	other := pricing.Plan{ID: "other", Custom: true, ByCost: true, OnExceed: pricing.Bill, Billing: pricing.Monthly}
	b := newBench(t, "2025-01-01T00:00:00Z", byCost, other)
	u, secret := b.user("cost")
	b.change(u.ID, func(u *ledger.User) { u.OwnLimit = amount("0.03") })
	c := b.caller(secret)
	b.calls(c, 2)
	b.change(u.ID, func(u *ledger.User) { u.Plans = []ledger.Assignment{{Plan: "other", From: u.Plans[0].From}} })
	b.calls(c, 1)
	b.refused(c, 1, admission.SpendLimitReached)
}
