package mail

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/billing"
)

// noticeLetter is the mail about a notice.
func noticeLetter(m billing.NoticeMail) (l letter, err error) {
	switch m.Notice.Code {
	case ledger.Quota80, ledger.Quota100:
		l = quotaLetter(m)
	case ledger.CreditsLow:
		l = creditsLowLetter(m)
	case ledger.SpendLimit:
		l = spendLimitLetter(m)
	case ledger.PaymentFailed:
		l = failedLetter(m)
	case ledger.CreditsBought:
		l = receiptLetter(m)
	case ledger.TakenBack:
		l = takenBackLetter(m)
	default:
		return letter{}, fmt.Errorf("%q is no notice that is mailed: %w", m.Notice.Code, billing.ErrRefused)
	}
	l.Issuer, l.Greeting = line(m.Issuer), greeting(m.To)
	l.Subject = cmp.Or(l.Subject, l.Heading)
	return l, nil
}

// quotaLetter tells how much of a quota is used, and what comes after it.
func quotaLetter(m billing.NoticeMail) letter {
	n := m.Notice
	meter, month := line(n.Meter), monthName(n.Month)
	l := letter{
		Heading: fmt.Sprintf("80%% of your %s for %s are used", meter, month),
		Intro:   []string{fmt.Sprintf("You have used %s of the %s %s that your plan includes in %s.", grouped(n.Used), grouped(n.Limit), meter, month)},
		Tables: []table{{"Your " + meter + " in " + month, []row{
			{Label: "Included", Value: grouped(n.Limit)},
			{Label: "Used", Value: grouped(n.Used)},
			{Label: "Left", Value: grouped(max(n.Limit-n.Used, 0)), Sum: true},
		}}},
		Links: links(link{"To have more of them, change your plan:", page(m, "/plans")}, link{"What you have used:", page(m, "")}),
	}
	when := "When they are used up,"
	if n.Code == ledger.Quota100 {
		l.Heading = fmt.Sprintf("All your %s for %s are used", meter, month)
		l.Intro = []string{fmt.Sprintf("You have used all of the %s %s that your plan includes in %s.", grouped(n.Limit), meter, month)}
		when = "From now on,"
		if n.Used < n.Limit {
			l.Heading = fmt.Sprintf("Too few of your %s for %s are left", meter, month)
			l.Intro = []string{fmt.Sprintf("A call needed more than what is left of the %s %s that your plan includes in %s.", grouped(n.Limit), meter, month)}
		}
	}
	more := "calls that need more of them"
	if meter == "calls" {
		more = "further calls"
	}
	switch m.OnExceed {
	case "block":
		l.Intro = append(l.Intro, when+" "+more+" are refused until the month ends.")
	case "bill":
		l.Intro = append(l.Intro, when+" more of them are charged at the price that your plan has for them.")
	case "bill_if_payable":
		l.Intro = append(l.Intro, when+" more of them are charged at the price that your plan has for them, if you have a payment method that works; if not, "+more+" are refused.")
	}
	return l
}

// creditsLowLetter asks to buy credits while there are some, or because there are
// none.
func creditsLowLetter(m billing.NoticeMail) letter {
	left := credits(m.Notice.Balance)
	l := letter{
		Heading: "Your credits are low: " + left + " left",
		Intro: []string{
			fmt.Sprintf("Your balance was %s credits on %s.", left, day(m, m.Notice.Time)),
			"Calls that need more than there is are refused until you have bought some.",
		},
		Links: links(link{"Buy credits:", page(m, "/credits")}),
	}
	if m.Notice.Balance <= 0 {
		l.Heading = "You have no credits left"
		l.Intro = []string{fmt.Sprintf("Your credits were used up on %s. Calls are refused until you have bought some.", day(m, m.Notice.Time))}
	}
	return l
}

func spendLimitLetter(m billing.NoticeMail) letter {
	n, month := m.Notice, monthName(m.Notice.Month)
	return letter{
		Heading: "Your spend limit for " + month + " is reached",
		Intro: []string{
			fmt.Sprintf("Your usage charges have come to your spend limit of %s.", sum(m, n.Limit)),
			"Calls that cost more are refused until the month ends or the limit is raised. What your plan includes is not affected.",
		},
		Tables: []table{{"Usage charges in " + month, []row{
			{Label: "So far", Value: sum(m, n.Used)},
			{Label: "Spend limit", Value: sum(m, n.Limit)},
		}}},
		Links: links(link{"What you have used, and your spend limit:", page(m, "")}),
	}
}

// failedLetter is about a payment that is no invoice's.
func failedLetter(m billing.NoticeMail) letter {
	what := "your payment"
	if p := m.Payment; p != nil {
		switch p.Kind {
		case ledger.RealtimePayment:
			what = "your usage in " + monthName(p.Month)
		case ledger.PurchasePayment, ledger.RechargePayment:
			what = credits(p.Credits) + " credits"
		}
	}
	l := letter{
		Subject: fmt.Sprintf("Payment failed: %s for %s", sum(m, m.Notice.Amount), what),
		Heading: "Your payment failed",
		Intro:   []string{fmt.Sprintf("We could not collect %s for %s.", sum(m, m.Notice.Amount), what)},
	}
	if why := line(m.Notice.Failure); why != "" {
		l.Intro = append(l.Intro, "The reason we were given: "+sentence(why))
	}
	l.Intro = append(l.Intro, "Please see to your payment method.")
	pay := ""
	if m.Payment != nil {
		pay = webPage(m.Payment.URL)
	}
	l.Links = links(link{"Pay it here:", pay}, link{"Your account:", page(m, "")})
	return l
}

// receiptLetter is the receipt of credits that were bought.
func receiptLetter(m billing.NoticeMail) letter {
	p := m.Payment
	if p == nil {
		p = &ledger.Payment{Credits: m.Notice.Credits, Total: m.Notice.Amount}
	}
	number := ""
	if text := p.ReceiptText(); text != "" {
		number = " " + text
	}
	paid := p.PaidAt
	if paid.IsZero() {
		paid = m.Notice.Time
	}
	l := letter{
		Subject: fmt.Sprintf("Your receipt%s: %s credits, %s", number, credits(p.Credits), sum(m, p.Total)),
		Heading: "Your receipt" + number,
		Intro:   []string{fmt.Sprintf("Thank you. You have bought %s credits.", credits(p.Credits))},
		Links:   links(link{"Your credits, and what became of them:", page(m, "/credits")}),
	}
	if p.Kind == ledger.RechargePayment {
		l.Intro[0] = fmt.Sprintf("Your balance was low, so %s credits were bought for you, as you have asked.", credits(p.Credits))
	}
	if p.Expires.IsZero() {
		l.Intro = append(l.Intro, "They do not expire.")
	} else {
		l.Intro = append(l.Intro, fmt.Sprintf("They expire on %s.", day(m, p.Expires)))
	}
	t := table{Title: "Paid on " + day(m, paid)}
	if company := shorten(line(m.To.Company), nameLimit); company != "" {
		t.Title += " by " + company
	}
	for _, one := range p.Lines {
		t.Rows = append(t.Rows, row{Label: line(one.Description), Value: sum(m, one.Amount)})
	}
	t.Rows = append(t.Rows, row{Label: "Total", Value: sum(m, p.Total), Sum: true})
	l.Tables = []table{t}
	return l
}

// takenBackLetter tells that the money of a payment went back, and what follows.
func takenBackLetter(m billing.NoticeMail) letter {
	payment, what, how := "your payment", "The money", "It was refunded or disputed."
	if p := m.Payment; p != nil {
		if back := p.Refunded + p.Disputed; back > 0 {
			what = sum(m, back)
		}
		if text := p.ReceiptText(); text != "" {
			payment += " " + text
		}
		switch {
		case p.Disputed > 0 && p.Refunded == 0:
			how = "It was disputed at your bank."
		case p.Disputed == 0 && p.Refunded > 0:
			how = "It was refunded."
		}
	}
	l := letter{
		Subject: fmt.Sprintf("%s of %s went back", what, payment),
		Heading: "A payment of yours went back",
		Intro:   []string{fmt.Sprintf("%s of %s went back to you. %s", what, payment, how)},
		Links:   links(link{"Your account:", page(m, "")}),
	}
	if m.Notice.Credits > 0 {
		l.Intro = append(l.Intro, fmt.Sprintf("What was left of the credits that it had bought was taken back: %s credits.", credits(m.Notice.Credits)))
	}
	if owed := m.Notice.Amount; owed > 0 {
		l.Intro = append(l.Intro, fmt.Sprintf("For what had been used of it before, %s is owed. Your access is suspended until that is paid.", sum(m, owed)))
	}
	return l
}

// page is a page below the dashboard, or "".
func page(m billing.NoticeMail, path string) string {
	if m.Pages == "" {
		return ""
	}
	return webPage(m.Pages + "/dashboard" + path)
}

// sum writes minor units with the currency.
func sum(m billing.NoticeMail, minor int64) string { return sumOf(m.Currency, m.Digits, minor) }

// credits writes nanos of a credit, exactly: "1,234,567.5".
func credits(a ledger.Amount) string {
	whole, decimals, _ := strings.Cut(a.Short(), ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n != 0 {
		whole = grouped(n)
	}
	if decimals != "" {
		decimals = "." + decimals
	}
	return whole + decimals
}

// day is a date in the billing zone: "15 January 2025".
func day(m billing.NoticeMail, t time.Time) string {
	zone := m.Zone
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("2 January 2006")
}
