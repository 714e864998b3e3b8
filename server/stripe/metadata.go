package stripe

import (
	"strconv"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// What our objects carry in their metadata.
const (
	tagLedger   = "tollgate_ledger"
	tagEpoch    = "tollgate_epoch"
	tagUser     = "tollgate_user"
	tagInvoice  = "tollgate_invoice"
	tagNumber   = "tollgate_number"
	tagPeriod   = "tollgate_period"
	tagLine     = "tollgate_line"     // of an invoice item: its place, from 0
	tagKey      = "tollgate_key"      // of a credit note, a payment or its page: the key that it was asked for with
	tagPayment  = "tollgate_payment"  // our id of a payment that is not an invoice's
	tagPage     = "tollgate_page"     // of a payment: it is made on a page
	tagPart     = "tollgate_part"     // of a refund: which return of the payment it is
	tagReason   = "tollgate_reason"   // of a refund
	tagTier     = "tollgate_tier"     // of a checkout: the plan to change to
	tagPlan     = "tollgate_plan"     // of a product and price
	tagCheckout = "tollgate_checkout" // of a customer: the last checkout whose payment method was made the default
)

// What a payment carries in addition, which is what it is for.
const (
	tagKind    = "tollgate_kind"
	tagMonth   = "tollgate_month"
	tagPack    = "tollgate_pack"
	tagCredits = "tollgate_credits" // in decimals
	tagExpires = "tollgate_expires" // RFC 3339
	tagTax     = "tollgate_tax"     // minor units
)

// tags are the metadata of an object of ours.
func tags(o billing.Owner) map[string]string {
	return map[string]string{
		tagLedger: o.Ledger,
		tagEpoch:  strconv.Itoa(o.Epoch),
		tagUser:   strconv.FormatUint(uint64(o.User), 10),
	}
}

// ownerOf reads whose an object is. What is not ours reads as nobody's.
func ownerOf(metadata map[string]string) billing.Owner {
	epoch, _ := strconv.Atoi(metadata[tagEpoch])
	user, _ := strconv.ParseUint(metadata[tagUser], 10, 32)
	return billing.Owner{Ledger: metadata[tagLedger], Epoch: epoch, User: ledger.UserID(user)}
}

func paymentOf(metadata map[string]string) ledger.PaymentID {
	id, _ := strconv.ParseUint(metadata[tagPayment], 10, 64)
	return ledger.PaymentID(id)
}

// tagPurpose notes what a payment is for.
func tagPurpose(metadata map[string]string, p billing.Purpose) {
	metadata[tagKind], metadata[tagMonth] = string(p.Kind), p.Month.String()
	if p.Pack != "" {
		metadata[tagPack] = cut(p.Pack, metadataLength)
	}
	if p.Credits != 0 {
		metadata[tagCredits] = p.Credits.String()
	}
	if !p.Expires.IsZero() {
		metadata[tagExpires] = p.Expires.UTC().Format(time.RFC3339Nano)
	}
	if p.Tax != 0 {
		metadata[tagTax] = strconv.FormatInt(p.Tax, 10)
	}
}

// purposeOf reads what a payment is for. What cannot be read is left out.
func purposeOf(metadata map[string]string) billing.Purpose {
	p := billing.Purpose{Kind: ledger.PaymentKind(metadata[tagKind]), Pack: metadata[tagPack]}
	if m, err := ledger.ParseMonth(metadata[tagMonth]); err == nil {
		p.Month = m
	}
	if credits, err := ledger.ParseAmount(metadata[tagCredits]); err == nil {
		p.Credits = credits
	}
	if at, err := time.Parse(time.RFC3339Nano, metadata[tagExpires]); err == nil {
		p.Expires = at.UTC()
	}
	p.Tax, _ = strconv.ParseInt(metadata[tagTax], 10, 64)
	return p
}

func invoiceOf(metadata map[string]string) ledger.InvoiceID {
	id, _ := strconv.ParseUint(metadata[tagInvoice], 10, 32)
	return ledger.InvoiceID(id)
}

// ours refuses an owner of another ledger. A client works for one.
func (c *Client) ours(o billing.Owner) error {
	if o.Ledger != c.ledger {
		return refuse(notOurs, "it is of ledger %q, and this is the client of ledger %q", o.Ledger, c.ledger)
	}
	return nil
}

// metadataLength is how long a value may be, in characters
// (https://docs.stripe.com/api/metadata).
const metadataLength = 500

// notOurs is the code of refusals to change what belongs to another ledger.
const notOurs = "not_ours"

// cut shortens a text to what Stripe takes, in characters.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most-1 && len(s) > i+1 && len([]rune(s[i:])) > 1 {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
