package gateway

import (
	"errors"
	"io"
	"net/http"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// ServeHTTP is a call from its first byte to its record: route, caller, body,
// admission, upstream, answer.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	routing := g.routing.Load()
	rt, elsewhere := routing.match(r)
	preflight := routing.preflight(r)
	switch {
	case preflight != nil:
		rt = preflight
	case r.URL.Path == "*": // of the server as a whole, which net/http answers itself where that means anything
		g.refuse(w, "", admission.NewRefusal(admission.NoRoute, "A path begins with a slash."))
		return
	case elsewhere != nil:
		elsewhere.ServeHTTP(w, r)
		return
	case rt == nil || r.Method == http.MethodConnect: // no tunnels
		g.refuse(w, "", admission.NewRefusal(admission.NoRoute, "No route of this API fits "+r.Method+" on this path."))
		return
	}
	if routing.ambiguous(r, rt) {
		g.refuse(w, rt.Pattern, &admission.Refusal{
			Status: http.StatusBadRequest, Code: "ambiguous_path", Title: "Ambiguous path", NoRetry: true,
			Detail: "The path means another one once it is decoded. Send it without encoded slashes and dots.",
		})
		return
	}
	c := &call{g: g, route: rt, client: r.Context(), method: r.Method, start: g.Elapsed(), preflight: preflight != nil}
	c.prepare(w, r)
	if !g.calls.enter(c) {
		c.cancel()
		w.Header().Set("Connection", "close")
		g.refuse(w, rt.Pattern, &admission.Refusal{
			Status: http.StatusServiceUnavailable, Code: "shutting_down", Title: "Shutting down", RetryAfter: time.Second,
			Detail: "This gateway is shutting down. Try again shortly.",
		})
		return
	}
	defer func() {
		c.end()
		if c.w.replaced {
			_ = recover() // the proxy broke off an answer in whose place a refusal was sent
		}
	}()
	if !c.preflight {
		if refusal := c.admit(r); refusal != nil {
			admission.WriteProblem(w, refusal)
			return
		}
		g.stats.inFlight.Add(1)
		defer g.stats.inFlight.Add(-1)
	}
	if c.early != nil {
		c.forward(r)
	} else {
		out := r.WithContext(c)
		if r.ContentLength != 0 && c.spool.from == nil {
			out.Body = &c.upload
		}
		rt.upstream.proxy.ServeHTTP(&c.w, out)
	}
	c.w.end()
}

// refuse answers and counts a refusal.
func (g *Gateway) refuse(w http.ResponseWriter, route string, r *admission.Refusal) {
	admission.WriteProblem(w, g.Gate.Refuse(route, r))
}

// admit does all that comes before the upstream. The refusal is counted.
func (c *call) admit(r *http.Request) *admission.Refusal {
	g, pattern := c.g, c.route.Pattern
	if err := g.Ledger.Ready(); err != nil {
		return g.Gate.Refuse(pattern, notReady(err))
	}
	addr, proxied := clientAddr(r, g.TrustedProxies)
	c.proxied = proxied
	if !c.route.Public {
		var refusal *admission.Refusal
		if c.caller, refusal = g.Gate.Identify(r.Header, addr, g.Now()); refusal != nil {
			return refusal
		}
	}
	if refusal := c.readBody(r); refusal != nil {
		return g.Gate.Refuse(pattern, refusal)
	}
	// The time of admission is after the body's: a slow upload must not put a call
	// into a month that has ended.
	ask := admission.Ask{Now: g.Now(), Route: pattern, Asked: c.asked, Free: c.repeat.free}
	hold, refusal := g.Gate.Admit(c.caller, ask)
	if refusal != nil {
		if refusal.Cause != nil {
			g.Log.Error("a call was refused", "route", pattern, "error", refusal.Cause)
		}
		return refusal
	}
	c.hold, c.held = hold, c.asked
	c.counter = g.counter.Add(1) & 0xffffff
	c.id = ledger.NewRequestID(hold.Time, c.counter)
	c.values[requestValue] = c.id.String()
	return nil
}

func notReady(err error) *admission.Refusal {
	detail := "Calls cannot be recorded at the moment, so none is made. Try again shortly."
	if errors.Is(err, ledger.ErrLowDisk) {
		detail = "Calls cannot be recorded because the disk is almost full, so none is made. Try again later."
	}
	refusal := admission.NewRefusal(admission.LedgerUnavailable, detail)
	refusal.RetryAfter = 5 * time.Second
	return refusal
}

// readBody reads the request's body where that must be done before admission,
// and finds out what the call asks for.
func (c *call) readBody(r *http.Request) *admission.Refusal {
	g, m := c.g, c.route.measure
	if refusal := checkUpgrade(r.Header); refusal != nil {
		return refusal
	}
	if r.ContentLength > g.MaxBody {
		return tooLarge(g.MaxBody)
	}
	if c.caller != nil {
		if refusal := c.repeat.begin(&g.repeats, c.caller.Account.ID(), r); refusal != nil {
			return refusal
		}
	}
	c.reader = m.reader(r.Header, inflation*g.MaxBody)
	length := r.ContentLength
	if length != 0 && (c.reader != nil || c.repeat.body != nil || length < 0 && m.countsRequest) {
		c.upload.enough = steady
		if err := c.spool.fill(g.spooler, &c.upload, length, c); err != nil {
			return c.unread(err)
		}
		length = c.spool.size
	}
	if c.reader != nil {
		c.reader.finish()
	}
	if c.repeat.body != nil {
		refusal, err := c.repeat.compare(g.Ledger, g.Now())
		if err != nil {
			g.Log.Error("a call was refused", "error", err)
			return notReady(err)
		}
		if refusal != nil {
			return refusal
		}
	}
	var refusal *admission.Refusal
	c.asked, refusal = m.asked(c.reader, length, c.route.Hold)
	return refusal
}

// sees measures and hashes a piece of the request's body.
func (c *call) sees(p []byte) {
	if c.reader != nil {
		c.reader.feed(p)
	}
	if c.repeat.body != nil {
		c.repeat.body.Write(p)
	}
}

// unread is the refusal of a request whose body could not be read or kept.
func (c *call) unread(err error) *admission.Refusal {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return tooLarge(c.g.MaxBody)
	case errors.Is(err, errSpool):
		c.g.Log.Error("a call was refused", "error", err)
		refusal := admission.NewRefusal(admission.LedgerUnavailable, "The request's body cannot be kept at the moment, so the call is not made. Try again shortly.")
		refusal.RetryAfter = 5 * time.Second
		return refusal
	case c.upload.late.Load():
		return tooSlow()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &admission.Refusal{Status: http.StatusBadRequest, Code: "client_left", Title: "Request broken off", Detail: "The request did not arrive whole."}
	}
	return &admission.Refusal{Status: http.StatusBadRequest, Code: badRequest, Title: "Request cannot be read", Detail: "The request's body could not be read."}
}
