package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/admission"
	"tollgate/server/api"
	"tollgate/server/pricing"
)

var update = flag.Bool("update", false, "write the golden files anew")

var start = time.Date(2025, 1, 15, 12, 0, 0, 0, time.UTC)

// house is both APIs over a real ledger on a clock of its own.
type house struct {
	t        testing.TB
	ledger   *ledger.Ledger
	options  api.Options
	customer http.Handler
	now      atomic.Pointer[time.Time]
	draining atomic.Bool
	route    *ledger.Version
	calls    uint32
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t}
	h.now.Store(&start)
	l := ledgertest.New(t, ledger.Options{Now: start, Zone: "UTC", Currency: "usd", TestClock: true})
	h.ledger = l
	book := pricing.NewBook()
	t.Cleanup(func() { // before ledgertest closes it: with the rules of price too
		report, err := l.Verify(context.Background(), api.Checks(book), nil)
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("verifying the ledger: %v, %q", err, report.Problems)
		}
	})
	plans := append(pricing.Shipped(), pricing.Plan{ID: "hidden", Name: "Hidden", Fee: 10 * ledger.Unit, OnExceed: pricing.Bill, Billing: pricing.Monthly,
		Quota: map[string]int64{"documents": 500}, Prices: []pricing.Price{{Meter: "documents", Model: pricing.Graduated, Tiers: []pricing.Tier{{UpTo: 100, Unit: 5_000_000}, {Unit: 1_000_000}}}}})
	for i := range plans {
		terms, err := plans[i].Terms()
		if err != nil {
			t.Fatal(err)
		}
		h.publish(ledger.PlanVersion, plans[i].ID, terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	terms, err := route.Terms()
	if err != nil {
		t.Fatal(err)
	}
	h.route = h.publish(ledger.RouteVersion, route.Pattern, terms)
	h.options = api.Options{
		Ledger: l, Book: book, Now: h.time, Random: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Gate: admission.New(l, admission.Options{Now: h.time, APIPerMinute: 100_000, Book: book, Plans: func() []pricing.Plan { return plans }}),
		Settings: func() api.Settings {
			return api.Settings{Plans: plans, DefaultPlan: "free", PublicURL: "https://api.example.com", Packs: []api.CreditPack{
				{ID: "10k", Credits: 10_000, Price: 100 * ledger.Unit},
				{ID: "trial", Credits: 50, Price: ledger.Unit / 2, Expires: api.Duration(30 * 24 * time.Hour)},
			}}
		},
		Draining:   h.draining.Load,
		ClientAddr: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") },
		Version:    "test", Started: start, Uptime: func() int64 { return 1234 },
		Live:  func() api.Live { return api.Live{Calls: 7} },
		Clock: testClock{h},
	}
	h.customer = api.NewCustomer(h.options)
	return h
}

func (h *house) publish(kind ledger.VersionKind, name string, terms json.RawMessage) *ledger.Version {
	h.t.Helper()
	v, err := h.ledger.PublishVersion(start, kind, name, terms, start)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *house) time() time.Time { return *h.now.Load() }

func (h *house) at(t time.Time) { h.now.Store(&t) }

// user adds a user on a plan with a key of each scope.
func (h *house) user(email, plan string) (u *ledger.User, callKey, manageKey string) {
	h.t.Helper()
	u, err := h.ledger.AddUser(h.time(), "test", ledger.Personal{Email: email, Name: "A User"}, plan)
	if err != nil {
		h.t.Fatal(err)
	}
	return u, h.key(u.ID, ledger.ScopeCall), h.key(u.ID, ledger.ScopeManage)
}

func (h *house) key(user ledger.UserID, scope ledger.Scope) string {
	h.t.Helper()
	secret, hash, prefix, err := admission.NewKey(rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.ledger.AddKey(h.time(), "test", user, ledger.Key{Name: string(scope), Scope: scope, Hash: hash, Prefix: prefix}); err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// change changes a user without the API.
func (h *house) change(user ledger.UserID, change func(*ledger.User)) {
	h.t.Helper()
	if _, err := h.ledger.ChangeUser(h.time(), "test", user, func(u *ledger.User) error { change(u); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

// record appends n calls of a user, a second apart from at on; edit, when not
// nil, changes each.
func (h *house) record(user ledger.UserID, at time.Time, n int, edit func(i int, u *ledger.Usage)) {
	h.t.Helper()
	account := h.ledger.Account(user)
	plan := account.User().PlanAt(at)
	version := h.ledger.VersionAt(ledger.PlanVersion, plan.Plan, plan.From, at)
	book := pricing.NewBook()
	route, err := book.Route(h.route)
	if err != nil {
		h.t.Fatal(err)
	}
	records := make([]ledger.Usage, n)
	for i := range records {
		h.calls++
		u := &records[i]
		*u = ledger.Usage{
			Time: at.Add(time.Duration(i) * time.Second), Counter: h.calls, User: user, Key: account.User().Keys[0], Route: h.route.ID, Plan: version.ID,
			Method: "POST", Billed: true, Duration: 12 * time.Millisecond, Status: 200,
		}
		if edit != nil {
			edit(i, u)
		}
		if u.Cost, err = route.Cost(u.Quantities); err != nil {
			h.t.Fatal(err)
		}
		if !u.Billed {
			u.Cost = 0
		}
	}
	if err := h.ledger.Append(at.Add(time.Duration(n)*time.Second), records, nil).Wait(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// call makes a request of the customer API. header is pairs.
func (h *house) call(method, path, key, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.customer.ServeHTTP(w, r)
	return w
}

// get reads a 200 answer of the customer API.
func get[Answer any](h *house, path, key string) Answer {
	h.t.Helper()
	return read[Answer](h.t, h.call("GET", path, key, ""), http.StatusOK)
}

func read[Answer any](t testing.TB, w *httptest.ResponseRecorder, status int) Answer {
	t.Helper()
	var answer Answer
	if w.Code != status {
		t.Fatalf("got status %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return answer
}

// wantProblem checks that an answer is a problem document of a status and code.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("got status %d and no problem document: %s", w.Code, w.Body)
	}
	if media := w.Header().Get("Content-Type"); media != "application/problem+json" {
		t.Errorf("got Content-Type %q", media)
	}
	if w.Code != status || p.Status != status || p.Code != code || p.Title == "" || p.Detail == "" || p.Type == "" {
		t.Errorf("got status %d and %+v, want %d %s", w.Code, p, status, code)
	}
	return p
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
