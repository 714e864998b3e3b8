package admission

import (
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// Hold is what is reserved for a call that was admitted, and the terms that it
// was admitted with. It has to end: with Settle, which the ledger calls when it
// has the call's record, or with Release or Abandon. So defer Release at once.
//
// The fields are set at admission and must not be changed.
type Hold struct {
	// Caller is who was admitted; nil on a route that takes no keys.
	Caller *Caller
	// Time is when: UTC, in whole milliseconds, as in the request id and the
	// record. Where the clock has stepped back it is the time of the user's latest
	// admission, so that no day or period opens again; it can then lie ahead of the
	// clock. So append the record at NotBefore of the clock's time.
	Time   time.Time
	Period ledger.Period
	// RouteVersion and PlanVersion are what the record is to name; RouteTerms and
	// PlanTerms are their terms, shared: read only. A route without keys has no plan.
	RouteVersion *ledger.Version
	PlanVersion  *ledger.Version
	RouteTerms   *pricing.Route
	PlanTerms    *pricing.Plan
	// Limits is the limits in force, as at admission.
	Limits []Limit
	// CreditsLeft is what is left of the credits on a prepaid plan, in nanos of one,
	// what this and all running calls hold taken off.
	CreditsLeft ledger.Amount

	user   *user     // nil: nothing is reserved
	days   *heldDays // where the call is counted for the day
	day    int32
	free   bool // nothing but the day is held
	near   bool // a quota is nearly used up
	handed atomic.Bool

	// Guarded by the account's lock.
	ended   bool
	asked   ledger.Quantities
	cost    ledger.Amount
	credits ledger.Amount

	room [4]Limit // of Limits, to save an allocation
}

// Extend raises what is held to q where q has more of a meter: the quantities
// used so far, of a call that uses more than it asked for. The next call is
// admitted against it. After the hold has ended it does nothing. It is false where
// the user's credits do not cover that: then all that were left are held.
func (h *Hold) Extend(q ledger.Quantities) bool {
	if h.user == nil || h.free {
		return true
	}
	h.Caller.Account.Lock()
	defer h.Caller.Account.Unlock()
	if h.ended {
		return true
	}
	asked := atLeast(h.asked, boundedAll(q))
	cost := costOf(h.RouteTerms, asked)
	h.user.release(h.Period.Month, h.PlanVersion.ID, h.asked, h.cost)
	h.user.hold(h.Period.Month, h.PlanVersion.ID, asked, cost)
	h.asked, h.cost = asked, cost
	credits := burnOf(h.PlanTerms, asked, cost)
	left := h.Caller.Account.Balance(h.Time) - h.user.credits
	more := min(credits-h.credits, max(0, left))
	h.credits += more
	h.user.credits += more
	return h.credits == credits
}

// NotBefore is the time at which to append the call's record: now, or Time where
// the clock has stepped back behind it. The ledger refuses records from its future.
func (h *Hold) NotBefore(now time.Time) time.Time {
	if now.Before(h.Time) {
		return h.Time
	}
	return now
}

// HandOver says that the record was given to the ledger, or is about to be: from
// here on Settle ends the hold and Release does nothing. Where the append fails,
// call Abandon. Where its outcome is not waited for, or is not known, do not: the
// hold then ends with the record or with the process.
func (h *Hold) HandOver() { h.handed.Store(true) }

// Settle ends the hold because the record is in the totals. It is for the ledger
// to call, under the lock of the record's account; so settled and held change in
// one step. It implements [ledger.Settler].
func (h *Hold) Settle() { h.end() }

// Release gives back what is held, unless the hold has ended or was handed over.
// It may be called any number of times.
func (h *Hold) Release() {
	if !h.handed.Load() {
		h.Abandon()
	}
}

// Abandon gives back what is held, also after HandOver: the append failed and
// there is no record. It may be called any number of times.
func (h *Hold) Abandon() {
	if h.user == nil {
		return
	}
	h.Caller.Account.Lock()
	h.end()
	h.Caller.Account.Unlock()
}

// end takes the hold out of the user's sums, once. The account is locked.
func (h *Hold) end() {
	if h.user == nil || h.ended {
		return
	}
	h.ended = true
	if !h.free {
		h.user.release(h.Period.Month, h.PlanVersion.ID, h.asked, h.cost)
		h.user.credits -= h.credits
	}
	h.days.add(h.day, -1)
}

// costOf is what quantities cost, for the spend limit of plans that bill it; as
// much as can be where it does not fit an amount: such a call is refused or
// quarantined, never free.
func costOf(prices *pricing.Route, q ledger.Quantities) ledger.Amount {
	cost, err := prices.Cost(q)
	if err != nil {
		return ledger.MaxCost
	}
	return cost
}
