package gateway

import (
	"net/http"
	"strings"

	"tollgate/ledger"
)

// answerReader measures an answer: its headers when they come, its body while it passes.
type answerReader struct {
	m       *measure
	headers []result // by source, of those read from a header; nil where there is none
	bytes   int64    // of the body, as the upstream sent it
	text    int64    // of it after decoding, as far as it was read
	events  *events  // nil: the body is not read
	stream  bool     // it is a stream of events
	feeder           // of the body; nil: not read
	ended   bool
}

// ending says how an answer ended, as far as measuring goes.
type ending uint8

const (
	whollyRead ending = iota
	brokenOff         // by the upstream
	leftOff           // by the client, and drained only in part
)

// begin looks at the headers of an answer; meters' headers that are to be
// stripped are taken out of it.
func (a *answerReader) begin(m *measure, res *http.Response, limit int64) {
	a.m = m
	for i := range m.sources {
		if s := &m.sources[i]; s.From == ResponseHeader {
			if a.headers == nil {
				a.headers = make([]result, len(m.sources))
			}
			a.headers[i] = s.header(res.Header)
		}
	}
	// A part of a document, or none, has no value to be found in it.
	if m.answer == nil || res.StatusCode == http.StatusPartialContent || res.StatusCode >= 400 || res.StatusCode < 200 {
		return
	}
	code := coding(res.Header)
	if code == otherCoding {
		return
	}
	a.events = m.answers.Get().(*events)
	a.events.reset()
	a.stream = isEventStream(res.Header)
	a.feeder = a.events
	if !a.stream {
		a.events.lexer.reset()
		a.feeder = a.events.lexer
	}
	if code == gzipCoding {
		a.feeder = newGunzip(a.feeder, limit)
	}
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// feed reads a piece of the body and tells whether a quantity in it is new.
func (a *answerReader) feed(p []byte) (news bool) {
	a.bytes += int64(len(p))
	if a.feeder == nil {
		return a.m.countsAnswer
	}
	a.feeder.feed(p)
	news = a.m.countsAnswer || a.events.fresh || !a.stream && a.events.lexer.fresh
	a.events.fresh, a.events.lexer.fresh = false, false
	return news
}

// end ends the body; it may be called more than once.
func (a *answerReader) end() {
	if a.feeder == nil || a.ended {
		return
	}
	a.ended = true
	_ = a.feeder.finish() // what was found until then counts
	a.text = a.bytes
	if g, ok := a.feeder.(*gunzip); ok {
		a.text = g.n
	}
}

// close gives the reader's lexer back; results are gone after it.
func (a *answerReader) close() {
	if a.events == nil {
		return
	}
	if g, ok := a.feeder.(*gunzip); ok {
		g.stop()
	}
	a.m.answers.Put(a.events)
	a.events, a.feeder = nil, nil
}

// result is what the answer has for source i so far.
func (a *answerReader) result(i int) result {
	switch s := &a.m.sources[i]; s.From {
	case ResponseBytes:
		return result{a.bytes, good}
	case ResponseHeader:
		if a.headers != nil {
			return a.headers[i]
		}
	case ResponseJSON:
		if a.events == nil {
			break
		}
		if a.stream {
			return a.events.results[a.m.targets[i]]
		}
		return a.events.lexer.results[a.m.targets[i]]
	}
	return result{}
}

// seen is asked with what the answer has shown so far: for a hold that must grow.
func (a *answerReader) seen(asked ledger.Quantities) ledger.Quantities {
	q := a.m.copy(asked)
	for i := range a.m.sources {
		if a.m.sources[i].inRequest() {
			continue
		}
		if r := a.result(i); r.usable() {
			a.m.put(&q, i, r.n)
		}
	}
	return q
}

// used is what a call has used.
type used struct {
	ledger.Quantities
	estimated   bool
	quarantined bool
	observed    bool // some of it was seen in the answer
}

// used is what a call used, once its answer has ended. asked is what was known
// before. expected tells that the status promises an answer with its usage, so
// that the rule for what is missing applies.
func (a *answerReader) used(asked ledger.Quantities, how ending, expected bool) used {
	a.end()
	u := used{Quantities: a.m.copy(asked)}
	for i := range a.m.sources {
		s := &a.m.sources[i]
		if s.inRequest() {
			if how == brokenOff {
				a.m.put(&u.Quantities, i, 0)
			}
			continue
		}
		r, n := a.result(i), int64(0)
		switch {
		case r.bad():
			u.quarantined = true
		case r.usable():
			n = r.n
			u.observed = u.observed || n > 0
		case !expected:
		case s.Missing == Estimate:
			if how == brokenOff && a.bytes == 0 {
				break
			}
			n = a.estimate(s, asked.Of(s.Meter))
			u.estimated = true
			u.observed = u.observed || n > 0
		case s.Missing == Instead && how != brokenOff:
			n = s.Else
		}
		a.m.put(&u.Quantities, i, n)
	}
	return u
}

// estimate guesses a quantity that the answer does not tell: tokens by the
// length of the text, four bytes each, or by the events of a stream, one each;
// of others what was held for them.
func (a *answerReader) estimate(s *Source, held int64) int64 {
	if s.Meter != "tokens" || a.events == nil {
		return held
	}
	if a.stream {
		return a.events.n
	}
	return (a.text + 3) / 4
}

// copy is q with room of its own for named meters.
func (m *measure) copy(q ledger.Quantities) ledger.Quantities {
	q.Named = append([]ledger.Quantity(nil), q.Named...)
	return q
}
