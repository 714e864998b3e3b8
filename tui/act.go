package tui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// target is what an act on a page would concern.
type target struct {
	user    *targetUser
	key     *api.Key
	invoice *targetInvoice
	payment *api.Payment
}

type targetUser struct{ id, email, plan, status string }

// name is what is typed to confirm: the e-mail, or the id of a user whose e-mail
// was erased.
func (u targetUser) name() string { return cmp.Or(u.email, u.id) }

type targetInvoice struct {
	id, number, email, state string
	due                      int64
}

// name is what is typed to confirm: the number, or the id where there is none.
func (i targetInvoice) name() string { return cmp.Or(i.number, i.id) }

func invoiceTarget(i api.Invoice) *targetInvoice {
	if i.ID == nil {
		return nil // a draft is nothing yet
	}
	t := &targetInvoice{id: strconv.FormatUint(uint64(*i.ID), 10), email: i.Email, state: i.State, due: i.AmountDueCents}
	if i.Number != nil {
		t.number = *i.Number
	}
	return t
}

func invoiceUser(i api.Invoice) *targetUser {
	return &targetUser{id: strconv.FormatUint(uint64(i.User), 10), email: i.Email}
}

// acts is the keys of what can be done to what is chosen.
func (m *model) acts() []key.Binding {
	t, k := m.pages[m.at].target(), m.keyMap
	var can []key.Binding
	if t.user != nil && m.at != billingPage {
		can = append(can, k.suspend, k.resume, k.plan, k.credits)
	}
	if t.key != nil {
		can = append(can, k.revoke)
	}
	if t.invoice != nil {
		can = append(can, k.retry, k.void)
	}
	if t.payment != nil {
		can = append(can, k.refund)
	}
	return can
}

// act opens the dialog of a key that changes something.
func (m *model) act(k tea.KeyMsg) tea.Cmd {
	keys := m.keyMap
	if !m.o.Write {
		m.notice = noticeMsg{text: "Nothing can be changed here. To allow it, start: tollgate top --write", bad: false}
		return nil
	}
	t := m.pages[m.at].target()
	switch {
	case key.Matches(k, keys.suspend, keys.resume, keys.plan, keys.credits) && (t.user == nil || m.at == billingPage):
		m.notice = noticeMsg{text: "Choose a user first, on Users (2) or User (3)."}
	case matches(k, keys.suspend):
		m.dialog = m.suspension(*t.user)
	case matches(k, keys.resume):
		m.dialog = m.resumption(*t.user)
	case matches(k, keys.plan):
		m.dialog = m.planChange(*t.user)
	case matches(k, keys.credits):
		m.dialog = m.creditGrant(*t.user)
	case matches(k, keys.revoke) && t.key == nil:
		m.notice = noticeMsg{text: "Choose a key first, on the user's page (3)."}
	case matches(k, keys.revoke):
		m.dialog = m.revocation(*t.user, *t.key)
	case matches(k, keys.refund) && t.payment == nil:
		m.notice = noticeMsg{text: "Choose a payment first, on Billing (5) or the user's page (3)."}
	case matches(k, keys.refund) && t.payment.ReturnableCents <= 0:
		m.notice = noticeMsg{text: "Nothing can be given back of " + t.payment.Name() + "."}
	case matches(k, keys.refund):
		m.dialog = m.refund(*t.payment)
	case t.invoice == nil:
		m.notice = noticeMsg{text: "Choose an invoice first, on Billing (5) or the user's page (3)."}
	case matches(k, keys.retry) && t.invoice.due <= 0:
		m.notice = noticeMsg{text: "Nothing is due of invoice " + t.invoice.name() + "."}
	case matches(k, keys.retry):
		m.dialog = m.collection(*t.invoice)
	case matches(k, keys.void):
		m.dialog = m.annulment(*t.invoice)
	}
	return nil
}

func (m *model) suspension(u targetUser) *dialog {
	return &dialog{
		title: "SUSPEND " + u.name(), what: "the e-mail address", want: u.name(),
		text: []string{"All new calls of this user are refused with 403 until the user is resumed. Running calls finish. The customer can still sign in and pay.", "It is now " + dash(u.status) + "."},
		do: func(ctx context.Context) (string, error) {
			_, err := m.server.Suspend(ctx, u.id)
			return u.name() + " is suspended.", err
		},
	}
}

func (m *model) resumption(u targetUser) *dialog {
	return &dialog{
		title: "RESUME " + u.name(), what: "the e-mail address", want: u.name(),
		text: []string{"The suspension is lifted, whatever it was for; calls are let through again at once.", "It is now " + dash(u.status) + "."},
		do: func(ctx context.Context) (string, error) {
			_, err := m.server.Resume(ctx, u.id)
			return u.name() + " may call again.", err
		},
	}
}

func (m *model) revocation(u targetUser, k api.Key) *dialog {
	return &dialog{
		title: "REVOKE KEY " + k.Prefix, what: "the key's prefix", want: k.Prefix,
		text: []string{fmt.Sprintf("New calls with key %s (%s) of %s are refused with 401 from now on; running ones finish. This cannot be undone.", k.Prefix, dash(k.Name), u.name())},
		do: func(ctx context.Context) (string, error) {
			return "Key " + k.Prefix + " is revoked.", m.server.Revoke(ctx, k)
		},
	}
}

func (m *model) collection(i targetInvoice) *dialog {
	return &dialog{
		title: "RETRY INVOICE " + i.name(), what: "the invoice's number", want: i.name(),
		text: []string{fmt.Sprintf("%s is charged to %s now. The invoice is %s.", m.o.priced(i.due), dash(i.email), i.state)},
		do: func(ctx context.Context) (string, error) {
			after, err := m.server.ActOnInvoice(ctx, i.id, api.RetryInvoice, api.ActOnInvoice{})
			if err == nil && after.AmountDueCents > 0 {
				err = fmt.Errorf("invoice %s could not be collected: it is %s, %s due", i.name(), after.State, m.o.priced(after.AmountDueCents))
			}
			return fmt.Sprintf("Invoice %s is %s.", i.name(), after.State), err
		},
	}
}

func (m *model) annulment(i targetInvoice) *dialog {
	return &dialog{
		title: "VOID INVOICE " + i.name(), what: "the invoice's number", want: i.name(),
		text: []string{fmt.Sprintf("The invoice (%s, %s due from %s) becomes worth nothing, and its month counts as billed. Another one is made in its place only by: tollgate bill run --reissue. This cannot be undone.",
			i.state, m.o.priced(i.due), dash(i.email))},
		do: func(ctx context.Context) (string, error) {
			after, err := m.server.ActOnInvoice(ctx, i.id, api.VoidInvoice, api.ActOnInvoice{})
			return fmt.Sprintf("Invoice %s is %s.", i.name(), after.State), err
		},
	}
}

// planChange asks for the plan first, then shows what it would mean.
func (m *model) planChange(u targetUser) *dialog {
	return &dialog{
		title: "CHANGE PLAN OF " + u.name(), what: "the id of the new plan, to see what it would mean",
		text: []string{"The plan is " + dash(u.plan) + ". An upgrade acts at once, anything else from the next period on."},
		ask: func(ctx context.Context, plan string) previewMsg {
			p, err := m.server.PreviewPlan(ctx, u.id, api.ChangePlan{Plan: plan})
			return previewMsg{user: u, plan: plan, preview: p, err: err}
		},
	}
}

// creditGrant asks for the number of credits first.
func (m *model) creditGrant(u targetUser) *dialog {
	return &dialog{
		title: "GRANT CREDITS TO " + u.name(), what: "the number of credits",
		text: []string{"Calls on a prepaid plan burn them; on others they wait. They never expire: to give some that do, use tollgate credits grant."},
		ask: func(_ context.Context, typed string) previewMsg {
			var amount api.Credits
			err := amount.UnmarshalJSON([]byte(strings.ReplaceAll(typed, ",", "")))
			if err == nil && amount <= 0 {
				err = errors.New("it is more than 0")
			}
			return previewMsg{user: u, credits: amount, err: err}
		},
	}
}

// granted is the dialog that grants the credits that were typed.
func (m *model) granted(msg previewMsg) *dialog {
	u, amount := msg.user, msg.credits
	return &dialog{
		title: "GRANT " + amount.String() + " CREDITS TO " + u.name(), what: "the e-mail address", want: u.name(),
		text: []string{"They can be burnt at once, and cannot be taken back here."},
		do: func(ctx context.Context) (string, error) {
			done, err := m.server.GrantCredits(ctx, u.id, api.GrantCredits{Amount: amount})
			return fmt.Sprintf("%s has %v credits more, and %v now.", u.name(), done.Amount, done.Balance), err
		},
	}
}

// refund asks for the reason first, which is kept with the payment.
func (m *model) refund(p api.Payment) *dialog {
	return &dialog{
		title: "REFUND " + strings.ToUpper(p.Name()), what: "the reason, which is kept with it",
		text: []string{"All that was not given back yet, " + m.o.priced(p.ReturnableCents) + ", goes back to the customer. To give a part of it: tollgate credits refund."},
		ask: func(_ context.Context, typed string) previewMsg {
			return previewMsg{payment: &p, reason: typed}
		},
	}
}

// refunded is the dialog that gives a payment back for the reason that was typed.
func (m *model) refunded(p api.Payment, reason string) *dialog {
	text := []string{fmt.Sprintf("%s of %s go back to %s, because: %s. This cannot be undone.", m.o.priced(p.ReturnableCents), p.Name(), dash(p.Email), reason)}
	if p.Credits > 0 {
		text = append(text, "What is left of its credits is taken; what was burnt of them is owed, and keeps the user from calling.")
	}
	name, what := strconv.FormatUint(uint64(p.ID), 10), "the payment's id"
	if p.Receipt != nil {
		name, what = *p.Receipt, "the receipt's number"
	}
	return &dialog{
		title: "REFUND " + strings.ToUpper(p.Name()), what: what, want: name, text: text,
		do: func(ctx context.Context) (string, error) {
			after, err := m.server.RefundPayment(ctx, strconv.FormatUint(uint64(p.User), 10), strconv.FormatUint(uint64(p.ID), 10), api.RefundPayment{Reason: reason})
			return fmt.Sprintf("%s was given back of %s, and %s is owed.", m.o.priced(after.RefundedCents), p.Name(), m.o.priced(after.OwedCents)), err
		},
	}
}

// previewMsg is what a change of plan would mean, the credits to be granted, or the
// reason for a refund.
type previewMsg struct {
	of      *dialog // that asked
	user    targetUser
	credits api.Credits  // 0: none are granted
	payment *api.Payment // nil: nothing is given back
	reason  string
	plan    string
	preview api.PlanPreview
	err     error
}

// planned is the dialog that changes the plan as previewed.
func (m *model) planned(msg previewMsg) *dialog {
	p, u := msg.preview, msg.user
	t := newTable(column{head: "THIS MONTH"}, column{head: "BEFORE", right: true}, column{head: "AFTER", right: true})
	t.add("fee", m.o.money(p.Before.FeeCents), m.o.money(p.After.FeeCents))
	meters := maps.Clone(p.Before.Quota)
	if meters == nil {
		meters = map[string]int64{}
	}
	maps.Copy(meters, p.After.Quota)
	for _, meter := range slices.Sorted(maps.Keys(meters)) {
		t.add(meter+" included", included(p.Before.Quota, meter), included(p.After.Quota, meter))
	}
	t.add("charge so far", m.o.money(p.Before.ChargeCents), m.o.money(p.After.ChargeCents))
	head, rows := t.lay(60)
	return &dialog{
		title: "CHANGE PLAN OF " + u.name() + " TO " + p.SubscriptionTier, what: "the e-mail address", want: u.name(),
		text: []string{fmt.Sprintf("From %s UTC on, for %s a month.", moment(p.EffectiveAt), m.o.priced(p.FeeCents))},
		more: append([]string{head}, rows...),
		do: func(ctx context.Context) (string, error) {
			done, err := m.server.ChangePlan(ctx, u.id, api.ChangePlan{Plan: msg.plan})
			return fmt.Sprintf("%s is on plan %s from %s UTC.", u.name(), done.SubscriptionTier, moment(done.EffectiveAt)), err
		},
	}
}

func included(quota map[string]int64, meter string) string {
	if n, ok := quota[meter]; ok {
		return api.Count(n)
	}
	return "unlimited"
}

// actTime bounds how long the outcome of an act is waited for.
const actTime = 2 * time.Minute

// doneMsg is how an act ended.
type doneMsg struct {
	text string
	err  error
}

// answered takes the outcome of what a dialog asked.
func (m *model) answered(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case previewMsg:
		if msg.of != m.dialog {
			return nil // it was left meanwhile
		}
		if msg.err != nil {
			m.dialog.busy, m.dialog.wrong = false, msg.err.Error()
			return nil
		}
		switch {
		case msg.payment != nil:
			m.dialog = m.refunded(*msg.payment, msg.reason)
		case msg.credits > 0:
			m.dialog = m.granted(msg)
		default:
			m.dialog = m.planned(msg)
		}
	case doneMsg:
		m.dialog = nil
		m.notice = noticeMsg{text: msg.text}
		if msg.err != nil {
			m.notice = noticeMsg{text: msg.err.Error(), bad: true}
		}
	}
	return nil
}
