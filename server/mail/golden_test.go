package mail_test

import (
	"flag"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/billing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMailsAsReceived sends mails through a real server and compares what came
// with golden files: subject and text, and HTML.
func TestMailsAsReceived(t *testing.T) {
	for name, change := range map[string]func(*billing.InvoiceMail){
		"pro": func(m *billing.InvoiceMail) {},
		"free_with_overage": func(m *billing.InvoiceMail) {
			m.To.Company = ""
			m.Calls, m.Documents, m.Tokens = 1234, 0, 0
			m.Lines = []ledger.InvoiceLine{{Kind: "overage", Description: "Free: 234 calls beyond 1,000", Amount: 234}}
			m.Fee, m.Usage, m.Total = 0, 234, 234
		},
		"no_usage_charges": func(m *billing.InvoiceMail) {
			m.Calls, m.Documents, m.Tokens = 0, 0, 0
			m.Lines = m.Lines[:1]
			m.Usage, m.Total = 0, 4900
		},
		"carried_tax_and_credit": func(m *billing.InvoiceMail) {
			m.Lines = append(m.Lines,
				ledger.InvoiceLine{Kind: "carried_in", Description: "Carried from December 2024", Amount: 49},
				ledger.InvoiceLine{Kind: "adjustment", Description: "Late usage of December 2024", Amount: 100},
				ledger.InvoiceLine{Kind: "credit", Description: "Credit for the outage on 12 January, agreed with our support by telephone", Amount: -500},
				ledger.InvoiceLine{Kind: "tax", Description: "VAT 19 %", Amount: 1054})
			m.Usage, m.Total = 1100, 6603
			m.PayURL = "https://invoice.stripe.com/i/acct_1/test_YWNjdF8x?s=ap&x=%20y"
		},
		"charged_before": func(m *billing.InvoiceMail) { m.Advance, m.Total = 800, 5100 },
		"erased": func(m *billing.InvoiceMail) {
			m.To = ledger.Personal{Email: m.To.Email}
		},
		"jpy": func(m *billing.InvoiceMail) {
			m.To = ledger.Personal{Email: "yuki@customer.example", Name: "山田 由紀", Company: "株式会社例"}
			m.Issuer = "Ünïcode & Söhne GmbH"
			m.Currency, m.Digits = "jpy", 0
			m.Fee, m.Usage, m.Total = 4900, 1234567, 1239467
		},
		"long_names": func(m *billing.InvoiceMail) {
			m.To.Name = strings.Repeat("Wolfeschlegelsteinhausenbergerdorff ", 5)
			m.To.Company = strings.Repeat("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", 14)
			m.Issuer = "The Very Long and Honourable Company of Adventurers Who Sell Interfaces to Programs Ltd"
			m.Link += "?and=" + strings.Repeat("x", 100)
		},
		"markup": func(m *billing.InvoiceMail) {
			m.To.Name = `</p><script>alert("1")</script>`
			m.To.Company = `<b onmouseover='x'>Bold & Sons</b> {{.Subject}}`
			m.Issuer = `Less < "More" & Co.`
			m.Lines = append(m.Lines, ledger.InvoiceLine{Kind: "tax", Description: "<i>VAT</i>", Amount: 0})
			m.Link = `https://api.example.com/"><script>alert(1)</script>`
			m.PayURL = "javascript:alert(1)"
		},
		"failed": func(m *billing.InvoiceMail) {
			m.Kind, m.ID = billing.MailFailed, "0001-7-failed-2"
			m.PayURL = "https://invoice.stripe.com/i/acct_1/test_YWNjdF8x?s=ap"
			m.Failure = "Your card was declined."
		},
		"failed_without_page": func(m *billing.InvoiceMail) {
			m.Kind, m.ID = billing.MailFailed, "0001-7-failed-2"
			m.Number = ""
			m.Failure = "there is no payment method, and none was given in the time that there was for it"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			m := proMail()
			change(&m)
			if err := newSender(t, s, nil).SendInvoice(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := read(t, s.only(t).content)
			subject, err := new(mime.WordDecoder).DecodeHeader(got.header.Get("Subject"))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", "Subject: "+subject+"\n\n"+got.text)
			golden(t, name+".html", got.html)
			for l := range strings.Lines(got.text) {
				l = strings.TrimSuffix(l, "\n")
				if utf8.RuneCountInString(l) > 60 && !strings.Contains(l, ":") {
					t.Errorf("line of more than 60 columns: %q", l)
				}
			}
			if !strings.HasSuffix(got.text, "\n") || strings.Contains(got.text, "\n\n\n") || strings.Contains(got.text, " \n") {
				t.Errorf("untidy text:\n%s", got.text)
			}
		})
	}
}

// TestWholeMail pins every byte of a mail down, with its headers.
func TestWholeMail(t *testing.T) {
	s := serve(t, nil)
	m := proMail()
	m.To.Name = "Ada Lovelace-Çelebi"
	sender := newSender(t, s, nil)
	for range 2 {
		if err := sender.SendInvoice(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	twice := s.took()
	if diff := cmp.Diff(string(twice[0].content), string(twice[1].content)); diff != "" {
		t.Errorf("the mail changes when it is sent again:\n%s", diff)
	}
	golden(t, "whole.eml", strings.ReplaceAll(string(twice[0].content), "\r\n", "\n"))
}

func TestTestMail(t *testing.T) {
	s := serve(t, nil)
	if err := newSender(t, s, nil).Test(t.Context(), "op@example.com"); err != nil {
		t.Fatal(err)
	}
	mail := s.only(t)
	if mail.to != "op@example.com" {
		t.Errorf("sent to %q", mail.to)
	}
	got := read(t, mail.content)
	golden(t, "test.txt", "Subject: "+got.header.Get("Subject")+"\n\n"+got.text)
	golden(t, "test.html", got.html)
	if date, err := got.header.Date(); err != nil || !date.Equal(today.Truncate(time.Second)) {
		t.Errorf("dated %v (%v), want %v", date, err, today)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); -update writes it anew:\n%s", name, diff)
	}
}
