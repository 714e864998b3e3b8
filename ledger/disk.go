package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// maxAhead is how much of the file is allocated before it is needed, or a
// quarter of minFree where that is less: bbolt grows its file sparsely and
// would learn of a full disk in the middle of a commit, whose outcome is then
// unknown.
const maxAhead = 64 << 20

// disk watches the room for the ledger's file.
type disk struct {
	file      *os.File // a descriptor of its own, for allocation only
	minFree   int64
	allocated int64
}

func openDisk(path string, minFree int64) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open ledger for allocation: %w", err)
	}
	return &disk{file: f, minFree: minFree}, nil
}

func (d *disk) close() error { return d.file.Close() }

// enough returns ErrLowDisk when less than minFree is left.
func (d *disk) enough() error {
	free, err := freeBytes(d.file.Name())
	if err == nil && free < d.minFree {
		err = fmt.Errorf("%w: %d MiB are free and %d MiB must stay free beside the ledger", ErrLowDisk, free>>20, d.minFree>>20)
	}
	return err
}

// room returns ErrLowDisk unless the disk has room for a commit to a file of
// which used bytes are in use.
func (d *disk) room(used int64) error {
	if err := d.enough(); err != nil {
		return err
	}
	ahead := min(max(d.minFree/4, 1<<20), maxAhead)
	if used+ahead/2 < d.allocated {
		return nil
	}
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE: bbolt sets the size itself
	want := used + ahead
	var err error
	for {
		err = syscall.Fallocate(int(d.file.Fd()), keepSize, d.allocated, want-d.allocated)
		if !errors.Is(err, syscall.EINTR) { // the runtime sends signals
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
		// A file system that cannot allocate ahead: minFree has to do.
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: no room to allocate %d MiB for the ledger", ErrLowDisk, want>>20)
	case err != nil:
		return fmt.Errorf("allocate ledger: %w", err)
	}
	d.allocated = want
	return nil
}

// freeBytes is what an unprivileged process may still write on the disk of path.
func freeBytes(path string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", filepath.Dir(path), err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
