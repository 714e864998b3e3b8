package billing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/mail"
)

// TestSlowReceiverHoldsNobody: while a receiver takes its time, billing works.
func TestSlowReceiverHoldsNobody(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	h := &hook{answer: func(billing.Webhook) error {
		asked <- struct{}{}
		<-answer
		return nil
	}}
	o := newOffice(t, func(o *office) { o.webhooks = h })
	u := o.user("ada@customer.example")
	n := o.tell(quota(u, "calls"))
	done := make(chan error)
	go func() { done <- o.Deliver(t.Context()) }()
	<-asked
	if err := o.Work(t.Context()); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if how := o.how(n); how != "webhook 1 sent, done" {
		t.Errorf("it stands at %q", how)
	}
}

// TestReceiverThatIsDown is left alone after a few attempts, and keeps no mail from
// being sent.
func TestReceiverThatIsDown(t *testing.T) {
	h, l := &hook{answer: func(billing.Webhook) error { return errors.New("connection refused") }}, &letters{}
	o := newOffice(t, func(o *office) { o.webhooks, o.mailer = h, l })
	for n := range 10 {
		o.tell(quota(o.user(fmt.Sprintf("u%d@customer.example", n)), "calls"))
	}
	o.deliver()
	if len(h.tried) != 3 || len(l.notices) != 10 {
		t.Errorf("%d webhooks were tried and %d mails sent", len(h.tried), len(l.notices))
	}
	for range 10 {
		o.deliver()
	}
	if len(h.tried) != 10 {
		t.Errorf("%d webhooks were tried in the end", len(h.tried))
	}
}

// TestOneThatIsNeverTaken holds up what comes after it for a day, and is given up
// after three.
func TestOneThatIsNeverTaken(t *testing.T) {
	h := &hook{answer: func(w billing.Webhook) error {
		if w.Notice.Subject == "poison" {
			return errors.New("it answered 500")
		}
		return nil
	}}
	o := newOffice(t, func(o *office) { o.webhooks = h })
	u, other := o.user("ada@customer.example"), o.user("bob@customer.example")
	bad, next, apart := o.tell(quota(u, "poison")), o.tell(quota(u, "calls")), o.tell(quota(other, "calls"))
	o.deliver()
	o.pass(23 * time.Hour)
	if a, b := o.how(next), o.how(apart); a != "" || b != "webhook 1 sent, done" {
		t.Errorf("after 23 hours the next stands at %q, another user's at %q", a, b)
	}
	o.pass(3 * time.Hour)
	if how := o.how(next); how != "webhook 1 sent, done" {
		t.Errorf("after 26 hours the next stands at %q", how)
	}
	o.pass(45 * time.Hour)
	if how := o.how(bad); !strings.HasPrefix(how, "webhook 7") || strings.Contains(how, "given up") {
		t.Errorf("after 71 hours it stands at %q", how)
	}
	o.pass(2 * time.Hour)
	if d := o.notice(bad).Deliveries[0]; o.how(bad) != "webhook 76 given up, done" || d.Error != "it answered 500" {
		t.Errorf("after 73 hours it stands at %q: %s", o.how(bad), d.Error)
	}
	o.pass(100 * time.Hour)
	if len(h.tried) != 76+2 {
		t.Errorf("%d attempts were made", len(h.tried))
	}
}

// TestGone: a receiver that wants no more gets it no more.
func TestGone(t *testing.T) {
	h := &hook{answer: func(billing.Webhook) error { return fmt.Errorf("it answered 410: %w", billing.ErrGone) }}
	o := newOffice(t, func(o *office) { o.webhooks = h })
	n := o.tell(quota(o.user(""), "calls"))
	o.pass(100 * time.Hour)
	if how := o.how(n); how != "webhook 1 given up, done" || len(h.tried) != 1 {
		t.Errorf("it stands at %q after %d attempts", how, len(h.tried))
	}
}

// TestReceiverThatIsNoMore: what was begun and cannot be sent any more is tried as
// long as all else, because it may have been left out by mistake.
func TestReceiverThatIsNoMore(t *testing.T) {
	h := &hook{answer: func(billing.Webhook) error { return errors.New("later") }}
	o := newOffice(t, func(o *office) { o.webhooks = h })
	n, m := o.tell(quota(o.user(""), "calls")), o.tell(quota(o.user(""), "calls"))
	o.deliver()
	if err := o.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	o.webhooks = nil
	o.open()
	o.deliver()
	o.pass(time.Hour)
	if how := o.how(n); how != "webhook 4" || !strings.Contains(o.notice(n).Deliveries[0].Error, "nothing is configured") {
		t.Errorf("it stands at %q: %+v", how, o.notice(n).Deliveries)
	}
	h.answer = nil
	if err := o.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	o.webhooks = h
	o.open()
	o.deliver()
	o.pass(2 * time.Hour)
	if a, b := o.how(n), o.how(m); a != "webhook 5 sent, done" || b != a {
		t.Errorf("in the end they stand at %q and %q", a, b)
	}
}

// TestStopped: an attempt that is broken off by our own end is no failure.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &hook{answer: func(billing.Webhook) error { cancel(); return ctx.Err() }}
	o := newOffice(t, func(o *office) { o.webhooks = h })
	n := o.tell(quota(o.user(""), "calls"))
	if err := o.Deliver(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("delivering returned %v", err)
	}
	if how := o.how(n); how != "" {
		t.Errorf("it stands at %q", how)
	}
	h.answer = nil
	o.deliver()
	if how := o.how(n); how != "webhook 1 sent, done" || h.tried[0].ID != h.tried[1].ID {
		t.Errorf("it stands at %q", how)
	}
}

// BenchmarkDeliver is the work of each half minute with 100,000 users: nothing to do,
// and a thousand notices that wait for their time.
func BenchmarkDeliver(b *testing.B) {
	c := newCity(b, benchUsers, 0)
	c.Webhooks = &hook{answer: func(billing.Webhook) error { return errors.New("connection refused") }}
	run := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Deliver(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("nothing", run)
	for n := range 1000 {
		if _, _, err := c.ledger.AddNotice(c.now, "bench", quota(ledger.UserID(100*n+1), "calls")); err != nil {
			b.Fatal(err)
		}
	}
	for range 400 {
		if err := c.Deliver(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("a thousand that wait", run)
}

// mailbox is a real mail server: rcpt is what it says to whom a mail is to.
type mailbox struct {
	mu   sync.Mutex
	rcpt func(to string) error
	took []*netmail.Message
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &letterbox{m: m}, nil }

type letterbox struct{ m *mailbox }

func (b *letterbox) Reset()                                    {}
func (b *letterbox) Logout() error                             { return nil }
func (b *letterbox) Mail(string, *smtp.MailOptions) error      { return nil }
func (b *letterbox) Rcpt(to string, _ *smtp.RcptOptions) error { return b.m.rcpt(to) }

func (b *letterbox) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	message, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return err
	}
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.took = append(b.m.took, message)
	return nil
}

// TestRealMailServer: what it puts off is sent later, what it refuses is given up.
func TestRealMailServer(t *testing.T) {
	off := true
	box := &mailbox{rcpt: func(to string) error {
		switch {
		case to == "gone@customer.example":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		case off:
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
		}
		return nil
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(box)
	server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); listener.Close(); <-served })

	o := newOffice(t, func(o *office) {
		sender, err := mail.New(mail.Options{SMTP: "smtp://" + listener.Addr().String(), From: "billing@example.com", Now: func() time.Time { return o.now }})
		if err != nil {
			t.Fatal(err)
		}
		o.mailer = sender
	})
	ada, gone := o.tell(quota(o.user("ada@customer.example"), "calls")), o.tell(quota(o.user("gone@customer.example"), "calls"))
	o.deliver()
	if a, b := o.how(ada), o.how(gone); a != "mail 1" || b != "mail 1 given up, done" {
		t.Errorf("they stand at %q and %q", a, b)
	}
	for n, want := range map[*ledger.Notice]string{ada: "451", gone: "550"} {
		if d := o.notice(n).Deliveries[0]; !strings.Contains(d.Error, want) || strings.Contains(d.Error, "@") {
			t.Errorf("the error is %q", d.Error)
		}
	}
	if next := o.NextDelivery(o.now); !next.Equal(o.now.Add(2 * time.Minute)) {
		t.Errorf("the next is due at %v", next)
	}
	off = false
	o.pass(2 * time.Minute)
	if how := o.how(ada); how != "mail 2 sent, done" {
		t.Errorf("in the end it stands at %q", how)
	}
	if len(box.took) != 1 {
		t.Fatalf("%d mails came", len(box.took))
	}
	if h := box.took[0].Header; !strings.HasSuffix(h.Get("Message-Id"), fmt.Sprintf("-notice-%d@example.com>", ada.ID)) || h.Get("Subject") != "80% of your calls for January 2025 are used" {
		t.Errorf("what came is %v", h)
	}
}
