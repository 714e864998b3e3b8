package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"tollgate/ledger"
)

// billingEndpoints are those of the operator.
func (s *service) billingEndpoints() []endpoint {
	endpoints := []endpoint{
		takes(endpoint{method: "POST", path: "/v1/users/{user}/plan/preview"}, func(r *request, ask ChangePlan) (PlanPreview, error) {
			u, err := s.userOf(r)
			if err != nil {
				return PlanPreview{}, err
			}
			return s.previewPlan(u, r.now, ask)
		}),
		{method: "POST", path: "/v1/bill/run", handle: s.runBilling},
		answers(endpoint{method: "GET", path: "/v1/bill/status"}, func(r *request) (BillStatus, error) { return s.billStatus(r.Context()) }),
		answers(endpoint{method: "GET", path: "/v1/invoices", params: []param{{name: "user"}, monthParam, {name: "state"}, limitParam, cursorParam}}, s.getInvoices),
		answers(endpoint{method: "GET", path: "/v1/invoices/{id}"}, func(r *request) (Invoice, error) {
			i, err := s.invoiceNamed(r)
			if err != nil {
				return Invoice{}, err
			}
			return s.invoice(i), nil
		}),
		answers(endpoint{method: "GET", path: "/v1/invoices/{id}/explain"}, s.getExplanation),
		answers(endpoint{method: "POST", path: "/v1/stripe/setup"}, func(r *request) ([]StripePlan, error) {
			if s.Stripe == nil {
				return nil, noStripe()
			}
			plans, err := s.Stripe.Setup(r.Context())
			if err != nil {
				return nil, workFailed(err)
			}
			return plans, nil
		}),
		answers(endpoint{method: "GET", path: "/v1/stripe/check"}, func(r *request) (StripeReport, error) {
			if s.Stripe == nil {
				return StripeReport{}, noStripe()
			}
			report, err := s.Stripe.Check(r.Context())
			if err != nil {
				return StripeReport{}, workFailed(err)
			}
			return report, nil
		}),
	}
	for _, act := range []InvoiceAct{RetryInvoice, VoidInvoice, PayInvoice, RefundInvoice, CreditInvoice} {
		endpoints = append(endpoints, takes(endpoint{method: "POST", path: "/v1/invoices/{id}/" + string(act)}, func(r *request, ask ActOnInvoice) (Invoice, error) {
			return s.actOnInvoice(r, act, ask)
		}))
	}
	return endpoints
}

func noStripe() error {
	return refusal(http.StatusConflict, string(NoProvider), "Stripe is not configured: set STRIPE_SECRET_KEY, or [stripe] api_base = \"builtin:sandbox\" to try it out, and start again.")
}

// runBilling answers with lines of [BillProgress]. As with other long work, an
// error before the first line is a problem document.
func (s *service) runBilling(r *request) error {
	b, err := s.billing()
	if err != nil {
		return err
	}
	var ask BillRun
	if err := decodeBody(r.w, r.Request, &ask); err != nil {
		return err
	}
	var month ledger.Month
	if ask.Month != "" {
		if month, err = parseMonth(ask.Month); err != nil {
			return err
		}
	}
	var user ledger.UserID
	if ask.User != "" {
		u, err := s.userNamed(ask.User)
		if err != nil {
			return err
		}
		user = u.ID
	}
	r.w.Header().Set("Content-Type", typeNDJSON)
	lines, flush := json.NewEncoder(r.w), http.NewResponseController(r.w)
	begun := false
	summary, err := b.Run(r.Context(), month, user, ask, func(done, total int) {
		begun = true
		_ = lines.Encode(BillProgress{Done: done, Total: total}) // a client that left ends the context
		_ = flush.Flush()
	})
	if err != nil && !begun {
		return workFailed(err)
	}
	last := BillProgress{Summary: &summary}
	if err != nil {
		document := problem(workFailed(err)).Problem()
		last = BillProgress{Problem: &document}
		s.Log.Error("request failed", "path", r.URL.Path, "error", err)
	} else {
		s.Log.Info("billing was run", "month", summary.Month, "charged", summary.Charged, "failed", summary.Failed, "dry_run", ask.DryRun, "by", r.by)
	}
	_ = lines.Encode(last)
	return nil
}

// billStatus walks what is in memory of all users, and reads the invoices that
// could not be collected.
func (s *service) billStatus(ctx context.Context) (BillStatus, error) {
	b, err := s.billing()
	if err != nil {
		return BillStatus{}, err
	}
	status := BillStatus{
		Currency: s.currency, Provider: b.Collects(), NextRun: b.NextRun().UTC(), Unbilled: []UnbilledMonth{}, Invoices: []InvoicesState{},
		Failures: []InvoiceFailure{}, Payments: []PaymentsState{}, PaymentFailures: []Payment{}, Books: s.Ledger.Books(),
	}
	if status.Books == nil {
		status.Books = map[string]int64{}
	}
	unbilled := map[ledger.Month]int{}
	states := map[ledger.InvoiceState]InvoicesState{}
	var failing []ledger.InvoiceID
	payments := newPaymentsStand(s.Ledger.PeriodAt(s.Now()), s.Now())
	for a := range s.Ledger.Accounts(0) {
		if err := ctx.Err(); err != nil {
			return status, err
		}
		u := a.User()
		for _, m := range b.Unbilled(u) {
			unbilled[m]++
		}
		payments.add(u)
		for _, ref := range u.Invoices {
			state := states[ref.State]
			states[ref.State] = InvoicesState{string(ref.State), state.Count + 1, state.AmountDueCents + ref.Due}
			if ref.State == ledger.PastDue || ref.State == ledger.Uncollectible || ref.State == ledger.Issued && ref.Todo {
				failing = append(failing, ref.ID)
			}
		}
	}
	for m, users := range unbilled {
		status.Unbilled = append(status.Unbilled, UnbilledMonth{m.String(), users})
	}
	slices.SortFunc(status.Unbilled, func(a, b UnbilledMonth) int { return cmp.Compare(a.Month, b.Month) })
	for _, state := range []ledger.InvoiceState{ledger.Issued, ledger.Paid, ledger.PastDue, ledger.Uncollectible, ledger.Void} {
		if states[state].Count > 0 {
			status.Invoices = append(status.Invoices, states[state])
		}
	}
	slices.SortFunc(failing, func(a, b ledger.InvoiceID) int { return cmp.Compare(b, a) })
	if err := s.addFailures(&status, failing); err != nil {
		return status, err
	}
	return status, s.addPayments(&status, payments)
}

// addFailures reads the newest of the invoices that may have a failure.
func (s *service) addFailures(status *BillStatus, ids []ledger.InvoiceID) error {
	for n, id := range ids {
		if len(status.Failures) == maxPage {
			status.MoreFailures = len(ids) - n
			return nil
		}
		i, err := s.Ledger.Invoice(id)
		if err != nil {
			return fmt.Errorf("reading invoice %d: %w", id, err)
		}
		if i.Failure == "" && i.State == ledger.Issued {
			continue // on its way
		}
		status.Failures = append(status.Failures, InvoiceFailure{
			Invoice: i.ID, Number: i.NumberText(), User: i.User, Email: s.email(i.User), Month: i.Month.String(), State: string(i.State),
			AmountDueCents: i.Due(), Reason: i.Failure, Attempts: i.Attempts, Failed: stamp(i.Failed), NextRetry: stamp(i.Next),
		})
	}
	return nil
}

// getInvoices lists invoices, newest first; drafts only where they are asked for,
// by user.
func (s *service) getInvoices(r *request) (InvoicesPage, error) {
	page := InvoicesPage{Invoices: []Invoice{}}
	after, limit, err := r.page()
	if err != nil {
		return page, err
	}
	var month ledger.Month
	if r.param("month") != "" {
		if month, err = s.month(r); err != nil {
			return page, err
		}
	}
	var user *ledger.User
	if text := r.param("user"); text != "" {
		if user, err = s.userNamed(text); err != nil {
			return page, err
		}
	}
	switch state := r.param("state"); ledger.InvoiceState(state) {
	case DraftState:
		return s.draftsPage(r, user, month, after, limit)
	case "", ledger.Issued, ledger.Paid, ledger.PastDue, ledger.Uncollectible, ledger.Void:
	default:
		return page, badParameter("The state is %q; there are draft, issued, paid, past_due, uncollectible and void.", state)
	}
	var ids []ledger.InvoiceID
	collect := func(u *ledger.User) {
		for _, ref := range u.Invoices {
			if (after == 0 || uint64(ref.ID) < after) && (month == 0 || ref.Month == month) && (r.param("state") == "" || string(ref.State) == r.param("state")) {
				ids = append(ids, ref.ID)
			}
		}
	}
	if user != nil {
		collect(user)
	} else {
		for a := range s.Ledger.Accounts(0) {
			collect(a.User())
		}
	}
	slices.SortFunc(ids, func(a, b ledger.InvoiceID) int { return cmp.Compare(b, a) })
	for n, id := range ids {
		if n == limit {
			page.NextCursor = cursorText(uint64(ids[n-1]))
			break
		}
		i, err := s.Ledger.Invoice(id)
		if err != nil {
			return page, fmt.Errorf("reading invoice %d: %w", id, err)
		}
		page.Invoices = append(page.Invoices, s.invoice(i))
	}
	return page, nil
}

// draftsPage lists drafts by user and month; the cursor has both.
func (s *service) draftsPage(r *request, user *ledger.User, month ledger.Month, after uint64, limit int) (InvoicesPage, error) {
	page := InvoicesPage{Invoices: []Invoice{}}
	last := uint64(0)
	more := func(u *ledger.User) (full bool, err error) {
		if s.Billing == nil || len(s.Billing.Unbilled(u)) == 0 {
			return false, nil
		}
		drafts, err := s.Billing.Drafts(u)
		if err != nil {
			return false, err
		}
		for _, i := range drafts {
			place := uint64(u.ID)<<16 | uint64(i.Month)&0xffff
			if place <= after || month != 0 && i.Month != month {
				continue
			}
			if len(page.Invoices) == limit {
				page.NextCursor = cursorText(last)
				return true, nil
			}
			page.Invoices, last = append(page.Invoices, s.invoice(i)), place
		}
		return false, nil
	}
	if user != nil {
		_, err := more(user)
		return page, err
	}
	first := ledger.UserID(0)
	if after != 0 {
		first = ledger.UserID(after>>16) - 1 // it may have a further month
	}
	for a := range s.Ledger.Accounts(first) {
		full, err := more(a.User())
		if err == nil {
			err = r.Context().Err()
		}
		if err != nil || full {
			return page, err
		}
	}
	return page, nil
}

// actOnInvoice does something to the invoice in the path.
func (s *service) actOnInvoice(r *request, act InvoiceAct, ask ActOnInvoice) (Invoice, error) {
	b, err := s.billing()
	if err != nil {
		return Invoice{}, err
	}
	i, err := s.invoiceNamed(r)
	if err != nil {
		return Invoice{}, err
	}
	text, needed := ask.Reason, "reason"
	if act == PayInvoice {
		text, needed = ask.Reference, "reference"
	}
	amount := int64(0)
	switch act {
	case RefundInvoice, CreditInvoice:
		if ask.Amount == nil {
			return Invoice{}, badField("amount", "it is missing")
		}
		if amount, err = s.wholeCents(*ask.Amount); err != nil {
			return Invoice{}, err
		}
		fallthrough
	case PayInvoice:
		if text == "" {
			return Invoice{}, badField(needed, "it is missing")
		}
	}
	if err := checkText(needed, text); err != nil {
		return Invoice{}, err
	}
	changed, err := b.Act(r.Context(), r.by, i.ID, act, amount, text)
	if err != nil {
		return Invoice{}, workFailed(err)
	}
	s.Log.Info("invoice changed", "invoice", i.ID, "act", act, "amount", amount, "by", r.by)
	return s.invoice(changed), nil
}

// previewPlan is what a change of plan would mean for the open month, by the
// function that bills.
func (s *service) previewPlan(u *ledger.User, now time.Time, ask ChangePlan) (PlanPreview, error) {
	to, ok := s.Settings().plan(ask.Plan)
	if !ok {
		return PlanPreview{}, unknownPlan(s.Settings(), ask.Plan)
	}
	if err := staysClosed(u); err != nil {
		return PlanPreview{}, err
	}
	now = now.UTC().Truncate(time.Millisecond)
	to = s.planOf(u, to, now)
	from, err := s.planFrom(u, &to, now, ask.Now)
	if err != nil {
		return PlanPreview{}, err
	}
	changed := *u
	changed.Plans = reassign(slices.Clone(u.Plans), now, ledger.Assignment{Plan: to.ID, From: from})
	preview := PlanPreview{PlanChanged: s.planChanged(u, &to, from)}
	if preview.Before, err = s.monthTerms(u, now); err == nil {
		preview.After, err = s.monthTerms(&changed, now)
	}
	if err != nil {
		return PlanPreview{}, fmt.Errorf("previewing plan %s for user %d: %w", to.ID, u.ID, err)
	}
	return preview, nil
}

// monthTerms is what a user's open month has and costs.
func (s *service) monthTerms(u *ledger.User, now time.Time) (MonthTerms, error) {
	a, err := s.account(u, now, s.Ledger.PeriodAt(now).Month)
	if err != nil {
		return MonthTerms{}, err
	}
	terms := MonthTerms{SubscriptionTier: a.tier(), FeeCents: a.statement.BaseFee, Quota: map[string]int64{}, ChargeCents: a.statement.Total}
	if a.on {
		for meter := range a.current.Plan.Quota {
			if q, ok := a.schedule.Quota(a.current.Version, meter, a.used); ok {
				terms.Quota[meter] = q.Included
			}
		}
	}
	return terms, nil
}
