package stripetest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"tollgate/server/stripe/stripetest"
)

// FuzzRequests: whatever is sent, there is an answer in JSON, the server goes on,
// and no more than one charge is made of an invoice.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/v1/customers", "metadata[a]=1&metadata[a][b]=2&metadata=&name=x"},
		{"POST", "/v1/invoiceitems", "customer=CUS&invoice=INV&amount=-5&currency=usd&period[start]=1&period[end]=2"},
		{"POST", "/v1/invoices/INV/pay", "expand[]=payment_intent&expand[0]=charge.invoice.lines.data"},
		{"POST", "/v1/credit_notes", "invoice=INV&lines[0][unit_amount]=1&lines[0][quantity]=2&lines[x]=1"},
		{"POST", "/v1/checkout/sessions", "mode=payment&success_url=http://a/&line_items[0][price_data][unit_amount]=999999999999&line_items[0][quantity]=1000000&line_items[0][price_data][currency]=usd"},
		{"GET", "/v1/events", "created[gte]=1&limit=100&types[]=a*&ending_before=x"},
		{"GET", "/v1/invoices", "expand[]=data.customer.invoice_settings.default_payment_method"},
		{"POST", "/v1/payment_intents", "amount=70&currency=usd&customer=CUS&payment_method=pm_0&confirm=true&off_session=true&expand[]=latest_charge"},
		{"DELETE", "/v1/customers/CUS", ""},
		{"POST", "/v1/billing_portal/sessions", "customer=CUS&return_url=%zz"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		c := newClock()
		s := stripetest.New(stripetest.Options{Now: c.Now, URL: "http://sandbox.test"})
		a := &api{t, s, c, s.Client()}
		customer := a.customer(stripetest.CardGood)
		invoice := a.open(customer, 1000)
		place := strings.NewReplacer("CUS", customer, "INV", invoice)
		for range 2 {
			r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(place.Replace(body)))
			r.Method = method
			r.URL = &url.URL{Path: "/v1/" + strings.TrimPrefix(place.Replace(path), "/v1/")}
			r.Header.Set("Authorization", "Bearer sk_test_1")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusOK && !strings.Contains(w.Body.String(), `"error"`) {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		}
		if n := len(s.Charges()); n > 1 {
			t.Errorf("%d charges", n)
		}
	})
}
