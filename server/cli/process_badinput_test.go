package cli_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
)

// bad is one exchange on a connection of its own. The words KEY, MANAGE and so
// on stand for keys, HOST for the address.
type bad struct {
	name string
	send string
	// want is the answers in order: the status, and the code of its problem
	// document. An error without such a document, which is net/http's before it
	// knows what was asked, has the mark "bare"; a connection that is closed
	// without an answer is "closed".
	want string
	// cut ends the sending side of the connection after what was sent.
	cut bool
}

func get(path, headers string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + headers + "\r\n"
}

const withKey = "Authorization: Bearer KEY\r\n"

// scan is a call with a body, of a length that is given.
func scan(path, headers, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n%s%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, withKey, headers, len(body), body)
}

func chunked(headers, chunks string) string {
	return "POST /v1/scan HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + withKey + headers + "Transfer-Encoding: chunked\r\n\r\n" + chunks
}

const oneDoc = `{"docs":[1]}`
const oneDocChunk = "c\r\n" + oneDoc + "\r\n"

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// next is a request that a smuggler hides behind another.
const next = "GET /v1/hidden HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + withKey + "\r\n"

func badKeys() []bad {
	const missing, invalid = "401 missing_key", "401 invalid_key"
	bearer := func(value string) string { return get("/v1/search", "Authorization: "+value+"\r\n") }
	return []bad{
		{name: "none", send: get("/v1/search", ""), want: missing},
		{name: "in the query", send: get("/v1/search?api_key=KEY&key=KEY&access_token=KEY", ""), want: missing},
		{name: "in a cookie", send: get("/v1/search", "Cookie: key=KEY\r\n"), want: missing},
		{name: "empty header", send: bearer(""), want: invalid},
		{name: "Bearer alone", send: bearer("Bearer"), want: invalid},
		{name: "Bearer and spaces", send: bearer("Bearer    "), want: invalid},
		{name: "Basic", send: bearer("Basic S0VZOg=="), want: invalid},
		{name: "no scheme", send: bearer("KEY"), want: invalid},
		{name: "lower case scheme", send: bearer("bearer KEY"), want: "200"},
		{name: "spaces around", send: bearer("  Bearer   KEY  "), want: "200"},
		{name: "X-API-Key", send: get("/v1/search", "x-api-key: KEY\r\n"), want: "200"},
		{name: "cut short", send: bearer("Bearer SHORT"), want: invalid},
		{name: "too long", send: bearer("Bearer KEYx"), want: invalid},
		{name: "twice in one value", send: bearer("Bearer KEY KEY"), want: invalid},
		{name: "in a list", send: bearer("Bearer KEY,KEY"), want: invalid},
		{name: "mistyped", send: bearer("Bearer MISTYPED"), want: invalid},
		{name: "upper case", send: bearer("Bearer UPPER"), want: invalid},
		{name: "well-formed, of nobody", send: bearer("Bearer FORGED"), want: invalid},
		{name: "not ASCII", send: bearer("Bearer tg_live_\xc3\xa9\xff"), want: invalid},
		{name: "a megabyte", send: bearer("Bearer " + strings.Repeat("k", mega)), want: "431 bare"},
		{name: "revoked", send: bearer("Bearer REVOKED"), want: "401 key_revoked"},
		{name: "wrong network", send: bearer("Bearer ELSEWHERE"), want: "403 network_not_allowed"},
		{name: "wrong network, and a forged address", send: get("/v1/search", "Authorization: Bearer ELSEWHERE\r\nX-Forwarded-For: 10.1.2.3\r\nForwarded: for=10.1.2.3\r\nX-Real-IP: 10.1.2.3\r\n"), want: "403 network_not_allowed"},
		{name: "suspended user", send: bearer("Bearer SUSPENDED"), want: "403 account_suspended"},
		{name: "closed user", send: bearer("Bearer CLOSED"), want: "403 account_closed"},
		{name: "twice, the same", send: get("/v1/search", withKey+withKey), want: "200"},
		{name: "twice, different", send: get("/v1/search", withKey+"Authorization: Bearer MANAGE\r\n"), want: invalid},
		{name: "in both headers, different", send: get("/v1/search", withKey+"X-API-Key: MANAGE\r\n"), want: invalid},
		{name: "good one after a broken one", send: get("/v1/search", "Authorization: Basic eDp5\r\n"+withKey), want: invalid},
	}
}

func badHeaders() []bad {
	return []bad{
		{name: "no colon", send: get("/v1/search", withKey+"no colon\r\n"), want: "400 bare"},
		{name: "space before the colon", send: get("/v1/search", withKey+"X-Space : 1\r\n"), want: "400 bare"},
		{name: "space in the name", send: get("/v1/search", withKey+"X Space: 1\r\n"), want: "400 bare"},
		{name: "empty name", send: get("/v1/search", withKey+": 1\r\n"), want: "400 bare"},
		{name: "control character", send: get("/v1/search", withKey+"X-Bell: \x07\r\n"), want: "400 bare"},
		{name: "NUL", send: get("/v1/search", withKey+"X-Nul: a\x00b\r\n"), want: "400 bare"},
		{name: "bare CR", send: get("/v1/search", withKey+"X-Cr: a\rb: c\r\n"), want: "400 bare"},
		{name: "bytes that are not UTF-8", send: get("/v1/search", withKey+"X-Bytes: \xff\xfe\r\n"), want: "200"},
		{name: "folded", send: get("/v1/search", withKey+"X-Fold: a\r\n b\r\n"), want: "200"},
		{name: "first line folded", send: "GET /v1/search HTTP/1.1\r\n Host: HOST\r\n\r\n", want: "400 bare"},
		{name: "80 KB in one", send: get("/v1/search", withKey+"X-Huge: "+strings.Repeat("h", 80<<10)+"\r\n"), want: "431 bare"},
		{name: "5,000", send: get("/v1/search", withKey+strings.Repeat("X-Many: 1234567890\r\n", 5000)), want: "431 bare"},
		{name: "1,000", send: get("/v1/search", withKey+strings.Repeat("X-Many: 1\r\n", 1000)), want: "200"},
		{name: "no Host", send: "GET /v1/search HTTP/1.1\r\n" + withKey + "\r\n", want: "400 bare"},
		{name: "two Hosts", send: get("/v1/search", withKey+"Host: other\r\n"), want: "400 bare"},
		{name: "a strange Host", send: strings.Replace(get("/v1/search", withKey), "HOST", "a b/c", 1), want: "400 bare"},
		{name: "forged marks", send: get("/v1/search", withKey+"X-Tollgate-User: forged\r\nX-Tollgate-Request: forged\r\nX_Tollgate_User: forged\r\nx-tollgate_key: forged\r\nX-Tollgate-Plan: forged\r\nTollgate-Request: forged\r\n"), want: "200"},
		{name: "Connection names what tollgate sets", send: get("/v1/search", withKey+"Connection: X-Tollgate-Request, X-Tollgate-User, Authorization, X-Forwarded-For, Host, Content-Length\r\n"), want: "200"},
		{name: "Connection names the length", send: scan("/v1/scan", "Connection: Content-Length, Content-Type\r\n", oneDoc), want: "200"},
		{name: "Upgrade to nothing", send: get("/v1/search", withKey+"Connection: upgrade\r\nUpgrade: \xff\r\n"), want: "400 bad_upgrade"},
		{name: "Upgrade that the upstream does not want", send: get("/v1/search", withKey+"Connection: upgrade\r\nUpgrade: websocket\r\n"), want: "200"},
		{name: "Expect another thing", send: scan("/v1/scan", "Expect: the unexpected\r\n", oneDoc), want: "417 bare"},
		{name: "Expect 100-continue", send: scan("/v1/scan", "Expect: 100-continue\r\n", oneDoc), want: "100, 200"},
		{name: "Expect 100-continue, refused first", send: strings.ReplaceAll(scan("/v1/scan", "Expect: 100-continue\r\n", oneDoc), "KEY", "REVOKED"), want: "401 key_revoked"},
		{name: "preflight", send: "OPTIONS /v1/scan HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nOrigin: http://x\r\nAccess-Control-Request-Method: POST\r\n\r\n", want: "200"},
		{name: "preflight with a body", send: "OPTIONS /v1/scan HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nOrigin: http://x\r\nAccess-Control-Request-Method: POST\r\nContent-Length: 3\r\n\r\nabc", want: "401 missing_key"},
		{name: "idempotency key of 20 KB", send: scan("/v1/scan", "Idempotency-Key: "+strings.Repeat("i", 20<<10)+"\r\n", oneDoc), want: "200"},
		{name: "idempotency key of 20 KB again, for another", send: scan("/v1/scan", "Idempotency-Key: "+strings.Repeat("i", 20<<10)+"\r\n", oneDoc+" "), want: "422 idempotency_mismatch"},
	}
}

func badBodies() []bad {
	const unmeasurable, large = "400 unmeasurable_request", "413 body_too_large"
	var list []bad
	for _, b := range []struct{ name, body, want string }{
		{"one document", oneDoc, "200"},
		{"none", "", unmeasurable},
		{"spaces", "   \n", unmeasurable},
		{"no JSON", "docs=1", unmeasurable},
		{"cut short", `{"docs":[1,2]`, unmeasurable},
		{"cut in a string", `{"docs":["`, unmeasurable},
		{"something behind", oneDoc + oneDoc, unmeasurable},
		{"a comma too many", `{"docs":[1,]}`, unmeasurable},
		{"a comment", `{"docs":[1]/**/}`, unmeasurable},
		{"single quotes", `{'docs':[1]}`, unmeasurable},
		{"not an array", `{"docs":7}`, unmeasurable},
		{"an object", `{"docs":{"0":1}}`, unmeasurable},
		{"null", `{"docs":null}`, unmeasurable},
		{"absent", `{"dogs":[1]}`, unmeasurable},
		{"an array around", `[{"docs":[1]}]`, unmeasurable},
		{"duplicate key", `{"docs":[1],"docs":[1,2,3]}`, unmeasurable},
		{"duplicate key, escaped", `{"docs":[1],"\u0064ocs":[]}`, unmeasurable},
		{"duplicate key elsewhere", `{"a":1,"a":2,"docs":[1]}`, "200"},
		{"NaN", `{"docs":[NaN]}`, unmeasurable},
		{"control character in a string", "{\"docs\":[\"\x01\"]}", unmeasurable},
		{"NUL behind", oneDoc + "\x00", unmeasurable},
		{"not UTF-8 in what is not counted", "{\"docs\":[\"\xff\xfe\"]}", "200"},
		{"lone surrogate", `{"docs":["\ud800"]}`, "200"},
		{"byte order mark", "\xef\xbb\xbf" + oneDoc, "200"},
		{"UTF-16", "\xff\xfe{\x00\"\x00d\x00", unmeasurable},
		{"100,000 levels", `{"docs":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, unmeasurable},
		{"100,000 levels, not closed", `{"docs":` + strings.Repeat("[", 100_000), unmeasurable},
		{"as large as allowed", `{"docs":["` + strings.Repeat("x", mega-14) + `"]}`, "200"},
		{"too large", `{"docs":["` + strings.Repeat("x", mega) + `"]}`, large},
	} {
		list = append(list, bad{name: b.name, send: scan("/v1/scan", "", b.body), want: b.want})
	}
	for _, n := range []struct{ n, want string }{
		{"-1", unmeasurable}, {"-0", "200"}, {"1.5", unmeasurable}, {"42.0", "200"}, {"1e2", "200"}, {`"42"`, unmeasurable}, {"true", unmeasurable}, {"null", unmeasurable},
		{"1e400", unmeasurable}, {"9223372036854775808", unmeasurable}, {"99999999999999999999999999999999999999999999999999", unmeasurable},
		{"01", unmeasurable}, {"+1", unmeasurable}, {".5", unmeasurable}, {"1.", unmeasurable}, {"0x10", unmeasurable}, {"Infinity", unmeasurable}, {"1e-1", unmeasurable}, {"", unmeasurable},
	} {
		list = append(list, bad{name: "a count of " + n.n, send: scan("/v1/count", "", `{"n":`+n.n+`}`), want: n.want})
	}
	zip := "Content-Encoding: gzip\r\n"
	return append(list,
		bad{name: "gzip", send: scan("/v1/scan", zip, zipped(oneDoc)), want: "200"},
		bad{name: "gzip of no JSON", send: scan("/v1/scan", zip, zipped("docs")), want: unmeasurable},
		bad{name: "called gzip and is not", send: scan("/v1/scan", zip, oneDoc), want: unmeasurable},
		bad{name: "gzip cut short", send: scan("/v1/scan", zip, zipped(oneDoc)[:20]), want: unmeasurable},
		bad{name: "gzip with something behind", send: scan("/v1/scan", zip, zipped(oneDoc)+"behind"), want: unmeasurable},
		bad{name: "gzip with a wrong checksum", send: scan("/v1/scan", zip, zipped(oneDoc)[:len(zipped(oneDoc))-8]+"\x00\x00\x00\x00\x0c\x00\x00\x00"), want: unmeasurable},
		bad{name: "gzip bomb", send: scan("/v1/scan", zip, zipped(`{"docs":["`+strings.Repeat("0", 16*mega)+`"]}`)), want: unmeasurable},
		bad{name: "gzip in gzip", send: scan("/v1/scan", "Content-Encoding: gzip, gzip\r\n", zipped(zipped(oneDoc))), want: unmeasurable},
		bad{name: "two encodings", send: scan("/v1/scan", zip+zip, zipped(zipped(oneDoc))), want: unmeasurable},
		bad{name: "br", send: scan("/v1/scan", "Content-Encoding: br\r\n", "\x0b\x02\x80"), want: unmeasurable},
		bad{name: "an unknown encoding", send: scan("/v1/scan", "Content-Encoding: rot13\r\n", oneDoc), want: unmeasurable},
		bad{name: "shorter than its length", send: strings.Replace(scan("/v1/scan", "", oneDoc), "Length: 12", "Length: 120", 1), want: "400 client_left", cut: true},
		bad{name: "length far too large", send: strings.Replace(scan("/v1/scan", "", oneDoc), "Length: 12", "Length: 9000000000000000000", 1), want: large, cut: true},
		bad{name: "not measured, shorter than its length", send: strings.Replace(scan("/v1/any", "", oneDoc), "Length: 12", "Length: 120", 1), want: "400 client_left", cut: true},
		bad{name: "not measured, too large", send: scan("/v1/any", "", strings.Repeat("x", mega+1)), want: large},
		bad{name: "not measured, too large in chunks", send: strings.Replace(chunked("", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", mega+1, strings.Repeat("x", mega+1))), "/v1/scan", "/v1/any", 1), want: large},
		bad{name: "too large in chunks", send: chunked("", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", mega+1, strings.Repeat("x", mega+1))), want: large},
	)
}

func badFraming() []bad {
	length := func(values string) string {
		return "POST /v1/scan HTTP/1.1\r\nHost: HOST\r\n" + withKey + values + "\r\n" + oneDoc
	}
	return []bad{
		{name: "chunks", send: chunked("", oneDocChunk+"0\r\n\r\n"), want: "200"},
		{name: "chunks without an end", send: chunked("", oneDocChunk), want: "400 client_left", cut: true},
		{name: "half a chunk", send: chunked("", "c\r\n{\"do"), want: "400 client_left", cut: true},
		{name: "chunk size that is none", send: chunked("", "zz\r\n{}\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "negative chunk size", send: chunked("", "-1\r\n{}\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "chunk size past 64 bits", send: chunked("", "10000000000000000c\r\n"+oneDoc+"\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "chunk size with 0x", send: chunked("", "0xc\r\n"+oneDoc+"\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "chunk longer than its size", send: chunked("", "5\r\n"+oneDoc+"\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "chunk extension of 100 KB", send: chunked("", "c;"+strings.Repeat("e", 100<<10)+"\r\n"+oneDoc+"\r\n0\r\n\r\n"), want: "400 bad_request"},
		{name: "trailers", send: chunked("Trailer: X-Sum\r\n", oneDocChunk+"0\r\nX-Sum: 1\r\n\r\n"), want: "200"},
		{name: "forged trailers", send: chunked("Trailer: X-Tollgate-User, X-Api-Key, X_Tollgate_Plan\r\n", oneDocChunk+"0\r\nX-Tollgate-User: forged\r\nX-Api-Key: forged\r\nX_Tollgate_Plan: forged\r\n\r\n"), want: "200"},
		{name: "broken trailers", send: chunked("Trailer: X-Sum\r\n", oneDocChunk+"0\r\nX Sum\r\n\r\n"), want: "400 bad_request"},
		// The chunks count, and what is behind them is a call of its own.
		{name: "length and chunks", send: strings.Replace(chunked("Content-Length: 4\r\n", oneDocChunk+"0\r\n\r\n"), "Connection: close\r\n", "", 1) + next, want: "200, 200"},
		{name: "chunks and length", send: "POST /v1/scan HTTP/1.1\r\nHost: HOST\r\n" + withKey + "Transfer-Encoding: chunked\r\nContent-Length: 300\r\n\r\n" + oneDocChunk + "0\r\n\r\n" + next, want: "200, 200"},
		{name: "two lengths", send: length("Content-Length: 12\r\nContent-Length: 200\r\n") + next, want: "400 bare"},
		{name: "two lengths in one", send: length("Content-Length: 12, 200\r\n") + next, want: "400 bare"},
		{name: "one length twice", send: length("Content-Length: 12\r\nContent-Length: 12\r\nConnection: close\r\n"), want: "200"},
		{name: "negative length", send: length("Content-Length: -12\r\n") + next, want: "400 bare"},
		{name: "length with a sign", send: length("Content-Length: +12\r\n") + next, want: "400 bare"},
		{name: "length in hex", send: length("Content-Length: 0xc\r\n") + next, want: "400 bare"},
		{name: "length past 64 bits", send: length("Content-Length: 18446744073709551628\r\n") + next, want: "400 bare"},
		{name: "empty length", send: length("Content-Length: \r\n") + next, want: "400 bare"},
		{name: "an unknown transfer encoding", send: length("Transfer-Encoding: xchunked\r\n") + next, want: "501 bare"},
		{name: "two transfer encodings", send: length("Transfer-Encoding: chunked, identity\r\n") + next, want: "501 bare"},
		{name: "chunked twice", send: length("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + next, want: "501 bare"},
		{name: "transfer encoding with a tab", send: length("Transfer-Encoding:\x0bchunked\r\n") + next, want: "400 bare"},
		{name: "chunks in HTTP/1.0", send: strings.Replace(chunked("", oneDocChunk+"0\r\n\r\n"), "HTTP/1.1", "HTTP/1.0", 1), want: "400 unmeasurable_request"},
		{name: "a request behind a GET with a length", send: strings.Replace(get("/v1/search", withKey+"Content-Length: 32\r\n"), "Connection: close\r\n", "", 1) + "GET /v1/hidden HTTP/1.1\r\nHost: x" + get("/healthz", ""), want: "200, 200"},
		{name: "two requests at once", send: strings.Replace(scan("/v1/scan", "", oneDoc), "Connection: close\r\n", "", 1) + next, want: "200, 200"},
		{name: "nothing", send: "", want: "closed", cut: true},
		{name: "half a line", send: "GET /v1/sea", want: "400 bare", cut: true},
		{name: "half the headers", send: "GET /v1/search HTTP/1.1\r\nHost: HOST\r\nAuth", want: "400 bare", cut: true},
		{name: "noise", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", want: "400 bare"},
	}
}

func badPaths() []bad {
	line := func(line string) string {
		return line + "\r\nHost: HOST\r\nConnection: close\r\n" + withKey + "\r\n"
	}
	return []bad{
		{name: "HTTP/0.9", send: "GET /v1/search\r\n\r\n", want: "400 bare"},
		{name: "HTTP/1.0", send: "GET /v1/search HTTP/1.0\r\n" + withKey + "\r\n", want: "200"},
		{name: "HTTP/1.0 with a body", send: strings.Replace(scan("/v1/scan", "", oneDoc), "HTTP/1.1", "HTTP/1.0", 1), want: "200"},
		{name: "HTTP/1.9", send: line("GET /v1/search HTTP/1.9"), want: "200"},
		{name: "HTTP/2.0", send: line("GET /v1/search HTTP/2.0"), want: "505 bare"},
		{name: "h2c with prior knowledge", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", want: "404 no_route"},
		{name: "Upgrade to h2c", send: get("/v1/search", withKey+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), want: "200"},
		{name: "absolute form", send: line("GET http://elsewhere.example/v1/search HTTP/1.1"), want: "200"},
		{name: "absolute form of a path of tollgate's", send: line("GET http://elsewhere.example/v1/billing/usage HTTP/1.1"), want: "200"},
		{name: "absolute form with a user", send: line("GET http://KEY@elsewhere.example/v1/search HTTP/1.1"), want: "200"},
		{name: "a path without its slash", send: line("GET v1/search HTTP/1.1"), want: "400 bare"},
		{name: "no path", send: line("GET  HTTP/1.1"), want: "400 bare"},
		{name: "a space in the path", send: line("GET /v1/a b HTTP/1.1"), want: "400 bare"},
		{name: "a control character in the path", send: line("GET /v1/\x01 HTTP/1.1"), want: "400 bare"},
		{name: "a percent sign alone", send: line("GET /v1/% HTTP/1.1"), want: "400 bare"},
		{name: "NUL in the path", send: line("GET /v1/%00 HTTP/1.1"), want: "200"},
		{name: "60 KB of path", send: line("GET /" + strings.Repeat("p", 60<<10) + " HTTP/1.1"), want: "200"},
		{name: "a method that is none", send: line("G@T /v1/search HTTP/1.1"), want: "400 bare"},
		{name: "an unknown method", send: line("BREW /v1/search HTTP/1.1"), want: "200"},
		{name: "a method of 10 KB", send: line(strings.Repeat("M", 10<<10) + " /v1/search HTTP/1.1"), want: "200"},
		{name: "CONNECT", send: line("CONNECT elsewhere.example:443 HTTP/1.1"), want: "404 no_route"},
		{name: "CONNECT to a path", send: line("CONNECT /v1/search HTTP/1.1"), want: "404 no_route"},
		{name: "OPTIONS *", send: line("OPTIONS * HTTP/1.1"), want: "200"},
		{name: "GET *", send: line("GET * HTTP/1.1"), want: "404 no_route"},

		// tollgate's own paths are its own, however they are written.
		{name: "up and down", send: line("GET /v1/billing/../billing/usage HTTP/1.1"), want: "307"},
		{name: "out of billing", send: line("GET /v1/billing/../../v1/search HTTP/1.1"), want: "307"},
		{name: "up, encoded", send: line("GET /v1/billing/%2e%2e/search HTTP/1.1"), want: "404 not_found"},
		{name: "into billing", send: line("GET /v1/x/../billing/usage HTTP/1.1"), want: "307"},
		{name: "two slashes first", send: line("GET //v1/billing/usage HTTP/1.1"), want: "307"},
		{name: "two slashes", send: line("GET /v1//billing/usage HTTP/1.1"), want: "307"},
		{name: "two slashes after", send: line("GET /v1/billing//usage HTTP/1.1"), want: "307"},
		{name: "a slash encoded before", send: line("GET /v1%2fbilling/usage HTTP/1.1"), want: "404 not_found"},
		{name: "a slash encoded", send: line("GET /v1/billing%2fusage HTTP/1.1"), want: "404 not_found"},
		{name: "a letter encoded", send: line("GET /v1/%62illing/usage HTTP/1.1"), want: "200"},
		{name: "encoded twice", send: line("GET /v1/%2562illing/usage HTTP/1.1"), want: "200"},
		{name: "a slash behind", send: line("GET /v1/billing/usage/ HTTP/1.1"), want: "404 not_found"},
		{name: "NUL behind", send: line("GET /v1/billing/usage%00 HTTP/1.1"), want: "404 not_found"},
		{name: "a semicolon", send: line("GET /v1/billing/usage;x=1 HTTP/1.1"), want: "404 not_found"},
		{name: "upper case", send: line("GET /V1/Billing/usage HTTP/1.1"), want: "200"},
		{name: "nothing there yet", send: line("POST /v1/billing/refund HTTP/1.1"), want: "404 not_found"},
		{name: "without a key", send: get("/v1/billing/usage", ""), want: "401 missing_key"},
		{name: "open route, without a key", send: get("/open/a", ""), want: "200"},
		{name: "out of an open route", send: get("/open/../v1/search", ""), want: "307"},
		{name: "out of an open route, encoded", send: get("/open/%2e%2e/v1/search", ""), want: "400 ambiguous_path"},
		{name: "out of an open route, slashes encoded", send: get("/open/..%2fv1%2fsearch", ""), want: "400 ambiguous_path"},
		{name: "out of an open route, backslashes", send: get("/open/..\\v1\\search", ""), want: "400 ambiguous_path"},
		{name: "past a priced route", send: scan("/v1%2fscan", "", oneDoc), want: "400 ambiguous_path"},
		{name: "a slash encoded where it means nothing", send: line("GET /v1/a%2fb HTTP/1.1"), want: "200"},
	}
}

func badAPI() []bad {
	manage := "Authorization: Bearer MANAGE\r\n"
	send := func(method, path, headers, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n%s%sContent-Length: %d\r\n\r\n%s", method, path, manage, headers, len(body), body)
	}
	const isJSON = "Content-Type: application/json\r\n"
	return []bad{
		{name: "method", send: send("DELETE", "/v1/billing/usage", "", ""), want: "405 method_not_allowed"},
		{name: "unknown method", send: send("BREW", "/v1/keys", "", ""), want: "405 method_not_allowed"},
		{name: "unknown parameter", send: get("/v1/billing/usage?month=2025-01", withKey), want: "400 unknown_parameter"},
		{name: "months", send: get("/v1/billing/usage/history?months=37", withKey), want: "400 invalid_parameter"},
		{name: "months, huge", send: get("/v1/billing/usage/history?months=99999999999999999999", withKey), want: "400 invalid_parameter"},
		{name: "months, a word", send: get("/v1/billing/usage/history?months=six", withKey), want: "400 invalid_parameter"},
		{name: "limit, negative", send: get("/v1/usage/records?limit=-1", withKey), want: "400 invalid_parameter"},
		{name: "limit, zero", send: get("/v1/usage/records?limit=0", withKey), want: "400 invalid_parameter"},
		{name: "limit, too large", send: get("/v1/usage/records?limit=1000000", withKey), want: "400 invalid_parameter"},
		{name: "limit twice", send: get("/v1/usage/records?limit=1&limit=2", withKey), want: "400 invalid_parameter"},
		{name: "a broken escape", send: get("/v1/usage/records?from=%zz", withKey), want: "400 invalid_parameter"},
		{name: "a semicolon", send: get("/v1/usage/records?limit=1;limit=2", withKey), want: "400 invalid_parameter"},
		{name: "from, no time", send: get("/v1/usage/records?from=yesterday", withKey), want: "400 invalid_parameter"},
		{name: "from, year 0", send: get("/v1/usage/records?from=0000-01-01T00:00:00Z", withKey), want: "200"},
		{name: "from, year 9999", send: get("/v1/usage/records?from=9999-12-31T23:59:59Z", withKey), want: "200"},
		{name: "to before from", send: get("/v1/usage/records?from=2025-02-01T00:00:00Z&to=2025-01-01T00:00:00Z", withKey), want: "400 invalid_parameter"},
		{name: "cursor", send: get("/v1/usage/records?cursor=nonsense!", withKey), want: "400 invalid_parameter"},
		{name: "cursor of another's", send: get("/v1/usage/records?cursor=1", withKey), want: "400 invalid_parameter"},
		{name: "accept", send: get("/v1/usage/records", withKey+"Accept: image/png\r\n"), want: "406 not_acceptable"},
		{name: "60 KB of query", send: get("/v1/usage/records?x="+strings.Repeat("q", 60<<10), withKey), want: "400 unknown_parameter"},
		{name: "scope", send: get("/v1/keys", withKey), want: "403 scope_required"},
		{name: "no JSON", send: send("POST", "/v1/keys", isJSON, "name=x"), want: "400 invalid_json"},
		{name: "JSON array", send: send("POST", "/v1/keys", isJSON, "[]"), want: "400 invalid_json"},
		{name: "JSON null", send: send("POST", "/v1/keys", isJSON, "null"), want: "400 invalid_json"},
		{name: "JSON twice", send: send("PUT", "/v1/billing/limit", isJSON, `{"cents":1}{"cents":2}`), want: "400 invalid_json"},
		{name: "unknown field", send: send("POST", "/v1/keys", isJSON, `{"scop":"manage"}`), want: "400 invalid_field"},
		{name: "field in another case", send: send("PUT", "/v1/billing/limit", isJSON, `{"CENTS":5}`), want: "400 missing_field"},
		{name: "no limit", send: send("PUT", "/v1/billing/limit", isJSON, `{}`), want: "400 missing_field"},
		{name: "negative limit", send: send("PUT", "/v1/billing/limit", isJSON, `{"cents":-1}`), want: "400 invalid_field"},
		{name: "half a cent", send: send("PUT", "/v1/billing/limit", isJSON, `{"cents":1.5}`), want: "400 invalid_field"},
		{name: "limit past 64 bits", send: send("PUT", "/v1/billing/limit", isJSON, `{"cents":99999999999999999999}`), want: "400 invalid_field"},
		{name: "limit past what money holds", send: send("PUT", "/v1/billing/limit", isJSON, `{"cents":9000000000000000000}`), want: "400 invalid_field"},
		{name: "form", send: send("POST", "/v1/keys", "Content-Type: application/x-www-form-urlencoded\r\n", "name=x"), want: "415 unsupported_media_type"},
		{name: "no type", send: send("POST", "/v1/keys", "", "{}"), want: "415 unsupported_media_type"},
		{name: "two megabytes", send: send("POST", "/v1/keys", isJSON, `{"name":"`+strings.Repeat("n", 2*mega)+`"}`), want: "413 body_too_large"},
		{name: "a long name", send: send("POST", "/v1/keys", isJSON, `{"name":"`+strings.Repeat("n", 300)+`"}`), want: "400 invalid_field"},
		{name: "a control character in the name", send: send("POST", "/v1/keys", isJSON, `{"name":"a\u001b[2J"}`), want: "400 invalid_field"},
		{name: "network", send: send("POST", "/v1/keys", isJSON, `{"networks":["everywhere"]}`), want: "400 invalid_field"},
		{name: "expired before it begins", send: send("POST", "/v1/keys", isJSON, `{"expires":"2001-01-01T00:00:00Z"}`), want: "400 invalid_field"},
		{name: "key that is no number", send: send("DELETE", "/v1/keys/abc", "", ""), want: "404 key_not_found"},
		{name: "key past 32 bits", send: send("DELETE", "/v1/keys/4294967297", "", ""), want: "404 key_not_found"},
		{name: "key of another user", send: send("DELETE", "/v1/keys/1", "", ""), want: "404 key_not_found"},
		{name: "rotate for ever", send: send("POST", "/v1/keys/2/rotate", isJSON, `{"grace":"100000h"}`), want: "400 invalid_field"},
	}
}
