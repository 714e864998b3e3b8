package mail_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"tollgate/server/billing"
	"tollgate/server/mail"
)

const remote = "mail.example.com"

// TestTLS: a mail goes out encrypted, or to this machine, or not at all.
func TestTLS(t *testing.T) {
	pool, certificate := authority(t, remote)
	_, others := authority(t, remote)
	_, misnamed := authority(t, "other.example.com")
	startTLS := func(c tls.Certificate) func(*server) {
		return func(s *server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{c}} }
	}
	implicit := func(c tls.Certificate) func(*server) {
		return func(s *server) {
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{c}}
			s.Addr = "implicit"
		}
	}
	trusted := &tls.Config{RootCAs: pool}
	for _, c := range []struct {
		name   string
		url    string
		server func(*server)
		tls    *tls.Config
		want   string // in the error; "": it is sent
		secure bool
	}{
		{"STARTTLS", "smtp://" + remote, startTLS(certificate), trusted, "", true},
		{"STARTTLS, unknown authority", "smtp://" + remote, startTLS(others), trusted, "certificate", false},
		{"STARTTLS, authority of the system", "smtp://" + remote, startTLS(certificate), nil, "certificate", false},
		{"STARTTLS, another's certificate", "smtp://" + remote, startTLS(misnamed), trusted, "certificate", false},
		{"no STARTTLS", "smtp://" + remote, nil, trusted, "no STARTTLS", false},
		{"no STARTTLS here", "smtp://localhost", nil, nil, "", false},
		{"no STARTTLS here, by number", "smtp://127.0.0.2", nil, nil, "", false},
		{"STARTTLS here, own certificate", "smtp://localhost", startTLS(others), nil, "", true},
		{"STARTTLS here, told whom to trust", "smtp://localhost", startTLS(others), trusted, "certificate", false},
		{"TLS", "smtps://" + remote, implicit(certificate), trusted, "", true},
		{"TLS, unknown authority", "smtps://" + remote, implicit(others), trusted, "certificate", false},
		{"TLS here, own certificate", "smtps://localhost", implicit(others), nil, "certificate", false},
		{"TLS with a server that has none", "smtps://" + remote, nil, trusted, "tls", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.server)
			sender := newSender(t, s, func(o *mail.Options) {
				o.SMTP, o.TLS, o.Dial = c.url, c.tls, dialing(s.address)
			})
			err := sender.SendInvoice(t.Context(), proMail())
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, billing.ErrRefused) {
					t.Errorf("got %v; want %q, not final", err, c.want)
				}
				if len(s.took()) != 0 {
					t.Error("it was sent all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.only(t).tls; got != c.secure {
				t.Errorf("sent with TLS: %v, want %v", got, c.secure)
			}
		})
	}
	if trusted.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
	var unknown x509.UnknownAuthorityError
	s := serve(t, startTLS(others))
	sender := newSender(t, s, func(o *mail.Options) { o.SMTP, o.TLS, o.Dial = "smtp://"+remote, trusted, dialing(s.address) })
	if err := sender.Test(t.Context(), "op@example.com"); !errors.As(err, &unknown) {
		t.Errorf("got %v, want an error that says why the certificate will not do", err)
	}
}

// TestSigningIn: with a user, and only then; what goes wrong is for the operator
// to put right.
func TestSigningIn(t *testing.T) {
	pool, certificate := authority(t, remote)
	for _, c := range []struct {
		name       string
		user       string
		password   string
		mechanisms []string
		want       string // in the error; "": it is sent
		signedIn   string
	}{
		{"PLAIN", "ada%40example.com@", "pa ss", []string{"PLAIN", "LOGIN"}, "", "ada@example.com"},
		{"LOGIN", "ada%40example.com@", "pa ss", []string{"LOGIN"}, "", "ada@example.com"},
		{"no user", "", "pa ss", []string{"PLAIN"}, "", ""},
		{"wrong password", "ada%40example.com@", "guess", []string{"PLAIN"}, "sign in at the mail server: it answered 535", ""},
		{"wrong password by LOGIN", "ada%40example.com@", "guess", []string{"LOGIN"}, "sign in at the mail server: it answered 535", ""},
		{"nothing that we know", "ada%40example.com@", "pa ss", []string{"XOAUTH2"}, "XOAUTH2", ""},
		{"nothing at all", "ada%40example.com@", "pa ss", nil, "offers none of", ""},
	} {
		for _, secure := range []bool{true, false} {
			name := c.name + " to this machine"
			if secure {
				name = c.name + " by TLS"
			}
			t.Run(name, func(t *testing.T) {
				s := serve(t, func(s *server) {
					s.mechanisms = c.mechanisms
					if secure {
						s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
					}
				})
				var logged bytes.Buffer
				sender := newSender(t, s, func(o *mail.Options) {
					o.SMTP = "smtp://" + c.user + "localhost"
					if secure {
						o.SMTP = "smtp://" + c.user + remote
					}
					o.TLS, o.Dial, o.Password = &tls.Config{RootCAs: pool}, dialing(s.address), c.password
					o.Log = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				err := sender.SendInvoice(t.Context(), proMail())
				if err != nil {
					logged.WriteString(err.Error())
				}
				for _, secret := range []string{"pa ss", "guess", "cGEgc3M", "Z3Vlc3M", "Lovelace", "customer.example"} {
					if strings.Contains(logged.String(), secret) {
						t.Errorf("%q is in log or error: %s", secret, &logged)
					}
				}
				if c.want != "" {
					if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, billing.ErrRefused) {
						t.Errorf("got %v; want %q, not final", err, c.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := s.only(t); got.user != c.signedIn || got.tls != secure {
					t.Errorf("user %q, TLS %v; want %q, %v", got.user, got.tls, c.signedIn, secure)
				}
			})
		}
	}
}

// TestPorts: those that are meant where the URL names none.
func TestPorts(t *testing.T) {
	for url, want := range map[string]string{
		"smtp://mail.example.com":       "mail.example.com:587",
		"smtp://mail.example.com:2525":  "mail.example.com:2525",
		"smtps://mail.example.com":      "mail.example.com:465",
		"smtp://localhost":              "localhost:25",
		"smtp://LOCALHOST.:26":          "LOCALHOST.:26",
		"smtp://[::1]":                  "[::1]:25",
		"smtps://[2001:db8::1]":         "[2001:db8::1]:465",
		"smtp://localhost.evil.example": "localhost.evil.example:587",
	} {
		var got string
		sender := newSender(t, nil, func(o *mail.Options) {
			o.SMTP = url
			o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
				got = address
				return nil, errors.New("no network")
			}
		})
		if err := sender.Test(t.Context(), "op@example.com"); err == nil || got != want {
			t.Errorf("%s: dialled %q (%v), want %q", url, got, err, want)
		}
	}
}
