package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// socketMode lets the owner and the group of the process use the commands.
const socketMode = 0o660

// listenSocket listens at a unix socket that only owner and group may use. A
// socket that a dead process left is replaced; one that answers is not. Closing
// the listener leaves the file, which is the caller's to remove.
func listenSocket(path string) (net.Listener, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	// It is made under another name, so that nobody meets it before it has its mode.
	making := path + "~"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	l, err := net.Listen("unix", making)
	if err != nil {
		return nil, fmt.Errorf("making the socket %s (its folder must exist, and a path has at most 106 bytes): %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(making, socketMode), os.Rename(making, path)); err != nil {
		l.Close()
		os.Remove(making)
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	return l, nil
}

// clearStale removes the socket at path when nobody answers there.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the place of the socket and is not one; move it away or set [server] socket", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("another tollgate answers at %s; stop it, or set [server] socket", path)
	} else if !nobodyListens(err) {
		return fmt.Errorf("cannot tell whether another tollgate answers at %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the socket that a stopped tollgate left: %w", err)
	}
	return nil
}

func nobodyListens(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}
