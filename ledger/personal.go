package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// personalRow is what is kept outside the log of a user. Its hash is in the
// user's newest entry; without the salt, which goes with the row, nobody can
// find the data by trying.
type personalRow struct {
	Salt     []byte   `json:"salt"`
	Personal Personal `json:"personal"`
}

func (p personalRow) hash() ([]byte, error) {
	text, err := json.Marshal(p.Personal)
	if err != nil {
		return nil, fmt.Errorf("encode personal data: %w", err)
	}
	sum := sha256.Sum256(append(append([]byte{}, p.Salt...), text...))
	return sum[:], nil
}

// newPersonalRow salts and encodes p.
func newPersonalRow(p Personal) (row, hash []byte, err error) {
	r := personalRow{Salt: make([]byte, 16), Personal: p}
	if _, err := rand.Read(r.Salt); err != nil {
		return nil, nil, fmt.Errorf("salt personal data: %w", err)
	}
	if hash, err = r.hash(); err != nil {
		return nil, nil, err
	}
	if row, err = json.Marshal(r); err != nil {
		return nil, nil, fmt.Errorf("encode personal data: %w", err)
	}
	return row, hash, nil
}

// putPersonal writes a row, or deletes it when row is nil.
func putPersonal(tx *bolt.Tx, id UserID, row []byte) error {
	b := tx.Bucket(bucketPersonal)
	var err error
	if row == nil {
		err = b.Delete(userKey(id))
	} else {
		err = b.Put(userKey(id), row)
	}
	if err != nil {
		return fmt.Errorf("write personal data of user %d: %w", id, err)
	}
	return nil
}

func eachPersonal(tx *bolt.Tx, f func(UserID, personalRow) error) error {
	return tx.Bucket(bucketPersonal).ForEach(func(k, v []byte) error {
		var row personalRow
		if err := json.Unmarshal(v, &row); err != nil || len(k) != 4 {
			return fmt.Errorf("%w: personal data of user %x", ErrCorrupt, k)
		}
		return f(UserID(binary.BigEndian.Uint32(k)), row)
	})
}

func loadPersonal(tx *bolt.Tx, s *state) error {
	return eachPersonal(tx, func(id UserID, row personalRow) error {
		if s.account(id) == nil {
			return fmt.Errorf("%w: personal data of user %d, who was never added", ErrCorrupt, id)
		}
		s.setPersonal(id, row.Personal)
		return nil
	})
}

func hashFromHex(s string) (hash [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(hash) {
		return hash, fmt.Errorf("%q is no SHA-256 in hex", s)
	}
	copy(hash[:], b)
	return hash, nil
}
