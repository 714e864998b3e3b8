package admission

import (
	"strconv"
	"time"
)

// longestRetry is the longest Retry-After: client libraries sleep as long as
// they are told to. A call that has to wait longer is told not to retry.
const longestRetry = time.Minute

// rate is what counts against the rate limits of a call: the state that is
// shared by the user's keys, or that of a key with limits of its own.
type rate struct {
	minute    *window
	days      *heldDays
	perMinute int64 // 0: no limit
	perDay    int64
	ownDay    bool // perDay is the key's own
}

// rateOf finds the limits of a call. A key may have one of its own and share the other.
func rateOf(u *user, m *moment) rate {
	r := rate{&u.shared.minute, &u.shared.days, int64(m.plan.PerMinute), int64(m.plan.PerDay), false}
	k := m.key
	if k.PerMinute == nil && k.PerDay == nil {
		return r
	}
	for len(u.own) <= k.Counts {
		u.own = append(u.own, nil)
	}
	if u.own[k.Counts] == nil {
		u.own[k.Counts] = new(limits)
	}
	own := u.own[k.Counts]
	if k.PerMinute != nil {
		r.minute, r.perMinute = &own.minute, int64(*k.PerMinute)
	}
	if k.PerDay != nil {
		r.days, r.perDay, r.ownDay = &own.days, int64(*k.PerDay), true
	}
	return r
}

// usedToday is the calls of the day so far, recorded and running, that count
// against the limit of r.
func (r *rate) usedToday(h *Hold, m *moment) int64 {
	account := h.Caller.Account
	running := r.days.on(m.day.Number)
	if r.ownDay {
		return account.KeyDayCalls(m.key.Counts, m.day) + running
	}
	recorded := account.DayCalls(m.day)
	for _, index := range m.own {
		recorded -= account.KeyDayCalls(index, m.day)
	}
	return recorded + running
}

// checkRate refuses a call beyond a rate limit, and notes the limits in h. The
// day comes first: who is told to come back in some seconds has to get in then.
func (g *Gate) checkRate(h *Hold, m *moment, r *rate, since int64) *Refusal {
	var refusal *Refusal
	if r.perMinute > 0 {
		used := r.minute.used(since)
		l := Limit{Name: "minute", Limit: r.perMinute, Remaining: max(0, r.perMinute-used), Window: time.Minute, ResetIn: r.minute.oldest(since)}
		if used >= r.perMinute {
			l.ResetIn = r.minute.wait(since, r.perMinute)
		}
		l.Reset = m.time.Add(l.ResetIn)
		if used >= r.perMinute {
			refusal = rateLimited(whose(m, m.key.PerMinute)+count(r.perMinute)+" calls in any 60 seconds.", l, used)
		}
		h.Limits = append(h.Limits, l)
	}
	if r.perDay > 0 {
		used := r.usedToday(h, m)
		l := Limit{
			Name: "day", Limit: r.perDay, Remaining: max(0, r.perDay-used), Window: m.day.End.Sub(m.day.Start),
			Reset: m.day.End, ResetIn: m.day.End.Sub(m.time),
		}
		if used >= r.perDay {
			refusal = rateLimited(whose(m, m.key.PerDay)+count(r.perDay)+" calls a day; the next day begins at "+m.day.End.Format(time.RFC3339)+".", l, used)
		}
		h.Limits = append(h.Limits, l)
	}
	return refusal
}

func whose(m *moment, own *int) string {
	if own != nil {
		return "This API key may make "
	}
	return "The API keys of this account may together make "
}

// rateLimited refuses a call because of l. Retry-After is never longer than
// longestRetry: of a day that is used up the client learns from x-should-retry
// that waiting so long is of no use, and from reset what is.
func rateLimited(detail string, l Limit, used int64) *Refusal {
	r := NewRefusal(RateLimited, detail)
	left := max(0, l.Limit-used)
	r.Limit, r.Used, r.Remaining, r.Reset = &l.Limit, &used, &left, l.Reset
	r.RetryAfter, r.NoRetry = l.ResetIn, l.ResetIn > longestRetry
	r.RetryAfter = max(time.Second, min(r.RetryAfter, longestRetry))
	return r
}

// count writes a number with separators, such as 50,000.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(digits) - 3; i > start; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
