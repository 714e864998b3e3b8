//go:build programs

package cli_test

import (
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var topUsers = flag.Int("top-users", 1000, "users in the ledger of TestTopAtScale; 100000 for the figures in the README")

const (
	topCalls = 2000            // a second
	topSpan  = time.Minute     // of the long form
	topShort = 3 * time.Second // of the short one
)

// TestTopAtScale measures what top costs on a ledger with many users, under a
// steady load. What depends on the machine is reported; what must hold everywhere
// is how much memory it takes, and that it answers at all.
func TestTopAtScale(t *testing.T) {
	span := topShort
	if *topUsers >= 100_000 {
		span = topSpan
	}
	upstream := newAnswering(t, []byte(`{"usage":{"total_tokens":10}}`))
	folder := childFolder(t, strings.Replace(growthConfig(upstream.URL), "[ledger]", "socket = \"tollgate.sock\"\n[ledger]", 1))
	seed, keys := seedUsers(t, folder, time.Now().Add(-growthSpan-time.Minute), *topUsers)
	seed.fill(t, folder, *topUsers, 10**topUsers)
	m := &measured{child: spawn(t, built(t), folder), t: t, http: newTestClient(), keys: keys}
	t.Cleanup(m.http.CloseIdleConnections)
	stop, calls := m.pace(topCalls)
	defer func() { stop() }()

	alone := m.spend(span, calls)
	began := time.Now()
	screen := openTerminal(t, folder, 120, 40, built(t)+" top; cat")
	screen.until(`\[1 Overview\]`, `UTC  live`, `[\d,]+ calls/s`)
	opened := time.Since(began)

	pid := screen.program()
	memory := []int64{}
	look := func() {
		n, err := memoryOf(pid, "RssAnon")
		if err != nil {
			t.Fatal(err)
		}
		memory = append(memory, n)
	}
	cost := processTime(t, pid)
	watched := m.spend(span, calls)
	cost = (processTime(t, pid) - cost) / float64(span.Microseconds())
	look()

	press := func(key, want string) (first time.Duration) {
		began, is := time.Now(), regexp.MustCompile(want)
		screen.keys(key)
		for !is.MatchString(screen.screen()) {
			if time.Since(began) > patience {
				screen.until(want) // it says what is missing
			}
		}
		return time.Since(began)
	}
	pages := map[string]string{"2": `\[2 Users\]`, "4": `\[4 Records\]`, "5": `\[5 Billing\]`, "1": `\[1 Overview\]`}
	var slowest time.Duration
	for range 5 {
		for _, key := range []string{"2", "4", "5", "1"} {
			slowest = max(slowest, press(key, pages[key]))
		}
	}
	users := press("2", fmt.Sprintf(`1-\d+ of %s`, group(*topUsers)))
	filtered := time.Now()
	screen.keys("/")
	screen.types("u777@")
	screen.keys("Enter")
	screen.until(`u777@example\.com`)
	filter := time.Since(filtered)
	onUsers := processTime(t, pid)
	listed := m.spend(span, calls)
	onUsers = (processTime(t, pid) - onUsers) / float64(span.Microseconds())
	look()

	t.Logf("%d users, %d calls a second for %v each", *topUsers, topCalls, span)
	t.Logf("opens in %v; the slowest of 20 changes of page %v; users are there after %v, filtered after %v", ms(opened), ms(slowest), ms(users), ms(filter))
	t.Logf("top takes %.2f %% of a processor on the overview, %.2f %% on the users", 100*cost, 100*onUsers)
	t.Logf("the server takes %.1f us a call without it, %.1f with the overview, %.1f with the users", alone, watched, listed)
	t.Logf("memory of top: %.1f and %.1f MB", float64(memory[0])/mega, float64(memory[1])/mega)
	for _, n := range memory {
		if n > 60*mega {
			t.Errorf("top takes %d bytes of memory", n)
		}
	}
	stop()
	stop = func() {}
	m.stop()
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// group writes a number as the screens do.
func group(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// program is the process that runs in the terminal: the shell's child, or itself.
func (m *terminal) program() int {
	m.t.Helper()
	shell := strings.TrimSpace(m.tmux("list-panes", "-F", "#{pane_pid}"))
	out, err := exec.Command("pgrep", "-P", shell).Output()
	text := strings.TrimSpace(string(out))
	if err != nil || text == "" {
		text = shell
	}
	pid, err := strconv.Atoi(strings.Fields(text)[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return pid
}

// pace makes calls at a steady rate from 16 clients until stopped, and counts
// those that were answered.
func (m *measured) pace(perSecond int) (stop func(), calls *atomic.Int64) {
	const clients = 16
	calls = new(atomic.Int64)
	end := make(chan struct{})
	body := orderOf("x", 2, 10)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			tick := time.NewTicker(time.Second * clients / time.Duration(perSecond))
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				a, err := post(m.http, "http://"+m.address+"/v1/scan", m.keys[int(m.next.Add(1))%len(m.keys)], body)
				if err != nil || a.status != http.StatusOK {
					m.t.Errorf("a call: %d %s %v", a.status, a.body, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() { close(end); all.Wait() }, calls
}

// spend is the processor time of the server a call over a span, in microseconds.
func (m *measured) spend(span time.Duration, calls *atomic.Int64) float64 {
	before, cpu := calls.Load(), m.cpuTime()
	<-time.After(span)
	return (m.cpuTime() - cpu) / float64(max(1, calls.Load()-before))
}
