package server_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/api"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// TestSimulatedYear bills two hundred customers in four time zones for a year with
// a leap day: on all kinds of plans, with upgrades and downgrades, cards that are
// declined or must be confirmed, usage that comes late, an appliance that is down
// over two month ends and is killed between any two steps, and a Stripe that is
// down for a day and fails now and then. In the end everybody was invoiced once a
// month and charged once an invoice, and ledger and Stripe agree to the cent.
func TestSimulatedYear(t *testing.T) {
	for n, zone := range []string{"UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"} {
		t.Run(strings.ReplaceAll(zone, "/", " "), func(t *testing.T) {
			t.Parallel()
			y := newYear(t, zone, uint64(n)+1)
			y.live()
			y.check()
			defer y.end()
			if n == 0 {
				again := newYear(t, zone, uint64(n)+1)
				again.live()
				defer again.end()
				if diff := gocmp.Diff(y.told(), again.told()); diff != "" {
					t.Errorf("the same year came out differently:\n%s", diff)
				}
			}
		})
	}
}

// year is an appliance without its gateway, and its customers.
type year struct {
	t      *testing.T
	r      *rand.Rand
	zone   string
	path   string
	now    time.Time
	ledger *ledger.Ledger
	*billing.Billing
	stripe  *stripetest.Server
	route   ledger.VersionID
	plans   []pricing.Plan
	people  []*customer
	counter uint32
	quiet   bool // nothing fails any more

	kills, faults, late, missed, agreed int
}

// customer is a user as a person.
type customer struct {
	user ledger.UserID
	card stripetest.Card // "": gives none
	// sorry is that the card is replaced when it was declined.
	sorry bool
	// lazy is that hardly anything is used.
	lazy bool
}

// yearUsers is how many customers there are in each zone.
func yearUsers() int {
	if raced { // which makes it ten times slower
		return 5
	}
	return 50
}

// memoryDir is a folder on no disk, where there is one: the year has some thousand
// commits, and nobody pulls the plug.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "tollgate-year-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newYear(t *testing.T, zone string, seed uint64) *year {
	y := &year{t: t, r: rand.New(rand.NewPCG(seed, 2024)), zone: zone, path: filepath.Join(memoryDir(t), "tollgate.db")}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	y.now = time.Date(2024, time.January, 1, 0, 0, 0, 0, loc).UTC()
	y.stripe = stripetest.New(stripetest.Options{Now: func() time.Time { return y.now }, Seed: seed, URL: "https://pay.example.com"})
	y.plans = yearPlans()
	y.open()
	for i := range y.plans {
		y.publish(ledger.PlanVersion, y.plans[i].ID, y.plans[i].Terms)
	}
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": ledger.Unit / 100}}
	y.route = y.publish(ledger.RouteVersion, route.Pattern, route.Terms)
	cards := []stripetest.Card{
		stripetest.CardGood, stripetest.CardGood, stripetest.CardGood, stripetest.CardGood, stripetest.CardGood, stripetest.CardGood,
		stripetest.CardFailsLater, stripetest.CardAuthenticate, "", stripetest.CardFailsLater,
	}
	for n := range yearUsers() {
		u, err := y.ledger.AddUser(y.now, "test", ledger.Personal{Email: fmt.Sprintf("u%d@example.com", n), Name: fmt.Sprint("Customer ", n)}, y.plans[n%len(y.plans)].ID)
		if err != nil {
			t.Fatal(err)
		}
		y.people = append(y.people, &customer{user: u.ID, card: cards[n%len(cards)], sorry: n%20 < 10, lazy: n%7 == 0})
	}
	return y
}

// yearPlans has a plan of each kind, with quotas that few calls use up.
func yearPlans() []pricing.Plan {
	cents := ledger.Unit / 100
	plan := func(id string, fee ledger.Amount) pricing.Plan {
		return pricing.Plan{ID: id, Name: id, Fee: fee, OnExceed: pricing.Bill, Billing: pricing.Monthly, Public: true}
	}
	free, pro, cost, volume, packs := plan("free", 0), plan("pro", 49*ledger.Unit), plan("enterprise", 0), plan("volume", 5*ledger.Unit), plan("packs", ledger.Unit)
	free.Quota, free.Overage = map[string]int64{"calls": 15}, map[string]ledger.Amount{"calls": 7 * cents}
	pro.Quota, pro.Overage = map[string]int64{"calls": 60}, map[string]ledger.Amount{"calls": 3*cents + 333_333}
	cost.ByCost = true
	volume.Prices = []pricing.Price{{Meter: "documents", Model: pricing.Graduated, Included: 10,
		Tiers: []pricing.Tier{{UpTo: 100, Unit: 5 * cents}, {UpTo: 1000, Unit: 2 * cents}, {Unit: cents / 3}}}}
	packs.Prices = []pricing.Price{{Meter: "documents", Model: pricing.Package, Unit: 250 * cents, Size: 100, Minimum: 2 * ledger.Unit}}
	return []pricing.Plan{free, pro, cost, volume, packs}
}

func (y *year) publish(kind ledger.VersionKind, name string, terms func() (json.RawMessage, error)) ledger.VersionID {
	text, err := terms()
	if err != nil {
		y.t.Fatal(err)
	}
	v, err := y.ledger.PublishVersion(y.now, kind, name, text, y.now)
	if err != nil {
		y.t.Fatal(err)
	}
	return v.ID
}

// open starts the appliance: the ledger as it is in the file, and billing on it.
func (y *year) open() {
	y.t.Helper()
	var err error
	if y.ledger, err = ledger.Open(y.path, ledger.Options{Now: y.now, Zone: y.zone, Currency: "usd", TestClock: true}); err != nil {
		y.t.Fatal(err)
	}
	status, err := y.ledger.Status()
	if err != nil {
		y.t.Fatal(err)
	}
	now := func() time.Time { return y.now }
	client, err := stripe.New(stripe.Options{Key: "sk_test_year", Ledger: status.ID, APIBase: "http://stripe", HTTP: roundTripper(y.carry), PerSecond: -1, Now: now})
	if err != nil {
		y.t.Fatal(err)
	}
	y.Billing, err = billing.New(billing.Options{
		Ledger: y.ledger, Book: pricing.NewBook(), Provider: client, Now: now, Log: slog.New(slog.DiscardHandler), TestClock: true,
		Settings: billing.Settings{
			Grace: time.Hour, RunAt: 90 * time.Minute, RetryAfter: []time.Duration{72 * time.Hour, 120 * time.Hour, 168 * time.Hour}, SuspendAfter: 336 * time.Hour,
			TaxName: "VAT", TaxPercent: 19*ledger.Unit + ledger.Unit/2, PublicURL: "https://api.example.com",
		},
		ChangePlan: func(_ context.Context, user ledger.UserID, plan string) error { return y.setPlan(user, plan) },
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *year) setPlan(user ledger.UserID, plan string) error {
	return api.SetPlan(api.Options{
		Book:   pricing.NewBook(),
		Ledger: y.ledger, Now: func() time.Time { return y.now }, Log: slog.New(slog.DiscardHandler),
		Settings: func() api.Settings { return api.Settings{Plans: y.plans} },
	}, user, plan)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errKilled = errors.New("killed")

// carry takes a request to Stripe. Now and then the process dies before it, or
// when it was done.
func (y *year) carry(r *http.Request) (*http.Response, error) {
	if !y.quiet {
		switch y.r.IntN(400) {
		case 0:
			panic(errKilled)
		case 1:
			if res, err := y.stripe.Transport().RoundTrip(r); err == nil {
				res.Body.Close()
			}
			panic(errKilled)
		case 2, 3, 4:
			kinds := []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.BadGatewayBefore, stripetest.BadGatewayAfter, stripetest.RateLimited, stripetest.ForgetKeys}
			y.faults++
			y.stripe.Fail(stripetest.Fault{Kind: kinds[y.r.IntN(len(kinds))]})
		}
	}
	return y.stripe.Transport().RoundTrip(r)
}

// try does a piece of the appliance's work. When it is killed in it, it starts again.
func (y *year) try(what string, work func(context.Context) error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case errKilled:
			y.kills++
			if err := y.ledger.Close(); err != nil {
				y.t.Fatal(err)
			}
			y.open()
		default:
			panic(p)
		}
	}()
	err := work(y.t.Context())
	var refused *billing.Rejection
	if err != nil && !errors.Is(err, billing.ErrUnknown) && !(errors.As(err, &refused) && refused.Retry) {
		y.t.Errorf("%s at %s: %v", what, y.now.Format(time.RFC3339), err)
	}
}

// live passes the year, and two months more in which nothing fails, so that what
// can be collected is.
func (y *year) live() {
	end := time.Date(2025, time.March, 20, 0, 0, 0, 0, time.UTC)
	down := []time.Time{time.Date(2024, time.April, 25, 3, 0, 0, 0, time.UTC), time.Date(2024, time.June, 3, 7, 0, 0, 0, time.UTC)}
	outage := y.ledger.PeriodOf(ledger.MonthOf(2024, time.July)).End
	day := y.now
	for y.now.Before(end) {
		next := y.NextDue(y.now)
		if y.now.Before(outage) && !next.Before(outage) {
			y.stripe.Down(26 * time.Hour)
		}
		if !next.Before(down[0]) && next.Before(down[1]) {
			next = down[1]
		}
		y.now = next
		if y.quiet = y.now.After(end.AddDate(0, -2, 0)); y.quiet {
			y.stripe.Up()
		}
		y.try("work", y.Work)
		if y.r.IntN(3) == 0 {
			y.try("poll", y.Poll)
		}
		if y.now.Sub(day) < 24*time.Hour {
			continue
		}
		day = y.now
		for _, c := range y.people {
			y.spend(c)
		}
	}
	y.try("poll", y.Poll)
}

// spend is a day of a customer.
func (y *year) spend(c *customer) {
	u := y.ledger.Account(c.user).User()
	if u.Status == ledger.Closed {
		return
	}
	if y.now.Before(time.Date(2025, time.January, 25, 0, 0, 0, 0, time.UTC)) {
		if !c.lazy || y.r.IntN(12) == 0 {
			y.use(c, u)
		}
		switch y.r.IntN(1500) {
		case 0:
			y.close(u)
		case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12:
			if err := y.setPlan(u.ID, y.plans[y.r.IntN(len(y.plans))].ID); err != nil {
				y.t.Fatal(err)
			}
		case 13, 14, 15, 16:
			y.agree(u)
		}
	}
	y.pay(c, u)
}

// agree makes terms of the user's own, or ends them, now or later.
func (y *year) agree(u *ledger.User) {
	plan := u.PlanAt(y.now)
	_, terms, err := pricing.NewBook().Terms(y.ledger, u, plan.Plan, plan.From, y.now)
	if err != nil {
		y.t.Fatal(err)
	}
	text := []byte("null")
	if y.r.IntN(4) > 0 {
		own := *terms
		own.Fee = ledger.Amount(y.r.IntN(90)) * ledger.Unit
		own.Quota = map[string]int64{"documents": int64(y.r.IntN(500))}
		own.Overage = map[string]ledger.Amount{"documents": ledger.Amount(y.r.IntN(9)) * ledger.Unit / 1000}
		own.Prices, own.ByCost, own.OnExceed = nil, false, pricing.Bill
		if text, err = own.Terms(); err != nil {
			y.t.Fatal(err)
		}
	}
	if _, err := y.ledger.Agree(y.now, "test", u.ID, plan.Plan, text, y.now.Add(time.Duration(y.r.IntN(2_000))*time.Hour)); err != nil {
		y.t.Fatal(err)
	}
	y.agreed++
}

// use records what a customer used since yesterday, some of it late.
func (y *year) use(c *customer, u *ledger.User) {
	for range y.r.IntN(6) {
		at := y.now.Add(-time.Duration(y.r.IntN(86_400_000)) * time.Millisecond)
		if y.r.IntN(200) == 0 {
			y.late++
			at = at.AddDate(0, 0, -y.r.IntN(35))
		}
		if at.Before(u.Created) {
			continue
		}
		plan := u.PlanAt(at)
		version, _, err := pricing.NewBook().Terms(y.ledger, u, plan.Plan, plan.From, at)
		if err != nil {
			y.t.Fatal(err)
		}
		y.counter++
		documents := int64(y.r.IntN(40))
		if c.lazy {
			documents %= 3
		}
		record := ledger.Usage{
			Time: at, Counter: y.counter, User: u.ID, Route: y.route, Method: "POST", Status: 200, Billed: true,
			Plan:       version.ID,
			Quantities: ledger.Quantities{Documents: documents, Tokens: 3 * documents}, Cost: ledger.Amount(documents) * ledger.Unit / 100,
		}
		if err := y.ledger.AppendOne(y.now, &record, nil).Wait(y.t.Context()); err != nil {
			y.t.Fatal(err)
		}
	}
}

func (y *year) close(u *ledger.User) {
	_, err := y.ledger.ChangeUser(y.now, "test", u.ID, func(u *ledger.User) error {
		u.Status, u.ClosedAt = ledger.Closed, y.now
		return nil
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

// pay is what a customer does about paying: gives a card, confirms a payment, or
// gives another card.
func (y *year) pay(c *customer, u *ledger.User) {
	if c.card == "" {
		return
	}
	if u.StripeCustomer == "" || u.PaymentMethod == "" && y.r.IntN(10) == 0 {
		y.try("checkout", func(ctx context.Context) error {
			_, err := y.Checkout(ctx, u.ID, "")
			return err
		})
	}
	u = y.ledger.Account(c.user).User()
	if u.StripeCustomer != "" && u.PaymentMethod == "" {
		for _, s := range y.stripe.Sessions() {
			if s.Customer == u.StripeCustomer && s.Status == "open" {
				if _, err := y.stripe.CompleteCheckout(s.ID, c.card); err != nil {
					y.t.Fatal(err)
				}
				break
			}
		}
	}
	for _, ref := range u.Invoices {
		if ref.State != ledger.PastDue || y.r.IntN(4) != 0 {
			continue
		}
		i := y.invoice(ref.ID)
		switch {
		case i.Provider == "":
		case c.card == stripetest.CardAuthenticate:
			if err := y.stripe.PayInvoice(i.Provider, ""); err != nil && !strings.Contains(err.Error(), "paid") {
				y.t.Fatalf("%v", err)
			}
			y.hint(u, i)
		case c.sorry && u.PaymentMethod != "":
			c.card = stripetest.CardGood
			if err := y.stripe.SetCard(u.StripeCustomer, c.card); err != nil {
				y.t.Fatal(err)
			}
			y.hint(u, i)
		}
	}
}

// hint is a webhook. Some are lost, some come twice.
func (y *year) hint(u *ledger.User, i *ledger.Invoice) {
	n := y.r.IntN(3)
	if n == 0 {
		y.missed++
	}
	for range n {
		y.try("webhook", func(ctx context.Context) error {
			return y.Observe(ctx, billing.Event{Customer: u.StripeCustomer, Charge: i.Provider})
		})
	}
}

func (y *year) invoice(id ledger.InvoiceID) *ledger.Invoice {
	i, err := y.ledger.Invoice(id)
	if err != nil {
		y.t.Fatal(err)
	}
	return i
}

// check holds the ledger against what a bill is, and against Stripe.
func (y *year) check() {
	t := y.t
	atStripe, charges := map[string]stripetest.Invoice{}, map[string]int64{}
	times := map[string]int{}
	for _, i := range y.stripe.Invoices() {
		if id := i.Metadata["tollgate_invoice"]; i.Status != "draft" {
			if _, twice := atStripe[id]; twice {
				t.Errorf("Stripe has invoice %s twice", id)
			}
			atStripe[id] = i
		}
	}
	for _, c := range y.stripe.Charges() {
		charges[c.Invoice] += c.Amount
		times[c.Invoice]++
	}
	var numbers []uint32
	states := map[ledger.InvoiceState]int{}
	adjusted, carried := 0, 0
	for _, c := range y.people {
		u := y.ledger.Account(c.user).User()
		last := ledger.MonthOf(2025, time.February)
		if u.Status == ledger.Closed {
			last = y.ledger.PeriodAt(u.ClosedAt).Month
		}
		month, invoiced := ledger.MonthOf(2024, time.January), int64(0)
		for _, ref := range u.Invoices {
			i := y.invoice(ref.ID)
			states[i.State]++
			if i.Month != month {
				t.Errorf("user %d: an invoice of %v where that of %v should be", u.ID, i.Month, month)
			}
			month++
			if e, err := y.Explain(t.Context(), i); err != nil || len(e.Problems) > 0 {
				t.Errorf("user %d: the invoice of %v cannot be explained: %q (%v)", u.ID, i.Month, e.Problems, err)
			}
			for _, l := range i.Lines {
				switch l.Kind {
				case "carried_in", "tax", "credit":
				default:
					invoiced += l.Amount
				}
				switch l.Kind {
				case "adjustment":
					adjusted++
				case "carried_in":
					carried++
				}
			}
			if ref.Todo || i.Intent != nil || i.State == ledger.Issued {
				t.Errorf("user %d: the invoice of %v is unfinished: %+v", u.ID, i.Month, i)
			}
			s, there := atStripe[fmt.Sprint(i.ID)]
			if there != (i.Number != 0) {
				t.Errorf("user %d, %v: number %d, at Stripe %v", u.ID, i.Month, i.Number, there)
			}
			if i.Number == 0 {
				continue
			}
			numbers = append(numbers, i.Number)
			delete(atStripe, fmt.Sprint(i.ID))
			due, want := i.Total-i.Carried, int64(0)
			if i.State == ledger.Paid {
				want = due
			}
			if s.Total != due || s.ID != i.Provider || i.Collected != want || charges[s.ID] != want || times[s.ID] > 1 {
				t.Errorf("user %d, %v: invoice %d of %d is %s with %d collected; Stripe has %s of %d, %s, and charged %d in %d charges",
					u.ID, i.Month, i.ID, due, i.State, i.Collected, s.ID, s.Total, s.Status, charges[s.ID], times[s.ID])
			}
		}
		if want := y.rated(u, month-1); want != invoiced {
			t.Errorf("user %d: all months come to %d now, and %d were invoiced for them", u.ID, want, invoiced)
		}
		if month != last+1 {
			t.Errorf("user %d: the last invoice is of %v, want %v", u.ID, month-1, last)
		}
	}
	slices.Sort(numbers)
	for n, number := range numbers {
		if number != uint32(n+1) {
			t.Fatalf("number %d follows %d", number, n)
		}
	}
	for id, i := range atStripe {
		t.Errorf("Stripe has invoice %s (%s) and the ledger has not", id, i.ID)
	}
	var books int64
	for _, amount := range y.ledger.Books() {
		books += amount
	}
	if books != 0 {
		t.Errorf("the books do not sum to zero: %v", y.ledger.Books())
	}
	book := pricing.NewBook()
	if r, err := y.ledger.Verify(t.Context(), ledger.Checks{Cost: book.Cost}, nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("verify: %v %q", err, r.Problems)
	}
	t.Logf("%d users, invoices %v, %d numbered, %d adjustments, %d carried, %d kills, %d faults, %d late records, %d lost webhooks, %d agreements, books %v",
		len(y.people), states, len(numbers), adjusted, carried, y.kills, y.faults, y.late, y.missed, y.agreed, y.ledger.Books())
	for what, n := range map[string]int{"adjustment": adjusted, "carried amount": carried, "kill": y.kills, "fault": y.faults, "late record": y.late, "lost webhook": y.missed, "agreement": y.agreed, "paid invoice": states[ledger.Paid], "uncollectible invoice": states[ledger.Uncollectible]} {
		if n == 0 && !raced {
			t.Errorf("the year had no %s", what)
		}
	}
}

// rated is what all months of a user up to one come to, with the usage that came
// late, straight from the totals.
func (y *year) rated(u *ledger.User, last ledger.Month) int64 {
	book, total := pricing.NewBook(), int64(0)
	for m := ledger.MonthOf(2024, time.January); m <= last; m++ {
		used, err := y.ledger.Month(u.ID, m)
		if err != nil {
			y.t.Fatal(err)
		}
		schedule, err := book.Schedule(y.ledger, u, y.ledger.PeriodOf(m), pricing.Basis{Digits: 2})
		if err != nil {
			y.t.Fatal(err)
		}
		statement, err := schedule.Rate(used)
		if err != nil {
			y.t.Fatal(err)
		}
		total += statement.Total
	}
	return total
}

// end closes the ledger, which is verified.
func (y *year) end() {
	if err := y.ledger.Close(); err != nil {
		y.t.Error(err)
	}
	ledgertest.Verify(y.t, y.path)
}

// told is what the year came to, without what is random in each ledger.
func (y *year) told() []string {
	var list []string
	for _, c := range y.people {
		for _, ref := range y.ledger.Account(c.user).User().Invoices {
			i := y.invoice(ref.ID)
			i.Head, i.Intent = nil, nil
			text, err := json.Marshal(i)
			if err != nil {
				y.t.Fatal(err)
			}
			list = append(list, string(text))
		}
	}
	charges := y.stripe.Charges()
	slices.SortFunc(charges, func(a, b stripetest.Charge) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range charges {
		list = append(list, fmt.Sprint(c.ID, c.Created, c.Invoice, c.Amount))
	}
	return list
}
