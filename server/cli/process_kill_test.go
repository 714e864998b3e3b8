package cli_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

var killRounds = flag.Int("rounds", 5, "how often TestNothingIsLostByKills kills the process")

// receipt is a call whose answer came whole: what its record must say.
type receipt struct {
	request   string // Tollgate-Request
	id        string // the caller's own
	user      ledger.UserID
	route     string
	documents int64
	tokens    int64
}

// buyer is a user who calls. A cap of 0 is none.
type buyer struct {
	api.AddedUser
	calls, documents int64 // what the quota allows in a month
	each             int   // documents of a call; 0: some
	credits          int64 // granted, where the plan is prepaid
}

// killing is a run of kills: what has been bought of the tollgate that is killed
// again and again.
type killing struct {
	t        *testing.T
	upstream *witness
	folder   string
	program  string
	began    time.Time
	http     *http.Client

	next     atomic.Int64 // numbers the calls
	answers  atomic.Int64
	refusals atomic.Int64

	mu       sync.Mutex
	receipts []receipt
	buyers   []buyer
}

// TestNothingIsLostByKills: under load from 64 clients the process is killed at
// random moments, also while it starts and while it stops. Each call whose
// answer came whole is in the ledger, once and as it was answered; nothing is in
// the ledger that did not happen; totals are the sums of the records; no quota is
// overspent; of credits, what was burnt and what was not covered is what was used;
// and the ledger is sound each time.
func TestNothingIsLostByKills(t *testing.T) {
	upstream := newWitness(t)
	config := witnessConfig(upstream.URL) + planOf("calls40", "calls = 40") + planOf("docs200", "documents = 200") +
		prepaidPlan("credits", "documents = 1") + prepaidPlan("tokens", "tokens = 1")
	k := &killing{
		t: t, upstream: upstream, folder: childFolder(t, config), program: instrumented(t), began: time.Now(), http: newTestClient(),
	}
	random := rand.New(rand.NewPCG(uint64(k.began.UnixNano()), 0))
	kills, checked := 0, 0
	for round := range *killRounds {
		if round%3 == 2 {
			k.killAtStart(random)
			kills++
		}
		c := spawn(t, k.program, k.folder)
		checked += k.checkNewest(c, 100)
		if round%2 == 1 {
			c.verify()
		}
		k.addBuyers(c, round)
		k.round(c, random)
		kills++
		if round%2 == 0 {
			c.verifyFile()
		}
		if t.Failed() {
			return
		}
	}
	c := spawn(t, k.program, k.folder)
	k.spendAll(c)
	k.compare(c)
	c.verify()
	c.stop()
	c.verifyFile()
	calls, _ := upstream.count()
	t.Logf("%d kills: %d answers came whole and all are recorded once (%d of them looked up by their id after the kill); %d calls reached the upstream, %d were refused at a quota",
		kills, len(k.receipts), checked, calls, k.refusals.Load())
}

// addBuyers adds users with little quotas and few credits in each round, so that some are
// always close to their limit, and at first some without.
func (k *killing) addBuyers(c *child, round int) {
	if round == 0 {
		for i := range 8 {
			k.buyers = append(k.buyers, buyer{AddedUser: c.addUser(fmt.Sprintf("open%d@example.com", i), "open")})
		}
	}
	k.buyers = append(k.buyers,
		buyer{AddedUser: c.addUser(fmt.Sprintf("calls%d@example.com", round), "calls40"), calls: 40},
		buyer{AddedUser: c.addUser(fmt.Sprintf("docs%d@example.com", round), "docs200"), documents: 200, each: 7},
		k.prepaid(c, fmt.Sprintf("credits%d@example.com", round), "credits", 500),
		k.prepaid(c, fmt.Sprintf("tokens%d@example.com", round), "tokens", 100_000)) // of which a call takes some before it is known
}

// prepaid adds a user with credits.
func (k *killing) prepaid(c *child, email, plan string, credits int64) buyer {
	b := buyer{AddedUser: c.addUser(email, plan), credits: credits}
	if plan == "credits" {
		b.each = 7
	}
	if _, err := c.client.GrantCredits(context.Background(), email, api.GrantCredits{Amount: api.Credits(ledger.Amount(credits) * ledger.Unit)}); err != nil {
		k.t.Fatal(err)
	}
	return b
}

// killAtStart kills a process that has not told yet that it serves.
func (k *killing) killAtStart(random *rand.Rand) {
	c := begin(k.t, k.program, k.folder)
	select {
	case <-c.ended:
		k.t.Errorf("tollgate does not start: %v\n%s", c.err, tail(c.log(), 20))
	case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
	}
	c.kill()
}

// round lets 64 clients call until the process is killed: after some answers,
// after some calls have reached the upstream, after some time, or while it ends
// in order because it was told to.
func (k *killing) round(c *child, random *rand.Rand) {
	now := make(chan struct{}, 1)
	strike := func() {
		select {
		case now <- struct{}{}:
		default:
		}
	}
	after := 1 + random.Int64N(600)
	answered := func() {}
	asked := false
	switch random.IntN(4) {
	case 0:
		target := k.answers.Load() + after
		answered = func() {
			if k.answers.Load() >= target {
				strike()
			}
		}
	case 1:
		var n atomic.Int64
		k.upstream.setReached(func() {
			if n.Add(1) >= after {
				strike()
			}
		})
	case 2:
		asked = true
		fallthrough
	default:
		defer time.AfterFunc(time.Duration(random.IntN(400))*time.Millisecond, strike).Stop()
	}
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 64 {
		seed := random.Uint64()
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-over:
					return
				default:
				}
				if k.call(c, k.pick(random), random) {
					answered()
				}
			}
		})
	}
	select {
	case <-now:
	case <-c.ended:
		k.t.Errorf("tollgate ended by itself: %v\n%s", c.err, tail(c.log(), 20))
	case <-time.After(patience):
		k.t.Errorf("the moment to kill never came: there are %d answers", k.answers.Load())
	}
	if asked {
		_ = c.process.Signal(syscall.SIGTERM) // it has not been waited for
		select {
		case <-c.ended:
		case <-time.After(time.Duration(random.IntN(30)) * time.Millisecond):
		}
	}
	c.kill()
	close(over)
	clients.Wait()
	k.upstream.setReached(nil)
	k.http.CloseIdleConnections()
}

// pick is mostly a user without a quota, else one of the newest with one.
func (k *killing) pick(random *rand.Rand) *buyer {
	if random.IntN(3) > 0 {
		return &k.buyers[random.IntN(8)]
	}
	newest := min(len(k.buyers)-8, 12)
	return &k.buyers[len(k.buyers)-1-random.IntN(newest)]
}

// call makes a call and keeps the receipt when its answer came whole.
func (k *killing) call(c *child, b *buyer, random *rand.Rand) bool {
	o := order{ID: fmt.Sprintf("call-%d", k.next.Add(1)), Tokens: random.Int64N(5000)}
	n := b.each
	if n == 0 {
		n = random.IntN(9)
	}
	kind := kinds[random.IntN(len(kinds))]
	a, err := post(k.http, "http://"+c.address+kind, b.APIKey, orderOf(o.ID, n, o.Tokens))
	switch {
	case err != nil:
		return false // the process was killed
	case a.status == http.StatusTooManyRequests && a.code() == "quota_exceeded" && b.calls+b.documents > 0:
		k.refusals.Add(1)
		return false
	case a.status == http.StatusPaymentRequired && a.code() == "insufficient_credits" && b.credits > 0:
		k.refusals.Add(1)
		return false
	case a.status == http.StatusServiceUnavailable && a.code() == "shutting_down":
		return false
	case a.status != http.StatusOK:
		k.t.Errorf("%s of user %d: got %d %s", kind, b.ID, a.status, a.body)
		return false
	}
	if want := strings.Join(pieces(kind, o), ""); string(a.body) != want {
		k.t.Errorf("%s: got %q, want %q", kind, a.body, want)
	}
	k.mu.Lock()
	k.receipts = append(k.receipts, receipt{a.header.Get("Tollgate-Request"), o.ID, b.ID, "POST " + kind, int64(n), o.Tokens})
	k.mu.Unlock()
	k.answers.Add(1)
	return true
}

// checkNewest looks the newest receipts up by their request ids.
func (k *killing) checkNewest(c *child, most int) int {
	newest := k.receipts[max(0, len(k.receipts)-most):]
	for _, want := range newest {
		page, err := c.client.Records(context.Background(), fmt.Sprint(want.user), api.RecordsQuery{Request: want.request})
		if err != nil || len(page.Records) != 1 {
			k.t.Errorf("the record of %s (%s), whose answer came whole: %v, %d records", want.request, want.id, err, len(page.Records))
			continue
		}
		k.checkRecord(want, page.Records[0])
	}
	return len(newest)
}

func (k *killing) checkRecord(want receipt, got api.Record) {
	if got.User != want.user || got.Route != want.route || got.Documents != want.documents || got.Tokens != want.tokens ||
		got.StatusCode != http.StatusOK || got.Outcome != "ok" || !got.Billed {
		k.t.Errorf("the record of %+v is %+v", want, got)
	}
}

// spendAll uses up all quotas, to the last call that fits.
func (k *killing) spendAll(c *child) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range k.buyers[8:] {
		for b := &k.buyers[8+i]; k.call(c, b, random); {
		}
	}
}

// compare compares the receipts, the exported records, the totals and what the
// upstream saw.
func (k *killing) compare(c *child) {
	t := k.t
	records := map[string]api.Record{}
	sums := map[ledger.UserID]api.Record{} // of the billed
	calls, unbilled := map[ledger.UserID]int64{}, map[ledger.UserID]int64{}
	for _, r := range c.export(k.began, time.Now()) {
		if _, twice := records[r.RequestID]; twice {
			t.Errorf("%s is in the ledger twice", r.RequestID)
		}
		records[r.RequestID] = r
		if _, happened := k.upstream.caller(r.RequestID); !happened {
			t.Errorf("%s is in the ledger and never reached the upstream", r.RequestID)
		}
		if !r.Billed {
			unbilled[r.User]++
			continue
		}
		calls[r.User]++
		s := sums[r.User]
		s.Documents, s.Tokens, s.Cost = s.Documents+r.Documents, s.Tokens+r.Tokens, s.Cost+r.Cost
		s.CreditsBurnt, s.Uncovered = s.CreditsBurnt+r.CreditsBurnt, s.Uncovered+r.Uncovered
		sums[r.User] = s
	}
	for _, want := range k.receipts {
		got, ok := records[want.request]
		if !ok {
			t.Errorf("%s (%s) was answered whole and is not in the ledger", want.request, want.id)
			continue
		}
		k.checkRecord(want, got)
	}
	for _, b := range k.buyers {
		u := c.usage(b.Email).CurrentUsage
		s := sums[b.ID]
		if u.TotalCalls != calls[b.ID] || u.UnbilledCalls != unbilled[b.ID] || u.TotalDocuments != s.Documents || u.TotalTokens != s.Tokens || u.Cost != s.Cost {
			t.Errorf("user %d: the totals %+v are not the sums of the records: %d calls (%d more unbilled), %d documents, %d tokens, %s",
				b.ID, u, calls[b.ID], unbilled[b.ID], s.Documents, s.Tokens, s.Cost)
		}
		if b.credits > 0 {
			k.compareCredits(c, b, s)
		}
		if b.calls > 0 && u.TotalCalls != b.calls {
			t.Errorf("user %d has used %d of %d calls, and no more are let through", b.ID, u.TotalCalls, b.calls)
		}
		if b.documents > 0 && (u.TotalDocuments > b.documents || u.TotalDocuments <= b.documents-int64(b.each)) {
			t.Errorf("user %d has used %d of %d documents, and no %d more are let through", b.ID, u.TotalDocuments, b.documents, b.each)
		}
	}
}

// compareCredits compares a user's credits with what the records say.
func (k *killing) compareCredits(c *child, b buyer, sum api.Record) {
	got, err := c.client.Credits(context.Background(), b.Email, "", 0)
	if err != nil {
		k.t.Fatal(err)
	}
	used := sum.Tokens
	if b.each > 0 {
		used = sum.Documents
	}
	unit := api.Credits(ledger.Unit)
	if got.Burnt != sum.CreditsBurnt || got.Uncovered != sum.Uncovered || got.Burnt+got.Uncovered != api.Credits(used)*unit || got.Granted != api.Credits(b.credits)*unit {
		k.t.Errorf("user %d: %s burnt and %s uncovered of %s, the records say %s and %s, and %d were used",
			b.ID, got.Burnt, got.Uncovered, got.Granted, sum.CreditsBurnt, sum.Uncovered, used)
	}
	if got.Balance != got.Granted-got.Burnt || got.Balance < 0 || b.each > 0 && (got.Uncovered != 0 || got.Balance >= api.Credits(b.each)*unit) || b.each == 0 && got.Balance != 0 {
		k.t.Errorf("user %d: a balance of %s after %s burnt of %s, %s uncovered, when calls are refused", b.ID, got.Balance, got.Burnt, got.Granted, got.Uncovered)
	}
}
