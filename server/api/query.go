package api

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
)

const (
	typeJSON   = "application/json"
	typeCSV    = "text/csv"
	typeNDJSON = "application/x-ndjson"

	maxBody     = 64 << 10 // bytes of a request body
	maxPage     = 1000
	defaultPage = 100
)

var ( // what the OpenAPI document says of parameters; never changed
	limitParam  = param{"limit", "entries of a page; of a stream: at most that many, all unless given", map[string]any{"type": "integer", "minimum": 1, "maximum": maxPage, "default": defaultPage}}
	cursorParam = param{"cursor", "next_cursor of the page before", map[string]any{"type": "string"}}
	fromParam   = timeParam("from", "not before this time: RFC 3339, or a date, which begins in the billing time zone")
	toParam     = timeParam("to", "before this time: RFC 3339, or a date")
	monthParam  = param{"month", "such as 2025-01; the open month unless given", map[string]any{"type": "string", "pattern": `^\d{4}-\d{2}$`}}
)

func timeParam(name, doc string) param {
	return param{name, doc, map[string]any{"type": "string", "examples": []string{"2025-01-15T00:00:00Z", "2025-01-15"}}}
}

// number reads a parameter from min to max.
func (r *request) number(name string, min, max, otherwise int) (int, error) {
	text := r.param(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < min || n > max {
		return 0, badParameter("The parameter %s is %q; give a number from %d to %d.", name, text, min, max)
	}
	return n, nil
}

// month reads the parameter month; it is the open month when not given.
func (s *service) month(r *request) (ledger.Month, error) {
	text := r.param("month")
	if text == "" {
		return s.Ledger.PeriodAt(r.now).Month, nil
	}
	return parseMonth(text)
}

func parseMonth(text string) (ledger.Month, error) {
	m, err := ledger.ParseMonth(text)
	if err != nil || m.Year() < 1970 {
		return 0, badParameter("The month is %q; give one such as 2025-01.", text)
	}
	return m, nil
}

// instant reads a time: RFC 3339, or a date that begins in the billing zone.
func (s *service) instant(r *request, name string) (time.Time, error) {
	text := r.param(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := parseInstant(text, s.Ledger.PeriodAt(r.now).Zone)
	if err != nil {
		return time.Time{}, badParameter("The parameter %s is %q; give a time such as 2025-01-15T00:00:00Z or a date such as 2025-01-15.", name, text)
	}
	return t, nil
}

func parseInstant(text, zone string) (time.Time, error) {
	// A "+" that was not escaped in the URL has become a space.
	if t, err := time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+")); err == nil {
		return t.UTC(), nil
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.ParseInLocation(time.DateOnly, text, location)
	return t.UTC(), err
}

// page reads limit and cursor.
func (r *request) page() (after uint64, limit int, err error) {
	if limit, err = r.number("limit", 1, maxPage, defaultPage); err != nil {
		return 0, 0, err
	}
	after, err = r.cursor()
	return after, limit, err
}

func (r *request) cursor() (uint64, error) {
	text := r.param("cursor")
	if text == "" {
		return 0, nil
	}
	position, ok := parseCursor(text)
	if !ok {
		return 0, badCursor()
	}
	return position, nil
}

func badCursor() error {
	return badParameter("The cursor is not one that was given out for this list; begin again without it.")
}

// cursorText is the opaque form of a position in a list; 0 is none. Its first
// byte is a version, so that old cursors are told from new ones.
func cursorText(position uint64) *string {
	if position == 0 {
		return nil
	}
	text := base64.RawURLEncoding.EncodeToString(binary.AppendUvarint([]byte{1}, position))
	return &text
}

func parseCursor(text string) (position uint64, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 2 || raw[0] != 1 {
		return 0, false
	}
	position, n := binary.Uvarint(raw[1:])
	if n <= 0 || n != len(raw)-1 || position == 0 || *cursorText(position) != text {
		return 0, false
	}
	return position, true
}

// accepts picks the media type that an Accept header likes best of those
// offered: the highest quality, then the one named most exactly, then the first
// offered. ok is false when it takes none.
func accepts(header string, offered ...string) (best string, ok bool) {
	if strings.TrimSpace(header) == "" {
		return offered[0], true
	}
	var quality float64
	var rank int
	for _, offer := range offered {
		if q, r := qualityOf(header, offer); q > quality || q == quality && q > 0 && r > rank {
			best, quality, rank = offer, q, r
		}
	}
	return best, best != ""
}

// qualityOf is what the most specific range of an Accept header that fits a
// media type gives it, and how specific that is: 0 where none fits.
func qualityOf(header, media string) (quality float64, rank int) {
	group, _, _ := strings.Cut(media, "/")
	ranks := map[string]int{"*/*": 1, group + "/*": 2, media: 3}
	for part := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		r := ranks[strings.ToLower(strings.TrimSpace(name))]
		if r <= rank {
			continue
		}
		rank, quality = r, 1
		for p := range strings.SplitSeq(parameters, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
				quality, _ = strconv.ParseFloat(value, 64)
			}
		}
	}
	return quality, rank
}

func hexHead(head [32]byte) string { return hex.EncodeToString(head[:]) }

// stamp is a time for JSON: in UTC, nil when there is none.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
