package ledger_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tollgate/ledger/ledgertest"
)

// roles are what this binary does when a test starts it as another process:
// something that is killed, watched or made to fail.
var roles = map[string]func(args []string) error{
	"appender":      appender,
	"busy":          busy,
	"checkpoint":    checkpointProcess,
	"opener":        opener,
	"patient":       patient,
	"unlucky":       unlucky,
	"unlucky again": unluckyAgain,
}

// long makes tests of crashes try all that they can think of, instead of some.
var long = flag.Bool("long", false, "run the long form of the crash tests")

// amount is how much a test does: all in the long form, some otherwise, and a
// few under the race detector.
func amount(all, some, few int) int {
	switch {
	case *long:
		return all
	case raced:
		return few
	}
	return some
}

const roleVariable = "LEDGER_TEST_ROLE"

func TestMain(m *testing.M) {
	ledgertest.Supervised()
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	set := func(name, value string) {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	if raced {
		set("rapid.checks", "15")
	}
	flag.Parse()
	set("rapid.nofailfile", "true") // a seed is printed
	sweep()
	os.Exit(m.Run())
}

// inRole is this binary as another process.
func inRole(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// scratch is a folder in memory where there is one: tests that make thousands
// of files need no real disk. It is removed when the test ends, or by the next
// run where this one is killed.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory, fmt.Sprintf("ledger-test-%d-", os.Getpid()))
	if err != nil { // no such folder here
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

const memory = "/dev/shm"

// sweep removes what killed runs left in memory.
func sweep() {
	left, err := filepath.Glob(filepath.Join(memory, "ledger-test-*"))
	if err != nil {
		panic(err) // a bad pattern
	}
	for _, dir := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "ledger-test-%d-", &pid); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			_ = os.RemoveAll(dir) // another user's stays
		}
	}
}
