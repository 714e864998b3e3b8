package cli

import (
	"context"
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

func (a *app) userCommand() *cobra.Command {
	return group("user", "Add, show and change customers",
		a.userAdd(), a.userList(), a.userShow(), a.userPlan(), a.userTerms(), a.userLimit(),
		a.userChange("suspend", "Refuse a user's calls until resumed",
			"Refuses the user's calls from now on; running ones finish.", "is suspended", (*api.Client).Suspend),
		a.userChange("resume", "Lift a suspension",
			"Lifts a suspension, whatever it was for.", "may call again", (*api.Client).Resume),
		a.userEnd("close", "End a user's calls for good",
			"Refuses the user's calls for good. Usage and records stay.",
			"Closing ends all calls of %s for good.", "is closed", (*api.Client).CloseUser),
		a.userEnd("erase", "Remove a closed user's personal data for good",
			"Removes e-mail, name, company, address and tax id of a closed user.\nUsage and records stay, without a person to them.",
			"Erasing removes the personal data of %s for good.", "is erased", (*api.Client).Erase),
	)
}

func (a *app) userAdd() *cobra.Command {
	var u api.AddUser
	var scope string
	cmd := &cobra.Command{
		Use:   "add --email E",
		Short: "Add a user with a first API key",
		Long:  "Adds a user with a first API key, which is shown only now.",
		Example: `  tollgate user add --email ann@example.com
  tollgate user add --email ann@example.com --company Ann --plan pro --json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u.Email == "" {
				return usage(cmd, "--email is missing")
			}
			if err := scopeFlag(cmd, scope, &u.Scope); err != nil {
				return err
			}
			return a.asking(func(c *api.Client) error {
				added, err := c.AddUser(cmd.Context(), u)
				if err != nil {
					return err
				}
				return a.answer(added, func(w io.Writer) {
					facts(w, "user", userID(added.ID), "e-mail", added.Email, "plan", added.Plan, "API key", added.APIKey)
					fmt.Fprintln(w, "\nThe key is shown only now.")
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.Email, "email", "", "e-mail address `E`, unique")
	f.StringVar(&u.Name, "name", "", "`NAME` of the person")
	f.StringVar(&u.Company, "company", "", "`NAME` of the company")
	f.StringVar(&u.Address, "address", "", "postal `ADDRESS` for invoices")
	f.StringVar(&u.TaxID, "tax-id", "", "tax `ID` for invoices")
	f.StringVar(&u.Plan, "plan", "", "on `PLAN` (default: default_plan of the configuration)")
	scopeVar(f, &scope, "first key may do `SCOPE`: ")
	return cmd
}

func (a *app) userList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all users",
		Long:  "Lists all users by id.",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.asking(func(c *api.Client) error {
				if a.json {
					return a.array(func(add func(any) error) error {
						return c.EachUser(cmd.Context(), func(u api.User) error { return add(u) })
					})
				}
				t := newTable("USER>", "E-MAIL", "PLAN", "STATUS", "KEYS>", "CREATED")
				none := true
				err := c.EachUser(cmd.Context(), func(u api.User) error {
					none = false
					t.add(userID(u.ID), dash(u.Email), u.Plan, userStatus(u), api.Count(int64(u.Keys)), date(u.Created))
					return nil
				})
				if err != nil {
					return err
				}
				return a.answer(nil, func(w io.Writer) {
					if none {
						fmt.Fprintln(w, "There are no users. Add one with: tollgate user add --email E")
						return
					}
					t.print(w)
				})
			})
		},
	}
}

func (a *app) userShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show USER",
		Short: "Show one user",
		Long: `Shows one user, payments that wait for money, and what the user was told in the
last months: by what it was delivered, and what was given up.`,
		Example: "  tollgate user show ann@example.com",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				u, err := a.userShown(cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				return a.answer(u, func(w io.Writer) {
					printUser(w, u.User)
					printOwing(w, u.NotPaid)
					printNotices(w, u.Notices)
				})
			})
		},
	}
}

// shownUser is the answer of user show.
type shownUser struct {
	api.User
	NotPaid []api.Payment `json:"not_paid"` // payments that are past due, or owed since they went back
	Notices []api.Notice  `json:"notices"`  // of the last months, newest first
}

func (a *app) userShown(ctx context.Context, c *api.Client, user string) (shownUser, error) {
	shown := shownUser{NotPaid: []api.Payment{}}
	var err error
	if shown.User, err = c.User(ctx, user); err != nil {
		return shown, err
	}
	user = userID(shown.ID)
	for _, state := range []string{string(ledger.PaymentPastDue), api.OwedState} {
		page, err := c.Payments(ctx, api.PaymentsQuery{User: user, State: state}, "", 0)
		if err != nil {
			return shown, err
		}
		shown.NotPaid = append(shown.NotPaid, page.Payments...)
	}
	notices, err := c.Notices(ctx, user, "", 0)
	shown.Notices = notices.Notices
	return shown, err
}

func printUser(w io.Writer, u api.User) {
	next, closed, onFile := "", "", "none on file"
	if u.NextPlan != nil {
		next = u.NextPlan.Plan + " from " + moment(u.NextPlan.From) + " UTC"
	}
	if u.Closed != nil {
		closed = moment(*u.Closed) + " UTC"
	}
	if u.PaymentMethod {
		onFile = "on file"
	}
	facts(w,
		"user", userID(u.ID), "e-mail", u.Email, "name", u.Name, "company", u.Company, "address", u.Address, "tax id", u.TaxID,
		"plan", u.Plan, "next plan", next, "status", userStatus(u), "created", moment(u.Created)+" UTC", "closed", closed,
		"spend limit", limitText(u.SpendLimit), "own limit", limitText(u.OwnSpendLimit),
		"payment method", onFile, "Stripe customer", u.StripeCustomer, "active keys", api.Count(int64(u.Keys)))
}

func limitText(limit *ledger.Amount) string {
	if limit == nil {
		return "none"
	}
	return api.Exact(limit.String()) + " a month"
}

func (a *app) userPlan() *cobra.Command {
	var change api.ChangePlan
	var dry bool
	cmd := &cobra.Command{
		Use:   "plan USER PLAN",
		Short: "Put a user on another plan",
		Long: `Puts a user on another plan. An upgrade (a higher fee, or leaving a plan
without fee) acts at once, anything else at the next period.`,
		Example: `  tollgate user plan ann@example.com pro --dry-run
  tollgate user plan ann@example.com pro
  tollgate user plan ann@example.com free --now`,
		Args: exactly("USER", "PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			change.Plan = args[1]
			return a.asking(func(c *api.Client) error {
				if dry {
					return a.previewPlan(cmd.Context(), c, args[0], change)
				}
				changed, err := c.ChangePlan(cmd.Context(), args[0], change)
				if err != nil {
					return err
				}
				return a.answer(changed, func(w io.Writer) {
					fmt.Fprintf(w, "%s is on plan %s from %s UTC.\n", api.Clean(args[0]), api.Clean(changed.SubscriptionTier), moment(changed.EffectiveAt))
				})
			})
		},
	}
	cmd.Flags().BoolVar(&change.Now, "now", false, "act at once whatever the change is")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what it would mean for this month, and change nothing")
	return cmd
}

// previewPlan shows fee and quota of the open month before and after a change.
func (a *app) previewPlan(ctx context.Context, c *api.Client, user string, change api.ChangePlan) error {
	p, err := c.PreviewPlan(ctx, user, change)
	if err != nil {
		return err
	}
	if a.json {
		return a.answer(p, nil)
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	return a.answer(p, func(w io.Writer) {
		currency := status.Ledger.Currency
		fmt.Fprintf(w, "Nothing was changed. %s would be on plan %s from %s UTC, for %s a month.\n\n",
			api.Clean(user), api.Clean(p.SubscriptionTier), moment(p.EffectiveAt), priced(p.FeeCents, currency))
		t := newTable("THIS MONTH", "BEFORE>", "AFTER>")
		t.add("fee", inCurrency(p.Before.FeeCents, currency), inCurrency(p.After.FeeCents, currency))
		meters := maps.Clone(p.Before.Quota)
		maps.Copy(meters, p.After.Quota)
		for _, meter := range slices.Sorted(maps.Keys(meters)) {
			t.add(meter+" included", quotaText(p.Before.Quota, meter), quotaText(p.After.Quota, meter))
		}
		t.add("charge so far", inCurrency(p.Before.ChargeCents, currency), inCurrency(p.After.ChargeCents, currency))
		t.print(w)
	})
}

func quotaText(quota map[string]int64, meter string) string {
	if n, ok := quota[meter]; ok {
		return api.Count(n)
	}
	return "unlimited"
}

func (a *app) userLimit() *cobra.Command {
	return &cobra.Command{
		Use:   "limit USER AMOUNT|none",
		Short: "Set how much a user may spend a month",
		Long: `Sets how much a user may be charged for usage in a month, in units of the
ledger's currency. The fee does not count, and included calls always pass. A
lower limit that the customer has set holds too.`,
		Example: `  tollgate user limit ann@example.com 250
  tollgate user limit ann@example.com none`,
		Args: exactly("USER", "AMOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var limit *ledger.Amount
			if args[1] != "none" {
				amount, err := ledger.ParseAmount(args[1])
				if err != nil {
					return usage(cmd, "AMOUNT: %v", err)
				}
				limit = &amount
			}
			return a.asking(func(c *api.Client) error {
				u, err := c.Limit(cmd.Context(), args[0], limit)
				if err != nil {
					return err
				}
				return a.answer(u, func(w io.Writer) {
					fmt.Fprintf(w, "The spend limit of %s is %s.\n", who(u), limitText(u.SpendLimit))
				})
			})
		},
	}
}

// userChange is a command that changes a user's state and can be taken back.
func (a *app) userChange(use, short, long, now string, change func(*api.Client, context.Context, string) (api.User, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " USER", Short: short, Long: long,
		Example: "  tollgate user " + use + " ann@example.com",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				u, err := change(c, cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.answer(u, func(w io.Writer) { fmt.Fprintf(w, "%s %s.\n", who(u), now) })
			})
		},
	}
}

// userEnd is a command that cannot be taken back: it asks first.
func (a *app) userEnd(use, short, long, consequence, now string, change func(*api.Client, context.Context, string) (api.User, error)) *cobra.Command {
	var yes bool
	cmd := a.userChange(use, short, long, now, change)
	run := cmd.RunE
	cmd.Example += "\n" + cmd.Example + " --yes"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			if err := a.mayAsk(cmd); err != nil {
				return err
			}
			err := a.asking(func(c *api.Client) error {
				u, err := c.User(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				word := u.Email
				if word == "" {
					word = userID(u.ID)
				}
				return a.confirm(fmt.Sprintf(consequence, who(u)), word)
			})
			if err != nil {
				return err
			}
		}
		return run(cmd, args)
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func who(u api.User) string {
	if u.Email == "" {
		return "User " + userID(u.ID)
	}
	return api.Clean(u.Email)
}

func userID(id ledger.UserID) string { return strconv.FormatUint(uint64(id), 10) }

func userStatus(u api.User) string {
	words := []string{string(u.Status)}
	if u.SuspendedFor != "" {
		words = append(words, "("+u.SuspendedFor+")")
	}
	if u.Erased {
		words = append(words, "(erased)")
	}
	return strings.Join(words, " ")
}
