package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Hourly totals are kept per user and route version. In memory there is only
// what was added since the last checkpoint; the checkpoint merges it into the
// rows on disk, late usage the same way.
//
// The rows of an hour are packed by user into values of at most maxPacked bytes:
//
//	key     hour, 4 bytes big endian, since 1970; first user, 4 bytes big endian
//	value   base    uvarint, the lowest last
//	        rows    each: uvarint user (less the row before it, the first less the key's),
//	                uvarint last (less base), uvarint number of routes,
//	                routes each: uvarint version, totals
//	totals  uvarint calls × 4 + named present × 2 + unbilled present,
//	        [varint unbilled], varint documents, varint tokens, amount cost, [named]
//
// Packed like this an active user, route and hour takes 10 to 20 bytes; a value
// of its own would take 24 for key and page slot alone.

// hourTotals is one user's hour.
type hourTotals struct {
	hour   int32
	last   uint64 // the user's newest usage entry in the hour
	routes []routeTotals
}

type routeTotals struct {
	route VersionID
	Totals
}

func hourOf(t time.Time) int32 { return int32(t.Unix() / 3600) }

func (h *hourTotals) count(u *Usage, n int64) {
	h.last = max(h.last, u.Seq)
	h.route(u.Route).add(u, n)
}

func (h *hourTotals) route(id VersionID) *Totals {
	for i := range h.routes {
		if h.routes[i].route == id {
			return &h.routes[i].Totals
		}
	}
	h.routes = append(h.routes, routeTotals{route: id})
	return &h.routes[len(h.routes)-1].Totals
}

func (h *hourTotals) merge(other hourTotals) {
	h.last = max(h.last, other.last)
	for _, r := range other.routes {
		h.route(r.route).merge(r.Totals)
	}
}

// hourRow is one user's row in a packed value.
type hourRow struct {
	user UserID
	hourTotals
}

func hourKey(hour int32, user UserID) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(hour)), uint32(user))
}

func splitHourKey(k []byte) (hour int32, user UserID) {
	return int32(binary.BigEndian.Uint32(k)), UserID(binary.BigEndian.Uint32(k[4:]))
}

// names gives interned names their numbers and back.
type names interface {
	number(name string) uint32
	name(number uint32) string
}

func appendTotals(b []byte, t *Totals, n names) []byte {
	flags := uint64(0)
	if t.Unbilled != 0 {
		flags |= 1
	}
	if len(t.Named) > 0 {
		flags |= 2
	}
	b = binary.AppendUvarint(b, uint64(t.Calls)<<2|flags)
	if t.Unbilled != 0 {
		b = binary.AppendVarint(b, t.Unbilled)
	}
	b = binary.AppendUvarint(b, uint64(t.Documents))
	b = binary.AppendUvarint(b, uint64(t.Tokens))
	b = appendAmount(b, t.Cost)
	if len(t.Named) > 0 {
		b = binary.AppendUvarint(b, uint64(len(t.Named)))
		for _, q := range t.Named {
			b = binary.AppendUvarint(b, uint64(n.number(q.Meter)))
			b = binary.AppendUvarint(b, uint64(q.N))
		}
	}
	return b
}

func (r *reader) totals(n names) Totals {
	var t Totals
	calls := r.uvarint()
	t.Calls = int64(calls >> 2)
	if calls&1 != 0 {
		t.Unbilled = r.varint()
	}
	t.Documents = r.count()
	t.Tokens = r.count()
	t.Cost = r.amount()
	if calls&2 != 0 {
		count := r.uvarint()
		if count > uint64(len(r.b)) {
			r.bad = true
			return t
		}
		for range count {
			meter := n.name(r.id())
			t.Named = append(t.Named, Quantity{Meter: meter, N: r.count()})
		}
	}
	return t
}

// decodeHour reads a packed value of hourly rows.
func decodeHour(k, v []byte, n names) ([]hourRow, error) {
	if len(k) != 8 {
		return nil, fmt.Errorf("hour key %x: %w", k, errMalformed)
	}
	hour, user := splitHourKey(k)
	r := reader{b: v}
	base := r.uvarint()
	var rows []hourRow
	for len(r.b) > 0 && !r.bad {
		user += UserID(r.id())
		row := hourRow{user: user, hourTotals: hourTotals{hour: hour, last: base + r.uvarint()}}
		count := r.uvarint()
		if count > uint64(len(r.b)) {
			r.bad = true
			break
		}
		row.routes = make([]routeTotals, count)
		for i := range row.routes {
			row.routes[i] = routeTotals{route: VersionID(r.id()), Totals: r.totals(n)}
		}
		rows = append(rows, row)
	}
	if r.bad {
		return nil, fmt.Errorf("hour %d from user %d: %w", hour, user, errMalformed)
	}
	return rows, nil
}

// findHour reads one user's row of a packed value, nil when it has none. Those
// before it are stepped over without being kept.
func findHour(k, v []byte, wanted UserID, n names) (*hourRow, error) {
	if len(k) != 8 {
		return nil, fmt.Errorf("hour key %x: %w", k, errMalformed)
	}
	hour, user := splitHourKey(k)
	first := user
	r := reader{b: v}
	base := r.uvarint()
	for len(r.b) > 0 && !r.bad {
		if user += UserID(r.id()); user > wanted {
			return nil, nil
		}
		last := base + r.uvarint()
		count := r.uvarint()
		if count > uint64(len(r.b)) {
			r.bad = true
			break
		}
		var routes []routeTotals
		for range count {
			if t := (routeTotals{route: VersionID(r.id()), Totals: r.totals(n)}); user == wanted {
				routes = append(routes, t)
			}
		}
		if user == wanted && !r.bad {
			return &hourRow{user: user, hourTotals: hourTotals{hour: hour, last: last, routes: routes}}, nil
		}
	}
	if r.bad {
		return nil, fmt.Errorf("hour %d from user %d: %w", hour, first, errMalformed)
	}
	return nil, nil
}

// packHour encodes sorted rows of one hour into as many values as they need.
func packHour(rows []hourRow, n names, put func(k, v []byte) error) error {
	var value, row []byte
	for i := 0; i < len(rows); {
		first := i
		base := slices.MinFunc(rows[i:], func(a, b hourRow) int { return cmp.Compare(a.last, b.last) }).last
		value = binary.AppendUvarint(value[:0], base)
		before := rows[i].user
		for ; i < len(rows); i++ {
			row = appendHourRow(row[:0], &rows[i], before, base, n)
			if i > first && len(value)+len(row) > maxPacked {
				break
			}
			value = append(value, row...)
			before = rows[i].user
		}
		if err := put(hourKey(rows[first].hour, rows[first].user), bytes.Clone(value)); err != nil {
			return err
		}
	}
	return nil
}

func appendHourRow(b []byte, row *hourRow, before UserID, base uint64, n names) []byte {
	b = binary.AppendUvarint(b, uint64(row.user-before))
	b = binary.AppendUvarint(b, row.last-base)
	b = binary.AppendUvarint(b, uint64(len(row.routes)))
	for i := range row.routes {
		b = binary.AppendUvarint(b, uint64(row.routes[i].route))
		b = appendTotals(b, &row.routes[i].Totals, n)
	}
	return b
}

// mergeHours adds rows, sorted by hour and user, to those in the bucket.
func mergeHours(bucket *bolt.Bucket, rows []hourRow, n names) error {
	for len(rows) > 0 {
		key, end, err := packedHourOf(bucket, rows[0].hour, rows[0].user)
		if err != nil {
			return err
		}
		take := 1
		for take < len(rows) && rows[take].hour == rows[0].hour && (end == 0 || rows[take].user < end) {
			take++
		}
		old := []hourRow(nil)
		if key != nil {
			if old, err = decodeHour(key, bucket.Get(key), n); err != nil {
				return err
			}
			if err := bucket.Delete(key); err != nil {
				return fmt.Errorf("replace hourly totals: %w", err)
			}
		}
		if err := packHour(mergeRows(old, rows[:take]), n, bucket.Put); err != nil {
			return fmt.Errorf("write hourly totals: %w", err)
		}
		rows = rows[take:]
	}
	return nil
}

// packedHourOf finds the value that has or would have a user's row: its key,
// nil where the hour has none, and the first user of the next value, 0 when it
// is the hour's last.
func packedHourOf(bucket *bolt.Bucket, hour int32, user UserID) (key []byte, end UserID, err error) {
	c := bucket.Cursor()
	k, _ := c.Seek(hourKey(hour, user))
	if k != nil && len(k) != 8 {
		return nil, 0, fmt.Errorf("hour key %x: %w", k, errMalformed)
	}
	inHour := func(k []byte) bool {
		if len(k) != 8 {
			return false
		}
		h, _ := splitHourKey(k)
		return h == hour
	}
	next := k
	if !bytes.Equal(k, hourKey(hour, user)) {
		var before []byte
		if k == nil {
			before, _ = c.Last()
		} else {
			before, _ = c.Prev()
		}
		switch {
		case inHour(before):
			key = bytes.Clone(before)
		case inHour(k): // the user comes before the hour's first value
			key = bytes.Clone(k)
			c.Seek(k)
			next, _ = c.Next()
		}
	} else {
		key = bytes.Clone(k)
		next, _ = c.Next()
	}
	if inHour(next) {
		_, end = splitHourKey(next)
	}
	return key, end, nil
}

// mergeRows merges two lists of one hour sorted by user; it may change both.
func mergeRows(old, add []hourRow) []hourRow {
	all := make([]hourRow, 0, len(old)+len(add))
	for len(old) > 0 && len(add) > 0 {
		switch {
		case old[0].user < add[0].user:
			all, old = append(all, old[0]), old[1:]
		case old[0].user > add[0].user:
			all, add = append(all, add[0]), add[1:]
		default:
			old[0].merge(add[0].hourTotals)
			all, old, add = append(all, old[0]), old[1:], add[1:]
		}
	}
	return append(append(all, old...), add...)
}
