package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server/gateway"
)

// echoLines is an upstream that switches to a protocol which echoes lines.
func echoLines(rw http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, line)
	}
}

func (w *world) upgrade() (net.Conn, *bufio.Reader) {
	w.t.Helper()
	conn := w.dial()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", w.secret)
	lines := bufio.NewReader(conn)
	res, err := http.ReadResponse(lines, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	equal(w.t, "status", res.StatusCode, 101)
	// The record is durable before the 101 leaves.
	list := w.records()
	equal(w.t, "request id", res.Header.Get("Tollgate-Request"), list[len(list)-1].RequestID().String())
	fmt.Fprint(conn, "hello\n")
	line, err := lines.ReadString('\n')
	if err != nil || line != "hello\n" {
		w.t.Errorf("got %q, %v", line, err)
	}
	return conn, lines
}

func TestUpgradesPassAndCountAsOneCall(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/ws", gateway.Source{Meter: "documents", From: gateway.Fixed, N: 2})}}, echoLines)
	conn, _ := w.upgrade()
	equal(t, "upgraded", w.gateway.Snapshot().Upgraded, int64(1))
	u := w.record()
	equal(t, "status", u.Status, 101)
	equal(t, "billed", u.Billed, true)
	equal(t, "documents", u.Documents, int64(2))
	equal(t, "outcome", u.Outcome, ledger.OK)
	conn.Close()
	w.wait()
	w.record()
	equal(t, "upgraded", w.gateway.Snapshot().Upgraded, int64(0))
}

func TestUpgradedConnectionsAreClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*world) error
		closes bool
	}{
		"nothing": {func(*world) error { return nil }, false},
		"revocation": {func(w *world) error {
			_, err := w.ledger.ChangeKey(time.Now(), "test", w.key.ID, func(k *ledger.Key) error { k.Revoked = time.Now(); return nil })
			return err
		}, true},
		"suspension": {func(w *world) error {
			_, err := w.ledger.ChangeUser(time.Now(), "test", w.user.ID, func(u *ledger.User) error {
				u.Status, u.SuspendedFor = ledger.Suspended, "operator"
				return nil
			})
			return err
		}, true},
		"drain": {func(w *world) error { return w.gateway.Drain(w.t.Context()) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{routes: []gateway.Route{route("/ws")}}, echoLines)
			conn, lines := w.upgrade()
			if err := tt.change(w); err != nil {
				t.Fatal(err)
			}
			w.gateway.CloseUpgraded(time.Now())
			if tt.closes {
				if _, err := lines.ReadByte(); err == nil {
					t.Error("still open")
				}
				w.wait()
				return
			}
			fmt.Fprint(conn, "again\n")
			if line, err := lines.ReadString('\n'); line != "again\n" {
				t.Errorf("got %q, %v", line, err)
			}
		})
	}
}

func TestAnUpgradeThatCannotBeRecordedDoesNotHappen(t *testing.T) {
	var w *world
	w = newWorld(t, setup{routes: []gateway.Route{route("/ws")}}, func(rw http.ResponseWriter, r *http.Request) {
		w.ledgerClosed = true
		_ = w.ledger.Close()
		echoLines(rw, r)
	})
	conn := w.dial()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", w.secret)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", res.StatusCode, 503)
}

func TestAnUpgradeThatTheUpstreamDeclines(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/ws")}}, give(426, "no"))
	equal(t, "status", w.call("GET", "/ws", "", "Connection: Upgrade", "Upgrade: websocket").StatusCode, 426)
	equal(t, "billed", w.record().Billed, false)
}

func TestAnUpgradeToAnotherProtocolThanAskedFor(t *testing.T) {
	w := newWorld(t, setup{routes: []gateway.Route{route("/ws")}}, echoLines)
	a := w.call("GET", "/ws", "", "Connection: Upgrade", "Upgrade: other")
	equal(t, "status", a.StatusCode, 502)
	u := w.record()
	equal(t, "billed", u.Billed, false)
	equal(t, "status", u.Status, 502)
}
