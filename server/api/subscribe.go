package api

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// subscribeEndpoint changes the caller's plan, or says where to give the payment
// method that the plan needs.
func (s *service) subscribeEndpoint() endpoint {
	e := takes(endpoint{
		method: "POST", path: "/v1/billing/subscribe", access: manage,
		summary: "Change your plan; where it needs a payment method first, the answer is a checkout_url",
	}, s.subscribe)
	e.answer, e.or = reflect.TypeFor[Subscribed](), reflect.TypeFor[Checkout]()
	return e
}

func (s *service) subscribe(r *request, ask Subscribe) (any, error) {
	u := r.caller.User
	to, err := s.publicTier(u, ask.Tier, r.now)
	if err != nil {
		return nil, err
	}
	if err := staysClosed(u); err != nil {
		return nil, err
	}
	to = s.planOf(u, to, r.now)
	if s.Billing != nil && s.Billing.Collects() && u.PaymentMethod == "" && needsPayment(&to) && u.PlanAt(r.now).Plan != to.ID {
		url, err := s.Billing.Checkout(r.Context(), u.ID, to.ID)
		if err != nil {
			return nil, s.forCustomer(r, err)
		}
		return Checkout{url}, nil
	}
	changed, err := s.changePlan(u, r.now, r.by, ChangePlan{Plan: to.ID})
	if err != nil {
		return nil, err
	}
	return Subscribed{changed.SubscriptionTier, changed.Quota, changed.EffectiveAt, changed.FeeCents}, nil
}

// publicTier is a plan that a customer can choose: a public one, or the one that
// the customer is on, which takes a pending change back.
func (s *service) publicTier(u *ledger.User, id string, now time.Time) (pricing.Plan, error) {
	settings := s.Settings()
	to, ok := settings.plan(id)
	if ok && (to.Public || u.PlanAt(now).Plan == id) {
		return to, nil
	}
	var public []string
	for _, p := range settings.Plans {
		if p.Public {
			public = append(public, p.ID)
		}
	}
	return to, refusal(http.StatusBadRequest, "unknown_plan", "There is no plan %q to choose; there are %s.", id, strings.Join(public, ", "))
}

// needsPayment tells whether a user on a plan can come to owe money without
// having been asked again. Where use beyond the quota waits for a payment method
// (bill_if_payable), none is needed before.
func needsPayment(p *pricing.Plan) bool {
	if p.Fee > 0 || p.Minimum > 0 {
		return true
	}
	return p.Billing != pricing.Prepaid && (p.ByCost || p.OnExceed == pricing.Bill && (len(p.Overage) > 0 || len(p.Prices) > 0))
}

// getPortal answers with the payment provider's page for the caller.
func (s *service) getPortal(r *request) (Portal, error) {
	b, err := s.billing()
	if err != nil {
		return Portal{}, err
	}
	url, err := b.Portal(r.Context(), r.caller.User.ID)
	if err != nil {
		return Portal{}, s.forCustomer(r, err)
	}
	return Portal{url}, nil
}

// forCustomer is an error of the payment provider in words for customers; what it
// was is for the operator.
func (s *service) forCustomer(r *request, err error) error {
	var known *BillingError
	if !errors.As(err, &known) {
		return err
	}
	if known.Code == NoProvider {
		return refusal(http.StatusConflict, string(NoProvider), "Payments are not made online here. Ask the operator of this API.")
	}
	s.Log.Error("the payment provider did not answer a customer's request", "path", r.URL.Path, "user", r.caller.User.ID, "error", err)
	return refusal(http.StatusBadGateway, "provider_failed", "The payment provider did not do this. Try again later; nothing was charged.")
}
