package server

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name      string
		trusted   []netip.Prefix
		remote    string
		forwarded []string
		want      string
	}{
		{"no proxy", nil, "192.0.2.1:4711", nil, "192.0.2.1"},
		{"nobody is trusted", nil, "10.0.0.1:4711", []string{"192.0.2.9"}, "10.0.0.1"},
		{"a stranger's header", proxies, "192.0.2.1:4711", []string{"10.0.0.1"}, "192.0.2.1"},
		{"one proxy", proxies, "10.0.0.1:4711", []string{"192.0.2.9"}, "192.0.2.9"},
		{"two proxies", proxies, "10.0.0.1:4711", []string{"192.0.2.9, 10.0.0.2"}, "192.0.2.9"},
		{"what the client wrote does not count", proxies, "10.0.0.1:4711", []string{"198.51.100.7, 192.0.2.9"}, "192.0.2.9"},
		{"two headers", proxies, "10.0.0.1:4711", []string{"198.51.100.7", "192.0.2.9, 10.0.0.2"}, "192.0.2.9"},
		{"all are proxies", proxies, "10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"unreadable", proxies, "10.0.0.1:4711", []string{"192.0.2.9, unknown"}, "10.0.0.1"},
		{"no header", proxies, "10.0.0.1:4711", nil, "10.0.0.1"},
		{"IPv6", proxies, "[fd00::1]:4711", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 with a port", proxies, "[fd00::1]:4711", []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		{"IPv4 in IPv6", proxies, "[::ffff:10.0.0.1]:4711", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		{"no address", proxies, "@", []string{"192.0.2.9"}, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			if got := clientAddr(test.trusted)(r).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
