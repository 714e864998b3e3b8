package server

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"tollgate/ledger"
)

// demoMonths is how many billing periods of usage the demo has, the open one
// included.
const demoMonths = 6

// demoCustomer is one customer of the demo: the plan, and the billed calls of
// each month, oldest first. The last is of the open month: what a whole month would
// bring, of which the elapsed share is there, or with sofar exactly what is
// there already.
type demoCustomer struct {
	email, name, company string
	plan                 string
	calls                [demoMonths]int64
	sofar                bool
	docs, words          int // the most documents in a call, the most tokens in a document
}

// demoCustomers has one customer for each of the shipped plans: one close to
// its quota, one beyond it, one without any.
func demoCustomers() []demoCustomer {
	return []demoCustomer{
		{
			email: "ada@example.com", name: "Ada Byron", company: "Byron Looms",
			plan: "free", calls: [demoMonths]int64{312, 455, 540, 683, 791, 847}, sofar: true, docs: 8, words: 60,
		},
		{
			email: "ops@harbor.example", name: "Noor Haddad", company: "Harbor Freight Forms",
			plan: "pro", calls: [demoMonths]int64{18_200, 24_900, 31_400, 39_800, 51_800, 54_600}, docs: 3, words: 80,
		},
		{
			email: "platform@meridian.example", name: "Ines Okafor", company: "Meridian Archive",
			plan: "enterprise", calls: [demoMonths]int64{51_000, 53_500, 58_200, 61_900, 66_400, 70_100}, docs: 5, words: 120,
		},
	}
}

// demoSpan is the months of the demo that ends at now, oldest first.
func demoSpan(now time.Time, periodAt func(time.Time) ledger.Period) []ledger.Period {
	periods := make([]ledger.Period, demoMonths)
	for i := demoMonths - 1; i >= 0; i-- {
		periods[i] = periodAt(now)
		now = periods[i].Start.Add(-time.Nanosecond)
	}
	return periods
}

// demoCall is one call of the demo before it is priced: who made it, on which
// of the sample API's two calls, and what came of it.
type demoCall struct {
	customer int
	analyze  bool
	time     time.Time
	ledger.Quantities
	duration time.Duration
	status   int
}

// demoTraffic gives the calls of the demo in the order of their times, an hour
// at a time. The same seed, periods and now give the same calls: busy by day,
// quiet at night and at weekends, one in a hundred failing.
func demoTraffic(customers []demoCustomer, periods []ledger.Period, now time.Time, seed uint64) iter.Seq2[time.Time, []demoCall] {
	return func(yield func(time.Time, []demoCall) bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		for month, period := range periods {
			end := period.End
			if now.Before(end) {
				end = now
			}
			var total, ahead int64 // the month's weight: until end, and after it
			for hour := period.Start; hour.Before(period.End); hour = hour.Add(time.Hour) {
				if hour.Before(end) {
					total += hourWeight(hour)
				} else {
					ahead += hourWeight(hour)
				}
			}
			var done int64
			made := make([]int64, len(customers))
			for hour := period.Start; hour.Before(end); hour = hour.Add(time.Hour) {
				until := hour.Add(time.Hour)
				if until.After(end) {
					until = end
				}
				done += hourWeight(hour)
				var calls []demoCall
				for i, c := range customers {
					whole := total + ahead
					if c.sofar {
						whole = total
					}
					due := c.calls[month] * done / whole
					for made[i] < due {
						call := c.call(i, random, hour, until)
						if !call.failed() {
							made[i]++
						}
						calls = append(calls, call)
					}
				}
				slices.SortFunc(calls, func(a, b demoCall) int { return a.time.Compare(b.time) })
				if !yield(until, calls) {
					return
				}
			}
		}
	}
}

// call makes one call of the customer within [from, until).
func (c demoCustomer) call(index int, random *rand.Rand, from, until time.Time) demoCall {
	call := demoCall{
		customer: index,
		analyze:  random.IntN(5) == 0,
		time:     from.Add(time.Duration(random.Int64N(int64(until.Sub(from))))).Truncate(time.Millisecond),
		duration: time.Duration(20_000+random.ExpFloat64()*60_000) * time.Microsecond,
		status:   200,
	}
	if call.time.Before(from) {
		call.time = from
	}
	if random.IntN(100) == 0 {
		call.status = []int{400, 422, 500, 503}[random.IntN(4)]
		return call
	}
	call.Documents = 1 + int64(random.IntN(c.docs))
	for range call.Documents {
		call.Tokens += 5 + int64(random.IntN(c.words))
	}
	return call
}

func (c demoCall) failed() bool { return c.status >= 400 }

// hourWeight is how busy an hour is, in no unit.
func hourWeight(t time.Time) int64 {
	weight := [24]int64{4, 3, 2, 2, 2, 3, 6, 12, 22, 30, 34, 33, 28, 31, 34, 33, 29, 24, 18, 13, 10, 8, 7, 5}[t.Hour()]
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		return (weight + 2) / 3
	}
	return weight
}
