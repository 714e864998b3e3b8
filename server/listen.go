package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"tollgate/server/config"
	"tollgate/server/gateway"
)

// How long a connection may take to say what it wants, and to say it again.
// There is no limit on a whole answer: streams last. That on a whole request is
// only where the gateway begins, which moves it on as the request comes.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = gateway.DefaultPatience
	idleTimeout    = 2 * time.Minute
	maxHeader      = 64 << 10 // bytes
)

// newHTTPServer serves h under a base context, whose end cuts what still runs.
func newHTTPServer(base context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		// What net/http reports is mostly what clients did: broken handshakes, resets.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// certificate is the TLS certificate in use; a reload replaces it.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

func loadCertificate(t config.TLS) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate of [server.tls]: %w", err)
	}
	return &pair, nil
}

// acmeConfig gets certificates from an ACME authority when they are first asked
// for, and renews them. The authority must reach the listener at port 443
// (tls-alpn-01). What it issued is kept in folder.
func acmeConfig(s config.Server, folder string, log *slog.Logger) *tls.Config {
	hosts := s.TLS.Hosts
	if len(hosts) == 0 {
		if u, err := url.Parse(s.PublicURL); err == nil {
			hosts = []string{u.Hostname()}
		}
	}
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(folder),
		HostPolicy: autocert.HostWhitelist(hosts...),
		Email:      s.TLS.Email,
		Client:     &acme.Client{DirectoryURL: cmp.Or(s.TLS.ACME, autocert.DefaultACMEDirectory), UserAgent: "tollgate", RetryBackoff: acmeBackoff},
	}
	t := manager.TLSConfig()
	t.MinVersion = tls.VersionTLS12
	t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := manager.GetCertificate(hello)
		if err != nil && slices.Contains(hosts, hello.ServerName) { // of other names strangers ask all day
			log.Warn("no certificate could be had from the ACME authority", "host", hello.ServerName, "error", err)
		}
		return cert, err
	}
	return t
}

// acmeBackoff is how long to wait before a request to the ACME authority is tried
// again for the nth time. Of the client errors only a nonce that was refused is
// tried again (RFC 8555, section 6.5): the refusal has brought a fresh one, so
// there is nothing to wait for. Otherwise the authority may say how long.
func acmeBackoff(n int, _ *http.Request, answer *http.Response) time.Duration {
	if answer.StatusCode == http.StatusBadRequest && n <= 10 {
		return time.Millisecond
	}
	if asked, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && asked > 0 {
		return time.Duration(asked) * time.Second
	}
	return min(time.Second<<min(n-1, 4), 10*time.Second)
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}
