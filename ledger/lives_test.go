package ledger_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

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
		"money that goes back in two parts, asked for twice": {
			begun(purchase, nil),
			paid,
			{"burnt", func(f *life) { f.burn(10_000 * ledger.Unit) }, paid.books, 0, false, false},
			{"refunded in part", changed(func(p *ledger.Payment) { p.Refunded, p.Owed = 1900, 1900 }), books{"cash": 10000, "carried": 1900, "sold": -10000, "tax": -1900}, 0, true, true},
			{"asked for", func(f *life) { f.ask(january, 100) }, books{"cash": 10000, "receivable": 2000, "revenue": -100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"paid again", func(f *life) { f.changeInvoice(pay) }, books{"cash": 12000, "revenue": -100, "sold": -10000, "tax": -1900}, 0, false, false},
			{"disputed", func(f *life) {
				f.change(func(p *ledger.Payment) { p.Disputed, p.Owed = 10000, p.Total-p.Asked })
			}, books{"cash": 2000, "carried": 10000, "revenue": -100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"asked for, too", func(f *life) {
				f.ask(january+1, 100)
				p, err := f.l.Payment(f.user, f.payments[0])
				if err != nil || p.Asked != p.Total || p.Owed != 0 {
					f.t.Errorf("%+v, %v", p, err)
				}
			}, books{"cash": 2000, "receivable": 10100, "revenue": -200, "sold": -10000, "tax": -1900}, 0, true, true},
		},
		"an invoice that asks is void, and made again": {
			begun(purchase, nil),
			paid,
			{"burnt", func(f *life) { f.burn(10_000 * ledger.Unit) }, paid.books, 0, false, false},
			{"disputed", disputed(11900), books{"carried": 11900, "sold": -10000, "tax": -1900}, 0, true, true},
			{"asked for", func(f *life) { f.ask(january, 100) }, books{"receivable": 12000, "revenue": -100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"void", func(f *life) { f.changeInvoice(func(i *ledger.Invoice) { i.State = ledger.Void }) },
				books{"carried": 11900, "revenue": -100, "voided": 100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"asked for in its place", func(f *life) {
				i := bill(f.user, january, 11900)
				i.Lines, i.Replaces = []ledger.InvoiceLine{{Kind: ledger.CarriedIn, Amount: 11900, Payment: f.payments[0]}}, f.invoices[0]
				f.invoice(i)
			}, books{"receivable": 11900, "revenue": -100, "voided": 100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"won in part", changed(func(p *ledger.Payment) { p.Disputed = 900 }), books{"cash": 11000, "receivable": 11900, "revenue": -100, "voided": 100, "sold": -21000, "tax": -1900}, 0, true, true},
			{"void again", func(f *life) { f.changeInvoice(func(i *ledger.Invoice) { i.State = ledger.Void }) },
				books{"cash": 11000, "carried": 900, "revenue": -100, "voided": 100, "sold": -10000, "tax": -1900}, 0, true, true},
			{"won", changed(func(p *ledger.Payment) { p.Disputed, p.Owed = 0, 0 }),
				books{"cash": 11900, "revenue": -100, "voided": 100, "sold": -10000, "tax": -1900}, 0, false, false},
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
