package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pebbleModule is Let's Encrypt's ACME server for tests, as it is installed by
// the go command.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// certifiedName is the name that a certificate is asked for. It resolves to
// 127.0.0.1 in this test only.
const certifiedName = "api.tollgate.test"

// TestCertificatesByACME has a tollgate with [server.tls] mode = "auto" get its
// certificate from a real ACME server, over the challenge tls-alpn-01, with every
// other nonce refused.
func TestCertificatesByACME(t *testing.T) {
	program := findPebble(t)
	folder := t.TempDir()
	trust := writeAuthorityCertificate(t, folder)
	t.Setenv("SSL_CERT_FILE", filepath.Join(folder, "cert.pem")) // what tollgate trusts the authority by
	t.Setenv("SSL_CERT_DIR", folder)
	directory, management := freeAddress(t), freeAddress(t)

	home := childFolder(t, fmt.Sprintf(`
[server]
listen = "127.0.0.1:0"
public_url = "https://%s"
[server.tls]
mode = "auto"
acme = "https://%s/dir"
[ledger]
min_free = "1MiB"
snapshot_dir = ""
[[upstream]]
name = "sample"
url = "builtin:sample"
[[route]]
pattern = "POST /v1/scan"
upstream = "sample"
documents = { request = "/docs", count = true }
price = { documents = "0.01" }
`, certifiedName, directory))
	c := spawn(t, instrumented(t), home)
	stopAuthority := startPebble(t, program, folder, directory, management, c.address)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(fetchRoot(t, client, "https://"+management+"/roots/0")) {
		t.Fatal("the authority gives no root certificate")
	}

	key := c.addUser("ann@example.com", "pro").APIKey
	first := callEncrypted(t, c, roots, key)
	if names := first.DNSNames; len(names) != 1 || names[0] != certifiedName {
		t.Errorf("the certificate is for %v, want %s", names, certifiedName)
	}

	// What was issued is kept: a restart asks for nothing.
	stopAuthority()
	c.stop()
	c = spawn(t, instrumented(t), home)
	if again := callEncrypted(t, c, roots, key); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("another certificate after a restart")
	}
	if got := c.usage("ann@example.com").CurrentUsage.TotalDocuments; got != 4 {
		t.Errorf("%d documents are metered, want 4", got)
	}
	c.stop()
}

// callEncrypted makes a call of two documents over TLS to the name that was
// certified, and returns the certificate it was answered with.
func callEncrypted(t *testing.T, c *child, roots *x509.CertPool, key string) *x509.Certificate {
	t.Helper()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.address)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, TLSHandshakeTimeout: patience}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodPost, "https://"+certifiedName+"/v1/scan", strings.NewReader(`{"docs":[{"id":"a"},{"id":"b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		t.Fatalf("a call over TLS: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Fatalf("got %s over %s: %s, %v", response.Status, response.Proto, body, err)
	}
	return response.TLS.PeerCertificates[0]
}

// findPebble finds the ACME server, or installs it for this test.
func findPebble(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("pebble"); err == nil {
		return path
	}
	folder := t.TempDir()
	install := exec.Command("go", "install", pebbleModule)
	install.Dir = folder // outside of this module: its dependencies are not ours
	install.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("the ACME server that this test needs is not on the PATH and cannot be installed; install it with: go install %s\n%v\n%s", pebbleModule, err, out)
	}
	return filepath.Join(folder, "pebble")
}

// startPebble runs an ACME server that reaches the names it certifies at the
// port of address, and waits until it answers. stop ends it.
func startPebble(t *testing.T, program, folder, directory, management, address string) (stop func()) {
	t.Helper()
	_, portText, _ := net.SplitHostPort(address)
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": directory, "managementListenAddress": management,
		"certificate": filepath.Join(folder, "cert.pem"), "privateKey": filepath.Join(folder, "key.pem"),
		"httpPort": port, "tlsPort": port, "keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "pebble.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(folder, "pebble.log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "-config", path, "-dnsserver", answerNames(t))
	command.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=50")
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // it is killed
		close(ended)
	}()
	stop = func() {
		_ = command.Process.Kill() // it may have ended
		<-ended
	}
	t.Cleanup(func() {
		stop()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the ACME server logged:\n%s", tail(string(text), 30))
		}
	})
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience); ; {
		if conn, err := net.Dial("tcp", directory); err == nil {
			conn.Close()
			return stop
		}
		select {
		case <-look.C:
		case <-ended:
			t.Fatal("the ACME server ended")
		case <-limit:
			t.Fatal("the ACME server does not listen")
		}
	}
}

// fetchRoot reads the certificate that the authority's chains end in.
func fetchRoot(t *testing.T, client *http.Client, url string) []byte {
	t.Helper()
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return text
}

// writeAuthorityCertificate writes cert.pem and key.pem for 127.0.0.1, which the
// ACME server itself is reached with.
func writeAuthorityCertificate(t *testing.T, folder string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

// freeAddress is an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answerNames serves DNS over TCP (RFC 1035), as the ACME server asks for it:
// every name has the address 127.0.0.1, and nothing else.
func answerNames(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go answerName(conn)
		}
	}()
	return l.Addr().String()
}

// answerName answers one question on a connection.
func answerName(conn net.Conn) {
	defer conn.Close()
	const (
		header = 12
		typeA  = 1
	)
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	end := header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	if end += 5; end > len(query) { // the root, type and class
		return
	}
	reply := append([]byte(nil), query[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180) // an answer without an error
	clear(reply[6:header])
	if binary.BigEndian.Uint16(query[end-4:]) == typeA {
		reply[7] = 1
		// The name of the question, type A, class IN, a minute, four bytes.
		reply = append(reply, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)) // who is not answered asks again
}
