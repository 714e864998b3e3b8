package billing

import (
	"context"
	"errors"
	"sync"
	"time"

	"tollgate/ledger"
)

const (
	// deliverFor is how long a round begins attempts on a channel. What is left goes
	// out in the next.
	deliverFor = 20 * time.Second
	// attemptFor is how long one attempt may take.
	attemptFor = 30 * time.Second
	// failuresInRow is after how many failures, one after the other, a channel is
	// left alone until the next round: the other side is down, and an attempt takes
	// as long as its patience.
	failuresInRow = 3
	// webhookTries is how often a webhook is tried before it is given up: over three
	// days.
	webhookTries = 76
	// passAfter is after how many failures, which take a day, a webhook no longer
	// holds those of the same user up that come after it.
	passAfter = 28
)

// ErrGone is wrapped by errors of webhooks that the receiver wants no more of.
var ErrGone = errors.New("the receiver wants no more webhooks")

// outbox is what is known of notices that are not done with. Billing and the
// outbox work beside each other: neither waits for the other's calls.
type outbox struct {
	mu sync.Mutex // held by the one that delivers
	// waiting is the deliveries of the notices that were looked at, as the ledger has
	// them, so that those whose time has not come are not read again each time.
	waiting map[ledger.NoticeID][]ledger.Delivery
}

// Deliver sends the notices that are due, each by every channel that is configured,
// and notes what came of it. It may be called at any time. A notice is sent before
// that is noted, so that it comes at least once, always with the same id.
func (b *Billing) Deliver(ctx context.Context) error {
	b.outbox.mu.Lock()
	defer b.outbox.mu.Unlock()
	accounts, err := b.readNew(ctx)
	if err != nil {
		return err
	}
	// One after the other, with a time of its own for each: when nobody answers on
	// one channel, the other still gets its turn.
	for _, channel := range []string{webhookChannel, mailChannel} {
		if err := b.deliverBy(ctx, accounts, channel); err != nil {
			return err
		}
	}
	return nil
}

// readNew reads the notices that are new, or were there at the start. One that goes
// nowhere is done with. It returns the accounts that have some to be delivered.
func (b *Billing) readNew(ctx context.Context) (accounts []*ledger.Account, err error) {
	for a := range b.Ledger.Accounts(0) {
		for _, ref := range a.User().Notices {
			if ref.Done {
				continue
			}
			if b.outbox.waiting[ref.ID] == nil {
				if err := b.read(ctx, a.ID(), ref.ID); err != nil {
					return nil, err
				}
			}
			if b.outbox.waiting[ref.ID] != nil && (len(accounts) == 0 || accounts[len(accounts)-1] != a) {
				accounts = append(accounts, a)
			}
		}
	}
	return accounts, nil
}

func (b *Billing) read(ctx context.Context, user ledger.UserID, id ledger.NoticeID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := b.Ledger.Notice(user, id)
	if err != nil {
		return err
	}
	list := n.Deliveries
	if len(list) == 0 {
		list = b.channels(n)
	}
	if len(list) == 0 {
		_, err := b.Ledger.ChangeNotice(b.Now(), user, id, func(n *ledger.Notice) error { n.Done = true; return nil })
		return err
	}
	b.outbox.waiting[id] = list
	return nil
}

// deliverBy sends what is due on a channel, until its time in this round is over.
func (b *Billing) deliverBy(ctx context.Context, accounts []*ledger.Account, channel string) error {
	round, cancel := context.WithTimeout(ctx, deliverFor)
	defer cancel()
	failures := 0
	for _, a := range accounts {
		for _, ref := range a.User().Notices {
			d := b.outbox.delivery(ref.ID, channel)
			if d == nil || d.Ended() {
				continue
			}
			if !d.Next.After(b.Now()) {
				if failures == failuresInRow || round.Err() != nil {
					return ctx.Err()
				}
				ended, err := b.attempt(ctx, a.ID(), ref.ID, channel)
				if err != nil {
					return err
				}
				if ended {
					failures = 0
					continue
				}
				failures++
				d = b.outbox.delivery(ref.ID, channel)
			}
			if channel == webhookChannel && d.Attempts <= passAfter {
				break // those after it come after it
			}
		}
	}
	return nil
}

// delivery is the delivery of a notice on a channel; nil where there is none to make.
func (o *outbox) delivery(id ledger.NoticeID, channel string) *ledger.Delivery {
	return on(o.waiting[id], channel)
}

// on is the one of the deliveries that is on a channel; nil where there is none.
func on(list []ledger.Delivery, channel string) *ledger.Delivery {
	for i := range list {
		if list[i].Channel == channel {
			return &list[i]
		}
	}
	return nil
}

// attempt tries to deliver a notice once, and notes the outcome. ended tells that it
// is not tried again.
func (b *Billing) attempt(ctx context.Context, user ledger.UserID, id ledger.NoticeID, channel string) (ended bool, err error) {
	n, err := b.Ledger.Notice(user, id)
	if err != nil {
		return false, err
	}
	patience, cancel := context.WithTimeout(ctx, attemptFor)
	failure := b.send(patience, n, channel)
	cancel()
	if failure != nil && ctx.Err() != nil {
		return false, ctx.Err() // it was stopped: nothing is wrong with the notice
	}
	list := b.outbox.waiting[id]
	n, err = b.Ledger.ChangeNotice(b.Now(), user, id, func(n *ledger.Notice) error {
		if len(n.Deliveries) == 0 {
			n.Deliveries = append(n.Deliveries, list...)
		}
		b.tried(on(n.Deliveries, channel), failure)
		n.Done = true
		for _, d := range n.Deliveries {
			n.Done = n.Done && d.Ended()
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	d := on(n.Deliveries, channel)
	switch {
	case d.GivenUp:
		b.Log.Error("a notice is given up", "user", user, "notice", id, "code", n.Code, "channel", channel, "attempts", d.Attempts, "error", failure)
	case failure != nil:
		b.Log.Warn("a notice could not be delivered", "user", user, "notice", id, "code", n.Code, "channel", channel, "next", d.Next, "error", failure)
	}
	if n.Done {
		delete(b.outbox.waiting, id)
	} else {
		b.outbox.waiting[id] = n.Deliveries
	}
	return d.Ended(), nil
}

// tried notes what became of an attempt.
func (b *Billing) tried(d *ledger.Delivery, failure error) {
	d.Attempts++
	d.Next, d.Error = time.Time{}, ""
	if failure == nil {
		d.Sent = b.Now()
		return
	}
	d.Error = failure.Error()
	again := webhookAgain
	if d.Channel == mailChannel {
		again = mailAgain
	}
	wait, ok := again(d.Attempts, failure)
	if d.GivenUp = !ok; ok {
		d.Next = b.Now().Add(wait)
	}
}

// webhookAgain is how long after so many attempts, the last of which has failed, a
// webhook is tried again; not ok: never.
func webhookAgain(attempts int, failure error) (wait time.Duration, ok bool) {
	first := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}
	if errors.Is(failure, ErrGone) || attempts >= webhookTries {
		return 0, false
	}
	if attempts <= len(first) {
		return first[attempts-1], true
	}
	return time.Hour, true
}

// NextDelivery is the next instant after t at which a notice that failed is due
// again; zero where there is none. One that was never tried is due at once.
func (b *Billing) NextDelivery(t time.Time) (next time.Time) {
	b.outbox.mu.Lock()
	defer b.outbox.mu.Unlock()
	for _, list := range b.outbox.waiting {
		for _, d := range list {
			if d.Next.After(t) && (next.IsZero() || d.Next.Before(next)) {
				next = d.Next
			}
		}
	}
	return next
}
