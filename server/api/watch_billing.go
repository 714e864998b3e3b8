package api

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
)

// listedInvoices is how many invoices the view of billing lists.
const listedInvoices = 50

func (s *service) watchBilling(r *request) error {
	if _, err := s.billing(); err != nil {
		return err
	}
	state := ledger.InvoiceState(r.param("state"))
	if err := checkState(state); err != nil {
		return err
	}
	defer s.enter()()
	date := func(v *BillingView) { v.At = time.Time{} }
	return stream(s, r, undated(date), func(ctx context.Context, now time.Time) (BillingView, error) {
		return s.billingView(ctx, r, now, state)
	})
}

func checkState(state ledger.InvoiceState) error {
	switch state {
	case "", DraftState, ledger.Issued, ledger.Paid, ledger.PastDue, ledger.Uncollectible, ledger.Void:
		return nil
	}
	return badParameter("The state is %q; there are draft, issued, paid, past_due, uncollectible and void.", state)
}

// billingView is how billing stands.
func (s *service) billingView(ctx context.Context, r *request, now time.Time, state ledger.InvoiceState) (BillingView, error) {
	view := BillingView{At: now.UTC(), Runs: []BillRunDone{}, Invoices: []Invoice{}}
	var err error
	if view.Status, err = s.billStands(ctx); err != nil {
		return view, err
	}
	if view.Month, err = s.monthSoFar(now); err != nil {
		return view, err
	}
	view.Month.SoldCents = sold(view.Status.Payments)
	if s.Watch.Billed != nil {
		view.Runs = list(s.Watch.Billed())
	}
	if state == DraftState {
		page, err := s.watch.drafts.get(s, 15*time.Second, func() (InvoicesPage, error) { return s.draftsPage(r, nil, 0, 0, listedInvoices) })
		view.Invoices = list(page.Invoices)
		return view, err
	}
	ids, err := s.watch.lists.of(string(state)).get(s, 15*time.Second, func() ([]ledger.InvoiceID, error) { return s.newest(ctx, state) })
	if err != nil {
		return view, err
	}
	for _, id := range ids {
		i, err := s.Ledger.Invoice(id)
		if err != nil {
			return view, fmt.Errorf("reading invoice %d: %w", id, err)
		}
		view.Invoices = append(view.Invoices, s.invoice(i))
	}
	return view, nil
}

// newest is the newest invoices of a state, of any where it is "", newest first.
func (s *service) newest(ctx context.Context, state ledger.InvoiceState) ([]ledger.InvoiceID, error) {
	var ids oldest
	if state == "" {
		for id := s.Ledger.LastInvoice(); id > 0 && len(ids) < listedInvoices; id-- {
			ids = append(ids, id)
		}
		return ids, nil
	}
	for a := range s.Ledger.Accounts(0) {
		if a.ID()%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, ref := range slices.Backward(a.User().Invoices) {
			full := len(ids) == listedInvoices
			if full && ref.ID < ids[0] { // the user's others are older still
				break
			}
			if ref.State != state {
				continue
			}
			heap.Push(&ids, ref.ID)
			if full {
				heap.Pop(&ids)
			}
		}
	}
	slices.SortFunc(ids, func(a, b ledger.InvoiceID) int { return int(int64(b) - int64(a)) })
	return ids, nil
}

// oldest is a heap with the oldest invoice on top.
type oldest []ledger.InvoiceID

func (h oldest) Len() int           { return len(h) }
func (h oldest) Less(i, j int) bool { return h[i] < h[j] }
func (h oldest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *oldest) Push(x any)        { *h = append(*h, x.(ledger.InvoiceID)) }
func (h *oldest) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
