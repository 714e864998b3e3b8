package server

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketIsForOwnerAndGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.sock")
	l, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("got mode %o, want 660", got)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.sock")
	first, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close() // as a killed process: the file stays
	second, err := listenSocket(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	second.Close()
}

func TestAnsweringSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.sock")
	first, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "another tollgate answers") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestFileInPlaceOfTheSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tollgate.sock")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil {
		t.Error("a file was replaced by the socket")
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("the file now has %q", text)
	}
}
