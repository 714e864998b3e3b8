package admission_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/admission"
)

func TestAuthenticate(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	u, plain := b.user("free")
	revoked, rk := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall})
	b.changeKey(rk.ID, func(k *ledger.Key) { k.Revoked = b.now() })
	expiring, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, Expires: at("2025-01-15T13:00:00Z")})
	nets, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeManage, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	suspended, suspendedKey := b.user("free")
	b.change(suspended.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
	closed, closedKey := b.user("free")
	b.change(closed.ID, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, b.now() })
	stranger := newKey(t)

	tests := []struct {
		name   string
		secret string
		from   string
		after  time.Duration
		status int
		code   string // "": found
	}{
		{"a key", plain, "192.0.2.7", 0, 0, ""},
		{"a key from nowhere", plain, "", 0, 0, ""},
		{"none", "", "192.0.2.7", 0, 401, admission.MissingKey},
		{"nonsense", "hello", "192.0.2.7", 0, 401, admission.InvalidKey},
		{"mistyped", plain[:20] + "!" + plain[21:], "192.0.2.7", 0, 401, admission.InvalidKey},
		{"unknown", stranger, "192.0.2.7", 0, 401, admission.InvalidKey},
		{"revoked", revoked, "192.0.2.7", 0, 401, admission.KeyRevoked},
		{"before it expires", expiring, "192.0.2.7", time.Hour - 1, 0, ""},
		{"expired", expiring, "192.0.2.7", time.Hour, 401, admission.KeyExpired},
		{"in its network", nets, "10.1.2.3", 0, 0, ""},
		{"in its network, mapped", nets, "::ffff:10.1.2.3", 0, 0, ""},
		{"in its other network", nets, "2001:db8::7", 0, 0, ""},
		{"in another network", nets, "192.0.2.7", 0, 403, admission.NetworkNotAllowed},
		{"in another network, of the other family", nets, "2001:db9::7", 0, 403, admission.NetworkNotAllowed},
		{"with networks, from nowhere", nets, "", 0, 403, admission.NetworkNotAllowed},
		{"of a suspended user", suspendedKey, "192.0.2.7", 0, 0, ""},
		{"of a closed user", closedKey, "192.0.2.7", 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var from netip.Addr
			if tt.from != "" {
				from = netip.MustParseAddr(tt.from)
			}
			c, refusal := b.gate.Authenticate(tt.secret, from, b.now().Add(tt.after))
			if tt.code == "" {
				if refusal != nil {
					t.Fatalf("refused: %v", refusal)
				}
				if c.Key == nil || c.User == nil || c.Account == nil || c.Key.User != c.User.ID || c.Account.ID() != c.User.ID {
					t.Errorf("caller %+v", c)
				}
				return
			}
			if refusal == nil {
				t.Fatalf("found, want %s", tt.code)
			}
			if refusal.Code != tt.code || refusal.Status != tt.status || c != nil {
				t.Errorf("got %d %s, want %d %s", refusal.Status, refusal.Code, tt.status, tt.code)
			}
			// No part of a key, however it was mistyped, may come back.
			for i := len("tg_live_"); i+6 <= len(tt.secret); i++ {
				if strings.Contains(refusal.Error()+refusal.Title, tt.secret[i:i+6]) {
					t.Errorf("a part of the key is in %q", refusal)
				}
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	u, secret := b.user("free")
	c, refusal := b.gate.Identify(http.Header{"Authorization": {"Bearer " + secret}}, anywhere, b.now())
	if refusal != nil || c.User.ID != u.ID {
		t.Fatalf("got %v, %v", c, refusal)
	}
	if _, refusal = b.gate.Identify(http.Header{}, anywhere, b.now()); refusal == nil || refusal.Code != admission.MissingKey {
		t.Errorf("got %v, want missing_key", refusal)
	}
	if _, refusal = b.gate.Identify(http.Header{"Authorization": {"Basic x"}}, anywhere, b.now()); refusal == nil || refusal.Code != admission.InvalidKey {
		t.Errorf("got %v, want invalid_key", refusal)
	}
	want := []admission.RefusalCount{{Code: admission.InvalidKey, Count: 1}, {Code: admission.MissingKey, Count: 1}}
	if diff := cmp.Diff(want, b.gate.Refusals()); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

func TestRefusalsAreCountedByCodeAndRoute(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(map[string]int64{"calls": 1}))
	_, secret := b.user("free")
	c := b.caller(secret)
	b.calls(c, 1)
	for range 3 {
		b.refused(c, 1, admission.QuotaExceeded)
	}
	b.gate.Refuse(scan, admission.NewRefusal(admission.UnmeasurableRequest, "n is -1"))
	b.gate.Refuse("", admission.NewRefusal(admission.NoRoute, "no"))
	b.gate.Authenticate("", anywhere, b.now())
	want := []admission.RefusalCount{
		{Code: admission.MissingKey, Count: 1},
		{Code: admission.NoRoute, Count: 1},
		{Code: admission.QuotaExceeded, Route: scan, Count: 3},
		{Code: admission.UnmeasurableRequest, Route: scan, Count: 1},
	}
	if diff := cmp.Diff(want, b.gate.Refusals()); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

func TestStatusOfTheUserActsOnTheNextCall(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	u, secret := b.user("free")
	c := b.caller(secret)
	running := b.admit(c, 1)

	b.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "operator" })
	if r := b.refused(c, 1, admission.AccountSuspended); r.Status != http.StatusForbidden {
		t.Errorf("status %d", r.Status)
	}
	if r := b.gate.Recheck(c, b.now()); r == nil || r.Code != admission.AccountSuspended {
		t.Errorf("recheck: %v", r)
	}
	b.settle(running, 1, true) // what runs finishes and is recorded

	b.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })
	if r := b.refused(c, 1, admission.AccountSuspended); !strings.Contains(r.Detail, "paid") {
		t.Errorf("detail %q does not say what to do", r.Detail)
	}
	b.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Active, "" })
	b.calls(c, 1)
	if r := b.gate.Recheck(c, b.now()); r != nil {
		t.Errorf("recheck: %v", r)
	}
	b.change(u.ID, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, b.now() })
	if r := b.refused(c, 1, admission.AccountClosed); r.Status != http.StatusForbidden {
		t.Errorf("status %d", r.Status)
	}
	b.nothingHeld()
}

func TestKeyRevokedAfterAuthentication(t *testing.T) {
	b := newBench(t, "2025-01-15T12:00:00Z", free(nil))
	u, _ := b.user("free")
	secret, k := b.key(u.ID, ledger.Key{Scope: ledger.ScopeCall, Expires: at("2025-01-15T13:00:00Z")})
	c := b.caller(secret)
	running := b.admit(c, 1)
	b.advance(time.Hour)
	b.refused(c, 1, admission.KeyExpired)
	b.changeKey(k.ID, func(k *ledger.Key) { k.Revoked = b.now() })
	b.refused(c, 1, admission.KeyRevoked)
	if r := b.gate.Recheck(c, b.now()); r == nil || r.Code != admission.KeyRevoked {
		t.Errorf("recheck: %v", r)
	}
	b.settle(running, 1, true)
	b.nothingHeld()
}

func TestAPIHasARateLimitOfItsOwn(t *testing.T) {
	plan := free(nil)
	plan.PerMinute = 1
	b := newBenchIn(t, "2025-01-15T12:00:00Z", "UTC", admission.Options{APIPerMinute: 3}, plan)
	u, one := b.user("free")
	two, _ := b.key(u.ID, ledger.Key{Scope: ledger.ScopeManage})
	b.calls(b.caller(one), 1)
	b.refused(b.caller(one), 1, admission.RateLimited)
	b.change(u.ID, func(u *ledger.User) { u.Status, u.SuspendedFor = ledger.Suspended, "payment" })

	for i, secret := range []string{one, two, one} {
		if r := b.gate.AdmitAPI(b.caller(secret), b.now()); r != nil {
			t.Fatalf("call %d: %v", i, r)
		}
		b.advance(time.Second)
	}
	r := b.gate.AdmitAPI(b.caller(two), b.now())
	if r == nil || r.Status != 429 || r.Code != admission.RateLimited || r.RetryAfter != 57*time.Second {
		t.Fatalf("got %+v, want 429 rate_limited, retry after 57s", r)
	}
	_, other := b.user("free")
	if r := b.gate.AdmitAPI(b.caller(other), b.now()); r != nil {
		t.Errorf("another user: %v", r)
	}
	b.advance(57 * time.Second)
	if r := b.gate.AdmitAPI(b.caller(two), b.now()); r != nil {
		t.Errorf("after the wait: %v", r)
	}
}
