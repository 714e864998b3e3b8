package stripe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/billing"
	"tollgate/server/stripe"
)

// answering is a transport that gives one answer.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Date": {"Sat, 01 Feb 2025 01:00:00 GMT"}}, Body: io.NopCloser(strings.NewReader(body))}
}

func newClient(t *testing.T, o stripe.Options) *stripe.Client {
	t.Helper()
	if o.Key == "" {
		o.Key = "sk_test_1"
	}
	if o.Ledger == "" {
		o.Ledger = testLedger
	}
	if o.PerSecond == 0 {
		o.PerSecond = -1
	}
	c, err := stripe.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOutcomes(t *testing.T) {
	const unknown, refused, later = "unknown", "refused", "later"
	problem := func(fields string) string { return `{"error":{` + fields + `}}` }
	cases := []struct {
		name   string
		status int
		body   string
		err    error
		want   string
		code   string
	}{
		{name: "a connection that breaks", err: errors.New("connection reset"), want: unknown},
		{name: "an answer that ends early", status: 200, body: `{"id":"in_`, want: unknown},
		{name: "an empty answer", status: 200, want: unknown},
		{name: "an answer that is no object", status: 200, body: `{}`, want: unknown},
		{name: "a redirect", status: 307, body: `{}`, want: unknown},
		{name: "a bad parameter", status: 400, body: problem(`"type":"invalid_request_error","code":"parameter_unknown","message":"no"`), want: refused, code: "parameter_unknown"},
		{name: "a key used for something else", status: 400, body: problem(`"type":"idempotency_error","message":"no"`), want: refused, code: "idempotency_error"},
		{name: "a wrong key", status: 401, body: problem(`"type":"invalid_request_error","message":"no"`), want: refused, code: "invalid_request_error"},
		{name: "something that is not there", status: 404, body: problem(`"type":"invalid_request_error","code":"resource_missing","message":"no"`), want: refused, code: "resource_missing"},
		{name: "the same request under way", status: 409, body: problem(`"type":"invalid_request_error","code":"idempotency_key_in_use","message":"no"`), want: unknown},
		{name: "too many requests", status: 429, body: problem(`"type":"invalid_request_error","code":"rate_limit","message":"no"`), want: later, code: "rate_limit"},
		{name: "a server error", status: 500, body: problem(`"type":"api_error","message":"no"`), want: unknown},
		{name: "a gateway's page", status: 502, body: "<html>", want: unknown},
		{name: "a refusal by something on the way", status: 403, body: "<html>", want: unknown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			requests := 0
			client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
				requests++
				if c.err != nil {
					return nil, c.err
				}
				return response(c.status, c.body), nil
			})})
			_, err := client.Charge(t.Context(), "in_1")
			var r *billing.Rejection
			got, code := "done", ""
			switch {
			case errors.As(err, &r) && r.Retry:
				got, code = later, r.Code
			case errors.As(err, &r):
				got, code = refused, r.Code
			case errors.Is(err, billing.ErrUnknown):
				got = unknown
			}
			if errors.As(err, &r) && errors.Is(err, billing.ErrUnknown) {
				t.Error("an error that is a refusal and unknown")
			}
			if got != c.want || code != c.code {
				t.Errorf("got %s %q (%v), want %s %q", got, code, err, c.want, c.code)
			}
			if requests != 1 {
				t.Errorf("%d requests were sent, want 1: retries are billing's", requests)
			}
		})
	}
}

// TestAnswersOfOthers: a 200 of something on the way is no empty list and no
// success.
func TestAnswersOfOthers(t *testing.T) {
	for _, body := range []string{`{}`, `{"status":"ok"}`, `null`, `[]`, `{"object":"list"`} {
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) { return response(200, body), nil })})
		ctx, mine := t.Context(), billing.Owner{Ledger: testLedger, Epoch: 1, User: 1}
		push := billing.InvoiceRequest{Owner: mine, Key: "k", Invoice: 7, Currency: "usd", Total: 1, Lines: []billing.ChargeLine{{Amount: 1}}}
		fresh := push
		fresh.Fresh = true
		pay := billing.PaymentRequest{Owner: mine, Key: "k", Payment: 7, Customer: "cus_1", Method: "pm_1", Currency: "usd", Total: 1, Lines: push.Lines}
		calls := map[string]func() error{
			"account": func() error { _, err := client.Account(ctx); return err },
			"push":    func() error { _, err := client.Push(ctx, push); return err },
			"fresh":   func() error { _, err := client.Push(ctx, fresh); return err },
			"charges": func() error { return client.Charges(ctx, testLedger, func(billing.Charge) error { return nil }) },
			"events":  func() error { _, err := client.Events(ctx, start, ""); return err },
			"now":     func() error { _, err := client.CustomerNow(ctx, "cus_1"); return err },
			"customer": func() error {
				_, err := client.Customer(ctx, billing.CustomerRequest{Owner: mine, Key: "k"})
				return err
			},
			"checkout": func() error {
				_, err := client.Checkout(ctx, billing.CheckoutRequest{Owner: mine, Key: "k"})
				return err
			},
			"portal":   func() error { _, err := client.Portal(ctx, "cus_1", "https://api.example.com"); return err },
			"page":     func() error { _, err := client.PayPage(ctx, pay); return err },
			"collect":  func() error { _, err := client.Collect(ctx, pay); return err },
			"receipt":  func() error { _, err := client.Receipt(ctx, "pi_1"); return err },
			"a page's": func() error { _, err := client.Receipt(ctx, "cs_1"); return err },
			"find":     func() error { _, _, err := client.FindReceipt(ctx, pay); return err },
			"return":   func() error { _, err := client.Return(ctx, giveBack("pi_1")); return err },
			"receipts": func() error { return client.Receipts(ctx, testLedger, func(billing.Receipt) error { return nil }) },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, billing.ErrUnknown) {
				t.Errorf("%s with %s: got %v, want an unknown outcome", name, body, err)
			}
		}
	}
}

func TestWhatIsNotOursIsNotChanged(t *testing.T) {
	client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		if r.URL.Path == "/v1/payment_methods" {
			return response(200, `{"object":"list","data":[{"id":"pm_1","object":"payment_method"}]}`), nil
		}
		if strings.HasPrefix(r.URL.Path, "/v1/products/") {
			return response(200, `{"id":"tollgate_x","object":"product","metadata":{"tollgate_ledger":"another"}}`), nil
		}
		if strings.HasPrefix(r.URL.Path, "/v1/customers/") {
			return response(200, `{"id":"cus_1","object":"customer","metadata":{"tollgate_ledger":"another"}}`), nil
		}
		return response(200, `{"id":"in_1","object":"invoice","status":"open","metadata":{"tollgate_ledger":"another","tollgate_invoice":"7"}}`), nil
	})})
	other := billing.Owner{Ledger: "another", Epoch: 1, User: 1}
	mine := billing.Owner{Ledger: testLedger, Epoch: 1, User: 1}
	ctx := t.Context()
	calls := map[string]func() error{
		"void":   func() error { _, err := client.Void(ctx, "k", "in_1"); return err },
		"settle": func() error { _, err := client.Settle(ctx, "k", "in_1"); return err },
		"credit": func() error {
			_, err := client.Credit(ctx, billing.CreditRequest{Owner: mine, Key: "k", ID: "in_1", Amount: 1})
			return err
		},
		"set up": func() error {
			_, err := client.Setup(ctx, []stripe.Plan{{ID: "pro", Name: "Pro", Currency: "usd"}})
			return err
		},
		"credit for another ledger": func() error {
			_, err := client.Credit(ctx, billing.CreditRequest{Owner: other, Key: "k", ID: "in_1", Amount: 1})
			return err
		},
		"push for another ledger": func() error {
			_, err := client.Push(ctx, billing.InvoiceRequest{Owner: other, Key: "k", Invoice: 7, Currency: "usd", Total: 1, Lines: []billing.ChargeLine{{Amount: 1}}})
			return err
		},
		"customer for another ledger": func() error {
			_, err := client.Customer(ctx, billing.CustomerRequest{Owner: other, Key: "k"})
			return err
		},
		"checkout for another ledger": func() error {
			_, err := client.Checkout(ctx, billing.CheckoutRequest{Owner: other, Key: "k"})
			return err
		},
	}
	for name, call := range calls {
		var r *billing.Rejection
		if err := call(); !errors.As(err, &r) || r.Code != "not_ours" {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	got, err := client.CustomerNow(ctx, "cus_1")
	if err != nil || got.Ledger != "another" {
		t.Errorf("got %+v, %v, want that it is another ledger's", got, err)
	}
}

func TestAmountsThatStripeDoesNotTake(t *testing.T) {
	cases := []struct {
		currency string
		amount   int64
		taken    bool
	}{
		{"usd", 1, true}, {"usd", 12345, true}, {"jpy", 1, true}, {"krw", 999, true},
		{"isk", 100, true}, {"isk", 150, false}, {"ugx", 12300, true}, {"ugx", 1, false},
		{"kwd", 10, true}, {"kwd", 1234, false}, {"bhd", 5, false}, {"tnd", 1230, true},
		{"USD", 1, false}, {"", 1, false}, {"dollar", 1, false},
		{"usd", 0, false}, {"usd", -5, false},
	}
	for _, c := range cases {
		sent := 0
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
			sent++
			return nil, errors.New("cut")
		})})
		_, err := client.Push(t.Context(), billing.InvoiceRequest{
			Owner: billing.Owner{Ledger: testLedger}, Key: "k", Invoice: 1, Currency: c.currency, Total: c.amount,
			Lines: []billing.ChargeLine{{Description: "Usage", Amount: c.amount}},
		})
		var r *billing.Rejection
		if refused := errors.As(err, &r); refused == c.taken || (sent > 0) != c.taken {
			t.Errorf("%d %s: got %v with %d requests, want that it is taken: %v", c.amount, c.currency, err, sent, c.taken)
		}
	}
}

// TestPace: requests are spread out, and who waits leaves with the context.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		client := newClient(t, stripe.Options{PerSecond: 10, HTTP: answering(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))
			return response(200, `{"id":"acct_1","object":"account"}`), nil
		})})
		for range 4 {
			if _, err := client.Account(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("sent at (-want +got):\n%s", diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := client.Account(ctx); !errors.Is(err, billing.ErrUnknown) || len(at) != 4 {
			t.Errorf("got %v and %d requests, want that it left unsent", err, len(at))
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		start := time.Now()
		_, err := client.Account(t.Context())
		if took := time.Since(start); !errors.Is(err, billing.ErrUnknown) || took != 80*time.Second {
			t.Errorf("got %v after %v, want an unknown outcome after 80 s", err, took)
		}
	})
}

func TestAccount(t *testing.T) {
	for key, live := range map[string]bool{"sk_test_1": false, "rk_test_1": false, "sk_live_1": true, "rk_live_1": true, "sk_1": false} {
		client := newClient(t, stripe.Options{Key: key, HTTP: answering(func(r *http.Request) (*http.Response, error) {
			if got := r.Header.Get("Authorization"); got != "Bearer "+key {
				t.Errorf("authorization %q", got)
			}
			if got := r.Header.Get("Stripe-Version"); got != "2023-10-16" {
				t.Errorf("version %q", got)
			}
			return response(200, `{"id":"acct_1","object":"account"}`), nil
		})})
		got, err := client.Account(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := billing.Account{ID: "acct_1", Live: live, Now: time.Date(2025, 2, 1, 1, 0, 0, 0, time.UTC)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// TestNothingSecretIsTold: neither the key nor what an answer holds gets into
// errors or the log.
func TestNothingSecretIsTold(t *testing.T) {
	bodies := map[string]string{
		"an error":       `{"error":{"type":"api_error","message":"oops","payment_method":{"id":"pm_1","billing_details":{"email":"ann@example.com"}}}}`,
		"half an answer": `{"id":"in_1","customer_email":"ann@example.com","x`,
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "an error" {
					w.WriteHeader(http.StatusInternalServerError)
				}
				io.WriteString(w, body)
			}))
			defer server.Close()
			var log bytes.Buffer
			client := newClient(t, stripe.Options{Key: "sk_test_secret", APIBase: server.URL,
				Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			_, err := client.Charge(t.Context(), "in_1")
			if err == nil || log.Len() == 0 {
				t.Fatalf("got %v and the log %q", err, log.String())
			}
			for _, told := range []string{err.Error(), log.String()} {
				if strings.Contains(told, "secret") || strings.Contains(told, "ann@") {
					t.Errorf("it tells too much: %s", told)
				}
			}
		})
	}
}
