package gateway

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"strings"
	"testing"
)

func feedAll(f feeder, text []byte, size int) error {
	if size <= 0 {
		size = max(1, len(text))
	}
	for len(text) > 0 {
		n := min(size, len(text))
		f.feed(text[:n])
		text = text[n:]
	}
	return f.finish()
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name, text string
		want       result
		n          int64
	}{
		{"one", "data: {\"n\":1}\n\n", result{1, good}, 1},
		{"the last one wins", "data: {\"n\":1}\n\ndata: {\"n\":2}\n\ndata: {\"m\":3}\n\ndata: [DONE]\n\n", result{2, good}, 3},
		{"null says nothing", "data: {\"n\":1}\n\ndata: {\"n\":null}\n\n", result{1, good}, 2},
		{"a bad value after a good one", "data: {\"n\":1}\n\ndata: {\"n\":-1}\n\n", result{0, negative}, 2},
		{"a good value after a bad one", "data: {\"n\":\"x\"}\n\ndata: {\"n\":4}\n\n", result{4, good}, 2},
		{"no space", "data:{\"n\":1}\n\n", result{1, good}, 1},
		{"two spaces", "data:  {\"n\":1}\n\n", result{1, good}, 1},
		{"CRLF", "event: x\r\ndata: {\"n\":1}\r\n\r\ndata: {\"n\":2}\r\n\r\n", result{2, good}, 2},
		{"CR", "data: {\"n\":1}\r\rdata: {\"n\":2}\r\r", result{2, good}, 2},
		{"several lines", "data: {\"n\"\ndata: :\ndata\ndata: 12\ndata: }\n\n", result{12, good}, 1},
		{"lines are joined by a line feed", "data: {\"n\":1\ndata: 2}\n\n", result{1, good}, 0},
		{"comments and other fields", ": data: {\"n\":9}\nid: 1\ndatas: {\"n\":9}\ndat: 1\nretry: 3\nDATA: {\"n\":9}\ndata: {\"n\":1}\n\n", result{1, good}, 1},
		{"no line end at the end", "data: {\"n\":1}", result{1, good}, 1},
		{"no empty line at the end", "data: {\"n\":1}\n", result{1, good}, 1},
		{"cut", "data: {\"n\":1}\n\ndata: {\"n\":2,", result{2, good}, 1},
		{"cut in the number", "data: {\"n\":1}\n\ndata: {\"n\":2", result{1, good}, 1},
		{"byte order mark", "\xef\xbb\xbfdata: {\"n\":1}\n\n", result{1, good}, 1},
		{"events without data", "event: ping\n\n\n\ndata: {\"n\":1}\n\n\n", result{1, good}, 1},
		{"nothing", "", result{}, 0},
		{"broken in between", "data: {\"n\":1}\n\ndata: {{\n\ndata: {\"n\":3}\n\n", result{3, good}, 2},
	}
	p := mustPaths(t, target{"/n", false})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for size := range len(tt.text) + 1 {
				s := newEvents(newLexer(p, false))
				if err := feedAll(s, []byte(tt.text), size); err != nil || s.results[0] != tt.want || s.n != tt.n {
					t.Errorf("chunks of %d: got %v of %d events, %v, want %v of %d", size, s.results[0], s.n, err, tt.want, tt.n)
				}
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: {\"n\":1}\r\n\r\ndata: [DONE]\r\r"), 3)
	f.Add([]byte("\xef\xbb\xbfdata\ndata:{\"n\":1}\n\n:x\nid:1\n"), 1)
	p := mustPaths(f, target{"/n", false}, target{"/a", true})
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		one, many := newEvents(newLexer(p, false)), newEvents(newLexer(p, false))
		feedAll(one, text, 0)
		feedAll(many, text, size&31)
		if one.results[0] != many.results[0] || one.results[1] != many.results[1] || one.n != many.n {
			t.Fatalf("at once %v, in chunks %v", one.results, many.results)
		}
		// The same by splitting into lines first.
		plain := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\xef\xbb\xbf"))
		var want result
		l := newLexer(p, false)
		var data []string
		for line := range strings.SplitSeq(plain+"\n\n", "\n") {
			if line == "" && data != nil {
				got, _ := lex(l, []byte(strings.Join(data, "\n")), 0)
				if got[0].what != absent && got[0].what != null {
					want = got[0]
				}
				data = nil
			}
			if line == "data" {
				data = append(data, "")
			} else if value, ok := strings.CutPrefix(line, "data:"); ok {
				data = append(data, strings.TrimPrefix(value, " "))
			}
		}
		if bytes.HasPrefix(text, []byte("\xef")) && !bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
			return
		}
		if one.results[0] != want {
			t.Fatalf("got %v, want %v", one.results[0], want)
		}
	})
}

func compress(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGunzip(t *testing.T) {
	p := mustPaths(t, target{"/n", false})
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = 'a' + byte(rand.IntN(26))
	}
	text := compress(t, []byte(`{"x":"`+string(random)+`","n":42}`))
	for _, size := range []int{0, 1, 7, 4096} {
		l := newLexer(p, false)
		if err := feedAll(newGunzip(l, 1<<20), text, size); err != nil || l.results[0] != (result{42, good}) {
			t.Errorf("chunks of %d: %v, %v", size, l.results[0], err)
		}
	}
	for name, text := range map[string][]byte{"nothing": nil, "not gzip": []byte(`{"n":42}`), "cut": text[:len(text)/2], "cut checksum": text[:len(text)-3], "garbage after it": append(bytes.Clone(text), "xyz"...)} {
		l := newLexer(p, false)
		if err := feedAll(newGunzip(l, 1<<20), text, 100); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	t.Run("two members", func(t *testing.T) {
		l := newLexer(p, false)
		if err := feedAll(newGunzip(l, 1<<20), append(compress(t, []byte(`{"n":`)), compress(t, []byte(`42}`))...), 5); err != nil || l.results[0].n != 42 {
			t.Error(l.results, err)
		}
	})
	t.Run("cap", func(t *testing.T) {
		l := newLexer(p, false)
		g := newGunzip(l, 1<<20)
		bomb := compress(t, bytes.Repeat([]byte{' '}, 4<<20))
		if err := feedAll(g, bomb, 1000); err != errTooLarge || g.n > 1<<20+16<<10 {
			t.Errorf("decoded %d bytes, %v", g.n, err)
		}
	})
	t.Run("a flushed event is seen at once", func(t *testing.T) {
		s := newEvents(newLexer(p, false))
		g := newGunzip(s, 1<<20)
		defer g.stop()
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte("data: {\"n\":5}\n\n"))
		w.Flush()
		g.feed(b.Bytes())
		if s.results[0].n != 5 {
			t.Error(s.results[0])
		}
	})
}

func BenchmarkEvents(b *testing.B) {
	p := mustPaths(b, target{"/usage/total_tokens", false})
	token := "data: {\"id\":\"cmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n"
	for _, bench := range []struct {
		name string
		text []byte
	}{
		{"line=5MB", []byte("data: {\"content\":\"" + strings.Repeat("x", 5<<20) + "\",\"usage\":{\"total_tokens\":42}}\n\n")},
		{"tokens", []byte(strings.Repeat(token, 1000) + "data: {\"usage\":{\"total_tokens\":42}}\n\n")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := newEvents(newLexer(p, false))
			b.SetBytes(int64(len(bench.text)))
			b.ReportAllocs()
			for b.Loop() {
				s.reset()
				if feedAll(s, bench.text, 32<<10); s.results[0].n != 42 {
					b.Fatal(s.results)
				}
			}
		})
	}
}

func TestAcceptable(t *testing.T) {
	for accept, want := range map[string]string{
		"gzip": "gzip", "br, gzip;q=0.8": "gzip", "GZIP": "gzip", "x-gzip": "gzip", "*": "gzip", "br": "identity", "": "identity", "deflate, zstd": "identity",
		"gzip;q=0": "identity", "gzip; Q=0.000, br": "identity", "gzip;q=0.001": "gzip", "*;q=0, gzip": "gzip", "gzipped": "identity",
	} {
		if got := acceptable([]string{accept}); got != want {
			t.Errorf("%q: got %s, want %s", accept, got, want)
		}
	}
}

func TestIsOwn(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Tollgate-User": true, "x-tollgate-x": true, "X_Tollgate_User": true, "X_TOLLGATE-": true, "X-Tollgate": false, "X-Tollgates-User": false, "Tollgate-Request": false, "X-Api": false,
	} {
		if got := isOwn(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
