package ledger

import (
	"fmt"
	"slices"
	"time"
)

// zone is a billing time zone and the first month that it is used for.
type zone struct {
	zoneSet
	loc *time.Location
}

func (s *state) addZone(z zoneSet) error {
	loc, err := time.LoadLocation(z.Zone)
	if err != nil {
		return fmt.Errorf("time zone %q: %w", z.Zone, err)
	}
	// What was to begin then or later never does.
	s.zones = slices.DeleteFunc(s.zones, func(o zone) bool { return o.From >= z.From })
	s.zones = append(s.zones, zone{z, loc})
	s.tableChanged = true
	return nil
}

func (s *state) zoneOf(m Month) zone {
	z := s.zones[0]
	for _, next := range s.zones[1:] {
		if next.From <= m {
			z = next
		}
	}
	return z
}

// periodOf is the stored period of a month, or the one to be stored. A month
// begins where the one before it ends, also where the zone changes in between.
func (s *state) periodOf(m Month) Period {
	if p, ok := s.periods[m]; ok {
		return p
	}
	return Period{Month: m, Start: s.startOf(m), End: s.startOf(m + 1), Zone: s.zoneOf(m).Zone}
}

func (s *state) startOf(m Month) time.Time {
	if p, ok := s.periods[m-1]; ok {
		return p.End
	}
	if p, ok := s.periods[m]; ok {
		return p.Start
	}
	return m.start(s.zoneOf(m - 1).loc)
}

func (s *state) periodAt(t time.Time) Period {
	m := monthAt(t, time.UTC)
	for _, near := range []Month{m, m - 1, m + 1} {
		if p := s.periodOf(near); p.Contains(t) {
			return p
		}
	}
	// Unreachable while months follow each other without gaps.
	panic(fmt.Sprintf("ledger: no period contains %v", t))
}

// dayOf is the day of an instant in a month. Where the zone changes, the first
// day begins with the month, so that no instant is in two days.
func (s *state) dayOf(t time.Time, m Month) Day {
	d := dayAt(t, s.zoneOf(m).loc)
	if begin := s.startOf(m); s.zoneOf(m-1).Zone != s.zoneOf(m).Zone && d.Start.Before(begin) {
		d.Start = begin
	}
	return d
}

// PeriodAt is the billing period that contains t.
func (l *Ledger) PeriodAt(t time.Time) Period {
	if p := l.openPeriod.Load(); p != nil && p.Contains(t) {
		return *p
	}
	l.state.mu.RLock()
	p := l.state.periodAt(t)
	l.state.mu.RUnlock()
	l.openPeriod.Store(&p)
	return p
}

// PeriodOf is the billing period of a month.
func (l *Ledger) PeriodOf(m Month) Period {
	l.state.mu.RLock()
	defer l.state.mu.RUnlock()
	return l.state.periodOf(m)
}

// DayAt is the day in the billing zone that contains t.
func (l *Ledger) DayAt(t time.Time) Day {
	if d := l.openDay.Load(); d != nil && d.Contains(t) {
		return *d
	}
	month := l.PeriodAt(t).Month
	l.state.mu.RLock()
	d := l.state.dayOf(t, month)
	l.state.mu.RUnlock()
	l.openDay.Store(&d)
	return d
}
