//go:build programs

package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"tollgate/ledger"
	"tollgate/server/api"
)

// TestABrowserBuysCredits has a person buy a credit pack: the page of the stand-in
// for Stripe in a real browser, with scripts and without, where a card is declined
// and another one is not, back to where they came from, and the credits are there.
func TestABrowserBuysCredits(t *testing.T) {
	address := freeAddress(t) // the links must lead to it
	c := spawn(t, instrumented(t), childFolder(t, fmt.Sprintf(`
[server]
listen = %q
public_url = "http://%s"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[stripe]
api_base = "builtin:sandbox"
[[plan]]
id = "prepaid"
name = "Prepaid"
fee = "0"
billing = "prepaid"
credits = { documents = 1 }
[[credit_pack]]
id = "10k"
credits = 10000
price = "100.00"
`, address, address)))
	ctx, leave := browse(t)
	for n, tt := range []struct {
		name  string
		still bool // without scripts
	}{{"with scripts", false}, {"without scripts", true}} {
		t.Run(tt.name, func(t *testing.T) {
			user, err := c.client.AddUser(t.Context(), api.AddUser{Email: fmt.Sprintf("user%d@example.com", n), Plan: "prepaid", Scope: ledger.ScopeManage})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := post(http.DefaultClient, "http://"+address+"/v1/billing/credits/purchase", user.APIKey, []byte(`{"pack":"10k"}`))
			var checkout api.Checkout
			if err != nil || answer.status != http.StatusOK || json.Unmarshal(answer.body, &checkout) != nil {
				t.Fatalf("got %d %s (%v)", answer.status, answer.body, err)
			}
			pay(t, ctx, checkout.CheckoutURL, "http://"+address+"/dashboard/credits", tt.still)
			c.awaitBalance(user.Email, 10_000)
		})
	}
	leave() // it keeps connections, whose end would be waited for
	c.verify()
	c.stop()
}

// browse starts a browser that speaks to nobody but this machine, until leave is
// called.
func browse(t *testing.T) (ctx context.Context, leave func()) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if program, err = exec.LookPath("chromium-browser"); err != nil {
			t.Fatalf("the test needs the Debian package chromium: %v", err)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"))
	browsers, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(browsers)
	leave = sync.OnceFunc(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("the browser does not end: %v", err)
		}
		cancel()
		end()
	})
	t.Cleanup(leave)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	return ctx, leave
}

// pay pays on a page in a tab of its own, first with a card that is declined, and
// waits until the browser was sent back.
func pay(t *testing.T, browser context.Context, page, back string, still bool) {
	t.Helper()
	tab, leave := chromedp.NewContext(browser)
	defer leave()
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: still}); err != nil {
		t.Fatal(err)
	}
	choose := func(card string) (status int64, url string) {
		t.Helper()
		answer, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(`input[name=card][value="`+card+`"]`)), chromedp.Click(chromedp.CSS("#submit")))
		if err != nil {
			t.Fatalf("paying with %s at %s: %v", card, page, err)
		}
		return answer.Status, answer.URL
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		t.Fatalf("opening %s: %v", page, err)
	}
	says(ctx, t, "main", "10,000 credits", "100.00")
	if status, _ := choose("4000000000000002"); status != http.StatusPaymentRequired {
		t.Errorf("a card that is declined: got status %d", status)
	}
	says(ctx, t, "[role=alert]", "declined")
	if _, url := choose("4242424242424242"); url != back {
		t.Errorf("the browser is at %s, want %s", url, back)
	}
}

// says checks that a part of the page has these words.
func says(ctx context.Context, t *testing.T, part string, words ...string) {
	t.Helper()
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(part)))
	if err != nil {
		t.Fatalf("reading %s: %v", part, err)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not have %q: %s", part, w, text)
		}
	}
}

// awaitBalance waits until a user has so many credits.
func (c *child) awaitBalance(user string, want int64) {
	c.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for {
		got, err := c.client.Credits(context.Background(), user, "", 0)
		if err != nil {
			c.t.Fatal(err)
		}
		if got.Balance == api.Credits(ledger.Amount(want)*ledger.Unit) {
			if len(got.Purchases) != 1 || got.Purchases[0].State != ledger.PaymentPaid || got.Purchases[0].Receipt == nil {
				c.t.Errorf("the balance is there, and the purchases are %+v", got.Purchases)
			}
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			c.t.Fatalf("%s has %v credits, want %d", user, got.Balance, want)
		}
	}
}
