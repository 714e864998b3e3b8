package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// What the lexer does within strings: skipping text, and reading keys.

// text reads within a string: up to its end, an escape, or the end of p.
func (l *lexer) text(p []byte) int {
	n := plain(p)
	if l.capture && n > 0 {
		l.flushHigh()
		l.keep(p[:n])
	}
	if n == len(p) {
		return n
	}
	switch p[n] {
	case '"':
		l.flushHigh()
		if !l.isKey {
			l.valueDone()
			break
		}
		l.state = wantColon
		if l.capture {
			l.keyDone()
		}
	case '\\':
		l.state = inEscape
	default:
		l.unexpected(p[n])
	}
	return n + 1
}

// keep collects a key as far as it can still be one that is looked for.
func (l *lexer) keep(p []byte) {
	if len(l.key)+len(p) > cap(l.key) {
		l.tooLong = true
		return
	}
	l.key = append(l.key, p...)
}

func (l *lexer) keepRune(r rune) {
	if l.capture {
		var b [utf8.UTFMax]byte
		l.keep(b[:utf8.EncodeRune(b[:], r)])
	}
}

// flushHigh keeps a high surrogate that no low one followed.
func (l *lexer) flushHigh() {
	if l.high != 0 {
		l.high = 0
		l.keepRune(utf8.RuneError)
	}
}

func (l *lexer) escape(c byte) {
	if c == 'u' {
		l.state, l.seen, l.unit = inUnicode, 0, 0
		return
	}
	i := bytes.IndexByte([]byte(`"\/bfnrt`), c)
	if i < 0 {
		l.unexpected(c)
		return
	}
	l.flushHigh()
	l.keepRune(rune("\"\\/\b\f\n\r\t"[i]))
	l.state = inString
}

func (l *lexer) hex(c byte) {
	switch {
	case '0' <= c && c <= '9':
		c -= '0'
	case 'a' <= c && c <= 'f':
		c -= 'a' - 10
	case 'A' <= c && c <= 'F':
		c -= 'A' - 10
	default:
		l.unexpected(c)
		return
	}
	l.unit = l.unit<<4 | rune(c)
	if l.seen++; l.seen < 4 {
		return
	}
	l.state = inString
	if l.high != 0 {
		if r := utf16.DecodeRune(l.high, l.unit); r != utf8.RuneError {
			l.high = 0
			l.keepRune(r)
			return
		}
		l.flushHigh()
	}
	if 0xd800 <= l.unit && l.unit < 0xdc00 {
		l.high = l.unit
		return
	}
	l.keepRune(l.unit)
}

// keyDone finds out whether the key just read lies on a path.
func (l *lexer) keyDone() {
	l.next = nil
	if l.tooLong {
		return
	}
	in := &l.level[l.matched-1]
	for i, c := range in.children {
		if string(l.key) != c.key {
			if l.strict && bytes.EqualFold(l.key, []byte(c.key)) {
				l.err = fmt.Errorf("the key %q differs only in case from %q", l.key, c.key)
				return
			}
			continue
		}
		bit := uint64(1) << i
		if in.seen&bit != 0 {
			if l.strict {
				l.err = fmt.Errorf("the key %q stands twice", c.key)
				return
			}
			for _, t := range c.below {
				l.put(t, result{})
			}
		}
		in.seen |= bit
		l.next = c.node
		return
	}
}

// plain is how many bytes of p come before a quote, a backslash or a control
// character, looked at eight at a time.
func plain(p []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(p); i += 8 {
		x := binary.LittleEndian.Uint64(p[i:])
		quote, back := x^('"'*ones), x^('\\'*ones)
		if m := ((quote-ones)&^quote | (back-ones)&^back | (x-' '*ones)&^x) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(p); i++ {
		if c := p[i]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return i
}
