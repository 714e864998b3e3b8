package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"
)

// writer is the one goroutine that commits. All its fields are its own.
type writer struct {
	l    *Ledger
	disk *disk
	used int64 // bytes of the file in use

	at     position // after the entry last encoded
	value  []byte   // the open packed value: the tail
	first  uint64   // its first entry
	names  *nameTable
	opened map[Month]bool // periods in the log

	full     []packedValue // of the running commit, as coded and spending
	coded    []coded
	spending spending
	watched  watched
	stored   []byte
	warmed   uint64 // what warm read: it must not look unused

	saved      position     // the last finished checkpoint
	checkpoint *checkpoint  // the running one
	asked      []chan error // checkpoints asked for and not begun
	views      []func(position)
}

type packedValue struct {
	first uint64
	value []byte
}

// A checkpoint begins after so many entries or so much time.
const (
	checkpointEntries = 500_000
	checkpointTime    = 60 * time.Second
)

// run takes batches until the queue is closed, then checkpoints and returns.
func (w *writer) run() {
	defer close(w.l.stopped)
	debug.SetPanicOnFault(true) // a page that the file no longer has is no reason to die: see commit
	for {
		select {
		case <-w.l.queue.wake:
		case c := <-w.l.askCheckpoint:
			w.asked = append(w.asked, c)
		case view := <-w.l.askView:
			w.views = append(w.views, view)
		}
		closed := w.step()
		for !closed && w.checkpoint != nil && !w.l.low.Load() {
			closed = w.step()
		}
		if w.l.low.Load() { // goes on with the next append: to try again at once would be in vain
			w.tellAsked(ErrLowDisk)
			if w.checkpoint != nil {
				w.checkpoint.tell(ErrLowDisk)
			}
		}
		w.showViews()
		if closed {
			break
		}
		if w.l.interval > 0 {
			time.Sleep(w.l.interval)
		}
	}
	w.stop()
}

// maybeCheckpoint begins a checkpoint when one is due or asked for.
func (w *writer) maybeCheckpoint() {
	if w.checkpoint != nil {
		return
	}
	// With many users a checkpoint writes much: it is to stay a small part of the work.
	entries := checkpointEntries + 5*uint64(len(w.l.state.accounts))
	due := w.at.seq-w.saved.seq >= entries || w.at.logged-w.saved.logged >= checkpointTime.Milliseconds()
	if w.at.seq == w.saved.seq || !due && len(w.asked) == 0 {
		w.tellAsked(nil)
		return
	}
	c, err := w.l.state.begin(w.saved, w.at)
	if err != nil {
		w.tellAsked(w.l.fail(err))
		return
	}
	c.waiting, w.asked = w.asked, nil
	w.checkpoint = c
}

// showViews lets those who asked look at the file while its folded rows stand
// for one checkpoint.
func (w *writer) showViews() {
	if w.checkpoint != nil {
		return
	}
	for _, view := range w.views {
		view(w.saved)
	}
	w.views = nil
}

func (w *writer) tellAsked(err error) {
	for _, c := range w.asked {
		c <- err
	}
	w.asked = nil
}

// stop makes a last checkpoint of what is durable, so that the next open has
// nothing to replay.
func (w *writer) stop() {
	w.asked = append(w.asked, make(chan error, 1))
	for w.l.Ready() == nil && (w.checkpoint != nil || w.at.seq != w.saved.seq) {
		w.maybeCheckpoint()
		if w.commit(&batch{}) != nil {
			break
		}
	}
	w.tellAsked(w.l.ended())
	if w.checkpoint != nil {
		w.checkpoint.tell(w.l.ended())
	}
}

// step commits one batch and one slice of the running checkpoint.
func (w *writer) step() (closed bool) {
	w.l.queue.gather()
	b, closed := w.l.queue.take()
	w.maybeCheckpoint()
	if len(b.items) == 0 && w.checkpoint == nil {
		w.l.queue.finish(b, nil)
		return closed
	}
	err := w.commit(b)
	w.l.queue.finish(b, err)
	return closed
}

// commit makes a batch durable and folds it. After an error of the commit
// itself the outcome is unknown and the ledger has failed.
func (w *writer) commit(b *batch) (err error) {
	if w.l.failed() {
		return ErrUnavailable
	}
	if err := w.disk.room(w.used); err != nil {
		if !errors.Is(err, ErrLowDisk) {
			return w.l.fail(err)
		}
		w.l.low.Store(true)
		return err
	}
	w.l.low.Store(false)
	var tx *bolt.Tx
	defer func() {
		if r := recover(); r != nil { // bbolt met a damaged page
			err = w.l.fail(fmt.Errorf("%w: %v", ErrCorrupt, r))
			// Without an end of tx the file cannot be closed.
			w.l.stuck = tx != nil && guard(tx.Rollback) != nil
		}
	}()
	if tx, err = w.l.db.Begin(true); err != nil {
		return w.l.fail(fmt.Errorf("begin commit: %w", err))
	}
	w.used = tx.Size()
	slice := w.checkpoint
	err = w.write(tx, b.items, slice)
	if err != nil {
		_ = tx.Rollback() // err says more
		return w.l.fail(err)
	}
	if err := w.durable(tx, slice); err != nil {
		return w.l.fail(fmt.Errorf("commit entries up to %d: %w", w.at.seq, err))
	}
	w.l.commits.add(tx.Stats())
	for part := range slices.Chunk(w.coded, warmPart) {
		w.warmed += w.l.state.warmTotals(part)
		for _, c := range part {
			if err := w.l.state.apply(c.entry, skip{}, c.settler); err != nil {
				return w.l.fail(fmt.Errorf("fold entry %d: %w", c.entry.seq, err))
			}
		}
	}
	at := w.at
	w.l.position.Store(&at)
	if slice != nil && slice.finished {
		w.saved, w.checkpoint = slice.at, nil
		slice.tell(nil)
	}
	return nil
}

// write puts a batch, and a slice of the running checkpoint, into tx.
func (w *writer) write(tx *bolt.Tx, items []item, slice *checkpoint) error {
	clear(w.coded)
	clear(w.spending)
	w.watched.clear()
	w.coded, w.full = w.coded[:0], w.full[:0]
	for i := range items {
		if i%warmPart == 0 {
			w.warmed += w.l.state.warmAccounts(items[i:min(i+warmPart, len(items))])
		}
		it := &items[i]
		for id, row := range it.personal {
			if err := putPersonal(tx, id, row); err != nil {
				return err
			}
		}
		if err := w.encode(it); err != nil {
			return err
		}
	}
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // values come in order and never change; bbolt does not keep this setting
	for _, v := range w.full {
		if err := log.Put(packKey(v.first), v.value); err != nil {
			return fmt.Errorf("write log from entry %d: %w", v.first, err)
		}
	}
	if len(w.coded) > 0 {
		if err := (tail{w.first, w.at.head, w.value}).store(tx); err != nil {
			return fmt.Errorf("write log from entry %d: %w", w.first, err)
		}
	}
	if slice != nil {
		return slice.write(tx)
	}
	return nil
}

// durable commits tx. Where it has a slice of a checkpoint, readers see its
// rows on disk and what is left in memory change together.
func (w *writer) durable(tx *bolt.Tx, slice *checkpoint) error {
	if slice == nil {
		return tx.Commit()
	}
	w.l.drain.Lock()
	defer w.l.drain.Unlock()
	if err := tx.Commit(); err != nil {
		return err
	}
	slice.wrote()
	return nil
}

// coded is an entry of the running commit, to be folded after it.
type coded struct {
	entry   *entry
	settler Settler
}

// encode gives an item its place in the log and appends it to the open value,
// after the entries that it needs: its period, and the names it uses.
func (w *writer) encode(it *item) error {
	e := &it.entry
	e.logged = max(w.at.logged, it.now.UnixMilli())
	if e.body == nil {
		u := &e.usage
		u.Time = time.UnixMilli(u.Time.UnixMilli()).UTC()
		u.Logged = time.UnixMilli(e.logged).UTC()
		u.Counter &= 0xffffff
		u.Duration -= u.Duration % durationUnit
		if err := w.spending.cover(w.l.state.accounts[u.User], u); err != nil {
			return err
		}
		if err := w.period(u, e.logged); err != nil {
			return err
		}
		var err error
		if e.method, u.Method, err = w.intern(u.Method, e.logged, maxMethods); err != nil {
			return err
		}
		if u.Named, err = w.internMeters(u.Named, e.logged); err != nil {
			return err
		}
	}
	if e.body == nil {
		notices, err := w.watch(w.l.state.accounts[e.usage.User], &e.usage, e.logged)
		if err == nil {
			err = w.add(e, it.settler)
		}
		for _, n := range notices {
			if err == nil {
				err = w.add(&entry{logged: e.logged, body: noticeEntered{Notice: n}}, nil)
			}
		}
		return err
	}
	switch b := e.body.(type) {
	case noticeEntered:
		if b.Notice.ID == 0 {
			a := w.l.state.accounts[b.Notice.User]
			if w.watched.was(a, b.Notice) {
				return nil // a record before it has brought it
			}
			w.watched.tell(a, b.Notice)
		}
	case taken:
		if err := w.spending.bound(w.l.state.accounts[b.User], &b); err != nil {
			return err
		}
		e.body = b
	case corrected:
		var err error
		if b.Now.Named, err = w.internMeters(b.Now.Named, e.logged); err != nil {
			return err
		}
		e.body = b
		w.watched.correct(w.l.state.accounts[b.User], b)
	}
	if err := w.add(e, it.settler); err != nil {
		return err
	}
	switch b := e.body.(type) {
	case noticeEntered:
		if b.logged != nil {
			*b.logged = e.seq
		}
	case granted:
		p := w.spending.of(w.l.state.accounts[b.User])
		return p.grant(Left{e.seq, b.Grant.Source, b.Grant.Amount, b.Grant.Expires})
	}
	return nil
}

// internMeters gives meters their numbers. Those that get none any more are
// kept as one, otherName.
func (w *writer) internMeters(list []Quantity, logged int64) ([]Quantity, error) {
	known := true
	for _, q := range list {
		_, text, err := w.intern(q.Meter, logged, maxNames)
		if err != nil {
			return nil, err
		}
		known = known && text == q.Meter
	}
	if known {
		return list, nil
	}
	var kept Totals
	for _, q := range list {
		if _, ok := w.names.numbers[q.Meter]; !ok {
			q.Meter = otherName
		}
		kept.addNamed(q.Meter, q.N)
	}
	return kept.Named, nil
}

// period sets a record's period, opening it in the log when it is new there.
func (w *writer) period(u *Usage, logged int64) error {
	p := w.l.PeriodAt(u.Time)
	u.Period = p.Month
	if w.opened[p.Month] {
		return nil
	}
	w.opened[p.Month] = true
	return w.add(&entry{logged: logged, body: periodOpened{p}}, nil)
}

// intern gives a text its number, naming it in the log when it is new there and
// there are fewer than most.
func (w *writer) intern(text string, logged int64, most int) (uint32, string, error) {
	if n, ok := w.names.numbers[text]; ok {
		return n, text, nil
	}
	if text != otherName && (len(w.names.texts) >= nameBase+most || len(text) > maxNameBytes || !utf8.ValidString(text)) {
		return w.intern(otherName, logged, most)
	}
	g := nameGiven{ID: uint32(len(w.names.texts)), Name: text}
	w.names = w.names.with(g)
	return g.ID, text, w.add(&entry{logged: logged, body: g}, nil)
}

// add appends one entry to the open value.
func (w *writer) add(e *entry, settler Settler) error {
	var account *Account
	if e.body != nil {
		var err error
		if w.stored, err = appendBody(w.stored[:0], e, w.at.logged); err != nil {
			return err
		}
		if len(w.stored) > maxEntry {
			return fmt.Errorf("entry of %d bytes is too large", len(w.stored))
		}
	} else {
		account = w.l.state.accounts[e.usage.User]
		e.back = 0
		if account.tail != 0 {
			e.back = w.at.seq + 1 - account.tail
		}
		w.stored = appendUsage(w.stored[:0], e, w.at.logged, w.names.number)
	}
	var size [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(size[:], uint64(len(w.stored)))
	if len(w.value) == 0 || len(w.value)+n+len(w.stored) > maxPacked && w.at.seq >= w.first {
		if len(w.value) > 0 {
			w.full = append(w.full, packedValue{w.first, slices.Clone(w.value)})
		}
		w.value, w.first = packHeader(w.value[:0], w.at), w.at.seq+1
	}
	w.value = append(append(w.value, size[:n]...), w.stored...)
	w.at = position{w.at.seq + 1, chain(w.at.head, w.stored), e.logged}
	e.seq, e.usage.Seq = w.at.seq, w.at.seq
	if account != nil && account.id != 0 {
		account.tail = e.seq
	}
	w.coded = append(w.coded, coded{e, settler})
	return nil
}
