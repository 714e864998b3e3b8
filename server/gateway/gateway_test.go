package gateway_test

import (
	"testing"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

const cents = ledger.Unit / 100

func TestACallIsMeteredAndRecorded(t *testing.T) {
	w := newWorld(t, setup{
		routes: []gateway.Route{route("POST /v1/scan",
			gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true},
			gateway.Source{Meter: "tokens", From: gateway.ResponseJSON, Pointer: "/usage/total_tokens", Missing: gateway.Zero},
		)},
		prices: map[string]ledger.Amount{"documents": cents},
	}, reply(`{"results":[],"usage":{"total_tokens":42}}`))
	a := w.call("POST", "/v1/scan", `{"docs":[{"id":"a"},{"id":"b"},{"id":"c"}]}`)
	equal(t, "status", a.StatusCode, 200)
	equal(t, "body", string(a.body), `{"results":[],"usage":{"total_tokens":42}}`)
	u := w.record()
	equal(t, "request id", a.Header.Get("Tollgate-Request"), u.RequestID().String())
	equal(t, "user", u.User, w.user.ID)
	equal(t, "key", u.Key, w.key.ID)
	equal(t, "documents", u.Documents, int64(3))
	equal(t, "tokens", u.Tokens, int64(42))
	equal(t, "cost", u.Cost, 3*cents)
	equal(t, "billed", u.Billed, true)
	equal(t, "status", u.Status, 200)
	equal(t, "outcome", u.Outcome, ledger.OK)
	equal(t, "method", u.Method, "POST")
	equal(t, "route", w.ledger.VersionByID(u.Route).Name, "POST /v1/scan")
	equal(t, "plan", w.ledger.VersionByID(u.Plan).Name, "free")
}
