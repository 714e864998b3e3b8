package server_test

import (
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// giving is a prepaid plan that gives credits each month, of which some roll over.
func giving(id string, credits, rollover int64) pricing.Plan {
	p := prepaid()
	p.ID, p.Name, p.Grant = id, id, &pricing.PlanGrant{Credits: credits, Rollover: rollover}
	return p
}

// turn takes what has expired and gives what plans give, as the schedule does.
func (s *till) turn() {
	s.t.Helper()
	if err := s.gate.ExpireCredits(s.t.Context(), s.now); err != nil {
		s.t.Fatal(err)
	}
	if err := s.GrantPlans(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// has says how many credits a user has to have.
func (s *till) has(u ledger.UserID, want int64) {
	s.t.Helper()
	if got := s.balance(u); got != ledger.Amount(want)*credit {
		s.t.Errorf("at %s there are %v credits, want %d", s.now.Format(time.RFC3339), got, want)
	}
}

func (s *till) month(m time.Month) { s.now = s.ledger.PeriodOf(ledger.MonthOf(2025, m)).Start }

func TestPlanGivesCreditsEachMonth(t *testing.T) {
	for _, c := range []struct {
		name     string
		rollover int64
		burn     []int64 // in January and the months after it
		begins   []int64 // what each begins with
	}{
		{"nothing rolls over", 0, []int64{800, 0, 1000, 1}, []int64{1000, 1000, 1000, 1000}},
		{"some rolls over", 500, []int64{800, 0, 1400, 1, 0}, []int64{1000, 1200, 1500, 1100, 1500}},
		{"much rolls over", 10_000, []int64{0, 0, 2500, 0}, []int64{1000, 2000, 3000, 1500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTill(t, nil, giving("giving", 1000, c.rollover))
			defer s.close()
			u := s.customer("ada", "giving", "")
			for n := range c.burn {
				if n > 0 {
					s.month(time.January + time.Month(n))
				}
				for range 3 {
					s.turn()
				}
				s.has(u, c.begins[n])
				if c.burn[n] > 0 {
					s.calls(u, 1, c.burn[n])
				}
				s.now = s.now.Add(24 * time.Hour)
				s.again()
				s.turn()
				s.has(u, c.begins[n]-c.burn[n])
			}
		})
	}
}

// TestPlanBecomesLarger gives the difference within the month, whatever was left
// over from the month before, and takes nothing back.
func TestPlanBecomesLarger(t *testing.T) {
	s := newTill(t, nil, giving("small", 1000, 500), giving("large", 3000, 500))
	defer s.close()
	u := s.customer("ada", "small", "")
	s.turn()
	s.calls(u, 1, 700)
	s.month(time.February)
	s.turn()
	s.has(u, 1300)
	s.now = s.now.Add(240 * time.Hour)
	for n, plan := range []string{"large", "small", "large", "prepaid", "large"} {
		s.plan(u, plan)
		s.turn()
		s.has(u, 3300)
		s.now = s.now.Add(time.Duration(n+1) * time.Hour)
	}
	s.calls(u, 1, 3000)
	s.month(time.March)
	s.turn()
	s.has(u, 3300)
}

// TestPlanGrantsAfterMonths: an appliance that was down for months gives those of
// the open one, with what each of the others would have left over.
func TestPlanGrantsAfterMonths(t *testing.T) {
	for _, c := range []struct {
		name     string
		rollover int64
		away     string // the plan since the middle of January; back in the middle of March
		want     int64
	}{
		{"little rolls over", 500, "", 1500},
		{"much rolls over", 2500, "", 3500},
		{"all rolls over", 10_000, "", 4300},
		{"nothing rolls over", 0, "", 1000},
		{"on a plan without credits meanwhile", 10_000, "prepaid", 2000},
		{"on a plan that is not prepaid meanwhile", 10_000, "free", 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTill(t, nil, giving("giving", 1000, c.rollover))
			defer s.close()
			u := s.customer("ada", "giving", "")
			s.turn()
			s.calls(u, 1, 700)
			if c.away != "" {
				s.now = s.now.Add(5 * 24 * time.Hour)
				s.plan(u, c.away)
				s.month(time.March)
				s.now = s.now.Add(-10 * 24 * time.Hour) // February 19th
				s.plan(u, "giving")
				// Nobody gives anything until May: it is on the plan when March begins.
			}
			s.month(time.May)
			if c.away != "" {
				s.month(time.April)
			}
			s.turn()
			s.has(u, c.want)
			s.turn()
			s.has(u, c.want)
		})
	}
}

// TestPlanGrantsByTheZone: the month turns by the clock of the billing zone, also
// where it was set forward meanwhile.
func TestPlanGrantsByTheZone(t *testing.T) {
	s := newTill(t, func(s *shop) { s.options.Zone = "America/New_York" }, giving("giving", 1000, 0))
	defer s.close()
	u := s.customer("ada", "giving", "")
	for month, want := range map[time.Month]string{time.March: "2025-03-01T05:00:00Z", time.April: "2025-04-01T04:00:00Z", time.November: "2025-11-01T04:00:00Z", time.December: "2025-12-01T05:00:00Z"} {
		if got := s.ledger.PeriodOf(ledger.MonthOf(2025, month)).Start.UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s begins at %s, want %s", month, got, want)
		}
	}
	for month := time.February; month <= time.December; month++ {
		s.month(month)
		begin := s.now
		s.now = begin.Add(-time.Millisecond)
		s.turn()
		if s.balance(u) > 0 {
			s.calls(u, 1, int64(s.balance(u)/credit))
		}
		s.turn()
		s.has(u, 0)
		if next := s.NextDue(s.now); !next.Equal(begin) {
			t.Errorf("before %s the next is due at %s", begin, next)
		}
		s.now = begin
		s.turn()
		s.has(u, 1000)
	}
}

// TestPlanGrantsAtOnce gives a month's credits from many sides at once: they come
// once.
func TestPlanGrantsAtOnce(t *testing.T) {
	s := newTill(t, nil, giving("giving", 1000, 500))
	defer s.close()
	var users []ledger.UserID
	for _, name := range []string{"a", "b", "c", "d"} {
		users = append(users, s.customer(name, "giving", ""))
	}
	for _, month := range []time.Month{time.January, time.February, time.March} {
		if month > time.January {
			s.month(month)
			if err := s.gate.ExpireCredits(t.Context(), s.now); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := s.GrantPlans(t.Context()); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				for _, u := range users {
					if err := s.GrantPlan(t.Context(), u); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, u := range users {
			s.has(u, map[time.Month]int64{time.January: 1000, time.February: 1500, time.March: 1500}[month])
		}
	}
}

// TestPlanCreditsAreBurntFirst: they expire with the month; what was bought is burnt
// by its expiry, and what never expires at last.
func TestPlanCreditsAreBurntFirst(t *testing.T) {
	s := newTill(t, nil, giving("giving", 1000, 0))
	defer s.close()
	u := s.account("ada", "giving", "")
	s.bought(u, "10k")
	s.bought(u, "1k") // for 30 days, into February
	s.turn()
	left := func() (sources []ledger.Source, amounts []ledger.Amount) {
		a := s.ledger.Account(u)
		a.Lock()
		defer a.Unlock()
		for _, l := range a.Credits() {
			sources, amounts = append(sources, l.Source), append(amounts, l.Amount/credit)
		}
		return sources, amounts
	}
	s.calls(u, 1, 900)
	if got, n := left(); len(got) != 3 || got[0] != ledger.PlanCredits || n[0] != 100 || n[1] != 1000 || n[2] != 10_000 {
		t.Errorf("%v %v", got, n)
	}
	s.calls(u, 1, 200)
	if got, n := left(); len(got) != 2 || n[0] != 900 || n[1] != 10_000 {
		t.Errorf("%v %v", got, n)
	}
	s.month(time.February)
	s.turn()
	s.calls(u, 1, 300) // of those that end before the month does
	if got, n := left(); len(got) != 3 || got[0] != ledger.Purchase || n[0] != 600 || n[1] != 1000 || n[2] != 10_000 {
		t.Errorf("%v %v", got, n)
	}
	s.month(time.March)
	s.turn()
	s.has(u, 11_000)
}
