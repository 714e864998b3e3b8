package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// buildOnce builds the program beside the test's own binaries, which go away with
// the tests.
var buildOnce = sync.OnceValues(func() (string, error) {
	beside, err := exec.LookPath("tollgate")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(beside), "tollgate-as-shipped")
	build := exec.Command("go", "build", "-o", path, "tollgate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// built is the binary as it is shipped, for what the race detector would change:
// memory and speed.
func built(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var errNoSuchLine = errors.New("no such line")

// memory is a line of /proc/PID/status, in bytes: RssAnon is what the process
// has taken for itself, without the mapped pages of files.
func (c *child) memory(name string) int64 {
	c.t.Helper()
	n, err := memoryOf(c.process.Pid, name)
	if err != nil {
		c.t.Errorf("memory of the process: %v", err)
	}
	return n
}

func memoryOf(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s: %w", name, errNoSuchLine)
}
