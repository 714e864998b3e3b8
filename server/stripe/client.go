package stripe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/form"
	"golang.org/x/time/rate"

	"tollgate/server/billing"
)

// Options are what a Client needs.
type Options struct {
	// Key is the account's secret key, or a restricted one. It goes nowhere but to
	// Stripe.
	Key string
	// Ledger is the id of the ledger whose objects may be changed.
	Ledger string
	// APIBase is where Stripe is; "" is Stripe itself.
	APIBase string
	// HTTP sends the requests; nil is a transport of its own.
	HTTP http.RoundTripper
	// Timeout bounds each request, waiting for its turn not counted; 0 is 80 s,
	// as stripe-go has it: collecting waits for the customer's bank.
	Timeout time.Duration
	// PerSecond is how many requests are sent at most; 0 is 10, a tenth of what
	// Stripe takes in live mode and less than half of what it takes in test mode
	// (https://docs.stripe.com/rate-limits). Below 0 nothing waits.
	PerSecond int
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Log gets one line a request, at debug level, without keys and bodies; nil
	// logs nothing.
	Log *slog.Logger
}

const (
	defaultTimeout   = 80 * time.Second
	defaultPerSecond = 10
	pageSize         = 100 // the most that Stripe gives
)

// Client talks to one account of Stripe for one ledger. It may be used by many at
// once.
type Client struct {
	key     string
	ledger  string
	backend stripego.Backend
	pace    *rate.Limiter
	timeout time.Duration
	now     func() time.Time
	log     *slog.Logger
}

var (
	_ billing.Provider = (*Client)(nil)
	_ billing.Payments = (*Client)(nil)
)

// New makes a client. It sends nothing.
func New(o Options) (*Client, error) {
	if o.Key == "" {
		return nil, errors.New("a Stripe client needs a secret key")
	}
	if o.Ledger == "" {
		return nil, errors.New("a Stripe client needs the ledger's id")
	}
	c := &Client{key: o.Key, ledger: o.Ledger, timeout: o.Timeout, now: o.Now, log: o.Log}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.PerSecond < 0:
		c.pace = rate.NewLimiter(rate.Inf, 1)
	case o.PerSecond == 0:
		c.pace = rate.NewLimiter(defaultPerSecond, 1)
	default:
		c.pace = rate.NewLimiter(rate.Limit(o.PerSecond), 1)
	}
	transport := o.HTTP
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	base := stripego.APIURL
	if o.APIBase != "" {
		base = strings.TrimSuffix(o.APIBase, "/")
	}
	c.backend = stripego.GetBackendWithConfig(stripego.APIBackend, &stripego.BackendConfig{
		EnableTelemetry:   stripego.Bool(false),
		LeveledLogger:     &stripego.LeveledLogger{Level: stripego.LevelNull}, // it would log answers
		MaxNetworkRetries: stripego.Int64(0),
		URL:               &base,
		HTTPClient: &http.Client{
			Transport: transport,
			// A redirect could send the key elsewhere, and a POST twice.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	return c, nil
}

// Live tells whether the key moves real money
// (https://docs.stripe.com/keys#test-live-modes).
func Live(key string) bool {
	return strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")
}

// get fetches an object.
func (c *Client) get(ctx context.Context, path string, p stripego.ParamsContainer, v stripego.LastResponseSetter) error {
	query := &form.Values{}
	form.AppendTo(query, p)
	return c.send(ctx, http.MethodGet, path, query, p.GetParams(), v)
}

// post changes something. Its key is the caller's with the step's name.
func (c *Client) post(ctx context.Context, key, path string, p stripego.ParamsContainer, v stripego.LastResponseSetter) error {
	body := &form.Values{}
	form.AppendTo(body, p)
	common := p.GetParams()
	common.IdempotencyKey = &key
	return c.send(ctx, http.MethodPost, path, body, common, v)
}

// remove deletes an object.
func (c *Client) remove(ctx context.Context, key, path string) error {
	return c.send(ctx, http.MethodDelete, path, nil, &stripego.Params{IdempotencyKey: &key}, &stripego.Invoice{})
}

// send waits for its turn, sends one request and tells errors apart.
func (c *Client) send(ctx context.Context, method, path string, body *form.Values, p *stripego.Params, v stripego.LastResponseSetter) error {
	if err := c.pace.Wait(ctx); err != nil {
		return fmt.Errorf("%s %s: waiting to be sent: %w: %w", method, path, billing.ErrUnknown, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p.Context = ctx
	start := time.Now()
	err := c.backend.CallRaw(method, path, c.key, body, p, v)
	if err != nil {
		err = failure(method, path, err)
		c.log.LogAttrs(ctx, slog.LevelDebug, "stripe", slog.String("method", method), slog.String("path", path),
			slog.Duration("took", time.Since(start)), slog.Any("error", err))
		return err
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "stripe", slog.String("method", method), slog.String("path", path),
		slog.Duration("took", time.Since(start)))
	return nil
}

// page is a page of a list.
type page[T any] struct {
	stripego.APIResource
	stripego.ListMeta
	Object string `json:"object"`
	Data   []T    `json:"data"`
}

// listPage fetches one page of a list.
func listPage[T any](ctx context.Context, c *Client, path string, p stripego.ListParamsContainer) (*page[T], error) {
	if p.GetListParams().Limit == nil {
		p.GetListParams().Limit = stripego.Int64(pageSize)
	}
	query := &form.Values{}
	form.AppendTo(query, p)
	var got page[T]
	if err := c.send(ctx, http.MethodGet, path, query, &stripego.Params{}, &got); err != nil {
		return nil, err
	}
	if got.Object != "list" { // an empty list would mean that nothing is there yet
		return nil, unreadable("GET " + path)
	}
	return &got, nil
}

// list walks a list in Stripe's order: newest first. It ends after an error.
func list[T any](ctx context.Context, c *Client, path string, p stripego.ListParamsContainer, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			got, err := listPage[T](ctx, c, path, p)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, v := range got.Data {
				if !yield(v, nil) {
					return
				}
			}
			if !got.HasMore || len(got.Data) == 0 {
				return
			}
			last := id(got.Data[len(got.Data)-1])
			p.GetListParams().StartingAfter = &last
		}
	}
}

// oldestFirst walks a list backwards: Stripe lists newest first. The list is gone
// through once to its end and then back, so that memory does not grow with it. It
// ends after an error.
func oldestFirst[T any](fetch func(stripego.ListParams) (*page[T], error), id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var oldest *page[T]
		for from := (stripego.ListParams{}); ; {
			got, err := fetch(from)
			if err != nil {
				yield(none, err)
				return
			}
			if len(got.Data) > 0 {
				oldest = got
				last := id(got.Data[len(got.Data)-1])
				from.StartingAfter = &last
			}
			if !got.HasMore || len(got.Data) == 0 {
				break
			}
		}
		for got := oldest; got != nil && len(got.Data) > 0; {
			for _, v := range slices.Backward(got.Data) {
				if !yield(v, nil) {
					return
				}
			}
			first := id(got.Data[0])
			var err error
			if got, err = fetch(stripego.ListParams{EndingBefore: &first}); err != nil {
				yield(none, err)
				return
			}
		}
	}
}

// most is how many keys one step may use up, see [Client.persist].
const most = 9

// persist makes a step, and again under a further key where Stripe only
// remembers that it failed on its own side. Such an answer means that the earlier
// request has ended, so that look sees whatever it did.
func (c *Client) persist(key string, look func() (done bool, err error), step func(key string) error) error {
	for n := 1; ; n++ {
		k := key
		if n > 1 {
			k = fmt.Sprintf("%s.%d", key, n)
		}
		err := step(k)
		if !failedBefore(err) || n == most {
			return err
		}
		if done, err := look(); done || err != nil {
			return err
		}
	}
}
