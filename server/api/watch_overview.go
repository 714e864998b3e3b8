package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tollgate/ledger"
)

func (s *service) watchOverview(r *request) error {
	defer s.enter()()
	date := func(o *Overview) {
		o.At, o.UptimeMS = time.Time{}, 0
		o.Ledger.FreeBytes >>= 20 // of the disk, to which others write as well
	}
	return stream(s, r, undated(date), s.overview)
}

// overview is the appliance at a glance.
func (s *service) overview(ctx context.Context, now time.Time) (Overview, error) {
	l, err := s.Ledger.Status()
	if err != nil {
		return Overview{}, err
	}
	bill, unread := s.billStands(ctx)
	g := s.gauges()
	o := Overview{
		At: now.UTC(), Version: s.Version, UptimeMS: s.Uptime(), TestClock: s.Clock.Test(), Ready: true, Currency: s.currency, Timezone: l.Zone, Users: l.Users,
		Traffic: g.Traffic, Runs: s.scheduled(),
		Ledger: LedgerHealth{
			Entries: l.Seq, FileBytes: l.FileBytes, FreeBytes: l.FreeBytes, LastLogged: l.LastLogged.UTC(),
			CommitP50US: g.CommitP50.Microseconds(), CommitP99US: g.CommitP99.Microseconds(),
		},
	}
	if err := s.ready(); err != nil {
		o.Ready, o.NotReady = false, problem(err).Detail
	}
	if o.Month, err = s.monthSoFar(now); err != nil {
		return o, err
	}
	o.Month.SoldCents = sold(bill.Payments)
	if o.Days, _, err = s.watch.days.of(s, 0, now); err != nil {
		return o, err
	}
	missing := false
	if s.Watch.Snapshot != nil {
		var last time.Time
		last, missing = s.Watch.Snapshot()
		o.Ledger.LastSnapshot = stamp(last)
	}
	if v := s.watch.verified.Load(); v != nil {
		o.Ledger.LastVerify, o.Ledger.VerifyFound = stamp(v.at), v.found
	}
	_, blocked, failed := s.watch.rating.of(s.Ledger.PeriodAt(now).Month)
	o.Attention = s.attention(now, &o, &findings{gauges: g, bill: bill, unread: unread, noSnapshot: missing, blocked: blocked, unrated: failed})
	return o, nil
}

func (s *service) gauges() Gauges {
	g := Gauges{}
	if s.Watch.Gauges != nil {
		g = s.Watch.Gauges()
	} else if s.Live != nil {
		live := s.Live()
		g.Traffic.InFlight, g.Traffic.Streaming = live.InFlight, live.Streaming
	}
	t := &g.Traffic
	t.Samples, t.Outcomes, t.Refusals = list(t.Samples), list(t.Outcomes), list(t.Refusals)
	return g
}

// list is never nil, for JSON has no null in place of a list.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// scheduled is the work of the schedule by when it is next due. When a period is
// sealed depends on its grace, too: that billing knows.
func (s *service) scheduled() []ScheduledRun {
	var runs []ScheduledRun
	if s.Watch.Jobs != nil {
		runs = s.Watch.Jobs()
	}
	if s.Billing != nil {
		sealed := stamp(s.Billing.NextRun())
		at := slices.IndexFunc(runs, func(r ScheduledRun) bool { return r.Name == monthlyRun })
		if at < 0 {
			runs = append(runs, ScheduledRun{Name: monthlyRun})
			at = len(runs) - 1
		}
		runs[at].Next = sealed
	}
	slices.SortStableFunc(runs, func(a, b ScheduledRun) int {
		switch {
		case a.Next == nil || b.Next == nil:
			return cmp.Compare(known(b.Next), known(a.Next))
		default:
			return a.Next.Compare(*b.Next)
		}
	})
	return list(runs)
}

// monthlyRun is the job that bills the month that has ended.
const monthlyRun = "monthly run"

func known(t *time.Time) int {
	if t == nil {
		return 0
	}
	return 1
}

// monthSoFar is the open period of everyone.
func (s *service) monthSoFar(now time.Time) (MonthSoFar, error) {
	p := s.Ledger.PeriodAt(now)
	used, err := s.Ledger.Month(0, p.Month)
	if err != nil {
		return MonthSoFar{}, err
	}
	t := ledger.Sum(used)
	charges, _, _ := s.watch.rating.of(p.Month)
	return MonthSoFar{
		Month: p.Month.String(), Start: p.Start.UTC(), End: p.End.UTC(),
		Calls: t.Calls, Documents: t.Documents, Tokens: t.Tokens, CostCents: s.cents(t.Cost), Charges: charges,
	}, nil
}

// sold is what credit packs came to that were paid. Usage that was charged while it
// was used is in the charges of the month already.
func sold(payments []PaymentsState) (cents int64) {
	for _, p := range payments {
		if p.Kind.Buys() && p.State == string(ledger.PaymentPaid) {
			cents += p.AmountCents
		}
	}
	return cents
}

// billStands is the status of billing, of which a view may be a moment old.
func (s *service) billStands(ctx context.Context) (BillStatus, error) {
	if s.Billing == nil {
		return BillStatus{
			Currency: s.currency, Unbilled: []UnbilledMonth{}, Invoices: []InvoicesState{}, Failures: []InvoiceFailure{},
			Payments: []PaymentsState{}, PaymentFailures: []Payment{}, Books: map[string]int64{},
		}, nil
	}
	return s.watch.bill.get(s, 15*time.Second, func() (BillStatus, error) { return s.billStatus(ctx) })
}
