package api_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/pricing"
)

// errSeen ends a stream whose view was waited for.
var errSeen = errors.New("seen")

// await follows a stream until a view is as it should be.
func await[T any](t *testing.T, watch func(context.Context, func(T) error) error, is func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var last T
	err := watch(ctx, func(v T) error {
		if last = v; is(v) {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatalf("%v; the last view was %+v", err, last)
	}
	return last
}

func any1[T any](T) bool { return true }

// busy is a house with users on all kinds of plans, two months and two routes.
func busy(t *testing.T) (*house, *api.Client, []string) {
	h := newHouse(t)
	h.options.Watch.Every = 20 * time.Millisecond
	h.bill(func(b api.Billing) api.Billing { return b })
	var keys []string
	for n, plan := range []string{"free", "free", "pro", "enterprise", "hidden", "pro", "free"} {
		u, key, _ := h.user(fmt.Sprintf("user%d@example.com", n), plan)
		keys = append(keys, key)
		calls := []int{1000, 40, 300, 25, 700, 0, 1}[n]
		h.record(u.ID, start, calls, func(i int, r *ledger.Usage) {
			r.Documents, r.Tokens = int64(i%7+n), int64(100*n)
			if i%13 == 5 {
				r.Billed, r.Status, r.Outcome = false, 502, ledger.Unreachable
			}
		})
	}
	h.at(time.Date(2025, 2, 10, 3, 30, 0, 0, time.UTC))
	terms, err := (&pricing.Route{Pattern: "POST /v1/other", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}).Terms()
	if err != nil {
		t.Fatal(err)
	}
	other := h.publish(ledger.RouteVersion, "POST /v1/other", terms)
	for n := range 5 {
		h.record(ledger.UserID(n+1), h.time().Add(-time.Duration(n)*26*time.Hour), 200*n+60, func(i int, r *ledger.Usage) {
			r.Documents, r.Tokens = int64(i%3), int64(n)
			if i%4 == 0 {
				r.Route = other.ID
			}
		})
	}
	return h, operate(t, h), keys
}

// TestViewsAgreeWithTheOtherAnswers: the figures of the screens are those of
// tollgate usage, report top and the customer API.
func TestViewsAgreeWithTheOtherAnswers(t *testing.T) {
	h, c, keys := busy(t)
	ctx := t.Context()
	users := await(t, func(ctx context.Context, each func(api.UsersView) error) error {
		return c.WatchUsers(ctx, api.UsersQuery{Sort: "id", Up: true}, each)
	}, any1)
	if users.Total != len(keys) || users.All != len(keys) || len(users.Users) != len(keys) || users.Month != "2025-02" {
		t.Fatalf("got %+v", users)
	}
	var calls, documents, cost, soFar, projected int64
	for n, row := range users.Users {
		customer := get[api.Usage](h, "/v1/billing/usage", keys[n])
		want := api.UserRow{
			ID: ledger.UserID(n + 1), Email: fmt.Sprintf("user%d@example.com", n), Plan: customer.SubscriptionTier, Status: ledger.Active,
			Calls: customer.CurrentUsage.TotalCalls, Documents: customer.CurrentUsage.TotalDocuments, Tokens: customer.CurrentUsage.TotalTokens,
			CostCents: customer.CurrentUsage.TotalCostCents, ChargeCents: customer.Charges.TotalCents, ProjectedCents: customer.Projected.ChargeCents,
		}
		if q := customer.Quota; q.Total != nil {
			want.Quota = &api.MeterQuota{Meter: q.Meter, Limit: *q.Total, Used: q.Used, Soft: customer.SubscriptionTier != "free"}
		}
		if diff := gocmp.Diff(want, row); diff != "" {
			t.Error(diff)
		}
		calls, documents, cost = calls+row.Calls, documents+row.Documents, cost+row.CostCents
		soFar, projected = soFar+row.ChargeCents, projected+row.ProjectedCents
		user := await(t, func(ctx context.Context, each func(api.UserView) error) error {
			return c.WatchUser(ctx, row.Email, each)
		}, any1)
		usage := must[api.MonthUsage](t)(c.Usage(ctx, row.Email, ""))
		if diff := gocmp.Diff(usage, user.Usage); diff != "" {
			t.Error(diff)
		}
		if diff := gocmp.Diff(row, user.Row); diff != "" {
			t.Error(diff)
		}
		if diff := gocmp.Diff(must[api.User](t)(c.User(ctx, row.Email)), user.User); diff != "" {
			t.Error(diff)
		}
		var onDays, onRoutes int64
		for _, d := range user.Days {
			if strings.HasPrefix(d.Date, "2025-02") {
				onDays += d.Calls
			}
		}
		for _, r := range user.Routes {
			onRoutes += r.Calls
		}
		if onDays != row.Calls || onRoutes != row.Calls || len(user.Days) != 30 || user.Days[29].Date != "2025-02-10" {
			t.Errorf("%s: %d calls, %d by day, %d by route, days %v", row.Email, row.Calls, onDays, onRoutes, user.Days)
		}
		records := must[api.RecordsPage](t)(c.Records(ctx, row.Email, api.RecordsQuery{Limit: 20}))
		if diff := gocmp.Diff(records.Records, user.Records); diff != "" {
			t.Error(diff)
		}
		if len(user.Keys) != 2 || user.Keys[0].ID < user.Keys[1].ID {
			t.Errorf("got the keys %+v", user.Keys)
		}
	}
	o := await(t, c.WatchOverview, func(o api.Overview) bool { return o.Month.Charges != nil })
	want := api.MonthSoFar{
		Month: "2025-02", Start: time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
		Calls: calls, Documents: documents, Tokens: o.Month.Tokens, CostCents: cost,
		Charges: &api.MonthCharges{At: h.time(), SoFarCents: soFar, ProjectedCents: projected},
	}
	if diff := gocmp.Diff(want, o.Month); diff != "" {
		t.Error(diff)
	}
	var onDays int64
	for _, d := range o.Days {
		if strings.HasPrefix(d.Date, "2025-02") {
			onDays += d.Calls
		}
	}
	if onDays != calls || !o.Ready || o.Users != len(keys) || o.Currency != "usd" || o.Timezone != "UTC" {
		t.Errorf("%d calls, %d by day; got %+v", calls, onDays, o)
	}
	billing := await(t, func(ctx context.Context, each func(api.BillingView) error) error {
		return c.WatchBilling(ctx, "", each)
	},
		func(b api.BillingView) bool { return b.Month.Charges != nil })
	if diff := gocmp.Diff(must[api.BillStatus](t)(c.BillStatus(ctx)), billing.Status); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want, billing.Month); diff != "" {
		t.Error(diff)
	}
}

// TestUsersInOrder compares the order of the screens with the report of top users.
func TestUsersInOrder(t *testing.T) {
	_, c, _ := busy(t)
	for _, by := range []string{"cost", "calls", "documents"} {
		top := must[[]api.TopUser](t)(c.Top(t.Context(), "", by, 10))
		view := await(t, func(ctx context.Context, each func(api.UsersView) error) error {
			return c.WatchUsers(ctx, api.UsersQuery{Sort: by, Limit: len(top)}, each)
		}, any1)
		var got []api.TopUser
		for _, u := range view.Users {
			got = append(got, api.TopUser{User: u.ID, Email: u.Email, TotalCalls: u.Calls, TotalDocuments: u.Documents, TotalCostCents: u.CostCents})
		}
		if diff := gocmp.Diff(top, got); diff != "" {
			t.Errorf("by %s: %s", by, diff)
		}
	}
	// These are rated in the background, a moment later.
	for sort, measure := range map[string]func(api.UserRow) int64{
		"quota": func(u api.UserRow) int64 {
			if u.Quota == nil {
				return -1
			}
			return u.Quota.Used * 1000 / u.Quota.Limit
		},
		"charge":    func(u api.UserRow) int64 { return u.ChargeCents },
		"projected": func(u api.UserRow) int64 { return u.ProjectedCents },
	} {
		for _, up := range []bool{false, true} {
			all := await(t, func(ctx context.Context, each func(api.UsersView) error) error {
				return c.WatchUsers(ctx, api.UsersQuery{}, each)
			}, any1)
			best := slices.MaxFunc(all.Users, func(a, b api.UserRow) int {
				if up {
					a, b = b, a
				}
				return cmp.Compare(measure(a), measure(b))
			})
			await(t, func(ctx context.Context, each func(api.UsersView) error) error {
				return c.WatchUsers(ctx, api.UsersQuery{Sort: sort, Up: up, Limit: 1}, each)
			}, func(v api.UsersView) bool { return measure(v.Users[0]) == measure(best) })
		}
	}
	ids := func(q api.UsersQuery) (ids []ledger.UserID) {
		view := await(t, func(ctx context.Context, each func(api.UsersView) error) error { return c.WatchUsers(ctx, q, each) }, any1)
		for _, u := range view.Users {
			ids = append(ids, u.ID)
		}
		return ids
	}
	for _, tt := range []struct {
		q    api.UsersQuery
		want []ledger.UserID
	}{
		{api.UsersQuery{Sort: "id"}, []ledger.UserID{7, 6, 5, 4, 3, 2, 1}},
		{api.UsersQuery{Sort: "email", Up: true, Limit: 3}, []ledger.UserID{1, 2, 3}},
		{api.UsersQuery{Sort: "email", Up: true, Limit: 3, Offset: 5}, []ledger.UserID{6, 7}},
		{api.UsersQuery{Sort: "id", Filter: "FREE"}, []ledger.UserID{7, 2, 1}},
		{api.UsersQuery{Sort: "id", Filter: "free user1"}, []ledger.UserID{2}},
		{api.UsersQuery{Sort: "id", Filter: "4"}, []ledger.UserID{5, 4}},
		{api.UsersQuery{Sort: "id", Filter: "active", Limit: 1}, []ledger.UserID{7}},
		{api.UsersQuery{Filter: "nobody"}, nil},
		{api.UsersQuery{Offset: 1000}, nil},
	} {
		if got := ids(tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.q, got, tt.want)
		}
	}
}
