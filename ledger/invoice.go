package ledger

import (
	"fmt"
	"time"
)

// InvoiceID numbers invoices from 1, whether or not they have a number.
type InvoiceID uint32

// InvoiceState is where an invoice stands. A draft is not kept: it is what
// rating gives for a period that has ended.
type InvoiceState string

// The states of an invoice.
const (
	Issued        InvoiceState = "issued"
	Paid          InvoiceState = "paid"
	PastDue       InvoiceState = "past_due"
	Uncollectible InvoiceState = "uncollectible"
	Void          InvoiceState = "void"
)

// Settled tells that nothing more is owed and nothing is tried any more.
func (s InvoiceState) Settled() bool { return s == Paid || s == Void }

// Invoice is the bill of a user and period. Lines, totals, number and sealed
// range never change once it is there; what was paid, credited and tried does.
// Amounts are minor units of the ledger's currency.
type Invoice struct {
	ID       InvoiceID     `json:"id"`
	Number   uint32        `json:"number,omitempty"` // without gaps; 0: nothing was due
	User     UserID        `json:"user"`
	Month    Month         `json:"month"`
	State    InvoiceState  `json:"state"`
	Lines    []InvoiceLine `json:"lines,omitempty"`
	Total    int64         `json:"total"`             // the sum of the lines
	Carried  int64         `json:"carried,omitempty"` // to the next invoice, because it is below what the provider takes
	Advance  int64         `json:"advance,omitempty"` // of the total, what was charged while it was used
	Rated    int64         `json:"rated,omitempty"`   // what the period came to when it was sealed: the lines without those of other periods and tax
	Used     Totals        `json:"used,omitzero"`     // the usage that Rated is of
	Replaces InvoiceID     `json:"replaces,omitempty"`
	Adopted  bool          `json:"adopted,omitempty"` // found at the provider after a backup was restored

	// The entries that it was made from: those of its user and period between them.
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	Head  []byte `json:"head,omitempty"` // the chain's, after Last

	Made      time.Time `json:"made"`
	PaidAt    time.Time `json:"paid_at,omitzero"`
	PaidBy    string    `json:"paid_by,omitempty"` // reference of a payment outside the provider
	Collected int64     `json:"collected,omitempty"`
	Credited  int64     `json:"credited,omitempty"`
	Refunded  int64     `json:"refunded,omitempty"`
	Disputed  bool      `json:"disputed,omitempty"`

	Provider string `json:"provider,omitempty"` // the provider's id of it
	URL      string `json:"url,omitempty"`      // the provider's page for the customer

	Intent   *Intent   `json:"intent,omitempty"`   // under way: its outcome is not known yet
	Tries    int       `json:"tries,omitempty"`    // intents so far; each has a key of its own
	Attempts int       `json:"attempts,omitempty"` // to collect, that failed
	Failed   time.Time `json:"failed,omitzero"`    // the last one
	Failure  string    `json:"failure,omitempty"`
	Next     time.Time `json:"next,omitzero"` // when the next attempt is due

	Mails []Mail `json:"mails,omitempty"`

	// Tell is notices that are logged in the commit of a change. It is not kept.
	Tell []Notice `json:"-"`
}

// InvoiceLine is a line of an invoice. Kinds are those of product contract
// section 4.
type InvoiceLine struct {
	Kind        string    `json:"kind"`
	Description string    `json:"description"`
	Plan        VersionID `json:"plan,omitempty"`
	Meter       string    `json:"meter,omitempty"`
	Quantity    int64     `json:"quantity,omitempty"`
	UnitPrice   Amount    `json:"unit_price,omitempty"` // nanos
	Amount      int64     `json:"amount"`               // minor units
	Of          Month     `json:"of,omitempty"`         // adjustment: the period it is for
	From        time.Time `json:"from,omitzero"`
	To          time.Time `json:"to,omitzero"`
	Payment     PaymentID `json:"payment,omitempty"` // carried_in: whose money went back
}

// Asked is what the customer was asked to pay when it was issued.
func (i *Invoice) Asked() int64 { return i.Total - i.Carried - i.Advance }

// Due is what is still owed.
func (i *Invoice) Due() int64 {
	if i.State == Void || i.State == Paid {
		return 0
	}
	return max(i.Asked()-i.Collected-i.Credited, 0)
}

// Intent is a call to the provider that was begun. It is written before the
// call; the entry with the call's outcome takes it away.
type Intent struct {
	Op      string    `json:"op"` // "push", "pay", "void", "settle", "credit", "refund"; of payments: see billing
	Attempt int       `json:"attempt"`
	Key     string    `json:"key"` // the idempotency key
	Amount  int64     `json:"amount,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
}

// Mail is a mail about an invoice: written when it is queued, and again when it
// was sent or given up.
type Mail struct {
	Kind     string    `json:"kind"` // "invoice", "paid", "failed"
	Queued   time.Time `json:"queued"`
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	Sent     time.Time `json:"sent,omitzero"`
	Error    string    `json:"error,omitempty"`
	GivenUp  bool      `json:"given_up,omitempty"`
}

// NumberText is the number as the customer reads it: "2025-01-000042".
func (i *Invoice) NumberText() string {
	if i.Number == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%06d", i.Month, i.Number)
}
