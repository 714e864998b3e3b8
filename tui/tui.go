package tui

import (
	"context"
	"errors"
	"fmt"
	"io"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"

	"tollgate/server/api"
	"tollgate/tui/quiet"
)

// Bubbletea is initialized by now, since this package imports it.
var _ = quiet.Restore()

// Server is what the screens ask of a running tollgate; [Of] makes one of the
// operator API's client. user is an id or an e-mail address throughout. The
// Watch methods call each with every new value until ctx ends, each fails or the
// connection does.
type Server interface {
	WatchOverview(ctx context.Context, each func(api.Overview) error) error
	WatchUsers(ctx context.Context, q api.UsersQuery, each func(api.UsersView) error) error
	WatchUser(ctx context.Context, user string, each func(api.UserView) error) error
	WatchRecords(ctx context.Context, f api.RecordsFilter, each func(api.RecordsTail) error) error
	WatchBilling(ctx context.Context, state string, each func(api.BillingView) error) error

	Suspend(ctx context.Context, user string) (api.User, error)
	Resume(ctx context.Context, user string) (api.User, error)
	PreviewPlan(ctx context.Context, user string, p api.ChangePlan) (api.PlanPreview, error)
	ChangePlan(ctx context.Context, user string, p api.ChangePlan) (api.PlanChanged, error)
	GrantCredits(ctx context.Context, user string, ask api.GrantCredits) (api.CreditsGranted, error)
	Revoke(ctx context.Context, key api.Key) error
	ActOnInvoice(ctx context.Context, id string, act api.InvoiceAct, ask api.ActOnInvoice) (api.Invoice, error)
	RefundPayment(ctx context.Context, user, payment string, ask api.RefundPayment) (api.Payment, error)
}

// Of is the server that a client of the operator API speaks to.
func Of(c *api.Client) Server { return overSocket{c} }

type overSocket struct{ *api.Client }

// Revoke ends a key at once.
func (s overSocket) Revoke(ctx context.Context, key api.Key) error {
	_, err := s.RevokeKey(ctx, key.ID)
	return err
}

// Options say how the screens look and what they allow.
type Options struct {
	Currency string // of the ledger, such as usd
	Digits   int    // decimals of its minor unit
	Write    bool   // whether anything may be changed

	// Profile is what the terminal can do; [termenv.Ascii] prints text alone.
	Profile termenv.Profile
	Colour  bool // false: bold, reverse and the like only, as NO_COLOR asks
}

// money is a sum in minor units without its currency: 1,234.50.
func (o Options) money(n int64) string { return api.Minor(n, o.Digits) }

// priced is a sum in minor units with its currency: 1,234.50 USD.
func (o Options) priced(n int64) string { return o.money(n) + " " + upper(o.Currency) }

// frames is how often a second the screen is compared with what it should show: a
// key is answered within 25 ms, and an idle screen costs half a percent of a core
// (with 60, more than one).
const frames = 40

// Run shows the screens on a terminal until the person leaves or ctx ends. The
// terminal is as before afterwards.
func Run(ctx context.Context, s Server, o Options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the streams
	options := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithOutput(out), tea.WithAltScreen(), tea.WithFPS(frames),
		tea.WithoutSignalHandler(), // the process has its own, which ends ctx
	}
	if in != nil {
		options = append(options, tea.WithInput(in))
	}
	_, err := tea.NewProgram(New(ctx, s, o), options...).Run()
	if err != nil && !(errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil) {
		return fmt.Errorf("showing the screens: %w", err)
	}
	return nil
}
