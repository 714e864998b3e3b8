package cli_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/config"
	"tollgate/server/pricing"
)

var growthScale = flag.Int("scale", 200_000, "records in the larger ledger of TestCostDoesNotGrow; 10000000 for the figures in the README")

const (
	growthSmall = 10_000
	growthSpan  = 30 * 24 * time.Hour

	idleMemory = 40 * mega  // with 10 million records and 1,000 users
	loadMemory = 150 * mega // at 64 clients
)

// effort is how thoroughly to measure: the short form takes a fifth of the users
// and of the measurements.
func effort() int {
	if *growthScale < 1_000_000 {
		return 1
	}
	return 5
}

func growthUsers() int { return 200 * effort() }

// growthConfig has five routes, and a plan whose quota and day are counted.
func growthConfig(url string) string {
	text := `
[server]
listen = "127.0.0.1:0"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "api"
url = "` + url + `"
[[plan]]
id = "metered"
name = "Metered"
fee = "49"
quota = { calls = 5000 }
overage = { calls = "0.01" }
on_exceed = "bill"
billing = "monthly"
rate_limits = { per_minute = 0, per_day = 100000000 }
`
	for _, name := range []string{"scan", "analyze", "search", "embed", "status"} {
		text += `[[route]]
pattern = "POST /v1/` + name + `"
upstream = "api"
documents = { request = "/docs", count = true }
tokens = { response = "/usage/total_tokens", missing = "zero" }
price = { documents = "0.01" }
`
	}
	return text
}

// seeded is a ledger that was written without its server.
type seeded struct {
	config *config.Config
	routes []*ledger.Version
	plan   *ledger.Version
	start  time.Time
}

// seedUsers makes a ledger with the terms of the configuration in folder and
// users with a key each.
func seedUsers(t testing.TB, folder string, start time.Time, users int) (s seeded, keys []string) {
	t.Helper()
	c, err := config.Load(filepath.Join(folder, "config.toml"), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	s = seeded{config: c, start: start}
	l := s.open(t, folder)
	publish := func(kind ledger.VersionKind, name string, terms []byte, err error) *ledger.Version {
		if err != nil {
			t.Fatal(err)
		}
		v, err := l.PublishVersion(start, kind, name, terms, start)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range c.Plans {
		terms, err := c.Plans[i].Terms()
		if v := publish(ledger.PlanVersion, c.Plans[i].ID, terms, err); v.Name == "metered" {
			s.plan = v
		}
	}
	for i := range c.Routes {
		terms, err := (&pricing.Route{Pattern: c.Routes[i].Pattern, Price: c.Routes[i].Price}).Terms()
		s.routes = append(s.routes, publish(ledger.RouteVersion, c.Routes[i].Pattern, terms, err))
	}
	for i := range users {
		u, err := l.AddUser(start, "test", ledger.Personal{Email: fmt.Sprintf("u%d@example.com", i+1)}, "metered")
		if err != nil {
			t.Fatal(err)
		}
		secret, hash, prefix, err := admission.NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.AddKey(start, "test", u.ID, ledger.Key{Name: "test", Prefix: prefix, Hash: hash, Scope: ledger.ScopeCall}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, secret)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return s, keys
}

func (s seeded) open(t testing.TB, folder string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(filepath.Join(folder, "tollgate.db"), ledger.Options{
		Now: s.start, Zone: s.config.Billing.Timezone, Currency: s.config.Billing.Currency, MinFree: int64(s.config.Ledger.MinFree),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill writes usage records over the span, by all users on all routes.
func (s seeded) fill(t testing.TB, folder string, users, records int) {
	t.Helper()
	l := s.open(t, folder)
	random := mathrand.New(mathrand.NewPCG(1, 2))
	terms, err := pricing.ParseRoute(s.routes[0])
	if err != nil {
		t.Fatal(err)
	}
	step := growthSpan / time.Duration(records)
	batch := make([]ledger.Usage, 0, 4000)
	var pending [4]ledger.Pending
	for i := range records {
		user := 1 + random.IntN(users)
		u := ledger.Usage{
			Time: s.start.Add(time.Duration(i) * step), Counter: random.Uint32() & 0xffffff, User: ledger.UserID(user), Key: ledger.KeyID(user),
			Route: s.routes[random.IntN(len(s.routes))].ID, Plan: s.plan.ID, Method: "POST",
			Duration: time.Duration(random.IntN(100_000)) * time.Microsecond, Status: http.StatusOK,
		}
		if random.IntN(50) == 0 {
			u.Status, u.Outcome = http.StatusInternalServerError, ledger.UpstreamError
		} else {
			u.Quantities = ledger.Quantities{Documents: 1 + random.Int64N(20), Tokens: random.Int64N(2000)}
			if u.Billed, u.Cost, err = bill(terms, u.Quantities); err != nil {
				t.Fatal(err)
			}
		}
		if batch = append(batch, u); len(batch) == cap(batch) || i == records-1 {
			slot := &pending[i/cap(batch)%len(pending)]
			if err := slot.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			*slot = l.Append(u.Time.Add(20*time.Millisecond), batch, nil)
			batch = batch[:0]
		}
	}
	for _, p := range pending {
		if err := p.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func bill(terms *pricing.Route, q ledger.Quantities) (bool, ledger.Amount, error) {
	cost, err := terms.Cost(q)
	return true, cost, err
}

// measured is a child on a ledger of some size, and what it takes.
type measured struct {
	*child
	t    testing.TB
	http *http.Client
	keys []string
	next atomic.Int64

	ready      time.Duration // from its start until it serves
	atStart    int64         // RssAnon in bytes: just ready,
	idle, load int64         // left alone, and the most at 64 clients

	usage, history, records, top, calls, cpu []float64 // of each round; microseconds, or calls a second
}

// settle waits until memory does not change any more, and returns it.
func (m *measured) settle() int64 {
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	last := m.memory("RssAnon")
	for steady := 0; steady < 4; {
		<-look.C
		now := m.memory("RssAnon")
		if steady++; now > last+last/100 || now < last-last/100 {
			steady = 0
		}
		last = now
	}
	return last
}

// times is the median of n durations, in microseconds.
func (m *measured) times(n int, do func()) float64 {
	list := make([]float64, n)
	for i := range list {
		began := time.Now()
		do()
		list[i] = float64(time.Since(began).Nanoseconds()) / 1e3
	}
	return median(list)
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// get reads a page of the customer API as the next user, whose own rate limit
// is not reached so.
func (m *measured) get(path string) {
	r, err := http.NewRequest(http.MethodGet, "http://"+m.address+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", m.keys[int(m.next.Add(1))%len(m.keys)])
	answer, err := m.http.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		m.t.Fatalf("%s: %d %s %v", path, answer.StatusCode, text, err)
	}
}

// cpuTime is what the process has used of the processors, in microseconds.
func (m *measured) cpuTime() float64 { return processTime(m.t, m.process.Pid) }

// round measures everything once.
func (m *measured) round(calls int) {
	m.usage = append(m.usage, m.times(40*effort(), func() { m.get("/v1/billing/usage") }))
	m.history = append(m.history, m.times(20*effort(), func() { m.get("/v1/billing/usage/history?months=6") }))
	m.records = append(m.records, m.times(20*effort(), func() { m.get("/v1/usage/records?limit=10") }))
	m.top = append(m.top, m.times(5*effort(), func() {
		if list, err := m.client.Top(context.Background(), "", "cost", 10); err != nil || len(list) == 0 {
			m.t.Fatalf("report top: %d lines, %v", len(list), err)
		}
	}))
	began, cpu := time.Now(), m.cpuTime()
	var left, peak atomic.Int64
	left.Store(int64(calls))
	body := orderOf("x", 2, 10)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				a, err := post(m.http, "http://"+m.address+"/v1/scan", m.keys[int(m.next.Add(1))%len(m.keys)], body)
				if err != nil || a.status != http.StatusOK {
					m.t.Errorf("a call: %d %s %v", a.status, a.body, err)
					return
				}
				if n%256 == 0 {
					if now := m.memory("RssAnon"); now > peak.Load() {
						peak.Store(now)
					}
				}
			}
		})
	}
	all.Wait()
	m.calls = append(m.calls, float64(calls)/time.Since(began).Seconds())
	m.cpu = append(m.cpu, (m.cpuTime()-cpu)/float64(calls))
	m.load = max(m.load, peak.Load())
}

// TestCostDoesNotGrow compares a tollgate whose ledger has many records with one
// whose ledger has ten thousand, side by side. What depends on the machine is
// reported; what must hold everywhere is how much memory and disk it takes.
func TestCostDoesNotGrow(t *testing.T) {
	answer := []byte(`{"usage":{"total_tokens":10}}`)
	upstream := newAnswering(t, answer)
	start := time.Now().Add(-growthSpan - time.Minute)
	folders := [2]string{childFolder(t, growthConfig(upstream.URL)), childFolder(t, growthConfig(upstream.URL))}
	seed, keys := seedUsers(t, folders[0], start, growthUsers())
	file, err := os.ReadFile(filepath.Join(folders[0], "tollgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folders[1], "tollgate.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	program := built(t)
	var both [2]*measured
	var bytes [2]int64
	sizes := [2]int{growthSmall, *growthScale}
	for i, folder := range folders {
		began := time.Now()
		seed.fill(t, folder, growthUsers(), sizes[i])
		info, err := os.Stat(filepath.Join(folder, "tollgate.db"))
		if err != nil {
			t.Fatal(err)
		}
		bytes[i] = info.Size()
		t.Logf("%d records written in %v: %.1f MB", sizes[i], time.Since(began).Round(time.Millisecond), float64(info.Size())/mega)
	}
	for i := range both {
		began := time.Now()
		c := spawn(t, program, folders[i])
		both[i] = &measured{child: c, t: t, ready: time.Since(began), http: newTestClient(), keys: keys, atStart: c.memory("RssAnon")}
		t.Cleanup(both[i].http.CloseIdleConnections)
	}
	var settling sync.WaitGroup
	for _, m := range both {
		settling.Go(func() { m.idle = m.settle() })
	}
	settling.Wait()
	calls := min(*growthScale/200, 20_000)
	for _, m := range both {
		m.round(calls / 4) // connections, caches, the first of everything
		m.times(growthUsers(), func() { m.get("/v1/usage/records?limit=10") })
		m.usage, m.history, m.records, m.top, m.calls, m.cpu = nil, nil, nil, nil, nil, nil
	}
	for i := range 1 + effort()/2 {
		for j := range both {
			both[(i+j)%2].round(calls)
		}
	}
	small, large := both[0], both[1]
	figure := func(name string, a, b float64, unit string) {
		t.Logf("%-34s %10.2f %10.2f %-10s %.2f", name, a, b, unit, b/a)
	}
	t.Logf("%-34s %10d %10d %-10s", "records", sizes[0], sizes[1], "")
	figure("start until ready", small.ready.Seconds()*1e3, large.ready.Seconds()*1e3, "ms")
	figure("GET /v1/billing/usage", median(small.usage), median(large.usage), "us")
	figure("GET /v1/billing/usage/history", median(small.history), median(large.history), "us")
	figure("GET /v1/usage/records?limit=10", median(small.records), median(large.records), "us")
	figure("report top", median(small.top), median(large.top), "us")
	figure("calls at 64 connections", median(small.calls), median(large.calls), "calls/s")
	figure("processor time of a call", median(small.cpu), median(large.cpu), "us")
	figure("memory when ready", float64(small.atStart)/mega, float64(large.atStart)/mega, "MB")
	figure("memory idle", float64(small.idle)/mega, float64(large.idle)/mega, "MB")
	figure("memory at 64 clients", float64(small.load)/mega, float64(large.load)/mega, "MB")
	for _, m := range both {
		if m.idle > idleMemory {
			t.Errorf("idle it takes %d bytes of memory, at most %d are allowed", m.idle, idleMemory)
		}
		if m.load > loadMemory {
			t.Errorf("at 64 clients it takes %d bytes of memory, at most %d are allowed", m.load, loadMemory)
		}
		m.kill()
	}
	var again [2]float64 // what was not in a checkpoint is replayed
	for i, m := range both {
		began := time.Now()
		c := spawn(t, program, m.folder)
		again[i] = time.Since(began).Seconds() * 1e3
		c.stop()
	}
	figure("start after kill -9", again[0], again[1], "ms")
	// The file is made larger ahead of need, by steps that a small ledger stays in.
	each := float64(bytes[1]-bytes[0]) / float64(sizes[1]-sizes[0])
	t.Logf("each further record takes %.1f bytes of the file, hours and free pages and all", each)
	if each > 64 {
		t.Errorf("each further record takes %.1f bytes of the file", each)
	}
}

// processTime is what a process has used of the processors, in microseconds.
func processTime(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return (user + system) * 1e4 // a tick is 10 ms
}
