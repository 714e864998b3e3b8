package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tollgate/ledger"
)

// Billing is what the handlers need of monthly billing, which package server
// fills in. Errors that the asker can do something about are a [*BillingError].
type Billing interface {
	// Collects tells whether there is a payment provider.
	Collects() bool
	// Unbilled is the months of a user that have ended and have no invoice, oldest
	// first; Drafts is what their invoices would be now.
	Unbilled(u *ledger.User) []ledger.Month
	Drafts(u *ledger.User) ([]*ledger.Invoice, error)
	Draft(u *ledger.User, m ledger.Month) (*ledger.Invoice, error)
	// NextRun is when a period is sealed next.
	NextRun() time.Time
	// ClockDoubt is why the clock is in doubt, so that nothing is billed; "": it is
	// not. AcceptClock confirms that it is right.
	ClockDoubt() string
	AcceptClock()
	// Run bills; user 0 is everyone, month 0 the last one that has ended.
	Run(ctx context.Context, month ledger.Month, user ledger.UserID, ask BillRun, progress func(done, total int)) (BillSummary, error)
	// Act does something to an invoice; amount is minor units, and text the reason
	// or reference.
	Act(ctx context.Context, by string, id ledger.InvoiceID, act InvoiceAct, amount int64, text string) (*ledger.Invoice, error)
	Explain(ctx context.Context, i *ledger.Invoice) (InvoiceUsage, error)
	// Checkout is where a user gives a payment method, and is then put on a plan;
	// Portal is the provider's page for a user.
	Checkout(ctx context.Context, user ledger.UserID, tier string) (url string, err error)
	Portal(ctx context.Context, user ledger.UserID) (url string, err error)
	// Buy is the provider's page where a user pays for a credit pack.
	Buy(ctx context.Context, by string, user ledger.UserID, pack string) (url string, err error)
	// ReturnPayment gives minor units of a paid payment back; SettlePayment notes that
	// what it owes was paid outside the provider.
	ReturnPayment(ctx context.Context, by string, user ledger.UserID, id ledger.PaymentID, amount int64, reason string) (*ledger.Payment, error)
	SettlePayment(by string, user ledger.UserID, id ledger.PaymentID, reference string) (*ledger.Payment, error)
	// GrantPlan gives a user the credits that the plan has for the open period and
	// were not given yet.
	GrantPlan(ctx context.Context, user ledger.UserID) error
}

// Stripe is what the commands about the payment provider need.
type Stripe interface {
	Setup(ctx context.Context) ([]StripePlan, error)
	Check(ctx context.Context) (StripeReport, error)
}

// InvoiceUsage is the usage behind an invoice.
type InvoiceUsage struct {
	Lines    []LineUsage // one for each of the invoice's
	Days     []DayUsage  // all that was sealed
	Sealed   ledger.Totals
	Problems []string // none: rated again, the usage comes to exactly the invoice
	Late     ledger.Totals
	Pending  int64 // minor units
}

// LineUsage is the usage behind a line, by day of the billing zone.
type LineUsage struct {
	Used ledger.Totals
	Days []DayUsage
}

// DayUsage is what was used on a day, [Start, End), by route.
type DayUsage struct {
	Date       string
	Start, End time.Time
	Routes     []RouteUsage
}

// RouteUsage is what was used on a route.
type RouteUsage struct {
	Route string
	ledger.Totals
}

// BillingError is why billing did not do what was asked.
type BillingError struct {
	Code BillingCode
	Err  error // for the operator
}

// BillingCode says what kind of error it is.
type BillingCode string

// The kinds of errors of billing.
const (
	NotNow          BillingCode = "not_now"             // not to this invoice or payment as it stands
	UnknownPack     BillingCode = "unknown_pack"        // no such credit pack is sold
	MonthNotEnded   BillingCode = "month_not_ended"     // nothing to bill yet
	NoProvider      BillingCode = "no_payment_provider" // none is configured
	WrongAccount    BillingCode = "wrong_account"       // the provider's is not the one that the ledger belongs to
	ClockInDoubt    BillingCode = "clock_in_doubt"      // nothing is billed by it
	ProviderRefused BillingCode = "provider_refused"    // and nothing was done
	ProviderUnknown BillingCode = "provider_unknown"    // it may have been done
)

func (e *BillingError) Error() string { return e.Err.Error() }

func (e *BillingError) Unwrap() error { return e.Err }

// status is the HTTP status of a code.
func (c BillingCode) status() int {
	switch c {
	case UnknownPack:
		return http.StatusBadRequest
	case ProviderRefused, ProviderUnknown:
		return http.StatusBadGateway
	}
	return http.StatusConflict
}

// billing is billing, or the problem that there is none.
func (s *service) billing() (Billing, error) {
	if s.Billing == nil {
		return nil, refusal(http.StatusServiceUnavailable, "no_billing", "Billing is not running in this server.")
	}
	return s.Billing, nil
}

// invoice is an invoice as JSON has it.
func (s *service) invoice(i *ledger.Invoice) Invoice {
	period := s.Ledger.PeriodOf(i.Month)
	view := Invoice{
		Number: optionalText(i.NumberText()), User: i.User, Email: s.email(i.User), Year: i.Month.Year(), Month: int(i.Month.Month()),
		Period: InvoicePeriod{period.Start.UTC(), period.End.UTC()}, State: string(i.State), Currency: s.currency, Lines: []InvoiceLine{},
		TotalCents: i.Total, CarriedOutCents: i.Carried, PaidCents: i.Collected + i.Advance, AdvanceCents: i.Advance, CreditedCents: i.Credited, RefundedCents: i.Refunded, Disputed: i.Disputed,
		AmountDueCents: i.Due(), ProviderID: optionalText(i.Provider), HostedURL: optionalText(i.URL),
		Ledger: InvoiceLedgerRange{i.First, i.Last, fmt.Sprintf("%x", i.Head)},
	}
	for _, l := range i.Lines {
		view.Lines = append(view.Lines, InvoiceLine{l.Kind, l.Description, l.Quantity, l.UnitPrice, l.Amount})
	}
	if i.Replaces != 0 {
		view.Replaces = &i.Replaces
	}
	if i.ID == 0 {
		view.State, view.Replaces = DraftState, nil
		view.AmountDueCents = max(i.Asked(), 0)
		return view
	}
	view.ID = &i.ID
	return view
}

func optionalText(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
