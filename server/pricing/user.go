package pricing

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tollgate/ledger"
)

// Versions finds terms; [ledger.Ledger] does.
type Versions interface {
	OwnVersions(user ledger.UserID) []*ledger.Version
	VersionAt(kind ledger.VersionKind, name string, joined, at time.Time) *ledger.Version
	VersionByID(id ledger.VersionID) *ledger.Version
	Versions(kind ledger.VersionKind) []*ledger.Version
}

// Basis is the settings that rating depends on.
type Basis struct {
	Digits int  // of the currency's minor unit
	Full   bool // proration = "full"
}

// Schedule makes the schedule of a user's period: the one way from assignments
// to segments, for admission, the API and billing alike. It depends on the user
// snapshot, the period and the versions known, and can be kept as long as these
// stay. A user who has no plan in the period has a schedule without segments.
//
// To preview a change of plan, pass a copy of the user with the assignment added.
func (b *Book) Schedule(v Versions, u *ledger.User, period ledger.Period, basis Basis) (*Schedule, error) {
	segments, err := b.segments(v, u, period)
	if err != nil {
		return nil, fmt.Errorf("plans of user %d in %v: %w", u.ID, period.Month, err)
	}
	s, err := NewSchedule(Input{
		Period: period, Digits: basis.Digits, Segments: segments, Full: basis.Full, Zone: b.zone(period.Zone),
		First: len(u.Plans) > 0 && !u.Plans[0].From.Before(period.Start),
	})
	if err != nil {
		return nil, fmt.Errorf("plans of user %d: %w", u.ID, err)
	}
	s.terms = func(id ledger.VersionID) (*Plan, error) {
		version := v.VersionByID(id)
		if version == nil {
			return nil, fmt.Errorf("plan version %d: %w", id, ledger.ErrNotFound)
		}
		return b.Plan(version)
	}
	return s, nil
}

// Terms is the version of a plan that holds for a user at t, as [Book.Schedule]
// has it, and what it says: for a plan that the user is on since from, or could
// come to at from.
func (b *Book) Terms(v Versions, u *ledger.User, plan string, from, t time.Time) (*ledger.Version, *Plan, error) {
	version, err := inForce(v, u.ID, ledger.Assignment{Plan: plan, From: from}, t)
	if err != nil {
		return nil, nil, err
	}
	terms, err := b.Plan(version)
	return version, terms, err
}

// inForce is the version that holds at t for a user by an assignment: what was
// agreed with the user last, else the plan's.
func inForce(v Versions, user ledger.UserID, a ledger.Assignment, t time.Time) (*ledger.Version, error) {
	if own := agreed(v, user, a.Plan, t); own != nil {
		return own, nil
	}
	version := v.VersionAt(ledger.PlanVersion, a.Plan, a.From, t)
	if version == nil {
		return nil, fmt.Errorf("plan %q at %v: %w", a.Plan, t, ledger.ErrNotFound)
	}
	return version, nil
}

// agreed is what was agreed with a user on a plan and is in force at t; nil where
// that is nothing, or nothing any more.
func agreed(v Versions, user ledger.UserID, plan string, t time.Time) *ledger.Version {
	var own *ledger.Version
	for _, next := range v.OwnVersions(user) {
		if next.Name == plan && !next.Effective.After(t) {
			own = next
		}
	}
	if own == nil || isNull(own.Terms) {
		return nil
	}
	return own
}

// isNull tells of terms that only end those before them.
func isNull(terms json.RawMessage) bool { return string(terms) == "null" }

// segments cuts the period where the user changes plan, and where a new version
// of the plan, or what was agreed with the user, takes effect; a closed user has
// none after closing.
func (b *Book) segments(v Versions, u *ledger.User, period ledger.Period) ([]Segment, error) {
	end := period.End
	if u.Status == ledger.Closed && !u.ClosedAt.IsZero() && u.ClosedAt.Before(end) {
		end = u.ClosedAt
	}
	var list []Segment
	for i, a := range u.Plans {
		from, to := a.From, end
		if i+1 < len(u.Plans) && u.Plans[i+1].From.Before(to) {
			to = u.Plans[i+1].From
		}
		if from.Before(period.Start) {
			from = period.Start
		}
		if !from.Before(to) {
			continue
		}
		for _, at := range changes(v, u.ID, a.Plan, from, to) {
			version, err := inForce(v, u.ID, a, at)
			if err != nil {
				return nil, err
			}
			if last := len(list) - 1; last >= 0 {
				if list[last].Version == version.ID {
					list[last].To = to
					continue
				}
				list[last].To = at
			}
			plan, err := b.Plan(version)
			if err != nil {
				return nil, err
			}
			list = append(list, Segment{From: at, To: to, Version: version.ID, Plan: plan})
		}
	}
	return list, nil
}

// changes is from, and the instants before to at which a version of the plan may
// take effect: when it is effective, and not before it was made.
func changes(v Versions, user ledger.UserID, plan string, from, to time.Time) []time.Time {
	list := []time.Time{from}
	for _, versions := range [...][]*ledger.Version{v.Versions(ledger.PlanVersion), v.OwnVersions(user)} {
		for _, version := range versions {
			at := version.Effective
			if version.Made.After(at) {
				at = version.Made
			}
			if version.Name == plan && at.After(from) && at.Before(to) {
				list = append(list, at)
			}
		}
	}
	slices.SortFunc(list, time.Time.Compare)
	return slices.CompactFunc(list, time.Time.Equal)
}

// Payable tells whether what a user uses beyond the quota can be charged: there
// is a payment method, no invoice that could not be collected, and the usage that
// is not paid yet is below the plan's exposure. unpaid is the usage charge of the open period in nanos, with what
// running calls hold.
func Payable(u *ledger.User, p *Plan, unpaid ledger.Amount) bool {
	return u.PaymentMethod != "" && !u.Owes() && (p.Exposure == 0 || unpaid < p.Exposure)
}

// SpendLimit is the lower of the operator's and the customer's own spend limit;
// nil where there is neither.
func SpendLimit(u *ledger.User) *ledger.Amount {
	if u.OwnLimit == nil || u.SpendLimit != nil && *u.SpendLimit < *u.OwnLimit {
		return u.SpendLimit
	}
	return u.OwnLimit
}
