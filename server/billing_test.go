package server_test

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"tollgate/ledger"
	"tollgate/server/api"
)

// postOffice is a real SMTP server that keeps what it is given.
type postOffice struct {
	mu    sync.Mutex
	mails []string
}

func newPostOffice(t *testing.T) (*postOffice, string) {
	p := &postOffice{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(p)
	s.Domain = "localhost"
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return p, l.Addr().String()
}

// NewSession implements [smtp.Backend].
func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &postSession{p}, nil }

type postSession struct{ *postOffice }

func (s *postSession) Reset()                               {}
func (s *postSession) Logout() error                        { return nil }
func (s *postSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *postSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *postSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, string(text))
	return err
}

func (p *postOffice) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.mails...)
}

// plain is the text part of a mail.
func plain(t *testing.T, text string) (subject, body string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	part, err := multipart.NewReader(m.Body, params["boundary"]).NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := io.ReadAll(quotedprintable.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Subject"), string(decoded)
}

// TestAMonthFromCallToMail is a customer's month on a whole appliance: a free
// account, a card given on the checkout page, an upgrade by it, calls, and on the
// 1st an invoice that is paid and mailed.
func TestAMonthFromCallToMail(t *testing.T) {
	upstream := newCounting(t)
	office, smtpAddr := newPostOffice(t)
	config := strings.Replace(serverTable, "[server]", "[server]\npublic_url = \"http://shop.example\"", 1) + scanRoute(upstream.URL) + `
[clock]
mode = "test"
start = "2025-01-01T00:00:00Z"
[stripe]
api_base = "builtin:sandbox"
[mail]
smtp = "smtp://` + smtpAddr + `"
from = "billing@shop.example"
[billing]
issuer = "Shop Ltd"
`
	r := start(t, config)
	u := r.user("ada@example.com", "free")
	made, err := r.client.CreateKey(t.Context(), u.Email, api.OperatorKey{CreateKey: api.CreateKey{Scope: ledger.ScopeManage}})
	if err != nil {
		t.Fatal(err)
	}
	got := r.call("POST", "/v1/billing/subscribe", made.APIKey, `{"tier":"pro"}`)
	var checkout struct {
		URL string `json:"checkout_url"`
	}
	if err := json.Unmarshal([]byte(got.body), &checkout); err != nil || checkout.URL == "" {
		t.Fatalf("subscribe: %d %s (%v)", got.status, got.body, err)
	}
	page, err := url.Parse(checkout.URL)
	if err != nil || page.Host != "shop.example" {
		t.Fatalf("the checkout page is %s (%v)", checkout.URL, err)
	}
	if got := r.call("GET", page.Path, "", ""); got.status != http.StatusOK || !strings.Contains(got.body, "4242") {
		t.Fatalf("the page: %d %s", got.status, got.body)
	}
	r.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	paid, err := r.http.PostForm(r.url(page.Path), url.Values{"card": {"4242424242424242"}})
	if err != nil {
		t.Fatal(err)
	}
	paid.Body.Close()
	if paid.StatusCode != http.StatusSeeOther {
		t.Fatalf("paying on the page: %d", paid.StatusCode)
	}
	if plan := r.Ledger().Account(u.ID).User().PlanAt(r.Clock().Now()).Plan; plan != "pro" {
		t.Fatalf("after the checkout the plan is %s", plan)
	}
	for range 3 {
		if a := r.call("POST", "/v1/scan", u.APIKey, docs(2)); a.status != http.StatusOK {
			t.Fatalf("a call: %d %s", a.status, a.body)
		}
	}
	if err := r.Clock().Advance(t.Context(), 31*24*time.Hour+2*time.Hour); err != nil {
		t.Fatal(err)
	}
	ref, ok := r.Ledger().Account(u.ID).User().InvoiceOf(ledger.MonthOf(2025, time.January))
	if !ok || ref.State != ledger.Paid {
		t.Fatalf("the invoice: %+v\n%s", ref, r.log.all())
	}
	got = r.call("GET", "/v1/billing/invoice/2025/1", u.APIKey, "")
	var invoice struct {
		Number, State string
		Total         int64 `json:"total_cents"`
		Paid          int64 `json:"paid_cents"`
	}
	if err := json.Unmarshal([]byte(got.body), &invoice); err != nil || invoice.State != "paid" || invoice.Total != 4900 || invoice.Paid != 4900 || invoice.Number != "2025-01-000001" {
		t.Errorf("the invoice: %d %s (%v)", got.status, got.body, err)
	}
	mails := office.all()
	if len(mails) != 1 {
		t.Fatalf("%d mails came", len(mails))
	}
	subject, body := plain(t, mails[0])
	for _, want := range []string{"January 2025", "2025-01-000001", "Calls", "3", "Documents", "6", "USD 49.00", "http://shop.example/invoices/2025/1"} {
		if !strings.Contains(subject+body, want) {
			t.Errorf("the mail does not say %q:\n%s\n%s", want, subject, body)
		}
	}
}
