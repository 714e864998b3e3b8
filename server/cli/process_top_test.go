//go:build programs

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const topConfig = `[server]
listen = "%s"
socket = "tollgate.sock"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "api"
url = "builtin:sample"
[[route]]
pattern = "POST /v1/scan"
upstream = "api"
documents = { request = "/docs", count = true }
tokens = { response = "/usage/total_tokens", missing = "zero" }
price = { documents = "0.01" }
[[route]]
pattern = "POST /v1/analyze"
upstream = "api"
documents = { request = "/texts", count = true }
tokens = { response = "/usage/total_tokens", missing = "zero" }
price = { documents = "0.01" }
[[plan]]
id = "metered"
name = "Metered"
fee = "0"
on_exceed = "bill"
billing = "monthly"
quota = { calls = 1000000 }
overage = { calls = "0.01" }
rate_limits = { per_minute = 0, per_day = 0 }
`

// terminal is a tmux server of its own with tollgate top in it.
type terminal struct {
	t      *testing.T
	socket string
}

// openTerminal runs a command line in a terminal w by h. It has a server of its
// own, with no configuration.
func openTerminal(t *testing.T, folder string, w, h int, line string) *terminal {
	t.Helper()
	m := &terminal{t, filepath.Join(folder, "tmux.sock")}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", m.socket, "kill-server").Run() }) // it ends with its last command
	command := exec.Command("tmux", "-S", m.socket, "-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(w), "-y", strconv.Itoa(h), line)
	command.Dir = folder
	command.Env = append(os.Environ(), "TOLLGATE_SOCKET=tollgate.sock", "TMUX=", "LC_ALL=C.UTF-8")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("starting tmux: %v\n%s", err, out)
	}
	return m
}

func (m *terminal) tmux(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m *terminal) screen() string { m.t.Helper(); return m.tmux("capture-pane", "-p") }

// keys presses keys by tmux's names.
func (m *terminal) keys(keys ...string) {
	m.t.Helper()
	m.tmux(append([]string{"send-keys"}, keys...)...)
}

// types types a text as it is.
func (m *terminal) types(text string) { m.t.Helper(); m.tmux("send-keys", "-l", text) }

// until waits for a screen that has all of these expressions.
func (m *terminal) until(want ...string) string {
	m.t.Helper()
	return m.untilIs(strings.Join(want, " and "), func(text string) bool {
		for _, w := range want {
			if !regexp.MustCompile("(?m)" + w).MatchString(text) {
				return false
			}
		}
		return true
	})
}

func (m *terminal) untilIs(what string, fine func(text string) bool) string {
	m.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience); ; {
		text := m.screen()
		if fine(text) {
			return text
		}
		select {
		case <-look.C:
		case <-limit:
			m.t.Fatalf("the screen does not come to have %s:\n%s", what, text)
		}
	}
}

// number is what the expression's group has caught on the screen.
func number(t *testing.T, text, expression string) int {
	t.Helper()
	found := regexp.MustCompile(expression).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s on the screen:\n%s", expression, text)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(found[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// load makes calls with the keys, some twenty a second, until its stop is
// called. A server that is away is called again.
func load(url string, keys ...string) (stop func()) {
	client := newTestClient()
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		defer client.CloseIdleConnections()
		pause := time.NewTicker(50 * time.Millisecond)
		defer pause.Stop()
		for i := 0; ; i++ {
			path, body := "/v1/scan", `{"docs":[{"id":"a","content":"one two three"}]}`
			if i%3 == 0 {
				path, body = "/v1/analyze", `{"texts":["one two three"]}`
			}
			_, _ = post(client, url+path, keys[i%len(keys)], []byte(body)) // it may be away
			select {
			case <-end:
				return
			case <-pause.C:
			}
		}
	})
	return func() { close(end); done.Wait() }
}

// TestTopOnATerminal walks the pages as a person would, with a server under load
// that is killed and started again under it.
func TestTopOnATerminal(t *testing.T) {
	program := instrumented(t)
	folder := childFolder(t, fmt.Sprintf(topConfig, "127.0.0.1"+freePort(t)))
	c := spawn(t, program, folder)
	ann, bob := c.addUser("ann@example.com", "metered"), c.addUser("bob@example.com", "metered")
	stop := load("http://"+c.address, ann.APIKey, bob.APIKey)
	defer func() { stop() }()

	m := openTerminal(t, folder, 80, 30, fmt.Sprintf("%s top --write; echo left with $?; cat", program))
	first := m.until(`^\[1 Overview\]`, `as of \d\d:\d\d:\d\d UTC  live  may write`, `^[1-9]\d* calls/s`, `latency p50 [\d.]+ ms`, `(?i)ledger  [\d,]+ entries`)
	entries := number(t, first, `([\d,]+) entries`)
	m.untilIs("more entries", func(text string) bool { return number(t, text, `([\d,]+) entries`) > entries+20 })

	m.keys("2")
	m.until(`\[2 Users\]`, `1-2 of 2`, `ann@example.com .* / 1,000,000 \(0\.0%\)`, `bob@example.com`)
	m.keys("/")
	m.types("bob")
	m.keys("Enter")
	m.until(`1-1 of 1  filter "bob" \(of 2\)`, `^> bob@example.com`)
	before := number(t, m.screen(), `bob@example.com .* ([\d,]+) / 1,000,000`)
	m.untilIs("more calls of bob", func(text string) bool { return number(t, text, `bob@example.com .* ([\d,]+) / 1,000,000`) > before+5 })

	m.keys("Enter")
	m.until(`\[3 User\]`, `bob@example.com`, `calls +░+ [\d,]+ / 1,000,000`, `^POST /v1/scan +\d+`, `^> tg_live_`)
	m.keys("t")
	m.until(`\[4 Records\]`, `filter "user:2"`, `^> \d\d:\d\d:\d\d +2  200`)
	m.keys("/", "C-u")
	m.types("route:/v1/analyze status:200")
	m.keys("Enter")
	m.untilIs("calls of one route only", func(text string) bool {
		return strings.Contains(text, `filter "route:/v1/analyze status:200"`) && strings.Contains(text, "POST /v1/analyze") && !strings.Contains(text, "POST /v1/scan")
	})
	m.keys("p")
	m.until(`PAUSED, \d+ records? waits?`)
	m.until(`PAUSED, \d\d+ records wait`)
	m.keys("p", "Enter")
	m.until(`^RECORD req_`, `^route +POST /v1/analyze`)
	m.keys("q", "5")
	m.until(`\[5 Billing\]`, `next run \d{4}-\d\d-01`, `NOT COLLECTED  nothing`, `revenue [\d,.]+ so far`)

	for _, size := range [][2]int{{60, 20}, {120, 40}, {20, 5}, {80, 30}} {
		m.tmux("resize-window", "-x", strconv.Itoa(size[0]), "-y", strconv.Itoa(size[1]))
		m.untilIs(fmt.Sprintf("a last line at %v", size), func(text string) bool {
			lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
			return len(lines) == size[1] && strings.HasPrefix(lines[len(lines)-1], "q leave") && !strings.Contains(text, "calls/s")
		})
	}

	m.keys("2", "Escape") // without the filter
	m.until(`1-2 of 2`, `UTC  live`)
	m.keys("1")
	m.until(`calls/s`, `UTC  live`)
	c.kill()
	m.until(`RECONNECTING: no tollgate is listening`, `calls/s`)
	c = spawn(t, program, folder)
	m.until(`UTC  live`)
	after := m.until(`^[1-9]\d* calls/s`)
	if now := number(t, after, `([\d,]+) entries`); now <= entries {
		t.Errorf("%d entries after the start, %d before", now, entries)
	}

	m.keys("2")
	m.until(`^> (ann|bob)@example.com`)
	m.keys("/")
	m.types("ann")
	m.keys("Enter")
	m.until(`^> ann@example.com`, `1-1 of 1`)
	m.keys("S")
	m.until(`SUSPEND ann@example.com`)
	m.keys("Enter")
	m.types("ann@example.co")
	m.keys("Enter")
	m.types("m")
	m.until(`> ann@example.com`, `SUSPEND ann@example.com`)
	if u, err := c.client.User(t.Context(), "ann@example.com"); err != nil || u.Status != "active" {
		t.Fatalf("before all was typed: %v, %v", u.Status, err)
	}
	m.keys("Enter")
	m.until(`ann@example.com is suspended`)
	m.until(`^> ! ann@example.com .*suspended`)
	m.keys("1")
	m.until(`account_suspended +[1-9]`)

	m.keys("q")
	m.until(`left with 0`)
	stop()
	stop = func() {}
	c.verify()
	c.stop()
}

// TestTopWithoutServer says how to start one, and leaves the terminal alone.
func TestTopWithoutServer(t *testing.T) {
	folder := childFolder(t, "")
	m := openTerminal(t, folder, 80, 24, fmt.Sprintf("%s top; echo left with $?; cat", instrumented(t)))
	m.until(`^tollgate: no tollgate is listening at tollgate.sock; start one with: tollgate`, `left with 1`)
}
