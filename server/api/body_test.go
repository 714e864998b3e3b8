package api_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// one is a listener that has one connection to give.
type one struct {
	net.Listener
	conn chan net.Conn
}

func (l one) Accept() (net.Conn, error) {
	if conn, ok := <-l.conn; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l one) Close() error   { return nil }
func (l one) Addr() net.Addr { return &net.TCPAddr{} }

// TestABodyThatDoesNotCome has a client that sends some of its body and keeps
// its connection.
func TestABodyThatDoesNotCome(t *testing.T) {
	h := newHouse(t)
	_, _, manage := h.user("a@example.com", "free")
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		l := one{conn: make(chan net.Conn, 1)}
		l.conn <- conn
		server := &http.Server{Handler: h.customer}
		go func() { _ = server.Serve(l) }() // until the test closes it
		began := time.Now()
		fmt.Fprintf(client, "POST /v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{", manage)
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusRequestTimeout || !response.Close {
			t.Errorf("got %s, closes: %v", response.Status, response.Close)
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
		client.Close()
		close(l.conn)
		server.Close()
	})
}
