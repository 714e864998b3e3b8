package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

// impatient gives clients 50 ms for each piece.
func impatient(o *gateway.Options) { o.Patience = 50 * time.Millisecond }

// pause is longer than the patience of a gateway that is patient enough for a
// busy machine.
const pause = 250 * time.Millisecond

func patient(o *gateway.Options) { o.Patience = 200 * time.Millisecond }

// TestAnUploadThatStalls has clients that keep their connection and send no more
// of their body, or hardly any.
func TestAnUploadThatStalls(t *testing.T) {
	const document = `{"docs":[1`
	for _, tt := range []struct {
		name    string
		sources []gateway.Source
		header  string
		sent    string
		trickle bool
		reaches bool // the upstream is called before the body has come
	}{
		{name: "read first, nothing sent", sources: []gateway.Source{docsInRequest}, header: "Content-Length: 1000"},
		{name: "read first, some sent", sources: []gateway.Source{docsInRequest}, header: "Content-Length: 1000", sent: document},
		{name: "read first, a trickle", sources: []gateway.Source{docsInRequest}, header: "Content-Length: 100000", sent: document, trickle: true},
		{name: "read first, length unknown", sources: []gateway.Source{docsInRequest}, header: "Transfer-Encoding: chunked", sent: "a\r\n" + document + "\r\n"},
		{name: "read first, into a file", sources: []gateway.Source{docsInRequest}, header: "Content-Length: 1000000", sent: document + strings.Repeat(" ", 200_000)},
		{name: "read first, for its key", header: "Content-Length: 1000\r\nIdempotency-Key: one", sent: document},
		{name: "passed on, nothing sent", header: "Content-Length: 1000", reaches: true},
		{name: "passed on, some sent", header: "Content-Length: 1000", sent: document, reaches: true},
		{name: "passed on, length unknown", header: "Transfer-Encoding: chunked", sent: "a\r\n" + document + "\r\n", reaches: true},
	} {
		for _, limit := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, limit %v", tt.name, limit), func(t *testing.T) {
				w := newWorld(t, setup{routes: []gateway.Route{route("/", tt.sources...)}, options: impatient, limit: limit}, func(rw http.ResponseWriter, r *http.Request) {
					if !tt.reaches {
						t.Error("the upstream was called")
					}
					if _, err := io.ReadAll(r.Body); err == nil {
						t.Error("the upstream has a whole body")
					}
				})
				conn := w.dial()
				if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n%s\r\n\r\n%s", w.secret, tt.header, tt.sent); err != nil {
					t.Fatal(err)
				}
				var trickling sync.WaitGroup
				defer trickling.Wait()
				defer conn.Close()
				if tt.trickle {
					trickling.Go(func() {
						pace := time.NewTicker(5 * time.Millisecond)
						defer pace.Stop()
						for range pace.C {
							if _, err := io.WriteString(conn, " "); err != nil {
								return
							}
						}
					})
				}
				w.wait()
				lines := bufio.NewReader(conn)
				res, err := http.ReadResponse(lines, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || !strings.Contains(string(body), `"request_timeout"`) {
					t.Errorf("body %s, %v", body, err)
				}
				equal(t, "status", res.StatusCode, 408)
				equal(t, "type", res.Header.Get("Content-Type"), "application/problem+json")
				equal(t, "closes", res.Close, true)
				if n, _ := lines.Read(make([]byte, 1)); n != 0 {
					t.Error("more than one answer")
				}
				list := w.records()
				if !tt.reaches {
					equal(t, "records", len(list), 0)
					return
				}
				if len(list) != 1 {
					t.Fatalf("%d records, want 1", len(list))
				}
				equal(t, "outcome", list[0].Outcome, ledger.ClientLeft)
				equal(t, "status", list[0].Status, 408)
				equal(t, "billed", list[0].Billed, false)
				equal(t, "calls held", w.gate.Held().Calls, int64(0))
			})
		}
	}
}

// TestAStalledUploadLeavesItsKeyFree repeats a call whose body did not come.
func TestAStalledUploadLeavesItsKeyFree(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, options: impatient}, echo)
	conn := w.dial()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nIdempotency-Key: one\r\nContent-Length: 12\r\n\r\n{", w.secret)
	w.wait()
	equal(t, "repeat", w.call("POST", "/", `{"docs":[1]}`, "Idempotency-Key: one").StatusCode, 200)
	equal(t, "billed", w.record().Billed, true)
}

// TestARefusedUploadThatStalls has a client whose call is refused before its
// body is read: the connection does not wait for it for ever either.
func TestARefusedUploadThatStalls(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, options: impatient}, nil)
	conn := w.dial()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{")
	lines := bufio.NewReader(conn)
	res, err := http.ReadResponse(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	equal(t, "status", res.StatusCode, 401)
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("the connection: %v, want its end", err)
	}
}

// TestPatienceIsForTheBodyAlone has an upstream that takes longer than a client
// may, and a client that makes its next call later than that.
func TestPatienceIsForTheBodyAlone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sources []gateway.Source
		header  string
		body    string
	}{
		{"read first", []gateway.Source{docsInRequest}, "Content-Length: 12", `{"docs":[1]}`},
		{"read first, length unknown", []gateway.Source{docsInRequest}, "Transfer-Encoding: chunked", "c\r\n{\"docs\":[1]}\r\n0\r\n\r\n"},
		{"passed on", nil, "Content-Length: 12", `{"docs":[1]}`},
		{"passed on, length unknown", nil, "Transfer-Encoding: chunked", "c\r\n{\"docs\":[1]}\r\n0\r\n\r\n"},
	} {
		for _, limit := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, limit %v", tt.name, limit), func(t *testing.T) {
				w := newWorld(t, setup{routes: []gateway.Route{route("/", tt.sources...)}, options: impatient, limit: limit}, func(rw http.ResponseWriter, r *http.Request) {
					echo(rw, r)
					<-time.After(75 * time.Millisecond)
				})
				conn := w.dial()
				lines := bufio.NewReader(conn)
				for i := range 2 {
					<-time.After(time.Duration(i) * 75 * time.Millisecond)
					fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n%s\r\n\r\n%s", w.secret, tt.header, tt.body)
					res, err := http.ReadResponse(lines, nil)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					if err != nil || string(body) != `{"docs":[1]}` {
						t.Errorf("status %d, %q, %v", res.StatusCode, body, err)
					}
				}
				for _, u := range w.records() {
					equal(t, "outcome", u.Outcome, ledger.OK)
				}
			})
		}
	}
}

func TestUploadsOverHTTP2(t *testing.T) {
	t.Run("that stall", func(t *testing.T) {
		w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, options: impatient}, nil)
		client := w.second()
		body, more := io.Pipe()
		defer more.Close()
		res, err := client.Do(w.request("POST", "/", body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		equal(t, "status", res.StatusCode, 408)
	})
	t.Run("that go on during the answer", func(t *testing.T) {
		w := newWorld(t, setup{routes: []gateway.Route{route("/")}, options: patient}, func(rw http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(rw)
			if err := control.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			_ = control.Flush()
			_, _ = io.Copy(rw, r.Body)
		})
		client := w.second()
		body, more := io.Pipe()
		res, err := client.Do(w.request("POST", "/", body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		<-time.After(pause)
		go func() {
			_, _ = io.WriteString(more, "late")
			more.Close()
		}()
		got, err := io.ReadAll(res.Body)
		if err != nil || string(got) != "late" {
			t.Errorf("got %q, %v", got, err)
		}
		equal(t, "outcome", w.record().Outcome, ledger.OK)
	})
}

// TestAStreamMayPause has an upstream that says nothing for longer than a client
// may take to accept what it says.
func TestAStreamMayPause(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}, options: patient}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for n := range 2 {
			_ = http.NewResponseController(rw).Flush() // the headers first
			<-time.After(pause)
			fmt.Fprintf(rw, "data: {\"t\":%d}\n\n", n)
		}
	})
	for _, protocol := range []int{1, 2} {
		client := w.client
		if protocol == 2 {
			client = w.second()
		}
		res, err := client.Do(w.request("GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || strings.Count(string(body), "data:") != 2 {
			t.Errorf("HTTP/%d: got %q, %v", protocol, body, err)
		}
		equal(t, "protocol", res.ProtoMajor, protocol)
	}
	for _, u := range w.records() {
		equal(t, "outcome", u.Outcome, ledger.OK)
		equal(t, "tokens", u.Tokens, int64(1))
	}
}

// TestAnHTTP2ClientThatTakesNothing leaves its answer unread.
func TestAnHTTP2ClientThatTakesNothing(t *testing.T) {
	r := route("/", gateway.Source{Meter: "down", From: gateway.ResponseBytes})
	r.DrainBytes = 1000
	w := newWorld(t, setup{routes: []gateway.Route{r}, options: impatient}, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(rw, repeated('x'))
	})
	res, err := w.second().Do(w.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	w.wait()
	u := w.record()
	equal(t, "outcome", u.Outcome, ledger.ClientLeft)
	if u.Of("down") == 0 {
		t.Error("nothing was observed")
	}
	equal(t, "calls held", w.gate.Held().Calls, int64(0))
}

// closing is a body that net/http has closed, to write the answer, when its end
// is asked for once more.
type closing struct {
	io.Reader
	read     int
	answered chan struct{}
}

func (c *closing) Read(p []byte) (int, error) {
	if c.read == 0 {
		<-c.answered
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := io.LimitReader(c.Reader, int64(c.read)).Read(p)
	if c.read -= n; c.read == 0 {
		err = io.EOF
	}
	return n, err
}

func (c *closing) Close() error { return nil }

// announcing tells when the first piece of the answer passes.
type announcing struct {
	*httptest.ResponseRecorder
	once     sync.Once
	answered chan struct{}
}

func (a *announcing) Write(p []byte) (int, error) {
	a.once.Do(func() { close(a.answered) })
	return a.ResponseRecorder.Write(p)
}

// TestAnAnswerIsThereBeforeTheTransportSawTheUploadEnd has an upstream that is
// quicker than the transport that sends it the last piece.
func TestAnAnswerIsThereBeforeTheTransportSawTheUploadEnd(t *testing.T) {
	const size = 4 * megabyte
	w := newWorld(t, setup{routes: []gateway.Route{route("/")}}, func(rw http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("the upstream has %d bytes, %v", n, err)
		}
		rw.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(rw, repeated('x'), size)
	})
	answered := make(chan struct{})
	to := &announcing{ResponseRecorder: httptest.NewRecorder(), answered: answered}
	r := w.request("POST", "/", &closing{Reader: repeated('x'), read: size, answered: answered})
	r.ContentLength, r.RemoteAddr = size, "127.0.0.1:1"
	func() {
		defer func() { equal(t, "panic", recover(), nil) }()
		w.gateway.ServeHTTP(to, r)
	}()
	equal(t, "bytes", to.Body.Len(), size)
	equal(t, "outcome", w.record().Outcome, ledger.OK)
}
