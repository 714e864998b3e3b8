package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCommandsAskTheTerminalNothing: a terminal that gives no answer must not
// hold up a command, and what is printed is the command's own.
func TestCommandsAskTheTerminalNothing(t *testing.T) {
	primary, replica := openPTY(t)
	command := exec.Command(instrumented(t), "version")
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CI=") && !strings.HasPrefix(e, "TERM=") {
			command.Env = append(command.Env, e)
		}
	}
	command.Env = append(command.Env, "TERM=xterm-256color")
	command.Stdin, command.Stdout, command.Stderr = replica, replica, replica
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	replica.Close()
	var out bytes.Buffer
	_, _ = io.Copy(&out, primary) // a terminal ends with an error when nobody has it open
	if err := command.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "tollgate ") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("printed %q", out.String())
	}
}

func openPTY(t *testing.T) (primary, replica *os.File) {
	t.Helper()
	primary, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { primary.Close() })
	if err := unix.IoctlSetPointerInt(int(primary.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(primary.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	replica, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return primary, replica
}
