package billing

import (
	"context"
	"fmt"
	"time"

	"tollgate/ledger"
)

// The channels that a notice is delivered by.
const (
	mailChannel    = "mail"    // to the customer
	webhookChannel = "webhook" // to the operator's program
)

// WebhookSender tells the operator's program of notices. Package webhook fills it.
type WebhookSender interface {
	// SendWebhook sends one webhook. An error that wraps [ErrGone] is final; after
	// any other the same webhook, with the same id, is tried again.
	SendWebhook(ctx context.Context, w Webhook) error
}

// Webhook is a notice as the operator's program is told of it.
type Webhook struct {
	ID       string // stable: by it a webhook that came twice is told
	Notice   ledger.Notice
	Email    string // of the user; "" of one who was erased
	Invoice  string // the number of the notice's invoice; "" where there is none
	Receipt  string // the number of the notice's payment; "" while it is not paid
	Currency string // of the notice's minor units
}

// NoticeMail is a notice as the customer is told of it.
type NoticeMail struct {
	ID       string // stable: the Message-ID's left part, by which a mail that came twice is told
	To       ledger.Personal
	Issuer   string
	Notice   ledger.Notice
	Payment  *ledger.Payment // that it is about; nil: none
	OnExceed string          // of a quota: "block", "bill" or "bill_if_payable", as the plan has it; "": not known
	Digits   int             // of the currency's minor units
	Currency string
	Zone     *time.Location // that dates are told in
	Pages    string         // the URL below which /dashboard is
}

// channels is how a notice goes out: by what is configured now. An invoice that
// could not be collected has a mail of its own.
func (b *Billing) channels(n *ledger.Notice) (list []ledger.Delivery) {
	own := n.Code == ledger.PaymentFailed && n.Invoice != 0
	if b.mailsNotices() && !own && b.Ledger.Account(n.User).User().Personal.Email != "" {
		list = append(list, ledger.Delivery{Channel: mailChannel})
	}
	if b.Webhooks != nil {
		list = append(list, ledger.Delivery{Channel: webhookChannel})
	}
	return list
}

func (b *Billing) mailsNotices() bool { return b.Mailer != nil && b.settings.Load().NoticeMails }

// noticeID is the id of a notice outside the ledger, the same for each attempt. It
// has no full stop in it, because of what is signed
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme);
// and the epoch, because a restored ledger can come to the same numbers again.
func (b *Billing) noticeID(n *ledger.Notice) string {
	return fmt.Sprintf("%s-%d-notice-%d", b.id, b.epoch, n.ID)
}

// send makes one attempt to deliver a notice.
func (b *Billing) send(ctx context.Context, n *ledger.Notice, channel string) error {
	switch {
	case channel == mailChannel && b.mailsNotices():
		m, err := b.noticeMail(n)
		if err != nil {
			return err
		}
		return b.Mailer.SendNotice(ctx, m)
	case channel == webhookChannel && b.Webhooks != nil:
		w, err := b.webhook(n)
		if err != nil {
			return err
		}
		return b.Webhooks.SendWebhook(ctx, w)
	}
	return fmt.Errorf("nothing is configured to send a %s with any more", channel)
}

func (b *Billing) webhook(n *ledger.Notice) (Webhook, error) {
	w := Webhook{ID: b.noticeID(n), Notice: *n, Email: b.Ledger.Account(n.User).User().Personal.Email, Currency: b.currency}
	w.Notice.Deliveries = nil
	if n.Invoice != 0 {
		i, err := b.Ledger.Invoice(n.Invoice)
		if err != nil {
			return w, err
		}
		w.Invoice = i.NumberText()
	}
	if n.Payment != 0 {
		p, err := b.Ledger.Payment(n.User, n.Payment)
		if err != nil {
			return w, err
		}
		w.Receipt = p.ReceiptText()
	}
	return w, nil
}

// noticeMail is what a mail about a notice says. The error wraps [ErrRefused] where
// it would tell what is true no more.
func (b *Billing) noticeMail(n *ledger.Notice) (NoticeMail, error) {
	u, s := b.Ledger.Account(n.User).User(), b.settings.Load()
	if u.Personal.Email == "" {
		return NoticeMail{}, fmt.Errorf("%w: user %d has no e-mail address any more", ErrRefused, u.ID)
	}
	m := NoticeMail{
		ID: b.noticeID(n), To: u.Personal, Issuer: s.Issuer, Notice: *n,
		Digits: b.digits, Currency: b.currency, Zone: b.zone(n.Month), Pages: s.PublicURL,
	}
	m.Notice.Deliveries = nil
	if n.Payment != 0 {
		var err error
		if m.Payment, err = b.Ledger.Payment(n.User, n.Payment); err != nil {
			return m, err
		}
		if n.Code == ledger.PaymentFailed && m.Payment.State == ledger.PaymentPaid {
			return m, fmt.Errorf("%w: it was to say that a payment failed, which has been paid since", ErrRefused)
		}
	}
	if n.Meter != "" {
		assigned := u.PlanAt(n.Time)
		if _, plan, err := b.Book.Terms(b.Ledger, u, assigned.Plan, assigned.From, n.Time); err == nil {
			m.OnExceed = plan.OnExceed
		}
	}
	return m, nil
}

// zone is the billing zone of a month.
func (b *Billing) zone(m ledger.Month) *time.Location {
	zone, err := time.LoadLocation(b.Ledger.PeriodOf(m).Zone)
	if err != nil {
		return time.UTC // the ledger was opened with the zone, so it is there
	}
	return zone
}
