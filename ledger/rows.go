package ledger

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Rows of users that change with every call are stored sixteen users to a
// value, under the number of the group: a checkpoint of many users then costs a
// tenth of the bbolt keys. A value is a list of
//
//	place   1 byte, the user's number in the group
//	length  uvarint
//	row
//
// sorted by place, one for each user who has a row.
const groupUsers = 16

func groupKey(prefix []byte, id UserID) []byte {
	return binary.BigEndian.AppendUint32(prefix, uint32(id)/groupUsers)
}

// groupRow is one user's row on its way to a group.
type groupRow struct {
	user UserID
	row  []byte
}

// putRows replaces the rows of some users, sorted, in the groups under a prefix.
func putRows(b *bolt.Bucket, prefix []byte, rows []groupRow) error {
	var value []byte
	for len(rows) > 0 {
		key := groupKey(prefix[:len(prefix):len(prefix)], rows[0].user)
		group := uint32(rows[0].user) / groupUsers
		n := 1
		for n < len(rows) && uint32(rows[n].user)/groupUsers == group {
			n++
		}
		var err error
		if value, err = mergeGroup(make([]byte, 0, len(value)+64), b.Get(key), rows[:n]); err != nil {
			return fmt.Errorf("rows under %x: %w", key, err)
		}
		if err := b.Put(key, value); err != nil {
			return fmt.Errorf("write rows under %x: %w", key, err)
		}
		rows = rows[n:]
	}
	return nil
}

// mergeGroup appends to value the group old with some rows replaced or added.
func mergeGroup(value, old []byte, rows []groupRow) ([]byte, error) {
	put := func(place byte, row []byte) {
		value = append(value, place)
		value = binary.AppendUvarint(value, uint64(len(row)))
		value = append(value, row...)
	}
	err := eachInGroup(old, func(place byte, row []byte) {
		for len(rows) > 0 && byte(rows[0].user%groupUsers) < place {
			put(byte(rows[0].user%groupUsers), rows[0].row)
			rows = rows[1:]
		}
		if len(rows) > 0 && byte(rows[0].user%groupUsers) == place {
			row, rows = rows[0].row, rows[1:]
		}
		put(place, row)
	})
	for _, r := range rows {
		put(byte(r.user%groupUsers), r.row)
	}
	return value, err
}

func eachInGroup(value []byte, f func(place byte, row []byte)) error {
	r := reader{b: value}
	for len(r.b) > 0 && !r.bad {
		place := r.bytes(1)[0]
		size := r.uvarint()
		if size > uint64(len(r.b)) || place >= groupUsers {
			return errMalformed
		}
		f(place, r.bytes(int(size)))
	}
	if r.bad {
		return errMalformed
	}
	return nil
}

// rowOf finds a user's row under a prefix; nil when there is none.
func rowOf(b *bolt.Bucket, prefix []byte, id UserID) ([]byte, error) {
	var found []byte
	err := eachInGroup(b.Get(groupKey(prefix, id)), func(place byte, row []byte) {
		if place == byte(id%groupUsers) {
			found = row
		}
	})
	if err != nil {
		return nil, fmt.Errorf("row of user %d: %w", id, err)
	}
	return found, nil
}

// eachRow walks the rows in the value of a key whose last four bytes are the
// group.
func eachRow(key, value []byte, f func(UserID, []byte) error) error {
	if len(key) < 4 {
		return fmt.Errorf("rows under %x: %w", key, errMalformed)
	}
	group := binary.BigEndian.Uint32(key[len(key)-4:])
	var failed error
	err := eachInGroup(value, func(place byte, row []byte) {
		if failed == nil {
			failed = f(UserID(group*groupUsers+uint32(place)), row)
		}
	})
	if err != nil {
		return fmt.Errorf("rows under %x: %w", key, err)
	}
	return failed
}
