package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"sync"

	"tollgate/ledger"
)

// From says where a meter's quantity is read.
type From uint8

// The places that a quantity can be read from.
const (
	RequestJSON    From = iota // Source.Pointer into the request's body; known before the call
	RequestBytes               // bytes of the request's body; known before the call
	Fixed                      // Source.N; known before the call
	ResponseJSON               // Source.Pointer into the answer's body, also in server-sent events
	ResponseHeader             // Source.Header of the answer
	ResponseBytes              // bytes of the answer's body, as the upstream sent them
)

// Missing says what is recorded where the expected quantity is not there.
type Missing uint8

// The rules for what is missing.
const (
	NoRule Missing = iota // an answer counts as zero, a request is refused where Source.Required
	Zero
	Estimate // marked as estimated in the record; answers only
	Instead  // Source.Else
)

// Source is how one meter of a route is measured.
type Source struct {
	Meter   string // "documents", "tokens", or a name of its own
	From    From
	Pointer string // JSON Pointer (RFC 6901)
	Count   bool   // the number of elements of the array there
	Header  string
	Strip   bool  // the header is taken out of the answer
	N       int64 // of Fixed
	Missing Missing
	Else    int64 // of Instead
	// Required tells that the meter is priced, limited or burns credits: a
	// request in which it cannot be read is refused, not taken as zero.
	Required bool
}

func (s *Source) inRequest() bool { return s.From <= Fixed }

// measure is a route's sources, made ready. It is read-only but for its pools.
type measure struct {
	sources []Source
	slots   []int // by source: where its quantity goes, see put
	targets []int // by source: its target in the body's paths
	named   []string
	// countsRequest tells that the request's bytes are counted, countsAnswer the answer's.
	countsRequest, countsAnswer bool
	request                     *paths // nil: the request's body is not read
	answer                      *paths // nil: the answer's body is not read
	requests                    sync.Pool
	answers                     sync.Pool
}

// The slots of the built-in meters; others are indexes into Named.
const (
	documentsSlot = -1
	tokensSlot    = -2
)

func newMeasure(sources []Source) (*measure, error) {
	m := &measure{sources: slices.Clone(sources), slots: make([]int, len(sources)), targets: make([]int, len(sources))}
	var request, answer []target
	for i, s := range sources {
		if s.Meter == "" || s.Meter == "calls" || slices.ContainsFunc(sources[:i], func(o Source) bool { return o.Meter == s.Meter }) {
			return nil, fmt.Errorf("meter %q cannot be measured, or is measured twice", s.Meter)
		}
		if s.N < 0 || s.Else < 0 || s.N > ledger.MaxQuantity || s.Else > ledger.MaxQuantity {
			return nil, fmt.Errorf("meter %q: a fixed quantity lies between 0 and %d", s.Meter, int64(ledger.MaxQuantity))
		}
		if s.Meter != "documents" && s.Meter != "tokens" {
			m.named = append(m.named, s.Meter)
		}
		switch s.From {
		case RequestJSON:
			m.targets[i] = len(request)
			request = append(request, target{s.Pointer, s.Count})
		case ResponseJSON:
			m.targets[i] = len(answer)
			answer = append(answer, target{s.Pointer, s.Count})
		case RequestBytes:
			m.countsRequest = true
		case ResponseBytes:
			m.countsAnswer = true
		case ResponseHeader:
			if s.Header == "" {
				return nil, fmt.Errorf("meter %q names no header", s.Meter)
			}
			m.sources[i].Header = http.CanonicalHeaderKey(s.Header)
		}
	}
	slices.Sort(m.named)
	for i, s := range sources {
		switch s.Meter {
		case "documents":
			m.slots[i] = documentsSlot
		case "tokens":
			m.slots[i] = tokensSlot
		default:
			m.slots[i] = slices.Index(m.named, s.Meter)
		}
	}
	var err error
	if len(request) > 0 {
		if m.request, err = newPaths(request); err != nil {
			return nil, err
		}
		m.requests.New = func() any { return &requestReader{m: m, lexer: newLexer(m.request, true)} }
	}
	if len(answer) > 0 {
		if m.answer, err = newPaths(answer); err != nil {
			return nil, err
		}
		m.answers.New = func() any { return newEvents(newLexer(m.answer, false)) }
	}
	return m, nil
}

// quantities makes room for what a call uses.
func (m *measure) quantities() ledger.Quantities {
	var q ledger.Quantities
	if len(m.named) > 0 {
		q.Named = make([]ledger.Quantity, len(m.named))
		for i, meter := range m.named {
			q.Named[i].Meter = meter
		}
	}
	return q
}

// put sets the quantity of source i. Only bytes can come to more than a record
// can have, and a call of that many is billed for as many as it can have.
func (m *measure) put(q *ledger.Quantities, i int, n int64) {
	n = min(n, ledger.MaxQuantity)
	switch slot := m.slots[i]; slot {
	case documentsSlot:
		q.Documents = n
	case tokensSlot:
		q.Tokens = n
	default:
		q.Named[slot].N = n
	}
}

// header takes a quantity out of an answer's header.
func (s *Source) header(h http.Header) result {
	values := h[s.Header]
	if s.Strip {
		delete(h, s.Header)
	}
	switch len(values) {
	case 0:
		return result{}
	case 1:
		return wholeText(values[0])
	}
	return result{what: typed}
}
