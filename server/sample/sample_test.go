package sample_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/sample"
)

func call(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	sample.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Result()
}

func decode[T any](t *testing.T, resp *http.Response) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatalf("decoding the answer: %v", err)
	}
	return v
}

func TestScan(t *testing.T) {
	resp := call(t, "POST", "/v1/scan", `{"docs":[
		{"id":"a","content":"hello world"},
		{"id":"b","content":"My password for 4242-4242 4242 4242 is at bob@example.com, urgent"},
		{"id":"c","content":""}]}`)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %s with %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	want := sample.ScanResponse{
		Results: []sample.ScanResult{
			{ID: "a", Findings: []string{}, Counts: sample.Counts{Characters: 11, Words: 2, Tokens: 3}},
			{ID: "b", Risk: 100, Findings: []string{"credential", "number_like_a_card", "e_mail_address", "urgent_words"},
				Counts: sample.Counts{Characters: 65, Words: 10, Tokens: 17}},
			{ID: "c", Findings: []string{}},
		},
		Summary: sample.ScanSummary{TotalDocs: 3, Risky: 1},
		Usage:   sample.Usage{TotalTokens: 20},
	}
	if diff := cmp.Diff(want, decode[sample.ScanResponse](t, resp)); diff != "" {
		t.Errorf("scan (-want +got):\n%s", diff)
	}
}

func TestAnalyze(t *testing.T) {
	resp := call(t, "POST", "/v1/analyze", `{"texts":["Grüße aus Köln","one"]}`)
	want := sample.AnalyzeResponse{
		Results: []sample.AnalyzeResult{
			{Index: 0, Counts: sample.Counts{Characters: 14, Words: 3, Tokens: 5}},
			{Index: 1, Counts: sample.Counts{Characters: 3, Words: 1, Tokens: 1}},
		},
		Summary: sample.Summary{TotalDocs: 2},
		Usage:   sample.Usage{TotalTokens: 6},
	}
	if diff := cmp.Diff(want, decode[sample.AnalyzeResponse](t, resp)); diff != "" {
		t.Errorf("analyze (-want +got):\n%s", diff)
	}
}

func TestNothingToDoIsAnAnswer(t *testing.T) {
	for path, body := range map[string]string{"/v1/scan": `{"docs":[]}`, "/v1/analyze": `{"texts":[]}`} {
		resp := call(t, "POST", path, body)
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || !strings.Contains(string(text), `"results":[]`) || !strings.Contains(string(text), `"total_tokens":0`) {
			t.Errorf("POST %s %s: got %s %s", path, body, resp.Status, text)
		}
	}
}

func TestSameRequestSameAnswer(t *testing.T) {
	const body = `{"docs":[{"id":"a","content":"the secret is out"}]}`
	first, _ := io.ReadAll(call(t, "POST", "/v1/scan", body).Body)
	second, _ := io.ReadAll(call(t, "POST", "/v1/scan", body).Body)
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("two answers (-first +second):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"empty body", "POST", "/v1/scan", ``, 400, "invalid_request"},
		{"no JSON", "POST", "/v1/scan", `{"docs":`, 400, "invalid_request"},
		{"something after the value", "POST", "/v1/scan", `{"docs":[]} {}`, 400, "invalid_request"},
		{"no docs", "POST", "/v1/scan", `{"texts":[]}`, 400, "invalid_request"},
		{"docs of the wrong type", "POST", "/v1/scan", `{"docs":7}`, 400, "invalid_request"},
		{"an array", "POST", "/v1/analyze", `[]`, 400, "invalid_request"},
		{"texts of the wrong type", "POST", "/v1/analyze", `{"texts":[1]}`, 400, "invalid_request"},
		{"too long", "POST", "/v1/analyze", `{"texts":["` + strings.Repeat("a", 33<<20) + `"]}`, 413, "body_too_large"},
		{"wrong method", "GET", "/v1/scan", ``, 405, "method_not_allowed"},
		{"unknown path", "GET", "/v2/scan", ``, 404, "not_found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := call(t, test.method, test.path, test.body)
			if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("got %s with %q, want %d", resp.Status, resp.Header.Get("Content-Type"), test.status)
			}
			p := decode[sample.Problem](t, resp)
			if p.Code != test.code || p.Status != test.status || p.Detail == "" || p.Title == "" {
				t.Errorf("got %+v, want code %q", p, test.code)
			}
		})
	}
}
