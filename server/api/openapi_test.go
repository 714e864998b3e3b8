package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
)

type object = map[string]any

// TestOpenAPIDescribesTheAnswers calls every operation of the document and holds
// parameters and answers against it.
func TestOpenAPIDescribesTheAnswers(t *testing.T) {
	h := newHouse(t)
	u, _, manage := h.user("a@example.com", "hidden")
	limit := 5 * ledger.Unit
	h.change(u.ID, func(u *ledger.User) { u.SpendLimit = &limit })
	h.record(u.ID, start, 3, func(_ int, u *ledger.Usage) {
		u.Documents, u.Named = 160, []ledger.Quantity{{Meter: "pages", N: 2}}
	})
	for _, expires := range []time.Time{{}, start.AddDate(2, 0, 0)} {
		if _, err := h.ledger.GrantCredits(start, "test", u.ID, ledger.Grant{Source: ledger.Purchase, Amount: ledger.Unit / 2, Expires: expires}); err != nil {
			t.Fatal(err)
		}
	}
	h.pay(pack(u.ID, ledger.PurchasePayment), h.paid)
	h.bill(func(b api.Billing) api.Billing { return paying{b, h} })
	h.at(time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC)) // there are drafts of two months
	document := get[object](h, "/openapi.json", "")
	if v := document["openapi"]; v != "3.1.0" {
		t.Fatalf("got version %v", v)
	}
	bodies := map[string]string{
		"PUT /v1/billing/limit":             `{"cents": 100}`,
		"POST /v1/billing/credits/purchase": `{"pack": "10k"}`,
		"POST /v1/billing/subscribe":        `{"tier": "pro"}`,
		"POST /v1/keys":                     `{"name": "x", "scope": "call", "networks": ["192.0.2.0/24"], "expires": "2026-01-01T00:00:00Z"}`,
		"POST /v1/keys/{id}/rotate":         `{"grace": "1h"}`,
	}
	arguments := map[string]string{
		"from": "2025-01-01T00:00:00Z", "to": "2025-02-01", "month": "2025-01", "limit": "2", "months": "36",
		"request_id": (&ledger.Usage{Time: start, Counter: 1}).RequestID().String(),
	}
	var described []string
	paths := document["paths"].(object)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, operation := range paths[path].(object) {
			method = strings.ToUpper(method)
			name := method + " " + path
			described = append(described, name)
			operation := operation.(object)
			target := strings.NewReplacer("{id}", "2", "{year}", "2025", "{month}", "1").Replace(path)
			if method == "DELETE" {
				target = strings.ReplaceAll(path, "{id}", "1")
			}
			w := h.call(method, target, manage, bodies[name])
			response, ok := operation["responses"].(object)[fmt.Sprint(w.Code)].(object)
			if !ok {
				t.Errorf("%s: the status %d is not described: %s", name, w.Code, w.Body)
				continue
			}
			if content, ok := response["content"].(object); ok {
				var answer any
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				fits(t, document, name, content["application/json"].(object)["schema"].(object), answer)
			} else if w.Body.Len() > 0 {
				t.Errorf("%s: an answer that is not described: %s", name, w.Body)
			}
			if body, ok := operation["requestBody"].(object); ok != (bodies[name] != "") {
				t.Errorf("%s: a body is described: %v", name, ok)
			} else if ok {
				var sent any
				if err := json.Unmarshal([]byte(bodies[name]), &sent); err != nil {
					t.Fatal(err)
				}
				fits(t, document, name+" body", body["content"].(object)["application/json"].(object)["schema"].(object), sent)
			}
			for _, p := range operation["parameters"].([]any) {
				p := p.(object)
				if p["in"] == "path" {
					continue
				}
				argument := p["name"].(string)
				if argument == "cursor" {
					arguments[argument] = get[object](h, target+"?limit=1", manage)["next_cursor"].(string)
				}
				if w := h.call(method, target+"?"+argument+"="+arguments[argument], manage, bodies[name]); w.Code != 200 {
					t.Errorf("%s with %s: got %d: %s", name, argument, w.Code, w.Body)
				}
			}
			if w := h.call(method, target+"?nonsense=1", manage, bodies[name]); w.Code != 400 {
				t.Errorf("%s with a parameter that is not described: got %d", name, w.Code)
			}
			public := len(operation["security"].([]any)) == 0
			if w := h.call(method, target, "", bodies[name]); public != (w.Code == 200) {
				t.Errorf("%s without a key: got %d, public: %v", name, w.Code, public)
			}
		}
	}
	slices.Sort(described)
	want := []string{
		"DELETE /v1/keys/{id}", "GET /healthz", "GET /readyz", "GET /v1/billing/credits", "GET /v1/billing/invoice/{year}/{month}", "GET /v1/billing/invoices", "GET /v1/billing/pricing", "GET /v1/billing/usage", "GET /v1/billing/usage/history",
		"GET /v1/keys", "GET /v1/usage/records", "POST /v1/billing/credits/purchase", "POST /v1/billing/portal", "POST /v1/billing/subscribe", "POST /v1/keys", "POST /v1/keys/{id}/rotate", "PUT /v1/billing/limit",
	}
	if diff := cmp.Diff(want, described); diff != "" {
		t.Error(diff)
	}
	var problem any
	if err := json.Unmarshal(h.call("GET", "/v1/keys/9/x", manage, "").Body.Bytes(), &problem); err != nil {
		t.Fatal(err)
	}
	fits(t, document, "problem", object{"$ref": "#/components/schemas/Problem"}, problem)
	if w := h.call("HEAD", "/openapi.json", "", ""); w.Code != http.StatusOK {
		t.Errorf("HEAD: got %d", w.Code)
	}
}

// definition follows the reference of a schema, if it is one.
func definition(t *testing.T, document object, where string, schema object) object {
	t.Helper()
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	target, ok := document["components"].(object)["schemas"].(object)[strings.TrimPrefix(ref, "#/components/schemas/")].(object)
	if !ok {
		t.Fatalf("%s: there is no schema %s", where, ref)
	}
	return target
}

// fits holds a JSON value against the part of JSON Schema that the document uses.
func fits(t *testing.T, document object, where string, schema object, value any) {
	t.Helper()
	schema = definition(t, document, where, schema)
	if either, ok := schema["anyOf"].([]any); ok {
		if value != nil {
			fits(t, document, where, either[0].(object), value)
		}
		return
	}
	if either, ok := schema["oneOf"].([]any); ok {
		for _, alternative := range either {
			schema := definition(t, document, where, alternative.(object))
			if has, ok := value.(object); ok && !slices.ContainsFunc(schema["required"].([]any), func(name any) bool { _, ok := has[name.(string)]; return !ok }) {
				fits(t, document, where, schema, value)
				return
			}
		}
		t.Errorf("%s: %v is none of the answers that there may be", where, value)
		return
	}
	kinds := []any{schema["type"]}
	if list, ok := schema["type"].([]any); ok {
		kinds = list
	}
	kind := "null"
	switch v := value.(type) {
	case bool:
		kind = "boolean"
	case string:
		kind = "string"
	case float64:
		if kind = "number"; v == float64(int64(v)) && !slices.Contains(kinds, any("number")) {
			kind = "integer"
		}
	case []any:
		kind = "array"
		for i, item := range v {
			fits(t, document, fmt.Sprintf("%s[%d]", where, i), schema["items"].(object), item)
		}
	case object:
		kind = "object"
		if of, ok := schema["additionalProperties"].(object); ok {
			for name, item := range v {
				fits(t, document, where+"."+name, of, item)
			}
			break
		}
		properties, _ := schema["properties"].(object)
		for name, item := range v {
			property, ok := properties[name].(object)
			if !ok {
				t.Errorf("%s.%s is not described", where, name)
				continue
			}
			fits(t, document, where+"."+name, property, item)
		}
		for _, name := range schema["required"].([]any) {
			if _, ok := v[name.(string)]; !ok {
				t.Errorf("%s.%s is required, and not there", where, name)
			}
		}
	}
	if !slices.Contains(kinds, any(kind)) {
		t.Errorf("%s: got %s %v, want %v", where, kind, value, kinds)
	}
}
