package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/api"
)

// pay adds a payment to the ledger and takes it to what change makes of it.
func (h *house) pay(p ledger.Payment, changes ...func(*ledger.Payment)) *ledger.Payment {
	h.t.Helper()
	for _, l := range p.Lines {
		p.Total += l.Amount
	}
	made, err := h.ledger.AddPayment(h.time(), "test", p)
	for _, change := range changes {
		if err == nil {
			made, err = h.ledger.ChangePayment(h.time(), "test", p.User, made.ID, func(p *ledger.Payment) error { change(p); return nil })
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return made
}

// pack is a payment of 100 credits for 10.00 and tax.
func pack(user ledger.UserID, kind ledger.PaymentKind) ledger.Payment {
	return ledger.Payment{
		Kind: kind, User: user, Pack: "100", Credits: 100 * ledger.Unit, Lines: []ledger.InvoiceLine{
			{Kind: "credits", Description: "100 credits", Quantity: 100, Amount: 1000}, {Kind: ledger.TaxLine, Description: "VAT 20 %", Amount: 200},
		},
	}
}

func usageOf(user ledger.UserID, cents int64) ledger.Payment {
	return ledger.Payment{Kind: ledger.RealtimePayment, User: user, Lines: []ledger.InvoiceLine{{Kind: "usage", Description: "Usage of 2025-01 so far", Amount: cents}}}
}

func (h *house) paid(p *ledger.Payment) { p.State, p.PaidAt = ledger.PaymentPaid, h.time() }

func TestBuyAPack(t *testing.T) {
	h := newHouse(t)
	_, reading, manage := h.user("a@example.com", "free")
	const path, ask = "/v1/billing/credits/purchase", `{"pack":"10k"}`
	wantProblem(t, h.call("POST", path, manage, ask), 503, "no_billing")
	h.bill(nil)
	wantProblem(t, h.call("POST", path, manage, ask), 409, "no_payment_provider")
	h.bill(func(b api.Billing) api.Billing { return broken{paying{b, h}} })
	if p := wantProblem(t, h.call("POST", path, manage, ask), 502, "provider_failed"); strings.Contains(p.Detail, "secret") {
		t.Errorf("a customer is told %q", p.Detail)
	}
	h.bill(func(b api.Billing) api.Billing { return paying{b, h} })
	wantProblem(t, h.call("POST", path, reading, ask), 403, "scope_required")
	wantProblem(t, h.call("POST", path, manage, `{}`), 400, "missing_field")
	p := wantProblem(t, h.call("POST", path, manage, `{"pack":"1M"}`), 400, "unknown_pack")
	if want := `There is no credit pack "1M"; there are 10k, trial.`; p.Detail != want {
		t.Errorf("got %q, want %q", p.Detail, want)
	}
	want := "https://pay.example.com/buy/1/10k?by=key 2"
	for _, status := range []ledger.Status{ledger.Active, ledger.Suspended} {
		h.change(1, func(u *ledger.User) { u.Status = status })
		if got := read[api.Checkout](t, h.call("POST", path, manage, ask), 200); got.CheckoutURL != want {
			t.Errorf("%s: got %q, want %q", status, got.CheckoutURL, want)
		}
	}
	h.change(1, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, h.time() })
	wantProblem(t, h.call("POST", path, manage, ask), 403, "account_closed")
}

func TestPurchases(t *testing.T) {
	h := newHouse(t)
	u, reading, _ := h.user("a@example.com", "free")
	if got := get[api.UserCredits](h, "/v1/billing/credits", reading).Purchases; got == nil || len(got) != 0 {
		t.Errorf("nothing was bought, and there is %+v", got)
	}
	first := h.pay(pack(u.ID, ledger.PurchasePayment), h.paid, func(p *ledger.Payment) { p.Disputed, p.Owed = 1200, 300 })
	h.pay(usageOf(u.ID, 60), h.paid)
	h.at(start.Add(time.Hour))
	second := h.pay(pack(u.ID, ledger.RechargePayment), func(p *ledger.Payment) { p.State = ledger.PaymentGivenUp })
	third := h.pay(pack(u.ID, ledger.PurchasePayment))
	paid, lines := "R-000001", []api.ReceiptLine{{Kind: "credits", Description: "100 credits", AmountCents: 1000}, {Kind: "tax", Description: "VAT 20 %", AmountCents: 200}}
	credits := api.Credits(100 * ledger.Unit)
	want := []api.Purchase{
		{ID: third.ID, Kind: "purchase", State: "pending", Pack: "100", Credits: credits, Currency: "usd", AmountCents: 1200, Time: h.time(), Lines: lines},
		{ID: second.ID, Kind: "recharge", State: "failed", Pack: "100", Credits: credits, Currency: "usd", AmountCents: 1200, Time: h.time(), Lines: lines},
		{
			ID: first.ID, Receipt: &paid, Kind: "purchase", State: "paid", Pack: "100", Credits: credits, Currency: "usd", AmountCents: 1200, Time: start, PaidAt: &start,
			DisputedCents: 1200, OwedCents: 300, Lines: lines,
		},
	}
	if diff := cmp.Diff(want, get[api.UserCredits](h, "/v1/billing/credits", reading).Purchases); diff != "" {
		t.Error(diff)
	}
	for range 60 {
		h.pay(pack(u.ID, ledger.PurchasePayment))
	}
	if got := get[api.UserCredits](h, "/v1/billing/credits", reading).Purchases; len(got) != 50 || got[0].ID <= got[49].ID {
		t.Errorf("got %d of 63 purchases", len(got))
	}
}

// TestChargedAsItComes has a user whose usage is charged before the invoice: what
// was charged is in the month's account, and pays for its part of the invoice.
func TestChargedAsItComes(t *testing.T) {
	h := newHouse(t)
	b := h.bill(nil)
	h.publish(ledger.PlanVersion, "now", []byte(`{"id":"now","name":"Now","fee":"0","by_cost":true,"on_exceed":"bill","billing":"realtime","charge_threshold":"0.50"}`))
	u, reading, _ := h.user("a@example.com", "now")
	h.record(u.ID, start, 130, func(_ int, u *ledger.Usage) { u.Documents = 1 })
	h.pay(usageOf(u.ID, 60), h.paid)
	h.pay(usageOf(u.ID, 50), func(p *ledger.Payment) { p.State = ledger.PaymentPastDue })
	charges := get[api.Usage](h, "/v1/billing/usage", reading).Charges
	if charges.TotalCents != 130 || charges.ChargedCents != 60 {
		t.Errorf("got %+v", charges)
	}
	end := h.ledger.PeriodOf(january).End
	h.at(end)
	draft := get[api.Invoice](h, "/v1/billing/invoice/2025/1", reading)
	h.work(b, end.Add(time.Hour))
	issued := get[api.Invoice](h, "/v1/billing/invoice/2025/1", reading)
	for name, i := range map[string]api.Invoice{"draft": draft, "issued": issued} {
		if i.State != name || i.TotalCents != 130 || i.AdvanceCents != 60 || i.PaidCents != 60 || i.AmountDueCents != 70 {
			t.Errorf("%s: got %+v", name, i)
		}
	}
}

func TestOperatorPayments(t *testing.T) {
	h := newHouse(t)
	h.bill(func(b api.Billing) api.Billing { return paying{b, h} })
	c, ctx := operate(t, h), t.Context()
	ann, _, _ := h.user("a@example.com", "free")
	bob, _, _ := h.user("b@example.com", "free")
	first := h.pay(pack(ann.ID, ledger.PurchasePayment), h.paid)
	next := start.Add(72 * time.Hour)
	h.pay(usageOf(bob.ID, 60), func(p *ledger.Payment) {
		p.State, p.Failure, p.Failed, p.Next, p.Attempts = ledger.PaymentPastDue, "card_declined", start, next, 1
	})
	h.at(h.ledger.PeriodOf(january).End)
	h.pay(pack(ann.ID, ledger.RechargePayment), func(p *ledger.Payment) { p.State, p.Failure = ledger.PaymentGivenUp, "insufficient_funds" })
	h.pay(pack(ann.ID, ledger.PurchasePayment), h.paid, func(p *ledger.Payment) { p.Disputed, p.Owed = 1200, 300 })
	h.pay(pack(bob.ID, ledger.PurchasePayment), func(p *ledger.Payment) {
		p.Intent, p.Tries = &ledger.Intent{Op: "page", Key: "k", Attempt: 1, At: h.time()}, 1
	})

	list := func(q api.PaymentsQuery) (got []string) {
		err := c.EachPayment(ctx, q, func(p api.Payment) error {
			text := fmt.Sprintf("%s %s %s %d %s", p.Email, p.Month, p.Kind, p.AmountCents, p.State)
			got = append(got, strings.TrimSuffix(text+" "+p.Reason+p.UnderWay, " "))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	const (
		bought   = "a@example.com 2025-01 purchase 1200 paid"
		pastDue  = "b@example.com 2025-01 realtime 60 past_due card_declined"
		lost     = "a@example.com 2025-02 recharge 1200 failed insufficient_funds"
		disputed = "a@example.com 2025-02 purchase 1200 paid"
		begun    = "b@example.com 2025-02 purchase 1200 pending page"
	)
	for _, tt := range []struct {
		query api.PaymentsQuery
		want  []string
	}{
		{api.PaymentsQuery{}, []string{begun, disputed, lost, pastDue, bought}},
		{api.PaymentsQuery{User: "a@example.com"}, []string{disputed, lost, bought}},
		{api.PaymentsQuery{Month: "2025-02", State: "paid"}, []string{disputed}},
		{api.PaymentsQuery{State: "past_due"}, []string{pastDue}},
		{api.PaymentsQuery{State: api.OwedState}, []string{disputed}},
		{api.PaymentsQuery{User: "2", State: api.OwedState}, nil},
	} {
		if diff := cmp.Diff(tt.want, list(tt.query)); diff != "" {
			t.Errorf("%+v:\n%s", tt.query, diff)
		}
	}
	page := must[api.PaymentsPage](t)(c.Payments(ctx, api.PaymentsQuery{}, "", 4))
	if len(page.Payments) != 4 || page.NextCursor == nil {
		t.Fatalf("got %+v", page)
	}
	page = must[api.PaymentsPage](t)(c.Payments(ctx, api.PaymentsQuery{}, *page.NextCursor, 4))
	if len(page.Payments) != 1 || page.NextCursor != nil || page.Payments[0].ID != first.ID || page.Payments[0].ReturnableCents != 1200 {
		t.Errorf("got %+v", page)
	}
	_, err := c.Payments(ctx, api.PaymentsQuery{State: "lost"}, "", 0)
	wantCode(t, err, 400, "invalid_parameter")
	_, err = c.Payments(ctx, api.PaymentsQuery{User: "x@example.com"}, "", 0)
	wantCode(t, err, 404, "user_not_found")

	// How billing stands has those of the open month, and all that wait for money.
	status := must[api.BillStatus](t)(c.BillStatus(ctx))
	states := []api.PaymentsState{
		{Kind: "purchase", State: "pending", Count: 1, AmountCents: 1200}, {Kind: "purchase", State: "paid", Count: 1, AmountCents: 1200},
		{Kind: "purchase", State: "owed", Count: 1, AmountCents: 300},
		{Kind: "recharge", State: "failed", Count: 1, AmountCents: 1200}, {Kind: "realtime", State: "past_due", Count: 1, AmountCents: 60},
	}
	if diff := cmp.Diff(states, status.Payments); diff != "" {
		t.Error(diff)
	}
	var failures []string
	for _, p := range status.PaymentFailures {
		failures = append(failures, strings.TrimSuffix(fmt.Sprintf("%s %s %s", p.Kind, p.State, p.Reason), " "))
		if p.State == ledger.PaymentPastDue && (p.NextRetry == nil || !p.NextRetry.Equal(next) || p.Attempts != 1) {
			t.Errorf("got %+v", p)
		}
	}
	if diff := cmp.Diff([]string{"purchase paid", "recharge failed insufficient_funds", "realtime past_due card_declined"}, failures); diff != "" {
		t.Error(diff)
	}
}

func TestOperatorPaymentActs(t *testing.T) {
	h := newHouse(t)
	h.bill(func(b api.Billing) api.Billing { return paying{b, h} })
	c, ctx := operate(t, h), t.Context()
	u, _, _ := h.user("a@example.com", "free")
	h.user("b@example.com", "free")
	paid := fmt.Sprint(h.pay(pack(u.ID, ledger.PurchasePayment), h.paid).ID)
	pending := fmt.Sprint(h.pay(pack(u.ID, ledger.PurchasePayment)).ID)
	h.pay(pack(u.ID, ledger.PurchasePayment), h.paid, func(p *ledger.Payment) { p.Disputed, p.Owed = 1200, 300 })
	amount := func(a ledger.Amount) *ledger.Amount { return &a }
	for _, tt := range []struct {
		user, payment string
		ask           api.RefundPayment
		want          int64 // refunded
		status        int
		code          string
	}{
		{"1", "R-000001", api.RefundPayment{Amount: amount(ledger.Unit / 2), Reason: "slow"}, 50, 0, ""},
		{"1", paid, api.RefundPayment{Amount: amount(ledger.Unit / 2)}, 0, 400, "invalid_field"},
		{"1", paid, api.RefundPayment{Amount: amount(0), Reason: "slow"}, 0, 400, "invalid_field"},
		{"1", paid, api.RefundPayment{Amount: amount(-1), Reason: "slow"}, 0, 400, "invalid_field"},
		{"1", paid, api.RefundPayment{Amount: amount(1), Reason: "slow"}, 0, 400, "invalid_field"},
		{"1", paid, api.RefundPayment{Reason: "a bell\a"}, 0, 400, "invalid_field"},
		{"1", paid, api.RefundPayment{Amount: amount(12 * ledger.Unit), Reason: "slow"}, 0, 409, "not_now"},
		{"1", paid, api.RefundPayment{Reason: "slow"}, 1200, 0, ""},
		{"1", pending, api.RefundPayment{Reason: "slow"}, 0, 409, "not_now"},
		{"2", paid, api.RefundPayment{Reason: "slow"}, 0, 404, "payment_not_found"},
		{"1", "R-000003", api.RefundPayment{Reason: "slow"}, 0, 404, "payment_not_found"},
		{"1", "x", api.RefundPayment{Reason: "slow"}, 0, 404, "payment_not_found"},
		{"3", paid, api.RefundPayment{Reason: "slow"}, 0, 404, "user_not_found"},
	} {
		p, err := c.RefundPayment(ctx, tt.user, tt.payment, tt.ask)
		if tt.code != "" {
			wantCode(t, err, tt.status, tt.code)
		} else if err != nil || p.RefundedCents != tt.want || p.ReturnableCents != 1200-tt.want {
			t.Errorf("%s: got %+v (%v)", tt.payment, p, err)
		}
	}
	_, err := c.SettlePayment(ctx, "1", "R-000002", api.SettlePayment{})
	wantCode(t, err, 400, "invalid_field")
	settled := must[api.Payment](t)(c.SettlePayment(ctx, "1", "R-000002", api.SettlePayment{Reference: "transfer 7"}))
	if settled.OwedCents != 0 || settled.PaidBy != "transfer 7" {
		t.Errorf("got %+v", settled)
	}
	_, err = c.SettlePayment(ctx, "1", "R-000002", api.SettlePayment{Reference: "again"})
	wantCode(t, err, 409, "not_now")
}

func TestNotices(t *testing.T) {
	h := newHouse(t)
	h.bill(nil)
	c, ctx := operate(t, h), t.Context()
	u, _, _ := h.user("a@example.com", "free")
	if got := must[api.NoticesPage](t)(c.Notices(ctx, "1", "", 0)); got.Notices == nil || len(got.Notices) != 0 {
		t.Errorf("got %+v", got)
	}
	for _, n := range []ledger.Notice{
		{Code: ledger.Quota80, Subject: "calls", Meter: "calls", Used: 80_001, Limit: 100_000},
		{Code: ledger.CreditsLow, Balance: 12*ledger.Unit + ledger.Unit/2},
		{Code: ledger.SpendLimit, Used: 1234, Limit: 1000},
		{Code: ledger.PaymentFailed, Subject: "invoice 7", Invoice: 7, Amount: 4900, Failure: "card_declined"},
		{Code: ledger.PaymentFailed, Subject: "payment 8", Payment: 8, Amount: 50},
		{Code: ledger.CreditsBought, Subject: "payment 9", Payment: 9, Credits: 10_000 * ledger.Unit, Amount: 10_000},
		{Code: ledger.TakenBack, Subject: "payment 9 500", Payment: 9, Credits: 100 * ledger.Unit, Amount: 300},
		{Code: "news", Subject: "something else"},
	} {
		n.User = u.ID
		if _, _, err := h.ledger.AddNotice(h.time(), "test", n); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		page := must[api.NoticesPage](t)(c.Notices(ctx, "a@example.com", cursor, 3))
		for _, n := range page.Notices {
			got = append(got, n.Code+": "+n.Text)
		}
		if cursor = ""; page.NextCursor != nil {
			cursor = *page.NextCursor
		}
	}
	want := []string{
		"news: something else",
		"payment_reversed: payment 9 went back with 100 credits, 3.00 USD are owed",
		"credits_bought: 10,000 credits for 100.00 USD",
		"payment_failed: payment 8 of 0.50 USD was not collected",
		"payment_failed: invoice 7 of 49.00 USD was not collected: card_declined",
		"spend_limit: 12.34 USD of 10.00 USD are spent",
		"credits_low: 12.5 credits are left",
		"quota_80: 80,001 of 100,000 calls are used",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := must[api.BillStatus](t)(c.BillStatus(ctx)).Undelivered; got != nil {
		t.Errorf("nothing was given up: %+v", got)
	}

	// One is delivered by mail, and given up as a webhook.
	refs := h.ledger.Account(u.ID).User().Notices
	_, err := h.ledger.ChangeNotice(h.time(), u.ID, refs[2].ID, func(n *ledger.Notice) error {
		n.Deliveries = []ledger.Delivery{{Channel: "mail", Attempts: 1, Sent: start}, {Channel: "webhook", Attempts: 76, GivenUp: true, Error: "connection refused"}}
		n.Done = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := must[api.NoticesPage](t)(c.Notices(ctx, "1", "", 0)).Notices[5]
	deliveries := []api.NoticeDelivery{{Channel: "mail", Attempts: 1, Sent: &start}, {Channel: "webhook", Attempts: 76, GivenUp: true, Error: "connection refused"}}
	if diff := cmp.Diff(deliveries, n.Deliveries); diff != "" || !n.GivenUp || !n.Done || n.Code != ledger.SpendLimit {
		t.Errorf("got %+v\n%s", n, diff)
	}
	undelivered := &api.Undelivered{Count: 1, User: u.ID}
	for _, tt := range []struct {
		at   time.Time
		want *api.Undelivered
	}{
		{start, undelivered},
		{time.Date(2025, 2, 7, 0, 0, 0, 0, time.UTC), undelivered},
		{time.Date(2025, 2, 8, 0, 0, 0, 0, time.UTC), nil},
	} {
		h.at(tt.at)
		if diff := cmp.Diff(tt.want, must[api.BillStatus](t)(c.BillStatus(ctx)).Undelivered); diff != "" {
			t.Errorf("at %v:\n%s", tt.at, diff)
		}
	}
}

// TestScreensOfPayments: the screens have what was bought and charged, and count
// what was charged while it was used once.
func TestScreensOfPayments(t *testing.T) {
	h := newHouse(t)
	h.options.Watch.Every = 20 * time.Millisecond
	h.bill(nil)
	c := operate(t, h)
	h.publish(ledger.PlanVersion, "now", []byte(`{"id":"now","name":"Now","fee":"0","by_cost":true,"on_exceed":"bill","billing":"realtime","charge_threshold":"0.50"}`))
	u, _, _ := h.user("a@example.com", "now")
	h.record(u.ID, start, 130, func(_ int, u *ledger.Usage) { u.Documents = 1 })
	charged := h.pay(usageOf(u.ID, 60), h.paid)
	h.pay(pack(u.ID, ledger.PurchasePayment), func(p *ledger.Payment) { p.State = ledger.PaymentGivenUp })
	other, _, _ := h.user("b@example.com", "free")
	bought := h.pay(pack(other.ID, ledger.PurchasePayment), h.paid)

	view := func(id string) api.UserView {
		return await(t, func(ctx context.Context, each func(api.UserView) error) error { return c.WatchUser(ctx, id, each) }, any1)
	}
	first := view("1")
	if first.Credits != nil || len(first.Payments) != 2 || first.Payments[1].ID != charged.ID || first.Usage.Charges.ChargedCents != 60 {
		t.Errorf("got %+v, %+v", first.Credits, first.Payments)
	}
	second := view("2")
	want := api.Credits(100 * ledger.Unit)
	if second.Credits == nil || second.Credits.Balance != want || second.Credits.Granted != want || len(second.Credits.Grants) != 1 || second.Payments[0].ID != bought.ID {
		t.Errorf("got %+v, %+v", second.Credits, second.Payments)
	}
	rated := func(m api.MonthSoFar) bool { return m.Charges != nil }
	overview := await(t, c.WatchOverview, func(o api.Overview) bool { return rated(o.Month) })
	if overview.Month.Charges.SoFarCents != 130 || overview.Month.SoldCents != 1200 {
		t.Errorf("got %+v, %+v", overview.Month, overview.Month.Charges)
	}
	bill := await(t, func(ctx context.Context, each func(api.BillingView) error) error {
		return c.WatchBilling(ctx, "", each)
	}, any1)
	states := []api.PaymentsState{
		{Kind: "purchase", State: "paid", Count: 1, AmountCents: 1200}, {Kind: "purchase", State: "failed", Count: 1, AmountCents: 1200},
		{Kind: "realtime", State: "paid", Count: 1, AmountCents: 60},
	}
	if diff := cmp.Diff(states, bill.Status.Payments); diff != "" || bill.Month.SoldCents != 1200 || len(bill.Status.PaymentFailures) != 0 {
		t.Errorf("got %+v\n%s", bill.Status.PaymentFailures, diff)
	}
}
