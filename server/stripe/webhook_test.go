package stripe_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76/webhook"

	"tollgate/server/billing"
	"tollgate/server/stripe"
)

const webhookSecret = "whsec_test"

var webhookTime = time.Date(2025, 2, 1, 1, 0, 0, 0, time.UTC)

// sign is a Stripe-Signature header, made by hand.
func sign(payload []byte, secret string, at time.Time) string {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), mac(payload, secret, fmt.Sprint(at.Unix())))
}

func mac(payload []byte, secret, stamp string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(stamp + "."))
	m.Write(payload)
	return hex.EncodeToString(m.Sum(nil))
}

func TestVerifyReadsEvents(t *testing.T) {
	event := func(kind, version, object string) string {
		return fmt.Sprintf(`{"id":"evt_1","object":"event","created":1738371600,"type":%q,"api_version":%q,"data":{"object":%s}}`, kind, version, object)
	}
	at := time.Unix(1738371600, 0).UTC()
	cases := []struct {
		name, payload string
		want          billing.Event
	}{
		{"an invoice", event("invoice.paid", "2023-10-16", `{"id":"in_1","object":"invoice","customer":"cus_1"}`),
			billing.Event{ID: "evt_1", Type: "invoice.paid", Time: at, Customer: "cus_1", Charge: "in_1"}},
		{"a customer", event("customer.updated", "2023-10-16", `{"id":"cus_1","object":"customer"}`),
			billing.Event{ID: "evt_1", Type: "customer.updated", Time: at, Customer: "cus_1"}},
		{"a checkout", event("checkout.session.completed", "2023-10-16", `{"id":"cs_1","object":"checkout.session","customer":"cus_1","invoice":null}`),
			billing.Event{ID: "evt_1", Type: "checkout.session.completed", Time: at, Customer: "cus_1"}},
		{"a refund", event("charge.refunded", "2023-10-16", `{"id":"ch_1","object":"charge","customer":"cus_1","invoice":"in_1"}`),
			billing.Event{ID: "evt_1", Type: "charge.refunded", Time: at, Customer: "cus_1", Charge: "in_1"}},
		{"a dispute, which names no invoice", event("charge.dispute.created", "2023-10-16", `{"id":"dp_1","object":"dispute","charge":"ch_1"}`),
			billing.Event{ID: "evt_1", Type: "charge.dispute.created", Time: at}},
		{"a page that was paid", event("checkout.session.completed", "2023-10-16", `{"id":"cs_1","object":"checkout.session","customer":"cus_1","metadata":{"tollgate_payment":"40"}}`),
			billing.Event{ID: "evt_1", Type: "checkout.session.completed", Time: at, Customer: "cus_1", Receipt: "cs_1"}},
		{"a page whose bank transfer came", event("checkout.session.async_payment_succeeded", "2023-10-16", `{"id":"cs_1","object":"checkout.session","customer":"cus_1","metadata":{"tollgate_payment":"40"}}`),
			billing.Event{ID: "evt_1", Type: "checkout.session.async_payment_succeeded", Time: at, Customer: "cus_1", Receipt: "cs_1"}},
		{"a page whose bank transfer did not come", event("checkout.session.async_payment_failed", "2023-10-16", `{"id":"cs_1","object":"checkout.session","metadata":{"tollgate_payment":"40"}}`),
			billing.Event{ID: "evt_1", Type: "checkout.session.async_payment_failed", Time: at, Receipt: "cs_1"}},
		{"a payment", event("payment_intent.succeeded", "2023-10-16", `{"id":"pi_1","object":"payment_intent","customer":"cus_1","metadata":{"tollgate_payment":"40"}}`),
			billing.Event{ID: "evt_1", Type: "payment_intent.succeeded", Time: at, Customer: "cus_1", Receipt: "pi_1"}},
		{"an invoice's payment", event("payment_intent.succeeded", "2023-10-16", `{"id":"pi_1","object":"payment_intent","customer":"cus_1","invoice":"in_1","metadata":{}}`),
			billing.Event{ID: "evt_1", Type: "payment_intent.succeeded", Time: at}},
		{"metadata of another shape", event("payment_intent.succeeded", "2023-10-16", `{"id":"pi_1","object":"payment_intent","customer":"cus_1","metadata":[{"tollgate_payment":40}]}`),
			billing.Event{ID: "evt_1", Type: "payment_intent.succeeded", Time: at}},
		{"another version of the API", event("invoice.paid", "2026-08-01.future", `{"id":"in_1","object":"invoice","customer":{"id":"cus_1"},"charge":7}`),
			billing.Event{ID: "evt_1", Type: "invoice.paid", Time: at, Customer: "cus_1", Charge: "in_1"}},
		{"an object of another shape", event("invoice.paid", "2023-10-16", `{"id":["in_1"],"object":"invoice"}`),
			billing.Event{ID: "evt_1", Type: "invoice.paid", Time: at}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := stripe.Verify([]byte(c.payload), sign([]byte(c.payload), webhookSecret, webhookTime), webhookSecret, webhookTime)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	payload := []byte(`{"id":"evt_1","object":"event","created":1738371600,"type":"invoice.paid","data":{"object":{"id":"in_1","object":"invoice"}}}`)
	good := sign(payload, webhookSecret, webhookTime)
	stamp := fmt.Sprint(webhookTime.Unix())
	cases := []struct {
		name, header, secret string
		payload              []byte
		now                  time.Time
		holds                bool
	}{
		{name: "a good one", header: good, holds: true},
		{name: "five minutes old", header: good, now: webhookTime.Add(5 * time.Minute), holds: true},
		{name: "five minutes ahead", header: good, now: webhookTime.Add(-5 * time.Minute), holds: true},
		{name: "older", header: good, now: webhookTime.Add(5*time.Minute + time.Second)},
		{name: "further ahead", header: good, now: webhookTime.Add(-5*time.Minute - time.Second)},
		{name: "years ahead", header: sign(payload, webhookSecret, webhookTime.AddDate(200, 0, 0))},
		{name: "far beyond what a time can be", header: "t=9223372036854775807,v1=" + mac(payload, webhookSecret, "9223372036854775807")},
		{name: "before 1970", header: "t=-5,v1=" + mac(payload, webhookSecret, "-5")},
		{name: "another secret", header: good, secret: "whsec_other"},
		{name: "no secret", header: sign(payload, "", webhookTime), secret: "-"},
		{name: "another payload", header: good, payload: []byte(`{"id":"evt_2","type":"invoice.paid"}`)},
		{name: "a wrong one beside the right one", header: "t=" + stamp + ",v1=00,v1=" + mac(payload, webhookSecret, stamp), holds: true},
		{name: "spaces", header: "t=" + stamp + ", v1=" + mac(payload, webhookSecret, stamp), holds: true},
		{name: "only the scheme for tests", header: "t=" + stamp + ",v0=" + mac(payload, webhookSecret, stamp)},
		{name: "two times", header: "t=" + stamp + "," + good},
		{name: "no time", header: "v1=" + mac(payload, webhookSecret, stamp)},
		{name: "nothing", header: ""},
		{name: "many signatures", header: "t=" + stamp + strings.Repeat(",v1=00", 50) + ",v1=" + mac(payload, webhookSecret, stamp)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			secret, body, now := webhookSecret, payload, webhookTime
			switch c.secret {
			case "":
			case "-":
				secret = ""
			default:
				secret = c.secret
			}
			if c.payload != nil {
				body = c.payload
			}
			if !c.now.IsZero() {
				now = c.now
			}
			_, err := stripe.Verify(body, c.header, secret, now)
			if (err == nil) != c.holds || err != nil && !errors.Is(err, stripe.ErrSignature) {
				t.Errorf("got %v, want that it holds: %v", err, c.holds)
			}
		})
	}
}

func TestVerifySignedNonsense(t *testing.T) {
	for _, payload := range []string{``, `{`, `[]`, `"x"`, `{}`, `{"id":"evt_1"}`, `{"id":"evt_1","type":"a","created":-1}`, `{"id":"evt_1","type":"a","created":1e300}`} {
		_, err := stripe.Verify([]byte(payload), sign([]byte(payload), webhookSecret, webhookTime), webhookSecret, webhookTime)
		if err == nil || errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%q: got %v, want an error about the payload", payload, err)
		}
	}
}

// FuzzVerify: whatever comes, nothing holds that the vendor's own check refuses,
// and an event that is read has a name and a time that can be written.
func FuzzVerify(f *testing.F) {
	payload := []byte(`{"id":"evt_1","object":"event","created":1738371600,"type":"invoice.paid","data":{"object":{"id":"in_1","object":"invoice","customer":{"id":"cus_1"}}}}`)
	f.Add(payload, sign(payload, webhookSecret, webhookTime), false)
	f.Add(payload, "", true)
	f.Add([]byte(`{"id":"evt_1","type":"customer.deleted","data":{"object":{"object":"customer","id":{}}}}`), "t=1,v1=zz,v0=", true)
	f.Add([]byte(`{"data":null}`), "t=,v1=", true)
	f.Add([]byte(`{"id":"e","type":"charge.dispute.created","created":253402300800,"data":{"object":null}}`), "t==,,v1", true)
	f.Fuzz(func(t *testing.T, payload []byte, header string, resign bool) {
		if resign {
			header = sign(payload, webhookSecret, webhookTime)
		}
		event, err := stripe.Verify(payload, header, webhookSecret, webhookTime)
		if err != nil {
			return
		}
		if err := webhook.ValidatePayloadIgnoringTolerance(payload, header, webhookSecret); err != nil {
			t.Errorf("it holds here and not at the vendor's: %v", err)
		}
		if event.ID == "" || event.Type == "" {
			t.Errorf("an event without a name: %+v", event)
		}
		if _, err := event.Time.MarshalJSON(); err != nil {
			t.Errorf("its time: %v", err)
		}
	})
}
