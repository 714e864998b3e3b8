package config

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Config is a whole configuration, checked and with its defaults. The caller
// owns it.
type Config struct {
	File        string // as given; "" where there is none
	Server      Server
	Ledger      Ledger
	Billing     Billing
	Stripe      Stripe
	Mail        Mail
	Notify      Notify
	Clock       Clock
	Upstreams   []Upstream
	Routes      []Route
	Plans       []pricing.Plan       // the shipped ones with what the file says of them, then the file's own, in its order
	Effective   map[string]time.Time // plan id to when its terms act for those who are on it; none: from their next period
	CreditPacks []CreditPack
	Warnings    []Problem // what works but is probably not meant, by line
}

// Server is what the program shows to the world.
type Server struct {
	Listen         string         `toml:"listen"`          // host:port
	PublicURL      string         `toml:"public_url"`      // without a slash at the end
	Socket         string         `toml:"socket"`          // path of the operator's unix socket
	Metrics        string         `toml:"metrics"`         // host:port; "": off
	MaxBody        Size           `toml:"max_body"`        // of a request, in bytes; 0: no limit
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"` // whose X-Forwarded-For counts
	Drain          time.Duration  `toml:"drain"`           // how long running calls may take to end at SIGTERM
	TLS            TLS            `toml:"tls"`
}

// TLS is how the listener is encrypted.
type TLS struct {
	Mode     string   `toml:"mode" oneof:"off,auto,files"`
	CertFile string   `toml:"cert_file"` // files
	KeyFile  string   `toml:"key_file"`  // files
	Hosts    []string `toml:"hosts"`     // auto: the names to get certificates for; none: the host of PublicURL
	Email    string   `toml:"email"`     // auto: where the authority writes to
	ACME     string   `toml:"acme"`      // auto: the directory's URL; "": Let's Encrypt
}

// Ledger is where and how the ledger is kept.
type Ledger struct {
	Path           string        `toml:"path"`
	Durability     string        `toml:"durability" oneof:"strict,relaxed"`
	CommitInterval time.Duration `toml:"commit_interval" least:"1ms"` // relaxed only
	MinFree        Size          `toml:"min_free"`                    // bytes free on the disk below which nothing commits
	SnapshotDir    string        `toml:"snapshot_dir"`                // "": no nightly snapshot
	SnapshotKeep   int           `toml:"snapshot_keep" least:"1"`
}

// Billing is when and how customers are charged.
type Billing struct {
	Timezone     string          `toml:"timezone"` // IANA name
	Location     *time.Location  // of Timezone
	Currency     string          `toml:"currency"` // ISO 4217, lower case
	MinorDigits  int             // decimals of the currency's minor unit
	DefaultPlan  string          `toml:"default_plan"`
	Grace        time.Duration   `toml:"grace"`       // after a period's end, while late usage still lands in it
	RunAt        TimeOfDay       `toml:"run_at"`      // on the 1st, in Location
	RetryAfter   []time.Duration `toml:"retry_after"` // each counted from the failure before
	SuspendAfter time.Duration   `toml:"suspend_after" least:"1m"`
	Proration    string          `toml:"proration" oneof:"time,full"`
	EventsWindow time.Duration   `toml:"events_window" least:"1h"` // how old an event may be
	HoldTTL      time.Duration   `toml:"hold_ttl" least:"1s"`
	Issuer       string          `toml:"issuer"` // on invoices
	Tax          Tax             `toml:"tax"`
}

// Tax is a single tax on every invoice.
type Tax struct {
	Name    string  `toml:"name"`
	Percent Percent `toml:"percent"`
}

// Stripe is the payment provider. Without a secret key nothing is charged.
type Stripe struct {
	APIBase           string `toml:"api_base"` // "": Stripe's own
	SecretKeyFile     string `toml:"secret_key_file"`
	WebhookSecretFile string `toml:"webhook_secret_file"`
	SecretKey         Secret
	WebhookSecret     Secret
}

// Mail is how mail is sent. Without SMTP none is.
type Mail struct {
	SMTP         string `toml:"smtp"` // smtp://user@host:587 or smtps://; never with a password
	From         string `toml:"from"`
	PasswordFile string `toml:"password_file"`
	Password     Secret
}

// Notify is who is told of quotas, credits and payments.
type Notify struct {
	Webhook           string `toml:"webhook"` // URL of the operator's program; "": none
	WebhookSecretFile string `toml:"webhook_secret_file"`
	WebhookSecret     Secret // signs what is sent to Webhook
	Mails             bool   `toml:"mails"` // to the customers, where mail is sent at all
}

// Clock is the system's, or one that is set by hand for tests.
type Clock struct {
	Mode  string    `toml:"mode" oneof:"system,test"`
	Start time.Time `toml:"start"` // test: of a new ledger; zero: the system's time
}

// Upstream is an API that calls are forwarded to.
type Upstream struct {
	Name    string
	URL     *url.URL          // http or https, with a host; nil where Builtin is set
	Builtin string            // "sample": the built-in sample API
	Timeout time.Duration     // until the headers of an answer
	Headers map[string]Secret // canonical name to the value sent to the upstream
	Line    int               // in the file; 0: a default
}

// The words of a Route's Auth.
const (
	AuthKey  = "key"  // calls need an API key
	AuthNone = "none" // calls are forwarded and counted without a user
)

// Route is a pattern of calls: where they go, how they are measured, what they
// cost.
type Route struct {
	Pattern    string             // of net/http's ServeMux
	Upstream   string             // name of one of Config.Upstreams
	Documents  *Source            // nil: not measured
	Tokens     *Source            // nil: not measured
	Named      map[string]*Source // meter to how it is measured, beside the two
	Price      map[string]ledger.Amount
	Auth       string
	BillStatus StatusSet // of the upstream's answers that are billed
	Drain      Drain
	Hold       map[string]int64 // meter to what is reserved where the size is unknown before the call
	Timeout    time.Duration    // until the headers of an answer; 0: the upstream's
	Effective  time.Time        // when its prices act for those who are in a period; zero: from their next period
	Line       int              // in the file; 0: a default
}

// Source is how the route measures a meter, or nil. "calls" needs no source.
func (r *Route) Source(meter string) *Source {
	switch meter {
	case "documents":
		return r.Documents
	case "tokens":
		return r.Tokens
	}
	return r.Named[meter]
}

// Meters lists what the route measures beside the call itself: documents,
// tokens, then the named meters by name.
func (r *Route) Meters() []string {
	var list []string
	if r.Documents != nil {
		list = append(list, "documents")
	}
	if r.Tokens != nil {
		list = append(list, "tokens")
	}
	return append(list, slices.Sorted(maps.Keys(r.Named))...)
}

// Drain bounds how long an answer is read after its client has left.
type Drain struct {
	Bytes   Size
	Seconds int
}

// CreditPack is an amount of credits that customers can buy.
type CreditPack struct {
	ID      string
	Credits int64
	Price   ledger.Amount
	Expires time.Duration // after the purchase; 0: never
}

// Default is the configuration without a file: the ledger tollgate.db in the
// working directory, the built-in sample API, the shipped plans. It holds no
// secrets; [Load] with no path adds those of the environment.
func Default() *Config {
	c := defaults()
	sample := func(pattern, list string) Route {
		return Route{
			Pattern:    pattern,
			Upstream:   "sample",
			Documents:  &Source{Kind: FromRequest, Pointer: list, Count: true},
			Tokens:     &Source{Kind: FromResponse, Pointer: "/usage/total_tokens", Missing: MissingZero},
			Price:      map[string]ledger.Amount{"documents": ledger.Unit / 100},
			Auth:       AuthKey,
			BillStatus: defaultBillStatus(),
			Drain:      defaultDrain(),
		}
	}
	c.Upstreams = []Upstream{{Name: "sample", Builtin: "sample", Timeout: defaultTimeout}}
	c.Routes = []Route{sample("POST /v1/scan", "/docs"), sample("POST /v1/analyze", "/texts")}
	return c
}

const (
	defaultTimeout = time.Minute
	defaultSocket  = "tollgate.sock"
)

func defaultDrain() Drain { return Drain{Bytes: 8 << 20, Seconds: 30} }

func defaultBillStatus() StatusSet {
	set, _ := ParseStatusSet("2xx,3xx")
	return set
}

// defaults is what holds where a file says nothing.
func defaults() *Config {
	c := &Config{
		Server: Server{
			Listen:  "127.0.0.1:8080",
			MaxBody: 32 << 20,
			Drain:   30 * time.Second,
			TLS:     TLS{Mode: "off"},
		},
		Ledger: Ledger{
			Path:           "tollgate.db",
			Durability:     "strict",
			CommitInterval: 100 * time.Millisecond,
			MinFree:        256 << 20,
			SnapshotDir:    "backups",
			SnapshotKeep:   7,
		},
		Billing: Billing{
			Timezone:     "UTC",
			Location:     time.UTC,
			Currency:     "usd",
			MinorDigits:  2,
			DefaultPlan:  "free",
			Grace:        time.Hour,
			RunAt:        TimeOfDay(time.Hour),
			RetryAfter:   []time.Duration{72 * time.Hour, 120 * time.Hour, 168 * time.Hour},
			SuspendAfter: 336 * time.Hour,
			Proration:    "time",
			EventsWindow: 1488 * time.Hour,
			HoldTTL:      10 * time.Minute,
			Tax:          Tax{Name: "VAT"},
		},
		Notify:    Notify{Mails: true},
		Clock:     Clock{Mode: "system"},
		Plans:     pricing.Shipped(),
		Effective: map[string]time.Time{},
	}
	c.settle()
	return c
}

// settle fills the settings that follow from others.
func (c *Config) settle() {
	if c.Server.Socket == "" {
		c.Server.Socket = filepath.Join(filepath.Dir(c.Ledger.Path), defaultSocket)
	}
	if c.Server.PublicURL == "" {
		c.Server.PublicURL = localURL(c.Server.Listen, c.Server.TLS.Mode != "off")
	}
}

// localURL is the URL under which a listener is reached from this machine.
func localURL(listen string, encrypted bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
