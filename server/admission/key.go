package admission

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
)

// A key is keyMark, 32 random base62 characters and 6 of checksum: the CRC-32
// (IEEE) of all before them in base62, highest digit first. The mark lets
// scanners find a leaked key, the checksum lets a mistyped one be told from
// one that is not there; neither is a secret.
const (
	keyMark   = "tg_live_"
	keyRandom = 32
	keySum    = 6
	keyBody   = len(keyMark) + keyRandom
	keyLength = keyBody + keySum

	// prefixLength is how much of a key is kept for display: the mark and four
	// characters, which leaves 28 (166 bits) unknown.
	prefixLength = len(keyMark) + 4
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrKeyFormat: what was given is not a key, or was mistyped.
var ErrKeyFormat = errors.New("not an API key: it has a wrong form or checksum")

// NewKey makes a key from random bytes, such as those of crypto/rand.Reader. The
// secret is to be shown once and kept nowhere; hash is its SHA-256, by which it
// is found; prefix is what may be displayed.
func NewKey(random io.Reader) (secret string, hash [32]byte, prefix string, err error) {
	var key [keyLength]byte
	copy(key[:], keyMark)
	var raw [keyRandom]byte
	for n := len(keyMark); n < keyBody; {
		if _, err := io.ReadFull(random, raw[:]); err != nil {
			return "", hash, "", fmt.Errorf("read random bytes for a key: %w", err)
		}
		for _, b := range raw {
			// 248 is the largest multiple of 62 in a byte: beyond it some characters
			// would be likelier than others.
			if b < 248 && n < keyBody {
				key[n] = base62[b%62]
				n++
			}
		}
	}
	sum := checksum(key[:keyBody])
	copy(key[keyBody:], sum[:])
	return string(key[:]), sha256.Sum256(key[:]), string(key[:prefixLength]), nil
}

func checksum(body []byte) [keySum]byte {
	var text [keySum]byte
	sum := crc32.ChecksumIEEE(body)
	for i := keySum - 1; i >= 0; i-- {
		text[i] = base62[sum%62]
		sum /= 62
	}
	return text
}

// CheckKey is nil when a secret has the form of a key and its checksum is right,
// else ErrKeyFormat. Whether there is such a key is not known from it.
func CheckKey(secret string) error {
	if len(secret) != keyLength || secret[:len(keyMark)] != keyMark {
		return ErrKeyFormat
	}
	for _, c := range []byte(secret[len(keyMark):]) {
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return ErrKeyFormat
		}
	}
	if sum := checksum([]byte(secret[:keyBody])); string(sum[:]) != secret[keyBody:] {
		return ErrKeyFormat
	}
	return nil
}

// hashKey is the hash by which a secret is found. What is longer than a key is
// none, and is not hashed.
func hashKey(secret string) (hash [32]byte, ok bool) {
	if len(secret) != keyLength {
		return hash, false
	}
	var key [keyLength]byte
	copy(key[:], secret)
	return sha256.Sum256(key[:]), true
}

// KeyFromHeader takes the key out of `Authorization: Bearer KEY` or `X-API-Key:
// KEY`. The refusal is missing_key where neither header is there, and
// invalid_key where one cannot be read or they give different keys. The key's
// form is not checked, and the refusal is not counted: [Gate.Identify] does both.
func KeyFromHeader(h http.Header) (secret string, refusal *Refusal) {
	for _, value := range h["Authorization"] {
		scheme, token, found := strings.Cut(trim(value), " ")
		if !found || !strings.EqualFold(scheme, "bearer") {
			return "", NewRefusal(InvalidKey, "The Authorization header is not of the form \"Bearer KEY\".")
		}
		if secret, refusal = oneKey(secret, token); refusal != nil {
			return "", refusal
		}
	}
	for _, value := range h["X-Api-Key"] {
		if secret, refusal = oneKey(secret, value); refusal != nil {
			return "", refusal
		}
	}
	if secret == "" {
		return "", missingKey()
	}
	return secret, nil
}

// oneKey adds a key that was given to the one given before, if any.
func oneKey(before, next string) (string, *Refusal) {
	next = trim(next)
	if next == "" || strings.ContainsAny(next, " \t") {
		return "", NewRefusal(InvalidKey, "The header that should have the API key has none that can be read.")
	}
	if before != "" && before != next {
		return "", NewRefusal(InvalidKey, "Two different API keys were given: send one, in Authorization or in X-API-Key.")
	}
	return next, nil
}

func trim(s string) string { return strings.Trim(s, " \t") }

func missingKey() *Refusal {
	return NewRefusal(MissingKey, "Send an API key as \"Authorization: Bearer KEY\" or \"X-API-Key: KEY\".")
}
