package stripe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

func TestPush(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer("")
	got := s.pushed(cus)
	want := billing.Charge{Owner: owner(1), Invoice: 7, Number: "2025-000003", Period: "2025-01", State: billing.ChargeOpen, Currency: "usd", Total: 1234}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(billing.Charge{}, "ID", "URL")); diff != "" {
		t.Errorf("charge (-want +got):\n%s", diff)
	}
	if got.URL == "" {
		t.Error("it has no page")
	}
	inv, _ := s.Invoice(got.ID)
	if inv.AutoAdvance || inv.CollectionMethod != "charge_automatically" || inv.Customer != cus || inv.Attempted {
		t.Errorf("the invoice at Stripe: %+v", inv)
	}
	if inv.Description != "Invoice 2025-000003 for 2025-01" || len(inv.CustomFields) != 1 || inv.CustomFields[0].Value != "2025-000003" {
		t.Errorf("its texts: %q, %v", inv.Description, inv.CustomFields)
	}
	var lines []string
	for _, l := range s.Lines(got.ID) {
		lines = append(lines, fmt.Sprintf("%s %s %d", l.Metadata["tollgate_line"], l.Description, l.Amount))
	}
	if diff := cmp.Diff([]string{"0 Pro 1000", "1 Usage 334", "2 Credit -100"}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}

	// Again, with and without what Stripe remembers, and with another key.
	for i, again := range []func(*billing.InvoiceRequest){
		func(*billing.InvoiceRequest) {},
		func(r *billing.InvoiceRequest) { r.Fresh = false },
		func(r *billing.InvoiceRequest) { r.Fresh = false; s.ForgetKeys() },
		func(r *billing.InvoiceRequest) { r.Fresh = false; r.Key = "another" },
	} {
		r := request(cus)
		again(&r)
		if repeat, err := s.Push(t.Context(), r); err != nil || repeat != got {
			t.Errorf("again %d: got %+v, %v", i, repeat, err)
		}
	}
	if n := len(s.Invoices()); n != 1 {
		t.Errorf("%d invoices at Stripe, want 1", n)
	}
}

func TestPushFindsOnlyItsOwn(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer("")
	first := s.pushed(cus)
	// Another ledger on the same account, with the same customer and numbers.
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	r := request(cus)
	r.Ledger, r.Key, r.Fresh = "another", "another/push", false
	second, err := other.Push(t.Context(), r)
	if err != nil || second.ID == first.ID {
		t.Errorf("got %s, %v, want another than %s", second.ID, err, first.ID)
	}
	// The same id for another month: the ledger was restored from a backup.
	r = request(cus)
	r.Key, r.Number, r.Period, r.Fresh = "restored", "2025-000009", "2025-02", false
	third, err := s.Push(t.Context(), r)
	if err != nil || third.ID == first.ID {
		t.Errorf("got %s, %v, want another than %s", third.ID, err, first.ID)
	}
	// The same invoice with another total.
	r = request(cus)
	var refused *billing.Rejection
	r.Key, r.Fresh, r.Total, r.Lines = "changed", false, 5, []billing.ChargeLine{{Description: "Usage", Amount: 5}}
	if _, err := s.Push(t.Context(), r); !errors.As(err, &refused) || refused.Code != "total_differs" {
		t.Errorf("got %v, want a refusal", err)
	}
	if n := len(s.Invoices()); n != 3 {
		t.Errorf("%d invoices, want 3", n)
	}
}

func TestPushLeavesADraftThatDiffers(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer("")
	cancel := s.Fail(stripetest.Fault{Kind: stripetest.BadGatewayBefore, Path: "/v1/invoices/*/finalize"})
	if _, err := s.Push(t.Context(), request(cus)); !errors.Is(err, billing.ErrUnknown) {
		t.Fatal(err)
	}
	cancel()
	draft := s.Invoices()[0]
	meddle(t, s, draft)
	r := request(cus)
	r.Fresh = false
	var refused *billing.Rejection
	if _, err := s.Push(t.Context(), r); !errors.As(err, &refused) || refused.Code != "total_differs" || !strings.Contains(refused.Message, draft.ID) {
		t.Errorf("got %v, want a refusal that names the draft", err)
	}
	if inv, _ := s.Invoice(draft.ID); inv.Status != "draft" {
		t.Errorf("it is %s", inv.Status)
	}
	if _, err := s.Pay(t.Context(), billing.PayRequest{Key: "pay", ID: draft.ID}); !errors.As(err, &refused) || refused.Code != "not_open" {
		t.Errorf("collecting a draft: %v", err)
	}
	// The operator deletes it; the next attempt makes another.
	if got, err := s.Void(t.Context(), "void", draft.ID); err != nil || got.State != billing.ChargeVoid {
		t.Errorf("deleting the draft: %+v, %v", got, err)
	}
	if got, err := s.Void(t.Context(), "void", draft.ID); err != nil || got.State != billing.ChargeVoid {
		t.Errorf("deleting it again: %+v, %v", got, err)
	}
	r.Key = "attempt 2"
	if got, err := s.Push(t.Context(), r); err != nil || got.State != billing.ChargeOpen {
		t.Errorf("the next attempt: %+v, %v", got, err)
	}
}

// meddle adds a line to a draft, as someone could in Stripe's dashboard.
func meddle(t *testing.T, s *sandbox, draft stripetest.Invoice) {
	t.Helper()
	post(t, s, "/v1/invoiceitems", fmt.Sprintf("customer=%s&invoice=%s&currency=usd&amount=5", draft.Customer, draft.ID))
}

func TestPushJoinsManyLines(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := request(s.customer(""))
	r.Lines, r.Total = nil, 0
	for i := range 300 {
		r.Lines = append(r.Lines, billing.ChargeLine{Description: fmt.Sprint("Line ", i), Amount: int64(i)})
		r.Total += int64(i)
	}
	got, err := s.Push(t.Context(), r)
	if err != nil || got.Total != r.Total {
		t.Fatalf("got %+v, %v", got, err)
	}
	lines := s.Lines(got.ID)
	if last := lines[len(lines)-1]; len(lines) != 250 || last.Description != "51 further lines" || last.Amount != r.Total-248*249/2 {
		t.Errorf("%d lines, the last %q with %d", len(lines), last.Description, last.Amount)
	}
	// What is there is found again, over several pages.
	r.Fresh = false
	if again, err := s.Push(t.Context(), r); err != nil || again != got {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestPushCutsLongTexts(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := request(s.customer(""))
	r.Lines = []billing.ChargeLine{{Description: strings.Repeat("ü", 600), Amount: 1234}}
	got, err := s.Push(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Lines(got.ID)[0].Description; d != strings.Repeat("ü", 499)+"…" {
		t.Errorf("description of %d bytes", len(d))
	}
}

// TestEveryFaultOfEveryRequest breaks each request of sending and collecting an
// invoice in each way, and calls again with the same keys, as billing does after
// a crash. It ends with one invoice that was paid once.
func TestEveryFaultOfEveryRequest(t *testing.T) {
	const requests = 8 // the draft, three lines, a look, finalize, a look, pay
	if got := faultAt(t, stripetest.NoFault, 0, false); got != requests {
		t.Fatalf("%d requests are sent, want %d", got, requests)
	}
	for _, kind := range stripetest.Faults() {
		for _, forgotten := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, keys forgotten %v", kind, forgotten), func(t *testing.T) {
				for n := 1; n <= requests; n++ {
					faultAt(t, kind, n, forgotten)
				}
			})
		}
	}
}

// faultAt breaks the n-th request, and returns how many there were.
func faultAt(t *testing.T, kind stripetest.FaultKind, n int, forgotten bool) (requests int) {
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, stripe.Options{Timeout: 10 * time.Second})
		cus := s.customer(stripetest.CardGood)
		log := &recording{RoundTripper: s.Transport()}
		client := newClient(t, stripe.Options{Timeout: 10 * time.Second, HTTP: log})
		s.Fail(stripetest.Fault{Kind: kind, Nth: n})
		var charge billing.Charge
		failed := 0
		attempt := func(call func(again bool) error) {
			for again := false; ; again = true {
				err := call(again)
				if err == nil {
					return
				}
				var refused *billing.Rejection
				if errors.As(err, &refused) && !refused.Retry || refused == nil && !errors.Is(err, billing.ErrUnknown) {
					t.Fatalf("request %d: %v", n, err)
				}
				if failed++; failed > 3 {
					t.Fatalf("request %d: still %v", n, err)
				}
				if forgotten {
					s.ForgetKeys()
				}
			}
		}
		attempt(func(again bool) (err error) {
			r := request(cus)
			r.Fresh = !again
			charge, err = client.Push(t.Context(), r)
			return err
		})
		id := charge.ID
		if charge.State != billing.ChargeOpen {
			t.Fatalf("request %d: after Push it is %+v", n, charge)
		}
		attempt(func(bool) (err error) {
			charge, err = client.Pay(t.Context(), billing.PayRequest{Key: "pay-1", ID: id})
			return err
		})
		invoices, charges := s.Invoices(), s.Server.Charges()
		if len(invoices) != 1 || len(charges) != 1 || len(s.Lines(invoices[0].ID)) != 3 {
			t.Fatalf("request %d: %d invoices, %d charges", n, len(invoices), len(charges))
		}
		if charge.State != billing.ChargePaid || charge.Paid != 1234 || charges[0].Amount != 1234 || invoices[0].Total != 1234 {
			t.Errorf("request %d: %+v", n, charge)
		}
		requests = len(log.all())
	})
	return requests
}

// TestFaultsOfAdoption breaks each request of an attempt that finds half of an
// invoice.
func TestFaultsOfAdoption(t *testing.T) {
	for _, kind := range stripetest.Faults() {
		t.Run(kind.String(), func(t *testing.T) {
			for n := 1; n <= 6; n++ {
				synctest.Test(t, func(t *testing.T) {
					s := newSandbox(t, stripe.Options{Timeout: 10 * time.Second})
					r := request(s.customer(stripetest.CardGood))
					s.Fail(stripetest.Fault{Kind: stripetest.CutAfter, Path: "/v1/invoiceitems", Nth: 2})
					if _, err := s.Push(t.Context(), r); !errors.Is(err, billing.ErrUnknown) {
						t.Fatal(err)
					}
					r.Fresh = false
					s.ForgetKeys()
					s.Fail(stripetest.Fault{Kind: kind, Nth: n})
					var got billing.Charge
					err := errors.New("not tried")
					for try := 0; err != nil && try < 3; try++ {
						got, err = s.Push(t.Context(), r)
					}
					if err != nil || got.Total != 1234 || len(s.Invoices()) != 1 || len(s.Lines(got.ID)) != 3 {
						t.Errorf("request %d: %+v, %v", n, got, err)
					}
				})
			}
		})
	}
}

// TestFailuresAreRemembered: Stripe answers 500 for a day to a key that it failed
// with; the same call gets past it.
func TestFailuresAreRemembered(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := request(s.customer(stripetest.CardGood))
	cancel := s.Fail(stripetest.Fault{Kind: stripetest.ErrorBefore, Method: "POST", Path: "/v1/invoices", Times: -1})
	var err error
	for range 3 {
		if _, err = s.Push(t.Context(), r); !errors.Is(err, billing.ErrUnknown) {
			t.Fatal(err)
		}
		r.Fresh = false
	}
	cancel()
	got, err := s.Push(t.Context(), r)
	if err != nil || got.State != billing.ChargeOpen || len(s.Invoices()) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestKeysAreTheCallers: each POST has a key of its own that begins with the
// caller's and is the same the next time.
func TestKeysAreTheCallers(t *testing.T) {
	keys := func() []string {
		s := newSandbox(t, stripe.Options{})
		cus := s.customer(stripetest.CardGood)
		log := &recording{RoundTripper: s.Transport()}
		c := newClient(t, stripe.Options{HTTP: log, Now: s.clock})
		ctx := t.Context()
		charge, err := c.Push(ctx, request(cus))
		if err != nil {
			t.Fatal(err)
		}
		if charge, err = c.Pay(ctx, billing.PayRequest{Key: testLedger + "/pay", ID: charge.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err = c.Credit(ctx, billing.CreditRequest{Owner: owner(1), Key: testLedger + "/refund", ID: charge.ID, Amount: 100, Refund: true}); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, r := range log.all() {
			switch {
			case r.Method == "GET":
				if r.Key != "" {
					t.Errorf("%s has a key", r.Path)
				}
			case !strings.HasPrefix(r.Key, testLedger+"/") || slices.Contains(keys, r.Key):
				t.Errorf("the key of %s is %q", r.Path, r.Key)
			default:
				keys = append(keys, r.Key)
			}
		}
		return keys
	}
	first, second := keys(), keys()
	if diff := cmp.Diff(first, second); diff != "" || len(first) != 7 {
		t.Errorf("%d keys (-first +second):\n%s", len(first), diff)
	}
}

// TestSomeoneElseFinalizes the draft just before us, in Stripe's dashboard.
func TestSomeoneElseFinalizes(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := request(s.customer(stripetest.CardGood))
	client := newClient(t, stripe.Options{HTTP: answering(func(q *http.Request) (*http.Response, error) {
		if strings.HasSuffix(q.URL.Path, "/finalize") {
			post(t, s, q.URL.Path, "")
		}
		return s.Transport().RoundTrip(q)
	})})
	if got, err := client.Push(t.Context(), r); err != nil || got.State != billing.ChargeOpen || got.Total != 1234 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestFreshAgain: a caller that wrongly says that an invoice was never sent is
// saved by the key.
func TestFreshAgain(t *testing.T) {
	for _, kind := range stripetest.Faults() {
		for n := 1; n <= 6; n++ {
			synctest.Test(t, func(t *testing.T) {
				s := newSandbox(t, stripe.Options{Timeout: 10 * time.Second})
				r := request(s.customer(stripetest.CardGood))
				s.Fail(stripetest.Fault{Kind: kind, Nth: n})
				_, err := s.Push(t.Context(), r)
				if err == nil && kind != stripetest.ForgetKeys {
					t.Errorf("%v of request %d: no error", kind, n)
				}
				if got, err := s.Push(t.Context(), r); kind != stripetest.ForgetKeys && (err != nil || got.Total != 1234 || len(s.Invoices()) != 1) {
					t.Errorf("%v of request %d: %+v, %v", kind, n, got, err)
				}
			})
		}
	}
}

// TestTheFurthestCounts: where someone made two of one invoice, the paid one is it.
func TestTheFurthestCounts(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	cus := s.customer(stripetest.CardGood)
	var ids []string
	for _, key := range []string{"one", "two", "three"} {
		r := request(cus)
		r.Key = key
		got, err := s.Push(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, got.ID)
	}
	find := func(want string) {
		t.Helper()
		r := request(cus)
		r.Fresh = false
		if got, err := s.Push(t.Context(), r); err != nil || got.ID != want {
			t.Errorf("found %s, %v, want %s", got.ID, err, want)
		}
	}
	find(ids[0])
	if _, err := s.Void(t.Context(), "void", ids[0]); err != nil {
		t.Fatal(err)
	}
	find(ids[1])
	if _, err := s.Pay(t.Context(), billing.PayRequest{Key: "pay", ID: ids[2]}); err != nil {
		t.Fatal(err)
	}
	find(ids[2])
}

// TestBalancesAreNotCollected: a balance that somebody gave the customer at
// Stripe would change what is collected.
func TestBalancesAreNotCollected(t *testing.T) {
	for _, balance := range []string{"500", "-500"} {
		s := newSandbox(t, stripe.Options{})
		cus := s.customer(stripetest.CardGood)
		post(t, s, "/v1/customers/"+cus, "balance="+balance)
		var refused *billing.Rejection
		if _, err := s.Push(t.Context(), request(cus)); !errors.As(err, &refused) || refused.Code != "total_differs" {
			t.Errorf("a balance of %s: %v", balance, err)
		}
		if inv := s.Invoices()[0]; inv.Status != "draft" {
			t.Errorf("a balance of %s: it is %s", balance, inv.Status)
		}
	}
}

// TestSameRequestUnderWay: a call whose first request is still under way at
// Stripe does not know the outcome, and finds it later.
func TestSameRequestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, stripe.Options{})
		r := request(s.customer(stripetest.CardGood))
		goOn, done := make(chan struct{}), make(chan error)
		s.Fail(stripetest.Fault{Kind: stripetest.HangBefore, Method: "POST", Path: "/v1/invoices", Until: goOn})
		go func() {
			_, err := s.Push(context.Background(), r)
			done <- err
		}()
		synctest.Wait()
		r.Fresh = false
		if _, err := s.Push(t.Context(), r); !errors.Is(err, billing.ErrUnknown) {
			t.Errorf("while it is under way: %v", err)
		}
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("the first: %v", err)
		}
		if got, err := s.Push(t.Context(), r); err != nil || got.State != billing.ChargeOpen || len(s.Invoices()) != 1 {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
	})
}
