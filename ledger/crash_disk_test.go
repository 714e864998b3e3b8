package ledger_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tollgate/ledger/ledgertest"
)

// crashDisk is a disk as it may be after a loss of power: what was synced is
// on it, and of what was not, any part. It promises no more than POSIX does: a
// file's name is durable when its folder was synced.
type crashDisk struct {
	names   map[string]*inode // as a running process sees them
	durable map[string]*inode
	pending []nameChange // in order; a journal keeps a first part of them
}

type nameChange struct {
	to   string // "": the name from is gone
	from string // "": a new file
	file *inode
}

type inode struct {
	pages map[int64]*page
	size  int64
	// pending is what was written since the last sync, at most a page each.
	pending []pageWrite
}

const (
	pageSize   = 4096
	sectorSize = 512
)

type page [pageSize]byte

// pageWrite is a part of a page, or a new size where data is nil.
type pageWrite struct {
	offset int64
	data   []byte
	size   int64
}

func newCrashDisk() *crashDisk {
	return &crashDisk{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// happen follows a call. It is made after the call would have been answered.
func (d *crashDisk) happen(c *ledgertest.Call) {
	switch c.Op {
	case ledgertest.OpOpen:
		if d.names[c.Path] == nil {
			f := &inode{pages: map[int64]*page{}}
			d.names[c.Path] = f
			d.pending = append(d.pending, nameChange{to: c.Path, file: f})
		}
	case ledgertest.OpRename:
		f := d.names[c.Path]
		delete(d.names, c.Path)
		d.names[c.To] = f
		d.pending = append(d.pending, nameChange{to: c.To, from: c.Path, file: f})
	case ledgertest.OpRemove:
		delete(d.names, c.Path)
		d.pending = append(d.pending, nameChange{from: c.Path})
	case ledgertest.OpWrite:
		d.names[c.Path].write(c.Offset, c.Data)
	case ledgertest.OpTruncate:
		f := d.names[c.Path]
		f.pending = append(f.pending, pageWrite{size: c.Size})
	case ledgertest.OpSync:
		if f := d.names[c.Path]; f != nil {
			for _, w := range f.pending {
				f.apply(w)
			}
			f.pending = nil
			return
		}
		for _, n := range d.pending { // of one folder: tests use no other
			n.apply(d.durable)
		}
		d.pending = nil
	}
}

func (n nameChange) apply(names map[string]*inode) {
	if n.from != "" {
		delete(names, n.from)
	}
	if n.to != "" {
		names[n.to] = n.file
	}
}

func (f *inode) end() int64 {
	end := f.size
	for _, w := range f.pending {
		if w.data == nil {
			end = w.size
		}
	}
	return end
}

func (f *inode) write(offset int64, data []byte) {
	if offset < 0 { // at the end: nobody seeks
		offset = f.end()
	}
	if end := offset + int64(len(data)); end > f.end() {
		f.pending = append(f.pending, pageWrite{size: end})
	}
	for len(data) > 0 {
		n := min(int64(len(data)), pageSize-offset%pageSize)
		f.pending = append(f.pending, pageWrite{offset: offset, data: data[:n]})
		offset, data = offset+n, data[n:]
	}
}

func (f *inode) apply(w pageWrite) {
	if w.data == nil {
		f.size = w.size
		return
	}
	number := w.offset / pageSize
	p := f.pages[number]
	next := &page{} // pages are shared between images: never changed
	if p != nil {
		*next = *p
	}
	copy(next[w.offset%pageSize:], w.data)
	f.pages[number] = next
}

// fate says what becomes of the unsynced writes of a crash.
type fate struct {
	name  string
	keeps func(i, n int) bool // whether write i of n reaches the disk
	torn  *rand.Rand          // when not nil, only some sectors of those that do
	names float64             // the share of unsynced name changes that do
}

// fates are those worth a look where one file has n unsynced writes.
func fates(n int, all bool, r *rand.Rand) []fate {
	list := []fate{
		{name: "none", keeps: func(int, int) bool { return false }},
		{name: "all", keeps: func(int, int) bool { return true }, names: 1},
		{name: "torn", keeps: func(int, int) bool { return true }, names: 1, torn: r},
	}
	if n == 1 {
		return list
	}
	const more = 3
	for i := range n {
		if all || i < more || i == n-1 {
			list = append(list,
				fate{name: "one missing", keeps: func(j, _ int) bool { return j != i }, names: 1},
				fate{name: "one alone", keeps: func(j, _ int) bool { return j == i }, names: 0.5})
		}
	}
	for i := range more {
		coins := make([]bool, n)
		for j := range coins {
			coins[j] = r.IntN(2) == 0
		}
		some := fate{name: "some", keeps: func(j, of int) bool { return coins[j%n] }, names: r.Float64()}
		if i == 0 {
			some.name, some.torn = "some, torn", r
		}
		list = append(list, some)
	}
	return list
}

// image is the disk after a crash, to be written out later: it shares pages
// with the disk it was made of.
type image map[string]*inode

func (d *crashDisk) crash(f fate) image {
	durable := maps.Clone(d.durable)
	for _, n := range d.pending[:int(f.names*float64(len(d.pending)))] {
		n.apply(durable)
	}
	files := image{}
	for name, old := range durable {
		file := &inode{pages: maps.Clone(old.pages), size: old.size}
		for i, w := range old.pending {
			if !f.keeps(i, len(old.pending)) {
				continue
			}
			if f.torn != nil && w.data != nil && w.offset%sectorSize == 0 {
				for at := int64(0); at < int64(len(w.data)); at += sectorSize {
					if f.torn.IntN(2) == 0 {
						file.apply(pageWrite{offset: w.offset + at, data: w.data[at:min(at+sectorSize, int64(len(w.data)))]})
					}
				}
				continue
			}
			file.apply(w)
		}
		files[name] = file
	}
	return files
}

// write writes the files into a folder, which is what dir was to them.
func (m image) write(t testing.TB, dir, into string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		file := m[name]
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(into, relative))
		if err != nil {
			t.Fatal(err)
		}
		for number, p := range file.pages {
			data := p[:]
			if rest := file.size - number*pageSize; rest < pageSize {
				data = data[:max(rest, 0)]
			}
			if _, err := f.WriteAt(data, number*pageSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(file.size); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
