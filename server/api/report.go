package api

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"

	"tollgate/ledger"
)

// The measures by which users are compared in the report of the top users.
var topMeasures = map[string]func(ledger.Totals) int64{
	"cost":      func(t ledger.Totals) int64 { return int64(t.Cost) },
	"calls":     func(t ledger.Totals) int64 { return t.Calls },
	"documents": func(t ledger.Totals) int64 { return t.Documents },
}

// ranked is a user in the report. Users of equal measure rank by id, so that
// the report is the same each time.
type ranked struct {
	user    ledger.UserID
	measure int64
	totals  ledger.Totals
}

func (a ranked) compare(b ranked) int {
	return cmp.Or(cmp.Compare(b.measure, a.measure), cmp.Compare(a.user, b.user))
}

// lowest is a heap with the lowest rank on top.
type lowest []ranked

func (h lowest) Len() int           { return len(h) }
func (h lowest) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h lowest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lowest) Push(x any)        { *h = append(*h, x.(ranked)) }
func (h *lowest) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// top is the limit users with the most of a measure in a month. It walks the
// month's totals once and keeps no more than limit of them.
func (s *service) top(ctx context.Context, month ledger.Month, by string, limit int) ([]TopUser, error) {
	measure, ok := topMeasures[by]
	if !ok {
		return nil, badParameter("The parameter by is %q; give cost, calls or documents.", by)
	}
	var best lowest
	err := s.Ledger.MonthTotals(ctx, month, func(user ledger.UserID, plans []ledger.PlanTotals) error {
		if user == 0 {
			return nil // everyone's calls without a key
		}
		totals := ledger.Sum(plans)
		r := ranked{user, measure(totals), totals}
		if len(best) < limit {
			heap.Push(&best, r)
		} else if r.compare(best[0]) < 0 {
			best[0] = r
			heap.Fix(&best, 0)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the totals of %v: %w", month, err)
	}
	slices.SortFunc(best, ranked.compare)
	list := make([]TopUser, len(best))
	for i, r := range best {
		list[i] = TopUser{User: r.user, Email: s.email(r.user), TotalCalls: r.totals.Calls, TotalDocuments: r.totals.Documents, TotalCostCents: s.cents(r.totals.Cost)}
	}
	return list, nil
}

func (s *service) email(user ledger.UserID) string {
	if account := s.Ledger.Account(user); account != nil {
		return account.User().Personal.Email
	}
	return ""
}
