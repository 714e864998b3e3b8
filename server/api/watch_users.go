package api

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
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
	defer s.enter()()
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
	question := fmt.Sprint(month, q.Sort, " ", q.Up, q.Offset+q.Limit <= mostRanked, q.Filter)
	most := rankedFor
	switch q.Sort {
	case "quota", "charge", "projected": // they change by being rated, too
		most = s.watch.rating.newFor()
	}
	order, err := s.watch.ranks.of(question).get(s, most, func() (ranking, error) { return s.rank(ctx, now, month, q) })
	if err != nil {
		return UsersView{}, err
	}
	all, err := s.Ledger.Status()
	if err != nil {
		return UsersView{}, err
	}
	view := UsersView{At: now.UTC(), Month: month.String(), Total: order.fit, All: all.Users, Users: []UserRow{}}
	first := min(q.Offset, len(order.first))
	for _, ranked := range order.first[first:min(first+q.Limit, len(order.first))] {
		// One who cannot be rated is shown without charges; the overview says why.
		a, p, _ := s.projected(ranked.account.User(), now, month)
		view.Users = append(view.Users, s.row(&a, p, now))
	}
	measure := userSorts[q.Sort]
	if measure == nil {
		return view, nil
	}
	slices.SortStableFunc(view.Users, func(a, b UserRow) int { return upward(q.Up, cmp.Compare(measure(&a), measure(&b))) })
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
	if b := s.prepaidBalance(a, now); b != nil {
		whole := int64(ledger.Amount(b.Balance) / ledger.Unit)
		row.Balance = &whole
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

// ranking is users in an order.
type ranking struct {
	fit   int    // users who fit the filter
	first []rank // those in front, or all
}

// rank is a user in an order.
type rank struct {
	by      int64
	user    ledger.UserID
	text    *string // instead of by
	account *ledger.Account
}

// mostRanked is how many users in front are put in order, where no more are asked
// for: to find them takes less than to sort everybody.
const mostRanked = 1000

// rank orders the users that fit a query. It reads each account's totals under its
// lock for a moment, and of what is rated the last there is.
func (s *service) rank(ctx context.Context, now time.Time, month ledger.Month, q UsersQuery) (ranking, error) {
	words := strings.Fields(q.Filter)
	all := s.ranked(month, q.Sort)
	fit, err := s.watch.texts.fitting(ctx, now, words, all)
	if err != nil {
		return ranking{}, err
	}
	before := func(a, b rank) int {
		compared := cmp.Compare(a.by, b.by)
		if a.text != nil {
			compared = cmp.Compare(*a.text, *b.text)
		}
		return cmp.Or(upward(q.Up, compared), cmp.Compare(a.user, b.user))
	}
	r := ranking{fit: len(fit), first: fit}
	switch {
	case q.Offset+q.Limit <= mostRanked && len(fit) > mostRanked:
		r.first = front(fit, mostRanked, before)
	case len(fit) < len(all):
		r.first = slices.Clone(fit) // the list of all is not kept for a few
	}
	slices.SortFunc(r.first, before)
	return r, nil
}

// front is the n elements of a list, in no order, that come first. It changes the
// list.
func front[T any](list []T, n int, compare func(a, b T) int) []T {
	kept := heaped[T]{slices.Clone(list[:n]), compare}
	heap.Init(&kept)
	for _, v := range list[n:] {
		if compare(v, kept.list[0]) < 0 {
			kept.list[0] = v
			heap.Fix(&kept, 0)
		}
	}
	return kept.list
}

// heaped is a heap with what comes last on top.
type heaped[T any] struct {
	list    []T
	compare func(a, b T) int
}

func (h *heaped[T]) Len() int           { return len(h.list) }
func (h *heaped[T]) Less(i, j int) bool { return h.compare(h.list[i], h.list[j]) > 0 }
func (h *heaped[T]) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *heaped[T]) Push(v any)         { h.list = append(h.list, v.(T)) }
func (h *heaped[T]) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}

// ranked is everybody with the measure of an order.
func (s *service) ranked(month ledger.Month, sort string) []rank {
	rated := s.watch.rating.snapshot(sort)
	known, _ := s.Ledger.Status() // an error is about the sizes of file and disk
	all := make([]rank, 0, known.Users)
	for a := range s.Ledger.Accounts(0) {
		r := rank{user: a.ID(), account: a}
		switch sort {
		case "id":
			r.by = int64(r.user)
		case "email":
			r.text = &a.User().Personal.Email
		case "quota", "charge", "projected":
			r.by = -1
			if int(r.user) < len(rated) {
				r.by = rated[r.user]
			}
		default:
			r.by = usedBy(a, month, sort)
		}
		all = append(all, r)
	}
	return all
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

// newFor is how long an order of what is rated is worth something.
func (w *rating) newFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done == nil {
		return 0
	}
	return 5 * time.Second
}

// snapshot is what users were ranked by when they were rated last, by id; of the
// other orders as many as there are.
func (w *rating) snapshot(sort string) []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]int64, len(w.users))
	for id := range w.users {
		switch u := &w.users[id]; sort {
		case "quota":
			list[id] = int64(u.used)
		case "charge":
			list[id] = u.charge
		case "projected":
			list[id] = u.projected
		}
	}
	return list
}
