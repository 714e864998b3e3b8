package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tollgate/server"
	"tollgate/server/api"
	"tollgate/server/config"
)

// demoStarted is what demo prints with --json.
type demoStarted struct {
	URL    string            `json:"url"`
	Socket string            `json:"socket"`
	Ledger string            `json:"ledger"`
	Users  []server.DemoUser `json:"users"`
}

func (a *app) demoCommand() *cobra.Command {
	var listen, dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the gateway with sample users, their usage and invoices",
		Long: `Runs the gateway in front of the built-in sample API, with three users on the
plans free, pro and enterprise, their usage of six months, and invoices that
were paid with a stand-in for Stripe: no money moves. Interrupt it to end it;
without --dir nothing stays.`,
		Example: "  tollgate demo\n  tollgate demo --listen 127.0.0.1:9000 --dir /tmp/tollgate-demo",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				made, err := os.MkdirTemp("", "tollgate-demo-")
				if err != nil {
					return fmt.Errorf("making a folder for the demo: %w", err)
				}
				defer os.RemoveAll(made)
				dir = made
			} else if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("making the folder of the demo: %w", err)
			}
			if !cmd.Flags().Changed("listen") {
				listen = freeAddress(cmd.Context(), listen)
			}
			return a.demo(cmd.Context(), dir, listen)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "serve at `ADDR`; another port when it is taken")
	f.StringVar(&dir, "dir", "", "keep the demo in `DIR` (default: one that is removed)")
	return cmd
}

// demo seeds the ledger in dir and serves until ctx ends.
func (a *app) demo(ctx context.Context, dir, listen string) error {
	c := config.Default()
	c.Server.Listen = listen
	c.Server.PublicURL = "http://" + listen
	c.Server.Socket = filepath.Join(dir, defaultSocket)
	c.Ledger.Path = filepath.Join(dir, "tollgate.db")
	c.Ledger.SnapshotDir = ""
	c.Ledger.MinFree = 64 << 20
	c.Stripe.APIBase = "builtin:sandbox"
	// What the demo reports as news is no news to who asked for it.
	log := slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	users, err := server.SeedDemo(ctx, c, a.Now(), rand.Reader, log)
	if err != nil {
		return err
	}
	o := server.Options{Load: func() (*config.Config, error) { return c, nil }, Version: thisBuild().Version, Log: log, Demo: true}
	return a.serve(ctx, o, func(ctx context.Context, client *api.Client, url string) error {
		return a.greet(ctx, client, demoStarted{URL: url, Socket: c.Server.Socket, Ledger: c.Ledger.Path, Users: users})
	})
}

// freeAddress is the address, or one with another port when that is taken.
func freeAddress(ctx context.Context, address string) string {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		if l, err = config.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return address
		}
	}
	defer l.Close()
	return l.Addr().String()
}

// greet tells what is there and what to try.
func (a *app) greet(ctx context.Context, client *api.Client, d demoStarted) error {
	t := newTable("USER>", "E-MAIL", "PLAN", "CALLS THIS MONTH>", "COST>", "CHARGE>")
	for _, u := range d.Users {
		used, err := client.Usage(ctx, u.Email, "")
		if err != nil {
			return err
		}
		t.add(userID(u.ID), u.Email, u.Plan, api.Count(used.CurrentUsage.TotalCalls), api.Exact(used.CurrentUsage.Cost.String()), api.Exact(used.Charges.TotalDollars.String()))
	}
	return a.answer(d, func(w io.Writer) {
		fmt.Fprintf(w, "The built-in sample API is on %s, with six months of usage.\n\n", d.URL)
		t.print(w)
		fmt.Fprintln(w)
		keys := newTable("E-MAIL", "API KEY")
		for _, u := range d.Users {
			keys.add(u.Email, u.APIKey)
		}
		keys.print(w)
		first := d.Users[0]
		fmt.Fprintf(w, "\nA call, and what it cost:\n\n%s\n\n%s\n", scanCall(d.URL, first.APIKey), usageCall(d.URL, first.APIKey))
		fmt.Fprintf(w, "\nAs the operator, in another terminal:\n\n")
		fmt.Fprintf(w, "  export TOLLGATE_SOCKET=%s\n", d.Socket)
		for _, command := range []string{"usage " + first.Email, "report top", "user list", "invoice list", "bill status", "verify"} {
			fmt.Fprintf(w, "  %s %s\n", a.Program, command)
		}
		fmt.Fprintln(w, "\nCtrl-C ends it.")
	})
}
