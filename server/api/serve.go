package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
	"tollgate/server/admission"
)

// access says who may use an endpoint.
type access int

const (
	public access = iota
	reads         // any key of the user
	manage        // a key of scope manage
	operator
)

// endpoint is one operation: what the mux serves and what the OpenAPI document
// says about it, so that the two cannot differ.
type endpoint struct {
	method, path string
	summary      string
	access       access
	params       []param // of the query; others are refused
	status       int     // of success; 200 unless given
	streams      []string
	body, answer reflect.Type // nil: none
	or           reflect.Type // another answer that there may be; nil: none
	handle       func(*request) error
}

// param is a parameter of the query.
type param struct {
	name, doc string
	schema    map[string]any
}

// answers makes handle from a function whose result is sent as JSON.
func answers[Answer any](e endpoint, f func(*request) (Answer, error)) endpoint {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	if e.status != http.StatusNoContent {
		e.answer = reflect.TypeFor[Answer]()
	}
	e.handle = func(r *request) error {
		answer, err := f(r)
		if err != nil {
			return err
		}
		return writeJSON(r.w, e.status, answer)
	}
	return e
}

// takes is answers for a function that reads a JSON body.
func takes[Body, Answer any](e endpoint, f func(*request, Body) (Answer, error)) endpoint {
	e.body = reflect.TypeFor[Body]()
	return answers(e, func(r *request) (Answer, error) {
		var body Body
		if err := decodeBody(r.w, r.Request, &body); err != nil {
			var none Answer
			return none, err
		}
		return f(r, body)
	})
}

// request is one call of an endpoint.
type request struct {
	*http.Request
	w        http.ResponseWriter
	endpoint *endpoint
	query    url.Values
	now      time.Time
	caller   *admission.Caller // nil on public endpoints and for the operator
	by       string            // who changes something, as the ledger keeps it
}

// param is a query parameter, "" when it is not given.
func (r *request) param(name string) string {
	if !slices.ContainsFunc(r.endpoint.params, func(p param) bool { return p.name == name }) {
		panic("api: " + r.endpoint.path + " does not declare its parameter " + name)
	}
	return r.query.Get(name)
}

// mux serves the endpoints; enter prepares a request or refuses it.
func (s *service) mux(endpoints []endpoint, enter func(*request) error) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, e := range endpoints {
		methods[e.path] = append(methods[e.path], e.method)
		mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, hr *http.Request) {
			r := &request{Request: hr, w: w, endpoint: &e, now: s.Now()}
			err := r.readQuery()
			if err == nil {
				err = enter(r)
			}
			if err == nil {
				err = e.handle(r)
			}
			if err != nil {
				s.refuse(w, hr, err)
			}
		})
	}
	for path, allowed := range methods {
		if slices.Contains(allowed, "GET") {
			allowed = append(allowed, "HEAD")
		}
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, hr *http.Request) {
			w.Header().Set("Allow", allow)
			s.refuse(w, hr, refusal(http.StatusMethodNotAllowed, "method_not_allowed", "%s does not take %s; it takes %s.", hr.URL.Path, hr.Method, allow))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, hr *http.Request) {
		s.refuse(w, hr, refusal(http.StatusNotFound, "not_found", "There is nothing at %s; the paths that there are are listed in /openapi.json.", hr.URL.Path))
	})
	return mux
}

// readQuery refuses what the endpoint does not know: a misspelt bound would
// otherwise ask for everything.
func (r *request) readQuery() error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badParameter("The query of the URL cannot be read: %v.", err)
	}
	for name, given := range values {
		if !slices.ContainsFunc(r.endpoint.params, func(p param) bool { return p.name == name }) {
			return refusal(http.StatusBadRequest, "unknown_parameter", "%s takes no parameter %q%s.", r.URL.Path, name, paramList(r.endpoint.params))
		}
		if len(given) > 1 {
			return badParameter("The parameter %q is given %d times; give it once.", name, len(given))
		}
	}
	r.query = values
	return nil
}

func paramList(params []param) string {
	if len(params) == 0 {
		return ""
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
	}
	return "; it takes " + strings.Join(names, ", ")
}

func writeJSON(w http.ResponseWriter, status int, answer any) error {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON)
	h.Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(status)
	// The client may have left; there is nobody to tell.
	_, _ = w.Write(text.Bytes())
	return nil
}

// refusal makes a problem whose detail says what to do next.
func refusal(status int, code, detail string, args ...any) *admission.Refusal {
	return &admission.Refusal{Status: status, Code: code, Title: http.StatusText(status), Detail: fmt.Sprintf(detail, args...)}
}

func badParameter(detail string, args ...any) *admission.Refusal {
	return refusal(http.StatusBadRequest, "invalid_parameter", detail, args...)
}

// problem is the one place where errors become statuses and codes.
func problem(err error) *admission.Refusal {
	var known *admission.Refusal
	var billing *BillingError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &billing):
		return refusal(billing.Code.status(), string(billing.Code), "%s.", strings.TrimSuffix(sentence(err), "."))
	case errors.Is(err, ledger.ErrNotFound):
		return refusal(http.StatusNotFound, "not_found", "%s.", sentence(err))
	case errors.Is(err, ledger.ErrExists):
		return refusal(http.StatusConflict, "already_exists", "%s.", sentence(err))
	case errors.Is(err, ledger.ErrUnavailable), errors.Is(err, ledger.ErrLowDisk), errors.Is(err, ledger.ErrClosed):
		return admission.NewRefusal(admission.LedgerUnavailable, fmt.Sprintf("Nothing can be recorded at the moment: %v.", err))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refusal(http.StatusServiceUnavailable, "cancelled", "The request ended before it was answered.")
	}
	return refusal(http.StatusInternalServerError, "internal_error", "This should not have happened; the server's log says more.")
}

func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func (s *service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem(err)
	if p.Code == "internal_error" {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	admission.WriteProblem(w, p)
}
