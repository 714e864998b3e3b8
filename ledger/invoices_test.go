package ledger_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

var january = ledger.MonthOf(2025, time.January)

// bill is an invoice with one line.
func bill(u ledger.UserID, m ledger.Month, cents int64) ledger.Invoice {
	i := ledger.Invoice{User: u, Month: m, State: ledger.Issued, Total: cents, Lines: []ledger.InvoiceLine{{Kind: "fee", Description: "Pro", Amount: cents}}}
	if cents == 0 {
		i.State, i.Lines = ledger.Paid, nil
	}
	return i
}

func addInvoice(t testing.TB, l *ledger.Ledger, now time.Time, i ledger.Invoice) *ledger.Invoice {
	t.Helper()
	list, err := l.AddInvoices(now, "bill run", []ledger.Invoice{i})
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func changeInvoice(t testing.TB, l *ledger.Ledger, id ledger.InvoiceID, change func(*ledger.Invoice)) *ledger.Invoice {
	t.Helper()
	i, err := l.ChangeInvoice(start, "test", id, func(i *ledger.Invoice) error { change(i); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func pay(i *ledger.Invoice) {
	i.State, i.Collected, i.PaidAt, i.Intent = ledger.Paid, i.Total-i.Carried-i.Credited, start, nil
}

// TestInvoiceLives takes invoices through their states, and opens the ledger
// again after each step: what was there stays.
func TestInvoiceLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	addRoute(t, l)
	ada, bob := addUser(t, l, "ada@example.com"), addUser(t, l, "bob@example.com")
	appendAll(t, l, start, call(ada.ID, 0, 1, start, 3))

	seal, err := l.Seal(ada.ID, january)
	if err != nil || ledger.Sum(seal.Plans).Documents != 3 || len(seal.Head) != 32 {
		t.Fatalf("sealed %+v (%v)", seal, err)
	}
	sealed := bill(ada.ID, january, 4900)
	sealed.First, sealed.Last, sealed.Head = seal.First, seal.Last, seal.Head
	small := bill(bob.ID, january, 49)
	small.State, small.Carried = ledger.Paid, 49
	list, err := l.AddInvoices(start, "bill run", []ledger.Invoice{sealed, small})
	if err != nil || list[0].Number != 1 || list[1].Number != 0 || list[0].ID != 1 || list[1].ID != 2 {
		t.Fatalf("%+v (%v)", list, err)
	}
	next := bill(bob.ID, january+1, 98)
	next.Lines = []ledger.InvoiceLine{{Kind: ledger.CarriedIn, Amount: 49}, {Kind: "usage", Amount: 40}, {Kind: ledger.TaxLine, Amount: 9}}
	if third := addInvoice(t, l, start, next); third.NumberText() != "2025-02-000002" {
		t.Errorf("the second number is %q", third.NumberText())
	}
	steps := []struct {
		name   string
		id     ledger.InvoiceID
		change func(*ledger.Invoice)
		owes   bool
	}{
		{"an intent", 1, func(i *ledger.Invoice) { i.Intent = &ledger.Intent{Op: "push", Attempt: 1, Key: "k", At: start} }, false},
		{"at the provider", 1, func(i *ledger.Invoice) { i.Intent, i.Provider, i.URL = nil, "in_1", "https://pay.example.com" }, false},
		{"declined", 1, func(i *ledger.Invoice) {
			i.State, i.Attempts, i.Failed, i.Next, i.Failure = ledger.PastDue, 1, start, start.Add(72*time.Hour), "card_declined"
		}, true},
		{"a mail", 1, func(i *ledger.Invoice) { i.Mails = append(i.Mails, ledger.Mail{Kind: "failed", Queued: start}) }, true},
		{"given up", 1, func(i *ledger.Invoice) { i.State, i.Next = ledger.Uncollectible, time.Time{} }, true},
		{"paid after all", 1, pay, false},
		{"given back", 1, func(i *ledger.Invoice) { i.Refunded = 900 }, false},
		{"disputed", 1, func(i *ledger.Invoice) { i.Disputed = true }, false},
		{"credited", 3, func(i *ledger.Invoice) { i.Credited = 10 }, false},
		{"void", 3, func(i *ledger.Invoice) { i.State = ledger.Void }, false},
	}
	for _, s := range steps {
		made := changeInvoice(t, l, s.id, s.change)
		for range 2 {
			got, err := l.Invoice(s.id)
			if diff := cmp.Diff(made, got); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", s.name, err, diff)
			}
			if owes := l.Account(got.User).User().Owes(); owes != s.owes {
				t.Errorf("%s: owes is %v", s.name, owes)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = ledgertest.Open(t, path, ledger.Options{Now: start})
		}
	}
	want := map[string]int64{"receivable": 0, "carried": 49, "cash": 4000, "revenue": -4989, "tax": -9, "credited": 910, "voided": 39}
	if diff := cmp.Diff(want, l.Books()); diff != "" {
		t.Error(diff)
	}
	again := bill(bob.ID, january+1, 98)
	again.Replaces = 3
	if i := addInvoice(t, l, start, again); i.Number != 3 || i.ID != 4 {
		t.Errorf("the replacement is %+v", i)
	}
	if ref, ok := l.Account(bob.ID).User().InvoiceOf(january + 1); !ok || ref.ID != 4 || l.LastInvoice() != 4 {
		t.Errorf("the month has %+v", ref)
	}
}

// TestImpossibleInvoices: what would bill twice, change what was sealed, or not
// add up is refused, and nothing of it is logged.
func TestImpossibleInvoices(t *testing.T) {
	l := ledgertest.New(t, ledger.Options{})
	u := addUser(t, l, "ada@example.com")
	addInvoice(t, l, start, bill(u.ID, january, 4900))
	void := addInvoice(t, l, start, bill(u.ID, january+1, 100))
	changeInvoice(t, l, void.ID, func(i *ledger.Invoice) { i.State = ledger.Void })
	before := status(t, l)
	for name, change := range map[string]func(*ledger.Invoice){
		"a month twice":                     func(i *ledger.Invoice) { i.Month = january },
		"a void month without its name":     func(i *ledger.Invoice) { i.Month = january + 1 },
		"in place of another":               func(i *ledger.Invoice) { i.Replaces = 1 },
		"of nobody":                         func(i *ledger.Invoice) { i.User = 0 },
		"of a stranger":                     func(i *ledger.Invoice) { i.User = 7 },
		"lines that are not the total":      func(i *ledger.Invoice) { i.Total++ },
		"paid at once":                      func(i *ledger.Invoice) { i.State = ledger.Paid },
		"past due at once":                  func(i *ledger.Invoice) { i.State = ledger.PastDue },
		"more carried than there is":        func(i *ledger.Invoice) { i.Carried = 5000 },
		"collected at once":                 func(i *ledger.Invoice) { i.Collected = 1 },
		"nothing due, and still to be paid": func(i *ledger.Invoice) { i.Carried = 4900 },
	} {
		i := bill(u.ID, january+2, 4900)
		change(&i)
		if _, err := l.AddInvoices(start, "test", []ledger.Invoice{bill(u.ID, january+3, 1), i}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := l.AddInvoices(start, "test", []ledger.Invoice{bill(u.ID, january+3, 1), bill(u.ID, january+3, 1)}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the same month twice at once: %v", err)
	}
	for name, change := range map[string]func(*ledger.Invoice){
		"another total":        func(i *ledger.Invoice) { i.Total, i.Lines[0].Amount = 1, 1 },
		"another line":         func(i *ledger.Invoice) { i.Lines[0].Description = "x" },
		"another month":        func(i *ledger.Invoice) { i.Month++ },
		"another number":       func(i *ledger.Invoice) { i.Number++ },
		"another sealed range": func(i *ledger.Invoice) { i.Last++ },
		"paid with nothing":    func(i *ledger.Invoice) { i.State = ledger.Paid },
		"too much collected":   func(i *ledger.Invoice) { i.Collected = 4901 },
		"refunded but unpaid":  func(i *ledger.Invoice) { i.Refunded = 1 },
		"no state":             func(i *ledger.Invoice) { i.State = "" },
	} {
		if _, err := l.ChangeInvoice(start, "test", 1, func(i *ledger.Invoice) error { change(i); return nil }); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	changeInvoice(t, l, 1, pay)
	for name, change := range map[string]func(*ledger.Invoice){
		"less than was paid":    func(i *ledger.Invoice) { i.State, i.Collected = ledger.PastDue, 0 },
		"void what was paid":    func(i *ledger.Invoice) { i.State = ledger.Void },
		"issued for the second": func(i *ledger.Invoice) { i.State = ledger.Issued },
	} {
		if _, err := l.ChangeInvoice(start, "test", 1, func(i *ledger.Invoice) error { change(i); return nil }); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if after := status(t, l); after.Seq != before.Seq+1 {
		t.Errorf("%d entries were logged, want the payment alone", after.Seq-before.Seq)
	}
	if _, err := l.Invoice(9); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("invoice 9: %v", err)
	}
}

// TestProviderIsPinned: a ledger belongs to one account of the provider.
func TestProviderIsPinned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	for _, p := range []ledger.Provider{{Account: "acct_1"}, {Account: "acct_1"}} {
		if err := l.PinProvider(start, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.Open(t, path, ledger.Options{Now: start})
	for _, p := range []ledger.Provider{{Account: "acct_2"}, {Account: "acct_1", Live: true}} {
		if err := l.PinProvider(start, p); !errors.Is(err, ledger.ErrMismatch) || !strings.Contains(err.Error(), "acct_1") {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if !l.Reconciled() {
		t.Error("the first epoch needs a reconciliation")
	}
}

func status(t testing.TB, l *ledger.Ledger) ledger.Info {
	t.Helper()
	s, err := l.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
