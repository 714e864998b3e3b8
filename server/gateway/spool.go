package gateway

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

const (
	smallHead   = 4 << 10  // memory for a body that is known to fit
	largeHead   = 64 << 10 // memory that any other body starts with; the rest goes to a file
	spoolMemory = 64 << 20 // memory for all of them; beyond it bodies go to files at once
)

// spooler keeps the request bodies that must be read before their call is
// admitted.
type spooler struct {
	dir          string
	left         atomic.Int64 // of the memory
	small, large sync.Pool    // of *[]byte
	copies       *buffers
}

func newSpooler(dir string, memory int64, copies *buffers) *spooler {
	s := &spooler{dir: dir, copies: copies}
	s.left.Store(memory)
	s.small.New = func() any { b := make([]byte, smallHead); return &b }
	s.large.New = func() any { b := make([]byte, largeHead); return &b }
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
	mu     sync.Mutex
	head   *[]byte
	inHead int
	file   *os.File
	size   int64
	gone   bool
}

var errGone = errors.New("the call has ended")

// fill reads a body of the given length (-1: unknown) to its end and shows each
// piece to its call.
func (b *spool) fill(s *spooler, body io.Reader, length int64, to interface{ sees([]byte) }) error {
	b.from = s
	if length >= 0 && length <= smallHead {
		b.head = s.take(&s.small)
	} else {
		b.head = s.take(&s.large)
	}
	for b.head != nil && b.inHead < len(*b.head) {
		n, err := body.Read((*b.head)[b.inHead:])
		to.sees((*b.head)[b.inHead : b.inHead+n])
		b.inHead += n
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
	case offset < int64(b.inHead):
		return copy(p, (*b.head)[offset:b.inHead]), nil
	}
	n, err := b.file.ReadAt(p, offset-int64(b.inHead))
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

func (s *spooler) take(pool *sync.Pool) *[]byte {
	size := int64(largeHead)
	if pool == &s.small {
		size = smallHead
	}
	if s.left.Add(-size) < 0 {
		s.left.Add(size)
		return nil
	}
	return pool.Get().(*[]byte)
}

func (s *spooler) give(head *[]byte) {
	if head == nil {
		return
	}
	s.left.Add(int64(len(*head)))
	if len(*head) == smallHead {
		s.small.Put(head)
	} else {
		s.large.Put(head)
	}
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
