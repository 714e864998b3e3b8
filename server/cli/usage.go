package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) usageCommand() *cobra.Command {
	var month string
	cmd := &cobra.Command{
		Use:   "usage USER",
		Short: "Show what a user used in a month, and owes",
		Example: `  tollgate usage ann@example.com
  tollgate usage ann@example.com --month 2025-01
  tollgate usage records ann@example.com`,
		Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkMonth(cmd, month); err != nil {
				return err
			}
			return a.asking(func(c *api.Client) error {
				used, err := c.Usage(cmd.Context(), args[0], month)
				if err != nil {
					return err
				}
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				return a.answer(used, func(w io.Writer) { printUsage(w, used, status.Ledger.Currency) })
			})
		},
	}
	monthVar(cmd, &month)
	cmd.AddCommand(a.usageRecords())
	return cmd
}

func printUsage(w io.Writer, u api.MonthUsage, currency string) {
	used, charges := u.CurrentUsage, u.Charges
	quota := "unlimited"
	if u.Quota.Total != nil {
		quota = fmt.Sprintf("%s / %s %s (%s%%)", api.Count(u.Quota.Used), api.Count(*u.Quota.Total), u.Quota.Meter, u.Quota.PercentUsed)
	}
	name := u.Email
	if name == "" {
		name = "user " + userID(u.User)
	}
	fmt.Fprintf(w, "%s, plan %s, %04d-%02d (%s)\n\n", api.Clean(name), api.Clean(u.SubscriptionTier), u.Period.Year, u.Period.Month, u.Period.Timezone)
	facts(w, "quota", quota)
	fmt.Fprintln(w)
	t := newTable("USED", ">")
	t.add("calls", api.Count(used.TotalCalls))
	t.add("documents", api.Count(used.TotalDocuments))
	t.add("tokens", api.Count(used.TotalTokens))
	for _, meter := range slices.Sorted(maps.Keys(used.Meters)) {
		t.add(meter, api.Count(used.Meters[meter]))
	}
	t.add("unbilled calls", api.Count(used.UnbilledCalls))
	t.add("cost at the price list", api.Exact(used.Cost.String()))
	t.print(w)
	fmt.Fprintln(w)
	digits := charges.TotalDollars.Digits
	t = newTable("CHARGES", strings.ToUpper(currency)+">")
	t.add("fee", api.Minor(charges.BaseFeeCents, digits))
	t.add("overage", api.Minor(charges.OverageCents, digits))
	t.add("total", api.Minor(charges.TotalCents, digits))
	t.print(w)
}

func (a *app) usageRecords() *cobra.Command {
	var (
		q        api.RecordsQuery
		from, to string
		format   string
	)
	cmd := &cobra.Command{
		Use:   "records USER [REQUEST]",
		Short: "List a user's calls, newest first",
		Long: `Lists a user's calls, newest first, or the one with the id that its caller
was given in the Tollgate-Request header. With --format all of them are
written as CSV or NDJSON.`,
		Example: `  tollgate usage records ann@example.com --limit 10
  tollgate usage records ann@example.com --from 2025-01-15 --to 2025-01-16
  tollgate usage records ann@example.com --month 2025-01 --format csv`,
		Args: between(1, "USER", "REQUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				if _, err := ledger.ParseRequestID(args[1]); err != nil {
					return usage(cmd, "REQUEST: %v", err)
				}
				q.Request = args[1]
			}
			if err := recordsFlags(cmd, &q, from, to); err != nil {
				return err
			}
			if format != "" {
				if !cmd.Flags().Changed("limit") {
					q.Limit = 0
				}
				f, err := a.format(cmd, format)
				if err != nil {
					return err
				}
				return a.asking(func(c *api.Client) error {
					return a.streaming("records", func(w io.Writer) error {
						return c.StreamRecords(cmd.Context(), args[0], q, f, w)
					})
				})
			}
			return a.asking(func(c *api.Client) error {
				page, err := c.Records(cmd.Context(), args[0], q)
				if err != nil {
					return err
				}
				return a.answer(page, func(w io.Writer) { printRecords(w, args[0], q, page) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Month, "month", "", "calls of a `MONTH` such as 2025-01")
	f.StringVar(&from, "from", "", "calls from this `TIME` or date on")
	f.StringVar(&to, "to", "", "calls before this `TIME` or date")
	f.IntVar(&q.Limit, "limit", 50, "at most `N`; with --format all unless given")
	f.StringVar(&q.Cursor, "cursor", "", "go on after a page, at its next_`CURSOR`")
	f.StringVar(&format, "format", "", "stream all in a `FORMAT`: csv or ndjson")
	return cmd
}

func recordsFlags(cmd *cobra.Command, q *api.RecordsQuery, from, to string) (err error) {
	if err := checkMonth(cmd, q.Month); err != nil {
		return err
	}
	if q.Month != "" && (from != "" || to != "") {
		return usage(cmd, "--month goes without --from and --to")
	}
	if q.Limit < 1 {
		return usage(cmd, "--limit is at least 1")
	}
	if from != "" {
		if q.From, err = parseTime(from); err != nil {
			return usage(cmd, "--from: %v", err)
		}
	}
	if to != "" {
		if q.To, err = parseTime(to); err != nil {
			return usage(cmd, "--to: %v", err)
		}
	}
	return nil
}

func printRecords(w io.Writer, user string, q api.RecordsQuery, page api.RecordsPage) {
	if len(page.Records) == 0 {
		fmt.Fprintln(w, noRecords(user, q))
		return
	}
	t := newTable("TIME (UTC)", "ROUTE", "STATUS>", "MS>", "DOCS>", "TOKENS>", "COST>", "")
	for _, r := range page.Records {
		note := ""
		switch {
		case r.Outcome != ledger.OK.String():
			note = r.Outcome
		case r.Estimated:
			note = "estimated"
		case !r.Billed:
			note = "unbilled"
		}
		t.add(moment(r.Time), r.Route, strconv.Itoa(r.StatusCode), api.Count(r.ResponseTimeMS), api.Count(r.Documents), api.Count(r.Tokens), api.Exact(r.Cost.String()), note)
	}
	t.print(w)
	if page.NextCursor != nil {
		fmt.Fprintf(w, "\nThere are more: --cursor %s\n", api.Clean(*page.NextCursor))
	}
}

// noRecords says that a user has no such calls.
func noRecords(user string, q api.RecordsQuery) string {
	user = api.Clean(user)
	switch {
	case q.Cursor != "":
		return user + " has no more calls."
	case q.Month != "":
		return user + " has no calls " + inMonth(q.Month) + "."
	case !q.From.IsZero() || !q.To.IsZero():
		return user + " has no calls in that time."
	}
	return user + " has no calls."
}

// inMonth is a month given by --month, in a sentence.
func inMonth(month string) string {
	if month == "" {
		return "this month"
	}
	return "in " + month
}

func monthVar(cmd *cobra.Command, month *string) {
	cmd.Flags().StringVar(month, "month", "", "of `MONTH`, such as 2025-01 (default: the current one)")
}

func checkMonth(cmd *cobra.Command, month string) error {
	if month == "" {
		return nil
	}
	if _, err := ledger.ParseMonth(month); err != nil {
		return usage(cmd, "--month: %v", err)
	}
	return nil
}

// format reads --format, which goes instead of --json.
func (a *app) format(cmd *cobra.Command, s string) (api.Format, error) {
	f := api.Format(s)
	if f != api.CSV && f != api.NDJSON {
		return "", usage(cmd, "--format is csv or ndjson, not %q", s)
	}
	if a.json {
		return "", hint("--format ndjson prints one JSON value a record", usage(cmd, "--json and --format do not go together"))
	}
	return f, nil
}

var errOutput = errors.New("writing the output")

// streaming lets write stream lines to standard output, and shows how many
// there are while standard output is not itself on the terminal.
func (a *app) streaming(what string, write func(io.Writer) error) error {
	step, end := a.progress(what)
	if a.StdoutTerminal {
		step = func(int64, int64) {}
	}
	w := &lineCounter{to: a.Stdout, step: step}
	err := write(w)
	end()
	if w.err != nil {
		return fmt.Errorf("%w: %w", errOutput, w.err)
	}
	return err
}

// lineCounter passes bytes on and tells how many lines there were.
type lineCounter struct {
	to    io.Writer
	lines int64
	step  func(done, total int64)
	err   error
}

func (c *lineCounter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	for _, char := range b[:n] {
		if char == '\n' {
			c.lines++
		}
	}
	c.step(c.lines, 0)
	c.err = err
	return n, err
}
