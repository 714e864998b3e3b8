package admission_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

const scan = "POST /v1/scan"

var anywhere = netip.MustParseAddr("192.0.2.7")

// bench is a ledger with a gate on a clock that the test moves.
type bench struct {
	t      testing.TB
	ledger *ledger.Ledger
	gate   *admission.Gate

	mu      sync.Mutex
	time    time.Time
	counter uint32
	users   int
}

// free is a plan that blocks at a quota of meters.
func free(quota map[string]int64) pricing.Plan {
	return pricing.Plan{ID: "free", Name: "Free", Quota: quota, OnExceed: pricing.Block, Billing: pricing.Monthly, Public: true}
}

func newBench(t testing.TB, start string, plans ...pricing.Plan) *bench {
	t.Helper()
	return newBenchIn(t, start, "UTC", admission.Options{UpgradeURL: "https://api.example.com/dashboard/plans"}, plans...)
}

func newBenchIn(t testing.TB, start, zone string, o admission.Options, plans ...pricing.Plan) *bench {
	t.Helper()
	b := &bench{t: t, time: at(start)}
	b.ledger = ledgertest.New(t, ledger.Options{Now: b.now(), Zone: zone, Currency: "usd", TestClock: true})
	for _, p := range plans {
		b.publish(p, b.now())
	}
	b.price(pricing.Route{Pattern: scan, Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}})
	o.Now = b.now
	b.gate = admission.New(b.ledger, o)
	return b
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) set(s string) { b.setTime(at(s)) }

func (b *bench) setTime(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = t
}

func (b *bench) advance(d time.Duration) { b.setTime(b.now().Add(d)) }

func (b *bench) publish(p pricing.Plan, effective time.Time) *ledger.Version {
	b.t.Helper()
	return b.version(ledger.PlanVersion, p.ID, p, effective)
}

func (b *bench) price(r pricing.Route) *ledger.Version {
	b.t.Helper()
	return b.version(ledger.RouteVersion, r.Pattern, r, b.now())
}

func (b *bench) version(kind ledger.VersionKind, name string, terms any, effective time.Time) *ledger.Version {
	b.t.Helper()
	raw, err := json.Marshal(terms)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := b.ledger.PublishVersion(b.now(), kind, name, raw, effective)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// user adds a user on a plan, with a key.
func (b *bench) user(plan string) (*ledger.User, string) {
	b.t.Helper()
	b.users++
	u, err := b.ledger.AddUser(b.now(), "test", ledger.Personal{Email: fmt.Sprintf("user%d@example.com", b.users)}, plan)
	if err != nil {
		b.t.Fatal(err)
	}
	secret, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall})
	return u, secret
}

func (b *bench) key(user ledger.UserID, k ledger.Key) (string, *ledger.Key) {
	b.t.Helper()
	secret, hash, prefix, err := admission.NewKey(rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	k.Hash, k.Prefix = hash, prefix
	added, err := b.ledger.AddKey(b.now(), "test", user, k)
	if err != nil {
		b.t.Fatal(err)
	}
	return secret, added
}

func (b *bench) change(id ledger.UserID, change func(*ledger.User)) {
	b.t.Helper()
	if _, err := b.ledger.ChangeUser(b.now(), "test", id, func(u *ledger.User) error { change(u); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) changeKey(id ledger.KeyID, change func(*ledger.Key)) {
	b.t.Helper()
	if _, err := b.ledger.ChangeKey(b.now(), "test", id, func(k *ledger.Key) error { change(k); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) caller(secret string) *admission.Caller {
	b.t.Helper()
	c, refusal := b.gate.Authenticate(secret, anywhere, b.now())
	if refusal != nil {
		b.t.Fatalf("authenticate: %v", refusal)
	}
	return c
}

func documents(n int64) ledger.Quantities { return ledger.Quantities{Documents: n} }

// try asks to admit a call of n documents.
func (b *bench) try(c *admission.Caller, n int64) (*admission.Hold, *admission.Refusal) {
	return b.gate.Admit(c, admission.Ask{Now: b.now(), Route: scan, Asked: documents(n)})
}

// admit is try for a call that has to pass.
func (b *bench) admit(c *admission.Caller, n int64) *admission.Hold {
	b.t.Helper()
	h, refusal := b.try(c, n)
	if refusal != nil {
		b.t.Fatalf("admit: %v", refusal)
	}
	return h
}

// refused is try for a call that must not pass.
func (b *bench) refused(c *admission.Caller, n int64, code string) *admission.Refusal {
	b.t.Helper()
	h, refusal := b.try(c, n)
	if refusal == nil {
		h.Release()
		b.t.Fatalf("admitted, want %s", code)
	}
	if refusal.Code != code {
		b.t.Fatalf("got %v, want %s", refusal, code)
	}
	return refusal
}

// record is the usage record of a hold's call.
func (b *bench) record(h *admission.Hold, n int64, billed bool) ledger.Usage {
	b.mu.Lock()
	b.counter++
	counter := b.counter
	b.mu.Unlock()
	u := ledger.Usage{
		Time: h.Time, Counter: counter, Route: h.RouteVersion.ID, Method: "POST", Quantities: documents(n), Billed: billed,
		Duration: time.Millisecond, Status: 200,
	}
	if h.Caller != nil {
		u.User, u.Key, u.Plan = h.Caller.Account.ID(), h.Caller.Key.ID, h.PlanVersion.ID
	}
	if billed {
		cost, err := h.RouteTerms.Cost(u.Quantities)
		if err != nil {
			b.t.Error(err)
		}
		u.Cost = cost
	} else {
		u.Status, u.Outcome = 500, ledger.UpstreamError
	}
	return u
}

// settle records the call as the gateway does.
func (b *bench) settle(h *admission.Hold, n int64, billed bool) {
	b.t.Helper()
	u := b.record(h, n, billed)
	h.HandOver()
	if err := b.ledger.AppendOne(h.NotBefore(b.now()), &u, h).Wait(context.Background()); err != nil {
		h.Abandon()
		b.t.Errorf("append: %v", err)
	}
}

// call makes a whole call of n documents.
func (b *bench) call(c *admission.Caller, n int64) *admission.Refusal {
	b.t.Helper()
	h, refusal := b.try(c, n)
	if refusal != nil {
		return refusal
	}
	b.settle(h, n, true)
	return nil
}

func (b *bench) calls(c *admission.Caller, times int) {
	b.t.Helper()
	for i := range times {
		if refusal := b.call(c, 1); refusal != nil {
			b.t.Fatalf("call %d of %d: %v", i+1, times, refusal)
		}
	}
}

func (b *bench) nothingHeld() {
	b.t.Helper()
	if held := b.gate.Held(); held != (admission.Held{}) {
		b.t.Errorf("still held: %+v", held)
	}
}
