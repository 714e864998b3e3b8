package api_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

// quick is a house whose screens are sent what has changed 50 times a second.
func quick(t *testing.T) *house {
	h := newHouse(t)
	h.options.Watch.Every = 20 * time.Millisecond
	h.bill(nil)
	return h
}

func TestWatchParameters(t *testing.T) {
	h := quick(t)
	h.user("a@example.com", "free")
	operator := api.NewOperator(h.options)
	ask := func(path string) *answered {
		w := &answered{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		operator.ServeHTTP(w, r)
		return w
	}
	for path, code := range map[string]string{
		"/v1/watch/users?sort=name":            "invalid_parameter",
		"/v1/watch/users?up=yes":               "invalid_parameter",
		"/v1/watch/users?limit=0":              "invalid_parameter",
		"/v1/watch/users?limit=1001":           "invalid_parameter",
		"/v1/watch/users?offset=-1":            "invalid_parameter",
		"/v1/watch/users?page=2":               "unknown_parameter",
		"/v1/watch/users?filter=" + long(201):  "invalid_parameter",
		"/v1/watch/users/9":                    "user_not_found",
		"/v1/watch/records?user=b@example.com": "user_not_found",
		"/v1/watch/records?status=6xx":         "invalid_parameter",
		"/v1/watch/records?status=20":          "invalid_parameter",
		"/v1/watch/records?status=2x0":         "invalid_parameter",
		"/v1/watch/records?outcome=good":       "invalid_parameter",
		"/v1/watch/records?limit=x":            "invalid_parameter",
		"/v1/watch/billing?state=open":         "invalid_parameter",
		"/v1/watch/overview?x=1":               "unknown_parameter",
	} {
		if w := ask(path); !strings.Contains(w.body.String(), `"code":"`+code+`"`) || w.status/100 != 4 {
			t.Errorf("%s: got %d %s, want %s", path, w.status, w.body.String(), code)
		}
	}
}

// answered keeps an answer; it is no recorder, which would wait for nothing either.
type answered struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *answered) Header() http.Header         { return w.header }
func (w *answered) WriteHeader(status int)      { w.status = status }
func (w *answered) Write(p []byte) (int, error) { return w.body.Write(p) }

func long(n int) string { return strings.Repeat("x", n) }

// TestStreamOutlivesTheLimitOnRequests: net/http ends a request whose time is up,
// although it has been read long ago.
func TestStreamOutlivesTheLimitOnRequests(t *testing.T) {
	h := quick(t)
	u, _, _ := h.user("a@example.com", "free")
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: api.NewOperator(h.options), ConnContext: api.WithPeer, ReadTimeout: 50 * time.Millisecond}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	client := api.Dial(path)
	views := 0
	begun := time.Now()
	watch := func(ctx context.Context, each func(api.UsersView) error) error {
		return client.WatchUsers(ctx, api.UsersQuery{}, each)
	}
	got := await(t, watch, func(v api.UsersView) bool {
		views++
		h.record(u.ID, start, 1, nil) // there is something new each time
		return time.Since(begun) > 400*time.Millisecond
	})
	if views < 4 || got.Users[0].Calls == 0 {
		t.Errorf("%d views, the last %+v", views, got)
	}
	client.Close()
	if err := errors.Join(server.Close(), <-done); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestSignsOfLife: while nothing changes, an empty line is sent now and then.
func TestSignsOfLife(t *testing.T) {
	h := quick(t)
	h.user("a@example.com", "free")
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: api.NewOperator(h.options)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	answer, err := client.Get("http://tollgate/v1/watch/records")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(answer.Body)
	var got []string
	for len(got) < 3 && lines.Scan() {
		got = append(got, lines.Text())
	}
	answer.Body.Close()
	if len(got) != 3 || !strings.HasPrefix(got[0], `{"view":{`) || got[1] != "{}" || got[2] != "{}" {
		t.Errorf("got %q", got)
	}
	if media := answer.Header.Get("Content-Type"); media != "application/x-ndjson" {
		t.Errorf("got Content-Type %q", media)
	}
	head, err := client.Head("http://tollgate/v1/watch/records")
	if err != nil || head.StatusCode != 200 {
		t.Errorf("HEAD: got %v, %v", head, err)
	}
	client.CloseIdleConnections()
	if err := errors.Join(server.Close(), <-done); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestStreamEndsWhenTheServerDrains(t *testing.T) {
	h := quick(t)
	c := operate(t, h)
	err := c.WatchOverview(t.Context(), func(api.Overview) error {
		h.draining.Store(true)
		return nil
	})
	wantCode(t, err, 503, "draining")
	wantCode(t, c.WatchOverview(t.Context(), func(api.Overview) error { return nil }), 503, "draining")
}

// TestRecordsTail follows the records of everyone, and of some.
func TestRecordsTail(t *testing.T) {
	failed := func(_ int, r *ledger.Usage) { r.Status, r.Outcome, r.Billed = 503, ledger.UpstreamError, false }
	for _, tt := range []struct {
		name  string
		f     api.RecordsFilter
		first int
		fits  func(api.Record) bool
	}{
		{"all", api.RecordsFilter{}, 50, func(api.Record) bool { return true }},
		{"many", api.RecordsFilter{Limit: 1000}, 107, func(api.Record) bool { return true }},
		{"user", api.RecordsFilter{User: "b@example.com"}, 7, func(r api.Record) bool { return r.User == 2 }},
		{"few of a user", api.RecordsFilter{User: "1", Limit: 3}, 3, func(r api.Record) bool { return r.User == 1 }},
		{"status", api.RecordsFilter{Status: "5xx"}, 10, func(r api.Record) bool { return r.StatusCode == 503 }},
		{"code", api.RecordsFilter{Status: "503", User: "1"}, 10, func(r api.Record) bool { return r.StatusCode == 503 }},
		{"outcome", api.RecordsFilter{Outcome: "upstream_error", Limit: 4}, 4, func(r api.Record) bool { return r.Outcome == "upstream_error" }},
		{"route", api.RecordsFilter{Route: "SCAN", Limit: 2}, 2, func(r api.Record) bool { return true }},
		{"no route", api.RecordsFilter{Route: "other"}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := quick(t)
			u, _, _ := h.user("a@example.com", "enterprise")
			other, _, _ := h.user("b@example.com", "enterprise")
			h.record(u.ID, start, 100, func(i int, r *ledger.Usage) {
				if i%10 == 3 {
					failed(i, r)
				}
			})
			h.record(other.ID, start, 7, nil)
			c := operate(t, h)
			var records []api.Record
			views := 0
			follow := func(ctx context.Context, each func(api.RecordsTail) error) error {
				return c.WatchRecords(ctx, tt.f, each)
			}
			await(t, follow, func(v api.RecordsTail) bool {
				if views++; views == 1 {
					if len(v.Records) != tt.first || v.Skipped != 0 {
						t.Errorf("began with %d records and %d skipped, want %d", len(v.Records), v.Skipped, tt.first)
					}
					if tt.fits == nil {
						return true
					}
					h.record(u.ID, start, 2, failed)
					h.record(other.ID, start, 1, nil)
				}
				records = append(records, v.Records...)
				return views > 1 && len(records) > tt.first
			})
			for i, r := range records {
				if !tt.fits(r) || i > 0 && r.Seq <= records[i-1].Seq {
					t.Errorf("got %+v", r)
				}
			}
		})
	}
}

// TestRecordsThatComeTooFast: the newest are sent, the others are counted.
func TestRecordsThatComeTooFast(t *testing.T) {
	h := quick(t)
	u, _, _ := h.user("a@example.com", "enterprise")
	c := operate(t, h)
	for name, f := range map[string]api.RecordsFilter{"all": {}, "user": {User: "1"}} {
		views := 0
		var sent []uint64
		skipped := int64(0)
		await(t, func(ctx context.Context, each func(api.RecordsTail) error) error { return c.WatchRecords(ctx, f, each) }, func(v api.RecordsTail) bool {
			if views++; views == 1 {
				h.record(u.ID, start, 900, nil)
				return false
			}
			if len(v.Records) > 200 {
				t.Errorf("%s: %d records at once", name, len(v.Records))
			}
			for _, r := range v.Records {
				sent = append(sent, r.Seq)
			}
			skipped += v.Skipped
			return int64(len(sent))+skipped >= 900
		})
		if int64(len(sent))+skipped != 900 || skipped < 1 || !slices.IsSorted(sent) || sent[len(sent)-1] != h.ledger.LastSeq() {
			t.Errorf("%s: %d sent and %d skipped of 900", name, len(sent), skipped)
		}
	}
}

// TestChangesAreSeen: what the operator changes, and what verify finds, is in the
// next views.
func TestChangesAreSeen(t *testing.T) {
	h := quick(t)
	h.user("a@example.com", "free")
	c := operate(t, h)
	users := func(ctx context.Context, each func(api.UsersView) error) error {
		return c.WatchUsers(ctx, api.UsersQuery{Filter: "suspended"}, each)
	}
	views := 0
	await(t, users, func(v api.UsersView) bool {
		if views++; views == 1 {
			if v.Total != 0 || v.All != 1 {
				t.Errorf("got %+v", v)
			}
			must[api.User](t)(c.Suspend(t.Context(), "1"))
		}
		return v.Total == 1 && v.Users[0].SuspendedFor == "operator"
	})
	must[api.User](t)(c.Resume(t.Context(), "1"))
	views = 0
	await(t, c.WatchOverview, func(o api.Overview) bool {
		if o.Month.Charges == nil || o.Month.Charges.SoFarCents != 0 && views == 0 {
			return false
		}
		if views++; views == 1 {
			if o.Ledger.LastVerify != nil {
				t.Errorf("got %+v", o.Ledger)
			}
			must[api.PlanChanged](t)(c.ChangePlan(t.Context(), "1", api.ChangePlan{Plan: "pro", Now: true}))
			must[api.LedgerReport](t)(c.Verify(t.Context(), nil))
		}
		return o.Ledger.LastVerify != nil && o.Ledger.VerifyFound == 0 && o.Month.Charges.SoFarCents > 0
	})
}
