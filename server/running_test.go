package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/server"
	"tollgate/server/api"
	"tollgate/server/config"
)

// running is a whole appliance on ports of its own, as `tollgate serve` starts
// it, in a folder of its own.
type running struct {
	*server.Server
	t      *testing.T
	folder string
	client *api.Client
	http   *http.Client
	log    *logBuffer
	cancel context.CancelFunc
	ended  chan error
	fails  bool // Run is meant to end with an error
}

// logBuffer keeps what was logged; safe for concurrent use by way of slog.
type logBuffer struct{ lines chan string }

func (b *logBuffer) Write(p []byte) (int, error) {
	select {
	case b.lines <- string(p):
	default:
	}
	return len(p), nil
}

// all takes what was logged since the last time.
func (b *logBuffer) all() string {
	var text strings.Builder
	for {
		select {
		case line := <-b.lines:
			text.WriteString(line)
		default:
			return text.String()
		}
	}
}

const serverTable = `
[server]
listen = "127.0.0.1:0"
metrics = "localhost:0"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
`

// scanRoute forwards POST /v1/scan to url and counts its documents.
func scanRoute(url string) string {
	return `
[[upstream]]
name = "api"
url = "` + url + `"
[[route]]
pattern = "POST /v1/scan"
upstream = "api"
documents = { request = "/docs", count = true }
price = { documents = "0.01" }
`
}

// writeConfig writes a configuration into folder and returns its path.
func writeConfig(t *testing.T, folder, text string) string {
	t.Helper()
	path := filepath.Join(folder, "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(folder string) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		return config.Load(filepath.Join(folder, "config.toml"), func(string) string { return "" })
	}
}

// start runs an appliance with a configuration and stops it when the test ends.
func start(t *testing.T, text string) *running {
	t.Helper()
	folder := t.TempDir()
	writeConfig(t, folder, text)
	return startIn(t, folder)
}

func startIn(t *testing.T, folder string) *running {
	t.Helper()
	log := &logBuffer{make(chan string, 1000)}
	s, err := server.New(t.Context(), server.Options{
		Load: load(folder), Version: "test", Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		Server: s, t: t, folder: folder, client: api.Dial(s.Socket()), log: log, cancel: cancel, ended: make(chan error, 1),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute},
	}
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		r.client.Close()
		r.http.CloseIdleConnections()
		r.cancel()
		if err := r.wait(); err != nil && !r.fails {
			t.Errorf("the server ended with %v", err)
		}
	})
	return r
}

// stop ends the server as SIGTERM does, and waits for it.
func (r *running) stop() {
	r.t.Helper()
	r.client.Close()
	r.http.CloseIdleConnections()
	r.cancel()
	if err := r.wait(); err != nil {
		r.t.Fatalf("stopping: %v", err)
	}
}

// wait returns what Run returned.
func (r *running) wait() error {
	err := <-r.ended
	r.ended <- err
	return err
}

// user adds a user on a plan and returns the id and the key.
func (r *running) user(email, plan string) api.AddedUser {
	r.t.Helper()
	u, err := r.client.AddUser(r.t.Context(), api.AddUser{Email: email, Plan: plan})
	if err != nil {
		r.t.Fatalf("adding a user: %v", err)
	}
	return u
}

func (r *running) url(path string) string { return "http://" + r.Addr().String() + path }

// answer is an answer read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the code of a problem document, or "".
func (a answer) code() string {
	var p api.Problem
	_ = json.Unmarshal([]byte(a.body), &p) // no problem document: no code
	return p.Code
}

// do makes a call and reads the whole answer.
func (r *running) do(method, path, key, body string) (answer, error) {
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url(path), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// call is do for calls that must be answered.
func (r *running) call(method, path, key, body string) answer {
	r.t.Helper()
	a, err := r.do(method, path, key, body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// docs is a scan of n documents.
func docs(n int) string {
	return `{"docs":[` + strings.TrimSuffix(strings.Repeat(`{"id":"a","content":"hello"},`, n), ",") + `]}`
}

// counting is an upstream that counts the calls and the documents it is given.
type counting struct {
	*httptest.Server
	calls, documents atomic.Int64
}

func newCounting(t *testing.T) *counting {
	u := &counting{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Docs []json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("the upstream was sent no JSON: %v", err)
		}
		u.calls.Add(1)
		u.documents.Add(int64(len(body.Docs)))
		io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(u.Close)
	return u
}
