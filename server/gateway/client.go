package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddr is where a call comes from: the peer of the connection, or, where
// that is a trusted proxy, the nearest address in X-Forwarded-For, read from the
// right, that is no trusted proxy itself. What stands further left was written
// by the client and proves nothing. It is the zero Addr where the peer has no IP
// address.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	at, _ := clientAddr(r, trusted)
	return at
}

// clientAddr also tells whether the peer is a trusted proxy.
func clientAddr(r *http.Request, trusted []netip.Prefix) (at netip.Addr, proxied bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	at = peer.Addr().Unmap()
	if !contains(trusted, at) {
		return at, false
	}
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, last := lines[i], ""; rest != ""; {
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, last = rest[:cut], rest[cut+1:]
			} else {
				rest, last = "", rest
			}
			hop, ok := parseHop(strings.Trim(last, " \t"))
			if !ok {
				return at, true // nobody can be trusted beyond it
			}
			at = hop
			if !contains(trusted, at) {
				return at, true
			}
		}
	}
	return at, true
}

// parseHop reads an address as proxies write it, with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return a.Unmap(), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	a = a.WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
