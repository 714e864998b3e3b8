package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/api"
	"tollgate/server/billing"
	"tollgate/server/config"
	"tollgate/server/mail"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
	"tollgate/server/webhook"
)

// builtinSandbox is the [stripe] api_base of the stand-in for Stripe that runs in
// this process, and sandboxPath is where its pages are.
const (
	builtinSandbox = "builtin:sandbox"
	sandboxPath    = "/sandbox"
	sandboxKey     = "sk_test_sandbox"
)

// openBilling makes billing, with the payment provider and the mail server of the
// configuration where there are any.
func (s *Server) openBilling(ctx context.Context, c *config.Config) error {
	o := billing.Options{
		Ledger: s.ledger, Book: s.book, Now: s.clock.Now, Log: s.log, TestClock: s.clock.Test(),
		Settings: billingSettings(c), ChangePlan: s.changePlan, Elapsed: func() time.Duration { return s.options.Now().Sub(s.started) },
	}
	if err := s.openStripe(c); err != nil {
		return err
	}
	if s.stripe != nil { // a nil *Client in the interface would not be nil
		o.Provider = s.stripe
	}
	if c.Mail.SMTP != "" {
		sender, err := mail.New(mail.Options{SMTP: c.Mail.SMTP, Password: c.Mail.Password.Reveal(), From: c.Mail.From, Now: s.clock.Now, Log: s.log})
		if err != nil {
			return err
		}
		o.Mailer = sender
	}
	if c.Notify.Webhook != "" {
		// Receivers compare with the system's clock, whatever ours is.
		sender, err := webhook.New(webhook.Options{URL: c.Notify.Webhook, Secret: c.Notify.WebhookSecret.Reveal(), Now: s.options.Now})
		if err != nil {
			return err
		}
		o.Webhooks = sender
	}
	var err error
	if s.billing, err = billing.New(o); err != nil {
		return err
	}
	if s.clock.Test() {
		s.driveClock()
	}
	if s.stripe == nil {
		s.log.Info("no payment provider is configured: invoices are issued, and nothing is collected")
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch err := s.billing.Pin(asked); {
	case errors.Is(err, ledger.ErrMismatch):
		return fmt.Errorf("%w; set the secret key of the account that this ledger belongs to, or begin a new ledger", err)
	case err != nil:
		s.log.Error("nothing is charged until this is mended", "error", err)
	}
	return nil
}

func billingSettings(c *config.Config) billing.Settings {
	b := c.Billing
	var packs []billing.Pack
	for _, p := range c.CreditPacks {
		packs = append(packs, billing.Pack{ID: p.ID, Credits: ledger.Amount(p.Credits) * ledger.Unit, Price: p.Price, Expires: p.Expires})
	}
	return billing.Settings{
		Full: b.Proration == "full", Grace: b.Grace, RunAt: time.Duration(b.RunAt), RetryAfter: b.RetryAfter, SuspendAfter: b.SuspendAfter,
		TaxName: b.Tax.Name, TaxPercent: ledger.Amount(b.Tax.Percent), Issuer: b.Issuer, PublicURL: c.Server.PublicURL, Packs: packs,
		NoticeMails: c.Notify.Mails,
	}
}

// changePlan is what a user asked for before there was a payment method.
func (s *Server) changePlan(_ context.Context, user ledger.UserID, tier string) error {
	return api.SetPlan(s.apiOptions(), user, tier)
}

// driveClock has the work done that a test clock passes.
func (s *Server) driveClock() {
	due := func(t time.Time) time.Time {
		next := s.billing.NextDue(t)
		if d := s.billing.NextDelivery(t); !d.IsZero() && d.Before(next) {
			return d
		}
		return next
	}
	s.clock.Drive(due, func(ctx context.Context) {
		if err := s.work(ctx); err != nil {
			s.log.Error("scheduled work failed; it will be tried again", "error", err)
		}
	})
}

// openStripe makes the client of Stripe, or of the stand-in.
func (s *Server) openStripe(c *config.Config) error {
	key, base := c.Stripe.SecretKey.Reveal(), c.Stripe.APIBase
	status, err := s.ledger.Status()
	if err != nil {
		return err
	}
	o := stripe.Options{Key: key, Ledger: status.ID, APIBase: base, Now: s.clock.Now, Log: s.log}
	switch {
	case base == builtinSandbox:
		if err := s.openSandbox(c, status.ID); err != nil {
			return err
		}
		o.Key, o.APIBase, o.HTTP, o.PerSecond = sandboxKey, "http://sandbox", s.sandbox.Transport(), -1
	case key == "":
		return nil
	}
	s.stripe, err = stripe.New(o)
	return err
}

// openSandbox makes the stand-in with what it knew when tollgate was stopped.
func (s *Server) openSandbox(c *config.Config, id string) error {
	var seed uint64 // the addresses of its pages follow from it
	if _, err := fmt.Sscanf(id[:min(len(id), 16)], "%x", &seed); err != nil {
		return fmt.Errorf("opening the sandbox: the ledger's id: %w", err)
	}
	s.sandbox = stripetest.New(stripetest.Options{Now: s.clock.Now, Seed: seed, URL: c.Server.PublicURL + sandboxPath, Key: sandboxKey})
	s.sandboxFile = filepath.Join(filepath.Dir(c.Ledger.Path), "sandbox.json")
	f, err := os.Open(s.sandboxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the sandbox: %w", err)
	}
	defer f.Close()
	if err := s.sandbox.Load(f); err != nil {
		return fmt.Errorf("reading the sandbox from %s: %w; without the file it starts empty", s.sandboxFile, err)
	}
	return nil
}

// keepSandbox writes down what the stand-in knows.
func (s *Server) keepSandbox() error {
	if s.sandbox == nil {
		return nil
	}
	next := s.sandboxFile + ".next"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(s.sandbox.Save(f), f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(next, s.sandboxFile)
	}
	if err != nil {
		return fmt.Errorf("keeping the sandbox: %w", err)
	}
	return nil
}

// work does what billing has to do by time alone. On a test clock it runs as time
// passes; otherwise the schedule calls it.
func (s *Server) work(ctx context.Context) error {
	err := s.billing.Work(ctx)
	if err == nil {
		err = s.billing.Poll(ctx)
	}
	return errors.Join(err, s.turnCredits(ctx), s.billing.Deliver(ctx), s.keepSandbox())
}

// turnCredits takes the credits that have expired, and then gives those of the
// period that has begun, some of which may be left over.
func (s *Server) turnCredits(ctx context.Context) error {
	if err := s.gate.ExpireCredits(ctx, s.clock.Now()); err != nil {
		return err
	}
	return s.billing.GrantPlans(ctx)
}

// schedule begins the work that is done by the system's clock.
func (s *Server) schedule() (*billing.Schedule, error) {
	c := s.config.Load()
	if s.clock.Test() {
		return nil, nil
	}
	jobs := append(s.billing.Jobs(), billing.Job{Name: "credits", Every: time.Minute, Limit: time.Minute, Do: s.turnCredits},
		billing.Job{Name: "credits of the month", Cron: "0 0 1 * *", Limit: time.Minute, Do: s.turnCredits})
	if c.Ledger.SnapshotDir != "" {
		jobs = append(jobs, billing.Job{Name: "snapshot", Cron: "30 3 * * *", Limit: 6 * time.Hour, Do: s.snapshot})
	}
	if s.sandbox != nil {
		jobs = append(jobs, billing.Job{Name: "sandbox", Every: time.Minute, Limit: time.Minute, Do: func(context.Context) error { return s.keepSandbox() }})
	}
	schedule, err := billing.Start(c.Billing.Location, s.log, s.clock.Now, jobs)
	s.running.Store(schedule)
	return schedule, err
}

// jobs is how scheduled work stands.
func (s *Server) jobs() []billing.JobState {
	if schedule := s.running.Load(); schedule != nil {
		return schedule.States()
	}
	return nil
}

// maxWebhook is more than any event of Stripe has.
const maxWebhook = 1 << 20

// stripeWebhook takes a hint of Stripe. It is answered when it was looked at, so
// that Stripe sends it again if that failed.
func (s *Server) stripeWebhook(w http.ResponseWriter, r *http.Request) {
	secret := s.config.Load().Stripe.WebhookSecret.Reveal()
	if s.stripe == nil || secret == "" {
		admission.WriteProblem(w, admission.NewRefusal(admission.NoRoute, "No webhook is expected here: there is no webhook secret."))
		return
	}
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err == nil {
		var e billing.Event
		if e, err = stripe.Verify(payload, r.Header.Get("Stripe-Signature"), secret, s.options.Now()); err == nil {
			if e, err = s.stripe.Complete(r.Context(), e); err == nil {
				err = s.billing.Observe(r.Context(), e)
			}
			if err != nil {
				s.log.Warn("a webhook could not be looked at", "event", e.ID, "type", e.Type, "error", err)
				admission.WriteProblem(w, &admission.Refusal{Status: http.StatusServiceUnavailable, Code: "try_again", Title: "Try again", Detail: "The event could not be looked at. Send it again.", RetryAfter: time.Minute})
				return
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	s.log.Warn("a webhook was refused", "error", err)
	admission.WriteProblem(w, &admission.Refusal{Status: http.StatusBadRequest, Code: "bad_webhook", Title: "Webhook refused", Detail: "The event is not signed with this endpoint's secret, or is not of this time."})
}

// own serves what of tollgate's own paths is not the customer API: Stripe's
// webhooks, and the pages of the sandbox.
func (s *Server) own(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path == "/webhooks/stripe" && r.Method == http.MethodPost:
		s.stripeWebhook(w, r)
	case s.sandbox != nil && strings.HasPrefix(r.URL.Path, sandboxPath+"/"):
		http.StripPrefix(sandboxPath, s.sandbox.Pages()).ServeHTTP(w, r)
		if r.Method == http.MethodPost { // Stripe would send webhooks
			if err := s.billing.Poll(r.Context()); err != nil {
				s.log.Warn("the sandbox could not be polled", "error", err)
			}
		}
	default:
		return false
	}
	return true
}
