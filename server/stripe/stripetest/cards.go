package stripetest

import (
	"fmt"
	"net/http"
	"strings"
)

// Card is the number of one of Stripe's test cards, which says how it behaves.
type Card string

// The test cards.
const (
	CardGood         Card = "4242424242424242" // succeeds
	CardDeclined     Card = "4000000000000002" // is declined, also when it is added
	CardNoFunds      Card = "4000000000009995" // lacks funds, also when it is added
	CardFailsLater   Card = "4000000000000341" // can be added, every charge is declined
	CardAuthenticate Card = "4000002760003184" // the customer must confirm each payment
	// CardAuthenticateOnce must be confirmed when it is added; if that was not done
	// (SetCard), a charge without the customer fails with authentication_required.
	CardAuthenticateOnce Card = "4000002500003155"
)

// cardKind is how a card behaves. Numbers, tokens and codes are Stripe's, see
// https://docs.stripe.com/testing.
type cardKind struct {
	card     Card
	label    string
	token    string // its name as a payment method
	attach   string // decline code when it is added; "": it can be
	charge   string // decline code when it is charged; "": it can be
	confirm  bool   // each payment has to be confirmed
	confirm1 bool   // has to be confirmed once
}

func cardKinds() []cardKind {
	return []cardKind{
		{card: CardGood, label: "succeeds", token: "pm_card_visa"},
		{card: CardDeclined, label: "is declined", token: "pm_card_chargeDeclined", attach: "generic_decline", charge: "generic_decline"},
		{card: CardNoFunds, label: "insufficient funds", token: "pm_card_chargeDeclinedInsufficientFunds", attach: "insufficient_funds", charge: "insufficient_funds"},
		{card: CardAuthenticate, label: "asks to confirm each payment, so it fails while you are away", token: "pm_card_authenticationRequired", confirm: true},
		{card: CardAuthenticateOnce, label: "asks to confirm once, then succeeds", token: "pm_card_authenticationRequiredOnSetup", confirm1: true},
		{card: CardFailsLater, label: "can be added, then each charge is declined", token: "pm_card_chargeCustomerFail", charge: "generic_decline"},
	}
}

// kindOf finds a card by number, last four digits or token.
func kindOf(name string) (cardKind, bool) {
	name = strings.ReplaceAll(name, " ", "")
	for _, k := range cardKinds() {
		if name == string(k.card) || name == k.token || len(name) == 4 && strings.HasSuffix(string(k.card), name) {
			return k, true
		}
	}
	return cardKind{}, false
}

// kind is how a payment method behaves.
func (m *PaymentMethod) kind() cardKind {
	k, _ := kindOf(m.Card.Last4)
	return k
}

func (k cardKind) last4() string { return string(k.card[len(k.card)-4:]) }

// newCard makes a payment method of nobody.
func (s *Server) newCard(k cardKind) *PaymentMethod {
	m := &PaymentMethod{
		Base: s.newBase("pm", "payment_method", nil),
		Type: "card",
		Card: CardDetails{
			Brand: "visa", Country: "US", ExpMonth: 12, ExpYear: s.now().Year() + 4, Funding: "credit",
			Fingerprint: "Fp" + k.last4(), Last4: k.last4(),
		},
	}
	s.state.PaymentMethods.add(m)
	return m
}

// declined is the error of a card that was refused.
func declined(code string) *failure {
	e := APIError{Type: "card_error", Code: "card_declined", DeclineCode: code, Message: "Your card was declined."}
	switch code {
	case "insufficient_funds":
		e.Message = "Your card has insufficient funds."
	case "authentication_required":
		e.Code = "authentication_required"
		e.Message = "Your card was declined. This transaction requires authentication."
	case "authentication_failed":
		e.Code, e.DeclineCode = "payment_intent_authentication_failure", ""
		e.Message = "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again."
	}
	e.DocURL = docURL(e.Code)
	return &failure{e, http.StatusPaymentRequired, false}
}

func docURL(code string) string {
	return "https://stripe.com/docs/error-codes/" + strings.ReplaceAll(code, "_", "-")
}

// attach gives a card to a customer.
func (s *Server) attach(m *PaymentMethod, customer *Customer) {
	m.Customer = customer.ID
	m.BillingDetails = BillingDetails{Address: customer.Address, Email: customer.Email, Name: customer.Name}
	s.emit("payment_method.attached", plain(m))
}

// minimums are the smallest charges in minor units, of
// https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts.
func minimumCharge(currency string) int64 {
	switch currency {
	case "gbp":
		return 30
	case "aed", "pln", "ron":
		return 200
	case "bgn":
		return 100
	case "czk":
		return 1500
	case "dkk":
		return 250
	case "hkd":
		return 400
	case "huf":
		return 17500
	case "mxn", "thb":
		return 1000
	case "myr":
		return 200
	case "nok", "sek":
		return 300
	}
	return 50
}

// money is an amount as people read it.
func money(amount int64, currency string) string {
	sign := ""
	if amount < 0 {
		sign, amount = "-", -amount
	}
	if zeroDecimal(currency) {
		return fmt.Sprintf("%s%d %s", sign, amount, strings.ToUpper(currency))
	}
	if threeDecimal(currency) {
		return fmt.Sprintf("%s%d.%03d %s", sign, amount/1000, amount%1000, strings.ToUpper(currency))
	}
	return fmt.Sprintf("%s%d.%02d %s", sign, amount/100, amount%100, strings.ToUpper(currency))
}

func zeroDecimal(currency string) bool {
	switch currency {
	case "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf":
		return true
	}
	return false
}

func threeDecimal(currency string) bool {
	switch currency {
	case "bhd", "jod", "kwd", "omr", "tnd":
		return true
	}
	return false
}

// checkAmount refuses what Stripe does not take in a currency.
func checkAmount(amount int64, currency, param string) *failure {
	if len(currency) != 3 || strings.ToLower(currency) != currency {
		return invalid("", "currency", "Invalid currency: "+currency+".")
	}
	size := max(amount, -amount)
	if size > 99999999 && !zeroDecimal(currency) || size > 9999999999 {
		return invalid("amount_too_large", param, "Amount must be no more than "+money(99999999, currency))
	}
	if (currency == "isk" || currency == "ugx") && amount%100 != 0 || threeDecimal(currency) && amount%10 != 0 {
		return invalid("", param, "Invalid amount: the smallest unit of "+currency+" cannot be charged.")
	}
	return nil
}
