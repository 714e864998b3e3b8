package cli

import (
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

func (a *app) userTerms() *cobra.Command {
	var fee, from string
	var quota, overage []string
	var reset bool
	cmd := &cobra.Command{
		Use:   "terms USER",
		Short: "Show or set what was agreed with one user",
		Long: `Shows the terms that hold for a user. With flags it sets terms of the user's
own, in place of those in force then; what is not named stays. They hold while
the user is on the plan, also when the plan changes, until --reset. What was
used before they begin is charged as it was agreed then; a fee is shared out
by the second.

A price for a unit (--overage) is for what is beyond the quota, or for every
unit where there is none. It replaces charging the cost of the calls, and a
block at the quota.`,
		Example: `  tollgate user terms ann@example.com
  tollgate user terms ann@example.com --fee 400 --from 2027-01-01
  tollgate user terms 12 --quota calls=1000000 --overage calls=0.002
  tollgate user terms 12 --quota documents=unlimited
  tollgate user terms 12 --reset`,
		Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := api.AgreeTerms{Reset: reset}
			var err error
			if fee != "" {
				amount, err := ledger.ParseAmount(fee)
				if err != nil {
					return usage(cmd, "--fee: %v", err)
				}
				ask.Fee = &amount
			}
			if ask.Quota, err = byMeter(quota, "unlimited", parseCount); err != nil {
				return usage(cmd, "--quota: %v", err)
			}
			if ask.Overage, err = byMeter(overage, "none", ledger.ParseAmount); err != nil {
				return usage(cmd, "--overage: %v", err)
			}
			changes := ask.Fee != nil || len(quota) > 0 || len(overage) > 0
			switch {
			case reset && changes:
				return usage(cmd, "--reset goes without --fee, --quota and --overage")
			case from != "" && !reset && !changes:
				return usage(cmd, "--from needs --fee, --quota, --overage or --reset")
			case from != "":
				at, err := parseTime(from)
				if err != nil {
					return usage(cmd, "--from: %v", err)
				}
				ask.From = &at
			}
			return a.asking(func(c *api.Client) error {
				var terms api.UserTerms
				if changes || reset {
					terms, err = c.Agree(cmd.Context(), args[0], ask)
				} else {
					terms, err = c.Terms(cmd.Context(), args[0])
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.answer(terms, nil)
				}
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				return a.answer(terms, func(w io.Writer) { printTerms(w, terms, status.Ledger.Currency) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&fee, "fee", "", "`AMOUNT` a month")
	f.StringArrayVar(&quota, "quota", nil, "`METER=N` included a month, or METER=unlimited; may be repeated")
	f.StringArrayVar(&overage, "overage", nil, "`METER=PRICE` of a unit beyond the quota, or METER=none; may be repeated")
	f.StringVar(&from, "from", "", "begin at `TIME` or date (default: now)")
	f.BoolVar(&reset, "reset", false, "back to the terms of the plan")
	return cmd
}

func parseCount(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

// byMeter reads METER=VALUE; nil where the value is the word none.
func byMeter[T any](list []string, none string, parse func(string) (T, error)) (map[string]*T, error) {
	if len(list) == 0 {
		return nil, nil
	}
	values := make(map[string]*T, len(list))
	for _, pair := range list {
		meter, text, ok := strings.Cut(pair, "=")
		if !ok || meter == "" {
			return nil, fmt.Errorf("%q is not of the form METER=VALUE", pair)
		}
		if _, twice := values[meter]; twice {
			return nil, fmt.Errorf("%s is given twice", meter)
		}
		values[meter] = nil
		if text != none {
			value, err := parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", meter, err)
			}
			values[meter] = &value
		}
	}
	return values, nil
}

func printTerms(w io.Writer, t api.UserTerms, currency string) {
	printTerm(w, t.InForce, currency)
	for _, next := range t.Next {
		fmt.Fprintf(w, "\nFrom %s UTC:\n", moment(next.From))
		printTerm(w, next, currency)
	}
}

func printTerm(w io.Writer, t api.Terms, currency string) {
	agreed := "those of the plan"
	if t.Agreed {
		agreed = "agreed, since " + moment(t.From) + " UTC"
	}
	var quota, overage []string
	for _, meter := range slices.Sorted(maps.Keys(t.Quota)) {
		quota = append(quota, api.Count(t.Quota[meter])+" "+meter)
	}
	for _, meter := range slices.Sorted(maps.Keys(t.Overage)) {
		overage = append(overage, api.Exact(t.Overage[meter].String())+" for each of "+meter)
	}
	if len(quota) == 0 {
		quota = []string{"unlimited"}
	}
	for _, p := range t.Prices {
		text := p.Model + " prices for " + p.Meter
		if p.Model == "unit" {
			text = api.Exact(p.Unit.String()) + " for each of " + p.Meter
		}
		overage = append(overage, text)
	}
	if t.ByCost {
		overage = append(overage, "the cost of the calls")
	}
	if len(overage) == 0 {
		overage = []string{"nothing"}
	}
	facts(w, "plan", t.Plan, "terms", agreed, "fee", priced(t.FeeCents, currency)+" a month", "included", strings.Join(quota, ", "),
		"charged", strings.Join(overage, ", ")+" ("+t.OnExceed+")")
}
