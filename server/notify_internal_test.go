package server

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// listenNotify takes systemd's place.
func listenNotify(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func told(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buffer := make([]byte, 1000)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(buffer)
	if err != nil {
		t.Fatalf("systemd was told nothing: %v", err)
	}
	return string(buffer[:n])
}

func TestSystemdIsTold(t *testing.T) {
	systemd := listenNotify(t)
	n := notifier{slog.New(slog.DiscardHandler)}
	for _, test := range []struct {
		tell func()
		want string
	}{
		{n.ready, "READY=1"},
		{n.reloading, "RELOADING=1"},
		{func() { n.stopping(10 * time.Second) }, "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000"},
		{func() { n.starting("replay", 3, 7) }, "STATUS=replay: 3 of 7\nEXTEND_TIMEOUT_USEC=120000000"},
	} {
		test.tell()
		if got := told(t, systemd); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestWatchdogIsServed(t *testing.T) {
	systemd := listenNotify(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		notifier{slog.New(slog.DiscardHandler)}.watch(ctx)
	}()
	for range 3 {
		if got := told(t, systemd); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	cancel()
	<-ended
}
