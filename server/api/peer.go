package api

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// WithPeer keeps who is at the other end of a unix socket, for the record of
// changes; it is the ConnContext of the operator API's [net/http.Server].
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	if err := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || peer == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer.Uid)
}

// operatorBy is how the ledger names the operator who made a change.
func operatorBy(ctx context.Context) string {
	if uid, ok := ctx.Value(peerKey{}).(uint32); ok {
		return fmt.Sprintf("operator uid %d", uid)
	}
	return "operator"
}
