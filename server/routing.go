package server

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"tollgate/server/config"
	"tollgate/server/gateway"
	"tollgate/server/pricing"
	"tollgate/server/sample"
)

// routing makes the gateway's routes and upstreams of a configuration.
func (s *Server) routing(c *config.Config) (*gateway.Routing, error) {
	var upstreams []gateway.Upstream
	byName := map[string]*config.Upstream{}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		byName[u.Name] = u
		made, err := s.upstream(u)
		if err != nil {
			return nil, err
		}
		upstreams = append(upstreams, made)
	}
	var routes []gateway.Route
	for i := range c.Routes {
		r := &c.Routes[i]
		made := newRoute(r, c.Plans)
		// A route with a timeout of its own has an upstream of its own, with the
		// same address.
		if u := byName[r.Upstream]; u != nil && r.Timeout != 0 && r.Timeout != u.Timeout {
			made.Upstream = fmt.Sprintf("%s within %s", r.Upstream, r.Timeout)
			if !slices.ContainsFunc(upstreams, func(u gateway.Upstream) bool { return u.Name == made.Upstream }) {
				twin, err := s.upstream(u)
				if err != nil {
					return nil, err
				}
				twin.Name, twin.Timeout = made.Upstream, r.Timeout
				upstreams = append(upstreams, twin)
			}
		}
		routes = append(routes, made)
	}
	return gateway.NewRouting(routes, upstreams)
}

func (s *Server) upstream(u *config.Upstream) (gateway.Upstream, error) {
	made := gateway.Upstream{Name: u.Name, URL: u.URL, Timeout: u.Timeout, Headers: http.Header{}}
	for name, value := range u.Headers {
		made.Headers.Set(name, value.Reveal())
	}
	if u.Builtin != "" {
		at, err := s.sampleAPI()
		if err != nil {
			return made, err
		}
		made.URL = at
	}
	return made, nil
}

// sampleAPI starts the built-in sample API when it is first asked for, on a port
// of its own, and is where it listens. It goes through a real connection, so
// that it behaves as any upstream does.
func (s *Server) sampleAPI() (*url.URL, error) {
	if s.sample == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("starting the built-in sample API: %w", err)
		}
		s.sample = &served{name: "sample", listener: l, http: newHTTPServer(s.base, sample.Handler(), s.log)}
		go s.sample.http.Serve(l) // returns when Close closes it
	}
	return &url.URL{Scheme: "http", Host: s.sample.listener.Addr().String()}, nil
}

func newRoute(r *config.Route, plans []pricing.Plan) gateway.Route {
	made := gateway.Route{
		Pattern: r.Pattern, Upstream: r.Upstream, Public: r.Auth == config.AuthNone,
		Bills: r.BillStatus.Contains, Hold: r.Hold,
		DrainBytes: int64(r.Drain.Bytes), DrainTime: time.Duration(r.Drain.Seconds) * time.Second,
	}
	for _, meter := range r.Meters() {
		made.Sources = append(made.Sources, newSource(meter, r.Source(meter), counts(meter, r, plans)))
	}
	return made
}

// counts tells whether a meter is priced, limited or burns credits anywhere, so
// that a call in which it cannot be read must not pass.
func counts(meter string, r *config.Route, plans []pricing.Plan) bool {
	if r.Price[meter] != 0 {
		return true
	}
	return slices.ContainsFunc(plans, func(p pricing.Plan) bool {
		_, quota := p.Quota[meter]
		priced := slices.ContainsFunc(p.Prices, func(price pricing.Price) bool { return price.Meter == meter })
		return quota || priced || p.Overage[meter] != 0 || p.Credits[meter] != 0
	})
}

func newSource(meter string, s *config.Source, required bool) gateway.Source {
	made := gateway.Source{
		Meter: meter, Pointer: s.Pointer, Count: s.Count, Header: s.Header, Strip: s.Strip, N: s.N, Required: required,
		From: map[config.SourceKind]gateway.From{
			config.FromRequest: gateway.RequestJSON, config.FromResponse: gateway.ResponseJSON, config.FromHeader: gateway.ResponseHeader,
			config.RequestBytes: gateway.RequestBytes, config.ResponseBytes: gateway.ResponseBytes, config.Fixed: gateway.Fixed,
		}[s.Kind],
		Missing: map[config.Missing]gateway.Missing{
			config.MissingNever: gateway.NoRule, config.MissingZero: gateway.Zero,
			config.MissingEstimate: gateway.Estimate, config.MissingFixed: gateway.Instead,
		}[s.Missing],
		Else: s.MissingN,
	}
	return made
}
