package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/billing"
	"tollgate/server/config"
	"tollgate/server/pricing"
	"tollgate/server/stripe"
)

// billingAPI gives billing to the API, in the API's own types.
type billingAPI struct{ *billing.Billing }

// NewBillingAPI makes what [api.Options] needs of billing.
func NewBillingAPI(b *billing.Billing) api.Billing { return billingAPI{b} }

// Collects implements [api.Billing].
func (b billingAPI) Collects() bool { return b.Provider != nil }

// Run implements [api.Billing].
func (b billingAPI) Run(ctx context.Context, month ledger.Month, user ledger.UserID, ask api.BillRun, progress func(done, total int)) (api.BillSummary, error) {
	got, err := b.Billing.Run(ctx, billing.RunOptions{Month: month, User: user, DryRun: ask.DryRun, Reissue: ask.Reissue, Progress: progress})
	if err != nil {
		return api.BillSummary{}, billingError(err)
	}
	return billSummary(got), nil
}

func billSummary(got billing.Summary) api.BillSummary {
	summary := api.BillSummary{
		Month: got.Month, TotalUsers: got.Users, Charged: got.Charged, Skipped: got.Skipped, Failed: got.Failed, TotalRevenueCents: got.Revenue,
		Errors: []api.BillFailure{},
	}
	for _, f := range got.Errors {
		summary.Errors = append(summary.Errors, api.BillFailure(f))
	}
	return summary
}

// Act implements [api.Billing].
func (b billingAPI) Act(ctx context.Context, by string, id ledger.InvoiceID, act api.InvoiceAct, amount int64, text string) (*ledger.Invoice, error) {
	var i *ledger.Invoice
	var err error
	switch act {
	case api.RetryInvoice:
		i, err = b.Retry(ctx, by, id)
	case api.VoidInvoice:
		i, err = b.Void(ctx, by, id, text)
	case api.PayInvoice:
		i, err = b.MarkPaid(ctx, by, id, text)
	case api.RefundInvoice:
		i, err = b.Refund(ctx, by, id, amount, text)
	case api.CreditInvoice:
		i, err = b.Credit(ctx, by, id, amount, text)
	default:
		err = fmt.Errorf("there is nothing that is called %q to do to an invoice", act)
	}
	if err != nil && i != nil { // it was asked, and said no
		return nil, &api.BillingError{Code: api.ProviderRefused, Err: err}
	}
	return i, billingError(err)
}

// Checkout implements [api.Billing].
func (b billingAPI) Checkout(ctx context.Context, user ledger.UserID, tier string) (string, error) {
	url, err := b.Billing.Checkout(ctx, user, tier)
	return url, billingError(err)
}

// Portal implements [api.Billing].
func (b billingAPI) Portal(ctx context.Context, user ledger.UserID) (string, error) {
	url, err := b.Billing.Portal(ctx, user)
	return url, billingError(err)
}

// creditPacks is the credit packs that are sold.
func creditPacks(c *config.Config) []api.CreditPack {
	var packs []api.CreditPack
	for _, p := range c.CreditPacks {
		packs = append(packs, api.CreditPack{ID: p.ID, Credits: p.Credits, Price: p.Price, Expires: api.Duration(p.Expires)})
	}
	return packs
}

// Buy implements [api.Billing].
func (b billingAPI) Buy(ctx context.Context, by string, user ledger.UserID, pack string) (string, error) {
	url, err := b.Billing.Buy(ctx, by, user, pack)
	return url, billingError(err)
}

// ReturnPayment implements [api.Billing].
func (b billingAPI) ReturnPayment(ctx context.Context, by string, user ledger.UserID, id ledger.PaymentID, amount int64, reason string) (*ledger.Payment, error) {
	p, err := b.Billing.ReturnPayment(ctx, by, user, id, amount, reason)
	return p, billingError(err)
}

// SettlePayment implements [api.Billing].
func (b billingAPI) SettlePayment(by string, user ledger.UserID, id ledger.PaymentID, reference string) (*ledger.Payment, error) {
	p, err := b.Billing.SettlePayment(by, user, id, reference)
	return p, billingError(err)
}

// Explain implements [api.Billing].
func (b billingAPI) Explain(ctx context.Context, i *ledger.Invoice) (api.InvoiceUsage, error) {
	e, err := b.Billing.Explain(ctx, i)
	if err != nil {
		return api.InvoiceUsage{}, err
	}
	usage := api.InvoiceUsage{Sealed: e.Sealed, Problems: e.Problems, Late: e.Late, Pending: e.Pending}
	usage.Days = apiDays(e.Days)
	for _, l := range e.Lines {
		usage.Lines = append(usage.Lines, api.LineUsage{Used: l.Used, Days: apiDays(l.Days)})
	}
	return usage, nil
}

func apiDays(days []billing.DayUse) []api.DayUsage {
	var list []api.DayUsage
	for _, d := range days {
		day := api.DayUsage{Date: d.Date, Start: d.Start, End: d.End}
		for _, r := range d.Routes {
			day.Routes = append(day.Routes, api.RouteUsage(r))
		}
		list = append(list, day)
	}
	return list
}

// billingError gives an error of billing the code that the API tells it by.
func billingError(err error) error {
	var refused *billing.Rejection
	code := api.BillingCode("")
	switch {
	case errors.Is(err, billing.ErrNotNow):
		code = api.NotNow
	case errors.Is(err, billing.ErrNoPack):
		code = api.UnknownPack
	case errors.Is(err, billing.ErrNotEnded):
		code = api.MonthNotEnded
	case errors.Is(err, billing.ErrNoProvider):
		code = api.NoProvider
	case errors.As(err, &refused):
		code = api.ProviderRefused
	case errors.Is(err, ledger.ErrMismatch):
		code = api.WrongAccount
	case errors.Is(err, billing.ErrClock), errors.Is(err, billing.ErrDoubt):
		code = api.ClockInDoubt
	case errors.Is(err, billing.ErrUnknown):
		code = api.ProviderUnknown
	default:
		return err
	}
	return &api.BillingError{Code: code, Err: err}
}

// addBilling adds to the API's options what there is of billing and Stripe.
func (s *Server) addBilling(o *api.Options) {
	if s.billing != nil {
		o.Billing = NewBillingAPI(s.billing)
	}
	if s.stripe == nil {
		return
	}
	c := s.config.Load()
	tools := stripeAPI{client: s.stripe, currency: c.Billing.Currency, digits: c.Billing.MinorDigits, plans: func() []pricing.Plan { return s.config.Load().Plans }}
	if c.Stripe.WebhookSecret.Reveal() != "" {
		tools.webhook = c.Server.PublicURL + "/webhooks/stripe"
	}
	o.Stripe = tools
}

// stripeAPI gives the API what the commands about Stripe do.
type stripeAPI struct {
	client   *stripe.Client
	currency string
	digits   int
	plans    func() []pricing.Plan
	webhook  string // URL of our endpoint; "" where events are polled for
}

// Setup implements [api.Stripe].
func (s stripeAPI) Setup(ctx context.Context) ([]api.StripePlan, error) {
	var plans []stripe.Plan
	for _, p := range s.plans() {
		name := p.Name
		if name == "" {
			name = p.ID
		}
		plans = append(plans, stripe.Plan{ID: p.ID, Name: name, Currency: s.currency, Fee: p.Fee.Minor(s.digits), Custom: p.Custom})
	}
	made, err := s.client.Setup(ctx, plans)
	if err != nil {
		return nil, billingError(err)
	}
	list := []api.StripePlan{}
	for _, m := range made {
		view := api.StripePlan{Plan: m.Plan, Product: m.Product, Made: m.Made}
		if m.Price != "" {
			view.Price = &m.Price
		}
		if view.Made == nil {
			view.Made = []string{}
		}
		list = append(list, view)
	}
	return list, nil
}

// Check implements [api.Stripe].
func (s stripeAPI) Check(ctx context.Context) (api.StripeReport, error) {
	r, err := s.client.Check(ctx, s.webhook)
	if err != nil {
		return api.StripeReport{}, billingError(err)
	}
	view := api.StripeReport{
		Account: r.Account.ID, Live: r.Account.Live, Restricted: r.Restricted, ClockMS: int64(r.Clock / time.Millisecond),
		APIVersion: r.APIVersion, Problems: r.Problems,
	}
	if view.Problems == nil {
		view.Problems = []string{}
	}
	if w := r.Webhook; w != nil {
		view.Webhook = &api.StripeWebhook{ID: w.ID, URL: w.URL, Enabled: w.Enabled, APIVersion: w.APIVersion, Missing: w.Missing}
		if w.Missing == nil {
			view.Webhook.Missing = []string{}
		}
	}
	return view, nil
}
