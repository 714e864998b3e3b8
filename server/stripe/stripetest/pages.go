package stripetest

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// Pages serves only what customers see, without the API: what a sandbox shows to
// the world.
func (s *Server) Pages() http.Handler { return http.HandlerFunc(s.servePage) }

// maxPageForm is far more than any form of ours has.
const maxPageForm = 64 << 10

// servePage serves the checkout, invoice and portal pages. The ids in their
// addresses are the only secret, as with Stripe's.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	post := r.Method == http.MethodPost
	if post {
		r.Body = http.MaxBytesReader(w, r.Body, maxPageForm)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form could not be read.", http.StatusBadRequest)
			return
		}
	} else if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Method not allowed.", http.StatusMethodNotAllowed)
		return
	}
	v, down := s.page(r, post)
	h := w.Header()
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case v.to != "":
		// By hand: http.Redirect would make a relative address absolute, and the
		// pages may be below a prefix that we do not know.
		h.Set("Location", v.to)
		w.WriteHeader(http.StatusSeeOther)
		return
	case v.pdf != nil:
		h.Set("Content-Type", "application/pdf")
		w.Write(v.pdf)
		return
	case v.name == "":
		v = pageView{name: "missing", status: http.StatusNotFound, Title: "Not found"}
	}
	var page bytes.Buffer
	if err := s.templates().ExecuteTemplate(&page, v.name, v); err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(v.status)
	w.Write(page.Bytes())
}

// pageView is what a page shows, or where the browser is sent instead.
type pageView struct {
	name   string
	status int
	to     string
	pdf    []byte

	Title    string
	Error    string // why the last try failed
	Email    string
	Rows     []pageRow
	Total    string
	Button   string
	Note     string // instead of the form
	Cards    []pageCard
	Confirm  string // the card that has to be confirmed; "" if none
	Saved    []pageCard
	Invoices []pageRow
	Back     string // where the customer came from
	BackText string
	PDF      string
}

// pageRow is a line with an amount.
type pageRow struct{ Text, Amount, State, Link string }

// pageCard is a card to choose, or one that the customer has.
type pageCard struct {
	Value, Text string
	Default     bool
}

func testCards() []pageCard {
	var list []pageCard
	for i, k := range cardKinds() {
		n := string(k.card)
		list = append(list, pageCard{n, n[:4] + " " + n[4:8] + " " + n[8:12] + " " + n[12:] + ": " + k.label, i == 0})
	}
	return list
}

// page does what a page's form asks for, and makes the page.
func (s *Server) page(r *http.Request, post bool) (v pageView, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDown() {
		return v, true
	}
	return s.pageAt(strings.Split(strings.Trim(r.URL.Path, "/"), "/"), r, post), false
}

func (s *Server) pageAt(parts []string, r *http.Request, post bool) pageView {
	if len(parts) < 2 {
		return pageView{}
	}
	switch id := parts[1]; parts[0] {
	case "pay":
		if o := s.state.Sessions.byID[id]; o != nil && len(parts) == 2 {
			return s.checkoutPage(o, r, post)
		}
	case "invoice":
		o := s.state.Invoices.byID[id]
		switch {
		case o == nil || o.Status == "draft":
		case len(parts) == 2:
			return s.invoicePage(o, r, post)
		case len(parts) == 3 && parts[2] == "pdf" && !post:
			return pageView{pdf: s.pdf(o)}
		}
	case "portal":
		if o := s.state.Portals.byID[id]; o != nil && len(parts) == 2 {
			return s.portalPage(o, r, post)
		}
	}
	return pageView{}
}

// choice is the card that a form names, and what the customer says to the bank.
// ask tells that the bank's question has to be shown first.
func choice(r *http.Request) (k cardKind, confirmed, ask bool, f *failure) {
	k, ok := kindOf(r.PostForm.Get("card"))
	if !ok {
		return k, false, false, refused("", "", "Please choose a card.")
	}
	answer := r.PostForm.Get("confirm")
	return k, answer == "yes", (k.confirm || k.confirm1) && answer == "", nil
}

func (s *Server) checkoutPage(o *Session, r *http.Request, post bool) pageView {
	v := pageView{name: "pay", status: http.StatusOK, Title: "Save a card", Button: "Save card", Cards: testCards(), Back: o.CancelURL, BackText: "Cancel"}
	s.viewSession(o)
	if post && o.Status == "open" {
		k, confirmed, ask, f := choice(r)
		switch {
		case ask:
			v.Confirm = string(k.card)
		case f == nil:
			var to string
			if to, f = s.complete(o, k, confirmed); f == nil {
				return pageView{to: to}
			}
		}
		v.fail(f)
	}
	v.Email = o.CustomerEmail
	if customer := s.state.Customers.byID[o.Customer]; customer != nil {
		v.Email = customer.Email
	}
	if o.Mode == "payment" {
		v.Title, v.Total = "Pay", money(o.AmountTotal, o.Currency)
		v.Button = "Pay " + v.Total
		for _, i := range o.Items {
			v.Rows = append(v.Rows, pageRow{Text: i.Description, Amount: money(i.Amount, o.Currency)})
		}
	}
	switch o.Status {
	case "complete":
		v.Note, v.Back = "This is done. You can close the page.", ""
	case "expired":
		v.Note = "This page has expired. Please go back and start again."
	}
	return v
}

// fail shows why something failed.
func (v *pageView) fail(f *failure) {
	if f != nil {
		v.Error, v.status = f.Message, f.status
	}
}

func (s *Server) invoicePage(o *Invoice, r *http.Request, post bool) pageView {
	v := pageView{name: "invoice", status: http.StatusOK, Title: "Invoice " + o.Number, Cards: testCards(), Email: o.CustomerEmail, PDF: o.ID + "/pdf"}
	if post && (o.Status == "open" || o.Status == "uncollectible") {
		card := r.PostForm.Get("card")
		m := s.defaultCard(o.Customer)
		var confirmed, ask bool
		var f *failure
		if card == "default" && m != nil {
			answer := r.PostForm.Get("confirm")
			confirmed, ask = answer == "yes", (m.kind().confirm || m.kind().confirm1 && !m.SetUp) && answer == ""
		} else {
			_, confirmed, ask, f = choice(r)
		}
		switch {
		case ask:
			v.Confirm = card
		case f == nil:
			if card == "default" {
				card = ""
			}
			if f = s.payOnPage(o, card, confirmed); f == nil {
				return pageView{to: o.ID}
			}
		}
		v.fail(f)
	}
	for _, i := range o.items {
		v.Rows = append(v.Rows, pageRow{Text: i.Description, Amount: money(i.Amount, o.Currency)})
	}
	if o.EndingBalance != nil && *o.EndingBalance != o.StartingBalance {
		v.Rows = append(v.Rows, pageRow{Text: "Balance", Amount: money(o.StartingBalance-*o.EndingBalance, o.Currency)})
	}
	if o.PrePaymentCredit > 0 {
		v.Rows = append(v.Rows, pageRow{Text: "Credit notes", Amount: money(-o.PrePaymentCredit, o.Currency)})
	}
	v.Total = money(o.AmountDue, o.Currency)
	v.Button = "Pay " + money(o.AmountRemaining, o.Currency)
	switch o.Status {
	case "paid":
		v.Note = "This invoice is paid."
	case "void":
		v.Note = "This invoice was cancelled. Nothing is due."
	}
	if m := s.defaultCard(o.Customer); m != nil {
		for i := range v.Cards {
			v.Cards[i].Default = false
		}
		v.Cards = slices.Insert(v.Cards, 0, pageCard{"default", "Your card ending in " + m.Card.Last4, true})
	}
	return v
}

// defaultCard is what a customer's invoices are paid with; nil if nothing.
func (s *Server) defaultCard(customer string) *PaymentMethod {
	o := s.state.Customers.byID[customer]
	if o == nil {
		return nil
	}
	return s.state.PaymentMethods.byID[o.InvoiceSettings.DefaultPaymentMethod]
}

func (s *Server) portalPage(p *PortalSession, r *http.Request, post bool) pageView {
	customer := s.state.Customers.byID[p.Customer]
	if customer == nil || customer.Deleted {
		return pageView{}
	}
	v := pageView{name: "portal", status: http.StatusOK, Title: "Your billing", Email: customer.Email, Cards: testCards(), Back: p.ReturnURL, BackText: "Go back"}
	if post {
		ask, f := s.portalChange(customer, r)
		if !ask && f == nil {
			return pageView{to: p.ID}
		}
		if ask {
			v.Confirm = r.PostForm.Get("card")
		}
		v.fail(f)
	}
	for _, m := range s.state.PaymentMethods.all {
		if m.Customer == customer.ID {
			v.Saved = append(v.Saved, pageCard{m.ID, "Card ending in " + m.Card.Last4, m.ID == customer.InvoiceSettings.DefaultPaymentMethod})
		}
	}
	all := s.state.Invoices.all
	for i := len(all) - 1; i >= 0 && len(v.Invoices) < 100; i-- {
		if o := all[i]; o.Customer == customer.ID && o.Status != "draft" {
			v.Invoices = append(v.Invoices, pageRow{Text: o.Number, Amount: money(o.Total, o.Currency), State: o.Status, Link: "../invoice/" + o.ID})
		}
	}
	return v
}

// portalChange adds, removes or prefers a card.
func (s *Server) portalChange(customer *Customer, r *http.Request) (ask bool, f *failure) {
	switch r.PostForm.Get("action") {
	case "add":
		k, confirmed, ask, f := choice(r)
		if ask || f != nil {
			return ask, f
		}
		if k.attach != "" {
			return false, declined(k.attach)
		}
		if (k.confirm || k.confirm1) && !confirmed {
			return false, declined("authentication_failed")
		}
		m := s.newCard(k)
		m.SetUp = true
		s.attach(m, customer)
		customer.InvoiceSettings.DefaultPaymentMethod = m.ID
	case "default", "remove":
		m := s.state.PaymentMethods.byID[r.PostForm.Get("method")]
		if m == nil || m.Customer != customer.ID {
			return false, refused("", "", "There is no such card.")
		}
		if r.PostForm.Get("action") == "remove" {
			s.detach(m)
			return false, nil
		}
		customer.InvoiceSettings.DefaultPaymentMethod = m.ID
	default:
		return false, refused("", "", "There is nothing to do.")
	}
	s.emit("customer.updated", s.viewCustomer(customer))
	return false, nil
}
