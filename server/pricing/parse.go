package pricing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tollgate/ledger"
)

// Terms is the JSON that the ledger keeps: the same for the same terms.
func (p *Plan) Terms() (json.RawMessage, error) {
	terms, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing the terms of plan %q: %w", p.ID, err)
	}
	return terms, nil
}

// Terms is the JSON that the ledger keeps: the same for the same terms.
func (r *Route) Terms() (json.RawMessage, error) {
	terms, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing the terms of route %q: %w", r.Pattern, err)
	}
	return terms, nil
}

// ParsePlan reads the terms of a plan version. It refuses what it does not know
// and what cannot be rated; rules that have become stricter since the version
// was made are those of [Plan.Validate] and do not apply.
func ParsePlan(v *ledger.Version) (*Plan, error) {
	var p Plan
	if err := parse(v, ledger.PlanVersion, &p); err != nil {
		return nil, err
	}
	err := p.sound()
	if err == nil && p.ID != v.Name {
		err = fmt.Errorf("the terms are those of plan %q", p.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("reading version %d of plan %q: %w", v.ID, v.Name, err)
	}
	return &p, nil
}

// ParseRoute reads the prices of a route version, as strictly as [ParsePlan].
func ParseRoute(v *ledger.Version) (*Route, error) {
	var r Route
	if err := parse(v, ledger.RouteVersion, &r); err != nil {
		return nil, err
	}
	err := errors.Join(r.problems()...)
	if err == nil && r.Pattern != v.Name {
		err = fmt.Errorf("the terms are those of route %q", r.Pattern)
	}
	if err != nil {
		return nil, fmt.Errorf("reading version %d of route %q: %w", v.ID, v.Name, err)
	}
	return &r, nil
}

func parse(v *ledger.Version, kind ledger.VersionKind, terms any) error {
	if v == nil {
		return fmt.Errorf("reading the terms of a %s: there is no such version", kind)
	}
	if v.Kind != kind {
		return fmt.Errorf("reading version %d, %q: it is of a %s, not of a %s", v.ID, v.Name, v.Kind, kind)
	}
	d := json.NewDecoder(bytes.NewReader(v.Terms))
	d.DisallowUnknownFields()
	err := d.Decode(terms)
	if err == nil {
		if _, after := d.Token(); after != io.EOF {
			err = errors.New("something follows the terms")
		}
	}
	if err != nil {
		return fmt.Errorf("reading version %d of %s %q: %w", v.ID, v.Kind, v.Name, err)
	}
	return nil
}
