package gateway

import (
	"net/http"
	"strings"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// requestReader measures a request's body while it is read.
type requestReader struct {
	m       *measure
	lexer   *lexer
	feeder         // nil: the body is passed by unread
	problem string // why it cannot be read at all
}

// reader makes a reader of the request's JSON, or nil where the route reads none.
// A body that is compressed in a way that cannot be read is passed by unread.
func (m *measure) reader(h http.Header, limit int64) *requestReader {
	if m.request == nil {
		return nil
	}
	r := m.requests.Get().(*requestReader)
	r.lexer.reset()
	r.feeder, r.problem = nil, ""
	switch coding(h) {
	case identityCoding:
		r.feeder = r.lexer
	case gzipCoding:
		r.feeder = newGunzip(r.lexer, limit)
	default:
		r.problem = "The request's Content-Encoding cannot be read: send it as it is, or with gzip."
	}
	return r
}

func (r *requestReader) feed(p []byte) {
	if r.feeder != nil {
		r.feeder.feed(p)
	}
}

// finish ends the document.
func (r *requestReader) finish() {
	if r.feeder == nil {
		return
	}
	if err := r.feeder.finish(); err != nil {
		r.problem = "The request's body cannot be measured: " + err.Error() + "."
	}
}

// close gives the reader back. It may be called without finish.
func (r *requestReader) close() {
	if g, ok := r.feeder.(*gunzip); ok {
		g.stop()
	}
	r.m.requests.Put(r)
}

// asked is what a call will use as far as that is known before it, and what the
// route holds for the rest. body is nil where the body is not read, and else has
// been read to its end; length is the body's.
func (m *measure) asked(body *requestReader, length int64, hold map[string]int64) (ledger.Quantities, *admission.Refusal) {
	q := m.quantities()
	for i := range m.sources {
		s := &m.sources[i]
		switch s.From {
		case Fixed:
			m.put(&q, i, s.N)
		case RequestBytes:
			m.put(&q, i, max(length, 0))
		case RequestJSON:
			n, problem := s.inBody(body, m.targets[i])
			if problem != "" && s.Required {
				return q, admission.NewRefusal(admission.UnmeasurableRequest, problem)
			}
			m.put(&q, i, n)
		default:
			// At least 1: a call that asks for nothing would pass a quota that is used up.
			m.put(&q, i, max(hold[s.Meter], 1))
		}
	}
	return q, nil
}

func (s *Source) inBody(body *requestReader, target int) (n int64, problem string) {
	if body.problem != "" {
		return 0, body.problem
	}
	r := body.lexer.results[target]
	switch {
	case r.what == good:
		return r.n, ""
	case r.what == absent && s.Missing == Zero:
		return 0, ""
	case r.what == absent && s.Missing == Instead:
		return s.Else, ""
	}
	what := "number"
	if s.Count {
		what = "array"
	}
	place := "at " + s.Pointer
	if s.Pointer == "" {
		place = "that is the whole body"
	}
	return 0, "The " + what + " " + place + " in the request, by which " + s.Meter + " are counted, " + r.what.said() + "."
}

// encoding is a content coding, as far as the gateway can read it.
type encoding uint8

const (
	identityCoding encoding = iota
	gzipCoding
	otherCoding
)

func coding(h http.Header) encoding {
	values := h["Content-Encoding"]
	if len(values) == 0 {
		return identityCoding
	}
	if len(values) > 1 {
		return otherCoding
	}
	switch strings.ToLower(strings.TrimSpace(values[0])) {
	case "", "identity":
		return identityCoding
	case "gzip", "x-gzip":
		return gzipCoding
	}
	return otherCoding
}

// acceptable reduces the codings that a client accepts to those in which an
// answer can be measured.
func acceptable(accept []string) string {
	for _, value := range accept {
		for item := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "gzip" && name != "x-gzip" && name != "*" {
				continue
			}
			weight := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(parameters), " ", ""), "\t", "")
			if weight, ok := strings.CutPrefix(weight, "q="); ok && strings.Trim(weight, "0.") == "" {
				continue
			}
			return "gzip"
		}
	}
	return "identity"
}
