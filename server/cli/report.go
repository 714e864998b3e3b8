package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) reportCommand() *cobra.Command {
	return group("report", "Reports over all users", a.reportTop())
}

func (a *app) reportTop() *cobra.Command {
	var (
		month, by string
		limit     int
	)
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The users who used most in a month",
		Example: `  tollgate report top
  tollgate report top --month 2025-01 --by calls --limit 20`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkMonth(cmd, month); err != nil {
				return err
			}
			if by != "cost" && by != "calls" && by != "documents" {
				return usage(cmd, "--by is cost, calls or documents, not %q", by)
			}
			if limit < 1 {
				return usage(cmd, "--limit is at least 1")
			}
			return a.asking(func(c *api.Client) error {
				top, err := c.Top(cmd.Context(), month, by, limit)
				if err != nil {
					return err
				}
				if a.json {
					return a.answer(top, nil)
				}
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				digits, err := ledger.MinorDigits(status.Ledger.Currency)
				if err != nil {
					return err
				}
				return a.answer(top, func(w io.Writer) {
					if len(top) == 0 {
						fmt.Fprintf(w, "No user has calls %s.\n", inMonth(month))
						return
					}
					t := newTable("USER>", "E-MAIL", "CALLS>", "DOCUMENTS>", "COST>")
					for _, u := range top {
						t.add(userID(u.User), dash(u.Email), api.Count(u.TotalCalls), api.Count(u.TotalDocuments), api.Minor(u.TotalCostCents, digits))
					}
					t.print(w)
				})
			})
		},
	}
	f := cmd.Flags()
	monthVar(cmd, &month)
	f.StringVar(&by, "by", "cost", "ordered by `WHAT`: cost, calls or documents")
	f.IntVar(&limit, "limit", 10, "at most `N` users")
	return cmd
}

func (a *app) exportCommand() *cobra.Command {
	return group("export", "Stream what the ledger holds", a.exportUsage())
}

func (a *app) exportUsage() *cobra.Command {
	var month, format string
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Write all usage records of a month",
		Long: `Writes the usage records of everyone in a month to standard output, in the
order in which they were logged.`,
		Example: `  tollgate export usage --month 2025-01 --format csv > january.csv
  tollgate export usage --format ndjson | jq .cost`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkMonth(cmd, month); err != nil {
				return err
			}
			f, err := a.format(cmd, format)
			if err != nil {
				return err
			}
			return a.asking(func(c *api.Client) error {
				return a.streaming("records written", func(w io.Writer) error {
					return c.ExportUsage(cmd.Context(), month, f, w)
				})
			})
		},
	}
	monthVar(cmd, &month)
	cmd.Flags().StringVar(&format, "format", "csv", "as `FORMAT`: csv or ndjson")
	return cmd
}
