package api

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
)

// paymentsStand is how the payments of all users stand that are no invoice's. It is
// made of what is in memory of them.
type paymentsStand struct {
	open    ledger.Month
	lately  ledger.Month // of notices; those of earlier months were seen
	states  map[paymentsOf]PaymentsState
	failing []paymentFound

	undelivered Undelivered
	newest      ledger.NoticeID // of them
}

type paymentsOf struct {
	kind  ledger.PaymentKind
	state string
}

type paymentFound struct {
	user ledger.UserID
	id   ledger.PaymentID
}

func newPaymentsStand(open ledger.Period, now time.Time) *paymentsStand {
	p := &paymentsStand{open: open.Month, lately: open.Month, states: map[paymentsOf]PaymentsState{}}
	if now.Before(open.Start.AddDate(0, 0, 7)) { // it takes days until one is given up
		p.lately--
	}
	return p
}

func (p *paymentsStand) add(u *ledger.User) {
	for _, ref := range u.Payments {
		if ref.Month == p.open || ref.State == ledger.PaymentPastDue {
			p.count(ref.Kind, string(ref.State), ref.Total)
		}
		if ref.Owed != 0 {
			p.count(ref.Kind, OwedState, ref.Owed)
		}
		// Of a page that nobody paid on nothing is to be done.
		lost := ref.State == ledger.PaymentGivenUp && ref.Kind != ledger.PurchasePayment && ref.Month == p.open
		if ref.State == ledger.PaymentPastDue || ref.Owed != 0 || lost {
			p.failing = append(p.failing, paymentFound{u.ID, ref.ID})
		}
	}
	for _, ref := range u.Notices {
		if ref.GivenUp && ref.Month >= p.lately {
			p.undelivered.Count++
			if ref.ID > p.newest {
				p.newest, p.undelivered.User = ref.ID, u.ID
			}
		}
	}
}

func (p *paymentsStand) count(kind ledger.PaymentKind, state string, cents int64) {
	of := paymentsOf{kind, state}
	sum := p.states[of]
	p.states[of] = PaymentsState{kind, state, sum.Count + 1, sum.AmountCents + cents}
}

// addPayments adds to the status how payments stand, and reads the newest of those
// that failed.
func (s *service) addPayments(status *BillStatus, p *paymentsStand) error {
	for _, kind := range []ledger.PaymentKind{ledger.PurchasePayment, ledger.RechargePayment, ledger.RealtimePayment} {
		for _, state := range PaymentStates() {
			if sum, ok := p.states[paymentsOf{kind, state}]; ok {
				status.Payments = append(status.Payments, sum)
			}
		}
	}
	if p.undelivered.Count > 0 {
		status.Undelivered = &p.undelivered
	}
	slices.SortFunc(p.failing, func(a, b paymentFound) int { return cmp.Compare(b.id, a.id) })
	for n, found := range p.failing {
		if n == maxPage {
			status.MorePaymentFailures = len(p.failing) - n
			return nil
		}
		payment, err := s.Ledger.Payment(found.user, found.id)
		if err != nil {
			return fmt.Errorf("reading payment %d: %w", found.id, err)
		}
		status.PaymentFailures = append(status.PaymentFailures, s.payment(payment))
	}
	return nil
}
