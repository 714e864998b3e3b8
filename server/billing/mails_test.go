package billing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// decliner is a provider where nobody's card is good.
type decliner struct{ provider }

func (d *decliner) Customer(_ context.Context, r billing.CustomerRequest) (billing.Customer, error) {
	return billing.Customer{Owner: r.Owner, ID: "cus_1"}, nil
}

func (d *decliner) Push(_ context.Context, r billing.InvoiceRequest) (billing.Charge, error) {
	return billing.Charge{Owner: r.Owner, Invoice: r.Invoice, ID: fmt.Sprint("in_", r.Invoice), State: billing.ChargeOpen, Total: r.Total}, nil
}

func (d *decliner) Pay(_ context.Context, r billing.PayRequest) (billing.Charge, error) {
	return billing.Charge{ID: r.ID, State: billing.ChargeOpen, Decline: &billing.Decline{Code: "card_declined"}}, nil
}

func (d *decliner) Credit(_ context.Context, r billing.CreditRequest) (billing.Charge, error) {
	return billing.Charge{ID: r.ID, State: billing.ChargeOpen, Credited: r.Amount}, nil
}

func (d *decliner) Void(_ context.Context, _, id string) (billing.Charge, error) {
	return billing.Charge{ID: id, State: billing.ChargeVoid}, nil
}

// post is a mail server that is down at first.
type post struct {
	down bool
	sent []billing.InvoiceMail
}

func (p *post) SendInvoice(_ context.Context, m billing.InvoiceMail) error {
	if p.down {
		return errors.New("try again")
	}
	p.sent = append(p.sent, m)
	return nil
}

func (p *post) SendNotice(context.Context, billing.NoticeMail) error { return nil }

// TestMailsSayWhatIs: a mail that waited says what is owed by then, and is not
// sent when that is nothing.
func TestMailsSayWhatIs(t *testing.T) {
	at := &post{down: true}
	w := newWorld(t, func(o *billing.Options) { o.Provider, o.Mailer = &decliner{}, at })
	u := w.user("pro")
	w.ends(january)
	if i := w.invoice(u, january); i.State != ledger.PastDue || len(i.Mails) != 2 {
		t.Fatalf("the invoice is %+v", i)
	}
	if _, err := w.Credit(context.Background(), "test", w.invoice(u, january).ID, 900, "sorry"); err != nil {
		t.Fatal(err)
	}
	at.down = false
	w.now = w.now.Add(time.Hour)
	w.work()
	if len(at.sent) != 2 || at.sent[0].Total != 4900 || at.sent[1].Kind != billing.MailFailed || at.sent[1].Total != 4000 {
		t.Fatalf("sent %+v", at.sent)
	}
	var sum int64
	for _, l := range at.sent[1].Lines {
		sum += l.Amount
	}
	if sum != 4000 {
		t.Errorf("its lines come to %d", sum)
	}

	at.down = true
	w.ends(january + 1)
	w.void(u, january+1)
	at.down = false
	w.now = w.now.Add(time.Hour)
	w.work()
	if i := w.invoice(u, january+1); len(at.sent) != 2 || !i.Mails[0].GivenUp || w.ledger.Account(u).User().Invoices[1].Todo {
		t.Errorf("sent %d mails; the void invoice is %+v", len(at.sent), i)
	}
}
