package mail

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// FuzzCompose: whatever customers, operators and providers write, the mail has
// its headers and two parts, the text its width, and the HTML only tags of ours.
func FuzzCompose(f *testing.F) {
	f.Add("ada@customer.example", "Ada", "Engines", "Example Ltd", "Your card was declined", "VAT", "https://api.example.com/")
	f.Add("añil@bücher.example", "A\r\nBcc: b@c.d", "\r\n.\r\n", "=?utf-8?q?x?=", "\u202e<script>", strings.Repeat("x", 2000), "https://a/\r\n\r\n")
	f.Add("a@b", "--tollgate-", "\xff\x00", strings.Repeat("\u00e9", 500), "{{.Subject}}", "'\"><a href=x>", "javascript:alert(1)")
	s := fuzzed(f)
	f.Fuzz(func(t *testing.T, email, name, company, issuer, failure, description, page string) {
		e, err := s.addressed("7.1.invoice.42.0", email, name)
		if err != nil {
			if !errors.Is(err, billing.ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		l, err := invoiceLetter(billing.InvoiceMail{
			Kind: billing.MailFailed, To: ledger.Personal{Email: email, Name: name, Company: company}, Issuer: issuer, Number: "2025-01-000042",
			Month: ledger.MonthOf(2025, time.January), Lines: []ledger.InvoiceLine{{Kind: "tax", Description: description, Amount: -1 << 63}},
			Total: 5900, Digits: 2, Currency: "usd", Link: page, PayURL: page, Failure: failure,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.sound(t, e, l)
	})
}

// FuzzNotice is FuzzCompose for the mails about notices.
func FuzzNotice(f *testing.F) {
	f.Add("ada@customer.example", "Ada", "Engines", "Example Ltd", "Your card was declined", "VAT", "https://api.example.com", "calls", int64(5), int64(-1))
	f.Add("a@b", "--tollgate-", "\xff\x00", "A\r\nBcc: b@c.d", "{{.Subject}}", "'\"><a href=x>", "javascript:alert(1)", "\r\n.\r\n", int64(-1<<63), int64(1<<63-1))
	s := fuzzed(f)
	f.Fuzz(func(t *testing.T, email, name, company, issuer, failure, description, pages, meter string, a, b int64) {
		e, err := s.addressed("7-1-notice-42", email, name)
		if err != nil {
			return // FuzzCompose looks at it
		}
		for _, code := range []string{ledger.Quota80, ledger.Quota100, ledger.CreditsLow, ledger.SpendLimit, ledger.PaymentFailed, ledger.CreditsBought, ledger.TakenBack} {
			for _, paid := range []*ledger.Payment{nil, {
				Kind: ledger.RechargePayment, Credits: ledger.Amount(b), Number: 42, Total: a, Refunded: b, Disputed: a, URL: pages,
				Lines: []ledger.InvoiceLine{{Description: description, Amount: b}},
			}} {
				l, err := noticeLetter(billing.NoticeMail{
					To: ledger.Personal{Email: email, Name: name, Company: company}, Issuer: issuer, Payment: paid, Digits: 2, Currency: "usd", Pages: pages, OnExceed: "block",
					Notice: ledger.Notice{Code: code, Month: ledger.MonthOf(2025, time.January), Meter: meter, Used: a, Limit: b, Balance: ledger.Amount(a),
						Credits: ledger.Amount(b), Amount: a, Failure: failure},
				})
				if err != nil {
					t.Fatal(err)
				}
				s.sound(t, e, l)
			}
		}
	})
}

func fuzzed(f *testing.F) *Sender {
	layouts, err := parseLayouts()
	if err != nil {
		f.Fatal(err)
	}
	return &Sender{layouts: layouts, now: func() time.Time { return time.Unix(1738375384, 0) }, from: netmail.Address{Address: "billing@example.com"}}
}

// sound holds that a letter becomes a mail that is one.
func (s *Sender) sound(t *testing.T, e envelope, l letter) {
	t.Helper()
	var content bytes.Buffer
	if err := s.compose(&content, e, l); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(content.Bytes()) {
		if len(line) > 1000 || !bytes.HasSuffix(line, []byte("\r\n")) && bytes.ContainsAny(line, "\r\n") {
			t.Errorf("a line that RFC 5322 forbids, of %d bytes: %q", len(line), line)
		}
	}
	m, err := netmail.ReadMessage(&content)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header) != 8 {
		t.Errorf("headers: %v", m.Header)
	}
	if to, err := m.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != e.to.Address {
		t.Errorf("To: %v (%v), want %q", to, err, e.to.Address)
	}
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	text, html := twoParts(t, multipart.NewReader(m.Body, parameters["boundary"]))
	for line := range strings.SplitSeq(text, "\r\n") {
		if utf8.RuneCountInString(line) > width && !strings.HasPrefix(strings.ToLower(line), "http") {
			t.Errorf("a line of more than %d columns: %q", width, line)
		}
	}
	var plain bytes.Buffer
	if err := s.layouts.html.Execute(&plain, harmless(l)); err != nil {
		t.Fatal(err)
	}
	for _, markup := range []string{"<", ">", `"`, "'"} {
		if got, want := strings.Count(html, markup), strings.Count(plain.String(), markup); got != want {
			t.Errorf("the HTML has %d of %s, want %d:\n%s", got, markup, want, html)
		}
	}
}

// harmless is a letter of the same shape that says nothing.
func harmless(l letter) letter {
	blank := func(s string) string { return strings.Repeat("x", min(len(s), 1)) }
	l.Subject, l.Issuer, l.Heading, l.Greeting = blank(l.Subject), blank(l.Issuer), blank(l.Heading), blank(l.Greeting)
	l.Intro = slices.Repeat([]string{"x"}, len(l.Intro))
	l.Links = slices.Repeat([]link{{"x", "https://x"}}, len(l.Links))
	l.Tables = slices.Clone(l.Tables)
	for i, t := range l.Tables {
		rows := slices.Clone(t.Rows)
		for j := range rows {
			rows[j].Label, rows[j].Value = "x", "x"
		}
		l.Tables[i] = table{"x", rows}
	}
	return l
}

func twoParts(t *testing.T, r *multipart.Reader) (text, html string) {
	t.Helper()
	var parts [2]string
	for i := range parts {
		p, err := r.NextPart()
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		parts[i] = string(body)
	}
	if _, err := r.NextPart(); err != io.EOF {
		t.Errorf("after the second part: %v", err)
	}
	return parts[0], parts[1]
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -100: "-100", -1000: "-1,000",
		1<<63 - 1: "9,223,372,036,854,775,807", -1 << 63: "-9,223,372,036,854,775,808",
	} {
		if got := grouped(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
