package mail

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"tollgate/server/billing"
)

// nameLimit is the longest name that is shown, in runes. A header's line has at
// most 998 bytes (RFC 5322, 2.1.1), and a name of one word cannot be folded.
const nameLimit = 100

// envelope is a mail as the server is told of it.
type envelope struct {
	to        netmail.Address
	messageID string // without the angle brackets
	content   []byte // headers and body
}

// addressed checks whom a mail is to. Errors wrap billing.ErrRefused: with the
// same id and address it is not going to be better.
func (s *Sender) addressed(id, to, name string) (envelope, error) {
	if id == "" || len(id) > 200 || strings.Trim(id, idCharacters) != "" {
		return envelope{}, fmt.Errorf("%q cannot be a Message-ID: %w", id, billing.ErrRefused)
	}
	if to == "" {
		return envelope{}, fmt.Errorf("there is no address to send it to: %w", billing.ErrRefused)
	}
	// The errors of the parser are left out: they quote the address.
	parsed, err := netmail.ParseAddress(to)
	if err != nil {
		return envelope{}, fmt.Errorf("what it is to be sent to is no mail address: %w", billing.ErrRefused)
	}
	address, err := asciiDomain(parsed.Address)
	if err != nil {
		return envelope{}, fmt.Errorf("what it is to be sent to is no address that can be: %w", billing.ErrRefused)
	}
	_, domain := cutAddress(s.from.Address)
	return envelope{
		to:        netmail.Address{Name: displayName(name), Address: address},
		messageID: id + "@" + domain,
	}, nil
}

// idCharacters are those of an atom in RFC 5322, 3.2.3, that no system has been
// seen to trip over, and the dot.
const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+"

// compose writes the message: headers, and the letter as text and as HTML.
func (s *Sender) compose(w io.Writer, e envelope, l letter) error {
	var text, html bytes.Buffer
	if err := s.layouts.text.Execute(&text, l); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if err := s.layouts.html.Execute(&html, l); err != nil {
		return fmt.Errorf("HTML: %w", err)
	}
	m := gomail.NewMsg(
		gomail.WithEncoding(gomail.EncodingQP),
		gomail.WithNoDefaultUserAgent(),
		gomail.WithBoundary(boundary(e.messageID, text.Bytes(), html.Bytes())),
	)
	from := s.from
	from.Name = displayName(cmp.Or(from.Name, l.Issuer))
	m.FromMailAddress(&from)
	m.ToMailAddress(&e.to)
	m.Subject(l.Subject)
	m.SetMessageIDWithValue(e.messageID)
	m.SetDateWithValue(s.now().UTC())
	// Holiday replies are for people (RFC 3834, 5).
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, text.String())
	m.AddAlternativeString(gomail.TypeTextHTML, html.String())
	_, err := m.WriteTo(w)
	return err
}

// displayName is a name for an address header. net/mail leaves a backslash in an
// encoded word, where RFC 2047, 5 (3), has none and no address is read any more.
func displayName(name string) string {
	return shorten(strings.ReplaceAll(line(name), `\`, "/"), nameLimit)
}

// boundary is what stands between the parts. It depends on all that they say, so
// that nobody can put it into what they say, and a mail that is sent again is the
// same.
func boundary(id string, parts ...[]byte) string {
	h := sha256.New()
	for _, p := range append(parts, []byte(id)) {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return fmt.Sprintf("tollgate-%x", h.Sum(nil)[:16])
}

// asciiDomain is the address with its domain as the DNS has it (RFC 5891), which
// servers take that do not take addresses beyond ASCII.
func asciiDomain(address string) (string, error) {
	local, domain := cutAddress(address)
	if !isASCII(domain) {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", fmt.Errorf("domain: %w", err)
		}
	}
	address = local + "@" + domain
	if len(address) > addressLimit {
		return "", fmt.Errorf("it is longer than %d bytes", addressLimit)
	}
	return address, nil
}

// addressLimit is RFC 5321, 4.5.3.1.3, without the angle brackets.
const addressLimit = 254

// cutAddress cuts an address at its last @: the local part may be quoted and
// have one, too.
func cutAddress(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	return address[:max(i, 0)], address[i+1:]
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
