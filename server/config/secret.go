package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a value that does not print: not with any verb of fmt, not in
// JSON, not in a log. The zero value is no secret.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal is the value itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsSet tells whether there is a secret.
func (s Secret) IsSet() bool { return s.value != "" }

// Equal tells whether two secrets are the same.
func (s Secret) Equal(other Secret) bool { return s.value == other.value }

// String is "[secret]", or nothing where there is none.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return "[secret]"
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format implements [fmt.Formatter], so that no verb reaches the field.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler]; JSON uses it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// The names of the secrets: environment variables, and systemd credentials.
const (
	stripeSecretKey     = "STRIPE_SECRET_KEY"
	stripeWebhookSecret = "STRIPE_WEBHOOK_SECRET"
	smtpPassword        = "SMTP_PASSWORD"
	webhookSecret       = "WEBHOOK_SECRET"
)

// secretFileKeys is the key of the file that names a file with the secret.
var secretFileKeys = map[string]string{
	stripeSecretKey:     "secret_key_file",
	stripeWebhookSecret: "webhook_secret_file",
	smtpPassword:        "password_file",
	webhookSecret:       "webhook_secret_file",
}

// secretKeys is where people write a secret into the file.
var secretKeys = map[string]string{
	"stripe.secret_key":     stripeSecretKey,
	"stripe.secret":         stripeSecretKey,
	"stripe.api_key":        stripeSecretKey,
	"stripe.key":            stripeSecretKey,
	"stripe.webhook_secret": stripeWebhookSecret,
	"mail.password":         smtpPassword,
	"mail.smtp_password":    smtpPassword,
	"notify.secret":         webhookSecret,
	"notify.webhook_secret": webhookSecret,
}

// maxSecret bounds a secret's file in bytes.
const maxSecret = 64 << 10

// secret finds a secret: the environment first, then the file that the
// configuration names, then systemd's credentials. None is no error: what
// needs it says so.
func (r *reading) secret(name string, at *node, file string) Secret {
	if value := r.getenv(name); value != "" {
		return Secret{value}
	}
	if file != "" {
		value, err := readSecret(file)
		if err != nil {
			r.wrong(at, "%v", err)
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			r.warn(at, "%s in %s: %s can be read by everyone; chmod 600 it", at.key, at.parent.place(), file)
		}
		return Secret{value}
	}
	if folder := r.getenv("CREDENTIALS_DIRECTORY"); folder != "" {
		value, err := readSecret(filepath.Join(folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.problem(at, "the systemd credential %s %v", name, err)
		}
		return Secret{value}
	}
	return Secret{}
}

// readSecret reads a secret's file without the line end that editors add. The
// error is the end of a sentence.
func readSecret(file string) (string, error) {
	data, err := readFile(file, maxSecret)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", fmt.Errorf("names an empty file, %s", file)
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return "", fmt.Errorf("names %s, which holds more than one line", file)
	}
	return value, nil
}

// secretLooks begins values that are secrets wherever they stand.
var secretLooks = []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_", "tg_live_", "-----BEGIN"}

// refuseSecrets finds values that look like secrets anywhere in the file, and
// takes them out, so that no message repeats one: messages go into logs.
func (d *decoder) refuseSecrets(n *node) {
	if s, ok := n.value.(string); ok {
		for _, look := range secretLooks {
			if strings.HasPrefix(strings.TrimPrefix(s, "Bearer "), look) {
				n.value = Secret{s}.String()
				if _, known := secretKeys[n.path()]; !known {
					d.wrong(n, "is a secret, which does not belong in this file; take it from the environment or from a *_file")
				}
				return
			}
		}
	}
	for _, key := range n.keys {
		d.refuseSecrets(n.fields[key])
	}
	for _, item := range n.items {
		d.refuseSecrets(item)
	}
}
