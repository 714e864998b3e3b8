package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
)

// mailTries is how often a mail is tried before it is given up: over five days.
const mailTries = 24

// queueMail adds a mail to an invoice, so that it is queued in the same commit as
// what it tells of.
func (b *Billing) queueMail(i *ledger.Invoice, kind MailKind, now time.Time) {
	if b.Mailer == nil || i.Total-i.Carried <= 0 || b.Ledger.Account(i.User).User().Personal.Email == "" {
		return
	}
	i.Mails = append(i.Mails, ledger.Mail{Kind: string(kind), Queued: now})
}

// sendMails sends what is due of an invoice's mails.
func (b *Billing) sendMails(ctx context.Context, i *ledger.Invoice) error {
	if b.Mailer == nil {
		return nil
	}
	for n := range i.Mails {
		m := &i.Mails[n]
		if !m.Sent.IsZero() || m.GivenUp || m.Next.After(b.Now()) {
			continue
		}
		if b.outdated(i, m) {
			var err error
			if i, err = b.record(i, "mail", func(i *ledger.Invoice) { i.Mails[n].GivenUp, i.Mails[n].Next = true, time.Time{} }); err != nil {
				return err
			}
			continue
		}
		mail, err := b.invoiceMail(i, n)
		if err == nil {
			err = b.Mailer.SendInvoice(ctx, mail)
		}
		if ctx.Err() != nil {
			return ctx.Err() // nothing is wrong with the mail
		}
		if err != nil {
			b.Log.Warn("a mail could not be sent", "invoice", i.ID, "mail", m.Kind, "error", err)
		}
		if i, err = b.record(i, "mail", func(i *ledger.Invoice) { b.mailed(&i.Mails[n], err) }); err != nil {
			return err
		}
	}
	return nil
}

// outdated tells that what a mail was to tell is true no more.
func (b *Billing) outdated(i *ledger.Invoice, m *ledger.Mail) bool {
	return i.State == ledger.Void || m.Kind == string(MailFailed) && i.Due() == 0
}

// mailed notes what became of a mail. A later try has the same id, so that a
// server that took it although it did not say so can tell.
func (b *Billing) mailed(m *ledger.Mail, err error) {
	m.Attempts++
	m.Next = time.Time{}
	if err == nil {
		m.Sent, m.Error = b.Now(), ""
		return
	}
	m.Error = err.Error()
	wait, ok := mailAgain(m.Attempts, err)
	if m.GivenUp = !ok; ok {
		m.Next = b.Now().Add(wait)
	}
}

// mailAgain is how long after so many attempts, the last of which has failed, a mail
// is tried again; not ok: never.
func mailAgain(attempts int, failure error) (wait time.Duration, ok bool) {
	if errors.Is(failure, ErrRefused) || attempts >= mailTries {
		return 0, false
	}
	return min(time.Minute<<attempts, 6*time.Hour), true
}

// invoiceMail is what a mail about an invoice says.
func (b *Billing) invoiceMail(i *ledger.Invoice, n int) (InvoiceMail, error) {
	u := b.Ledger.Account(i.User).User()
	if u.Personal.Email == "" {
		return InvoiceMail{}, fmt.Errorf("%w: user %d has no e-mail address any more", ErrRefused, u.ID)
	}
	s := b.settings.Load()
	m := InvoiceMail{
		Kind: MailKind(i.Mails[n].Kind), ID: fmt.Sprintf("%s.%d.invoice.%d.%d", b.id, b.epoch, i.ID, n), To: u.Personal, Issuer: s.Issuer,
		Number: i.NumberText(), Month: i.Month, Calls: i.Used.Calls, Documents: i.Used.Documents, Tokens: i.Used.Tokens,
		Lines: i.Lines, Total: i.Asked(), Advance: i.Advance, Digits: b.digits, Currency: b.currency,
		Link: fmt.Sprintf("%s/invoices/%d/%d", s.PublicURL, i.Month.Year(), int(i.Month.Month())), PayURL: i.URL, Failure: i.Failure,
	}
	if m.Kind == MailFailed && i.Credited != 0 {
		m.Total = i.Due()
		m.Lines = append(slices.Clone(i.Lines), ledger.InvoiceLine{Kind: creditLine, Description: "Credited", Amount: -i.Credited})
	}
	for _, l := range i.Lines {
		switch l.Kind {
		case "fee":
			m.Fee += l.Amount
		case ledger.TaxLine, ledger.CarriedIn, creditLine:
		default:
			m.Usage += l.Amount
		}
	}
	return m, nil
}
