package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/server/gateway"
)

// pattern is an endless stream in which no two megabytes in a row are the same.
type pattern struct {
	block  []byte
	offset int
}

func newPattern(seed uint64) *pattern {
	p := &pattern{block: make([]byte, 1<<20+7)}
	random := rand.New(rand.NewPCG(seed, seed))
	for i := range p.block {
		p.block[i] = byte(random.Uint32())
	}
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.block[p.offset:])
	p.offset = (p.offset + n) % len(p.block)
	return n, nil
}

// heap follows the most memory in use while f runs, above what was before.
func heap(f func()) uint64 {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				runtime.GC() // live memory, not what awaits collection
				runtime.ReadMemStats(&now)
				if now.HeapAlloc > before.HeapAlloc {
					most.Store(max(most.Load(), now.HeapAlloc-before.HeapAlloc))
				}
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most.Load()
}

const megabyte = 1 << 20

func TestALargeBodyPassesInBoundedMemory(t *testing.T) {
	const size = 200 * megabyte
	var got atomic.Pointer[[32]byte]
	request, reply := newPattern(1), newPattern(2)
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/t", gateway.Zero))}, options: func(o *gateway.Options) { o.MaxBody = size }}, func(rw http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		got.Store((*[32]byte)(sum.Sum(nil)))
		rw.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(rw, reply, size)
	})
	sum := func(seed uint64) []byte {
		h := sha256.New()
		_, _ = io.CopyN(h, newPattern(seed), size)
		return h.Sum(nil)
	}
	down := sha256.New()
	used := heap(func() {
		r := w.request("POST", "/", io.LimitReader(request, size))
		r.ContentLength = size
		res, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err := io.Copy(down, res.Body); n != size || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	})
	if !bytes.Equal(got.Load()[:], sum(1)) || !bytes.Equal(down.Sum(nil), sum(2)) {
		t.Error("bytes were changed")
	}
	// The client and the upstream are in this process too.
	if used > 2*megabyte {
		t.Errorf("%d bytes of memory were used", used)
	}
	t.Logf("%d kB of memory", used>>10)
	w.record()
}

func TestALargeMeasuredBodyIsSpooled(t *testing.T) {
	const size = 20 * megabyte
	var got atomic.Pointer[[32]byte]
	var dir string
	w := newWorld(t, setup{
		routes:  []gateway.Route{route("/", gateway.Source{Meter: "documents", From: gateway.RequestJSON, Pointer: "/docs", Count: true, Required: true})},
		options: func(o *gateway.Options) { o.MaxBody = size; dir = o.StateDir },
	}, func(rw http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		got.Store((*[32]byte)(sum.Sum(nil)))
	})
	head, tail := `{"docs":[1,2,3],"pad":"`+strings.Repeat("x", 100), `"}`
	sent := sha256.New()
	used := heap(func() {
		filler := io.LimitReader(repeated('x'), int64(size-len(head)-len(tail)))
		r := w.request("POST", "/", io.TeeReader(io.MultiReader(strings.NewReader(head), filler, strings.NewReader(tail)), sent))
		r.ContentLength = size
		equal(t, "status", w.do(r).StatusCode, 200)
	})
	if !bytes.Equal(got.Load()[:], sent.Sum(nil)) {
		t.Error("bytes were changed")
	}
	equal(t, "documents", w.record().Documents, int64(3))
	if used > 2*megabyte {
		t.Errorf("%d bytes of memory were used", used)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), "body-") {
			t.Errorf("%s was left", n.Name())
		}
	}
}

type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

func TestALongEventPassesInBoundedMemory(t *testing.T) {
	const size = 5 * megabyte
	w := newWorld(t, setup{routes: []gateway.Route{route("/", tokensAt("/usage/total_tokens", gateway.Zero))}}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, `data: {"content":"`)
		_, _ = io.CopyN(rw, repeated('x'), size)
		_, _ = io.WriteString(rw, "\",\"usage\":{\"total_tokens\":25000}}\n\ndata: [DONE]\n\n")
	})
	var n int64
	used := heap(func() {
		res, err := w.client.Do(w.request("GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err = io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	})
	equal(t, "bytes", n, int64(size+len("data: {\"content\":\"\",\"usage\":{\"total_tokens\":25000}}\n\ndata: [DONE]\n\n")))
	equal(t, "tokens", w.record().Tokens, int64(25000))
	if used > 2*megabyte {
		t.Errorf("%d bytes of memory were used", used)
	}
}

func TestBodiesThatMemoryHasNoRoomFor(t *testing.T) {
	var dir string
	w := newWorld(t, setup{routes: []gateway.Route{route("/", docsInRequest)}, options: func(o *gateway.Options) {
		o.SpoolMemory, o.StateDir = 100_000, filepath.Join(o.StateDir, "bodies")
		dir = o.StateDir
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}}, echo)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			body := `{"docs":[1,2],"pad":"` + strings.Repeat(fmt.Sprint(i), 20_000*i) + `"}`
			for range 10 {
				if a := w.call("POST", "/", body); string(a.body) != body {
					t.Errorf("%d: another body of %d bytes came back", i, len(a.body))
				}
			}
		})
	}
	callers.Wait()
	if err := os.Remove(dir); err != nil { // nothing is left in it
		t.Fatal(err)
	}
	equal(t, "small body", w.call("POST", "/", `{"docs":[]}`).StatusCode, 200)
	equal(t, "no room", w.call("POST", "/", `{"docs":[],"pad":"`+strings.Repeat("x", 100_000)+`"}`).code, "ledger_unavailable")
}
