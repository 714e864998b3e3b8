// Package pricing turns usage and terms into money. It is pure: it is told the
// terms, the instants and the totals, and answers with exact sums; it keeps no
// clock and speaks to nobody.
//
// Cost and charge are two things. [Route.Cost] is what one call costs at the
// price list, before any plan. A charge is what the customer owes for a period
// after plan, quota and overage: [Rate] and [Schedule.Rate] compute it, and the
// bill, its preview, the charges and the projection in the usage answer and the
// spend limit at admission all come from there.
//
// The central types:
//
//   - [Route] and [Plan] are the terms of one version, as the ledger keeps them;
//     [ParseRoute] and [ParsePlan] read them strictly, [Book] remembers them.
//   - [Schedule] is a user's plan [Segment]s of one period, compiled: what is
//     included, what is priced how, for how many seconds. It is made once per
//     user and period ([Book.Schedule]) and is immutable.
//   - [Statement] is a rated period: [Line]s, each rounded once, and their sums.
//
// # How a period is rated
//
// A period is cut into segments where the user changes plan or a new version of
// the plan takes effect: everyone's, or one that was agreed with the user alone,
// which comes before the others. Per segment the fee is pro rata by the second.
//
// Segments with a quota for a meter pool it: each adds quota × its seconds, and
// the sum divided by the seconds of the period is rounded down once. Calls use
// up the pool in the order they were made, so that what exceeds it falls on the
// latest first, at the terms of the segment they were made in. A segment whose
// plan blocks has no terms for that: what ran over there is not charged.
//
// A plan without fee takes nothing back for the days before its user came or
// after the account was closed: in the user's first period its quota counts from
// the period's start, and at closing to the period's end.
//
// With proration "full", the last upgrade of the period (joining a plan with a
// fee is one) counts from the period's start and takes the place of what was
// before it: its fee and quota are whole, unless the user leaves it again.
//
// Segments that are unlimited in a meter, cost-based or prepaid are rated alone.
// Included units of a [Price] and minimums are for a month and are weighted like
// the fee; the bounds of tiers are not.
//
// The ledger sums usage by plan version. A user who comes back to a version
// within one period has all usage on it in the last such segment, and its
// included units and minimums over all its seconds.
//
// # Invariants
//
//   - No float, no rounding but two: each line to the minor unit, from its exact
//     value, half away from zero; and the nanos that a pro-rata line shows.
//   - The total is the sum of the lines. The usage charge of [Schedule.UsageCharge]
//     is the sum of the overage and usage lines before rounding.
//   - Nothing overflows silently: sums beyond an int64 are ledger.ErrOverflow.
//   - Usage is never left out: what was recorded on a version that is in no
//     segment is rated at that version's terms, with no quota of its own.
package pricing
