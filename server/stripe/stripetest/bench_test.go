package stripetest_test

import (
	"fmt"
	"net/http"
	"testing"

	"tollgate/server/stripe/stripetest"
)

// BenchmarkYear is 200 users billed for 12 months, with three lines each.
func BenchmarkYear(b *testing.B) {
	for b.Loop() {
		c := newClock()
		s := stripetest.New(stripetest.Options{Now: c.Now, URL: "http://sandbox.test"})
		a := &api{b, s, c, s.Client()}
		for range 200 {
			a.customer(stripetest.CardGood)
		}
		customers := s.Customers()
		for month := range 12 {
			for _, customer := range customers {
				key := fmt.Sprintf("%d-%s", month, customer.ID)
				id := a.request(http.MethodPost, "/v1/invoices", key, "customer", customer.ID, "currency", "usd").id()
				for line := range 3 {
					a.request(http.MethodPost, "/v1/invoiceitems", fmt.Sprint(key, line), "customer", customer.ID, "invoice", id, "currency", "usd", "amount", "900")
				}
				a.request(http.MethodPost, "/v1/invoices/"+id+"/finalize", key+"f")
				a.request(http.MethodPost, "/v1/invoices/"+id+"/pay", key+"p")
			}
			c.advance(30 * 24 * 3600e9)
		}
		if n := len(s.Charges()); n != 2400 {
			b.Fatalf("%d charges", n)
		}
	}
}
