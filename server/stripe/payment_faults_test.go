package stripe_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// faultsOfPayments are those after which a call has to be made again. A server
// error is remembered under its key, whether anything was done or not.
var faultsOfPayments = []stripetest.FaultKind{
	stripetest.Refuse, stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter,
	stripetest.BadGatewayBefore, stripetest.BadGatewayAfter, stripetest.RateLimited,
}

// told checks how an error that a fault caused has to be told.
func told(t *testing.T, kind stripetest.FaultKind, err error) {
	t.Helper()
	var refused *billing.Rejection
	if kind == stripetest.RateLimited {
		if !errors.As(err, &refused) || !refused.Retry {
			t.Errorf("got %v, want a refusal that says later", err)
		}
	} else if !errors.Is(err, billing.ErrUnknown) || errors.As(err, &refused) {
		t.Errorf("got %v, want an unknown outcome", err)
	}
}

// resume does what billing does after an unknown outcome: the same call while
// Stripe remembers the key, and after that only where FindReceipt finds nothing.
func (s *sandbox) resume(r billing.PaymentRequest, forgotten bool, call func(billing.PaymentRequest) (billing.Receipt, error)) (billing.Receipt, error) {
	if forgotten {
		s.advance(25 * time.Hour)
		if got, ok, err := s.FindReceipt(s.t.Context(), r); ok || err != nil {
			return got, err
		}
	}
	return call(r)
}

// TestFaultsOfCollect breaks each request of a payment, with cards that pay and
// cards that do not: there is one payment in the end.
func TestFaultsOfCollect(t *testing.T) {
	for card, want := range map[stripetest.Card]billing.ReceiptState{
		stripetest.CardGood: billing.ReceiptPaid, stripetest.CardFailsLater: billing.ReceiptFailed, stripetest.CardAuthenticate: billing.ReceiptFailed,
	} {
		for _, kind := range faultsOfPayments {
			// The second struck is the answer to a repeated call, or the look for what it did.
			for _, nth := range []int{1, 2, 3} {
				for _, forgotten := range []bool{false, true} {
					t.Run(fmt.Sprint(card, " ", kind, " ", nth, " ", forgotten), func(t *testing.T) {
						s := newSandbox(t, stripe.Options{})
						r := s.usage(s.customer(card))
						call := func(r billing.PaymentRequest) (billing.Receipt, error) { return s.Collect(t.Context(), r) }
						cancel := s.Fail(stripetest.Fault{Kind: kind, Times: nth})
						_, err := call(r)
						told(t, kind, err)
						for n := 1; n < 10; n++ {
							var got billing.Receipt
							if got, err = s.resume(r, forgotten, call); err == nil {
								if got.State != want || got.ID == "" || got.Payment != 41 || (got.Decline != nil) != (want == billing.ReceiptFailed) {
									t.Errorf("%+v", got)
								}
								break
							}
							told(t, kind, err)
						}
						cancel()
						if err != nil {
							t.Fatalf("it has no end: %v", err)
						}
						paid := 1
						if want == billing.ReceiptFailed {
							paid = 0
						}
						if n, tried := len(s.Server.Charges()), len(s.Intents()); n != paid || tried != 1 {
							t.Errorf("%d charges of %d payments, want %d of one", n, tried, paid)
						}
					})
				}
			}
		}
	}
}

// TestFaultsOfPayPage: the page that billing knows of is the newest, and the
// customer pays once.
func TestFaultsOfPayPage(t *testing.T) {
	for _, kind := range faultsOfPayments {
		for _, nth := range []int{1, 2, 3} {
			for _, forgotten := range []bool{false, true} {
				t.Run(fmt.Sprint(kind, " ", nth, " ", forgotten), func(t *testing.T) {
					s := newSandbox(t, stripe.Options{})
					r := pack(s.customer(""))
					call := func(r billing.PaymentRequest) (billing.Receipt, error) { return s.PayPage(t.Context(), r) }
					cancel := s.Fail(stripetest.Fault{Kind: kind, Times: nth})
					_, err := call(r)
					told(t, kind, err)
					var got billing.Receipt
					for n := 1; n < 10; n++ {
						if got, err = s.resume(r, forgotten, call); err == nil {
							break
						}
						told(t, kind, err)
					}
					cancel()
					if err != nil {
						t.Fatalf("it has no end: %v", err)
					}
					if n := len(s.Sessions()); n != 1 {
						t.Errorf("%d pages, want one", n)
					}
					if forgotten && got.State == billing.ReceiptFailed {
						return // it expired while nobody knew of it
					}
					s.payOn(got.ID, stripetest.CardGood)
					if now := s.receipt(got.ID); now.State != billing.ReceiptPaid || len(s.Server.Charges()) != 1 {
						t.Errorf("%+v with %d charges", now, len(s.Server.Charges()))
					}
				})
			}
		}
	}
}

// TestFaultsOfReturn breaks each request of a return: there is one refund.
func TestFaultsOfReturn(t *testing.T) {
	for _, kind := range faultsOfPayments {
		for nth := 1; nth <= 4; nth++ {
			for _, forgotten := range []bool{false, true} {
				s := newSandbox(t, stripe.Options{})
				r := giveBack(s.collected(s.usage(s.customer(stripetest.CardGood))).ID)
				s.Fail(stripetest.Fault{Kind: kind, Nth: nth})
				_, err := s.Return(t.Context(), r)
				what := fmt.Sprintf("%v of request %d, forgotten %v", kind, nth, forgotten)
				if err == nil {
					t.Errorf("%s: no error", what)
				}
				if forgotten {
					s.advance(25 * time.Hour)
				}
				if got, err := s.Return(t.Context(), r); err != nil || got.Refunded != 234 || len(s.Refunds()) != 1 {
					t.Errorf("%s: %+v, %v and %d refunds", what, got, err, len(s.Refunds()))
				}
			}
		}
	}
}

// TestLastLook: what was done and could not be looked at is unknown, not refused.
func TestLastLook(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	r := giveBack(s.collected(s.usage(s.customer(stripetest.CardGood))).ID)
	s.Fail(stripetest.Fault{Kind: stripetest.RateLimited, Path: "/v1/payment_intents/*", Nth: 2})
	if _, err := s.Return(t.Context(), r); !errors.Is(err, billing.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if n := len(s.Refunds()); n != 1 {
		t.Errorf("%d refunds", n)
	}
}
