package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everyCommand is the command lines of all commands, in the order of the help.
func everyCommand() [][]string {
	var lines [][]string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		lines = append(lines, strings.Fields(c.CommandPath())[1:])
		for _, member := range c.Commands() {
			if name := member.Name(); name != "help" && name != "completion" {
				walk(member)
			}
		}
	}
	walk(newRoot(&app{}))
	return lines
}

func run(t *testing.T, env Env, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if env.Stdin == nil {
		env.Stdin = strings.NewReader("")
	}
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	env.Stdout, env.Stderr = &out, &errs
	env.Now = func() time.Time { return time.Date(2025, 1, 15, 12, 0, 0, 0, time.UTC) }
	code = Main(context.Background(), args, env)
	return code, out.String(), errs.String()
}

func TestHelpOfAllCommands(t *testing.T) {
	const golden = "testdata/help.golden"
	var all strings.Builder
	for _, line := range everyCommand() {
		code, stdout, stderr := run(t, Env{}, append(line, "--help")...)
		if code != ExitDone || stderr != "" {
			t.Errorf("%v --help: exit %d, stderr %q", line, code, stderr)
		}
		for row := range strings.Lines(stdout) {
			if utf8.RuneCountInString(strings.TrimSuffix(row, "\n")) > 80 {
				t.Errorf("%v --help: wider than 80 columns: %s", line, row)
			}
		}
		all.WriteString("$ tollgate " + strings.Join(append(line, "--help"), " ") + "\n" + stdout + "\n")
	}
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("help differs from %s; if it should, run: go test ./server/cli -run Help -update\n%s", golden, diff)
	}
}

func TestEveryCommandHasWords(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || c.Runnable() && !c.HasSubCommands() && c.Args == nil {
			t.Errorf("%s: Short is %q, Args checked: %v", c.CommandPath(), c.Short, c.Args != nil)
		}
		for _, member := range c.Commands() {
			check(member)
		}
	}
	check(newRoot(&app{}))
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"frobnicate", `tollgate: tollgate has no command "frobnicate"`},
		{"usr", "hint: did you mean \"tollgate user\"?"},
		{"user", "tollgate: tollgate user needs to know what to do: add, close,"},
		{"user ad", "hint: did you mean \"tollgate user add\"?"},
		{"user add", "--email is missing"},
		{"user add ann@example.com", `"ann@example.com" is one argument too many`},
		{"user add --email a@example.com --scope all", "--scope is call or manage"},
		{"user show", "USER is missing"},
		{"user plan 1", "PLAN is missing"},
		{"user limit 1 ten", `"ten" is not a decimal number`},
		{"user list --colour", "unknown flag: --colour"},
		{"user close 1", "hint: add --yes"},
		{"key create 1 --allow everywhere", `"everywhere" is not a network`},
		{"key create 1 --per-day -1", "--per-day cannot be negative"},
		{"key create 1 --per-day many", "invalid argument \"many\""},
		{"key revoke tg_live_x", "is not the id of a key"},
		{"key rotate 1 --grace never", `"never" is not a duration`},
		{"usage", "USER is missing"},
		{"usage 1 --month January", `"January" is not a month`},
		{"usage records 1 2", `"2" is not a request id`},
		{"usage records 1 --month 2025-01 --from 2025-01-01", "--month goes without"},
		{"usage records 1 --from yesterday", "--from: "},
		{"usage records 1 --format xml", "--format is csv or ndjson"},
		{"usage records 1 --limit 0", "--limit is at least 1"},
		{"top 2", `"2" is one argument too many`},
		{"top --write --plain", "--write does not go with --plain or --json"},
		{"top --plain --json", "--plain and --json do not go together"},
		{"bill", "tollgate bill needs to know what to do: payments, run, status"},
		{"bill run --month 1", `"1" is not a month`},
		{"bill run 2025-01", `"2025-01" is one argument too many`},
		{"invoice list --state lost", "--state is one of draft, issued"},
		{"invoice list --state issued,", "--state is one of draft, issued"},
		{"invoice list --month 1", `"1" is not a month`},
		{"invoice show", "ID is missing"},
		{"invoice explain", "ID is missing"},
		{"invoice refund 1", "AMOUNT is missing"},
		{"invoice refund 1 ten --reason x", `"ten" is not a decimal number`},
		{"invoice refund 1 -- -1", "AMOUNT is more than 0"},
		{"invoice refund 1 1", "--reason is missing"},
		{"invoice credit 1 1", "--reason is missing"},
		{"invoice paid 1", "--reference is missing"},
		{"invoice pai 1", "hint: did you mean \"tollgate invoice paid\"?"},
		{"stripe setup now", `"now" is one argument too many`},
		{"report top --by tokens", "--by is cost, calls or documents"},
		{"report top --limit -1", "--limit is at least 1"},
		{"export usage --json", "--json and --format do not go together"},
		{"backup", "FILE is missing"},
		{"restore", "FILE is missing"},
		{"verify a b", `"b" is one argument too many`},
		{"clock advance soon", `"soon" is not a duration`},
		{"clock set noon", `"noon" is neither a time`},
		{"--socket", "flag needs an argument: --socket"},
	} {
		t.Run(c.line, func(t *testing.T) {
			code, stdout, stderr := run(t, Env{}, strings.Fields(c.line)...)
			if code != ExitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, want %d; stdout %q; stderr %q does not have %q", code, ExitUsage, stdout, stderr, c.want)
			}
			if !strings.HasPrefix(stderr, "tollgate: ") {
				t.Errorf("stderr does not say who speaks: %q", stderr)
			}
		})
	}
}

// TestReadmeNamesRealCommands holds each command line of the README that no other
// test runs against the commands and flags that there are.
func TestReadmeNamesRealCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		line, found := strings.CutPrefix(line, "$ tollgate ")
		if !found {
			continue
		}
		n++
		line, _, _ = strings.Cut(line, "#")
		if quoted := strings.Split(line, `"`); len(quoted) == 3 { // an argument of several words
			line = quoted[0] + "words" + quoted[2]
		}
		cmd, args, err := newRoot(&app{}).Find(strings.Fields(line))
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err == nil {
			err = cmd.Args(cmd, cmd.Flags().Args())
		}
		if err != nil || cmd.HasSubCommands() && cmd.Name() != "usage" {
			t.Errorf("tollgate %s: %v", strings.TrimSpace(line), err)
		}
	}
	if n < 10 {
		t.Errorf("only %d command lines were found in the README", n)
	}
}
