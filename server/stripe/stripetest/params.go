package stripetest

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// params is the form of a request; nested keys are written as in
// `metadata[ledger]`. prefix is where in it we are.
type params struct {
	form   url.Values
	prefix string
}

func (p params) key(name string) string {
	if p.prefix == "" {
		return name
	}
	return p.prefix + "[" + name + "]"
}

// sub is what is nested below a name.
func (p params) sub(name string) params { return params{p.form, p.key(name)} }

func (p params) has(name string) bool { return p.form.Has(p.key(name)) }

// hasAny tells that there is something at or below a name.
func (p params) hasAny(name string) bool {
	if p.has(name) {
		return true
	}
	below := p.key(name) + "["
	for k := range p.form {
		if strings.HasPrefix(k, below) {
			return true
		}
	}
	return false
}

func (p params) str(name string) string { return p.form.Get(p.key(name)) }

// maxInteger and maxQuantity keep sums and products far from overflow.
const (
	maxInteger  = 1_000_000_000_000
	maxQuantity = 1_000_000
)

func (p params) integer(name string) (int64, *failure) {
	text := p.str(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxInteger || n < -maxInteger {
		return 0, invalid("parameter_invalid_integer", p.key(name), "Invalid integer: "+text)
	}
	return n, nil
}

func (p params) boolean(name string, otherwise bool) (bool, *failure) {
	switch text := p.str(name); text {
	case "":
		return otherwise, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, invalid("", p.key(name), "Invalid boolean: "+text)
	}
}

// required refuses a request that lacks one of the names.
func (p params) required(names ...string) *failure {
	for _, name := range names {
		if !p.hasAny(name) {
			return invalid("parameter_missing", p.key(name), "Missing required param: "+p.key(name)+".")
		}
		if p.has(name) && p.str(name) == "" {
			return invalid("parameter_invalid_empty", p.key(name), "You passed an empty string for '"+p.key(name)+"'. We assume empty values are an attempt to unset a parameter; however '"+p.key(name)+"' cannot be unset.")
		}
	}
	return nil
}

// metadata is old with the changes that the request asks for. An empty value
// removes a key, `metadata=` removes all.
func (p params) metadata(old map[string]string) (map[string]string, *failure) {
	const name = "metadata"
	if !p.hasAny(name) {
		if old == nil {
			old = map[string]string{}
		}
		return old, nil
	}
	m := map[string]string{}
	if !p.has(name) {
		for k, v := range old {
			m[k] = v
		}
	}
	below := p.key(name) + "["
	for _, k := range slices.Sorted(maps.Keys(p.form)) { // sorted, so that the same request fails the same way
		values := p.form[k]
		inner, ok := strings.CutPrefix(k, below)
		if !ok {
			continue
		}
		inner = strings.TrimSuffix(inner, "]")
		switch {
		case len(values) == 0 || values[0] == "":
			delete(m, inner)
		case len(inner) > 40:
			return nil, invalid("", p.key(name), "Metadata keys can be up to 40 characters long: "+inner)
		case utf8.RuneCountInString(values[0]) > 500:
			return nil, invalid("", k, "Metadata values can have up to 500 characters, but you passed in a value that is "+strconv.Itoa(utf8.RuneCountInString(values[0]))+" characters.")
		default:
			m[inner] = values[0]
		}
	}
	if len(m) > 50 {
		return nil, invalid("", p.key(name), "Metadata can have up to 50 keys.")
	}
	return m, nil
}

// each is the elements of an array, `name[0]`, `name[1]`, in order.
func (p params) each(name string) []params {
	below := p.key(name) + "["
	var at []int
	for k := range p.form {
		inner, ok := strings.CutPrefix(k, below)
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(inner, "]")
		if n, err := strconv.Atoi(digits); err == nil && !slices.Contains(at, n) {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	var list []params
	for _, n := range at {
		list = append(list, p.sub(name).sub(strconv.Itoa(n)))
	}
	return list
}

// strings is an array of plain values, `name[0]=..` or `name[]=..`.
func (p params) strings(name string) []string {
	list := slices.Clone(p.form[p.key(name)+"[]"])
	for _, e := range p.each(name) {
		list = append(list, p.form.Get(e.prefix))
	}
	return list
}

// address is the address below a name; nil if the request has none.
func (p params) address(name string) *Address {
	a := p.sub(name)
	return &Address{
		City: a.str("city"), Country: a.str("country"), Line1: a.str("line1"),
		Line2: a.str("line2"), PostalCode: a.str("postal_code"), State: a.str("state"),
	}
}

// unknown is a parameter that the endpoint does not have; "" if it has all.
func (p params) unknown(allowed map[string]bool) string {
	var found []string
	for k := range p.form {
		name, _, _ := strings.Cut(k, "[")
		if !allowed[name] {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}
