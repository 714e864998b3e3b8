package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The exit codes of the process.
const (
	ExitDone   = 0 // done
	ExitFailed = 1 // tried and failed
	ExitUsage  = 2 // written wrongly; nothing was tried
)

// Env is what a command may use of the process it runs in.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time
	// Program is how this program is called from a shell, for what it prints to
	// paste; "" is tollgate.
	Program string

	StdinTerminal  bool // a person can be asked
	StdoutTerminal bool // the answer is read by a person as it comes
	StderrTerminal bool // progress may be shown
}

// Run runs the process's own command line and returns its exit code. The first
// interrupt or SIGTERM asks the command to end, the second ends the process.
func Run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	isTerminal := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return Main(ctx, os.Args[1:], Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now, Program: program(),
		StdinTerminal: isTerminal(os.Stdin), StdoutTerminal: isTerminal(os.Stdout), StderrTerminal: isTerminal(os.Stderr),
	})
}

// program is how the running program is called again: by "go run ." when go run
// made it, by its name when a shell finds it under that, else by its path.
func program() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	if strings.Contains(path, string(filepath.Separator)+"go-build") {
		return "go run ."
	}
	if found, err := exec.LookPath("tollgate"); err == nil {
		if a, err := os.Stat(found); err == nil {
			if b, err := os.Stat(path); err == nil && os.SameFile(a, b) {
				return "tollgate"
			}
		}
	}
	return path
}

// Main runs one command line, args without the program's name, until it is
// done or ctx ends, and returns the exit code.
func Main(ctx context.Context, args []string, env Env) int {
	env.Program = cmp.Or(env.Program, "tollgate")
	root := newRoot(&app{Env: env})
	root.SetArgs(args)
	return report(env.Stderr, root.ExecuteContext(ctx))
}

// app is one run of the program: its environment and the flags that every
// command has.
type app struct {
	Env
	json       bool
	socket     string
	configFile string
}

// newRoot builds the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tollgate",
		Short: "Meter, limit and bill an HTTP API",
		Long: `tollgate stands in front of an HTTP API: each call is identified by its key,
admitted or refused, forwarded, measured, priced and written to a ledger.

Start with "tollgate demo". USER is an id or an e-mail address.`,
		Example: `  tollgate demo
  tollgate serve -c config.toml
  tollgate user add --email ann@example.com --plan pro
  tollgate usage ann@example.com`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          oneOfThese,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s", plainFlagError(err))
	})
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print one JSON value instead of a table")
	flags.StringVar(&a.socket, "socket", "", "unix socket at `PATH` of the running server")
	flags.StringVarP(&a.configFile, "config", "c", "", "configuration `FILE`")
	root.AddCommand(
		a.serveCommand(), a.demoCommand(), a.topCommand(),
		a.userCommand(), a.keyCommand(), a.usageCommand(), a.creditsCommand(), a.billCommand(), a.invoiceCommand(), a.reportCommand(), a.exportCommand(),
		a.backupCommand(), a.restoreCommand(), a.verifyCommand(), a.clockCommand(),
		a.stripeCommand(), a.configCommand(), a.versionCommand(),
	)
	root.SetUsageTemplate(usageTemplate)
	return root
}

// group is a command that only holds others.
func group(use, short string, members ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short,
		Args: oneOfThese,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "%s needs to know what to do: %s", cmd.CommandPath(), names(cmd))
		},
	}
	g.AddCommand(members...)
	return g
}

// oneOfThese refuses a word that is none of a group's commands.
func oneOfThese(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return hint(fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+near[0]), usage(cmd, "%s has no command %q", cmd.CommandPath(), args[0]))
	}
	return usage(cmd, "%s has no command %q", cmd.CommandPath(), args[0])
}

func names(cmd *cobra.Command) string {
	var list []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c.Name())
		}
	}
	return strings.Join(list, ", ")
}

// exactly wants these arguments, and names the missing one.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between wants at least the first of these arguments and no more than all.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usage(cmd, "%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usage(cmd, "%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// plainFlagError gives pflag's messages the form of the others.
func plainFlagError(err error) string {
	text := err.Error()
	text = strings.TrimSuffix(text, ": ")
	if errors.Is(err, io.EOF) {
		return "incomplete flag"
	}
	return text
}

const usageTemplate = `Usage:
  {{if and .HasAvailableSubCommands (eq .Use .Name)}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}
`
