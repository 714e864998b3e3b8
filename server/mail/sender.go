package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"tollgate/server/billing"
)

// Options say where mail goes and whom it is from.
type Options struct {
	// SMTP is the mail server: smtp://user@host:587 or smtps://user@host:465, both
	// without "user@" where it wants no password. The ports given are the defaults;
	// for smtp:// to this machine it is 25.
	SMTP     string
	Password string // of the user in SMTP

	// From is the address that mails are from, with or without a name. Without one,
	// the name is that of the invoice's issuer.
	From string

	Now     func() time.Time // for the Date header; nil: time.Now
	Timeout time.Duration    // for one mail, all in all; 0: two minutes
	Log     *slog.Logger     // nil: none

	// Dial opens the connection; nil: net.Dialer's. TLS is copied, and its ServerName
	// is the host of SMTP where it has none; nil: the certificates of the system.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	TLS  *tls.Config
}

// Sender sends mails. It may be used by many goroutines at once.
type Sender struct {
	host     string
	address  string // host:port
	implicit bool   // TLS from the first byte
	local    bool   // on this machine: TLS is no must
	user     string
	password string
	tls      *tls.Config

	from    netmail.Address
	layouts layouts

	now     func() time.Time
	timeout time.Duration
	log     *slog.Logger
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

var _ billing.Mailer = (*Sender)(nil)

// New checks the options. It does not connect; see [Sender.Test].
func New(o Options) (*Sender, error) {
	s := &Sender{
		password: o.Password,
		now:      o.Now,
		timeout:  cmp.Or(o.Timeout, 2*time.Minute),
		log:      cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		dial:     o.Dial,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.dial == nil {
		s.dial = new(net.Dialer).DialContext
	}
	if err := s.server(o.SMTP); err != nil {
		return nil, err
	}
	s.trust(o.TLS)
	from, err := netmail.ParseAddress(o.From)
	if err == nil {
		s.from.Name = line(from.Name)
		s.from.Address, err = asciiDomain(from.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("the address that mail is from: %q is no mail address: %w", o.From, err)
	}
	if s.layouts, err = parseLayouts(); err != nil {
		return nil, err
	}
	return s, nil
}

// server reads the URL of the mail server.
func (s *Sender) server(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse quotes all of it, and there may be a password in it.
		return errors.New("the mail server is given by something that is no URL")
	}
	if u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return fmt.Errorf("%q is not a mail server such as \"smtp://mail.example.com:587\"", u.Redacted())
	}
	if _, has := u.User.Password(); has {
		return errors.New("the URL of the mail server has a password in it, which is given apart from it")
	}
	s.host = u.Hostname()
	s.implicit = u.Scheme == "smtps"
	s.local = loopback(s.host)
	s.user = u.User.Username()
	if s.user != "" && s.password == "" {
		return fmt.Errorf("the mail server %s has a user and no password", s.host)
	}
	port := "587" // submission, RFC 6409
	switch {
	case s.implicit:
		port = "465" // RFC 8314
	case s.local:
		port = "25"
	}
	s.address = net.JoinHostPort(s.host, cmp.Or(u.Port(), port))
	return nil
}

// trust settles which certificates will do.
func (s *Sender) trust(c *tls.Config) {
	// A mail server on this machine mostly has a certificate that it made for
	// itself. Without STARTTLS it would be spoken to in the clear, so any will do.
	c = cmp.Or(c, &tls.Config{InsecureSkipVerify: s.local && !s.implicit}).Clone()
	c.ServerName = cmp.Or(c.ServerName, s.host)
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	s.tls = c
}

// loopback tells whether a host is this machine.
func loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// SendInvoice sends one mail about an invoice. It has been sent when there is no
// error; the package's comment says what errors mean. An erased user has no
// address, and the mail is refused.
func (s *Sender) SendInvoice(ctx context.Context, m billing.InvoiceMail) error {
	l, err := invoiceLetter(m)
	if err == nil {
		err = s.send(ctx, m.ID, m.To.Email, m.To.Name, l)
	}
	if err != nil {
		return fmt.Errorf("mail %q: %w", m.ID, err)
	}
	return nil
}

// SendNotice is SendInvoice for a mail about a notice.
func (s *Sender) SendNotice(ctx context.Context, m billing.NoticeMail) error {
	l, err := noticeLetter(m)
	if err == nil {
		err = s.send(ctx, m.ID, m.To.Email, m.To.Name, l)
	}
	if err != nil {
		return fmt.Errorf("mail %q: %w", m.ID, err)
	}
	return nil
}

// Test sends a mail that says that mails come through.
func (s *Sender) Test(ctx context.Context, to string) error {
	now := s.now().UTC()
	id := fmt.Sprintf("test-%d", now.UnixNano())
	if err := s.send(ctx, id, to, "", testLetter(s.from.Name, s.host, now)); err != nil {
		return fmt.Errorf("test mail: %w", err)
	}
	return nil
}

// send makes the message and has it delivered.
func (s *Sender) send(ctx context.Context, id, to, name string, l letter) error {
	e, err := s.addressed(id, to, name)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if err := s.compose(&content, e, l); err != nil {
		return fmt.Errorf("write it: %w", err)
	}
	e.content = content.Bytes()
	answer, err := s.deliver(ctx, e)
	if err != nil {
		return err
	}
	// The server's answer has the name that it gave the mail in its own log.
	s.log.InfoContext(ctx, "mail sent", "message_id", e.messageID, "server", s.host, "answer", answer)
	return nil
}
