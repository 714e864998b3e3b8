package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Credits is a number of credits, exact to 10^-9: in JSON a number without zeros
// at its end, in Go nanos of a credit.
type Credits ledger.Amount

// String is the exact number.
func (c Credits) String() string { return ledger.Amount(c).Short() }

// MarshalJSON implements [encoding/json.Marshaler].
func (c Credits) MarshalJSON() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalJSON reads a JSON number with at most nine decimals.
func (c *Credits) UnmarshalJSON(text []byte) error {
	a, err := ledger.ParseAmount(string(text))
	if err != nil {
		return fmt.Errorf("%s is not a number of credits: %w", text, err)
	}
	*c = Credits(a)
	return nil
}

// CreditBalance is what is left of a user's credits.
type CreditBalance struct {
	Balance      Credits         `json:"balance"`
	ExpiringNext *CreditExpiring `json:"expiring_next" doc:"null: none of them expires"`
}

// CreditExpiring is what is lost next unless it is burnt before.
type CreditExpiring struct {
	Amount  Credits   `json:"amount"`
	Expires time.Time `json:"expires"`
}

// UserCredits is a user's credits with where they came from and went.
type UserCredits struct {
	CreditBalance
	Granted   Credits       `json:"granted" doc:"ever"`
	Burnt     Credits       `json:"burnt" doc:"by calls, ever"`
	Taken     Credits       `json:"taken" doc:"because they expired or were paid back, ever"`
	Uncovered Credits       `json:"uncovered" doc:"used when there were none left, ever"`
	Grants    []CreditGrant `json:"grants" doc:"with something left, in the order they are burnt"`
	Purchases []Purchase    `json:"purchases" doc:"credit packs that were bought, newest first; the newest 50"`
	Entries   []CreditEntry `json:"entries" doc:"grants, and credits taken of them, newest first"`
	// NextCursor leads to older entries.
	NextCursor *string `json:"next_cursor" doc:"of entries; null on the last page"`
}

// CreditGrant is what is left of a grant.
type CreditGrant struct {
	ID      uint64        `json:"id"`
	Source  ledger.Source `json:"source" doc:"promotion, plan, adjustment or purchase"`
	Left    Credits       `json:"left"`
	Expires *time.Time    `json:"expires" doc:"null: never"`
}

// CreditEntry is a grant, or credits that were taken of one.
type CreditEntry struct {
	Time    time.Time     `json:"time"`
	Kind    string        `json:"kind" doc:"grant; or why credits were taken: expired, refunded, ..."`
	Grant   uint64        `json:"grant" doc:"id of the grant"`
	Amount  Credits       `json:"amount" doc:"negative where they were taken"`
	Source  ledger.Source `json:"source,omitempty"`
	Expires *time.Time    `json:"expires,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// GrantCredits asks for credits for a user.
type GrantCredits struct {
	Amount  Credits       `json:"amount"`
	Source  ledger.Source `json:"source,omitempty"` // adjustment unless given
	Expires *time.Time    `json:"expires,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// CreditsGranted is a grant just made, and the balance after it.
type CreditsGranted struct {
	ID      uint64        `json:"id"`
	User    ledger.UserID `json:"user"`
	Amount  Credits       `json:"amount"`
	Expires *time.Time    `json:"expires"`
	Balance Credits       `json:"balance"`
}

func (s *service) operatorCredits() []endpoint {
	return []endpoint{
		answers(endpoint{method: "GET", path: "/v1/users/{user}/credits", params: []param{limitParam, cursorParam}}, func(r *request) (UserCredits, error) {
			u, err := s.userOf(r)
			if err != nil {
				return UserCredits{}, err
			}
			return s.credits(r, u)
		}),
		takes(endpoint{method: "POST", path: "/v1/users/{user}/credits", status: http.StatusCreated}, func(r *request, ask GrantCredits) (CreditsGranted, error) {
			u, err := s.userOf(r)
			if err != nil {
				return CreditsGranted{}, err
			}
			return s.grantCredits(u, r.now, r.by, ask)
		}),
	}
}

func (s *service) customerCredits() endpoint {
	return answers(endpoint{
		method: "GET", path: "/v1/billing/credits", access: reads, summary: "Your credits: what is left, of which grants, and what became of the others",
		params: []param{limitParam, cursorParam},
	}, func(r *request) (UserCredits, error) { return s.credits(r, r.caller.User) })
}

// balance is what is left of a user's credits for a call at now.
func (s *service) balance(u *ledger.User, now time.Time) (b CreditBalance) {
	a := s.Ledger.Account(u.ID)
	a.Lock()
	defer a.Unlock()
	b.Balance = Credits(a.Balance(now))
	for _, l := range a.Credits() {
		switch {
		case l.Expires.IsZero():
			return b
		case !l.Expires.After(now):
		case b.ExpiringNext == nil:
			b.ExpiringNext = &CreditExpiring{Credits(l.Amount), l.Expires}
		case l.Expires.Equal(b.ExpiringNext.Expires):
			b.ExpiringNext.Amount += Credits(l.Amount)
		default:
			return b
		}
	}
	return b
}

func (a *account) prepaid() bool { return a.on && a.current.Plan.Billing == pricing.Prepaid }

// grants is a user's grants that have something left for a call at now, in the
// order they are burnt.
func (s *service) grants(u *ledger.User, now time.Time) []CreditGrant {
	list := []CreditGrant{}
	a := s.Ledger.Account(u.ID)
	a.Lock()
	defer a.Unlock()
	for _, l := range a.Credits() {
		if l.Expires.IsZero() || l.Expires.After(now) {
			list = append(list, CreditGrant{l.Seq, l.Source, Credits(l.Amount), optionalTime(l.Expires)})
		}
	}
	return list
}

// prepaidBalance is the balance where the user is on a prepaid plan, else nil.
func (s *service) prepaidBalance(a *account, now time.Time) *CreditBalance {
	if !a.prepaid() {
		return nil
	}
	b := s.balance(a.user, now)
	return &b
}

func (s *service) credits(r *request, u *ledger.User) (UserCredits, error) {
	before, limit, err := r.page()
	if err != nil {
		return UserCredits{}, err
	}
	view := UserCredits{CreditBalance: s.balance(u, r.now), Grants: s.grants(u, r.now), Entries: []CreditEntry{}}
	if view.Purchases, err = s.purchases(u); err != nil {
		return UserCredits{}, err
	}
	sums := s.creditSums(u)
	view.Granted, view.Burnt, view.Taken, view.Uncovered = Credits(sums.Granted), Credits(sums.Burnt), Credits(sums.Taken), Credits(sums.Uncovered)
	var last uint64
	err = s.Ledger.CreditEntries(r.Context(), u.ID, before, func(e ledger.CreditEntry) bool {
		if len(view.Entries) == limit {
			view.NextCursor = cursorText(last)
			return false
		}
		last = e.Seq
		view.Entries = append(view.Entries, creditEntry(e))
		return true
	})
	return view, err
}

func creditEntry(e ledger.CreditEntry) CreditEntry {
	if e.Grant.Amount == 0 {
		return CreditEntry{Time: e.Logged, Kind: e.Reason, Grant: e.Grant.Seq, Amount: -Credits(e.Taken)}
	}
	return CreditEntry{
		Time: e.Logged, Kind: "grant", Grant: e.Seq, Amount: Credits(e.Grant.Amount),
		Source: e.Grant.Source, Expires: optionalTime(e.Grant.Expires), Reason: e.Grant.Reason,
	}
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *service) creditSums(u *ledger.User) ledger.CreditSums {
	a := s.Ledger.Account(u.ID)
	a.Lock()
	defer a.Unlock()
	return a.CreditSums()
}

// grantCredits gives a user credits. They wait where the plan is not prepaid.
func (s *service) grantCredits(u *ledger.User, now time.Time, by string, ask GrantCredits) (CreditsGranted, error) {
	if err := staysClosed(u); err != nil {
		return CreditsGranted{}, err
	}
	g := ledger.Grant{Source: ask.Source, Amount: ledger.Amount(ask.Amount), Reason: ask.Reason}
	switch {
	case g.Source == "":
		g.Source = ledger.Adjustment
	case g.Source != ledger.Adjustment && g.Source != ledger.Promotion:
		return CreditsGranted{}, badField("source", "the operator gives an adjustment or a promotion")
	}
	if g.Amount <= 0 {
		return CreditsGranted{}, badField("amount", "it is more than 0")
	}
	if ask.Expires != nil {
		if g.Expires = *ask.Expires; !g.Expires.After(now) {
			return CreditsGranted{}, badField("expires", "%s is not in the future", ask.Expires.Format(time.RFC3339))
		}
	}
	if err := checkText("reason", ask.Reason); err != nil {
		return CreditsGranted{}, err
	}
	if left := ledger.MaxCredits - s.creditSums(u).Granted; g.Amount > left {
		return CreditsGranted{}, badField("amount", "a user can have %s credits in all, and this one may get %s more", ledger.MaxCredits.Short(), left.Short())
	}
	g, err := s.Ledger.GrantCredits(now, by, u.ID, g)
	if err != nil {
		return CreditsGranted{}, err
	}
	s.Log.Info("credits granted", "user", u.ID, "amount", g.Amount.Short(), "grant", g.Seq, "by", by)
	return CreditsGranted{g.Seq, u.ID, ask.Amount, optionalTime(g.Expires), s.balance(u, now).Balance}, nil
}

// Credits is a user's credits; cursor "" and limit 0 are the newest entries.
func (c *Client) Credits(ctx context.Context, user, cursor string, limit int) (UserCredits, error) {
	return call[UserCredits](ctx, c, "GET", userPath(user, "/credits")+pageQuery(url.Values{}, cursor, limit), nil)
}

// GrantCredits gives a user credits.
func (c *Client) GrantCredits(ctx context.Context, user string, ask GrantCredits) (CreditsGranted, error) {
	return call[CreditsGranted](ctx, c, "POST", userPath(user, "/credits"), ask)
}
