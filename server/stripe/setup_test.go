package stripe_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/billing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

func TestSetup(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	ctx := t.Context()
	plans := []stripe.Plan{
		{ID: "free", Name: "Free", Currency: "usd"},
		{ID: "pro", Name: "Pro – für alle", Currency: "usd", Fee: 4900},
		{ID: "enterprise", Name: "Enterprise", Currency: "usd", Custom: true},
	}
	first, err := s.Setup(ctx, plans)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for i, p := range first {
		made += len(p.Made)
		if p.Plan != plans[i].ID || p.Product == "" || (p.Price == "") != plans[i].Custom {
			t.Errorf("%+v", p)
		}
	}
	if made != 5 {
		t.Errorf("%d objects were made, want 5", made)
	}
	again := func(what string, made int) []stripe.PlanObjects {
		t.Helper()
		got, err := s.Setup(ctx, plans)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range got {
			n += len(got[i].Made)
			got[i].Made = nil
		}
		if n != made {
			t.Errorf("%s: %d objects were made, want %d", what, n, made)
		}
		return got
	}
	for i := range first {
		first[i].Made = nil
	}
	if diff := cmp.Diff(first, again("again", 0)); diff != "" {
		t.Errorf("again (-first +second):\n%s", diff)
	}
	s.ForgetKeys()
	again("a day later", 0)
	plans[1].Name = "Professional"
	again("another name", 0)
	again("that name again", 0)
	plans[1].Fee = 5900
	if got := again("another fee", 1); got[1].Price == first[1].Price || got[1].Product != first[1].Product {
		t.Errorf("another fee: %+v", got[1])
	}
	plans[1].Fee = 4900
	if got := again("the old fee", 0); got[1].Price != first[1].Price {
		t.Errorf("the old fee: %+v", got[1])
	}
	other := newClient(t, stripe.Options{Ledger: "another", HTTP: s.Transport()})
	got, err := other.Setup(ctx, plans)
	if err != nil || got[1].Product == first[1].Product || got[1].Price == first[1].Price {
		t.Errorf("another ledger: %+v, %v", got, err)
	}
}

func TestSetupAdoptsNothingOfOthers(t *testing.T) {
	s := newSandbox(t, stripe.Options{})
	post(t, s, "/v1/products", "id=prod_theirs&name=Theirs")
	post(t, s, "/v1/prices", "product=prod_theirs&currency=usd&unit_amount=4900&recurring[interval]=month&lookup_key=tollgate_"+testLedger+"_pro_usd_4900_month")
	var refused *billing.Rejection
	if got, err := s.Setup(t.Context(), []stripe.Plan{{ID: "pro", Name: "Pro", Currency: "usd", Fee: 4900}}); !errors.As(err, &refused) || refused.Code != "not_ours" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFaultsOfSetup(t *testing.T) {
	plans := []stripe.Plan{{ID: "pro", Name: "Pro", Currency: "usd", Fee: 4900}}
	for _, kind := range []stripetest.FaultKind{stripetest.CutBefore, stripetest.CutAfter, stripetest.Truncate, stripetest.ErrorBefore, stripetest.ErrorAfter, stripetest.RateLimited} {
		for n := 1; n <= 4; n++ {
			for _, forgotten := range []bool{false, true} {
				s := newSandbox(t, stripe.Options{})
				s.Fail(stripetest.Fault{Kind: kind, Nth: n})
				if _, err := s.Setup(t.Context(), plans); err == nil {
					t.Errorf("%v of request %d: no error", kind, n)
				}
				if forgotten {
					s.ForgetKeys()
				}
				if got, err := s.Setup(t.Context(), plans); err != nil || got[0].Price == "" {
					t.Errorf("%v of request %d: %+v, %v", kind, n, got, err)
				}
			}
		}
	}
}

func TestCheck(t *testing.T) {
	const url = "https://api.example.com/webhooks/stripe"
	endpoint := func(version, events string) func(t *testing.T, s *sandbox) {
		return func(t *testing.T, s *sandbox) {
			form := "url=" + url + version
			for _, e := range strings.Fields(events) {
				form += "&enabled_events[]=" + e
			}
			post(t, s, "/v1/webhook_endpoints", form)
		}
	}
	all := strings.Join(stripe.EventTypes(), " ")
	cases := []struct {
		name    string
		url     string
		prepare func(*testing.T, *sandbox)
		want    []string // words of the problems
	}{
		{name: "no webhook wanted"},
		{name: "no endpoint", url: url, want: []string{"No webhook endpoint"}},
		{name: "a good one", url: url, prepare: endpoint("&api_version=2023-10-16", all)},
		{name: "all events", url: url, prepare: endpoint("&api_version=2023-10-16", "*")},
		{name: "events missing", url: url, prepare: endpoint("&api_version=2023-10-16", "invoice.paid"), want: []string{"does not send checkout.session.completed"}},
		{name: "of the account's version", url: url, prepare: endpoint("", "*"), want: []string{"the account's default"}},
		{name: "a clock that is off", prepare: func(t *testing.T, s *sandbox) { s.advance(-10 * time.Minute) }, want: []string{"10m0s"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			at := newSandbox(t, stripe.Options{})
			s := newSandbox(t, stripe.Options{HTTP: at.Transport()})
			if c.prepare != nil {
				if strings.Contains(c.name, "clock") {
					c.prepare(t, s)
				} else {
					c.prepare(t, at)
				}
			}
			got, err := s.Check(t.Context(), c.url)
			if err != nil {
				t.Fatal(err)
			}
			if want := (billing.Account{ID: got.Account.ID, Now: start}); got.Account != want || got.Account.ID == "" || got.Restricted || got.APIVersion != "2023-10-16" {
				t.Errorf("report %+v", got)
			}
			if len(got.Problems) != len(c.want) {
				t.Fatalf("problems %q, want %q", got.Problems, c.want)
			}
			for i, words := range c.want {
				if !strings.Contains(got.Problems[i], words) {
					t.Errorf("problem %q, want %q in it", got.Problems[i], words)
				}
			}
		})
	}
}
