package ledger

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// memory remembers ids.
type memory struct {
	recent map[[16]byte]uint64
}

func newMemory() *memory { return &memory{recent: map[[16]byte]uint64{}} }

func (m *memory) add(id [16]byte, at time.Time, seq uint64) { m.recent[id] = seq }

type frozen struct{}

func (m *memory) freeze() *frozen         { return &frozen{} }
func (f *frozen) write(tx *bolt.Tx) error { return nil }
func (f *frozen) wrote()                  {}

func (m *memory) find(tx *bolt.Tx, id [16]byte, since time.Time, each func(seq uint64) (bool, error)) error {
	if seq, ok := m.recent[id]; ok {
		_, err := each(seq)
		return err
	}
	return nil
}
