package billing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
	"tollgate/server/billing"
	"tollgate/server/pricing"
	"tollgate/server/webhook"
)

// office is billing that tells of notices, on a ledger that can be opened again.
type office struct {
	*billing.Billing
	t        *testing.T
	path     string
	now      time.Time
	ledger   *ledger.Ledger
	mailer   billing.Mailer
	webhooks billing.WebhookSender
	noMails  bool
}

func newOffice(t *testing.T, change func(*office)) *office {
	t.Helper()
	o := &office{t: t, path: filepath.Join(t.TempDir(), "tollgate.db"), now: newYear}
	if change != nil {
		change(o)
	}
	o.open()
	plan := pricing.Plan{ID: "free", Name: "Free", Quota: map[string]int64{"calls": 1000}, OnExceed: pricing.Block, Billing: pricing.Monthly}
	text, err := plan.Terms()
	if err == nil {
		_, err = o.ledger.PublishVersion(o.now, ledger.PlanVersion, "free", text, o.now)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) open() {
	o.t.Helper()
	o.ledger = ledgertest.Open(o.t, o.path, ledger.Options{Now: o.now, TestClock: true})
	var err error
	o.Billing, err = billing.New(billing.Options{
		Ledger: o.ledger, Book: pricing.NewBook(), Now: func() time.Time { return o.now }, TestClock: true, Mailer: o.mailer, Webhooks: o.webhooks,
		Log: slog.New(slog.NewTextHandler(o.t.Output(), nil)),
		Settings: billing.Settings{
			Grace: time.Hour, RunAt: time.Hour, SuspendAfter: 336 * time.Hour, Issuer: "Example Ltd", PublicURL: "https://api.example.com", NoticeMails: !o.noMails,
		},
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

// user adds a user, with an address unless it is "".
func (o *office) user(email string) ledger.UserID {
	o.t.Helper()
	first := email
	if first == "" {
		first = fmt.Sprintf("erased%d@customer.example", o.now.UnixNano())
	}
	u, err := o.ledger.AddUser(o.now, "test", ledger.Personal{Email: first, Name: "Ada"}, "free")
	if err == nil && email == "" {
		_, err = o.ledger.ChangeUser(o.now, "test", u.ID, func(u *ledger.User) error { u.Personal.Email = ""; return nil })
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return u.ID
}

// tell logs a notice.
func (o *office) tell(n ledger.Notice) *ledger.Notice {
	o.t.Helper()
	made, fresh, err := o.ledger.AddNotice(o.now, "test", n)
	if err != nil || !fresh {
		o.t.Fatalf("the notice %+v is not new (%v)", n, err)
	}
	return made
}

// quota is a notice of a meter's quota.
func quota(user ledger.UserID, meter string) ledger.Notice {
	return ledger.Notice{User: user, Code: ledger.Quota80, Subject: meter, Meter: meter, Used: 850, Limit: 1000}
}

func (o *office) deliver() {
	o.t.Helper()
	if err := o.Deliver(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

// pass delivers what falls due in a time, as a clock does that is moved.
func (o *office) pass(d time.Duration) {
	o.t.Helper()
	end := o.now.Add(d)
	for next := o.NextDelivery(o.now); !next.IsZero() && !next.After(end); next = o.NextDelivery(o.now) {
		o.now = next
		o.deliver()
	}
	o.now = end
	o.deliver()
}

func (o *office) notice(n *ledger.Notice) *ledger.Notice {
	o.t.Helper()
	now, err := o.ledger.Notice(n.User, n.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	return now
}

// how is how a notice stands: each channel with its attempts and its end.
func (o *office) how(n *ledger.Notice) string {
	o.t.Helper()
	now := o.notice(n)
	var words []string
	for _, d := range now.Deliveries {
		word := fmt.Sprintf("%s %d", d.Channel, d.Attempts)
		switch {
		case d.GivenUp:
			word += " given up"
		case !d.Sent.IsZero():
			word += " sent"
		}
		words = append(words, word)
	}
	if now.Done {
		words = append(words, "done")
	}
	return strings.Join(words, ", ")
}

// hook is a receiver of webhooks within this process.
type hook struct {
	mu     sync.Mutex
	tried  []billing.Webhook
	taken  []billing.Webhook
	answer func(billing.Webhook) error // nil: takes it
}

func (h *hook) SendWebhook(_ context.Context, w billing.Webhook) error {
	h.mu.Lock()
	h.tried = append(h.tried, w)
	h.mu.Unlock()
	if h.answer != nil {
		if err := h.answer(w); err != nil {
			return err
		}
	}
	h.mu.Lock()
	h.taken = append(h.taken, w)
	h.mu.Unlock()
	return nil
}

// letters is a mail server within this process.
type letters struct {
	post
	notices []billing.NoticeMail
	answer  func() error // nil: takes them
}

func (l *letters) SendNotice(_ context.Context, m billing.NoticeMail) error {
	if l.answer != nil {
		if err := l.answer(); err != nil {
			return err
		}
	}
	l.notices = append(l.notices, m)
	return nil
}

// delivered is a webhook as a real receiver got it.
type delivered struct {
	id   string
	at   time.Time // by the office's clock
	body []byte
}

// listen is a real receiver of webhooks; answer gets what came, and says what to
// answer. 0 breaks the connection.
func listen(t *testing.T, answer func(delivered) int) *webhook.Sender {
	t.Helper()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Errorf("a webhook cannot be believed: %v", err)
		}
		code := answer(delivered{id: r.Header.Get("webhook-id"), body: body})
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s, err := webhook.New(webhook.Options{URL: server.URL, Secret: secret, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReceiverThatFailsForADay gets each event in the end, exactly as stored, once,
// and those of one user in their order.
func TestReceiverThatFailsForADay(t *testing.T) {
	var o *office
	var tries []delivered
	var taken []delivered
	down := true
	o = newOffice(t, func(o *office) {
		o.webhooks = listen(t, func(d delivered) int {
			d.at = o.now
			tries = append(tries, d)
			if down {
				return http.StatusServiceUnavailable
			}
			taken = append(taken, d)
			return http.StatusOK
		})
	})
	users := []ledger.UserID{o.user("ada@customer.example"), o.user("bob@customer.example"), o.user("cyd@customer.example"), o.user("")}
	var told []*ledger.Notice
	for hour := range 24 {
		told = append(told, o.tell(quota(users[hour%len(users)], fmt.Sprintf("meter_%d", hour))))
		o.pass(time.Hour)
	}
	if len(taken) != 0 {
		t.Fatalf("%d were taken by a receiver that is down", len(taken))
	}
	first, id := []time.Duration{}, tries[0].id
	for _, d := range tries {
		if d.id == id {
			first = append(first, d.at.Sub(newYear))
		}
	}
	want := []time.Duration{0, time.Minute, 6 * time.Minute, 21 * time.Minute, 81 * time.Minute, 141 * time.Minute, 201 * time.Minute}
	for n := range want {
		want[n] += time.Hour // when it was first looked at
	}
	if diff := cmp.Diff(want, first[:7]); diff != "" {
		t.Errorf("the first was tried after (-want +got):\n%s", diff)
	}
	down = false
	o.pass(2 * time.Hour)

	order := map[ledger.UserID][]ledger.NoticeID{}
	seen := map[string]bool{}
	for _, d := range taken {
		if seen[d.id] {
			t.Errorf("%s was taken twice", d.id)
		}
		seen[d.id] = true
		var body struct {
			Type      string
			Timestamp time.Time
			Data      struct {
				Notice      ledger.NoticeID
				User        ledger.UserID
				Meter       string
				Used, Limit int64
			}
		}
		if err := json.Unmarshal(d.body, &body); err != nil {
			t.Fatal(err)
		}
		got := ledger.Notice{ID: body.Data.Notice, User: body.Data.User, Code: body.Type, Month: january, Subject: body.Data.Meter, Time: body.Timestamp,
			Meter: body.Data.Meter, Used: body.Data.Used, Limit: body.Data.Limit}
		stored := o.notice(&got)
		stored.Deliveries, stored.Done = nil, false
		if diff := cmp.Diff(stored, &got); diff != "" {
			t.Errorf("what came is not what is stored (-stored +came):\n%s", diff)
		}
		order[got.User] = append(order[got.User], got.ID)
	}
	for user, ids := range order {
		if !slices.IsSorted(ids) {
			t.Errorf("user %d was told of in the order %v", user, ids)
		}
	}
	if len(seen) != len(told) {
		t.Errorf("%d of %d came", len(seen), len(told))
	}
	for _, n := range told {
		if how := o.how(n); !strings.HasSuffix(how, " sent, done") {
			t.Errorf("notice %d stands at %q", n.ID, how)
		}
	}
	before := len(tries)
	o.pass(7 * 24 * time.Hour)
	if len(tries) != before {
		t.Errorf("%d more were sent", len(tries)-before)
	}
}

// TestAnswerThatIsLost: a receiver that took a webhook and could not say so gets the
// same once more.
func TestAnswerThatIsLost(t *testing.T) {
	var came []delivered
	o := newOffice(t, func(o *office) {
		o.noMails = true
		o.webhooks = listen(t, func(d delivered) int {
			came = append(came, d)
			if len(came) == 1 {
				return 0
			}
			return http.StatusNoContent
		})
	})
	n := o.tell(quota(o.user("ada@customer.example"), "calls"))
	o.deliver()
	if how := o.how(n); how != "webhook 1" || o.notice(n).Deliveries[0].Error == "" {
		t.Errorf("after the cut it stands at %q", how)
	}
	o.pass(time.Minute)
	if how := o.how(n); how != "webhook 2 sent, done" {
		t.Errorf("in the end it stands at %q", how)
	}
	if len(came) != 2 || came[0].id != came[1].id || string(came[0].body) != string(came[1].body) || strings.Contains(came[0].id, ".") {
		t.Errorf("came %+v", came)
	}
}

// TestCrashAfterSending: what was sent and not noted is sent again, with the same
// id, on each channel; what was noted is not.
func TestCrashAfterSending(t *testing.T) {
	var o *office
	crash := false
	h, l := &hook{}, &letters{}
	dying := func() error {
		if crash {
			_ = o.ledger.Close()
		}
		return nil
	}
	h.answer = func(billing.Webhook) error { return dying() }
	l.answer = dying
	o = newOffice(t, func(o *office) { o.webhooks, o.mailer = h, l })
	n := o.tell(quota(o.user("ada@customer.example"), "calls"))
	for _, stage := range []struct{ webhooks, mails int }{{1, 0}, {2, 1}} {
		crash = stage.webhooks == 1 // at first the webhook dies, then the mail
		l.answer = func() error { crash = true; return dying() }
		if err := o.Deliver(t.Context()); err == nil {
			t.Fatal("the ledger was closed, and nobody noticed")
		}
		if len(h.taken) != stage.webhooks || len(l.notices) != stage.mails {
			t.Fatalf("%d webhooks and %d mails were sent", len(h.taken), len(l.notices))
		}
		o.open()
	}
	crash, l.answer = false, nil
	o.deliver()
	o.deliver()
	if how := o.how(n); how != "mail 1 sent, webhook 1 sent, done" {
		t.Errorf("it stands at %q", how)
	}
	if len(h.taken) != 2 || h.taken[0].ID != h.taken[1].ID || len(l.notices) != 2 || l.notices[0].ID != l.notices[1].ID {
		t.Errorf("sent: webhooks %+v, mails %+v", h.taken, l.notices)
	}
}

// TestWaysOut: a notice goes out by what is configured, and is done with where that
// is nothing.
func TestWaysOut(t *testing.T) {
	failed := func(u ledger.UserID) ledger.Notice {
		return ledger.Notice{User: u, Code: ledger.PaymentFailed, Subject: "payment", Amount: 100}
	}
	for _, c := range []struct {
		name         string
		mail, noMail bool
		hook         bool
		email        string
		notice       func(ledger.UserID) ledger.Notice
		want         string
	}{
		{name: "nothing configured", email: "a@b.example", want: "done"},
		{name: "mails alone", mail: true, email: "a@b.example", want: "mail 1 sent, done"},
		{name: "mails of invoices alone", mail: true, noMail: true, email: "a@b.example", want: "done"},
		{name: "webhooks alone", hook: true, email: "a@b.example", want: "webhook 1 sent, done"},
		{name: "both", mail: true, hook: true, email: "a@b.example", want: "mail 1 sent, webhook 1 sent, done"},
		{name: "no address", mail: true, hook: true, want: "webhook 1 sent, done"},
		{name: "a payment that failed", mail: true, hook: true, email: "a@b.example", notice: failed, want: "mail 1 sent, webhook 1 sent, done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, func(o *office) {
				o.noMails = c.noMail
				if c.mail {
					o.mailer = &letters{}
				}
				if c.hook {
					o.webhooks = &hook{}
				}
			})
			n := quota(o.user(c.email), "calls")
			if c.notice != nil {
				n = c.notice(n.User)
			}
			made := o.tell(n)
			o.deliver()
			if how := o.how(made); how != c.want {
				t.Errorf("it stands at %q, want %q", how, c.want)
			}
		})
	}
}

// TestInvoiceHasItsOwnMail: of an invoice that could not be collected the customer
// is told once, the program too.
func TestInvoiceHasItsOwnMail(t *testing.T) {
	h, l := &hook{}, &letters{}
	w := newWorld(t, func(o *billing.Options) {
		o.Provider, o.Mailer, o.Webhooks, o.Settings.NoticeMails = &decliner{}, l, h, true
	})
	u := w.user("pro")
	w.ends(january)
	i := w.invoice(u, january)
	n := ledger.Notice{User: u, Code: ledger.PaymentFailed, Subject: fmt.Sprintf("invoice %d", i.ID), Invoice: i.ID, Amount: 4900, Failure: "card_declined"}
	if w.ledger.Account(u).User().Told(n.Code, w.ledger.PeriodAt(w.now).Month, n.Subject) {
		t.Log("billing gives the notice itself")
	} else if _, _, err := w.ledger.AddNotice(w.now, "test", n); err != nil {
		t.Fatal(err)
	}
	if err := w.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	var about []billing.Webhook
	for _, w := range h.taken {
		if w.Notice.Code == ledger.PaymentFailed {
			about = append(about, w)
		}
	}
	if len(about) != 1 || about[0].Invoice != i.NumberText() || about[0].Currency != "usd" || about[0].Notice.Invoice != i.ID {
		t.Errorf("webhooks %+v", about)
	}
	for _, m := range l.notices {
		if m.Notice.Code == ledger.PaymentFailed {
			t.Errorf("a second mail: %+v", m)
		}
	}
}

// TestWhatAMailSays has what the letter needs with it.
func TestWhatAMailSays(t *testing.T) {
	l := &letters{}
	o := newOffice(t, func(o *office) { o.mailer = l })
	u := o.user("ada@customer.example")
	o.tell(quota(u, "calls"))
	p, err := o.ledger.AddPayment(o.now, "test", ledger.Payment{
		Kind: ledger.RealtimePayment, User: u, Lines: []ledger.InvoiceLine{{Kind: "usage", Description: "Usage", Amount: 512}}, Total: 512,
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := o.tell(ledger.Notice{User: u, Code: ledger.PaymentFailed, Subject: "payment", Payment: p.ID, Amount: 512})
	o.deliver()
	if len(l.notices) != 2 {
		t.Fatalf("%d mails were sent", len(l.notices))
	}
	one, two := l.notices[0], l.notices[1]
	if one.OnExceed != pricing.Block || one.Pages != "https://api.example.com" || one.Issuer != "Example Ltd" || one.To.Name != "Ada" || one.Digits != 2 || one.Zone.String() != "UTC" {
		t.Errorf("the mail about the quota is %+v", one)
	}
	if two.Payment == nil || two.Payment.Total != 512 || two.ID == one.ID || two.Notice.ID != failed.ID {
		t.Errorf("the mail about the payment is %+v", two)
	}
}

// TestMailThatIsOvertaken: that a payment failed is not told when it has been paid.
func TestMailThatIsOvertaken(t *testing.T) {
	down := true
	l := &letters{answer: func() error {
		if down {
			return errors.New("try again")
		}
		return nil
	}}
	o := newOffice(t, func(o *office) { o.mailer = l })
	u := o.user("ada@customer.example")
	p, err := o.ledger.AddPayment(o.now, "test", ledger.Payment{
		Kind: ledger.RealtimePayment, User: u, Lines: []ledger.InvoiceLine{{Kind: "usage", Description: "Usage", Amount: 512}}, Total: 512,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := o.tell(ledger.Notice{User: u, Code: ledger.PaymentFailed, Subject: "payment", Payment: p.ID, Amount: 512})
	o.deliver()
	if _, err := o.ledger.ChangePayment(o.now, "test", u, p.ID, func(p *ledger.Payment) error {
		p.State, p.PaidAt = ledger.PaymentPaid, o.now
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	down = false
	o.pass(time.Hour)
	if how := o.how(n); how != "mail 2 given up, done" || len(l.notices) != 0 {
		t.Errorf("it stands at %q, with %d mails", how, len(l.notices))
	}
}
