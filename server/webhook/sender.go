package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tollgate/server/billing"
)

// Options say where webhooks go.
type Options struct {
	URL    string // https, or http to this machine
	Secret string // "whsec_" and base64 of 24 to 64 bytes; the receiver has the same

	Transport http.RoundTripper // nil: http.DefaultTransport
	// Now is the time of attempts, which receivers compare with their own: the
	// system's also where billing goes by a test clock. nil: time.Now.
	Now     func() time.Time
	Timeout time.Duration // for one request, all in all; 0: 15 seconds
}

// Sender sends webhooks. It may be used by many goroutines at once.
type Sender struct {
	url    string
	signer *standardwebhooks.Webhook
	client *http.Client
	now    func() time.Time
}

var _ billing.WebhookSender = (*Sender)(nil)

// New checks the options. It does not connect.
func New(o Options) (*Sender, error) {
	// The errors of the parsers are left out: they quote what may be a secret.
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return nil, errors.New("the address of the webhook is no URL such as \"https://ops.example.com/tollgate\"")
	}
	key, err := keyOf(o.Secret)
	if err != nil {
		return nil, fmt.Errorf("the secret of the webhook %w", err)
	}
	signer, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, fmt.Errorf("sign webhooks: %w", err)
	}
	s := &Sender{
		url: o.URL, signer: signer, now: o.Now,
		client: &http.Client{
			Transport: o.Transport,
			Timeout:   cmp.Or(o.Timeout, 15*time.Second),
			// What is told is for the receiver that was configured, and for nobody whom
			// that one names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// The bounds of a symmetric secret in bytes
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme).
const (
	leastKey = 24
	mostKey  = 64
)

// keyOf is the key in a secret. The error is the end of a sentence, and does not
// repeat it.
func keyOf(secret string) ([]byte, error) {
	if secret == "" {
		return nil, errors.New("is missing: set WEBHOOK_SECRET in the environment, or name a file that holds it with webhook_secret_file in [notify]")
	}
	text, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < leastKey || len(key) > mostKey {
		return nil, fmt.Errorf("must be whsec_ and %d to %d random bytes in base64, such as of: echo whsec_$(openssl rand -base64 32)", leastKey, mostKey)
	}
	return key, nil
}

// drained is how much of an answer is read, in bytes, so that its connection can be
// used again.
const drained = 64 << 10

// SendWebhook makes one attempt to deliver a notice; the package's comment says what
// errors mean.
func (s *Sender) SendWebhook(ctx context.Context, w billing.Webhook) error {
	content, err := encode(w)
	if err != nil {
		return fmt.Errorf("webhook %q: %w", w.ID, err)
	}
	if err := s.post(ctx, w.ID, content); err != nil {
		return fmt.Errorf("webhook %q: %w", w.ID, err)
	}
	return nil
}

func (s *Sender) post(ctx context.Context, id string, content []byte) error {
	at := s.now()
	signature, err := s.signer.Sign(id, at, content)
	if err != nil {
		return fmt.Errorf("sign it: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(content))
	if err != nil {
		return withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "tollgate")
	r.Header.Set(standardwebhooks.HeaderWebhookID, id)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := s.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, drained) // the status has said all that there is to know
	switch code := answer.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusGone:
		return fmt.Errorf("it answered 410: %w", billing.ErrGone)
	default:
		return fmt.Errorf("it answered %d %s", code, http.StatusText(code))
	}
}

// withoutURL is an error of net/http without the address that it is about.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}
