package admission

import "time"

// window counts the calls of the last minute, sliding: limit holds in any 60
// seconds, not in each minute of the clock. It keeps one mark a call, or, where
// the limit is larger than fineLimit, one mark for calls that are at most grain
// apart, which leave the window together with the last of them. So it never
// lets more pass, and at worst a call waits grain longer than it had to.
//
// Times are nanoseconds since the gate began. They may fall: then it is still the
// time of the newest call, or the calls before would stay too long, and the new
// one too short.
// The zero value is ready and takes no memory until a call is counted.
type window struct {
	marks []mark // a ring: count marks from first on
	first int
	count int
	calls int64 // in all marks
}

type mark struct {
	last  int64 // when the last of its calls was
	calls int64
}

const (
	minute    = int64(time.Minute)
	fineLimit = 120
	grain     = int64(250 * time.Millisecond)
)

// at is now, or the time of the newest call where the clock stepped back.
func (w *window) at(now int64) int64 {
	if w.count == 0 {
		return now
	}
	return max(now, w.mark(w.count-1).last)
}

// used is how many calls are in the window at now. It changes nothing: a time
// that was wrong for a moment must not let go of calls.
func (w *window) used(now int64) int64 {
	calls, _ := w.live(now)
	return calls
}

// live is how many calls are in the window at now, and how many marks have left it.
func (w *window) live(now int64) (calls int64, gone int) {
	now, calls = w.at(now), w.calls
	for gone < w.count && now-w.mark(gone).last >= minute {
		calls -= w.mark(gone).calls
		gone++
	}
	return calls, gone
}

// mark is the i-th mark, the oldest being the first.
func (w *window) mark(i int) *mark { return &w.marks[(w.first+i)%len(w.marks)] }

// wait is how long after now at most limit-1 calls are in the window, so that
// one more fits. It is 0 where it fits at once.
func (w *window) wait(now, limit int64) time.Duration {
	left, gone := w.live(now)
	now = w.at(now)
	for i := gone; i < w.count && left >= limit; i++ {
		m := w.mark(i)
		if left -= m.calls; left < limit {
			return time.Duration(m.last + minute - now)
		}
	}
	return 0
}

// oldest is how long after now the oldest call leaves the window; a minute where
// there is none.
func (w *window) oldest(now int64) time.Duration {
	_, gone := w.live(now)
	if gone == w.count {
		return time.Minute
	}
	return time.Duration(w.mark(gone).last + minute - w.at(now))
}

// add counts a call at now, under a limit in force.
func (w *window) add(now, limit int64) {
	now = w.at(now)
	calls, gone := w.live(now)
	w.calls = calls + 1
	w.count -= gone
	if gone > 0 {
		w.first = (w.first + gone) % len(w.marks)
	}
	if w.count > 0 {
		newest := w.mark(w.count - 1)
		if now == newest.last || limit > fineLimit && now/grain == newest.last/grain {
			newest.last = now
			newest.calls++
			return
		}
	}
	if w.count == len(w.marks) {
		w.grow()
	}
	w.count++
	*w.mark(w.count - 1) = mark{now, 1}
}

func (w *window) grow() {
	larger := make([]mark, max(8, 2*len(w.marks)))
	for i := range w.count {
		larger[i] = *w.mark(i)
	}
	w.marks, w.first = larger, 0
}
