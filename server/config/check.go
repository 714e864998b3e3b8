package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Summary is what a configuration was understood to say: for `config check`.
type Summary struct {
	File        string            `json:"file"` // "" for the defaults
	Listen      string            `json:"listen"`
	PublicURL   string            `json:"public_url"`
	Socket      string            `json:"socket"`
	Metrics     string            `json:"metrics"`
	Ledger      string            `json:"ledger"`
	Durability  string            `json:"durability"`
	Timezone    string            `json:"timezone"`
	Currency    string            `json:"currency"`
	DefaultPlan string            `json:"default_plan"`
	Clock       string            `json:"clock"`
	Webhook     string            `json:"webhook"` // "": none
	Secrets     []string          `json:"secrets"` // the names of those that were found
	Upstreams   []UpstreamSummary `json:"upstreams"`
	Routes      []RouteSummary    `json:"routes"`
	Plans       []PlanSummary     `json:"plans"`
	CreditPacks []string          `json:"credit_packs"`
	Warnings    []string          `json:"warnings"`
}

// UpstreamSummary sums an upstream up, with the names of its headers only.
type UpstreamSummary struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Timeout string   `json:"timeout"`
	Headers []string `json:"headers,omitempty"`
}

// RouteSummary sums a route up.
type RouteSummary struct {
	Pattern  string         `json:"pattern"`
	Upstream string         `json:"upstream"`
	Auth     string         `json:"auth"`
	Meters   []MeterSummary `json:"meters"`
}

// MeterSummary is how a route measures a meter and what one costs.
type MeterSummary struct {
	Meter  string         `json:"meter"`
	Source string         `json:"source"`
	Price  *ledger.Amount `json:"price,omitempty"`
	Hold   int64          `json:"hold,omitempty"`
}

// PlanSummary sums a plan up.
type PlanSummary struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Public bool   `json:"public"`
	Terms  string `json:"terms"`
}

// Summary sums the configuration up. It holds no secret.
func (c *Config) Summary() *Summary {
	s := &Summary{
		File: c.File, Listen: c.Server.Listen, PublicURL: c.Server.PublicURL, Socket: c.Server.Socket, Metrics: c.Server.Metrics,
		Ledger: c.Ledger.Path, Durability: c.Ledger.Durability,
		Timezone: c.Billing.Timezone, Currency: c.Billing.Currency, DefaultPlan: c.Billing.DefaultPlan, Clock: c.Clock.Mode, Webhook: c.Notify.Webhook,
		Secrets: []string{}, Upstreams: []UpstreamSummary{}, Routes: []RouteSummary{}, Plans: []PlanSummary{}, CreditPacks: []string{}, Warnings: []string{},
	}
	for _, secret := range []struct {
		name  string
		value Secret
	}{{stripeSecretKey, c.Stripe.SecretKey}, {stripeWebhookSecret, c.Stripe.WebhookSecret}, {smtpPassword, c.Mail.Password}, {webhookSecret, c.Notify.WebhookSecret}} {
		if secret.value.IsSet() {
			s.Secrets = append(s.Secrets, secret.name)
		}
	}
	for _, u := range c.Upstreams {
		where := "builtin:" + u.Builtin
		if u.URL != nil {
			where = u.URL.String()
		}
		s.Upstreams = append(s.Upstreams, UpstreamSummary{u.Name, where, shortDuration(u.Timeout), slices.Sorted(maps.Keys(u.Headers))})
	}
	for i := range c.Routes {
		s.Routes = append(s.Routes, c.Routes[i].summary())
	}
	for i := range c.Plans {
		p := &c.Plans[i]
		s.Plans = append(s.Plans, PlanSummary{p.ID, p.Name, p.Public, planTerms(p)})
	}
	for _, pack := range c.CreditPacks {
		text := fmt.Sprintf("%s: %d credits for %s", pack.ID, pack.Credits, shortAmount(pack.Price))
		if pack.Expires > 0 {
			text += ", for " + shortDuration(pack.Expires)
		}
		s.CreditPacks = append(s.CreditPacks, text)
	}
	for _, w := range c.Warnings {
		s.Warnings = append(s.Warnings, w.String())
	}
	return s
}

func (r *Route) summary() RouteSummary {
	s := RouteSummary{Pattern: r.Pattern, Upstream: r.Upstream, Auth: r.Auth}
	for _, meter := range append([]string{"calls"}, r.Meters()...) {
		m := MeterSummary{Meter: meter, Source: "each call is one", Hold: r.Hold[meter]}
		if source := r.Source(meter); source != nil {
			m.Source = source.String()
		}
		if price, ok := r.Price[meter]; ok {
			m.Price = &price
		}
		s.Meters = append(s.Meters, m)
	}
	return s
}

// planTerms says a plan's terms in a sentence.
func planTerms(p *pricing.Plan) string {
	words := []string{shortAmount(p.Fee) + " a month"}
	if p.Custom {
		words[0] = "fee by agreement"
	}
	if len(p.Quota) == 0 {
		words = append(words, "unlimited")
	}
	for _, meter := range slices.Sorted(maps.Keys(p.Quota)) {
		words = append(words, fmt.Sprintf("%d %s included", p.Quota[meter], meter))
	}
	beyond := "beyond it refused"
	if p.OnExceed != pricing.Block {
		beyond = "beyond it"
		for _, meter := range slices.Sorted(maps.Keys(p.Overage)) {
			beyond += fmt.Sprintf(" %s for each of %s", shortAmount(p.Overage[meter]), meter)
		}
		if p.OnExceed == pricing.BillIfPayable {
			beyond += " if payable, else refused"
		}
	}
	if len(p.Quota) > 0 {
		words = append(words, beyond)
	}
	if p.ByCost {
		words = append(words, "charged by the cost of the calls")
	}
	for _, price := range p.Prices {
		words = append(words, fmt.Sprintf("%s priced by %s", price.Meter, price.Model))
	}
	switch {
	case p.CreditsByCost:
		words = append(words, "burns credits by cost")
	case p.Billing == pricing.Prepaid:
		for _, meter := range slices.Sorted(maps.Keys(p.Credits)) {
			words = append(words, fmt.Sprintf("burns %d credits for each of %s", p.Credits[meter], meter))
		}
	}
	if p.Grant != nil {
		words = append(words, fmt.Sprintf("%d credits a month, of which %d last into the next", p.Grant.Credits, p.Grant.Rollover))
	}
	words = append(words, p.Billing, rates(p))
	return strings.Join(words, ", ")
}

func rates(p *pricing.Plan) string {
	limit := func(n int, unit string) string {
		if n == 0 {
			return "any number a " + unit
		}
		return fmt.Sprintf("%d a %s", n, unit)
	}
	return limit(p.PerMinute, "minute") + ", " + limit(p.PerDay, "day")
}

// WriteText writes the summary for people.
func (s *Summary) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
	name := s.File
	if name == "" {
		name = "no file, defaults"
	}
	line("configuration\t%s", name)
	line("listen\t%s", s.Listen)
	line("public_url\t%s", s.PublicURL)
	line("socket\t%s", s.Socket)
	if s.Metrics != "" {
		line("metrics\t%s", s.Metrics)
	}
	line("ledger\t%s, %s", s.Ledger, s.Durability)
	line("billing\t%s, %s, new users on plan %s", s.Timezone, s.Currency, s.DefaultPlan)
	if s.Clock != "system" {
		line("clock\t%s", s.Clock)
	}
	if s.Webhook != "" {
		line("webhook\t%s", s.Webhook)
	}
	if len(s.Secrets) > 0 {
		line("secrets\t%s", strings.Join(s.Secrets, ", "))
	}
	for _, u := range s.Upstreams {
		text := u.URL + ", timeout " + u.Timeout
		if len(u.Headers) > 0 {
			text += ", with " + strings.Join(u.Headers, ", ")
		}
		line("upstream %s\t%s", u.Name, text)
	}
	for _, r := range s.Routes {
		auth := "with a key"
		if r.Auth == AuthNone {
			auth = "without a key"
		}
		line("route\t%s to %s, %s", r.Pattern, r.Upstream, auth)
		for _, m := range r.Meters {
			text := m.Source
			if m.Price != nil {
				text += ", " + shortAmount(*m.Price) + " each"
			}
			if m.Hold > 0 {
				text += fmt.Sprintf(", %d held", m.Hold)
			}
			line("  %s\t%s", m.Meter, text)
		}
	}
	for _, p := range s.Plans {
		hidden := ""
		if !p.Public {
			hidden = ", not public"
		}
		line("plan %s\t%s: %s%s", p.ID, p.Name, p.Terms, hidden)
	}
	for _, pack := range s.CreditPacks {
		line("credit pack\t%s", pack)
	}
	for _, warning := range s.Warnings {
		line("warning\t%s", warning)
	}
	return t.Flush()
}
