package ledger_test

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tollgate/ledger"
)

var meters = []string{"images", "pages", "words"}

func drawQuantities(t *rapid.T) ledger.Quantities {
	q := ledger.Quantities{
		Documents: rapid.Int64Range(0, 300).Draw(t, "documents"),
		Tokens:    rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1e9)).Draw(t, "tokens"),
	}
	for _, meter := range meters {
		if rapid.IntRange(0, 5).Draw(t, meter) == 5 {
			q.Named = append(q.Named, ledger.Quantity{Meter: meter, N: rapid.Int64Range(0, 9).Draw(t, "n")})
		}
	}
	return q
}

// drawRecord is a record as it comes back; its Time is late or ahead at times.
func (m *model) drawRecord(t *rapid.T) ledger.Usage {
	ago := rapid.OneOf(
		rapid.Int64Range(0, 2_000),
		rapid.Int64Range(-int64(ledger.MaxAhead/time.Millisecond), 0),
		rapid.Int64Range(0, 62*24*3600_000),
	).Draw(t, "ago in milliseconds")
	m.counter++
	u := ledger.Usage{
		Time:       m.now.Add(-time.Duration(ago) * time.Millisecond),
		Counter:    m.counter,
		Method:     rapid.SampledFrom([]string{"GET", "POST", "BREW", "", "PROPFIND"}).Draw(t, "method"),
		Status:     rapid.SampledFrom([]int{200, 100, 304, 429, 502, 599}).Draw(t, "status"),
		Duration:   time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "duration")) * 10 * time.Microsecond,
		Outcome:    ledger.Outcome(rapid.IntRange(0, int(ledger.Quarantined)).Draw(t, "outcome")),
		Billed:     rapid.IntRange(0, 3).Draw(t, "billed") > 0,
		Estimated:  rapid.Bool().Draw(t, "estimated"),
		Quantities: drawQuantities(t),
		User:       ledger.UserID(rapid.IntRange(0, len(m.users)-1).Draw(t, "user")),
	}
	if u.Billed {
		u.Cost = ledger.Amount(rapid.OneOf(rapid.SampledFrom([]int64{0, 10_000_000, 90_000_000}), rapid.Int64Range(0, 1e15)).Draw(t, "cost"))
	}
	if u.Billed && u.User != 0 && rapid.IntRange(0, 2).Draw(t, "prepaid") == 2 {
		u.Burnt = drawCredits(t)
		u.Uncovered = ledger.Amount(rapid.Int64Range(0, 3).Draw(t, "uncovered"))
	}
	routes := slices.DeleteFunc(slices.Clone(m.versions[1:]), func(v *ledger.Version) bool { return v.Kind != ledger.RouteVersion })
	u.Route = rapid.SampledFrom(routes).Draw(t, "route").ID
	if u.User != 0 {
		u.Plan = ledger.VersionID(rapid.IntRange(1, len(m.versions)-1).Draw(t, "plan"))
		if keys := m.users[u.User].user.Keys; len(keys) > 0 {
			u.Key = rapid.SampledFrom(keys).Draw(t, "key")
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "remember") == 4 {
		n := byte(rapid.IntRange(1, 6).Draw(t, "id"))
		u.Remember = ledger.Remembered{ID: [16]byte{n / 2, 15: n}, Request: [8]byte{7: byte(m.counter)}}
	}
	return u
}

// settling counts that each record was settled once.
type settling struct{ times []int }

type settlerOf struct {
	s *settling
	i int
}

func (s settlerOf) Settle() { s.s.times[s.i]++ }

func (m *model) append(t *rapid.T) { m.appendRecords(t, 1) }

// appendSeveral has several appenders in what is mostly one batch.
func (m *model) appendSeveral(t *rapid.T) {
	m.appendRecords(t, rapid.IntRange(2, 6).Draw(t, "appenders"))
}

func (m *model) appendRecords(t *rapid.T, appenders int) {
	var pending []ledger.Pending
	var added []ledger.Usage
	var settled []*settling
	for range appenders {
		var records []ledger.Usage
		var settlers []ledger.Settler
		own := &settling{make([]int, rapid.IntRange(1, 5).Draw(t, "records"))}
		for i := range own.times {
			u := m.drawRecord(t)
			settlers = append(settlers, settlerOf{own, i})
			records = append(records, u)
		}
		settled = append(settled, own)
		pending = append(pending, m.l.Append(m.now, records, settlers))
		added = append(added, records...)
	}
	for _, p := range pending {
		if err := p.Wait(background); err != nil {
			t.Fatal(err)
		}
	}
	for _, own := range settled {
		for i, n := range own.times {
			if n != 1 {
				t.Fatalf("record %d of %d was settled %d times", i, len(own.times), n)
			}
		}
	}
	m.tick(t)
	first := len(m.records)
	var balances []ledger.Amount
	for _, u := range added {
		u.Logged = m.logged
		u.Period = m.l.PeriodAt(u.Time).Month
		m.users[u.User].credits.burn(&u)
		balances = append(balances, m.users[u.User].credits.balance(u.Time))
		m.records = append(m.records, u)
		if u.User == 0 {
			continue
		}
		day := m.l.DayAt(u.Time)
		user := m.users[u.User]
		user.day.add(day)
		if u.Key == 0 {
			continue
		}
		k := m.keys[u.Key]
		user.keys[k.Counts].day.add(day)
		if use := user.keys[k.Index]; u.Time.After(use.last) {
			use.last = u.Time
		}
	}
	m.number(t)
	m.watched(first, balances)
}

// number learns the sequence numbers of new records.
func (m *model) number(t *rapid.T) {
	known, last := 0, uint64(0)
	for known < len(m.records) && m.records[known].Seq != 0 {
		last = m.records[known].Seq
		known++
	}
	err := m.l.Records(background, last, time.Time{}, time.Time{}, func(u *ledger.Usage) bool {
		if known == len(m.records) {
			t.Fatalf("there is a record more than were appended: %+v", u)
		}
		if u.Seq <= last {
			t.Fatalf("record %d comes after %d", u.Seq, last)
		}
		last = u.Seq
		m.records[known].Seq = u.Seq
		known++
		return true
	})
	if err != nil || known != len(m.records) {
		t.Fatalf("%d of %d records are there: %v", known, len(m.records), err)
	}
}

func (m *model) correct(t *rapid.T) {
	if len(m.records) == 0 {
		t.Skip("no records yet")
	}
	of := rapid.SampledFrom(m.records).Draw(t, "record").Seq
	c := ledger.Correction{Of: of, Now: drawQuantities(t), Billed: rapid.Bool().Draw(t, "billed"), Reason: "wrong", By: "test"}
	if c.Billed {
		c.Cost = ledger.Amount(rapid.Int64Range(0, 1e12).Draw(t, "cost"))
	}
	err := m.l.Correct(m.now, c)
	if _, twice := m.fixed[of]; twice {
		if !errors.Is(err, ledger.ErrExists) {
			t.Fatalf("correct a record twice: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	m.fixed[of] = c
}

// counted is a record as totals count it: corrected.
func (m *model) counted(u ledger.Usage) ledger.Usage {
	if c, ok := m.fixed[u.Seq]; ok {
		u.Quantities, u.Cost, u.Billed = c.Now, c.Cost, c.Billed
	}
	return u
}

// tally is Totals in a form that compares.
type tally struct {
	Calls, Unbilled, Documents, Tokens int64
	Cost                               ledger.Amount
	Named                              [3]int64
}

func (s *tally) add(u *ledger.Usage) {
	if !u.Billed {
		s.Unbilled++
		return
	}
	s.Calls++
	s.Documents += u.Documents
	s.Tokens += u.Tokens
	s.Cost += u.Cost
	for _, q := range u.Named {
		s.Named[slices.Index(meters, q.Meter)] += q.N
	}
}

func tallyOf(x ledger.Totals) tally {
	s := tally{x.Calls, x.Unbilled, x.Documents, x.Tokens, x.Cost, [3]int64{}}
	for _, q := range x.Named {
		if i := slices.Index(meters, q.Meter); i >= 0 {
			s.Named[i] += q.N
		} else {
			s.Calls = -1 // a meter that nobody has: cannot be equal
		}
	}
	return s
}

var equateTimes = cmpopts.EquateApproxTime(0)

func same(t *rapid.T, what string, want, got any, o ...gocmp.Option) {
	t.Helper()
	if diff := gocmp.Diff(want, got, append(o, equateTimes, cmpopts.EquateEmpty())...); diff != "" {
		t.Fatalf("%s (-model +ledger):\n%s", what, diff)
	}
}

func (m *model) sameUser(t *rapid.T, got, want *ledger.User) {
	t.Helper()
	same(t, "user", want, got, cmpopts.IgnoreFields(ledger.User{}, "PersonalHash", "Payments", "Notices"))
}

func (m *model) sameKey(t *rapid.T, got, want *ledger.Key) {
	t.Helper()
	same(t, "key", want, got, cmpopts.EquateComparable())
}

func (m *model) sameVersion(t *rapid.T, got, want *ledger.Version) {
	t.Helper()
	same(t, "version", want, got)
}

// spotCheck compares, after each operation, one user and the newest records.
func (m *model) spotCheck(t *rapid.T) {
	r := rand.New(rand.NewPCG(uint64(len(m.records)), uint64(m.files)))
	id := ledger.UserID(r.IntN(len(m.users)))
	m.checkMonths(t, id)
	if id != 0 {
		m.checkUser(t, id)
		m.checkWalk(t, id, 0, time.Time{}, time.Time{})
	}
}

func (m *model) checkAll(t *rapid.T) {
	at := func(what string) time.Time {
		if len(m.records) == 0 || rapid.Bool().Draw(t, "no "+what) {
			return time.Time{}
		}
		u := rapid.SampledFrom(m.records).Draw(t, what)
		return u.Time.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, what+" besides")) * time.Millisecond)
	}
	from, to := at("from"), at("to")
	cursor, first := uint64(0), 0
	if len(m.records) > 0 && rapid.Bool().Draw(t, "with a cursor") {
		first = rapid.IntRange(0, len(m.records)-1).Draw(t, "cursor")
		cursor = m.records[first].Seq
		first++
	}
	within := func(u ledger.Usage) bool { return !u.Time.Before(from) && (to.IsZero() || u.Time.Before(to)) }
	var want, got []ledger.Usage
	for _, u := range m.records[first:] {
		if within(u) {
			want = append(want, u)
		}
	}
	if err := m.l.Records(background, cursor, from, to, func(u *ledger.Usage) bool { got = append(got, *u); return true }); err != nil {
		t.Fatal(err)
	}
	same(t, "records", want, got)
	for id := range m.users {
		id := ledger.UserID(id)
		m.checkMonths(t, id)
		m.checkHours(t, id, from, to)
		if id != 0 {
			m.checkUser(t, id)
			m.checkWalk(t, id, cursor, from, to)
		}
	}
	m.checkLists(t)
	m.checkRemembered(t, from)
	if len(m.records) > 0 {
		u := rapid.SampledFrom(m.records).Draw(t, "by request id")
		if got, err := m.l.RecordByRequest(background, u.RequestID()); err != nil || got.Seq != u.Seq {
			t.Fatalf("record %d by its request id: %+v, %v", u.Seq, got, err)
		}
	}
}

// checkWalk compares the walk over a user's records, newest first.
func (m *model) checkWalk(t *rapid.T, id ledger.UserID, cursor uint64, from, to time.Time) {
	t.Helper()
	i := slices.IndexFunc(m.records, func(u ledger.Usage) bool { return u.Seq == cursor })
	if i < 0 {
		i = len(m.records)
	}
	foreign := cursor != 0 && m.records[i].User != id
	var want, got []ledger.Usage
	for i--; i >= 0; i-- {
		if u := m.records[i]; u.User == id && !u.Time.Before(from) && (to.IsZero() || u.Time.Before(to)) {
			want = append(want, u)
		}
	}
	err := m.l.UserRecords(background, id, cursor, from, to, func(u *ledger.Usage) bool { got = append(got, *u); return true })
	if foreign {
		if !errors.Is(err, ledger.ErrNotFound) {
			t.Fatalf("a cursor of another user: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	same(t, "records of a user", want, got)
}

func (m *model) checkMonths(t *rapid.T, id ledger.UserID) {
	t.Helper()
	want := map[ledger.Month]map[ledger.VersionID]*tally{}
	for _, u := range m.records {
		if u = m.counted(u); id != 0 && u.User != id {
			continue
		}
		if id == 0 {
			u.Plan = 0
		}
		if want[u.Period] == nil {
			want[u.Period] = map[ledger.VersionID]*tally{}
		}
		if want[u.Period][u.Plan] == nil {
			want[u.Period][u.Plan] = &tally{}
		}
		want[u.Period][u.Plan].add(&u)
	}
	for _, p := range []ledger.Month{ledger.MonthOf(2024, 11), m.l.PeriodAt(m.now).Month} {
		if want[p] == nil {
			want[p] = nil
		}
	}
	for month, plans := range want {
		list, err := m.l.Month(id, month)
		if err != nil {
			t.Fatal(err)
		}
		got := map[ledger.VersionID]*tally{}
		for _, p := range list {
			s := tallyOf(p.Totals)
			got[p.Plan] = &s
		}
		same(t, "user "+string(rune('0'+id))+" in "+month.String(), plans, got)
		if id == 0 {
			m.checkMonthTotals(t, month)
		}
	}
}

func (m *model) checkMonthTotals(t *rapid.T, month ledger.Month) {
	t.Helper()
	want, got := map[ledger.UserID]tally{}, map[ledger.UserID]tally{}
	for _, u := range m.records {
		if u = m.counted(u); u.Period == month && u.User != 0 {
			s := want[u.User]
			s.add(&u)
			want[u.User] = s
		}
	}
	before := ledger.UserID(0)
	err := m.l.MonthTotals(background, month, func(id ledger.UserID, plans []ledger.PlanTotals) error {
		if id <= before {
			t.Fatalf("user %d comes after user %d", id, before)
		}
		before = id
		got[id] = tallyOf(ledger.Sum(plans))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "all users in "+month.String(), want, got)
}

type hourRoute struct {
	Hour  int64
	Route ledger.VersionID
}

func (m *model) checkHours(t *rapid.T, id ledger.UserID, from, to time.Time) {
	t.Helper()
	if to.IsZero() {
		to = m.now.Add(100 * 24 * time.Hour)
	}
	want, got := map[hourRoute]tally{}, map[hourRoute]tally{}
	for _, u := range m.records {
		hour := u.Time.Truncate(time.Hour)
		if u = m.counted(u); id != 0 && u.User != id || hour.Before(from) || !hour.Before(to) {
			continue
		}
		s := want[hourRoute{hour.Unix(), u.Route}]
		s.add(&u)
		want[hourRoute{hour.Unix(), u.Route}] = s
	}
	var hours []time.Time
	err := m.l.Hours(id, from, to, func(h ledger.RouteHour) error {
		hours = append(hours, h.Hour)
		got[hourRoute{h.Hour.Unix(), h.Route}] = tallyOf(h.Totals)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(hours, time.Time.Compare) {
		t.Fatalf("hours are out of order: %v", hours)
	}
	same(t, "hours", want, got)
}

// checkUser compares a user, its keys and what is counted by day.
func (m *model) checkUser(t *rapid.T, id ledger.UserID) {
	t.Helper()
	u := m.users[id]
	a := m.l.Account(id)
	if a == nil {
		t.Fatalf("user %d is missing", id)
	}
	m.sameUser(t, a.User(), &u.user)
	m.checkCredits(t, id)
	m.checkPayments(t, id)
	a.Lock()
	defer a.Unlock()
	if got := a.DayCalls(u.day.day); got != u.day.calls {
		t.Fatalf("%d calls of user %d on day %d, want %d", got, id, u.day.day.Number, u.day.calls)
	}
	for i, key := range u.user.Keys {
		k := u.keys[i]
		if got := a.KeyDayCalls(i, k.day.day); got != k.day.calls {
			t.Fatalf("%d calls of key %d on day %d, want %d", got, key, k.day.day.Number, k.day.calls)
		}
		if got := a.KeyLastUsed(i); !got.Equal(k.last) {
			t.Fatalf("key %d was last used at %v, want %v", key, got, k.last)
		}
	}
}

func (m *model) checkLists(t *rapid.T) {
	m.checkBooks(t)
	for _, k := range m.keys[1:] {
		m.sameKey(t, m.l.KeyByID(k.ID), k)
		got, a := m.l.Key(k.Hash)
		m.sameKey(t, got, k)
		if a != m.l.Account(k.User) {
			t.Fatalf("key %d leads to another user", k.ID)
		}
	}
	for _, kind := range []ledger.VersionKind{ledger.PlanVersion, ledger.RouteVersion} {
		want := slices.DeleteFunc(slices.Clone(m.versions[1:]), func(v *ledger.Version) bool { return v.Kind != kind })
		same(t, "versions", want, m.l.Versions(kind))
	}
	for _, email := range emails {
		var want ledger.UserID
		if u := m.owner(email); u != nil {
			want = u.user.ID
		}
		if a := m.l.AccountByEmail(email); (a == nil) != (want == 0) || a != nil && a.ID() != want {
			t.Fatalf("the account of %s is %v, want %d", email, a, want)
		}
	}
	n := 0
	for range m.l.Accounts(0) {
		n++
	}
	s, err := m.l.Status()
	if err != nil || n != len(m.users)-1 || s.Users != n || s.Epoch != m.epoch || s.Zone != cmp.Or(m.zone, "UTC") {
		t.Fatalf("status %+v, %v; %d accounts of %d", s, err, n, len(m.users)-1)
	}
}

// checkRemembered compares what the last records with an id are, within the
// time that ids are kept.
func (m *model) checkRemembered(t *rapid.T, since time.Time) {
	if keep := m.logged.Add(-24 * time.Hour); since.Before(keep) {
		since = keep
	}
	for n := byte(1); n <= 6; n++ {
		id := [16]byte{n / 2, 15: n}
		var want uint64
		for _, u := range m.records {
			if u.Remember.ID == id && !u.Time.Before(since) {
				want = u.Seq
			}
		}
		got, err := m.l.Recall(since, id)
		switch {
		case want == 0 && !errors.Is(err, ledger.ErrNotFound):
			t.Fatalf("recall of an unknown id: %+v, %v", got, err)
		case want != 0 && (err != nil || got.Seq != want):
			t.Fatalf("recall gives %+v, %v, want record %d", got, err, want)
		}
	}
}
