package webhook

import (
	"encoding/json"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// body is what is sent.
type body struct {
	Type      string    `json:"type"`      // the code of the notice
	Timestamp time.Time `json:"timestamp"` // when it happened, UTC
	Data      data      `json:"data"`
}

// data is what a notice tells. What a code does not tell of is left out, so that
// all of one code have the same fields, but for those that say here when they are
// there.
type data struct {
	Notice  ledger.NoticeID `json:"notice"`
	User    ledger.UserID   `json:"user"`
	Email   string          `json:"email,omitempty"` // unless the user was erased
	Code    string          `json:"code"`
	Month   string          `json:"month"`             // "2025-01"
	Subject string          `json:"subject,omitempty"` // tells notices of one code and month apart, where there are several

	// quota_80, quota_100
	Meter string `json:"meter,omitempty"`
	Used  *int64 `json:"used,omitempty"`  // units
	Limit *int64 `json:"limit,omitempty"` // units

	// spend_limit, in minor units
	UsedCents  *int64 `json:"used_cents,omitempty"`
	LimitCents *int64 `json:"limit_cents,omitempty"`

	// credits_low, credits_bought, payment_reversed: exact numbers
	Balance json.Number `json:"balance,omitempty"` // credits_low: what is left
	Credits json.Number `json:"credits,omitempty"` // bought, or taken back

	// payment_failed, credits_bought, payment_reversed
	Invoice       ledger.InvoiceID `json:"invoice,omitempty"` // where it is about one
	InvoiceNumber string           `json:"invoice_number,omitempty"`
	Payment       ledger.PaymentID `json:"payment,omitempty"`      // where it is about one
	Receipt       string           `json:"receipt,omitempty"`      // the number, once the payment is paid
	AmountCents   *int64           `json:"amount_cents,omitempty"` // payment_failed, credits_bought
	OwedCents     *int64           `json:"owed_cents,omitempty"`   // payment_reversed: for what was used already of what went back
	Failure       string           `json:"failure,omitempty"`      // payment_failed, where it is known

	Currency string `json:"currency,omitempty"` // of minor units, where there are any
}

// encode writes what is sent of a notice: the same bytes each time, unless the
// user's address has changed.
func encode(w billing.Webhook) ([]byte, error) {
	n := w.Notice
	d := data{Notice: n.ID, User: n.User, Email: w.Email, Code: n.Code, Month: n.Month.String(), Subject: n.Subject}
	money := false
	switch n.Code {
	case ledger.Quota80, ledger.Quota100:
		d.Meter, d.Used, d.Limit = n.Meter, &n.Used, &n.Limit
	case ledger.SpendLimit:
		d.UsedCents, d.LimitCents, money = &n.Used, &n.Limit, true
	case ledger.CreditsLow:
		d.Balance = json.Number(n.Balance.Short())
	default:
		d.Invoice, d.InvoiceNumber, d.Payment, d.Receipt = n.Invoice, w.Invoice, n.Payment, w.Receipt
		d.AmountCents, d.Failure, money = &n.Amount, n.Failure, true
		if n.Code == ledger.CreditsBought || n.Code == ledger.TakenBack {
			d.Credits = json.Number(n.Credits.Short())
		}
		if n.Code == ledger.TakenBack {
			d.AmountCents, d.OwedCents = nil, &n.Amount
		}
	}
	if money {
		d.Currency = w.Currency
	}
	return json.Marshal(body{n.Code, n.Time.UTC(), d})
}
