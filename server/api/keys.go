package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tollgate/ledger"
	"tollgate/server/admission"
)

const (
	maxActiveKeys = 100 // of a user
	maxNetworks   = 50  // of a key
	maxText       = 200 // characters of a name
	defaultGrace  = 24 * time.Hour
	maxGrace      = 30 * 24 * time.Hour
)

// keyOf finds a key by the number in the path. A key of another user than
// owner (0: any) is as good as none.
func (s *service) keyOf(r *request, owner ledger.UserID) (*ledger.Key, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil {
		if k := s.Ledger.KeyByID(ledger.KeyID(id)); k != nil && (owner == 0 || k.User == owner) {
			return k, nil
		}
	}
	return nil, refusal(http.StatusNotFound, "key_not_found", "There is no key %q.", text)
}

// key is a key as JSON has it.
func (s *service) key(k *ledger.Key, now time.Time) Key {
	networks := k.Networks
	if networks == nil {
		networks = []netip.Prefix{}
	}
	var used time.Time
	if account := s.Ledger.Account(k.User); account != nil {
		account.Lock()
		used = account.KeyLastUsed(k.Index)
		account.Unlock()
	}
	return Key{
		ID: k.ID, User: k.User, Name: k.Name, Prefix: k.Prefix, Scope: k.Scope, Status: keyStatus(k, now),
		Created: k.Created.UTC(), LastUsed: stamp(used), Expires: stamp(k.Expires), Revoked: stamp(k.Revoked),
		Networks: networks, PerMinute: k.PerMinute, PerDay: k.PerDay,
	}
}

func keyStatus(k *ledger.Key, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return KeyRevoked
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return KeyExpired
	}
	return KeyActive
}

// keys is a page of a user's keys; the cursor is a place in User.Keys.
func (s *service) keys(u *ledger.User, now time.Time, after uint64, limit int) KeysPage {
	page := KeysPage{Keys: []Key{}}
	rest := u.Keys[min(after, uint64(len(u.Keys))):]
	if len(rest) > limit {
		rest = rest[:limit]
		page.NextCursor = cursorText(after + uint64(limit))
	}
	for _, id := range rest {
		if k := s.Ledger.KeyByID(id); k != nil {
			page.Keys = append(page.Keys, s.key(k, now))
		}
	}
	return page
}

func (s *service) activeKeys(u *ledger.User, now time.Time) (n int) {
	for _, id := range u.Keys {
		if k := s.Ledger.KeyByID(id); k != nil && keyStatus(k, now) == KeyActive {
			n++
		}
	}
	return n
}

// createKey makes a key for a user. The secret is in the answer and nowhere
// else.
func (s *service) createKey(u *ledger.User, now time.Time, by string, ask OperatorKey) (NewKey, error) {
	if err := s.mayHaveKey(u, now); err != nil {
		return NewKey{}, err
	}
	if ask.Scope == "" {
		ask.Scope = ledger.ScopeCall
	}
	if err := checkKey(ask, now); err != nil {
		return NewKey{}, err
	}
	k := ledger.Key{Name: ask.Name, Scope: ask.Scope, PerMinute: ask.PerMinute, PerDay: ask.PerDay}
	for _, network := range ask.Networks {
		k.Networks = append(k.Networks, network.Masked())
	}
	if ask.Expires != nil {
		k.Expires = ask.Expires.UTC()
	}
	return s.addKey(u.ID, now, by, k)
}

func (s *service) mayHaveKey(u *ledger.User, now time.Time) error {
	if u.Status == ledger.Closed {
		return admission.NewRefusal(admission.AccountClosed, "The account is closed; it can have no new keys.")
	}
	if s.activeKeys(u, now) >= maxActiveKeys {
		return refusal(http.StatusConflict, "too_many_keys", "There are already %d active keys; revoke one first.", maxActiveKeys)
	}
	return nil
}

func checkKey(ask OperatorKey, now time.Time) error {
	switch {
	case ask.Scope != ledger.ScopeCall && ask.Scope != ledger.ScopeManage:
		return badField("scope", "%q is no scope; it is \"call\" or \"manage\"", string(ask.Scope))
	case ask.Expires != nil && !ask.Expires.After(now):
		return badField("expires", "%s is not in the future", ask.Expires.Format(time.RFC3339))
	case len(ask.Networks) > maxNetworks:
		return badField("networks", "there are %d, at most %d may be given", len(ask.Networks), maxNetworks)
	case ask.PerMinute != nil && *ask.PerMinute < 0, ask.PerDay != nil && *ask.PerDay < 0:
		return badField("per_minute and per_day", "they cannot be negative; 0 is no limit")
	}
	for _, network := range ask.Networks {
		if !network.IsValid() {
			return badField("networks", "each is a network such as 192.0.2.0/24")
		}
	}
	return checkText("name", ask.Name)
}

func (s *service) addKey(user ledger.UserID, now time.Time, by string, k ledger.Key) (NewKey, error) {
	secret, hash, prefix, err := admission.NewKey(s.Random)
	if err != nil {
		return NewKey{}, fmt.Errorf("making a key: %w", err)
	}
	k.Hash, k.Prefix = hash, prefix
	added, err := s.Ledger.AddKey(now, by, user, k)
	if err != nil {
		return NewKey{}, fmt.Errorf("adding a key to user %d: %w", user, err)
	}
	s.Log.Info("key created", "key", added.ID, "user", user, "scope", added.Scope, "by", by)
	return NewKey{ID: added.ID, APIKey: secret, Prefix: added.Prefix, Name: added.Name, Scope: added.Scope, Expires: stamp(added.Expires)}, nil
}

// rotateKey makes a key like k and lets k work on for the grace time. The new
// key is made first: a crash between the two leaves one key too many, never
// none.
func (s *service) rotateKey(u *ledger.User, k *ledger.Key, now time.Time, by string, ask RotateKey) (NewKey, error) {
	grace := defaultGrace
	if ask.Grace != nil {
		grace = time.Duration(*ask.Grace)
	}
	if grace < 0 || grace > maxGrace {
		return NewKey{}, badField("grace", "it is %v, and may be from 0s to %v", grace, maxGrace)
	}
	if status := keyStatus(k, now); status != KeyActive {
		return NewKey{}, refusal(http.StatusConflict, "key_not_active", "Key %d is %s; create a new one instead.", k.ID, status)
	}
	if err := s.mayHaveKey(u, now); err != nil {
		return NewKey{}, err
	}
	like := ledger.Key{Name: k.Name, Scope: k.Scope, Networks: k.Networks, PerMinute: k.PerMinute, PerDay: k.PerDay, Replaces: k.ID}
	if !k.Expires.IsZero() {
		like.Expires = now.Add(k.Expires.Sub(k.Created)).UTC() // as long a life as the old one had
	}
	made, err := s.addKey(k.User, now, by, like)
	if err != nil {
		return NewKey{}, err
	}
	old, err := s.Ledger.ChangeKey(now, by, k.ID, func(k *ledger.Key) error {
		until := now.Add(grace).UTC()
		if grace == 0 && k.Revoked.IsZero() {
			k.Revoked = until
		} else if k.Expires.IsZero() || until.Before(k.Expires) {
			k.Expires = until
		}
		return nil
	})
	if err != nil {
		return NewKey{}, fmt.Errorf("key %d is made, but key %d could not be ended: %w", made.ID, k.ID, err)
	}
	s.Log.Info("key rotated", "key", k.ID, "user", k.User, "new", made.ID, "grace", grace, "by", by)
	made.Replaces, made.ReplacedUntil = old.ID, stamp(old.Expires)
	if !old.Revoked.IsZero() {
		made.ReplacedUntil = stamp(old.Revoked)
	}
	return made, nil
}

// revokeKey ends a key at once; doing it again changes nothing.
func (s *service) revokeKey(k *ledger.Key, now time.Time, by string) (Key, error) {
	if !k.Revoked.IsZero() {
		return s.key(k, now), nil
	}
	revoked, err := s.Ledger.ChangeKey(now, by, k.ID, func(k *ledger.Key) error {
		if k.Revoked.IsZero() {
			k.Revoked = now.UTC()
		}
		return nil
	})
	if err != nil {
		return Key{}, fmt.Errorf("revoking key %d: %w", k.ID, err)
	}
	s.Log.Info("key revoked", "key", k.ID, "user", k.User, "by", by)
	return s.key(revoked, now), nil
}

func badField(name, detail string, args ...any) error {
	return refusal(http.StatusBadRequest, "invalid_field", "The field %s: %s.", name, fmt.Sprintf(detail, args...))
}

// checkText refuses what would break a table or a mail.
func checkText(name, text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return badField(name, "it has characters that cannot be printed")
	}
	if utf8.RuneCountInString(text) > maxText {
		return badField(name, "it is longer than %d characters", maxText)
	}
	return nil
}
