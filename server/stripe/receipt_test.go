package stripe_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/ledger"
	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// TestReceiptStates reads what the stand-in never has.
func TestReceiptStates(t *testing.T) {
	const open, paid, failed = billing.ReceiptOpen, billing.ReceiptPaid, billing.ReceiptFailed
	intent := func(status string) string {
		return fmt.Sprintf(`{"id":"pi_1","object":"payment_intent","amount":500,"currency":"usd","status":%q,"latest_charge":null}`, status)
	}
	page := func(status, payment, intent string) string {
		return fmt.Sprintf(`{"id":"cs_1","object":"checkout.session","mode":"payment","amount_total":500,"currency":"usd","status":%q,"payment_status":%q,"url":"https://x","payment_intent":%s}`, status, payment, intent)
	}
	cases := []struct {
		name, id, body string
		want           billing.ReceiptState
		decline        string
	}{
		{"succeeded", "pi_1", intent("succeeded"), paid, ""},
		{"with the bank", "pi_1", intent("processing"), open, ""},
		{"held", "pi_1", intent("requires_capture"), open, ""},
		{"of a kind to come", "pi_1", intent("considering"), open, ""},
		{"declined", "pi_1", intent("requires_payment_method"), failed, "requires_payment_method"},
		{"left in the middle", "pi_1", intent("requires_confirmation"), failed, "requires_confirmation"},
		{"to be confirmed", "pi_1", intent("requires_action"), failed, "authentication_required"},
		{"canceled", "pi_1", intent("canceled"), failed, "canceled"},
		{"a page that waits", "cs_1", page("open", "unpaid", "null"), open, ""},
		{"a page where a card was declined", "cs_1", page("open", "unpaid", intent("requires_payment_method")), open, ""},
		{"a page where the bank asks", "cs_1", page("open", "unpaid", intent("requires_action")), open, ""},
		{"a page that is paid", "cs_1", page("complete", "paid", intent("succeeded")), paid, ""},
		{"a page that waits for a bank transfer", "cs_1", page("complete", "unpaid", intent("processing")), open, ""},
		{"a page whose bank transfer failed", "cs_1", page("complete", "unpaid", intent("requires_payment_method")), failed, "requires_payment_method"},
		{"a page that expired", "cs_1", page("expired", "unpaid", "null"), failed, ""},
		{"a page that expired after a declined card", "cs_1", page("expired", "unpaid", intent("canceled")), failed, "canceled"},
		{"money on a page that expired", "cs_1", page("expired", "unpaid", intent("succeeded")), paid, ""},
	}
	for _, c := range cases {
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) { return response(200, c.body), nil })})
		got, err := client.Receipt(t.Context(), c.id)
		if err != nil || got.State != c.want || got.ID != c.id || got.Total != 500 || got.Currency != "usd" {
			t.Errorf("%s: %+v, %v, want %s", c.name, got, err, c.want)
		}
		switch d := got.Decline; {
		case c.decline == "" && d != nil, c.decline != "" && (d == nil || d.Code != c.decline || d.Message == "" || d.Authenticate != (c.decline == "authentication_required")):
			t.Errorf("%s: decline %+v, want %q", c.name, d, c.decline)
		}
		if (got.URL != "") != (c.want == open && c.id == "cs_1") {
			t.Errorf("%s: URL %q", c.name, got.URL)
		}
	}
}

func TestReceiptsThatAreNotThere(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	for _, id := range []string{"cs_none", "pi_none", "", "in_1"} {
		var refused *billing.Rejection
		if got, err := s.Receipt(t.Context(), id); !errors.As(err, &refused) && !errors.Is(err, billing.ErrUnknown) {
			t.Errorf("%q: %+v, %v", id, got, err)
		}
	}
	// An invoice's payment is none of ours.
	s.paid(s.customer(stripetest.CardGood))
	if got := s.receipt(s.Intents()[0].ID); got.Payment != 0 || got.Ledger != "" {
		t.Errorf("an invoice's payment: %+v", got)
	}
}

func TestReceiptsThatAreTakenBack(t *testing.T) {
	for _, on := range []string{"a page", "a card"} {
		t.Run(on, func(t *testing.T) {
			s := newSandbox(t, stripe.Options{})
			cus := s.customer(stripetest.CardGood)
			var id string
			if on == "a page" {
				id = s.page(pack(cus)).ID
				s.payOn(id, stripetest.CardGood)
			} else {
				id = s.collected(s.usage(cus)).ID
			}
			intent := s.Intents()[0].ID
			check := func(when string, refunded, disputed int64) {
				t.Helper()
				for _, id := range []string{id, intent} {
					got := s.receipt(id)
					if got.State != billing.ReceiptPaid || got.Refunded != refunded || got.Disputed != disputed {
						t.Errorf("%s: %+v, want %d refunded and %d disputed", when, got, refunded, disputed)
					}
				}
			}
			check("paid", 0, 0)
			// The operator gives a part back on Stripe's pages.
			post(t, s, "/v1/refunds", "payment_intent="+intent+"&amount=34")
			check("refunded", 34, 0)
			total := s.receipt(id).Total
			dispute, err := s.Dispute(id, "")
			if err != nil {
				t.Fatal(err)
			}
			check("disputed", 34, total-34)
			if err := s.CloseDispute(dispute, true); err != nil {
				t.Fatal(err)
			}
			check("won", 34, 0)
		})
	}
	s := newSandbox(t, stripe.Options{})
	lost := s.collected(s.usage(s.customer(stripetest.CardGood))).ID
	dispute, err := s.Dispute(lost, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseDispute(dispute, false); err != nil {
		t.Fatal(err)
	}
	if got := s.receipt(lost); got.Disputed != 1234 || got.State != billing.ReceiptPaid {
		t.Errorf("lost: %+v", got)
	}
}

// TestInquiries: what a bank only asks about was not taken.
func TestInquiries(t *testing.T) {
	for status, want := range map[string]int64{
		"warning_needs_response": 0, "warning_under_review": 0, "warning_closed": 0, "won": 0, "prevented": 0,
		"needs_response": 300, "under_review": 300, "lost": 300,
	} {
		client := newClient(t, stripe.Options{HTTP: answering(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/disputes" {
				return response(200, fmt.Sprintf(`{"object":"list","data":[{"id":"dp_1","object":"dispute","amount":300,"status":%q}]}`, status)), nil
			}
			return response(200, `{"id":"pi_1","object":"payment_intent","amount":500,"currency":"usd","status":"succeeded","latest_charge":{"id":"ch_1","object":"charge","disputed":true}}`), nil
		})})
		if got, err := client.Receipt(t.Context(), "pi_1"); err != nil || got.Disputed != want {
			t.Errorf("%s: %+v, %v, want %d", status, got, err, want)
		}
	}
}

func TestFindReceipt(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	cus := s.customer(stripetest.CardGood)
	r := pack(cus)
	r.Method = s.usage(cus).Method
	find := func(r billing.PaymentRequest) string {
		t.Helper()
		got, ok, err := s.FindReceipt(ctx, r)
		if err != nil || ok != (got.ID != "") {
			t.Errorf("got %+v, %v, %v", got, ok, err)
		}
		return got.ID
	}
	// What others have is not ours: another ledger's, another user's, another payment,
	// an invoice, a checkout that collects a card.
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	theirs := r
	theirs.Ledger, theirs.Key = "another", "theirs"
	if _, err := other.Collect(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	theirs.Key = "theirs, too"
	if _, err := other.PayPage(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	for i, change := range []func(*billing.PaymentRequest){
		func(r *billing.PaymentRequest) { r.User = 2 },
		func(r *billing.PaymentRequest) { r.Payment++ },
		func(r *billing.PaymentRequest) { r.Total, r.Lines = 9000, r.Lines[:1] },
		func(r *billing.PaymentRequest) { r.Currency = "eur" },
	} {
		almost := r
		change(&almost)
		almost.Key = fmt.Sprint("almost", i)
		s.page(almost)
		almost.Key += "collect"
		s.collected(almost)
	}
	s.paid(cus)
	if _, err := s.Checkout(ctx, billing.CheckoutRequest{Owner: owner(1), Key: "checkout", Customer: cus, Success: "http://api.test/ok", Cancel: "http://api.test/no"}); err != nil {
		t.Fatal(err)
	}
	if id := find(r); id != "" {
		t.Errorf("found %s, which is another's", id)
	}
	first := s.page(r).ID
	if id := find(r); id != first {
		t.Errorf("found %s, want the page %s", id, first)
	}
	s.payOn(first, stripetest.CardGood)
	if id := find(r); id != first { // and not the payment on it
		t.Errorf("found %s, want the page %s", id, first)
	}
	s.advance(time.Second)
	r.Key = "second"
	second := s.page(r).ID
	if id := find(r); id != second {
		t.Errorf("found %s, want the newer page %s", id, second)
	}
	s.advance(time.Second)
	r.Key = "third"
	third := s.collected(r).ID
	if id := find(r); id != third {
		t.Errorf("found %s, want the payment %s", id, third)
	}
	// Much came after it: pages of the list are gone through.
	for i := range 130 {
		more := s.usage(cus)
		more.Key, more.Payment = fmt.Sprint("more", i), ledger.PaymentID(1000+i)
		s.collected(more)
	}
	if id := find(r); id != third {
		t.Errorf("found %s, want the payment %s", id, third)
	}
	r.Epoch = 2 // begun after the ledger was restored, with the id of one that is lost
	if id := find(r); id != "" {
		t.Errorf("found %s, which is of another epoch", id)
	}
}

// TestReceiptsAreOldestFirst walks payments of both kinds among others'.
func TestReceiptsAreOldestFirst(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	none := func(billing.Receipt) error { t.Error("there is one"); return nil }
	if err := s.Receipts(ctx, testLedger, none); err != nil {
		t.Error(err)
	}
	cus := s.customer(stripetest.CardGood)
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	s.paid(cus)                                                                                          // an invoice
	post(t, s, "/v1/payment_intents", "amount=70&currency=usd&confirm=true&payment_method=pm_card_visa") // a shop's
	bad := s.usage(cus)
	if err := s.SetCard(cus, stripetest.CardFailsLater); err != nil {
		t.Fatal(err)
	}
	broken := s.usage(cus).Method
	var want []string
	for i := range 230 {
		s.advance(time.Second)
		r := bad
		r.Key, r.Payment = fmt.Sprint("payment", i), ledger.PaymentID(100+i)
		r.Success = "http://api.test/ok"
		var got billing.Receipt
		var err error
		switch {
		case i%10 == 3:
			r.Ledger = "another"
			got, err = other.Collect(ctx, r)
		case i%10 == 5:
			r.Method = broken
			if got, err = s.Collect(ctx, r); got.State != billing.ReceiptFailed {
				t.Fatalf("%+v", got)
			}
		case i%40 == 7:
			got = s.page(r)
			s.payOn(got.ID, stripetest.CardGood)
			want = append(want, got.ID)
		case i%40 == 8:
			s.page(r) // nobody pays
		default:
			got, err = s.Collect(ctx, r)
			want = append(want, got.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	post(t, s, "/v1/refunds", "payment_intent="+want[0])
	var got []string
	if err := s.Receipts(ctx, testLedger, func(r billing.Receipt) error {
		if r.State != billing.ReceiptPaid || r.Owner != owner(1) || r.Total != 1234 || (r.Refunded == 1234) != (r.ID == want[0]) {
			t.Errorf("%+v", r)
		}
		got = append(got, r.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	enough := errors.New("enough")
	if err := s.Receipts(ctx, testLedger, func(billing.Receipt) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	s.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Path: "/v1/payment_intents", Nth: 2})
	if err := s.Receipts(ctx, testLedger, func(billing.Receipt) error { return nil }); !errors.Is(err, billing.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfPayments(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	cus := s.customer(stripetest.CardGood)
	open := s.page(pack(cus))
	if _, err := s.CompleteCheckout(open.ID, stripetest.CardNoFunds); err == nil {
		t.Fatal("the card was taken")
	}
	s.payOn(open.ID, stripetest.CardGood)
	now := s.collected(s.usage(cus))
	intents := s.Intents()
	expires := pack(cus)
	expires.Key, expires.Payment = "expires", 50
	expired := s.page(expires)
	post(t, s, "/v1/refunds", "amount=1&payment_intent="+now.ID)
	dispute, err := s.Dispute(open.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseDispute(dispute, true); err != nil {
		t.Fatal(err)
	}
	invoice := s.paid(cus)
	if _, err := s.Dispute(invoice.ID, ""); err != nil {
		t.Fatal(err)
	}
	s.advance(24 * time.Hour) // nobody looks at the page
	got, err := s.Client.Events(ctx, start, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []billing.Event{
		{Type: "payment_intent.payment_failed", Customer: cus, Receipt: intents[0].ID},
		{Type: "payment_intent.succeeded", Customer: cus, Receipt: intents[0].ID},
		{Type: "payment_method.attached", Customer: cus},
		{Type: "checkout.session.completed", Customer: cus, Receipt: open.ID},
		{Type: "payment_intent.succeeded", Customer: cus, Receipt: now.ID},
		{Type: "charge.refunded", Customer: cus, Receipt: now.ID},
		{Type: "charge.dispute.created", Customer: cus, Receipt: intents[0].ID},
		{Type: "charge.dispute.closed", Customer: cus, Receipt: intents[0].ID},
		{Type: "payment_intent.succeeded"},
		{Type: "invoice.paid", Customer: cus, Charge: invoice.ID},
		{Type: "charge.dispute.created", Customer: cus, Charge: invoice.ID},
		{Type: "checkout.session.expired", Customer: cus, Receipt: expired.ID},
	}
	if diff := cmp.Diff(want, got[2:], cmpopts.IgnoreFields(billing.Event{}, "ID", "Time")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, e := range got {
		if e.Receipt == "" {
			continue
		}
		if r := s.receipt(e.Receipt); r.Payment == 0 || r.Owner != owner(1) {
			t.Errorf("%s names %+v", e.Type, r)
		}
		// A webhook names only the charge.
		if strings.HasPrefix(e.Type, "charge.") {
			hint := billing.Event{ID: e.ID, Type: e.Type, Time: e.Time}
			if full, err := s.Complete(ctx, hint); err != nil || full != e {
				t.Errorf("completed: %+v, %v", full, err)
			}
		}
	}
	// Another's payments are no receipts of ours.
	last := got[len(got)-1].ID
	post(t, s, "/v1/payment_intents", "amount=70&currency=usd&confirm=true&payment_method=pm_card_visa&customer="+cus)
	post(t, s, "/v1/checkout/sessions", "mode=payment&success_url=http://a.test&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=70&line_items[0][price_data][product_data][name]=x&line_items[0][quantity]=1")
	sessions := s.Sessions()
	s.payOn(sessions[len(sessions)-1].ID, stripetest.CardGood)
	others, err := s.Client.Events(ctx, start, last)
	if err != nil || len(others) != 3 {
		t.Errorf("%d events, %v", len(others), err)
	}
	for _, e := range others {
		if e.Receipt != "" {
			t.Errorf("another's: %+v", e)
		}
	}
}
