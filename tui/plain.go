package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/muesli/termenv"

	"tollgate/server/api"
)

// plainWidth is more than any line takes: a pipe has no edge.
const plainWidth = 1_000_000

// topUsers is how many users the report names.
const topUsers = 10

var errSeen = errors.New("one is enough")

// first is the first value that a stream sends.
func first[T any](ctx context.Context, watch func(ctx context.Context, each func(T) error) error) (T, error) {
	var seen T
	err := watch(ctx, func(v T) error {
		seen = v
		return errSeen
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return seen, err
}

// chargesWithin is how long a report waits for the charges of the month, which the
// server rates once somebody looks.
const chargesWithin = 2 * time.Second

// Look is the overview now, with the charges of the month where they come in time.
func Look(ctx context.Context, s Server) (api.Overview, error) {
	var look api.Overview
	inTime, cancel := context.WithTimeout(ctx, chargesWithin)
	defer cancel()
	err := s.WatchOverview(inTime, func(v api.Overview) error {
		if look = v; v.Month.Charges != nil {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) || inTime.Err() != nil && ctx.Err() == nil && !look.At.IsZero() {
		return look, nil
	}
	return look, err
}

// Plain writes the overview, the top users and billing as one report, a line
// after the other, with nothing that only an eye can read.
func Plain(ctx context.Context, s Server, o Options, w io.Writer) error {
	all := &shared{server: s, o: o, st: newStyles(termenv.Ascii, false)}
	look, err := Look(ctx, s)
	if err != nil {
		return err
	}
	top, err := first(ctx, func(ctx context.Context, each func(api.UsersView) error) error {
		return s.WatchUsers(ctx, api.UsersQuery{Sort: "cost", Limit: topUsers}, each)
	})
	if err != nil {
		return err
	}
	bills, err := first(ctx, func(ctx context.Context, each func(api.BillingView) error) error {
		return s.WatchBilling(ctx, "", each)
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, block := range [][]string{all.plainOverview(look), all.plainUsers(top), all.plainBilling(bills)} {
		for _, l := range block {
			fmt.Fprintln(&text, strings.TrimRight(plain(l), " "))
		}
		fmt.Fprintln(&text)
	}
	if _, err := io.WriteString(w, strings.TrimSuffix(text.String(), "\n")); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (s *shared) plainOverview(v api.Overview) []string {
	p := &overview{shared: s, view: &v}
	lines := []string{"as of " + moment(v.At) + " UTC", ""}
	attention := p.attention(plainWidth)
	if len(attention) == 0 {
		attention = []string{"Nothing needs attention."}
	}
	t := v.Traffic
	traffic := []string{p.st.title.Render("TRAFFIC"), api.Count(t.CallsPerSecond) + " calls a second, " + p.inFlight(), p.latency()}
	days := newTable(column{head: "LAST DAYS"}, column{head: "CALLS", right: true}, column{head: "DOCUMENTS", right: true}, column{head: "TOKENS", right: true}, column{head: "COST", right: true})
	for i := len(v.Days) - 1; i >= max(0, len(v.Days)-7); i-- {
		d := v.Days[i]
		days.add(d.Date, api.Count(d.Calls), api.Count(d.Documents), api.Count(d.Tokens), s.o.money(d.CostCents))
	}
	for _, block := range [][]string{attention, p.program(), traffic, p.troubles(plainWidth), days.lines(plainWidth), p.month(plainWidth), p.ledger(plainWidth), p.runs(plainWidth)} {
		lines = append(append(lines, block...), "")
	}
	return lines[:len(lines)-1]
}

func (s *shared) plainUsers(v api.UsersView) []string {
	if len(v.Users) == 0 {
		return []string{"TOP USERS  none"}
	}
	t := newTable(column{head: "TOP USERS", right: true}, column{head: "E-MAIL"}, column{head: "PLAN"}, column{head: "CALLS", right: true}, column{head: "QUOTA", right: true},
		column{head: "DOCUMENTS", right: true}, column{head: "TOKENS", right: true}, column{head: "COST", right: true}, column{head: "SO FAR", right: true},
		column{head: "PROJECTED", right: true}, column{head: "STATUS"})
	for _, u := range v.Users {
		t.add(rowID(u), dash(u.Email), u.Plan, api.Count(u.Calls), quotaText(u.Quota), api.Count(u.Documents), api.Count(u.Tokens), s.o.money(u.CostCents), s.o.money(u.ChargeCents),
			s.o.money(u.ProjectedCents), statusText(u))
	}
	return t.lines(plainWidth)
}

func (s *shared) plainBilling(v api.BillingView) []string {
	p := &billing{shared: s, view: &v}
	var lines []string
	for _, r := range p.all(plainWidth, false) {
		text := r.text
		if r.id != "" {
			text = "  " + text
		}
		lines = append(lines, text)
	}
	return lines
}
