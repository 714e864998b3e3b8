package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddr finds where a request comes from. A connection of a trusted proxy
// is looked behind: X-Forwarded-For is read from the right, for as long as what
// stands there is a trusted proxy too, so that nothing a client writes into the
// header counts. The zero Addr means that it is not known.
func clientAddr(trusted []netip.Prefix) func(*http.Request) netip.Addr {
	return func(r *http.Request) netip.Addr {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return netip.Addr{}
		}
		addr := peer.Addr().Unmap().WithZone("")
		if len(trusted) == 0 {
			return addr
		}
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
		for _, hop := range slices.Backward(hops) {
			if !isTrusted(trusted, addr) {
				break
			}
			next, err := parseHop(strings.TrimSpace(hop))
			if err != nil {
				break // unreadable from here on: the proxy that wrote it is what is known
			}
			addr = next
		}
		return addr
	}
}

func isTrusted(trusted []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseHop reads an address, which some proxies write with a port.
func parseHop(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, err
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), nil
}
