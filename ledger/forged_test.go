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

// TestForgedPayments does the same with payments and notices.
func TestForgedPayments(t *testing.T) {
	type list = []any
	// begun is the user's pending purchase, lost one that was paid, burnt and disputed.
	type forge = func(begun, lost ledger.Payment) list
	paid := func(p ledger.Payment) ledger.PaymentEntry {
		collected(&p)
		p.Number = 2
		return ledger.PaymentEntry{Payment: p}
	}
	credits := func(p ledger.Payment) ledger.UserGrant {
		return ledger.UserGrant{User: p.User, Grant: ledger.Grant{Source: ledger.Purchase, Amount: p.Credits, Expires: p.Expires, Reference: "R-000002"}, Payment: p.ID}
	}
	notice := ledger.Notice{User: 1, Code: ledger.CreditsLow, Month: january, Time: start}
	granted := func(change func(*ledger.UserGrant)) forge {
		return func(p, _ ledger.Payment) list {
			g := credits(p)
			change(&g)
			return list{paid(p), g}
		}
	}
	changed := func(change func(*ledger.Payment)) forge {
		return func(p, _ ledger.Payment) list {
			change(&p)
			return list{ledger.PaymentEntry{Payment: p}}
		}
	}
	for _, tt := range []struct {
		name  string
		forge forge
		want  string
	}{
		{"nothing", func(p, _ ledger.Payment) list { return list{paid(p), credits(p), notice} }, ""},
		{"other moves", func(p, _ ledger.Payment) list {
			e := paid(p)
			e.Moves = []ledger.Move{{Account: "cash", Amount: 100}, {Account: "sold", Amount: -100}}
			return list{e, credits(p)}
		}, "moves"},
		{"no moves", func(p, _ ledger.Payment) list {
			e := paid(p)
			e.Moves = []ledger.Move{}
			return list{e, credits(p)}
		}, "moves"},
		{"no credits", func(p, _ ledger.Payment) list { return list{paid(p)} }, "the end: payment 8 has bought"},
		{"no credits, and it goes on", func(p, _ ledger.Payment) list { return list{paid(p), notice} }, "payment 8 has bought"},
		{"fewer credits", granted(func(g *ledger.UserGrant) { g.Grant.Amount-- }), "payment 8 has bought"},
		{"credits from elsewhere", granted(func(g *ledger.UserGrant) { g.Grant.Source = ledger.Promotion }), "payment 8 has bought"},
		{"credits that expire", granted(func(g *ledger.UserGrant) { g.Grant.Expires = start.AddDate(1, 0, 0) }), "payment 8 has bought"},
		{"credits of no payment", granted(func(g *ledger.UserGrant) { g.Payment = 0 }), "payment 8 has bought"},
		{"credits of another payment", granted(func(g *ledger.UserGrant) { g.Payment-- }), "payment 8 has bought"},
		{"credits of another user", granted(func(g *ledger.UserGrant) { g.User = 2 }), "payment 8 has bought"},
		{"credits twice", func(p, _ ledger.Payment) list { return list{paid(p), credits(p), credits(p)} }, "that it has not just bought"},
		{"credits that were not paid for", func(p, _ ledger.Payment) list { return list{credits(p)} }, "that it has not just bought"},
		{"credits again", func(_, p ledger.Payment) list { return list{credits(p)} }, "that it has not just bought"},
		{"a receipt twice", func(p, _ ledger.Payment) list {
			e := paid(p)
			e.Payment.Number = 1
			return list{e, credits(p)}
		}, "receipt number 1 follows number 1"},
		{"a gap in the receipts", func(p, _ ledger.Payment) list {
			e := paid(p)
			e.Payment.Number = 3
			return list{e, credits(p)}
		}, "receipt number 3 follows number 1"},
		{"another price", changed(func(p *ledger.Payment) { p.Total, p.Lines = 100, []ledger.InvoiceLine{{Kind: "credits", Amount: 100}} }), "what it is for cannot change"},
		{"the provider's id of another", changed(func(p *ledger.Payment) { p.Provider = "cs_1" }), "cs_1 at the provider, which payment"},
		{"paid from the beginning", changed(func(p *ledger.Payment) { p.ID, p.Number, p.State = 0, 2, ledger.PaymentPaid }), "cannot become paid"},
		{"never begun", changed(func(p *ledger.Payment) { p.ID += 100 }), "cannot be read as it was before"},
		{"of a stranger", changed(func(p *ledger.Payment) { p.User = 9 }), "a payment of user 9, who was never added"},
		{"what it owes is asked for by nothing", func(_, p ledger.Payment) list {
			p.Owed, p.AskedIn, p.Asked = 0, 1, 11900
			return list{ledger.PaymentEntry{Payment: p}}
		}, "says that an invoice asks for 11900"},
		{"what it owes is forgiven", func(_, p ledger.Payment) list {
			p.Owed = 0
			return list{ledger.PaymentEntry{Payment: p, Moves: []ledger.Move{{Account: "carried", Amount: -11900}, {Account: "cash", Amount: 11900}}}}
		}, "moves"},
		{"asked for, and it does not say so", func(_, p ledger.Payment) list {
			i := bill(p.User, january, 11900)
			i.ID, i.Number, i.Lines = 1, 1, []ledger.InvoiceLine{{Kind: ledger.CarriedIn, Amount: 11900, Payment: p.ID}}
			return list{i}
		}, "the end: an invoice asks for 11900 of payment 9"},
		{"more asked for than is owed", func(_, p ledger.Payment) list {
			i := bill(p.User, january, 12000)
			i.ID, i.Number, i.Lines = 1, 1, []ledger.InvoiceLine{{Kind: ledger.CarriedIn, Amount: 12000, Payment: p.ID}}
			p.Owed, p.AskedIn, p.Asked = 0, 1, 11900
			return list{i, ledger.PaymentEntry{Payment: p}}
		}, "says that an invoice asks for 11900"},
		{"a void invoice asks no more, of a payment that was never asked", func(_, p ledger.Payment) list {
			p.Asked = -1
			return list{ledger.PaymentEntry{Payment: p}}
		}, "says that an invoice asks for -1"},
		{"a notice twice", func(_, _ ledger.Payment) list {
			return list{ledger.Notice{User: 1, Code: ledger.CreditsBought, Month: january, Subject: "told", Time: start}}
		}, "was given notice of credits_bought told in 2025-01 before"},
		{"a notice that was never given", func(_, _ ledger.Payment) list {
			n := notice
			n.ID = 3
			return list{n}
		}, "notice 3 was never given"},
		{"a notice of something else", func(_, p ledger.Payment) list {
			return list{ledger.Notice{ID: ledger.NoticeID(p.ID + 6), User: 1, Code: ledger.CreditsBought, Month: january, Subject: "told", Time: start, Amount: 7}}
		}, "what it tells cannot change"},
		{"a notice that is not done again", func(_, p ledger.Payment) list {
			return list{ledger.Notice{ID: ledger.NoticeID(p.ID + 6), User: 1, Code: ledger.CreditsBought, Month: january, Subject: "told", Time: start}}
		}, "it was done with"},
		{"a notice for a stranger", func(_, _ ledger.Payment) list { n := notice; n.ID, n.User = 3, 9; return list{n} }, "a notice for user 9, who was never added"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tollgate.db")
			l, err := ledger.Open(path, ledger.Options{Now: start, Zone: "UTC", Currency: "usd"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			route, ada := addRoute(t, l), addUser(t, l, "ada@example.com")
			addUser(t, l, "bob@example.com")
			begun := addPayment(t, l, purchase(ada.ID))
			lost := addPayment(t, l, recharge(ada.ID))
			changePayment(t, l, ada.ID, lost.ID, func(p *ledger.Payment) { collected(p); p.Provider = "cs_1" })
			u := call(ada.ID, 0, route.ID, start, 1)
			u.Burnt = lost.Credits
			appendAll(t, l, start, u)
			lost = changePayment(t, l, ada.ID, lost.ID, func(p *ledger.Payment) {
				p.Disputed, p.Owed, p.Tell = 11900, 11900, []ledger.Notice{{Code: ledger.CreditsBought, Subject: "told"}}
			})
			told := l.Account(ada.ID).User().Notices[0].ID
			if _, err := l.ChangeNotice(start, ada.ID, told, func(n *ledger.Notice) error { n.Done = true; return nil }); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(tt.name, "twice") {
				ledger.Untell(l, ada.ID)
			}
			if err := ledger.InOneCommit(l, start, tt.forge(*begun, *lost)...); err != nil && tt.want == "" {
				t.Fatal(err) // else it may have been too much for the ledger itself
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			report, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(report.Problems, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("verify found %q, want %q", got, tt.want)
			}
		})
	}
}
