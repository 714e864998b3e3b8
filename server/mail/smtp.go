package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"tollgate/server/billing"
)

// step is a part of the conversation with the server. What a refusal means
// depends on what it was that was refused.
type step string

const (
	connecting step = "connect to the mail server"
	signingIn  step = "sign in at the mail server"
	sender     step = "tell the mail server whom it is from"
	recipient  step = "tell the mail server whom it is to"
	content    step = "hand it to the mail server"
)

// deliver has one conversation with the server, and returns its answer to the
// mail. The connection is closed when the context ends, whatever is under way.
func (s *Sender) deliver(ctx context.Context, e envelope) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.dial(ctx, "tcp", s.address)
	if err != nil {
		return "", fmt.Errorf("%s: %w", connecting, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer, err = s.converse(conn, e)
	if err != nil && ctx.Err() != nil {
		// That the connection was closed is our doing; say why.
		return "", fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	return answer, err
}

func (s *Sender) converse(conn net.Conn, e envelope) (answer string, err error) {
	client, err := s.connect(conn)
	if err != nil {
		return "", failure(connecting, err)
	}
	if s.user != "" {
		if err := s.signIn(client); err != nil {
			return "", failure(signingIn, err)
		}
	}
	// Asked for without need, SMTPUTF8 makes the mail one that only servers with
	// it may take, also further on (RFC 6531, 3.6).
	beyond := !isASCII(s.from.Address) || !isASCII(e.to.Address)
	if offered, _ := client.Extension("SMTPUTF8"); beyond && !offered {
		return "", fmt.Errorf("the mail server takes no addresses beyond ASCII: %w", billing.ErrRefused)
	}
	client.SkipSMTPUTF8(!beyond)
	if err := client.Mail(path(s.from)); err != nil {
		return "", failure(sender, err)
	}
	if err := client.Rcpt(path(e.to)); err != nil {
		return "", failure(recipient, err)
	}
	answer, err = handOver(client, e.content)
	if err != nil {
		return "", failure(content, err)
	}
	// The server has it. What becomes of the farewell changes nothing, so it is not
	// waited for.
	_ = client.Text.PrintfLine("QUIT")
	return answer, nil
}

// connect speaks to the server up to where a mail may begin.
func (s *Sender) connect(conn net.Conn) (*smtp.Client, error) {
	if s.implicit {
		conn = tls.Client(conn, s.tls)
	}
	client, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, err
	}
	// Relays for customers let in whom the domain is known of (RFC 5321, 4.1.1.1,
	// wants the name of this machine, which seldom has one on the internet).
	_, domain := cutAddress(s.from.Address)
	if err := client.Hello(domain); err != nil {
		return nil, err
	}
	if s.implicit {
		return client, nil
	}
	offered, _ := client.Extension("STARTTLS")
	switch {
	case offered:
		if err := client.StartTLS(s.tls); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	case !s.local:
		return nil, errors.New("it offers no STARTTLS, and without TLS no mail is sent to another machine")
	}
	return client, nil
}

// signIn tells the server user and password. The connection is TLS, or to this
// machine, so that PLAIN will do, and servers agree most on it.
func (s *Sender) signIn(client *smtp.Client) error {
	_, offered := client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	for _, known := range []struct {
		name string
		auth smtp.Auth
	}{
		{"PLAIN", smtp.PlainAuth("", s.user, s.password, s.host, true)},
		{"LOGIN", smtp.LoginAuth(s.user, s.password, s.host, true)},
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.user, s.password)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(s.user, s.password)},
	} {
		for _, m := range mechanisms {
			if m == known.name {
				return client.Auth(known.auth)
			}
		}
	}
	return fmt.Errorf("it offers none of PLAIN, LOGIN, SCRAM-SHA-256 and CRAM-MD5, but %q", offered)
}

// handOver sends the content, and returns what the server said when it took it.
func handOver(client *smtp.Client, content []byte) (answer string, err error) {
	w, err := client.Data()
	if err != nil {
		return "", err
	}
	if _, err := w.Write(content); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if d, ok := w.(*smtp.DataCloser); ok {
		answer = withoutAddresses(d.ServerResponse())
	}
	return answer, nil
}

// path is an address as commands have it: in angle brackets, without the name.
func path(a netmail.Address) string {
	return (&netmail.Address{Address: a.Address}).String()
}

// failure is the error of a step: final, wrapping billing.ErrRefused, where the
// server has refused this very mail.
func failure(at step, err error) error {
	var answer *textproto.Error
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", at, err)
	}
	text := fmt.Sprintf("%s: it answered %d %s", at, answer.Code, withoutAddresses(answer.Msg))
	if final(at, answer) {
		return fmt.Errorf("%s: %w", text, billing.ErrRefused)
	}
	return errors.New(text)
}

// final tells whether an answer is one that trying again will not change. Codes
// are those of RFC 5321, 4.2.3, and RFC 4954, 6.
func final(at step, answer *textproto.Error) bool {
	if at != recipient && at != content || answer.Code < 500 {
		return false
	}
	switch answer.Code {
	case 500, 502, 503, // the server does not do what it was asked, for nobody
		530, 534, 535, 538: // who asks has to sign in, or otherwise
		return false
	}
	denied := strings.HasPrefix(answer.Msg, "5.7.")
	return at != recipient || !denied
}

var likeAddress = regexp.MustCompile(`\S*@\S*`)

// answerLength is how much of a server's answer is kept, in runes.
const answerLength = 200

// withoutAddresses is what a server said, in one line of bounded length, without
// what may be somebody's address: it goes into errors and logs.
func withoutAddresses(answer string) string {
	return shorten(likeAddress.ReplaceAllString(line(answer), "(address)"), answerLength)
}
