package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// newEcho is an upstream that takes every connection over and says back what it
// is told, as a WebSocket server does.
func newEcho(t *testing.T) *httptest.Server {
	u := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, buffered)
	}))
	t.Cleanup(u.Close)
	return u
}

func TestRevokedKeyClosesItsUpgradedConnections(t *testing.T) {
	upstream := newEcho(t)
	r := start(t, serverTable+`
[[upstream]]
name = "api"
url = "`+upstream.URL+`"
[[route]]
pattern = "GET /socket"
upstream = "api"
`)
	u := r.user("ann@example.com", "pro")
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", u.APIKey)
	from := bufio.NewReader(c)
	response, err := http.ReadResponse(from, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", response, err)
	}
	fmt.Fprint(c, "hello\n")
	if line, err := from.ReadString('\n'); line != "hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	keys, err := r.client.Keys(t.Context(), u.Email)
	if err != nil || len(keys) != 1 {
		t.Fatalf("got %v, %v", keys, err)
	}
	if _, err := r.client.RevokeKey(t.Context(), keys[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := from.ReadByte(); err == nil {
		t.Error("the connection is still open")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error("the connection was not closed")
	}
}
