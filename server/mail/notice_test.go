package mail_test

import (
	"errors"
	"mime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// quotaMail is the notice that most of a quota is used.
func quotaMail() billing.NoticeMail {
	return billing.NoticeMail{
		ID: "0001-1-notice-42", To: ledger.Personal{Email: "ada@customer.example", Name: "Ada Lovelace", Company: "Analytical Engines"}, Issuer: "Example Ltd",
		Notice: ledger.Notice{
			ID: 42, User: 7, Code: ledger.Quota80, Month: ledger.MonthOf(2025, time.January), Subject: "calls", Time: today, Meter: "calls", Used: 40210, Limit: 50000,
		},
		OnExceed: "block", Digits: 2, Currency: "usd", Zone: time.UTC, Pages: "https://api.example.com",
	}
}

// receiptMail is the receipt of a pack.
func receiptMail() billing.NoticeMail {
	m := quotaMail()
	m.Notice = ledger.Notice{ID: 43, User: 7, Code: ledger.CreditsBought, Month: m.Notice.Month, Subject: "payment 3042", Time: today,
		Credits: 10000 * ledger.Unit, Balance: 10450 * ledger.Unit, Payment: 3042, Amount: 11900}
	m.Payment = &ledger.Payment{
		ID: 3042, Kind: ledger.PurchasePayment, State: ledger.PaymentPaid, User: 7, Month: m.Notice.Month, Pack: "10k", Credits: 10000 * ledger.Unit,
		Lines: []ledger.InvoiceLine{{Kind: "credits", Description: "10,000 credits", Amount: 10000}, {Kind: "tax", Description: "VAT 19 %", Amount: 1900}},
		Total: 11900, Number: 42, Made: today, PaidAt: today,
	}
	m.OnExceed = ""
	return m
}

// TestNoticesAsReceived sends each notice through a real server and compares what
// came with golden files.
func TestNoticesAsReceived(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	of := func(m func() billing.NoticeMail, change func(*billing.NoticeMail)) billing.NoticeMail {
		made := m()
		change(&made)
		return made
	}
	for name, m := range map[string]billing.NoticeMail{
		"quota_80":  quotaMail(),
		"quota_100": of(quotaMail, func(m *billing.NoticeMail) { m.Notice.Code, m.Notice.Used, m.OnExceed = ledger.Quota100, 50000, "bill" }),
		"quota_100_if_payable": of(quotaMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Used, m.OnExceed = ledger.Quota100, 50001, "bill_if_payable"
		}),
		"quota_100_for_a_call": of(quotaMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Meter, m.Notice.Subject, m.Notice.Used = ledger.Quota100, "documents", "documents", 49990
		}),
		"quota_of_documents": of(quotaMail, func(m *billing.NoticeMail) { m.Notice.Meter, m.Notice.Subject = "documents", "documents" }),
		"credits_low": of(quotaMail, func(m *billing.NoticeMail) {
			m.Notice = ledger.Notice{Code: ledger.CreditsLow, Month: m.Notice.Month, Time: today.Add(-3 * time.Hour), Balance: 1450*ledger.Unit + ledger.Unit/2}
			m.Zone = berlin
		}),
		"credits_gone": of(quotaMail, func(m *billing.NoticeMail) {
			m.Notice = ledger.Notice{Code: ledger.CreditsLow, Month: m.Notice.Month, Time: today}
		}),
		"spend_limit": of(quotaMail, func(m *billing.NoticeMail) {
			m.Notice = ledger.Notice{Code: ledger.SpendLimit, Month: m.Notice.Month, Time: today, Used: 5004, Limit: 5000}
		}),
		"recharge_failed": of(receiptMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Failure = ledger.PaymentFailed, "card_declined"
			m.Payment.Kind, m.Payment.State, m.Payment.Number, m.Payment.URL = ledger.RechargePayment, ledger.PaymentGivenUp, 0, "https://pay.stripe.com/x"
		}),
		"realtime_failed": of(receiptMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Failure, m.Notice.Amount = ledger.PaymentFailed, "", 512
			m.Payment.Kind, m.Payment.State, m.Payment.Number, m.Payment.Credits = ledger.RealtimePayment, ledger.PaymentPastDue, 0, 0
		}),
		"receipt":            receiptMail(),
		"receipt_of_pack":    of(receiptMail, func(m *billing.NoticeMail) { m.Payment.Lines, m.To.Company = m.Payment.Lines[:1], "" }),
		"receipt_that_lasts": of(receiptMail, func(m *billing.NoticeMail) { m.Payment.Expires = today.AddDate(1, 0, 0) }),
		"receipt_of_recharge": of(receiptMail, func(m *billing.NoticeMail) {
			m.Payment.Kind, m.Payment.Credits = ledger.RechargePayment, 2500*ledger.Unit
			m.Currency, m.Digits = "jpy", 0
		}),
		"reversed": of(receiptMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Credits, m.Notice.Amount = ledger.TakenBack, 9400*ledger.Unit, 600
			m.Payment.Disputed, m.Payment.Owed = 11900, 600
		}),
		"reversed_by_refund": of(receiptMail, func(m *billing.NoticeMail) {
			m.Notice.Code, m.Notice.Credits, m.Notice.Amount = ledger.TakenBack, 0, 0
			m.Payment.Refunded = 5000
		}),
		"notice_markup": of(receiptMail, func(m *billing.NoticeMail) {
			m.To.Name, m.To.Company, m.Issuer = `</p><script>alert("1")</script>`, `<b>Bold & Sons</b> {{.Subject}}`, "Less < \"More\"\r\nBcc: eve@example.com"
			m.Notice.Code, m.Notice.Failure = ledger.PaymentFailed, "<i>declined</i>\r\n.\r\nthe end"
			m.Payment.Lines[0].Description, m.Payment.URL = "<u>credits</u>", "javascript:alert(1)"
			m.Pages = `https://api.example.com/"><script>`
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			if err := newSender(t, s, nil).SendNotice(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := read(t, s.only(t).content)
			if id := got.header.Get("Message-ID"); id != "<0001-1-notice-42@example.com>" {
				t.Errorf("its Message-ID is %q", id)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(got.header.Get("Subject"))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", "Subject: "+subject+"\n\n"+got.text)
			golden(t, name+".html", got.html)
			for l := range strings.Lines(got.text) {
				if l = strings.TrimSuffix(l, "\n"); utf8.RuneCountInString(l) > 60 && !strings.Contains(l, ":") {
					t.Errorf("line of more than 60 columns: %q", l)
				}
			}
			if !strings.HasSuffix(got.text, "\n") || strings.Contains(got.text, "\n\n\n") || strings.Contains(got.text, " \n") {
				t.Errorf("untidy text:\n%s", got.text)
			}
		})
	}
}

// TestNoticesThatAreNotTaken: what is final is refused, all else is tried again.
func TestNoticesThatAreNotTaken(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*server)
		mail    func(*billing.NoticeMail)
		refused bool
	}{
		{"greylisted", func(s *server) { s.rcpt = func() error { return &smtp.SMTPError{Code: 451, Message: "later"} } }, nil, false},
		{"no such user", func(s *server) { s.rcpt = func() error { return &smtp.SMTPError{Code: 550, Message: "unknown"} } }, nil, true},
		{"no address", nil, func(m *billing.NoticeMail) { m.To.Email = "" }, true},
		{"a code of another time", nil, func(m *billing.NoticeMail) { m.Notice.Code = "good_news" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m := serve(t, c.change), quotaMail()
			if c.mail != nil {
				c.mail(&m)
			}
			err := newSender(t, s, nil).SendNotice(t.Context(), m)
			if err == nil || errors.Is(err, billing.ErrRefused) != c.refused {
				t.Errorf("got %v; want refused %v", err, c.refused)
			}
			if len(s.took()) != 0 {
				t.Error("the server took it all the same")
			}
		})
	}
}
