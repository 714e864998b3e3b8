package ledger

import (
	"fmt"
	"time"
)

// PaymentID is the sequence number of a payment's first entry.
type PaymentID uint64

// PaymentKind is what a payment is for.
type PaymentKind string

// The kinds of payments.
const (
	PurchasePayment PaymentKind = "purchase" // credits, paid by the customer on the provider's page
	RechargePayment PaymentKind = "recharge" // credits, bought for the customer who asked for it beforehand
	RealtimePayment PaymentKind = "realtime" // usage, charged as it comes
)

// PaymentState is where a payment stands.
type PaymentState string

// The states of a payment.
const (
	PaymentPending PaymentState = "pending"  // begun; the customer or the provider decides
	PaymentPaid    PaymentState = "paid"     // collected, also where it was given back since
	PaymentPastDue PaymentState = "past_due" // realtime: declined, and tried again
	PaymentGivenUp PaymentState = "failed"   // given up: nothing was collected, and nothing will be
)

// Payment is money that is not an invoice's: for credits, or for usage of the open
// month. What it is for and comes to never changes; what became of it does.
// Amounts of money are minor units of the ledger's currency.
type Payment struct {
	ID      PaymentID     `json:"id,omitempty"` // 0 in its first entry
	Kind    PaymentKind   `json:"kind"`
	State   PaymentState  `json:"state"`
	User    UserID        `json:"user"`
	Epoch   int           `json:"epoch,omitempty"`   // in which it was begun: of two payments in different ones the ids can be the same
	Month   Month         `json:"month"`             // in which it was begun; realtime: whose usage it charges
	Pack    string        `json:"pack,omitempty"`    // of a purchase or recharge
	Credits Amount        `json:"credits,omitempty"` // nanos of a credit, granted when it is paid
	Expires time.Time     `json:"expires,omitzero"`  // of the credits; zero: never
	Lines   []InvoiceLine `json:"lines"`
	Total   int64         `json:"total"`            // the sum of the lines, more than 0
	Number  uint32        `json:"number,omitempty"` // of the receipt, once it is paid: without gaps

	Made     time.Time `json:"made"`
	PaidAt   time.Time `json:"paid_at,omitzero"`
	Refunded int64     `json:"refunded,omitempty"` // given back by refunds
	Disputed int64     `json:"disputed,omitempty"` // taken back by disputes that are open or lost
	Owed     int64     `json:"owed,omitempty"`     // of what went back, for credits that were burnt or usage that was had
	AskedIn  InvoiceID `json:"asked_in,omitempty"` // the newest invoice that asks for what was Owed; 0: none yet
	Asked    int64     `json:"asked,omitempty"`    // what invoices that are not void have asked for of it
	PaidBy   string    `json:"paid_by,omitempty"`  // reference of a payment of Owed outside the provider

	Provider string `json:"provider,omitempty"` // the provider's id of the page or payment
	Method   string `json:"method,omitempty"`   // the payment method last tried, where it is not the page's
	URL      string `json:"url,omitempty"`      // the provider's page for the customer

	Intent   *Intent   `json:"intent,omitempty"`   // under way: its outcome is not known yet
	Tries    int       `json:"tries,omitempty"`    // intents so far; each has a key of its own
	Attempts int       `json:"attempts,omitempty"` // to collect, that failed
	Failed   time.Time `json:"failed,omitzero"`    // the last one
	Failure  string    `json:"failure,omitempty"`
	Next     time.Time `json:"next,omitzero"` // when the next step is due

	// Tell is notices that are logged in the commit of a change. It is not kept.
	Tell []Notice `json:"-"`
}

// PaymentRef is what is kept in memory of a payment. The whole of it is read from
// the log.
type PaymentRef struct {
	ID      PaymentID    `json:"id"`
	Seq     uint64       `json:"seq"` // the newest entry
	Kind    PaymentKind  `json:"kind"`
	State   PaymentState `json:"state"`
	Month   Month        `json:"month"`
	Total   int64        `json:"total"`              // minor units
	Made    int64        `json:"made"`               // milliseconds
	Grant   uint64       `json:"grant,omitempty"`    // the entry of the credits
	Owed    int64        `json:"owed,omitempty"`     // minor units
	AskedIn InvoiceID    `json:"asked_in,omitempty"` // see Payment
	Method  string       `json:"method,omitempty"`   // see Payment
	Todo    bool         `json:"todo,omitempty"`     // a step waits
}

// ReceiptText is the receipt's number as the customer reads it: "R-000042"; "" while
// it is not paid.
func (p *Payment) ReceiptText() string {
	if p.Number == 0 {
		return ""
	}
	return fmt.Sprintf("R-%06d", p.Number)
}
