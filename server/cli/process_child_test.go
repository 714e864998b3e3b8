package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/server/api"
)

// The tests in the files process_*_test.go run tollgate as a process of its
// own, in a folder of its own, as systemd would, and meet it from outside only:
// over HTTP, over its socket, with its commands, with signals.

// patience is how long a test waits for what must come; it only bounds a
// failure.
const patience = time.Minute

// instrumented is this test's own binary, which is tollgate under that name: it
// has the race detector when the tests have it.
func instrumented(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("tollgate")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// child is a tollgate in a process of its own.
type child struct {
	t       testing.TB
	program string
	folder  string
	process *os.Process
	client  *api.Client
	address string        // of its public listener
	ended   chan struct{} // it has exited, with err
	err     error

	notify *net.UnixConn
	logged int64 // how long the log was before it started
}

// childFolder makes a folder for a child with its configuration. Its path is
// short: that of a unix socket has at most 106 bytes.
func childFolder(t testing.TB, config string) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "tollgate-child")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if text, err := os.ReadFile(filepath.Join(folder, "log")); err == nil {
				t.Logf("the process logged:\n%s", tail(string(text), 40))
			}
		}
		os.RemoveAll(folder)
	})
	if err := os.WriteFile(filepath.Join(folder, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// begin starts a child without waiting until it serves.
func begin(t testing.TB, program, folder string) *child {
	t.Helper()
	c := &child{t: t, program: program, folder: folder, ended: make(chan struct{})}
	address := filepath.Join(folder, "notify")
	os.Remove(address) // of the child before
	var err error
	if c.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c.logged = info.Size()
	command := exec.Command(program, "serve", "-c", "config.toml")
	command.Dir = folder
	command.Stderr = log
	command.Env = append(os.Environ(), "NOTIFY_SOCKET="+address, "TOLLGATE_SOCKET=", "JOURNAL_STREAM=")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c.process = command.Process
	go func() {
		c.err = command.Wait()
		c.notify.Close()
		close(c.ended)
	}()
	t.Cleanup(func() {
		c.kill()
		if text := c.log(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") || strings.Contains(text, "fatal error:") {
			t.Errorf("the process broke:\n%s", tail(text, 100))
		}
	})
	c.client = api.Dial(filepath.Join(folder, "tollgate.sock"))
	return c
}

// spawn starts a child and waits until it serves.
func spawn(t testing.TB, program, folder string) *child {
	t.Helper()
	c := begin(t, program, folder)
	if err := c.awaitReady(); err != nil {
		t.Fatal(err)
	}
	return c
}

var servingAt = regexp.MustCompile(`msg="tollgate is serving" listen=(\S+)`)

// awaitReady waits until the child has told that it serves.
func (c *child) awaitReady() error {
	if err := c.notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		n, err := c.notify.Read(buffer)
		if err != nil {
			return fmt.Errorf("tollgate does not get ready: %w\n%s", err, tail(c.log(), 20))
		}
		if slices.Contains(strings.Split(string(buffer[:n]), "\n"), "READY=1") {
			break
		}
	}
	found := servingAt.FindStringSubmatch(c.log())
	if found == nil {
		return fmt.Errorf("tollgate does not log where it listens:\n%s", c.log())
	}
	c.address = found[1]
	return nil
}

// log is what this child has logged.
func (c *child) log() string {
	text, err := os.ReadFile(filepath.Join(c.folder, "log"))
	if err != nil {
		c.t.Errorf("reading the log: %v", err)
		return ""
	}
	return string(text[c.logged:])
}

// kill ends the child as kill -9 does, and waits until it is gone.
func (c *child) kill() {
	_ = c.process.Kill() // it may have ended
	<-c.ended
	c.client.Close()
}

// stop ends the child as systemd does, and waits for its end in order.
func (c *child) stop() {
	c.t.Helper()
	if err := c.end(); err != nil {
		c.t.Fatal(err)
	}
}

// end is stop for a goroutine that is not the test's own.
func (c *child) end() error {
	c.client.Close()
	if err := c.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM: %w", err)
	}
	select {
	case <-c.ended:
		if c.err != nil {
			return fmt.Errorf("after SIGTERM: %w\n%s", c.err, tail(c.log(), 20))
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("still running %v after SIGTERM\n%s", patience, tail(c.log(), 20))
	}
}

// run runs a command of tollgate in the child's folder and returns what it
// prints; the command must succeed.
func (c *child) run(args ...string) []byte {
	c.t.Helper()
	command := exec.Command(c.program, args...)
	command.Dir = c.folder
	command.Env = append(os.Environ(), "TOLLGATE_SOCKET=tollgate.sock")
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		c.t.Fatalf("tollgate %s: %v\n%s%s", strings.Join(args, " "), err, out, problems.String())
	}
	return out
}

func (c *child) addUser(email, plan string) api.AddedUser {
	c.t.Helper()
	u, err := c.client.AddUser(context.Background(), api.AddUser{Email: email, Plan: plan})
	if err != nil {
		c.t.Fatalf("adding the user %s: %v", email, err)
	}
	return u
}

// usage is the current usage of a user as the operator sees it.
func (c *child) usage(user string) api.MonthUsage {
	c.t.Helper()
	u, err := c.client.Usage(context.Background(), user, "")
	if err != nil {
		c.t.Fatalf("usage of %s: %v", user, err)
	}
	return u
}

// export is the records of all months from one instant's to another's, as
// `tollgate export usage` prints them.
func (c *child) export(from, to time.Time) []api.Record {
	c.t.Helper()
	var list []api.Record
	from, to = from.UTC(), to.UTC()
	for month := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC); !month.After(to); month = month.AddDate(0, 1, 0) {
		out := c.run("export", "usage", "--month", month.Format("2006-01"), "--format", "ndjson")
		for lines := json.NewDecoder(bytes.NewReader(out)); ; {
			var r api.Record
			err := lines.Decode(&r)
			if err == io.EOF {
				break
			}
			if err != nil {
				c.t.Fatalf("reading the export: %v", err)
			}
			list = append(list, r)
		}
	}
	return list
}

// verify proves the ledger of the running child.
func (c *child) verify() {
	c.t.Helper()
	report, err := c.client.Verify(context.Background(), nil)
	if err != nil {
		c.t.Fatalf("verify: %v", err)
	}
	for _, p := range report.Problems {
		c.t.Errorf("verify: %s", p)
	}
}

// verifyFile proves the ledger of a child that has ended.
func (c *child) verifyFile() {
	c.t.Helper()
	<-c.ended
	c.run("verify", "tollgate.db")
}

// reply is an answer that has come whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// code is the code of a problem document, or "".
func (a reply) code() string {
	var p api.Problem
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil {
		return ""
	}
	return p.Code
}

func newTestClient() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true}}
}

// post makes a call with a key and reads the answer to its end. An error means
// that it did not come whole.
func post(client *http.Client, url, key string, body []byte) (reply, error) {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, got}, err
}

// TestStatusNamesTheLedger: a path from the configuration means something in the
// server's folder only, so that the operator elsewhere is told the whole.
func TestStatusNamesTheLedger(t *testing.T) {
	c := spawn(t, instrumented(t), childFolder(t, "[server]\nlisten = \"127.0.0.1:0\"\n[ledger]\nmin_free = \"1MiB\"\nsnapshot_dir = \"\"\n"))
	status, err := c.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := status.Ledger.Path, filepath.Join(c.folder, "tollgate.db"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.stop()
}
