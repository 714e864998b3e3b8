package admission

import (
	"math"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// watcher says what a record brings the customer near to, or to. It is asked by
// the ledger's writer, in the commit of the record.
type watcher struct {
	gate *Gate
	user *user
}

// Notices implements [ledger.Watcher].
func (w *watcher) Notices(u *ledger.Usage, used []ledger.PlanTotals, balance ledger.Amount) []ledger.Notice {
	t := w.user.terms.Load()
	if t == nil || t.period.Month != u.Period {
		return nil // of a month that is over: nothing can be done about it any more
	}
	var list []ledger.Notice
	for _, meter := range t.meters {
		quota, limited := t.schedule.Quota(t.version.ID, meter, used)
		if n, ok := quotaNotice(meter, quota, 0); limited && ok {
			list = append(list, n)
		}
	}
	if t.spend >= 0 || t.plan.Billing == pricing.Realtime {
		list = append(list, w.charges(t, used)...)
	}
	if t.plan.Billing == pricing.Prepaid && u.Burnt|u.Uncovered != 0 {
		if balance <= ledger.Amount(t.plan.CreditsLow)*ledger.Unit {
			list = append(list, ledger.Notice{Code: ledger.CreditsLow, Balance: balance})
		}
		if r := t.plan.Recharge; r != nil && balance < ledger.Amount(r.Below)*ledger.Unit {
			w.gate.attend(u.User)
		}
	}
	return list
}

// charges looks at what the month's usage comes to.
func (w *watcher) charges(t *terms, used []ledger.PlanTotals) []ledger.Notice {
	charge, err := t.schedule.UsageCharge(used, ledger.PlanTotals{})
	if err != nil {
		return nil // it is told of by whoever bills
	}
	if t.plan.Billing == pricing.Realtime && unpaid(t, charge) >= t.plan.ChargeThreshold {
		w.gate.attend(t.user.ID)
	}
	if limit := ledger.Amount(t.spend); t.spend >= 0 && charge >= limit {
		digits := w.gate.basis.Digits
		return []ledger.Notice{{Code: ledger.SpendLimit, Used: charge.Minor(digits), Limit: limit.Minor(digits)}}
	}
	return nil
}

// unpaid is what of a month's usage charges was not paid as it came.
func unpaid(t *terms, charge ledger.Amount) ledger.Amount { return charge - t.advance }

// quotaNotice is what is to be told of a quota when a call asks for more of it.
func quotaNotice(meter string, q pricing.Quota, asked int64) (ledger.Notice, bool) {
	n := ledger.Notice{Subject: meter, Meter: meter, Used: q.Used, Limit: q.Included}
	switch {
	case q.Included <= 0:
		return n, false // there is none to use up
	case q.Used >= q.Included || asked > q.Included-q.Used:
		n.Code = ledger.Quota100
	case q.Used >= q.Included-q.Included/5: // 80 %, rounded up
		n.Code = ledger.Quota80
	default:
		return n, false
	}
	return n, true
}

// watch has the writer ask about the user's records, where the next ones may be of
// interest. It costs each record something, so that most users are not watched.
func (g *Gate) watch(h *Hold, m *moment, near bool) {
	if a := h.Caller.Account; !a.Watched() && (near || m.spend >= 0 || m.plan.Billing != pricing.Monthly) {
		a.Watch(&watcher{g, h.user})
	}
}

// nearQuota tells whether a call can bring a quota to where something is told: of
// calls that is known, of other meters it is not before the call has ended.
func nearQuota(meter string, included, used int64) bool {
	return meter != "calls" || included < math.MaxInt64 && used >= included-included/5-1
}

// attend asks for the user's payments to be seen to.
func (g *Gate) attend(id ledger.UserID) {
	if g.onAttend != nil {
		g.onAttend(id)
	}
}

// tellRefused tells the customer, once a month, that calls are refused for a limit
// which no record may ever reach exactly.
func (g *Gate) tellRefused(m *moment, r *Refusal) {
	if g.onNotice == nil {
		return
	}
	n := ledger.Notice{User: m.user.ID, Month: m.period.Month}
	switch {
	case r.Code == SpendLimitReached:
		n.Code, n.Used, n.Limit = ledger.SpendLimit, *r.Used, *r.Limit
	case r.Code == QuotaExceeded && r.meter != "":
		n.Code, n.Subject, n.Meter, n.Used, n.Limit = ledger.Quota100, r.meter, r.meter, *r.Used, *r.Limit
	case r.Code == InsufficientCredits:
		n.Code, n.Balance = ledger.CreditsLow, *r.Balance
		if m.plan.Recharge != nil {
			g.attend(n.User)
		}
	default:
		return
	}
	if !m.user.Told(n.Code, n.Month, n.Subject) {
		g.onNotice(n)
	}
}
