package pricing

import (
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
)

// Book remembers the parsed terms of versions, which never change. A hit takes
// no lock and allocates nothing. What it hands out is shared: read, never write.
// A Book serves one ledger.
type Book struct {
	plans  shelf[Plan]
	routes shelf[Route]
	zones  sync.Map // IANA name to *time.Location
}

// NewBook makes an empty book.
func NewBook() *Book { return &Book{} }

// Plan is the terms of a plan version.
func (b *Book) Plan(v *ledger.Version) (*Plan, error) {
	if p := b.plans.get(v); p != nil {
		return p, nil
	}
	return b.plans.add(v, ParsePlan)
}

// Route is the prices of a route version.
func (b *Book) Route(v *ledger.Version) (*Route, error) {
	if r := b.routes.get(v); r != nil {
		return r, nil
	}
	return b.routes.add(v, ParseRoute)
}

// Cost is [Route.Cost] at the prices of a route version: what the ledger holds
// each record against when it is verified.
func (b *Book) Cost(route *ledger.Version, q ledger.Quantities) (ledger.Amount, error) {
	terms, err := b.Route(route)
	if err != nil {
		return 0, err
	}
	return terms.Cost(q)
}

// zone is the location by which dates are written; UTC where the name is
// unknown, since instants are stored and no sum depends on it.
func (b *Book) zone(name string) *time.Location {
	if loc, ok := b.zones.Load(name); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		loc = time.UTC
	}
	b.zones.Store(name, loc)
	return loc
}

// shelf holds the terms of one kind by version id. Ids are small and dense, so a
// slice that is copied when a version is added beats a map.
type shelf[T any] struct {
	adding sync.Mutex
	byID   atomic.Pointer[[]*T]
}

func (s *shelf[T]) get(v *ledger.Version) *T {
	if list := s.byID.Load(); list != nil && v != nil && int(v.ID) < len(*list) {
		return (*list)[v.ID]
	}
	return nil
}

func (s *shelf[T]) add(v *ledger.Version, parse func(*ledger.Version) (*T, error)) (*T, error) {
	terms, err := parse(v)
	if err != nil {
		return nil, err
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	if known := s.get(v); known != nil {
		return known, nil
	}
	var old []*T
	if list := s.byID.Load(); list != nil {
		old = *list
	}
	list := make([]*T, max(len(old), int(v.ID)+1))
	copy(list, old)
	list[v.ID] = terms
	s.byID.Store(&list)
	return terms, nil
}
