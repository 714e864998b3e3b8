package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/ledger"
)

// sealTogether is how many invoices go into one commit.
const sealTogether = 256

// scope says what a run is for. The zero value is everything that is due.
type scope struct {
	month   ledger.Month // the last one; 0: every month that is due
	user    ledger.UserID
	early   bool // also a month that has ended but is not sealed yet
	dry     bool
	reissue bool // make a replacement of a void invoice; where a month is given, of that month

	progress func(done, total int)
	each     func(*ledger.Invoice) // each invoice made, or that would be
}

// Failure is a user who could not be billed.
type Failure struct {
	User  ledger.UserID `json:"user"`
	Error string        `json:"error"`
}

// closeDue seals all periods that have ended and are unbilled, of each user in
// order. One user who cannot be billed keeps nobody else from being.
func (b *Billing) closeDue(ctx context.Context, s scope) ([]Failure, error) {
	var failed []Failure
	var batch []ledger.Invoice
	now := b.Now()
	done := 0
	total := b.users()
	flush := func() error {
		list := batch
		batch = nil
		for n := range list {
			if s.dry && s.each != nil {
				s.each(&list[n])
			}
		}
		if s.dry || len(list) == 0 {
			return nil
		}
		made, err := b.Ledger.AddInvoices(now, "billing", list)
		if err != nil && !b.fatal(err) { // one of them is at fault
			made = nil
			for _, one := range list {
				alone, err := b.Ledger.AddInvoices(now, "billing", []ledger.Invoice{one})
				if b.fatal(err) {
					return err
				}
				if err != nil {
					b.Log.Error("a user could not be billed", "user", one.User, "month", one.Month, "error", err)
					failed = append(failed, Failure{one.User, err.Error()})
				}
				made = append(made, alone...)
			}
			err = nil
		}
		if err != nil {
			return err
		}
		for _, i := range made {
			if s.each != nil {
				s.each(i)
			}
		}
		return nil
	}
	for a := range b.Ledger.Accounts(0) {
		if err := ctx.Err(); err != nil {
			return failed, err
		}
		if done++; s.progress != nil && done%256 == 0 {
			s.progress(done, total)
		}
		if s.user != 0 && a.ID() != s.user {
			continue
		}
		var unsealed []*ledger.Invoice
		months := b.due(a.User(), now, s)
		for n, m := range months {
			var err error
			if !s.dry {
				err = b.closeUsage(a.User(), m)
			}
			var i *ledger.Invoice
			if err == nil {
				i, err = b.draft(a.User(), m, unsealed)
			}
			if err != nil {
				if b.fatal(err) {
					return failed, err
				}
				b.Log.Error("a user could not be billed", "user", a.ID(), "month", m, "error", err)
				failed = append(failed, Failure{a.ID(), err.Error()})
				break // the months after it would carry over from nothing
			}
			i.Replaces = b.replaced(a.User(), m)
			b.queueMail(i, MailIssued, now)
			if s.dry {
				unsealed = append(unsealed, i)
			}
			batch = append(batch, *i)
			if len(batch) < sealTogether && n == len(months)-1 {
				continue
			}
			had := len(failed)
			if err := flush(); err != nil { // the invoice of the next month looks at this one
				return failed, err
			}
			if len(failed) > had {
				break
			}
		}
	}
	return failed, flush()
}

// fatal tells that nobody can be billed now.
func (b *Billing) fatal(err error) bool {
	return errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrClosed) || errors.Is(err, ledger.ErrLowDisk)
}

func (b *Billing) users() int {
	status, _ := b.Ledger.Status() // an error is about the sizes of file and disk
	return status.Users
}

// due lists the months of a user that are unbilled and can be sealed now, oldest
// first.
func (b *Billing) due(u *ledger.User, now time.Time, s scope) []ledger.Month {
	if len(u.Plans) == 0 {
		return nil
	}
	open := b.Ledger.PeriodAt(now).Month
	to := open - 1
	if s.month != 0 {
		to = min(to, s.month)
	}
	from := b.joined(u, open)
	if !s.reissue { // this is all there is to it for nearly everybody, nearly always
		for _, ref := range u.Invoices {
			if ref.Month == from {
				from++
			}
		}
	}
	if from <= to && u.Status == ledger.Closed && !u.ClosedAt.IsZero() {
		to = min(to, b.Ledger.PeriodAt(u.ClosedAt).Month)
	}
	var list []ledger.Month
	for m := from; m <= to; m++ {
		ref, billed := u.InvoiceOf(m)
		if again := s.reissue && ref.State == ledger.Void && (s.month == 0 || m == s.month); billed && !again {
			continue
		}
		if period := b.Ledger.PeriodOf(m); now.Before(period.End) || !s.early && now.Before(b.sealAt(period)) {
			break
		}
		list = append(list, m)
	}
	return list
}

// joined is the month in which a user came. It is asked for often: what is likely
// is tried first.
func (b *Billing) joined(u *ledger.User, open ledger.Month) ledger.Month {
	likely := open
	if len(u.Invoices) > 0 {
		likely = u.Invoices[0].Month
	}
	if b.Ledger.PeriodOf(likely).Contains(u.Created) {
		return likely
	}
	return b.Ledger.PeriodAt(u.Created).Month
}

// replaced is the void invoice that a new one of m takes the place of.
func (b *Billing) replaced(u *ledger.User, m ledger.Month) ledger.InvoiceID {
	ref, ok := u.InvoiceOf(m)
	if !ok {
		return 0
	}
	return ref.ID
}

// Summary is what a run came to.
type Summary struct {
	Month   string    `json:"month"`
	Users   int       `json:"total_users"`
	Charged int       `json:"charged"`
	Skipped int       `json:"skipped"`
	Failed  int       `json:"failed"`
	Revenue int64     `json:"total_revenue_cents"`
	Errors  []Failure `json:"errors"`
}

// RunOptions says what [Billing.Run] is to bill.
type RunOptions struct {
	Month    ledger.Month // and all unbilled before it; 0: the last one that has ended
	User     ledger.UserID
	DryRun   bool // tells what would be, by the very function that bills
	Reissue  bool // make replacements of void invoices too: of Month, or of all months
	Progress func(done, total int)
}

// ErrNotEnded reports a month that has not ended.
var ErrNotEnded = errors.New("the month has not ended")

// Run bills what is unbilled, collects it, and tells what came of it. A month
// that has ended is billed although its grace still runs: somebody asked.
func (b *Billing) Run(ctx context.Context, o RunOptions) (Summary, error) {
	b.working.Lock()
	defer b.working.Unlock()
	sum, err := b.run(ctx, o)
	if !o.DryRun && sum.Month != "" {
		ended := EndedRun{At: b.Now().UTC(), Summary: sum}
		if err != nil {
			ended.Error = err.Error()
		}
		b.ended.add(ended)
	}
	return sum, err
}

func (b *Billing) run(ctx context.Context, o RunOptions) (Summary, error) {
	now := b.Now()
	last := b.Ledger.PeriodAt(now).Month - 1
	if o.Month > last {
		return Summary{}, fmt.Errorf("bill %v: %w: it ends at %s", o.Month, ErrNotEnded, b.Ledger.PeriodOf(o.Month).End.Format(time.RFC3339))
	}
	var down error
	if !o.DryRun {
		var err error
		if down, err = b.ready(ctx); err != nil {
			return Summary{}, err
		}
	}
	if o.Month != 0 {
		last = o.Month
	}
	sum := Summary{Month: last.String(), Users: b.users(), Errors: []Failure{}}
	if o.User != 0 {
		sum.Users = 1
	}
	var made []ledger.InvoiceID
	failed, err := b.closeDue(ctx, scope{
		month: o.Month, user: o.User, early: true, dry: o.DryRun, reissue: o.Reissue, progress: o.Progress,
		each: func(i *ledger.Invoice) {
			made = append(made, i.ID)
			if due := i.Total - i.Carried; due > 0 {
				sum.Charged++
				sum.Revenue += due
			}
		},
	})
	sum.Errors = append(sum.Errors, failed...)
	if err != nil || o.DryRun {
		sum.finish()
		return sum, err
	}
	if err := b.collect(ctx, down); err != nil {
		sum.finish()
		return sum, err
	}
	if b.Provider != nil {
		sum.Charged, sum.Revenue = 0, 0
		for _, id := range made {
			i, err := b.Ledger.Invoice(id)
			if err != nil {
				return sum, err
			}
			switch {
			case i.Number == 0:
			case i.State == ledger.Paid:
				sum.Charged++
				sum.Revenue += i.Collected
			case i.Failure != "":
				sum.Errors = append(sum.Errors, Failure{i.User, i.Failure})
			}
		}
	}
	sum.finish()
	return sum, nil
}

func (s *Summary) finish() {
	s.Failed = len(s.Errors)
	s.Skipped = max(s.Users-s.Charged-s.Failed, 0)
}
