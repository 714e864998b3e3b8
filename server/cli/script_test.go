package cli_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tollgate/server/cli"
)

// atOnce keeps processes with the race detector from sleeping a second at their
// end, which is most of the time that a command takes.
const atOnce = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", atOnce)
	testscript.Main(m, map[string]func(){
		"tollgate": func() { os.Exit(cli.Run()) },
		"call":     func() { os.Exit(call(os.Args[1:])) },
		"curl":     func() { os.Exit(curl(os.Args[1:])) },
	})
}

// TestScripts runs the commands as a person would, against real servers. Each
// script has in $LISTEN an address of its own, which also replaces the word
// LISTEN in its configurations. "tollgate serve &" is followed by "ready".
// UPDATE_SCRIPTS=1 writes the expected output anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: false,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":  ready,
			"field":  field,
			"lines":  lines,
			"signal": signal,
			"until":  until,
		},
	})
}

type notifySocket struct{}

func setup(e *testscript.Env) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	e.Setenv("LISTEN", address)
	e.Setenv("GORACE", atOnce)
	configs, err := filepath.Glob(filepath.Join(e.WorkDir, "*.toml"))
	if err != nil {
		return err
	}
	for _, file := range configs {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "LISTEN", address)), 0o600); err != nil {
			return err
		}
	}
	// The server tells systemd's notification socket when it serves.
	path := filepath.Join(e.WorkDir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	e.Defer(func() { socket.Close() })
	e.Setenv("NOTIFY_SOCKET", path)
	e.Values[notifySocket{}] = socket
	return nil
}

// ready waits until a server that was started in the background serves.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	socket := ts.Value(notifySocket{}).(*net.UnixConn)
	ts.Check(socket.SetReadDeadline(time.Now().Add(time.Minute)))
	buffer := make([]byte, 4096)
	for {
		n, err := socket.Read(buffer)
		ts.Check(err)
		for line := range strings.Lines(string(buffer[:n])) {
			if strings.TrimSpace(line) == "READY=1" {
				return
			}
		}
	}
}

// field NAME VARIABLE puts a string of the JSON on the last standard output
// into an environment variable.
func field(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field NAME VARIABLE")
	}
	found := regexp.MustCompile(regexp.QuoteMeta(strconv.Quote(args[0])) + `: ?"?([^"\n]*)`).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("the output has no field %s", args[0])
	}
	ts.Setenv(args[1], strings.TrimRight(found[1], ",}"))
}

// signal NAME sends HUP or TERM to the newest background command.
func signal(ts *testscript.TestScript, _ bool, args []string) {
	number := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	background := ts.BackgroundCmds()
	if len(args) != 1 || number[args[0]] == nil || len(background) == 0 {
		ts.Fatalf("usage: signal HUP|TERM, with a command in the background")
	}
	ts.Check(background[len(background)-1].Process.Signal(number[args[0]]))
}

// until REGEXP FILE waits until a background command has written that.
func until(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: until REGEXP FILE")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(time.Minute); ; {
		if text, err := os.ReadFile(ts.MkAbs(args[1])); err == nil && want.Match(text) {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			ts.Fatalf("%s does not have %s", args[1], args[0])
		}
	}
}

// lines FILE N checks the number of lines.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	if got := strings.Count(ts.ReadFile(args[0]), "\n"); (strconv.Itoa(got) == args[1]) == neg {
		ts.Fatalf("%s has %d lines", args[0], got)
	}
}

// call METHOD URL KEY [BODY] makes a request and prints status and body; it
// fails when the status is not 2xx.
func call(args []string) int {
	if len(args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: call METHOD URL KEY [BODY]")
		return 2
	}
	r, err := http.NewRequestWithContext(context.Background(), args[0], args[1], strings.NewReader(strings.Join(args[3:], " ")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	r.Header.Set("Authorization", "Bearer "+args[2])
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer answer.Body.Close()
	fmt.Printf("\"status\": %d\n\"request\": %q\n", answer.StatusCode, answer.Header.Get("Tollgate-Request"))
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println()
	if answer.StatusCode >= 300 {
		return 1
	}
	return 0
}
