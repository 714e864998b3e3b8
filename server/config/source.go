package config

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tollgate/ledger"
)

// SourceKind is where a quantity is read.
type SourceKind string

// The kinds of sources.
const (
	FromRequest   SourceKind = "request"        // JSON of the request; known before the call
	FromResponse  SourceKind = "response"       // JSON of the answer, or of its server-sent events
	FromHeader    SourceKind = "header"         // header of the answer
	RequestBytes  SourceKind = "request_bytes"  // length of the request's body; known before the call
	ResponseBytes SourceKind = "response_bytes" // length of the answer's body
	Fixed         SourceKind = "fixed"          // always the same; known before the call
)

// Missing is what counts where the answer should hold a quantity and does not.
type Missing string

// The rules for a missing quantity.
const (
	MissingNever    Missing = ""         // the source is always there
	MissingZero     Missing = "zero"     // nothing
	MissingEstimate Missing = "estimate" // tokens by the length of the answer, others as many as the route holds; marked as estimated
	MissingFixed    Missing = "fixed"    // MissingN
)

// Source is how a route measures one meter.
type Source struct {
	Kind     SourceKind
	Pointer  string // RFC 6901; FromRequest and FromResponse
	Count    bool   // the elements of the array there, not a number
	Header   string // canonical name; FromHeader
	Strip    bool   // FromHeader: the client does not see it
	N        int64  // Fixed
	Missing  Missing
	MissingN int64 // MissingFixed
}

// KnownBefore tells whether the quantity is known before the call is made.
func (s *Source) KnownBefore() bool {
	return s.Kind == FromRequest || s.Kind == RequestBytes || s.Kind == Fixed
}

// CanMiss tells whether an answer can lack the quantity.
func (s *Source) CanMiss() bool { return s.Kind == FromResponse || s.Kind == FromHeader }

// String describes the source for people.
func (s *Source) String() string {
	switch s.Kind {
	case FromRequest, FromResponse:
		what := "number at "
		if s.Count {
			what = "count of "
		}
		where := "request"
		if s.Kind == FromResponse {
			where = "answer"
		}
		return fmt.Sprintf("%s%q in the %s", what, s.Pointer, where) + s.missingWords()
	case FromHeader:
		return "header " + s.Header + s.missingWords()
	case RequestBytes:
		return "bytes of the request"
	case ResponseBytes:
		return "bytes of the answer"
	}
	return fmt.Sprintf("always %d", s.N)
}

func (s *Source) missingWords() string {
	switch s.Missing {
	case MissingZero:
		return ", zero if missing"
	case MissingEstimate:
		return ", estimated if missing"
	case MissingFixed:
		return fmt.Sprintf(", %d if missing", s.MissingN)
	}
	return ""
}

// sourceFile is a source as written: exactly one of the first five is there.
type sourceFile struct {
	At       *node
	Request  *string  `toml:"request"`
	Response *string  `toml:"response"`
	Header   *string  `toml:"header"`
	Bytes    *string  `toml:"bytes" oneof:"request,response"`
	Fixed    *int64   `toml:"fixed"`
	Count    bool     `toml:"count"`
	Strip    bool     `toml:"strip"`
	Missing  *missing `toml:"missing"`
}

// missing is "zero", "estimate" or a number.
type missing struct {
	rule Missing
	n    int64
}

func (m *missing) readTOML(n *node) error {
	switch value := n.value.(type) {
	case int64:
		if err := checkQuantity(value); err != nil {
			return err
		}
		*m = missing{MissingFixed, value}
		return nil
	case string:
		if value == string(MissingZero) || value == string(MissingEstimate) {
			*m = missing{rule: Missing(value)}
			return nil
		}
		return fmt.Errorf("must be \"zero\", \"estimate\" or a number, not %q", value)
	}
	return fmt.Errorf("must be \"zero\", \"estimate\" or a number, not %s", n.describe())
}

var sourceWords = []string{"request", "response", "header", "bytes", "fixed"}

// What the gateway can read: its readers are of fixed size.
const (
	maxLevels = 16 // of a JSON pointer
	maxMeters = 64 // of a route
)

// source checks a source. It returns nil after noting a problem.
func (d *decoder) source(f *sourceFile) *Source {
	if f == nil || d.failed[f.At] {
		return nil
	}
	var given []string
	for _, word := range sourceWords {
		if f.At.has(word) {
			given = append(given, word)
		}
	}
	if len(given) != 1 {
		what := "says nothing of where the quantity is"
		if len(given) > 1 {
			what = "has " + strings.Join(given, " and ")
		}
		d.wrong(f.At, "%s; give one of %s", what, strings.Join(sourceWords, ", "))
		return nil
	}
	s := &Source{Count: f.Count, Strip: f.Strip}
	at := f.At.get(given[0])
	var err error
	switch given[0] {
	case "request":
		s.Kind, s.Pointer = FromRequest, *f.Request
		err = checkPointer(s.Pointer)
	case "response":
		s.Kind, s.Pointer = FromResponse, *f.Response
		err = checkPointer(s.Pointer)
	case "header":
		s.Kind, s.Header = FromHeader, http.CanonicalHeaderKey(*f.Header)
		if !isToken(*f.Header) {
			err = fmt.Errorf("is %q, which is not the name of a header", *f.Header)
		}
	case "bytes":
		s.Kind = SourceKind(*f.Bytes + "_bytes")
	case "fixed":
		s.Kind, s.N = Fixed, *f.Fixed
		err = checkQuantity(s.N)
	}
	if err != nil {
		d.wrong(at, "%v", err)
		return nil
	}
	d.sourceOptions(f, s)
	return s
}

// sourceOptions checks what stands beside the place of a quantity.
func (d *decoder) sourceOptions(f *sourceFile, s *Source) {
	if s.Count && s.Kind != FromRequest && s.Kind != FromResponse {
		d.wrong(f.At.get("count"), "counts the elements of an array, which only request and response name")
	}
	if s.Strip && s.Kind != FromHeader {
		d.wrong(f.At.get("strip"), "removes a header from the answer; this source is no header")
	}
	switch {
	case f.Missing != nil && !s.CanMiss():
		d.wrong(f.At.get("missing"), "is for quantities of the answer; this one is never missing")
	case f.Missing != nil:
		s.Missing, s.MissingN = f.Missing.rule, f.Missing.n
	case s.CanMiss():
		s.Missing = MissingZero // where it decides about money, needMissing asks for the word
	}
}

// checkQuantity bounds a count that is written in the file. The error is the
// end of a sentence.
func checkQuantity(n int64) error {
	if n < 0 {
		return errors.New("must not be negative")
	}
	if n > ledger.MaxQuantity {
		return fmt.Errorf("must be at most %d", int64(ledger.MaxQuantity))
	}
	return nil
}

// checkPointer checks the syntax of RFC 6901. The error is the end of a
// sentence.
func checkPointer(p string) error {
	if p != "" && p[0] != '/' {
		return fmt.Errorf("is %q, which is not a JSON pointer: did you mean %q?", p, "/"+strings.ReplaceAll(p, ".", "/"))
	}
	if strings.Count(p, "/") > maxLevels {
		return fmt.Errorf("goes down more than %d levels", maxLevels)
	}
	for i := 0; i < len(p); i++ {
		if p[i] == '~' && (i+1 == len(p) || p[i+1] != '0' && p[i+1] != '1') {
			return fmt.Errorf("is %q, which is not a JSON pointer: a ~ is written ~0", p)
		}
	}
	return nil
}

// isToken tells whether s can be the name of a header or a method.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
