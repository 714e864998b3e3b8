package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// bodyTime is how long a body may take to come.
const bodyTime = time.Minute

// decodeBody reads one JSON object. Fields that are not marked omitempty must
// be there, so that an empty object never means "remove the limit".
func decodeBody(w http.ResponseWriter, r *http.Request, body any) error {
	if r.ContentLength != 0 {
		// Deadlines of connections are by the clock of the system; net/http takes this
		// one off when the body has come. Where none can be set there is none.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return refusal(http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than %d bytes.", maxBody)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refusal(http.StatusRequestTimeout, "request_timeout", "The body did not come within %v. Send the request again.", bodyTime)
	}
	if err != nil {
		return refusal(http.StatusBadRequest, "unreadable_body", "The body broke off: %v.", err)
	}
	contentType := r.Header.Get("Content-Type")
	if contentType != "" || len(text) > 0 {
		if media, _, err := mime.ParseMediaType(contentType); err != nil || media != typeJSON {
			return refusal(http.StatusUnsupportedMediaType, "unsupported_media_type", "Send the body with Content-Type: application/json, not %q.", contentType)
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil || given == nil {
		return refusal(http.StatusBadRequest, "invalid_json", "The body is not a JSON object%s.", because(err))
	}
	if name, twice := duplicate(json.NewDecoder(bytes.NewReader(text))); twice {
		return refusal(http.StatusBadRequest, "duplicate_field", "The body has the field %q twice. Send each field once.", name)
	}
	for name, optional := range jsonFields(reflect.TypeOf(body).Elem()) {
		if _, ok := given[name]; !ok && !optional {
			return refusal(http.StatusBadRequest, "missing_field", "The body needs the field %q.", name)
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(body); err != nil {
		return refusal(http.StatusBadRequest, "invalid_field", "The body does not fit%s.", because(err))
	}
	return nil
}

// duplicate finds a name that stands twice in an object of valid JSON, also with
// other capitals: decoders differ in which of the two they take, and ours knows
// fields by any capitals.
func duplicate(d *json.Decoder) (name string, twice bool) {
	start, _ := d.Token() // the text was checked before
	switch start {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			token, _ := d.Token()
			name, _ = token.(string)
			if seen[folded(name)] {
				return name, true
			}
			seen[folded(name)] = true
			if name, twice = duplicate(d); twice {
				return name, true
			}
		}
	case json.Delim('['):
		for d.More() {
			if name, twice = duplicate(d); twice {
				return name, true
			}
		}
	default:
		return "", false
	}
	_, _ = d.Token() // the end of the object or array
	return "", false
}

// folded is the same for names that encoding/json takes for each other.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + strings.TrimPrefix(err.Error(), "json: ")
}

// jsonFields is the names of a struct's JSON fields, and whether each may be
// left out.
func jsonFields(t reflect.Type) map[string]bool {
	fields := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		if tag, ok := f.Tag.Lookup("json"); ok {
			name, options, _ := strings.Cut(tag, ",")
			fields[name] = strings.Contains(options, "omitempty")
		}
	}
	return fields
}
