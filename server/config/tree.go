package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// kind is what a node of the file is.
type kind uint8

const (
	scalar kind = iota
	tableKind
	arrayKind
)

// node is one value of the file with the place where its key stands: a
// scalar, a table or an array.
type node struct {
	parent       *node
	key          string // in its table; "" for the root and for items of an array
	line, column int    // from 1
	style        style
	kind         kind
	value        any              // scalar: string, bool, int64, float64 or time.Time
	text         string           // scalar that is not a string: as written
	keys         []string         // table: in the order of the file
	fields       map[string]*node // table
	items        []*node          // array
}

// child is the field of a table, made at a position if it is not there yet.
func (n *node) child(key string, line, column int) *node {
	if c := n.fields[key]; c != nil {
		return c
	}
	if n.fields == nil {
		n.fields = make(map[string]*node)
	}
	c := &node{parent: n, key: key, line: line, column: column}
	n.fields[key] = c
	n.keys = append(n.keys, key)
	return c
}

// within goes down tables, made where they are missing; of an array of tables
// it takes the last, which is the one that is being written.
func (n *node) within(keys []string, line, column int) *node {
	for _, key := range keys {
		n = n.child(key, line, column)
		if len(n.items) > 0 {
			n = n.items[len(n.items)-1]
		}
	}
	return n
}

func (n *node) item(line, column int, how style) *node {
	c := &node{parent: n, line: line, column: column, style: how}
	n.items = append(n.items, c)
	return c
}

// get is the node at a path below n, or the nearest one above it that exists:
// what is missing is told at the place where it would stand.
func (n *node) get(path ...string) *node {
	for _, key := range path {
		c := n.fields[key]
		if c == nil {
			return n
		}
		n = c
	}
	return n
}

// has tells whether a table has a key.
func (n *node) has(key string) bool { return n.fields[key] != nil }

// path is the dotted name of a node, without the places in arrays.
func (n *node) path() string {
	var keys []string
	for ; n != nil; n = n.parent {
		if n.key != "" {
			keys = append(keys, n.key)
		}
	}
	slices.Reverse(keys)
	return strings.Join(keys, ".")
}

// place names a table for people: [server], [[route]], or "drain of [[route]]".
func (n *node) place() string {
	switch {
	case n.parent == nil:
		return "the file"
	case n.style == tableHeader:
		return "[" + n.path() + "]"
	case n.style == arrayHeader:
		return "[[" + n.path() + "]]"
	case n.key == "":
		return n.parent.place()
	case n.parent.parent == nil:
		return "[" + n.key + "]"
	}
	return n.key + " of " + n.parent.place()
}

// fill joins the values that the library read with the positions that the
// scanner found. A value without a position takes that of what holds it.
func (n *node) fill(value any) {
	switch value := value.(type) {
	case map[string]any:
		n.kind = tableKind
		n.keys = slices.DeleteFunc(n.keys, func(key string) bool {
			_, ok := value[key]
			return !ok
		})
		missed := make([]string, 0, len(value))
		for key := range value {
			if n.fields[key] == nil {
				missed = append(missed, key)
			}
		}
		slices.Sort(missed)
		for _, key := range missed {
			n.child(key, n.line, n.column)
		}
		for key, v := range value {
			n.fields[key].fill(v)
		}
	case []map[string]any:
		items := make([]any, len(value))
		for i := range value {
			items[i] = value[i]
		}
		n.fill(items)
	case []any:
		n.kind = arrayKind
		for i, v := range value {
			if i == len(n.items) {
				n.item(n.line, n.column, inline)
			}
			n.items[i].fill(v)
		}
		n.items = n.items[:len(value)]
	default:
		n.value = value
	}
}

// parseTree reads a TOML source into a tree of nodes.
func parseTree(src string) (*node, *Problem) {
	src = strings.TrimPrefix(src, "\ufeff")
	if !utf8.ValidString(src) {
		valid := strings.ToValidUTF8(src, "\x00")
		return nil, &Problem{Line: 1 + strings.Count(src[:strings.IndexByte(valid, 0)], "\n"), Message: "the file is not UTF-8 text"}
	}
	root, err := scan(src)
	if at, ok := err.(tooDeep); ok {
		return nil, &Problem{Line: int(at), Message: at.Error()}
	}
	var values map[string]any
	if err := decode(src, &values); err != nil {
		var at toml.ParseError
		if !errors.As(err, &at) {
			return nil, &Problem{Message: err.Error()}
		}
		return nil, &Problem{Line: at.Position.Line, Column: at.Position.Col, Message: syntaxMessage(at)}
	}
	root.fill(values)
	return root, nil
}

// syntaxMessage is the library's message, in the manner of the others.
func syntaxMessage(e toml.ParseError) string {
	message := strings.TrimSuffix(e.Message, ".")
	if key, ok := strings.CutPrefix(message, "Key '"); ok {
		if key, ok := strings.CutSuffix(key, "' has already been defined"); ok {
			return fmt.Sprintf("%q is given twice", key)
		}
	}
	return message
}
