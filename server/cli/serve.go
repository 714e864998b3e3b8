package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tollgate/server"
	"tollgate/server/api"
	"tollgate/server/config"
)

// firstEmail is the address of the user that serve makes on a new ledger
// without a configuration.
const firstEmail = "first@example.com"

func (a *app) serveCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until interrupted; running calls finish first. SIGHUP reads
the configuration again without dropping a call.

Without a configuration it serves the built-in sample API on 127.0.0.1:8080
with the ledger tollgate.db in this folder, and on a new ledger makes a first
user, whose key is printed once.`,
		Example: "  tollgate serve\n  tollgate serve -c config.toml",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := server.Options{
				Load:   func() (*config.Config, error) { return a.serveConfig(listen) },
				Socket: cmp.Or(a.socket, a.Getenv("TOLLGATE_SOCKET")),
				Log:    a.logger(), Version: thisBuild().Version,
			}
			return a.serve(cmd.Context(), o, func(ctx context.Context, client *api.Client, url string) error {
				if a.configFile != "" {
					return nil
				}
				return a.firstUser(ctx, client, url)
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve at `ADDR` instead of the configuration's")
	return cmd
}

// serveConfig is the configuration, with another address when one was given.
func (a *app) serveConfig(listen string) (*config.Config, error) {
	c, err := a.loadConfig(a.configFile)
	if err != nil || listen == "" {
		return c, err
	}
	c.Server.Listen = listen
	if c.File == "" {
		c.Server.PublicURL = "http://" + listen
	}
	return c, nil
}

// collectHeadroom is memory that is never touched and so takes none: the
// garbage collector, which would run every few megabytes on a heap as small as
// this, runs when that much more has been allocated, which it may take for as long
// as there are calls (see Idle). Side by side, at 64 connections: 0.85 of a pooled
// reverse proxy with 96 MiB, 0.81 with 32.
const collectHeadroom = 96 << 20

// serve runs the appliance until ctx ends. started is called once it answers;
// its error ends the appliance.
func (a *app) serve(ctx context.Context, o server.Options, started func(ctx context.Context, client *api.Client, url string) error) error {
	o.Idle = debug.FreeOSMemory // what the last calls needed
	s, err := server.New(ctx, o)
	if errors.Is(err, syscall.EADDRINUSE) {
		return hint("--listen takes another address, such as 127.0.0.1:9000", err)
	}
	if err != nil {
		return err
	}
	// A thread that waits for the disk keeps its place among those that run Go code
	// for a while; with few processors the calls would wait with it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1))
	headroom := make([]byte, collectHeadroom)
	defer runtime.KeepAlive(headroom)
	debug.FreeOSMemory() // what opening the ledger needed is not needed any more
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	go reloadOnHangup(running, s)
	client := api.Dial(s.Socket())
	defer client.Close()
	failed := started(running, client, "http://"+s.Addr().String())
	if failed != nil {
		stop()
	}
	if err := <-ended; err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil // asked to end, and ended in order
	}
	return failed
}

// reloadOnHangup reads the configuration again at each SIGHUP until ctx ends. A
// broken one changes nothing.
func reloadOnHangup(ctx context.Context, s *server.Server) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			_ = s.Reload(ctx) // it logs what is wrong
		}
	}
}

// firstUser makes a user on a ledger that has none, and tells how to call.
func (a *app) firstUser(ctx context.Context, client *api.Client, url string) error {
	status, err := client.Status(ctx)
	if err != nil || status.Ledger.Users > 0 {
		return err
	}
	added, err := client.AddUser(ctx, api.AddUser{Email: firstEmail})
	if err != nil {
		return fmt.Errorf("making the first user: %w", err)
	}
	return a.answer(added, func(w io.Writer) {
		fmt.Fprintf(w, "Serving the built-in sample API on %s; the ledger is %s.\n\n", url, filepath.Base(status.Ledger.Path)) // it is in this folder
		facts(w, "first user", added.Email+", plan "+added.Plan, "API key", added.APIKey)
		fmt.Fprintf(w, "\nThe key is shown only now. A call, and what it cost:\n\n%s\n\n%s\n", scanCall(url, added.APIKey), usageCall(url, added.APIKey))
		fmt.Fprintf(w, "\nAs the operator, in another terminal in this folder:\n\n  %s usage %s\n\n", a.Program, added.Email)
	})
}

// scanCall is a call of the sample API to paste into a shell.
func scanCall(url, key string) string {
	return indent("curl " + url + "/v1/scan \\\n" + keyHeader(key) + " \\\n" +
		"  -H 'Content-Type: application/json' \\\n" +
		`  -d '{"docs":[{"id":"a","content":"hello world"}]}'`)
}

func usageCall(url, key string) string {
	return indent("curl " + url + "/v1/billing/usage \\\n" + keyHeader(key))
}

func keyHeader(key string) string { return "  -H 'Authorization: Bearer " + key + "'" }

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// logger writes to standard error; where systemd collects it, without the time,
// which the journal has.
func (a *app) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if a.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		}
	}
	return slog.New(slog.NewTextHandler(a.Stderr, o))
}
