package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimesForPeople(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{moment(time.Time{}), ""},
		{moment(time.Date(2025, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))), "2025-01-02 02:04:05"},
		{date(time.Date(2025, 1, 2, 3, 4, 5, 6, time.UTC)), "2025-01-02"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTableAlignsAndCleans(t *testing.T) {
	table := newTable("USER", "NAME", "CALLS>")
	table.add("1", "Zoë", "1,000")
	table.add("12", "a\x1b[2Jb\u202e", "7")
	var got strings.Builder
	table.print(&got)
	want := "USER  NAME     CALLS\n" +
		"1     Zoë      1,000\n" +
		"12    a?[2Jb?      7\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestProgressOnTerminalsOnly(t *testing.T) {
	now := time.Unix(0, 0)
	var screen strings.Builder
	a := &app{Env: Env{Stderr: &screen, StderrTerminal: true, Now: func() time.Time { return now }}}
	step, end := a.progress("verifying")
	step(500, 1000)
	step(600, 1000) // within a tenth of a second: not shown
	now = now.Add(time.Second)
	step(2000, 1000) // more than expected is still no more than all
	end()
	const line = "\r\x1b[K"
	if got, want := screen.String(), line+"verifying: 50% (500 of 1,000)"+line+"verifying: 100% (2,000 of 1,000)"+line; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	screen.Reset()
	a.StderrTerminal = false
	step, end = a.progress("verifying")
	step(1, 2)
	end()
	if screen.Len() != 0 {
		t.Errorf("wrote %q to what is no terminal", screen.String())
	}
}
