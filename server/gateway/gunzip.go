package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"sync"
)

var errTooLarge = errors.New("more than the cap when decompressed")

// gunzip decodes gzip that is written to it chunk by chunk and feeds the text
// on. The decoder of the standard library reads; it is turned around by running
// it as a coroutine that is resumed by each chunk and stops when it has used it
// up, so that nothing runs beside the call and no chunk is kept.
type gunzip struct {
	to    feeder
	n     int64 // bytes decoded
	limit int64 // of n; beyond it decoding ends
	err   error // nil at a proper end

	chunk  []byte
	ended  bool
	resume func() (struct{}, bool)
	stop   func()
}

func newGunzip(to feeder, limit int64) *gunzip {
	g := &gunzip{to: to, limit: limit}
	g.resume, g.stop = iter.Pull(g.decode)
	return g
}

func (g *gunzip) feed(p []byte) {
	g.chunk = p
	if _, more := g.resume(); !more {
		g.chunk = nil // broken, at its cap, or past its end
	}
}

func (g *gunzip) finish() error {
	g.ended = true
	g.resume()
	g.stop()
	if err := g.to.finish(); g.err == nil {
		return err
	}
	return g.err
}

// inflater is a decoder with the buffer it decodes into.
type inflater struct {
	gzip.Reader
	buffer [16 << 10]byte
}

// inflaters keeps decoders, of some 60 KB each, for the next compressed body.
var inflaters = sync.Pool{New: func() any { return new(inflater) }}

func (g *gunzip) decode(yield func(struct{}) bool) {
	in := inflaters.Get().(*inflater)
	defer inflaters.Put(in)
	if g.err = in.Reset(&chunks{g, yield}); g.err != nil {
		return
	}
	for {
		n, err := in.Read(in.buffer[:])
		g.to.feed(in.buffer[:n])
		if g.n += int64(n); g.n > g.limit {
			err = errTooLarge
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			g.err = err
			return
		}
	}
}

// chunks is what the decoder reads from. That it reads single bytes keeps the
// decoder from putting a buffer of its own in front.
type chunks struct {
	*gunzip
	yield func(struct{}) bool
}

func (c *chunks) wait() error {
	for len(c.chunk) == 0 {
		if c.ended || !c.yield(struct{}{}) {
			return io.EOF
		}
	}
	return nil
}

func (c *chunks) Read(p []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	n := copy(p, c.chunk)
	c.chunk = c.chunk[n:]
	return n, nil
}

func (c *chunks) ReadByte() (byte, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	b := c.chunk[0]
	c.chunk = c.chunk[1:]
	return b, nil
}
