package ledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Checks are the rules that a ledger is verified with and that it does not
// know itself. A nil check is not made.
type Checks struct {
	// Cost is what quantities cost at a route version, in nanos.
	Cost func(route *Version, q Quantities) (Amount, error)
}

const maxProblems = 100 // that a report lists

// verifier collects what is wrong.
type verifier struct {
	checks   Checks
	src      *bolt.DB
	problems []string
	records  uint64
	recent   []remembered // ids of the last day of the log so far, which must be remembered
	days     []int64      // when each of recent was logged, in milliseconds

	atProvider     map[[32]byte]InvoiceID // by the hash of the provider's id
	paidAtProvider map[[32]byte]PaymentID // likewise
	bought         *Payment               // that was just paid: its credits come next
	debts          []debt                 // that an invoice was just made of: their payments come next
}

func newVerifier(c Checks, src *bolt.DB) *verifier {
	return &verifier{checks: c, src: src, atProvider: map[[32]byte]InvoiceID{}, paidAtProvider: map[[32]byte]PaymentID{}}
}

func (v *verifier) problem(format string, args ...any) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

// Verify derives everything from the log again, while work goes on, and
// compares. Problems are in the report; an error means that it could not look.
func (l *Ledger) Verify(ctx context.Context, c Checks, progress func(done, total uint64)) (Report, error) {
	v := newVerifier(c, l.db)
	return v.run(ctx, filepath.Dir(l.path), everything, progress, func(f *folder) error {
		if err := l.Checkpoint(ctx); err != nil {
			return err
		}
		var tx *bolt.Tx
		var saved position
		var err error
		shown := make(chan struct{})
		show := func(at position) {
			saved = at
			tx, err = l.db.Begin(false)
			close(shown)
		}
		select {
		case l.askView <- show:
		case <-l.stopped:
			return l.ended()
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-shown:
		case <-l.stopped: // which it may have done without showing
			select {
			case <-shown:
			default:
				return l.ended()
			}
		}
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // a read transaction's rollback cannot fail
		return guard(func() error { return v.compare(f, tx, checkpointRow{At: saved.mark()}) })
	})
}

// VerifyFile verifies the ledger in a file that no process has open, without
// changing it.
func VerifyFile(ctx context.Context, path string, c Checks, progress func(done, total uint64)) (Report, error) {
	src, err := openFile(path, true)
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	if err := checkPages(path); errors.Is(err, ErrCorrupt) {
		// To go on would be to follow pages that lead anywhere.
		return Report{Problems: []string{err.Error()}}, src.Close()
	} else if err != nil {
		return Report{}, errors.Join(fmt.Errorf("verify %s: %w", path, err), src.Close())
	}
	v := newVerifier(c, src)
	var mark checkpointRow
	err = view(src, func(tx *bolt.Tx) (err error) {
		if err := isLedger(tx); err != nil {
			return err
		}
		if _, err := recoverState(tx, nil); err != nil {
			v.problem("it does not open: %v", err)
		}
		mark, err = readCheckpoint(tx)
		return err
	})
	if err != nil {
		return Report{}, errors.Join(fmt.Errorf("verify %s: %w", path, err), src.Close())
	}
	report, err := v.run(ctx, filepath.Dir(path), mark.At.Seq, progress, func(f *folder) error {
		return view(src, func(tx *bolt.Tx) error { return v.compare(f, tx, mark) })
	})
	return report, errors.Join(err, src.Close())
}

// run folds the log up to an entry into a temporary file beside the ledger,
// and has the rest done by last.
func (v *verifier) run(ctx context.Context, dir string, upTo uint64, progress func(done, total uint64), last func(*folder) error) (Report, error) {
	tmp, err := os.MkdirTemp(dir, ".verify-")
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	defer os.RemoveAll(tmp)
	f, err := newFolder(filepath.Join(tmp, "totals.db"), false)
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	defer f.abandon()
	f.progress, f.inspect = progress, v.inspect
	if err = f.paced(ctx, v.src, upTo); err == nil {
		err = last(f)
	}
	if errors.Is(err, ErrCorrupt) { // what verify is for
		v.problem("%v", err)
		err = nil
	}
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	r := f.report()
	r.Records, r.Problems = v.records, v.problems
	return r, nil
}

// inspect looks at one entry before it is folded.
func (v *verifier) inspect(e *entry, s *state) {
	v.inspectNext(e)
	switch b := e.body.(type) {
	case nil:
		v.inspectUsage(e, s)
	case genesis:
		if e.seq != 1 {
			v.problem("entry %d: a second beginning", e.seq)
		}
	case corrected:
		v.inspectCorrection(e.seq, b, s)
	case entered:
		v.inspectInvoice(e.seq, b, s)
	case paymentEntered:
		v.inspectPayment(e.seq, b, s)
	case noticeEntered:
		v.inspectNotice(e.seq, b, s)
	}
	if e.seq == 1 && (e.body == nil || e.body.kind() != kindGenesis) {
		v.problem("entry 1 does not say which ledger this is")
	}
}

// bodyAt reads an entry of the log that is verified; nil where it cannot be read,
// or is a record.
func (v *verifier) bodyAt(seq uint64, s *state) body {
	var e entry
	if err := view(v.src, func(tx *bolt.Tx) error {
		p, err := seekEntry(tx, seq)
		if err == nil {
			_, err = p.read(&e, s.table.Load().name)
		}
		return err
	}); err != nil {
		return nil
	}
	return e.body
}

func (v *verifier) inspectUsage(e *entry, s *state) {
	v.records++
	u := &e.usage
	v.remember(e)
	if p, ok := s.periods[u.Period]; !ok || !p.Contains(u.Time) {
		v.problem("entry %d: its period %v does not contain its time %v", e.seq, u.Period, u.Time)
	}
	if u.User != 0 {
		a := s.account(u.User)
		switch {
		case a == nil:
			v.problem("entry %d: user %d was never added", e.seq, u.User)
		case e.back == 0 && a.last != 0 || e.back != 0 && e.seq-e.back != a.last:
			v.problem("entry %d: its link leads %d back, but the user's previous entry is %d", e.seq, e.back, a.last)
		}
	}
	var route *Version
	if int(u.Route) < len(s.versions) {
		route = s.versions[u.Route]
	}
	switch {
	case route == nil || route.Kind != RouteVersion:
		v.problem("entry %d: there is no route version %d", e.seq, u.Route)
	case !u.Billed && u.Cost != 0:
		v.problem("entry %d: it costs %v but is not billed", e.seq, u.Cost)
	case u.Billed && v.checks.Cost != nil:
		if cost, err := v.checks.Cost(route, u.Quantities); err != nil || cost != u.Cost {
			v.problem("entry %d: it costs %v, at its prices it would be %v (%v)", e.seq, u.Cost, cost, err)
		}
	}
}

func (v *verifier) inspectCorrection(seq uint64, c corrected, s *state) {
	if _, twice := s.corrected[c.Of]; twice {
		v.problem("entry %d: entry %d was corrected before", seq, c.Of)
	}
	var e entry
	err := view(v.src, func(tx *bolt.Tx) error {
		p, err := seekEntry(tx, c.Of)
		if err == nil {
			_, err = p.read(&e, s.table.Load().name)
		}
		return err
	})
	u := &e.usage
	if err != nil || c.Of >= seq || e.body != nil || u.User != c.User || u.Route != c.Route || u.Plan != c.Plan || u.Period != c.Period ||
		!u.Time.Equal(c.Time) || u.Documents != c.Was.Documents || u.Tokens != c.Was.Tokens || u.Cost != c.Paid || u.Billed != c.Bill {
		v.problem("entry %d: what it corrects is not entry %d as it is", seq, c.Of)
	}
}

// compare folds the rest of the log up to where the folded rows of tx stand,
// and compares them row by row. Rows of an unfinished checkpoint stand for two
// positions: users up to Done for the later one.
func (v *verifier) compare(f *folder, tx *bolt.Tx, mark checkpointRow) error {
	if err := f.upTo(tx, mark.At.Seq); err != nil {
		return err
	}
	v.sameHead(f, mark.At)
	if err := f.checkpoint(); err != nil {
		return err
	}
	if mark.Next != nil {
		if err := f.upTo(tx, mark.Next.Seq); err != nil {
			return err
		}
		v.sameHead(f, *mark.Next)
		f.state.dirty = slices.DeleteFunc(f.state.dirty, func(a *Account) bool { return int64(a.id) > mark.Done })
		if err := f.checkpoint(); err != nil {
			return err
		}
	}
	err := view(f.dst, func(want *bolt.Tx) error {
		for _, name := range [][]byte{bucketUsers, bucketAccounts, bucketMonths} {
			v.sameRows(string(name), tx.Bucket(name), want.Bucket(name))
		}
		if mark.Next == nil && !sameJSON(tx.Bucket(bucketMeta).Get(registryKey), want.Bucket(bucketMeta).Get(registryKey)) {
			v.problem("plans, routes, periods or names differ from what the log gives")
		}
		return v.sameHours(tx.Bucket(bucketHours), want.Bucket(bucketHours), f.state.table.Load())
	})
	if err != nil {
		return err
	}
	if err := f.upTo(tx, everything); err != nil {
		return err
	}
	v.inspectNext(nil)
	if t, ok, err := readTail(tx); err != nil || ok != (f.at.seq > 0) || ok && t.head != f.at.head {
		v.problem("the chain does not end as it should at entry %d (%v)", f.at.seq, err)
	}
	if err := v.sameIDs(tx, f.state.table.Load(), mark.At.Seq); err != nil {
		return err
	}
	return v.samePersonal(tx, f.state)
}

func (v *verifier) sameHead(f *folder, m checkmark) {
	if f.at.seq != m.Seq || m.Seq > 0 && (!bytes.Equal(f.at.head[:], m.Head) || f.at.logged != m.Logged) {
		v.problem("the checkpoint at entry %d is not on the chain", m.Seq)
	}
}

// sameRows reports the first row of a bucket that differs from what the log gives.
func (v *verifier) sameRows(what string, have, want *bolt.Bucket) {
	h, w := have.Cursor(), want.Cursor()
	hk, hv := h.First()
	wk, wv := w.First()
	for hk != nil || wk != nil {
		switch c := bytes.Compare(hk, wk); {
		case wk == nil || hk != nil && c < 0:
			v.problem("row %[2]x of %[1]s is not in the log", what, hk)
			return
		case hk == nil || c > 0:
			v.problem("row %[2]x of %[1]s is missing", what, wk)
			return
		case !bytes.Equal(hv, wv):
			v.problem("row %[2]x of %[1]s differs from what the log gives", what, hk)
			return
		}
		hk, hv = h.Next()
		wk, wv = w.Next()
	}
}

// sameHours compares hourly rows one by one: how they are packed depends on
// when they were written.
func (v *verifier) sameHours(have, want *bolt.Bucket, n names) error {
	h, w := newHourWalk(have, n), newHourWalk(want, n)
	for {
		a, err := h.next()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		b, err := w.next()
		if err != nil {
			return err
		}
		if a == nil && b == nil {
			return nil
		}
		if a == nil || b == nil || a.user != b.user || a.hour != b.hour || !sameHour(a, b, n) {
			at := cmp.Or(b, a)
			v.problem("hourly totals of user %d in hour %d differ from what the log gives", at.user, at.hour)
			return nil
		}
	}
}

func sameHour(a, b *hourRow, n names) bool {
	return a.last == b.last && bytes.Equal(appendHourRow(nil, a, a.user, 0, n), appendHourRow(nil, b, b.user, 0, n))
}

type hourWalk struct {
	c     *bolt.Cursor
	n     names
	rows  []hourRow
	begun bool
}

func newHourWalk(b *bolt.Bucket, n names) *hourWalk { return &hourWalk{c: b.Cursor(), n: n} }

func (w *hourWalk) next() (*hourRow, error) {
	for len(w.rows) == 0 {
		var k, v []byte
		if w.begun {
			k, v = w.c.Next()
		} else {
			k, v = w.c.First()
			w.begun = true
		}
		if k == nil {
			return nil, nil
		}
		rows, err := decodeHour(k, v, w.n)
		if err != nil {
			return nil, err
		}
		w.rows = rows
	}
	row := &w.rows[0]
	w.rows = w.rows[1:]
	return row, nil
}

// samePersonal proves that the personal data is what the users' newest entries
// have the hash of.
func (v *verifier) samePersonal(tx *bolt.Tx, s *state) error {
	has := map[UserID]bool{}
	err := eachPersonal(tx, func(id UserID, row personalRow) error {
		has[id] = true
		a := s.account(id)
		if a == nil {
			v.problem("personal data of user %d, who was never added", id)
			return nil
		}
		stored := tx.Bucket(bucketPersonal).Get(userKey(id))
		if hash, err := row.hash(); err != nil || !bytes.Equal(hash, a.User().PersonalHash) || !bytes.Equal(mustJSON(row), stored) {
			v.problem("personal data of user %d is not what the log has the hash of", id)
		}
		return nil
	})
	for _, a := range s.accounts[1:] {
		if erased := a.User().Erased; erased == has[a.id] {
			v.problem("personal data of user %d: erased is %v, present is %v", a.id, erased, has[a.id])
		}
	}
	return err
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(mustJSON(x), mustJSON(y))
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // v came from JSON
	}
	return b
}

// readJSON reads a row, which must be as putJSON writes it: json alone takes "Seq"
// for "seq" and skips names that it does not know, damaged ones among them.
func readJSON(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return err
	}
	if !bytes.Equal(mustJSON(v), text) {
		return fmt.Errorf("%w: it is not as it was written", errMalformed)
	}
	return nil
}

// readCheckpoint reads which entries the folded rows stand for.
func readCheckpoint(tx *bolt.Tx) (checkpointRow, error) {
	var row checkpointRow
	if text := tx.Bucket(bucketMeta).Get(checkpointKey); text != nil {
		if err := readJSON(text, &row); err != nil {
			return row, fmt.Errorf("%w: checkpoint: %w", ErrCorrupt, err)
		}
	}
	return row, nil
}
