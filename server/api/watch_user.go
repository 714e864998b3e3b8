package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
)

// What the view of a user lists at most.
const (
	shownKeys     = 50
	shownInvoices = 12
	shownRecords  = 20
	shownGrants   = 12
	shownPayments = 12
)

func (s *service) watchUser(r *request) error {
	u, err := s.userOf(r)
	if err != nil {
		return err
	}
	days := &usedDays{}
	date := func(v *UserView) { v.At = time.Time{} }
	return stream(s, r, undated(date), func(ctx context.Context, now time.Time) (UserView, error) { return s.userView(ctx, now, u.ID, days) })
}

// userView is all about a user, as it is now.
func (s *service) userView(ctx context.Context, now time.Time, id ledger.UserID, days *usedDays) (UserView, error) {
	u := s.Ledger.Account(id).User()
	month := s.Ledger.PeriodAt(now).Month
	a, p, err := s.projected(u, now, month)
	if err != nil {
		return UserView{}, err
	}
	view := UserView{
		At: now.UTC(), User: s.user(u, now), Usage: s.monthUsageOf(&a), Row: s.row(&a, p, now), Quotas: list(a.quotas()),
		Keys: []Key{}, Payments: []Payment{}, Records: []Record{}, Credits: s.held(&a, now),
	}
	if a.on {
		view.PerMinute, view.PerDay = a.current.Plan.PerMinute, a.current.Plan.PerDay
	}
	if view.Days, view.Routes, err = days.of(s, id, now); err != nil {
		return view, err
	}
	for _, key := range slices.Backward(u.Keys[max(0, len(u.Keys)-shownKeys):]) {
		if k := s.Ledger.KeyByID(key); k != nil {
			view.Keys = append(view.Keys, s.key(k, now))
		}
	}
	invoices, err := s.invoicesOf(u, 0, shownInvoices)
	if err != nil {
		return view, err
	}
	view.Invoices = invoices.Invoices
	for _, ref := range slices.Backward(u.Payments[max(0, len(u.Payments)-shownPayments):]) {
		p, err := s.Ledger.Payment(id, ref.ID)
		if err != nil {
			return view, fmt.Errorf("reading payment %d: %w", ref.ID, err)
		}
		view.Payments = append(view.Payments, s.payment(p))
	}
	err = s.Ledger.UserRecords(ctx, id, 0, time.Time{}, time.Time{}, func(r *ledger.Usage) bool {
		view.Records = append(view.Records, s.record(r))
		return len(view.Records) < shownRecords
	})
	return view, err
}

// held is a user's credits, nil where there never were any and none are burnt.
func (s *service) held(a *account, now time.Time) *HeldCredits {
	sums := s.creditSums(a.user)
	if sums == (ledger.CreditSums{}) && !a.prepaid() {
		return nil
	}
	grants := s.grants(a.user, now)
	more := max(0, len(grants)-shownGrants)
	return &HeldCredits{
		CreditBalance: s.balance(a.user, now), Granted: Credits(sums.Granted), Burnt: Credits(sums.Burnt), Taken: Credits(sums.Taken),
		Uncovered: Credits(sums.Uncovered), Grants: grants[:len(grants)-more], MoreGrants: more,
	}
}
