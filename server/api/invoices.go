package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"tollgate/ledger"
)

// invoiceEndpoints are those of the customer.
func (s *service) invoiceEndpoints() []endpoint {
	return []endpoint{
		s.subscribeEndpoint(),
		answers(endpoint{method: "POST", path: "/v1/billing/portal", access: manage, summary: "The payment provider's page, for payment methods and receipts"}, s.getPortal),
		answers(endpoint{method: "GET", path: "/v1/billing/invoices", access: reads, summary: "Your invoices, newest first; months that ended and are not invoiced yet are drafts", params: []param{limitParam, cursorParam}}, func(r *request) (InvoicesPage, error) {
			after, limit, err := r.page()
			if err != nil {
				return InvoicesPage{}, err
			}
			return s.invoicesOf(r.caller.User, after, limit)
		}),
		answers(endpoint{method: "GET", path: "/v1/billing/invoice/{year}/{month}", access: reads, summary: "The invoice of a month"}, s.getInvoiceOfMonth),
	}
}

// listed is an invoice or a draft in a user's list. Its place is its month and
// its id, 0 for a draft: the place of no invoice ever changes, and the invoice
// that a draft becomes is not shown again after it.
type listed struct {
	month ledger.Month
	id    ledger.InvoiceID
}

func (l listed) place() uint64 { return uint64(l.month)<<32 | uint64(l.id) }

// invoicesOf is a page of a user's invoices and drafts, newest month first.
func (s *service) invoicesOf(u *ledger.User, after uint64, limit int) (InvoicesPage, error) {
	page := InvoicesPage{Invoices: []Invoice{}}
	drafts, err := s.drafts(u)
	if err != nil {
		return page, err
	}
	var list []listed
	for month := range drafts {
		list = append(list, listed{month, 0})
	}
	for _, ref := range u.Invoices {
		list = append(list, listed{ref.Month, ref.ID})
	}
	slices.SortFunc(list, func(a, b listed) int { return cmp.Compare(b.place(), a.place()) })
	last := uint64(0)
	for _, l := range list {
		if after != 0 && l.place() >= after {
			continue
		}
		if len(page.Invoices) == limit {
			page.NextCursor = cursorText(last)
			break
		}
		i := drafts[l.month]
		if l.id != 0 {
			if i, err = s.Ledger.Invoice(l.id); err != nil {
				return page, fmt.Errorf("reading the invoices of user %d: %w", u.ID, err)
			}
		}
		page.Invoices, last = append(page.Invoices, s.invoice(i)), l.place()
	}
	return page, nil
}

// drafts is what a user's invoices that are not made yet would be, by month.
func (s *service) drafts(u *ledger.User) (map[ledger.Month]*ledger.Invoice, error) {
	drafts := map[ledger.Month]*ledger.Invoice{}
	if s.Billing == nil {
		return drafts, nil
	}
	list, err := s.Billing.Drafts(u)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		drafts[i.Month] = i
	}
	return drafts, nil
}

// getInvoiceOfMonth answers with the caller's invoice of the month in the path.
func (s *service) getInvoiceOfMonth(r *request) (Invoice, error) {
	if _, ok := accepts(r.Header.Get("Accept"), typeJSON); !ok {
		return Invoice{}, refusal(http.StatusNotAcceptable, "not_acceptable", "An invoice comes as %s; hosted_url in it leads to the payment provider's page, where there is one.", typeJSON)
	}
	month, err := parseMonth(fmt.Sprintf("%s-%02s", r.PathValue("year"), r.PathValue("month")))
	if err != nil {
		return Invoice{}, noInvoice("There is no month %s/%s; give a year and a month such as 2025/1.", r.PathValue("year"), r.PathValue("month"))
	}
	i, err := s.invoiceOfMonth(r.caller.User, month)
	if err != nil {
		return Invoice{}, err
	}
	if i == nil {
		if month == s.Ledger.PeriodAt(r.now).Month {
			return Invoice{}, noInvoice("The month %v has not ended; what it comes to so far is at /v1/billing/usage.", month)
		}
		return Invoice{}, noInvoice("There is no invoice of %v.", month)
	}
	return s.invoice(i), nil
}

func noInvoice(detail string, args ...any) error {
	return refusal(http.StatusNotFound, "invoice_not_found", detail, args...)
}

// invoiceOfMonth is the invoice or draft of a user's month; nil when there is
// neither.
func (s *service) invoiceOfMonth(u *ledger.User, m ledger.Month) (*ledger.Invoice, error) {
	if ref, ok := u.InvoiceOf(m); ok {
		i, err := s.Ledger.Invoice(ref.ID)
		if err != nil {
			return nil, fmt.Errorf("reading the invoice of user %d for %v: %w", u.ID, m, err)
		}
		return i, nil
	}
	drafts, err := s.drafts(u)
	return drafts[m], err
}

// invoiced is what the invoice of a month says that the user owes for it; ok is
// false where there is no invoice. A void one says nothing is.
func (s *service) invoiced(u *ledger.User, m ledger.Month) (cents int64, ok bool, err error) {
	ref, ok := u.InvoiceOf(m)
	if !ok || ref.State == ledger.Void {
		return 0, ok, nil
	}
	i, err := s.Ledger.Invoice(ref.ID)
	if err != nil {
		return 0, true, fmt.Errorf("reading the invoice of user %d for %v: %w", u.ID, m, err)
	}
	return i.Total, true, nil
}

// invoiceNamed finds an invoice by the id or the number in the path.
func (s *service) invoiceNamed(r *request) (*ledger.Invoice, error) {
	text := r.PathValue("id")
	if id, err := strconv.ParseUint(text, 10, 32); err == nil && id > 0 {
		i, err := s.Ledger.Invoice(ledger.InvoiceID(id))
		if err == nil {
			return i, nil
		}
	} else if i, err := s.invoiceNumbered(text); i != nil || err != nil {
		return i, err
	}
	return nil, noInvoice("There is no invoice %q; give an id or a number of: tollgate invoice list", text)
}

// invoiceNumbered finds an invoice by its number, such as "2025-01-000042"; nil
// where there is none.
func (s *service) invoiceNumbered(text string) (*ledger.Invoice, error) {
	if len(text) < len("2025-01-1") {
		return nil, nil
	}
	month, err := ledger.ParseMonth(text[:7])
	if err != nil {
		return nil, nil
	}
	for a := range s.Ledger.Accounts(0) {
		for _, ref := range a.User().Invoices {
			if ref.Month != month {
				continue
			}
			i, err := s.Ledger.Invoice(ref.ID)
			if err != nil {
				return nil, fmt.Errorf("looking for invoice %s: %w", text, err)
			}
			if i.NumberText() == text {
				return i, nil
			}
		}
	}
	return nil, nil
}
