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
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"tollgate/server/config"
)

// How long a connection may take to say what it wants, and to say it again.
// There is no limit on a whole request or answer: streams last.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
)

// newHTTPServer serves h under a base context, whose end cuts what still runs.
func newHTTPServer(base context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
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
		Client:     &acme.Client{DirectoryURL: cmp.Or(s.TLS.ACME, autocert.DefaultACMEDirectory), UserAgent: "tollgate"},
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

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}
