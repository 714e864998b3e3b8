package api_test

import (
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
	h.bill(func(b api.Billing) api.Billing { return broken{paying{b}} })
	if p := wantProblem(t, h.call("POST", path, manage, ask), 502, "provider_failed"); strings.Contains(p.Detail, "secret") {
		t.Errorf("a customer is told %q", p.Detail)
	}
	h.bill(func(b api.Billing) api.Billing { return paying{b} })
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
		{ID: third.ID, Kind: "purchase", State: "pending", Pack: "100", Credits: credits, AmountCents: 1200, Time: h.time(), Lines: lines},
		{ID: second.ID, Kind: "recharge", State: "failed", Pack: "100", Credits: credits, AmountCents: 1200, Time: h.time(), Lines: lines},
		{
			ID: first.ID, Receipt: &paid, Kind: "purchase", State: "paid", Pack: "100", Credits: credits, AmountCents: 1200, Time: start, PaidAt: &start,
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
