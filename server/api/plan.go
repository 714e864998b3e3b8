package api

import "tollgate/ledger"

// SetPlan puts a user on a plan that was asked for earlier, by the rules of
// POST /v1/billing/subscribe: at once or at the next period.
func SetPlan(o Options, user ledger.UserID, plan string) error {
	s := newService(o)
	a := s.Ledger.Account(user)
	if a == nil {
		return ledger.ErrNotFound
	}
	_, err := s.changePlan(a.User(), s.Now(), "customer", ChangePlan{Plan: plan})
	return err
}
