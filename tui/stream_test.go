package tui_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/ledger"
	"tollgate/server/api"
)

// pass lets time go by in the bubble, and what comes with it.
func (c *screen) pass(d time.Duration) {
	<-time.After(d)
	c.settle()
}

var errGone = errors.New("no tollgate is listening at /run/tollgate.sock; start one with: tollgate serve")

// TestLostConnection: it is said, the old numbers stay with their time, and the
// screen recovers by itself.
func TestLostConnection(t *testing.T) {
	for _, walk := range walks {
		bubble(t, walk.name, func(t *testing.T) {
			f := busy()
			s := begin(t, f, atRest, 80, 24)
			s.keys(walk.keys...)
			s.has("as of 12:34:56 UTC  live")
			body := strings.SplitN(s.view(80, 24), "\n", 3)[2]

			f.fail(errGone)
			s.pass(2 * time.Second)
			s.has("as of 12:34:56 UTC  RECONNECTING: no tollgate is listening")
			s.hasNot("UTC  live")
			if after := strings.SplitN(s.view(80, 24), "\n", 3)[2]; after != body {
				t.Errorf("the old numbers changed:\n%s", after)
			}
			golden(t, "lost-"+walk.name+"-80x24", s.view(80, 24))

			f.fail(nil)
			s.pass(6 * time.Second)
			s.has("as of 12:34:56 UTC  live")
			s.hasNot("RECONNECTING")
		})
	}
}

// TestRetriesGrowRarer: a server that stays away is asked ever more rarely, and
// often again once it has answered.
func TestRetriesGrowRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		f.fail(errGone)
		s.pass(10 * time.Second)
		if n := len(f.did()); n < 5 || n > 8 {
			t.Errorf("asked %d times in 10 s", n)
		}
		before := len(f.did())
		s.pass(time.Minute)
		if n := len(f.did()) - before; n < 11 || n > 13 {
			t.Errorf("asked %d times in a minute after that, want one each 5 s", n)
		}
		f.fail(nil)
		s.pass(6 * time.Second)
		s.has("live")
		f.fail(errGone)
		before = len(f.did())
		s.pass(time.Second)
		if n := len(f.did()) - before; n < 2 {
			t.Errorf("asked %d times in the second after it was lost again", n)
		}
	})
}

// TestOnceASecond: however much comes, the screen is drawn anew once a second,
// with the newest.
func TestOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		o := f.overview
		drawn := s.updates
		for i := range int64(100) {
			o.Traffic.CallsPerSecond = 5000 + i
			f.look(o)
			s.pass(50 * time.Millisecond)
		}
		s.pass(time.Second)
		if n := s.updates - drawn; n > 6 {
			t.Errorf("%d updates in 6 s", n)
		}
		s.has("5,099 calls/s")
		drawn = s.updates
		s.pass(time.Hour)
		if s.updates != drawn {
			t.Errorf("%d updates in an hour without news", s.updates-drawn)
		}
	})
}

func record(i int) api.Record {
	return api.Record{Seq: uint64(5000 + i), RequestID: "n", Time: at("2025-01-20 12:35:00"), Route: "GET /new", Method: "GET", StatusCode: 200, Outcome: "ok", Billed: true,
		ResponseTimeMS: int64(i), Cost: ledger.Amount(i)}
}

// TestTail: new records come on top; a choice stays on its record; what waits
// during a pause is shown after it; memory stays bounded.
func TestTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		push := func(from, to int, skipped int64) {
			var some []api.Record
			for i := from; i < to; i++ {
				some = append(some, record(i))
			}
			f.push(api.RecordsTail{At: at("2025-01-20 12:35:01"), Records: some, Skipped: skipped})
		}
		s.keys("4", "down")
		s.has("> 12:34:54")
		push(0, 2, 0)
		push(2, 3, 7)
		s.pass(2 * time.Second)
		s.has("as of 12:35:01", "> 12:34:54", "the newest 43", "7 came too fast")
		s.keys("g")
		s.has("> 12:35:00")
		push(3, 4, 0)
		s.pass(2 * time.Second)
		s.has("> 12:35:00       -  200")

		s.keys("p")
		push(100, 110, 0)
		s.pass(2 * time.Second)
		push(110, 120, 0)
		s.pass(2 * time.Second)
		s.has("PAUSED, 20 records wait")
		s.hasNot("119 ms")
		s.keys("p")
		s.has("119 ms", "the newest 64")

		push(0, 3000, 0)
		s.pass(2 * time.Second)
		s.has("the newest 500", "2,999 ms")
		s.keys("p")
		for i := range 20 {
			push(i*1000, i*1000+1000, 0)
			s.pass(2 * time.Second)
		}
		s.has("PAUSED, 500 records wait")
	})
}

// TestTailBeginsAnew: after a lost connection the newest stand in for what was
// shown; nothing is there twice.
func TestTailBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		s.keys("4")
		f.fail(errGone)
		s.pass(time.Second)
		f.records = append(f.records, record(1))
		f.fail(nil)
		s.pass(6 * time.Second)
		s.has("the newest 41", "live")
	})
}

// TestChoiceStaysOnItsUser: an act must not slip to another when the order
// changes.
func TestChoiceStaysOnItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		o := atRest
		o.Write = true
		s := begin(t, f, o, 80, 24)
		s.keys("2", "down", "down")
		s.has("> ! user03@")
		f.users[0], f.users[2] = f.users[2], f.users[0]
		f.fail(errGone)
		s.pass(time.Second)
		f.fail(nil)
		s.pass(6 * time.Second)
		s.has("> ! user03@")
		s.keys("S")
		s.has("SUSPEND user03@example.com")
	})
}

func TestDrainingServerIsReconnectedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		f.fail(&api.Error{Problem: api.Problem{Status: 503, Detail: "tollgate is stopping"}})
		s.pass(time.Second)
		s.has("RECONNECTING: tollgate is stopping")
	})
}
