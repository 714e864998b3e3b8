package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"

	"tollgate/ledger"
	"tollgate/server/admission"
	"tollgate/server/pricing"
)

// The headers that the gateway sets, in their canonical form.
const (
	requestHeader  = "Tollgate-Request"
	creditsHeader  = "X-Credits-Remaining"
	forRequest     = "X-Tollgate-Request"
	forUser        = "X-Tollgate-User"
	forKey         = "X-Tollgate-Key"
	forPlan        = "X-Tollgate-Plan"
	ownMark        = "x-tollgate-"
	forwardedFor   = "X-Forwarded-For"
	forwardedHost  = "X-Forwarded-Host"
	forwardedProto = "X-Forwarded-Proto"
)

// The codes of answers in place of the upstream's.
const (
	upstreamUnreachable = "upstream_unreachable"
	upstreamTimeout     = "upstream_timeout"
	requestTimeout      = "request_timeout"
	badRequest          = "bad_request"
	bodyTooLarge        = "body_too_large"
)

// rewrite makes the request to the upstream.
func (g *Gateway) rewrite(p *httputil.ProxyRequest) {
	c := callOf(p.Out.Context())
	out, h := p.Out, p.Out.Header
	out.URL.RawQuery = p.In.URL.RawQuery // as it came: it is not ours to clean
	p.SetURL(c.route.upstream.URL)
	out.Trailer = p.In.Trailer // filled in when the body has been read
	dropPrivate(out.Trailer)   // of what is announced, or there already
	if c.spool.from != nil && p.In.ContentLength != 0 {
		delete(h, "Expect") // the client's wait is over
		out.Body = c.spool.open()
		out.GetBody = func() (io.ReadCloser, error) { return c.spool.open(), nil }
	}

	dropPrivate(h)
	c.tellOrigin(p.In, h)
	if c.route.measure.answer != nil && !c.preflight {
		delete(h, "Range")
		delete(h, "If-Range")
		if accept := p.In.Header["Accept-Encoding"]; accept != nil { // without it nothing is compressed
			c.set(h, 3, "Accept-Encoding", acceptable(accept))
		}
	}
	if !c.preflight {
		c.set(h, 4, forRequest, c.values[requestValue])
		if c.caller != nil {
			c.set(h, 5, forUser, strconv.FormatUint(uint64(c.caller.Account.ID()), 10))
			c.set(h, 6, forKey, strconv.FormatUint(uint64(c.caller.Key.ID), 10))
			c.set(h, 7, forPlan, c.hold.PlanVersion.Name)
		}
	}
	for name, values := range c.route.upstream.Headers {
		h[name] = values
		if name == "Host" && len(values) > 0 {
			out.Host = values[0]
			delete(h, name)
		}
	}
}

// setLimits tells the client what is left of its limits and credits.
func (c *call) setLimits(h http.Header) {
	admission.SetLimitHeaders(h, c.hold.Limits)
	if c.caller != nil && c.hold.PlanTerms.Billing == pricing.Prepaid {
		c.set(h, 10, creditsHeader, c.hold.CreditsLeft.Short())
	}
}

// requestValue is the place of the request id in call.values.
const requestValue = 8

// set sets a header whose value is kept in the call.
func (c *call) set(h http.Header, i int, name, value string) {
	c.values[i] = value
	h[name] = c.values[i : i+1 : i+1]
}

// tellOrigin tells the upstream where the call comes from. What a client says of
// itself is passed on from trusted proxies only. in may have h for its headers.
func (c *call) tellOrigin(in *http.Request, h http.Header) {
	before := in.Header[forwardedFor]
	delete(h, "Forwarded")
	delete(h, forwardedFor)
	if peer, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		if c.proxied && len(before) > 0 {
			peer = strings.Join(before, ", ") + ", " + peer
		}
		c.set(h, 0, forwardedFor, peer)
	}
	host, proto := in.Host, "http"
	if in.TLS != nil {
		proto = "https"
	}
	if c.proxied {
		if v := in.Header.Get(forwardedHost); v != "" {
			host = v
		}
		if v := in.Header.Get(forwardedProto); v != "" {
			proto = v
		}
	}
	c.set(h, 1, forwardedHost, host)
	c.set(h, 2, forwardedProto, proto)
}

// dropPrivate takes out what is between the client and the gateway: the key, and
// what only the gateway may say.
func dropPrivate(h http.Header) {
	delete(h, "Authorization")
	delete(h, "X-Api-Key")
	for name := range h {
		if isOwn(name) {
			delete(h, name)
		}
	}
}

// isOwn tells whether a header is one that only the gateway may set. Servers of
// CGI and its kin take "_" for "-", so that those names count too.
func isOwn(name string) bool {
	if len(name) < len(ownMark) || name[0] != 'X' && name[0] != 'x' {
		return false
	}
	for i := range len(ownMark) {
		c := name[i]
		if c == '_' {
			c = '-'
		} else if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != ownMark[i] {
			return false
		}
	}
	return true
}

// answered takes up the upstream's answer once its headers are there. An error
// sends it to unanswered.
func (g *Gateway) answered(res *http.Response) error {
	c := callOf(res.Request.Context())
	if c.preflight {
		return nil
	}
	if res.StatusCode == http.StatusSwitchingProtocols && !strings.EqualFold(res.Header.Get("Upgrade"), res.Request.Header.Get("Upgrade")) {
		return errors.New("the upstream switched to a protocol that was not asked for")
	}
	c.upload.unlimit()
	c.status = res.StatusCode
	c.answer.begin(c.route.measure, res, g.DecodeLimit)
	h := res.Header
	c.set(h, 9, requestHeader, c.values[requestValue])
	c.setLimits(h)
	c.streaming = true
	g.stats.streaming.Add(1)
	if !bodyless(c.method, res) {
		if c.answer.headers != nil {
			c.grow()
		}
		c.tail = answerBody{ReadCloser: res.Body, call: c, length: res.ContentLength}
		res.Body = &c.tail
		return nil
	}
	outcome := ledger.OK
	if c.left() {
		outcome = ledger.ClientLeft
	}
	if err := c.record(whollyRead, outcome, c.status); err != nil {
		return errUnrecorded
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		g.stats.upgraded.Add(1)
		g.calls.upgrade(c)
	}
	return nil
}

// unanswered answers a call that has no answer of the upstream.
func (g *Gateway) unanswered(w http.ResponseWriter, r *http.Request, err error) {
	c := callOf(r.Context())
	outcome, refusal := c.blame(err)
	switch {
	case errors.Is(err, errUnrecorded):
		refusal = unrecorded()
	case c.preflight || c.recorded:
	default:
		status := refusal.Status
		if outcome == ledger.ClientLeft && !c.upload.over.Load() && !c.upload.late.Load() {
			status = statusLeft
		}
		if c.record(brokenOff, outcome, status) != nil {
			refusal = unrecorded()
		}
		w.Header().Set(requestHeader, c.values[requestValue])
		c.setLimits(w.Header())
	}
	g.Log.Debug("no answer of the upstream", "request", c.values[requestValue], "upstream", c.route.upstream.Name, "error", err)
	admission.WriteProblem(w, refusal)
}

// blame tells why there is no answer.
func (c *call) blame(err error) (ledger.Outcome, *admission.Refusal) {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case c.upload.over.Load():
		return ledger.ClientLeft, tooLarge(c.g.MaxBody)
	case c.upload.late.Load():
		return ledger.ClientLeft, tooSlow()
	case c.upload.failed.Load() || c.left():
		return ledger.ClientLeft, &admission.Refusal{Status: http.StatusBadRequest, Code: "client_left", Title: "Request broken off", Detail: "The request did not arrive whole."}
	case isNet && timeout.Timeout():
		return ledger.TimedOut, &admission.Refusal{
			Status: http.StatusGatewayTimeout, Code: upstreamTimeout, Title: "Upstream too slow",
			Detail: "The service behind this gateway did not answer in time. The call is not billed.",
		}
	}
	return ledger.Unreachable, &admission.Refusal{
		Status: http.StatusBadGateway, Code: upstreamUnreachable, Title: "Upstream not reachable",
		Detail: "The service behind this gateway could not be reached. The call is not billed.",
	}
}

// tooSlow is the refusal of a request whose body stopped coming.
func tooSlow() *admission.Refusal {
	return &admission.Refusal{
		Status: http.StatusRequestTimeout, Code: requestTimeout, Title: "Request too slow",
		Detail: "The rest of the request's body did not come in time. Send the request again.",
	}
}

func tooLarge(most int64) *admission.Refusal {
	return &admission.Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: bodyTooLarge, Title: "Request body too large", NoRetry: true,
		Detail: "The request's body is larger than the " + strconv.FormatInt(most, 10) + " bytes that are taken.",
	}
}
