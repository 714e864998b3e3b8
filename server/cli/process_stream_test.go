package cli_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/server/api"
)

const (
	mega      = 1 << 20
	wholeBody = 200 * mega
	otherBody = 24 * mega // enough to tell that memory does not grow with it
	wholeLine = 5 * mega
	// perCall is how much memory a call may take, however much passes.
	perCall = 2 * mega
)

// filler is n bytes that are the same each time and never repeat within a piece.
// They are letters, so that they can stand in JSON and in events.
type filler struct{ left, at int64 }

var letters = func() []byte {
	block := make([]byte, 64<<10+1) // no multiple of any buffer's size
	state := uint32(1)
	for i := range block {
		state = state*1664525 + 1013904223
		block[i] = 'a' + byte(state>>24)%26
	}
	return block
}()

func (f *filler) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	from := letters[f.at%int64(len(letters)):]
	n := copy(p[:min(int64(len(p)), f.left)], from)
	f.at, f.left = f.at+int64(n), f.left-int64(n)
	return n, nil
}

// body is a large body with head and foot around its filling.
func body(head string, n int64, foot string) io.Reader {
	return io.MultiReader(strings.NewReader(head), &filler{left: n}, strings.NewReader(foot))
}

func sum(r io.Reader) (hash string, n int64, err error) {
	h := sha256.New()
	n, err = io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), n, err
}

func mustSum(t *testing.T, r io.Reader) string {
	t.Helper()
	text, _, err := sum(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// peak looks at a child's memory as bytes pass.
type peak struct {
	c      *child
	before int64
	hash.Hash
	mu      sync.Mutex
	n, last int64
	most    int64
}

func newPeak(c *child) *peak {
	return &peak{c: c, before: c.memory("RssAnon"), Hash: sha256.New()}
}

func (p *peak) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n += int64(len(b)); p.n-p.last >= mega {
		p.last = p.n
		p.most = max(p.most, p.c.memory("RssAnon"))
	}
	return p.Hash.Write(b)
}

func (p *peak) grown() int64 { return max(0, p.most-p.before) }
func (p *peak) sum() string  { return fmt.Sprintf("%x", p.Hash.Sum(nil)) }

// bulk is an upstream of large and of broken answers.
type bulk struct {
	*httptest.Server
	release chan struct{} // lets the second half of a line go on
	halfway chan struct{} // told when the first half of a line is sent
	took    chan string   // the sum of an upload
	wrote   chan int64    // how much of a download was written
	failed  chan error    // and why not all of it
	request chan string   // Tollgate-Request of an answer that breaks off
}

const lineHead, lineFoot = `data: {"delta":"`, "\",\"usage\":{\"total_tokens\":1}}\n\ndata: {\"usage\":{\"total_tokens\":4321}}\n\ndata: [DONE]\n\n"
const jsonHead, jsonFoot = `{"text":"`, `","usage":{"total_tokens":987}}`

func newBulk(t *testing.T) *bulk {
	b := &bulk{
		release: make(chan struct{}), halfway: make(chan struct{}, 64), took: make(chan string, 1),
		wrote: make(chan int64, 1), failed: make(chan error, 1), request: make(chan string, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/download", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", fmt.Sprint(otherBody))
		}
		n, err := io.Copy(w, &filler{left: otherBody})
		if r.URL.Query().Has("told") {
			b.wrote <- n
			b.failed <- err
		}
	})
	mux.HandleFunc("/v1/json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, body(jsonHead, wholeBody, jsonFoot))
	})
	upload := func(w http.ResponseWriter, r *http.Request) {
		text, _, err := sum(r.Body)
		if err != nil {
			t.Errorf("reading an upload: %v", err)
		}
		b.took <- text
	}
	mux.HandleFunc("/v1/upload", upload)
	mux.HandleFunc("/v1/measured", upload)
	mux.HandleFunc("/v1/line", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		n := int64(wholeLine)
		if r.URL.Query().Has("short") {
			n = 100
		}
		f := &filler{left: n / 2}
		_, _ = io.WriteString(w, lineHead)
		_, _ = io.Copy(w, f)
		w.(http.Flusher).Flush()
		if r.URL.Query().Has("wait") {
			b.halfway <- struct{}{}
			<-b.release
		}
		f.left = n - n/2
		_, _ = io.Copy(w, f)
		_, _ = io.WriteString(w, lineFoot)
	})
	mux.HandleFunc("/v1/broken", func(w http.ResponseWriter, r *http.Request) {
		b.request <- r.Header.Get("X-Tollgate-Request")
		if kind := r.URL.Query().Get("as"); kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		if n := r.URL.Query().Get("length"); n != "" {
			w.Header().Set("Content-Length", n)
		}
		_, _ = io.WriteString(w, r.URL.Query().Get("text"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/v1/left", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"delta\":\"one\"}\n\n")
		w.(http.Flusher).Flush()
		<-b.release // the client has left
		// That is only noticed by who writes to it, and after its kernel has answered.
		step := time.NewTicker(5 * time.Millisecond)
		defer step.Stop()
		for range 100 {
			<-step.C
			_, _ = io.WriteString(w, "data: {\"delta\":\"more\"}\n\n")
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "data: {\"usage\":{\"total_tokens\":777}}\n\ndata: [DONE]\n\n")
	})
	b.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

func bulkConfig(url string) string {
	text := `
[server]
listen = "127.0.0.1:0"
max_body = "300MiB"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "api"
url = "` + url + `"
` + planOf("open", "")
	for _, route := range []struct{ path, source string }{
		{"/v1/download", `tokens = { bytes = "response" }`},
		{"/v1/json", `tokens = { response = "/usage/total_tokens", missing = "zero" }`},
		{"/v1/upload", `tokens = { fixed = 3 }`},
		{"/v1/measured", `tokens = { request = "/n" }`},
		{"/v1/line", `tokens = { response = "/usage/total_tokens", missing = "zero" }`},
		{"/v1/broken", `tokens = { response = "/usage/total_tokens", missing = "zero" }`},
		{"/v1/left", `tokens = { response = "/usage/total_tokens", missing = "zero" }`},
	} {
		text += `[[route]]
pattern = "` + route.path + `"
upstream = "api"
` + route.source + `
price = { tokens = "0.000001" }
drain = { bytes = "1MiB", seconds = 20 }
`
	}
	return text
}

// streaming is a child in front of a bulk upstream, with a user.
type streaming struct {
	*child
	t        *testing.T
	upstream *bulk
	user     api.AddedUser
	http     *http.Client
}

func newStreaming(t *testing.T, program string) *streaming {
	t.Helper()
	upstream := newBulk(t)
	c := spawn(t, program, childFolder(t, bulkConfig(upstream.URL)))
	s := &streaming{c, t, upstream, c.addUser("ann@example.com", "open"), newTestClient()}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if !t.Failed() {
			c.verify()
			c.stop()
		}
	})
	return s
}

func (s *streaming) request(ctx context.Context, method, path string, send io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, send)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", s.user.APIKey)
	return r
}

func (s *streaming) open(ctx context.Context, method, path string) *http.Response {
	s.t.Helper()
	answer, err := s.http.Do(s.request(ctx, method, path, nil))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		s.t.Fatalf("%s %s: got %d %s", method, path, answer.StatusCode, text)
	}
	return answer
}

// record waits for the record of a call.
func (s *streaming) record(id string) api.Record {
	s.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(patience); ; {
		page, err := s.client.Records(context.Background(), s.user.Email, api.RecordsQuery{Request: id})
		if err == nil {
			return page.Records[0]
		}
		if refused := (*api.Error)(nil); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
			s.t.Fatalf("looking for the record of %s: %v", id, err)
		}
		select {
		case <-look.C:
		case <-deadline:
			s.t.Fatalf("there is no record of %s", id)
		}
	}
}

func (s *streaming) checkBilled(answer *http.Response, outcome string, tokens int64) {
	s.t.Helper()
	if r := s.record(answer.Header.Get("Tollgate-Request")); r.Outcome != outcome || r.Tokens != tokens || !r.Billed || r.Cost.String() != fmt.Sprintf("%d.%09d", tokens/1e6, tokens%1e6*1000) {
		s.t.Errorf("the record is %+v, want outcome %s and %d tokens, billed", r, outcome, tokens)
	}
}

func (p *peak) check(t *testing.T, calls int64) {
	t.Helper()
	t.Logf("the process has grown by %.2f MB from %.1f MB, %.2f MB a call", float64(p.grown())/mega, float64(p.before)/mega, float64(p.grown())/mega/float64(calls))
	if p.grown() > calls*perCall {
		t.Errorf("%d calls have taken %d bytes of memory, more than %d each", calls, p.grown(), perCall)
	}
}

// TestLargeBodiesPassInLittleMemory: 200 MB in either direction, and bodies that
// are measured or not, with a length or without.
func TestLargeBodiesPassInLittleMemory(t *testing.T) {
	s := newStreaming(t, built(t))
	for range 8 { // connections, pools, the first of everything
		if _, err := io.Copy(io.Discard, s.open(t.Context(), "POST", "/v1/line?short").Body); err != nil {
			t.Fatal(err)
		}
	}
	for _, down := range []struct {
		name, path string
		body       io.Reader
		tokens     int64
	}{
		{"down with a length", "/v1/download?length", body("", otherBody, ""), otherBody},
		{"down in chunks", "/v1/download", body("", otherBody, ""), otherBody},
		{"down as measured JSON", "/v1/json", body(jsonHead, wholeBody, jsonFoot), 987},
	} {
		t.Run(down.name, func(t *testing.T) {
			p := newPeak(s.child)
			answer := s.open(t.Context(), "GET", down.path)
			if _, err := io.Copy(p, answer.Body); err != nil {
				t.Fatal(err)
			}
			if got, want := p.sum(), mustSum(t, down.body); got != want {
				t.Errorf("the body has the sum %s, the upstream's %s", got, want)
			}
			p.check(t, 1)
			s.checkBilled(answer, "ok", down.tokens)
		})
	}
	for _, up := range []struct {
		name, path string
		length     bool
		head       string
		filling    int64
		foot       string
		tokens     int64
	}{
		{"up with a length", "/v1/upload", true, "", otherBody, "", 3},
		{"up in chunks", "/v1/upload", false, "", otherBody, "", 3},
		{"up as measured JSON", "/v1/measured", true, `{"text":"`, wholeBody, `","n":1234}`, 1234},
	} {
		t.Run(up.name, func(t *testing.T) {
			p := newPeak(s.child)
			send := io.TeeReader(body(up.head, up.filling, up.foot), p)
			r := s.request(t.Context(), "POST", up.path, send)
			if r.ContentLength = -1; up.length {
				r.ContentLength = int64(len(up.head)) + up.filling + int64(len(up.foot))
			}
			answer, err := s.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("got %d", answer.StatusCode)
			}
			if got := <-s.upstream.took; got != p.sum() {
				t.Errorf("the upstream got a body with the sum %s, the client sent %s", got, p.sum())
			}
			p.check(t, 1)
			s.checkBilled(answer, "ok", up.tokens)
		})
	}
}

// TestLongLinesPassInLittleMemory: eight streams, each with an event of one line
// of 5 MB, at the same time; the last event's usage is billed.
func TestLongLinesPassInLittleMemory(t *testing.T) {
	s := newStreaming(t, built(t))
	const streams = 8
	want := mustSum(t, body(lineHead, wholeLine, lineFoot))
	var answers [streams]*http.Response
	for i := range answers { // as many connections and buffers as will be needed
		answers[i] = s.open(t.Context(), "POST", "/v1/line?short")
	}
	for _, a := range answers {
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			t.Fatal(err)
		}
	}
	p := newPeak(s.child)
	var sums [streams]string
	var all sync.WaitGroup
	for i := range answers {
		answers[i] = s.open(t.Context(), "POST", "/v1/line?wait")
		all.Go(func() {
			h := sha256.New()
			if _, err := io.Copy(io.MultiWriter(h, p), answers[i].Body); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
			sums[i] = fmt.Sprintf("%x", h.Sum(nil))
		})
	}
	for range streams {
		<-s.upstream.halfway
	}
	close(s.upstream.release)
	all.Wait()
	p.check(t, streams)
	for i, got := range sums {
		if got != want {
			t.Errorf("stream %d has the sum %s, the upstream's %s", i, got, want)
		}
		s.checkBilled(answers[i], "ok", 4321)
	}
}

// TestBrokenAnswersBreak: what the upstream breaks off is broken off for the
// client, and what was seen of its usage is billed.
func TestBrokenAnswersBreak(t *testing.T) {
	s := newStreaming(t, instrumented(t))
	for _, c := range []struct {
		name, as, length, text string
		billed                 bool
		tokens                 int64
	}{
		{"length", "application/json", "1000", `{"usage":{"total_tokens":5},"text":"`, true, 5},
		{"length, nothing seen", "application/json", "1000", `{"text":"`, false, 0},
		{"chunks", "application/json", "", `{"usage":{"total_tokens":6},"text":"`, true, 6},
		{"chunks, whole JSON", "application/json", "", `{"usage":{"total_tokens":7}}`, true, 7},
		{"stream", "text/event-stream", "", "data: {\"usage\":{\"total_tokens\":8}}\n\ndata: {\"delta\":\"x", true, 8},
		{"stream, after DONE", "text/event-stream", "", "data: {\"usage\":{\"total_tokens\":9}}\n\ndata: [DONE]\n\n", true, 9},
		{"stream, nothing seen", "text/event-stream", "", "data: {\"delta\":\"x\"}\n\n", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []byte
			answer, err := s.http.Do(s.request(t.Context(), "POST", "/v1/broken?"+url.Values{"as": {c.as}, "length": {c.length}, "text": {c.text}}.Encode(), nil))
			if err == nil {
				got, err = io.ReadAll(answer.Body)
				answer.Body.Close()
			}
			if err == nil {
				t.Errorf("the answer %q has come to an end, which the upstream has never sent", got)
			}
			if !strings.HasPrefix(c.text, string(got)) {
				t.Errorf("got %q of the answer, want what the upstream sent: %q", got, c.text)
			}
			if r := s.record(<-s.upstream.request); r.Outcome != "upstream_aborted" || r.Billed != c.billed || r.Tokens != c.tokens {
				t.Errorf("the record is %+v, want upstream_aborted, billed %v, %d tokens", r, c.billed, c.tokens)
			}
		})
	}
}

// TestClientsThatLeaveAreBilled: the upstream is read on within the caps of the
// route.
func TestClientsThatLeaveAreBilled(t *testing.T) {
	s := newStreaming(t, instrumented(t))
	t.Run("a stream", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		answer := s.open(ctx, "POST", "/v1/left")
		if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
			t.Fatalf("the first event: %q, %v", line, err)
		}
		leave()
		s.http.CloseIdleConnections()
		close(s.upstream.release)
		s.checkBilled(answer, "client_left", 777)
	})
	t.Run("a download, past the cap", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		answer := s.open(ctx, "GET", "/v1/download?told")
		if _, err := io.CopyN(io.Discard, answer.Body, mega); err != nil {
			t.Fatal(err)
		}
		leave()
		wrote, err := <-s.upstream.wrote, <-s.upstream.failed
		if err == nil {
			t.Errorf("the upstream could write all of its %d bytes, far past the cap", wrote)
		}
		r := s.record(answer.Header.Get("Tollgate-Request"))
		// What was on its way in buffers of the kernel is neither here nor there.
		if r.Outcome != "client_left" || !r.Billed || r.Tokens < mega || r.Tokens > wrote {
			t.Errorf("the record is %+v; the client has read %d bytes, the upstream has written %d", r, mega, wrote)
		}
	})
}
