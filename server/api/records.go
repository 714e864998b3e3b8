package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"tollgate/ledger"
)

// flushEvery is after how many records a stream is sent on.
const flushEvery = 256

// asked is which records to read.
type asked struct {
	user     ledger.UserID // 0: everyone's, in the order logged
	from, to time.Time     // [from, to); zero: no bound
	cursor   uint64        // go on after this sequence number
	limit    int           // 0: all
	request  *ledger.RequestID
}

// askedRecords reads the parameters of a records endpoint.
func (s *service) askedRecords(r *request, user ledger.UserID) (asked, error) {
	a := asked{user: user}
	var err error
	if a.from, err = s.instant(r, "from"); err != nil {
		return a, err
	}
	if a.to, err = s.instant(r, "to"); err != nil {
		return a, err
	}
	if r.param("month") != "" {
		if !a.from.IsZero() || !a.to.IsZero() {
			return a, badParameter("Give either month, or from and to.")
		}
		month, err := s.month(r)
		if err != nil {
			return a, err
		}
		p := s.Ledger.PeriodOf(month)
		a.from, a.to = p.Start, p.End
	}
	if a.limit, err = r.number("limit", 1, 1<<31-1, 0); err != nil {
		return a, err
	}
	if a.cursor, err = r.cursor(); err != nil {
		return a, err
	}
	if text := r.param("request_id"); text != "" {
		id, err := ledger.ParseRequestID(text)
		if err != nil {
			return a, badParameter("%s.", sentence(err))
		}
		a.request = &id
	}
	if !a.from.IsZero() && !a.to.IsZero() && a.to.Before(a.from) {
		return a, badParameter("The parameter to lies before from.")
	}
	return a, nil
}

// recordParams is what askedRecords reads.
func recordParams() []param {
	request := param{"request_id", "the record of this Tollgate-Request alone", map[string]any{"type": "string"}}
	month := param{"month", "such as 2025-01, in the billing time zone; instead of from and to", monthParam.schema}
	return []param{fromParam, toParam, month, limitParam, cursorParam, request}
}

// getRecords answers with a page, or with a stream of everything asked for.
func (s *service) getRecords(r *request, user ledger.UserID) error {
	a, err := s.askedRecords(r, user)
	if err != nil {
		return err
	}
	media, ok := accepts(r.Header.Get("Accept"), typeJSON, typeCSV, typeNDJSON)
	if !ok {
		return refusal(http.StatusNotAcceptable, "not_acceptable", "Records come as %s, %s or %s.", typeJSON, typeCSV, typeNDJSON)
	}
	if media != typeJSON {
		return s.streamRecords(r, a, media)
	}
	if a.limit > maxPage {
		return badParameter("The parameter limit is %d; a page has at most %d records. Follow next_cursor, or ask for %s.", a.limit, maxPage, typeNDJSON)
	}
	if a.limit == 0 {
		a.limit = defaultPage
	}
	page, err := s.recordsPage(r.Context(), a)
	if err != nil {
		return err
	}
	return writeJSON(r.w, http.StatusOK, page)
}

func (s *service) recordsPage(ctx context.Context, a asked) (RecordsPage, error) {
	page := RecordsPage{Records: []Record{}}
	err := s.eachRecord(ctx, a, func(u *ledger.Usage) bool {
		if len(page.Records) == a.limit {
			page.NextCursor = cursorText(page.Records[a.limit-1].Seq)
			return false
		}
		page.Records = append(page.Records, s.record(u))
		return true
	})
	return page, err
}

// eachRecord walks what is asked for, the limit aside, until each returns
// false. The ledger calls back outside of its transactions, so that each may
// take its time.
func (s *service) eachRecord(ctx context.Context, a asked, each func(*ledger.Usage) bool) error {
	var err error
	switch {
	case a.request != nil:
		var u *ledger.Usage
		if u, err = s.Ledger.RecordByRequest(ctx, *a.request); err == nil && u.User != a.user {
			err = ledger.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("there is no record of %s: %w", a.request, err)
		}
		each(u)
	case a.user == 0:
		err = s.Ledger.Records(ctx, a.cursor, a.from, a.to, each)
	default:
		err = s.Ledger.UserRecords(ctx, a.user, a.cursor, a.from, a.to, each)
	}
	if a.cursor != 0 && errors.Is(err, ledger.ErrNotFound) {
		return badCursor()
	}
	if err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	return nil
}

// record is a record as JSON has it.
func (s *service) record(u *ledger.Usage) Record {
	route := ""
	if v := s.Ledger.VersionByID(u.Route); v != nil {
		route = v.Name
	}
	return Record{
		Seq: u.Seq, RequestID: u.RequestID().String(), Time: u.Time.UTC(), User: u.User, Key: u.Key, Route: route, Method: u.Method,
		Documents: u.Documents, Tokens: u.Tokens, Cost: u.Cost, CostCents: s.cents(u.Cost), ResponseTimeMS: u.Duration.Milliseconds(),
		StatusCode: u.Status, Outcome: u.Outcome.String(), Billed: u.Billed, Estimated: u.Estimated,
		CreditsBurnt: Credits(u.Burnt), Uncovered: Credits(u.Uncovered), Meters: meters(u.Named),
	}
}

func meters(named []ledger.Quantity) map[string]int64 {
	if len(named) == 0 {
		return nil
	}
	m := make(map[string]int64, len(named))
	for _, q := range named {
		m[q.Meter] = q.N
	}
	return m
}

// streamRecords writes everything asked for in constant memory. Until the first
// record an error can still be a problem document; a later one breaks the
// connection, for a stream that ended well would be taken for complete.
func (s *service) streamRecords(r *request, a asked, media string) error {
	out := newRecordWriter(r.w, media)
	flush := http.NewResponseController(r.w)
	written := 0
	var broken error
	err := s.eachRecord(r.Context(), a, func(u *ledger.Usage) bool {
		if written == 0 {
			r.w.Header().Set("Content-Type", media+"; charset=utf-8")
		}
		out.write(s.record(u))
		written++
		if written%flushEvery == 0 {
			if broken = out.flush(); broken == nil {
				broken = flush.Flush()
			}
		}
		return broken == nil && written != a.limit && r.Method != http.MethodHead
	})
	if written == 0 {
		if err != nil {
			return err
		}
		r.w.Header().Set("Content-Type", media+"; charset=utf-8")
	}
	if err == nil {
		err = broken
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		s.Log.Warn("a stream of records broke off", "path", r.URL.Path, "written", written, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// recordWriter writes records in one of the streamed formats.
type recordWriter interface {
	write(Record)
	flush() error // the first error of any write too
}

func newRecordWriter(w io.Writer, media string) recordWriter {
	if media == typeCSV {
		c := &csvRecords{csv.NewWriter(w)}
		_ = c.w.Write(csvColumns) // its error is kept for flush
		return c
	}
	buffered := bufio.NewWriter(w)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	return &ndjsonRecords{buffered, encoder, nil}
}

type ndjsonRecords struct {
	w       *bufio.Writer
	encoder *json.Encoder
	err     error
}

func (n *ndjsonRecords) write(r Record) {
	if n.err == nil {
		n.err = n.encoder.Encode(r)
	}
}

func (n *ndjsonRecords) flush() error {
	if n.err != nil {
		return n.err
	}
	return n.w.Flush()
}

type csvRecords struct{ w *csv.Writer }

// csvColumns are the names of a record's JSON, in its order.
var csvColumns = []string{"seq", "request_id", "time", "user", "key", "route", "method", "documents", "tokens", "cost", "cost_cents",
	"response_time_ms", "status_code", "outcome", "billed", "estimated", "meters"}

func (c *csvRecords) write(r Record) {
	named := ""
	if r.Meters != nil {
		text, _ := json.Marshal(r.Meters) // a map of numbers always can
		named = string(text)
	}
	_ = c.w.Write([]string{ // its error is kept for flush
		strconv.FormatUint(r.Seq, 10), r.RequestID, r.Time.Format(time.RFC3339Nano), strconv.FormatUint(uint64(r.User), 10),
		strconv.FormatUint(uint64(r.Key), 10), cell(r.Route), cell(r.Method), strconv.FormatInt(r.Documents, 10),
		strconv.FormatInt(r.Tokens, 10), r.Cost.String(), strconv.FormatInt(r.CostCents, 10), strconv.FormatInt(r.ResponseTimeMS, 10),
		strconv.Itoa(r.StatusCode), r.Outcome, strconv.FormatBool(r.Billed), strconv.FormatBool(r.Estimated), named,
	})
}

func (c *csvRecords) flush() error {
	c.w.Flush()
	return c.w.Error()
}

// cell keeps a spreadsheet from taking a text that a caller chose, such as a
// request's method, for a formula.
func cell(text string) string {
	if text != "" {
		switch text[0] {
		case '=', '+', '-', '@', '\t', '\r', '\n':
			return "'" + text
		}
	}
	return text
}
