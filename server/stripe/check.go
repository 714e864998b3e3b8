package stripe

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// Account is the account that the key belongs to, and Stripe's time to the second.
func (c *Client) Account(ctx context.Context) (billing.Account, error) {
	var got stripego.Account
	err := c.get(ctx, "/v1/account", &stripego.AccountParams{}, &got)
	if err == nil && got.ID == "" {
		err = unreadable("reading the account")
	}
	if err != nil {
		return billing.Account{}, fmt.Errorf("fetching Stripe's account: %w", err)
	}
	now, err := http.ParseTime(got.LastResponse.Header.Get("Date"))
	if err != nil {
		return billing.Account{}, fmt.Errorf("fetching Stripe's time: %w: %w", billing.ErrUnknown, err)
	}
	return billing.Account{ID: got.ID, Live: Live(c.key), Now: now.UTC()}, nil
}

// Report is what [Client.Check] found.
type Report struct {
	Account    billing.Account
	Restricted bool          // the key is a restricted one
	Clock      time.Duration // Stripe's clock before ours, to the second
	APIVersion string        // that requests are sent with
	Webhook    *Webhook      // nil where no endpoint is at the URL
	// Problems are sentences for the operator, the gravest first; none when all is
	// well.
	Problems []string
}

// Webhook is a webhook endpoint at Stripe.
type Webhook struct {
	ID         string
	URL        string
	Enabled    bool
	APIVersion string   // that its events are sent with; "" is the account's default
	Missing    []string // event types that it should send and does not
}

// maxSkew is how far Stripe's clock may be from ours for anything to be charged,
// see section 3 of the product contract.
const maxSkew = 5 * time.Minute

// Check looks whether all is in place at Stripe. webhookURL is where the webhooks
// should come in; "" where none can reach us and events are polled for.
func (c *Client) Check(ctx context.Context, webhookURL string) (Report, error) {
	account, err := c.Account(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Account:    account,
		Restricted: strings.HasPrefix(c.key, "rk_"),
		Clock:      account.Now.Sub(c.now().Truncate(time.Second)),
		APIVersion: stripego.APIVersion,
	}
	if r.Clock.Abs() > maxSkew {
		r.problem("The clock here is %v from Stripe's: nothing is charged while they differ by more than %v.", r.Clock.Abs(), maxSkew)
	}
	if webhookURL == "" {
		return r, nil
	}
	p := &stripego.WebhookEndpointListParams{}
	for w, err := range list(ctx, c, "/v1/webhook_endpoints", p, func(w *stripego.WebhookEndpoint) string { return w.ID }) {
		if err != nil {
			return Report{}, fmt.Errorf("listing webhook endpoints: %w", err)
		}
		if w.URL == webhookURL && (r.Webhook == nil || !r.Webhook.Enabled) {
			r.Webhook = readWebhook(w)
		}
	}
	switch w := r.Webhook; {
	case w == nil:
		r.problem("No webhook endpoint at Stripe sends to %s: events are polled for instead. Create one with API version %s.", webhookURL, r.APIVersion)
	case !w.Enabled:
		r.problem("The webhook endpoint %s is disabled at Stripe: events are polled for instead.", w.ID)
	case len(w.Missing) > 0:
		r.problem("The webhook endpoint %s does not send %s.", w.ID, strings.Join(w.Missing, ", "))
	}
	if w := r.Webhook; w != nil && w.APIVersion != r.APIVersion {
		version := w.APIVersion
		if version == "" {
			version = "the account's default"
		}
		r.problem("The webhook endpoint %s sends events of API version %s, and this program is made for %s.", w.ID, version, r.APIVersion)
	}
	return r, nil
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func readWebhook(w *stripego.WebhookEndpoint) *Webhook {
	got := &Webhook{ID: w.ID, URL: w.URL, Enabled: w.Status == "enabled", APIVersion: w.APIVersion}
	for _, t := range EventTypes() {
		if !slices.Contains(w.EnabledEvents, "*") && !slices.Contains(w.EnabledEvents, t) {
			got.Missing = append(got.Missing, t)
		}
	}
	return got
}
