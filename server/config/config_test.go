package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/config"
	"tollgate/server/pricing"
)

const cent = ledger.Unit / 100

// parse reads a source that must be valid.
func parse(t *testing.T, source string, getenv func(string) string) *config.Config {
	t.Helper()
	c, err := config.Parse("dir/tollgate.toml", []byte(source), getenv)
	if err != nil {
		t.Fatalf("the source has problems:\n%v", err)
	}
	return c
}

func statuses(t *testing.T, s string) config.StatusSet {
	t.Helper()
	set, err := config.ParseStatusSet(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// compareStatuses lets cmp compare sets by what they hold.
var compareStatuses = cmp.Comparer(func(a, b config.StatusSet) bool { return a == b })

// TestContractFile reads the file of the contract, whole.
func TestContractFile(t *testing.T) {
	c, err := config.Load("testdata/contract.toml", env())
	if err != nil {
		t.Fatal(err)
	}
	wantServer := config.Server{
		Listen: "127.0.0.1:8080", PublicURL: "https://api.example.com", Socket: "testdata/tollgate.sock", Metrics: "127.0.0.1:9464",
		MaxBody: 32 << 20, TrustedProxies: []netip.Prefix{}, Drain: 30 * time.Second, TLS: config.TLS{Mode: "off"},
	}
	if diff := cmp.Diff(wantServer, c.Server); diff != "" {
		t.Errorf("[server] (-want +got):\n%s", diff)
	}
	wantLedger := config.Ledger{
		Path: "testdata/tollgate.db", Durability: "strict", CommitInterval: 100 * time.Millisecond, MinFree: 256 << 20,
		SnapshotDir: "testdata/backups", SnapshotKeep: 7,
	}
	if diff := cmp.Diff(wantLedger, c.Ledger); diff != "" {
		t.Errorf("[ledger] (-want +got):\n%s", diff)
	}
	wantBilling := config.Billing{
		Timezone: "UTC", Location: time.UTC, Currency: "usd", MinorDigits: 2, DefaultPlan: "free", Grace: time.Hour, RunAt: config.TimeOfDay(time.Hour),
		RetryAfter:   []time.Duration{72 * time.Hour, 120 * time.Hour, 168 * time.Hour},
		SuspendAfter: 336 * time.Hour, Proration: "time", EventsWindow: 1488 * time.Hour, HoldTTL: 10 * time.Minute,
		Issuer: "Example Ltd", Tax: config.Tax{Name: "VAT"},
	}
	sameZone := cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })
	if diff := cmp.Diff(wantBilling, c.Billing, sameZone); diff != "" {
		t.Errorf("[billing] (-want +got):\n%s", diff)
	}
	wantUpstreams := []config.Upstream{{
		Name: "api", URL: &url.URL{Scheme: "http", Host: "127.0.0.1:9000"}, Timeout: time.Minute, Headers: map[string]config.Secret{}, Line: 44,
	}}
	if diff := cmp.Diff(wantUpstreams, c.Upstreams); diff != "" {
		t.Errorf("[[upstream]] (-want +got):\n%s", diff)
	}
	wantRoutes := []config.Route{{
		Pattern: "POST /v1/scan", Upstream: "api", Line: 50,
		Documents:  &config.Source{Kind: config.FromRequest, Pointer: "/docs", Count: true},
		Tokens:     &config.Source{Kind: config.FromResponse, Pointer: "/usage/total_tokens", Missing: config.MissingZero},
		Price:      map[string]ledger.Amount{"documents": cent},
		Auth:       config.AuthKey,
		BillStatus: statuses(t, "2xx,3xx"),
		Drain:      config.Drain{Bytes: 8 << 20, Seconds: 30},
		Hold:       map[string]int64{"tokens": 4000},
	}}
	if diff := cmp.Diff(wantRoutes, c.Routes, compareStatuses); diff != "" {
		t.Errorf("[[route]] (-want +got):\n%s", diff)
	}
	shipped := pricing.Shipped()
	shipped[1].Exposure = 500 * ledger.Unit
	wantPlans := append(shipped,
		pricing.Plan{
			ID: "volume", Name: "Volume", OnExceed: pricing.Bill, Billing: pricing.Monthly, PerMinute: 60, PerDay: 10_000,
			Prices: []pricing.Price{{Meter: "documents", Model: pricing.Graduated, Tiers: []pricing.Tier{
				{UpTo: 1000, Unit: cent}, {UpTo: 10000, Unit: cent / 2}, {Unit: cent / 10},
			}}},
		},
		pricing.Plan{
			ID: "prepaid", Name: "Prepaid", OnExceed: pricing.Block, Billing: pricing.Prepaid, PerMinute: 60, PerDay: 10_000,
			Credits: map[string]int64{"documents": 1}, CreditsLow: 500, Recharge: &pricing.Recharge{Below: 500, Pack: "10k", PerDay: 3},
		})
	if diff := cmp.Diff(wantPlans, c.Plans); diff != "" {
		t.Errorf("[[plan]] (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]config.CreditPack{{ID: "10k", Credits: 10000, Price: 100 * ledger.Unit}}, c.CreditPacks); diff != "" {
		t.Errorf("[[credit_pack]] (-want +got):\n%s", diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// TestDefault holds that an empty file means what Default says, but for the
// sample API, which is only there without a file.
func TestDefault(t *testing.T) {
	c := config.Default()
	if got, want := len(c.Routes), 2; got != want {
		t.Fatalf("got %d routes, want %d", got, want)
	}
	for i, list := range []string{"/docs", "/texts"} {
		r := c.Routes[i]
		if r.Documents.Pointer != list || !r.Documents.Count || r.Tokens.Missing != config.MissingZero || r.Price["documents"] != cent {
			t.Errorf("route %s is measured by %v and %v, priced %v", r.Pattern, r.Documents, r.Tokens, r.Price)
		}
		if c.Upstreams[0].Name != r.Upstream || c.Upstreams[0].Builtin != "sample" {
			t.Errorf("route %s leads to %q, not to the sample API", r.Pattern, r.Upstream)
		}
	}
	if c.Ledger.Path != "tollgate.db" || c.Server.Socket != "tollgate.sock" || c.Server.PublicURL != "http://127.0.0.1:8080" {
		t.Errorf("ledger %q, socket %q, public URL %q", c.Ledger.Path, c.Server.Socket, c.Server.PublicURL)
	}
	empty, err := config.Parse("tollgate.toml", nil, env())
	if err != nil {
		t.Fatal(err)
	}
	empty.File, empty.Warnings = "", nil
	empty.Upstreams, empty.Routes = c.Upstreams, c.Routes
	sameZone := cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })
	if diff := cmp.Diff(c, empty, compareStatuses, sameZone); diff != "" {
		t.Errorf("an empty file differs from the defaults (-default +empty):\n%s", diff)
	}
}

func TestRelativePaths(t *testing.T) {
	tests := []struct {
		name, source         string
		ledger, socket, keep string
	}{
		{"nothing said", ``, "dir/tollgate.db", "dir/tollgate.sock", "dir/backups"},
		{"socket beside the ledger", "[ledger]\npath = \"data/l.db\"", "dir/data/l.db", "dir/data/tollgate.sock", "dir/backups"},
		{"absolute", "[server]\nsocket = \"/run/t.sock\"\n[ledger]\npath = \"/var/l.db\"\nsnapshot_dir = \"/b\"", "/var/l.db", "/run/t.sock", "/b"},
		{"no snapshots", "[ledger]\nsnapshot_dir = \"\"", "dir/tollgate.db", "dir/tollgate.sock", ""},
		{"upwards", "[ledger]\npath = \"../l.db\"", "l.db", "tollgate.sock", "dir/backups"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := parse(t, test.source, env())
			got := []string{c.Ledger.Path, c.Server.Socket, c.Ledger.SnapshotDir}
			if diff := cmp.Diff([]string{test.ledger, test.socket, test.keep}, got); diff != "" {
				t.Errorf("ledger, socket, snapshots (-want +got):\n%s", diff)
			}
		})
	}
	c := parse(t, "[ledger]\nsnapshot_dir = \"/b\"", env("STATE_DIRECTORY", "/var/lib/tollgate:/other"))
	got := []string{c.Ledger.Path, c.Server.Socket, c.Ledger.SnapshotDir}
	if diff := cmp.Diff([]string{"/var/lib/tollgate/tollgate.db", "/var/lib/tollgate/tollgate.sock", "/b"}, got); diff != "" {
		t.Errorf("as a service (-want +got):\n%s", diff)
	}
}

func TestPublicURLFollowsListen(t *testing.T) {
	for listen, want := range map[string]string{
		":9000": "http://127.0.0.1:9000", "0.0.0.0:80": "http://127.0.0.1:80", "[::]:80": "http://127.0.0.1:80",
		"[::1]:8080": "http://[::1]:8080", "localhost:1": "http://localhost:1", "10.0.0.1:8080": "http://10.0.0.1:8080",
	} {
		if got := parse(t, "[server]\nlisten = \""+listen+"\"", env()).Server.PublicURL; got != want {
			t.Errorf("listen %q: got %q, want %q", listen, got, want)
		}
	}
	if got := parse(t, "[server]\npublic_url = \"https://api.example.com/t/\"", env()).Server.PublicURL; got != "https://api.example.com/t" {
		t.Errorf("got %q, want no slash at the end", got)
	}
}

func TestSources(t *testing.T) {
	c := parse(t, `
[[upstream]]
name = "api"
url = "builtin:sample"
[[route]]
pattern = "/"
upstream = "api"
documents = { header = "x-docs", strip = true, missing = 7 }
tokens = { response = "/a~1b/~0/0", count = true, missing = "estimate" }
timeout = "5m"
effective = 2025-03-01
bill_status = "404, 2xx"
[route.meters]
up = { bytes = "request" }
down = { bytes = "response" }
one = { fixed = 1 }
whole = { request = "" }
`, env())
	want := config.Route{
		Pattern: "/", Upstream: "api", Line: 5,
		Documents: &config.Source{Kind: config.FromHeader, Header: "X-Docs", Strip: true, Missing: config.MissingFixed, MissingN: 7},
		Tokens:    &config.Source{Kind: config.FromResponse, Pointer: "/a~1b/~0/0", Count: true, Missing: config.MissingEstimate},
		Named: map[string]*config.Source{
			"up": {Kind: config.RequestBytes}, "down": {Kind: config.ResponseBytes}, "one": {Kind: config.Fixed, N: 1}, "whole": {Kind: config.FromRequest},
		},
		Auth: config.AuthKey, BillStatus: statuses(t, "2xx,404"), Drain: config.Drain{Bytes: 8 << 20, Seconds: 30},
		Timeout: 5 * time.Minute, Effective: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, c.Routes[0], compareStatuses); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	if got, want := c.Routes[0].Meters(), []string{"documents", "tokens", "down", "one", "up", "whole"}; !cmp.Equal(got, want) {
		t.Errorf("meters: got %q, want %q", got, want)
	}
	for meter, before := range map[string]bool{"documents": false, "tokens": false, "up": true, "down": false, "one": true, "whole": true} {
		if got := c.Routes[0].Source(meter).KnownBefore(); got != before {
			t.Errorf("%s known before the call: got %t, want %t", meter, got, before)
		}
	}
}

// TestPlansMerge holds that what is given of a shipped plan replaces that term
// only.
func TestPlansMerge(t *testing.T) {
	c := parse(t, `
[billing]
timezone = "America/New_York"
[[plan]]
id = "free"
quota = { calls = 5 }
rate_limits = { per_minute = 0 }
effective = "2025-03-10"
[[plan]]
id = "enterprise"
fee = "1000.50"
public = false
`, env())
	want := pricing.Shipped()
	want[0].Quota = map[string]int64{"calls": 5}
	want[0].PerMinute = 0
	want[2].Fee, want[2].Custom, want[2].Public = 1000*ledger.Unit+ledger.Unit/2, false, false
	if diff := cmp.Diff(want, c.Plans); diff != "" {
		t.Errorf("plans (-want +got):\n%s", diff)
	}
	// Summer time began in New York the day before.
	if got, want := c.Effective, map[string]time.Time{"free": time.Date(2025, 3, 10, 4, 0, 0, 0, time.UTC)}; !cmp.Equal(got, want) {
		t.Errorf("effective: got %v, want %v", got, want)
	}
	if c.Plan("pro") == nil || c.Plan("gone") != nil {
		t.Error("Plan does not find by id")
	}
}

// TestRoutesThatFit are sets of patterns that do not overlap.
func TestRoutesThatFit(t *testing.T) {
	for _, patterns := range [][]string{
		{"/"},
		{"GET /", "POST /"},
		{"/", "POST /v1/scan", "GET /v1/scan", "/v1/"},
		{"/v1/{kind}/scan", "/v1/special/scan"},
		{"a.example.com/", "b.example.com/", "/"},
		{"/v1/usages", "/healthz2", "/api/v10/", "/v1/keyring/{id}"},
		{"/{version}/billing/usage"},
	} {
		var b strings.Builder
		b.WriteString("[[upstream]]\nname = \"api\"\nurl = \"builtin:sample\"\n")
		for _, p := range patterns {
			b.WriteString("[[route]]\nupstream = \"api\"\npattern = '" + p + "'\n")
		}
		if _, err := config.Parse("x.toml", []byte(b.String()), env()); err != nil {
			t.Errorf("%q: %v", patterns, err)
		}
	}
}

func TestReservedBy(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/billing/usage": "/v1/billing", "/v1/billing": "/v1/billing", "/v1/billing/later": "/v1/billing", "/v1/keys/7": "/v1/keys",
		"/healthz": "/healthz", "/api/v1/events": "/api/v1/events",
		"/v1/billings": "", "/v1/scan": "", "/": "", "/healthz2": "", "/api/v1/scan": "",
	} {
		if got := config.ReservedBy(path); got != want {
			t.Errorf("ReservedBy(%q): got %q, want %q", path, got, want)
		}
	}
}

func TestReservedPathsAreRefused(t *testing.T) {
	for _, own := range config.Reserved() {
		for _, pattern := range []string{own, "GET " + own, own + "/", own + "/x", own + "/{x...}", "example.com" + own} {
			source := "[[upstream]]\nname = \"api\"\nurl = \"builtin:sample\"\n[[route]]\nupstream = \"api\"\npattern = '" + pattern + "'\n"
			if _, err := config.Parse("x.toml", []byte(source), env()); err == nil || !strings.Contains(err.Error(), "x.toml:6: route ") {
				t.Errorf("%q: got %v, want a problem in line 6", pattern, err)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{"keys in the clear", "[server]\nlisten = \":80\"\npublic_url = \"http://api.example.com\"",
			[]string{`w.toml:3: public_url is "http://api.example.com": keys travel unencrypted; put TLS in front, or see [server.tls], and say https`}},
		{"nothing said to the world", "[server]\nlisten = \":80\"",
			[]string{`w.toml:1: public_url is "http://127.0.0.1:80": keys travel unencrypted; put TLS in front, or see [server.tls], and say https`}},
		{"TLS in front", "[server]\nlisten = \":80\"\npublic_url = \"https://api.example.com\"", nil},
		{"local", "[server]\nlisten = \"localhost:80\"\npublic_url = \"http://127.0.0.1:80\"", nil},
		{"unused upstream", "[server]\n\n[[upstream]]\nname = \"spare\"\nurl = \"builtin:sample\"", []string{`w.toml:3: upstream "spare" is used by no route`}},
		{"quota without hold", `
[[plan]]
id = "p"
fee = "1"
quota = { tokens = 100 }
on_exceed = "block"
[[route]]
pattern = "/a"
upstream = "api"
tokens = { response = "/n", missing = "zero" }`,
			[]string{`w.toml:10: route "/a": tokens is not known before the call: without hold = { tokens = N }, calls at the same time can overrun the quota of plan "p"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := test.source
			if !strings.Contains(source, "[[route]]") {
				source += "\n[[route]]\npattern = \"/x\"\nupstream = \"api\""
			}
			source += "\n[[upstream]]\nname = \"api\"\nurl = \"builtin:sample\""
			c, err := config.Parse("w.toml", []byte(source), env())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range c.Warnings {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
	if c := parse(t, "", env()); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Message, "no [[route]]") {
		t.Errorf("a file without routes: warnings %v", c.Warnings)
	}
}

func TestLoadFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.toml"), env()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: got %v", err)
	}
	path := filepath.Join(t.TempDir(), "big.toml")
	if err := os.WriteFile(path, []byte("#"+strings.Repeat("x", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path, env()); err == nil || !strings.Contains(err.Error(), "longer than 1MiB") {
		t.Errorf("a huge file: got %v", err)
	}
}

func TestSummary(t *testing.T) {
	c, err := config.Load("testdata/summary.toml", env("TOKEN", "hidden-token", "STRIPE_SECRET_KEY", "sk_test_hidden"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Summary().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hidden") {
		t.Error("the summary shows a secret")
	}
	golden := "testdata/summary.want"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// TestHostileFiles are files that are meant to exhaust something.
func TestHostileFiles(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	tests := []struct{ name, source, want string }{
		{"arrays", "a = " + strings.Repeat("[", 1<<20), "f.toml:1: arrays and tables are nested too deeply"},
		{"inline tables", "a = " + strings.Repeat("{a=", 1<<18), "f.toml:1: arrays and tables are nested too deeply"},
		{"dotted key", strings.Repeat("a.", 1<<19) + "a = 1", "f.toml:1: arrays and tables are nested too deeply"},
		{"header", "[" + strings.Repeat("a.", 1<<19) + "a]", "f.toml:1: arrays and tables are nested too deeply"},
		{"brackets", strings.Repeat("[", 1<<20), "f.toml:1:3: expected '.' or ']' to end table name, but got '[' instead"},
		{"keys", many("k%d = 1\n", 10_000), "f.toml: and 9900 problems more"},
		{"routes", many("[[route]]\npattern = \"/a%d\"\n", 2_000), "f.toml: and 1900 problems more"},
		{"strings", "a = " + strings.Repeat("\"", 1<<20), "f.toml:1:8: unexpected '\"\"\"\"\"\"'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("f.toml", []byte(test.source), env())
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("got %.300v, want %q at its end", err, test.want)
			}
		})
	}
}
