package gateway

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// ambiguous tells whether a path could lead past the route that fits it.
// Upstreams differ in when they decode: to the mux "/open/%2e%2e/scan" and
// "/v1%2Fscan" are what they look like, to many a framework they are "/scan" and
// "/v1/scan", which have another price or need a key. An encoded slash alone is
// common in names and passes where no other route is meant.
func (r *Routing) ambiguous(call *http.Request, rt *route) bool {
	if call.URL.RawPath == "" {
		return false // decoding leaves no choice
	}
	decoded := call.URL.Path
	for segment := range strings.FieldsFuncSeq(decoded, func(c rune) bool { return c == '/' || c == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	clean := path.Clean(decoded)
	if strings.HasSuffix(decoded, "/") && clean != "/" {
		clean += "/"
	}
	asked := *call
	asked.URL = &url.URL{Host: call.URL.Host, Path: clean}
	other, _ := r.match(&asked)
	return other != nil && other != rt
}
