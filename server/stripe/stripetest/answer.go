package stripetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// APIError is an error as the API tells it.
type APIError struct {
	Type          string         `json:"type"`
	Code          string         `json:"code,omitempty"`
	DeclineCode   string         `json:"decline_code,omitempty"`
	DocURL        string         `json:"doc_url,omitempty"`
	Message       string         `json:"message"`
	Param         string         `json:"param,omitempty"`
	Charge        string         `json:"charge,omitempty"`
	PaymentIntent *PaymentIntent `json:"payment_intent,omitempty"` // of an intent's own request that was declined
	PaymentMethod *PaymentMethod `json:"payment_method,omitempty"`
}

// failure is a refused request.
type failure struct {
	APIError
	status int
	// early tells that the request was refused before anything was begun, so that
	// its idempotency key remains free.
	early bool
}

func (f *failure) Error() string {
	if f.Code == "" {
		return f.Message
	}
	return f.Code + ": " + f.Message
}

// invalid is a request that does not make sense in itself.
func invalid(code, param, message string) *failure {
	return &failure{APIError{Type: "invalid_request_error", Code: code, Param: param, Message: message}, http.StatusBadRequest, true}
}

// refused is a request that does not fit what is there.
func refused(code, param, message string) *failure {
	f := invalid(code, param, message)
	f.early = false
	return f
}

// missing is an object that is not there. In the path it is 404, in a parameter 400.
func missing(kind, param, id string) *failure {
	f := refused("resource_missing", param, "No such "+kind+": '"+id+"'")
	if param == "id" {
		f.status = http.StatusNotFound
	}
	return f
}

func serverError() *failure {
	return &failure{APIError{Type: "api_error", Message: "An unknown error occurred."}, http.StatusInternalServerError, false}
}

// result is an answer, ready to be sent.
type result struct {
	Status   int    `json:"status"`
	Body     []byte `json:"body"`
	replayed bool
	original string // request id
	early    bool   // nothing was begun
}

func (f *failure) result() result {
	body, err := json.Marshal(map[string]any{"error": f.APIError})
	if err != nil {
		panic(err) // plain strings
	}
	return result{Status: f.status, Body: append(body, '\n')}
}

// render turns an object into the answer, with what the request wants expanded.
func (s *Server) render(v any, expand []string) (result, *failure) {
	if len(expand) > 0 {
		tree, err := toTree(v)
		if err != nil {
			return result{}, serverError()
		}
		for _, path := range expand {
			if !s.expand(tree, strings.Split(path, ".")) {
				return result{}, refused("", "expand", fmt.Sprintf("This property cannot be expanded (%s).", path))
			}
		}
		v = tree
	}
	body, err := json.Marshal(v)
	if err != nil {
		return result{}, serverError()
	}
	return result{Status: http.StatusOK, Body: append(body, '\n')}, nil
}

func toTree(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var tree any
	err = d.Decode(&tree)
	return tree, err
}

// expand replaces the ids at a path by the objects. What is null remains so.
func (s *Server) expand(tree any, path []string) bool {
	switch node := tree.(type) {
	case []any:
		for _, e := range node {
			if !s.expand(e, path) {
				return false
			}
		}
	case map[string]any:
		child := node[path[0]]
		if id, ok := child.(string); ok {
			object := s.find(id)
			if object == nil {
				return false
			}
			full, err := toTree(object)
			if err != nil {
				return false
			}
			child = full
			node[path[0]] = child
		}
		if len(path) > 1 && child != nil {
			return s.expand(child, path[1:])
		}
	}
	return true
}

// page answers a list request: newest first, at most limit, by cursor.
func page[T any, P stored[T]](c *call, t *table[T, P], keep func(P) bool, view func(P) any) (any, *failure) {
	limit, f := c.p.integer("limit")
	if f != nil {
		return nil, f
	}
	if !c.p.has("limit") {
		limit = 10
	}
	if limit < 1 || limit > 100 {
		return nil, invalid("parameter_invalid_integer", "limit", "This value must be between 1 and 100.")
	}
	within, f := c.created()
	if f != nil {
		return nil, f
	}
	at := func(name string) (int, *failure) {
		id := c.p.str(name)
		if id == "" {
			return -1, nil
		}
		if _, ok := t.byID[id]; ok {
			for i := len(t.all) - 1; i >= 0; i-- {
				if t.all[i].base().ID == id {
					return i, nil
				}
			}
		}
		f := missing("object", name, id)
		return 0, f
	}
	after, f := at("starting_after")
	if f != nil {
		return nil, f
	}
	before, f := at("ending_before")
	if f != nil {
		return nil, f
	}
	list := &List{Object: "list", Data: []any{}, URL: c.r.URL.Path}
	take := func(o P) (full bool) {
		if !within(o.base().Created) || !keep(o) {
			return false
		}
		if len(list.Data) == int(limit) {
			list.HasMore = true
			return true
		}
		list.Data = append(list.Data, view(o))
		return false
	}
	if before >= 0 {
		// The page that ends just before the cursor: its newer neighbours, newest first.
		for i := before + 1; i < len(t.all) && !take(t.all[i]); i++ {
		}
		for i, j := 0, len(list.Data)-1; i < j; i, j = i+1, j-1 {
			list.Data[i], list.Data[j] = list.Data[j], list.Data[i]
		}
		return list, nil
	}
	from := len(t.all) - 1
	if after >= 0 {
		from = after - 1
	}
	for i := from; i >= 0 && !take(t.all[i]); i-- {
	}
	return list, nil
}

// created is the filter of that name.
func (c *call) created() (func(int64) bool, *failure) {
	if !c.p.hasAny("created") {
		return func(int64) bool { return true }, nil
	}
	type bound struct {
		name string
		fits func(t, limit int64) bool
	}
	var tests []func(int64) bool
	add := func(p params, name string, fits func(t, limit int64) bool) *failure {
		if !p.has(name) {
			return nil
		}
		limit, f := p.integer(name)
		tests = append(tests, func(t int64) bool { return fits(t, limit) })
		return f
	}
	if f := add(c.p, "created", func(t, l int64) bool { return t == l }); f != nil {
		return nil, f
	}
	for _, b := range []bound{
		{"gt", func(t, l int64) bool { return t > l }}, {"gte", func(t, l int64) bool { return t >= l }},
		{"lt", func(t, l int64) bool { return t < l }}, {"lte", func(t, l int64) bool { return t <= l }},
	} {
		if f := add(c.p.sub("created"), b.name, b.fits); f != nil {
			return nil, f
		}
	}
	return func(t int64) bool {
		for _, fits := range tests {
			if !fits(t) {
				return false
			}
		}
		return true
	}, nil
}
