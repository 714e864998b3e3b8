package admission

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The window is checked against the plain list of all calls that passed.
func TestWindowNeverLetsMoreThanTheLimitPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int64{1, 2, 3, 7, 60, 119, 120, 121, 200}).Draw(t, "limit")
		slack := int64(0)
		if limit > fineLimit {
			slack = grain
		}
		var w window
		var passed []int64
		newest := int64(-1 << 62)
		now := rapid.Int64Range(0, 3*minute).Draw(t, "start")
		most := now
		for range rapid.IntRange(1, 400).Draw(t, "calls") {
			now += rapid.SampledFrom([]int64{0, 1, 1e6, 1e8, 3e8, 1e9, 5e9, minute - 1, minute, -1e9}).Draw(t, "step")
			// The window knows of time only what its calls told it.
			most = max(newest, now)
			recent := func(span int64) (n int64) {
				for _, p := range passed {
					if most-p < span {
						n++
					}
				}
				return n
			}
			used := w.used(now)
			if exact := recent(minute); used < exact || slack == 0 && used != exact {
				t.Fatalf("used %d, want %d", used, exact)
			}
			if wait := w.wait(now, limit); used >= limit {
				if wait <= 0 || wait > time.Minute {
					t.Fatalf("wait %v with %d of %d used", wait, used, limit)
				}
				if n := w.used(most + int64(wait)); n >= limit {
					t.Fatalf("after the wait %d of %d are used", n, limit)
				}
				if n := w.used(most + int64(wait) - 1); n < limit {
					t.Fatalf("a shorter wait would have done")
				}
				if recent(minute+slack) < limit {
					t.Fatalf("refused with %d calls in the last minute and a grain, limit %d", recent(minute+slack), limit)
				}
			} else {
				if wait != 0 {
					t.Fatalf("wait %v with %d of %d used", wait, used, limit)
				}
				w.add(now, limit)
				newest = most
				passed = append(passed, most)
				if n := recent(minute); n > limit {
					t.Fatalf("%d calls within a minute, limit %d", n, limit)
				}
			}
		}
		if len(w.marks) > 512 {
			t.Fatalf("%d marks", len(w.marks))
		}
	})
}

func TestWindowWhoseLimitFell(t *testing.T) {
	var w window
	for i := range int64(10) {
		w.add(i*int64(time.Second), 100)
	}
	now := int64(20 * time.Second)
	if got, want := w.wait(now, 3), 47*time.Second; got != want {
		t.Errorf("wait for a limit of 3 with calls at 0s to 9s, at 20s: got %v, want %v", got, want)
	}
	if got := w.used(now + int64(47*time.Second)); got != 2 {
		t.Errorf("used then: got %d, want 2", got)
	}
}

func TestWindowTakesNoMemoryBeforeItIsUsed(t *testing.T) {
	var w window
	if n := testing.AllocsPerRun(10, func() { w.used(1); w.wait(1, 5); w.oldest(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWindowOfALargeLimitIsSmall(t *testing.T) {
	var w window
	for i := range int64(1_000_000) {
		now := i * 100_000 // 10,000 a second
		w.add(now, 1_000_000)
	}
	if len(w.marks) > 512 {
		t.Errorf("%d marks, want at most 512", len(w.marks))
	}
}
