package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// Purchase is a credit pack that was bought, as its receipt says it: by the customer
// on the payment provider's page, or by itself where credits ran low. Amounts are
// minor units.
type Purchase struct {
	ID            ledger.PaymentID    `json:"id"`
	Receipt       *string             `json:"receipt" doc:"number of the receipt, such as R-000012; null while it is not paid"`
	Kind          ledger.PaymentKind  `json:"kind" doc:"purchase, or recharge where it was bought automatically"`
	State         ledger.PaymentState `json:"state" doc:"pending, paid or failed; paid also where it was given back since"`
	Pack          string              `json:"pack,omitempty" doc:"id of the credit pack"`
	Credits       Credits             `json:"credits"`
	Currency      string              `json:"currency"`
	AmountCents   int64               `json:"amount_cents" doc:"the sum of the lines, with tax"`
	Time          time.Time           `json:"time" doc:"when it was begun"`
	PaidAt        *time.Time          `json:"paid_at"`
	RefundedCents int64               `json:"refunded_cents"`
	DisputedCents int64               `json:"disputed_cents" doc:"taken back by disputes that are open or lost"`
	OwedCents     int64               `json:"owed_cents" doc:"of what went back, for credits that were burnt"`
	Lines         []ReceiptLine       `json:"lines"`
}

// Name is what people call a payment by: the receipt, or the payment where there is
// none.
func (p Purchase) Name() string {
	if p.Receipt != nil {
		return "receipt " + *p.Receipt
	}
	return fmt.Sprintf("payment %d", p.ID)
}

// StateText is the state with what became of the money since, for people: "paid, 3.00
// owed, 12.00 given back".
func (p Purchase) StateText() string {
	digits, err := ledger.MinorDigits(p.Currency)
	if err != nil {
		digits = 2 // a currency that this program does not know yet
	}
	words := []string{string(p.State)}
	for _, since := range []struct {
		cents int64
		word  string
	}{{p.OwedCents, "owed"}, {p.RefundedCents, "given back"}, {p.DisputedCents, "disputed"}} {
		if since.cents != 0 {
			words = append(words, Minor(since.cents, digits)+" "+since.word)
		}
	}
	return strings.Join(words, ", ")
}

// ReceiptLine is a line of a receipt.
type ReceiptLine struct {
	Kind        string `json:"kind" doc:"credits, usage or tax"`
	Description string `json:"description"`
	AmountCents int64  `json:"amount_cents"`
}

// mostPurchases is how many purchases are shown beside the credits.
const mostPurchases = 50

func (s *service) purchase(p *ledger.Payment) Purchase {
	view := Purchase{
		ID: p.ID, Receipt: optionalText(p.ReceiptText()), Kind: p.Kind, State: p.State, Pack: p.Pack, Credits: Credits(p.Credits),
		Currency: s.currency, AmountCents: p.Total, Time: p.Made.UTC(), PaidAt: stamp(p.PaidAt), RefundedCents: p.Refunded, DisputedCents: p.Disputed, OwedCents: p.Owed,
		Lines: []ReceiptLine{},
	}
	for _, l := range p.Lines {
		view.Lines = append(view.Lines, ReceiptLine{l.Kind, l.Description, l.Amount})
	}
	return view
}

// purchases is the newest credit packs that a user has bought.
func (s *service) purchases(u *ledger.User) ([]Purchase, error) {
	list := []Purchase{}
	for _, ref := range slices.Backward(u.Payments) {
		if !ref.Kind.Buys() {
			continue
		}
		if len(list) == mostPurchases {
			break
		}
		p, err := s.Ledger.Payment(u.ID, ref.ID)
		if err != nil {
			return nil, fmt.Errorf("reading payment %d: %w", ref.ID, err)
		}
		list = append(list, s.purchase(p))
	}
	return list, nil
}

// buyPack answers with the payment provider's page where the caller pays for a
// credit pack. It is open to suspended users: having paid may be what lets them
// call again.
func (s *service) buyPack(r *request, ask BuyPack) (Checkout, error) {
	b, err := s.billing()
	if err != nil {
		return Checkout{}, err
	}
	if r.caller.User.Status == ledger.Closed {
		return Checkout{}, admission.NewRefusal(admission.AccountClosed, "The account is closed; it can buy no more credits.")
	}
	url, err := b.Buy(r.Context(), r.by, r.caller.User.ID, ask.Pack)
	var known *BillingError
	switch {
	case errors.As(err, &known) && known.Code == UnknownPack:
		return Checkout{}, s.unknownPack(ask.Pack)
	case err != nil:
		return Checkout{}, s.forCustomer(r, err)
	}
	s.Log.Info("a purchase was begun", "user", r.caller.User.ID, "pack", ask.Pack, "by", r.by)
	return Checkout{url}, nil
}

func (s *service) unknownPack(id string) error {
	var ids []string
	for _, p := range s.Settings().Packs {
		ids = append(ids, p.ID)
	}
	if len(ids) == 0 {
		return refusal(http.StatusBadRequest, string(UnknownPack), "There is no credit pack %q; none are sold here.", id)
	}
	return refusal(http.StatusBadRequest, string(UnknownPack), "There is no credit pack %q; there are %s.", id, strings.Join(ids, ", "))
}

// Payment is a payment that is not an invoice's, as the operator sees it: a purchase
// of credits, or usage that was charged while it was used.
type Payment struct {
	Purchase
	User            ledger.UserID     `json:"user"`
	Email           string            `json:"email"`
	Month           string            `json:"month" doc:"in which it was begun; realtime: whose usage it charges"`
	Expires         *time.Time        `json:"expires" doc:"of the credits; null: never"`
	ReturnableCents int64             `json:"returnable_cents" doc:"what can still be given back"`
	AskedIn         *ledger.InvoiceID `json:"asked_in" doc:"the invoice that asks for what was owed; null: none yet"`
	PaidBy          string            `json:"paid_by,omitempty" doc:"reference of a payment, outside the provider, of what was owed"`
	UnderWay        string            `json:"under_way,omitempty" doc:"a step at the provider whose outcome is not known yet: page, collect or return"`
	Reason          string            `json:"reason,omitempty" doc:"why it was not collected"`
	Attempts        int               `json:"attempts" doc:"to collect it, that failed"`
	Failed          *time.Time        `json:"failed" doc:"the last attempt"`
	NextRetry       *time.Time        `json:"next_retry" doc:"null: none is due"`
	ProviderID      *string           `json:"provider_id"`
	HostedURL       *string           `json:"hosted_url" doc:"the provider's page, while it waits for the customer"`
}

// PaymentsPage is a page of payments, newest first.
type PaymentsPage struct {
	Payments   []Payment `json:"payments"`
	NextCursor *string   `json:"next_cursor" doc:"null on the last page"`
}

// PaymentsQuery says which payments to list. Zero values ask for all.
type PaymentsQuery struct {
	User  string // an id or an e-mail address
	Month string // such as "2025-01"
	State string // pending, paid, past_due or failed; owed: of what went back, something is owed
}

// OwedState asks for payments of which something is owed because it went back. The
// other states are those of [ledger.PaymentState].
const OwedState = "owed"

// PaymentStates is what a [PaymentsQuery] can ask for.
func PaymentStates() []string {
	return []string{string(ledger.PaymentPending), string(ledger.PaymentPaid), string(ledger.PaymentPastDue), string(ledger.PaymentGivenUp), OwedState}
}

// RefundPayment asks to give money of a payment back, and takes what is left of its
// credits with it.
type RefundPayment struct {
	Amount *ledger.Amount `json:"amount,omitempty"` // all of it unless given
	Reason string         `json:"reason"`
}

// SettlePayment notes that what was owed of a payment that went back was paid.
type SettlePayment struct {
	Reference string `json:"reference"`
}

func (s *service) paymentEndpoints() []endpoint {
	page := []param{{name: "user"}, monthParam, {name: "state"}, limitParam, cursorParam}
	return []endpoint{
		answers(endpoint{method: "GET", path: "/v1/payments", params: page}, s.getPayments),
		answers(endpoint{method: "GET", path: "/v1/users/{user}/payments", params: page[1:]}, s.getPayments),
		takes(endpoint{method: "POST", path: "/v1/users/{user}/payments/{id}/refund"}, s.refundPayment),
		takes(endpoint{method: "POST", path: "/v1/users/{user}/payments/{id}/settle"}, s.settlePayment),
	}
}

func (s *service) payment(p *ledger.Payment) Payment {
	view := Payment{
		Purchase: s.purchase(p), User: p.User, Email: s.email(p.User), Month: p.Month.String(), Expires: stamp(p.Expires),
		PaidBy: p.PaidBy, Reason: p.Failure, Attempts: p.Attempts, Failed: stamp(p.Failed), ProviderID: optionalText(p.Provider), HostedURL: optionalText(p.URL),
	}
	if p.State == ledger.PaymentPaid {
		view.ReturnableCents = p.Total - p.Back()
	}
	if p.AskedIn != 0 {
		view.AskedIn = &p.AskedIn
	}
	if p.Intent != nil {
		view.UnderWay = p.Intent.Op
	}
	if p.Kind == ledger.RealtimePayment || p.State != ledger.PaymentPending {
		view.NextRetry = stamp(p.Next) // of a page it is when it is looked at
	}
	return view
}

// getPayments lists payments, of everybody or of the user in the path, newest first.
func (s *service) getPayments(r *request) (PaymentsPage, error) {
	page := PaymentsPage{Payments: []Payment{}}
	before, limit, err := r.page()
	if err != nil {
		return page, err
	}
	var month ledger.Month
	if r.param("month") != "" {
		if month, err = s.month(r); err != nil {
			return page, err
		}
	}
	name := r.PathValue("user")
	if name == "" {
		name = r.param("user")
	}
	var user *ledger.User
	if name != "" {
		if user, err = s.userNamed(name); err != nil {
			return page, err
		}
	}
	state := r.param("state")
	if state != "" && !slices.Contains(PaymentStates(), state) {
		return page, badParameter("The state is %q; there are %s.", state, strings.Join(PaymentStates(), ", "))
	}
	var list []paymentFound
	collect := func(u *ledger.User) {
		for _, ref := range u.Payments {
			fits := state == "" || state == string(ref.State) || state == OwedState && ref.Owed != 0
			if fits && (before == 0 || uint64(ref.ID) < before) && (month == 0 || ref.Month == month) {
				list = append(list, paymentFound{u.ID, ref.ID})
			}
		}
	}
	if user != nil {
		collect(user)
	} else {
		for a := range s.Ledger.Accounts(0) {
			collect(a.User())
		}
	}
	slices.SortFunc(list, func(a, b paymentFound) int { return cmp.Compare(b.id, a.id) })
	for n, f := range list {
		if n == limit {
			page.NextCursor = cursorText(uint64(list[n-1].id))
			break
		}
		p, err := s.Ledger.Payment(f.user, f.id)
		if err != nil {
			return page, fmt.Errorf("reading payment %d: %w", f.id, err)
		}
		page.Payments = append(page.Payments, s.payment(p))
	}
	return page, nil
}

// paymentNamed finds a payment of a user by the id or the receipt's number in the
// path.
func (s *service) paymentNamed(r *request) (*ledger.Payment, error) {
	u, err := s.userOf(r)
	if err != nil {
		return nil, err
	}
	text := r.PathValue("id")
	if id, err := strconv.ParseUint(text, 10, 64); err == nil {
		p, err := s.Ledger.Payment(u.ID, ledger.PaymentID(id))
		if err == nil || !errors.Is(err, ledger.ErrNotFound) {
			return p, err
		}
	} else if strings.HasPrefix(text, "R-") {
		for _, ref := range u.Payments {
			if ref.State != ledger.PaymentPaid {
				continue
			}
			p, err := s.Ledger.Payment(u.ID, ref.ID)
			if err != nil || p.ReceiptText() == text {
				return p, err
			}
		}
	}
	return nil, refusal(http.StatusNotFound, "payment_not_found", "User %d has no payment %q; give an id or a receipt's number of: tollgate credits show %d", u.ID, text, u.ID)
}

// refundPayment gives money of a payment back.
func (s *service) refundPayment(r *request, ask RefundPayment) (Payment, error) {
	b, err := s.billing()
	if err != nil {
		return Payment{}, err
	}
	p, err := s.paymentNamed(r)
	if err != nil {
		return Payment{}, err
	}
	amount := p.Total - p.Back()
	if ask.Amount != nil {
		if amount, err = s.wholeCents(*ask.Amount); err != nil {
			return Payment{}, err
		}
	}
	if ask.Reason == "" {
		return Payment{}, badField("reason", "it is missing")
	}
	if err := checkText("reason", ask.Reason); err != nil {
		return Payment{}, err
	}
	changed, err := b.ReturnPayment(r.Context(), r.by, p.User, p.ID, amount, ask.Reason)
	if err != nil {
		return Payment{}, workFailed(err)
	}
	s.Log.Info("payment given back", "payment", p.ID, "user", p.User, "amount", amount, "by", r.by)
	return s.payment(changed), nil
}

// settlePayment notes that what was owed of a payment was paid elsewhere.
func (s *service) settlePayment(r *request, ask SettlePayment) (Payment, error) {
	b, err := s.billing()
	if err != nil {
		return Payment{}, err
	}
	p, err := s.paymentNamed(r)
	if err != nil {
		return Payment{}, err
	}
	if ask.Reference == "" {
		return Payment{}, badField("reference", "it is missing")
	}
	if err := checkText("reference", ask.Reference); err != nil {
		return Payment{}, err
	}
	changed, err := b.SettlePayment(r.by, p.User, p.ID, ask.Reference)
	if err != nil {
		return Payment{}, workFailed(err)
	}
	s.Log.Info("what a payment owed was paid", "payment", p.ID, "user", p.User, "reference", ask.Reference, "by", r.by)
	return s.payment(changed), nil
}

// wholeCents is an amount above 0 in minor units; one with more decimals is refused.
func (s *service) wholeCents(a ledger.Amount) (int64, error) {
	if a <= 0 {
		return 0, badField("amount", "it is more than 0")
	}
	cents := s.cents(a)
	if whole, err := ledger.FromMinor(cents, s.digits); err != nil || whole != a {
		return 0, badField("amount", "%s has more than the %d decimals of %s", strings.TrimRight(a.String(), "0"), s.digits, s.currency)
	}
	return cents, nil
}

// Payments is a page of payments, newest first; cursor "" is the first page, limit 0
// the server's default.
func (c *Client) Payments(ctx context.Context, q PaymentsQuery, cursor string, limit int) (PaymentsPage, error) {
	values := url.Values{"user": {q.User}, "month": {q.Month}, "state": {q.State}}
	return call[PaymentsPage](ctx, c, "GET", "/v1/payments"+pageQuery(values, cursor, limit), nil)
}

// EachPayment walks all payments, newest first.
func (c *Client) EachPayment(ctx context.Context, q PaymentsQuery, each func(Payment) error) error {
	for cursor := ""; ; {
		page, err := c.Payments(ctx, q, cursor, maxPage)
		if err != nil {
			return err
		}
		for _, p := range page.Payments {
			if err := each(p); err != nil {
				return err
			}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = *page.NextCursor
	}
}

// RefundPayment gives money of a user's payment back; payment is its id or its
// receipt's number.
func (c *Client) RefundPayment(ctx context.Context, user, payment string, ask RefundPayment) (Payment, error) {
	return call[Payment](ctx, c, "POST", paymentPath(user, payment, "/refund"), ask)
}

// SettlePayment notes that what was owed of a user's payment was paid.
func (c *Client) SettlePayment(ctx context.Context, user, payment string, ask SettlePayment) (Payment, error) {
	return call[Payment](ctx, c, "POST", paymentPath(user, payment, "/settle"), ask)
}

func paymentPath(user, payment, rest string) string {
	return userPath(user, "/payments/"+url.PathEscape(payment)+rest)
}
