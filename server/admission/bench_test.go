package admission_test

import (
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

// benchPlan has the limits of the shipped plans, too high to be reached.
func benchPlan() pricing.Plan {
	p := free(map[string]int64{"calls": 1 << 40})
	p.PerMinute, p.PerDay = 60_000_000, 1_000_000_000
	return p
}

func benchmarkGate(b *testing.B, change func(*ledger.User)) (*bench, string) {
	gate := newBench(b, "2025-01-15T12:00:00Z", benchPlan())
	u, secret := gate.user("free")
	if change != nil {
		gate.change(u.ID, change)
	}
	gate.calls(gate.caller(secret), 1)
	return gate, secret
}

// A call's whole way through admission, but for the ledger's part.
func BenchmarkAdmitAndSettle(b *testing.B) {
	bench, secret := benchmarkGate(b, nil)
	c := bench.caller(secret)
	now := bench.now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		h, r := bench.gate.Admit(c, admission.Ask{Now: now, Route: scan, Asked: ledger.Quantities{Documents: 7}})
		if r != nil {
			b.Fatal(r)
		}
		c.Account.Lock()
		h.Settle()
		c.Account.Unlock()
	}
}

func BenchmarkAdmitWithSpendLimit(b *testing.B) {
	bench, secret := benchmarkGate(b, func(u *ledger.User) { u.OwnLimit = amount("1000000") })
	c := bench.caller(secret)
	now := bench.now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		h, r := bench.gate.Admit(c, admission.Ask{Now: now, Route: scan, Asked: ledger.Quantities{Documents: 7}})
		if r != nil {
			b.Fatal(r)
		}
		h.Release()
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	bench, secret := benchmarkGate(b, nil)
	now := bench.now()
	b.ReportAllocs()
	for b.Loop() {
		if _, r := bench.gate.Authenticate(secret, anywhere, now); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkRefuseBeyondTheQuota(b *testing.B) {
	bench := newBench(b, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 1}))
	_, secret := bench.user("free")
	c := bench.caller(secret)
	bench.calls(c, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, r := bench.try(c, 1); r == nil {
			b.Fatal("admitted")
		}
	}
}

// Many users at once: what the gate and the ledger share must not be in the way.
func BenchmarkAdmitManyUsers(b *testing.B) {
	bench, _ := benchmarkGate(b, nil)
	var callers []*admission.Caller
	for range 64 {
		_, secret := bench.user("free")
		callers = append(callers, bench.caller(secret))
	}
	var next atomic.Int64
	start := bench.now()
	b.ResetTimer()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(next.Add(17)); pb.Next(); i++ {
			c := callers[i%len(callers)]
			h, r := bench.gate.Admit(c, admission.Ask{Now: start.Add(time.Duration(i) * time.Microsecond), Route: scan, Asked: ledger.Quantities{Documents: 7}})
			if r != nil {
				b.Error(r)
				return
			}
			h.Release()
		}
	})
}
