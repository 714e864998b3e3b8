package admission

import (
	"cmp"
	"slices"
	"sync"
)

// RefusalCount is how often a code was given on a route since the start.
type RefusalCount struct {
	Code  string
	Route string // the pattern; "" where the call was refused before its route mattered
	Count int64
}

// counts is refusals in memory. Its keys are codes and patterns of the
// configuration, nothing that a client can choose.
type counts struct {
	mu sync.Mutex
	by map[RefusalCount]int64 // Count is 0 in the key
}

func (c *counts) add(code, route string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[RefusalCount]int64)
	}
	c.by[RefusalCount{Code: code, Route: route}]++
}

func (c *counts) list() []RefusalCount {
	c.mu.Lock()
	list := make([]RefusalCount, 0, len(c.by))
	for of, n := range c.by {
		of.Count = n
		list = append(list, of)
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b RefusalCount) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Route, b.Route))
	})
	return list
}
