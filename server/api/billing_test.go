package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server"
	"tollgate/server/api"
	"tollgate/server/billing"
)

var january = ledger.MonthOf(2025, time.January)

// bill puts real billing without a payment provider behind the house's APIs;
// wrap, when not nil, goes around it.
func (h *house) bill(wrap func(api.Billing) api.Billing) *billing.Billing {
	h.t.Helper()
	b, err := billing.New(billing.Options{
		Ledger: h.ledger, Book: h.options.Book, Now: h.time, Log: h.options.Log, TestClock: true,
		Settings: billing.Settings{Grace: time.Hour, RunAt: time.Hour},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.options.Billing = server.NewBillingAPI(b)
	if wrap != nil {
		h.options.Billing = wrap(h.options.Billing)
	}
	h.customer = api.NewCustomer(h.options)
	return b
}

// work bills what is due at a time.
func (h *house) work(b *billing.Billing, at time.Time) {
	h.t.Helper()
	h.at(at)
	if err := b.Work(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// paying is billing with a payment provider.
type paying struct {
	api.Billing
	h *house
}

func (paying) Collects() bool { return true }

func (paying) Checkout(_ context.Context, user ledger.UserID, tier string) (string, error) {
	return fmt.Sprintf("https://pay.example.com/checkout/%d/%s", user, tier), nil
}

func (paying) Portal(_ context.Context, user ledger.UserID) (string, error) {
	return fmt.Sprintf("https://pay.example.com/portal/%d", user), nil
}

// ReturnPayment and SettlePayment write into the ledger what the provider would have
// said.
func (p paying) ReturnPayment(_ context.Context, by string, user ledger.UserID, id ledger.PaymentID, amount int64, reason string) (*ledger.Payment, error) {
	return p.h.ledger.ChangePayment(p.h.time(), by, user, id, func(p *ledger.Payment) error {
		if p.State != ledger.PaymentPaid || amount > p.Total-p.Back() {
			return &api.BillingError{Code: api.NotNow, Err: fmt.Errorf("not so much can be given back for %q", reason)}
		}
		p.Refunded += amount
		return nil
	})
}

func (p paying) Buy(_ context.Context, by string, user ledger.UserID, pack string) (string, error) {
	if pack != "10k" && pack != "trial" {
		return "", &api.BillingError{Code: api.UnknownPack, Err: errors.New("there is no such pack")}
	}
	return fmt.Sprintf("https://pay.example.com/buy/%d/%s?by=%s", user, pack, by), nil
}

// broken is a payment provider that cannot be reached.
type broken struct{ paying }

func (broken) Checkout(context.Context, ledger.UserID, string) (string, error) {
	return "", &api.BillingError{Code: api.ProviderUnknown, Err: fmt.Errorf("a secret of the operator")}
}

func (b broken) Buy(ctx context.Context, _ string, user ledger.UserID, _ string) (string, error) {
	return b.Checkout(ctx, user, "")
}

func (b broken) Portal(ctx context.Context, user ledger.UserID) (string, error) {
	return b.Checkout(ctx, user, "")
}

func TestSubscribe(t *testing.T) {
	february := time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC)
	subscribed := func(tier string, calls, fee int64, at time.Time) string {
		quota := map[string]int64{}
		if calls > 0 {
			quota["calls"] = calls
		}
		text, err := json.Marshal(api.Subscribed{SubscriptionTier: tier, Quota: quota, EffectiveAt: at, FeeCents: fee})
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	const checkout = `{"checkout_url":"https://pay.example.com/checkout/1/%s"}` + "\n"
	for _, tt := range []struct {
		name     string
		on       string
		method   string // of payment
		provider bool
		tier     string
		want     string // "": the plan is refused
	}{
		{"up, with a method", "free", "pm_1", true, "pro", subscribed("pro", 50_000, 4900, start)},
		{"up, without one", "free", "", true, "pro", fmt.Sprintf(checkout, "pro")},
		{"up, where nothing is collected", "free", "", false, "pro", subscribed("pro", 50_000, 4900, start)},
		{"by cost, without a method", "free", "", true, "enterprise", fmt.Sprintf(checkout, "enterprise")},
		{"down needs no method", "pro", "", true, "free", subscribed("free", 1000, 0, february)},
		{"the same again needs none", "pro", "", true, "pro", subscribed("pro", 50_000, 4900, start)},
		{"a plan that is not public", "free", "pm_1", true, "hidden", ""},
		{"one's own, though not public", "hidden", "", true, "hidden", subscribed("hidden", 0, 1000, start)},
		{"no plan", "free", "pm_1", true, "gold", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			h.bill(func(b api.Billing) api.Billing {
				if tt.provider {
					return paying{b, h}
				}
				return b
			})
			u, reading, manage := h.user("a@example.com", tt.on)
			h.change(u.ID, func(u *ledger.User) { u.PaymentMethod = tt.method })
			body := fmt.Sprintf(`{"tier":%q}`, tt.tier)
			wantProblem(t, h.call("POST", "/v1/billing/subscribe", reading, body), 403, "scope_required")
			w := h.call("POST", "/v1/billing/subscribe", manage, body)
			if tt.want == "" {
				wantProblem(t, w, 400, "unknown_plan")
				return
			}
			want := tt.want
			if tt.on == "hidden" {
				want = `{"subscription_tier":"hidden","quota":{"documents":500},"effective_at":"2025-01-15T12:00:00Z","fee_cents":1000}` + "\n"
			}
			if diff := cmp.Diff(want, w.Body.String()); w.Code != 200 || diff != "" {
				t.Errorf("got %d\n%s", w.Code, diff)
			}
		})
	}
}

func TestSubscribeWhereItCannotBe(t *testing.T) {
	h := newHouse(t)
	_, _, manage := h.user("a@example.com", "free")
	const pro = `{"tier":"pro"}`
	wantProblem(t, h.call("POST", "/v1/billing/portal", manage, ""), 503, "no_billing")
	h.bill(nil)
	wantProblem(t, h.call("POST", "/v1/billing/portal", manage, ""), 409, "no_payment_provider")
	h.bill(func(b api.Billing) api.Billing { return broken{paying{b, h}} })
	for _, path := range []string{"/v1/billing/subscribe", "/v1/billing/portal"} {
		p := wantProblem(t, h.call("POST", path, manage, pro), 502, "provider_failed")
		if bytes.Contains([]byte(p.Detail), []byte("secret")) {
			t.Errorf("a customer is told %q", p.Detail)
		}
	}
	h.bill(func(b api.Billing) api.Billing { return paying{b, h} })
	if p := read[api.Portal](t, h.call("POST", "/v1/billing/portal", manage, ""), 200); p.URL != "https://pay.example.com/portal/1" {
		t.Errorf("got %+v", p)
	}
	wantProblem(t, h.call("POST", "/v1/billing/subscribe", manage, "{}"), 400, "missing_field")
	h.change(1, func(u *ledger.User) { u.Status, u.ClosedAt = ledger.Closed, h.time() })
	wantProblem(t, h.call("POST", "/v1/billing/subscribe", manage, pro), 403, "account_closed")
}

// TestSubscribeReplaces: the newest wish holds, also over one that waits for a
// payment method.
func TestSubscribeReplaces(t *testing.T) {
	h := newHouse(t)
	h.bill(nil)
	u, _, manage := h.user("a@example.com", "free")
	h.change(u.ID, func(u *ledger.User) { u.Extra = map[string]string{"subscribe": "pro"} })
	read[api.Subscribed](t, h.call("POST", "/v1/billing/subscribe", manage, `{"tier":"free"}`), 200)
	if u := h.ledger.Account(u.ID).User(); len(u.Extra) != 0 || len(u.Plans) != 1 {
		t.Errorf("got %v, %v", u.Extra, u.Plans)
	}
}

// TestInvoiceIsTheContracts holds an invoice's bytes against the contract's shape.
func TestInvoiceIsTheContracts(t *testing.T) {
	h := newHouse(t)
	b := h.bill(nil)
	u, reading, _ := h.user("a@example.com", "pro")
	h.record(u.ID, start, 27_000, nil) // 26,612 are included in the rest of January
	path := "/v1/billing/invoice/2025/1"
	wantProblem(t, h.call("GET", path, reading, ""), 404, "invoice_not_found")
	end := h.ledger.PeriodOf(january).End
	h.at(end)
	draft := get[api.Invoice](h, path, reading)
	if draft.State != api.DraftState || draft.ID != nil || draft.Number != nil || draft.AmountDueCents != draft.TotalCents || draft.TotalCents == 0 {
		t.Errorf("got the draft %+v", draft)
	}
	h.work(b, end.Add(time.Hour))
	w := h.call("GET", "/v1/billing/invoice/2025/01", reading, "")
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	got := read[api.Invoice](t, w, 200)
	if len(got.Ledger.Head) != 64 {
		t.Errorf("got the head %q", got.Ledger.Head)
	}
	golden(t, "invoice.json", bytes.ReplaceAll(indented.Bytes(), []byte(got.Ledger.Head), []byte("HEAD")))
	if diff := cmp.Diff(draft.Lines, got.Lines); diff != "" {
		t.Errorf("the draft had other lines:\n%s", diff)
	}
	for _, path := range []string{"/v1/billing/invoice/2024/12", "/v1/billing/invoice/2025/2", "/v1/billing/invoice/2025/13", "/v1/billing/invoice/x/1", "/v1/billing/invoice/2025/001"} {
		wantProblem(t, h.call("GET", path, reading, ""), 404, "invoice_not_found")
	}
	for accept, want := range map[string]int{"text/html": 406, "application/pdf": 406, "text/html, */*;q=0.1": 200, "application/json": 200} {
		if w := h.call("GET", path, reading, "", "Accept", accept); w.Code != want {
			t.Errorf("Accept %s: got %d, want %d", accept, w.Code, want)
		}
	}
	_, others, _ := h.user("b@example.com", "free")
	wantProblem(t, h.call("GET", path, others, ""), 404, "invoice_not_found")

	// The history says what the invoice does, and 0 where it is void.
	history := func() (charges []int64) {
		for _, m := range get[api.History](h, "/v1/billing/usage/history", reading).History {
			charges = append(charges, m.ChargeCents)
		}
		return charges
	}
	if diff := cmp.Diff([]int64{4900, got.TotalCents}, history()); diff != "" {
		t.Error(diff)
	}
	if _, err := b.Void(t.Context(), "test", *got.ID, "a mistake"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{4900, 0}, history()); diff != "" {
		t.Error(diff)
	}
}

// TestInvoicesPages walks a list that has drafts, a void invoice and the one that
// replaced it, while a draft becomes an invoice.
func TestInvoicesPages(t *testing.T) {
	h := newHouse(t)
	b := h.bill(nil)
	_, reading, _ := h.user("a@example.com", "pro")
	for m := january; m < january+3; m++ {
		h.work(b, h.ledger.PeriodOf(m).End.Add(time.Hour))
	}
	if _, err := b.Void(t.Context(), "test", 2, "a mistake"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context(), billing.RunOptions{Reissue: true}); err != nil {
		t.Fatal(err)
	}
	h.at(h.ledger.PeriodOf(january + 4).End)
	page := func(query string) (list []string, next string) {
		p := get[api.InvoicesPage](h, "/v1/billing/invoices"+query, reading)
		for _, i := range p.Invoices {
			number := "-"
			if i.Number != nil {
				number = *i.Number
			}
			list = append(list, fmt.Sprintf("%d-%02d %s %s", i.Year, i.Month, i.State, number))
		}
		if p.NextCursor != nil {
			next = "&cursor=" + *p.NextCursor
		}
		return list, next
	}
	want := []string{
		"2025-05 draft -", "2025-04 draft -", "2025-03 issued 2025-03-000003", "2025-02 issued 2025-02-000004", "2025-02 void 2025-02-000002", "2025-01 issued 2025-01-000001",
	}
	all, next := page("")
	if diff := cmp.Diff(want, all); diff != "" || next != "" {
		t.Errorf("next %q\n%s", next, diff)
	}
	var walked []string
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		list, next := page("?limit=1" + cursor)
		walked, cursor = append(walked, list...), next
		if n == 0 {
			h.work(b, h.ledger.PeriodOf(january+4).End.Add(time.Hour)) // drafts no more
		}
	}
	want[1] = "2025-04 issued 2025-04-000005"
	if diff := cmp.Diff(want, walked); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, h.call("GET", "/v1/billing/invoices?cursor=x", reading, ""), 400, "invalid_parameter")
}

func TestOperatorBilling(t *testing.T) {
	h := newHouse(t)
	h.bill(nil)
	c, ctx := operate(t, h), t.Context()
	ann, _, _ := h.user("a@example.com", "pro")
	h.user("b@example.com", "free")
	end := h.ledger.PeriodOf(january).End
	_, err := c.RunBilling(ctx, api.BillRun{Month: "2025-01"}, nil)
	wantCode(t, err, 409, "month_not_ended")
	for _, wrong := range []api.BillRun{{Month: "January"}, {User: "x@example.com"}} {
		if _, err := c.RunBilling(ctx, wrong, nil); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
	h.record(ann.ID, start.Add(time.Hour), 3, nil)
	h.at(end.Add(time.Minute))
	status := must[api.BillStatus](t)(c.BillStatus(ctx))
	if diff := cmp.Diff([]api.UnbilledMonth{{Month: "2025-01", Users: 2}}, status.Unbilled); diff != "" || status.Provider || !status.NextRun.Equal(end.Add(time.Hour)) {
		t.Errorf("got %+v\n%s", status, diff)
	}
	drafts := must[api.InvoicesPage](t)(c.Invoices(ctx, api.InvoicesQuery{State: api.DraftState}, "", 1))
	if len(drafts.Invoices) != 1 || drafts.Invoices[0].User != 1 || drafts.NextCursor == nil {
		t.Fatalf("got %+v", drafts)
	}
	drafts = must[api.InvoicesPage](t)(c.Invoices(ctx, api.InvoicesQuery{State: api.DraftState}, *drafts.NextCursor, 1))
	if len(drafts.Invoices) != 1 || drafts.Invoices[0].User != 2 || drafts.NextCursor != nil {
		t.Fatalf("got %+v", drafts)
	}
	for _, run := range []api.BillRun{{DryRun: true}, {}} {
		want := api.BillSummary{Month: "2025-01", TotalUsers: 2, Charged: 1, Skipped: 1, TotalRevenueCents: 2608, Errors: []api.BillFailure{}}
		if diff := cmp.Diff(want, must[api.BillSummary](t)(c.RunBilling(ctx, run, nil))); diff != "" {
			t.Errorf("%+v:\n%s", run, diff)
		}
	}
	if again := must[api.BillSummary](t)(c.RunBilling(ctx, api.BillRun{User: "a@example.com"}, nil)); again.Charged != 0 || again.TotalUsers != 1 {
		t.Errorf("the second run: %+v", again)
	}
	ids := func(q api.InvoicesQuery) (list []string) {
		err := c.EachInvoice(ctx, q, func(i api.Invoice) error { list = append(list, fmt.Sprint(*i.ID, i.State)); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, tt := range []struct {
		query api.InvoicesQuery
		want  []string
	}{
		{api.InvoicesQuery{}, []string{"2paid", "1issued"}},
		{api.InvoicesQuery{User: "a@example.com"}, []string{"1issued"}},
		{api.InvoicesQuery{State: "paid"}, []string{"2paid"}},
		{api.InvoicesQuery{Month: "2025-01", User: "2"}, []string{"2paid"}},
		{api.InvoicesQuery{Month: "2025-02"}, nil},
		{api.InvoicesQuery{State: "draft"}, nil},
	} {
		if diff := cmp.Diff(tt.want, ids(tt.query)); diff != "" {
			t.Errorf("%+v:\n%s", tt.query, diff)
		}
	}
	_, err = c.Invoices(ctx, api.InvoicesQuery{State: "lost"}, "", 0)
	wantCode(t, err, 400, "invalid_parameter")
	for _, id := range []string{"1", "2025-01-000001"} {
		if i := must[api.Invoice](t)(c.Invoice(ctx, id)); i.User != 1 || *i.ID != 1 || i.TotalCents != 2608 {
			t.Errorf("%s: got %+v", id, i)
		}
	}
	for _, id := range []string{"0", "3", "x", "2025-01-000002", "2025-01-1", "2025-02-000001", "-1"} {
		_, err := c.Invoice(ctx, id)
		wantCode(t, err, 404, "invoice_not_found")
	}
}

func TestOperatorInvoiceActs(t *testing.T) {
	h := newHouse(t)
	b := h.bill(nil)
	c, ctx := operate(t, h), t.Context()
	for n := range 3 {
		h.user(fmt.Sprintf("u%d@example.com", n), "pro")
	}
	h.work(b, h.ledger.PeriodOf(january).End.Add(time.Hour))
	amount := func(text string) *ledger.Amount {
		a, err := ledger.ParseAmount(text)
		if err != nil {
			t.Fatal(err)
		}
		return &a
	}
	for _, tt := range []struct {
		id     string
		act    api.InvoiceAct
		ask    api.ActOnInvoice
		want   string // state, due, and what was paid, credited, refunded
		status int
		code   string
	}{
		{"1", api.RetryInvoice, api.ActOnInvoice{}, "", 409, "no_payment_provider"},
		{"1", api.CreditInvoice, api.ActOnInvoice{Amount: amount("6.08")}, "", 400, "invalid_field"}, // no reason
		{"1", api.CreditInvoice, api.ActOnInvoice{Reason: "slow"}, "", 400, "invalid_field"},
		{"1", api.CreditInvoice, api.ActOnInvoice{Amount: amount("-1"), Reason: "slow"}, "", 400, "invalid_field"},
		{"1", api.CreditInvoice, api.ActOnInvoice{Amount: amount("0.001"), Reason: "slow"}, "", 400, "invalid_field"},
		{"1", api.CreditInvoice, api.ActOnInvoice{Amount: amount("100"), Reason: "slow"}, "", 409, "not_now"},
		{"1", api.CreditInvoice, api.ActOnInvoice{Amount: amount("6.08"), Reason: "slow"}, "issued 2000, paid 0, credited 608, refunded 0", 0, ""},
		{"1", api.RefundInvoice, api.ActOnInvoice{Amount: amount("1"), Reason: "slow"}, "", 409, "not_now"},
		{"1", api.PayInvoice, api.ActOnInvoice{}, "", 400, "invalid_field"},
		{"1", api.PayInvoice, api.ActOnInvoice{Reference: "transfer 7"}, "paid 0, paid 2000, credited 608, refunded 0", 0, ""},
		{"2025-01-000001", api.RefundInvoice, api.ActOnInvoice{Amount: amount("1"), Reason: "slow"}, "paid 0, paid 2000, credited 608, refunded 100", 0, ""},
		{"1", api.VoidInvoice, api.ActOnInvoice{}, "", 409, "not_now"},
		{"2", api.VoidInvoice, api.ActOnInvoice{Reason: "wrong\x00"}, "", 400, "invalid_field"},
		{"2", api.VoidInvoice, api.ActOnInvoice{}, "void 0, paid 0, credited 0, refunded 0", 0, ""},
		{"9", api.VoidInvoice, api.ActOnInvoice{}, "", 404, "invoice_not_found"},
	} {
		i, err := c.ActOnInvoice(ctx, tt.id, tt.act, tt.ask)
		if tt.code != "" {
			wantCode(t, err, tt.status, tt.code)
			continue
		}
		got := fmt.Sprintf("%s %d, paid %d, credited %d, refunded %d", i.State, i.AmountDueCents, i.PaidCents, i.CreditedCents, i.RefundedCents)
		if err != nil || got != tt.want {
			t.Errorf("%s %s: got %q (%v), want %q", tt.act, tt.id, got, err, tt.want)
		}
	}
	// A failure is listed with its reason.
	next := h.time().Add(72 * time.Hour)
	_, err := h.ledger.ChangeInvoice(h.time(), "test", 3, func(i *ledger.Invoice) error {
		i.State, i.Failure, i.Failed, i.Next, i.Attempts = ledger.PastDue, "card_declined", h.time(), next, 1
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	status := must[api.BillStatus](t)(c.BillStatus(ctx))
	failed := h.time()
	want := []api.InvoiceFailure{{
		Invoice: 3, Number: "2025-01-000003", User: 3, Email: "u2@example.com", Month: "2025-01", State: "past_due", AmountDueCents: 2608,
		Reason: "card_declined", Attempts: 1, Failed: &failed, NextRetry: &next,
	}}
	if diff := cmp.Diff(want, status.Failures); diff != "" {
		t.Error(diff)
	}
	states := []api.InvoicesState{{State: "paid", Count: 1}, {State: "past_due", Count: 1, AmountDueCents: 2608}, {State: "void", Count: 1}}
	if diff := cmp.Diff(states, status.Invoices); diff != "" || status.Books["cash"] != 1900 {
		t.Errorf("books %v\n%s", status.Books, diff)
	}
}

func TestOperatorExplain(t *testing.T) {
	h := newHouse(t)
	b := h.bill(nil)
	c, ctx := operate(t, h), t.Context()
	u, _, _ := h.user("a@example.com", "hidden")
	documents := func(n int64) func(int, *ledger.Usage) {
		return func(i int, u *ledger.Usage) { u.Documents, u.Billed = n, i != 1 }
	}
	h.record(u.ID, start, 3, documents(400))                   // 266 of them are included
	h.record(u.ID, start.Add(24*time.Hour), 1, documents(100)) //
	first := (&ledger.Usage{Time: start, Counter: 1}).RequestID().String()
	unbilled := (&ledger.Usage{Time: start.Add(time.Second), Counter: 2}).RequestID().String()
	lines := func(e api.Explanation) (list []string) {
		for _, l := range e.Lines {
			text := fmt.Sprintf("%s %d: %d %s", l.Kind, l.AmountCents, l.Quantity, l.Meter)
			for _, d := range l.Days {
				text += fmt.Sprintf(", %s %s %d", d.Date, d.Routes[0].Route, d.Routes[0].Quantity)
			}
			list = append(list, text)
		}
		return list
	}
	want := []string{
		"fee 532: 0 calls", "overage 50: 900 documents, 2025-01-15 POST /v1/scan 800, 2025-01-16 POST /v1/scan 100",
		"overage 53: 900 documents, 2025-01-15 POST /v1/scan 800, 2025-01-16 POST /v1/scan 100",
	}
	open := must[api.Explanation](t)(c.Explain(ctx, first))
	if diff := cmp.Diff(want, lines(open)); diff != "" || !open.Proof.Proved || open.Record == nil || open.Record.Record.Documents != 400 {
		t.Errorf("got %+v\n%s", open, diff)
	}
	if want := "It is of the open month 2025-01, whose invoice would be this now."; open.Record.Where != want || !slices.Equal(open.Record.Lines, []int{1, 2}) {
		t.Errorf("got %+v", open.Record)
	}
	end := h.ledger.PeriodOf(january).End
	h.work(b, end.Add(time.Hour))
	h.record(u.ID, end.Add(-time.Minute), 1, documents(1000))
	late := (&ledger.Usage{Time: end.Add(-time.Minute), Counter: 5}).RequestID().String()
	explained := must[api.Explanation](t)(c.Explain(ctx, "2025-01-000001"))
	if diff := cmp.Diff(want, lines(explained)); diff != "" || !explained.Proof.Proved || explained.Late.PendingCents != 100 || explained.Late.Calls != 1 || explained.Record != nil {
		t.Errorf("got %+v\n%s", explained, diff)
	}
	all := []api.ExplainedRoute{{Route: "POST /v1/scan", Calls: 2, Documents: 800, Quantity: 2, Cost: 8 * ledger.Unit}}
	if diff := cmp.Diff(all, explained.Days[0].Routes); diff != "" || len(explained.Days) != 2 {
		t.Errorf("%d days\n%s", len(explained.Days), diff)
	}
	if path := explained.Lines[1].Days[0].Records; path != "/v1/users/1/records?from=2025-01-15T00%3A00%3A00Z&to=2025-01-16T00%3A00%3A00Z" {
		t.Errorf("the records are at %s", path)
	}
	for id, want := range map[string]string{
		first:    "It is one of the entries that invoice 2025-01-000001 was made from. [1 2]",
		unbilled: "It is not billed: it costs nothing and counts against no quota. []",
		late:     "It came after invoice 2025-01-000001 was made: the next invoice adjusts what is owed for 2025-01. []",
	} {
		record := must[api.Explanation](t)(c.Explain(ctx, id)).Record
		if got := fmt.Sprint(record.Where, " ", record.Lines); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	h.work(b, h.ledger.PeriodOf(january+1).End.Add(time.Hour))
	record := must[api.Explanation](t)(c.Explain(ctx, late))
	if got := fmt.Sprint(record.Record.Where, " ", record.Record.Lines); got != "It came after the invoice of 2025-01 was made, and is adjusted on invoice 2025-02-000002. [1]" {
		t.Errorf("got %s", got)
	}
	_, err := c.Explain(ctx, (&ledger.Usage{Time: start, Counter: 99}).RequestID().String())
	wantCode(t, err, 404, "record_not_found")
	_, err = c.Explain(ctx, "req_x")
	wantCode(t, err, 400, "invalid_parameter")
}

func TestPlanPreview(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	h.at(time.Date(2025, 5, 20, 0, 0, 0, 0, time.UTC))
	u, _, _ := h.user("a@example.com", "free")
	noon := time.Date(2025, 6, 16, 12, 0, 0, 0, time.UTC) // the contract's example
	h.at(noon)
	h.record(u.ID, noon, 1100, nil)
	got := must[api.PlanPreview](t)(c.PreviewPlan(ctx, "1", api.ChangePlan{Plan: "pro"}))
	want := api.PlanPreview{
		PlanChanged: api.PlanChanged{User: 1, SubscriptionTier: "pro", EffectiveAt: noon, FeeCents: 4900, Quota: map[string]int64{"calls": 50_000}},
		Before:      api.MonthTerms{SubscriptionTier: "free", Quota: map[string]int64{"calls": 1000}, ChargeCents: 100},
		After:       api.MonthTerms{SubscriptionTier: "pro", FeeCents: 2368, Quota: map[string]int64{"calls": 24_683}, ChargeCents: 2368},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if u := must[api.User](t)(c.User(ctx, "1")); u.Plan != "free" || u.NextPlan != nil {
		t.Errorf("the preview changed %+v", u)
	}
	changed := must[api.PlanChanged](t)(c.ChangePlan(ctx, "1", api.ChangePlan{Plan: "pro"}))
	if diff := cmp.Diff(got.PlanChanged, changed); diff != "" {
		t.Error(diff)
	}
	down := must[api.PlanPreview](t)(c.PreviewPlan(ctx, "1", api.ChangePlan{Plan: "free"}))
	if diff := cmp.Diff(down.Before, down.After); diff != "" || !down.EffectiveAt.Equal(time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("a change of the next period: %+v\n%s", down, diff)
	}
	_, err := c.PreviewPlan(ctx, "1", api.ChangePlan{Plan: "gold"})
	wantCode(t, err, 400, "unknown_plan")
}

func TestWithoutStripe(t *testing.T) {
	h := newHouse(t)
	c, ctx := operate(t, h), t.Context()
	_, err := c.SetUpStripe(ctx)
	wantCode(t, err, http.StatusConflict, "no_payment_provider")
	_, err = c.CheckStripe(ctx)
	wantCode(t, err, http.StatusConflict, "no_payment_provider")
	_, err = c.RunBilling(ctx, api.BillRun{}, nil)
	wantCode(t, err, 503, "no_billing")
	_, err = c.BillStatus(ctx)
	wantCode(t, err, 503, "no_billing")
}

// doubting is billing whose clock is in doubt until it is accepted.
type doubting struct {
	api.Billing
	doubt *string
}

func (d doubting) ClockDoubt() string { return *d.doubt }
func (d doubting) AcceptClock()       { *d.doubt = "" }

func (d doubting) Run(context.Context, ledger.Month, ledger.UserID, api.BillRun, func(int, int)) (api.BillSummary, error) {
	return api.BillSummary{}, &api.BillingError{Code: api.ClockInDoubt, Err: fmt.Errorf("the clock is in doubt: %s", *d.doubt)}
}

// failing is billing that fails for a reason of its own.
type failing struct{ api.Billing }

func (failing) Run(context.Context, ledger.Month, ledger.UserID, api.BillRun, func(int, int)) (api.BillSummary, error) {
	return api.BillSummary{}, errors.New("the moon is full")
}

func TestClockInDoubt(t *testing.T) {
	h := newHouse(t)
	doubt := "it jumped 9h0m0s ahead"
	h.bill(func(b api.Billing) api.Billing { return doubting{b, &doubt} })
	c, ctx := operate(t, h), t.Context()
	_, err := c.RunBilling(ctx, api.BillRun{}, nil)
	wantCode(t, err, 409, "clock_in_doubt")
	h.bill(func(b api.Billing) api.Billing { return failing{b} })
	other := operate(t, h)
	_, err = other.RunBilling(ctx, api.BillRun{}, nil)
	wantCode(t, err, 500, "work_failed") // the operator is told what it was
	if err == nil || err.Error() != "The moon is full." {
		t.Errorf("got %v", err)
	}
	if got := must[api.ClockState](t)(c.Clock(ctx)); got.Doubt != doubt {
		t.Errorf("got %+v", got)
	}
	if got := must[api.ClockState](t)(c.AcceptClock(ctx)); got.Doubt != "" {
		t.Errorf("got %+v", got)
	}
	if got := must[api.ClockState](t)(c.Clock(ctx)); got.Doubt != "" {
		t.Errorf("after it was accepted: %+v", got)
	}
}
