package tui_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

// fake is a server that shows what it is told to. Its streams send each value at
// once and then wait; push sends one more.
type fake struct {
	overview api.Overview
	users    []api.UserRow
	user     api.UserView
	records  []api.Record
	billing  api.BillingView

	mu      sync.Mutex
	down    error // why nothing is answered now
	cut     chan struct{}
	tails   []func(api.RecordsTail) error
	looks   []func(api.Overview) error
	asked   []string // what was watched and done, in order
	refuses error    // what acts answer
	hold    chan struct{}
	open    int // streams
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fake) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// following is how many streams are open.
func (f *fake) following() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// fail ends all streams and refuses new ones; nil lets them come again.
func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
	if f.cut != nil && err != nil {
		close(f.cut)
		f.cut = nil
	}
}

func stay[T any](ctx context.Context, f *fake, view T, each func(T) error) error {
	f.mu.Lock()
	if f.down != nil {
		defer f.mu.Unlock()
		return f.down
	}
	if f.cut == nil {
		f.cut = make(chan struct{})
	}
	cut := f.cut
	f.open++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.open--
		f.mu.Unlock()
	}()
	if err := each(view); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-cut:
		return api.ErrWatchEnded
	}
}

func (f *fake) WatchOverview(ctx context.Context, each func(api.Overview) error) error {
	f.note("watch overview")
	f.mu.Lock()
	f.looks = append(f.looks, each)
	f.mu.Unlock()
	return stay(ctx, f, f.overview, each)
}

func (f *fake) WatchUsers(ctx context.Context, q api.UsersQuery, each func(api.UsersView) error) error {
	f.note("watch users by %s up %t filter %q from %d limit %d", q.Sort, q.Up, q.Filter, q.Offset, q.Limit)
	var fit []api.UserRow
	for _, u := range f.users {
		if strings.Contains(strings.ToLower(u.Email+" "+u.Plan), strings.ToLower(q.Filter)) {
			fit = append(fit, u)
		}
	}
	from := min(q.Offset, len(fit))
	v := api.UsersView{At: f.overview.At, Month: "2025-01", Total: len(fit), All: len(f.users), Users: fit[from:min(from+q.Limit, len(fit))]}
	return stay(ctx, f, v, each)
}

func (f *fake) WatchUser(ctx context.Context, user string, each func(api.UserView) error) error {
	f.note("watch user %s", user)
	if user != "1" && user != f.user.User.Email {
		return &api.Error{Problem: api.Problem{Status: 404, Detail: "there is no user " + user}}
	}
	return stay(ctx, f, f.user, each)
}

func (f *fake) WatchRecords(ctx context.Context, q api.RecordsFilter, each func(api.RecordsTail) error) error {
	f.note("watch records user %q route %q status %q outcome %q limit %d", q.User, q.Route, q.Status, q.Outcome, q.Limit)
	f.mu.Lock()
	f.tails = append(f.tails, each)
	f.mu.Unlock()
	var fit []api.Record
	for _, r := range f.records {
		if strings.Contains(r.Route, q.Route) {
			fit = append(fit, r)
		}
	}
	return stay(ctx, f, api.RecordsTail{At: f.overview.At, Records: fit}, each)
}

func (f *fake) WatchBilling(ctx context.Context, state string, each func(api.BillingView) error) error {
	f.note("watch billing %q", state)
	v := f.billing
	v.Invoices = slices.DeleteFunc(slices.Clone(v.Invoices), func(i api.Invoice) bool { return state != "" && i.State != state })
	return stay(ctx, f, v, each)
}

// push sends records to the newest follower.
func (f *fake) push(t api.RecordsTail) {
	f.mu.Lock()
	each := f.tails[len(f.tails)-1]
	f.mu.Unlock()
	_ = each(t)
}

// look sends another overview to the newest follower.
func (f *fake) look(o api.Overview) {
	f.mu.Lock()
	each := f.looks[len(f.looks)-1]
	f.mu.Unlock()
	_ = each(o)
}

func (f *fake) act(format string, args ...any) error {
	f.note(format, args...)
	if f.hold != nil {
		<-f.hold
	}
	return f.refuses
}

func (f *fake) Suspend(_ context.Context, user string) (api.User, error) {
	return api.User{}, f.act("suspend %s", user)
}

func (f *fake) GrantCredits(_ context.Context, user string, ask api.GrantCredits) (api.CreditsGranted, error) {
	return api.CreditsGranted{Amount: ask.Amount, Balance: 2 * ask.Amount}, f.act("grant %s %v", user, ask.Amount)
}

func (f *fake) Resume(_ context.Context, user string) (api.User, error) {
	return api.User{}, f.act("resume %s", user)
}

func (f *fake) PreviewPlan(_ context.Context, user string, p api.ChangePlan) (api.PlanPreview, error) {
	f.note("preview %s %s", user, p.Plan)
	if p.Plan == "gold" {
		return api.PlanPreview{}, errors.New("there is no plan gold; there are free, pro and enterprise")
	}
	return api.PlanPreview{
		PlanChanged: api.PlanChanged{User: 1, SubscriptionTier: p.Plan, EffectiveAt: at("2025-01-20 12:00:00"), FeeCents: 4900},
		Before:      api.MonthTerms{SubscriptionTier: "free", Quota: map[string]int64{"calls": 1000}},
		After:       api.MonthTerms{SubscriptionTier: p.Plan, FeeCents: 1817, Quota: map[string]int64{"calls": 19000}, ChargeCents: 1817},
	}, nil
}

func (f *fake) ChangePlan(_ context.Context, user string, p api.ChangePlan) (api.PlanChanged, error) {
	return api.PlanChanged{SubscriptionTier: p.Plan, EffectiveAt: at("2025-01-20 12:00:00")}, f.act("plan %s %s", user, p.Plan)
}

func (f *fake) Revoke(_ context.Context, k api.Key) error { return f.act("revoke %d", k.ID) }

func (f *fake) ActOnInvoice(_ context.Context, id string, act api.InvoiceAct, _ api.ActOnInvoice) (api.Invoice, error) {
	state := map[api.InvoiceAct]string{api.RetryInvoice: "paid", api.VoidInvoice: "void"}[act]
	return api.Invoice{State: state}, f.act("%s %s", act, id)
}

func (f *fake) RefundPayment(_ context.Context, user, payment string, ask api.RefundPayment) (api.Payment, error) {
	return api.Payment{Purchase: api.Purchase{RefundedCents: 10000, OwedCents: 600}}, f.act("refund %s of %s: %s", payment, user, ask.Reason)
}

func at(text string) time.Time {
	t, err := time.Parse(time.DateTime, text)
	if err != nil {
		panic(err)
	}
	return t
}

func ptr[T any](v T) *T { return &v }

func day(i int) string { return at("2024-12-22 00:00:00").AddDate(0, 0, i).Format(time.DateOnly) }

func days(scale int64) []api.UsedOnDay {
	var list []api.UsedOnDay
	for i := range int64(30) {
		list = append(list, api.UsedOnDay{Date: day(int(i)), Calls: scale * (i%7*100 + i*10), Documents: i, Tokens: 10 * i, CostCents: i})
	}
	return list
}

// busy is a server with something of everything.
func busy() *fake {
	now := at("2025-01-20 12:34:56")
	month := api.MonthSoFar{
		Month: "2025-01", Start: at("2025-01-01 00:00:00"), End: at("2025-02-01 00:00:00"), Calls: 1234567, Documents: 3456789, Tokens: 98765432, CostCents: 3456789, SoldCents: 120_000,
		Charges: &api.MonthCharges{At: now.Add(-2 * time.Minute), SoFarCents: 1234550, ProjectedCents: 2345600},
	}
	f := &fake{overview: api.Overview{
		At: now, Version: "1.0.0", UptimeMS: 3_600_000, Ready: true, Currency: "usd", Timezone: "UTC", Users: 57,
		Traffic: api.Traffic{
			CallsPerSecond: 1234, InFlight: 42, Streaming: 7, SampleMS: 2000, P50MS: 1.25, P95MS: 12.5, P99MS: 250,
			Outcomes: []api.ReasonCount{reason("upstream_error", 12, 3456), reason("client_left", 0, 78)},
			Refusals: []api.ReasonCount{reason("quota_exceeded", 34, 567), reason("rate_limited", 5, 89)},
		},
		Month: month, Days: days(10),
		Ledger: api.LedgerHealth{
			Entries: 12345678, FileBytes: 345678901, FreeBytes: 34567890123, LastLogged: now, CommitP50US: 310, CommitP99US: 1250,
			LastSnapshot: ptr(at("2025-01-20 02:00:00")), LastVerify: ptr(at("2025-01-19 03:00:00")),
		},
		Runs: []api.ScheduledRun{
			{Name: "snapshot", Next: ptr(at("2025-01-21 02:00:00")), Last: ptr(at("2025-01-20 02:00:07"))},
			{Name: "retries", Next: ptr(at("2025-01-20 13:00:00")), Last: ptr(at("2025-01-20 12:00:03")), Error: "Stripe cannot be reached"},
			{Name: "bill", Next: ptr(at("2025-02-01 01:00:00"))},
		},
		Attention: []api.Attention{
			{Level: "bad", Text: "3 invoices could not be collected: see Billing, or tollgate bill status"},
			{Level: "warn", Text: "2 users are near the end of their quota"},
		},
	}}
	for i := range int64(200) {
		f.overview.Traffic.Samples = append(f.overview.Traffic.Samples, 1000+(i*37)%500)
	}
	for i := range int64(57) {
		u := api.UserRow{
			ID: ledger.UserID(i + 1), Email: fmt.Sprintf("user%02d@example.com", i+1), Plan: "pro", Status: ledger.Active, Calls: 50000 - i*900, Documents: 3 * i, Tokens: 100 * i,
			CostCents: 50000 - i*900, Quota: &api.MeterQuota{Meter: "calls", Limit: 50000, Used: 50000 - i*900, Soft: true}, ChargeCents: 4900, ProjectedCents: 7350, Payment: true,
		}
		switch i {
		case 1:
			u.Plan, u.Quota = "enterprise", nil
		case 2:
			u.Status, u.SuspendedFor, u.Owes = ledger.Suspended, "payment", true
		case 3:
			u.Plan, u.Quota = "free", &api.MeterQuota{Meter: "calls", Limit: 1000, Used: 847}
		case 4:
			u.Plan, u.Quota, u.Balance = "prepaid", nil, ptr(int64(9400))
		case 5:
			u.Plan, u.Quota = "free", &api.MeterQuota{Meter: "calls", Limit: 1000, Used: 1000}
		}
		f.users = append(f.users, u)
	}
	outcome := []string{"ok", "ok", "upstream_error", "ok", "client_left"}
	status := []int{200, 200, 502, 201, 200}
	for i := range 40 {
		f.records = append(f.records, api.Record{
			Seq: uint64(1000 + i), RequestID: fmt.Sprintf("r%07d", i), Time: now.Add(time.Duration(i-40) * time.Second), User: ledger.UserID(i%3 + 1), Key: 7,
			Route: []string{"POST /v1/scan", "POST /v1/analyze"}[i%2], Method: "POST", Documents: int64(i), Tokens: int64(i * 25), Cost: ledger.Amount(i) * 10_000_000,
			CostCents: int64(i), ResponseTimeMS: int64(i * 3), StatusCode: status[i%5], Outcome: outcome[i%5], Billed: status[i%5] < 400,
		})
	}
	f.records[36].CreditsBurnt, f.records[36].Uncovered = credits(29), credits(7)
	invoices := []api.Invoice{
		invoice(43, "2025-01-000043", 3, "past_due", 7350, 7350), invoice(42, "2025-01-000042", 1, "paid", 4900, 0),
		invoice(41, "2024-12-000041", 2, "paid", 123456, 0), invoice(40, "2024-12-000040", 5, "issued", 5000, 5000),
	}
	declined := payment(3052, 3, "realtime", "past_due", 500)
	declined.Reason, declined.Attempts, declined.Failed, declined.NextRetry = "card_declined", 1, ptr(at("2025-01-19 10:00:00")), ptr(at("2025-01-22 10:00:00"))
	disputed := payment(3050, 5, "purchase", "paid", 10000)
	disputed.DisputedCents, disputed.OwedCents, disputed.ReturnableCents = 10000, 600, 0
	row := f.users[3]
	row.ID, row.Email = 1, "user01@example.com"
	f.user = api.UserView{
		At: now, User: api.User{ID: 1, Email: row.Email, Name: "Ann Example", Company: "Example Ltd", Plan: "free", Status: ledger.Active, Created: at("2024-06-01 09:00:00"), PaymentMethod: true, Keys: 2,
			NextPlan: &api.PendingPlan{Plan: "pro", From: at("2025-02-01 00:00:00")}, SpendLimit: ptr(ledger.Amount(250_000_000_000))},
		Usage: api.MonthUsage{User: 1, Email: row.Email, Period: api.Period{Year: 2025, Month: 1}, CurrentUsage: api.CurrentUsage{TotalCalls: 847, TotalDocuments: 23450, TotalTokens: 650000,
			Cost: 234_500_000_000, UnbilledCalls: 12}, Charges: api.Charges{OverageCents: 200, TotalCents: 200}, SubscriptionTier: "free"},
		Row: row, Quotas: []api.MeterQuota{*row.Quota, {Meter: "documents", Limit: 50000, Used: 23450, Soft: true}}, PerMinute: 60, PerDay: 10000, Days: days(1),
		Routes: []api.UsedOnRoute{{Route: "POST /v1/scan", Calls: 800, Documents: 23450, Tokens: 600000, CostCents: 23450}, {Route: "POST /v1/analyze", Calls: 47, Tokens: 50000}},
		Keys: []api.Key{
			{ID: 8, User: 1, Name: "production", Prefix: "tg_live_AbCd", Scope: "call", Status: api.KeyActive, Created: at("2024-06-01 09:00:00"), LastUsed: &now,
				Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			{ID: 7, User: 1, Name: "old", Prefix: "tg_live_WxYz", Scope: "manage", Status: api.KeyRevoked, Created: at("2024-06-01 09:00:00"), PerMinute: ptr(10)},
		},
		Invoices: []api.Invoice{invoices[1]}, Records: slices.Collect(func(yield func(api.Record) bool) {
			for i := range 20 {
				if !yield(f.records[39-i]) {
					return
				}
			}
		}),
	}
	f.billing = api.BillingView{
		At: now, Month: month, Invoices: invoices,
		Status: api.BillStatus{Currency: "usd", Provider: true, NextRun: at("2025-02-01 01:00:00"), Invoices: []api.InvoicesState{inState("issued", 1, 5000), inState("past_due", 1, 7350), inState("paid", 40, 0)},
			Failures: []api.InvoiceFailure{{Invoice: 43, Number: "2025-01-000043", User: 3, Email: "user03@example.com", Month: "2025-01", State: "past_due", AmountDueCents: 7350,
				Reason: "Your card was declined.", Attempts: 2, Failed: ptr(at("2025-01-19 01:00:00")), NextRetry: ptr(at("2025-01-24 01:00:00"))}},
			Payments: []api.PaymentsState{
				{Kind: "purchase", State: "paid", Count: 12, AmountCents: 120_000}, {Kind: "purchase", State: "owed", Count: 1, AmountCents: 600},
				{Kind: "realtime", State: "paid", Count: 340, AmountCents: 170_000}, {Kind: "realtime", State: "past_due", Count: 1, AmountCents: 500},
			},
			PaymentFailures: []api.Payment{declined, disputed}, Undelivered: &api.Undelivered{Count: 3, User: 5}},
		Runs: []api.BillRunDone{
			{At: at("2025-01-01 01:00:09"), Summary: api.BillSummary{Month: "2024-12", TotalUsers: 57, Charged: 40, Skipped: 16, Failed: 1, TotalRevenueCents: 1234550,
				Errors: []api.BillFailure{{User: 3, Error: "Your card was declined."}}}},
		},
	}
	return f
}

func invoice(id int, number string, user int, state string, total, due int64) api.Invoice {
	return api.Invoice{
		ID: ptr(ledger.InvoiceID(id)), Number: &number, User: ledger.UserID(user), Email: fmt.Sprintf("user%02d@example.com", user), Year: 2024, Month: 12, State: state, Currency: "usd",
		TotalCents: total, PaidCents: total - due, AmountDueCents: due,
		Lines: []api.InvoiceLine{{Kind: "fee", Description: "Pro, December 2024", Quantity: 1, UnitPrice: 49_000_000_000, AmountCents: 4900}},
	}
}

func credits(n int64) api.Credits { return api.Credits(ledger.Amount(n) * ledger.Unit) }

// payment is one of a pack of 10,000 credits, or of usage.
func payment(id, user int, kind ledger.PaymentKind, state ledger.PaymentState, total int64) api.Payment {
	p := api.Payment{Purchase: api.Purchase{ID: ledger.PaymentID(id), Kind: kind, State: state, Currency: "usd", AmountCents: total, Time: at("2025-01-18 10:00:00")},
		User: ledger.UserID(user), Email: fmt.Sprintf("user%02d@example.com", user), Month: "2025-01"}
	p.Lines = []api.ReceiptLine{{Kind: "usage", Description: "Usage of 2025-01 so far", AmountCents: total}}
	if kind.Buys() {
		p.Pack, p.Credits, p.Lines = "10k", credits(10_000), []api.ReceiptLine{{Kind: "credits", Description: "10,000 credits", AmountCents: total}}
	}
	if state == ledger.PaymentPaid {
		p.Receipt, p.PaidAt, p.ReturnableCents = ptr(fmt.Sprintf("R-%06d", id)), ptr(at("2025-01-18 10:01:00")), total
	}
	return p
}

// prepaid is a busy server whose user pays beforehand.
func prepaid() *fake {
	f := busy()
	f.user.User.Plan, f.user.User.NextPlan, f.user.Row.Balance, f.user.Quotas = "prepaid", nil, ptr(int64(9400)), nil
	f.user.Credits = &api.HeldCredits{
		CreditBalance: api.CreditBalance{Balance: credits(9400), ExpiringNext: &api.CreditExpiring{Amount: credits(400), Expires: at("2025-02-01 00:00:00")}},
		Granted:       credits(11_000), Burnt: credits(1_500), Taken: credits(100), Uncovered: credits(7), MoreGrants: 3,
		Grants: []api.CreditGrant{{ID: 2871, Source: ledger.Promotion, Left: credits(400), Expires: ptr(at("2025-02-01 00:00:00"))}, {ID: 3051, Source: ledger.Purchase, Left: credits(9000)}},
	}
	f.user.Payments = []api.Payment{payment(3049, 1, "purchase", "paid", 10000), payment(3001, 1, "recharge", "failed", 10000)}
	f.user.Payments[1].Reason = "insufficient_funds"
	return f
}

// empty is a server that has just started.
func empty() *fake {
	now := at("2025-01-20 12:34:56")
	month := api.MonthSoFar{Month: "2025-01", Start: at("2025-01-01 00:00:00"), End: at("2025-02-01 00:00:00")}
	f := &fake{
		overview: api.Overview{At: now, Ready: true, Currency: "usd", Month: month},
		billing:  api.BillingView{At: now, Month: month, Status: api.BillStatus{Currency: "usd", NextRun: at("2025-02-01 01:00:00")}},
	}
	f.user = api.UserView{At: now, User: api.User{ID: 1, Email: "ann@example.com", Plan: "free", Status: ledger.Active, Created: now}, Row: api.UserRow{ID: 1, Email: "ann@example.com", Status: ledger.Active}}
	return f
}

// odd is a server full of what comes from outside: long, wide and hostile names.
func odd() *fake {
	f := busy()
	long := strings.Repeat("very-long-", 20) + "@example.com"
	f.users[0].Email = long
	f.users[1].Email = "日本語の会社@例え.jp"
	f.users[2].Email = "evil\x1b[2J\x1b]0;title\a@example.com"
	f.users[3].Email = "e\u0301cole\u202egnp@example.com"
	f.user.User.Company = "株式会社サンプル・データ・サービス \x1b[31mred"
	f.user.User.Name = strings.Repeat("名", 60)
	f.user.Routes[0].Route = "POST /" + strings.Repeat("長い/", 30)
	f.user.Keys[0].Name = "\x9b2Jkey"
	f.records[39].Route = "GET /\x1b[5m" + strings.Repeat("x", 300)
	f.records[38].Outcome = "outcome\r\nsecond line"
	f.overview.Attention[0].Text = "日本語" + strings.Repeat(" wide text", 30) + "\x1b[2J"
	f.overview.Runs[1].Error = strings.Repeat("many words ", 30) + "\n\x1b[H"
	f.user.Payments, f.user.Credits = prepaid().user.Payments, prepaid().user.Credits
	f.user.Credits.Grants[0].Source = "\x1b[2Jluck"
	f.user.Payments[1].Reason = "カード\x1b[2J " + strings.Repeat("because ", 20)
	f.billing.Status.PaymentFailures[0].Email, f.billing.Status.PaymentFailures[0].Reason = long, "\x9b2J"+strings.Repeat("why ", 40)
	f.billing.Status.Failures[0].Reason = "カードが拒否されました " + strings.Repeat("because ", 20)
	f.users[5].Calls, f.users[5].CostCents = 1<<62, 1<<62
	f.users[5].Quota = &api.MeterQuota{Meter: "calls", Limit: 1 << 62, Used: 1<<62 - 1}
	return f
}

func reason(name string, minute, total int64) api.ReasonCount {
	return api.ReasonCount{Reason: name, Minute: minute, Total: total}
}

func inState(state string, count int, due int64) api.InvoicesState {
	return api.InvoicesState{State: state, Count: count, AmountDueCents: due}
}
