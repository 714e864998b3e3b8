package mail_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/mail"
)

// today is what the senders of the tests have for the time.
var today = time.Date(2025, 2, 1, 2, 3, 4, 0, time.UTC)

// received is a mail that the server has taken.
type received struct {
	hello, from, to string
	user            string // who signed in
	tls, utf8       bool
	content         []byte
}

// server is a mail server on this machine. The functions answer in its place,
// where there are any.
type server struct {
	address string
	*smtp.Server

	begin func() error
	mail  func() error
	rcpt  func() error
	data  func(*smtp.Conn) error // after the whole content has come

	mechanisms []string // that AUTH offers

	mu    sync.Mutex
	mails []received
}

// serve starts a server. Changes are made before it takes connections.
func serve(t *testing.T, change func(*server)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String()}
	s.Server = smtp.NewServer(smtp.BackendFunc(s.session))
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.AllowInsecureAuth = true
	implicit := false
	if change != nil {
		change(s)
		implicit = s.Addr == "implicit"
	}
	if implicit {
		listener = tls.NewListener(listener, s.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Close()
		listener.Close() // the server does not know of it yet where it was closed at once
		<-done
	})
	return s
}

func (s *server) session(c *smtp.Conn) (smtp.Session, error) {
	if s.begin != nil {
		if err := s.begin(); err != nil {
			return nil, err
		}
	}
	one := &session{s: s, c: c}
	if s.mechanisms != nil {
		return authSession{one}, nil
	}
	return one, nil
}

func (s *server) took() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

// only is the one mail that the server has taken.
func (s *server) only(t *testing.T) received {
	t.Helper()
	mails := s.took()
	if len(mails) != 1 {
		t.Fatalf("the server took %d mails, want 1", len(mails))
	}
	return mails[0]
}

type session struct {
	s *server
	c *smtp.Conn
	received
}

func (x *session) Reset()        {}
func (x *session) Logout() error { return nil }

func (x *session) Mail(from string, o *smtp.MailOptions) error {
	x.from, x.utf8 = from, o.UTF8
	return answer(x.s.mail)
}

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.to = to
	return answer(x.s.rcpt)
}

func answer(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (x *session) Data(r io.Reader) (err error) {
	if x.content, err = io.ReadAll(r); err != nil {
		return err
	}
	if x.s.data != nil {
		if err := x.s.data(x.c); err != nil {
			return err
		}
	}
	x.hello = x.c.Hostname()
	_, x.tls = x.c.TLSConnectionState()
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.mails = append(x.s.mails, x.received)
	return nil
}

// authSession is a session that wants user "ada@example.com" and password "pa ss".
type authSession struct{ *session }

func (x authSession) AuthMechanisms() []string { return x.s.mechanisms }

func (x authSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "ada@example.com" || password != "pa ss" {
			return smtp.ErrAuthFailed
		}
		x.user = user
		return nil
	}
	switch mechanism {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case "LOGIN":
		return &login{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// login is the server's side of LOGIN, which go-sasl has not.
type login struct {
	check func(user, password string) error
	asked int
	user  string
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	case 3:
		return nil, true, l.check(l.user, string(response))
	}
	return nil, true, errors.New("asked too often")
}

// newSender makes a sender to a server, plain unless changed.
func newSender(t *testing.T, s *server, change func(*mail.Options)) *mail.Sender {
	t.Helper()
	o := mail.Options{
		From: "billing@example.com",
		Now:  func() time.Time { return today },
		Log:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if s != nil {
		o.SMTP = "smtp://" + s.address
	}
	if change != nil {
		change(&o)
	}
	sender, err := mail.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// proMail is an invoice on the plan pro with 1,000 calls beyond the quota.
func proMail() billing.InvoiceMail {
	return billing.InvoiceMail{
		Kind:      billing.MailIssued,
		ID:        "0001-7-invoice",
		To:        ledger.Personal{Email: "ada@customer.example", Name: "Ada Lovelace", Company: "Analytical Engines"},
		Issuer:    "Example Ltd",
		Number:    "2025-01-000042",
		Month:     ledger.MonthOf(2025, time.January),
		Calls:     51000,
		Documents: 1234567,
		Tokens:    890123456,
		Lines: []ledger.InvoiceLine{
			{Kind: "fee", Description: "Pro: monthly fee", Amount: 4900},
			{Kind: "overage", Description: "Pro: 1,000 calls beyond 50,000", Amount: 1000},
		},
		Fee:      4900,
		Usage:    1000,
		Total:    5900,
		Digits:   2,
		Currency: "usd",
		Link:     "https://api.example.com/invoices/2025/01",
	}
}

// message is a mail that was read back.
type message struct {
	header     netmail.Header
	text, html string
}

// read reads a mail as a reader of mails does.
func read(t *testing.T, content []byte) message {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("read the mail: %v", err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("the mail is %q (%v), want multipart/alternative", kind, err)
	}
	var parts []string
	for r := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("read part %d: %v", len(parts), err)
		}
		want := []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"}
		if got := p.Header.Get("Content-Type"); len(parts) > 1 || got != want[len(parts)] {
			t.Fatalf("part %d is %q", len(parts), got)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatalf("decode part %d: %v", len(parts), err)
		}
		// Lines of text end in CR LF on the wire.
		parts = append(parts, strings.ReplaceAll(string(body), "\r\n", "\n"))
	}
	if len(parts) != 2 {
		t.Fatalf("the mail has %d parts, want 2", len(parts))
	}
	return message{m.Header, parts[0], parts[1]}
}

// authority is a CA of the test's own, and a certificate that it gave a host.
func authority(t *testing.T, host string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	rootKey, leafKey := newKey(), newKey()
	ca := sign(root, root, rootKey, rootKey)
	c := sign(leaf, ca, leafKey, rootKey)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool, tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: leafKey, Leaf: c}
}

// dialing connects to address, whatever host was asked for.
func dialing(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
