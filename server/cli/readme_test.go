package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReadme does what the README says, to the letter: it writes the files that
// it shows and runs the commands, in a folder of their own, and compares what
// they print. Ports are free ones; keys, times and measured times may differ.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, found := strings.Cut(string(text), "\n## In front of your own API\n")
	if !found {
		t.Fatal("the README has no section \"In front of your own API\"")
	}
	walk, _, _ = strings.Cut(walk, "\n## ")
	r := &reader{t: t, dir: t.TempDir(), ports: strings.NewReplacer(":9000", freePort(t), ":8080", freePort(t))}
	steps := 0
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)(?: (\\S+))?\n(.*?)^```$").FindAllStringSubmatch(walk, -1) {
		language, file, content := block[1], block[2], block[3]
		switch {
		case file != "":
			r.write(file, content)
		case language == "console":
			steps += r.console(content)
		}
	}
	if steps < 10 {
		t.Errorf("only %d commands were found in the README", steps)
	}
}

// reader is someone who follows the README.
type reader struct {
	t     *testing.T
	dir   string
	ports *strings.Replacer
	key   string // the key last shown
}

func (r *reader) write(file, content string) {
	r.t.Helper()
	if filepath.Ext(file) == ".toml" { // the README leaves the address at its default
		content = "[server]\nlisten = \"127.0.0.1:8080\"\n" + content
	}
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(r.ports.Replace(content)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// console runs the commands of a block and compares their output; it returns
// how many there were.
func (r *reader) console(block string) int {
	steps := strings.Split("\n"+block, "\n$ ")
	for _, step := range steps[1:] {
		command, want, _ := strings.Cut(step, "\n")
		if strings.HasPrefix(command, "KEY=") {
			continue // r.key is what was shown
		}
		if ready, background := strings.CutSuffix(command, " &"); background {
			r.start(ready)
			continue
		}
		got := r.run(command)
		if shown := secret.FindString(got); shown != "" {
			r.key = shown
		}
		got = strings.TrimSpace(stable(r.ports.Replace(got)))
		if want := strings.TrimSpace(stable(r.ports.Replace(want))); got != want {
			r.t.Errorf("$ %s\n(-README +really):\n%s", command, cmp.Diff(want, got))
		}
	}
	return len(steps) - 1
}

func (r *reader) command(line string) *exec.Cmd {
	line = r.ports.Replace(line)
	folder := r.dir
	if strings.Contains(line, "go build") { // it is the one that runs in the project's folder
		folder, line = "../..", strings.Replace(line, "-o tollgate", "-o "+filepath.Join(r.dir, "tollgate"), 1)
	}
	cmd := exec.CommandContext(r.t.Context(), "bash", "-c", line)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "KEY="+r.key, "NOTIFY_SOCKET=")
	return cmd
}

func (r *reader) run(line string) string {
	r.t.Helper()
	out, err := r.command(line).CombinedOutput()
	if err != nil {
		r.t.Fatalf("$ %s\n%s%v", line, out, err)
	}
	return string(out)
}

// start runs a command in the background, until the test ends, and waits until
// it listens.
func (r *reader) start(line string) {
	r.t.Helper()
	address := "127.0.0.1" + r.ports.Replace(":9000")
	if strings.Contains(line, "serve") {
		address = "127.0.0.1" + r.ports.Replace(":8080")
	}
	cmd := r.command(line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run has a child
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		<-ended
	})
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		select {
		case <-look.C:
		case err := <-ended:
			ended <- err
			r.t.Fatalf("$ %s &\n%s%v", line, log.String(), err)
		case <-deadline:
			r.t.Fatalf("$ %s &\n%snothing listens on %s", line, log.String(), address)
		}
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port)
}

var secret = regexp.MustCompile(`tg_live_\w+`)

// stable replaces what differs from run to run.
func stable(s string) string {
	for _, r := range []struct{ was, is string }{
		{`tg_live_\w+`, "KEY"},
		{`req_\w+`, "REQUEST"},
		{`\b[0-9a-f]{64}\b`, "HEAD"},
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`, "TIME"},
		{`\b20\d\d-\d\d\b`, "MONTH"},
		{`,\d+(\.\d+)?,200,ok,`, ",MS,200,ok,"},
		{`(?m)/\S*/(copy\.db)`, "$1"},
		{`(?m) +$`, ""},
	} {
		s = regexp.MustCompile(r.was).ReplaceAllString(s, r.is)
	}
	return s
}

// curl is as much of curl as the README uses, for machines without it.
func curl(args []string) int {
	flags := flag.NewFlagSet("curl", flag.ExitOnError)
	var header, body string
	flags.StringVar(&header, "H", "", "header")
	flags.StringVar(&body, "d", "", "body, which makes it a POST")
	flags.Bool("s", false, "quiet, as it always is")
	var urls []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return 2
		}
		if args = flags.Args(); len(args) > 0 {
			urls, args = append(urls, args[0]), args[1:]
		}
	}
	if len(urls) != 1 {
		fmt.Fprintln(os.Stderr, "curl: one URL is needed")
		return 2
	}
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(context.Background(), method, urls[0], strings.NewReader(body))
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 2
	}
	if name, value, found := strings.Cut(header, ": "); found {
		request.Header.Set(name, value)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl does
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 1
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 1
	}
	return 0
}
