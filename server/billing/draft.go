package billing

import (
	"fmt"
	"slices"
	"strings"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// The kinds of lines that billing adds to those of rating.
const (
	adjustmentLine = "adjustment" // of a period that was invoiced before
	creditLine     = "credit"
)

// lookBack is how many periods before one are looked at for usage that came
// after they were invoiced: events are taken for 62 days.
const lookBack = 3

// Draft is what the invoice of a user and month would be now: the very lines that
// sealing it makes. It changes nothing.
func (b *Billing) Draft(u *ledger.User, m ledger.Month) (*ledger.Invoice, error) {
	return b.draft(u, m, nil)
}

// draft makes the invoice of m after those in the ledger and those of unsealed,
// which a preview of several months has not made.
func (b *Billing) draft(u *ledger.User, m ledger.Month, unsealed []*ledger.Invoice) (*ledger.Invoice, error) {
	seal, err := b.Ledger.Seal(u.ID, m)
	if err != nil {
		return nil, err
	}
	i := &ledger.Invoice{User: u.ID, Month: m, Used: ledger.Sum(seal.Plans), First: seal.First, Last: seal.Last, Head: seal.Head}
	statement, err := b.rate(u, m, seal.Plans)
	if err != nil {
		return nil, err
	}
	i.Rated = statement.Total
	for _, l := range statement.Lines {
		if l.Minor == 0 && l.Amount == 0 {
			continue // a fee of nothing says nothing
		}
		i.Lines = append(i.Lines, ledger.InvoiceLine{
			Kind: string(l.Kind), Description: l.Description, Plan: l.Plan, Meter: l.Meter,
			Quantity: l.Quantity, UnitPrice: l.UnitPrice, Amount: l.Minor, From: l.From, To: l.To,
		})
	}
	other, err := b.others(u, m)
	if err != nil {
		return nil, err
	}
	other = append(other, unsealed...)
	adjustments, err := b.adjustments(u, m, other)
	if err != nil {
		return nil, err
	}
	i.Lines = append(i.Lines, adjustments...)
	if err := b.addTax(i); err != nil {
		return nil, err
	}
	i.Lines = append(i.Lines, carriedIn(m, other)...)
	i.Lines = append(i.Lines, b.wentBack(u, other)...)
	if i.Total, err = sum(i.Lines); err != nil {
		return nil, err
	}
	i.Advance = u.Advance(m)
	b.carry(i, b.last(u, m))
	return i, nil
}

// rate is the statement of a user's month.
func (b *Billing) rate(u *ledger.User, m ledger.Month, used []ledger.PlanTotals) (pricing.Statement, error) {
	s, err := b.Book.Schedule(b.Ledger, u, b.Ledger.PeriodOf(m), b.basis())
	if err != nil {
		return pricing.Statement{}, err
	}
	statement, err := s.Rate(used)
	if err != nil {
		return statement, fmt.Errorf("rate %v of user %d: %w", m, u.ID, err)
	}
	if b.coarse > 1 { // what was rounded to the minor unit cannot be charged
		statement.Total = 0
		for n := range statement.Lines {
			l := &statement.Lines[n]
			l.Minor = b.minor(l.Amount)
			statement.Total += l.Minor
		}
	}
	return statement, nil
}

// others reads the user's invoices that a new one of m has to go by, those that
// are void left out, by month: of the months that it looks back at; the newest of
// all before m; those that were made after one of a later month, as a replacement
// is; and, where the new one is a replacement, those of the months after m.
func (b *Billing) others(u *ledger.User, m ledger.Month) ([]*ledger.Invoice, error) {
	var list []*ledger.Invoice
	newest, highest := ledger.Month(-1), ledger.Month(-1)
	for _, ref := range u.Invoices {
		if ref.Month < m && ref.State != ledger.Void {
			newest = max(newest, ref.Month)
		}
	}
	for _, ref := range u.Invoices {
		late := ref.Month <= highest
		highest = max(highest, ref.Month)
		if ref.State == ledger.Void || ref.Month == m || ref.Month < m-lookBack && ref.Month != newest && !late {
			continue
		}
		i, err := b.Ledger.Invoice(ref.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *ledger.Invoice) int { return int(a.Month) - int(b.Month) })
	return list, nil
}

// carriedIn is what invoices before m have left to a later one, and no other has
// taken up. What was adopted from the provider has taken up all before it.
func carriedIn(m ledger.Month, other []*ledger.Invoice) []ledger.InvoiceLine {
	var lines []ledger.InvoiceLine
	for _, old := range other {
		taken := func(i *ledger.Invoice) bool {
			return i.Adopted && i.Month > old.Month || slices.ContainsFunc(i.Lines, func(l ledger.InvoiceLine) bool {
				return l.Kind == ledger.CarriedIn && l.Of == old.Month
			})
		}
		if old.Month < m && old.Carried != 0 && !slices.ContainsFunc(other, taken) {
			lines = append(lines, ledger.InvoiceLine{
				Kind: ledger.CarriedIn, Description: fmt.Sprintf("Carried over from %v", old.Month), Amount: old.Carried, Of: old.Month,
			})
		}
	}
	return lines
}

// adjustments charges, or takes back, what earlier periods come to beyond what
// was invoiced for them, at the terms of those periods. What later invoices have
// charged for m itself, before it is replaced, is taken back.
func (b *Billing) adjustments(u *ledger.User, m ledger.Month, other []*ledger.Invoice) ([]ledger.InvoiceLine, error) {
	var lines []ledger.InvoiceLine
	for _, old := range other {
		if old.Month > m {
			break
		}
		used, err := b.Ledger.Month(u.ID, old.Month)
		if err != nil {
			return nil, err
		}
		if old.Adopted || sameTotals(ledger.Sum(used), old.Used) && !adjusted(other, old.Month) {
			continue
		}
		statement, err := b.rate(u, old.Month, used)
		if err != nil {
			return nil, err
		}
		if more := statement.Total - old.Rated - adjustedBy(other, old.Month); more != 0 {
			lines = append(lines, ledger.InvoiceLine{
				Kind: adjustmentLine, Of: old.Month, Amount: more,
				Description: fmt.Sprintf("Usage of %v that came after its invoice", old.Month),
			})
		}
	}
	if before := adjustedBy(other, m); before != 0 {
		lines = append(lines, ledger.InvoiceLine{
			Kind: adjustmentLine, Of: m, Amount: -before, Description: fmt.Sprintf("Usage of %v that other invoices have charged", m),
		})
	}
	return lines, nil
}

// adjustedBy is what the invoices of a list have charged for a month in addition
// to its own invoice.
func adjustedBy(list []*ledger.Invoice, m ledger.Month) (total int64) {
	for _, i := range list {
		for _, l := range i.Lines {
			if l.Kind == adjustmentLine && l.Of == m {
				total += l.Amount
			}
		}
	}
	return total
}

func adjusted(list []*ledger.Invoice, m ledger.Month) bool {
	return slices.ContainsFunc(list, func(i *ledger.Invoice) bool {
		return slices.ContainsFunc(i.Lines, func(l ledger.InvoiceLine) bool { return l.Kind == adjustmentLine && l.Of == m })
	})
}

func sameTotals(a, b ledger.Totals) bool {
	return a.Calls == b.Calls && a.Documents == b.Documents && a.Tokens == b.Tokens && a.Cost == b.Cost && slices.Equal(a.Named, b.Named)
}

// addTax adds the tax on all lines, as one line.
func (b *Billing) addTax(i *ledger.Invoice) error {
	s := b.settings.Load()
	if s.TaxPercent == 0 {
		return nil
	}
	taxable, err := sum(i.Lines)
	if err != nil {
		return err
	}
	exact, err := ledger.FromMinor(taxable, b.digits)
	if err != nil {
		return err
	}
	tax, err := exact.Share(int64(s.TaxPercent), int64(100*ledger.Unit))
	if err != nil {
		return err
	}
	if minor := b.minor(tax); minor != 0 {
		percent := strings.TrimSuffix(strings.TrimRight(s.TaxPercent.String(), "0"), ".")
		i.Lines = append(i.Lines, ledger.InvoiceLine{Kind: ledger.TaxLine, Description: s.TaxName + " " + percent + " %", Amount: minor})
	}
	return nil
}

// carry decides what is due now: what is below the provider's minimum waits for
// the next invoice, or is written off where there will be none.
func (b *Billing) carry(i *ledger.Invoice, last bool) {
	i.State = ledger.Issued
	switch asked := i.Asked(); {
	case asked >= b.minimum:
		return
	case last && asked > 0:
		i.Lines = append(i.Lines, ledger.InvoiceLine{Kind: creditLine, Description: "Written off: less than can be charged", Amount: -asked})
		i.Total -= asked
	default:
		i.Carried = asked
	}
	i.State = ledger.Paid
}

// last tells whether no invoice follows that of m.
func (b *Billing) last(u *ledger.User, m ledger.Month) bool {
	return u.Status == ledger.Closed && !u.ClosedAt.IsZero() && b.Ledger.PeriodAt(u.ClosedAt).Month <= m
}

func sum(lines []ledger.InvoiceLine) (int64, error) {
	var total int64
	for _, l := range lines {
		next := total + l.Amount
		if (next < total) != (l.Amount < 0) {
			return 0, fmt.Errorf("sum of the lines of an invoice: %w", ledger.ErrOverflow)
		}
		total = next
	}
	return total, nil
}
