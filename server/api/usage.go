package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// account is a user's month: what was used, and what it comes to. Every answer
// about usage is made of it, so that no two of them can disagree.
type account struct {
	user      *ledger.User
	period    ledger.Period
	used      []ledger.PlanTotals
	totals    ledger.Totals
	schedule  *pricing.Schedule
	statement pricing.Statement
	current   pricing.Segment // in force at the end of what was looked at
	on        bool            // false: the user is on no plan in the period
}

// account rates a user's month as it is at now.
func (s *service) account(u *ledger.User, now time.Time, month ledger.Month) (account, error) {
	a := account{user: u, period: s.Ledger.PeriodOf(month)}
	var err error
	if a.used, err = s.Ledger.Month(u.ID, month); err != nil {
		return a, fmt.Errorf("reading the usage of user %d in %v: %w", u.ID, month, err)
	}
	a.totals = ledger.Sum(a.used)
	if a.schedule, err = s.Book.Schedule(s.Ledger, u, a.period, s.basis()); err != nil {
		return a, err
	}
	if a.statement, err = a.schedule.Rate(a.used); err != nil {
		return a, fmt.Errorf("rating user %d: %w", u.ID, err)
	}
	at := now
	if !now.Before(a.period.End) {
		at = a.period.End.Add(-1)
	}
	a.current, a.on = a.schedule.At(at)
	return a, nil
}

// tier is the id of the plan in force.
func (a *account) tier() string {
	if a.on {
		return a.current.Plan.ID
	}
	return a.user.PlanAt(a.period.End.Add(-1)).Plan
}

// usage is the answer to "how much have I used, and what will it cost".
func (s *service) usage(u *ledger.User, now time.Time) (Usage, error) {
	a, err := s.account(u, now, s.Ledger.PeriodAt(now).Month)
	if err != nil {
		return Usage{}, err
	}
	projection, err := a.project(now)
	if err != nil {
		return Usage{}, err
	}
	cost := s.cents(projection.Totals.Cost)
	return Usage{
		Period: period(a.period), CurrentUsage: s.currentUsage(a.totals), Quota: a.quota(), Charges: s.charges(&a),
		Projected: Projected{
			Calls: projection.Totals.Calls, Documents: projection.Totals.Documents, Tokens: projection.Totals.Tokens,
			CostCents: cost, CostDollars: s.dollars(cost), ChargeCents: projection.Charge, ChargeDollars: s.dollars(projection.Charge),
		},
		Credits: s.prepaidBalance(&a, now), Warnings: s.warnings(&a, now), SubscriptionTier: a.tier(),
	}, nil
}

// monthUsage is a month of a user as the operator sees it.
func (s *service) monthUsage(u *ledger.User, now time.Time, month ledger.Month) (MonthUsage, error) {
	if month > s.Ledger.PeriodAt(now).Month {
		return MonthUsage{}, badParameter("The month %v has not begun.", month)
	}
	a, err := s.account(u, now, month)
	if err != nil {
		return MonthUsage{}, err
	}
	return s.monthUsageOf(&a), nil
}

func (s *service) monthUsageOf(a *account) MonthUsage {
	return MonthUsage{
		User: a.user.ID, Email: a.user.Personal.Email, Period: period(a.period), CurrentUsage: s.currentUsage(a.totals),
		Quota: a.quota(), Charges: s.charges(a), SubscriptionTier: a.tier(),
	}
}

// history is the last months, newest first, back to when the user came.
func (s *service) history(u *ledger.User, now time.Time, months int) (History, error) {
	open := s.Ledger.PeriodAt(now).Month
	h := History{History: []HistoryMonth{}}
	for month := open; month > open-ledger.Month(months); month-- {
		a, err := s.account(u, now, month)
		if err != nil {
			return History{}, err
		}
		if month == open {
			h.SubscriptionTier = a.tier()
		} else if !a.period.End.After(u.Created) {
			break
		}
		cost := s.cents(a.totals.Cost)
		charge, billed, err := s.invoiced(u, month)
		if err != nil {
			return History{}, err
		}
		if !billed {
			charge = a.statement.Total
		}
		h.History = append(h.History, HistoryMonth{
			Year: month.Year(), Month: int(month.Month()),
			TotalCalls: a.totals.Calls, TotalDocuments: a.totals.Documents, TotalTokens: a.totals.Tokens,
			CostCents: cost, CostDollars: s.dollars(cost), ChargeCents: charge, ChargeDollars: s.dollars(charge),
		})
	}
	return h, nil
}

func period(p ledger.Period) Period {
	return Period{Year: p.Month.Year(), Month: int(p.Month.Month()), Start: p.Start.UTC(), End: p.End.UTC(), Timezone: p.Zone}
}

func (s *service) currentUsage(t ledger.Totals) CurrentUsage {
	cents := s.cents(t.Cost)
	return CurrentUsage{
		TotalCalls: t.Calls, TotalDocuments: t.Documents, TotalTokens: t.Tokens, Meters: meters(t.Named),
		TotalCostCents: cents, TotalCostDollars: s.dollars(cents), Cost: t.Cost, UnbilledCalls: t.Unbilled,
	}
}

func (s *service) charges(a *account) Charges {
	return Charges{
		BaseFeeCents: a.statement.BaseFee, OverageCents: a.statement.Overage,
		TotalCents: a.statement.Total, TotalDollars: s.dollars(a.statement.Total), ChargedCents: a.user.Advance(a.period.Month),
	}
}

// quota is the quota that the rate limit headers show too.
func (a *account) quota() Quota {
	if a.on {
		if meter := a.current.Plan.QuotaMeter(); meter != "" {
			if q, ok := a.schedule.Quota(a.current.Version, meter, a.used); ok {
				left := q.Remaining()
				return Quota{Meter: meter, Total: &q.Included, Used: q.Used, Remaining: &left, PercentUsed: percent(q.Used, q.Included)}
			}
		}
	}
	return Quota{Meter: "calls", Used: a.totals.Calls}
}

// warnings tells of each quota of which 80 % or all is used.
func (s *service) warnings(a *account, now time.Time) []Warning {
	list := []Warning{}
	if !a.on || a.user.Status == ledger.Closed {
		return list
	}
	upgrade := ""
	if base := s.Settings().PublicURL; base != "" {
		upgrade = base + "/dashboard/plans"
	}
	for _, meter := range slices.Sorted(maps.Keys(a.current.Plan.Quota)) {
		q, ok := a.schedule.Quota(a.current.Version, meter, a.used)
		used := percent(q.Used, q.Included)
		switch {
		case !ok || used < 800:
		case used < 1000:
			list = append(list, Warning{"quota_80", fmt.Sprintf("%v%% of this month's %s are used", used, meter), upgrade})
		default:
			list = append(list, Warning{"quota_100", fmt.Sprintf("all %d of this month's %s are used; %s", q.Included, meter, s.beyond(a, meter, now)), upgrade})
		}
	}
	return list
}

// beyond is what happens to calls beyond the quota, and what a larger plan
// would give.
func (s *service) beyond(a *account, meter string, now time.Time) string {
	how, text := a.current.Plan.OnExceed, "more is charged"
	if how == pricing.Block || how == pricing.BillIfPayable && !a.payable() {
		text = "calls are refused until " + a.period.End.UTC().Format(time.RFC3339)
	}
	if how == pricing.BillIfPayable && a.user.PaymentMethod == "" {
		text += " unless a payment method is added"
	}
	if offer, ok := s.Gate.Offer(a.user, meter, now); ok {
		gives := fmt.Sprintf("%d %s", offer.Included, meter)
		if offer.Unlimited {
			gives = "unlimited " + meter
		}
		text += fmt.Sprintf("; plan %s has %s this month for a fee of %s %s this month", offer.Plan.ID, gives, ledger.FormatMinor(offer.Fee, s.digits), strings.ToUpper(s.currency))
	}
	return text
}

// payable tells whether usage beyond a quota can be charged to the user.
func (a *account) payable() bool {
	return pricing.Payable(a.user, a.current.Plan, a.statement.Usage)
}

// pricing is the plans that customers can choose and the packs that they can buy,
// as configured now.
func (s *service) pricing() Pricing {
	answer := Pricing{Currency: s.currency, Plans: []PublicPlan{}, CreditPacks: []CreditPack{}}
	settings := s.Settings()
	for _, p := range settings.Plans {
		if p.Public {
			answer.Plans = append(answer.Plans, s.publicPlan(&p))
		}
	}
	for _, p := range settings.Packs {
		p.PriceCents = s.cents(p.Price)
		answer.CreditPacks = append(answer.CreditPacks, p)
	}
	return answer
}

func (s *service) publicPlan(p *pricing.Plan) PublicPlan {
	view := PublicPlan{
		ID: p.ID, Name: p.Name, Custom: p.Custom, Quota: p.Quota, Overage: p.Overage, Prices: publicPrices(p), ByCost: p.ByCost,
		OnExceed: p.OnExceed, Billing: p.Billing, RateLimits: RateLimits{p.PerMinute, p.PerDay},
	}
	if !p.Custom {
		fee := s.cents(p.Fee)
		dollars := s.dollars(fee)
		view.FeeCents, view.FeeDollars = &fee, &dollars
	}
	if view.Quota == nil {
		view.Quota = map[string]int64{}
	}
	if view.Overage == nil {
		view.Overage = map[string]ledger.Amount{}
	}
	return view
}

func publicPrices(p *pricing.Plan) []PublicPrice {
	list := []PublicPrice{}
	for _, price := range p.Prices {
		shown := PublicPrice{Meter: price.Meter, Model: price.Model, Unit: price.Unit, Size: price.Size, Included: price.Included, Minimum: price.Minimum}
		for _, tier := range price.Tiers {
			shown.Tiers = append(shown.Tiers, PublicTier{optionalCount(tier.UpTo), tier.Unit, tier.Flat})
		}
		list = append(list, shown)
	}
	return list
}

func optionalCount(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
