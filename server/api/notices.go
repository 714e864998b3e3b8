package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
)

// Notice is something that a customer, and the operator's programs, were told.
type Notice struct {
	ID         ledger.NoticeID  `json:"id"`
	User       ledger.UserID    `json:"user"`
	Code       string           `json:"code" doc:"quota_80, quota_100, credits_low, spend_limit, payment_failed, credits_bought or payment_reversed"`
	Month      string           `json:"month"`
	Time       time.Time        `json:"time"`
	Text       string           `json:"text" doc:"what is told, in a few words"`
	Deliveries []NoticeDelivery `json:"deliveries" doc:"empty: not begun, or there is no way out configured"`
	Done       bool             `json:"done" doc:"nothing more is tried"`
	GivenUp    bool             `json:"given_up" doc:"on one way out at least"`
}

// NoticeDelivery is a notice on one way out.
type NoticeDelivery struct {
	Channel  string     `json:"channel" doc:"mail or webhook"`
	Attempts int        `json:"attempts"`
	Sent     *time.Time `json:"sent" doc:"null: not yet, or never"`
	Next     *time.Time `json:"next" doc:"null: no attempt waits for its time"`
	GivenUp  bool       `json:"given_up"`
	Error    string     `json:"error,omitempty" doc:"of the last attempt"`
}

// NoticesPage is a page of notices, newest first. Those that are done with are
// remembered for three months.
type NoticesPage struct {
	Notices    []Notice `json:"notices"`
	NextCursor *string  `json:"next_cursor" doc:"null on the last page"`
}

func (s *service) noticeEndpoint() endpoint {
	return answers(endpoint{method: "GET", path: "/v1/users/{user}/notices", params: []param{limitParam, cursorParam}}, func(r *request) (NoticesPage, error) {
		u, err := s.userOf(r)
		if err != nil {
			return NoticesPage{}, err
		}
		before, limit, err := r.page()
		if err != nil {
			return NoticesPage{}, err
		}
		return s.notices(u, before, limit)
	})
}

func (s *service) notices(u *ledger.User, before uint64, limit int) (NoticesPage, error) {
	page := NoticesPage{Notices: []Notice{}}
	var last ledger.NoticeID
	for _, ref := range slices.Backward(u.Notices) {
		if before != 0 && uint64(ref.ID) >= before {
			continue
		}
		if len(page.Notices) == limit {
			page.NextCursor = cursorText(uint64(last))
			break
		}
		n, err := s.Ledger.Notice(u.ID, ref.ID)
		if errors.Is(err, ledger.ErrNotFound) {
			continue // it was just forgotten
		}
		if err != nil {
			return page, fmt.Errorf("reading notice %d: %w", ref.ID, err)
		}
		page.Notices, last = append(page.Notices, s.notice(n)), ref.ID
	}
	return page, nil
}

func (s *service) notice(n *ledger.Notice) Notice {
	view := Notice{ID: n.ID, User: n.User, Code: n.Code, Month: n.Month.String(), Time: n.Time.UTC(), Text: s.noticeText(n), Deliveries: []NoticeDelivery{}, Done: n.Done}
	for _, d := range n.Deliveries {
		view.GivenUp = view.GivenUp || d.GivenUp
		view.Deliveries = append(view.Deliveries, NoticeDelivery{d.Channel, d.Attempts, stamp(d.Sent), stamp(d.Next), d.GivenUp, d.Error})
	}
	return view
}

// noticeText is what a notice tells, for the operator.
func (s *service) noticeText(n *ledger.Notice) string {
	about := n.Subject
	switch {
	case n.Invoice != 0:
		about = fmt.Sprintf("invoice %d", n.Invoice)
	case n.Payment != 0:
		about = fmt.Sprintf("payment %d", n.Payment)
	}
	switch n.Code {
	case ledger.Quota80, ledger.Quota100:
		return fmt.Sprintf("%s of %s %s are used", Count(n.Used), Count(n.Limit), n.Meter)
	case ledger.CreditsLow:
		return Exact(n.Balance.Short()) + " credits are left"
	case ledger.SpendLimit:
		return fmt.Sprintf("%s of %s are spent", s.priced(n.Used), s.priced(n.Limit))
	case ledger.PaymentFailed:
		return strings.TrimSuffix(fmt.Sprintf("%s of %s was not collected: %s", about, s.priced(n.Amount), n.Failure), ": ")
	case ledger.CreditsBought:
		return fmt.Sprintf("%s credits for %s", Exact(n.Credits.Short()), s.priced(n.Amount))
	case ledger.TakenBack:
		return fmt.Sprintf("%s went back with %s credits, %s are owed", about, Exact(n.Credits.Short()), s.priced(n.Amount))
	}
	return about
}

// Notices is a page of what a user was told, newest first; cursor "" is the first
// page, limit 0 the server's default.
func (c *Client) Notices(ctx context.Context, user, cursor string, limit int) (NoticesPage, error) {
	return call[NoticesPage](ctx, c, "GET", userPath(user, "/notices")+pageQuery(url.Values{}, cursor, limit), nil)
}
