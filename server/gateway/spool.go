package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

const (
	smallBody   = 16 << 10 // a body known to be no longer is kept in memory of its own
	largeHead   = 64 << 10 // memory that any other body starts with; the rest goes to a file
	spoolMemory = 64 << 20 // memory for all of them; beyond it bodies go to files at once
)

// spooler keeps the request bodies that must be read before their call is
// admitted.
type spooler struct {
	dir    string
	left   atomic.Int64 // of the memory
	heads  sync.Pool    // of *[largeHead]byte
	copies *buffers
}

func newSpooler(dir string, memory int64, copies *buffers) *spooler {
	s := &spooler{dir: dir, copies: copies}
	s.left.Store(memory)
	s.heads.New = func() any { return new([largeHead]byte) }
	return s
}

// errSpool reports that the state directory takes no body: a fault of the
// installation, not of the client.
var errSpool = errors.New("the request's body could not be kept")

// spool is one body: its head in memory, the rest in a file that has no name
// any more, so that nothing is left behind however the process ends.
type spool struct {
	from *spooler

	// mu lets the transport, which may still be sending when the call has ended,
	// find the body gone instead of reading memory that serves another call.
	mu   sync.Mutex
	head []byte
	used int // of head
	file *os.File
	size int64
	gone bool
}

var errGone = errors.New("the call has ended")

// fill reads a body of the given length (-1: unknown) to its end and shows each
// piece to its call.
func (b *spool) fill(s *spooler, body io.Reader, length int64, to interface{ sees([]byte) }) error {
	b.from = s
	b.head = s.take(length)
	for b.used < len(b.head) {
		n, err := body.Read(b.head[b.used:])
		to.sees(b.head[b.used : b.used+n])
		b.used += n
		b.size += int64(n)
		if err == io.EOF || err == nil && b.size == length {
			return nil
		}
		if err != nil {
			return err
		}
	}
	chunk := s.copies.Get()
	defer s.copies.Put(chunk)
	for {
		n, err := body.Read(chunk)
		if n > 0 {
			to.sees(chunk[:n])
			if err := b.store(chunk[:n]); err != nil {
				return err
			}
			b.size += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *spool) store(p []byte) error {
	if b.file == nil {
		file, err := os.CreateTemp(b.from.dir, "body-*")
		if err != nil {
			return fmt.Errorf("%w: %w", errSpool, err)
		}
		b.file = file
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("%w: %w", errSpool, err)
		}
	}
	if _, err := b.file.Write(p); err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	return nil
}

// release gives memory and file back. It may be called more than once.
func (b *spool) release() {
	if b.from == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return
	}
	b.gone = true
	b.from.give(b.head)
	b.head = nil
	if b.file != nil {
		b.file.Close() // it has no name: there is nothing to lose
	}
}

// readAt fills p from offset, as [io.ReaderAt].
func (b *spool) readAt(p []byte, offset int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		return 0, errGone
	case offset >= b.size:
		return 0, io.EOF
	case offset < int64(b.used):
		return copy(p, b.head[offset:b.used]), nil
	}
	n, err := b.file.ReadAt(p, offset-int64(b.used))
	if n > 0 {
		err = nil
	}
	return n, err
}

// spooled reads a spool from its start. Several may read one spool: the
// transport starts anew where a connection turned out to be dead.
type spooled struct {
	*spool
	offset int64
}

func (r *spooled) Read(p []byte) (int, error) {
	n, err := r.readAt(p, r.offset)
	r.offset += int64(n)
	return n, err
}

func (r *spooled) Close() error { return nil }

// take gives memory for the head of a body, none where all of it is in use.
// Memory for a small body is left to the garbage collector, so that it may be
// read by whoever still has it.
func (s *spooler) take(length int64) []byte {
	size := int64(largeHead)
	if length >= 0 && length <= smallBody {
		size = length
	}
	if s.left.Add(-size) < 0 {
		s.left.Add(size)
		return nil
	}
	if size == largeHead {
		return s.heads.Get().(*[largeHead]byte)[:]
	}
	return make([]byte, size)
}

func (s *spooler) give(head []byte) {
	s.left.Add(int64(len(head)))
	if len(head) == largeHead {
		s.heads.Put((*[largeHead]byte)(head))
	}
}

// open gives a reader of the body from its start. A small one is a
// [bytes.Reader], which the transport knows to be in memory and sends in one
// piece with the headers.
func (b *spool) open() io.ReadCloser {
	if len(b.head) <= smallBody && b.file == nil {
		return io.NopCloser(bytes.NewReader(b.head[:b.used]))
	}
	return &spooled{spool: b}
}

// buffers is a pool of the chunks in which bodies are copied, as
// httputil.BufferPool.
type buffers struct{ pool sync.Pool }

const chunkSize = 32 << 10

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { b := new([chunkSize]byte); return b }}}
}

// Get gives a chunk of chunkSize bytes.
func (b *buffers) Get() []byte { return b.pool.Get().(*[chunkSize]byte)[:] }

// Put takes a chunk back. A pointer to its array goes into the pool, which
// needs no allocation.
func (b *buffers) Put(p []byte) { b.pool.Put((*[chunkSize]byte)(p)) }
