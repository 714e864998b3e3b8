package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server"
	"tollgate/server/api"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the live ledger",
		Long: `Writes a consistent copy of the live ledger to FILE, which must not exist.
Calls go on meanwhile. The server writes the file, so its user must be allowed
to. Never copy the ledger's own file while the server runs: that copy is torn.`,
		Example: "  tollgate backup /var/backups/tollgate-2025-01-31.db",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("finding %s: %w", args[0], err)
			}
			return a.asking(func(c *api.Client) error {
				step, end := a.progress("copying")
				report, err := c.Backup(cmd.Context(), path, step)
				end()
				if err != nil {
					return err
				}
				return a.ledgerReport(cmd, report, "Backed up to "+path)
			})
		},
	}
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Prove that a ledger is sound",
		Long: `Reads the whole log, derives everything from it again and compares. Without
FILE the running server proves its live ledger; with FILE that file is read,
which no server may have open.`,
		Example: "  tollgate verify\n  tollgate verify /var/backups/tollgate-2025-01-31.db",
		Args:    between(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			step, end := a.progress("verifying")
			defer end()
			if len(args) == 0 {
				return a.asking(func(c *api.Client) error {
					report, err := c.Verify(cmd.Context(), step)
					end()
					if err != nil {
						return err
					}
					return a.ledgerReport(cmd, report, "The live ledger is sound")
				})
			}
			report, err := server.VerifyFile(cmd.Context(), args[0], unsigned(step))
			end()
			if errors.Is(err, ledger.ErrInUse) {
				return hint("leave FILE out to verify the live ledger", fmt.Errorf("a server has %s open", args[0]))
			}
			if err != nil {
				return err
			}
			return a.ledgerReport(cmd, api.NewLedgerReport(report), args[0]+" is sound")
		},
	}
}

// ledgerReport prints what was found; problems make the command fail.
func (a *app) ledgerReport(cmd *cobra.Command, r api.LedgerReport, sound string) error {
	err := a.answer(r, func(w io.Writer) {
		for _, p := range r.Problems {
			fmt.Fprintln(w, api.Clean(p))
		}
		if len(r.Problems) == 0 {
			fmt.Fprintf(w, "%s: %s entries, %s usage %s, %s %s.\nHead %s\n", api.Clean(sound),
				api.Count(int64(r.Entries)), api.Count(int64(r.Records)), plural(int(r.Records), "record"),
				api.Count(int64(r.Users)), plural(r.Users, "user"), r.Head)
		}
	})
	if err == nil && len(r.Problems) > 0 {
		err = hint("restore a backup that verify finds sound; keep this file for the questions that follow",
			fmt.Errorf("%s found %d %s", cmd.CommandPath(), len(r.Problems), plural(len(r.Problems), "problem")))
	}
	return err
}

func (a *app) restoreCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a ledger from a backup",
		Long: `Makes a ledger from a backup, in a new epoch: what was logged after the backup
is lost, and what the two have in common stays provable. An existing ledger is
never overwritten, and no server may run on it.`,
		Example: "  tollgate restore /var/backups/tollgate-2025-01-31.db --to tollgate.db",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				c, err := a.loadConfig(a.configFile)
				if err != nil {
					return hint("--to names the new ledger without reading the configuration", err)
				}
				to = c.Ledger.Path
			}
			if err := a.mayRestore(cmd.Context(), args[0], to); err != nil {
				return err
			}
			step, end := a.progress("restoring")
			report, err := ledger.Restore(cmd.Context(), args[0], to, a.Now(), unsigned(step))
			end()
			if err != nil {
				return err
			}
			return a.ledgerReport(cmd, api.NewLedgerReport(report), "Restored to "+to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "make the ledger at `PATH` (default: the configuration's)")
	return cmd
}

// mayRestore refuses to put a ledger where one is, or where a server runs whose
// ledger was moved away under it.
func (a *app) mayRestore(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	path, err := filepath.Abs(to)
	if err != nil {
		return fmt.Errorf("finding %s: %w", to, err)
	}
	if a.serverRunsOn(ctx, path) {
		return hint("stop it first", fmt.Errorf("a server runs on %s", to))
	}
	if _, err := os.Lstat(path); err == nil {
		return hint(fmt.Sprintf("move it away first: mv %s %s.old", to, to), fmt.Errorf("%s exists, and a ledger is never overwritten", to))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at %s: %w", to, err)
	}
	return nil
}

// serverRunsOn asks the server at the usual socket, and at the one beside the
// ledger, for its ledger's path. Where it runs in a folder of another name, as
// systemd arranges it, its ledger mostly lies beside its socket. No answer means
// that there is no server; one that cannot tell may have lost the file.
func (a *app) serverRunsOn(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	sockets := []string{filepath.Join(filepath.Dir(path), defaultSocket)}
	if usual, err := a.socketPath(); err == nil {
		sockets = append(sockets, usual)
	}
	for _, socket := range sockets {
		c := api.Dial(socket)
		status, err := c.Status(ctx)
		c.Close()
		if refused := (*api.Error)(nil); errors.As(err, &refused) {
			return true
		}
		if err != nil {
			continue
		}
		beside, err := filepath.Abs(filepath.Join(filepath.Dir(socket), filepath.Base(status.Ledger.Path)))
		if err == nil && beside == path {
			return true
		}
		if status.Ledger.Path == path {
			return true
		}
	}
	return false
}

// unsigned is a step for work that counts without a sign.
func unsigned(step func(done, total int64)) func(done, total uint64) {
	return func(done, total uint64) { step(int64(done), int64(total)) }
}
