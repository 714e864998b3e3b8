package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
)

// TestUsageIsTheContractsExample has the figures of the example in the product
// contract: 847 calls with 23,450 documents, 12 calls not billed.
func TestUsageIsTheContractsExample(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	h.change(u.ID, func(u *ledger.User) { u.PaymentMethod = "pm_1" })
	h.record(u.ID, start, 847, func(i int, u *ledger.Usage) {
		u.Documents, u.Tokens = 27, 767
		if i == 0 {
			u.Documents, u.Tokens = 23450-846*27, 650000-846*767
		}
	})
	h.record(u.ID, start.Add(time.Hour), 12, func(_ int, u *ledger.Usage) {
		u.Billed, u.Status, u.Outcome, u.Documents = false, 502, ledger.Unreachable, 5
	})
	h.at(time.Date(2025, 1, 22, 21, 9, 30, 0, time.UTC))
	w := h.call("GET", "/v1/billing/usage", key, "")
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "usage.json", indented.Bytes())
}

func TestUsageWarnings(t *testing.T) {
	for _, tt := range []struct {
		calls int
		want  []string
	}{
		{799, nil},
		{800, []string{"quota_80: 80.0% of this month's calls are used"}},
		{999, []string{"quota_80: 99.9% of this month's calls are used"}},
		{1000, []string{"quota_100: all 1000 of this month's calls are used; calls are refused until 2025-02-01T00:00:00Z unless a payment method is added; plan pro has 26612 calls this month for a fee of 26.08 USD this month"}},
	} {
		t.Run(fmt.Sprint(tt.calls), func(t *testing.T) {
			h := newHouse(t)
			u, key, _ := h.user("a@example.com", "free")
			h.record(u.ID, start, tt.calls, nil)
			var got []string
			for _, w := range get[api.Usage](h, "/v1/billing/usage", key).Warnings {
				got = append(got, w.Code+": "+w.Detail)
				if w.UpgradeURL != "https://api.example.com/dashboard/plans" {
					t.Errorf("got the link %q", w.UpgradeURL)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUsageWithoutQuota(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "enterprise")
	h.record(u.ID, start, 3, func(_ int, u *ledger.Usage) { u.Documents = 100 })
	got := get[api.Usage](h, "/v1/billing/usage", key)
	if diff := cmp.Diff(api.Quota{Meter: "calls", Used: 3}, got.Quota); diff != "" {
		t.Error(diff)
	}
	if got.Charges.TotalCents != 300 || got.Charges.OverageCents != 300 {
		t.Errorf("billed by cost: got %+v", got.Charges)
	}
	text := h.call("GET", "/v1/billing/usage", key, "").Body.String()
	for _, want := range []string{`"total":null`, `"remaining":null`, `"percent_used":0.0`, `"credits":null`, `"warnings":[]`, `"total_dollars":3.00`} {
		if !bytes.Contains([]byte(text), []byte(want)) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}

func TestUsageOfAnotherMeter(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "hidden")
	h.record(u.ID, start, 2, func(_ int, u *ledger.Usage) { u.Documents = 200 })
	got := get[api.Usage](h, "/v1/billing/usage", key)
	if got.Quota.Meter != "documents" || got.Quota.Used != 400 {
		t.Errorf("got %+v", got.Quota)
	}
}

func TestHistory(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "pro")
	h.record(u.ID, start, 10, func(_ int, u *ledger.Usage) { u.Documents = 2 })
	february := time.Date(2025, 2, 10, 0, 0, 0, 0, time.UTC)
	h.at(february)
	h.record(u.ID, february, 4, nil)
	h.at(february.AddDate(0, 1, 0))
	got := get[api.History](h, "/v1/billing/usage/history", key)
	if got.SubscriptionTier != "pro" || len(got.History) != 3 {
		t.Fatalf("got %+v; months before the user came are not history", got)
	}
	var months []string
	for _, m := range got.History {
		months = append(months, fmt.Sprintf("%d-%02d %d calls %d documents %v", m.Year, m.Month, m.TotalCalls, m.TotalDocuments, m.CostDollars))
	}
	want := []string{"2025-03 0 calls 0 documents 0.00", "2025-02 4 calls 0 documents 0.00", "2025-01 10 calls 20 documents 0.20"}
	if diff := cmp.Diff(want, months); diff != "" {
		t.Error(diff)
	}
	if fee := got.History[1].ChargeDollars.String(); fee != "49.00" {
		t.Errorf("a whole month on pro: got %s", fee)
	}
	if got := get[api.History](h, "/v1/billing/usage/history?months=1", key); len(got.History) != 1 || got.History[0].Month != 3 {
		t.Errorf("one month: got %+v", got)
	}
	for _, bad := range []string{"0", "37", "-1", "six", "1.5", "99999999999999999999"} {
		wantProblem(t, h.call("GET", "/v1/billing/usage/history?months="+bad, key, ""), 400, "invalid_parameter")
	}
}

func TestPricing(t *testing.T) {
	h := newHouse(t)
	w := h.call("GET", "/v1/billing/pricing", "", "")
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "pricing.json", indented.Bytes())
}

func TestOwnSpendLimit(t *testing.T) {
	h := newHouse(t)
	u, _, manage := h.user("a@example.com", "pro")
	five := 5 * ledger.Unit
	h.change(u.ID, func(u *ledger.User) { u.SpendLimit = &five })
	for _, tt := range []struct{ body, want string }{
		{`{"cents": 2000}`, `{"cents":2000,"operator_cents":500,"in_force_cents":500}`},
		{`{"cents": 0}`, `{"cents":0,"operator_cents":500,"in_force_cents":0}`},
		{`{"cents": null}`, `{"cents":null,"operator_cents":500,"in_force_cents":500}`},
	} {
		if got := h.call("PUT", "/v1/billing/limit", manage, tt.body).Body.String(); got != tt.want+"\n" {
			t.Errorf("%s: got %s, want %s", tt.body, got, tt.want)
		}
	}
	for body, code := range map[string]string{
		``: "missing_field", `{}`: "missing_field", `{"cents": -1}`: "invalid_field", `{"cents": 1.5}`: "invalid_field", `{"cents": "5"}`: "invalid_field",
		`{"cents": 9223372036854775807}`: "invalid_field", `{"cents": 1, "dollars": 2}`: "invalid_field", `[]`: "invalid_json", `null`: "invalid_json", `{"cents": 1} {}`: "invalid_json",
	} {
		wantProblem(t, h.call("PUT", "/v1/billing/limit", manage, body), 400, code)
	}
}

// BenchmarkUsage is the answer about a month with 20,000 records.
func BenchmarkUsage(b *testing.B) {
	h := newHouse(b)
	u, key, _ := h.user("a@example.com", "pro")
	for i := range 20 {
		h.record(u.ID, start.Add(time.Duration(i)*time.Hour), 1000, nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		if w := h.call("GET", "/v1/billing/usage", key, ""); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
