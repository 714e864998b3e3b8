package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tollgate/ledger"
)

// modelPayment is a payment, and what became of its credits.
type modelPayment struct {
	ledger.Payment
	grant *modelGrant   // nil: none
	gone  ledger.Amount // taken of it
}

func (m *model) move(from, to string, cents int64) {
	m.books[from] -= cents
	m.books[to] += cents
}

func (m *model) beginPayment(t *rapid.T) {
	u := m.pickUser(t)
	p := ledger.Payment{User: u.user.ID, Lines: []ledger.InvoiceLine{{Kind: "usage", Amount: rapid.Int64Range(1, 20_000).Draw(t, "cents")}}}
	p.Kind = rapid.SampledFrom([]ledger.PaymentKind{ledger.PurchasePayment, ledger.RechargePayment, ledger.RealtimePayment}).Draw(t, "kind")
	if p.Kind != ledger.RealtimePayment {
		p.Pack, p.Credits = "10k", drawCredits(t)
		p.Lines = append(p.Lines, ledger.InvoiceLine{Kind: ledger.TaxLine, Amount: rapid.Int64Range(0, 4000).Draw(t, "tax")})
		if days := rapid.IntRange(0, 2).Draw(t, "expires in days"); days > 0 {
			p.Expires = m.later().Add(time.Duration(days) * 24 * time.Hour)
		}
	} else if rapid.Bool().Draw(t, "of the month before") {
		p.Month = m.l.PeriodAt(m.later()).Month - 1
	}
	for _, line := range p.Lines {
		p.Total += line.Amount
	}
	got, err := m.l.AddPayment(m.now, "test", p)
	if err != nil {
		t.Fatal(err)
	}
	p.ID, p.State, p.Epoch, p.Made = got.ID, ledger.PaymentPending, m.epoch, m.tick(t)
	if p.Month == 0 {
		p.Month = m.l.PeriodAt(p.Made).Month
	}
	same(t, "payment", &p, got)
	u.payments = append(u.payments, &modelPayment{Payment: p})
}

// later is the time that an entry made now is logged at.
func (m *model) later() time.Time {
	if m.now.After(m.logged) {
		return m.now.Truncate(time.Millisecond).UTC()
	}
	return m.logged.UTC()
}

// pickPayment picks a payment of a state.
func (m *model) pickPayment(t *rapid.T, states ...ledger.PaymentState) (*modelUser, *modelPayment) {
	u := m.pickUser(t)
	list := slices.DeleteFunc(slices.Clone(u.payments), func(p *modelPayment) bool { return !slices.Contains(states, p.State) })
	if len(list) == 0 {
		t.Skip("no payment yet")
	}
	return u, rapid.SampledFrom(list).Draw(t, "payment")
}

// settlePayment takes a payment to another state, or to its next try.
func (m *model) settlePayment(t *rapid.T) {
	u, p := m.pickPayment(t, ledger.PaymentPending, ledger.PaymentPastDue, ledger.PaymentGivenUp)
	next := p.Payment
	outcomes := []ledger.PaymentState{ledger.PaymentPaid, ledger.PaymentPaid, p.State, ledger.PaymentGivenUp}
	switch {
	case p.State == ledger.PaymentGivenUp && p.Kind != ledger.PurchasePayment:
		outcomes = []ledger.PaymentState{p.State}
	case p.Kind == ledger.RealtimePayment:
		outcomes = append(outcomes, ledger.PaymentPastDue)
	}
	next.State = rapid.SampledFrom(outcomes).Draw(t, "outcome")
	next.Tries++
	next.Provider = fmt.Sprintf("pi_%d_%d", p.ID, next.Tries)
	paid := next.State == ledger.PaymentPaid
	if next.Failed = m.later(); paid {
		next.PaidAt = m.later()
	}
	subject := fmt.Sprint("payment ", p.ID)
	tell := ledger.Notice{Code: "settled", Subject: subject, Payment: p.ID}
	got, err := m.l.ChangePayment(m.now, "test", u.user.ID, p.ID, func(p *ledger.Payment) error {
		p.State, p.Tries, p.Provider, p.Failed, p.PaidAt, p.Tell = next.State, next.Tries, next.Provider, next.Failed, next.PaidAt, []ledger.Notice{tell, tell}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	if paid {
		m.receipts++
		next.Number = m.receipts
		for n, line := range next.Lines {
			switch {
			case p.Kind == ledger.RealtimePayment:
				m.move("advance", "cash", line.Amount)
			case n == 1:
				m.move("tax", "cash", line.Amount)
			default:
				m.move("sold", "cash", line.Amount)
			}
		}
	}
	same(t, "payment", &next, got)
	p.Payment = next
	seq := m.l.LastSeq()
	if tell.Month = m.l.PeriodAt(m.logged).Month; !u.told(tell) {
		tell.ID, tell.User, tell.Time = ledger.NoticeID(seq), u.user.ID, m.logged
		u.tell(tell)
		seq--
	}
	if paid && p.Credits > 0 {
		g := ledger.Grant{Seq: seq, Source: ledger.Purchase, Amount: p.Credits, Expires: p.Expires, Reference: got.ReceiptText()}
		p.grant = &modelGrant{g, g.Amount}
		u.credits.grants = append(u.credits.grants, p.grant)
		u.credits.entries = append(u.credits.entries, ledger.CreditEntry{Seq: seq, Grant: g})
	}
}

// reverse has the money of a payment go back, or come again: what is left of its
// credits is taken, and what was burnt is owed.
func (m *model) reverse(t *rapid.T) {
	u, p := m.pickPayment(t, ledger.PaymentPaid)
	next := p.Payment
	switch what := rapid.SampledFrom([]string{"refund", "dispute", "win", "settle"}).Draw(t, "what"); {
	case what == "refund":
		next.Refunded = rapid.Int64Range(p.Refunded, p.Total).Draw(t, "refunded")
	case what == "dispute":
		next.Disputed = rapid.Int64Range(p.Disputed, p.Total).Draw(t, "disputed")
	case what == "win":
		next.Disputed = 0
	case p.Owed == 0:
		t.Skip("nothing is owed")
	default:
		next.Owed, next.PaidBy = 0, fmt.Sprint("transfer ", len(p.PaidBy))
	}
	back := next.Back()
	if next.PaidBy == p.PaidBy {
		next.Owed = back
		if p.grant != nil {
			due, err := p.Credits.Share(back, p.Total)
			if err != nil {
				t.Fatal(err)
			}
			if more := due - p.gone; more > 0 {
				want := min(more, p.grant.left)
				took, err := m.l.TakeCredits(m.now, "test", u.user.ID, p.grant.Seq, more, "refunded", "re_1", nil)
				if want == 0 && !errors.Is(err, ledger.ErrNotFound) || want > 0 && err != nil || took != want {
					t.Fatalf("took %v, want %v: %v", took, want, err)
				}
				if want > 0 {
					m.tick(t)
					p.grant.left -= want
					p.gone += want
					u.credits.taken += want
					u.credits.entries = append(u.credits.entries, ledger.CreditEntry{Grant: ledger.Grant{Seq: p.grant.Seq}, Taken: want, Reason: "refunded", Reference: "re_1"})
				}
			}
			next.Owed = 0
			if lost := due - p.gone; lost > 0 {
				worth, err := ledger.Amount(back).Share(int64(lost), int64(due))
				if err != nil {
					t.Fatal(err)
				}
				next.Owed = min(int64(worth), back)
			}
		}
	}
	got, err := m.l.ChangePayment(m.now, "test", u.user.ID, p.ID, func(p *ledger.Payment) error {
		p.Refunded, p.Disputed, p.Owed, p.PaidBy = next.Refunded, next.Disputed, next.Owed, next.PaidBy
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	same(t, "payment", &next, got)
	gave := "sold"
	if p.Kind == ledger.RealtimePayment {
		gave = "credited"
	}
	m.move("cash", gave, back-p.Back())
	if next.PaidBy != p.PaidBy {
		m.move("carried", "cash", p.Owed)
	} else {
		m.move(gave, "carried", next.Owed-p.Owed)
	}
	p.Payment = next
}

// told tells whether the user has a notice of that code, month and subject.
func (u *modelUser) told(n ledger.Notice) bool {
	return slices.ContainsFunc(u.notices, func(o *ledger.Notice) bool {
		return o.Code == n.Code && o.Month == n.Month && o.Subject == n.Subject
	})
}

func (u *modelUser) tell(n ledger.Notice) {
	u.notices = append(u.notices, &n)
	u.forget(&n)
}

// forget forgets what was done with three months before a notice.
func (u *modelUser) forget(n *ledger.Notice) {
	u.notices = slices.DeleteFunc(u.notices, func(o *ledger.Notice) bool { return o.ID != n.ID && o.Done && o.Month+3 < n.Month })
}

func (m *model) addNotice(t *rapid.T) {
	u := m.pickUser(t)
	n := ledger.Notice{User: u.user.ID, Code: rapid.SampledFrom([]string{ledger.Quota80, ledger.CreditsLow}).Draw(t, "code"), Used: int64(m.counter)}
	if rapid.Bool().Draw(t, "of another month") {
		n.Month = ledger.MonthOf(2025, 1) + ledger.Month(rapid.IntRange(0, 9).Draw(t, "month"))
	}
	got, fresh, err := m.l.AddNotice(m.now, "test", n)
	if err != nil {
		t.Fatal(err)
	}
	n.Time = m.tick(t)
	if n.Month == 0 {
		n.Month = m.l.PeriodAt(m.later()).Month
	}
	if fresh == u.told(n) {
		t.Fatalf("fresh is %v of %+v", fresh, n)
	}
	if fresh {
		n.ID = ledger.NoticeID(m.l.LastSeq())
		same(t, "notice", &n, got)
		u.tell(n)
	}
}

func (m *model) changeNotice(t *rapid.T) {
	u := m.pickUser(t)
	if len(u.notices) == 0 {
		t.Skip("no notices yet")
	}
	n := rapid.SampledFrom(u.notices).Draw(t, "notice")
	next := *n
	next.Deliveries = append(slices.Clone(n.Deliveries), ledger.Delivery{Channel: "mail", Attempts: 1, Next: m.later(), GivenUp: rapid.IntRange(0, 3).Draw(t, "given up") == 3})
	next.Done = rapid.Bool().Draw(t, "done")
	got, err := m.l.ChangeNotice(m.now, u.user.ID, n.ID, func(n *ledger.Notice) error {
		n.Deliveries, n.Done = next.Deliveries, next.Done
		return nil
	})
	if n.Done {
		if err == nil {
			t.Fatalf("what was done with is %+v", got)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	same(t, "notice", &next, got)
	*n = next
	u.forget(n)
}

// watch has a user's calls watched from now on: each third of a month is told.
func (m *model) watch(t *rapid.T) {
	u := m.pickUser(t)
	u.watched = rapid.Bool().Draw(t, "watched")
	m.watchAgain()
}

func (m *model) watchAgain() {
	for _, u := range m.users[1:] {
		a := m.l.Account(u.user.ID)
		if !u.watched {
			a.Watch(nil)
			continue
		}
		a.Watch(watcher(func(_ *ledger.Usage, used []ledger.PlanTotals, balance ledger.Amount) []ledger.Notice {
			return thirds(ledger.Sum(used), balance)
		}))
	}
}

func thirds(used ledger.Totals, balance ledger.Amount) (list []ledger.Notice) {
	for limit := int64(3); limit <= used.Calls; limit += 3 {
		list = append(list, ledger.Notice{Code: ledger.Quota100, Subject: fmt.Sprint(limit), Used: used.Documents, Limit: limit, Balance: balance})
	}
	return list
}

// watched adds the notices that records from the given one on have brought, with
// what was left of the credits after each.
func (m *model) watched(first int, balances []ledger.Amount) {
	for n := first; n < len(m.records); n++ {
		u := m.users[m.records[n].User]
		if !u.watched {
			continue
		}
		var used ledger.Totals
		for _, r := range m.records[:n+1] {
			if r = m.counted(r); r.User == u.user.ID && r.Period == m.records[n].Period && r.Billed {
				used.Calls++
				used.Documents += r.Documents
			}
		}
		seq := m.records[n].Seq
		for _, notice := range thirds(used, balances[n-first]) {
			if notice.Month = m.records[n].Period; u.told(notice) {
				continue
			}
			seq++
			notice.ID, notice.User, notice.Time = ledger.NoticeID(seq), u.user.ID, m.records[n].Logged
			u.tell(notice)
		}
	}
}

// checkPayments compares a user's payments and notices.
func (m *model) checkPayments(t *rapid.T, id ledger.UserID) {
	u, got := m.users[id], m.l.Account(id).User()
	var refs, have []ledger.PaymentRef
	advance := map[ledger.Month]int64{}
	for _, p := range u.payments {
		ref := ledger.PaymentRef{ID: p.ID, Kind: p.Kind, State: p.State, Month: p.Month, Total: p.Total, Made: p.Made.UnixMilli(), Owed: p.Owed}
		if p.grant != nil {
			ref.Grant = p.grant.Seq
		}
		refs = append(refs, ref)
		if p.State == ledger.PaymentPaid && p.Kind == ledger.RealtimePayment {
			advance[p.Month] += p.Total
		}
		is, err := m.l.Payment(id, p.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "payment", &p.Payment, is)
	}
	for month, want := range advance {
		if paid := got.Advance(month); paid != want {
			t.Fatalf("%d was paid of %v, want %d", paid, month, want)
		}
	}
	have = append(have, got.Payments...)
	same(t, "payments", refs, have, cmpopts.IgnoreFields(ledger.PaymentRef{}, "Seq"))
	var told []*ledger.Notice
	for _, ref := range got.Notices {
		n, err := m.l.Notice(id, ref.ID)
		if err != nil {
			t.Fatal(err)
		}
		givenUp := slices.ContainsFunc(n.Deliveries, func(d ledger.Delivery) bool { return d.GivenUp })
		if n.Done != ref.Done || givenUp != ref.GivenUp || n.Code != ref.Code || n.Month != ref.Month || n.Subject != ref.Subject {
			t.Fatalf("notice %+v is kept as %+v", n, ref)
		}
		told = append(told, n)
	}
	same(t, "notices", u.notices, told)
}

// checkBooks compares the balances of all accounts.
func (m *model) checkBooks(t *rapid.T) {
	want, got := map[string]int64{}, map[string]int64{}
	for account, n := range m.books {
		if n != 0 {
			want[account] = n
		}
	}
	sum := int64(0)
	for account, n := range m.l.Books() {
		if sum += n; n != 0 {
			got[account] = n
		}
	}
	same(t, "books", want, got)
	if sum != 0 {
		t.Fatalf("the books sum to %d", sum)
	}
}
