package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// pageWalk proves that a file's pages are the trees that bbolt takes them for:
// it believes what a page says of itself, and a single wrong bit in a page that
// readers never meet can make the next commit loop, or write where it must not.
// bbolt's own Check may hang on cycles and panics in a goroutine of its own.
//
// The layout is bbolt's. A page begins with its number (8 bytes), flags (2),
// count of elements (2) and the number of pages that follow it (4). Elements of
// 16 bytes come next, and point to keys and values relative to themselves.
type pageWalk struct {
	file     io.ReaderAt
	pageSize int
	high     uint64   // pages from here on are not in use
	seen     []uint64 // a bit for each page
}

const (
	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10
	leafBucket   = 0x01
	pageHeader   = 16
	pageElement  = 16
	maxDepth     = 64
)

// checkPages returns ErrCorrupt unless every page that is in use belongs to one
// tree, or to the list of free pages, once. No process may write to the file.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, maxHead)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	m, ok := newestMeta(head[:n])
	if !ok {
		return fmt.Errorf("%w: no valid header", ErrCorrupt)
	}
	if info, err := f.Stat(); err != nil || info.Size() < m.end() {
		return fmt.Errorf("%w: it is cut off (%v)", ErrCorrupt, err)
	}
	w := &pageWalk{file: f, pageSize: m.pageSize, high: m.high, seen: make([]uint64, m.high/64+1)}
	if err := w.tree(m.root, nil, nil, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := w.free(m.freelist); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for page := uint64(2); page < w.high; page++ {
		if w.seen[page/64]&(1<<(page%64)) == 0 {
			return fmt.Errorf("%w: page %d is neither free nor in use", ErrCorrupt, page)
		}
	}
	return nil
}

// see marks pages as met; each may be only once.
func (w *pageWalk) see(page, more uint64) error {
	if page < 2 || page >= w.high || more >= w.high-page {
		return fmt.Errorf("page %d and %d after it are not all in the file", page, more)
	}
	for p := page; p <= page+more; p++ {
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return fmt.Errorf("page %d is used twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	return nil
}

// read reads a page with those that follow it.
func (w *pageWalk) read(page uint64) ([]byte, error) {
	if page >= w.high {
		return nil, fmt.Errorf("page %d is not in the file", page)
	}
	var head [pageHeader]byte
	if _, err := w.file.ReadAt(head[:], int64(page)*int64(w.pageSize)); err != nil {
		return nil, fmt.Errorf("read page %d: %w", page, err)
	}
	more := uint64(binary.LittleEndian.Uint32(head[12:]))
	if number := binary.LittleEndian.Uint64(head[:]); number != page {
		return nil, fmt.Errorf("page %d says that it is page %d", page, number)
	}
	if err := w.see(page, more); err != nil {
		return nil, err
	}
	b := make([]byte, (int(more)+1)*w.pageSize)
	if _, err := w.file.ReadAt(b, int64(page)*int64(w.pageSize)); err != nil {
		return nil, fmt.Errorf("read page %d: %w", page, err)
	}
	return b, nil
}

// tree walks the pages below one, whose keys lie in [first, end); nil means no
// bound.
func (w *pageWalk) tree(page uint64, first, end []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d lies too deep", page)
	}
	b, err := w.read(page)
	if err != nil {
		return err
	}
	keys, values, err := elements(b, first, end)
	if err != nil {
		return fmt.Errorf("page %d: %w", page, err)
	}
	switch flags := binary.LittleEndian.Uint16(b[8:]); flags {
	case pageBranch:
		if len(keys) == 0 {
			return fmt.Errorf("page %d leads nowhere", page)
		}
		for i, key := range keys {
			next := end
			if i+1 < len(keys) {
				next = keys[i+1]
			}
			if err := w.tree(binary.LittleEndian.Uint64(b[pageHeader+i*pageElement+8:]), key, next, depth+1); err != nil {
				return err
			}
		}
	case pageLeaf:
		for i, value := range values {
			if flags := binary.LittleEndian.Uint32(b[pageHeader+i*pageElement:]); flags == leafBucket {
				err = w.bucket(value, depth)
			} else if flags != 0 {
				err = fmt.Errorf("an element with flags %#x", flags)
			}
			if err != nil {
				return fmt.Errorf("page %d, %q: %w", page, keys[i], err)
			}
		}
	default:
		return fmt.Errorf("page %d is of kind %#x, in a tree", page, flags)
	}
	return nil
}

// bucket walks a bucket: the number of its first page (8 bytes), a sequence (8)
// and, where that number is 0, a page of its own in the value.
func (w *pageWalk) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return fmt.Errorf("a bucket of %d bytes", len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.tree(root, nil, nil, depth+1)
	}
	b := value[16:]
	if len(b) < pageHeader || binary.LittleEndian.Uint16(b[8:]) != pageLeaf || binary.LittleEndian.Uint32(b[12:]) != 0 {
		return fmt.Errorf("a bucket without a page")
	}
	_, _, err := elements(b, nil, nil)
	return err
}

// elements reads the keys, and the values of a leaf, of a page.
func elements(b, first, end []byte) (keys, values [][]byte, err error) {
	count := int(binary.LittleEndian.Uint16(b[10:]))
	leaf := binary.LittleEndian.Uint16(b[8:]) == pageLeaf
	if pageHeader+count*pageElement > len(b) {
		return nil, nil, fmt.Errorf("%d elements do not fit", count)
	}
	for i := range count {
		e := b[pageHeader+i*pageElement:]
		at, key, value := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:]), uint32(0)
		if leaf {
			at, key, value = key, binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		}
		if at < pageElement || uint64(at)+uint64(key)+uint64(value) > uint64(len(e)) {
			return nil, nil, fmt.Errorf("element %d points out of it", i)
		}
		k := e[at : at+key]
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 || bytes.Compare(k, first) < 0 || end != nil && bytes.Compare(k, end) >= 0 {
			return nil, nil, fmt.Errorf("key %x is out of order", k)
		}
		keys = append(keys, k)
		if leaf {
			values = append(values, e[at+key:at+key+value])
		}
	}
	return keys, values, nil
}

// free marks the pages in the list of free ones.
func (w *pageWalk) free(list uint64) error {
	b, err := w.read(list)
	if err != nil {
		return fmt.Errorf("free pages: %w", err)
	}
	if binary.LittleEndian.Uint16(b[8:]) != pageFreelist {
		return fmt.Errorf("page %d is not the list of free pages", list)
	}
	count := uint64(binary.LittleEndian.Uint16(b[10:]))
	ids := b[pageHeader:]
	if count == 0xffff { // more follow: the first number is how many
		count, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("%d free pages do not fit their list", count)
	}
	for i := range count {
		if err := w.see(binary.LittleEndian.Uint64(ids[8*i:]), 0); err != nil {
			return fmt.Errorf("free pages: %w", err)
		}
	}
	return nil
}
