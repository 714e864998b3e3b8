package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNumbersForPeople(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(1234567), "1,234,567"},
		{count(-1234), "-1,234"},
		{count(-1 << 63), "-9,223,372,036,854,775,808"},
		{money("234.500000000"), "234.50"},
		{money("1234567.000000001"), "1,234,567.000000001"},
		{money("-1234.120000000"), "-1,234.12"},
		{money("0.000000000"), "0.00"},
		{money("0.005000000"), "0.005"},
		{money("1000"), "1,000"},
		{size(0), "0 B"},
		{size(1023), "1023 B"},
		{size(1024), "1.0 KiB"},
		{size(1024*1024 - 1), "1.0 MiB"},
		{size(27 << 20), "27.0 MiB"},
		{size(5 << 40), "5.0 TiB"},
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
