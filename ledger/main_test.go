package ledger_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
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
	flag.Parse()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // a seed is printed
		panic(err)
	}
	os.Exit(m.Run())
}

// inRole is this binary as another process.
func inRole(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// scratch is a folder in memory where there is one: tests that make thousands
// of files need no real disk. It is removed when the test ends.
func scratch(t testing.TB) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		dir, err := os.MkdirTemp("/dev/shm", "ledger-test-")
		if err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the system clears it too
			return dir
		}
	}
	return t.TempDir()
}
