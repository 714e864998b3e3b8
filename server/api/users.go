package api

import (
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

// userOf finds a user by the id or the e-mail address in the path.
func (s *service) userOf(r *request) (*ledger.User, error) { return s.userNamed(r.PathValue("user")) }

func (s *service) userNamed(text string) (*ledger.User, error) {
	var account *ledger.Account
	if id, err := strconv.ParseUint(text, 10, 32); err == nil && id > 0 {
		account = s.Ledger.Account(ledger.UserID(id))
	} else if strings.Contains(text, "@") {
		account = s.Ledger.AccountByEmail(text)
	}
	if account == nil {
		return nil, refusal(http.StatusNotFound, "user_not_found", "There is no user %q; give an id or an e-mail address of: tollgate user list", text)
	}
	return account.User(), nil
}

// user is a user as JSON has it.
func (s *service) user(u *ledger.User, now time.Time) User {
	view := User{
		ID: u.ID, Email: u.Personal.Email, Name: u.Personal.Name, Company: u.Personal.Company, Address: u.Personal.Address, TaxID: u.Personal.TaxID,
		Plan: u.PlanAt(now).Plan, Status: u.Status, SuspendedFor: u.SuspendedFor, Erased: u.Erased, Created: u.Created.UTC(), Closed: stamp(u.ClosedAt),
		SpendLimit: u.SpendLimit, OwnSpendLimit: u.OwnLimit, PaymentMethod: u.PaymentMethod != "", StripeCustomer: u.StripeCustomer, Keys: s.activeKeys(u, now),
	}
	if last := u.Plans[len(u.Plans)-1]; last.From.After(now) {
		view.NextPlan = &PendingPlan{last.Plan, last.From.UTC()}
	}
	return view
}

// users is a page of users; the cursor is an id.
func (s *service) users(now time.Time, after uint64, limit int) UsersPage {
	page := UsersPage{Users: []User{}}
	for account := range s.Ledger.Accounts(ledger.UserID(min(after, 1<<32-1))) {
		if len(page.Users) == limit {
			page.NextCursor = cursorText(uint64(page.Users[limit-1].ID))
			break
		}
		page.Users = append(page.Users, s.user(account.User(), now))
	}
	return page
}

// addUser adds a user with a first key.
func (s *service) addUser(now time.Time, by string, ask AddUser) (AddedUser, error) {
	settings := s.Settings()
	if ask.Plan == "" {
		ask.Plan = settings.DefaultPlan
	}
	if _, ok := settings.plan(ask.Plan); !ok {
		return AddedUser{}, unknownPlan(settings, ask.Plan)
	}
	p := ledger.Personal{Email: ask.Email, Name: ask.Name, Company: ask.Company, Address: ask.Address, TaxID: ask.TaxID}
	if err := checkPersonal(p); err != nil {
		return AddedUser{}, err
	}
	key := OperatorKey{CreateKey: CreateKey{Name: "first", Scope: ask.Scope}}
	if key.Scope == "" {
		key.Scope = ledger.ScopeCall
	}
	if err := checkKey(key, now); err != nil {
		return AddedUser{}, err
	}
	if s.Ledger.AccountByEmail(ask.Email) != nil {
		return AddedUser{}, refusal(http.StatusConflict, "email_taken", "There is already a user with the e-mail address %s.", ask.Email)
	}
	u, err := s.Ledger.AddUser(now, by, p, ask.Plan)
	if err != nil {
		return AddedUser{}, fmt.Errorf("adding a user: %w", err)
	}
	s.Log.Info("user added", "user", u.ID, "plan", ask.Plan, "by", by)
	s.grantPlan(u.ID)
	made, err := s.createKey(u, now, by, key)
	if err != nil {
		return AddedUser{}, fmt.Errorf("user %d is added, but has no key yet: %w", u.ID, err)
	}
	return AddedUser{ID: u.ID, Email: u.Personal.Email, Plan: ask.Plan, APIKey: made.APIKey}, nil
}

func unknownPlan(settings Settings, id string) error {
	ids := make([]string, len(settings.Plans))
	for i, p := range settings.Plans {
		ids[i] = p.ID
	}
	return refusal(http.StatusBadRequest, "unknown_plan", "There is no plan %q; there are %s.", id, strings.Join(ids, ", "))
}

func checkPersonal(p ledger.Personal) error {
	if address, err := mail.ParseAddress(p.Email); err != nil || address.Address != p.Email || len(p.Email) > 254 {
		return badField("email", "%q is not an e-mail address", p.Email)
	}
	for name, text := range map[string]string{"email": p.Email, "name": p.Name, "company": p.Company, "tax_id": p.TaxID, "address": strings.ReplaceAll(p.Address, "\n", " ")} {
		if err := checkText(name, text); err != nil {
			return err
		}
	}
	return nil
}

// waitingPlan is where a user's Extra has the plan that waits for a payment
// method, which billing puts there and takes up.
const waitingPlan = "subscribe"

// changePlan puts a user on another plan, at once or from the next period on;
// a change that is pending, or waits for a payment method, is replaced. Asking for the plan in force takes
// back a pending change.
func (s *service) changePlan(u *ledger.User, now time.Time, by string, ask ChangePlan) (PlanChanged, error) {
	settings := s.Settings()
	to, ok := settings.plan(ask.Plan)
	if !ok {
		return PlanChanged{}, unknownPlan(settings, ask.Plan)
	}
	if err := staysClosed(u); err != nil {
		return PlanChanged{}, err
	}
	now = now.UTC().Truncate(time.Millisecond)
	to = s.planOf(u, to, now)
	var from time.Time
	_, err := s.Ledger.ChangeUser(now, by, u.ID, func(u *ledger.User) error {
		var err error
		from, err = s.planFrom(u, &to, now, ask.Now)
		if err != nil {
			return err
		}
		u.Plans = reassign(u.Plans, now, ledger.Assignment{Plan: to.ID, From: from})
		delete(u.Extra, waitingPlan)
		return nil
	})
	if err != nil {
		return PlanChanged{}, fmt.Errorf("changing the plan of user %d: %w", u.ID, err)
	}
	s.Log.Info("plan changed", "user", u.ID, "plan", to.ID, "from", from, "by", by)
	s.grantPlan(u.ID)
	return s.planChanged(u, &to, from), nil
}

// grantPlan gives a user the credits of the plan at once; the schedule does where
// that fails.
func (s *service) grantPlan(id ledger.UserID) {
	if s.Billing == nil {
		return
	}
	if err := s.Billing.GrantPlan(context.Background(), id); err != nil {
		s.Log.Warn("the plan's credits were not given yet", "user", id, "error", err)
	}
}

func staysClosed(u *ledger.User) error {
	if u.Status != ledger.Closed {
		return nil
	}
	return admission.NewRefusal(admission.AccountClosed, fmt.Sprintf("User %d is closed and stays on its plan.", u.ID))
}

func (s *service) planChanged(u *ledger.User, to *pricing.Plan, from time.Time) PlanChanged {
	quota := to.Quota
	if quota == nil {
		quota = map[string]int64{}
	}
	return PlanChanged{User: u.ID, SubscriptionTier: to.ID, EffectiveAt: from, FeeCents: s.cents(to.Fee), Quota: quota}
}

// planFrom is when a change of plan acts: an upgrade at once, anything else at
// the next period, unless it is asked for at once.
func (s *service) planFrom(u *ledger.User, to *pricing.Plan, now time.Time, atOnce bool) (time.Time, error) {
	current := u.PlanAt(now)
	if atOnce || current.Plan == to.ID {
		return now, nil
	}
	_, terms, err := s.Book.Terms(s.Ledger, u, current.Plan, current.From, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the terms of user %d: %w", u.ID, err)
	}
	if pricing.Upgrade(terms, to) {
		return now, nil
	}
	return s.Ledger.PeriodAt(now).End, nil
}

// reassign drops what lies ahead of now and adds next, unless the plan in
// force is the one wanted. The first assignment stays: it is in force even
// where the clock that made it was a little ahead.
func reassign(plans []ledger.Assignment, now time.Time, next ledger.Assignment) []ledger.Assignment {
	kept := plans[:1:1]
	for _, a := range plans[1:] {
		if !a.From.After(now) {
			kept = append(kept, a)
		}
	}
	if last := kept[len(kept)-1]; last.Plan == next.Plan {
		return kept
	} else if next.From.Before(last.From) {
		next.From = last.From
	}
	return append(kept, next)
}

// suspend keeps a user from calling until the operator resumes it.
func suspend(u *ledger.User) error {
	if u.Status == ledger.Closed {
		return isClosed(u)
	}
	u.Status, u.SuspendedFor = ledger.Suspended, "operator"
	return nil
}

// resume lifts a suspension, whatever it was for.
func resume(u *ledger.User) error {
	if u.Status == ledger.Closed {
		return isClosed(u)
	}
	u.Status, u.SuspendedFor = ledger.Active, ""
	return nil
}

func isClosed(u *ledger.User) error {
	return refusal(http.StatusConflict, admission.AccountClosed, "User %d is closed, which is for good; add a new user instead.", u.ID)
}

// closeAt ends a user's calls for good; a change of plan that is pending goes
// with them.
func closeAt(now time.Time) func(*ledger.User) error {
	return func(u *ledger.User) error {
		if u.Status == ledger.Closed {
			return nil
		}
		u.Status, u.SuspendedFor, u.ClosedAt = ledger.Closed, "", now.UTC()
		u.Plans = reassign(u.Plans, now, u.PlanAt(now))
		return nil
	}
}

// changeUser records a change that is no more than a function of the user.
func (s *service) changeUser(u *ledger.User, now time.Time, by, what string, change func(*ledger.User) error) (*ledger.User, error) {
	changed, err := s.Ledger.ChangeUser(now, by, u.ID, change)
	if err != nil {
		return nil, fmt.Errorf("%s user %d: %w", what, u.ID, err)
	}
	s.Log.Info("user changed", "change", what, "user", u.ID, "by", by)
	return changed, nil
}

// erase removes a closed user's personal data for good.
func (s *service) erase(u *ledger.User, now time.Time, by string) (User, error) {
	if u.Status != ledger.Closed {
		return User{}, refusal(http.StatusConflict, "not_closed", "User %d is not closed; close it first: tollgate user close %d", u.ID, u.ID)
	}
	if err := s.Ledger.EraseUser(now, by, u.ID); err != nil {
		return User{}, fmt.Errorf("erasing user %d: %w", u.ID, err)
	}
	s.Log.Info("user erased", "user", u.ID, "by", by)
	return s.user(s.Ledger.Account(u.ID).User(), now), nil
}

// spendLimit is a user's limits as customers see them.
func (s *service) spendLimit(u *ledger.User) SpendLimit {
	view := SpendLimit{Cents: s.optionalCents(u.OwnLimit), OperatorCents: s.optionalCents(u.SpendLimit)}
	view.InForceCents = view.Cents
	if view.InForceCents == nil || view.OperatorCents != nil && *view.OperatorCents < *view.InForceCents {
		view.InForceCents = view.OperatorCents
	}
	return view
}

func (s *service) optionalCents(a *ledger.Amount) *int64 {
	if a == nil {
		return nil
	}
	cents := s.cents(*a)
	return &cents
}

// setOwnLimit sets the customer's own spend limit.
func (s *service) setOwnLimit(u *ledger.User, now time.Time, by string, ask SetSpendLimit) (SpendLimit, error) {
	var limit *ledger.Amount
	if ask.Cents != nil {
		amount, err := ledger.FromMinor(*ask.Cents, s.digits)
		if err != nil || amount < 0 {
			return SpendLimit{}, badField("cents", "it is from 0 to %d, or null for no limit", ledger.Amount(1<<63-1).Minor(s.digits)-1)
		}
		limit = &amount
	}
	changed, err := s.changeUser(u, now, by, "limiting", func(u *ledger.User) error { u.OwnLimit = limit; return nil })
	if err != nil {
		return SpendLimit{}, err
	}
	return s.spendLimit(changed), nil
}
