package admission

import (
	"math"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// checkQuotas refuses a call that does not fit a quota of the plan, where what
// is beyond it is not billed, and notes the quotas in h.
func (g *Gate) checkQuotas(h *Hold, m *moment) *Refusal {
	if len(m.meters) == 0 {
		return nil
	}
	settled := h.Caller.Account.Month(m.period.Month)
	held := h.user.holding(m.period.Month)
	var refusal *Refusal
	for i, meter := range m.meters {
		quota, limited := m.schedule.Quota(m.version.ID, meter, settled)
		if !limited {
			// The schedule knows the plan version, which has the meter's quota.
			quota.Included = math.MaxInt64
		}
		running, _ := m.schedule.Quota(m.version.ID, meter, held)
		used := quota.Used + min(running.Used, math.MaxInt64-quota.Used)
		asked := h.asked.Of(meter)
		fits := asked <= quota.Included-used
		h.near = h.near || limited && nearQuota(meter, quota.Included, min(used, math.MaxInt64-asked)+asked)
		billed := g.billedBeyond(h, m, fits)
		if !fits && !billed && refusal == nil {
			refusal = g.quotaExceeded(m, meter, quota.Included, used, asked)
		}
		l := Limit{
			Name: m.names[i], Limit: quota.Included, Remaining: max(0, quota.Included-used), Window: m.period.End.Sub(m.period.Start),
			Reset: m.period.End, ResetIn: m.period.End.Sub(m.time), Soft: billed,
		}
		h.Limits = append(h.Limits, l)
	}
	return refusal
}

// billedBeyond tells whether calls beyond the quota are billed. While the call
// fits only what is known without adding up charges is looked at.
func (g *Gate) billedBeyond(h *Hold, m *moment, fits bool) bool {
	switch m.plan.OnExceed {
	case pricing.Bill:
		return true
	case pricing.BillIfPayable:
		if fits || m.plan.Exposure == 0 || m.user.PaymentMethod == "" {
			return pricing.Payable(m.user, m.plan, 0)
		}
		charge, err := m.schedule.UsageCharge(h.user.sum(h.Caller.Account, m.period.Month), ledger.PlanTotals{})
		return err == nil && pricing.Payable(m.user, m.plan, unpaid(m.terms, charge))
	}
	return false
}

// sum is settled and held of a month, one after the other; valid until the next
// call, under the account's lock.
func (u *user) sum(a *ledger.Account, month ledger.Month) []ledger.PlanTotals {
	u.sums = append(append(u.sums[:0], a.Month(month)...), u.holding(month)...)
	return u.sums
}

func (g *Gate) quotaExceeded(m *moment, meter string, limit, used, asked int64) *Refusal {
	left := max(0, limit-used)
	var detail strings.Builder
	if left > 0 {
		detail.WriteString("The call asks for " + count(asked) + " " + meter + ", but of the " + count(limit) + " included this month only " + count(left) + " are left.")
	} else {
		detail.WriteString("The " + count(limit) + " " + meter + " included this month are used up.")
	}
	detail.WriteString(" The next month begins at " + m.period.End.Format(time.RFC3339) + ".")
	if m.plan.OnExceed == pricing.BillIfPayable {
		if m.user.PaymentMethod == "" {
			detail.WriteString(" With a payment method, calls beyond them are billed instead.")
		} else {
			detail.WriteString(" Calls beyond them are billed again once open usage is paid.")
		}
	}
	r := NewRefusal(QuotaExceeded, detail.String())
	r.Limit, r.Used, r.Remaining = &limit, &used, &left
	r.Reset, r.UpgradeURL, r.NoRetry, r.meter = m.period.End, g.upgradeURL, true, meter
	return r
}

// checkSpend refuses a call that would take the period's usage charges beyond
// the spend limit, or, on a plan that charges as usage comes, what is not paid of
// them and of the periods before beyond the plan's exposure. What is included adds
// nothing to them, and always passes.
func (g *Gate) checkSpend(h *Hold, m *moment) *Refusal {
	used := h.user.sum(h.Caller.Account, m.period.Month)
	before, err := m.schedule.UsageCharge(used, ledger.PlanTotals{})
	if err != nil {
		return internal(err)
	}
	asked := ledger.PlanTotals{Plan: m.version.ID, Totals: ledger.Totals{
		Calls: 1, Documents: h.asked.Documents, Tokens: h.asked.Tokens, Named: h.asked.Named, Cost: h.cost,
	}}
	after, err := m.schedule.UsageCharge(used, asked)
	if err != nil {
		// More than an amount can hold is more than any limit.
		after = math.MaxInt64
	}
	if after <= before {
		return nil
	}
	if limit := ledger.Amount(m.spend); m.spend >= 0 && after > limit {
		r := g.tooMuch(SpendLimitReached, limit, before, "This month's usage charges are "+g.money(before.Minor(g.basis.Digits))+" with the calls that are running, and the spend limit is "+
			g.money(limit.Minor(g.basis.Digits))+". Calls that are included in the plan still pass. Raise the limit, or wait until "+m.period.End.Format(time.RFC3339)+".")
		r.Reset = m.period.End
		return r
	}
	if limit := m.exposure(); limit > 0 && unpaid(m.terms, after) > limit-m.owed {
		open := unpaid(m.terms, before) + m.owed
		g.attend(m.user.ID)
		return g.tooMuch(PaymentRequired, limit, open, "Usage of "+g.money(open.Minor(g.basis.Digits))+" is not paid yet, with the calls that are running, and at most "+
			g.money(limit.Minor(g.basis.Digits))+" can be. See to the payment method, and calls pass again when it is paid.")
	}
	return nil
}

// tooMuch is the refusal of a call for what usage comes to.
func (g *Gate) tooMuch(code string, limit, used ledger.Amount, detail string) *Refusal {
	cents, spent := limit.Minor(g.basis.Digits), used.Minor(g.basis.Digits)
	left := max(0, cents-spent)
	r := NewRefusal(code, detail)
	r.Limit, r.Used, r.Remaining = &cents, &spent, &left
	return r
}

// exposure is how much may be unpaid at once; 0: any.
func (t *terms) exposure() ledger.Amount {
	if t.plan.Billing != pricing.Realtime {
		return 0
	}
	return t.plan.Exposure
}
