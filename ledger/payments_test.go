package ledger_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// purchase is a pack of 10,000 credits for 100.00 and 19.00 of tax.
func purchase(u ledger.UserID) ledger.Payment {
	return ledger.Payment{Kind: ledger.PurchasePayment, User: u, Pack: "10k", Credits: 10_000 * ledger.Unit, Total: 11900, Lines: []ledger.InvoiceLine{
		{Kind: "credits", Description: "10000 credits", Quantity: 10_000, Amount: 10000},
		{Kind: ledger.TaxLine, Description: "VAT 19 %", Amount: 1900},
	}}
}

func recharge(u ledger.UserID) ledger.Payment {
	p := purchase(u)
	p.Kind = ledger.RechargePayment
	return p
}

// realtime is a charge for usage of a month.
func realtime(u ledger.UserID, m ledger.Month, cents int64) ledger.Payment {
	return ledger.Payment{Kind: ledger.RealtimePayment, User: u, Month: m, Total: cents, Lines: []ledger.InvoiceLine{{Kind: "usage", Description: "usage so far", Amount: cents}}}
}

func addPayment(t testing.TB, l *ledger.Ledger, p ledger.Payment) *ledger.Payment {
	t.Helper()
	made, err := l.AddPayment(start, "test", p)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func changePayment(t testing.TB, l *ledger.Ledger, u ledger.UserID, id ledger.PaymentID, change func(*ledger.Payment)) *ledger.Payment {
	t.Helper()
	p, err := l.ChangePayment(start, "test", u, id, func(p *ledger.Payment) error { change(p); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func collected(p *ledger.Payment) {
	p.State, p.PaidAt, p.Intent, p.Next = ledger.PaymentPaid, start, nil, time.Time{}
}

// life is a ledger with one user, and what has come of the user's payments so far.
type life struct {
	t        *testing.T
	l        *ledger.Ledger
	dir      string
	files    int
	user     ledger.UserID
	route    ledger.VersionID
	payments []ledger.PaymentID
	invoices []ledger.InvoiceID
}

func newLife(t *testing.T) *life {
	f := &life{t: t, dir: t.TempDir()}
	f.l = ledgertest.Open(t, f.path(), ledger.Options{})
	f.route = addRoute(t, f.l).ID
	f.user = addUser(t, f.l, "ada@example.com").ID
	return f
}

func (f *life) path() string { return filepath.Join(f.dir, fmt.Sprintf("%d.db", f.files)) }

func (f *life) begin(p ledger.Payment) {
	f.t.Helper()
	f.payments = append(f.payments, addPayment(f.t, f.l, p).ID)
}

// change changes the payment that was begun last.
func (f *life) change(change func(*ledger.Payment)) {
	f.t.Helper()
	id := f.payments[len(f.payments)-1]
	made := changePayment(f.t, f.l, f.user, id, change)
	got, err := f.l.Payment(f.user, id)
	if diff := cmp.Diff(made, got); err != nil || diff != "" {
		f.t.Errorf("payment %d: %v\n%s", id, err, diff)
	}
}

func changed(change func(*ledger.Payment)) func(*life) {
	return func(f *life) { f.t.Helper(); f.change(change) }
}

// ask makes an invoice of a month that asks for what the newest payment owes, and for a fee.
func (f *life) ask(m ledger.Month, fee int64) {
	id := f.payments[len(f.payments)-1]
	p, err := f.l.Payment(f.user, id)
	if err != nil {
		f.t.Fatal(err)
	}
	i := bill(f.user, m, fee)
	i.State, i.Total = ledger.Issued, fee+p.Owed
	i.Lines = append(i.Lines, ledger.InvoiceLine{Kind: ledger.CarriedIn, Description: "used of a payment that went back", Amount: p.Owed, Payment: id})
	f.invoice(i)
}

func (f *life) invoice(i ledger.Invoice) {
	f.t.Helper()
	f.invoices = append(f.invoices, addInvoice(f.t, f.l, start, i).ID)
}

func (f *life) changeInvoice(change func(*ledger.Invoice)) {
	changeInvoice(f.t, f.l, f.invoices[len(f.invoices)-1], change)
}

func (f *life) burn(amount ledger.Amount) {
	u := call(f.user, 0, f.route, start, 1)
	u.Burnt = amount
	appendAll(f.t, f.l, start, u)
}

// take takes what is left of the newest payment's credits.
func (f *life) take(amount ledger.Amount) {
	ref, _ := f.l.Account(f.user).User().PaymentRef(f.payments[len(f.payments)-1])
	if got, err := f.l.TakeCredits(start, "test", f.user, ref.Grant, amount, "refunded", "re_1", nil); err != nil || got != amount {
		f.t.Fatalf("took %v of %v: %v", got, amount, err)
	}
}

// reopen opens the ledger again: after a clean end, or as a killed process leaves it,
// with and without a checkpoint before.
func (f *life) reopen(how string) {
	f.t.Helper()
	if strings.Contains(how, "checkpoint") {
		if err := f.l.Checkpoint(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
	if strings.Contains(how, "crash") {
		f.files++
		if err := ledger.CopyAsItIs(f.l, f.path()); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.l.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.l = ledgertest.Open(f.t, f.path(), ledger.Options{})
}

// looks is what can be seen of the user, and the books.
type looks struct {
	User     *ledger.User
	Payments []*ledger.Payment
	Books    map[string]int64
	Left     []ledger.Left
	Sums     ledger.CreditSums
	Entries  []ledger.CreditEntry
}

func (f *life) looks() (s looks) {
	f.t.Helper()
	a := f.l.Account(f.user)
	s.User, s.Books = a.User(), f.l.Books()
	for _, ref := range s.User.Payments {
		p, err := f.l.Payment(f.user, ref.ID)
		if err != nil {
			f.t.Fatal(err)
		}
		s.Payments = append(s.Payments, p)
	}
	a.Lock()
	s.Left, s.Sums = slices.Clone(a.Credits()), a.CreditSums()
	a.Unlock()
	if err := f.l.CreditEntries(f.t.Context(), f.user, 0, func(e ledger.CreditEntry) bool { s.Entries = append(s.Entries, e); return true }); err != nil {
		f.t.Fatal(err)
	}
	return s
}

type books = map[string]int64

// lifeStep is what happens, and what is to be seen then.
type lifeStep struct {
	name     string
	do       func(*life)
	books    books         // the accounts that are not 0
	balance  ledger.Amount // whole credits
	owes     bool
	reversed bool
}

// TestPaymentLives takes payments through their states, and opens the ledger again
// in three ways after each step. The books are as they should be, to the cent.
func TestPaymentLives(t *testing.T) {
	paid := lifeStep{"paid", changed(collected), books{"cash": 11900, "sold": -10000, "tax": -1900}, 10_000, false, false}
	begun := func(p func(ledger.UserID) ledger.Payment, b books) lifeStep {
		return lifeStep{"begun", func(f *life) { f.begin(p(f.user)) }, b, 0, false, false}
	}
	of := func(m ledger.Month, cents int64) func(ledger.UserID) ledger.Payment {
		return func(u ledger.UserID) ledger.Payment { return realtime(u, m, cents) }
	}
	disputed := func(owed int64) func(*life) {
		return changed(func(p *ledger.Payment) { p.Disputed, p.Owed = 11900, owed })
	}
	lives := map[string][]lifeStep{
		"a purchase, refunded in two parts": {
			begun(purchase, nil),
			{"an intent", changed(func(p *ledger.Payment) {
				p.Tries, p.Intent, p.Next = 1, &ledger.Intent{Op: "page", Attempt: 1, Key: "k1", At: start}, start
			}), nil, 0, false, false},
			{"a page", changed(func(p *ledger.Payment) {
				p.Intent, p.Provider, p.URL, p.Next = nil, "cs_1", "https://pay.example.com", start.Add(24*time.Hour)
			}), nil, 0, false, false},
			paid,
			{"half refunded", func(f *life) {
				f.take(5_000 * ledger.Unit)
				f.change(func(p *ledger.Payment) { p.Refunded = 5950 })
			}, books{"cash": 5950, "sold": -4050, "tax": -1900}, 5_000, false, false},
			{"refunded", func(f *life) {
				f.take(5_000 * ledger.Unit)
				f.change(func(p *ledger.Payment) { p.Refunded = 11900 })
			}, books{"sold": 1900, "tax": -1900}, 0, false, false},
			{"disputed all the same", changed(func(p *ledger.Payment) { p.Disputed = 11900 }), books{"sold": 1900, "tax": -1900}, 0, false, false},
		},
		"a page that was left, and paid in another tab": {
			begun(purchase, nil),
			{"given up", changed(func(p *ledger.Payment) { p.State, p.Failed, p.Failure = ledger.PaymentGivenUp, start, "expired" }), nil, 0, false, false},
			paid,
		},
		"a recharge that is declined": {
			begun(recharge, nil),
			{"declined", changed(func(p *ledger.Payment) {
				p.State, p.Failed, p.Attempts, p.Method = ledger.PaymentGivenUp, start, 1, "pm_1"
			}), nil, 0, false, false},
			begun(recharge, nil),
			paid,
		},
		"a dispute that is lost, for credits that were burnt": {
			begun(recharge, nil),
			paid,
			{"burnt", func(f *life) { f.burn(4_000 * ledger.Unit) }, paid.books, 6_000, false, false},
			{"disputed", func(f *life) {
				f.take(6_000 * ledger.Unit)
				disputed(4760)(f)
			}, books{"carried": 4760, "sold": -2860, "tax": -1900}, 0, true, true},
			{"asked for", func(f *life) { f.ask(january, 240) }, books{"receivable": 5000, "revenue": -240, "sold": -2860, "tax": -1900}, 0, true, true},
			{"past due", func(f *life) { f.changeInvoice(func(i *ledger.Invoice) { i.State = ledger.PastDue }) },
				books{"receivable": 5000, "revenue": -240, "sold": -2860, "tax": -1900}, 0, true, true},
			{"paid after all", func(f *life) { f.changeInvoice(pay) }, books{"cash": 5000, "revenue": -240, "sold": -2860, "tax": -1900}, 0, false, false},
			{"won after all", func(f *life) {
				disputed(0)(f)
				f.change(func(p *ledger.Payment) { p.Disputed = 0 })
			}, books{"cash": 16900, "revenue": -240, "sold": -14760, "tax": -1900}, 0, false, false},
		},
		"a dispute that is lost, and paid by hand": {
			begun(purchase, nil),
			paid,
			{"burnt", func(f *life) { f.burn(10_000 * ledger.Unit) }, paid.books, 0, false, false},
			{"disputed", disputed(11900), books{"carried": 11900, "sold": -10000, "tax": -1900}, 0, true, true},
			{"paid by hand", changed(func(p *ledger.Payment) { p.Owed, p.PaidBy = 0, "transfer 7" }), paid.books, 0, false, false},
		},
		"a dispute that is won": {
			begun(purchase, nil),
			paid,
			{"burnt", func(f *life) { f.burn(1_000 * ledger.Unit) }, paid.books, 9_000, false, false},
			{"disputed", func(f *life) {
				f.take(9_000 * ledger.Unit)
				disputed(1190)(f)
			}, books{"carried": 1190, "sold": 710, "tax": -1900}, 0, true, true},
			{"won", changed(func(p *ledger.Payment) { p.Disputed, p.Owed = 0, 0 }), paid.books, 0, false, false},
			{"disputed again", disputed(0), books{"sold": 1900, "tax": -1900}, 0, false, false},
			{"and won again", changed(func(p *ledger.Payment) { p.Disputed = 0 }), paid.books, 0, false, false},
		},
		"usage charged as it comes, void and billed again": {
			begun(of(january, 60), nil),
			{"declined", changed(func(p *ledger.Payment) {
				p.State, p.Attempts, p.Next = ledger.PaymentPastDue, 1, start.Add(72*time.Hour)
			}), nil, 0, true, false},
			{"paid", changed(collected), books{"cash": 60, "advance": -60}, 0, false, false},
			begun(of(january+1, 500), books{"cash": 60, "advance": -60}),
			{"charged in the next month", changed(collected), books{"cash": 560, "advance": -560}, 0, false, false},
			begun(of(january, 50), books{"cash": 560, "advance": -560}),
			{"the rest of the month, charged after that", changed(collected), books{"cash": 610, "advance": -610}, 0, false, false},
			{"invoiced", func(f *life) {
				i := bill(f.user, january, 238)
				i.Lines, i.Advance = []ledger.InvoiceLine{{Kind: "usage", Amount: 200}, {Kind: ledger.TaxLine, Amount: 38}}, 110
				f.invoice(i)
			}, books{"cash": 610, "advance": -500, "receivable": 128, "revenue": -200, "tax": -38}, 0, false, false},
			{"void", func(f *life) { f.changeInvoice(func(i *ledger.Invoice) { i.State = ledger.Void }) },
				books{"cash": 610, "advance": -610, "revenue": -200, "tax": -38, "voided": 238}, 0, false, false},
			{"billed again", func(f *life) {
				i := bill(f.user, january, 180)
				i.Advance, i.Replaces = 110, f.invoices[0]
				f.invoice(i)
			}, books{"cash": 610, "advance": -500, "receivable": 70, "revenue": -380, "tax": -38, "voided": 238}, 0, false, false},
			{"paid", func(f *life) {
				f.changeInvoice(func(i *ledger.Invoice) { i.State, i.Collected = ledger.Paid, 70 })
			}, books{"cash": 680, "advance": -500, "revenue": -380, "tax": -38, "voided": 238}, 0, false, false},
			{"the next month, charged before the rest of this one", func(f *life) {
				i := bill(f.user, january+1, 700)
				i.Advance = 500
				f.invoice(i)
			}, books{"cash": 680, "receivable": 200, "revenue": -1080, "tax": -38, "voided": 238}, 0, false, false},
		},
		"more charged as it came than the month comes to": {
			begun(of(january, 110), nil),
			{"paid", changed(collected), books{"cash": 110, "advance": -110}, 0, false, false},
			{"invoiced", func(f *life) {
				i := bill(f.user, january, 80)
				i.State, i.Advance, i.Carried = ledger.Paid, 110, -30
				f.invoice(i)
			}, books{"cash": 110, "revenue": -80, "carried": -30}, 0, false, false},
			{"taken off the next", func(f *life) {
				i := bill(f.user, january+1, 70)
				i.Lines = []ledger.InvoiceLine{{Kind: "usage", Amount: 100}, {Kind: ledger.CarriedIn, Amount: -30}}
				f.invoice(i)
			}, books{"cash": 110, "revenue": -180, "receivable": 70}, 0, false, false},
			{"which is void", func(f *life) { f.changeInvoice(func(i *ledger.Invoice) { i.State = ledger.Void }) },
				books{"cash": 110, "revenue": -180, "carried": -30, "voided": 100}, 0, false, false},
		},
		"usage whose charge goes back": {
			begun(of(january, 100), nil),
			{"paid", changed(collected), books{"cash": 100, "advance": -100}, 0, false, false},
			{"refunded in part", changed(func(p *ledger.Payment) { p.Refunded = 20 }), books{"cash": 80, "advance": -100, "credited": 20}, 0, false, false},
			{"disputed", changed(func(p *ledger.Payment) { p.Disputed, p.Owed = 80, 80 }), books{"advance": -100, "carried": 80, "credited": 20}, 0, true, true},
			{"asked for", func(f *life) {
				i := bill(f.user, january, 180)
				i.Advance = 100
				i.Lines = []ledger.InvoiceLine{{Kind: "usage", Amount: 100}, {Kind: ledger.CarriedIn, Amount: 80, Payment: f.payments[0]}}
				f.invoice(i)
			}, books{"receivable": 80, "revenue": -100, "credited": 20}, 0, true, true},
			{"paid again", func(f *life) {
				f.changeInvoice(func(i *ledger.Invoice) { i.State, i.Collected = ledger.Paid, 80 })
			}, books{"cash": 80, "revenue": -100, "credited": 20}, 0, false, false},
		},
	}
	for name, steps := range lives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newLife(t)
			for n, s := range steps {
				s.do(f)
				want := f.looks()
				ways := []string{"as it is", "reopen", "crash", "checkpoint, crash"}
				for _, how := range ways[:1+amount(3, 3, 1+n%3)] {
					if how != "as it is" {
						f.reopen(how)
					}
					got := f.looks()
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("%s, %s (-before +after):\n%s", s.name, how, diff)
					}
					maps.DeleteFunc(got.Books, func(_ string, n int64) bool { return n == 0 })
					if diff := cmp.Diff(s.books, got.Books, cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("%s, %s: the books (-want +got):\n%s", s.name, how, diff)
					}
					sum := int64(0)
					for _, n := range got.Books {
						sum += n
					}
					u := got.User
					if sum != 0 || u.Owes() != s.owes || u.Reversed() != s.reversed {
						t.Fatalf("%s, %s: the books sum to %d; owes %v, reversed %v", s.name, how, sum, u.Owes(), u.Reversed())
					}
					if left := got.Sums.Granted - got.Sums.Burnt - got.Sums.Taken; left != s.balance*ledger.Unit {
						t.Fatalf("%s, %s: %v credits are left", s.name, how, left)
					}
				}
				f.grants(s.name)
			}
		})
	}
}

// grants proves that what was paid for was granted, right behind the entry in which
// it became paid, and nothing else was.
func (f *life) grants(step string) {
	f.t.Helper()
	s := f.looks()
	bought := map[uint64]*ledger.Payment{}
	for n, ref := range s.User.Payments {
		p := s.Payments[n]
		if (ref.Grant != 0) != (p.State == ledger.PaymentPaid && p.Kind.Buys()) {
			f.t.Errorf("%s: payment %d is %s, its credits are entry %d", step, p.ID, p.State, ref.Grant)
		}
		if ref.Grant != 0 {
			bought[ref.Grant] = p
		}
		if (p.Number != 0) != (p.State == ledger.PaymentPaid) || (p.ReceiptText() == "") != (p.Number == 0) {
			f.t.Errorf("%s: payment %d is %s with the receipt %q", step, p.ID, p.State, p.ReceiptText())
		}
	}
	for _, e := range s.Entries {
		if e.Taken != 0 {
			continue
		}
		p := bought[e.Seq]
		if p == nil || e.Grant.Source != ledger.Purchase || e.Grant.Amount != p.Credits || e.Grant.Reference != p.ReceiptText() || !e.Grant.Expires.Equal(p.Expires) {
			f.t.Errorf("%s: entry %d grants %+v for payment %+v", step, e.Seq, e.Grant, p)
		}
		delete(bought, e.Seq)
	}
	if len(bought) != 0 {
		f.t.Errorf("%s: not granted: %v", step, bought)
	}
}

// TestPaidIsGranted: the credits are in the entry behind the payment's, and every
// state of the file has both or none.
func TestPaidIsGranted(t *testing.T) {
	f := newLife(t)
	f.begin(purchase(f.user))
	expires := start.AddDate(1, 0, 0).Add(123456 * time.Nanosecond)
	p := purchase(f.user)
	p.Expires = expires.In(time.FixedZone("CET", 3600))
	f.begin(p)
	before := status(t, f.l).Seq
	made := changePayment(t, f.l, f.user, f.payments[1], func(p *ledger.Payment) {
		collected(p)
		p.Tell = []ledger.Notice{{Code: ledger.CreditsBought, Subject: "payment 2", Payment: p.ID}}
	})
	ref, ok := f.l.Account(f.user).User().PaymentRef(made.ID)
	if told := f.l.Account(f.user).User().Notices; !ok || ref.Seq != before+1 || ref.Grant != before+2 || len(told) != 1 || told[0].Seq != before+3 {
		t.Errorf("after entry %d: paid in entry %d, credits in %d, notices %+v", before, ref.Seq, ref.Grant, told)
	}
	if want := expires.Truncate(time.Millisecond); made.Tell != nil || !made.Expires.Equal(want) || made.Number != 1 {
		t.Errorf("paid: %+v, want its credits to expire at %v", made, want)
	}
	f.grants("paid")
}

// TestReceiptNumbers: receipts are numbered without gaps over all users, whoever
// changes whatever at the same time.
func TestReceiptNumbers(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	const users, each = 12, 5
	var ids []ledger.UserID
	for n := range users {
		ids = append(ids, addUser(t, l, fmt.Sprintf("u%d@example.com", n)).ID)
	}
	numbers := make(chan uint32, users*each)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			for n := range each {
				kind := []func(ledger.UserID) ledger.Payment{purchase, recharge, func(u ledger.UserID) ledger.Payment { return realtime(u, january, 50) }}[n%3]
				p, err := l.AddPayment(start, "test", kind(id))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := l.ChangePayment(start, "test", id, p.ID, func(p *ledger.Payment) error { collected(p); p.Total++; return nil }); err == nil {
					t.Error("another total is taken")
				}
				p, err = l.ChangePayment(start, "test", id, p.ID, func(p *ledger.Payment) error { collected(p); return nil })
				if err != nil {
					t.Error(err)
					return
				}
				if again, err := l.ChangePayment(start, "webhook", id, p.ID, func(p *ledger.Payment) error { collected(p); return nil }); err != nil || again.Number != p.Number {
					t.Errorf("paid twice: %+v, %v", again, err)
				}
				numbers <- p.Number
			}
		})
	}
	all.Wait()
	close(numbers)
	var got []uint32
	for n := range numbers {
		got = append(got, n)
	}
	slices.Sort(got)
	for n, number := range got {
		if int(number) != n+1 {
			t.Fatalf("receipts %v", got)
		}
	}
	if len(got) != users*each {
		t.Errorf("%d receipts of %d", len(got), users*each)
	}
}

// TestImpossiblePayments: what does not add up, or would change what was agreed, is
// refused, and nothing of it is logged.
func TestImpossiblePayments(t *testing.T) {
	f := newLife(t)
	l, user := f.l, f.user
	before := status(t, l).Seq
	for name, change := range map[string]func(*ledger.Payment){
		"of nobody":                     func(p *ledger.Payment) { p.User = 0 },
		"of a stranger":                 func(p *ledger.Payment) { p.User = 9 },
		"of no kind":                    func(p *ledger.Payment) { p.Kind = "" },
		"of a made up kind":             func(p *ledger.Payment) { p.Kind = "gift" },
		"for nothing":                   func(p *ledger.Payment) { p.Total, p.Lines = 0, nil },
		"lines that are not the total":  func(p *ledger.Payment) { p.Total++ },
		"a line below zero":             func(p *ledger.Payment) { p.Lines[1].Amount, p.Total = -100, 9900 },
		"a sum beyond all":              func(p *ledger.Payment) { p.Lines[0].Amount, p.Total = math.MaxInt64, math.MinInt64+1899 },
		"no credits":                    func(p *ledger.Payment) { p.Credits = 0 },
		"less than no credits":          func(p *ledger.Payment) { p.Credits = -1 },
		"too many credits":              func(p *ledger.Payment) { p.Credits = ledger.MaxCredits + 1 },
		"credits with usage":            func(p *ledger.Payment) { p.Kind = ledger.RealtimePayment },
		"credits below zero with usage": func(p *ledger.Payment) { p.Kind, p.Credits = ledger.RealtimePayment, -1 },
		"credits that have expired":     func(p *ledger.Payment) { p.Expires = start },
		"credits for too long":          func(p *ledger.Payment) { p.Expires = start.AddDate(5000, 0, 0) },
		"with a receipt":                func(p *ledger.Payment) { p.Number = 1 },
		"refunded at once":              func(p *ledger.Payment) { p.Refunded = 1 },
		"disputed at once":              func(p *ledger.Payment) { p.Disputed = 1 },
		"owing at once":                 func(p *ledger.Payment) { p.Owed = 1 },
		"asked for at once":             func(p *ledger.Payment) { p.AskedIn = 1 },
		"settled at once":               func(p *ledger.Payment) { p.PaidBy = "transfer" },
		"too long":                      func(p *ledger.Payment) { p.Pack = strings.Repeat("x", 2<<20) },
	} {
		p := purchase(user)
		change(&p)
		if _, err := l.AddPayment(start, "test", p); err == nil {
			t.Errorf("%s is begun", name)
		}
	}
	if after := status(t, l).Seq; after != before {
		t.Fatalf("%d entries were logged", after-before)
	}
	full := addUser(t, l, "full@example.com")
	if _, err := l.GrantCredits(start, "test", full.ID, ledger.Grant{Source: ledger.Adjustment, Amount: ledger.MaxCredits}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddPayment(start, "test", purchase(full.ID)); err == nil {
		t.Error("credits that cannot be granted are sold")
	}

	// In whatever state it is.
	always := map[string]func(*ledger.Payment){
		"another id":            func(p *ledger.Payment) { p.ID++ },
		"another kind":          func(p *ledger.Payment) { p.Kind = ledger.RechargePayment },
		"another user":          func(p *ledger.Payment) { p.User = full.ID },
		"another month":         func(p *ledger.Payment) { p.Month++ },
		"another pack":          func(p *ledger.Payment) { p.Pack = "20k" },
		"more credits":          func(p *ledger.Payment) { p.Credits *= 2 },
		"credits that expire":   func(p *ledger.Payment) { p.Expires = start.AddDate(1, 0, 0) },
		"another line":          func(p *ledger.Payment) { p.Lines[0].Description = "x" },
		"another total":         func(p *ledger.Payment) { p.Total++ },
		"other lines and total": func(p *ledger.Payment) { p.Total, p.Lines[0].Amount = p.Total+1, p.Lines[0].Amount+1 },
		"another time":          func(p *ledger.Payment) { p.Made = start.Add(time.Hour) },
		"no state":              func(p *ledger.Payment) { p.State = "" },
		"past due":              func(p *ledger.Payment) { p.State = ledger.PaymentPastDue },
		"refunded below zero":   func(p *ledger.Payment) { p.Refunded = -1 },
		"disputed below zero":   func(p *ledger.Payment) { p.Disputed = -1 },
		"owing below zero":      func(p *ledger.Payment) { p.Owed = -1 },
		"owing what it has":     func(p *ledger.Payment) { p.Owed = 1 },
		"asked for":             func(p *ledger.Payment) { p.AskedIn = 1 },
		"settled":               func(p *ledger.Payment) { p.PaidBy = "transfer" },
		"fewer tries":           func(p *ledger.Payment) { p.Tries-- },
		"an intent replaced":    func(p *ledger.Payment) { p.Intent = &ledger.Intent{Op: "page", Key: "k2", At: start} },
		"a year without end":    func(p *ledger.Payment) { p.Next = start.AddDate(50_000, 0, 0) },
		"too much to say":       func(p *ledger.Payment) { p.Failure = strings.Repeat("x", 2<<20) },
	}
	refuses := func(state string, id ledger.PaymentID, table map[string]func(*ledger.Payment)) {
		t.Helper()
		was, err := l.Payment(user, id)
		if err != nil {
			t.Fatal(err)
		}
		before := status(t, l)
		for name, change := range table {
			if p, err := l.ChangePayment(start, "test", user, id, func(p *ledger.Payment) error { change(p); return nil }); err == nil {
				t.Errorf("%s: %s is taken: %+v", state, name, p)
			}
		}
		no := errors.New("no")
		if _, err := l.ChangePayment(start, "test", user, id, func(p *ledger.Payment) error { p.Tries++; return no }); !errors.Is(err, no) {
			t.Errorf("%s: an error of the caller: %v", state, err)
		}
		if _, err := l.ChangePayment(start, "test", user, id, func(*ledger.Payment) error { return nil }); err != nil {
			t.Errorf("%s: no change: %v", state, err)
		}
		if after := status(t, l); after.Seq != before.Seq {
			t.Fatalf("%s: %d entries were logged", state, after.Seq-before.Seq)
		}
		if got, err := l.Payment(user, id); err != nil || !cmp.Equal(was, got) {
			t.Errorf("%s: it has changed: %v", state, cmp.Diff(was, got))
		}
	}
	id := addPayment(t, l, purchase(user)).ID
	changePayment(t, l, user, id, func(p *ledger.Payment) { p.Tries, p.Intent = 1, &ledger.Intent{Op: "page", Key: "k1", At: start} })
	refuses("pending", id, always)
	refuses("pending", id, map[string]func(*ledger.Payment){
		"a receipt": func(p *ledger.Payment) { p.Number = 1 },
		"refunded":  func(p *ledger.Payment) { p.Refunded = 1 },
		"disputed":  func(p *ledger.Payment) { p.Disputed = 1 },
		"wrapped":   func(p *ledger.Payment) { p.Refunded, p.Disputed = math.MaxInt64, math.MaxInt64 },
	})
	changePayment(t, l, user, id, func(p *ledger.Payment) { p.State = ledger.PaymentGivenUp })
	refuses("given up", id, always)
	refuses("given up", id, map[string]func(*ledger.Payment){
		"pending again": func(p *ledger.Payment) { p.State = ledger.PaymentPending },
		"refunded":      func(p *ledger.Payment) { p.Refunded = 1 },
	})
	changePayment(t, l, user, id, func(p *ledger.Payment) { p.State, p.PaidAt = ledger.PaymentPaid, start })
	refuses("paid", id, always)
	refuses("paid", id, map[string]func(*ledger.Payment){
		"pending again":      func(p *ledger.Payment) { p.State = ledger.PaymentPending },
		"given up":           func(p *ledger.Payment) { p.State = ledger.PaymentGivenUp },
		"another receipt":    func(p *ledger.Payment) { p.Number++ },
		"no receipt":         func(p *ledger.Payment) { p.Number = 0 },
		"owing more than it": func(p *ledger.Payment) { p.Disputed, p.Owed = math.MaxInt64, 11901 },
		"owing too much":     func(p *ledger.Payment) { p.Disputed, p.Owed = 100, 101 },
	})
	changePayment(t, l, user, id, func(p *ledger.Payment) { p.Disputed, p.Owed = 11900, 5000 })
	refuses("owed", id, map[string]func(*ledger.Payment){
		"asked for by hand":     func(p *ledger.Payment) { p.Owed, p.AskedIn = 0, 1 },
		"settled in part":       func(p *ledger.Payment) { p.Owed, p.PaidBy = 1000, "transfer" },
		"settled, and won":      func(p *ledger.Payment) { p.Owed, p.Disputed, p.PaidBy = 0, 0, "transfer" },
		"won, and owed still":   func(p *ledger.Payment) { p.Disputed = 0 },
		"asked for and settled": func(p *ledger.Payment) { p.Owed, p.AskedIn, p.PaidBy = 0, 1, "transfer" },
	})
	given := addPayment(t, l, recharge(user)).ID
	changePayment(t, l, user, given, func(p *ledger.Payment) { p.State = ledger.PaymentGivenUp })
	refuses("a recharge given up", given, map[string]func(*ledger.Payment){"paid": collected})

	if _, err := l.ChangePayment(start, "test", user, id+1000, func(*ledger.Payment) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown payment: %v", err)
	}
	if _, err := l.Payment(full.ID, id); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("another's payment: %v", err)
	}
	if _, err := l.Payment(77, id); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a stranger's payment: %v", err)
	}
}

// TestImpossibleDebts: invoices ask for what payments owe, all of it, once.
func TestImpossibleDebts(t *testing.T) {
	f := newLife(t)
	other := addUser(t, f.l, "bob@example.com").ID
	f.begin(purchase(f.user))
	f.change(collected)
	f.burn(10_000 * ledger.Unit)
	f.change(func(p *ledger.Payment) { p.Disputed, p.Owed = 11900, 11900 })
	id, before := f.payments[0], status(t, f.l).Seq
	ask := func(m ledger.Month, cents int64) ledger.Invoice {
		i := bill(f.user, m, cents)
		i.Lines = []ledger.InvoiceLine{{Kind: ledger.CarriedIn, Amount: cents, Payment: id}}
		return i
	}
	for name, list := range map[string][]ledger.Invoice{
		"too little": {ask(january, 11899)},
		"too much":   {ask(january, 11901)},
		"of another": {func() ledger.Invoice { i := ask(january, 11900); i.User = other; return i }()},
		"of nobody":  {func() ledger.Invoice { i := ask(january, 11900); i.Lines[0].Payment = 1; return i }()},
		"as a fee":   {func() ledger.Invoice { i := ask(january, 11900); i.Lines[0].Kind = "fee"; return i }()},
		"twice in an invoice": {func() ledger.Invoice {
			i := ask(january, 11900)
			i.Lines, i.Total = append(i.Lines, i.Lines[0]), 23800
			return i
		}()},
		"twice in a commit": {ask(january, 11900), ask(january+1, 11900)},
	} {
		if _, err := f.l.AddInvoices(start, "test", list); err == nil {
			t.Errorf("asked for %s", name)
		}
	}
	if after := status(t, f.l).Seq; after != before {
		t.Fatalf("%d entries were logged", after-before)
	}
	f.invoice(ask(january, 11900))
	if _, err := f.l.AddInvoices(start, "test", []ledger.Invoice{ask(january+1, 11900)}); err == nil {
		t.Error("asked for again")
	}
	if _, err := f.l.AddInvoices(start, "test", []ledger.Invoice{ask(january+1, 0)}); err == nil {
		t.Error("nothing is asked for")
	}
	ref, _ := f.l.Account(f.user).User().PaymentRef(id)
	if want := status(t, f.l).Seq; ref.AskedIn != f.invoices[0] || ref.Owed != 0 || ref.Seq != want {
		t.Errorf("asked for: %+v, the last entry is %d", ref, want)
	}
}

// TestTell: notices are in the commit of what they tell of, once. A change that
// tells nothing new, and changes nothing, is none.
func TestTell(t *testing.T) {
	f := newLife(t)
	f.begin(realtime(f.user, january, 60))
	f.invoice(bill(f.user, january+1, 4900))
	failed := func(what string) []ledger.Notice {
		return []ledger.Notice{{Code: ledger.PaymentFailed, Subject: what, Amount: 60}, {Code: ledger.PaymentFailed, Subject: what}, {Code: "", Subject: what}, {Code: "\xff"}}
	}
	tell := map[string]func(again string) error{
		"payment": func(again string) error {
			_, err := f.l.ChangePayment(start, "test", f.user, f.payments[0], func(p *ledger.Payment) error {
				p.State, p.Tell = ledger.PaymentPastDue, failed("payment"+again)
				return nil
			})
			return err
		},
		"invoice": func(again string) error {
			_, err := f.l.ChangeInvoice(start, "test", f.invoices[0], func(i *ledger.Invoice) error {
				i.State, i.Tell = ledger.PastDue, failed("invoice"+again)
				return nil
			})
			return err
		},
		"new invoice": func(again string) error {
			if again != "" {
				return nil
			}
			i := bill(f.user, january, 100)
			i.Tell = failed("new invoice")
			_, err := f.l.AddInvoices(start, "test", []ledger.Invoice{i})
			return err
		},
	}
	for what, change := range tell {
		before := status(t, f.l).Seq
		if err := change(""); err != nil {
			t.Fatal(err)
		}
		refs := f.l.Account(f.user).User().Notices
		ref := refs[len(refs)-1]
		if after := status(t, f.l).Seq; after != before+2 || ref.Seq != after || ref.Subject != what {
			t.Errorf("%s: %d entries, the last notice is %+v", what, after-before, ref)
		}
		n, err := f.l.Notice(f.user, ref.ID)
		want := &ledger.Notice{ID: ledger.NoticeID(ref.Seq), User: f.user, Code: ledger.PaymentFailed, Month: january, Subject: what, Time: start, Amount: 60}
		if diff := cmp.Diff(want, n); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", what, err, diff)
		}
		if err := change(""); err != nil && what != "new invoice" {
			t.Errorf("%s again: %v", what, err)
		}
		if after := status(t, f.l).Seq; after != before+2 {
			t.Errorf("%s again: %d entries", what, after-before-2)
		}
		if err := change(" again"); err != nil {
			t.Errorf("%s: another notice alone: %v", what, err)
		}
		if after := status(t, f.l).Seq; after != before+3 && what != "new invoice" {
			t.Errorf("%s: another notice alone: %d entries", what, after-before-2)
		}
	}
	if !f.l.Account(f.user).User().Told(ledger.PaymentFailed, january, "payment") || f.l.Account(f.user).User().Told(ledger.PaymentFailed, january+1, "payment") {
		t.Error("what was told is not what was told")
	}
}
