package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
)

func TestRecordsPageAndStreamsAgree(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	other, _, _ := h.user("b@example.com", "free")
	const n = 1203 // more than two batches of a stream
	h.record(u.ID, start, n, func(i int, u *ledger.Usage) {
		u.Documents = int64(i)
		if i%7 == 0 {
			u.Named = []ledger.Quantity{{Meter: "pages", N: int64(i) + 1}}
		}
	})
	h.record(other.ID, start, 5, nil)

	var paged []api.Record
	for path := "/v1/usage/records?limit=100"; path != ""; {
		page := get[api.RecordsPage](h, path, key)
		paged = append(paged, page.Records...)
		path = ""
		if page.NextCursor != nil {
			path = "/v1/usage/records?limit=100&cursor=" + url.QueryEscape(*page.NextCursor)
		}
	}
	if len(paged) != n {
		t.Fatalf("got %d records by pages, want %d", len(paged), n)
	}
	for i := 1; i < n; i++ {
		if paged[i].Seq >= paged[i-1].Seq {
			t.Fatalf("record %d is not older than the one before", i)
		}
	}

	w := h.call("GET", "/v1/usage/records", key, "", "Accept", "application/x-ndjson")
	var streamed []api.Record
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		var r api.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		streamed = append(streamed, r)
	}
	if diff := cmp.Diff(paged, streamed); diff != "" {
		t.Error(diff)
	}

	w = h.call("GET", "/v1/usage/records", key, "", "Accept", "text/csv")
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != n+1 {
		t.Fatalf("got %d rows, %v", len(rows), err)
	}
	for i, r := range paged {
		row := map[string]string{}
		for column, name := range rows[0] {
			row[name] = rows[i+1][column]
		}
		if row["seq"] != strconv.FormatUint(r.Seq, 10) || row["request_id"] != r.RequestID || row["cost"] != r.Cost.String() || row["documents"] != strconv.FormatInt(r.Documents, 10) {
			t.Fatalf("row %d: got %v, want %+v", i+1, row, r)
		}
	}
}

func TestRecordIsTheContracts(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	h.record(u.ID, start, 1, func(_ int, u *ledger.Usage) { u.Documents, u.Tokens = 3, 120 })
	w := h.call("GET", "/v1/usage/records", key, "")
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "records.json", indented.Bytes())
	golden(t, "records.csv", h.call("GET", "/v1/usage/records", key, "", "Accept", "text/csv").Body.Bytes())
}

// TestCSVColumnsAreTheFieldsOfJSON keeps the two forms of a record alike.
func TestCSVColumnsAreTheFieldsOfJSON(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	h.record(u.ID, start, 1, func(_ int, u *ledger.Usage) { u.Named = []ledger.Quantity{{Meter: "pages", N: 1}} })
	rows, err := csv.NewReader(h.call("GET", "/v1/usage/records", key, "", "Accept", "text/csv").Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	decoder := json.NewDecoder(h.call("GET", "/v1/usage/records", key, "", "Accept", "application/x-ndjson").Body)
	if _, err := decoder.Token(); err != nil { // {
		t.Fatal(err)
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(names, rows[0]); diff != "" {
		t.Error(diff)
	}
}

func TestRecordsBounds(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	h.record(u.ID, start, 10, nil) // a second apart
	at := func(seconds int) string { return start.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339) }
	for _, tt := range []struct {
		query string
		want  int
	}{
		{"", 10},
		{"from=" + at(4), 6},
		{"to=" + at(4), 4},
		{"from=" + at(2) + "&to=" + at(5), 3},
		{"from=2025-01-15&to=2025-01-16", 10},
		{"from=2025-01-16", 0},
		{"month=2025-01", 10},
		{"month=2024-12", 0},
		{"limit=3", 3},
		{"from=" + at(4) + "&limit=2", 2},
	} {
		page := get[api.RecordsPage](h, "/v1/usage/records?"+tt.query, key)
		if len(page.Records) != tt.want {
			t.Errorf("%q: got %d records, want %d", tt.query, len(page.Records), tt.want)
		}
		streamed := h.call("GET", "/v1/usage/records?"+tt.query, key, "", "Accept", "application/x-ndjson").Body
		if got := bytes.Count(streamed.Bytes(), []byte("\n")); got != tt.want {
			t.Errorf("%q: got %d lines, want %d", tt.query, got, tt.want)
		}
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=AQ%3D%3D", "from=yesterday", "to=2025-13-01", "from=" + at(5) + "&to=" + at(4),
		"month=2025", "month=2025-01&from=" + at(1), "request_id=7", "limit=1&limit=2", "from=%zz"} {
		wantProblem(t, h.call("GET", "/v1/usage/records?"+bad, key, ""), 400, "invalid_parameter")
	}
	wantProblem(t, h.call("GET", "/v1/usage/records?form=2025-01-15", key, ""), 400, "unknown_parameter")
	wantProblem(t, h.call("GET", "/v1/usage/records", key, "", "Accept", "text/html"), 406, "not_acceptable")
}

func TestRecordByRequest(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	_, otherKey, _ := h.user("b@example.com", "free")
	h.record(u.ID, start, 3, nil)
	want := get[api.RecordsPage](h, "/v1/usage/records", key).Records[1]
	got := get[api.RecordsPage](h, "/v1/usage/records?request_id="+want.RequestID, key)
	if diff := cmp.Diff(api.RecordsPage{Records: []api.Record{want}}, got); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, h.call("GET", "/v1/usage/records?request_id="+want.RequestID, otherKey, ""), 404, "not_found")
}

// leaving cancels a request when its first part is sent.
type leaving struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (l leaving) Flush() { l.cancel() }

func TestStreamThatCannotGoOnBreaksTheConnection(t *testing.T) {
	h := newHouse(t)
	u, key, _ := h.user("a@example.com", "free")
	h.record(u.ID, start, 2000, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/usage/records", nil)
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Accept", "text/csv")
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("got %v, want the connection aborted", got)
		}
	}()
	h.customer.ServeHTTP(leaving{httptest.NewRecorder(), cancel}, r)
}

// BenchmarkStream is the export of a user's records.
func BenchmarkStream(b *testing.B) {
	h := newHouse(b)
	u, key, _ := h.user("a@example.com", "pro")
	const n = 20_000
	for i := range n / 1000 {
		h.record(u.ID, start.Add(time.Duration(i)*time.Hour), 1000, func(_ int, u *ledger.Usage) { u.Documents = 3 })
	}
	for _, media := range []string{"text/csv", "application/x-ndjson"} {
		b.Run(media, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/v1/usage/records", nil)
				r.Header.Set("X-API-Key", key)
				r.Header.Set("Accept", media)
				h.customer.ServeHTTP(discard{http.Header{}}, r)
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
		})
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
func (d discard) Flush()                      {}
