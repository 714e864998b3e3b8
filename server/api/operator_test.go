package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
)

// testClock moves a house's clock.
type testClock struct{ h *house }

func (c testClock) Test() bool                                { return true }
func (c testClock) Set(_ context.Context, to time.Time) error { c.h.at(to); return nil }
func (c testClock) Advance(_ context.Context, d time.Duration) error {
	c.h.at(c.h.time().Add(d))
	return nil
}

// operate serves the operator API on a unix socket.
func operate(t *testing.T, h *house) *api.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: api.NewOperator(h.options), ConnContext: api.WithPeer}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	client := api.Dial(path)
	t.Cleanup(func() {
		client.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

// must fails the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, status int, code string) {
	t.Helper()
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != status || refused.Code != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func TestOperatorUsers(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	added := must[api.AddedUser](t)(c.AddUser(ctx, api.AddUser{Email: "a@example.com", Name: "Ann", Company: "A Ltd", Address: "1 Street\nTown"}))
	if added.ID != 1 || added.Plan != "free" || added.APIKey == "" {
		t.Errorf("got %+v", added)
	}
	if w := h.call("GET", "/v1/billing/usage", added.APIKey, ""); w.Code != 200 {
		t.Errorf("the first key: got %d: %s", w.Code, w.Body)
	}
	_, err := c.AddUser(ctx, api.AddUser{Email: "A@example.com"})
	wantCode(t, err, 409, "email_taken")
	_, err = c.AddUser(ctx, api.AddUser{Email: "b@example.com", Plan: "gold"})
	wantCode(t, err, 400, "unknown_plan")
	for _, email := range []string{"", "b", "Bob <b@example.com>", "b@example.com\n", strings.Repeat("b", 300) + "@example.com"} {
		_, err = c.AddUser(ctx, api.AddUser{Email: email})
		wantCode(t, err, 400, "invalid_field")
	}
	for range 4 {
		h.now.Store(new(h.time().Add(time.Second)))
		must[api.AddedUser](t)(c.AddUser(ctx, api.AddUser{Email: fmt.Sprintf("u%d@example.com", h.time().Unix())}))
	}
	page := must[api.UsersPage](t)(c.Users(ctx, "", 2))
	if len(page.Users) != 2 || page.NextCursor == nil {
		t.Errorf("got %+v", page)
	}
	var ids []ledger.UserID
	if err := c.EachUser(ctx, func(u api.User) error { ids = append(ids, u.ID); return nil }); err != nil || fmt.Sprint(ids) != "[1 2 3 4 5]" {
		t.Errorf("got %v, %v", ids, err)
	}
	for _, user := range []string{"1", "a@example.com", "A@EXAMPLE.com"} {
		if u := must[api.User](t)(c.User(ctx, user)); u.ID != 1 || u.Name != "Ann" || u.Plan != "free" || u.Keys != 1 {
			t.Errorf("%s: got %+v", user, u)
		}
	}
	for _, user := range []string{"0", "99", "x", "x@example.com", "-1", "a/b@example.com", "1?x"} {
		_, err := c.User(ctx, user)
		wantCode(t, err, 404, "user_not_found")
	}
}

func TestOperatorUserStates(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	h.user("a@example.com", "free")
	user := must[api.User](t)
	if u := user(c.Suspend(ctx, "1")); u.Status != ledger.Suspended || u.SuspendedFor != "operator" {
		t.Errorf("got %+v", u)
	}
	if u := user(c.Resume(ctx, "1")); u.Status != ledger.Active || u.SuspendedFor != "" {
		t.Errorf("got %+v", u)
	}
	amount := ledger.Unit * 5 / 2
	if u := user(c.Limit(ctx, "1", &amount)); u.SpendLimit == nil || *u.SpendLimit != amount {
		t.Errorf("got %+v", u)
	}
	if u := user(c.Limit(ctx, "1", nil)); u.SpendLimit != nil {
		t.Errorf("got %+v", u)
	}
	negative := -amount
	_, err := c.Limit(ctx, "1", &negative)
	wantCode(t, err, 400, "invalid_field")
	_, err = c.Erase(ctx, "1")
	wantCode(t, err, 409, "not_closed")
	for range 2 {
		if u := user(c.CloseUser(ctx, "1")); u.Status != ledger.Closed || u.Closed == nil || !u.Closed.Equal(start) {
			t.Errorf("got %+v", u)
		}
	}
	for _, change := range []func(context.Context, string) (api.User, error){c.Suspend, c.Resume} {
		_, err := change(ctx, "1")
		wantCode(t, err, 409, "account_closed")
	}
	_, err = c.ChangePlan(ctx, "1", api.ChangePlan{Plan: "pro"})
	wantCode(t, err, 403, "account_closed")
	_, err = c.CreateKey(ctx, "1", api.OperatorKey{})
	wantCode(t, err, 403, "account_closed")
	if u := user(c.Erase(ctx, "1")); !u.Erased || u.Email != "" || u.Name != "" {
		t.Errorf("got %+v", u)
	}
}

func TestOperatorPlans(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	h.user("a@example.com", "free")
	february := time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC)
	type state struct {
		plan, next string
	}
	for i, step := range []struct {
		plan string
		now  bool
		at   time.Time // zero: at once
		want state
	}{
		{"pro", false, time.Time{}, state{"pro", ""}},       // leaves a plan without fee
		{"free", false, february, state{"pro", "free"}},     // a lower fee waits
		{"hidden", false, february, state{"pro", "hidden"}}, // replaces the pending one
		{"pro", false, time.Time{}, state{"pro", ""}},       // takes the pending one back
		{"hidden", true, time.Time{}, state{"hidden", ""}},  // at once when asked
		{"enterprise", false, february, state{"hidden", "enterprise"}},
		{"pro", false, time.Time{}, state{"pro", ""}}, // a higher fee acts at once, and the pending one is gone
	} {
		h.at(h.time().Add(time.Minute))
		got := must[api.PlanChanged](t)(c.ChangePlan(ctx, "1", api.ChangePlan{Plan: step.plan, Now: step.now}))
		want := step.at
		if want.IsZero() {
			want = h.time()
		}
		if !got.EffectiveAt.Equal(want) || got.SubscriptionTier != step.plan {
			t.Errorf("step %d: got %+v, want %v", i, got, want)
		}
		u := must[api.User](t)(c.User(ctx, "1"))
		now := state{plan: u.Plan}
		if u.NextPlan != nil {
			now.next = u.NextPlan.Plan
		}
		if now != step.want {
			t.Errorf("step %d: got %+v, want %+v", i, now, step.want)
		}
	}
	_, err := c.ChangePlan(ctx, "1", api.ChangePlan{Plan: "gold"})
	wantCode(t, err, 400, "unknown_plan")
}

func TestTermsOfOneUser(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	_, callKey, _ := h.user("a@example.com", "enterprise")
	h.user("b@example.com", "enterprise")
	amount := func(units int64) *ledger.Amount { a := ledger.Amount(units) * ledger.Unit; return &a }
	whole := func(n int64) *int64 { return &n }

	got := must[api.UserTerms](t)(c.Terms(ctx, "1"))
	if got.InForce.Agreed || !got.InForce.ByCost || len(got.InForce.Quota) != 0 || len(got.Next) != 0 {
		t.Errorf("before: got %+v", got)
	}

	h.at(h.time().Add(time.Minute))
	must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Fee: amount(400)}))
	got = must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Quota: map[string]*int64{"calls": whole(1000)}, Overage: map[string]*ledger.Amount{"calls": amount(2)}}))
	now := got.InForce
	if !now.Agreed || now.ByCost || now.FeeCents != 40000 || now.Quota["calls"] != 1000 || now.Overage["calls"] != 2*ledger.Unit || now.OnExceed != "bill" {
		t.Errorf("agreed: got %+v", now)
	}
	usage := get[api.Usage](h, "/v1/billing/usage", callKey)
	if usage.Quota.Total == nil || *usage.Quota.Total == 0 || usage.Charges.BaseFeeCents == 0 {
		t.Errorf("the customer sees %+v, %+v", usage.Quota, usage.Charges)
	}
	if other := must[api.UserTerms](t)(c.Terms(ctx, "2")); other.InForce.Agreed {
		t.Errorf("another user has %+v", other)
	}

	march, april := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
	must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Fee: amount(500), From: &april}))
	got = must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Quota: map[string]*int64{"calls": nil}, From: &march}))
	if len(got.Next) != 1 || !got.Next[0].From.Equal(march) || len(got.Next[0].Quota) != 0 || got.Next[0].FeeCents != 40000 {
		t.Errorf("what was agreed last and begins earlier replaces what was agreed before: got %+v", got.Next)
	}
	got = must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Reset: true}))
	if got.InForce.Agreed || !got.InForce.ByCost || len(got.Next) != 0 {
		t.Errorf("reset: got %+v", got)
	}

	got = must[api.UserTerms](t)(c.Agree(ctx, "1", api.AgreeTerms{Overage: map[string]*ledger.Amount{"tokens": amount(3)}}))
	if prices := got.InForce.Prices; len(prices) != 1 || prices[0].Meter != "tokens" || prices[0].Unit != 3*ledger.Unit || got.InForce.ByCost {
		t.Errorf("a price of every unit: got %+v", got.InForce)
	}

	for name, ask := range map[string]api.AgreeTerms{
		"nothing":            {},
		"both":               {Reset: true, Fee: amount(1)},
		"the past":           {Fee: amount(1), From: &time.Time{}},
		"a negative fee":     {Fee: amount(-1)},
		"a negative quota":   {Quota: map[string]*int64{"calls": whole(-1)}},
		"a quota alone":      {Quota: map[string]*int64{"calls": whole(1)}},
		"no meter":           {Quota: map[string]*int64{"Calls!": whole(1)}},
		"an impossible unit": {Overage: map[string]*ledger.Amount{"calls": amount(-3)}},
	} {
		if _, err := c.Agree(ctx, "1", ask); err == nil {
			t.Errorf("%s was taken", name)
		} else {
			wantCode(t, err, 400, "invalid_field")
		}
	}
	_, err := c.Agree(ctx, "9", api.AgreeTerms{Reset: true})
	wantCode(t, err, 404, "user_not_found")
	must[api.User](t)(c.CloseUser(ctx, "2"))
	_, err = c.Agree(ctx, "2", api.AgreeTerms{Reset: true})
	wantCode(t, err, 403, "account_closed")
}

func TestOperatorKeys(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	h.user("a@example.com", "free")
	minute, expires := 5, start.Add(time.Hour)
	made := must[api.NewKey](t)(c.CreateKey(ctx, "a@example.com", api.OperatorKey{CreateKey: api.CreateKey{Name: "n", Scope: ledger.ScopeManage, Expires: &expires}, PerMinute: &minute}))
	keys := must[[]api.Key](t)(c.Keys(ctx, "1"))
	if len(keys) != 3 || keys[2].ID != made.ID || *keys[2].PerMinute != 5 || keys[2].PerDay != nil || !keys[2].Expires.Equal(expires) {
		t.Errorf("got %+v", keys)
	}
	rotated := must[api.NewKey](t)(c.RotateKey(ctx, made.ID, 30*time.Minute))
	if !rotated.ReplacedUntil.Equal(start.Add(30*time.Minute)) || rotated.Expires == nil {
		t.Errorf("got %+v", rotated)
	}
	if k := must[api.Key](t)(c.RevokeKey(ctx, rotated.ID)); k.Status != api.KeyRevoked {
		t.Errorf("got %+v", k)
	}
	_, err := c.RevokeKey(ctx, 99)
	wantCode(t, err, 404, "key_not_found")
	negative := -1
	_, err = c.CreateKey(ctx, "1", api.OperatorKey{PerDay: &negative})
	wantCode(t, err, 400, "invalid_field")
}

func TestUsageTopAndExportAgree(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	for i := range 12 {
		u, _, _ := h.user(fmt.Sprintf("u%02d@example.com", i), "pro")
		h.record(u.ID, start, i+1, func(_ int, u *ledger.Usage) { u.Documents = int64(20 - i) })
	}
	h.record(1, start.Add(time.Minute), 3, func(_ int, u *ledger.Usage) { u.Billed, u.Status = false, 500 })
	top := must[[]api.TopUser](t)(c.Top(ctx, "", "calls", 3))
	if len(top) != 3 || top[0].User != 12 || top[0].TotalCalls != 12 || top[0].Email != "u11@example.com" || top[2].User != 10 {
		t.Errorf("got %+v", top)
	}
	byCost := must[[]api.TopUser](t)(c.Top(ctx, "2025-01", "cost", 100))
	if len(byCost) != 12 || byCost[0].User != 10 || byCost[0].TotalCostCents != 110 || byCost[1].User != 11 {
		t.Errorf("got %+v; users of equal cost come by id", byCost)
	}
	if got := must[[]api.TopUser](t)(c.Top(ctx, "2024-12", "", 0)); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	_, err := c.Top(ctx, "", "height", 3)
	wantCode(t, err, 400, "invalid_parameter")
	_, err = c.Top(ctx, "january", "", 3)
	wantCode(t, err, 400, "invalid_parameter")

	var exported bytes.Buffer
	if err := c.ExportUsage(ctx, "2025-01", api.CSV, &exported); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(exported.String(), "\n"); got != 1+12*13/2+3 {
		t.Errorf("got %d lines", got)
	}
	exported.Reset()
	if err := c.ExportUsage(ctx, "2025-01", api.NDJSON, &exported); err != nil {
		t.Fatal(err)
	}
	if billed := strings.Count(exported.String(), `"billed":true`); billed != 78 {
		t.Errorf("got %d billed lines", billed)
	}
	var sum int64
	for _, u := range byCost {
		sum += u.TotalCalls
		usage := must[api.MonthUsage](t)(c.Usage(ctx, u.Email, "2025-01"))
		if usage.CurrentUsage.TotalCalls != u.TotalCalls || usage.CurrentUsage.TotalCostCents != u.TotalCostCents || usage.User != u.User {
			t.Errorf("got %+v and %+v", usage, u)
		}
		var records bytes.Buffer
		if err := c.StreamRecords(ctx, u.Email, api.RecordsQuery{Month: "2025-01"}, api.NDJSON, &records); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(records.String(), `"billed":true`); int64(got) != u.TotalCalls {
			t.Errorf("user %d: got %d records, want %d", u.User, got, u.TotalCalls)
		}
	}
	if sum != 78 {
		t.Errorf("got %d calls", sum)
	}
	page := must[api.RecordsPage](t)(c.Records(ctx, "1", api.RecordsQuery{Limit: 2, From: start}))
	if len(page.Records) != 2 || page.NextCursor == nil || page.Records[0].Billed {
		t.Errorf("got %+v", page)
	}
	if got := must[api.MonthUsage](t)(c.Usage(ctx, "1", "")).CurrentUsage.UnbilledCalls; got != 3 {
		t.Errorf("got %d unbilled calls", got)
	}
	_, err = c.Usage(ctx, "1", "2025-02")
	wantCode(t, err, 400, "invalid_parameter")
}

func TestVerifyAndBackup(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	u, _, _ := h.user("a@example.com", "free")
	h.record(u.ID, start, 1000, nil)
	var last int64
	report := must[api.LedgerReport](t)(c.Verify(ctx, func(done, total int64) { last = total }))
	if report.Records != 1000 || report.Users != 1 || len(report.Problems) != 0 || len(report.Head) != 64 {
		t.Errorf("got %+v after %d", report, last)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	copied := must[api.LedgerReport](t)(c.Backup(ctx, path, nil))
	if copied.Records != 1000 || copied.Head != report.Head {
		t.Errorf("got %+v, want %+v", copied, report)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("got %v, %v", info, err)
	}
	_, err := c.Backup(ctx, "copy.db", nil)
	wantCode(t, err, 400, "invalid_field")
	_, err = c.Backup(ctx, path, nil)
	wantCode(t, err, 409, "file_exists")
	_, err = c.Backup(ctx, filepath.Join(t.TempDir(), "none", "copy.db"), nil)
	wantCode(t, err, 400, "bad_path")
}

// TestLogNamesTheOperatorAndNoSecret: who made a change is in the log as in the
// ledger, a key never is.
func TestLogNamesTheOperatorAndNoSecret(t *testing.T) {
	h := newHouse(t)
	var log bytes.Buffer
	h.options.Log = slog.New(slog.NewTextHandler(&log, nil))
	c, ctx := operate(t, h), t.Context()
	added := must[api.AddedUser](t)(c.AddUser(ctx, api.AddUser{Email: "a@example.com"}))
	made := must[api.NewKey](t)(c.RotateKey(ctx, 1, time.Hour))
	must[api.Key](t)(c.RevokeKey(ctx, made.ID))
	if want := fmt.Sprintf(`by="operator uid %d"`, os.Getuid()); strings.Count(log.String(), want) != 5 {
		t.Errorf("not 5 times %s in\n%s", want, log.String())
	}
	for _, secret := range []string{added.APIKey, made.APIKey, "a@example.com"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestClock(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	clock := must[api.ClockState](t)
	for i, step := range []struct {
		move func() (api.ClockState, error)
		want time.Time
	}{
		{func() (api.ClockState, error) { return c.Clock(ctx) }, start},
		{func() (api.ClockState, error) { return c.AdvanceClock(ctx, time.Hour) }, start.Add(time.Hour)},
		{func() (api.ClockState, error) { return c.SetClock(ctx, start.AddDate(0, 1, 0)) }, start.AddDate(0, 1, 0)},
	} {
		if diff := cmp.Diff(api.ClockState{Mode: "test", Now: step.want}, clock(step.move())); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	_, err := c.SetClock(ctx, start)
	wantCode(t, err, 400, "invalid_field")
	_, err = c.AdvanceClock(ctx, -time.Hour)
	wantCode(t, err, 400, "invalid_field")
}

func TestStatusAndReload(t *testing.T) {
	h := newHouse(t)
	broken := errors.New(`config.toml:3: unknown key "fe"; is "fee" meant?`)
	h.options.Reload = func(context.Context) error { return broken }
	c, ctx := operate(t, h), t.Context()
	h.user("a@example.com", "free")
	s := must[api.Status](t)(c.Status(ctx))
	if !s.Ready || s.Version != "test" || s.UptimeMS != 1234 || s.Live.Calls != 7 || s.Ledger.Users != 1 || s.Ledger.Currency != "usd" || s.Ledger.Seq == 0 || s.Clock.Mode != "test" {
		t.Errorf("got %+v", s)
	}
	if !filepath.IsAbs(s.Ledger.Path) {
		t.Errorf("the ledger's path %s is not absolute", s.Ledger.Path)
	}
	h.draining.Store(true)
	if s := must[api.Status](t)(c.Status(ctx)); s.Ready || s.NotReady == "" {
		t.Errorf("got %+v", s)
	}
	err := c.Reload(ctx)
	wantCode(t, err, 422, "bad_configuration")
	if !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("got %v", err)
	}
	broken = nil
	if err := c.Reload(ctx); err != nil {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.sock")
	want := "no tollgate is listening at " + path + "; start one with: tollgate serve"
	if _, err := api.Dial(path).Status(t.Context()); err == nil || err.Error() != want {
		t.Errorf("no socket: got %v", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Dial(path).Status(t.Context()); err == nil || err.Error() != want {
		t.Errorf("a socket left behind: got %v", err)
	}
}
