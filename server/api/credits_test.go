package api_test

import (
	"context"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

func TestCredits(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	h.publish(ledger.PlanVersion, "prepaid", []byte(`{"id":"prepaid","name":"Prepaid","fee":"0","on_exceed":"block","billing":"prepaid","credits":{"documents":1},"per_minute":0,"per_day":0}`))
	u, callKey, _ := h.user("a@example.com", "prepaid")
	_, otherKey, _ := h.user("b@example.com", "free")
	if usage := get[api.Usage](h, "/v1/billing/usage", otherKey); usage.Credits != nil {
		t.Errorf("on another plan: %+v", usage.Credits)
	}
	if usage := get[api.Usage](h, "/v1/billing/usage", callKey); usage.Credits == nil || usage.Credits.Balance != 0 || usage.Credits.ExpiringNext != nil {
		t.Errorf("before: %+v", usage.Credits)
	}

	credits := func(n int64) api.Credits { return api.Credits(ledger.Amount(n) * ledger.Unit) }
	soon := h.time().Add(time.Hour).UTC()
	first := must[api.CreditsGranted](t)(c.GrantCredits(ctx, "1", api.GrantCredits{Amount: credits(100), Reason: "sorry"}))
	second := must[api.CreditsGranted](t)(c.GrantCredits(ctx, "a@example.com", api.GrantCredits{Amount: credits(8), Source: ledger.Promotion, Expires: &soon}))
	if first.Balance != credits(100) || second.Balance != credits(108) {
		t.Errorf("got %+v and %+v", first, second)
	}
	record := ledger.Usage{
		Time: h.time(), Counter: 77, User: u.ID, Route: h.route.ID, Plan: 1, Method: "POST", Status: 200, Billed: true, Burnt: 3 * ledger.Unit,
	}
	if err := h.ledger.AppendOne(h.time(), &record, nil).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	usage := get[api.Usage](h, "/v1/billing/usage", callKey)
	if usage.Credits == nil || usage.Credits.Balance != credits(105) || usage.Credits.ExpiringNext == nil || usage.Credits.ExpiringNext.Amount != credits(5) || !usage.Credits.ExpiringNext.Expires.Equal(soon) {
		t.Errorf("after: %+v", usage.Credits)
	}
	view := get[api.UserCredits](h, "/v1/billing/credits?limit=1", callKey)
	if view.Balance != credits(105) || view.Granted != credits(108) || view.Burnt != credits(3) || len(view.Grants) != 2 || view.Grants[0].Left != credits(5) || view.Grants[0].Source != ledger.Promotion {
		t.Errorf("got %+v", view)
	}
	if len(view.Entries) != 1 || view.Entries[0].Grant != second.ID || view.NextCursor == nil {
		t.Fatalf("the newest entry: %+v", view.Entries)
	}
	older := get[api.UserCredits](h, "/v1/billing/credits?limit=1&cursor="+*view.NextCursor, callKey)
	if len(older.Entries) != 1 || older.Entries[0].Grant != first.ID || older.Entries[0].Reason != "sorry" || older.NextCursor != nil {
		t.Errorf("the entry before: %+v", older.Entries)
	}
	if users := await(t, func(ctx context.Context, each func(api.UsersView) error) error {
		return c.WatchUsers(ctx, api.UsersQuery{Filter: "prepaid"}, each)
	}, any1); len(users.Users) != 1 || users.Users[0].Balance == nil || *users.Users[0].Balance != 105 {
		t.Errorf("in the list of users: %+v", users.Users)
	}
	if records := get[api.RecordsPage](h, "/v1/usage/records", callKey); records.Records[0].CreditsBurnt != credits(3) {
		t.Errorf("the record: %+v", records.Records[0])
	}

	h.at(soon)
	if got := must[api.UserCredits](t)(c.Credits(ctx, "1", "", 0)); got.Balance != credits(100) || got.ExpiringNext != nil || len(got.Grants) != 1 {
		t.Errorf("when they have expired: %+v", got)
	}
	past := h.time()
	for name, ask := range map[string]api.GrantCredits{
		"nothing":      {},
		"a debt":       {Amount: -1},
		"too much":     {Amount: api.Credits(ledger.MaxCredits)},
		"a purchase":   {Amount: 1, Source: ledger.Purchase},
		"luck":         {Amount: 1, Source: "luck"},
		"what expired": {Amount: 1, Expires: &past},
		"a bell":       {Amount: 1, Reason: "\a"},
	} {
		if _, err := c.GrantCredits(ctx, "1", ask); err == nil {
			t.Errorf("%s was granted", name)
		} else {
			wantCode(t, err, 400, "invalid_field")
		}
	}
	must[api.User](t)(c.CloseUser(ctx, "1"))
	_, err := c.GrantCredits(ctx, "1", api.GrantCredits{Amount: 1})
	wantCode(t, err, 403, "account_closed")
}
