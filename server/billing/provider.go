package billing

import (
	"context"
	"errors"
	"time"

	"tollgate/ledger"
)

// Provider collects money. Package stripe fills it; billing decides what is owed
// and when, and never asks twice for what it cannot rule out to have been done.
//
// Each call that changes something at the provider carries a Key, which is the
// same whenever the same attempt is made again, also after a crash. Such a call
// ends in one of three ways: it returns what is there now; it returns a
// [*Rejection], and nothing was done; or it returns an error that wraps
// [ErrUnknown], and may have been done.
type Provider interface {
	Payments

	// Account is who the provider takes us for, and what time it has.
	Account(ctx context.Context) (Account, error)

	// Customer makes the provider's customer of a user, or finds the one that was
	// made before.
	Customer(ctx context.Context, c CustomerRequest) (Customer, error)
	// CustomerNow fetches a customer.
	CustomerNow(ctx context.Context, id string) (Customer, error)
	// Checkout begins to collect a payment method; the customer goes to the URL.
	Checkout(ctx context.Context, r CheckoutRequest) (url string, err error)
	// Portal is a page where the customer sees to payment methods and receipts.
	Portal(ctx context.Context, customer, returnTo string) (url string, err error)

	// Push brings an invoice of ours to the provider and makes it payable there: it
	// finds the one that was made before, makes what is missing of it, and finalizes
	// it. It never pays. The provider's total is the request's, or Push fails.
	Push(ctx context.Context, r InvoiceRequest) (Charge, error)
	// Pay tries to collect an open invoice with the customer's payment method. That
	// the card was declined is no error: it is in the answer.
	Pay(ctx context.Context, r PayRequest) (Charge, error)
	// Charge fetches an invoice.
	Charge(ctx context.Context, id string) (Charge, error)
	// Void makes an open invoice worth nothing. It is no error when it is so already.
	Void(ctx context.Context, key, id string) (Charge, error)
	// Settle marks an open invoice as paid by other means.
	Settle(ctx context.Context, key, id string) (Charge, error)
	// Credit gives a part of an invoice back: as a refund of what was paid, or, where
	// nothing was, as less to pay.
	Credit(ctx context.Context, r CreditRequest) (Charge, error)

	// Events lists what happened since, oldest first, at most a page. An event only
	// says what to look at again: the object is fetched anew.
	Events(ctx context.Context, since time.Time, after string) ([]Event, error)
	// Charges walks all invoices that the provider has of a ledger, oldest first.
	Charges(ctx context.Context, ledgerID string, each func(Charge) error) error
}

// Payments is the part of a [Provider] that is about payments other than those of
// invoices.
type Payments interface {
	// PayPage begins a payment that the customer makes on the provider's page.
	PayPage(ctx context.Context, r PaymentRequest) (Receipt, error)
	// Collect takes a payment at once with the customer's default payment method. That
	// the card was declined is no error: it is in the answer.
	Collect(ctx context.Context, r PaymentRequest) (Receipt, error)
	// Receipt fetches a payment by the id that PayPage or Collect gave.
	Receipt(ctx context.Context, id string) (Receipt, error)
	// FindReceipt looks for what became of a request whose outcome is unknown and
	// whose key may be forgotten: the newest payment or page that carries the request's
	// payment id. ok is false where there is none.
	FindReceipt(ctx context.Context, r PaymentRequest) (found Receipt, ok bool, err error)
	// Return gives a part of a payment back. To return the same part twice, with
	// the same key or, once that is forgotten, with the same Part, is to return it once.
	Return(ctx context.Context, r ReturnRequest) (Receipt, error)
	// Receipts walks all payments that the provider has of a ledger, those that were
	// never made aside, oldest first.
	Receipts(ctx context.Context, ledgerID string, each func(Receipt) error) error
}

// ErrUnknown is wrapped by errors after which the call may have been done all
// the same: a broken connection, a server error, an answer that ended early.
var ErrUnknown = errors.New("the outcome is unknown")

// Rejection is a call that was refused and did nothing.
type Rejection struct {
	Code    string // the provider's word, such as "resource_missing"
	Message string // the provider's, for the operator; not for customers
	// Retry tells that the same call may succeed later: too many requests.
	Retry bool
}

func (r *Rejection) Error() string {
	if r.Code == "" {
		return r.Message
	}
	return r.Code + ": " + r.Message
}

// Account is the provider's account that the secret key belongs to.
type Account struct {
	ID   string
	Live bool      // real money
	Now  time.Time // by the provider's clock, UTC
}

// Owner says whose an object at the provider is. The epoch is that in which it was
// made, that of a payment is the one in which the payment was begun. All of it goes into the
// object's metadata; objects of another ledger are never touched.
type Owner struct {
	Ledger string // the ledger's id
	Epoch  int
	User   ledger.UserID
}

// CustomerRequest is a user of ours. Personal is current.
type CustomerRequest struct {
	Owner
	Key      string
	Personal ledger.Personal
}

// Customer is the provider's customer of a user.
type Customer struct {
	Owner
	ID            string
	PaymentMethod string // the default one; "": none
	Gone          bool   // deleted at the provider
}

// CheckoutRequest asks for a payment method.
type CheckoutRequest struct {
	Owner
	Key      string
	Customer string
	Tier     string // the plan to change to when it is there; "": none
	Success  string // URL to return to
	Cancel   string // URL to return to
}

// InvoiceRequest is an issued invoice, in minor units of the currency.
type InvoiceRequest struct {
	Owner
	Key      string
	Invoice  ledger.InvoiceID
	Customer string
	Number   string
	Period   string // such as "2025-01"
	Currency string
	Lines    []ChargeLine
	Total    int64
	// Fresh tells that this invoice was never sent before, so that there is nothing to look up.
	Fresh bool
}

// ChargeLine is a line of an invoice. Amount may be negative.
type ChargeLine struct {
	Description string
	Amount      int64 // minor units
}

// PayRequest is one attempt to collect.
type PayRequest struct {
	Key string
	ID  string // the provider's invoice
}

// CreditRequest gives a part of an invoice back.
type CreditRequest struct {
	Owner
	Key    string
	ID     string // the provider's invoice
	Amount int64  // minor units
	Reason string
	Refund bool // give money back; else what is owed becomes less
}

// Purpose is what a payment is for. It goes into the metadata, so that the payment
// can be made anew in a ledger that was restored from an older backup.
type Purpose struct {
	Kind    ledger.PaymentKind
	Month   ledger.Month
	Pack    string
	Credits ledger.Amount // nanos of a credit
	Expires time.Time     // of the credits; zero: never
	Tax     int64         // minor units, of the total
}

// PaymentRequest is a payment that is not an invoice's: a pack of credits, or usage
// that is charged as it comes. Amounts are minor units of the currency.
type PaymentRequest struct {
	Owner
	Purpose
	Key      string
	Payment  ledger.PaymentID
	Customer string
	Currency string
	Lines    []ChargeLine // sum to Total; none is negative
	Total    int64
	// Method is the payment method that Collect charges.
	Method string
	// Keep has PayPage keep the card as the customer's payment method, for payments
	// that are collected later.
	Keep    bool
	Success string // URL to return to from the page
	Cancel  string // URL to return to from the page
}

// ReturnRequest gives a part of a payment back.
type ReturnRequest struct {
	Owner
	Key    string
	ID     string // the provider's id of the payment
	Part   string // names this return among those of the payment
	Amount int64  // minor units
	Reason string
}

// ReceiptState is the state of a payment at the provider.
type ReceiptState string

// The states of a payment at the provider.
const (
	ReceiptOpen   ReceiptState = "open"   // the page waits for the customer, or the bank for itself
	ReceiptPaid   ReceiptState = "paid"   // collected, also where it was given back since
	ReceiptFailed ReceiptState = "failed" // declined, expired or given up: nothing will be collected
)

// Receipt is a payment as the provider has it now. Amounts are minor units.
type Receipt struct {
	Owner
	Purpose                   // from the metadata
	Payment  ledger.PaymentID // from the metadata
	ID       string           // of the page, or of the payment where there was no page
	State    ReceiptState
	Currency string
	Total    int64
	Refunded int64    // given back by refunds
	Disputed int64    // taken back by disputes that are open or lost
	URL      string   // the page, while it waits
	Decline  *Decline // why it was not collected
}

// ChargeState is the state of an invoice at the provider.
type ChargeState string

// The states of an invoice at the provider.
const (
	ChargeDraft         ChargeState = "draft"
	ChargeOpen          ChargeState = "open"
	ChargePaid          ChargeState = "paid"
	ChargeVoid          ChargeState = "void"
	ChargeUncollectible ChargeState = "uncollectible"
)

// Charge is an invoice as the provider has it now.
type Charge struct {
	Owner
	Invoice  ledger.InvoiceID // from the metadata
	ID       string
	Number   string // ours, from the metadata
	Period   string // ours, from the metadata
	State    ChargeState
	Currency string
	Total    int64 // minor units
	Paid     int64 // minor units
	Credited int64 // minor units, by credit notes
	Refunded int64 // minor units
	Disputed bool
	URL      string // the provider's page for the customer
	Decline  *Decline
}

// Decline is why the last attempt to collect failed.
type Decline struct {
	Code         string // such as "card_declined"
	Message      string
	Authenticate bool // the customer must confirm on the invoice's page; trying again is in vain
}

// Event is a hint that something at the provider changed.
type Event struct {
	ID       string
	Type     string
	Time     time.Time
	Customer string // the provider's id; "" where the event names none
	Charge   string // the provider's invoice; "" where the event names none
	Receipt  string // the provider's payment or page, of which [Provider.Receipt] knows; "" where the event names none
}
