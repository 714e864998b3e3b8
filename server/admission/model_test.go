package admission_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// model is what admission has to decide, in the plainest way: lists of all calls.
type model struct {
	perMinute, perDay, calls, documents int64

	seen     time.Time // of the newest admission
	admitted []time.Time
	running  []*running
	settled  map[ledger.Month]ledger.Totals
	days     map[int32]int64 // recorded
}

type running struct {
	hold      *admission.Hold
	time      time.Time
	day       int32
	month     ledger.Month
	documents int64
}

// now is the time that a call is admitted at.
func (m *model) now(clock time.Time) time.Time {
	if clock.Before(m.seen) {
		return m.seen
	}
	return clock
}

// decide is the code of the refusal, "" where the call has to pass.
func (m *model) decide(b *bench, documents int64) string {
	now := m.now(b.now())
	day, month := b.ledger.DayAt(now).Number, b.ledger.PeriodAt(now).Month
	minute := int64(0)
	for _, t := range m.admitted {
		if now.Sub(t) < time.Minute {
			minute++
		}
	}
	today, used := m.days[day], m.settled[month]
	for _, r := range m.running {
		if r.day == day {
			today++
		}
		if r.month == month {
			used.Calls++
			used.Documents += r.documents
		}
	}
	switch {
	case minute >= m.perMinute, today >= m.perDay:
		return admission.RateLimited
	case used.Calls+1 > m.calls, used.Documents+documents > m.documents:
		return admission.QuotaExceeded
	}
	return ""
}

func TestAgainstAModel(t *testing.T) {
	const perMinute, perDay, calls, docs = 4, 9, 20, 60
	plan := free(map[string]int64{"calls": calls, "documents": docs})
	plan.PerMinute, plan.PerDay = perMinute, perDay
	b := newBenchIn(t, "2025-01-01T00:00:00Z", "America/New_York", admission.Options{}, plan)
	start := at("2025-02-01T05:00:00Z")
	rapid.Check(t, func(rt *rapid.T) {
		// Each run is later than the one before, since the ledger's time never falls.
		b.setTime(start)
		_, secret := b.user("free")
		c := b.caller(secret)
		m := &model{perMinute: perMinute, perDay: perDay, calls: calls, documents: docs, settled: map[ledger.Month]ledger.Totals{}, days: map[int32]int64{}}
		m.seen = c.User.Created // no call is before its user
		defer func() {
			for _, r := range m.running {
				r.hold.Release()
			}
		}()
		take := func() *running {
			if len(m.running) == 0 {
				rt.Skip("nothing runs")
			}
			i := rapid.IntRange(0, len(m.running)-1).Draw(rt, "which")
			r := m.running[i]
			m.running = append(m.running[:i:i], m.running[i+1:]...)
			return r
		}
		rt.Repeat(map[string]func(*rapid.T){
			"admit": func(rt *rapid.T) {
				n := rapid.SampledFrom([]int64{0, 1, 2, 7, 20, 61}).Draw(rt, "documents")
				want := m.decide(b, n)
				h, refusal := b.try(c, n)
				if refusal != nil {
					if refusal.Code != want {
						rt.Fatalf("refused: %v, want %q", refusal, want)
					}
					return
				}
				if want != "" {
					h.Release()
					rt.Fatalf("admitted, want %s", want)
				}
				now := m.now(b.now())
				m.seen = now
				m.admitted = append(m.admitted, now)
				m.running = append(m.running, &running{h, now, b.ledger.DayAt(now).Number, b.ledger.PeriodAt(now).Month, n})
				if !h.Period.Contains(h.Time) || !h.Time.Equal(now.Truncate(time.Millisecond)) {
					rt.Fatalf("time of the hold %v, want %v", h.Time, now)
				}
			},
			"settle": func(rt *rapid.T) {
				billed := rapid.Bool().Draw(rt, "billed")
				r := take()
				n := r.documents
				if !billed {
					n = 0
				}
				b.settle(r.hold, n, billed)
				m.days[r.day]++
				if billed {
					s := m.settled[r.month]
					s.Calls++
					s.Documents += n
					m.settled[r.month] = s
				}
			},
			"release": func(rt *rapid.T) {
				r := take()
				r.hold.Release()
				r.hold.Release()
			},
			"extend": func(rt *rapid.T) {
				n := rapid.Int64Range(0, 12).Draw(rt, "documents")
				r := take()
				r.hold.Extend(documents(n))
				r.documents = max(r.documents, n)
				m.running = append(m.running, r)
			},
			"time": func(rt *rapid.T) {
				b.advance(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, 20 * time.Second, time.Minute, 5 * time.Hour, 9 * 24 * time.Hour, -time.Second, -10 * time.Minute, -3 * 24 * time.Hour,
				}).Draw(rt, "by"))
			},
			"": func(rt *rapid.T) {
				var want admission.Held
				for _, r := range m.running {
					want.Users = 1
					want.Calls++
					want.Documents += r.documents
				}
				if got := b.gate.Held(); got != want {
					rt.Fatalf("held %+v, want %+v", got, want)
				}
			},
		})
		if now := b.now(); now.After(start) {
			start = now
		}
		if m.seen.After(start) {
			start = m.seen
		}
	})
	b.nothingHeld()
}
