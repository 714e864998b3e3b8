package admission_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

func limited(perMinute, perDay int) pricing.Plan {
	p := free(nil)
	p.PerMinute, p.PerDay = perMinute, perDay
	return p
}

func intp(n int) *int { return &n }

func TestMinuteIsSharedByAUsersKeys(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", limited(3, 0))
	u, one := b.user("free")
	two, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall})
	b.calls(b.caller(one), 2)
	b.advance(20 * time.Second)
	b.calls(b.caller(two), 1)
	b.advance(10 * time.Second)
	for _, secret := range []string{one, two} {
		r := b.refused(b.caller(secret), 1, admission.RateLimited)
		if r.Status != 429 || r.RetryAfter != 30*time.Second || r.NoRetry || !r.Reset.Equal(at("2025-01-15T12:01:00Z")) {
			t.Errorf("got %+v", r)
		}
		if *r.Limit != 3 || *r.Used != 3 || *r.Remaining != 0 {
			t.Errorf("limit %d, used %d, remaining %d", *r.Limit, *r.Used, *r.Remaining)
		}
		want := []admission.Limit{{Name: "minute", Limit: 3, Window: time.Minute, Reset: at("2025-01-15T12:01:00Z"), ResetIn: 30 * time.Second}}
		if diff := cmp.Diff(want, r.Limits); diff != "" {
			t.Errorf("limits (-want +got):\n%s", diff)
		}
	}
	_, other := b.user("free")
	b.calls(b.caller(other), 3)
	b.advance(30*time.Second - 1)
	b.refused(b.caller(one), 1, admission.RateLimited)
	b.advance(1)
	b.calls(b.caller(two), 2)
	b.refused(b.caller(one), 1, admission.RateLimited)
}

// A minute of the clock that turns must not let twice the limit pass.
func TestMinuteSlides(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:59Z", limited(2, 0))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 2)
	b.advance(2 * time.Second)
	b.refused(c, 1, admission.RateLimited)
}

func TestMinuteDoesNotOpenWhenTheClockStepsBack(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", limited(2, 0))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 2)
	b.advance(-10 * time.Minute)
	r := b.refused(c, 1, admission.RateLimited)
	if r.RetryAfter != time.Minute {
		t.Errorf("retry after %v, want 1m", r.RetryAfter)
	}
}

// With the monotonic reading of time.Now a stepped clock changes nothing.
func TestMinuteIsMonotonic(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", limited(1, 0))
	_, secret := b.user("free")
	c := b.caller(secret)
	start := time.Now()
	gate := admission.New(b.ledger, admission.Options{Now: func() time.Time { return start }})
	ask := func(now time.Time) *admission.Refusal {
		h, r := gate.Admit(c, admission.Ask{Now: now, Route: scan})
		if r == nil {
			h.Release()
		}
		return r
	}
	if r := ask(start); r != nil {
		t.Fatal(r)
	}
	if r := ask(start.Add(59 * time.Second)); r == nil {
		t.Error("admitted after 59s")
	}
	if r := ask(start.Add(60 * time.Second)); r != nil {
		t.Error(r)
	}
}

func TestOwnLimitsOfAKey(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", limited(2, 4))
	u, shared := b.user("free")
	own, ownKey := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, PerMinute: intp(3), PerDay: intp(5)})
	unlimited, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, PerMinute: intp(0), PerDay: intp(0)})
	half, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, PerMinute: intp(0)})

	b.calls(b.caller(unlimited), 20)
	b.calls(b.caller(own), 3)
	r := b.refused(b.caller(own), 1, admission.RateLimited)
	if *r.Limit != 3 || !strings.Contains(r.Detail, "This API key") {
		t.Errorf("limit %d, detail %q", *r.Limit, r.Detail)
	}
	b.calls(b.caller(shared), 2) // others' calls do not count
	b.refused(b.caller(shared), 1, admission.RateLimited)
	b.calls(b.caller(half), 2)                              // no minute of its own, the shared day
	r = b.refused(b.caller(half), 1, admission.RateLimited) // 4 of 4 on the day
	if *r.Limit != 4 || *r.Used != 4 {
		t.Errorf("day: %d of %d", *r.Used, *r.Limit)
	}
	b.advance(time.Minute)
	b.calls(b.caller(own), 2)
	r = b.refused(b.caller(own), 1, admission.RateLimited)
	if *r.Limit != 5 || *r.Used != 5 || !r.Reset.Equal(at("2025-01-16T00:00:00Z")) {
		t.Errorf("own day: %d of %d, reset %v", *r.Used, *r.Limit, r.Reset)
	}
	b.refused(b.caller(shared), 1, admission.RateLimited)
	b.calls(b.caller(unlimited), 1)

	// A day limit given later counts what the key has done, and takes it off the shared day.
	b.changeKey(ownKey.ID, func(k *ledger.Key) { k.PerDay = intp(6) })
	b.calls(b.caller(own), 1)
	b.refused(b.caller(own), 1, admission.RateLimited)
	b.set("2025-01-16T00:00:00Z")
	b.calls(b.caller(own), 3)
	b.calls(b.caller(shared), 2)
}

func TestDayIsTheBillingZonesAndCountsWhatRuns(t *testing.T) {
	b := newBenchIn(t, "2025-03-30T10:00:00Z", "Europe/Berlin", admission.Options{}, limited(0, 3))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	failed := b.admit(c, 1)
	running := b.admit(c, 1)
	r := b.refused(c, 1, admission.RateLimited)
	if want := at("2025-03-30T22:00:00Z"); !r.Reset.Equal(want) {
		t.Errorf("reset %v, want %v", r.Reset, want)
	}
	if r.RetryAfter != time.Minute || !r.NoRetry {
		t.Errorf("retry after %v, no retry %v: want a short one that says not to", r.RetryAfter, r.NoRetry)
	}
	want := []admission.Limit{{Name: "day", Limit: 3, Window: 23 * time.Hour, Reset: at("2025-03-30T22:00:00Z"), ResetIn: 12 * time.Hour}}
	if diff := cmp.Diff(want, r.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	b.settle(failed, 0, false) // an unbilled record was a call all the same
	b.refused(c, 1, admission.RateLimited)
	running.Release() // one that was never made was not
	b.calls(c, 1)
	b.refused(c, 1, admission.RateLimited)

	b.set("2025-03-30T21:59:59.999Z")
	r = b.refused(c, 1, admission.RateLimited)
	if r.RetryAfter != time.Second || r.NoRetry {
		t.Errorf("just before midnight: retry after %v, no retry %v", r.RetryAfter, r.NoRetry)
	}
	b.set("2025-03-30T22:00:00Z")
	long := b.admit(c, 1)
	b.set("2025-03-31T22:00:00Z")
	b.calls(c, 2)
	b.settle(long, 1, true) // of the day before
	b.calls(c, 1)
	b.refused(c, 1, admission.RateLimited)
	b.nothingHeld()
}

func TestDayDoesNotOpenWhenTheClockStepsBack(t *testing.T) {
	b := newBench(t, "2025-01-16T00:00:01Z", limited(0, 2))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 2)
	b.set("2025-01-15T23:50:00Z")
	b.refused(c, 1, admission.RateLimited)
}

func TestOrderOfChecks(t *testing.T) {
	plan := limited(1, 1)
	plan.Quota = map[string]int64{"calls": 1}
	b := newBench(t, "2025-01-15T12:00:00Z", plan)
	u, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	if r := b.refused(c, 1, admission.RateLimited); *r.Limit != 1 || r.Limits[1].Name != "day" || !r.Reset.Equal(at("2025-01-16T00:00:00Z")) {
		t.Errorf("the day has to come before the minute: %+v", r)
	}
	b.set("2025-01-16T12:00:00Z")
	b.refused(c, 1, admission.QuotaExceeded)
	b.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "operator" })
	b.refused(c, 1, admission.AccountSuspended)
}

// A refused call must leave no mark in the minute.
func TestRefusedCallsDoNotCount(t *testing.T) {
	plan := limited(2, 5)
	plan.Quota = map[string]int64{"documents": 10}
	b := newBench(t, "2025-01-15T12:00:00Z", plan)
	_, secret := b.user("free")
	c := b.caller(secret)
	for range 10 {
		b.refused(c, 11, admission.QuotaExceeded)
	}
	b.calls(c, 2)
	b.nothingHeld()
}

func TestManyCallersAtTheRateLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		plan pricing.Plan
		want int
	}{
		{"minute", limited(60, 0), 60},
		{"large minute", limited(500, 0), 500},
		{"day", limited(0, 100), 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "2025-01-15T12:00:00Z", tt.plan)
			_, secret := b.user("free")
			if got := b.storm(secret, 32, 20, 1); got != tt.want {
				t.Errorf("%d calls passed, want %d", got, tt.want)
			}
			b.nothingHeld()
		})
	}
}

// storm makes calls of n documents from many callers at once, and returns how many passed.
func (b *bench) storm(secret string, callers, each int, n int64) int {
	b.t.Helper()
	passed := make([]int, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				c, r := b.gate.Authenticate(secret, anywhere, b.now())
				if r != nil {
					b.t.Error(r)
					return
				}
				h, r := b.try(c, n)
				if r != nil {
					continue
				}
				passed[i]++
				u := b.record(h, n, true)
				h.HandOver()
				if err := b.ledger.AppendOne(b.now(), &u, h).Wait(context.Background()); err != nil {
					b.t.Error(err)
				}
				h.Release()
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, p := range passed {
		sum += p
	}
	return sum
}
