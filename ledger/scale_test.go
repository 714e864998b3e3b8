package ledger_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

var scaleRecords = flag.Int("scale", 300_000, "records in the larger ledger of TestCostDoesNotGrow; 10000000 for the figures in the README")

// generate fills a ledger with records of 1,000 users on 5 routes over 30 days.
func generate(t testing.TB, l *ledger.Ledger, records int) (routes []ledger.VersionID) {
	t.Helper()
	for _, pattern := range []string{"POST /v1/scan", "POST /v1/analyze", "GET /v1/search", "POST /v1/embed", "GET /v1/status"} {
		v, err := l.PublishVersion(start, ledger.RouteVersion, pattern, []byte(`{}`), start)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, v.ID)
	}
	const users = 1000
	if err := ledger.AddUsers(l, start, users); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	step := 30 * 24 * time.Hour / time.Duration(records)
	batch := make([]ledger.Usage, 0, 8000)
	for i := range records {
		at := start.Add(time.Duration(i) * step)
		u := call(ledger.UserID(random.IntN(users)+1), 0, routes[random.IntN(5)], at, int64(random.IntN(200)))
		u.Key = ledger.KeyID(u.User)
		u.Counter = random.Uint32()
		u.Duration = time.Duration(random.IntN(100_000)) * time.Microsecond
		if batch = append(batch, u); len(batch) == cap(batch) || i == records-1 {
			appendAll(t, l, at.Add(20*time.Millisecond), batch...)
			batch = batch[:0]
		}
	}
	return routes
}

// TestCostDoesNotGrow measures a ledger with many records and compares the
// work it takes with that of a small one.
func TestCostDoesNotGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.db")
	l := ledgertest.Open(t, path, ledger.Options{})
	generate(t, l, *scaleRecords)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	size, err := ledger.Measure(path)
	if err != nil {
		t.Fatal(err)
	}
	perRecord := float64(size.LogBytes) / float64(*scaleRecords)
	perRow := float64(size.HourBytes) / float64(size.HourRows)
	t.Logf("%d records: log %.1f bytes a record, hours %.1f bytes an active user, route and hour (%d)", *scaleRecords, perRecord, perRow, size.HourRows)
	if perRecord > 32 {
		t.Errorf("a record takes %.1f bytes of log, at most 32 are allowed", perRecord)
	}
	if perRow > 30 {
		t.Errorf("an active user, route and hour takes %.1f bytes, at most 30 are allowed", perRow)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	l = ledgertest.Open(t, path, ledger.Options{Now: start.Add(31 * 24 * time.Hour)})
	opened := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("open: %v, heap %.1f MB", opened, float64(after.HeapAlloc-before.HeapAlloc)/1e6)
	began = time.Now()
	n := 0
	for id := ledger.UserID(1); id <= 100; id++ {
		read := 0
		err := l.UserRecords(context.Background(), id, 0, time.Time{}, time.Time{}, func(*ledger.Usage) bool {
			read++
			return read < 50
		})
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	t.Logf("a user's newest 50 records: %v", time.Since(began)/time.Duration(n))
	began = time.Now()
	report, err := l.Verify(context.Background(), ledger.Checks{}, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatal(err, report.Problems)
	}
	t.Logf("verify: %v", time.Since(began))
}
