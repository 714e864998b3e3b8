package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tomlReader is a type with its own way to be read from the file. The error is
// the end of a sentence that begins with the key.
type tomlReader interface {
	readTOML(n *node) error
}

// decoder reads a tree of nodes into the structs of the settings, by their
// `toml` tags, and gathers what is wrong. It goes on after a problem; the
// setting then keeps its default.
//
// Tags: `toml:"name"`; `oneof:"a,b"` for the words that a string may be;
// `least:"n"` for the smallest number or duration.
type decoder struct {
	file     string
	problems []Problem // maxProblems at most
	more     int       // problems beyond
	warnings []Problem
	failed   map[*node]bool // nodes with a problem, and all above them
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, failed: make(map[*node]bool)}
}

// maxProblems is how many problems are told. A file with more is another kind
// of file.
const maxProblems = 100

// problem notes what is wrong at a node.
func (d *decoder) problem(n *node, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{File: d.file, Line: n.line, Message: fmt.Sprintf(format, args...)})
	} else {
		d.more++
	}
	for ; n != nil; n = n.parent {
		d.failed[n] = true
	}
}

// wrong is a problem of a key's value: the key, its place, and a sentence's end.
func (d *decoder) wrong(n *node, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if !strings.HasPrefix(what, ":") {
		what = " " + what
	}
	holder, key := n.parent, n.key
	for holder != nil && key == "" {
		holder, key = holder.parent, holder.key
	}
	if holder == nil || holder.parent == nil {
		d.problem(n, "%s%s", n.place(), what)
		return
	}
	d.problem(n, "%s in %s%s", key, holder.place(), what)
}

func (d *decoder) warn(n *node, format string, args ...any) {
	d.warnings = append(d.warnings, Problem{File: d.file, Line: n.line, Message: fmt.Sprintf(format, args...)})
}

// err is what is wrong with the file, or nil.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	list := sortProblems(d.problems)
	if d.more > 0 {
		list = append(list, Problem{File: d.file, Message: fmt.Sprintf("and %d problems more", d.more)})
	}
	return &Error{Problems: list}
}

// setting is one field of a struct of settings.
type setting struct {
	name  string
	index int
	tag   reflect.StructTag
}

// settings lists the fields of a struct that a file can set, in order.
// Embedded structs count as part of it.
func settings(t reflect.Type) []setting {
	var list []setting
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("toml"); name != "" {
			list = append(list, setting{name: name, index: i, tag: f.Tag})
		}
	}
	return list
}

func settingNames(list []setting) []string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.name
	}
	return names
}

var nodeType = reflect.TypeFor[*node]()

// table reads a table into a struct. A field of type *node is given the table
// itself, for checks that need its lines later.
func (d *decoder) table(n *node, v reflect.Value) {
	t := v.Type()
	known := settings(t)
	for i := range t.NumField() {
		if t.Field(i).Type == nodeType {
			v.Field(i).Set(reflect.ValueOf(n))
		}
	}
	for _, key := range n.keys {
		child := n.fields[key]
		i := slices.IndexFunc(known, func(s setting) bool { return s.name == key })
		if i < 0 {
			d.unknownKey(child, settingNames(known))
			continue
		}
		d.value(child, v.Field(known[i].index), known[i].tag)
	}
}

// unknownKey names the nearest valid key, or where else the key belongs.
func (d *decoder) unknownKey(n *node, known []string) {
	if len(d.problems) == maxProblems { // told no more; save the search for what was meant
		d.problem(n, "")
		return
	}
	if name, ok := secretKeys[n.path()]; ok {
		d.problem(n, "%s in %s: a secret does not belong in this file; set %s in the environment, or name a file that holds it with %s",
			n.key, n.parent.place(), name, secretFileKeys[name])
		return
	}
	if n.parent.parent == nil && n.kind != scalar {
		d.problem(n, "unknown section %s%s", n.place(), meantSection(n.key))
		return
	}
	where := "in " + n.parent.place()
	near := nearest(n.key, known)
	if n.parent.parent == nil {
		where, near = "before any section", ""
	}
	if near == "" {
		if key, home := homeOf(n.key); home != "" && key == n.key {
			d.problem(n, "unknown key %q %s; it belongs in %s", n.key, where, home)
			return
		} else if home != "" && n.parent.parent == nil {
			d.problem(n, "unknown key %q %s; did you mean %q in %s?", n.key, where, key, home)
			return
		}
	}
	if n.parent.path() == "route" && slices.ContainsFunc(sourceWords, n.has) {
		d.problem(n, "unknown key %q %s; a meter of your own stands in meters = { %s = { ... } }", n.key, where, n.key)
		return
	}
	d.problem(n, "unknown key %q %s%s", n.key, where, meant(n.key, known))
}

func meantSection(key string) string {
	top := settings(reflect.TypeFor[file]())
	names := settingNames(top)
	if near := nearest(key, names); near != "" {
		return "; did you mean " + sectionPlace(top[slices.Index(names, near)]) + "?"
	}
	places := make([]string, len(top))
	for i, s := range top {
		places[i] = sectionPlace(s)
	}
	return "; known: " + strings.Join(places, ", ")
}

func sectionPlace(s setting) string {
	if reflect.TypeFor[file]().Field(s.index).Type.Kind() == reflect.Slice {
		return "[[" + s.name + "]]"
	}
	return "[" + s.name + "]"
}

// homeOf finds the one section that has a key, or one that is nearly written
// so; home is "" where there is none, or several.
func homeOf(word string) (key, home string) {
	homes := make(map[string]string) // key to its section; "": several
	for _, section := range settings(reflect.TypeFor[file]()) {
		t := reflect.TypeFor[file]().Field(section.index).Type
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		for _, s := range settings(t) {
			if _, several := homes[s.name]; several {
				homes[s.name] = ""
			} else {
				homes[s.name] = sectionPlace(section)
			}
		}
	}
	if _, exact := homes[word]; exact {
		return word, homes[word]
	}
	key = nearest(word, slices.Sorted(maps.Keys(homes)))
	return key, homes[key]
}

// value reads a node into a field and tells whether that went well.
func (d *decoder) value(n *node, v reflect.Value, tag reflect.StructTag) bool {
	target := v.Addr().Interface()
	known, err := readStandard(n, target)
	if reader, ok := target.(tomlReader); ok {
		known, err = true, reader.readTOML(n)
	}
	if err != nil {
		d.wrong(n, "%v", err)
		return false
	}
	if known {
		return d.least(n, v, tag)
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		ok := d.value(n, fresh.Elem(), tag)
		if ok {
			v.Set(fresh)
		}
		return ok
	case reflect.Struct:
		return d.structure(n, v)
	case reflect.Map:
		return d.mapping(n, v, tag)
	case reflect.Slice:
		return d.list(n, v, tag)
	}
	if err := readScalar(n, v); err != nil {
		d.wrong(n, "%v", err)
		return false
	}
	if words := tag.Get("oneof"); words != "" {
		list := strings.Split(words, ",")
		if !slices.Contains(list, v.String()) {
			d.wrong(n, "must be %s, not %q", alternatives(list), v.String())
			return false
		}
	}
	return d.least(n, v, tag)
}

func (d *decoder) structure(n *node, v reflect.Value) bool {
	switch {
	case n.kind == arrayKind && n.style == arrayHeader:
		d.problem(n, "%s: there is only one; write [%s]", n.place(), n.path())
		return false
	case n.kind != tableKind:
		d.wrong(n, "must be a table such as { %s = ... }, not %s", settings(v.Type())[0].name, n.describe())
		return false
	}
	d.table(n, v)
	return !d.failed[n]
}

func (d *decoder) mapping(n *node, v reflect.Value, tag reflect.StructTag) bool {
	if n.kind != tableKind {
		d.wrong(n, "must be a table such as { calls = ... }, not %s", n.describe())
		return false
	}
	fresh := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	ok := true
	for _, key := range n.keys {
		item := reflect.New(v.Type().Elem()).Elem()
		if d.value(n.fields[key], item, tag) {
			fresh.SetMapIndex(reflect.ValueOf(key), item)
		} else {
			ok = false
		}
	}
	v.Set(fresh)
	return ok
}

func (d *decoder) list(n *node, v reflect.Value, tag reflect.StructTag) bool {
	if n.kind != arrayKind {
		if elem := v.Type().Elem(); elem.Kind() == reflect.Struct && len(settings(elem)) > 0 {
			d.problem(n, "%s: there can be several; write [[%s]]", n.path(), n.path())
		} else {
			d.wrong(n, "must be a list in [ ], not %s", n.describe())
		}
		return false
	}
	fresh := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	ok := true
	for i, item := range n.items {
		ok = d.value(item, fresh.Index(i), tag) && ok
	}
	v.Set(fresh)
	return ok
}

// least checks the `least` tag.
func (d *decoder) least(n *node, v reflect.Value, tag reflect.StructTag) bool {
	bound := tag.Get("least")
	if bound == "" || !v.CanInt() {
		return true
	}
	lowest, shown := int64(0), bound
	if duration, err := time.ParseDuration(bound); err == nil {
		lowest = int64(duration)
	} else {
		lowest, _ = strconv.ParseInt(bound, 10, 64)
	}
	if v.Int() < lowest {
		d.wrong(n, "must be at least %s", shown)
		return false
	}
	return true
}

// readScalar reads a string, bool or integer.
func readScalar(n *node, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		s, err := n.str()
		if err != nil {
			return err
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := n.value.(bool)
		if !ok {
			return fmt.Errorf("must be true or false, not %s", n.describe())
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, ok := n.value.(int64)
		if !ok {
			return fmt.Errorf("must be a whole number, not %s", n.describe())
		}
		v.SetInt(i)
	default:
		return fmt.Errorf("cannot be read into %v", v.Type())
	}
	return nil
}

// str is the node's string, or an error that says what it is instead.
func (n *node) str() (string, error) {
	s, ok := n.value.(string)
	if !ok {
		return "", fmt.Errorf("must be a string in quotes, not %s", n.describe())
	}
	return s, nil
}

// describe says what a node is, for messages about a wrong type. It does not
// repeat strings, which might be secrets.
func (n *node) describe() string {
	switch n.kind {
	case tableKind:
		return "a table"
	case arrayKind:
		return "a list"
	}
	switch n.value.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64, float64:
		return "the number " + n.text
	case time.Time:
		return "the date " + n.text
	}
	return "nothing"
}
