package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

const (
	maxOffset = 1 << 30
	// rankedFor is how old the order of users may get, where it costs much.
	rankedFor = 30 * time.Second
)

// userSorts are the orders of users, by what a row shows.
var userSorts = map[string]func(*UserRow) int64{
	"calls":     func(r *UserRow) int64 { return r.Calls },
	"documents": func(r *UserRow) int64 { return r.Documents },
	"tokens":    func(r *UserRow) int64 { return r.Tokens },
	"cost":      func(r *UserRow) int64 { return r.CostCents },
	"quota":     func(r *UserRow) int64 { return int64(r.usedUp()) },
	"charge":    func(r *UserRow) int64 { return r.ChargeCents },
	"projected": func(r *UserRow) int64 { return r.ProjectedCents },
	"id":        func(r *UserRow) int64 { return int64(r.ID) },
	"email":     nil, // by text
}

// usedUp is the quota's share in tenths of a percent; -1 where there is none.
func (r *UserRow) usedUp() Tenths {
	if r.Quota == nil {
		return -1
	}
	return percent(r.Quota.Used, r.Quota.Limit)
}

func (s *service) watchUsers(r *request) error {
	q, err := r.usersQuery()
	if err != nil {
		return err
	}
	date := func(v *UsersView) { v.At = time.Time{} }
	return stream(s, r, undated(date), func(ctx context.Context, now time.Time) (UsersView, error) { return s.usersView(ctx, now, q) })
}

func (r *request) usersQuery() (UsersQuery, error) {
	q := UsersQuery{Sort: r.param("sort"), Filter: strings.ToLower(strings.TrimSpace(r.param("filter")))}
	if q.Sort == "" {
		q.Sort = "calls"
	}
	if _, ok := userSorts[q.Sort]; !ok {
		return q, badParameter("The parameter sort is %q; give calls, documents, tokens, cost, quota, charge, projected, email or id.", q.Sort)
	}
	switch up := r.param("up"); up {
	case "", "false":
	case "true":
		q.Up = true
	default:
		return q, badParameter("The parameter up is %q; give true or false.", up)
	}
	if len(q.Filter) > maxText {
		return q, badParameter("The parameter filter has %d characters; %d are possible.", len(q.Filter), maxText)
	}
	var err error
	if q.Offset, err = r.number("offset", 0, maxOffset, 0); err != nil {
		return q, err
	}
	q.Limit, err = r.number("limit", 1, maxPage, defaultPage)
	return q, err
}

// usersView is a page of users: the order may be a moment old, the rows are of
// now.
func (s *service) usersView(ctx context.Context, now time.Time, q UsersQuery) (UsersView, error) {
	month := s.Ledger.PeriodAt(now).Month
	question := fmt.Sprint(month, " ", q.Sort, " ", q.Up, " ", q.Filter)
	order, err := s.watch.ranks.of(question).get(s, rankedFor, func() ([]rank, error) { return s.rank(ctx, now, month, q) })
	if err != nil {
		return UsersView{}, err
	}
	all, err := s.Ledger.Status()
	if err != nil {
		return UsersView{}, err
	}
	view := UsersView{At: now.UTC(), Month: month.String(), Total: len(order), All: all.Users, Users: []UserRow{}}
	first := min(q.Offset, len(order))
	for _, ranked := range order[first:min(first+q.Limit, len(order))] {
		a, p, err := s.projected(s.Ledger.Account(ranked.user).User(), now, month)
		if err != nil {
			return view, err
		}
		view.Users = append(view.Users, s.row(&a, p, now))
	}
	measure := userSorts[q.Sort]
	if measure == nil {
		return view, nil
	}
	slices.SortStableFunc(view.Users, func(a, b UserRow) int {
		return cmp.Or(upward(q.Up, cmp.Compare(measure(&a), measure(&b))), cmp.Compare(a.ID, b.ID))
	})
	return view, nil
}

func upward(up bool, compared int) int {
	if up {
		return compared
	}
	return -compared
}

// row is a user in the list.
func (s *service) row(a *account, p pricing.Projection, now time.Time) UserRow {
	u := a.user
	row := UserRow{
		ID: u.ID, Email: u.Personal.Email, Plan: a.tier(), Status: u.Status, SuspendedFor: u.SuspendedFor,
		Calls: a.totals.Calls, Documents: a.totals.Documents, Tokens: a.totals.Tokens, CostCents: s.cents(a.totals.Cost),
		ChargeCents: a.statement.Total, ProjectedCents: p.Charge, Payment: u.PaymentMethod != "", Owes: u.Owes(),
	}
	if quotas := a.quotas(); len(quotas) > 0 {
		row.Quota = &quotas[0]
	}
	return row
}

// quotas is each quota of the plan in force, the one that the usage answer shows
// in front.
func (a *account) quotas() []MeterQuota {
	if !a.on || len(a.current.Plan.Quota) == 0 {
		return nil
	}
	plan := a.current.Plan
	soft := plan.OnExceed == pricing.Bill || plan.OnExceed == pricing.BillIfPayable && a.payable()
	list := make([]MeterQuota, 0, len(plan.Quota))
	for meter := range plan.Quota {
		if q, ok := a.schedule.Quota(a.current.Version, meter, a.used); ok {
			list = append(list, MeterQuota{Meter: meter, Limit: q.Included, Used: q.Used, Soft: soft})
		}
	}
	first := plan.QuotaMeter()
	slices.SortFunc(list, func(a, b MeterQuota) int {
		switch first {
		case a.Meter:
			return -1
		case b.Meter:
			return 1
		}
		return cmp.Compare(a.Meter, b.Meter)
	})
	return list
}

// rank is a user in the order of all.
type rank struct {
	user ledger.UserID
	by   int64
	text string
}

// rank orders all users that fit a query. It reads each account's totals under its
// lock for a moment, and of what is rated the last there is.
func (s *service) rank(ctx context.Context, now time.Time, month ledger.Month, q UsersQuery) ([]rank, error) {
	words := strings.Fields(q.Filter)
	var order []rank
	rated := &s.watch.rating
	for a := range s.Ledger.Accounts(0) {
		if a.ID()%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		u := a.User()
		if len(words) > 0 && !fits(u, now, words) {
			continue
		}
		r := rank{user: a.ID()}
		switch q.Sort {
		case "id":
			r.by = int64(r.user)
		case "email":
			r.text = strings.ToLower(u.Personal.Email)
		case "quota", "charge", "projected":
			r.by = rated.measure(r.user, q.Sort)
		default:
			r.by = usedBy(a, month, q.Sort)
		}
		order = append(order, r)
	}
	slices.SortFunc(order, func(a, b rank) int {
		compared := cmp.Compare(a.by, b.by)
		if compared == 0 && (a.text != "" || b.text != "") {
			compared = cmp.Compare(a.text, b.text)
		}
		return cmp.Or(upward(q.Up, compared), cmp.Compare(a.user, b.user))
	})
	return order, nil
}

// usedBy is a measure of what an account used in the open period, which is in
// memory.
func usedBy(a *ledger.Account, month ledger.Month, sort string) (sum int64) {
	a.Lock()
	defer a.Unlock()
	for _, p := range a.Month(month) {
		n := p.Calls
		switch sort {
		case "documents":
			n = p.Documents
		case "tokens":
			n = p.Tokens
		case "cost":
			n = int64(p.Cost)
		}
		sum = plus(sum, n)
	}
	return sum
}

// measure is what a user was ranked by when it was rated last.
func (w *rating) measure(id ledger.UserID, sort string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(id) >= len(w.users) {
		return -1
	}
	switch u := &w.users[id]; sort {
	case "quota":
		return int64(u.used)
	case "charge":
		return u.charge
	default:
		return u.projected
	}
}

// fits tells whether a user has each word somewhere, in lower case.
func fits(u *ledger.User, now time.Time, words []string) bool {
	p := &u.Personal
	email, name, company := strings.ToLower(p.Email), strings.ToLower(p.Name), strings.ToLower(p.Company)
	plan := strings.ToLower(u.PlanAt(now).Plan)
	for _, word := range words {
		if !strings.Contains(email, word) && !strings.Contains(name, word) && !strings.Contains(company, word) &&
			!strings.Contains(plan, word) && !strings.Contains(string(u.Status), word) && strconv.FormatUint(uint64(u.ID), 10) != word {
			return false
		}
	}
	return true
}
