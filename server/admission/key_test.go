package admission_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"tollgate/server/admission"
)

var keyForm = regexp.MustCompile(`^tg_live_[0-9A-Za-z]{38}$`)

func newKey(t testing.TB) string {
	t.Helper()
	secret, _, _, err := admission.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		secret, hash, prefix, err := admission.NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !keyForm.MatchString(secret) {
			t.Fatalf("key has a wrong form")
		}
		if hash != sha256.Sum256([]byte(secret)) {
			t.Fatal("hash is not the SHA-256 of the key")
		}
		if len(prefix) != 12 || !strings.HasPrefix(secret, prefix) {
			t.Fatalf("prefix %q", prefix)
		}
		if err := admission.CheckKey(secret); err != nil {
			t.Fatal(err)
		}
		if seen[secret] {
			t.Fatal("the same key twice")
		}
		seen[secret] = true
	}
}

// The checksum is written out once more, so that scanners can be told how it is made.
func TestKeyChecksumIsCRC32InBase62(t *testing.T) {
	secret, _, _, err := admission.NewKey(bytes.NewReader(make([]byte, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	body := "tg_live_" + strings.Repeat("0", 32)
	digits := "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n := big.NewInt(int64(crc32.ChecksumIEEE([]byte(body))))
	sum := ""
	for range 6 {
		d := new(big.Int)
		n.DivMod(n, big.NewInt(62), d)
		sum = string(digits[d.Int64()]) + sum
	}
	if want := body + sum; secret != want {
		t.Errorf("got %s, want %s", secret, want)
	}
}

func TestNewKeyCharactersAreEquallyLikely(t *testing.T) {
	// Of the 256 bytes in turn, 248 are used: each of 62 characters four times.
	stream := make([]byte, 0, 31*256*2)
	for range 64 {
		for b := range 256 {
			stream = append(stream, byte(b))
		}
	}
	random := bytes.NewReader(stream)
	count := map[rune]int{}
	for range 31 { // 31 × 32 characters = 4 × 248
		secret, _, _, err := admission.NewKey(&skipless{random})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range secret[8:40] {
			count[c]++
		}
	}
	if len(count) != 62 {
		t.Fatalf("%d characters occur, want 62", len(count))
	}
}

// skipless hands out what is asked for, like a random source without an end.
type skipless struct{ *bytes.Reader }

func TestNewKeyWithoutRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	if _, _, _, err := admission.NewKey(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if _, _, _, err := admission.NewKey(bytes.NewReader(bytes.Repeat([]byte{255}, 320))); err == nil {
		t.Error("a source of nothing but rejected bytes made a key")
	}
}

func TestCheckKeyFindsEachMistypedCharacter(t *testing.T) {
	secret := newKey(t)
	for i := range secret {
		for _, c := range []byte("0Aaz_ -\x00\xff") {
			if secret[i] == c {
				continue
			}
			wrong := secret[:i] + string([]byte{c}) + secret[i+1:]
			if err := admission.CheckKey(wrong); !errors.Is(err, admission.ErrKeyFormat) {
				t.Fatalf("character %d as %q: got %v, want ErrKeyFormat", i, c, err)
			}
		}
		if i > 8 && secret[i] != secret[i-1] {
			swapped := secret[:i-1] + string([]byte{secret[i], secret[i-1]}) + secret[i+1:]
			if admission.CheckKey(swapped) == nil {
				t.Fatalf("characters %d and %d swapped: not found", i-1, i)
			}
		}
	}
	for _, wrong := range []string{"", "x", secret[1:], secret + "a", strings.ToUpper(secret), "sk_live_" + secret[8:], " " + secret} {
		if admission.CheckKey(wrong) == nil {
			t.Errorf("%d characters passed", len(wrong))
		}
	}
}

func TestKeyFromHeader(t *testing.T) {
	key, other := newKey(t), newKey(t)
	tests := []struct {
		name   string
		header http.Header
		code   string // "": key is found
	}{
		{"nothing", http.Header{}, admission.MissingKey},
		{"bearer", http.Header{"Authorization": {"Bearer " + key}}, ""},
		{"scheme in lower case", http.Header{"Authorization": {"bearer " + key}}, ""},
		{"more spaces", http.Header{"Authorization": {"  Bearer   " + key + " "}}, ""},
		{"x-api-key", http.Header{"X-Api-Key": {key}}, ""},
		{"both the same", http.Header{"Authorization": {"Bearer " + key}, "X-Api-Key": {key}}, ""},
		{"twice the same", http.Header{"X-Api-Key": {key, key}}, ""},
		{"both different", http.Header{"Authorization": {"Bearer " + key}, "X-Api-Key": {other}}, admission.InvalidKey},
		{"twice different", http.Header{"X-Api-Key": {key, other}}, admission.InvalidKey},
		{"two authorizations", http.Header{"Authorization": {"Bearer " + key, "Bearer " + other}}, admission.InvalidKey},
		{"basic", http.Header{"Authorization": {"Basic dXNlcjpwYXNz"}}, admission.InvalidKey},
		{"basic beside a key", http.Header{"Authorization": {"Basic dXNlcjpwYXNz"}, "X-Api-Key": {key}}, admission.InvalidKey},
		{"no scheme", http.Header{"Authorization": {key}}, admission.InvalidKey},
		{"no key", http.Header{"Authorization": {"Bearer"}}, admission.InvalidKey},
		{"an empty key", http.Header{"Authorization": {"Bearer "}}, admission.InvalidKey},
		{"an empty authorization", http.Header{"Authorization": {""}}, admission.InvalidKey},
		{"an empty x-api-key", http.Header{"X-Api-Key": {""}}, admission.InvalidKey},
		{"two words", http.Header{"Authorization": {"Bearer " + key + " " + other}}, admission.InvalidKey},
		{"joined by a proxy", http.Header{"X-Api-Key": {key + ", " + other}}, admission.InvalidKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, refusal := admission.KeyFromHeader(tt.header)
			if tt.code == "" {
				if refusal != nil || got != key {
					t.Fatalf("got %v", refusal)
				}
				return
			}
			if refusal == nil || refusal.Code != tt.code || refusal.Status != http.StatusUnauthorized {
				t.Fatalf("got %v, want 401 %s", refusal, tt.code)
			}
			if got != "" {
				t.Error("a key beside a refusal")
			}
		})
	}
}

func FuzzCheckKey(f *testing.F) {
	f.Add(newKey(f))
	f.Add("tg_live_")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if admission.CheckKey(s) == nil && !keyForm.MatchString(s) {
			t.Errorf("%q passed", s)
		}
	})
}

func FuzzKeyFromHeader(f *testing.F) {
	f.Add("Bearer abc", "abc", uint8(3))
	f.Add("Bearer  a b", "", uint8(1))
	f.Add("", "\tabc\t", uint8(2))
	f.Fuzz(func(t *testing.T, authorization, apiKey string, given uint8) {
		h := http.Header{}
		if given&1 != 0 {
			h["Authorization"] = []string{authorization}
		}
		if given&2 != 0 {
			h["X-Api-Key"] = []string{apiKey}
		}
		key, refusal := admission.KeyFromHeader(h)
		if (key == "") != (refusal != nil) {
			t.Fatalf("key %q, refusal %v", key, refusal)
		}
		if refusal != nil && (refusal.Code == admission.MissingKey) != (given&3 == 0) {
			t.Errorf("%s for headers %v", refusal.Code, h)
		}
		if refusal == nil && (strings.ContainsAny(key, " \t") || !strings.Contains(authorization+apiKey, key)) {
			t.Errorf("key %q from %v", key, h)
		}
		if refusal != nil && key != "" && strings.Contains(refusal.Error(), key) {
			t.Error("the key is in the refusal")
		}
	})
}

func BenchmarkCheckKey(b *testing.B) {
	secret := newKey(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := admission.CheckKey(secret); err != nil {
			b.Fatal(err)
		}
	}
}
