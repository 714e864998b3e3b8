package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes cert.pem and key.pem for 127.0.0.1 into folder.
func writeCertificate(t *testing.T, folder string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTLSFromFilesAndItsReload(t *testing.T) {
	folder := t.TempDir()
	first := writeCertificate(t, folder, 1)
	writeConfig(t, folder, strings.Replace(serverTable, "[ledger]", "[server.tls]\nmode = \"files\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n[ledger]", 1))
	r := startIn(t, folder)
	_, port, _ := strings.Cut(r.Addr().String(), ":")
	get := func(trust *x509.Certificate) (*http.Response, error) {
		roots := x509.NewCertPool()
		roots.AddCert(trust)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Get("https://localhost:" + port + "/healthz")
		if err == nil {
			response.Body.Close()
		}
		return response, err
	}
	response, err := get(first)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Errorf("got %s over %s", response.Status, response.Proto)
	}
	second := writeCertificate(t, folder, 2)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := get(second); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	if _, err := get(first); err == nil {
		t.Error("the old certificate is still in use")
	}
	if err := os.WriteFile(filepath.Join(folder, "key.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err == nil {
		t.Error("an unreadable key was taken up")
	}
	if _, err := get(second); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
}
