package admission_test

import (
	"context"
	"errors"
	"testing"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/admission"
)

func TestHoldEndsOnEachPath(t *testing.T) {
	tests := []struct {
		name  string
		ends  func(b *bench, h *admission.Hold)
		calls int64 // settled
		free  bool  // whether the quota of one call is free again
	}{
		{"released", func(b *bench, h *admission.Hold) { h.Release() }, 0, true},
		{"released twice", func(b *bench, h *admission.Hold) { h.Release(); h.Release() }, 0, true},
		{"settled", func(b *bench, h *admission.Hold) { b.settle(h, 1, true) }, 1, false},
		{"settled, then released", func(b *bench, h *admission.Hold) { b.settle(h, 1, true); h.Release() }, 1, false},
		{"settled, then abandoned", func(b *bench, h *admission.Hold) { b.settle(h, 1, true); h.Abandon() }, 1, false},
		{"settled, unbilled", func(b *bench, h *admission.Hold) { b.settle(h, 1, false) }, 0, true},
		{"extended and released", func(b *bench, h *admission.Hold) { h.Extend(documents(99)); h.Release() }, 0, true},
		{"extended and settled", func(b *bench, h *admission.Hold) { h.Extend(documents(99)); b.settle(h, 99, true) }, 1, false},
		{"abandoned", func(b *bench, h *admission.Hold) { h.Abandon() }, 0, true},
		{"handed over, the append refused", func(b *bench, h *admission.Hold) {
			u := b.record(h, 1, true)
			u.Documents = -1
			h.HandOver()
			h.Release() // the deferred one: nothing
			if b.gate.Held().Calls != 1 {
				t.Error("Release ended a hold that was handed over")
			}
			if err := b.ledger.AppendOne(b.now(), &u, h).Wait(context.Background()); err == nil {
				t.Error("the ledger took a negative quantity")
			}
			h.Abandon()
		}, 0, true},
		{"released, then extended", func(b *bench, h *admission.Hold) { h.Release(); h.Extend(documents(5)) }, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 1}))
			u, secret := b.user("free")
			c := b.caller(secret)
			h := b.admit(c, 1)
			if got, want := b.gate.Held(), (admission.Held{Users: 1, Calls: 1, Documents: 1}); got != want {
				t.Errorf("held %+v, want %+v", got, want)
			}
			b.refused(c, 1, admission.QuotaExceeded)
			tt.ends(b, h)
			b.nothingHeld()
			plans, err := b.ledger.Month(u.ID, ledger.MonthOf(2025, 1))
			if err != nil {
				t.Fatal(err)
			}
			if got := ledger.Sum(plans).Calls; got != tt.calls {
				t.Errorf("%d calls settled, want %d", got, tt.calls)
			}
			if next, r := b.try(c, 1); (r == nil) != tt.free {
				t.Errorf("next call: %v", r)
			} else if r == nil {
				next.Release()
			}
			b.nothingHeld()
		})
	}
}

func TestExtend(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"documents": 100, "pages": 10}))
	_, secret := b.user("free")
	c := b.caller(secret)
	asked := ledger.Quantities{Documents: 10, Named: []ledger.Quantity{{Meter: "pages", N: 2}}}
	h, r := b.gate.Admit(c, admission.Ask{Now: b.now(), Route: scan, Asked: asked})
	if r != nil {
		t.Fatal(r)
	}
	h.Extend(ledger.Quantities{Documents: 5, Tokens: 7})
	if got, want := b.gate.Held(), (admission.Held{Users: 1, Calls: 1, Documents: 10, Tokens: 7}); got != want {
		t.Errorf("held %+v, want %+v", got, want)
	}
	h.Extend(ledger.Quantities{Documents: 95, Named: []ledger.Quantity{{Meter: "images", N: 1}, {Meter: "pages", N: 10}}})
	b.refused(c, 6, admission.QuotaExceeded)
	if _, r := b.gate.Admit(c, admission.Ask{Now: b.now(), Route: scan, Asked: ledger.Quantities{Named: []ledger.Quantity{{Meter: "pages", N: 1}}}}); r == nil {
		t.Error("admitted a page too many")
	}
	if asked.Named[0].N != 2 {
		t.Error("the caller's quantities were changed")
	}
	h.Extend(documents(1 << 62)) // absurd, but it must add up
	h.Extend(documents(1 << 62))
	b.refused(c, 0, admission.QuotaExceeded)
	h.Release()
	b.nothingHeld()
	b.calls(c, 1)
}

func TestFreeCall(t *testing.T) {
	plan := free(map[string]int64{"calls": 2})
	plan.PerDay = 5
	b := newBench(t, "2025-01-15T12:00:00Z", plan)
	u, secret := b.user("free")
	b.change(u.ID, func(u *ledger.User) { u.OwnLimit = amount("0") })
	c := b.caller(secret)
	repeat := func() (*admission.Hold, *admission.Refusal) {
		return b.gate.Admit(c, admission.Ask{Now: b.now(), Route: scan, Asked: documents(9), Free: true})
	}
	b.calls(c, 1)
	h, r := repeat()
	if r != nil {
		t.Fatal(r)
	}
	if l := h.Limits[1]; l.Name != "month" || l.Remaining != 1 {
		t.Errorf("a free call took off the quota: %+v", l)
	}
	h.Extend(documents(20))
	b.nothingHeld()
	b.calls(c, 1) // the quota is not touched
	b.refused(c, 1, admission.QuotaExceeded)
	b.settle(h, 0, false)
	if h, r = repeat(); r != nil {
		t.Errorf("beyond the quota: %v", r)
	}
	if h2, r := repeat(); r != nil {
		t.Error(r)
	} else if _, r := repeat(); r == nil || r.Code != admission.RateLimited {
		t.Errorf("beyond the day: %v", r)
	} else {
		h2.Release()
	}
	h.Release()
	b.nothingHeld()
}

func TestHoldWithoutAUser(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	h, r := b.gate.Admit(nil, admission.Ask{Now: b.now(), Route: scan, Asked: documents(3)})
	if r != nil {
		t.Fatal(r)
	}
	if h.RouteVersion == nil || h.RouteTerms == nil || h.PlanVersion != nil || h.Period.Month != ledger.MonthOf(2025, 1) {
		t.Errorf("hold %+v", h)
	}
	h.Extend(documents(4))
	b.nothingHeld()
	b.settle(h, 3, true)
	h.Release()
	h.Abandon()
}

func TestAdmitOnARouteWithoutTerms(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	_, secret := b.user("free")
	for _, c := range []*admission.Caller{b.caller(secret), nil} {
		_, r := b.gate.Admit(c, admission.Ask{Now: b.now(), Route: "GET /nowhere"})
		if r == nil || r.Status != 500 || r.Code != admission.InternalError || !errors.Is(r, ledger.ErrNotFound) {
			t.Errorf("got %v, want 500 internal_error because of ErrNotFound", r)
		}
	}
	b.nothingHeld()
}

func TestAdmitWhenTheDiskIsAlmostFull(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	_, secret := b.user("free")
	c := b.caller(secret)
	full := ledgerWithoutRoom(t, b)
	_, r := full.Admit(c, admission.Ask{Now: b.now(), Route: scan})
	if r == nil || r.Status != 503 || r.Code != admission.LedgerUnavailable || r.RetryAfter <= 0 {
		t.Errorf("got %v, want 503 ledger_unavailable", r)
	}
}

// ledgerWithoutRoom opens the ledger of b anew, on a disk that has too little left.
func ledgerWithoutRoom(t *testing.T, b *bench) *admission.Gate {
	t.Helper()
	if err := b.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	l := ledgertest.Open(t, b.ledger.Path(), ledger.Options{Now: b.now(), Currency: "usd", TestClock: true, MinFree: 1 << 60})
	if err := l.CheckDisk(); !errors.Is(err, ledger.ErrLowDisk) {
		t.Fatalf("got %v, want ErrLowDisk", err)
	}
	return admission.New(l, admission.Options{Now: b.now})
}
