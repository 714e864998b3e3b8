package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

func TestRequestsPassUnchanged(t *testing.T) {
	var seen *http.Request
	var body []byte
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}, headers: http.Header{"X-From": {"gateway"}}}, func(rw http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
	})
	text := "\x00\xff any bytes \r\n"
	a := w.call("PUT", "/a%2Fb/%E4?q=1;2&x=%zz&y", text, "X-Custom: 1", "X-API-Key: "+w.secret, "X-Tollgate-User: 99", "X_tollgate_plan: gold", "x-tollgate-other: 1", "Range: bytes=0-1", "Accept-Encoding: br, gzip;q=0.5", "X-Forwarded-For: 1.2.3.4", "Idempotency-Key: k")
	equal(t, "status", a.StatusCode, 200)
	equal(t, "method", seen.Method, "PUT")
	equal(t, "uri", seen.RequestURI, "/a%2Fb/%E4?q=1;2&x=%zz&y")
	equal(t, "body", string(body), text)
	equal(t, "length", seen.ContentLength, int64(len(text)))
	u := w.record()
	host := w.front.Listener.Addr().String()
	want := http.Header{
		"X-Custom": {"1"}, "X-From": {"gateway"}, "Accept-Encoding": {"gzip"}, "Content-Length": {"15"}, "User-Agent": {"Go-http-client/1.1"}, "Idempotency-Key": {"k"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {host}, "X-Forwarded-Proto": {"http"},
		"X-Tollgate-Request": {u.RequestID().String()}, "X-Tollgate-User": {"1"}, "X-Tollgate-Key": {"1"}, "X-Tollgate-Plan": {"free"},
	}
	if diff := cmp.Diff(want, seen.Header); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersPassUnchanged(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "<a>")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		rw.Header().Set("X-One", "1")
		rw.Header().Add("X-Two", "2")
		rw.Header().Add("X-Two", "3")
		rw.Header().Set("Trailer", "X-Sum")
		rw.WriteHeader(207)
		_, _ = io.WriteString(rw, "hello")
		rw.Header().Set("X-Sum", "7")
		rw.Header().Set(http.TrailerPrefix+"X-More", "8")
	})
	r := w.request("GET", "/", nil, "Range: bytes=0-1")
	var early int
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		early = code
		equal(t, "hint", h.Get("Link"), "<a>")
		return nil
	}}))
	a := w.do(r)
	equal(t, "early hints", early, 103)
	equal(t, "status", a.StatusCode, 207)
	equal(t, "body", string(a.body), "hello")
	equal(t, "header", a.Header.Get("X-One"), "1")
	if diff := cmp.Diff([]string{"2", "3"}, a.Header["X-Two"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"7"}, "X-More": {"8"}}, a.Trailer); diff != "" {
		t.Error(diff)
	}
	equal(t, "record", w.record().Status, 207)
}

func TestTrailersOfARequestPass(t *testing.T) {
	for _, sources := range [][]gateway.Source{nil, {{Meter: "up", From: gateway.RequestBytes}}} {
		var trailer http.Header
		w := newWorld(t, setup{routes: []gateway.Route{route("/", sources...)}}, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			trailer = r.Trailer
		})
		r := w.request("POST", "/", io.NopCloser(strings.NewReader("x")))
		r.Trailer = http.Header{"X-Sum": {"7"}}
		w.do(r)
		equal(t, "trailer", trailer.Get("X-Sum"), "7")
	}
}

func TestOnlyTrustedProxiesTellWhereACallComesFrom(t *testing.T) {
	var seen http.Header
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}, options: func(o *gateway.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	}}, func(rw http.ResponseWriter, r *http.Request) { seen = r.Header })
	if _, err := w.ledger.ChangeKey(time.Now(), "test", w.key.ID, func(k *ledger.Key) error {
		k.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, "from the network", w.call("GET", "/", "", "X-Forwarded-For: 198.51.100.1, 192.0.2.7, 10.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: api.example.com").StatusCode, 200)
	equal(t, "forwarded for", seen.Get("X-Forwarded-For"), "198.51.100.1, 192.0.2.7, 10.1.1.1, 127.0.0.1")
	equal(t, "forwarded proto", seen.Get("X-Forwarded-Proto"), "https")
	equal(t, "forwarded host", seen.Get("X-Forwarded-Host"), "api.example.com")
	equal(t, "forged", w.call("GET", "/", "", "X-Forwarded-For: 192.0.2.7, 198.51.100.1").code, "network_not_allowed")
	equal(t, "none", w.call("GET", "/", "").code, "network_not_allowed")
}

func TestRefusalsNeverReachTheUpstream(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("POST /v1/scan"), route("/tree/")}, options: func(o *gateway.Options) { o.MaxBody = 1000 }}, func(rw http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the upstream", r.Method, r.URL)
	})
	no := func(r *http.Request) *http.Request { r.Header.Del("Authorization"); return r }
	tests := []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"no key", no(w.request("POST", "/v1/scan", nil)), 401, "missing_key"},
		{"no key that is one", w.request("POST", "/v1/scan", nil, "Authorization: Bearer tg_live_x"), 401, "invalid_key"},
		{"no such route", w.request("POST", "/v1/other", nil), 404, "no_route"},
		{"another method", w.request("GET", "/v1/scan", nil), 404, "no_route"},
		{"no such route, no key", no(w.request("POST", "/v1/other", nil)), 404, "no_route"},
		{"path that is not clean", w.request("POST", "/v1//scan", nil), 0, ""},
		{"body too large", w.request("POST", "/v1/scan", strings.NewReader(strings.Repeat("x", 1001))), 413, "body_too_large"},
		{"preflight of no route", w.request("OPTIONS", "/v1/scan", nil, "Origin: http://a", "Access-Control-Request-Method: DELETE"), 404, "no_route"},
		{"no preflight without origin", w.request("OPTIONS", "/v1/scan", nil, "Access-Control-Request-Method: POST"), 404, "no_route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.do(tt.r)
			if tt.status == 0 {
				if a.StatusCode < 300 || a.StatusCode == 404 && a.code != "no_route" {
					t.Errorf("status %d", a.StatusCode)
				}
				return
			}
			equal(t, "status", a.StatusCode, tt.status)
			equal(t, "code", a.code, tt.code)
			if strings.Contains(string(a.body), w.secret) {
				t.Error("the key is in the answer")
			}
		})
	}
	a := w.call("GET", "/tree?x=1", "")
	equal(t, "redirect", a.Header.Get("Location"), "/tree/?x=1")
	equal(t, "records", len(w.records()), 0)
}

func TestABodyWithoutLengthIsBoundedToo(t *testing.T) {
	for _, sources := range [][]gateway.Source{nil, {{Meter: "up", From: gateway.RequestBytes}}} {
		w := newWorld(t, setup{routes: []gateway.Route{route("/", sources...)}, options: func(o *gateway.Options) { o.MaxBody = 100_000 }}, echo)
		a := w.do(w.request("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_001)))))
		equal(t, "code", a.code, "body_too_large")
		a = w.do(w.request("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)))))
		equal(t, "length", len(a.body), 100_000)
		for _, u := range w.records() {
			equal(t, "billed", u.Billed, u.Status == 200)
		}
	}
}

func TestPreflightsPassUnmetered(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("POST /v1/scan", tokensAt("/t", gateway.Instead))}}, func(rw http.ResponseWriter, r *http.Request) {
		equal(t, "method", r.Method, "OPTIONS")
		equal(t, "secret", r.Header.Get("Authorization"), "")
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.WriteHeader(204)
	})
	r := w.request("OPTIONS", "/v1/scan", nil, "Origin: http://a", "Access-Control-Request-Method: POST")
	r.Header.Del("Authorization")
	a := w.do(r)
	equal(t, "status", a.StatusCode, 204)
	equal(t, "header", a.Header.Get("Access-Control-Allow-Origin"), "*")
	equal(t, "records", len(w.records()), 0)
}

func TestPublicRoutesAreCountedWithoutAUser(t *testing.T) {
	open := route("/open", tokensAt("/t", gateway.Zero))
	open.Public = true
	w := newWorld(t, setup{routes: []gateway.Route{open}}, func(rw http.ResponseWriter, r *http.Request) {
		equal(t, "user", r.Header.Get("X-Tollgate-User"), "")
		_, _ = io.WriteString(rw, `{"t":3}`)
	})
	r := w.request("GET", "/open", nil)
	r.Header.Del("Authorization")
	equal(t, "status", w.do(r).StatusCode, 200)
	u := w.record()
	equal(t, "user", u.User, ledger.UserID(0))
	equal(t, "tokens", u.Tokens, int64(3))
}

func TestHeadersOfLimits(t *testing.T) {
	s := setup{routes: []gateway.Route{route("/")}}
	s.plan.ID, s.plan.Name, s.plan.OnExceed, s.plan.Billing = "small", "Small", "block", "monthly"
	s.plan.Quota, s.plan.PerMinute = map[string]int64{"calls": 3}, 60
	w := newWorld(t, s, reply("{}"))
	a := w.call("GET", "/", "")
	equal(t, "limit", a.Header.Get("X-Ratelimit-Limit"), "3")
	equal(t, "remaining", a.Header.Get("X-Ratelimit-Remaining"), "2")
	if !strings.Contains(a.Header.Get("Ratelimit-Policy"), `"minute";q=60;w=60`) || !strings.Contains(a.Header.Get("Ratelimit"), `"month";r=2`) {
		t.Errorf("limits: %q %q", a.Header.Get("Ratelimit-Policy"), a.Header.Get("Ratelimit"))
	}
	w.call("GET", "/", "")
	w.call("GET", "/", "")
	a = w.call("GET", "/", "")
	equal(t, "code", a.code, "quota_exceeded")
	equal(t, "no retry", a.Header.Get("X-Should-Retry"), "false")
	equal(t, "records", len(w.records()), 3)
}

// TestStreamsPassChunkByChunk has the upstream send its next piece only when the
// client has the one before.
func TestStreamsPassChunkByChunk(t *testing.T) {
	next := make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.WriteHeader(200)
		_ = http.NewResponseController(rw).Flush()
		for i := range 5 {
			<-next
			fmt.Fprintf(rw, "data: {\"t\":%d}\n\n", i)
			_ = http.NewResponseController(rw).Flush()
		}
		<-next
	})
	res, err := w.client.Do(w.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 5 {
		next <- struct{}{}
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: {\"t\":%d}\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		equal(t, "records before the end", len(w.records()), 0)
		equal(t, "streaming", w.gateway.Snapshot().Streaming, int64(1))
	}
	next <- struct{}{}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
	equal(t, "tokens", w.record().Tokens, int64(4))
}

func TestReloadLeavesRunningCallsAlone(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	w := newWorld(t, setup{routes: []gateway.Route{route("/old")}}, func(rw http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-finish
		_, _ = io.WriteString(rw, "done")
	})
	answers := make(chan answer)
	go func() { answers <- w.call("GET", "/old", "") }()
	<-arrived
	routing, err := gateway.NewRouting(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway.Reload(routing)
	equal(t, "code", w.call("GET", "/old", "").code, "no_route")
	close(finish)
	a := <-answers
	equal(t, "body", string(a.body), "done")
	equal(t, "route", w.ledger.VersionByID(w.record().Route).Name, "/old")
}

func TestAClientThatWaitsToSendItsBody(t *testing.T) {
	for _, sources := range [][]gateway.Source{nil, {docsInRequest}} {
		w := newWorld(t, setup{routes: []gateway.Route{route("/", sources...)}}, echo)
		conn := w.dial()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n", w.secret)
		lines := bufio.NewReader(conn)
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		fmt.Fprint(conn, `{"docs":[1]}`)
		res, err := http.ReadResponse(lines, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == 100 { // the upstream's own
			if res, err = http.ReadResponse(lines, nil); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "body", string(body), `{"docs":[1]}`)

		// A refused one is not asked for its body.
		conn = w.dial()
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n")
		if res, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
		equal(t, "status", res.StatusCode, 401)
	}
}

func TestNoTunnels(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}}, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was called") })
	conn := w.dial()
	fmt.Fprintf(conn, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nX-API-Key: %s\r\n\r\n", w.secret)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", res.StatusCode, 404)
}

func TestRoutingThatIsWrong(t *testing.T) {
	api := gateway.Upstream{Name: "api", URL: mustURL("http://127.0.0.1:1")}
	for name, tt := range map[string]struct {
		routes    []gateway.Route
		upstreams []gateway.Upstream
		want      string
	}{
		"no upstream":      {[]gateway.Route{route("/x")}, nil, `route "/x": there is no upstream "api"`},
		"overlap":          {[]gateway.Route{route("/a/{x}"), route("/{y}/b")}, []gateway.Upstream{api}, `conflicts`},
		"bad pattern":      {[]gateway.Route{route("GET  ")}, []gateway.Upstream{api}, `route "GET  "`},
		"bad pointer":      {[]gateway.Route{route("/x", tokensAt("t", gateway.Zero))}, []gateway.Upstream{api}, `JSON Pointer "t"`},
		"meter twice":      {[]gateway.Route{route("/x", tokensAt("/t", gateway.Zero), tokensAt("/u", gateway.Zero))}, []gateway.Upstream{api}, `meter "tokens"`},
		"calls":            {[]gateway.Route{route("/x", gateway.Source{Meter: "calls", From: gateway.Fixed})}, []gateway.Upstream{api}, `meter "calls"`},
		"no header":        {[]gateway.Route{route("/x", gateway.Source{Meter: "a", From: gateway.ResponseHeader})}, []gateway.Upstream{api}, `names no header`},
		"negative":         {[]gateway.Route{route("/x", gateway.Source{Meter: "a", From: gateway.Fixed, N: -1})}, []gateway.Upstream{api}, `fixed quantity`},
		"upstream twice":   {nil, []gateway.Upstream{api, api}, `given twice`},
		"upstream no HTTP": {nil, []gateway.Upstream{{Name: "x", URL: mustURL("ftp://x")}}, `upstream "x"`},
	} {
		if _, err := gateway.NewRouting(tt.routes, tt.upstreams); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		peer string
		for_ []string
		want string
	}{
		{"192.0.2.1:1", nil, "192.0.2.1"},
		{"192.0.2.1:1", []string{"1.1.1.1"}, "192.0.2.1"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"1.1.1.1"}, "1.1.1.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 2.2.2.2"}, "2.2.2.2"},
		{"10.0.0.1:1", []string{"1.1.1.1, 2.2.2.2 ,10.9.9.9"}, "2.2.2.2"},
		{"10.0.0.1:1", []string{"1.1.1.1", "2.2.2.2", "10.9.9.9"}, "2.2.2.2"},
		{"10.0.0.1:1", []string{"1.1.1.1, nonsense, 10.9.9.9"}, "10.9.9.9"},
		{"10.0.0.1:1", []string{"1.1.1.1, , 10.9.9.9"}, "10.9.9.9"},
		{"10.0.0.1:1", []string{"10.8.8.8, 10.9.9.9"}, "10.8.8.8"},
		{"10.0.0.1:1", []string{"2.2.2.2:4711"}, "2.2.2.2"},
		{"10.0.0.1:1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"::ffff:2.2.2.2"}, "2.2.2.2"},
		{"[::ffff:10.0.0.1]:1", []string{"2.2.2.2"}, "2.2.2.2"},
		{"[fd00::1%eth0]:1", []string{"2.2.2.2"}, "2.2.2.2"},
		{"@", []string{"2.2.2.2"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.for_ != nil {
			r.Header["X-Forwarded-For"] = tt.for_
		}
		equal(t, fmt.Sprint(tt.peer, tt.for_), gateway.ClientAddr(r, trusted).String(), tt.want)
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:1", "1.1.1.1, 2.2.2.2,10.9.9.9")
	f.Add("[fd00::1%x]:1", "[::1]:x,,")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := gateway.ClientAddr(r, trusted)
		host, err := netip.ParseAddrPort(peer)
		if err == nil && !trusted[0].Contains(host.Addr().Unmap()) && got != host.Addr().Unmap() {
			t.Errorf("an untrusted peer chose %v", got)
		}
	})
}

func TestAStaleConnectionIsReplayed(t *testing.T) {
	// An upstream that closes its connections after each answer, without saying so.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var calls atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				body, _ := io.ReadAll(r.Body)
				calls.Add(1)
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			conn.Close()
		}
	}()
	w := newWorld(t, setup{routes: []gateway.Route{route("/", gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n", Required: true})}}, echo)
	routing, err := gateway.NewRouting([]gateway.Route{route("/", gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/n", Required: true})}, []gateway.Upstream{{Name: "api", URL: mustURL("http://" + l.Addr().String())}})
	if err != nil {
		t.Fatal(err)
	}
	w.gateway.Reload(routing)
	for i := range 20 {
		a := w.call("POST", "/", `{"n":1}`, fmt.Sprintf("Idempotency-Key: %d", i))
		equal(t, "status", a.StatusCode, 200)
		equal(t, "body", string(a.body), `{"n":1}`)
	}
	equal(t, "calls", calls.Load(), int64(20))
}
