package ledger_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		"asked for in part":     func(p *ledger.Payment) { p.Asked = 1 },
		"asked for no more":     func(p *ledger.Payment) { p.Asked = -1 },
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
	p, err := f.l.Payment(f.user, id)
	if err != nil || p.Asked != 11900 {
		t.Errorf("asked for: %+v, %v", p, err)
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
