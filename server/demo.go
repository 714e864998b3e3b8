package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/config"
	"tollgate/server/pricing"
)

// DemoUser is a customer of the demo with a key that works.
type DemoUser struct {
	ID     ledger.UserID `json:"id"`
	Email  string        `json:"email"`
	Plan   string        `json:"plan"`
	APIKey string        `json:"api_key"`
}

// demoSeed makes the calls of every demo the same, up to the day it starts on.
const demoSeed = 1

// demoActor is who made the demo's entries.
const demoActor = "demo"

// SeedDemo makes the ledger of a configuration with the built-in sample API:
// three customers on the shipped plans, and their usage of six months up to
// now. The server must not have it open. It is written as if it had happened:
// with the terms, periods and limits of the time, so that everything which
// reads a ledger reads this one too. A ledger that SeedDemo made before gets
// new keys only; one that it did not make is refused.
//
// A crash leaves a ledger whose usage ends early, which is sound but is not
// filled up by another run.
func SeedDemo(ctx context.Context, c *config.Config, now time.Time, random io.Reader, log *slog.Logger) ([]DemoUser, error) {
	_, err := os.Stat(c.Ledger.Path)
	fresh := errors.Is(err, fs.ErrNotExist)
	options := ledger.Options{Now: now, Zone: c.Billing.Timezone, Currency: c.Billing.Currency, MinFree: int64(c.Ledger.MinFree)}
	if fresh {
		year, month, _ := now.In(c.Billing.Location).Date()
		options.Now = time.Date(year, month-demoMonths+1, 1, 0, 0, 0, 0, c.Billing.Location)
	}
	l, err := ledger.Open(c.Ledger.Path, options)
	if err != nil {
		return nil, fmt.Errorf("opening the ledger of the demo: %w", err)
	}
	defer l.Close()
	if !fresh {
		users, err := newDemoKeys(l, now, random)
		return users, errors.Join(err, l.Close())
	}
	list, err := termsOf(c)
	if err != nil {
		return nil, err
	}
	// Where the clocks are changed at midnight a month begins an hour off.
	periods := demoSpan(now, l.PeriodAt)
	periods[0].Start = later(periods[0].Start, options.Now)
	if err := publish(l, list, periods[0].Start, log); err != nil {
		return nil, err
	}
	users, err := addDemoUsers(l, periods[0].Start, random)
	if err != nil {
		return nil, err
	}
	if err := writeDemoCalls(ctx, l, c, users, periods, now); err != nil {
		return nil, err
	}
	return users, l.Close()
}

func addDemoUsers(l *ledger.Ledger, at time.Time, random io.Reader) ([]DemoUser, error) {
	var users []DemoUser
	for _, customer := range demoCustomers() {
		person := ledger.Personal{Email: customer.email, Name: customer.name, Company: customer.company}
		u, err := l.AddUser(at, demoActor, person, customer.plan)
		if err != nil {
			return nil, fmt.Errorf("adding the demo's user %s: %w", customer.email, err)
		}
		user, err := addDemoKey(l, at, u, customer.plan, random)
		if err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return users, nil
}

func addDemoKey(l *ledger.Ledger, at time.Time, u *ledger.User, plan string, random io.Reader) (DemoUser, error) {
	secret, hash, prefix, err := admission.NewKey(random)
	if err != nil {
		return DemoUser{}, err
	}
	key := ledger.Key{Name: "demo", Prefix: prefix, Hash: hash, Scope: ledger.ScopeManage}
	if _, err := l.AddKey(at, demoActor, u.ID, key); err != nil {
		return DemoUser{}, fmt.Errorf("adding a key for the demo's user %s: %w", u.Personal.Email, err)
	}
	return DemoUser{ID: u.ID, Email: u.Personal.Email, Plan: plan, APIKey: secret}, nil
}

// newDemoKeys adds keys for the customers of a demo that was started before:
// the ledger keeps only hashes of the old ones.
func newDemoKeys(l *ledger.Ledger, now time.Time, random io.Reader) ([]DemoUser, error) {
	status, err := l.Status()
	if err != nil {
		return nil, err
	}
	if last := status.LastLogged; now.Before(last) {
		now = last
	}
	var users []DemoUser
	for _, customer := range demoCustomers() {
		account := l.AccountByEmail(customer.email)
		if account == nil {
			return nil, fmt.Errorf("%s is not a ledger of the demo: it has no user %s; choose another folder with --dir", l.Path(), customer.email)
		}
		u := account.User()
		user, err := addDemoKey(l, now, u, u.PlanAt(now).Plan, random)
		if err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return users, nil
}

// demoUse is what all calls of a customer on a route have in common.
type demoUse struct {
	user       ledger.UserID
	key        ledger.KeyID
	route      ledger.VersionID
	routeTerms *pricing.Route
	plan       ledger.VersionID
}

// writeDemoCalls appends the calls, an hour at a time; the ledger commits many
// hours together.
func writeDemoCalls(ctx context.Context, l *ledger.Ledger, c *config.Config, users []DemoUser, periods []ledger.Period, now time.Time) error {
	start := periods[0].Start
	uses, err := demoUses(l, c, users, start)
	if err != nil {
		return err
	}
	// So many hours are on their way to the disk at once.
	var pending [32]ledger.Pending
	hour, counter := 0, uint32(0)
	for until, calls := range demoTraffic(demoCustomers(), periods, now, demoSeed) {
		if len(calls) == 0 {
			continue
		}
		records := make([]ledger.Usage, len(calls))
		for i, call := range calls {
			counter++
			if records[i], err = call.record(uses, counter); err != nil {
				return err
			}
		}
		slot := &pending[hour%len(pending)]
		if hour >= len(pending) {
			if err := slot.Wait(ctx); err != nil {
				return fmt.Errorf("writing the demo's usage: %w", err)
			}
		}
		*slot = l.Append(until, records, nil)
		hour++
	}
	for i := range min(hour, len(pending)) {
		if err := pending[i].Wait(ctx); err != nil {
			return fmt.Errorf("writing the demo's usage: %w", err)
		}
	}
	return nil
}

// demoUses finds the versions that calls are made with: by customer, then scan
// and analyze.
func demoUses(l *ledger.Ledger, c *config.Config, users []DemoUser, at time.Time) ([][2]demoUse, error) {
	if len(c.Routes) != 2 {
		return nil, fmt.Errorf("the demo calls the two routes of the sample API; the configuration has %d", len(c.Routes))
	}
	uses := make([][2]demoUse, len(users))
	for i, u := range users {
		plan := l.VersionAt(ledger.PlanVersion, u.Plan, at, at)
		if plan == nil {
			return nil, fmt.Errorf("the demo needs the shipped plan %q", u.Plan)
		}
		for j := range c.Routes {
			route := l.VersionAt(ledger.RouteVersion, c.Routes[j].Pattern, at, at)
			terms, err := pricing.ParseRoute(route)
			if err != nil {
				return nil, err
			}
			uses[i][j] = demoUse{
				user: u.ID, key: l.Account(u.ID).User().Keys[0],
				route: route.ID, routeTerms: terms, plan: plan.ID,
			}
		}
	}
	return uses, nil
}

// record is the usage record of a call.
func (c demoCall) record(uses [][2]demoUse, counter uint32) (ledger.Usage, error) {
	use := uses[c.customer][0]
	if c.analyze {
		use = uses[c.customer][1]
	}
	u := ledger.Usage{
		Time: c.time, Counter: counter, User: use.user, Key: use.key, Route: use.route, Plan: use.plan,
		Method: "POST", Quantities: c.Quantities, Duration: c.duration, Status: c.status,
	}
	if c.failed() {
		u.Outcome = ledger.UpstreamError
		return u, nil
	}
	u.Billed = true
	var err error
	u.Cost, err = use.routeTerms.Cost(c.Quantities)
	return u, err
}
