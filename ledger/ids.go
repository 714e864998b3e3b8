package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Ids to remember, such as idempotency keys, are found by their first 64 bits;
// whether it is the very id is read from the entry. What was added since the
// last checkpoint is in memory. A checkpoint writes it as an immutable sorted
// run, or merges it with the newest run while that is small, so that ids cost
// sequential writes and nothing is rebuilt at open:
//
//	'b' run           newest time, uvarint milliseconds; count, uvarint; Bloom filter, ten bits an id
//	'c' run hash      sorted: hash, 8 bytes big endian; uvarint sequence number
//
// The run is 4 bytes big endian; hash is the first one in the value, which has
// at most maxPacked bytes. A run whose newest id is old enough is deleted.
type memory struct {
	mu     sync.Mutex
	recent map[uint64][]uint64 // hash -> sequence numbers
	frozen map[uint64][]uint64 // what the running checkpoint writes
	newest int64               // milliseconds
}

const (
	idFilter  = 'b'
	idChunk   = 'c'
	maxRun    = 64_000
	bloomBits = 10 // an id; with bloomKeys about one look-up in a hundred reads a run in vain
	bloomKeys = 7
	// rememberFor is how long ids are kept at least.
	rememberFor = 48 * time.Hour
)

func newMemory() *memory { return &memory{recent: map[uint64][]uint64{}} }

func idHash(id [16]byte) uint64 { return binary.BigEndian.Uint64(id[:]) }

func (m *memory) add(id [16]byte, at time.Time, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent[idHash(id)] = append(m.recent[idHash(id)], seq)
	m.newest = max(m.newest, at.UnixMilli())
}

// inMemory lists the entries in memory that may have an id, newest first.
func (m *memory) inMemory(id [16]byte) []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Concat(m.frozen[idHash(id)], m.recent[idHash(id)])
	slices.Reverse(list)
	return list
}

// onDisk lists the entries in runs with ids of since or later that may have an
// id, newest first.
func (m *memory) onDisk(tx *bolt.Tx, id [16]byte, since time.Time) ([]uint64, error) {
	var found []uint64
	hash := idHash(id)
	c := tx.Bucket(bucketIDs).Cursor()
	for k, v := c.Seek([]byte{idFilter}); len(k) == 5 && k[0] == idFilter; k, v = c.Next() {
		r := reader{b: v}
		newest := r.count()
		r.count()
		if r.bad {
			return nil, fmt.Errorf("%w: filter of remembered ids %x", ErrCorrupt, k)
		}
		if newest < since.UnixMilli() || !bloomHas(r.b, hash) {
			continue
		}
		seqs, err := findInRun(tx.Bucket(bucketIDs), k[1:], hash)
		if err != nil {
			return nil, err
		}
		found = append(found, seqs...)
	}
	slices.SortFunc(found, func(a, b uint64) int { return cmp.Compare(b, a) })
	return found, nil
}

func chunkKey(run []byte, hash uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{idChunk}, run...), hash)
}

func findInRun(b *bolt.Bucket, run []byte, hash uint64) ([]uint64, error) {
	c := b.Cursor()
	prefix := chunkKey(run, 0)[:5]
	next, _ := c.Seek(chunkKey(run, hash))
	// The value before the first that begins with hash or more may end with it.
	k, v := c.Prev()
	if next == nil {
		k, v = c.Last()
	}
	if !bytes.HasPrefix(k, prefix) {
		k, v = c.Seek(next)
	}
	var found []uint64
	for ; bytes.HasPrefix(k, prefix); k, v = c.Next() {
		ids, err := decodeChunk(k, v)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if id.hash == hash {
				found = append(found, id.seq)
			}
		}
		if len(ids) > 0 && ids[len(ids)-1].hash > hash {
			break
		}
	}
	return found, nil
}

type remembered struct{ hash, seq uint64 }

func decodeChunk(k, v []byte) ([]remembered, error) {
	r := reader{b: v}
	var ids []remembered
	for len(r.b) > 0 && !r.bad {
		ids = append(ids, remembered{binary.BigEndian.Uint64(r.bytes(8)), r.uvarint()})
	}
	if r.bad {
		return nil, fmt.Errorf("%w: remembered ids %x", ErrCorrupt, k)
	}
	return ids, nil
}

func bloomHas(filter []byte, hash uint64) bool {
	bits := uint64(len(filter)) * 8
	if bits == 0 {
		return false
	}
	for i := range uint64(bloomKeys) {
		bit := (hash + i*(hash>>32|1)) % bits
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

func bloomOf(ids []remembered) []byte {
	filter := make([]byte, (len(ids)*bloomBits+7)/8)
	bits := uint64(len(filter)) * 8
	for _, id := range ids {
		for i := range uint64(bloomKeys) {
			bit := (id.hash + i*(id.hash>>32|1)) % bits
			filter[bit/8] |= 1 << (bit % 8)
		}
	}
	return filter
}

// freeze sets aside what the running checkpoint is to write.
func (m *memory) freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen, m.recent = m.recent, map[uint64][]uint64{}
}

// wrote is called when what was frozen is durable.
func (m *memory) wrote() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = nil
}

// write puts what is frozen into a run, and deletes one that is too old.
func (m *memory) write(tx *bolt.Tx) error {
	m.mu.Lock()
	var ids []remembered
	for hash, seqs := range m.frozen {
		for _, seq := range seqs {
			ids = append(ids, remembered{hash, seq})
		}
	}
	newest := m.newest
	m.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	b := tx.Bucket(bucketIDs)
	run := uint32(0)
	if k, v := lastFilter(b); k != nil {
		r := reader{b: v}
		before := r.count()
		if count := r.count(); !r.bad && int(count)+len(ids) <= maxRun {
			old, err := takeRun(b, k[1:])
			if err != nil {
				return err
			}
			ids = append(ids, old...)
			newest = max(newest, before) // what comes late is older than what the run has
		}
		run = binary.BigEndian.Uint32(k[1:]) + 1
	}
	if err := dropOld(b, newest); err != nil {
		return err
	}
	slices.SortFunc(ids, func(a, b remembered) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.seq, b.seq))
	})
	return putRun(b, binary.BigEndian.AppendUint32(nil, run), ids, newest)
}

func lastFilter(b *bolt.Bucket) (k, v []byte) {
	c := b.Cursor()
	k, _ = c.Seek([]byte{idFilter + 1})
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if len(k) != 5 || k[0] != idFilter {
		return nil, nil
	}
	return bytes.Clone(k), v
}

// takeRun deletes a run and returns its ids.
func takeRun(b *bolt.Bucket, run []byte) ([]remembered, error) {
	var ids []remembered
	prefix := chunkKey(run, 0)[:5]
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		part, err := decodeChunk(k, v)
		if err != nil {
			return nil, err
		}
		ids = append(ids, part...)
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range append(keys, append([]byte{idFilter}, run...)) {
		if err := b.Delete(k); err != nil {
			return nil, fmt.Errorf("delete remembered ids: %w", err)
		}
	}
	return ids, nil
}

// dropOld deletes the oldest run when all of it is old: one at a time, so that
// no commit frees many pages.
func dropOld(b *bolt.Bucket, newest int64) error {
	k, v := b.Cursor().Seek([]byte{idFilter})
	if len(k) != 5 || k[0] != idFilter {
		return nil
	}
	r := reader{b: v}
	if r.count() >= newest-rememberFor.Milliseconds() {
		return nil
	}
	_, err := takeRun(b, bytes.Clone(k[1:]))
	return err
}

func putRun(b *bolt.Bucket, run []byte, ids []remembered, newest int64) error {
	filter := binary.AppendUvarint(nil, uint64(newest))
	filter = binary.AppendUvarint(filter, uint64(len(ids)))
	if err := b.Put(append([]byte{idFilter}, run...), append(filter, bloomOf(ids)...)); err != nil {
		return fmt.Errorf("write remembered ids: %w", err)
	}
	var value []byte
	first := ids[0].hash
	flush := func() error {
		key := chunkKey(run, first)
		if b.Get(key) != nil {
			return fmt.Errorf("write remembered ids: more than fit one value have the hash %x", first)
		}
		if err := b.Put(key, bytes.Clone(value)); err != nil {
			return fmt.Errorf("write remembered ids: %w", err)
		}
		value = value[:0]
		return nil
	}
	for _, id := range ids {
		if len(value)+8+binary.MaxVarintLen64 > maxPacked && id.hash != first {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(value) == 0 {
			first = id.hash
		}
		value = binary.AppendUvarint(binary.BigEndian.AppendUint64(value, id.hash), id.seq)
	}
	return flush()
}

// sameIDs proves that remembered ids are those of the entries that they lead
// to, and that each run is whole.
func (v *verifier) sameIDs(tx *bolt.Tx, n names, written uint64) error {
	b := tx.Bucket(bucketIDs)
	there := map[remembered]bool{}
	runs := map[uint32]bool{}
	c := b.Cursor()
	for k, value := c.First(); k != nil; k, value = c.Next() {
		switch {
		case len(k) == 5 && k[0] == idFilter:
			runs[binary.BigEndian.Uint32(k[1:])] = true
			if err := v.sameRun(tx, k[1:], value, n, there); err != nil {
				return err
			}
		case len(k) != 13 || k[0] != idChunk || !runs[binary.BigEndian.Uint32(k[1:])]:
			v.problem("remembered ids %x are of no run", k)
		}
	}
	for _, id := range v.recent {
		if id.seq <= written && !there[id] {
			v.problem("the id of entry %d is not remembered", id.seq)
			break // a run that is gone had many
		}
	}
	return nil
}

// verifiedIDs is for how long before the end of the log ids must be remembered:
// they are needed for a day, and kept for longer.
const verifiedIDs = 24 * time.Hour

// remember notes the id of an entry, and forgets those that need not be kept any more.
func (v *verifier) remember(e *entry) {
	if e.usage.Remember == (Remembered{}) {
		return
	}
	old := 0
	for old < len(v.days) && v.days[old] < e.logged-verifiedIDs.Milliseconds() {
		old++
	}
	v.recent = append(v.recent[old:], remembered{idHash(e.usage.Remember.ID), e.seq})
	v.days = append(v.days[old:], e.logged)
}

func (v *verifier) sameRun(tx *bolt.Tx, run, filter []byte, n names, there map[remembered]bool) error {
	var ids []remembered
	prefix := chunkKey(run, 0)[:5]
	c := tx.Bucket(bucketIDs).Cursor()
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		part, err := decodeChunk(k, value)
		if err != nil {
			return err
		}
		if len(part) == 0 || !bytes.Equal(k, chunkKey(run, part[0].hash)) {
			v.problem("remembered ids %x do not begin as their key says", k)
		}
		ids = append(ids, part...)
	}
	newest := int64(0)
	for i, id := range ids {
		there[id] = true
		var e entry
		p, err := seekEntry(tx, id.seq)
		if err == nil {
			_, err = p.read(&e, n.name)
		}
		if err != nil || e.body != nil || e.usage.Remember == (Remembered{}) || idHash(e.usage.Remember.ID) != id.hash {
			v.problem("remembered id %x is not that of entry %d", id.hash, id.seq)
		}
		if i > 0 && (ids[i-1].hash > id.hash || ids[i-1] == id) {
			v.problem("remembered ids %x are out of order", run)
		}
		newest = max(newest, e.usage.Time.UnixMilli())
	}
	r := reader{b: filter}
	if said := r.count(); r.count() != int64(len(ids)) || r.bad || said < newest || !bytes.Equal(r.b, bloomOf(ids)) {
		v.problem("remembered ids %x are not what their filter says", run)
	}
	return nil
}
