package stripetest

import (
	"encoding/json"
)

// Version is the API version whose shapes the answers have.
const Version = "2023-10-16"

// Base is what every object has.
type Base struct {
	ID       string            `json:"id"`
	Object   string            `json:"object"`
	Created  int64             `json:"created,omitempty"` // Unix seconds
	Livemode bool              `json:"livemode"`
	Metadata map[string]string `json:"metadata,omitzero"` // replaced, never changed in place
}

func (b *Base) base() *Base { return b }

// Address is a postal address.
type Address struct {
	City       string `json:"city,omitempty"`
	Country    string `json:"country,omitempty"`
	Line1      string `json:"line1,omitempty"`
	Line2      string `json:"line2,omitempty"`
	PostalCode string `json:"postal_code,omitempty"`
	State      string `json:"state,omitempty"`
}

// Customer is who pays. Balance is in minor units: above 0 is owed by the
// customer and added to the next invoice, below 0 is in the customer's favour.
type Customer struct {
	Base
	Address         *Address        `json:"address,omitempty"`
	Balance         int64           `json:"balance"`
	Currency        string          `json:"currency,omitempty"`
	Delinquent      bool            `json:"delinquent"`
	Deleted         bool            `json:"deleted,omitempty"`
	Description     string          `json:"description,omitempty"`
	Email           string          `json:"email,omitempty"`
	InvoicePrefix   string          `json:"invoice_prefix,omitempty"`
	InvoiceSettings InvoiceSettings `json:"invoice_settings"`
	Name            string          `json:"name,omitempty"`
	NextNumber      int64           `json:"next_invoice_sequence,omitempty"`
	Phone           string          `json:"phone,omitempty"`
	TaxExempt       string          `json:"tax_exempt,omitempty"`
}

// InvoiceSettings are a customer's.
type InvoiceSettings struct {
	DefaultPaymentMethod string `json:"default_payment_method,omitempty"`
}

// PaymentMethod is a card.
type PaymentMethod struct {
	Base
	BillingDetails BillingDetails `json:"billing_details"`
	Card           CardDetails    `json:"card"`
	Customer       string         `json:"customer,omitempty"`
	Type           string         `json:"type"`
	// SetUp tells that the customer confirmed it for payments to come. It is not of Stripe's API.
	SetUp bool `json:"sandbox_set_up,omitempty"`
}

// BillingDetails are those of a payment method.
type BillingDetails struct {
	Address *Address `json:"address,omitempty"`
	Email   string   `json:"email,omitempty"`
	Name    string   `json:"name,omitempty"`
}

// CardDetails is what is shown of a card.
type CardDetails struct {
	Brand       string `json:"brand"`
	Country     string `json:"country"`
	ExpMonth    int    `json:"exp_month"`
	ExpYear     int    `json:"exp_year"`
	Fingerprint string `json:"fingerprint"`
	Funding     string `json:"funding"`
	Last4       string `json:"last4"`
}

// SetupIntent collects a payment method for later.
type SetupIntent struct {
	Base
	ClientSecret       string    `json:"client_secret"`
	Customer           string    `json:"customer,omitempty"`
	Description        string    `json:"description,omitempty"`
	LastSetupError     *APIError `json:"last_setup_error,omitempty"`
	PaymentMethod      string    `json:"payment_method,omitempty"`
	PaymentMethodTypes []string  `json:"payment_method_types"`
	Status             string    `json:"status"`
	Usage              string    `json:"usage"`
}

// Session is a visit to the checkout page.
type Session struct {
	Base
	AmountSubtotal     int64            `json:"amount_subtotal,omitempty"`
	AmountTotal        int64            `json:"amount_total,omitempty"`
	CancelURL          string           `json:"cancel_url,omitempty"`
	ClientReferenceID  string           `json:"client_reference_id,omitempty"`
	Currency           string           `json:"currency,omitempty"`
	Customer           string           `json:"customer,omitempty"`
	CustomerCreation   string           `json:"customer_creation,omitempty"`
	CustomerDetails    *CustomerDetails `json:"customer_details,omitempty"`
	CustomerEmail      string           `json:"customer_email,omitempty"`
	ExpiresAt          int64            `json:"expires_at"`
	Mode               string           `json:"mode"`
	PaymentIntent      string           `json:"payment_intent,omitempty"`
	PaymentMethodTypes []string         `json:"payment_method_types"`
	PaymentStatus      string           `json:"payment_status"`
	SetupIntent        string           `json:"setup_intent,omitempty"`
	Status             string           `json:"status"`
	SuccessURL         string           `json:"success_url,omitempty"`
	UIMode             string           `json:"ui_mode"`
	URL                string           `json:"url,omitempty"`

	// Not part of Stripe's session, and shown under other addresses there.
	Items             []SessionItem     `json:"sandbox_items,omitempty"`
	IntentMetadata    map[string]string `json:"sandbox_intent_metadata,omitempty"`
	IntentDescription string            `json:"sandbox_intent_description,omitempty"`
	Keep              bool              `json:"sandbox_keep,omitempty"` // the card is for later payments too
}

// CustomerDetails is what a customer gave on the checkout page.
type CustomerDetails struct {
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
}

// SessionItem is what is bought in a session. Amount is in minor units, for all of it.
type SessionItem struct {
	Description string `json:"description"`
	Quantity    int64  `json:"quantity"`
	Amount      int64  `json:"amount"`
	Price       string `json:"price,omitempty"`
}

// PaymentIntent is the collecting of an amount, in minor units.
type PaymentIntent struct {
	Base
	Amount             int64     `json:"amount"`
	AmountReceived     int64     `json:"amount_received"`
	CanceledAt         int64     `json:"canceled_at,omitempty"`
	CancellationReason string    `json:"cancellation_reason,omitempty"`
	CaptureMethod      string    `json:"capture_method"`
	ClientSecret       string    `json:"client_secret"`
	Currency           string    `json:"currency"`
	Customer           string    `json:"customer,omitempty"`
	Description        string    `json:"description,omitempty"`
	Invoice            string    `json:"invoice,omitempty"`
	LastPaymentError   *APIError `json:"last_payment_error,omitempty"`
	LatestCharge       string    `json:"latest_charge,omitempty"`
	NextAction         *NextStep `json:"next_action,omitempty"`
	PaymentMethod      string    `json:"payment_method,omitempty"`
	PaymentMethodTypes []string  `json:"payment_method_types"`
	SetupFutureUsage   string    `json:"setup_future_usage,omitempty"`
	Status             string    `json:"status"`
}

// NextStep is what the customer has to do.
type NextStep struct {
	Type string `json:"type"`
}

// Charge is one attempt to take money, in minor units.
type Charge struct {
	Base
	Amount         int64          `json:"amount"`
	AmountCaptured int64          `json:"amount_captured"`
	AmountRefunded int64          `json:"amount_refunded"`
	BillingDetails BillingDetails `json:"billing_details"`
	Captured       bool           `json:"captured"`
	Currency       string         `json:"currency"`
	Customer       string         `json:"customer,omitempty"`
	Description    string         `json:"description,omitempty"`
	Dispute        string         `json:"dispute,omitempty"`
	Disputed       bool           `json:"disputed"`
	FailureCode    string         `json:"failure_code,omitempty"`
	FailureMessage string         `json:"failure_message,omitempty"`
	Invoice        string         `json:"invoice,omitempty"`
	Outcome        *Outcome       `json:"outcome,omitempty"`
	Paid           bool           `json:"paid"`
	PaymentIntent  string         `json:"payment_intent,omitempty"`
	PaymentMethod  string         `json:"payment_method,omitempty"`
	ReceiptURL     string         `json:"receipt_url,omitempty"`
	Refunded       bool           `json:"refunded"`
	Status         string         `json:"status"`
}

// Outcome is what the card's bank said.
type Outcome struct {
	NetworkStatus string `json:"network_status"`
	Reason        string `json:"reason,omitempty"`
	RiskLevel     string `json:"risk_level"`
	SellerMessage string `json:"seller_message"`
	Type          string `json:"type"`
}

// Invoice is a bill, in minor units.
type Invoice struct {
	Base
	AccountCountry       string        `json:"account_country"`
	AccountName          string        `json:"account_name"`
	AmountDue            int64         `json:"amount_due"`
	AmountPaid           int64         `json:"amount_paid"`
	AmountRemaining      int64         `json:"amount_remaining"`
	AttemptCount         int64         `json:"attempt_count"`
	Attempted            bool          `json:"attempted"`
	AutoAdvance          bool          `json:"auto_advance"`
	BillingReason        string        `json:"billing_reason"`
	Charge               string        `json:"charge,omitempty"`
	CollectionMethod     string        `json:"collection_method"`
	Currency             string        `json:"currency"`
	CustomFields         []CustomField `json:"custom_fields,omitempty"`
	Customer             string        `json:"customer"`
	CustomerAddress      *Address      `json:"customer_address,omitempty"`
	CustomerEmail        string        `json:"customer_email,omitempty"`
	CustomerName         string        `json:"customer_name,omitempty"`
	DefaultPaymentMethod string        `json:"default_payment_method,omitempty"`
	Description          string        `json:"description,omitempty"`
	DueDate              int64         `json:"due_date,omitempty"`
	EffectiveAt          int64         `json:"effective_at,omitempty"`
	EndingBalance        *int64        `json:"ending_balance,omitempty"`
	Footer               string        `json:"footer,omitempty"`
	HostedInvoiceURL     string        `json:"hosted_invoice_url,omitempty"`
	InvoicePDF           string        `json:"invoice_pdf,omitempty"`
	Lines                *List         `json:"lines,omitempty"`
	Number               string        `json:"number,omitempty"`
	Paid                 bool          `json:"paid"`
	PaidOutOfBand        bool          `json:"paid_out_of_band"`
	PaymentIntent        string        `json:"payment_intent,omitempty"`
	PeriodEnd            int64         `json:"period_end"`
	PeriodStart          int64         `json:"period_start"`
	PostPaymentCredit    int64         `json:"post_payment_credit_notes_amount"`
	PrePaymentCredit     int64         `json:"pre_payment_credit_notes_amount"`
	StartingBalance      int64         `json:"starting_balance"`
	StatementDescriptor  string        `json:"statement_descriptor,omitempty"`
	Status               string        `json:"status"`
	StatusTransitions    Transitions   `json:"status_transitions"`
	Subtotal             int64         `json:"subtotal"`
	SubtotalExcludingTax int64         `json:"subtotal_excluding_tax"`
	Total                int64         `json:"total"`
	TotalExcludingTax    int64         `json:"total_excluding_tax"`

	items []*InvoiceItem
}

// CustomField is a field of an invoice that the seller chose.
type CustomField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Transitions are when an invoice changed its state, in Unix seconds.
type Transitions struct {
	FinalizedAt           int64 `json:"finalized_at,omitempty"`
	MarkedUncollectibleAt int64 `json:"marked_uncollectible_at,omitempty"`
	PaidAt                int64 `json:"paid_at,omitempty"`
	VoidedAt              int64 `json:"voided_at,omitempty"`
}

// InvoiceItem becomes a line of an invoice. Amount is in minor units.
type InvoiceItem struct {
	Base
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	Customer          string `json:"customer"`
	Date              int64  `json:"date"`
	Description       string `json:"description,omitempty"`
	Discountable      bool   `json:"discountable"`
	Invoice           string `json:"invoice,omitempty"`
	Period            Period `json:"period"`
	Price             string `json:"price,omitempty"`
	Proration         bool   `json:"proration"`
	Quantity          int64  `json:"quantity"`
	UnitAmount        int64  `json:"unit_amount"`
	UnitAmountDecimal string `json:"unit_amount_decimal"`
}

// Period is what a line is for, in Unix seconds.
type Period struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Line is a line of an invoice, made of an item.
type Line struct {
	Base
	Amount             int64  `json:"amount"`
	AmountExcludingTax int64  `json:"amount_excluding_tax"`
	Currency           string `json:"currency"`
	Description        string `json:"description,omitempty"`
	Discountable       bool   `json:"discountable"`
	Invoice            string `json:"invoice"`
	InvoiceItem        string `json:"invoice_item"`
	Period             Period `json:"period"`
	Price              string `json:"price,omitempty"`
	Proration          bool   `json:"proration"`
	Quantity           int64  `json:"quantity"`
	Type               string `json:"type"`
}

// Refund gives a charge back, in minor units.
type Refund struct {
	Base
	Amount        int64  `json:"amount"`
	Charge        string `json:"charge"`
	Currency      string `json:"currency"`
	PaymentIntent string `json:"payment_intent,omitempty"`
	Reason        string `json:"reason,omitempty"`
	Status        string `json:"status"`
}

// CreditNote lowers an invoice, in minor units.
type CreditNote struct {
	Base
	Amount          int64  `json:"amount"`
	Currency        string `json:"currency"`
	Customer        string `json:"customer"`
	Invoice         string `json:"invoice"`
	Lines           *List  `json:"lines,omitempty"`
	Memo            string `json:"memo,omitempty"`
	Number          string `json:"number"`
	OutOfBandAmount int64  `json:"out_of_band_amount,omitempty"`
	PDF             string `json:"pdf"`
	Reason          string `json:"reason,omitempty"`
	Refund          string `json:"refund,omitempty"`
	Status          string `json:"status"`
	Subtotal        int64  `json:"subtotal"`
	Total           int64  `json:"total"`
	Type            string `json:"type"`
	VoidedAt        int64  `json:"voided_at,omitempty"`

	Credited int64            `json:"sandbox_credited,omitempty"` // to the customer's balance
	Parts    []CreditNoteLine `json:"sandbox_parts,omitempty"`
}

// CreditNoteLine is a line of a credit note.
type CreditNoteLine struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Amount      int64  `json:"amount"`
	Description string `json:"description,omitempty"`
	InvoiceLine string `json:"invoice_line_item,omitempty"`
	Livemode    bool   `json:"livemode"`
	Quantity    int64  `json:"quantity"`
	Type        string `json:"type"`
}

// Dispute is a charge that the card's owner contests.
type Dispute struct {
	Base
	Amount             int64  `json:"amount"`
	Charge             string `json:"charge"`
	Currency           string `json:"currency"`
	IsChargeRefundable bool   `json:"is_charge_refundable"`
	PaymentIntent      string `json:"payment_intent,omitempty"`
	Reason             string `json:"reason"`
	Status             string `json:"status"`
}

// Product is what is sold.
type Product struct {
	Base
	Active       bool   `json:"active"`
	DefaultPrice string `json:"default_price,omitempty"`
	Description  string `json:"description,omitempty"`
	Name         string `json:"name"`
	Type         string `json:"type"`
	UnitLabel    string `json:"unit_label,omitempty"`
	Updated      int64  `json:"updated"`
	URL          string `json:"url,omitempty"`
}

// Price is what a product costs, in minor units.
type Price struct {
	Base
	Active            bool       `json:"active"`
	BillingScheme     string     `json:"billing_scheme"`
	Currency          string     `json:"currency"`
	LookupKey         string     `json:"lookup_key,omitempty"`
	Nickname          string     `json:"nickname,omitempty"`
	Product           string     `json:"product"`
	Recurring         *Recurring `json:"recurring,omitempty"`
	TaxBehavior       string     `json:"tax_behavior"`
	Type              string     `json:"type"`
	UnitAmount        int64      `json:"unit_amount"`
	UnitAmountDecimal string     `json:"unit_amount_decimal"`
}

// Recurring is how often a price is due.
type Recurring struct {
	Interval      string `json:"interval"`
	IntervalCount int64  `json:"interval_count"`
	UsageType     string `json:"usage_type"`
}

// PortalSession is a visit to the customer portal.
type PortalSession struct {
	Base
	Customer  string `json:"customer"`
	ReturnURL string `json:"return_url,omitempty"`
	URL       string `json:"url"`
}

// Endpoint is where webhooks go.
type Endpoint struct {
	Base
	APIVersion    string   `json:"api_version,omitempty"`
	Description   string   `json:"description,omitempty"`
	EnabledEvents []string `json:"enabled_events"`
	Secret        string   `json:"secret,omitempty"`
	Status        string   `json:"status"`
	URL           string   `json:"url"`
}

// Event says what happened to which object.
type Event struct {
	Base
	APIVersion      string       `json:"api_version"`
	Data            EventData    `json:"data"`
	PendingWebhooks int64        `json:"pending_webhooks"`
	Request         EventRequest `json:"request"`
	Type            string       `json:"type"`
}

// EventData is the object as it was then.
type EventData struct {
	Object snapshot `json:"object"`
}

// EventRequest is the request that caused an event, if one did.
type EventRequest struct {
	ID             string `json:"id,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// snapshot is an object as it was. It is turned into JSON only when somebody
// looks, which most events never see.
type snapshot struct{ value any }

func (s snapshot) MarshalJSON() ([]byte, error) { return json.Marshal(s.value) }

func (s *snapshot) UnmarshalJSON(data []byte) error {
	s.value = json.RawMessage(append([]byte(nil), data...))
	return nil
}

// List is a page of objects.
type List struct {
	Object     string `json:"object"`
	Data       []any  `json:"data"`
	HasMore    bool   `json:"has_more"`
	TotalCount int    `json:"total_count,omitempty"`
	URL        string `json:"url"`
}
