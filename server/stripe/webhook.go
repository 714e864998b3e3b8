package stripe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"tollgate/server/billing"
)

// ErrSignature is wrapped by errors of [Verify] about webhooks that cannot be
// shown to come from Stripe, lately.
var ErrSignature = errors.New("the webhook's signature does not hold")

// Tolerance is how far a webhook's time may lie from ours, before or after it.
const Tolerance = 5 * time.Minute

// Verify checks that a webhook is from Stripe and reads the event. The header is
// Stripe-Signature: a time and one or more HMACs over the time and the payload
// (https://docs.stripe.com/webhooks#verify-manually). Errors that do not wrap
// [ErrSignature] are about a payload that Stripe signed and that is no event.
//
// The event's version of the API may be any: an event is a hint, and what it is
// about is fetched anew. Of a dispute it does not name the invoice, see
// [Client.Complete].
func Verify(payload []byte, signatureHeader, secret string, now time.Time) (billing.Event, error) {
	if secret == "" {
		return billing.Event{}, fmt.Errorf("%w: no secret is configured", ErrSignature)
	}
	stamp, signatures, err := parseSignature(signatureHeader)
	if err != nil {
		return billing.Event{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(payload)
	want, holds := mac.Sum(nil), false
	for _, s := range signatures {
		if got, err := hex.DecodeString(s); err == nil && hmac.Equal(got, want) {
			holds = true
		}
	}
	if !holds {
		return billing.Event{}, fmt.Errorf("%w: none of %d signatures fits", ErrSignature, len(signatures))
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || seconds < 0 || seconds > maxTime {
		return billing.Event{}, fmt.Errorf("%w: its time is not a Unix time", ErrSignature)
	}
	if apart := now.Sub(time.Unix(seconds, 0)); apart > Tolerance || apart < -Tolerance {
		return billing.Event{}, fmt.Errorf("%w: its time is more than %v from ours", ErrSignature, Tolerance)
	}
	var e stripego.Event
	if err := json.Unmarshal(payload, &e); err != nil {
		return billing.Event{}, fmt.Errorf("reading a webhook: %w", err)
	}
	if e.ID == "" || e.Type == "" || e.Created < 0 || e.Created > maxTime {
		return billing.Event{}, errors.New("reading a webhook: it is no event")
	}
	event, _ := readEvent(&e)
	return event, nil
}

// maxTime is the last second of the year 9999.
const maxTime = 253402300799

// mostSignatures bounds the work for a header: Stripe sends one for each secret
// in force, which are two while a secret is replaced.
const mostSignatures = 16

// parseSignature reads "t=1492774577,v1=5257a869...,v1=...". Schemes other than
// v1 are not looked at: v0 is for tests of Stripe's and could be a downgrade.
func parseSignature(header string) (stamp string, signatures []string, err error) {
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			if stamp != "" {
				return "", nil, fmt.Errorf("%w: it has two times", ErrSignature)
			}
			stamp = value
		case "v1":
			signatures = append(signatures, value)
		}
		if len(signatures) > mostSignatures {
			return "", nil, fmt.Errorf("%w: it has more than %d signatures", ErrSignature, mostSignatures)
		}
	}
	if stamp == "" || len(signatures) == 0 {
		return "", nil, fmt.Errorf("%w: the header has no time or no v1 signature", ErrSignature)
	}
	return stamp, signatures, nil
}
