package ledger

import "time"

// NoticeID is the sequence number of a notice's first entry.
type NoticeID uint64

// The codes of notices.
const (
	Quota80       = "quota_80"         // 80 % of a quota are used
	Quota100      = "quota_100"        // a quota is used up
	CreditsLow    = "credits_low"      // few credits are left, or none for a call that came
	SpendLimit    = "spend_limit"      // the month's usage charges have reached the spend limit
	PaymentFailed = "payment_failed"   // an invoice or payment could not be collected
	CreditsBought = "credits_bought"   // a pack was paid
	TakenBack     = "payment_reversed" // a payment was disputed or given back
)

// Notice is something that a customer, and the operator's programs, are told
// once. It is logged in the commit of what it tells of.
type Notice struct {
	ID   NoticeID `json:"id,omitempty"` // 0 in its first entry
	User UserID   `json:"user"`
	Code string   `json:"code"`
	// Month and Subject tell notices of one code apart: there is one of each.
	Month   Month     `json:"month"`
	Subject string    `json:"subject,omitempty"` // the meter, "invoice 12", "payment 3042"
	Time    time.Time `json:"time"`              // UTC

	Meter   string    `json:"meter,omitempty"`   // of a quota
	Used    int64     `json:"used,omitempty"`    // of a quota: units; of a limit: minor units
	Limit   int64     `json:"limit,omitempty"`   // likewise
	Balance Amount    `json:"balance,omitempty"` // nanos of a credit
	Credits Amount    `json:"credits,omitempty"` // nanos of a credit: bought, or taken back
	Invoice InvoiceID `json:"invoice,omitempty"`
	Payment PaymentID `json:"payment,omitempty"`
	Amount  int64     `json:"amount,omitempty"` // minor units: what is owed, was paid or went back
	Failure string    `json:"failure,omitempty"`

	Deliveries []Delivery `json:"deliveries,omitempty"`
	Done       bool       `json:"done,omitempty"` // nothing is left to be delivered
}

// Delivery is a notice on one way out.
type Delivery struct {
	Channel  string    `json:"channel"` // "mail" or "webhook"
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	Sent     time.Time `json:"sent,omitzero"`
	Error    string    `json:"error,omitempty"`
	GivenUp  bool      `json:"given_up,omitempty"`
}

// Ended tells that nothing more is tried.
func (d Delivery) Ended() bool { return d.GivenUp || !d.Sent.IsZero() }

// NoticeRef is what is kept in memory of a notice.
type NoticeRef struct {
	ID      NoticeID `json:"id"`
	Seq     uint64   `json:"seq"` // the newest entry
	Code    string   `json:"code"`
	Month   Month    `json:"month"`
	Subject string   `json:"subject,omitempty"`
	Done    bool     `json:"done,omitempty"`
	GivenUp bool     `json:"given_up,omitempty"` // on one way out at least
}
