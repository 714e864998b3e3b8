package config

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // billing zones must not depend on what the machine has installed

	"tollgate/ledger"
)

// maxFile bounds a configuration in bytes.
const maxFile = 1 << 20

// Load reads the configuration at a path, or gives [Default] where the path is
// empty. Secrets and `env:` values come from getenv. A file with anything wrong
// in it gives an [*Error] that lists all of it.
func Load(path string, getenv func(string) string) (*Config, error) {
	if path == "" {
		return Default().withSecrets(getenv)
	}
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data, getenv)
}

// Parse is Load of a file that was read already. Relative paths in it are
// relative to the folder of path.
func Parse(path string, data []byte, getenv func(string) string) (*Config, error) {
	root, bad := parseTree(string(data))
	if bad != nil {
		bad.File = path
		return nil, &Error{Problems: []Problem{*bad}}
	}
	c := defaults()
	c.File = path
	r := &reading{decoder: newDecoder(path), getenv: getenv, folder: filepath.Dir(path), root: root, c: c}
	c.Server.Socket, c.Server.PublicURL = "", "" // follow from what the file says
	r.raw = &file{Server: c.Server, Ledger: c.Ledger, Billing: c.Billing, Stripe: c.Stripe, Mail: c.Mail, Notify: c.Notify, Clock: c.Clock}
	r.refuseSecrets(root)
	r.table(root, reflect.ValueOf(r.raw).Elem())
	c.Server, c.Ledger, c.Billing, c.Stripe, c.Mail, c.Notify, c.Clock = r.raw.Server, r.raw.Ledger, r.raw.Billing, r.raw.Stripe, r.raw.Mail, r.raw.Notify, r.raw.Clock
	r.server()
	r.ledger()
	r.billing()
	r.outside()
	r.clock()
	r.upstreams()
	r.routes()
	r.creditPacks()
	r.plans()
	r.meters()
	if err := r.err(); err != nil {
		return nil, err
	}
	c.settle()
	r.exposed()
	c.Warnings = sortProblems(r.warnings)
	return c, nil
}

// reading is one run over a file.
type reading struct {
	*decoder
	getenv func(string) string
	folder string // that relative paths start from
	root   *node
	raw    *file
	c      *Config
}

// withSecrets adds the secrets of the environment to a configuration without a
// file.
func (c *Config) withSecrets(getenv func(string) string) (*Config, error) {
	r := &reading{decoder: newDecoder(""), getenv: getenv, root: &node{kind: tableKind}, c: c}
	r.secrets()
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// path resolves a path of something that an operator has made.
func (r *reading) path(p *string) { resolve(p, r.folder) }

// statePath resolves a path of something that tollgate makes. A service's state
// folder, as systemd names it, is for that; the configuration's is read-only there.
func (r *reading) statePath(p *string) {
	folder, _, _ := strings.Cut(r.getenv("STATE_DIRECTORY"), ":")
	resolve(p, cmp.Or(folder, r.folder))
}

func resolve(p *string, folder string) {
	if *p != "" && !filepath.IsAbs(*p) {
		*p = filepath.Join(folder, *p)
	}
}

// maxSocket is what the kernel takes as the path of a unix socket.
const maxSocket = 107

func (r *reading) server() {
	s := &r.c.Server
	at := func(key string) *node { return r.root.get("server", key) }
	r.address(at("listen"), s.Listen)
	if s.Metrics != "" {
		r.address(at("metrics"), s.Metrics)
		if s.Metrics == s.Listen {
			r.wrong(at("metrics"), "is the same address as listen; give it a port of its own")
		}
	}
	if s.PublicURL != "" {
		s.PublicURL = strings.TrimRight(s.PublicURL, "/")
		r.webAddress(at("public_url"), s.PublicURL)
	}
	r.statePath(&s.Socket)
	if len(s.Socket) > maxSocket {
		r.wrong(at("socket"), "is too long: a unix socket's path has at most %d bytes", maxSocket)
	}
	r.tls()
}

func (r *reading) tls() {
	s := &r.c.Server.TLS
	at := func(key string) *node { return r.root.get("server", "tls", key) }
	r.path(&s.CertFile)
	r.path(&s.KeyFile)
	if s.ACME != "" {
		r.webAddress(at("acme"), s.ACME)
	}
	if s.Mode == "files" && (s.CertFile == "" || s.KeyFile == "") {
		r.problem(at("mode"), "[server.tls] with mode = \"files\" needs cert_file and key_file")
	}
	if s.Mode != "files" && s.CertFile+s.KeyFile != "" {
		r.problem(at("mode"), "[server.tls] names certificate files, which only mode = \"files\" reads")
	}
	if s.Mode == "auto" && len(s.Hosts) == 0 && r.c.Server.PublicURL == "" {
		r.problem(at("mode"), "[server.tls] with mode = \"auto\" needs hosts, or public_url in [server], to know the names to certify")
	}
}

func (r *reading) ledger() {
	l := &r.c.Ledger
	if l.Path == "" {
		r.wrong(r.root.get("ledger", "path"), "must not be empty")
	}
	r.statePath(&l.Path)
	r.statePath(&l.SnapshotDir)
}

func (r *reading) billing() {
	b := &r.c.Billing
	at := func(key string) *node { return r.root.get("billing", key) }
	zone, err := time.LoadLocation(b.Timezone)
	if err != nil || b.Timezone == "" || b.Timezone == "Local" {
		r.wrong(at("timezone"), "is %q, which is not an IANA time zone such as \"UTC\" or \"Europe/Berlin\"", b.Timezone)
		zone = time.UTC
	}
	b.Location = zone
	if digits, err := ledger.MinorDigits(b.Currency); err != nil {
		r.wrong(at("currency"), "%v", afterColon(err))
	} else {
		b.MinorDigits = digits
	}
	for i, wait := range b.RetryAfter {
		if wait <= 0 {
			r.wrong(at("retry_after").items[i], "must not be zero")
		}
	}
}

// outside checks what speaks to others: Stripe, mail and webhooks.
func (r *reading) outside() {
	if base := &r.c.Stripe.APIBase; *base != "" {
		*base = strings.TrimRight(*base, "/")
		if *base != "builtin:sandbox" {
			r.webAddress(r.root.get("stripe", "api_base"), *base)
		}
	}
	m := &r.c.Mail
	at := r.root.get("mail", "smtp")
	if m.SMTP != "" {
		u, err := url.Parse(m.SMTP)
		switch {
		case err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "":
			r.wrong(at, "is not a URL such as \"smtp://mail.example.com:587\" or \"smtps://user@mail.example.com:465\"")
		case hasPassword(u):
			r.wrong(at, "has a password, which does not belong in this file; set %s in the environment, or name a file with %s", smtpPassword, secretFileKeys[smtpPassword])
		case m.From == "":
			r.problem(at, "[mail] needs from, the address that mail is sent from")
		}
	}
	if m.From != "" && !strings.Contains(m.From, "@") {
		r.wrong(r.root.get("mail", "from"), "is %q, which is not a mail address", m.From)
	}
	if hook := r.c.Notify.Webhook; hook != "" {
		at := r.root.get("notify", "webhook")
		if u := r.webAddress(at, hook); u != nil && u.Scheme == "http" && !isLocal(u.Hostname()) {
			r.wrong(at, "must be https: what it is told is about customers; http is for this machine only")
		}
	}
	r.secrets()
}

func (r *reading) secrets() {
	s, m, n := &r.c.Stripe, &r.c.Mail, &r.c.Notify
	r.path(&s.SecretKeyFile)
	r.path(&s.WebhookSecretFile)
	r.path(&m.PasswordFile)
	r.path(&n.WebhookSecretFile)
	s.SecretKey = r.secret(stripeSecretKey, r.root.get("stripe", "secret_key_file"), s.SecretKeyFile)
	s.WebhookSecret = r.secret(stripeWebhookSecret, r.root.get("stripe", "webhook_secret_file"), s.WebhookSecretFile)
	m.Password = r.secret(smtpPassword, r.root.get("mail", "password_file"), m.PasswordFile)
	n.WebhookSecret = r.secret(webhookSecret, r.root.get("notify", "webhook_secret_file"), n.WebhookSecretFile)
}

func (r *reading) clock() {
	c := &r.c.Clock
	if c.Mode != "test" && !c.Start.IsZero() {
		r.wrong(r.root.get("clock", "start"), "needs mode = \"test\"")
	}
	key := r.c.Stripe.SecretKey.Reveal()
	if c.Mode == "test" && (strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")) {
		r.problem(r.root.get("clock", "mode"), "a test clock cannot be used with a live Stripe key: customers would be charged for time that did not pass")
	}
}

func (r *reading) creditPacks() {
	seen := make(map[string]*node)
	for _, f := range r.raw.CreditPacks {
		r.required(f.At, "id", "credits", "price")
		if f.ID == "" {
			continue
		}
		r.name(f.At.get("id"), f.ID)
		if first := seen[f.ID]; first != nil {
			r.problem(f.At.get("id"), "credit pack %q is given twice; first in line %d", f.ID, first.line)
		}
		seen[f.ID] = f.At.get("id")
		if f.Credits != nil && f.Price != nil {
			r.c.CreditPacks = append(r.c.CreditPacks, CreditPack{ID: f.ID, Credits: *f.Credits, Price: *f.Price, Expires: f.Expires})
		}
	}
}

// exposed warns of keys that travel in the clear.
func (r *reading) exposed() {
	s := &r.c.Server
	given, _ := url.Parse(s.PublicURL)
	host, _, _ := net.SplitHostPort(s.Listen)
	switch at := r.root.get("server", "public_url"); {
	case isLocal(host) && isLocal(given.Hostname()):
	case given.Scheme == "http":
		r.warn(at, "public_url is %q: keys travel unencrypted; put TLS in front, or see [server.tls], and say https", s.PublicURL)
	case at.key != "public_url":
		r.warn(at, "public_url is not given: links in mails and answers lead to %q", s.PublicURL)
	}
}

// isLocal tells whether a host is this machine only.
func isLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// required notes each key that a table must have and has not.
func (d *decoder) required(n *node, keys ...string) {
	for _, key := range keys {
		if at := n.fields[key]; at == nil {
			d.problem(n, "%s needs %s", n.place(), key)
		} else if at.value == "" {
			d.wrong(at, "must not be empty")
		}
	}
}

// name checks an id: what can stand in a path, a command or a table.
func (d *decoder) name(n *node, id string) {
	for i := range len(id) {
		c := id[i]
		if !bare(c) {
			d.wrong(n, "is %q; use letters, digits, \"-\" and \"_\"", id)
			return
		}
	}
}

// address checks host:port.
func (d *decoder) address(n *node, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		d.wrong(n, "is %q, which is not an address such as \"127.0.0.1:8080\" or \":8080\"", address)
	}
}

// webAddress checks an http or https URL without parameters.
func (d *decoder) webAddress(n *node, address string) *url.URL {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		d.wrong(n, "is not a URL such as \"https://api.example.com\"")
	case hasPassword(u):
		d.wrong(n, "has a password, which does not belong in this file")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		d.wrong(n, "must be a URL without user, parameters and fragment")
	case u.Port() != "" && !validPort(u.Port()):
		d.wrong(n, "has a port that does not exist")
	default:
		return u
	}
	return nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func hasPassword(u *url.URL) bool {
	_, has := u.User.Password()
	return has
}

// readFile reads a file that must not be longer than limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is longer than %v", path, Size(limit))
	}
	return slices.Clip(data), nil
}
