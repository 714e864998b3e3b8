package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/config"
	"tollgate/server/pricing"
)

// terms is what a configuration says of one plan or route, as the ledger keeps
// it.
type terms struct {
	kind      ledger.VersionKind
	name      string
	terms     []byte
	effective time.Time // zero: the start of the next period
	anew      bool      // in place of other terms in the ledger
}

// termsOf lists the terms of all plans and routes of a configuration.
func termsOf(c *config.Config) ([]terms, error) {
	var list []terms
	for i := range c.Plans {
		p := &c.Plans[i]
		text, err := p.Terms()
		if err != nil {
			return nil, err
		}
		list = append(list, terms{kind: ledger.PlanVersion, name: p.ID, terms: text, effective: c.Effective[p.ID]})
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		text, err := (&pricing.Route{Pattern: r.Pattern, Price: r.Price}).Terms()
		if err != nil {
			return nil, err
		}
		list = append(list, terms{kind: ledger.RouteVersion, name: r.Pattern, terms: text, effective: r.Effective})
	}
	return list, nil
}

// checkPlans refuses a configuration that leaves out a plan which a user is on
// or has chosen for the next period.
func checkPlans(l *ledger.Ledger, c *config.Config, now time.Time) error {
	users := map[string]int{}
	for a := range l.Accounts(0) {
		u := a.User()
		if u.Status == ledger.Closed {
			continue
		}
		current := u.PlanAt(now)
		users[current.Plan]++
		for _, next := range u.Plans {
			if next.From.After(now) && next.Plan != current.Plan {
				users[next.Plan]++
			}
		}
	}
	for _, p := range c.Plans {
		delete(users, p.ID)
	}
	var missing []error
	for plan, n := range users {
		missing = append(missing, fmt.Errorf("the configuration has no plan %q, which is the plan of %d users; put it back, or move them first: tollgate user plan USER PLAN --now", plan, n))
	}
	slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(missing...)
}

// changedTerms leaves the terms that differ from the newest version in the
// ledger, and sets when they act for existing users.
func changedTerms(l *ledger.Ledger, list []terms, now time.Time) []terms {
	newest := map[ledger.VersionKind]map[string]*ledger.Version{ledger.PlanVersion: {}, ledger.RouteVersion: {}}
	for kind, byName := range newest {
		for _, v := range l.Versions(kind) {
			byName[v.Name] = v
		}
	}
	next := l.PeriodAt(now).End
	var changed []terms
	for _, t := range list {
		known := newest[t.kind][t.name]
		switch {
		case known == nil:
			t.effective = now
		case bytes.Equal(known.Terms, t.terms):
			continue
		case t.effective.IsZero():
			t.effective = next
		default:
			// What was used before now keeps the price that it was used at.
			t.effective = later(t.effective, now)
		}
		t.anew = known != nil
		changed = append(changed, t)
	}
	return changed
}

func isAnew(t terms) bool { return t.anew }

// publish makes versions of changed terms. It may be repeated after an error.
func publish(l *ledger.Ledger, changed []terms, now time.Time, log *slog.Logger) error {
	for _, t := range changed {
		v, err := l.PublishVersion(now, t.kind, t.name, t.terms, t.effective)
		if err != nil {
			return fmt.Errorf("keeping the terms of %s %q in the ledger: %w", t.kind, t.name, err)
		}
		if t.anew {
			log.Info("new terms", "of", t.kind, "name", t.name, "version", v.ID, "for existing users from", v.Effective)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
