package server

import (
	"context"
	"fmt"
	"reflect"

	"tollgate/server/config"
)

// Reload reads the configuration again and takes up its routes, upstreams,
// plans and limits without dropping a call: those that run keep the terms they
// were admitted with. An error means that the configuration in force has stayed.
func (s *Server) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.notify.reloading()
	defer s.notify.ready()
	if err := s.reload(ctx); err != nil {
		s.log.Error("the configuration was not reloaded, the one before stays in force", "error", err)
		return fmt.Errorf("reloading the configuration: %w", err)
	}
	s.log.Info("the configuration was reloaded")
	return nil
}

func (s *Server) reload(ctx context.Context) error {
	c, err := s.options.Load()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, w := range c.Warnings {
		s.log.Warn(w.String())
	}
	old := s.config.Load()
	for _, key := range needRestart(old, c) {
		s.log.Warn("this setting takes effect at the next start", "key", key)
	}
	routing, err := s.routing(c)
	if err != nil {
		return err
	}
	cert := s.cert.current.Load()
	if cert != nil && c.Server.TLS.Mode == "files" {
		if cert, err = loadCertificate(c.Server.TLS); err != nil {
			return err
		}
	}
	// From here on only the ledger can fail. What it has taken by then is the new
	// configuration's, and the next reload or start goes on from there.
	if err := s.takeTerms(ctx, c); err != nil {
		return err
	}
	s.gateway.Reload(routing)
	s.billing.Configure(billingSettings(c))
	s.cert.current.Store(cert)
	s.config.Store(c)
	return nil
}

// needRestart names the settings that differ and that a reload leaves as they
// are.
func needRestart(old, c *config.Config) []string {
	var keys []string
	for _, setting := range []struct {
		key    string
		before any
		after  any
	}{
		{"[server] listen", old.Server.Listen, c.Server.Listen},
		{"[server] public_url", old.Server.PublicURL, c.Server.PublicURL},
		{"[server] socket", old.Server.Socket, c.Server.Socket},
		{"[server] metrics", old.Server.Metrics, c.Server.Metrics},
		{"[server] max_body", old.Server.MaxBody, c.Server.MaxBody},
		{"[server] trusted_proxies", old.Server.TrustedProxies, c.Server.TrustedProxies},
		{"[server.tls] mode", old.Server.TLS.Mode, c.Server.TLS.Mode},
		{"[ledger]", old.Ledger, c.Ledger},
		{"[billing] timezone", old.Billing.Timezone, c.Billing.Timezone},
		{"[billing] proration", old.Billing.Proration, c.Billing.Proration},
		{"[billing] currency", old.Billing.Currency, c.Billing.Currency},
		{"[billing] run_at", old.Billing.RunAt, c.Billing.RunAt},
		{"[stripe] api_base", old.Stripe.APIBase, c.Stripe.APIBase},
		{"the Stripe secret key", old.Stripe.SecretKey, c.Stripe.SecretKey},
		{"[mail]", old.Mail, c.Mail},
		{"[notify] webhook", old.Notify.Webhook, c.Notify.Webhook},
		{"the webhook secret", old.Notify.WebhookSecret, c.Notify.WebhookSecret},
		{"[clock]", old.Clock, c.Clock},
	} {
		if !reflect.DeepEqual(setting.before, setting.after) {
			keys = append(keys, setting.key)
		}
	}
	return keys
}
