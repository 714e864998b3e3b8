package config

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Reserved lists tollgate's own paths. They and what is below them win over
// every route, and no route may equal one or lie inside it. The root page is
// tollgate's too, as "/{$}".
func Reserved() []string { return slices.Clone(reserved[:]) }

var reserved = [...]string{
	"/v1/billing", "/v1/usage", "/v1/keys", "/v1/signup", "/v1/check", "/v1/track", "/v1/authorize",
	"/api/v1/events", "/api/v1/meters", "/api/v1/customers", "/api/v1/subjects", "/webhooks/stripe",
	"/dashboard", "/invoices", "/healthz", "/readyz", "/openapi.json",
}

func (r *reading) upstreams() {
	seen := make(map[string]*node)
	for _, f := range r.raw.Upstreams {
		r.required(f.At, "name", "url")
		u := Upstream{Name: f.Name, Timeout: defaultTimeout, Line: f.At.line, Headers: r.headers(f.At.get("headers"), f.Headers)}
		if f.Timeout != nil {
			u.Timeout = *f.Timeout
		}
		if f.Name != "" {
			r.name(f.At.get("name"), f.Name)
			if first := seen[f.Name]; first != nil {
				r.problem(f.At.get("name"), "upstream %q is given twice; first in line %d", f.Name, first.line)
			}
			seen[f.Name] = f.At.get("name")
		}
		at := f.At.get("url")
		switch name, builtin := strings.CutPrefix(f.URL, "builtin:"); {
		case f.URL == "" || r.failed[at]:
		case builtin && name != "sample":
			r.wrong(at, "is %q; the only built-in upstream is \"builtin:sample\"", f.URL)
		case builtin:
			u.Builtin = name
		default:
			u.URL = r.webAddress(at, f.URL)
		}
		r.c.Upstreams = append(r.c.Upstreams, u)
	}
}

// headers resolves what is sent to an upstream.
func (r *reading) headers(n *node, given map[string]string) map[string]Secret {
	headers := make(map[string]Secret, len(given))
	for _, key := range slices.Sorted(maps.Keys(given)) {
		at, name, value := n.fields[key], http.CanonicalHeaderKey(key), given[key]
		_, again := headers[name]
		variable, fromEnv := strings.CutPrefix(value, "env:")
		switch {
		case !isToken(key):
			r.problem(at, "%q in %s is not the name of a header", key, n.place())
		case again:
			r.problem(at, "header %s is given twice in %s", name, n.place())
		case slices.Contains(hopByHop(), name) || strings.HasPrefix(name, "X-Tollgate-"):
			r.problem(at, "header %s in %s is set by tollgate itself", name, n.place())
		case fromEnv && r.getenv(variable) == "":
			r.problem(at, "header %s in %s: the environment has no %s", name, n.place(), variable)
		case fromEnv:
			value = r.getenv(variable)
		case slices.Contains(credentialHeaders(), name):
			r.problem(at, "header %s in %s: a secret does not belong in this file; write \"env:NAME\" and set NAME in the environment", name, n.place())
		case strings.Contains(value, "env:"):
			r.problem(at, "header %s in %s: \"env:NAME\" must be the whole value; let the variable hold all of it", name, n.place())
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			r.problem(at, "header %s in %s: the value has a line end in it", name, n.place())
		}
		headers[name] = Secret{value}
	}
	return headers
}

// hopByHop lists headers that belong to a connection, not to a call.
func hopByHop() []string {
	return []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
}

// credentialHeaders lists headers whose value is a secret.
func credentialHeaders() []string {
	return []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Api-Key"}
}

func (r *reading) routes() {
	used := make(map[string]bool)
	var accepted []routeFile
	mux := http.NewServeMux() // of the accepted ones
	for _, f := range r.raw.Routes {
		r.required(f.At, "pattern", "upstream")
		if f.Upstream != "" {
			r.upstreamOf(f)
			used[f.Upstream] = true
		}
		if f.Pattern != "" && r.pattern(f, mux, accepted) {
			accepted = append(accepted, f)
		}
		r.c.Routes = append(r.c.Routes, r.route(f))
	}
	for _, u := range r.c.Upstreams {
		if !used[u.Name] && u.Name != "" {
			at := slices.IndexFunc(r.raw.Upstreams, func(f upstreamFile) bool { return f.Name == u.Name })
			r.warn(r.raw.Upstreams[at].At, "upstream %q is used by no route", u.Name)
		}
	}
	if len(r.c.Routes) == 0 {
		r.warn(r.root, "there is no [[route]]: no call is forwarded")
	}
}

func (r *reading) upstreamOf(f routeFile) {
	var names []string
	for _, u := range r.raw.Upstreams {
		names = append(names, u.Name)
	}
	switch at := f.At.get("upstream"); {
	case r.failed[at] || slices.Contains(names, f.Upstream):
	case len(names) == 0:
		r.problem(at, "there is no upstream %q; add an [[upstream]] with that name", f.Upstream)
	default:
		r.problem(at, "there is no upstream %q%s", f.Upstream, meant(f.Upstream, names))
	}
}

// route gives a route its defaults and checks what concerns it alone.
func (r *reading) route(f routeFile) Route {
	route := Route{
		Pattern: f.Pattern, Upstream: f.Upstream, Price: f.Price, Hold: f.Hold, Timeout: f.Timeout, Line: f.At.line,
		Documents: r.source(f.Documents), Tokens: r.source(f.Tokens),
		Auth: AuthKey, BillStatus: defaultBillStatus(), Drain: defaultDrain(),
		Effective: f.Effective.in(r.c.Billing.Location),
	}
	for _, meter := range slices.Sorted(maps.Keys(f.Meters)) {
		if !r.meterName(f.At.get("meters", meter), meter) {
			continue
		}
		if s := r.source(f.Meters[meter]); s != nil {
			if route.Named == nil {
				route.Named = make(map[string]*Source)
			}
			route.Named[meter] = s
		}
	}
	if len(f.Meters) > maxMeters {
		r.wrong(f.At.get("meters"), "has more than %d meters", maxMeters)
	}
	if f.Auth != nil {
		route.Auth = *f.Auth
	}
	if f.BillStatus != nil {
		route.BillStatus = *f.BillStatus
	}
	if f.Drain != nil && f.Drain.Bytes != nil {
		route.Drain.Bytes = *f.Drain.Bytes
	}
	if f.Drain != nil && f.Drain.Seconds != nil {
		route.Drain.Seconds = *f.Drain.Seconds
	}
	if route.Auth == AuthNone && len(f.Price) > 0 {
		r.problem(f.At.get("price"), "route %q has auth = \"none\" and a price: without a key there is nobody to charge", f.Pattern)
	}
	if route.Auth == AuthNone && len(f.Hold) > 0 {
		r.problem(f.At.get("hold"), "route %q has auth = \"none\" and a hold: without a key there is nothing to reserve from", f.Pattern)
	}
	return route
}

// meterName checks the name of a meter of one's own.
func (d *decoder) meterName(n *node, name string) bool {
	if builtin := name == "documents" || name == "tokens"; builtin {
		d.problem(n, "meter %q is built in: write %s = { ... } in the route itself, not under meters", name, name)
		return false
	}
	if name == "calls" {
		d.problem(n, "meter \"calls\" is built in: each call counts as one")
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) || i == 64 {
			d.problem(n, "meter %q: a name begins with a small letter and goes on with small letters, digits and \"_\", 64 at most", name)
			return false
		}
	}
	if name == "" {
		d.problem(n, "a meter needs a name")
	}
	return name != ""
}

// pattern checks a route's pattern alone, against tollgate's own paths, and
// against the routes before it.
func (r *reading) pattern(f routeFile, mux *http.ServeMux, before []routeFile) bool {
	at := f.At.get("pattern")
	if err := register(http.NewServeMux(), f.Pattern); err != "" {
		r.problem(at, "route %q is not a pattern such as \"POST /v1/scan\": %s", f.Pattern, patternMistake(err))
		return false
	}
	method, where := splitPattern(f.Pattern)
	if method != strings.ToUpper(method) {
		r.problem(at, "route %q: methods are written in capitals: %q", f.Pattern, strings.ToUpper(method)+strings.TrimPrefix(f.Pattern, method))
		return false
	}
	if !clean(f.Pattern) {
		r.problem(at, "route %q can never match: \".\", \"..\" and \"//\" are taken out of a path before", f.Pattern)
		return false
	}
	if where == "/{$}" {
		r.problem(at, "route %q is tollgate's own root page; \"/\" catches all paths that nothing else does", f.Pattern)
		return false
	}
	if own := ReservedBy(where); own != "" {
		r.problem(at, "route %q lies in %s, which tollgate answers itself", f.Pattern, own)
		return false
	}
	if register(mux, f.Pattern) == "" {
		return true
	}
	for _, other := range before {
		conflict := register(http.NewServeMux(), other.Pattern, f.Pattern)
		if conflict == "" {
			continue
		}
		line := other.At.get("pattern").line
		if other.Pattern == f.Pattern {
			r.problem(at, "route %q is given twice; first in line %d", f.Pattern, line)
		} else {
			r.problem(at, "route %q overlaps route %q in line %d: %s", f.Pattern, other.Pattern, line, overlap(conflict))
		}
		break
	}
	return false
}

// register puts patterns into a ServeMux and returns what it panicked with.
func register(mux *http.ServeMux, patterns ...string) (refused string) {
	defer func() {
		if r := recover(); r != nil {
			refused = fmt.Sprint(r)
		}
	}()
	for _, p := range patterns {
		mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
	}
	return ""
}

// patternMistake takes the reason out of net/http's words:
// parsing "x": at offset 0: reason.
func patternMistake(refused string) string {
	if _, reason, ok := strings.Cut(refused, ": at offset "); ok {
		if _, reason, ok = strings.Cut(reason, ": "); ok {
			refused = reason
		}
	}
	switch refused {
	case "host/path missing /":
		return "the path must begin with \"/\""
	case "non-CONNECT pattern with unclean path can never match":
		return "\".\", \"..\" and \"//\" are taken out of a path before it is matched"
	}
	return strings.TrimPrefix(refused, "http: ")
}

// overlap takes the reason out of net/http's words, which name the patterns
// and where in the program they were registered, then explain.
func overlap(conflict string) string {
	_, reason, ok := strings.Cut(conflict, "):\n")
	if !ok {
		return conflict
	}
	lines := strings.SplitN(reason, "\n", 3)
	if len(lines) < 2 {
		return strings.TrimSuffix(reason, ".")
	}
	return strings.TrimSuffix(lines[0], ".") + ", " + strings.TrimSuffix(strings.Replace(lines[1], "But", "but", 1), ".")
}

// splitPattern is the method and the path of a valid pattern, as net/http
// takes them apart. The path has its percent escapes resolved.
func splitPattern(pattern string) (method, where string) {
	rest := pattern
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		method, rest = pattern[:i], strings.TrimLeft(pattern[i+1:], " \t")
	}
	where = rest[strings.IndexByte(rest, '/'):]
	if plain, err := url.PathUnescape(where); err == nil {
		where = plain
	}
	return method, where
}

// clean tells whether a pattern's path is as net/http makes it before it
// matches: without ".", ".." and empty segments.
func clean(pattern string) bool {
	p := pattern[strings.IndexByte(pattern, '/'):]
	cleaned := path.Clean(p)
	return p == cleaned || p == cleaned+"/"
}

// ReservedBy is the path of tollgate's own that a path equals or lies in, or "".
func ReservedBy(where string) string {
	for _, own := range reserved {
		if rest, ok := strings.CutPrefix(where, own); ok && (rest == "" || rest[0] == '/') {
			return own
		}
	}
	return ""
}
