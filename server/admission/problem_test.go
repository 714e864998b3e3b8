package admission_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/admission"
)

func int64p(n int64) *int64 { return &n }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestWriteProblem(t *testing.T) {
	tests := []struct {
		name    string
		refusal *admission.Refusal
		headers map[string]string // "": must not be there
		body    string
	}{
		{
			"no key", admission.NewRefusal(admission.MissingKey, "Send one."),
			map[string]string{
				"Content-Type": "application/problem+json", "Www-Authenticate": `Bearer realm="tollgate"`,
				"Retry-After": "", "X-Should-Retry": "", "Ratelimit": "", "X-Ratelimit-Limit": "",
			},
			`{"type":"urn:tollgate:problem:missing_key","title":"API key missing","status":401,"detail":"Send one.","code":"missing_key"}`,
		},
		{
			"a wrong key", admission.NewRefusal(admission.InvalidKey, "No."),
			map[string]string{"Www-Authenticate": `Bearer realm="tollgate", error="invalid_token"`},
			`{"type":"urn:tollgate:problem:invalid_key","title":"API key not valid","status":401,"detail":"No.","code":"invalid_key"}`,
		},
		{
			"rate", &admission.Refusal{
				Status: 429, Code: admission.RateLimited, Title: "Too many calls", Detail: "Slower.",
				Limit: int64p(60), Used: int64p(60), Remaining: int64p(0), Reset: at("2025-01-15T12:00:07Z"), RetryAfter: 6100 * time.Millisecond,
				Limits: []admission.Limit{{Name: "minute", Limit: 60, Window: time.Minute, Reset: at("2025-01-15T12:00:07Z"), ResetIn: 6100 * time.Millisecond}},
			},
			map[string]string{"Retry-After": "7", "X-Should-Retry": "", "Ratelimit-Policy": `"minute";q=60;w=60`, "Ratelimit": `"minute";r=0;t=7`, "Www-Authenticate": ""},
			`{"type":"urn:tollgate:problem:rate_limited","title":"Too many calls","status":429,"detail":"Slower.","code":"rate_limited","limit":60,"used":60,"remaining":0,"reset":"2025-01-15T12:00:07Z"}`,
		},
		{
			"quota", &admission.Refusal{
				Status: 429, Code: admission.QuotaExceeded, Title: "Quota used up", Detail: "All \"used\" <up>.",
				Limit: int64p(1000), Used: int64p(1000), Remaining: int64p(0), Reset: at("2025-02-01T00:00:00Z").In(time.FixedZone("", 3600)),
				UpgradeURL: "https://api.example.com/dashboard/plans?a=1&b=2", NoRetry: true,
				Limits: []admission.Limit{{Name: "month", Limit: 1000, Window: 31 * 24 * time.Hour, Reset: at("2025-02-01T00:00:00Z"), ResetIn: 90 * time.Second}},
			},
			map[string]string{
				"Retry-After": "", "X-Should-Retry": "false", "Ratelimit-Policy": `"month";q=1000;w=2678400`, "Ratelimit": `"month";r=0;t=90`,
				"X-Ratelimit-Limit": "1000", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "1738368000",
			},
			`{"type":"urn:tollgate:problem:quota_exceeded","title":"Quota used up","status":429,"detail":"All \"used\" <up>.","code":"quota_exceeded","limit":1000,"used":1000,"remaining":0,` +
				`"reset":"2025-02-01T00:00:00Z","upgrade_url":"https://api.example.com/dashboard/plans?a=1&b=2"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			admission.WriteProblem(w, tt.refusal)
			if w.Code != tt.refusal.Status {
				t.Errorf("status %d, want %d", w.Code, tt.refusal.Status)
			}
			for name, want := range tt.headers {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			var got, want any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.body), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRefusalPanicsOnAnUnknownCode(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	admission.NewRefusal("not_a_code", "")
}

var january = []admission.Limit{
	{Name: "minute", Limit: 60, Remaining: 59, Window: time.Minute, ResetIn: 41*time.Second + 1},
	{Name: "day", Limit: 10_000, Remaining: 9_000, Window: 24 * time.Hour, ResetIn: time.Hour},
	{Name: "month", Limit: 50_000, Remaining: 49_999, Window: 31 * 24 * time.Hour, Reset: at("2025-02-01T00:00:00Z"), ResetIn: 48 * time.Hour},
}

func TestSetLimitHeaders(t *testing.T) {
	soft := append([]admission.Limit(nil), january...)
	soft[2].Soft = true
	tests := []struct {
		name   string
		limits []admission.Limit
		want   http.Header
	}{
		{"none", nil, http.Header{}},
		{"all", january, http.Header{
			"Ratelimit-Policy":      {`"minute";q=60;w=60, "day";q=10000;w=86400, "month";q=50000;w=2678400`},
			"Ratelimit":             {`"minute";r=59;t=42, "day";r=9000;t=3600, "month";r=49999;t=172800`},
			"X-Ratelimit-Limit":     {"50000"},
			"X-Ratelimit-Remaining": {"49999"},
			"X-Ratelimit-Reset":     {"1738368000"},
		}},
		{"a quota beyond which calls are billed is no limit", soft, http.Header{
			"Ratelimit-Policy":      {`"minute";q=60;w=60, "day";q=10000;w=86400`},
			"Ratelimit":             {`"minute";r=59;t=42, "day";r=9000;t=3600`},
			"X-Ratelimit-Limit":     {"50000"},
			"X-Ratelimit-Remaining": {"49999"},
			"X-Ratelimit-Reset":     {"1738368000"},
		}},
		{"nothing but such a quota", soft[2:], http.Header{
			"X-Ratelimit-Limit": {"50000"}, "X-Ratelimit-Remaining": {"49999"}, "X-Ratelimit-Reset": {"1738368000"},
		}},
		{"an odd name", []admission.Limit{{Name: "month-a\"b\\c\nd", Limit: 1, Window: time.Second}}, http.Header{
			"Ratelimit-Policy": {`"month-a_b_c_d";q=1;w=1`},
			"Ratelimit":        {`"month-a_b_c_d";r=0;t=0`},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			admission.SetLimitHeaders(h, tt.limits)
			if diff := cmp.Diff(tt.want, h); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for name := range h {
				if http.CanonicalHeaderKey(name) != name {
					t.Errorf("%s is not canonical", name)
				}
			}
			h.Add("X-Ratelimit-Limit", "x") // must not reach into the next header's value
			if got := h.Get("X-Ratelimit-Remaining"); got == "x" {
				t.Error("values share memory")
			}
		})
	}
}

func BenchmarkSetLimitHeaders(b *testing.B) {
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		clear(h)
		admission.SetLimitHeaders(h, january)
	}
}
