package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"time"
)

// Route is a pattern that the gateway serves.
type Route struct {
	Pattern  string // of net/http.ServeMux; it names the route's versions in the ledger
	Upstream string // the name of one of the upstreams
	Sources  []Source
	// Public routes need no key: their calls are counted without a user.
	Public bool
	// Bills tells which status codes of the upstream are billed; nil: 2xx and 3xx.
	Bills func(status int) bool
	// DrainBytes and DrainTime bound what is still read from the upstream after
	// the client has left.
	DrainBytes int64
	DrainTime  time.Duration
	// Hold is what is reserved, by meter, where the quantity is not known before
	// the call; at least 1.
	Hold map[string]int64
}

// Upstream is a server that calls are forwarded to.
type Upstream struct {
	Name string
	URL  *url.URL // its path, if any, is put before the call's
	// Timeout is how long the upstream may take to be reached, and again to begin
	// its answer after it has the request; 0: for ever.
	Timeout time.Duration
	Headers http.Header // set on each request to it
	// Dial, when set, makes the connections, for an upstream inside the process.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Routing is a set of routes and upstreams, checked and ready to serve.
type Routing struct {
	mux       *http.ServeMux
	literal   map[literal]*route // nil: the mux finds all
	upstreams map[string]*upstream
}

// literal is a pattern of one method and one path, which stands for itself. The
// mux finds it too, and prefers it to all others for this method and path, but
// takes as long as all the rest of admission.
type literal struct{ method, path string }

// literals is the routes with such patterns. Where a pattern names a host there
// are none: it may be preferred to them.
func literals(routes []Route, made []*route) map[literal]*route {
	found := make(map[literal]*route)
	for i, r := range routes {
		method, rest, ok := strings.Cut(r.Pattern, " ")
		if !ok {
			method, rest = "", r.Pattern
		}
		switch at := strings.TrimLeft(rest, " \t"); {
		case !strings.HasPrefix(at, "/"):
			return nil
		case method != "" && !strings.ContainsAny(at, "{%") && !strings.HasSuffix(at, "/") && path.Clean(at) == at:
			found[literal{method, at}] = made[i]
		}
	}
	return found
}

// route is a Route made ready. It is the handler that the mux finds.
type route struct {
	Route
	measure  *measure
	upstream *upstream
}

// ServeHTTP is never called: the mux is only asked for the route.
func (*route) ServeHTTP(http.ResponseWriter, *http.Request) {}

type upstream struct {
	Upstream
	transport *http.Transport
	proxy     *httputil.ReverseProxy // set when the routing is taken up
}

const (
	// idleTimeout is below the 5 seconds after which uvicorn and Node close an
	// idle connection, so that no call is sent into a connection being closed.
	idleTimeout = 4 * time.Second
	idleConns   = 1024
	dialTimeout = 10 * time.Second
)

// NewRouting checks routes and upstreams. Errors name the pattern.
func NewRouting(routes []Route, upstreams []Upstream) (*Routing, error) {
	r := &Routing{mux: http.NewServeMux(), upstreams: make(map[string]*upstream)}
	for _, u := range upstreams {
		if u.URL == nil || u.URL.Scheme != "http" && u.URL.Scheme != "https" || u.URL.Host == "" {
			return nil, fmt.Errorf("upstream %q: its URL must be like http://127.0.0.1:9000", u.Name)
		}
		if r.upstreams[u.Name] != nil {
			return nil, fmt.Errorf("upstream %q is given twice", u.Name)
		}
		r.upstreams[u.Name] = &upstream{Upstream: u, transport: newTransport(u)}
	}
	made := make([]*route, len(routes))
	for i, from := range routes {
		rt := &route{Route: from, upstream: r.upstreams[from.Upstream]}
		if rt.upstream == nil {
			return nil, fmt.Errorf("route %q: there is no upstream %q", rt.Pattern, rt.Route.Upstream)
		}
		if rt.Bills == nil {
			rt.Bills = func(status int) bool { return status >= 200 && status < 400 }
		}
		var err error
		if rt.measure, err = newMeasure(rt.Sources); err != nil {
			return nil, fmt.Errorf("route %q: %w", rt.Pattern, err)
		}
		if err := r.handle(rt); err != nil {
			return nil, fmt.Errorf("route %q: %w", rt.Pattern, err)
		}
		made[i] = rt
	}
	r.literal = literals(routes, made)
	return r, nil
}

// handle enters a route; the mux panics on a bad or conflicting pattern.
func (r *Routing) handle(rt *route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	r.mux.Handle(rt.Pattern, rt)
	return nil
}

// match finds the route of a call. Where there is none, elsewhere may answer it:
// a redirect to the path as the mux has it.
func (r *Routing) match(call *http.Request) (rt *route, elsewhere http.Handler) {
	if call.URL.RawPath == "" {
		if rt := r.literal[literal{call.Method, call.URL.Path}]; rt != nil {
			return rt, nil
		}
	}
	h, pattern := r.mux.Handler(call)
	if rt, ok := h.(*route); ok {
		return rt, nil
	}
	if pattern == "" {
		return nil, nil
	}
	return nil, h
}

// preflight finds the route that a browser's preflight asks about.
func (r *Routing) preflight(call *http.Request) *route {
	if call.Method != http.MethodOptions || call.Header.Get("Origin") == "" || call.ContentLength != 0 {
		return nil
	}
	method := call.Header.Get("Access-Control-Request-Method")
	if method == "" {
		return nil
	}
	asked := *call
	asked.Method = method
	rt, _ := r.match(&asked)
	return rt
}

func newTransport(u Upstream) *http.Transport {
	dial := u.Dial
	if dial == nil {
		timeout := dialTimeout
		if u.Timeout > 0 {
			timeout = min(timeout, u.Timeout)
		}
		dial = (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext:           dial,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // bytes pass as they are
		MaxIdleConns:          0,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleTimeout,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: u.Timeout,
	}
}

// same tells whether the connections to o can serve u.
func (u *upstream) same(o *upstream) bool {
	return o != nil && u.Dial == nil && o.Dial == nil && u.Timeout == o.Timeout && u.URL.String() == o.URL.String()
}
