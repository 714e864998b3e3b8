package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	AmountCents   int64               `json:"amount_cents" doc:"the sum of the lines, with tax"`
	Time          time.Time           `json:"time" doc:"when it was begun"`
	PaidAt        *time.Time          `json:"paid_at"`
	RefundedCents int64               `json:"refunded_cents"`
	DisputedCents int64               `json:"disputed_cents" doc:"taken back by disputes that are open or lost"`
	OwedCents     int64               `json:"owed_cents" doc:"of what went back, for credits that were burnt"`
	Lines         []ReceiptLine       `json:"lines"`
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
		AmountCents: p.Total, Time: p.Made.UTC(), PaidAt: stamp(p.PaidAt), RefundedCents: p.Refunded, DisputedCents: p.Disputed, OwedCents: p.Owed,
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
