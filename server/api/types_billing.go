package api

import (
	"time"

	"tollgate/ledger"
)

// DraftState is the state of an invoice whose month has ended and that is not
// issued yet. The others are those of [ledger.InvoiceState].
const DraftState = "draft"

// Invoice is an invoice as JSON has it everywhere. Amounts are minor units.
type Invoice struct {
	ID         *ledger.InvoiceID `json:"id" doc:"null: a draft, which is made anew each time"`
	Number     *string           `json:"number" doc:"such as 2025-01-000042; null where nothing is due"`
	User       ledger.UserID     `json:"user"`
	Email      string            `json:"email"`
	Year       int               `json:"year"`
	Month      int               `json:"month"`
	Period     InvoicePeriod     `json:"period"`
	State      string            `json:"state" doc:"draft, issued, paid, past_due, uncollectible or void"`
	Currency   string            `json:"currency"`
	Lines      []InvoiceLine     `json:"lines"`
	TotalCents int64             `json:"total_cents" doc:"the sum of the lines"`
	// CarriedOutCents is below what the payment provider takes at least, and waits
	// for the next invoice.
	CarriedOutCents int64              `json:"carried_out_cents" doc:"left for the next invoice"`
	PaidCents       int64              `json:"paid_cents" doc:"with advance_cents"`
	AdvanceCents    int64              `json:"advance_cents" doc:"of the total, what was charged while it was used"`
	CreditedCents   int64              `json:"credited_cents"`
	RefundedCents   int64              `json:"refunded_cents"`
	Disputed        bool               `json:"disputed"`
	AmountDueCents  int64              `json:"amount_due_cents"`
	Replaces        *ledger.InvoiceID  `json:"replaces" doc:"the void invoice of the same month that this one takes the place of"`
	ProviderID      *string            `json:"provider_id"`
	HostedURL       *string            `json:"hosted_url" doc:"the payment provider's page of it"`
	Ledger          InvoiceLedgerRange `json:"ledger"`
}

// InvoicePeriod is the month that an invoice is for: half-open [Start, End).
type InvoicePeriod struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// InvoiceLine is a line of an invoice. Quantity × UnitPrice is the amount, save
// where a fee is for a part of the month.
type InvoiceLine struct {
	Kind        string        `json:"kind" doc:"fee, overage, usage, minimum, carried_in, adjustment, credit or tax"`
	Description string        `json:"description"`
	Quantity    int64         `json:"quantity"`
	UnitPrice   ledger.Amount `json:"unit_price"`
	AmountCents int64         `json:"amount_cents"`
}

// InvoiceLedgerRange is the entries that an invoice was made from: those of its
// user and period from First to Last.
type InvoiceLedgerRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Head  string `json:"head" doc:"of the hash chain after the last one, in hex"`
}

// InvoicesPage is a page of invoices, newest first.
type InvoicesPage struct {
	Invoices   []Invoice `json:"invoices"`
	NextCursor *string   `json:"next_cursor" doc:"null on the last page"`
}

// Subscribe asks for another plan.
type Subscribe struct {
	Tier string `json:"tier" doc:"id of a public plan"`
}

// Subscribed tells which plan a customer is on, and from when.
type Subscribed struct {
	SubscriptionTier string           `json:"subscription_tier"`
	Quota            map[string]int64 `json:"quota" doc:"a full month's by meter; a meter not named is unlimited"`
	EffectiveAt      time.Time        `json:"effective_at"`
	FeeCents         int64            `json:"fee_cents" doc:"a full month's"`
}

// Checkout is a page of the payment provider: where a payment method is given, and
// the plan changes when it is there; or where a credit pack is paid, and its credits
// are there when it is.
type Checkout struct {
	CheckoutURL string `json:"checkout_url"`
}

// BuyPack asks for a credit pack.
type BuyPack struct {
	Pack string `json:"pack" doc:"id of a credit pack of /v1/billing/pricing"`
}

// Portal is the payment provider's page for a customer.
type Portal struct {
	URL string `json:"url"`
}

// BillRun says what to bill. The zero value is everything that is unbilled.
type BillRun struct {
	Month   string `json:"month,omitempty"` // such as "2025-01", and all unbilled before it; "": the last one that ended
	User    string `json:"user,omitempty"`  // an id or an e-mail address
	DryRun  bool   `json:"dry_run,omitempty"`
	Reissue bool   `json:"reissue,omitempty"` // replace void invoices: of Month, or of all months
}

// BillSummary is what a run came to.
type BillSummary struct {
	Month             string        `json:"month"`
	TotalUsers        int           `json:"total_users"`
	Charged           int           `json:"charged"`
	Skipped           int           `json:"skipped"`
	Failed            int           `json:"failed"`
	TotalRevenueCents int64         `json:"total_revenue_cents"`
	Errors            []BillFailure `json:"errors"`
}

// BillFailure is a user who could not be billed.
type BillFailure struct {
	User  ledger.UserID `json:"user"`
	Error string        `json:"error"`
}

// BillProgress is one line of a run: either how far it is, or, last, how it ended.
type BillProgress struct {
	Done    int          `json:"done,omitempty"`
	Total   int          `json:"total,omitempty"`
	Summary *BillSummary `json:"summary,omitempty"`
	Problem *Problem     `json:"problem,omitempty"`
}

// BillStatus is how billing stands.
type BillStatus struct {
	Currency string           `json:"currency"`
	Provider bool             `json:"provider" doc:"whether a payment provider is configured"`
	NextRun  time.Time        `json:"next_run"`
	Unbilled []UnbilledMonth  `json:"unbilled" doc:"months that have ended and are not billed, oldest first"`
	Invoices []InvoicesState  `json:"invoices"`
	Failures []InvoiceFailure `json:"failures" doc:"invoices that could not be collected, newest first"`
	// MoreFailures is how many there are beyond those listed.
	MoreFailures    int             `json:"more_failures"`
	Payments        []PaymentsState `json:"payments" doc:"that are no invoice's: of the open month, and all that are past due or owed"`
	PaymentFailures []Payment       `json:"payment_failures" doc:"past due, not collected this month, or owed since they went back; newest first"`
	// MorePaymentFailures is how many there are beyond those listed.
	MorePaymentFailures int              `json:"more_payment_failures"`
	Undelivered         *Undelivered     `json:"undelivered" doc:"notices given up lately; null: none"`
	Books               map[string]int64 `json:"books" doc:"balance of each account in minor units; they sum to zero"`
}

// UnbilledMonth is a month that has ended, with the users who have no invoice of it.
type UnbilledMonth struct {
	Month string `json:"month"`
	Users int    `json:"users"`
}

// InvoicesState is how many invoices are in a state, and what is due of them.
type InvoicesState struct {
	State          string `json:"state"`
	Count          int    `json:"count"`
	AmountDueCents int64  `json:"amount_due_cents"`
}

// PaymentsState is how many payments of a kind are in a state, and what they come to.
type PaymentsState struct {
	Kind        ledger.PaymentKind `json:"kind"`
	State       string             `json:"state" doc:"pending, paid, past_due or failed; owed: counted again, of what went back"`
	Count       int                `json:"count"`
	AmountCents int64              `json:"amount_cents" doc:"owed: what is owed"`
}

// Undelivered is notices that nobody took on one way out, until they were given up.
type Undelivered struct {
	Count int           `json:"count"`
	User  ledger.UserID `json:"user" doc:"of the newest"`
}

// InvoiceFailure is an invoice that could not be collected.
type InvoiceFailure struct {
	Invoice        ledger.InvoiceID `json:"invoice"`
	Number         string           `json:"number"`
	User           ledger.UserID    `json:"user"`
	Email          string           `json:"email"`
	Month          string           `json:"month"`
	State          string           `json:"state"`
	AmountDueCents int64            `json:"amount_due_cents"`
	Reason         string           `json:"reason"`
	Attempts       int              `json:"attempts"`
	Failed         *time.Time       `json:"failed" doc:"the last attempt"`
	NextRetry      *time.Time       `json:"next_retry" doc:"null: none is due; the customer or the operator must act"`
}

// InvoicesQuery says which invoices to list. Zero values ask for all.
type InvoicesQuery struct {
	User  string // an id or an e-mail address
	Month string // such as "2025-01"
	State string // draft is of months that have ended and have no invoice; those are listed by it alone
}

// InvoiceAct is something that is done to an invoice.
type InvoiceAct string

// What can be done to an invoice.
const (
	RetryInvoice  InvoiceAct = "retry"
	VoidInvoice   InvoiceAct = "void"
	PayInvoice    InvoiceAct = "paid"
	RefundInvoice InvoiceAct = "refund"
	CreditInvoice InvoiceAct = "credit"
)

// ActOnInvoice is what an act needs: refund and credit an amount and a reason,
// paid a reference; the others may have a reason.
type ActOnInvoice struct {
	Amount    *ledger.Amount `json:"amount,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Reference string         `json:"reference,omitempty"`
}

// Explanation is the usage behind an invoice, and whether it comes to it.
type Explanation struct {
	Invoice Invoice         `json:"invoice"`
	Lines   []ExplainedLine `json:"lines" doc:"one for each of the invoice's, in its order"`
	Days    []ExplainedDay  `json:"days" doc:"all usage of the month, also what the plan includes; quantity counts calls"`
	Proof   Proof           `json:"proof"`
	Late    LateUsage       `json:"late"`
	Record  *ExplainedCall  `json:"record" doc:"the call that was asked for; null where an invoice was"`
}

// ExplainedLine is a line of an invoice with the usage behind it.
type ExplainedLine struct {
	Kind        string         `json:"kind"`
	Description string         `json:"description"`
	AmountCents int64          `json:"amount_cents"`
	Meter       string         `json:"meter" doc:"what quantity counts; calls where the line has no meter"`
	Quantity    int64          `json:"quantity" doc:"the sum of the days: all that was used on the line's plan"`
	Cost        ledger.Amount  `json:"cost" doc:"the sum of the days, at the price list"`
	Days        []ExplainedDay `json:"days"`
}

// ExplainedDay is a day of the billing zone, [Start, End).
type ExplainedDay struct {
	Date    string           `json:"date"`
	Start   time.Time        `json:"start"`
	End     time.Time        `json:"end"`
	Records string           `json:"records" doc:"path of the operator API that lists the records"`
	Routes  []ExplainedRoute `json:"routes"`
}

// ExplainedRoute is what was used on a route in a day.
type ExplainedRoute struct {
	Route     string        `json:"route"`
	Calls     int64         `json:"calls"`
	Documents int64         `json:"documents"`
	Tokens    int64         `json:"tokens"`
	Quantity  int64         `json:"quantity" doc:"of the line's meter"`
	Cost      ledger.Amount `json:"cost"`
}

// Proof is what came of rating the sealed usage again.
type Proof struct {
	Proved     bool         `json:"proved"`
	Problems   []string     `json:"problems"`
	Usage      CurrentUsage `json:"usage" doc:"what the sealed entries come to"`
	TotalCents int64        `json:"total_cents"`
}

// LateUsage is what came after the seal.
type LateUsage struct {
	Calls        int64         `json:"calls"`
	Cost         ledger.Amount `json:"cost"`
	PendingCents int64         `json:"pending_cents" doc:"that the next invoice will have as an adjustment"`
}

// ExplainedCall is a call and where it is charged.
type ExplainedCall struct {
	Record Record `json:"record"`
	// Lines are the indices of the invoice's lines that count the call.
	Lines []int  `json:"lines"`
	Where string `json:"where" doc:"a sentence"`
}

// PlanPreview is what a change of plan would mean for the open month.
type PlanPreview struct {
	PlanChanged
	Before MonthTerms `json:"before"`
	After  MonthTerms `json:"after"`
}

// MonthTerms is what the open month has and costs, with what was used so far.
type MonthTerms struct {
	SubscriptionTier string           `json:"subscription_tier" doc:"in force at once"`
	FeeCents         int64            `json:"fee_cents" doc:"all fees of the month, pro rata"`
	Quota            map[string]int64 `json:"quota" doc:"of the whole month by meter; a meter not named is unlimited"`
	ChargeCents      int64            `json:"charge_cents" doc:"fee and usage so far"`
}

// StripePlan is what a plan has at Stripe.
type StripePlan struct {
	Plan    string   `json:"plan"`
	Product string   `json:"product"`
	Price   *string  `json:"price" doc:"null where the fee is agreed with each customer"`
	Made    []string `json:"made" doc:"what was not there before"`
}

// StripeReport is what a check of Stripe found.
type StripeReport struct {
	Account    string         `json:"account"`
	Live       bool           `json:"live" doc:"real money"`
	Restricted bool           `json:"restricted" doc:"the key is a restricted one"`
	ClockMS    int64          `json:"clock_ms" doc:"Stripe's clock before ours"`
	APIVersion string         `json:"api_version"`
	Webhook    *StripeWebhook `json:"webhook" doc:"null: none sends to us, events are polled for"`
	Problems   []string       `json:"problems"`
}

// StripeWebhook is a webhook endpoint at Stripe.
type StripeWebhook struct {
	ID         string   `json:"id"`
	URL        string   `json:"url"`
	Enabled    bool     `json:"enabled"`
	APIVersion string   `json:"api_version"`
	Missing    []string `json:"missing" doc:"event types that it does not send"`
}
