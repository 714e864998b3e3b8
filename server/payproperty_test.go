package server_test

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe/stripetest"
)

// lot is credits that came together.
type lot struct {
	source       ledger.Source
	amount, left ledger.Amount
	taken        ledger.Amount // expired, or gone with their money
	expires      time.Time
	born         uint64 // entry; of those that came back it only has to be later
}

// deal is a payment for credits, as its customer sees it. A credit is a cent.
type deal struct {
	total, back, asked, owed int64
	expires                  time.Time
	gone                     ledger.Amount // with its money, less what came back
	lots                     []*lot
}

// wallet is a customer's credits, told in the plainest way.
type wallet struct {
	user    ledger.UserID
	lots    []*lot // in the order in which they are burnt
	deals   map[string]*deal
	burnt   ledger.Amount
	planned ledger.Month // for which the plan has given credits
	plan    *lot
}

func (w *wallet) add(l *lot) *lot {
	l.left = l.amount
	w.lots = append(w.lots, l)
	order := []ledger.Source{ledger.PlanCredits, ledger.Adjustment, ledger.Purchase}
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	until := func(l *lot) time.Time {
		if l.expires.IsZero() {
			return far
		}
		return l.expires
	}
	slices.SortStableFunc(w.lots, func(a, b *lot) int {
		return cmp.Or(until(a).Compare(until(b)), cmp.Compare(slices.Index(order, a.source), slices.Index(order, b.source)), cmp.Compare(a.born, b.born))
	})
	return l
}

func (l *lot) ended(now time.Time) bool { return !l.expires.IsZero() && !l.expires.After(now) }

func (w *wallet) balance(now time.Time) (sum ledger.Amount) {
	for _, l := range w.lots {
		if !l.ended(now) {
			sum += l.left
		}
	}
	return sum
}

func (w *wallet) burn(now time.Time, n ledger.Amount) {
	w.burnt += n
	for _, l := range w.lots {
		if !l.ended(now) {
			part := min(n, l.left)
			l.left -= part
			n -= part
		}
	}
}

func (w *wallet) expire(now time.Time) {
	for _, l := range w.lots {
		if l.ended(now) {
			l.taken += l.left
			l.left = 0
		}
	}
}

// give is what a plan gives of 1,000 credits a month, 500 of which roll over.
func (w *wallet) give(p ledger.Period, born uint64) {
	if w.planned == p.Month {
		return
	}
	amount := 1000 * credit
	if w.plan != nil {
		left := min(w.plan.taken, 500*credit)
		for m := w.planned + 1; m < p.Month; m++ {
			left = min(left+1000*credit, 500*credit)
		}
		amount += left
	}
	w.planned, w.plan = p.Month, w.add(&lot{source: ledger.PlanCredits, amount: amount, expires: p.End.UTC(), born: born})
}

// goes has so much of a deal's money gone back, and its credits with it.
func (w *wallet) goes(d *deal, back int64, now time.Time, born uint64) {
	d.back = back
	due := ledger.Amount(back-d.asked) * credit
	var burnt ledger.Amount
	for _, l := range d.lots {
		burnt += l.amount - l.left - l.taken
	}
	for _, l := range d.lots {
		if part := min(l.left, due-d.gone); part > 0 {
			l.left -= part
			l.taken += part
			d.gone += part
		}
	}
	if d.gone > due && (d.expires.IsZero() || d.expires.After(now)) {
		d.lots = append(d.lots, w.add(&lot{source: ledger.Adjustment, amount: d.gone - due, expires: d.expires, born: born}))
		d.gone = due
	}
	d.owed = max(0, int64(min(due-d.gone, burnt)/credit))
}

// clone copies all that can change.
func (w *wallet) clone() *wallet {
	own := *w
	copies := map[*lot]*lot{nil: nil}
	own.lots = nil
	for _, l := range w.lots {
		v := *l
		copies[l] = &v
		own.lots = append(own.lots, &v)
	}
	own.plan, own.deals = copies[w.plan], map[string]*deal{}
	for id, d := range w.deals {
		v := *d
		v.lots = nil
		for _, l := range d.lots {
			v.lots = append(v.lots, copies[l])
		}
		own.deals[id] = &v
	}
	return &own
}

// world is a till, and wallets that have to agree with it.
type world struct {
	*till
	rt       *rapid.T
	wallets  []*wallet
	disputed map[string]string // open disputes, by the payment's id at Stripe
	pages    []string          // that nobody has paid on yet
	saved    struct {
		path    string
		wallets []*wallet
	}
}

func newWorld(t *testing.T, rt *rapid.T) *world {
	refilled, given := prepaid(), giving("giving", 1000, 500)
	refilled.ID, refilled.Recharge = "refilled", &pricing.Recharge{Below: 500, Pack: "5k", PerDay: 2}
	w := &world{rt: rt, disputed: map[string]string{}}
	w.till = newTill(t, func(s *shop) {
		s.options.Zone = "Europe/Berlin"
		s.settings = func(o *billing.Settings) {
			o.Packs = []billing.Pack{{ID: "5k", Credits: 5000 * credit, Price: 50 * ledger.Unit}, {ID: "1k", Credits: 1000 * credit, Price: 10 * ledger.Unit, Expires: 20 * 24 * time.Hour}}
		}
	}, refilled, given)
	for _, plan := range []string{"refilled", "giving"} {
		u := w.account(plan, plan, stripetest.CardGood)
		w.wallets = append(w.wallets, &wallet{user: u, deals: map[string]*deal{}})
	}
	w.give()
	return w
}

// calm lets errors pass of which the outcome is not known.
func (w *world) calm(err error) {
	var refused *billing.Rejection
	if err != nil && !errors.Is(err, billing.ErrUnknown) && !errors.As(err, &refused) && !errors.Is(err, billing.ErrNotNow) {
		w.rt.Fatal(err)
	}
}

func (w *world) wallet() *wallet { return rapid.SampledFrom(w.wallets).Draw(w.rt, "customer") }

// deal draws a payment of a customer that was paid.
func (w *world) deal(wallet *wallet) *ledger.Payment {
	var list []*ledger.Payment
	for _, p := range w.payments(wallet.user) {
		if p.State == ledger.PaymentPaid {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		w.rt.Skip("nothing was paid")
	}
	return rapid.SampledFrom(list).Draw(w.rt, "payment")
}

// learn takes over what the ledger has heard of payments, which is held against
// Stripe at the end, and tells what the credits have to be.
func (w *world) learn() {
	for _, v := range w.wallets {
		refs := slices.Clone(w.user(v.user).Payments)
		slices.SortFunc(refs, func(a, b ledger.PaymentRef) int { return cmp.Compare(a.Grant, b.Grant) })
		for _, ref := range refs {
			if ref.State != ledger.PaymentPaid {
				continue
			}
			p, err := w.ledger.Payment(v.user, ref.ID)
			if err != nil {
				w.rt.Fatal(err)
			}
			d := v.deals[p.Provider]
			if d == nil {
				d = &deal{total: p.Total, expires: p.Expires}
				d.lots = []*lot{v.add(&lot{source: ledger.Purchase, amount: p.Credits, expires: p.Expires, born: ref.Grant})}
				v.deals[p.Provider] = d
			}
			back := p.Refunded + p.Disputed
			if p.Asked != d.asked {
				if p.Asked != d.asked+d.owed { // it went back before it was asked for
					v.goes(d, back, w.now, w.ledger.LastSeq())
				}
				if p.Asked != d.asked+d.owed {
					w.rt.Fatalf("an invoice asks for %d, and %d were owed: %+v", p.Asked-d.asked, d.owed, p)
				}
				d.asked, d.owed = p.Asked, 0
			}
			if back != d.back {
				v.goes(d, back, w.now, w.ledger.LastSeq())
			}
			if p.Owed != d.owed {
				w.rt.Fatalf("%d are owed, want %d: %+v", p.Owed, d.owed, p)
			}
		}
	}
}

// check holds balances, what became of all credits, and standings.
func (w *world) check(rt *rapid.T) {
	for _, v := range w.wallets {
		var granted, left, taken ledger.Amount
		for _, l := range v.lots {
			granted, left, taken = granted+l.amount, left+l.left, taken+l.taken
		}
		a := w.ledger.Account(v.user)
		a.Lock()
		sums, balance := a.CreditSums(), a.Balance(w.now)
		a.Unlock()
		want := ledger.CreditSums{Granted: granted, Burnt: v.burnt, Taken: taken}
		if sums != want || granted-v.burnt-taken != left || balance != v.balance(w.now) || balance < 0 {
			rt.Fatalf("user %d at %s has %v credits of %+v, want %v of %+v", v.user, w.now, balance, sums, v.balance(w.now), want)
		}
		owes := slices.ContainsFunc(slices.Collect(maps.Values(v.deals)), func(d *deal) bool { return d.owed > 0 })
		if u := w.ledger.Account(v.user).User(); owes && !u.Reversed() {
			rt.Fatalf("user %d owes, and nothing says so", v.user)
		}
	}
	var sum int64
	for _, amount := range w.ledger.Books() {
		sum += amount
	}
	if sum != 0 {
		rt.Fatalf("the books: %v", w.ledger.Books())
	}
}

func (w *world) give() {
	if err := w.gate.ExpireCredits(w.t.Context(), w.now); err != nil {
		w.rt.Fatal(err)
	}
	for _, v := range w.wallets {
		v.expire(w.now)
	}
	w.calm(w.GrantPlans(w.t.Context()))
	for _, v := range w.wallets {
		if w.user(v.user).PlanAt(w.now).Plan == "giving" {
			v.give(w.ledger.PeriodAt(w.now), w.ledger.LastSeq())
		}
	}
}

// passes lets time pass and does what the schedule does. Events are asked for so
// often that none is missed by a start.
func (w *world) passes(d time.Duration) {
	w.hears()
	for range 5 {
		err := w.Poll(w.t.Context())
		w.calm(err)
		w.learn()
		if err == nil {
			break
		}
	}
	w.now = w.now.Add(d)
	w.calm(w.Work(w.t.Context()))
	w.learn()
	w.give()
}

// hears looks at each payment anew, one after the other.
func (w *world) hears() {
	for _, v := range w.wallets {
		for _, p := range w.payments(v.user) {
			if p.Provider != "" {
				w.calm(w.Observe(w.t.Context(), billing.Event{Receipt: p.Provider}))
				w.learn()
			}
		}
	}
}

func (w *world) charge(p *ledger.Payment) (stripetest.Charge, bool) {
	intent := p.Provider
	for _, s := range w.stripe.Sessions() {
		if s.ID == p.Provider {
			intent = s.PaymentIntent
		}
	}
	for _, c := range w.stripe.Charges() {
		if c.PaymentIntent == intent {
			return c, true
		}
	}
	return stripetest.Charge{}, false
}

func (w *world) actions() map[string]func(*rapid.T) {
	do := func(act func()) func(*rapid.T) {
		return func(rt *rapid.T) {
			w.rt = rt
			act()
		}
	}
	return map[string]func(*rapid.T){
		"": w.check,
		"buy": do(func() {
			if _, err := w.Buy(w.t.Context(), "test", w.wallet().user, rapid.SampledFrom([]string{"5k", "1k"}).Draw(w.rt, "pack")); err != nil {
				w.calm(err)
			}
			w.pages = nil
			for _, s := range w.stripe.Sessions() {
				if s.Mode == "payment" && s.Status == "open" {
					w.pages = append(w.pages, s.ID)
				}
			}
		}),
		"pay on a page": do(func() {
			if len(w.pages) == 0 {
				w.rt.Skip("there is none")
			}
			page := rapid.SampledFrom(w.pages).Draw(w.rt, "page")
			_, err := w.stripe.CompleteCheckout(page, rapid.SampledFrom([]stripetest.Card{stripetest.CardGood, stripetest.CardGood, stripetest.CardDeclined}).Draw(w.rt, "card"))
			if err == nil && rapid.Bool().Draw(w.rt, "a webhook comes") {
				w.calm(w.Observe(w.t.Context(), billing.Event{Receipt: page}))
				w.learn()
			}
		}),
		"call": do(func() {
			v := w.wallet()
			n := rapid.SampledFrom([]int64{1, 30, 700, 2500}).Draw(w.rt, "documents")
			balance, active := v.balance(w.now), w.user(v.user).Status == ledger.Active
			refused := w.call(v.user, n)
			switch {
			case refused == nil && active && balance >= ledger.Amount(n)*credit:
				v.burn(w.now, ledger.Amount(n)*credit)
			case refused != nil && !active && refused.Code == admission.AccountSuspended:
			case refused != nil && active && balance < ledger.Amount(n)*credit && refused.Code == admission.InsufficientCredits:
			default:
				w.rt.Fatalf("a call of %d with %v credits: %v", n, balance, refused)
			}
			for len(w.attend) > 0 {
				w.calm(w.Attend(w.t.Context(), <-w.attend))
			}
			w.learn()
		}),
		"refund": do(func() {
			p := w.deal(w.wallet())
			c, ok := w.charge(p)
			if rest := c.Amount - c.AmountRefunded; ok && !c.Disputed && rest > 0 {
				amount := rapid.Int64Range(1, rest).Draw(w.rt, "amount")
				if rapid.Bool().Draw(w.rt, "by us") {
					_, err := w.ReturnPayment(w.t.Context(), "test", p.User, p.ID, amount, "sorry")
					w.calm(err)
				} else {
					w.stripe.Up() // nothing fails on Stripe's own pages
					w.byHand("/v1/refunds", "charge", c.ID, "amount", strconv.FormatInt(amount, 10))
				}
				w.learn()
			}
		}),
		"dispute": do(func() {
			p := w.deal(w.wallet())
			if c, ok := w.charge(p); ok && !c.Disputed && c.Amount > c.AmountRefunded {
				id, err := w.stripe.Dispute(c.ID, "")
				if err != nil {
					w.rt.Fatal(err)
				}
				w.disputed[c.ID] = id
			}
		}),
		"decide a dispute": do(func() {
			if len(w.disputed) == 0 {
				w.rt.Skip("there is none")
			}
			c := rapid.SampledFrom(slices.Sorted(maps.Keys(w.disputed))).Draw(w.rt, "charge")
			if err := w.stripe.CloseDispute(w.disputed[c], rapid.Bool().Draw(w.rt, "won")); err != nil {
				w.rt.Fatal(err)
			}
			delete(w.disputed, c)
		}),
		"hear": do(w.hears),
		"poll": do(func() { w.hears(); w.calm(w.Poll(w.t.Context())); w.learn() }),
		"hours": do(func() {
			w.passes(time.Duration(rapid.IntRange(1, 30).Draw(w.rt, "hours")) * time.Hour)
		}),
		"days": do(func() {
			w.passes(time.Duration(rapid.IntRange(2, 25).Draw(w.rt, "days")) * 24 * time.Hour)
		}),
		"fail": do(func() {
			kind := rapid.SampledFrom([]stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.RateLimited, stripetest.ForgetKeys}).Draw(w.rt, "fault")
			w.stripe.Fail(stripetest.Fault{Kind: kind, Nth: rapid.IntRange(1, 4).Draw(w.rt, "request"), Times: rapid.IntRange(1, 3).Draw(w.rt, "times")})
		}),
		"restart": do(func() { w.again() }),
		"back up": do(func() {
			w.saved.path, w.saved.wallets = w.backup(), nil
			for _, v := range w.wallets {
				w.saved.wallets = append(w.saved.wallets, v.clone())
			}
		}),
		"restore": do(w.restores),
	}
}

// restores puts the backup back. What an invoice that is lost has asked for of a
// payment is not known then, so that such backups are left.
func (w *world) restores() {
	if w.saved.path == "" {
		w.rt.Skip("there is no backup")
	}
	for n, v := range w.wallets {
		for id, d := range v.deals {
			if was := w.saved.wallets[n].deals[id]; d.asked > 0 && (was == nil || was.asked != d.asked) {
				w.rt.Skip("an invoice would be lost that has asked for something")
			}
		}
	}
	old := filepath.Dir(w.path)
	w.restore(w.saved.path)
	if err := os.RemoveAll(old); err != nil {
		w.rt.Fatal(err)
	}
	for n, v := range w.saved.wallets {
		w.wallets[n] = v.clone()
	}
	w.saved.path = "" // what is outside of it has seen its epoch
	w.keys = map[ledger.UserID]string{}
	for tries := 0; !w.ledger.Reconciled(); tries++ {
		if tries > 10 {
			w.rt.Fatal("it is never reconciled")
		}
		w.passes(time.Hour)
	}
}

// ends lets everything come to its end, and holds it against what Stripe has.
func (w *world) ends(rt *rapid.T) {
	w.rt = rt
	w.stripe.Up()
	for range 5 {
		w.passes(13 * time.Hour)
	}
	w.check(rt)
	paid := map[string]bool{}
	for _, v := range w.wallets {
		for _, p := range w.payments(v.user) {
			if p.Intent != nil || !p.Next.IsZero() || p.State == ledger.PaymentPending {
				rt.Fatalf("unfinished: %+v", p)
			}
			if p.State != ledger.PaymentPaid {
				continue
			}
			c, ok := w.charge(p)
			if !ok || paid[c.ID] || c.Amount != p.Total || c.AmountRefunded != p.Refunded {
				rt.Fatalf("at Stripe it is %+v: %+v", c, p)
			}
			paid[c.ID] = true
		}
	}
	for _, c := range w.stripe.Charges() {
		if c.Invoice == "" && !paid[c.ID] {
			rt.Fatalf("nobody has bought what Stripe has charged: %+v", c)
		}
	}
	if books := w.ledger.Books(); books["cash"] != w.money() {
		rt.Fatalf("Stripe has %d, and the books are %v", w.money(), books)
	}
	seq := w.ledger.LastSeq()
	w.hears()
	if err := w.Poll(w.t.Context()); err != nil || w.ledger.LastSeq() != seq {
		rt.Fatalf("told again, %d entries come (%v)", w.ledger.LastSeq()-seq, err)
	}
}

// TestAllCreditsAreAccountedFor sells packs on pages and by themselves, has plans give
// credits that roll over and expire, burns them by calls, gives back, disputes and wins,
// while Stripe fails, the process is killed and backups are put back: each credit and
// each cent is where a customer would say it is, and where Stripe says it is.
func TestAllCreditsAreAccountedFor(t *testing.T) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; raced && n%4 != 0 { // which makes it ten times slower
			return
		}
		w := newWorld(t, rt)
		defer func() {
			w.close()
			os.RemoveAll(filepath.Dir(w.path))
		}()
		rt.Repeat(w.actions())
		w.ends(rt)
	})
}
