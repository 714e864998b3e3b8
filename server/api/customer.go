package api

import (
	"fmt"
	"net/http"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// NewCustomer is the API of customers: usage, records, plans, invoices, keys,
// spend limit, health and the OpenAPI document.
func NewCustomer(o Options) http.Handler {
	s := newService(o)
	endpoints := s.customerEndpoints()
	document := newDocument(endpoints)
	endpoints = append(endpoints, openAPIEndpoint(func() any { return document.at(s.Settings().PublicURL) }))
	return s.mux(endpoints, s.enterCustomer)
}

func (s *service) customerEndpoints() []endpoint {
	months := param{"months", "how many, the current one included", map[string]any{"type": "integer", "minimum": 1, "maximum": 36, "default": 6}}
	return append(s.invoiceEndpoints(), []endpoint{
		answers(endpoint{method: "GET", path: "/v1/billing/usage", access: reads, summary: "This month's usage, quota, charges and projection"}, func(r *request) (Usage, error) {
			return s.usage(r.caller.User, r.now)
		}),
		answers(endpoint{method: "GET", path: "/v1/billing/usage/history", access: reads, summary: "Usage and charges by month, newest first", params: []param{months}}, func(r *request) (History, error) {
			n, err := r.number("months", 1, 36, 6)
			if err != nil {
				return History{}, err
			}
			return s.history(r.caller.User, r.now, n)
		}),
		s.customerCredits(),
		takes(endpoint{method: "POST", path: "/v1/billing/credits/purchase", access: manage, summary: "Buy a credit pack: the answer is the payment provider's page, and the credits are there when it is paid"}, s.buyPack),
		s.recordsEndpoint(endpoint{method: "GET", path: "/v1/usage/records", access: reads}, func(r *request) (*ledger.User, error) {
			return r.caller.User, nil
		}),
		answers(endpoint{method: "GET", path: "/v1/billing/pricing", access: public, summary: "The plans that can be chosen, and the credit packs that can be bought"}, func(r *request) (Pricing, error) {
			return s.pricing(), nil
		}),
		takes(endpoint{method: "PUT", path: "/v1/billing/limit", access: manage, summary: "Set your own limit of a month's usage charges"}, func(r *request, ask SetSpendLimit) (SpendLimit, error) {
			return s.setOwnLimit(r.caller.User, r.now, r.by, ask)
		}),
		answers(endpoint{method: "GET", path: "/v1/keys", access: manage, summary: "Your API keys, in order of creation", params: []param{limitParam, cursorParam}}, func(r *request) (KeysPage, error) {
			after, limit, err := r.page()
			if err != nil {
				return KeysPage{}, err
			}
			return s.keys(r.caller.User, r.now, after, limit), nil
		}),
		takes(endpoint{method: "POST", path: "/v1/keys", access: manage, status: http.StatusCreated, summary: "Create a key; the answer shows it once"}, func(r *request, ask CreateKey) (NewKey, error) {
			if err := s.inGoodStanding(r); err != nil {
				return NewKey{}, err
			}
			return s.createKey(r.caller.User, r.now, r.by, OperatorKey{CreateKey: ask})
		}),
		answers(endpoint{method: "DELETE", path: "/v1/keys/{id}", access: manage, status: http.StatusNoContent, summary: "Revoke a key at once"}, func(r *request) (struct{}, error) {
			k, err := s.keyOf(r, r.caller.User.ID)
			if err == nil {
				_, err = s.revokeKey(k, r.now, r.by)
			}
			return struct{}{}, err
		}),
		takes(endpoint{method: "POST", path: "/v1/keys/{id}/rotate", access: manage, status: http.StatusCreated, summary: "Create a key in place of one that works on for a grace time"}, func(r *request, ask RotateKey) (NewKey, error) {
			if err := s.inGoodStanding(r); err != nil {
				return NewKey{}, err
			}
			k, err := s.keyOf(r, r.caller.User.ID)
			if err != nil {
				return NewKey{}, err
			}
			return s.rotateKey(r.caller.User, k, r.now, r.by, ask)
		}),
		answers(endpoint{method: "GET", path: "/healthz", access: public, summary: "Whether the process is alive"}, func(r *request) (Health, error) {
			return Health{"ok"}, nil
		}),
		answers(endpoint{method: "GET", path: "/readyz", access: public, summary: "Whether calls can be served"}, func(r *request) (Health, error) {
			return Health{"ready"}, s.ready()
		}),
	}...)
}

// recordsEndpoint completes an endpoint that answers with the records of the
// user that whose finds.
func (s *service) recordsEndpoint(e endpoint, whose func(*request) (*ledger.User, error)) endpoint {
	e.summary = "Usage records, newest first; as CSV or NDJSON everything asked for"
	e.params, e.streams = recordParams(), []string{typeCSV, typeNDJSON}
	e = answers[RecordsPage](e, nil)
	e.handle = func(r *request) error {
		u, err := whose(r)
		if err != nil {
			return err
		}
		return s.getRecords(r, u.ID)
	}
	return e
}

// enterCustomer finds and admits the caller.
func (s *service) enterCustomer(r *request) error {
	h := r.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.endpoint.access == public {
		return nil
	}
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Authorization, X-API-Key, Accept")
	caller, refused := s.Gate.Identify(r.Header, s.ClientAddr(r.Request), r.now)
	if refused == nil {
		refused = s.Gate.AdmitAPI(caller, r.now)
	}
	if refused != nil {
		return refused
	}
	r.caller = caller
	if r.endpoint.access == manage && r.caller.Key.Scope != ledger.ScopeManage {
		return refusal(http.StatusForbidden, "scope_required", "This needs a key of scope \"manage\"; this key has the scope %q.", r.caller.Key.Scope)
	}
	r.by = fmt.Sprintf("key %d", r.caller.Key.ID)
	return nil
}

// inGoodStanding refuses new keys to users who may not call. Reading, paying
// and revoking stay open to them.
func (s *service) inGoodStanding(r *request) error {
	switch r.caller.User.Status {
	case ledger.Suspended:
		return admission.NewRefusal(admission.AccountSuspended, "The account is suspended; it can have new keys when it is active again.")
	case ledger.Closed:
		return admission.NewRefusal(admission.AccountClosed, "The account is closed; it can have no new keys.")
	}
	return nil
}

func (s *service) ready() error {
	if s.Draining() {
		return refusal(http.StatusServiceUnavailable, "draining", "The server is stopping; running calls are being finished.")
	}
	return s.Ledger.Ready()
}
