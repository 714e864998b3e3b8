package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
)

func mustPaths(t testing.TB, targets ...target) *paths {
	t.Helper()
	p, err := newPaths(targets)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lex feeds text in chunks of size bytes; 0 is all at once.
func lex(l *lexer, text []byte, size int) ([]result, error) {
	l.reset()
	if size <= 0 {
		size = max(1, len(text))
	}
	for len(text) > 0 {
		n := min(size, len(text))
		l.feed(text[:n])
		text = text[n:]
	}
	err := l.finish()
	return append([]result(nil), l.results...), err
}

func TestLexerFindsQuantities(t *testing.T) {
	tests := []struct {
		name, pointer, text string
		count               bool
		want                result
	}{
		{"number", "/usage/total_tokens", `{"id":1,"usage":{"prompt":3,"total_tokens":42}}`, false, result{42, good}},
		{"zero", "/n", `{"n":0}`, false, result{0, good}},
		{"written with a fraction", "/n", `{"n":42.0}`, false, result{42, good}},
		{"written with an exponent", "/n", `{"n":4.2e1}`, false, result{42, good}},
		{"negative exponent", "/n", `{"n":4200E-2}`, false, result{42, good}},
		{"negative zero", "/n", `{"n":-0.0}`, false, result{0, good}},
		{"zero with a great exponent", "/n", `{"n":0e999999999}`, false, result{0, good}},
		{"largest", "/n", `{"n":1099511627776}`, false, result{ledger.MaxQuantity, good}},
		{"too large", "/n", `{"n":1099511627777}`, false, result{0, absurd}},
		{"far too large", "/n", `{"n":1e400}`, false, result{0, absurd}},
		{"too long", "/n", `{"n":1.000000000000000000000000000000000}`, false, result{0, absurd}},
		{"not whole", "/n", `{"n":1.5}`, false, result{0, broken}},
		{"below one", "/n", `{"n":1e-1}`, false, result{0, broken}},
		{"negative", "/n", `{"n":-1}`, false, result{0, negative}},
		{"text", "/n", `{"n":"42"}`, false, result{0, typed}},
		{"true", "/n", `{"n":true}`, false, result{0, typed}},
		{"object", "/n", `{"n":{}}`, false, result{0, typed}},
		{"array", "/n", `{"n":[1]}`, false, result{0, typed}},
		{"null", "/n", `{"n":null}`, false, result{0, null}},
		{"absent", "/n", `{"m":1}`, false, result{}},
		{"parent null", "/usage/n", `{"usage":null}`, false, result{}},
		{"same key elsewhere", "/n", `{"a":{"n":1},"b":["n",{"n":2}]}`, false, result{}},
		{"the last one wins", "/n", `{"n":1,"n":2}`, false, result{2, good}},
		{"the last parent wins", "/a/n", `{"a":{"n":1},"a":{}}`, false, result{}},
		{"whole document", "", ` 42 `, false, result{42, good}},
		{"whole document to its end", "", `42`, false, result{42, good}},
		{"element", "/docs/1/n", `{"docs":[{"n":1},{"n":2},{"n":3}]}`, false, result{2, good}},
		{"no such element", "/docs/3", `{"docs":[1,2,3]}`, false, result{}},
		{"escaped pointer", "/a~1b/m~0n", `{"a/b":{"m~n":7}}`, false, result{7, good}},
		{"escaped key", "/usage", `{"\u0075s\u0061ge":7}`, false, result{7, good}},
		{"escapes that are looked for", "/a\"\\\n", `{"a\"\\\n":7}`, false, result{7, good}},
		{"surrogates", "/😀", `{"\ud83d\ude00":7}`, false, result{7, good}},
		{"surrogate alone", "/�x", `{"\ud83dx":7}`, false, result{7, good}},
		{"not ASCII", "/größe", `{"größe":7}`, false, result{7, good}},
		{"empty key", "/", `{"":7}`, false, result{7, good}},
		{"byte order mark", "/n", "\xef\xbb\xbf{\"n\":7}", false, result{7, good}},
		{"white space", "/n", " { \"n\" \r\n:\t7 } ", false, result{7, good}},
		{"count", "/docs", `{"docs":[{"id":"a","content":"]"},[1,2],"x",null]}`, true, result{4, good}},
		{"count of none", "/docs", `{"docs":[ ]}`, true, result{0, good}},
		{"count of the document", "", `[1,[2,3],4]`, true, result{3, good}},
		{"count of an object", "/docs", `{"docs":{"a":1}}`, true, result{0, typed}},
		{"count of a number", "/docs", `{"docs":3}`, true, result{0, typed}},
		{"count of null", "/docs", `{"docs":null}`, true, result{0, null}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustPaths(t, target{tt.pointer, tt.count})
			for _, strict := range []bool{false, true} {
				if strict && strings.Contains(tt.name, "wins") {
					continue
				}
				for _, size := range []int{0, 1, 2, 3, 7} {
					got, err := lex(newLexer(p, strict), []byte(tt.text), size)
					if err != nil || got[0] != tt.want {
						t.Errorf("strict %v, chunks of %d: got %v, %v, want %v", strict, size, got[0], err, tt.want)
					}
				}
			}
		})
	}
}

func TestLexerFindsSeveralTargetsInOnePass(t *testing.T) {
	p := mustPaths(t, target{"/usage/total", false}, target{"/usage/prompt", false}, target{"/docs", true}, target{"/docs/0/pages", true}, target{"/docs", false})
	text := `{"docs":[{"pages":[1,2,3]},{"pages":[1]}],"usage":{"prompt":5,"x":{"total":9},"total":8}}`
	want := []result{{8, good}, {5, good}, {2, good}, {3, good}, {0, typed}}
	for size := range len(text) {
		got, err := lex(newLexer(p, true), []byte(text), size)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("chunks of %d: %s", size, diff)
		}
	}
}

func TestLexerRefusesWhatIsNoJSON(t *testing.T) {
	p := mustPaths(t, target{"/n", false}, target{"/docs", true})
	for _, text := range []string{
		``, ` `, `{`, `{"n"`, `{"n":`, `{"n":1`, `{"n":1,`, `{"n":1,}`, `{"n":01}`, `{"n":1.}`, `{"n":.1}`, `{"n":+1}`, `{"n":-}`, `{"n":1e}`, `{"n":1e+}`, `{"n":0x1}`,
		`{n:1}`, `{'n':1}`, `{"n" 1}`, `{"n":1 "m":2}`, `{"n":tru}`, `{"n":nul`, `{"n":NaN}`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{"n":1]`, `]`, `"a`, `"\x"`, `"\u12g4"`, "\"a\nb\"", "\"a\x00\"",
		`{"n":1}{"n":2}`, `{"n":1} x`, `{"n":1},`, "\xff\xfe{\x00}", "\xef\xbb", "\xef\xbb{}", `n=1`, `--boundary`,
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
	} {
		for _, size := range []int{0, 1, 5} {
			if got, err := lex(newLexer(p, true), []byte(text), size); err == nil {
				t.Errorf("%q in chunks of %d: read as %v", text, size, got)
			}
		}
	}
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	if _, err := lex(newLexer(p, true), []byte(deep), 0); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
}

func TestStrictLexerRefusesKeysThatStandTwice(t *testing.T) {
	p := mustPaths(t, target{"/docs", true}, target{"/a/k", false})
	for _, text := range []string{
		`{"docs":[1],"docs":[]}`, `{"docs":[1],"x":2,"d\u006fcs":[]}`, `{"a":{"k":1,"k":1}}`, `{"a":{"k":1},"a":2}`, `{"docs":[1],"DOCS":[1,2]}`, `{"a":{"K":1}}`, "{\"doc\u017f\":1}",
	} {
		if got, err := lex(newLexer(p, true), []byte(text), 0); err == nil {
			t.Errorf("%s: read as %v", text, got)
		}
	}
	if _, err := lex(newLexer(p, true), []byte(`{"docs":[{"docs":1,"docs":2}],"x":1,"x":2,"b":{"k":1},"a":{"docs":1}}`), 0); err != nil {
		t.Errorf("keys twice off the paths: %v", err)
	}
}

func TestLexerTellsWhatWasSeenOfACutDocument(t *testing.T) {
	p := mustPaths(t, target{"/docs", true}, target{"/n", false}, target{"/m", false})
	got, err := lex(newLexer(p, false), []byte(`{"n":7,"docs":[{"a":1},{"b":`), 0)
	if err == nil {
		t.Error("no error")
	}
	want := []result{{2, cut}, {7, good}, {}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Error(diff)
	}
}

func TestPointersThatAreNone(t *testing.T) {
	for _, pointer := range []string{"docs", "/a~", "/a~2", strings.Repeat("/a", maxPath+1)} {
		if _, err := newPaths([]target{{pointer, false}}); err == nil {
			t.Errorf("%q: no error", pointer)
		}
	}
	if _, err := newPaths(make([]target, maxTargets+1)); err == nil {
		t.Error("too many targets: no error")
	}
}

// oracle finds a target the slow way.
func oracle(doc any, keys []string, count bool) result {
	for _, key := range keys {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[key]
			if !ok {
				return result{}
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || strconv.Itoa(i) != key || i < 0 || i >= len(v) {
				return result{}
			}
			doc = v[i]
		default:
			return result{}
		}
	}
	switch v := doc.(type) {
	case nil:
		return result{what: null}
	case []any:
		if count {
			return result{int64(len(v)), good}
		}
	case json.Number:
		if count {
			break
		}
		if len(v) > maxNumber {
			return result{what: absurd}
		}
		if e := strings.IndexAny(string(v), "eE"); e >= 0 && len(v)-e > 6 {
			return result{what: cut} // too large for the oracle
		}
		r, _ := new(big.Rat).SetString(string(v))
		switch {
		case r.Sign() < 0:
			return result{what: negative}
		case !r.IsInt():
			return result{what: broken}
		case r.Num().Cmp(big.NewInt(ledger.MaxQuantity)) > 0:
			return result{what: absurd}
		}
		return result{r.Num().Int64(), good}
	}
	return result{what: typed}
}

// FuzzLexer compares with encoding/json: the same documents are valid, and the
// same quantities are found, however the document is split.
func FuzzLexer(f *testing.F) {
	for _, seed := range []string{
		`{"usage":{"total_tokens":42},"docs":[1,2]}`, `[{"a/b":4.2e1}]`, `{"a/b":1,"a/b":2}`, `{"docs":[[{}],{"x":[]}],"é":-0}`, `{"\u00e9":1}`, `42`, `"\ud83d\ude00"`, `{"usage":null}`, "{\"\xff\":1}",
		`{"usage":{"total_tokens":1},"usage":{"x":1}}`, `[[],[{"é":9007199254740993}]]`, `{"docs":1e-5,"":{"":1}}`, `truefalse`, `nulL`,
	} {
		f.Add([]byte(seed), 3)
	}
	targets := []target{{"/usage/total_tokens", false}, {"/docs", true}, {"/docs", false}, {"", true}, {"", false}, {"/a~1b", false}, {"/0", false}, {"/1/0/é", false}, {"/é", false}, {"//", false}, {"/docs/1", true}}
	p := mustPaths(f, targets...)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if bytes.HasPrefix(text, []byte("\xef")) {
			return // encoding/json knows no byte order mark
		}
		got, err := lex(newLexer(p, false), text, size&63)
		again, errAgain := lex(newLexer(p, false), text, 0)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) || !cmp.Equal(got, again, cmp.AllowUnexported(result{})) {
			t.Fatalf("chunks of %d: %v, %v; at once: %v, %v", size, got, err, again, errAgain)
		}
		if err == errDepth {
			return
		}
		if valid := json.Valid(text); valid != (err == nil) {
			t.Fatalf("valid %v, but %v", valid, err)
		}
		strict, strictErr := lex(newLexer(p, true), text, size&63)
		if strictErr == nil && !cmp.Equal(got, strict, cmp.AllowUnexported(result{})) {
			t.Fatalf("strict found %v, lenient %v", strict, got)
		}
		if err != nil {
			if strictErr == nil {
				t.Fatal("strict accepts what lenient refuses")
			}
			return
		}
		var doc any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		for i, tt := range targets {
			keys, _ := pointerKeys(tt.pointer)
			want := oracle(doc, keys, tt.count)
			if want.what != cut && got[i] != want {
				t.Errorf("%q count %v: got %v, want %v", tt.pointer, tt.count, got[i], want)
			}
		}
	})
}

func FuzzWholeText(f *testing.F) {
	for _, seed := range []string{"42", "4.2e1", "-1", "", " 42", "1e", "0x2a", "1e-99999999999999999999999999", "00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := wholeText(s)
		var n json.Number
		if json.Unmarshal([]byte(s), &n) != nil || s == "" || strings.ContainsAny(s, " \t\r\n\"nul") {
			if got.what != typed && len(s) <= maxNumber {
				t.Errorf("%q: %v", s, got)
			}
			return
		}
		if want := oracle(n, nil, false); want.what != cut && got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}

func BenchmarkLexer(b *testing.B) {
	p := mustPaths(b, target{"/usage/total_tokens", false})
	for _, bench := range []struct {
		name string
		text []byte
	}{
		{"string=5MB", []byte(`{"content":"` + strings.Repeat("lorem ipsum dolor sit amet, ", 5<<20/28) + `","usage":{"total_tokens":42}}`)},
		{"escapes=5MB", []byte(`{"content":"` + strings.Repeat(`a line of text\n`, 5<<20/16) + `","usage":{"total_tokens":42}}`)},
		{"numbers=5MB", []byte(`{"v":[` + strings.Repeat("-0.0123456,", 5<<20/11) + `0],"usage":{"total_tokens":42}}`)},
		{"small", []byte(`{"results":[{"id":"a","risk":0.1}],"summary":{"total_docs":1},"usage":{"total_tokens":42}}`)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			l := newLexer(p, false)
			b.SetBytes(int64(len(bench.text)))
			b.ReportAllocs()
			for b.Loop() {
				l.reset()
				for rest := bench.text; len(rest) > 0; {
					n := min(32<<10, len(rest))
					l.feed(rest[:n])
					rest = rest[n:]
				}
				if l.finish() != nil || l.results[0].n != 42 {
					b.Fatal(l.err, l.results)
				}
			}
		})
	}
}
