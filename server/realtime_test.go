package server_test

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe/stripetest"
)

// charged says what Stripe has to have charged until now, oldest first.
func (s *till) charged(want ...int64) {
	s.t.Helper()
	var got []int64
	for _, c := range s.stripe.Charges() {
		got = append(got, c.Amount)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("Stripe has charges of %d, want %d", got, want)
	}
}

// coarse is a realtime plan that charges 5.00 at a time.
func coarse() pricing.Plan {
	p := live()
	p.ID, p.Name, p.ChargeThreshold, p.Exposure = "coarse", "Coarse", 500*cent, 2000*cent
	return p
}

// TestUsageIsChargedAsItComes makes calls of a cent a document on plans that charge
// at a threshold: what was charged and what is on the month's one statement are
// together what was used, to the cent.
func TestUsageIsChargedAsItComes(t *testing.T) {
	fee := live()
	fee.ID, fee.Fee = "fee", 31*ledger.Unit
	tax := func(s *shop) {
		s.settings = func(o *billing.Settings) { o.TaxName, o.TaxPercent = "VAT", 19*ledger.Unit }
	}
	yen := func(s *shop) { s.options.Currency = "jpy" }
	for _, c := range []struct {
		name, plan string
		change     func(*shop)
		calls, of  int64 // of so many documents each
		charged    []int64
		state      ledger.InvoiceState
		advance    int64
		asked      int64
		carried    int64
		lines      []string
	}{
		{name: "little", plan: "live", calls: 30, of: 1, state: ledger.Paid, carried: 30, lines: []string{"usage 30"}},
		{name: "to the threshold", plan: "live", calls: 50, of: 1, charged: []int64{50}, state: ledger.Paid, advance: 50, lines: []string{"usage 50"}},
		{name: "beyond the threshold", plan: "live", calls: 80, of: 1, charged: []int64{50}, state: ledger.Paid, advance: 50, carried: 30, lines: []string{"usage 80"}},
		{name: "often", plan: "live", calls: 330, of: 1, charged: []int64{50, 50, 50, 50, 50, 50}, state: ledger.Paid, advance: 300, carried: 30, lines: []string{"usage 330"}},
		{name: "in large calls", plan: "live", calls: 3, of: 70, charged: []int64{70, 70, 70}, state: ledger.Paid, advance: 210, lines: []string{"usage 210"}},
		{name: "a rest that is asked for", plan: "coarse", calls: 58, of: 10, charged: []int64{500, 80}, state: ledger.Paid, advance: 500, asked: 80, lines: []string{"usage 580"}},
		{name: "with a fee", plan: "fee", calls: 80, of: 1, charged: []int64{50, 2230}, state: ledger.Paid, advance: 50, asked: 2230, lines: []string{"fee 2200", "usage 80"}},
		{name: "with tax", plan: "live", change: tax, calls: 80, of: 1, charged: []int64{50}, state: ledger.Paid, advance: 50, carried: 45, lines: []string{"usage 80", "tax 15"}},
		{name: "with tax that is asked for", plan: "coarse", change: tax, calls: 58, of: 10, charged: []int64{500, 190}, state: ledger.Paid, advance: 500, asked: 190, lines: []string{"usage 580", "tax 110"}},
		{name: "in yen", plan: "live", change: yen, calls: 80, of: 1, charged: []int64{50}, state: ledger.Paid, advance: 50, carried: 30, lines: []string{"usage 80"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plans := []pricing.Plan{coarse(), fee}
			if c.change != nil && c.name == "in yen" {
				own := live()
				own.ChargeThreshold, own.Exposure = 50*ledger.Unit, 200*ledger.Unit
				plans = []pricing.Plan{own}
			}
			s := newTill(t, c.change, plans...)
			defer s.close()
			if c.name == "in yen" {
				route := pricing.Route{Pattern: scanned, Price: map[string]ledger.Amount{"documents": ledger.Unit}}
				s.publish(ledger.RouteVersion, route.Pattern, route.Terms)
				own := plans[0]
				s.publish(ledger.PlanVersion, own.ID, own.Terms)
			}
			u := s.account("ada", c.plan, stripetest.CardGood)
			s.calls(u, int(c.calls), c.of)
			s.work()
			s.monthEnds(january)
			i := s.invoiced(u, january, c.state, c.advance, c.asked, c.carried, c.lines...)
			s.charged(c.charged...)
			s.balanced()
			if len(s.user(u).Invoices) != 1 || i.Collected != c.asked {
				t.Errorf("%d statements; %d of %d were collected", len(s.user(u).Invoices), i.Collected, c.asked)
			}
			// What was left of it is on the next one, once.
			s.calls(u, 2, 100)
			s.monthEnds(january + 1)
			next := s.invoice(u, january+1)
			want := c.carried
			for _, l := range next.Lines {
				if l.Kind == ledger.CarriedIn {
					want -= l.Amount
				}
			}
			if want != 0 {
				t.Errorf("of what was carried, %d are missing from %q", want, lines(next))
			}
			if e, err := s.Explain(t.Context(), i); err != nil || len(e.Problems) > 0 {
				t.Errorf("it cannot be explained: %q (%v)", e.Problems, err)
			}
			s.balanced()
		})
	}
}

// TestCheaperThanCharged: a correction makes the month cheaper than what was charged
// of it. The difference is taken off the next invoice.
func TestCheaperThanCharged(t *testing.T) {
	s := newTill(t, nil)
	defer s.close()
	u := s.account("ada", "live", stripetest.CardGood)
	h, refused := s.admit(u, 60)
	if refused != nil {
		t.Fatal(refused)
	}
	seq := s.settle(h, 60)
	s.attended()
	s.charged(60)
	if err := s.ledger.Correct(s.now, ledger.Correction{Of: seq, Now: ledger.Quantities{Documents: 10}, Cost: 10 * cent, Billed: true, Reason: "counted wrongly", By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.calls(u, 20, 1) // 30 in all
	s.work()
	s.monthEnds(january)
	s.invoiced(u, january, ledger.Paid, 60, 0, -30, "usage 30")
	s.calls(u, 30, 4)
	s.charged(60, 52, 52) // of February alone
	s.monthEnds(january + 1)
	s.invoiced(u, january+1, ledger.Paid, 104, 0, -14, "usage 120", "carried_in -30")
	s.monthEnds(january + 2)
	s.invoiced(u, january+2, ledger.Paid, 0, 0, -14, "carried_in -14")
	s.balanced()
}

// TestVoidAndAdvance: what was charged before counts for the replacement of a
// statement, too.
func TestVoidAndAdvance(t *testing.T) {
	s := newTill(t, nil, coarse())
	defer s.close()
	u := s.account("ada", "coarse", stripetest.CardGood)
	s.calls(u, 58, 10)
	s.charged(500)
	s.card(u, stripetest.CardFailsLater)
	s.monthEnds(january)
	i := s.invoiced(u, january, ledger.PastDue, 500, 80, 0, "usage 580")
	if _, err := s.Void(t.Context(), "test", i.ID, "wrong address"); err != nil {
		t.Fatal(err)
	}
	s.balanced()
	s.card(u, stripetest.CardGood)
	if _, err := s.Run(t.Context(), billing.RunOptions{Month: january, Reissue: true}); err != nil {
		t.Fatal(err)
	}
	again := s.invoiced(u, january, ledger.Paid, 500, 80, 0, "usage 580")
	if again.Replaces != i.ID {
		t.Errorf("it replaces invoice %d", again.Replaces)
	}
	s.charged(500, 80)
	s.balanced()
}

// TestPlanChangesWhileUsageIsCharged: a month that begins on a realtime plan and
// ends on another, and the other way round.
func TestPlanChangesWhileUsageIsCharged(t *testing.T) {
	cost := pricing.Plan{ID: "cost", Name: "Cost", ByCost: true, OnExceed: pricing.Bill, Billing: pricing.Monthly}
	for _, c := range []struct {
		from, to string
		charged  []int64
		advance  int64
		asked    int64
	}{
		{"live", "cost", []int64{50, 130}, 50, 130},
		{"cost", "live", []int64{85, 50}, 135, 0}, // with what was used before
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			s := newTill(t, nil, cost)
			defer s.close()
			u := s.account("ada", c.from, stripetest.CardGood)
			s.calls(u, 80, 1)
			s.now = s.now.Add(48 * time.Hour)
			s.plan(u, c.to)
			s.calls(u, 20, 5)
			s.work()
			s.monthEnds(january)
			i := s.invoice(u, january)
			if i.Total != 180 || i.Advance != c.advance || i.Asked() != c.asked && i.Carried == 0 || i.State != ledger.Paid {
				t.Errorf("%q: %+v", lines(i), i)
			}
			s.charged(c.charged...)
			s.balanced()
		})
	}
}

// plan puts a user on another plan at once.
func (s *till) plan(u ledger.UserID, plan string) {
	s.t.Helper()
	if _, err := s.ledger.ChangeUser(s.now, "test", u, func(u *ledger.User) error {
		u.Plans = append(u.Plans, ledger.Assignment{Plan: plan, From: s.now})
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// TestChargeIsDeclined: a card that is declined at the threshold is tried again
// by retry_after, nothing else is charged, and calls pass up to what may be unpaid and
// no further, however many come at once.
func TestChargeIsDeclined(t *testing.T) {
	s := newTill(t, nil)
	defer s.close()
	u := s.account("ada", "live", stripetest.CardFailsLater)
	s.calls(u, 50, 1)
	p := s.last(u)
	if p.State != ledger.PaymentPastDue || p.Attempts != 1 || !p.Next.Equal(s.now.Add(72*time.Hour)) || s.told(u, ledger.PaymentFailed) != 1 || !s.user(u).Owes() {
		t.Fatalf("after a declined charge: %+v", p)
	}
	var all sync.WaitGroup
	var passed atomic.Int64
	for range 16 {
		all.Go(func() {
			for {
				switch refused := s.call(u, 1); {
				case refused == nil:
					passed.Add(1)
				case refused.Status == http.StatusPaymentRequired && refused.Code == admission.PaymentRequired:
					return
				default:
					t.Error(refused)
					return
				}
			}
		})
	}
	all.Wait()
	s.attended()
	if passed.Load() != 150 {
		t.Errorf("%d calls passed, want 150: with the 50 before, 2.00 are unpaid", passed.Load())
	}
	if n := len(s.stripe.Attempts()); n != 1 {
		t.Errorf("there were %d attempts", n)
	}
	for n, wait := range []time.Duration{72 * time.Hour, 120 * time.Hour} {
		s.later(wait - time.Minute)
		if got := len(s.stripe.Attempts()); got != n+1 {
			t.Errorf("a minute before the next attempt there were %d", got)
		}
		s.later(time.Minute)
		if got := len(s.stripe.Attempts()); got != n+2 || s.last(u).Attempts != n+2 {
			t.Errorf("after attempt %d there were %d: %+v", n+2, got, s.last(u))
		}
	}
	if s.told(u, ledger.PaymentFailed) != 1 || len(s.payments(u)) != 1 {
		t.Errorf("%d notices, %d payments", s.told(u, ledger.PaymentFailed), len(s.payments(u)))
	}
	s.charged()
	s.card(u, stripetest.CardGood)
	s.work()
	s.charged(50, 150) // what was tried, and what has come since
	if s.user(u).Owes() {
		t.Errorf("it is owed still: %+v", s.last(u))
	}
	s.calls(u, 10, 1)
	s.monthEnds(january)
	s.invoiced(u, january, ledger.Paid, 200, 0, 10, "usage 210")
	s.balanced()
}

// TestNoCardAtTheThreshold: usage of a customer without a card is owed when it
// reaches the threshold, and charged when a card is there.
func TestNoCardAtTheThreshold(t *testing.T) {
	s := newTill(t, nil)
	defer s.close()
	u := s.account("ada", "live", "")
	s.calls(u, 60, 1)
	if p := s.last(u); p.State != ledger.PaymentPastDue || p.Failure != "no_payment_method" || p.Intent != nil || s.told(u, ledger.PaymentFailed) != 1 {
		t.Errorf("%+v", p)
	}
	s.card(u, stripetest.CardGood)
	s.work()
	s.charged(50)
	s.balanced()
}

// TestChargeThatMustBeConfirmed: nobody is there to confirm it, so that it is not
// tried again; the month's invoice has a page for that.
func TestChargeThatMustBeConfirmed(t *testing.T) {
	s := newTill(t, nil)
	defer s.close()
	u := s.account("ada", "live", stripetest.CardAuthenticate)
	s.calls(u, 60, 1)
	for range 15 {
		s.later(24 * time.Hour)
	}
	if p := s.last(u); p.State != ledger.PaymentPastDue || p.Attempts != 1 || p.Failure != "authentication_required" {
		t.Errorf("%+v", p)
	}
	s.monthEnds(january)
	i := s.invoiced(u, january, ledger.PastDue, 0, 60, 0, "usage 60")
	if p := s.last(u); p.State != ledger.PaymentGivenUp {
		t.Errorf("%+v", p)
	}
	if err := s.stripe.PayInvoice(i.Provider, ""); err != nil {
		t.Fatal(err)
	}
	s.hear(billing.Event{Charge: i.Provider})
	s.invoiced(u, january, ledger.Paid, 0, 60, 0, "usage 60")
	s.charged(60)
	s.balanced()
}

// TestMonthEndsPastDue: what could not be collected until the month's end is on its
// invoice, once, also when the card works again the moment after.
func TestMonthEndsPastDue(t *testing.T) {
	for name, card := range map[string]stripetest.Card{"still declined": stripetest.CardFailsLater, "a new card": stripetest.CardGood} {
		t.Run(name, func(t *testing.T) {
			s := newTill(t, nil)
			defer s.close()
			s.now = s.ledger.PeriodOf(january).End.Add(-time.Hour)
			u := s.account("ada", "live", stripetest.CardFailsLater)
			s.calls(u, 120, 1)
			s.now = s.ledger.PeriodOf(january).End.Add(time.Minute)
			s.work() // the month has ended, and grace runs
			s.card(u, card)
			s.monthEnds(january)
			if p := s.payments(u)[0]; card == stripetest.CardGood {
				// Tried again at once, before the month was sealed, or on the invoice: but once.
				s.balanced()
				if i := s.invoice(u, january); i.Total != 120 || s.money() != 120-i.Carried || s.user(u).Owes() {
					t.Errorf("Stripe has %d; %+v; %+v", s.money(), p, i)
				}
				return
			}
			s.invoiced(u, january, ledger.PastDue, 0, 120, 0, "usage 120")
			if p := s.last(u); p.State != ledger.PaymentGivenUp || p.Intent != nil || !p.Next.IsZero() {
				t.Errorf("%+v", p)
			}
			// What is not paid of the month before counts for what may be unpaid.
			n := 0
			for ; n < 300; n++ {
				if refused := s.call(u, 1); refused != nil {
					if refused.Code != admission.PaymentRequired {
						t.Error(refused)
					}
					break
				}
			}
			if n != 80 {
				t.Errorf("%d calls passed in the next month, want 80: with 1.20 of the month before, 2.00 are unpaid", n)
			}
			s.card(u, stripetest.CardGood)
			s.work()
			s.charged(120, 80)
			if refused := s.call(u, 1); refused != nil {
				t.Errorf("all is paid: %v", refused)
			}
			s.balanced()
		})
	}
}

// TestMonthEndsInDoubt: while it is not known what became of a charge, its month
// is not sealed; then the statement is right.
func TestMonthEndsInDoubt(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   stripetest.FaultKind
		pause   time.Duration
		charged []int64
		advance int64
	}{
		{"it was made", stripetest.CutAfter, time.Hour, []int64{50, 80}, 50},
		{"it was made, and its key is forgotten", stripetest.CutAfter, 30 * time.Hour, []int64{50, 80}, 50},
		{"it was not made", stripetest.CutBefore, time.Hour, []int64{50, 80}, 50},
		{"it was not made, and the key is forgotten", stripetest.CutBefore, 30 * time.Hour, []int64{50, 80}, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTill(t, nil)
			defer s.close()
			s.now = s.ledger.PeriodOf(january).End.Add(-time.Hour)
			u := s.account("ada", "live", stripetest.CardGood)
			s.stripe.Fail(stripetest.Fault{Kind: c.fault, Method: http.MethodPost, Path: "/v1/payment_intents"})
			s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodPost, Path: "/v1/payment_intents", Times: -1})
			s.stripe.Fail(stripetest.Fault{Kind: stripetest.CutBefore, Method: http.MethodGet, Path: "/v1/payment_intents", Times: -1})
			s.calls(u, 50, 1)
			for range 80 {
				if refused := s.call(u, 1); refused != nil {
					t.Fatal(refused)
				}
			}
			s.attended()
			for range 4 {
				s.now = s.now.Add(c.pause)
				if err := s.Work(t.Context()); err != nil && !errors.Is(err, billing.ErrUnknown) {
					t.Fatal(err)
				}
			}
			if _, sealed := s.user(u).InvoiceOf(january); sealed || s.last(u).Intent == nil {
				t.Fatalf("it is sealed: %v; %+v", sealed, s.last(u))
			}
			s.stripe.Up()
			if c.pause > 24*time.Hour {
				s.stripe.ForgetKeys()
			}
			for range 4 {
				s.later(time.Hour)
			}
			s.invoiced(u, january, ledger.Paid, c.advance, 80, 0, "usage 130")
			s.charged(c.charged...)
			s.balanced()
		})
	}
}

// TestDisputedUsage: usage whose charge is disputed is owed again.
func TestDisputedUsage(t *testing.T) {
	begin := func(t *testing.T) (*till, ledger.UserID, string) {
		s := newTill(t, nil)
		t.Cleanup(s.close)
		u := s.account("ada", "live", stripetest.CardGood)
		s.calls(u, 60, 1)
		dispute, err := s.stripe.Dispute(s.last(u).Provider, "fraudulent")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s.hear(billing.Event{Receipt: s.last(u).Provider})
		}
		if p := s.last(u); p.Owed != 50 || p.Disputed != 50 || s.user(u).SuspendedFor != "payment" || s.told(u, ledger.TakenBack) != 1 {
			t.Fatalf("the user is %s for %q: %+v", s.user(u).Status, s.user(u).SuspendedFor, p)
		}
		if refused := s.call(u, 1); refused == nil || refused.Code != admission.AccountSuspended {
			t.Errorf("a call: %v", refused)
		}
		s.balanced()
		return s, u, dispute
	}
	t.Run("lost", func(t *testing.T) {
		s, u, dispute := begin(t)
		if err := s.stripe.CloseDispute(dispute, false); err != nil {
			t.Fatal(err)
		}
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.monthEnds(january)
		s.invoiced(u, january, ledger.Paid, 50, 60, 0, "usage 60", "carried_in 50")
		if s.user(u).Status != ledger.Active || s.last(u).Owed != 0 || s.last(u).AskedIn == 0 {
			t.Errorf("the user is %s: %+v", s.user(u).Status, s.last(u))
		}
		s.charged(50, 60)
		s.balanced()
		if refused := s.call(u, 1); refused != nil {
			t.Errorf("a call: %v", refused)
		}
		s.monthEnds(january + 1)
		s.invoiced(u, january+1, ledger.Paid, 0, 0, 1, "usage 1")
	})
	t.Run("won", func(t *testing.T) {
		s, u, dispute := begin(t)
		if err := s.stripe.CloseDispute(dispute, true); err != nil {
			t.Fatal(err)
		}
		if err := s.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := s.last(u); p.Owed != 0 || p.Disputed != 0 || s.user(u).Status != ledger.Active {
			t.Errorf("the user is %s: %+v", s.user(u).Status, p)
		}
		s.monthEnds(january)
		s.invoiced(u, january, ledger.Paid, 50, 0, 10, "usage 60")
		s.balanced()
	})
	t.Run("lost, and the invoice is not paid", func(t *testing.T) {
		s, u, _ := begin(t)
		s.card(u, stripetest.CardFailsLater)
		s.monthEnds(january)
		if i := s.invoiced(u, january, ledger.PastDue, 50, 60, 0, "usage 60", "carried_in 50"); s.user(u).Status != ledger.Suspended {
			t.Errorf("the user is %s: %+v", s.user(u).Status, i)
		}
		s.card(u, stripetest.CardGood)
		s.work()
		if s.user(u).Status != ledger.Active {
			t.Errorf("the user is %s", s.user(u).Status)
		}
		s.charged(50, 60)
		s.balanced()
	})
	t.Run("settled otherwise", func(t *testing.T) {
		s, u, _ := begin(t)
		if _, err := s.SettlePayment("test", u, s.last(u).ID, "transfer 7"); err != nil {
			t.Fatal(err)
		}
		if p := s.last(u); p.Owed != 0 || p.PaidBy != "transfer 7" || s.user(u).Status != ledger.Active {
			t.Errorf("the user is %s: %+v", s.user(u).Status, p)
		}
		if _, err := s.SettlePayment("test", u, s.last(u).ID, "transfer 8"); !errors.Is(err, billing.ErrNotNow) {
			t.Errorf("twice: %v", err)
		}
		s.monthEnds(january)
		s.invoiced(u, january, ledger.Paid, 50, 0, 10, "usage 60")
	})
}
