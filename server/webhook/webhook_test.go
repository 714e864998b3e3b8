package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/webhook"
)

var update = flag.Bool("update", false, "write the golden files anew")

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// got is a request that the receiver has read.
type got struct {
	header http.Header
	body   []byte
}

// receiver is an operator's program. answer says what it does, nil: 204.
type receiver struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request, times int)

	mu   sync.Mutex
	took []got
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, *http.Request, int)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "not a webhook", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.took = append(r.took, got{q.Header.Clone(), body})
	times := len(r.took)
	r.mu.Unlock()
	if r.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.answer(w, q, times)
}

func (r *receiver) all() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.took
}

func newSender(t *testing.T, url string, change func(*webhook.Options)) *webhook.Sender {
	t.Helper()
	o := webhook.Options{URL: url, Secret: secret, Transport: &http.Transport{}}
	if change != nil {
		change(&o)
	}
	t.Cleanup(func() {
		if transport, ok := o.Transport.(*http.Transport); ok {
			transport.CloseIdleConnections()
		}
	})
	s, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var at = time.Date(2025, 1, 20, 13, 14, 15, 678e6, time.FixedZone("", 3600))

// low is the notice that few credits are left.
func low() billing.Webhook {
	return billing.Webhook{
		ID: "0001-1-notice-42", Email: "ada@customer.example", Currency: "usd",
		Notice: ledger.Notice{ID: 42, User: 7, Code: ledger.CreditsLow, Month: ledger.MonthOf(2025, time.January), Time: at, Balance: 450*ledger.Unit + ledger.Unit/2},
	}
}

// TestSignature: a receiver with the specification's own library believes what
// comes, and nothing else.
func TestSignature(t *testing.T) {
	r := newReceiver(t, nil)
	if err := newSender(t, r.URL+"/hook?a=b", nil).SendWebhook(t.Context(), low()); err != nil {
		t.Fatal(err)
	}
	one := r.all()[0]
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(one.body, one.header); err != nil {
		t.Errorf("the receiver refuses it: %v", err)
	}
	if err := verifier.Verify(append(one.body, ' '), one.header); err == nil {
		t.Error("a changed body is believed")
	}
	other, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Verify(one.body, one.header); err == nil {
		t.Error("it is signed with another secret")
	}
	if id := one.header.Get("webhook-id"); id != "0001-1-notice-42" {
		t.Errorf("its id is %q", id)
	}
}

// TestSignatureByHand holds the signature against the specification, without the
// library.
func TestSignatureByHand(t *testing.T) {
	r := newReceiver(t, nil)
	s := newSender(t, r.URL, func(o *webhook.Options) { o.Now = func() time.Time { return time.Unix(1614265330, 999) } })
	if err := s.SendWebhook(t.Context(), low()); err != nil {
		t.Fatal(err)
	}
	one := r.all()[0]
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("0001-1-notice-42.1614265330." + string(one.body)))
	want := map[string]string{
		"webhook-id": "0001-1-notice-42", "webhook-timestamp": "1614265330",
		"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	}
	for name, value := range want {
		if diff := cmp.Diff([]string{value}, one.header.Values(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestBodies compares what is sent of each notice with golden files.
func TestBodies(t *testing.T) {
	with := func(change func(*billing.Webhook)) billing.Webhook {
		w := low()
		w.Notice.Balance = 0
		change(&w)
		return w
	}
	for name, w := range map[string]billing.Webhook{
		"credits_low":  low(),
		"credits_gone": with(func(*billing.Webhook) {}),
		"quota_80": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Meter, w.Notice.Used, w.Notice.Limit = ledger.Quota80, "calls", "calls", 847, 1000
		}),
		"quota_100_of_nothing": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Meter, w.Notice.Used = ledger.Quota100, "pages", "pages", 3
		}),
		"spend_limit": with(func(w *billing.Webhook) { w.Notice.Code, w.Notice.Used, w.Notice.Limit = ledger.SpendLimit, 5004, 5000 }),
		"payment_failed_invoice": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Invoice, w.Invoice = ledger.PaymentFailed, "invoice 12", 12, "2025-01-000042"
			w.Notice.Amount, w.Notice.Failure = 5900, "card_declined"
		}),
		"payment_failed_payment": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Payment, w.Notice.Amount = ledger.PaymentFailed, "payment 3042", 3042, 11900
		}),
		"credits_bought": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Payment, w.Receipt = ledger.CreditsBought, "payment 3042", 3042, "R-000042"
			w.Notice.Amount, w.Notice.Credits, w.Currency = 11900, 10000*ledger.Unit, "eur"
		}),
		"payment_reversed": with(func(w *billing.Webhook) {
			w.Notice.Code, w.Notice.Subject, w.Notice.Payment, w.Receipt = ledger.TakenBack, "payment 3042", 3042, "R-000042"
			w.Notice.Amount, w.Notice.Credits = 11900, 9400*ledger.Unit+1
		}),
		"erased": with(func(w *billing.Webhook) { w.Email = "" }),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			s := newSender(t, r.URL, nil)
			for range 2 {
				if err := s.SendWebhook(t.Context(), w); err != nil {
					t.Fatal(err)
				}
			}
			all := r.all()
			if !bytes.Equal(all[0].body, all[1].body) {
				t.Error("the body differs when it is sent again")
			}
			var out bytes.Buffer
			if err := json.Indent(&out, all[0].body, "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", out.String()+"\n")
		})
	}
}

// TestAnswers: 2xx is success, 410 is final, all else is tried again; and no error
// has an address in it, or what was answered.
func TestAnswers(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	for code, want := range map[int]string{
		200: "", 202: "", 204: "", 299: "",
		301: "it answered 301", 307: "it answered 307", 308: "it answered 308",
		400: "it answered 400", 401: "it answered 401", 404: "it answered 404", 429: "it answered 429",
		410: "it answered 410: the receiver wants no more webhooks",
		500: "it answered 500", 502: "it answered 502", 503: "it answered 503", 599: "it answered 599",
	} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(code)
			if code != 204 {
				_, _ = io.WriteString(w, "ada@customer.example is not known")
			}
		})
		err := newSender(t, r.URL, nil).SendWebhook(t.Context(), low())
		if got := errors.Is(err, billing.ErrGone); got != (code == 410) {
			t.Errorf("%d: final is %t (%v)", code, got, err)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: got %v, want %q", code, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "@")) {
			t.Errorf("%d: the error says too much: %v", code, err)
		}
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// TestCut: a receiver that took a webhook and could not say so gets it again, with
// the same id.
func TestCut(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, times int) {
		if times == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusOK)
	})
	s := newSender(t, r.URL, nil)
	if err := s.SendWebhook(t.Context(), low()); err == nil || errors.Is(err, billing.ErrGone) {
		t.Fatalf("after a cut: %v; want an error that is not final", err)
	}
	if err := s.SendWebhook(t.Context(), low()); err != nil {
		t.Fatal(err)
	}
	all := r.all()
	if len(all) != 2 || all[0].header.Get("webhook-id") != all[1].header.Get("webhook-id") || !bytes.Equal(all[0].body, all[1].body) {
		t.Errorf("the receiver had %d webhooks, of which the second differs", len(all))
	}
}

// TestCutInTheAnswer: once it has said 2xx, it has it.
func TestCutInTheAnswer(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "tha")
	})
	if err := newSender(t, r.URL, nil).SendWebhook(t.Context(), low()); err != nil {
		t.Error(err)
	}
}

// TestPatience: a receiver that does not answer, or does not stop, takes no time
// without end.
func TestPatience(t *testing.T) {
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	silent := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	s := newSender(t, silent.URL, func(o *webhook.Options) { o.Timeout = 50 * time.Millisecond })
	if err := s.SendWebhook(t.Context(), low()); err == nil || errors.Is(err, billing.ErrGone) {
		t.Errorf("a receiver that is silent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newSender(t, silent.URL, nil).SendWebhook(ctx, low()); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is stopped: %v", err)
	}
	read := int64(0)
	endless := newSender(t, "https://ops.example.com", func(o *webhook.Options) {
		o.Transport = transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.TeeReader(zeros{}, counter{&read}))}, nil
		})
	})
	if err := endless.SendWebhook(t.Context(), low()); err != nil || read > 1<<20 {
		t.Errorf("an answer without end: %d bytes were read (%v)", read, err)
	}
	broken := newSender(t, "https://ops.example.com", func(o *webhook.Options) {
		o.Transport = transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 500, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))}, nil
		})
	})
	if err := broken.SendWebhook(t.Context(), low()); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("an answer that breaks off: %v", err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type counter struct{ n *int64 }

func (c counter) Write(p []byte) (int, error) { *c.n += int64(len(p)); return len(p), nil }

func TestOptions(t *testing.T) {
	key := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, n)) }
	for _, c := range []struct{ name, url, secret, want string }{
		{"least", "https://ops.example.com", "whsec_" + key(24), ""},
		{"most", "http://127.0.0.1:9000/hook", "whsec_" + key(64), ""},
		{"no secret", "https://ops.example.com", "", "is missing: set WEBHOOK_SECRET"},
		{"without its beginning", "https://ops.example.com", key(24), "must be whsec_"},
		{"not base64", "https://ops.example.com", "whsec_hidden hidden hidden hidden!", "must be whsec_"},
		{"too short", "https://ops.example.com", "whsec_" + key(23), "must be whsec_ and 24 to 64 random bytes"},
		{"too long", "https://ops.example.com", "whsec_" + key(65), "must be whsec_"},
		{"no URL", "ops.example.com", secret, "is no URL"},
		{"another scheme", "ftp://ops.example.com", secret, "is no URL"},
	} {
		_, err := webhook.New(webhook.Options{URL: c.url, Secret: c.secret})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error has the secret in it: %v", c.name, err)
		}
	}
	r := newReceiver(t, nil)
	r.Close()
	if err := newSender(t, r.URL, nil).SendWebhook(t.Context(), low()); err == nil || strings.Contains(err.Error(), "http") {
		t.Errorf("nobody there: %v", err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); -update writes it anew:\n%s", name, diff)
	}
}
