package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/api"
	"tollgate/server/billing"
	"tollgate/server/config"
	"tollgate/server/gateway"
	"tollgate/server/pricing"
	"tollgate/server/stripe"
	"tollgate/server/stripe/stripetest"
)

// Options is what a Server stands on.
type Options struct {
	// Load reads the configuration: once at the start, and again at each reload.
	Load func() (*config.Config, error)
	// Socket is the path of the operator's unix socket; "": the configuration's.
	Socket string
	// Version is shown in the status and the metrics.
	Version string
	Log     *slog.Logger // nil: nothing is logged
	// Now is the system's clock; nil: [time.Now]. A ledger on a test clock asks it
	// for nothing but a first time.
	Now func() time.Time
	// Random is where keys come from; nil: crypto/rand.
	Random io.Reader
	// Demo gives the customers cards of the sandbox and bills what is due before
	// anything is served.
	Demo bool
	// Idle, when not nil, is called once nothing has been recorded for a while, and
	// again after each time that something has.
	Idle func()
}

// Server is a running appliance. Make one with [New] and let it [Server.Run];
// whoever made it and does not run it must [Server.Close] it.
type Server struct {
	options Options
	log     *slog.Logger
	notify  notifier
	started time.Time // by the system's clock, with its monotonic reading
	ledger  *ledger.Ledger
	clock   *Clock
	book    *pricing.Book
	gate    *admission.Gate
	gateway *gateway.Gateway
	billing *billing.Billing
	stripe  *stripe.Client                   // nil: no payment provider
	sandbox *stripetest.Server               // nil: Stripe is Stripe
	running atomic.Pointer[billing.Schedule] // nil: not yet, or on a test clock
	cert    certificate                      // in mode "files"
	sampler sampler

	attention *attention

	config   atomic.Pointer[config.Config]
	draining atomic.Bool

	// reloading is held by the one reload that runs.
	reloading sync.Mutex

	// base is the context of all requests; cut ends it.
	base context.Context
	cut  context.CancelFunc

	sandboxFile string // what the sandbox knows

	socket    string // path; "" until it is bound
	listeners []served
	sample    *served // the built-in sample API; nil until a route needs it
	closing   sync.Once
	closed    error
}

// served is a listener with the server that it belongs to.
type served struct {
	name     string
	listener net.Listener
	http     *http.Server
	// drains tells that running requests may finish when the server stops.
	drains bool
}

// New opens the ledger, takes up the configuration and binds all listeners, so
// that Run has nothing left that could fail at the start. An error leaves
// nothing open.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	s := &Server{options: o, log: o.Log, notify: notifier{o.Log}, started: o.Now(), book: pricing.NewBook(), attention: newAttention()}
	s.base, s.cut = context.WithCancel(context.Background())
	s.sampler.read = s.readCounters
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	c, err := o.Load()
	if err != nil {
		return nil, err
	}
	s.config.Store(c)
	for _, w := range c.Warnings {
		s.log.Warn(w.String())
	}
	if err := s.openLedger(ctx, c); err != nil {
		return nil, err
	}
	s.gate = admission.New(s.ledger, admission.Options{
		Now: s.clock.Now, Book: s.book, UpgradeURL: c.Server.PublicURL + "/dashboard/plans", PurchaseURL: c.Server.PublicURL + "/dashboard/credits",
		FullProration: c.Billing.Proration == "full", Attend: s.attention.user, Notice: s.attention.notice,
	})
	if err := s.openGateway(c); err != nil {
		return nil, err
	}
	if err := s.openBilling(ctx, c); err != nil {
		return nil, err
	}
	if o.Demo {
		if err := s.billDemo(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.listen(c); err != nil {
		return nil, err
	}
	return s, nil
}

// openLedger opens the ledger, sets the clock by it and publishes the terms.
func (s *Server) openLedger(ctx context.Context, c *config.Config) error {
	test := c.Clock.Mode == "test"
	now := s.options.Now()
	if test && !c.Clock.Start.IsZero() {
		now = c.Clock.Start
	}
	o := ledger.Options{
		Now: now, Zone: c.Billing.Timezone, Currency: c.Billing.Currency, TestClock: test,
		MinFree: int64(c.Ledger.MinFree), Progress: s.progress,
	}
	if c.Ledger.Durability == "relaxed" {
		o.CommitInterval = c.Ledger.CommitInterval
	}
	l, err := ledger.Open(c.Ledger.Path, o)
	if err != nil {
		return explain(err, c.Ledger.Path)
	}
	s.ledger = l
	status, err := l.Status()
	if err != nil {
		return err
	}
	if test {
		s.clock = NewTestClock(later(status.LastLogged, status.Clock), l.SetClock)
	} else {
		s.clock = NewSystemClock(s.options.Now, status.LastLogged)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.CheckDisk(); err != nil {
		s.log.Warn("calls are refused", "error", err)
	}
	err = s.takeTerms(ctx, c)
	if errors.Is(err, ledger.ErrLowDisk) {
		// Reading goes on with a full disk, and so must the start.
		s.log.Error("new terms wait for room on the disk and the next start", "error", err)
		return nil
	}
	return err
}

// explain adds what to do next to an error of opening the ledger.
func explain(err error, path string) error {
	switch {
	case errors.Is(err, ledger.ErrInUse):
		return fmt.Errorf("%w; stop the tollgate that runs on it, or set another [ledger] path", err)
	case errors.Is(err, ledger.ErrCorrupt):
		return fmt.Errorf("%w; see what is wrong with: tollgate verify %s; or put a backup back with: tollgate restore FILE", err, path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; the file and its folder must be writable by the user that tollgate runs as", err)
	}
	return err
}

func (s *Server) progress(what string, done, total uint64) {
	s.notify.starting(what, done, total)
	s.log.Debug(what, "done", done, "total", total)
}

// takeTerms brings the ledger's versions up to the configuration.
func (s *Server) takeTerms(ctx context.Context, c *config.Config) error {
	list, err := termsOf(c)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	if err := checkPlans(s.ledger, c, now); err != nil {
		return err
	}
	changed := changedTerms(s.ledger, list, now)
	if s.clock.Test() && slices.ContainsFunc(changed, isAnew) {
		// Who came before the new terms and who came after is told by time, and a
		// test clock stands still.
		if err := s.clock.Advance(ctx, time.Millisecond); err != nil {
			return err
		}
		now = s.clock.Now()
	}
	return publish(s.ledger, changed, now, s.log)
}

// openGateway makes the gateway with the routes of the configuration.
func (s *Server) openGateway(c *config.Config) error {
	routing, err := s.routing(c)
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(gateway.Options{
		Ledger: s.ledger, Gate: s.gate, Routing: routing, Now: s.clock.Now, Log: s.log,
		Elapsed:        func() time.Duration { return s.options.Now().Sub(s.started) },
		Relaxed:        c.Ledger.Durability == "relaxed",
		StateDir:       filepath.Dir(c.Ledger.Path),
		MaxBody:        maxBody(c),
		TrustedProxies: c.Server.TrustedProxies,
	})
	return err
}

// maxBody is the gateway's limit; in the configuration 0 means none.
func maxBody(c *config.Config) int64 {
	if c.Server.MaxBody == 0 {
		return 1 << 56
	}
	return int64(c.Server.MaxBody)
}

// listen binds the listeners and gives each its handler.
func (s *Server) listen(c *config.Config) error {
	o := s.apiOptions()
	public, err := net.Listen("tcp", c.Server.Listen)
	if err != nil {
		return fmt.Errorf("listening at [server] listen: %w", err)
	}
	if public, err = s.encrypt(public, c); err != nil {
		return err
	}
	s.serve("public", public, s.public(s.closesUpgraded(api.NewCustomer(o))), true)
	path := cmp.Or(s.options.Socket, c.Server.Socket)
	socket, err := listenSocket(path)
	if err != nil {
		return err
	}
	s.socket = path
	s.serve("operator", socket, s.closesUpgraded(api.NewOperator(o)), false).ConnContext = api.WithPeer
	if c.Server.Metrics == "" {
		return nil
	}
	metrics, err := net.Listen("tcp", c.Server.Metrics)
	if err != nil {
		return fmt.Errorf("listening at [server] metrics: %w", err)
	}
	src := metricSources{s.ledger, s.gate, s.gateway, func() bool { return !s.draining.Load() && s.ledger.Ready() == nil }, s.jobs}
	s.serve("metrics", metrics, metricsHandler(s.options.Version, src), false)
	return nil
}

// encrypt puts the TLS of the configuration in front of l, which it closes when
// it cannot.
func (s *Server) encrypt(l net.Listener, c *config.Config) (net.Listener, error) {
	switch c.Server.TLS.Mode {
	case "files":
		cert, err := loadCertificate(c.Server.TLS)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		s.cert.current.Store(cert)
		return tls.NewListener(l, s.cert.config()), nil
	case "auto":
		return tls.NewListener(l, acmeConfig(c.Server, filepath.Join(filepath.Dir(c.Ledger.Path), "certificates"), s.log)), nil
	}
	return l, nil
}

func (s *Server) serve(name string, l net.Listener, h http.Handler, drains bool) *http.Server {
	server := newHTTPServer(s.base, h, s.log)
	s.listeners = append(s.listeners, served{name, l, server, drains})
	return server
}

// public serves tollgate's own paths, which win over every route, and the
// gateway behind them.
func (s *Server) public(customer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.own(w, r) {
			return
		}
		if config.ReservedBy(r.URL.Path) != "" {
			customer.ServeHTTP(w, r)
			return
		}
		s.gateway.ServeHTTP(w, r)
	})
}

// closesUpgraded makes changes of keys and users act at once on connections
// that were upgraded, which no call of theirs passes any more.
func (s *Server) closesUpgraded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			s.gateway.CloseUpgraded(s.clock.Now())
		}
	})
}

func (s *Server) apiOptions() api.Options {
	started := s.config.Load() // what gate and gateway have taken from it waits for the next start
	o := api.Options{
		Ledger: s.ledger, Book: s.book, Gate: s.gate, Now: s.clock.Now, Random: s.options.Random, Log: s.log,
		Settings: func() api.Settings {
			c := s.config.Load()
			return api.Settings{
				Plans: c.Plans, DefaultPlan: c.Billing.DefaultPlan, Packs: creditPacks(c), PublicURL: c.Server.PublicURL,
				FullProration: started.Billing.Proration == "full",
			}
		},
		Draining: s.draining.Load,
		ClientAddr: func(r *http.Request) netip.Addr {
			return gateway.ClientAddr(r, started.Server.TrustedProxies)
		},
		Version: s.options.Version,
		Started: s.started,
		Uptime:  func() int64 { return s.options.Now().Sub(s.started).Milliseconds() },
		Live:    s.live,
		Clock:   s.clock,
		Reload:  s.Reload,
		Watch:   s.watch(),
	}
	s.addBilling(&o)
	return o
}

func (s *Server) live() api.Live {
	n := s.gateway.Snapshot()
	return api.Live{
		Calls: n.Calls, InFlight: n.InFlight, Streaming: n.Streaming,
		BytesIn: n.BytesIn, BytesOut: n.BytesOut, Unrecorded: n.Unrecorded,
	}
}

// Addr is the address of the public listener, with its port where the
// configuration asked for any.
func (s *Server) Addr() net.Addr { return s.addr("public") }

// MetricsAddr is the address of the metrics listener; nil when it is off.
func (s *Server) MetricsAddr() net.Addr { return s.addr("metrics") }

func (s *Server) addr(name string) net.Addr {
	for _, l := range s.listeners {
		if l.name == name {
			return l.listener.Addr()
		}
	}
	return nil
}

// Socket is the path of the operator's unix socket.
func (s *Server) Socket() string { return s.socket }

// Ledger is the open ledger, which belongs to the server.
func (s *Server) Ledger() *ledger.Ledger { return s.ledger }

// Clock is the time that the server goes by.
func (s *Server) Clock() *Clock { return s.clock }

// Config is the configuration in force; it must not be changed.
func (s *Server) Config() *config.Config { return s.config.Load() }
