package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// A packed value holds consecutive entries:
//
//	format    1 byte
//	head      32 bytes, the chain head before the first entry
//	logged    uvarint, the logged time before the first entry in milliseconds
//	entries   each: uvarint length, kind byte, uvarint step of logged time, content
//
// It is stored under the sequence number of its first entry, eight bytes big
// endian. Values of at most maxPacked bytes fill a page of bbolt two by two; a
// single larger entry has a value of its own.
const (
	packFormat = 1
	maxPacked  = 2016
	maxEntry   = 1 << 20
)

// position is a place in the log: after entry seq.
type position struct {
	seq    uint64
	head   [32]byte
	logged int64 // of that entry, in milliseconds
}

// chain is the head after an entry with these stored bytes: SHA-256 over the
// head before it, a version byte and the bytes.
func chain(head [32]byte, stored []byte) [32]byte {
	var short [256]byte
	b := append(append(append(short[:0], head[:]...), packFormat), stored...)
	return sha256.Sum256(b)
}

func packHeader(b []byte, at position) []byte {
	b = append(b, packFormat)
	b = append(b, at.head[:]...)
	return binary.AppendUvarint(b, uint64(at.logged))
}

// tail is the open packed value, which more entries will be added to. It is
// stored with the number of its first entry, 8 bytes big endian, and the head
// after its last, 32 bytes: nothing else would prove the newest entries.
type tail struct {
	first uint64
	head  [32]byte
	value []byte
}

func (t tail) store(tx *bolt.Tx) error {
	b := make([]byte, 0, 8+len(t.head)+len(t.value))
	b = append(append(binary.BigEndian.AppendUint64(b, t.first), t.head[:]...), t.value...)
	return tx.Bucket(bucketTail).Put(tailKey, b)
}

// readTail gives the tail, valid as long as tx; false when there is none.
func readTail(tx *bolt.Tx) (t tail, ok bool, err error) {
	b := tx.Bucket(bucketTail).Get(tailKey)
	if b == nil {
		return t, false, nil
	}
	if len(b) < 8+len(t.head) {
		return t, false, fmt.Errorf("tail of the log: %w", errMalformed)
	}
	t.first = binary.BigEndian.Uint64(b)
	t.value = b[8+copy(t.head[:], b[8:]):]
	return t, true, nil
}

func packKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// packed walks the entries of one packed value.
type packed struct {
	at   position // after the entry last read
	rest []byte
}

// openPacked reads a value's header; at is then the position before its first entry.
func openPacked(first uint64, value []byte) (packed, error) {
	r := reader{b: value}
	format := r.bytes(1)[0]
	p := packed{at: position{seq: first - 1}}
	copy(p.at.head[:], r.bytes(32))
	p.at.logged = r.count()
	p.rest = r.b
	if r.bad || format != packFormat || first == 0 || p.at.logged > maxMilli {
		return packed{}, fmt.Errorf("packed value of entry %d: %w", first, errMalformed)
	}
	return p, nil
}

// next gives the stored bytes of the next entry and moves past it without
// following the chain; nil at the end.
func (p *packed) next() (stored []byte, err error) {
	if len(p.rest) == 0 {
		return nil, nil
	}
	r := reader{b: p.rest}
	size := r.uvarint()
	if r.bad || size < 2 || size > uint64(len(r.b)) {
		return nil, fmt.Errorf("entry %d: %w", p.at.seq+1, errMalformed)
	}
	stored = r.b[:size]
	p.rest = r.b[size:]
	p.at.seq++
	return stored, nil
}

// read decodes the next entry into e and moves past it; false at the end.
func (p *packed) read(e *entry, name func(uint32) string) (bool, error) {
	stored, err := p.next()
	if stored == nil || err != nil {
		return false, err
	}
	if err := decodeEntry(stored, p.at.logged, e, name); err != nil {
		return false, fmt.Errorf("entry %d: %w", p.at.seq, err)
	}
	e.seq, e.usage.Seq = p.at.seq, p.at.seq
	p.at.logged = e.logged
	return true, nil
}
