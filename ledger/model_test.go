package ledger_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/ledger"
)

// TestModel runs random operations on a ledger and on a plain model of it in
// memory, and compares all that can be read. Run it longer with
//
//	go test ./ledger -run TestModel -rapid.checks=5000
func TestModel(t *testing.T) {
	dir := scratch(t)
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, dir)
		defer m.end(t)
		t.Repeat(map[string]func(*rapid.T){
			"":               m.spotCheck,
			"add user":       m.addUser,
			"change user":    m.changeUser,
			"erase user":     m.eraseUser,
			"add key":        m.addKey,
			"change key":     m.changeKey,
			"publish":        m.publish,
			"append":         m.append,
			"append more":    m.append, // more often than the rest
			"append several": m.appendSeveral,
			"correct":        m.correct,
			"grant credits":  m.grantCredits,
			"take credits":   m.takeCredits,
			"begin payment":  m.beginPayment,
			"settle payment": m.settlePayment,
			"reverse":        m.reverse,
			"add notice":     m.addNotice,
			"change notice":  m.changeNotice,
			"watch":          m.watch,
			"time":           m.moveTime,
			"checkpoint":     m.checkpoint,
			"reopen":         m.reopen,
			"crash":          m.crash,
			"change zone":    m.changeZone,
			"restore":        m.restore,
			"verify":         m.verify,
			"check":          m.checkAll,
		})
		m.checkAll(t)
		m.verify(t)
		m.reopen(t)
		m.checkAll(t)
	})
}

// model is a ledger as a plain list and maps. Records are as they come back.
type model struct {
	dir   string
	files int
	path  string
	l     *ledger.Ledger
	zone  string

	now      time.Time
	logged   time.Time
	counter  uint32
	users    []*modelUser // users[0] is everyone
	keys     []*ledger.Key
	versions []*ledger.Version
	records  []ledger.Usage
	fixed    map[uint64]ledger.Correction
	epoch    int
	receipts uint32
	books    map[string]int64
}

type modelUser struct {
	user ledger.User
	day  modelDay
	keys []*modelKey // by Key.Index, days by Key.Counts

	credits  modelCredits
	payments []*modelPayment
	notices  []*ledger.Notice
	watched  bool
}

type modelKey struct {
	day  modelDay
	last time.Time
}

type modelDay struct {
	day   ledger.Day
	calls int64
}

func (d *modelDay) add(day ledger.Day) {
	if day.Number > d.day.Number {
		*d = modelDay{day: day}
	}
	if day.Number == d.day.Number {
		d.calls++
	}
}

var zones = []string{"UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"}

var background = context.Background()

func newModel(t *rapid.T, parent string) *model {
	dir, err := os.MkdirTemp(parent, "model-")
	if err != nil {
		t.Fatal(err)
	}
	m := &model{
		dir:   dir,
		zone:  rapid.SampledFrom(zones).Draw(t, "zone"),
		now:   time.Date(2025, 1, 28, 20, 0, 0, 0, time.UTC),
		users: []*modelUser{{}},
		keys:  []*ledger.Key{nil}, versions: []*ledger.Version{nil},
		fixed: map[uint64]ledger.Correction{}, books: map[string]int64{},
	}
	m.logged = m.now
	m.path = m.file("ledger")
	m.open(t)
	m.published(t, ledger.RouteVersion, "/", `{"n":0}`)
	m.published(t, ledger.PlanVersion, "free", `{"n":0}`)
	return m
}

// file is a new name in the model's folder.
func (m *model) file(what string) string {
	m.files++
	return filepath.Join(m.dir, fmt.Sprintf("%s-%d.db", what, m.files))
}

func (m *model) open(t *rapid.T) {
	l, err := ledger.Open(m.path, ledger.Options{Now: m.now, Zone: m.zone})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.l = l
	m.watchAgain()
}

func (m *model) end(t *rapid.T) {
	if m.l != nil {
		if err := m.l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if r, err := ledger.VerifyFile(background, m.path, ledger.Checks{}, nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("verify the file: %v %q", err, r.Problems)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		t.Error(err)
	}
}

// tick is the time that the change just made was logged at: now, or as before
// where the clock stepped back or nothing was to be changed.
func (m *model) tick(t *rapid.T) time.Time {
	s, err := m.l.Status()
	if err != nil {
		t.Fatal(err)
	}
	if !s.LastLogged.Equal(m.logged) && !(s.LastLogged.After(m.logged) && s.LastLogged.Equal(m.now)) {
		t.Fatalf("logged at %v, after %v, when it was %v", s.LastLogged, m.logged, m.now)
	}
	m.logged = s.LastLogged
	return m.logged
}

func (m *model) pickUser(t *rapid.T) *modelUser {
	if len(m.users) == 1 {
		t.Skip("no users yet")
	}
	return m.users[rapid.IntRange(1, len(m.users)-1).Draw(t, "user")]
}

var emails = []string{"ada@example.com", "Ada@Example.com", "bob@example.com", "eve@example.com", "joe@example.com"}

func drawPersonal(t *rapid.T) ledger.Personal {
	return ledger.Personal{
		Email: rapid.SampledFrom(emails).Draw(t, "email"),
		Name:  rapid.SampledFrom([]string{"", "Ada", "Zoë"}).Draw(t, "name"),
	}
}

// owner is the user with an e-mail address; nil when there is none.
func (m *model) owner(email string) *modelUser {
	for _, u := range m.users[1:] {
		if email != "" && strings.EqualFold(u.user.Personal.Email, email) {
			return u
		}
	}
	return nil
}

func (m *model) addUser(t *rapid.T) {
	p := drawPersonal(t)
	plan := rapid.SampledFrom([]string{"free", "pro"}).Draw(t, "plan")
	u, err := m.l.AddUser(m.now, "test", p, plan)
	if m.owner(p.Email) != nil {
		if !errors.Is(err, ledger.ErrExists) {
			t.Fatalf("add user with a taken address: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	at := m.tick(t)
	want := ledger.User{ID: ledger.UserID(len(m.users)), Personal: p, Status: ledger.Active, Created: at,
		Plans: []ledger.Assignment{{Plan: plan, From: at}}, PersonalHash: u.PersonalHash}
	m.users = append(m.users, &modelUser{user: want})
	m.sameUser(t, u, &want)
}

func (m *model) changeUser(t *rapid.T) {
	u := m.pickUser(t)
	next := u.user
	switch rapid.SampledFrom([]string{"status", "plans", "limit", "personal", "nothing"}).Draw(t, "what") {
	case "status":
		next.Status = rapid.SampledFrom([]ledger.Status{ledger.Active, ledger.Suspended, ledger.Closed}).Draw(t, "status")
	case "plans":
		next.Plans = append(slices.Clone(next.Plans), ledger.Assignment{Plan: "pro", From: m.now.Add(time.Hour).UTC()})
	case "limit":
		limit := ledger.Amount(rapid.Int64Range(0, 1e12).Draw(t, "limit"))
		next.SpendLimit, next.Extra = &limit, map[string]string{"note": "limited"}
	case "personal":
		next.Personal = drawPersonal(t)
	}
	got, err := m.l.ChangeUser(m.now, "test", u.user.ID, func(c *ledger.User) error {
		c.Status, c.Plans, c.SpendLimit, c.Extra, c.Personal = next.Status, next.Plans, next.SpendLimit, next.Extra, next.Personal
		return nil
	})
	if o := m.owner(next.Personal.Email); o != nil && o != u {
		if !errors.Is(err, ledger.ErrExists) {
			t.Fatalf("change to a taken address: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	if next.Personal != u.user.Personal {
		next.Erased = false
	}
	next.PersonalHash = got.PersonalHash
	u.user = next
	m.sameUser(t, got, &u.user)
}

func (m *model) eraseUser(t *rapid.T) {
	u := m.pickUser(t)
	if err := m.l.EraseUser(m.now, "test", u.user.ID); err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	u.user.Erased, u.user.Personal = true, ledger.Personal{}
}

func (m *model) addKey(t *rapid.T) {
	u := m.pickUser(t)
	secret := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "secret")
	k := ledger.Key{Hash: sha256.Sum256([]byte(secret)), Prefix: "tg_live_" + secret, Scope: ledger.ScopeCall}
	k.Counts = len(u.user.Keys)
	if k.Counts > 0 && rapid.Bool().Draw(t, "rotated") {
		old := m.keys[rapid.SampledFrom(u.user.Keys).Draw(t, "from")]
		k.Replaces, k.Counts = old.ID, old.Counts
	}
	got, err := m.l.AddKey(m.now, "test", u.user.ID, k)
	if slices.ContainsFunc(m.keys[1:], func(o *ledger.Key) bool { return o.Hash == k.Hash }) {
		if !errors.Is(err, ledger.ErrExists) {
			t.Fatalf("add a key that exists: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	k.ID, k.User, k.Index, k.Created, k.HashHex = ledger.KeyID(len(m.keys)), u.user.ID, len(u.user.Keys), m.tick(t), got.HashHex
	m.keys = append(m.keys, &k)
	u.user.Keys = append(slices.Clone(u.user.Keys), k.ID)
	u.keys = append(u.keys, &modelKey{})
	m.sameKey(t, got, &k)
}

func (m *model) changeKey(t *rapid.T) {
	if len(m.keys) == 1 {
		t.Skip("no keys yet")
	}
	id := ledger.KeyID(rapid.IntRange(1, len(m.keys)-1).Draw(t, "key"))
	next := *m.keys[id]
	next.Name = rapid.SampledFrom([]string{"", "ci", "laptop"}).Draw(t, "name")
	if rapid.Bool().Draw(t, "revoke") {
		next.Revoked = m.now.UTC()
	}
	perDay := rapid.IntRange(0, 3).Draw(t, "per day")
	next.PerDay = &perDay
	got, err := m.l.ChangeKey(m.now, "test", id, func(k *ledger.Key) error {
		k.Name, k.Revoked, k.PerDay = next.Name, next.Revoked, next.PerDay
		k.User, k.Index, k.Hash = 99, 99, [32]byte{} // stay as they are
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.tick(t)
	m.keys[id] = &next
	m.sameKey(t, got, &next)
}

func (m *model) publish(t *rapid.T) {
	kind, name := ledger.PlanVersion, rapid.SampledFrom([]string{"free", "pro"}).Draw(t, "plan")
	if rapid.Bool().Draw(t, "route") {
		kind, name = ledger.RouteVersion, rapid.SampledFrom([]string{"/", "POST /v1/scan"}).Draw(t, "pattern")
	}
	m.published(t, kind, name, fmt.Sprintf(`{"n":%d}`, rapid.IntRange(0, 2).Draw(t, "terms")))
}

func (m *model) published(t *rapid.T, kind ledger.VersionKind, name, terms string) {
	effective := m.now.Add(48 * time.Hour)
	got, err := m.l.PublishVersion(m.now, kind, name, []byte(terms), effective)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(m.versions) - 1; i > 0; i-- {
		if v := m.versions[i]; v.Kind == kind && v.Name == name {
			if string(v.Terms) == terms {
				m.sameVersion(t, got, v)
				return
			}
			break
		}
	}
	v := &ledger.Version{ID: ledger.VersionID(len(m.versions)), Kind: kind, Name: name, Terms: []byte(terms), Made: m.tick(t), Effective: effective.UTC()}
	m.versions = append(m.versions, v)
	m.sameVersion(t, got, v)
}

func (m *model) moveTime(t *rapid.T) {
	step := rapid.OneOf(
		rapid.Int64Range(0, 5_000),           // milliseconds
		rapid.Int64Range(0, 3*3600_000),      // hours
		rapid.Int64Range(-2*3600_000, 0),     // the clock steps back
		rapid.Int64Range(0, 40*24*3600_000),  // months
		rapid.Just(int64(31*24*3600_000-77)), // near the same time of the next month
	).Draw(t, "milliseconds")
	m.now = m.now.Add(time.Duration(step) * time.Millisecond)
}

func (m *model) checkpoint(t *rapid.T) {
	if err := m.l.Checkpoint(background); err != nil {
		t.Fatal(err)
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

// changeZone opens with another billing time zone, from the next period on.
func (m *model) changeZone(t *rapid.T) {
	m.zone = rapid.SampledFrom(zones).Draw(t, "zone")
	m.reopen(t)
	m.tick(t)
}

// crash goes on with the file as a killed process leaves it.
func (m *model) crash(t *rapid.T) {
	path := m.file("crashed")
	if err := ledger.CopyAsItIs(m.l, path); err != nil {
		t.Fatal(err)
	}
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.path); err != nil {
		t.Fatal(err)
	}
	m.path = path
	m.open(t)
}

func (m *model) restore(t *rapid.T) {
	backup, restored := m.file("backup"), m.file("restored")
	made, err := m.l.Backup(background, backup, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ledger.VerifyFile(background, backup, ledger.Checks{}, nil); err != nil || len(r.Problems) > 0 || r.Head != made.Head {
		t.Fatalf("verify the backup: %v %q", err, r.Problems)
	}
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Restore(background, backup, restored, m.now, nil); err != nil {
		t.Fatal(err)
	}
	m.epoch++
	for _, f := range []string{m.path, backup} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	m.path = restored
	m.open(t)
	m.tick(t)
}

func (m *model) verify(t *rapid.T) {
	r, err := m.l.Verify(background, ledger.Checks{}, nil)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("verify: %v %q", err, r.Problems)
	}
	if int(r.Records) != len(m.records) || r.Users != len(m.users)-1 {
		t.Fatalf("verify saw %d records and %d users of %d and %d", r.Records, r.Users, len(m.records), len(m.users)-1)
	}
}
