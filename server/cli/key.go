package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tollgate/ledger"
	"tollgate/server/api"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Create, list, revoke and rotate API keys",
		a.keyCreate(), a.keyList(), a.keyRevoke(), a.keyRotate())
}

func (a *app) keyCreate() *cobra.Command {
	var (
		key               api.OperatorKey
		scope, expires    string
		allow             []string
		perMinute, perDay int
	)
	cmd := &cobra.Command{
		Use:   "create USER",
		Short: "Make a key for a user",
		Long: `Makes a key for a user. The key is shown only now. All keys of a user share
the plan's rate limits unless the key is given its own.`,
		Example: `  tollgate key create ann@example.com --name production
  tollgate key create ann@example.com --expires 90d --allow 192.0.2.0/24
  tollgate key create ann@example.com --scope manage --per-minute 600`,
		Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := scopeFlag(cmd, scope, &key.Scope); err != nil {
				return err
			}
			for _, text := range allow {
				network, err := parseNetwork(text)
				if err != nil {
					return usage(cmd, "--allow: %v", err)
				}
				key.Networks = append(key.Networks, network)
			}
			for name, limit := range map[string]*int{"per-minute": &perMinute, "per-day": &perDay} {
				if *limit < 0 {
					return usage(cmd, "--%s cannot be negative", name)
				}
			}
			if cmd.Flags().Changed("per-minute") {
				key.PerMinute = &perMinute
			}
			if cmd.Flags().Changed("per-day") {
				key.PerDay = &perDay
			}
			return a.asking(func(c *api.Client) error {
				if expires != "" {
					at, err := expiry(cmd.Context(), c, expires)
					if err != nil {
						return usage(cmd, "--expires: %v", err)
					}
					key.Expires = &at
				}
				made, err := c.CreateKey(cmd.Context(), args[0], key)
				if err != nil {
					return err
				}
				return a.answer(made, func(w io.Writer) { printNewKey(w, made) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key.Name, "name", "", "`NAME` of the key")
	f.StringVar(&expires, "expires", "", "ends `WHEN`: a time, a date, or from now as in 90d")
	f.IntVar(&perMinute, "per-minute", 0, "its own limit of `N` calls a minute (0: none)")
	f.IntVar(&perDay, "per-day", 0, "its own limit of `N` calls a day (0: none)")
	f.StringSliceVar(&allow, "allow", nil, "only from this network, as `CIDR` (may be repeated)")
	scopeVar(f, &scope, "may do `SCOPE`: ")
	return cmd
}

func printNewKey(w io.Writer, k api.NewKey) {
	expires, replaced := "", ""
	if k.Expires != nil {
		expires = moment(*k.Expires) + " UTC"
	}
	if k.ReplacedUntil != nil {
		replaced = fmt.Sprintf("key %d, which works until %s UTC", k.Replaces, moment(*k.ReplacedUntil))
	}
	facts(w, "key", keyID(k.ID), "name", k.Name, "scope", string(k.Scope), "expires", expires, "replaces", replaced, "API key", k.APIKey)
	fmt.Fprintln(w, "\nThe key is shown only now.")
}

func (a *app) keyList() *cobra.Command {
	return &cobra.Command{
		Use:     "list USER",
		Short:   "List the keys of a user",
		Example: "  tollgate key list ann@example.com",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(func(c *api.Client) error {
				keys, err := c.Keys(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.answer(keys, func(w io.Writer) {
					if len(keys) == 0 {
						fmt.Fprintf(w, "%s has no keys.\n", api.Clean(args[0]))
						return
					}
					t := newTable("KEY>", "NAME", "PREFIX", "SCOPE", "STATUS", "LAST USED", "RULES")
					for _, k := range keys {
						t.add(keyID(k.ID), dash(k.Name), k.Prefix, string(k.Scope), k.Status, dash(pointed(k.LastUsed, date)), keyRules(k))
					}
					t.print(w)
				})
			})
		},
	}
}

// keyRules is what holds for a key alone.
func keyRules(k api.Key) string {
	var rules []string
	if k.PerMinute != nil {
		rules = append(rules, ownLimit(*k.PerMinute, "a minute"))
	}
	if k.PerDay != nil {
		rules = append(rules, ownLimit(*k.PerDay, "a day"))
	}
	for _, n := range k.Networks {
		rules = append(rules, "from "+n.String())
	}
	if k.Expires != nil && k.Status == api.KeyActive {
		rules = append(rules, "until "+moment(*k.Expires))
	}
	return strings.Join(rules, ", ")
}

func ownLimit(n int, window string) string {
	if n == 0 {
		return "unlimited " + window
	}
	return api.Count(int64(n)) + " " + window
}

func pointed(t *time.Time, write func(time.Time) string) string {
	if t == nil {
		return ""
	}
	return write(*t)
}

func (a *app) keyRevoke() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a key at once",
		Long:    "Refuses new calls with the key at once; running ones finish.",
		Example: "  tollgate key revoke 3",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseKeyID(cmd, args[0])
			if err != nil {
				return err
			}
			return a.asking(func(c *api.Client) error {
				k, err := c.RevokeKey(cmd.Context(), id)
				if err != nil {
					return err
				}
				return a.answer(k, func(w io.Writer) { fmt.Fprintf(w, "Key %d of user %d is revoked.\n", k.ID, k.User) })
			})
		},
	}
}

func (a *app) keyRotate() *cobra.Command {
	var grace string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Put a new key in place of one",
		Long:  "Makes a new key with the rules of the old one, which works on for a while.",
		Example: `  tollgate key rotate 3
  tollgate key rotate 3 --grace 0s`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseKeyID(cmd, args[0])
			if err != nil {
				return err
			}
			d, err := parseDuration(grace)
			if err != nil {
				return usage(cmd, "--grace: %v", err)
			}
			return a.asking(func(c *api.Client) error {
				made, err := c.RotateKey(cmd.Context(), id, d)
				if err != nil {
					return err
				}
				return a.answer(made, func(w io.Writer) { printNewKey(w, made) })
			})
		},
	}
	cmd.Flags().StringVar(&grace, "grace", "24h", "the old key works on for `TIME`")
	return cmd
}

func keyID(id ledger.KeyID) string { return strconv.FormatUint(uint64(id), 10) }

func parseKeyID(cmd *cobra.Command, s string) (ledger.KeyID, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || id == 0 {
		return 0, hint("tollgate key list USER shows the ids", usage(cmd, "%q is not the id of a key, which is a number", s))
	}
	return ledger.KeyID(id), nil
}

func scopeVar(f *pflag.FlagSet, scope *string, what string) {
	f.StringVar(scope, "scope", string(ledger.ScopeCall), what+"call, or manage (also keys, plan, limit)")
}

func scopeFlag(cmd *cobra.Command, text string, scope *ledger.Scope) error {
	*scope = ledger.Scope(text)
	if *scope != ledger.ScopeCall && *scope != ledger.ScopeManage {
		return usage(cmd, "--scope is call or manage, not %q", text)
	}
	return nil
}

// parseNetwork reads a CIDR or a single address.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as 192.0.2.0/24", s)
	}
	return network.Masked(), nil
}

// expiry reads a time, a date or a time from now by the server's clock, which
// may be a test clock.
func expiry(ctx context.Context, c *api.Client, s string) (time.Time, error) {
	if d, err := parseDuration(s); err == nil {
		clock, err := c.Clock(ctx)
		if err != nil {
			return time.Time{}, err
		}
		return clock.Now.Add(d), nil
	}
	return parseTime(s)
}
