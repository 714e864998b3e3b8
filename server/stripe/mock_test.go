package stripe_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// mocks are the versions of stripe-mock whose OpenAPI description of Stripe each
// request has to fit. Ours lies between the two: stripe-go v76.25.0 is of April
// 2024.
var mocks = []string{"v0.148.0", "v0.203.0"}

// endpoints are all that the client asks for, ids as *.
var endpoints = []string{
	"DELETE /v1/invoices/*",
	"GET /v1/account",
	"GET /v1/charges/*",
	"GET /v1/checkout/sessions",
	"GET /v1/checkout/sessions/*",
	"GET /v1/credit_notes",
	"GET /v1/customers",
	"GET /v1/customers/*",
	"GET /v1/disputes",
	"GET /v1/events",
	"GET /v1/events/*",
	"GET /v1/invoiceitems",
	"GET /v1/invoices",
	"GET /v1/invoices/*",
	"GET /v1/payment_intents",
	"GET /v1/payment_intents/*",
	"GET /v1/payment_methods",
	"GET /v1/prices",
	"GET /v1/products/*",
	"GET /v1/refunds",
	"GET /v1/webhook_endpoints",
	"POST /v1/billing_portal/sessions",
	"POST /v1/checkout/sessions",
	"POST /v1/credit_notes",
	"POST /v1/customers",
	"POST /v1/customers/*",
	"POST /v1/invoiceitems",
	"POST /v1/invoices",
	"POST /v1/invoices/*/finalize",
	"POST /v1/invoices/*/pay",
	"POST /v1/invoices/*/void",
	"POST /v1/payment_intents",
	"POST /v1/prices",
	"POST /v1/products",
	"POST /v1/products/*",
	"POST /v1/refunds",
}

// TestRequestsFitStripesDescription sends every shape of request that the client
// makes to stripe-mock, which answers 400 for unknown and missing parameters and
// wrong types. All of them fit both versions as they are. What stripe-mock does
// not look at is expand: the newer description has neither charge nor
// payment_intent in an invoice, and our API version has both.
func TestRequestsFitStripesDescription(t *testing.T) {
	requests := everyRequest(t)
	var shapes []string
	for _, r := range requests {
		shapes = append(shapes, shape(r))
	}
	slices.Sort(shapes)
	if diff := cmp.Diff(endpoints, slices.Compact(shapes)); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	for _, version := range mocks {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			base := startMock(t, version)
			for _, r := range requests {
				if status, body := replay(t, base, r); status != http.StatusOK {
					t.Errorf("%s %v: %d %s", shape(r), r.Form, status, body)
				}
			}
			// It does look.
			for _, wrong := range []url.Values{{"customer": {"cus_1"}, "nonsense": {"1"}}, {"customer": {"cus_1"}, "auto_advance": {"perhaps"}}, {"account_tax_ids": {"1"}}} {
				if status, body := replay(t, base, sent{Method: "POST", Path: "/v1/invoices", Form: wrong}); status != http.StatusBadRequest {
					t.Errorf("%v: %d %s", wrong, status, body)
				}
			}
		})
	}
}

var idPart = regexp.MustCompile(`/(tollgate_[^/]+|cs_test_[^/]+|[a-z]+_1[^/]+)`)

// shape is a request without ids.
func shape(r sent) string { return r.Method + " " + idPart.ReplaceAllString(r.Path, "/*") }

// everyRequest calls each method of the client, on each of its ways, and returns
// the requests that differ in method, path or names of parameters.
func everyRequest(t *testing.T) []sent {
	t.Helper()
	s := newSandbox(t, stripe.Options{})
	log := &recording{RoundTripper: s.Transport()}
	c := newClient(t, stripe.Options{HTTP: log, Now: s.clock})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Account(ctx)
	must(err)
	cus, err := c.Customer(ctx, billing.CustomerRequest{Owner: owner(1), Key: "customer", Personal: ledger.Personal{
		Email: "ann@example.com", Name: "Ann", Company: "Example Ltd", Address: "1 High Street\nLondon",
	}})
	must(err)
	_, err = c.Checkout(ctx, billing.CheckoutRequest{Owner: owner(1), Key: "checkout", Customer: cus.ID, Tier: "pro",
		Success: "https://api.example.com/dashboard", Cancel: "https://api.example.com/dashboard"})
	must(err)
	_, err = s.CompleteCheckout(s.Sessions()[0].ID, stripetest.CardGood)
	must(err)
	_, err = c.CustomerNow(ctx, cus.ID)
	must(err)
	s.advance(time.Minute)
	post(t, s, "/v1/customers/"+cus.ID, "invoice_settings[default_payment_method]=")
	_, err = c.CustomerNow(ctx, cus.ID)
	must(err)
	_, err = c.Portal(ctx, cus.ID, "https://api.example.com/dashboard")
	must(err)

	invoice := func(n int, fault stripetest.Fault) billing.Charge {
		t.Helper()
		r := request(cus.ID)
		r.Invoice, r.Key = ledger.InvoiceID(n), fmt.Sprint("push-", n)
		if fault.Kind != stripetest.NoFault {
			s.Fail(fault)
			if _, err := c.Push(ctx, r); err == nil {
				t.Fatal("no error")
			}
		}
		r.Fresh = false
		got, err := c.Push(ctx, r)
		must(err)
		return got
	}
	paid := invoice(1, stripetest.Fault{Kind: stripetest.CutAfter, Path: "/v1/invoiceitems", Nth: 2})
	_, err = c.Pay(ctx, billing.PayRequest{Key: "pay", ID: paid.ID})
	must(err)
	_, err = c.Credit(ctx, billing.CreditRequest{Owner: owner(1), Key: "refund", ID: paid.ID, Amount: 100, Reason: "An outage", Refund: true})
	must(err)
	_, err = s.Dispute(paid.ID, "")
	must(err)
	_, err = c.Charge(ctx, paid.ID)
	must(err)
	open := invoice(2, stripetest.Fault{})
	_, err = c.Credit(ctx, billing.CreditRequest{Owner: owner(1), Key: "credit", ID: open.ID, Amount: 100})
	must(err)
	_, err = c.Void(ctx, "void", open.ID)
	must(err)
	_, err = c.Settle(ctx, "settle", invoice(3, stripetest.Fault{}).ID)
	must(err)
	s.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Path: "/v1/invoices/*/finalize"})
	r := request(cus.ID)
	r.Invoice, r.Key = 4, "push-4"
	if _, err := c.Push(ctx, r); err == nil {
		t.Fatal("no error")
	}
	all := s.Invoices()
	_, err = c.Void(ctx, "delete", all[len(all)-1].ID)
	must(err)
	for i := range 110 { // more than a page
		r := request(cus.ID)
		r.Invoice, r.Key, r.Lines = ledger.InvoiceID(10+i), fmt.Sprint("push-", 10+i), []billing.ChargeLine{{Amount: 1234}}
		_, err = c.Push(ctx, r)
		must(err)
	}
	invoice(2, stripetest.Fault{}) // is found, over pages
	must(c.Charges(ctx, testLedger, func(billing.Charge) error { return nil }))
	everyPayment(t, s, c, cus.ID)

	events, err := c.Events(ctx, start, "")
	must(err)
	for _, e := range events {
		if e.Type == "charge.dispute.created" {
			_, err = c.Complete(ctx, billing.Event{ID: e.ID, Type: e.Type})
			must(err)
		}
	}
	_, err = c.Events(ctx, start, events[0].ID)
	must(err)
	plans := []stripe.Plan{{ID: "pro", Name: "Pro", Currency: "usd", Fee: 4900}}
	_, err = c.Setup(ctx, plans)
	must(err)
	plans[0].Name = "Professional"
	_, err = c.Setup(ctx, plans)
	must(err)
	_, err = c.Check(ctx, "https://api.example.com/webhooks/stripe")
	must(err)

	var different []sent
	seen := map[string]bool{}
	for _, r := range log.all() {
		as := fmt.Sprint(shape(r), slices.Sorted(maps.Keys(r.Form)))
		if !seen[as] {
			seen[as] = true
			different = append(different, r)
		}
	}
	return different
}

// everyPayment is every request about payments that are no invoice's.
func everyPayment(t *testing.T, s *sandbox, c *stripe.Client, customer string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bought := pack(customer)
	page, err := c.PayPage(ctx, bought)
	must(err)
	bought.Keep, bought.Key = false, bought.Key+"2"
	_, err = c.PayPage(ctx, bought)
	must(err)
	s.payOn(page.ID, stripetest.CardGood)
	_, err = c.Receipt(ctx, page.ID)
	must(err)
	_, err = c.CustomerNow(ctx, customer)
	must(err)
	used := s.usage(customer)
	collected, err := c.Collect(ctx, used)
	must(err)
	_, err = c.Receipt(ctx, collected.ID)
	must(err)
	_, _, err = c.FindReceipt(ctx, used)
	must(err)
	s.Fail(stripetest.Fault{Kind: stripetest.CutAfter, Path: "/v1/refunds"})
	back := billing.ReturnRequest{Owner: owner(1), Key: "return", ID: collected.ID, Part: "return", Amount: 100, Reason: "An outage"}
	if _, err := c.Return(ctx, back); err == nil {
		t.Fatal("no error")
	}
	s.ForgetKeys()
	_, err = c.Return(ctx, back)
	must(err)
	_, err = s.Dispute(collected.ID, "")
	must(err)
	_, err = c.Receipt(ctx, collected.ID)
	must(err)
	must(c.Receipts(ctx, testLedger, func(billing.Receipt) error { return nil }))
}

// startMock runs a version of stripe-mock on loopback and returns its base URL.
// `go run` fetches and builds it, once: it keeps the program in the build cache.
func startMock(t *testing.T, version string) string {
	t.Helper()
	module := "github.com/stripe/stripe-mock@" + version
	mock := exec.Command("go", "run", module, "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0")
	mock.Env = append(os.Environ(), "GOFLAGS=")
	mock.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what go run runs ends with it
	var complaints bytes.Buffer
	mock.Stderr = &complaints
	out, err := mock.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := mock.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-mock.Process.Pid, syscall.SIGKILL) // it has ended if this fails
		_ = mock.Wait()                                      // it was killed: that is its error
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, found := strings.CutPrefix(lines.Text(), "Listening for HTTP at address: "); found {
			go io.Copy(io.Discard, out) // so that it can go on writing
			return "http://" + at
		}
	}
	_ = mock.Wait() // it has said why
	t.Fatalf("stripe-mock is needed and does not start. Install it with `go install %s`, which needs the Go module proxy; when that works here, this test does too.\n%s", module, complaints.String())
	return ""
}

// replay sends a request to a mock.
func replay(t *testing.T, base string, r sent) (int, string) {
	t.Helper()
	target, body := base+r.Path, ""
	if r.Method == http.MethodGet {
		target += "?" + r.Form.Encode()
	} else {
		body = r.Form.Encode()
	}
	q, err := http.NewRequestWithContext(t.Context(), r.Method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer sk_test_123")
	q.Header.Set("Stripe-Version", "2023-10-16")
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r.Key != "" {
		q.Header.Set("Idempotency-Key", r.Key)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, 500))
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(text)
}
