package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/config"
	"tollgate/server/pricing"
)

func TestNotify(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hook"), []byte("whsec_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "WEBHOOK_SECRET"), []byte("whsec_credential"), 0o400); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, source string
		env          []string
		want         config.Notify // but for the secret, which cmp cannot see into
		secret       string
	}{
		{name: "nothing said", want: config.Notify{Mails: true}},
		{name: "no mails", source: "mails = false", want: config.Notify{}},
		{name: "secret of the environment", source: `webhook = "https://ops.example.com/hook"`, env: []string{"WEBHOOK_SECRET", "whsec_env"},
			want: config.Notify{Webhook: "https://ops.example.com/hook", Mails: true}, secret: "whsec_env"},
		{name: "secret of a file", source: `webhook_secret_file = "hook"`, env: []string{"CREDENTIALS_DIRECTORY", dir},
			want: config.Notify{WebhookSecretFile: filepath.Join(dir, "hook"), Mails: true}, secret: "whsec_file"},
		{name: "secret of systemd", env: []string{"CREDENTIALS_DIRECTORY", dir}, want: config.Notify{Mails: true}, secret: "whsec_credential"},
		{name: "this machine by http", source: `webhook = "http://127.0.0.1:9000/hook"`, want: config.Notify{Webhook: "http://127.0.0.1:9000/hook", Mails: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := config.Parse(filepath.Join(dir, "c.toml"), []byte("[notify]\n"+test.source), env(test.env...))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Notify.WebhookSecret.Reveal(); got != test.secret {
				t.Errorf("the secret is %q, want %q", got, test.secret)
			}
			c.Notify.WebhookSecret = config.Secret{}
			if diff := cmp.Diff(test.want, c.Notify); diff != "" {
				t.Errorf("[notify] (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCreditTerms reads what plans and packs say of credits.
func TestCreditTerms(t *testing.T) {
	c := parse(t, `
[[plan]]
id = "recharged"
fee = "0"
billing = "prepaid"
recharge = { below = 500, pack = "year" }
[[plan]]
id = "told"
fee = "0"
billing = "prepaid"
credits_low = 0
grant = { credits = 2000, rollover = 300 }
recharge = { below = 500, pack = "year" }
[[plan]]
id = "plain"
fee = "0"
billing = "prepaid"
grant = { credits = 1 }
[[credit_pack]]
id = "year"
credits = 10
price = "1"
expires = "8760h"
`, env())
	for id, want := range map[string]struct {
		low   int64
		grant *pricing.PlanGrant
	}{
		"recharged": {500, nil},
		"told":      {0, &pricing.PlanGrant{Credits: 2000, Rollover: 300}},
		"plain":     {0, &pricing.PlanGrant{Credits: 1}},
	} {
		p := c.Plan(id)
		if p.CreditsLow != want.low {
			t.Errorf("plan %s: credits_low is %d, want %d", id, p.CreditsLow, want.low)
		}
		if diff := cmp.Diff(want.grant, p.Grant); diff != "" {
			t.Errorf("plan %s: grant (-want +got):\n%s", id, diff)
		}
	}
	if diff := cmp.Diff([]config.CreditPack{{ID: "year", Credits: 10, Price: ledger.Unit, Expires: 365 * 24 * time.Hour}}, c.CreditPacks); diff != "" {
		t.Errorf("[[credit_pack]] (-want +got):\n%s", diff)
	}
	var b strings.Builder
	if err := c.Summary().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2000 credits a month, of which 300 last into the next", "year: 10 credits for 1, for 8760h"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, b.String())
		}
	}
}
