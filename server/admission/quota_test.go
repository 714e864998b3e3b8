package admission_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

func TestQuotaThatBlocks(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 3}))
	u, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 2)
	h := b.admit(c, 1)
	want := []admission.Limit{{Name: "month", Limit: 3, Remaining: 0, Window: 31 * 24 * time.Hour, Reset: at("2025-02-01T00:00:00Z"), ResetIn: 396 * time.Hour}}
	if diff := cmp.Diff(want, h.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	second, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, PerMinute: intp(0), PerDay: intp(0)})
	for _, secret := range []string{secret, second} {
		r := b.refused(b.caller(secret), 1, admission.QuotaExceeded)
		if r.Status != 429 || r.RetryAfter != 0 || !r.NoRetry || !r.Reset.Equal(at("2025-02-01T00:00:00Z")) || r.UpgradeURL != "https://api.example.com/dashboard/plans" {
			t.Errorf("got %+v", r)
		}
		if *r.Limit != 3 || *r.Used != 3 || *r.Remaining != 0 {
			t.Errorf("limit %d, used %d, remaining %d", *r.Limit, *r.Used, *r.Remaining)
		}
		if diff := cmp.Diff(want, r.Limits); diff != "" {
			t.Errorf("limits (-want +got):\n%s", diff)
		}
	}
	b.settle(h, 1, false) // the upstream failed: not counted
	h = b.admit(c, 1)
	h.Release() // never made
	b.calls(c, 1)
	b.refused(c, 1, admission.QuotaExceeded)
	b.nothingHeld()
}

// TestQuotaOfOneUser: what is agreed with a user holds from its next call on, and
// for no other.
func TestQuotaOfOneUser(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 3}))
	u, secret := b.user("free")
	_, other := b.user("free")
	c := b.caller(secret)
	b.calls(c, 3)
	b.refused(c, 1, admission.QuotaExceeded)
	b.advance(time.Hour)
	agreed := free(map[string]int64{"calls": 5})
	terms, err := agreed.Terms()
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.ledger.Agree(b.now(), "test", u.ID, "free", terms, b.now())
	if err != nil {
		t.Fatal(err)
	}
	h := b.admit(c, 1) // 3 for 349 hours and 5 for 395, of 744
	if h.PlanVersion.ID != v.ID || h.Limits[0].Limit != 4 {
		t.Errorf("admitted on version %d with %+v, want version %d and 4 calls", h.PlanVersion.ID, h.Limits, v.ID)
	}
	b.settle(h, 1, true)
	b.refused(c, 1, admission.QuotaExceeded)
	b.calls(b.caller(other), 3)
	if r := b.refused(b.caller(other), 1, admission.QuotaExceeded); *r.Limit != 3 {
		t.Errorf("another user has %d", *r.Limit)
	}
	b.nothingHeld()
}

func TestQuotaPerMeter(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 10, "pages": 5, "tokens": 100, "calls": 1000}))
	_, secret := b.user("free")
	c := b.caller(secret)
	ask := func(q ledger.Quantities) (*admission.Hold, *admission.Refusal) {
		return b.gate.Admit(c, admission.Ask{Now: b.now(), Route: scan, Asked: q})
	}
	pages := func(n int64) []ledger.Quantity { return []ledger.Quantity{{Meter: "pages", N: n}} }
	h, r := ask(ledger.Quantities{Documents: 4, Tokens: 60, Named: pages(3)})
	if r != nil {
		t.Fatal(r)
	}
	var names []string
	var left []int64
	for _, l := range h.Limits {
		names = append(names, l.Name)
		left = append(left, l.Remaining)
	}
	if diff := cmp.Diff([]string{"month", "month-documents", "month-pages", "month-tokens"}, names); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{999, 6, 2, 40}, left); diff != "" {
		t.Errorf("remaining (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name string
		asks ledger.Quantities
		says string // "": passes
	}{
		{"documents", ledger.Quantities{Documents: 7}, "7 documents, but of the 10 included this month only 6 are left"},
		{"documents that fit", ledger.Quantities{Documents: 6}, ""},
		{"tokens", ledger.Quantities{Tokens: 41}, "41 tokens"},
		{"a named meter", ledger.Quantities{Named: pages(3)}, "3 pages"},
		{"a named meter that fits", ledger.Quantities{Named: pages(2)}, ""},
		{"more than can be", ledger.Quantities{Documents: math.MaxInt64}, "documents"},
		{"below zero", ledger.Quantities{Documents: -5, Tokens: math.MinInt64, Named: pages(-9)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, r := ask(tt.asks)
			if tt.says == "" {
				if r != nil {
					t.Fatal(r)
				}
				h.Release()
				return
			}
			if r == nil || r.Code != admission.QuotaExceeded || !strings.Contains(r.Detail, tt.says) {
				t.Errorf("got %v, want quota_exceeded that says %q", r, tt.says)
			}
		})
	}
	h.Release()
	b.nothingHeld()
}

// A call that asks below zero must not make room for others.
func TestNegativeAskMakesNoRoom(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 10}))
	_, secret := b.user("free")
	c := b.caller(secret)
	h := b.admit(c, -1000)
	b.refused(c, 11, admission.QuotaExceeded)
	h.Extend(documents(-3))
	b.refused(c, 11, admission.QuotaExceeded)
	h.Release()
	b.nothingHeld()
}

func TestManyCallersAtTheQuota(t *testing.T) {
	t.Run("400 calls", func(t *testing.T) {
		b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 400}))
		_, secret := b.user("free")
		if got := b.storm(secret, 64, 32, 1); got != 400 {
			t.Errorf("%d calls passed, want 400", got)
		}
		b.nothingHeld()
	})
	t.Run("4000 documents by sevens", func(t *testing.T) {
		b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 4000}))
		_, secret := b.user("free")
		if got := b.storm(secret, 64, 12, 7); got != 571 {
			t.Errorf("%d calls passed, want 571: 3,997 documents", got)
		}
		b.nothingHeld()
	})
	t.Run("all held at once", func(t *testing.T) {
		b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 100}))
		_, secret := b.user("free")
		c := b.caller(secret)
		passed := 0
		for range 20 {
			if _, r := b.try(c, 7); r == nil {
				passed++
			}
		}
		if passed != 14 {
			t.Errorf("%d passed, want 14", passed)
		}
		if got, want := b.gate.Held(), (admission.Held{Users: 1, Calls: 14, Documents: 98}); got != want {
			t.Errorf("held %+v, want %+v", got, want)
		}
	})
}

func TestOnExceed(t *testing.T) {
	const cent = ledger.Unit / 100
	tests := []struct {
		name     string
		onExceed string
		payment  string
		exposure ledger.Amount
		passes   int // beyond a quota of 2, of 5 tries
		soft     bool
	}{
		{"block", pricing.Block, "pm_1", 0, 0, false},
		{"bill", pricing.Bill, "", 0, 5, true},
		{"bill if payable, not payable", pricing.BillIfPayable, "", 0, 0, false},
		{"bill if payable, payable", pricing.BillIfPayable, "pm_1", 0, 5, true},
		{"bill if payable, up to the exposure", pricing.BillIfPayable, "pm_1", 3 * cent, 3, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := free(map[string]int64{"calls": 2})
			plan.OnExceed, plan.Exposure, plan.Overage = tt.onExceed, tt.exposure, map[string]ledger.Amount{"calls": cent}
			b := newBench(t, "2025-01-15T12:00:00Z", plan)
			u, secret := b.user("free")
			b.change(u.ID, func(u *ledger.User) { u.PaymentMethod = tt.payment })
			c := b.caller(secret)
			b.calls(c, 2)
			passed := 0
			var last []admission.Limit
			for range 5 {
				h, r := b.try(c, 1)
				if r != nil {
					last = r.Limits
					if r.Code != admission.QuotaExceeded {
						t.Error(r)
					}
					continue
				}
				passed++
				last = h.Limits
				b.settle(h, 1, true)
			}
			if passed != tt.passes {
				t.Errorf("%d passed, want %d", passed, tt.passes)
			}
			if last[0].Soft != tt.soft || last[0].Remaining != 0 || last[0].Limit != 2 {
				t.Errorf("limit %+v, want soft %v", last[0], tt.soft)
			}
			b.nothingHeld()
		})
	}
}

func TestLosingThePaymentMethodActsOnTheNextCall(t *testing.T) {
	plan := free(map[string]int64{"calls": 1})
	plan.OnExceed, plan.Overage = pricing.BillIfPayable, map[string]ledger.Amount{"calls": 1}
	b := newBench(t, "2025-01-15T12:00:00Z", plan)
	u, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	if r := b.refused(c, 1, admission.QuotaExceeded); !strings.Contains(r.Detail, "payment method") {
		t.Errorf("detail %q", r.Detail)
	}
	b.change(u.ID, func(u *ledger.User) { u.PaymentMethod = "pm_1" })
	b.calls(c, 2)
	b.change(u.ID, func(u *ledger.User) { u.PaymentMethod = "" })
	b.refused(c, 1, admission.QuotaExceeded)
}

func TestUnlimitedPlan(t *testing.T) {
	plan := free(nil)
	plan.OnExceed, plan.ByCost = pricing.Bill, true
	b := newBench(t, "2025-01-15T12:00:00Z", plan)
	_, secret := b.user("free")
	h := b.admit(b.caller(secret), 1_000_000)
	if len(h.Limits) != 0 {
		t.Errorf("limits %v", h.Limits)
	}
	h.Release()
}

func TestMonthTurnsWhileCallsRun(t *testing.T) {
	b := newBench(t, "2025-01-31T23:59:59Z", free(map[string]int64{"documents": 10}))
	_, secret := b.user("free")
	c := b.caller(secret)
	long := b.admit(c, 10)
	b.refused(c, 1, admission.QuotaExceeded)
	b.set("2025-02-01T00:00:00Z")
	if r := b.call(c, 10); r != nil {
		t.Errorf("the hold of January counts in February: %v", r)
	}
	long.Extend(documents(50))
	if got, want := b.gate.Held(), (admission.Held{Users: 1, Calls: 1, Documents: 50}); got != want {
		t.Errorf("held %+v, want %+v", got, want)
	}
	b.refused(c, 1, admission.QuotaExceeded)
	b.settle(long, 50, true)
	for month, want := range map[ledger.Month]int64{ledger.MonthOf(2025, 1): 50, ledger.MonthOf(2025, 2): 10} {
		plans, err := b.ledger.Month(c.User.ID, month)
		if err != nil || ledger.Sum(plans).Documents != want {
			t.Errorf("%v: %d documents, want %d (%v)", month, ledger.Sum(plans).Documents, want, err)
		}
	}
	b.nothingHeld()
}

func TestPeriodDoesNotReopenWhenTheClockStepsBack(t *testing.T) {
	b := newBench(t, "2025-02-01T00:00:01Z", free(map[string]int64{"calls": 2}))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	b.set("2025-01-31T20:00:00Z")
	h := b.admit(c, 1)
	if h.Period.Month != ledger.MonthOf(2025, 2) || !h.Period.Contains(h.Time) {
		t.Errorf("admitted at %v in %v", h.Time, h.Period.Month)
	}
	b.settle(h, 1, true)
	b.refused(c, 1, admission.QuotaExceeded)

	// A new process does not forget either: the ledger's last entry is its floor.
	b.gate = admission.New(b.ledger, admission.Options{Now: b.now})
	b.refused(c, 1, admission.QuotaExceeded)
}

func TestClockThatWasAheadForARefusedCall(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 10}))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	b.set("2025-06-15T12:00:00Z")
	b.refused(c, 11, admission.QuotaExceeded)
	b.set("2025-01-15T12:00:01Z")
	if h := b.admit(c, 1); h.Period.Month != ledger.MonthOf(2025, 1) {
		t.Errorf("admitted in %v", h.Period.Month)
	} else {
		h.Release()
	}
}

func TestPlanChangesWithinTheMonth(t *testing.T) {
	pro := pricing.Plan{ID: "pro", Name: "Pro", Fee: 49 * ledger.Unit, Quota: map[string]int64{"calls": 310}, OnExceed: pricing.Block, Billing: pricing.Monthly, Public: true}
	b := newBench(t, "2025-01-01T00:00:00Z", free(map[string]int64{"calls": 31}), pro)
	u, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 31)
	b.refused(c, 1, admission.QuotaExceeded)
	b.set("2025-01-11T00:00:00Z")
	b.change(u.ID, func(u *ledger.User) { u.Plans = append(u.Plans, ledger.Assignment{Plan: "pro", From: b.now()}) })
	// 10 of 31 days at 31 calls and 21 of 31 days at 310 calls: 10 + 210.
	h := b.admit(c, 1)
	if l := h.Limits[0]; l.Limit != 220 || l.Remaining != 220-31-1 {
		t.Errorf("limit %+v, want 220 of which 188 are left", l)
	}
	if h.PlanTerms.ID != "pro" || h.PlanVersion.Name != "pro" {
		t.Errorf("admitted on plan %s", h.PlanTerms.ID)
	}
	b.settle(h, 1, true)
	b.calls(c, 188)
	r := b.refused(c, 1, admission.QuotaExceeded)
	if *r.Limit != 220 || *r.Used != 220 {
		t.Errorf("used %d of %d, want 220 of 220", *r.Used, *r.Limit)
	}
	b.set("2025-02-01T00:00:00Z")
	if h := b.admit(c, 1); h.Limits[0].Limit != 310 {
		t.Errorf("limit %d in the next month, want 310", h.Limits[0].Limit)
	} else {
		h.Release()
	}
}

func TestRunningCallsKeepTheirTerms(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 5}))
	b.set("2025-01-15T13:00:00Z")
	u, secret := b.user("free")
	c := b.caller(secret)
	running := b.admit(c, 1)
	b.advance(time.Minute)
	b.price(pricing.Route{Pattern: scan, Price: map[string]ledger.Amount{"documents": ledger.Unit}})
	plan := free(map[string]int64{"calls": 2})
	b.publish(plan, b.now())
	b.advance(time.Minute)
	next := b.admit(c, 1)
	if running.RouteVersion == next.RouteVersion || running.PlanVersion == next.PlanVersion {
		t.Fatal("the new versions did not come into force")
	}
	if got, want := running.RouteTerms.Price["documents"], ledger.Unit/100; got != want {
		t.Errorf("running call priced at %v, want %v", got, want)
	}
	if got, want := next.RouteTerms.Price["documents"], ledger.Unit; got != want {
		t.Errorf("new call priced at %v, want %v", got, want)
	}
	b.settle(running, 1, true)
	b.settle(next, 1, true)
	plans, err := b.ledger.Month(u.ID, ledger.MonthOf(2025, 1))
	if err != nil || len(plans) != 2 {
		t.Fatalf("usage on %d plan versions, want 2 (%v)", len(plans), err)
	}
	if got, want := ledger.Sum(plans).Cost, ledger.Unit+ledger.Unit/100; got != want {
		t.Errorf("cost %v, want %v", got, want)
	}
	b.nothingHeld()
}

// A version that has yet to take effect changes nothing before.
func TestVersionEffectiveLater(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 5}))
	b.advance(time.Hour)
	_, secret := b.user("free")
	c := b.caller(secret)
	b.advance(time.Hour)
	b.publish(free(map[string]int64{"calls": 1}), at("2025-02-01T00:00:00Z"))
	b.calls(c, 5)
	b.refused(c, 1, admission.QuotaExceeded)
	b.set("2025-02-01T00:00:00Z")
	b.calls(c, 1)
	b.refused(c, 1, admission.QuotaExceeded)
}

// What a version that takes effect within the month means for its quota is in
// force when it is published, as in the customer's usage answer and in the bill.
func TestVersionEffectiveWithinTheMonth(t *testing.T) {
	b := newBench(t, "2025-01-01T00:00:00Z", free(map[string]int64{"calls": 31}))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	b.advance(time.Hour)
	b.publish(free(map[string]int64{"calls": 310}), at("2025-01-11T00:00:00Z"))
	for _, now := range []string{"2025-01-01T02:00:00Z", "2025-01-10T23:59:59Z", "2025-01-11T00:00:00Z"} {
		b.set(now)
		if h := b.admit(c, 1); h.Limits[0].Limit != 220 {
			t.Errorf("at %s the limit is %d, want 220", now, h.Limits[0].Limit)
		} else {
			h.Release()
		}
	}
}

func TestUserClosedInAnEarlierMonth(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	u, secret := b.user("free")
	b.change(u.ID, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, b.now() })
	b.set("2025-03-15T12:00:00Z")
	b.refused(b.caller(secret), 1, admission.AccountClosed)
}

func TestOfferOfALargerPlan(t *testing.T) {
	small := free(map[string]int64{"calls": 31})
	pro := pricing.Plan{ID: "pro", Name: "Pro", Fee: 62 * ledger.Unit, Quota: map[string]int64{"calls": 3100}, OnExceed: pricing.Bill, Billing: pricing.Monthly, Public: true}
	big := pricing.Plan{ID: "big", Name: "Big", Fee: 99 * ledger.Unit, OnExceed: pricing.Bill, Billing: pricing.Monthly, Public: true}
	hidden := pricing.Plan{ID: "hidden", Fee: ledger.Unit, OnExceed: pricing.Bill, Billing: pricing.Monthly}
	plans := []pricing.Plan{small, big, pro, hidden}
	b := newBenchIn(t, "2025-01-01T00:00:00Z", "UTC", admission.Options{Plans: func() []pricing.Plan { return plans }}, plans...)
	u, secret := b.user("free")
	b.set("2025-01-17T00:00:00Z")
	offer, ok := b.gate.Offer(u, "calls", b.now())
	if !ok || offer.Plan.ID != "pro" || offer.Fee != 3000 || offer.Included != 16+1500 || offer.Unlimited {
		t.Errorf("offer %+v, want pro, 30.00 for half the month, 1,516 calls", offer)
	}
	c := b.caller(secret)
	b.calls(c, 31)
	want := "Plan Pro gives 1,516 calls in all this month, for a fee of 30.00 USD this month and 62.00 USD a month after it."
	for range 2 {
		if r := b.refused(c, 1, admission.QuotaExceeded); !strings.HasSuffix(r.Detail, want) {
			t.Errorf("detail %q, want at its end %q", r.Detail, want)
		}
	}
	b.set("2025-01-25T00:00:00Z")
	if r := b.refused(c, 1, admission.QuotaExceeded); !strings.Contains(r.Detail, "14.00 USD this month") {
		t.Errorf("detail %q does not follow the time", r.Detail)
	}
	plans = plans[:2]
	b.advance(time.Hour)
	if r := b.refused(c, 1, admission.QuotaExceeded); !strings.Contains(r.Detail, "Plan Big gives unlimited calls this month") {
		t.Errorf("detail %q", r.Detail)
	}
	plans = nil
	if offer, ok := b.gate.Offer(u, "calls", b.now()); ok {
		t.Errorf("offer %+v of no plans", offer)
	}
}
