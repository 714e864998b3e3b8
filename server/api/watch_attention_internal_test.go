package api

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAttention(t *testing.T) {
	s, now := newCity(t, 3, 1) // January, on the 30th
	s.Watch.MinFree = 100 << 20
	february := time.Date(2025, 2, 1, 1, 0, 0, 0, time.UTC)
	retry := time.Date(2025, 1, 31, 5, 0, 0, 0, time.UTC)
	snapshot := time.Date(2025, 1, 27, 3, 30, 0, 0, time.UTC)
	well := func() (Overview, findings) {
		o := Overview{Ready: true, Ledger: LedgerHealth{FreeBytes: 1 << 40}}
		return o, findings{bill: BillStatus{NextRun: february}, gauges: Gauges{Calls: 1000, Traffic: Traffic{
			Outcomes: []ReasonCount{{"upstream_error", 19, 100}, {"client_left", 500, 500}}, Refusals: []ReasonCount{{"rate_limited", 100, 900}},
		}}}
	}
	for _, tt := range []struct {
		name  string
		doubt string
		make  func(*Overview, *findings)
		want  []string
	}{
		{"all is well", "", func(*Overview, *findings) {}, nil},
		{"not ready", "", func(o *Overview, _ *findings) { o.Ready, o.NotReady = false, "The disk is almost full." },
			[]string{"bad: Calls are refused. The disk is almost full. Make room on the disk of PATH; calls go on by themselves when there is."}},
		{"disk nearly full", "", func(o *Overview, _ *findings) { o.Ledger.FreeBytes = 150 << 20 },
			[]string{"warn: The disk is nearly full: 150 MiB are left, and below 100 MiB calls are refused. Make room."}},
		{"disk soon full", "", func(o *Overview, f *findings) {
			o.Ledger.FreeBytes = 10 << 30
			f.gauges.EntriesPerHour, f.gauges.BytesEntriesReach = 7_200_000, 40
		}, []string{"warn: At the rate of the last minutes the disk is full in 36 hours: 10140 MiB are left above [ledger] min_free. Make room, or move the ledger to a larger disk."}},
		{"unrecorded", "", func(_ *Overview, f *findings) { f.gauges.Unrecorded, f.gauges.UnrecordedInAll = 1, 2 },
			[]string{"bad: 1 call was broken off in the last minute because the ledger could not commit: look at the log and at the disk."}},
		{"unrecorded before", "", func(_ *Overview, f *findings) { f.gauges.UnrecordedInAll = 2 },
			[]string{"warn: 2 calls were broken off since the start because the ledger could not commit, none in the last minute: the log says why."}},
		{"clock", "it jumped 9h0m0s ahead", func(*Overview, *findings) {},
			[]string{"bad: Nothing is billed, the clock is in doubt: it jumped 9h0m0s ahead. Set it right, or confirm it with: tollgate clock accept"}},
		{"verify", "", func(o *Overview, _ *findings) { o.Ledger.VerifyFound = 2 },
			[]string{"bad: The last verify found 2 problems: see them with: tollgate verify; a copy from before is put back with: tollgate restore FILE"}},
		{"unrated", "", func(_ *Overview, f *findings) { f.unrated = errors.New("rating user 7: overflow") },
			[]string{"bad: What is owed for this month is not known: rating user 7: overflow."}},
		{"billing unread", "", func(_ *Overview, f *findings) { f.unread = errors.New("reading invoice 7: not a sound ledger") },
			[]string{"bad: How billing stands cannot be read: reading invoice 7: not a sound ledger. Prove the ledger with: tollgate verify"}},
		{"job", "", func(o *Overview, _ *findings) { o.Runs = []ScheduledRun{{Name: "snapshot", Error: "no room"}} },
			[]string{`bad: The job "snapshot" failed: no room; it is tried again.`}},
		{"upstream errors", "", func(_ *Overview, f *findings) { f.gauges.Traffic.Outcomes[0].Minute = 100 },
			[]string{"warn: 100 of 1000 calls of the last minute did not end well, most of them with upstream_error: look at the upstream."}},
		{"upstream gone", "", func(_ *Overview, f *findings) {
			f.gauges.Traffic.Outcomes = []ReasonCount{{"upstream_unreachable", 1000, 1000}}
		}, []string{"bad: 1000 of 1000 calls of the last minute did not end well, most of them with upstream_unreachable: look at the upstream."}},
		{"refusals", "", func(_ *Overview, f *findings) { f.gauges.Traffic.Refusals[0].Minute = 112 },
			[]string{"warn: 112 calls were refused in the last minute, most of them with rate_limited: look at who is refused, or at their plans and limits."}},
		{"month in grace", "", func(_ *Overview, f *findings) {
			f.bill.Unbilled, f.bill.NextRun = []UnbilledMonth{{"2024-12", 3}}, now().Add(time.Hour)
		}, nil},
		{"month not billed", "", func(_ *Overview, f *findings) { f.bill.Unbilled = []UnbilledMonth{{"2024-12", 3}} },
			[]string{"warn: 2024-12 is not billed for 3 users: look with: tollgate bill status, and bill it with: tollgate bill run"}},
		{"month being billed", "", func(o *Overview, f *findings) {
			f.bill.Unbilled, o.Runs = []UnbilledMonth{{"2024-12", 3}}, []ScheduledRun{{Name: "billing", Running: true}}
		}, nil},
		{"older month not billed", "", func(_ *Overview, f *findings) {
			f.bill.Unbilled, f.bill.NextRun = []UnbilledMonth{{"2024-11", 1}}, now().Add(time.Hour)
		}, []string{"warn: 2024-11 is not billed for 1 user: look with: tollgate bill status, and bill it with: tollgate bill run"}},
		{"invoices", "", func(_ *Overview, f *findings) {
			f.bill.Invoices = []InvoicesState{{"paid", 9, 0}, {"past_due", 1, 4900}, {"uncollectible", 2, 150}}
			f.bill.Failures = []InvoiceFailure{{State: "past_due", NextRetry: new(retry.Add(time.Hour))}, {State: "past_due", NextRetry: &retry}, {State: "issued"}}
		}, []string{
			"warn: 1 invoice is past due, 49.00 USD; the next attempt is at 2025-01-31T05:00:00Z. Try at once with: tollgate invoice retry ID",
			"warn: 2 invoices are given up, 1.50 USD: write to the customers, or enter a payment with: tollgate invoice paid ID --reference R",
			"warn: 1 invoice could not be brought to the payment provider: see why with: tollgate bill status",
		}},
		{"payments", "", func(_ *Overview, f *findings) {
			f.bill.Payments = []PaymentsState{
				{"purchase", "pending", 3, 30_000}, {"purchase", "paid", 9, 90_000}, {"purchase", "failed", 2, 20_000}, {"purchase", "owed", 1, 600},
				{"recharge", "failed", 1, 10_000}, {"recharge", "owed", 1, 150}, {"realtime", "past_due", 2, 1250},
			}
			f.bill.Undelivered = &Undelivered{3, 7}
		}, []string{
			"warn: 2 charges of usage are past due, 12.50 USD: see Billing for when it is tried again. The month's invoice asks for what is not paid by then.",
			"warn: 2 payments went back after they were used, and 7.50 USD are owed: the next invoice asks for it; enter a payment with: tollgate credits settle USER PAYMENT --reference R",
			"warn: 1 automatic payment was not collected this month, 100.00 USD: see why with: tollgate bill status",
			"warn: 3 notices could not be delivered and were given up, the newest for user 7: see why with: tollgate user show 7, and look at what receives webhooks and mail.",
		}},
		{"snapshot", "", func(o *Overview, f *findings) { f.noSnapshot, o.Ledger.LastSnapshot = true, &snapshot },
			[]string{"warn: No snapshot of the ledger was made for two days (the last is of 2025-01-27T03:30:00Z): look at the job and at [ledger] snapshot_dir, or make a copy with: tollgate backup FILE"}},
		{"quotas, and something bad", "", func(o *Overview, f *findings) { f.blocked, o.Ledger.VerifyFound = 12, 1 },
			[]string{
				"bad: The last verify found 1 problem: see them with: tollgate verify; a copy from before is put back with: tollgate restore FILE",
				"warn: 12 users are at the end of a quota, and more calls are refused: sort the users by quota, and offer them a larger plan.",
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Watch.Doubt = func() string { return tt.doubt }
			o, f := well()
			tt.make(&o, &f)
			var got []string
			for _, a := range s.attention(now(), &o, &f) {
				got = append(got, a.Level+": "+strings.ReplaceAll(a.Text, s.Ledger.Path(), "PATH"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
