package ledger_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/ledger"
)

// TestForgedInvoices: an entry that no rule lets pass, on a chain that is whole
// all the same, is found by verify.
func TestForgedInvoices(t *testing.T) {
	for _, tt := range []struct {
		name  string
		forge func(first ledger.Invoice) (ledger.Invoice, []ledger.Move)
		want  string
	}{
		{"nothing", nil, ""},
		{"a second invoice of a month", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			i = bill(i.User, i.Month, 100)
			i.ID, i.Number = 3, 3
			return i, nil
		}, "exists"},
		{"a gap in the numbers", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			i = bill(i.User, i.Month+2, 100)
			i.ID, i.Number = 3, 4
			return i, nil
		}, "number 4 follows number 2"},
		{"a gap in the ids", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			i = bill(i.User, i.Month+2, 100)
			i.ID, i.Number = 5, 3
			return i, nil
		}, "invoice 5 follows invoice 2"},
		{"other lines", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			i.Lines = []ledger.InvoiceLine{{Kind: "fee", Description: "Basic", Amount: 4900}}
			return i, nil
		}, "what was sealed cannot change"},
		{"moves that do not sum to zero", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			pay(&i)
			return i, []ledger.Move{{Account: "cash", Amount: 4900}}
		}, "moves"},
		{"another head", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			seal := i.Head
			i = bill(i.User, i.Month+2, 100)
			i.ID, i.Number, i.Last, i.Head = 3, 3, 2, seal
			return i, nil
		}, "not on the chain at entry 2"},
		{"what the provider has as another", func(i ledger.Invoice) (ledger.Invoice, []ledger.Move) {
			i = bill(i.User, i.Month+2, 100)
			i.ID, i.Number, i.Provider = 3, 3, "in_1"
			return i, nil
		}, "in_1 at the provider, which invoice 1 is already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// No ledgertest: it would fail the test when it ends.
			l, err := ledger.Open(filepath.Join(t.TempDir(), "tollgate.db"), ledger.Options{Now: start, Zone: "UTC", Currency: "usd"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			addRoute(t, l)
			u := addUser(t, l, "ada@example.com")
			appendAll(t, l, start, call(u.ID, 0, 1, start, 3))
			seal, err := l.Seal(u.ID, january)
			if err != nil {
				t.Fatal(err)
			}
			first := bill(u.ID, january, 4900)
			first.First, first.Last, first.Head = seal.First, seal.Last, seal.Head
			id := addInvoice(t, l, start, first).ID
			addInvoice(t, l, start, bill(u.ID, january+1, 100))
			made := changeInvoice(t, l, id, func(i *ledger.Invoice) { i.Provider = "in_1" })
			if tt.forge != nil {
				i, moves := tt.forge(*made)
				if err := ledger.Forge(l, start, i, moves); err != nil {
					t.Fatal(err)
				}
			}
			report, err := l.Verify(context.Background(), ledger.Checks{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(report.Problems, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("verify found %q, want %q", got, tt.want)
			}
		})
	}
}
