package api

import (
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// document is the OpenAPI 3.1 description of the endpoints, made from the table
// that serves them and from their Go types.
type document struct {
	paths   map[string]object
	schemas map[string]object
}

func newDocument(endpoints []endpoint) *document {
	d := &document{map[string]object{}, map[string]object{}}
	for _, e := range endpoints {
		if d.paths[e.path] == nil {
			d.paths[e.path] = object{}
		}
		d.paths[e.path][strings.ToLower(e.method)] = d.operation(e)
	}
	return d
}

// at is the document of a server at a public URL.
func (d *document) at(publicURL string) object {
	if publicURL == "" {
		publicURL = "/"
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "tollgate",
			"version":     "1",
			"description": "Usage, charges and API keys. Errors are RFC 9457 problem documents with a code.",
		},
		"servers": []object{{"url": publicURL}},
		"paths":   d.paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer"},
				"header": object{"type": "apiKey", "in": "header", "name": "X-API-Key"},
			},
		},
	}
}

// openAPIEndpoint serves the document; it is not a part of it.
func openAPIEndpoint(document func() any) endpoint {
	return answers(endpoint{method: "GET", path: "/openapi.json", access: public}, func(*request) (any, error) { return document(), nil })
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func (d *document) operation(e endpoint) object {
	parameters := []object{}
	for _, name := range inPath.FindAllStringSubmatch(e.path, -1) {
		parameters = append(parameters, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "integer"}})
	}
	for _, p := range e.params {
		parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.doc, "schema": p.schema})
	}
	operation := object{"summary": e.summary, "parameters": parameters, "responses": d.responses(e)}
	switch e.access {
	case public:
		operation["security"] = []object{}
	case manage:
		operation["description"] = `Needs a key of scope "manage".`
		fallthrough
	default:
		operation["security"] = []object{{"bearer": []string{}}, {"header": []string{}}}
	}
	if e.body != nil {
		operation["requestBody"] = object{"required": needsBody(e.body), "content": object{typeJSON: object{"schema": d.schema(e.body)}}}
	}
	return operation
}

func (d *document) responses(e endpoint) object {
	success := object{"description": http.StatusText(e.status)}
	if e.answer != nil {
		schema := d.schema(e.answer)
		if e.or != nil {
			schema = object{"oneOf": []object{schema, d.schema(e.or)}}
		}
		content := object{typeJSON: object{"schema": schema}}
		for _, media := range e.streams {
			content[media] = object{"schema": object{"type": "string"}}
		}
		success["content"] = content
	}
	failure := object{"description": "A problem", "content": object{"application/problem+json": object{"schema": d.schema(reflect.TypeFor[Problem]())}}}
	return object{strconv.Itoa(e.status): success, "default": failure}
}

func needsBody(t reflect.Type) bool {
	for optional := range maps.Values(jsonFields(t)) {
		if !optional {
			return true
		}
	}
	return false
}

// wellKnown are types whose JSON is not that of their fields.
func wellKnown(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[ledger.Amount]():
		return object{"type": "string", "pattern": `^-?\d+\.\d{9}$`}
	case reflect.TypeFor[Dollars](), reflect.TypeFor[Tenths](), reflect.TypeFor[Credits]():
		return object{"type": "number"}
	case reflect.TypeFor[Duration]():
		return object{"type": "string", "examples": []string{"24h", "90m"}}
	case reflect.TypeFor[netip.Prefix]():
		return object{"type": "string", "examples": []string{"192.0.2.0/24", "2001:db8::/32"}}
	case reflect.TypeFor[struct{}]():
		return object{}
	}
	return nil
}

// schema describes a type; structs with a name are described once, by it.
func (d *document) schema(t reflect.Type) object {
	if known := wellKnown(t); known != nil {
		return known
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(d.schema(t.Elem()))
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "format": "int64", "minimum": 0}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		if d.schemas[t.Name()] == nil {
			d.schemas[t.Name()] = object{} // ends recursion
			d.schemas[t.Name()] = d.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	panic("api: no schema for " + t.String())
}

// nullable allows null beside what a schema allows.
func nullable(schema object) object {
	if kind, ok := schema["type"].(string); ok {
		schema["type"] = []string{kind, "null"}
		return schema
	}
	if len(schema) == 0 {
		return object{"type": "null"}
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

func (d *document) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		schema := d.schema(f.Type)
		if text := f.Tag.Get("doc"); text != "" {
			schema["description"] = text
		}
		properties[name] = schema
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}
