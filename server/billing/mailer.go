package billing

import (
	"context"
	"errors"

	"tollgate/ledger"
)

// Mailer sends mails. Package mail fills it.
type Mailer interface {
	// SendInvoice sends one mail about an invoice. An error that wraps [ErrRefused]
	// is final; after any other the same mail, with the same id, is tried again.
	SendInvoice(ctx context.Context, m InvoiceMail) error
	// SendNotice is SendInvoice for a mail about a notice.
	SendNotice(ctx context.Context, m NoticeMail) error
}

// ErrRefused is wrapped by errors of mails that will never be taken.
var ErrRefused = errors.New("the mail was refused")

// MailKind is what a mail about an invoice is for.
type MailKind string

// The mails about an invoice.
const (
	MailIssued MailKind = "invoice" // it was issued
	MailFailed MailKind = "failed"  // it could not be collected; the customer must see to it
)

// InvoiceMail is what a mail about an invoice says. Amounts are minor units.
type InvoiceMail struct {
	Kind      MailKind
	ID        string // stable: the Message-ID's left part, by which a mail that came twice is told
	To        ledger.Personal
	Issuer    string
	Number    string
	Month     ledger.Month
	Calls     int64
	Documents int64
	Tokens    int64
	Lines     []ledger.InvoiceLine
	Fee       int64 // the subscription
	Usage     int64 // all that is no fee, tax, carried amount or credit
	Advance   int64 // of the lines, what was charged while it was used
	Total     int64 // of the invoice, what was charged before taken off; MailFailed: what is still owed
	Digits    int
	Currency  string
	Link      string // to the invoice at tollgate
	PayURL    string // the provider's page; "" where there is none
	Failure   string // MailFailed: why, for the customer
}
