package gateway

import "bytes"

// feeder is a reader of bytes that measures on the side: a lexer, a stream of
// events with a lexer in it, or a decoder in front of either.
type feeder interface {
	feed(p []byte)
	// finish tells that nothing more comes.
	finish() error
}

// events finds targets in a stream of server-sent events: each event's data is
// a document of its own, and the last event that has a value wins. Lines may be
// of any length; nothing of them is kept.
type events struct {
	lexer   *lexer
	results []result // by target, over all events
	fresh   bool     // a result changed since it was last cleared
	n       int64    // events whose data was JSON

	state    lineState
	seen     int  // bytes of the field name or of the BOM that were read
	afterCR  bool // a "\n" now belongs to the line break before
	anything bool // the event has a data line
}

type lineState uint8

const (
	streamStart lineState = iota
	lineStart
	fieldName
	afterColon
	inData
	otherLine
)

const dataField = "data:"

func newEvents(l *lexer) *events {
	return &events{lexer: l, results: make([]result, len(l.results))}
}

func (s *events) reset() {
	clear(s.results)
	*s = events{lexer: s.lexer, results: s.results}
}

func (s *events) feed(p []byte) {
	for len(p) > 0 {
		switch s.state {
		case streamStart:
			if s.seen < 3 && p[0] == "\xef\xbb\xbf"[s.seen] {
				s.seen++
				p = p[1:]
				continue
			}
			s.state = lineStart
		case lineStart:
			c := p[0]
			if c == '\n' && s.afterCR {
				s.afterCR = false
				p = p[1:]
				continue
			}
			s.afterCR = c == '\r'
			if c == '\n' || c == '\r' {
				s.dispatch()
				p = p[1:]
				continue
			}
			s.state, s.seen = fieldName, 0
		case fieldName:
			c := p[0]
			switch {
			case c == dataField[s.seen]:
				p = p[1:]
				if s.seen++; s.seen == len(dataField) {
					s.state = afterColon
				}
			case s.seen == len(dataField)-1 && (c == '\n' || c == '\r'):
				s.dataLine() // "data" alone is a line without text
				s.state = otherLine
			default:
				s.state = otherLine
			}
		case afterColon:
			s.dataLine()
			s.state = inData
			if p[0] == ' ' {
				p = p[1:]
			}
		case inData:
			line, rest := s.line(p)
			s.lexer.feed(line)
			p = rest
		case otherLine:
			_, p = s.line(p)
		}
	}
}

// line splits p at the end of the line, which it takes off.
func (s *events) line(p []byte) (line, rest []byte) {
	line = p
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		line = line[:i]
	}
	if len(line) == len(p) {
		return line, nil
	}
	s.state, s.afterCR = lineStart, p[len(line)] == '\r'
	return line, p[len(line)+1:]
}

// dataLine begins a line of data; lines of one event are joined by line feeds.
func (s *events) dataLine() {
	if s.anything {
		s.lexer.feed([]byte{'\n'})
		return
	}
	s.anything = true
	s.lexer.reset()
}

func (s *events) dispatch() {
	if !s.anything {
		return
	}
	s.anything = false
	if s.lexer.finish() == nil {
		s.n++
	}
	for i, r := range s.lexer.results {
		if r.what != absent && r.what != null {
			s.results[i] = r
			s.fresh = true
		}
	}
}

// finish takes what a last event without its empty line had, too: the upstream
// has reported it.
func (s *events) finish() error {
	s.dispatch()
	return nil
}
