package stripe

import "strings"

// Currencies whose smallest unit at Stripe is not what can be charged
// (https://docs.stripe.com/currencies#special-cases). The ledger counts in
// Stripe's minor units, see [ledger.MinorDigits], so that amounts pass unchanged.
const (
	wholeOnly = "isk ugx"             // two decimals, for the sake of old clients; they must be 00
	tensOnly  = "bhd jod kwd omr tnd" // three decimals; the last must be 0
)

// amount checks that an amount in minor units can be sent to Stripe in a currency.
func amount(currency string, n int64) (int64, error) {
	step := int64(1)
	switch {
	case len(currency) != 3 || strings.ToLower(currency) != currency:
		return 0, refuse("invalid_currency", "%q is not a currency code in lower case", currency)
	case strings.Contains(wholeOnly, currency):
		step = 100
	case strings.Contains(tensOnly, currency):
		step = 10
	}
	if n%step != 0 {
		return 0, refuse("invalid_amount", "Stripe takes amounts in %s in steps of %d minor units, and %d is none", currency, step, n)
	}
	return n, nil
}
