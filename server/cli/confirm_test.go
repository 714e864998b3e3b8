package cli

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// operator answers as the operator API of one user does, and counts the times
// that the user was closed.
func operator(t *testing.T, user string) (socket string, closed *int) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	closed = new(int)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/users/1", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(user)) })
	mux.HandleFunc("GET /v1/users/1/notices", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"notices":[]}`)) })
	mux.HandleFunc("GET /v1/payments", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"payments":[]}`)) })
	mux.HandleFunc("GET /v1/users/1/payments", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"payments":[]}`)) })
	mux.HandleFunc("POST /v1/users/1/close", func(w http.ResponseWriter, _ *http.Request) {
		*closed++
		w.Write([]byte(user))
	})
	s := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return socket, closed
}

func TestConfirmByTyping(t *testing.T) {
	for _, c := range []struct {
		name, user, typed string
		code, closed      int
		stderr            string
	}{
		{"the e-mail", `{"id":1,"email":"ann@example.com"}`, "ann@example.com\n", ExitDone, 1, "Type ann@example.com to go on: "},
		{"without a line end", `{"id":1,"email":"ann@example.com"}`, "ann@example.com", ExitDone, 1, ""},
		{"something else", `{"id":1,"email":"ann@example.com"}`, "yes\n", ExitFailed, 0, "hint: nothing was changed"},
		{"only Enter", `{"id":1,"email":"ann@example.com"}`, "\n", ExitFailed, 0, "hint: nothing was changed"},
		{"nothing", `{"id":1,"email":"ann@example.com"}`, "", ExitFailed, 0, "reading the confirmation"},
		{"an erased user's id", `{"id":1}`, "1\n", ExitDone, 1, "Type 1 to go on: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, closed := operator(t, c.user)
			code, _, stderr := run(t, Env{Stdin: strings.NewReader(c.typed), StdinTerminal: true}, "user", "close", "1", "--socket", socket)
			if code != c.code || *closed != c.closed || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit %d, want %d; closed %d times, want %d; stderr %q, want %q in it", code, c.code, *closed, c.closed, stderr, c.stderr)
			}
		})
	}
}

func TestSocketComesFromFlagThenEnvironment(t *testing.T) {
	first, _ := operator(t, `{"id":1,"email":"first@example.com"}`)
	second, _ := operator(t, `{"id":1,"email":"second@example.com"}`)
	getenv := func(name string) string {
		if name == "TOLLGATE_SOCKET" {
			return second
		}
		return ""
	}
	if _, stdout, _ := run(t, Env{Getenv: getenv}, "user", "show", "1", "--socket", first); !strings.Contains(stdout, "first@") {
		t.Errorf("with --socket and TOLLGATE_SOCKET the answer is %q, want that of --socket", stdout)
	}
	if _, stdout, _ := run(t, Env{Getenv: getenv}, "user", "show", "1"); !strings.Contains(stdout, "second@") {
		t.Errorf("with TOLLGATE_SOCKET the answer is %q", stdout)
	}
}
