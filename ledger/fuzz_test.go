package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What is read from a file must not be able to do more than be refused. What
// is not refused means the same after it was written and read again.

// numberedNames gives every number a name.
type numberedNames struct{}

func (numberedNames) name(n uint32) string { return fmt.Sprintf("n%010d", n) }

func (numberedNames) number(name string) uint32 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(name, "n"), 10, 32)
	return uint32(n)
}

func sameOf[T any](t *testing.T, what string, first, again T, o ...cmp.Option) {
	t.Helper()
	o = append(o, cmpopts.EquateEmpty(), cmp.AllowUnexported(hourRow{}, hourTotals{}, routeTotals{}, dayCount{}, keyUse{}))
	if diff := cmp.Diff(first, again, o...); diff != "" {
		t.Errorf("%s, written and read again (-first +again):\n%s", what, diff)
	}
}

func someUsage() *entry {
	return &entry{logged: 1736942400123, back: 3, method: 2, usage: Usage{
		Time: time.UnixMilli(1736942400000).UTC(), Counter: 77, User: 5, Key: 6, Route: 1, Plan: 2, Period: 24300,
		Quantities: Quantities{Documents: 3, Tokens: 900, Named: []Quantity{{"n0000000020", 4}}},
		Cost:       30_000_000, Billed: true, Duration: 12500 * time.Microsecond, Status: 200, Remember: Remembered{ID: [16]byte{1}, Request: [8]byte{2}},
	}}
}

func FuzzDecodeEntry(f *testing.F) {
	n := numberedNames{}
	f.Add(appendUsage(nil, someUsage(), 1736942400000, n.number), int64(1736942400000))
	for _, b := range []body{genesis{ID: "x"}, userChange{User: User{ID: 1}}, keyChange{Key: Key{ID: 1, User: 1}}, periodOpened{}, corrected{},
		paymentEntered{Payment: Payment{User: 1, Intent: &Intent{}, Lines: []InvoiceLine{{Amount: 1}}}, Moves: []Move{{cash, 1}}}, noticeEntered{Notice: Notice{User: 1, Deliveries: []Delivery{{}}}}} {
		stored, err := appendBody(nil, &entry{logged: 2, body: b}, 1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored, int64(1))
	}
	f.Fuzz(func(t *testing.T, stored []byte, last int64) {
		if last < 0 || last > maxMilli {
			return
		}
		var first, again entry
		if decodeEntry(stored, last, &first, n.name) != nil {
			return
		}
		var b []byte
		if first.body != nil {
			var err error
			if b, err = appendBody(nil, &first, last); err != nil {
				return // a time that JSON cannot have
			}
		} else {
			b = appendUsage(nil, &first, last, n.number)
		}
		if err := decodeEntry(b, last, &again, n.name); err != nil {
			t.Fatalf("%+v, written and read again: %v", first, err)
		}
		sameOf(t, "entry", first, again, cmp.AllowUnexported(entry{}, userChange{}, corrected{}, versionMade{}, granted{}, taken{}, noticeEntered{}), cmpopts.EquateComparable())
	})
}

func FuzzPacked(f *testing.F) {
	n := numberedNames{}
	value := packHeader(nil, position{seq: 4, logged: 1736942400000})
	for range 3 {
		stored := appendUsage(nil, someUsage(), 1736942400000, n.number)
		value = append(binary.AppendUvarint(value, uint64(len(stored))), stored...)
	}
	f.Add(uint64(5), value)
	f.Fuzz(func(t *testing.T, first uint64, value []byte) {
		p, err := openPacked(first, value)
		if err != nil {
			return
		}
		q := p
		again := packHeader(nil, p.at)
		for {
			stored, err := p.next()
			if err != nil {
				return
			}
			if stored == nil {
				break
			}
			again = append(binary.AppendUvarint(again, uint64(len(stored))), stored...)
		}
		r, err := openPacked(first, again)
		if err != nil {
			t.Fatal(err)
		}
		for {
			a, _ := q.next()
			b, err := r.next()
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("entry %d, written and read again: %x, %x, %v", q.at.seq, a, b, err)
			}
			if a == nil {
				break
			}
		}
	})
}

func FuzzHourRows(f *testing.F) {
	n := numberedNames{}
	rows := []hourRow{
		{0, hourTotals{482484, 9, []routeTotals{{1, Totals{Calls: 3, Documents: 4, Cost: 5_000_000}}}}},
		{7, hourTotals{482484, 8, []routeTotals{{1, Totals{Unbilled: 1}}, {2, Totals{Calls: 1, Named: []Quantity{{"n0000000020", 1}}}}}}},
	}
	if err := packHour(rows, n, func(k, v []byte) error { f.Add(k, v); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, k, v []byte) {
		first, err := decodeHour(k, v, n)
		if err != nil {
			return
		}
		var again []hourRow
		if err := packHour(first, n, func(k, v []byte) error {
			part, err := decodeHour(k, v, n)
			again = append(again, part...)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		sameOf(t, "hour", first, again)
	})
}

func FuzzMonthRow(f *testing.F) {
	n := numberedNames{}
	f.Add(appendMonth(nil, []PlanTotals{{2, Totals{Calls: 3, Unbilled: 1, Tokens: 9, Cost: 7, Named: []Quantity{{"n0000000017", 8}}}}, {3, Totals{Calls: 1}}}, n))
	f.Fuzz(func(t *testing.T, row []byte) {
		first, err := decodeMonth(row, n)
		if err != nil {
			return
		}
		again, err := decodeMonth(appendMonth(nil, first, n), n)
		if err != nil {
			t.Fatal(err)
		}
		sameOf(t, "month", first, again)
	})
}

func FuzzAccountRow(f *testing.F) {
	a := &Account{last: 4, late: 900, day: dayCount{20103, 7}, keys: []keyUse{{1736942400000, dayCount{20103, 7}}}}
	f.Add(a.appendRow(nil))
	f.Fuzz(func(t *testing.T, row []byte) {
		first, again := &Account{}, &Account{}
		if first.readRow(row) != nil {
			return
		}
		if err := again.readRow(first.appendRow(nil)); err != nil {
			t.Fatal(err)
		}
		sameOf(t, "account", []any{first.last, first.late, first.day, first.keys}, []any{again.last, again.late, again.day, again.keys})
	})
}

func FuzzGroup(f *testing.F) {
	group, err := mergeGroup(nil, nil, []groupRow{{17, []byte("a")}, {18, nil}, {31, []byte("bc")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(group, uint32(20), []byte("new"))
	f.Fuzz(func(t *testing.T, group []byte, user uint32, row []byte) {
		rows := func(value []byte) (m map[byte]string, ok bool) {
			m, ok = map[byte]string{}, true
			last := -1
			err := eachInGroup(value, func(place byte, row []byte) {
				m[place] = string(row)
				ok = ok && int(place) > last
				last = int(place)
			})
			return m, ok && err == nil
		}
		want, ok := rows(group)
		merged, err := mergeGroup(nil, group, []groupRow{{UserID(user), row}})
		if !ok {
			return // unsorted or cut off
		}
		if err != nil {
			t.Fatal(err)
		}
		want[byte(user%groupUsers)] = string(row)
		got, ok := rows(merged)
		if !ok {
			t.Fatalf("%x is no group", merged)
		}
		sameOf(t, "group", want, got)
	})
}

// begun is a state with a user, a key and a route.
func begun(t testing.TB) *state {
	t.Helper()
	s := newState()
	for i, b := range []body{
		genesis{ID: "x", Currency: "usd"}, zoneSet{Zone: "UTC"}, versionMade{Version{ID: 1, Kind: RouteVersion, Name: "/"}},
		userChange{User: User{ID: 1}}, assignment{User: 1, Plans: []Assignment{{Plan: "free"}}},
		keyChange{Key: Key{ID: 1, User: 1, HashHex: strings.Repeat("00", 32)}},
	} {
		if err := s.apply(&entry{seq: uint64(i + 1), body: b}, skip{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func FuzzRegistry(f *testing.F) {
	text, err := begun(f).encodeRegistry()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newState()
		if s.readRegistry(text) != nil {
			return
		}
		first, err := s.encodeRegistry()
		if err != nil {
			return // a time that JSON cannot have
		}
		if again := newState(); again.readRegistry(first) != nil || !sameJSON(first, must(again.encodeRegistry())) {
			t.Errorf("%s, written and read again: %s", first, must(again.encodeRegistry()))
		}
		s.periodAt(time.UnixMilli(1736942400000))
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

// FuzzApply folds two entries, of which the chain is all that is known.
func FuzzApply(f *testing.F) {
	n := numberedNames{}
	f.Add(appendUsage(nil, &entry{logged: 2, usage: Usage{User: 1, Key: 1, Route: 1, Time: time.UnixMilli(1), Billed: true}}, 1, n.number), []byte{})
	for _, b := range []body{
		userChange{User: User{ID: 2}}, keyChange{Key: Key{ID: 1, User: 1, HashHex: strings.Repeat("01", 32)}}, nameGiven{16, "x"}, clockSet{}, epochBegun{},
		corrected{User: 1, Period: 24300}, zoneSet{Zone: "Asia/Kolkata", From: 24301}, periodOpened{}, versionMade{Version{ID: 2}}, assignment{User: 1},
		granted{User: 1, Grant: Grant{Source: Purchase, Amount: Unit}}, taken{User: 1, Grant: 10, Amount: Unit, Reason: "expired"},
		paymentEntered{Payment: Payment{User: 1, Kind: PurchasePayment, Number: 1}, Moves: []Move{{cash, 1}}}, paymentEntered{Payment: Payment{ID: 10, User: 1, Lines: []InvoiceLine{{}}}},
		granted{User: 1, Grant: Grant{Source: Purchase, Amount: Unit}, Payment: 10}, noticeEntered{Notice: Notice{User: 1, Code: "a"}}, noticeEntered{Notice: Notice{ID: 10, User: 1, Done: true}},
	} {
		stored, err := appendBody(nil, &entry{logged: 2, body: b}, 1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored, stored)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := begun(t)
		for i, stored := range [][]byte{first, second} {
			e := entry{seq: uint64(10 + i)}
			if decodeEntry(stored, 1, &e, s.table.Load().name) != nil || s.apply(&e, skip{}, nil) != nil {
				return
			}
		}
		if len(s.accounts) > 4 || len(s.keys) > 4 || len(s.versions) > 4 {
			t.Errorf("two entries made %d accounts, %d keys and %d versions", len(s.accounts), len(s.keys), len(s.versions))
		}
		if c, err := s.begin(position{}, position{seq: 12}); err == nil {
			for _, a := range c.accounts {
				c.save(a)
			}
		}
	})
}

func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"0.01", "-49", "9223372036.854775807", "-9223372036.854775807", "1.", ".5", "1e3", "+1", "00.10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAmount(s)
		if err != nil {
			return
		}
		again, err := ParseAmount(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %v, which is %v, %v", s, a, again, err)
		}
		whole, _, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
		if strings.Trim(whole, "0123456789") != "" || whole == "" {
			t.Errorf("%q is taken for a number", s)
		}
	})
}

func FuzzParseMonth(f *testing.F) {
	for _, s := range []string{"2025-01", "0000-12", "9999-12", "2025-13", "2025-1", "25-01", "2025-00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMonth(s); err == nil && m.String() != s {
			t.Errorf("%q is %v", s, m)
		}
	})
}

func FuzzParseRequestID(f *testing.F) {
	f.Add(NewRequestID(time.UnixMilli(1736942400123), 1<<24-1).String())
	f.Add("req_zzzzzzzzzzzzzzz")
	f.Add("req_000000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseRequestID(s)
		if err != nil {
			return
		}
		if id.String() != s || NewRequestID(id.Time(), id.counter) != id {
			t.Errorf("%q is %v of %v", s, id, id.Time())
		}
	})
}
