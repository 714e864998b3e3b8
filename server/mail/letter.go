package mail

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// letter is what a mail says, for both layouts. All strings are single lines.
type letter struct {
	Subject  string
	Issuer   string
	Heading  string
	Greeting string
	Intro    []string
	Tables   []table
	Links    []link
}

// table is a title and rows of a label and a figure.
type table struct {
	Title string
	Rows  []row
}

type row struct {
	Label, Value string
	Sum          bool // the last row, set apart from what it sums up
}

// link is a page, and what it is for.
type link struct {
	Text, URL string
}

// invoiceLetter is the mail about an invoice.
func invoiceLetter(m billing.InvoiceMail) (letter, error) {
	l := letter{
		Issuer:   line(m.Issuer),
		Greeting: greeting(m.To),
		Tables:   []table{used(m), charges(m)},
	}
	month := monthName(m.Month)
	invoice := "invoice for " + month
	if number := line(m.Number); number != "" {
		invoice = "invoice " + number + " for " + month
	}
	total := money(m, m.Total)
	page, pay := webPage(m.Link), webPage(m.PayURL)
	switch m.Kind {
	case billing.MailIssued:
		l.Subject = fmt.Sprintf("Your %s: %s", invoice, total)
		l.Heading = "Your " + invoice
		l.Intro = []string{fmt.Sprintf("This is what you used in %s, and what it comes to: %s.", month, total)}
		l.Links = links(link{"The invoice with all its lines:", page}, link{"Payment and receipt:", pay})
	case billing.MailFailed:
		l.Subject = fmt.Sprintf("Payment failed: %s, %s", invoice, total)
		l.Heading = "Your payment failed"
		l.Intro = []string{fmt.Sprintf("We could not collect %s for your %s.", total, invoice)}
		if why := line(m.Failure); why != "" {
			l.Intro = append(l.Intro, "The reason we were given: "+sentence(why))
		}
		l.Intro = append(l.Intro, "Please see to it soon, so that your access is not suspended.")
		l.Links = links(link{"Pay it here:", pay}, link{"The invoice with all its lines:", page})
		if pay == "" {
			l.Links = links(link{"See to it here:", page})
		}
	default:
		return letter{}, fmt.Errorf("%q is no kind of mail: %w", m.Kind, billing.ErrRefused)
	}
	return l, nil
}

// webPage is the address of a page that a browser opens, or "".
func webPage(address string) string {
	address = line(address)
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return address
}

// links are those that lead somewhere.
func links(all ...link) []link {
	return slices.DeleteFunc(all, func(l link) bool { return l.URL == "" })
}

// testLetter is the mail of [Sender.Test].
func testLetter(issuer, host string, now time.Time) letter {
	issuer = cmp.Or(issuer, "tollgate")
	return letter{
		Subject:  "Test mail of " + issuer,
		Issuer:   issuer,
		Heading:  "Mail works",
		Greeting: "Hello,",
		Intro: []string{
			fmt.Sprintf("This test mail was handed to %s on %s.", line(host), now.Format("2 January 2006 at 15:04:05 UTC")),
			"Invoices take the same way.",
		},
	}
}

// greeting names whoever is known by name: not the erased.
func greeting(p ledger.Personal) string {
	if name := shorten(cmp.Or(line(p.Name), line(p.Company)), nameLimit); name != "" {
		return "Hello " + name + ","
	}
	return "Hello,"
}

// used is what was used in the month.
func used(m billing.InvoiceMail) table {
	return table{"Used in " + monthName(m.Month), []row{
		{Label: "Calls", Value: grouped(m.Calls)},
		{Label: "Documents", Value: grouped(m.Documents)},
		{Label: "Tokens", Value: grouped(m.Tokens)},
	}}
}

// charges is what makes up the total: the two sums of which everybody has one,
// and the lines that are in neither.
func charges(m billing.InvoiceMail) table {
	t := table{"Charges", []row{
		{Label: "Subscription", Value: money(m, m.Fee)},
		{Label: "Usage charges", Value: money(m, m.Usage)},
	}}
	if company := shorten(line(m.To.Company), nameLimit); company != "" {
		t.Title = "Charges to " + company
	}
	for _, l := range m.Lines {
		switch l.Kind {
		case "carried_in", "credit", "tax":
			t.Rows = append(t.Rows, row{Label: line(l.Description), Value: money(m, l.Amount)})
		}
	}
	if m.Advance != 0 {
		t.Rows = append(t.Rows, row{Label: "Charged while it was used", Value: money(m, -m.Advance)})
	}
	t.Rows = append(t.Rows, row{Label: "Total", Value: money(m, m.Total), Sum: true})
	return t
}

// money writes minor units with the currency: "USD 1234.50".
func money(m billing.InvoiceMail, minor int64) string {
	return sumOf(m.Currency, m.Digits, minor)
}

func sumOf(currency string, digits int, minor int64) string {
	return strings.ToUpper(line(currency)) + " " + ledger.FormatMinor(minor, digits)
}

func monthName(m ledger.Month) string {
	return fmt.Sprintf("%s %d", m.Month(), m.Year())
}

// sentence ends s with a full stop, unless it ends otherwise.
func sentence(s string) string {
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}
