package tui_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/server/api"
)

// TestAnHourUnderLoad has 200 records come each second, and an overview, for an
// hour of the bubble's time: memory is at its end what it was after twenty minutes.
func TestAnHourUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		var early, late uint64
		for second := range 3600 {
			if second%600 == 0 {
				s.keys([]string{"1", "4"}[second/600%2])
			}
			if second/600%2 == 0 {
				o := f.overview
				o.Traffic.CallsPerSecond = int64(second)
				o.Traffic.Samples = append([]int64{int64(second)}, o.Traffic.Samples...)
				f.look(o)
			} else {
				some := make([]api.Record, 200)
				for i := range some {
					some[i] = record(200*second + i)
				}
				f.push(api.RecordsTail{At: at("2025-01-20 12:35:01").Add(time.Duration(second) * time.Second), Records: some})
			}
			s.pass(time.Second)
			switch second {
			case 1199: // both pages were shown
				early = heap()
			case 3599:
				late = heap()
			}
		}
		if late > early+early/4 {
			t.Errorf("%d bytes are in use after an hour, %d after twenty minutes", late, early)
		}
		t.Logf("%d bytes after twenty minutes, %d after an hour", early, late)
	})
}

// heap is the memory in use, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
