package stripetest

import (
	"slices"
	"strings"
	"time"
)

// Stripe keeps events for 30 days. maxEvents bounds them where the clock stands still.
const (
	eventLife = 30 * 24 * time.Hour
	maxEvents = 200_000
)

// emit notes that something happened to an object, and queues the webhooks.
func (s *Server) emit(kind string, object any) {
	now := s.now()
	e := &Event{
		Base:       Base{ID: s.newID("evt"), Object: "event", Created: now.Unix(), Livemode: s.options.Live},
		APIVersion: Version, Data: EventData{snapshot{object}}, Type: kind,
	}
	if c := s.context; c != nil {
		e.Request = EventRequest{ID: c.requestID, IdempotencyKey: c.key}
	}
	for _, o := range s.state.Endpoints.all {
		if o.Status == "enabled" && (slices.Contains(o.EnabledEvents, "*") || slices.Contains(o.EnabledEvents, kind)) {
			e.PendingWebhooks++
			s.queue(pending{Endpoint: o.ID, Event: e})
		}
	}
	events := &s.state.Events
	events.add(e)
	limit := now.Add(-eventLife).Unix()
	old := max(len(events.all)-maxEvents, 0)
	for old < len(events.all) && events.all[old].Created < limit {
		old++
	}
	if old > 0 {
		events.dropFirst(old)
	}
}

func getEvent(c *call) (any, *failure) {
	e, ok := c.s.state.Events.byID[c.id]
	if !ok {
		return nil, missing("event", "id", c.id)
	}
	return *e, nil
}

func listEvents(c *call) (any, *failure) {
	kind, kinds := c.p.str("type"), c.p.strings("types")
	if kind != "" {
		kinds = append(kinds, kind)
	}
	if len(kinds) > 20 {
		return nil, invalid("", "types", "You may pass up to 20 types.")
	}
	keep := func(e *Event) bool {
		return len(kinds) == 0 || slices.ContainsFunc(kinds, func(k string) bool {
			if group, ok := strings.CutSuffix(k, "*"); ok {
				return strings.HasPrefix(e.Type, group)
			}
			return e.Type == k
		})
	}
	return page(c, &c.s.state.Events, keep, plain[Event])
}
