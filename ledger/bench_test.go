package ledger_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

func benchmarkAppend(b *testing.B, users, callers, records int) {
	l := ledgertest.New(b, ledger.Options{})
	route := addRoute(b, l)
	if err := ledger.AddUsers(l, start, users); err != nil {
		b.Fatal(err)
	}
	if err := l.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	began := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			list := make([]ledger.Usage, records)
			for left.Add(-1) >= 0 {
				now := start.Add(time.Since(began))
				for i := range list {
					list[i] = call(ledger.UserID(random.IntN(users)+1), 0, route.ID, now, int64(random.IntN(200)))
				}
				if err := l.Append(now, list, nil).Wait(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
}
