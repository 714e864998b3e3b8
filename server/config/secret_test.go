package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/server/config"
)

func TestSecretDoesNotPrint(t *testing.T) {
	type holder struct {
		S config.Secret
		P *config.Secret
	}
	s := config.NewSecret("hush")
	h := holder{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", map[string]config.Secret{"k": s})
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString())
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "h", h, "p", &s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "h", h, "p", &s)
	for _, form := range []string{"hush", "68757368", "104 117"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret prints as %q:\n%s", form, out.String())
		}
	}
	if s.Reveal() != "hush" || !s.IsSet() || (config.Secret{}).IsSet() || (config.Secret{}).String() != "" {
		t.Error("a secret does not keep its value")
	}
}

func TestSecretsAreFound(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("key", "from-file\n", 0o600)
	write("open", "from-file\r\n", 0o644)
	write("empty", "\n", 0o600)
	write("two", "a\nb\n", 0o600)
	write("STRIPE_SECRET_KEY", "from-credentials", 0o400)
	source := func(file string) string { return "[stripe]\nsecret_key_file = \"" + file + "\"\n" }
	tests := []struct {
		name, source string
		env          []string
		want, wrong  string
		warnings     int
	}{
		{"none", "", nil, "", "", 1},
		{"environment first", source("key"), []string{"STRIPE_SECRET_KEY", "from-env", "CREDENTIALS_DIRECTORY", dir}, "from-env", "", 1},
		{"file before credentials", source("key"), []string{"CREDENTIALS_DIRECTORY", dir}, "from-file", "", 1},
		{"credentials", "", []string{"CREDENTIALS_DIRECTORY", dir}, "from-credentials", "", 1},
		{"no credential of that name", "", []string{"CREDENTIALS_DIRECTORY", filepath.Join(dir, "none")}, "", "", 1},
		{"readable by everyone", source("open"), nil, "from-file", "", 2},
		{"empty", source("empty"), nil, "", "secret_key_file in [stripe] names an empty file", 0},
		{"two lines", source("two"), nil, "", "more than one line", 0},
		{"missing", source("missing"), nil, "", "c.toml:2: secret_key_file in [stripe] cannot be read: open ", 0},
		{"live key on a test clock", "[clock]\nmode = \"test\"", []string{"STRIPE_SECRET_KEY", "rk_live_x"}, "", "c.toml:2: a test clock cannot be used with a live Stripe key", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := config.Parse(filepath.Join(dir, "c.toml"), []byte(test.source), env(test.env...))
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Fatalf("got error %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Stripe.SecretKey.Reveal(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if len(c.Warnings) != test.warnings {
				t.Errorf("warnings: %v", c.Warnings)
			}
		})
	}
	c, err := config.Load("", env("SMTP_PASSWORD", "pw", "CREDENTIALS_DIRECTORY", dir))
	if err != nil {
		t.Fatal(err)
	}
	if c.Mail.Password.Reveal() != "pw" || c.Stripe.SecretKey.Reveal() != "from-credentials" {
		t.Error("without a file the secrets are not found")
	}
}

func TestUpstreamHeaders(t *testing.T) {
	c := parse(t, `
[[upstream]]
name = "api"
url = "https://api.internal:8443/base"
timeout = "1500ms"
headers = { authorization = "env:TOKEN", X-Plain = "yes" }
[[route]]
pattern = "/"
upstream = "api"
`, env("TOKEN", "Bearer t"))
	u := c.Upstreams[0]
	if u.Headers["Authorization"].Reveal() != "Bearer t" || u.Headers["X-Plain"].Reveal() != "yes" || u.URL.Path != "/base" || u.Timeout.String() != "1.5s" {
		t.Errorf("got %v, %v, %v", u.Headers, u.URL, u.Timeout)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", u, u), "Bearer t") {
		t.Error("an upstream prints the value of a header")
	}
}
