package stripe

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// callError is a failed request: what was tried, how it ended for billing, and
// what Stripe said.
type callError struct {
	what    string
	outcome error // a *billing.Rejection or billing.ErrUnknown
	cause   error
}

func (e *callError) Error() string {
	if e.cause == nil || e.outcome != billing.ErrUnknown {
		return e.what + ": " + e.outcome.Error()
	}
	return e.what + ": " + e.outcome.Error() + ": " + e.causeText()
}

// causeText leaves out what stripe-go's errors carry of the answer's body: all of
// an error object, also the customer's payment method.
func (e *callError) causeText() string {
	if said := (*stripego.Error)(nil); errors.As(e.cause, &said) {
		return strings.TrimSuffix(fmt.Sprintf("status %d: %s", said.HTTPStatusCode, said.Msg), ": ")
	}
	if text, _, cut := strings.Cut(e.cause.Error(), ", body sample:"); cut {
		return text + ")"
	}
	return e.cause.Error()
}

func (e *callError) Unwrap() []error { return []error{e.outcome, e.cause} }

// failure tells apart what was refused and what may have been done.
//
// Definite are the answers 400 to 499: Stripe checks before it acts. 409 is a
// request with the same key that is still under way, and 429 one that was turned
// away at the door (https://docs.stripe.com/error-low-level). An answer that
// cannot be read may come from anything between here and Stripe, whatever its
// status.
func failure(method, path string, err error) error {
	e := &callError{what: method + " " + path, outcome: billing.ErrUnknown, cause: err}
	said, ok := err.(*stripego.Error)
	if !ok {
		return e
	}
	switch status := said.HTTPStatusCode; {
	case status == http.StatusConflict, status < 400, status >= 500:
	case status == http.StatusTooManyRequests:
		e.outcome = &billing.Rejection{Code: codeOf(said), Message: said.Msg, Retry: true}
	default:
		e.outcome = &billing.Rejection{Code: codeOf(said), Message: said.Msg}
	}
	return e
}

// codeOf is the most telling word of an error.
func codeOf(e *stripego.Error) string {
	return cmp.Or(string(e.DeclineCode), string(e.Code), string(e.Type))
}

// refuse is a refusal from in here; nothing was sent for it.
func refuse(code, format string, args ...any) error {
	return &billing.Rejection{Code: code, Message: fmt.Sprintf(format, args...)}
}

// unreadable is an answer that is not what it should be.
func unreadable(what string) error {
	return fmt.Errorf("%s: %w: the answer is not one of Stripe's", what, billing.ErrUnknown)
}

// rejected returns the final refusal in an error; nil where it is no refusal or
// one that only says later.
func rejected(err error) *billing.Rejection {
	if r := (*billing.Rejection)(nil); errors.As(err, &r) && !r.Retry {
		return r
	}
	return nil
}

// missing tells that an object is not there.
func missing(err error) bool {
	r := rejected(err)
	return r != nil && r.Code == string(stripego.ErrorCodeResourceMissing)
}

// Stripe marks answers that it remembers from an earlier request with the same
// key (https://docs.stripe.com/error-low-level#sending-idempotency-keys).
const replayedHeader = "Idempotent-Replayed"

// failedBefore tells that an error is a remembered failure of Stripe's own.
func failedBefore(err error) bool {
	said := (*stripego.Error)(nil)
	return errors.As(err, &said) && said.HTTPStatusCode >= 500 && replayed(said.LastResponse)
}

// replayed tells that an answer is remembered: it shows the object as it was then.
func replayed(r *stripego.APIResponse) bool {
	return r != nil && r.Header.Get(replayedHeader) == "true"
}

// declined reads why a payment was refused; nil where the error is another one.
// Stripe answers 402 then (https://docs.stripe.com/api/errors).
func declined(err error) *billing.Decline {
	said := (*stripego.Error)(nil)
	if !errors.As(err, &said) || said.HTTPStatusCode >= 500 {
		return nil
	}
	if said.HTTPStatusCode != http.StatusPaymentRequired && said.Type != stripego.ErrorTypeCard &&
		said.Code != stripego.ErrorCodeInvoicePaymentIntentRequiresAction {
		return nil
	}
	return decline(said)
}

func decline(said *stripego.Error) *billing.Decline {
	return &billing.Decline{
		Code:    codeOf(said),
		Message: said.Msg,
		Authenticate: said.DeclineCode == stripego.DeclineCodeAuthenticationRequired ||
			said.Code == stripego.ErrorCodeAuthenticationRequired ||
			said.Code == stripego.ErrorCodeInvoicePaymentIntentRequiresAction,
	}
}
