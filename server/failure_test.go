package server_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"tollgate/ledger"
)

// breakWrites puts a file that cannot be written in the place of every open
// descriptor of path, so that the next commit fails as on a broken disk.
func breakWrites(t *testing.T, path string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range open {
		if at, err := os.Readlink("/proc/self/fd/" + entry.Name()); err != nil || at != path {
			continue
		}
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFailedCommitEndsTheServer(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	r.fails = true
	u := r.user("ann@example.com", "pro")
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	breakWrites(t, filepath.Join(r.folder, "tollgate.db"))
	if a, err := r.do("POST", "/v1/scan", u.APIKey, docs(1)); err == nil && a.status == http.StatusOK {
		t.Errorf("a call that could not be recorded was answered: %d %s", a.status, a.body)
	}
	if err := r.wait(); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("the server ended with %v, want ErrUnavailable", err)
	}

	// The next start goes on with what was durable.
	r = startIn(t, r.folder)
	usage, err := r.client.Usage(t.Context(), u.Email, "")
	if err != nil {
		t.Fatal(err)
	}
	if usage.CurrentUsage.TotalCalls != 1 {
		t.Errorf("the ledger has %d calls, want the 1 that was answered", usage.CurrentUsage.TotalCalls)
	}
	if a := r.call("POST", "/v1/scan", u.APIKey, docs(1)); a.status != http.StatusOK {
		t.Errorf("after the restart: got %d %s", a.status, a.body)
	}
}
