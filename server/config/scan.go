package config

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxDepth bounds the nesting of arrays and inline tables, so that no input
// can exhaust the stack. A configuration needs four.
const maxDepth = 32

// tooDeep is the line where values are nested too deeply.
type tooDeep int

func (tooDeep) Error() string { return "arrays and tables are nested too deeply" }

var errScan = errors.New("not TOML")

// style is how a table or array came to be in the file.
type style uint8

const (
	inline      style = iota // key = value
	tableHeader              // [key]
	arrayHeader              // [[key]]
)

// scanner finds where the keys of a TOML source stand. It does not check the
// source: what is wrong with it is the TOML library's to say. On a source that
// the library accepts, the scanner finds every key.
type scanner struct {
	src       string
	at        int
	line      int // from 1
	lineStart int // offset
	depth     int
}

// scan returns the tree of positions of a source, without values. After an
// error other than tooDeep the tree holds what came before it.
func scan(src string) (*node, error) {
	s := &scanner{src: src, line: 1}
	root := &node{line: 1, column: 1}
	table := root
	for {
		s.skipBlank()
		if s.at == len(s.src) {
			return root, nil
		}
		var err error
		if s.src[s.at] == '[' {
			table, err = s.header(root)
		} else {
			err = s.keyValue(table)
		}
		if err != nil {
			return root, err
		}
	}
}

// header reads [a.b] or [[a.b]] and returns its table.
func (s *scanner) header(root *node) (*node, error) {
	line, column := s.here()
	how := tableHeader
	s.at++
	if s.peek() == '[' {
		s.at++
		how = arrayHeader
	}
	keys, err := s.key()
	if err != nil {
		return nil, err
	}
	for range how { // as many brackets as the style has
		if s.peek() != ']' {
			return nil, errScan
		}
		s.at++
	}
	table := root.within(keys[:len(keys)-1], line, column)
	last := table.child(keys[len(keys)-1], line, column)
	if how == arrayHeader {
		last.style = how
		return last.item(line, column, how), nil
	}
	if last.style == inline { // first named by [a.b.c], now by [a.b]
		last.style, last.line, last.column = how, line, column
	}
	return last, nil
}

func (s *scanner) keyValue(table *node) error {
	line, column := s.here()
	keys, err := s.key()
	if err != nil {
		return err
	}
	if s.peek() != '=' {
		return errScan
	}
	s.at++
	table = table.within(keys[:len(keys)-1], line, column)
	return s.value(table.child(keys[len(keys)-1], line, column))
}

// key reads a dotted key and the blanks around it.
func (s *scanner) key() ([]string, error) {
	var keys []string
	for {
		s.skipSpace()
		start := s.at
		switch s.peek() {
		case '"', '\'':
			quote := s.src[s.at]
			if err := s.str(); err != nil {
				return nil, err
			}
			key := s.src[start+1 : s.at-1]
			if quote == '"' && strings.Contains(key, `\`) {
				key = unquote(s.src[start:s.at])
			}
			keys = append(keys, key)
		default:
			for s.at < len(s.src) && bare(s.src[s.at]) {
				s.at++
			}
			if s.at == start {
				return nil, errScan
			}
			keys = append(keys, s.src[start:s.at])
		}
		s.skipSpace()
		if len(keys) > maxDepth {
			return nil, tooDeep(s.line)
		}
		if s.peek() != '.' {
			return keys, nil
		}
		s.at++
	}
}

// unquote resolves the escapes of a quoted key, by the library so that there
// is one opinion on them.
func unquote(quoted string) string {
	var v struct{ K string }
	if decode("K = "+quoted, &v) != nil {
		return quoted
	}
	return v.K
}

func bare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// value reads one value into n: the position of each key and item in it, and
// the text of a number or date as written.
func (s *scanner) value(n *node) error {
	s.skipSpace()
	switch s.peek() {
	case '"', '\'':
		return s.str()
	case '[':
		return s.nested(func() error { return s.array(n) })
	case '{':
		return s.nested(func() error { return s.inlineTable(n) })
	}
	start := s.at
	for s.at < len(s.src) && !strings.ContainsRune(",]}#\r\n", rune(s.src[s.at])) {
		s.at++
	}
	n.text = strings.TrimSpace(s.src[start:s.at])
	if n.text == "" {
		return errScan
	}
	return nil
}

func (s *scanner) nested(read func() error) error {
	s.at++
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxDepth {
		return tooDeep(s.line)
	}
	return read()
}

func (s *scanner) array(n *node) error {
	for {
		s.skipBlank()
		switch s.peek() {
		case ']':
			s.at++
			return nil
		case ',':
			s.at++
			continue
		}
		if err := s.value(n.item(s.line, s.column(), inline)); err != nil {
			return err
		}
	}
}

func (s *scanner) inlineTable(n *node) error {
	for {
		s.skipBlank()
		switch s.peek() {
		case '}':
			s.at++
			return nil
		case ',':
			s.at++
			continue
		}
		if err := s.keyValue(n); err != nil {
			return err
		}
	}
}

// str skips a string of any of the four kinds.
func (s *scanner) str() error {
	quote := s.src[s.at : s.at+1]
	triple := strings.Repeat(quote, 3)
	if !strings.HasPrefix(s.src[s.at:], triple) {
		for s.at++; s.at < len(s.src); s.at++ {
			switch c := s.src[s.at]; {
			case c == '\n':
				return errScan
			case c == '\\' && quote == `"`:
				s.at++
			case c == quote[0]:
				s.at++
				return nil
			}
		}
		s.at = len(s.src)
		return errScan
	}
	for s.at += 3; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == '\\' && quote == `"`:
			s.at++
			s.newline()
		case c == '\n':
			s.newline()
		case strings.HasPrefix(s.src[s.at:], triple):
			// One or two quotes more belong to the string.
			s.at += 3
			for range 2 {
				if s.peek() == quote[0] {
					s.at++
				}
			}
			return nil
		}
	}
	s.at = len(s.src)
	return errScan
}

// newline counts the line that ends at the current byte, if one does.
func (s *scanner) newline() {
	if s.peek() == '\n' {
		s.line++
		s.lineStart = s.at + 1
	}
}

func (s *scanner) skipSpace() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.at++
	}
}

// skipBlank skips blanks, line ends and comments.
func (s *scanner) skipBlank() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\t', '\r':
			s.at++
		case '\n':
			s.newline()
			s.at++
		case '#':
			for s.at < len(s.src) && s.src[s.at] != '\n' {
				s.at++
			}
		default:
			return
		}
	}
}

// peek is the current byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at >= len(s.src) {
		return 0
	}
	return s.src[s.at]
}

func (s *scanner) here() (line, column int) { return s.line, s.column() }

// column counts characters from 1.
func (s *scanner) column() int {
	return utf8.RuneCountInString(s.src[s.lineStart:s.at]) + 1
}

// decode is toml.Decode with the library's panics on unforeseen input made
// errors.
func decode(src string, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the file is not valid TOML")
		}
	}()
	_, err = toml.Decode(src, v)
	return err
}
