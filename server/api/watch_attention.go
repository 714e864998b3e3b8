package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
)

// The levels of what needs attention.
const (
	bad  = "bad"
	warn = "warn"
)

// What is much in a minute: fewer are somebody's mistake, and a tenth of all
// calls is nobody's.
const (
	manyInMinute = 20
	manyShare    = 10
)

// findings is what attention is drawn to, beside what the overview shows.
type findings struct {
	gauges     Gauges
	bill       BillStatus
	unread     error // why bill is not known
	noSnapshot bool
	blocked    int
	unrated    error
}

// attention is what the operator should look at, most urgent first.
func (s *service) attention(now time.Time, o *Overview, f *findings) []Attention {
	list := []Attention{}
	add := func(level, text string, args ...any) {
		list = append(list, Attention{level, fmt.Sprintf(text, args...)})
	}
	if !o.Ready {
		add(bad, "Calls are refused. %s Make room on the disk of %s; calls go on by themselves when there is.", o.NotReady, s.Ledger.Path())
	}
	if g := f.gauges; g.Unrecorded > 0 {
		add(bad, "%s broken off in the last minute because the ledger could not commit: look at the log and at the disk.", counted(g.Unrecorded, "call was", "calls were"))
	} else if g.UnrecordedInAll > 0 {
		add(warn, "%s broken off since the start because the ledger could not commit, none in the last minute: the log says why.", counted(g.UnrecordedInAll, "call was", "calls were"))
	}
	if s.Watch.Doubt != nil {
		if doubt := s.Watch.Doubt(); doubt != "" {
			add(bad, "Nothing is billed, the clock is in doubt: %s. Set it right, or confirm it with: tollgate clock accept", doubt)
		}
	}
	if o.Ledger.VerifyFound > 0 {
		add(bad, "The last verify found %s: see them with: tollgate verify; a copy from before is put back with: tollgate restore FILE", counted(int64(o.Ledger.VerifyFound), "problem", "problems"))
	}
	if f.unrated != nil {
		add(bad, "What is owed for this month is not known: %s.", f.unrated)
	}
	if f.unread != nil {
		add(bad, "How billing stands cannot be read: %s. Prove the ledger with: tollgate verify", f.unread)
	}
	for _, run := range o.Runs {
		if run.Error != "" {
			add(bad, "The job %q failed: %s; it is tried again.", run.Name, strings.TrimSuffix(run.Error, "."))
		}
	}
	s.addTraffic(&f.gauges, add)
	if left, soon := s.diskLasts(o, f.gauges); soon {
		add(warn, "%s", left)
	}
	s.addBills(now, o, f.bill, add)
	s.addPaymentsAttention(f.bill, add)
	if f.noSnapshot {
		last := "there is none"
		if at := o.Ledger.LastSnapshot; at != nil {
			last = "the last is of " + at.UTC().Format(time.RFC3339)
		}
		add(warn, "No snapshot of the ledger was made for two days (%s): look at the job and at [ledger] snapshot_dir, or make a copy with: tollgate backup FILE", last)
	}
	if f.blocked > 0 {
		add(warn, "%s at the end of a quota, and more calls are refused: sort the users by quota, and offer them a larger plan.", counted(int64(f.blocked), "user is", "users are"))
	}
	slices.SortStableFunc(list, func(a, b Attention) int { return cmp.Compare(a.Level, b.Level) }) // bad, warn
	return list
}

func counted(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", more)
}

// addTraffic tells of the last minute's failures and refusals.
func (s *service) addTraffic(g *Gauges, add func(level, text string, args ...any)) {
	failed, broken := int64(0), false
	var most ReasonCount
	for _, o := range g.Traffic.Outcomes {
		switch o.Reason {
		case ledger.ClientLeft.String():
			continue
		case ledger.Unreachable.String(), ledger.TimedOut.String(), ledger.UpstreamAborted.String():
			broken = broken || o.Minute > 0
		}
		if failed += o.Minute; o.Minute > most.Minute {
			most = o
		}
	}
	if failed >= manyInMinute && failed*manyShare >= g.Calls {
		level := warn // the upstream's own answers are perhaps right
		if broken {
			level = bad
		}
		add(level, "%d of %d calls of the last minute did not end well, most of them with %s: look at the upstream.", failed, g.Calls, most.Reason)
	}
	refused := int64(0)
	most = ReasonCount{}
	for _, r := range g.Traffic.Refusals {
		if refused += r.Minute; r.Minute > most.Minute {
			most = r
		}
	}
	if refused >= manyInMinute && refused*manyShare >= g.Calls+refused {
		add(warn, "%d calls were refused in the last minute, most of them with %s: look at who is refused, or at their plans and limits.", refused, most.Reason)
	}
}

// diskLasts tells when the disk will be too full, where that is soon.
func (s *service) diskLasts(o *Overview, g Gauges) (text string, soon bool) {
	least := s.Watch.MinFree
	left := o.Ledger.FreeBytes - least
	if !o.Ready || left <= 0 {
		return "", false // said already
	}
	const days = 7
	if grown := g.EntriesPerHour * g.BytesEntriesReach; grown > 0 && left/grown < 24*days {
		return fmt.Sprintf("At the rate of the last minutes the disk is full in %s: %d MiB are left above [ledger] min_free. Make room, or move the ledger to a larger disk.",
			counted(left/grown, "hour", "hours"), left>>20), true
	}
	if left < least {
		return fmt.Sprintf("The disk is nearly full: %d MiB are left, and below %d MiB calls are refused. Make room.", o.Ledger.FreeBytes>>20, least>>20), true
	}
	return "", false
}

// addBills tells of months that nobody has billed and invoices that nobody has
// paid.
func (s *service) addBills(now time.Time, o *Overview, b BillStatus, add func(level, text string, args ...any)) {
	open := s.Ledger.PeriodAt(now)
	running := slices.ContainsFunc(o.Runs, func(r ScheduledRun) bool { return r.Running && (r.Name == monthlyRun || r.Name == "billing") })
	for _, m := range b.Unbilled {
		// Grace runs until the run that is next is that of the open month.
		ended := m.Month < (open.Month-1).String() || !b.NextRun.Before(open.End)
		if ended && !running {
			add(warn, "%s is not billed for %s: look with: tollgate bill status, and bill it with: tollgate bill run", m.Month, counted(int64(m.Users), "user", "users"))
		}
	}
	for _, i := range b.Invoices {
		switch ledger.InvoiceState(i.State) {
		case ledger.PastDue:
			next := "no attempt is due"
			if at := nextRetry(b.Failures); at != nil {
				next = "the next attempt is at " + at.UTC().Format(time.RFC3339)
			}
			add(warn, "%s past due, %s; %s. Try at once with: tollgate invoice retry ID", counted(int64(i.Count), "invoice is", "invoices are"), s.priced(i.AmountDueCents), next)
		case ledger.Uncollectible:
			add(warn, "%s given up, %s: write to the customers, or enter a payment with: tollgate invoice paid ID --reference R", counted(int64(i.Count), "invoice is", "invoices are"), s.priced(i.AmountDueCents))
		}
	}
	failing := 0
	for _, f := range b.Failures {
		if f.State == string(ledger.Issued) {
			failing++
		}
	}
	if failing > 0 {
		add(warn, "%s not be brought to the payment provider: see why with: tollgate bill status", counted(int64(failing), "invoice could", "invoices could"))
	}
}

// addPaymentsAttention tells of payments that wait for money, and of notices that
// nobody got.
func (s *service) addPaymentsAttention(b BillStatus, add func(level, text string, args ...any)) {
	var pastDue, owed, lost PaymentsState
	for _, p := range b.Payments {
		var of *PaymentsState
		switch {
		case p.State == string(ledger.PaymentPastDue):
			of = &pastDue
		case p.State == OwedState:
			of = &owed
		case p.State == string(ledger.PaymentGivenUp) && p.Kind != ledger.PurchasePayment:
			of = &lost
		default:
			continue
		}
		of.Count += p.Count
		of.AmountCents += p.AmountCents
	}
	if pastDue.Count > 0 {
		add(warn, "%s past due, %s: see Billing for when it is tried again. The month's invoice asks for what is not paid by then.",
			counted(int64(pastDue.Count), "charge of usage is", "charges of usage are"), s.priced(pastDue.AmountCents))
	}
	if owed.Count > 0 {
		add(warn, "%s, and %s owed: the next invoice asks for it; enter a payment with: tollgate credits settle USER PAYMENT --reference R",
			counted(int64(owed.Count), "payment went back after it was used", "payments went back after they were used"), s.priced(owed.AmountCents)+" are")
	}
	if lost.Count > 0 {
		add(warn, "%s not collected this month, %s: see why with: tollgate bill status", counted(int64(lost.Count), "automatic payment was", "automatic payments were"), s.priced(lost.AmountCents))
	}
	if u := b.Undelivered; u != nil {
		add(warn, "%s given up, the newest for user %d: see why with: tollgate user show %d, and look at what receives webhooks and mail.",
			counted(int64(u.Count), "notice could not be delivered and was", "notices could not be delivered and were"), u.User, u.User)
	}
}

func nextRetry(failures []InvoiceFailure) *time.Time {
	var next *time.Time
	for _, f := range failures {
		if f.NextRetry != nil && (next == nil || f.NextRetry.Before(*next)) {
			next = f.NextRetry
		}
	}
	return next
}

func (s *service) priced(cents int64) string {
	return ledger.FormatMinor(cents, s.digits) + " " + strings.ToUpper(s.currency)
}
