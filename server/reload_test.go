package server_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestReloadTakesUpRoutesAndPlans(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	if a := r.call("POST", "/v1/other", u.APIKey, docs(1)); a.code() != "no_route" {
		t.Fatalf("before: got %d %s", a.status, a.body)
	}
	writeConfig(t, r.folder, serverTable+scanRoute(upstream.URL)+`
[[route]]
pattern = "POST /v1/other"
upstream = "api"
[[plan]]
id = "new"
name = "New"
fee = "5.00"
on_exceed = "bill"
billing = "monthly"
public = true
`)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := r.call("POST", "/v1/other", u.APIKey, docs(1)); a.status != http.StatusOK {
		t.Errorf("the new route: got %d %s", a.status, a.body)
	}
	if a := r.call("GET", "/v1/billing/pricing", "", ""); !strings.Contains(a.body, `"new"`) {
		t.Errorf("the new plan is not offered: %s", a.body)
	}
	r.user("ben@example.com", "new")
}

func TestReloadKeepsPricesUntilTheNextPeriod(t *testing.T) {
	upstream := newCounting(t)
	clock := "[clock]\nmode = \"test\"\nstart = \"2025-01-15T00:00:00Z\"\n"
	r := start(t, serverTable+clock+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	cents := func() int64 {
		t.Helper()
		if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		usage, err := r.client.Usage(t.Context(), u.Email, "")
		if err != nil {
			t.Fatal(err)
		}
		return usage.CurrentUsage.TotalCostCents
	}
	if got := cents(); got != 1 {
		t.Fatalf("the first call costs %d cents, want 1", got)
	}
	writeConfig(t, r.folder, serverTable+clock+strings.Replace(scanRoute(upstream.URL), `"0.01"`, `"0.05"`, 1))
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := cents(); got != 2 {
		t.Errorf("in the same period two calls cost %d cents, want 2", got)
	}
	ben := r.user("ben@example.com", "pro")
	r.call("POST", "/v1/scan", ben.APIKey, docs(1))
	if usage, err := r.client.Usage(t.Context(), ben.Email, ""); err != nil || usage.CurrentUsage.TotalCostCents != 5 {
		t.Errorf("a user who came after the change pays %d cents a call (%v), want 5", usage.CurrentUsage.TotalCostCents, err)
	}
	if _, err := r.client.AdvanceClock(t.Context(), 20*24*60*60*1e9); err != nil {
		t.Fatal(err)
	}
	if got := cents(); got != 5 {
		t.Errorf("in the next period a call costs %d cents, want 5", got)
	}
}

func TestBrokenReloadChangesNothing(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	for name, test := range map[string]struct{ text, says string }{
		"an unknown key":            {serverTable + "drian = 1\n", "drian"},
		"no TOML":                   {"[server\n", "config.toml"},
		"a route without upstream":  {serverTable + "[[route]]\npattern = \"/\"\nupstream = \"nowhere\"\n", "nowhere"},
		"an upstream without route": {serverTable + "[[upstream]]\nname = \"api\"\nurl = \"ftp://x\"\n", "url"},
	} {
		t.Run(name, func(t *testing.T) {
			writeConfig(t, r.folder, test.text)
			if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error that says %q", err, test.says)
			}
			if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusOK {
				t.Errorf("then: got %d %s", a.status, a.body)
			}
		})
	}
	if err := r.client.Reload(t.Context()); err == nil {
		t.Error("the operator's reload of a broken file had no error")
	}
	if log := r.log.all(); !strings.Contains(log, "not reloaded") {
		t.Errorf("the log does not tell: %s", log)
	}
}

func TestPlanInUseCannotBeRemoved(t *testing.T) {
	plan := "[[plan]]\nid = \"mine\"\nname = \"Mine\"\nfee = \"0\"\non_exceed = \"bill\"\nbilling = \"monthly\"\n"
	r := start(t, serverTable+plan)
	writeConfig(t, r.folder, serverTable)
	if err := r.Reload(t.Context()); err != nil {
		t.Errorf("removing a plan that nobody is on: %v", err)
	}
	writeConfig(t, r.folder, serverTable+plan)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.user("ann@example.com", "mine")
	writeConfig(t, r.folder, serverTable)
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `"mine"`) {
		t.Errorf("got %v, want a refusal that names the plan", err)
	}
}
