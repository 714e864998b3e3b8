package gateway

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"tollgate/ledger"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 1024

var (
	errTruncated = errors.New("the JSON ends early")
	errDepth     = fmt.Errorf("the JSON nests deeper than %d levels", maxDepth)
)

// lexer finds targets in a JSON document that is written to it chunk by chunk,
// split anywhere. It checks the grammar of the whole document, keeps none of
// it, and is of fixed size whatever it reads.
//
// A strict lexer, for requests, refuses a key on the way to a target that
// stands twice, also when the two differ only in case: decoders differ in which
// one they take, and the upstream must not see another quantity than was
// measured. Otherwise the last one wins, as it does in most decoders.
type lexer struct {
	paths   *paths
	strict  bool
	results []result // by target
	fresh   bool     // a result changed since it was last cleared
	err     error    // sticky

	state  state
	number numeral
	target *node  // of the number or literal being read
	word   string // the literal being read
	seen   int    // bytes of it, of the BOM or of the \u escape that were read

	objects [maxDepth / 64]uint64 // one bit a level: object or array
	depth   int                   // containers that are open
	matched int                   // how many of them, from the root, lie on a path
	level   [maxPath + 1]level    // those
	next    *node                 // of the value after the key just read

	isKey   bool
	capture bool // the string is a key that may lie on a path
	key     []byte
	tooLong bool
	unit    rune // of a \u escape
	high    rune // a high surrogate waiting for its low one

	digits  [maxNumber]byte
	nDigits int
}

// level is an open container that lies on a path.
type level struct {
	*node
	n    int64  // elements begun
	seen uint64 // children that stood, by their index
}

type state uint8

const (
	atStart        state = iota
	inMark               // the byte order mark
	wantValue            // after ":" or ","
	wantValueOrEnd       // after "["
	wantKey              // after "," in an object
	wantKeyOrEnd         // after "{"
	wantColon
	wantMore // "," or the end of the container
	inString
	inEscape
	inUnicode
	inWord
	inNumber
	atEnd // only white space may follow
)

func newLexer(p *paths, strict bool) *lexer {
	return &lexer{paths: p, strict: strict, results: make([]result, len(p.targets)), key: make([]byte, 0, 3*p.longest+utf8.UTFMax)}
}

// reset makes the lexer ready for another document. Results are cleared.
func (l *lexer) reset() {
	clear(l.results)
	l.err, l.state, l.depth, l.matched, l.high, l.fresh = nil, atStart, 0, 0, 0, false
}

// feed reads the next chunk. After an error it does nothing.
func (l *lexer) feed(p []byte) {
	for i := 0; i < len(p) && l.err == nil; {
		switch l.state {
		case inString:
			i += l.text(p[i:])
			continue
		case inNumber:
			i += l.digitsOf(p[i:])
			continue
		case inMark:
			if p[i] != "\xef\xbb\xbf"[l.seen] {
				l.unexpected(p[i])
			} else if l.seen++; l.seen == 3 {
				l.state = wantValue
			}
		case inEscape:
			l.escape(p[i])
		case inUnicode:
			l.hex(p[i])
		case inWord:
			if p[i] != l.word[l.seen] {
				l.unexpected(p[i])
			} else if l.seen++; l.seen == len(l.word) {
				if l.word == "null" {
					l.set(l.target, result{what: null})
				}
				l.valueDone()
			}
		default:
			if c := p[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				l.structure(c)
			}
		}
		i++
	}
}

// finish tells that the document has ended and returns what is wrong with it.
// Results hold what was found until then.
func (l *lexer) finish() error {
	if l.err == nil && l.state == inNumber && l.depth == 0 {
		l.digitsOf([]byte{' '})
	}
	if l.err == nil && l.state != atEnd {
		l.err = errTruncated
	}
	for i := range l.matched {
		for _, t := range l.level[i].counts {
			l.results[t] = result{l.level[i].n, cut}
		}
	}
	return l.err
}

func (l *lexer) unexpected(c byte) {
	if l.err == nil {
		l.err = fmt.Errorf("not valid JSON: unexpected %q", rune(c))
	}
}

// structure reads a byte outside of strings, numbers and words.
func (l *lexer) structure(c byte) {
	switch l.state {
	case atStart:
		if c == 0xef {
			l.state, l.seen = inMark, 1
			return
		}
		l.value(c)
	case wantValue:
		l.value(c)
	case wantValueOrEnd:
		if c == ']' {
			l.close()
			return
		}
		l.value(c)
	case wantKey, wantKeyOrEnd:
		switch {
		case c == '"':
			l.state, l.isKey = inString, true
			l.capture = l.matched == l.depth
			l.key, l.tooLong, l.high = l.key[:0], false, 0
		case c == '}' && l.state == wantKeyOrEnd:
			l.close()
		default:
			l.unexpected(c)
		}
	case wantColon:
		if c != ':' {
			l.unexpected(c)
			return
		}
		l.state = wantValue
	case wantMore:
		object := l.inObject()
		switch {
		case c == ',' && object:
			l.state = wantKey
		case c == ',':
			l.state = wantValue
		case c == '}' && object, c == ']' && !object:
			l.close()
		default:
			l.unexpected(c)
		}
	default:
		l.unexpected(c)
	}
}

func (l *lexer) inObject() bool {
	d := l.depth - 1
	return l.objects[d/64]>>(d%64)&1 == 1
}

// value begins a value with its first byte.
func (l *lexer) value(c byte) {
	at := l.node()
	switch {
	case c == '{' || c == '[':
		l.open(c == '{', at)
	case c == '"':
		l.set(at, result{what: typed})
		l.state, l.isKey, l.capture = inString, false, false
	case c == '-' || '0' <= c && c <= '9':
		l.state, l.number, l.target, l.nDigits = inNumber, numStart.next(c), at, 1
		l.digits[0] = c
	case c == 't' || c == 'f' || c == 'n':
		l.word = "true"
		if c == 'f' {
			l.word = "false"
		} else if c == 'n' {
			l.word = "null"
		}
		if c != 'n' {
			l.set(at, result{what: typed})
		}
		l.state, l.seen, l.target = inWord, 1, at
	default:
		l.unexpected(c)
	}
}

// node is the place of the value that begins now among the paths, nil when it is on none.
func (l *lexer) node() *node {
	if l.depth == 0 {
		return l.paths.root
	}
	if l.matched != l.depth {
		return nil
	}
	if l.inObject() {
		return l.next
	}
	in := &l.level[l.matched-1]
	in.n++
	for _, c := range in.children {
		if c.index == in.n-1 {
			return c.node
		}
	}
	return nil
}

func (l *lexer) open(object bool, at *node) {
	if l.depth == maxDepth {
		l.err = errDepth
		return
	}
	bit := uint64(1) << (l.depth % 64)
	l.objects[l.depth/64] &^= bit
	l.state = wantValueOrEnd
	if object {
		l.objects[l.depth/64] |= bit
		l.state = wantKeyOrEnd
	}
	if at != nil {
		for _, t := range at.numbers {
			l.put(t, result{what: typed})
		}
		if object {
			for _, t := range at.counts {
				l.put(t, result{what: typed})
			}
		}
		if len(at.children) > 0 || !object && len(at.counts) > 0 {
			l.level[l.matched] = level{node: at}
			l.matched++
		}
	}
	l.depth++
}

func (l *lexer) close() {
	if l.matched == l.depth {
		l.matched--
		if in := &l.level[l.matched]; !l.inObject() {
			for _, t := range in.counts {
				l.put(t, result{in.n, good})
			}
		}
	}
	l.depth--
	l.valueDone()
}

func (l *lexer) valueDone() {
	l.state = wantMore
	if l.depth == 0 {
		l.state = atEnd
	}
}

func (l *lexer) put(t int, r result) {
	if r.what == good && r.n > ledger.MaxQuantity {
		r = result{what: absurd}
	}
	l.results[t] = r
	l.fresh = true
}

// set gives a scalar's result to all targets at it; an array was wanted for counts.
func (l *lexer) set(at *node, r result) {
	if at == nil {
		return
	}
	for _, t := range at.numbers {
		l.put(t, r)
	}
	if r.what != null {
		r = result{what: typed}
	}
	for _, t := range at.counts {
		l.put(t, r)
	}
}

func (l *lexer) digitsOf(p []byte) int {
	for i, c := range p {
		next := l.number.next(c)
		if next == numBad {
			if !l.number.ends() {
				l.unexpected(c)
			} else {
				if l.target != nil {
					l.set(l.target, l.quantity())
				}
				l.valueDone()
			}
			return i
		}
		l.number = next
		if l.nDigits < maxNumber {
			l.digits[l.nDigits] = c
		}
		l.nDigits++
	}
	return len(p)
}

func (l *lexer) quantity() result {
	if l.nDigits > maxNumber {
		return result{what: absurd}
	}
	return whole(l.digits[:l.nDigits])
}
