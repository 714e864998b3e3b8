package stripetest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tollgate/server/stripe/stripetest"
)

func Example() {
	s := stripetest.New(stripetest.Options{Now: func() time.Time { return time.Unix(1735689600, 0) }})
	post := func(path string, values url.Values) int {
		r, _ := http.NewRequest(http.MethodPost, "https://api.stripe.com"+path, strings.NewReader(values.Encode()))
		r.Header.Set("Authorization", "Bearer sk_test_anything")
		answer, err := s.Client().Do(r)
		if err != nil {
			fmt.Println(err)
			return 0
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	post("/v1/customers", url.Values{"email": {"ann@example.com"}})
	customer := s.Customers()[0].ID
	s.SetCard(customer, stripetest.CardGood)
	post("/v1/invoices", url.Values{"customer": {customer}})
	invoice := s.Invoices()[0].ID
	post("/v1/invoiceitems", url.Values{"customer": {customer}, "invoice": {invoice}, "currency": {"usd"}, "amount": {"4900"}})
	post("/v1/invoices/"+invoice+"/finalize", nil)

	// The answer to the payment is lost: it was made all the same.
	s.Fail(stripetest.Fault{Kind: stripetest.CutAfter, Path: "/v1/invoices/*/pay"})
	post("/v1/invoices/"+invoice+"/pay", nil)
	fmt.Println(len(s.Charges()), s.Charges()[0].Amount)
	// Output:
	// Post "https://api.stripe.com/v1/invoices/in_1Sbqmkakh00000006gk2AfHb8/pay": connection reset by peer
	// 1 4900
}
