package mail_test

import (
	"context"
	"errors"
	"io"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"tollgate/server/billing"
	"tollgate/server/mail"
)

// TestAnswersOfTheServer: what is final is refused, all else is tried again; and
// no error has the customer's address in it.
func TestAnswersOfTheServer(t *testing.T) {
	says := func(code int, enhanced smtp.EnhancedCode, text string) func() error {
		return func() error { return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text} }
	}
	for _, c := range []struct {
		name    string
		change  func(*server)
		refused bool
		text    string
	}{
		{"greylisted", func(s *server) {
			s.rcpt = says(451, smtp.EnhancedCode{4, 7, 1}, "<ada@customer.example>: try again later")
		}, false, "tell the mail server whom it is to: it answered 451 4.7.1 (address) try again later"},
		{"no such user", func(s *server) {
			s.rcpt = says(550, smtp.EnhancedCode{5, 1, 1}, "<Ada@customer.example>: user unknown")
		}, true, "tell the mail server whom it is to: it answered 550 5.1.1 (address) user unknown: the mail was refused"},
		{"no such user, in the old way", func(s *server) {
			s.rcpt = says(550, smtp.NoEnhancedCode, "no such user here")
		}, true, "it answered 550 no such user here"},
		{"no whole address", func(s *server) {
			s.rcpt = says(504, smtp.EnhancedCode{5, 5, 2}, "need fully-qualified address")
		}, true, "504"},
		{"relay denied", func(s *server) {
			s.rcpt = says(554, smtp.EnhancedCode{5, 7, 1}, "relay access denied")
		}, false, "554"},
		{"wants a password", func(s *server) {
			s.mechanisms = []string{"PLAIN"}
			s.rcpt = says(530, smtp.NoEnhancedCode, "authentication required")
		}, false, "530"},
		{"the sender is refused", func(s *server) {
			s.mail = says(550, smtp.EnhancedCode{5, 1, 8}, "no such sender")
		}, false, "tell the mail server whom it is from: it answered 550"},
		{"refused at the door", func(s *server) {
			s.begin = says(554, smtp.EnhancedCode{5, 3, 2}, "no service")
		}, false, "connect to the mail server"},
		{"content refused", func(s *server) {
			s.data = func(*smtp.Conn) error { return says(554, smtp.EnhancedCode{5, 7, 1}, "looks like spam")() }
		}, true, "hand it to the mail server: it answered 554 5.7.1 looks like spam"},
		{"content too large", func(s *server) { s.MaxMessageBytes = 100 }, true, "552"},
		{"disk full", func(s *server) {
			s.data = func(*smtp.Conn) error { return says(452, smtp.EnhancedCode{4, 3, 1}, "no space")() }
		}, false, "hand it to the mail server: it answered 452"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.change)
			err := newSender(t, s, nil).SendInvoice(t.Context(), proMail())
			if err == nil || errors.Is(err, billing.ErrRefused) != c.refused || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v; want refused %v and %q in it", err, c.refused, c.text)
			}
			if err != nil && (strings.Contains(err.Error(), "@") || strings.Contains(err.Error(), "Lovelace")) {
				t.Errorf("the error says who it is: %v", err)
			}
			if len(s.took()) != 0 {
				t.Error("the server took it all the same")
			}
		})
	}
}

// TestCutAfterTheContent: the outcome is not known, and the mail that is sent
// again is the same one.
func TestCutAfterTheContent(t *testing.T) {
	var taken [][]byte
	s := serve(t, func(s *server) {
		s.data = func(c *smtp.Conn) error {
			if len(taken) == 0 {
				c.Conn().Close()
			}
			taken = append(taken, nil)
			return nil
		}
	})
	sender := newSender(t, s, nil)
	if err := sender.SendInvoice(t.Context(), proMail()); err == nil || errors.Is(err, billing.ErrRefused) {
		t.Fatalf("after a cut: %v; want an error that is not final", err)
	}
	if err := sender.SendInvoice(t.Context(), proMail()); err != nil {
		t.Fatal(err)
	}
	both := s.took()
	if len(both) != 2 {
		t.Fatalf("the server took %d mails, want 2", len(both))
	}
	var ids []string
	for _, m := range both {
		ids = append(ids, read(t, m.content).header.Get("Message-ID"))
	}
	if diff := cmp.Diff([]string{"<0001-7-invoice@example.com>", "<0001-7-invoice@example.com>"}, ids); diff != "" {
		t.Error(diff)
	}
}

// TestCutAfterTheAnswer: what the server has answered for is sent.
func TestCutAfterTheAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		script(theirs, "250 queued as 4711")
	}()
	sender := newSender(t, nil, func(o *mail.Options) {
		o.SMTP = "smtp://localhost"
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
	})
	if err := sender.SendInvoice(t.Context(), proMail()); err != nil {
		t.Error(err)
	}
}

// script is a server that takes one mail, answers it, and hangs up.
func script(conn net.Conn, last string) {
	say := func(s string) { io.WriteString(conn, s+"\r\n") }
	var read []byte
	until := func(end string) {
		buffer := make([]byte, 4096)
		for !strings.HasSuffix(string(read), end) {
			n, err := conn.Read(buffer)
			if read = append(read, buffer[:n]...); err != nil {
				return
			}
		}
		read = nil
	}
	say("220 here")
	for _, answer := range []string{"250 here", "250 from", "250 to", "354 go on"} {
		until("\r\n")
		say(answer)
	}
	until("\r\n.\r\n")
	say(last)
}

func TestConnectionRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	sender := newSender(t, nil, func(o *mail.Options) { o.SMTP = "smtp://" + listener.Addr().String() })
	if err := sender.SendInvoice(t.Context(), proMail()); err == nil || errors.Is(err, billing.ErrRefused) {
		t.Errorf("got %v; want an error that is not final", err)
	}
}

// TestContextEndsIt: a server that keeps the mail and says nothing.
func TestContextEndsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	s := serve(t, func(s *server) {
		s.data = func(*smtp.Conn) error {
			cancel()
			<-left
			return errors.New("nobody is waiting")
		}
	})
	err := newSender(t, s, nil).SendInvoice(ctx, proMail())
	close(left)
	if !errors.Is(err, context.Canceled) || errors.Is(err, billing.ErrRefused) {
		t.Errorf("got %v, want one for the context, not final", err)
	}
}

// TestSilentServer: at each point where a server may fall silent, the deadline of
// the context ends it, and without one the sender's own does.
func TestSilentServer(t *testing.T) {
	for _, answers := range []string{"", "220 here\r\n", "220 here\r\n250 here\r\n", "220 here\r\n250 here\r\n250 ok\r\n250 ok\r\n354 go\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			var theirs net.Conn
			sender := newSender(t, nil, func(o *mail.Options) {
				o.SMTP = "smtp://localhost"
				o.Timeout = time.Minute
				o.Dial = func(context.Context, string, string) (ours net.Conn, err error) {
					ours, theirs = net.Pipe()
					go io.WriteString(theirs, answers)
					go io.Copy(io.Discard, theirs)
					return ours, nil
				}
			})
			for _, want := range []time.Duration{time.Minute, 10 * time.Second} {
				ctx, cancel := context.WithTimeout(t.Context(), want)
				if want == time.Minute {
					ctx = t.Context()
				}
				begun := time.Now()
				err := sender.SendInvoice(ctx, proMail())
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, billing.ErrRefused) {
					t.Errorf("after %q: %v; want a deadline, not final", answers, err)
				}
				if got := time.Since(begun); got != want {
					t.Errorf("after %q: it took %v, want %v", answers, got, want)
				}
				theirs.Close()
			}
		})
	}
}

// TestAddresses: what is said to the server, and in the headers.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name             string
		from, to, person string
		utf8             bool // the server takes SMTPUTF8
		refused          bool
		want             received
		wantFrom, wantTo string
	}{
		{name: "plain", to: "ada@customer.example", person: "Ada",
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantFrom: `"Example Ltd" <billing@example.com>`, wantTo: `"Ada" <ada@customer.example>`},
		{name: "SMTPUTF8 is not asked for without need", to: "ada@customer.example", utf8: true,
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: "<ada@customer.example>"},
		{name: "the operator's own name", from: "Zoë's API <billing@example.com>", to: "ada@customer.example",
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantFrom: `"Zoë's API" <billing@example.com>`},
		{name: "headers in the name", to: "ada@customer.example", person: "Ada\r\nBcc: eve@evil.example\r\n\r\nHello\x00",
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: `"Ada Bcc: eve@evil.example Hello" <ada@customer.example>`},
		{name: "an address in the name", to: "ada@customer.example", person: `x" <eve@evil.example>, "Ada`,
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: `"x\" <eve@evil.example>, \"Ada" <ada@customer.example>`},
		{name: "text that turns round", to: "ada@customer.example", person: "Ada\u202eeve\u2066",
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: `"Adaeve" <ada@customer.example>`},
		{name: "bytes that are no UTF-8", to: "ada@customer.example", person: "Ad\xe9",
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: `"Ad�" <ada@customer.example>`},
		{name: "a domain beyond ASCII", to: "ada@bücher.example",
			want: received{from: "billing@example.com", to: "ada@xn--bcher-kva.example"}, wantTo: "<ada@xn--bcher-kva.example>"},
		{name: "an address beyond ASCII", to: "añil@bücher.example", utf8: true,
			want: received{from: "billing@example.com", to: "añil@xn--bcher-kva.example", utf8: true}, wantTo: "<añil@xn--bcher-kva.example>"},
		{name: "an address beyond ASCII, and the server cannot", to: "añil@bücher.example", refused: true},
		{name: "quoted", to: `"a b@c"@customer.example`,
			want: received{from: "billing@example.com", to: "a b@c@customer.example"}, wantTo: `<"a b@c"@customer.example>`},
		{name: "erased", to: "", refused: true},
		{name: "no address", to: "ada", refused: true},
		{name: "two addresses", to: "ada@customer.example, eve@evil.example", refused: true},
		{name: "commands in the address", to: "ada@customer.example>\r\nRCPT TO:<eve@evil.example", refused: true},
		{name: "too long", to: "ada@" + strings.Repeat("customer.", 30) + "example", refused: true},
		{name: "a backslash in the name", to: "ada@customer.example", person: `\Ünal\`,
			want: received{from: "billing@example.com", to: "ada@customer.example"}, wantTo: `"/Ünal/" <ada@customer.example>`},
		{name: "no domain", to: "ada@bü cher.example", refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(s *server) { s.EnableSMTPUTF8 = c.utf8 })
			sender := newSender(t, s, func(o *mail.Options) {
				if c.from != "" {
					o.From = c.from
				}
			})
			m := proMail()
			m.To.Email, m.To.Name = c.to, c.person
			err := sender.SendInvoice(t.Context(), m)
			if c.refused {
				if !errors.Is(err, billing.ErrRefused) || c.to != "" && strings.Contains(err.Error(), c.to) {
					t.Errorf("got %v; want it refused, without the address", err)
				}
				if len(s.took()) != 0 {
					t.Error("the server has a mail")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := s.only(t)
			if got.from != c.want.from || got.to != c.want.to || got.utf8 != c.want.utf8 || got.hello != "example.com" {
				t.Errorf("the server was told %q, %q, %q, SMTPUTF8 %v", got.hello, got.from, got.to, got.utf8)
			}
			header := read(t, got.content).header
			for name, want := range map[string]string{"From": c.wantFrom, "To": c.wantTo} {
				if want == "" {
					continue
				}
				is, err := header.AddressList(name)
				should, _ := netmail.ParseAddressList(want)
				if diff := cmp.Diff(should, is); err != nil || diff != "" {
					t.Errorf("%s: %v\n%s", name, err, diff)
				}
			}
			if len(header) != 8 {
				t.Errorf("%d headers, want 8: %v", len(header), header)
			}
		})
	}
}

func TestMailsThatCannotBe(t *testing.T) {
	s := serve(t, nil)
	for name, change := range map[string]func(*billing.InvoiceMail){
		"no id":         func(m *billing.InvoiceMail) { m.ID = "" },
		"id with space": func(m *billing.InvoiceMail) { m.ID = "a b" },
		"id with lines": func(m *billing.InvoiceMail) { m.ID = "a>\r\nBcc: eve@evil.example\r\nX: <" },
		"no kind":       func(m *billing.InvoiceMail) { m.Kind = "" },
	} {
		m := proMail()
		change(&m)
		if err := newSender(t, s, nil).SendInvoice(t.Context(), m); !errors.Is(err, billing.ErrRefused) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	if len(s.took()) != 0 {
		t.Error("the server has a mail")
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    mail.Options
		want string // "": good
	}{
		"good":              {mail.Options{SMTP: "smtp://mail.example.com", From: "a@example.com"}, ""},
		"user":              {mail.Options{SMTP: "smtps://ada%40example.com@mail.example.com", From: "a@example.com", Password: "x"}, ""},
		"password unused":   {mail.Options{SMTP: "smtp://mail.example.com", From: "a@example.com", Password: "x"}, ""},
		"IPv6":              {mail.Options{SMTP: "smtp://[::1]:25", From: "a@example.com"}, ""},
		"no server":         {mail.Options{From: "a@example.com"}, "is not a mail server"},
		"no host":           {mail.Options{SMTP: "smtp://", From: "a@example.com"}, "is not a mail server"},
		"HTTP":              {mail.Options{SMTP: "https://mail.example.com", From: "a@example.com"}, "is not a mail server"},
		"no URL":            {mail.Options{SMTP: "smtp://u:secret@mail.example.com:x%", From: "a@example.com"}, "no URL"},
		"password in URL":   {mail.Options{SMTP: "smtp://u:secret@mail.example.com", From: "a@example.com"}, "password in it"},
		"no password":       {mail.Options{SMTP: "smtp://u@mail.example.com", From: "a@example.com"}, "no password"},
		"no from":           {mail.Options{SMTP: "smtp://mail.example.com"}, "no mail address"},
		"from is no domain": {mail.Options{SMTP: "smtp://mail.example.com", From: "a@b\u00fc_\u200d"}, "no mail address"},
	} {
		_, err := mail.New(c.o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}
