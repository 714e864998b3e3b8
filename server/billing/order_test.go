package billing_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
)

// months is all invoices of a user by month, the void ones left out.
func (w *world) months(user ledger.UserID) []string {
	w.t.Helper()
	var list []string
	for _, ref := range w.ledger.Account(user).User().Invoices {
		i, err := w.ledger.Invoice(ref.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		if i.State == ledger.Void {
			continue
		}
		text := i.Month.String()
		for _, l := range i.Lines {
			text += " " + l.Kind + " " + ledger.FormatMinor(l.Amount, 2)
		}
		if i.Carried != 0 {
			text += " carried " + ledger.FormatMinor(i.Carried, 2)
		}
		list = append(list, text)
	}
	return list
}

func (w *world) run(o billing.RunOptions) billing.Summary {
	w.t.Helper()
	sum, err := w.Run(context.Background(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return sum
}

func (w *world) void(user ledger.UserID, m ledger.Month) {
	w.t.Helper()
	if _, err := w.Void(context.Background(), "test", w.invoice(user, m).ID, "sorry"); err != nil {
		w.t.Fatal(err)
	}
}

// ends moves to when a month is sealed, and works.
func (w *world) ends(m ledger.Month) {
	w.t.Helper()
	w.now = w.ledger.PeriodOf(m).End.Add(time.Hour)
	w.work()
}

// TestMonthsAreBilledInOrder: to bill one month bills those before it first, so
// that none is left out for ever.
func TestMonthsAreBilledInOrder(t *testing.T) {
	w := newWorld(t, nil)
	u := w.user("free")
	w.use(u, w.now, 1010)
	w.now = w.ledger.PeriodOf(january + 2).End.Add(time.Minute)
	o := billing.RunOptions{Month: january + 1, DryRun: true}
	dry := w.run(o)
	o.DryRun = false
	if diff := cmp.Diff(dry, w.run(o)); diff != "" {
		t.Error(diff)
	}
	w.ends(january + 2)
	want := []string{"2025-01 overage 0.10 carried 0.10", "2025-02 carried_in 0.10 carried 0.10", "2025-03 carried_in 0.10 carried 0.10"}
	if diff := cmp.Diff(want, w.months(u)); diff != "" {
		t.Error(diff)
	}
}

// TestReplacementTakesNothingTwice: what a void invoice carried over or adjusted
// is taken up by the next invoice, and not again by its replacement.
func TestReplacementTakesNothingTwice(t *testing.T) {
	w := newWorld(t, nil)
	u := w.user("free")
	w.use(u, w.now, 1010)
	w.ends(january)
	first := w.now
	w.use(u, first, 1100)
	w.use(u, first.Add(-2*time.Hour), 20) // of january
	w.ends(january + 1)
	w.use(u, first, 30) // of february
	w.void(u, january+1)
	w.ends(january + 2)
	w.run(billing.RunOptions{Month: january + 1, Reissue: true})
	want := []string{
		"2025-01 overage 0.10 carried 0.10",
		"2025-03 adjustment 0.20 carried_in 0.10 carried 0.30",
		"2025-02 overage 1.30",
	}
	if diff := cmp.Diff(want, w.months(u)); diff != "" {
		t.Error(diff)
	}
	// What a later invoice has charged for the month is not charged by the
	// replacement, and what the replacement carries is not lost.
	w.use(u, first, 70)
	w.ends(january + 3)
	w.void(u, january+1)
	w.run(billing.RunOptions{Month: january + 1, Reissue: true})
	w.ends(january + 4)
	want = append(want[:2],
		"2025-04 adjustment 0.70 carried_in 0.30",
		"2025-02 overage 2.00 adjustment -0.70",
		"2025-05",
	)
	if diff := cmp.Diff(want, w.months(u)); diff != "" {
		t.Error(diff)
	}
}

// TestReplacementIsCarried: a replacement that is too small to be charged is
// carried to the next invoice although a later month has one already.
func TestReplacementIsCarried(t *testing.T) {
	w := newWorld(t, nil)
	u := w.user("free")
	w.use(u, w.now, 1060)
	w.ends(january)
	w.void(u, january)
	w.ends(january + 1)
	var seq uint64
	if err := w.ledger.UserRecords(context.Background(), u, 0, time.Time{}, time.Time{}, func(r *ledger.Usage) bool { seq = r.Seq; return false }); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20) {
		if err := w.ledger.Correct(w.now, ledger.Correction{Of: seq - n, Now: ledger.Quantities{}, Billed: false}); err != nil {
			t.Fatal(err)
		}
	}
	w.run(billing.RunOptions{Month: january, Reissue: true})
	w.ends(january + 2)
	w.ends(january + 3)
	want := []string{"2025-02", "2025-01 overage 0.40 carried 0.40", "2025-03 carried_in 0.40 carried 0.40", "2025-04 carried_in 0.40 carried 0.40"}
	if diff := cmp.Diff(want, w.months(u)); diff != "" {
		t.Error(diff)
	}
}

// TestReissueIsOfItsMonth: to replace the invoice of one month replaces no other.
func TestReissueIsOfItsMonth(t *testing.T) {
	w := newWorld(t, nil)
	u := w.user("pro")
	w.ends(january)
	w.ends(january + 1)
	w.void(u, january)
	w.void(u, january+1)
	w.run(billing.RunOptions{Month: january + 1, Reissue: true})
	if diff := cmp.Diff([]string{"2025-02 fee 49.00"}, w.months(u)); diff != "" {
		t.Error(diff)
	}
	if i := w.invoice(u, january+1); i.Replaces != 2 || i.Number != 3 {
		t.Errorf("the replacement is %+v", i)
	}
}

// TestSmallestCoin: in currencies whose minor unit cannot be charged each line is
// rounded to what can.
func TestSmallestCoin(t *testing.T) {
	for currency, step := range map[string]int64{"isk": 100, "ugx": 100, "kwd": 10, "usd": 1, "jpy": 1} {
		w := newWorld(t, func(o *billing.Options) { o.Settings.TaxName, o.Settings.TaxPercent = "VAT", 19*ledger.Unit })
		l := ledgertest.New(t, ledger.Options{Now: newYear, TestClock: true, Currency: currency})
		o := w.Options
		o.Ledger, w.ledger, w.now = l, l, newYear.AddDate(0, 0, 6)
		for _, p := range pricing.Shipped() {
			w.publish(ledger.PlanVersion, p.ID, p.Terms)
		}
		route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
		w.route = w.publish(ledger.RouteVersion, route.Pattern, route.Terms)
		var err error
		if w.Billing, err = billing.New(o); err != nil {
			t.Fatal(err)
		}
		u := w.user("pro") // 25/31 of its fee, and overage
		w.use(u, w.now, 50_000)
		i, err := w.Draft(l.Account(u).User(), january)
		if err != nil || len(i.Lines) != 3 {
			t.Fatalf("%s: %+v (%v)", currency, i, err)
		}
		var rated int64
		for _, line := range i.Lines {
			if line.Amount%step != 0 || line.Amount == 0 {
				t.Errorf("%s: a line of %d", currency, line.Amount)
			}
			if line.Kind != ledger.TaxLine {
				rated += line.Amount
			}
		}
		if i.Rated != rated {
			t.Errorf("%s: rated %d, the lines are %d", currency, i.Rated, rated)
		}
	}
}

// TestOneKeepsNobodyBack: an invoice that cannot be written down is told of, and
// those that would have been in the same commit are made.
func TestOneKeepsNobodyBack(t *testing.T) {
	w := newWorld(t, nil)
	big := pricing.Plan{ID: "big", Name: strings.Repeat("x", 600_000), Fee: ledger.Unit, Quota: map[string]int64{"calls": 1}, Overage: map[string]ledger.Amount{"calls": ledger.Unit}, OnExceed: pricing.Bill}
	w.publish(ledger.PlanVersion, big.ID, big.Terms)
	w.now = w.now.Add(time.Millisecond)
	before := w.user("free")
	u := w.user("big")
	w.use(u, w.now, 2)
	after := w.user("enterprise")
	w.now = w.ledger.PeriodOf(january).End.Add(time.Minute)
	sum := w.run(billing.RunOptions{})
	if len(sum.Errors) != 1 || sum.Errors[0].User != u || sum.Failed != 1 {
		t.Errorf("%+v", sum)
	}
	if n := len(w.ledger.Account(u).User().Invoices); n != 0 {
		t.Errorf("the one has %d invoices", n)
	}
	w.invoice(before, january)
	w.invoice(after, january)
}
