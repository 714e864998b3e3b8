package gateway

import (
	"fmt"
	"strconv"
	"strings"
)

// maxPath bounds how many levels a JSON Pointer may name, so that a lexer's
// state is of fixed size.
const maxPath = 16

// maxTargets bounds how many targets one lexer looks for.
const maxTargets = 64

// target is one thing to find in a JSON document: the number at a JSON Pointer
// (RFC 6901), or how many elements the array there has.
type target struct {
	pointer string
	count   bool
}

// paths is what a lexer looks for: its targets, arranged as a tree of keys so
// that any number of them are found in one pass. It is read-only once made.
type paths struct {
	root    *node
	targets []target
	longest int // bytes of the longest key named
}

// node is a value that lies on the way to a target, or is one.
type node struct {
	children []child
	numbers  []int // targets that are the number here
	counts   []int // targets that are the length of the array here
	below    []int // all targets here and deeper
}

type child struct {
	key   string
	index int64 // the key as an array index, or -1
	*node
}

func newPaths(targets []target) (*paths, error) {
	if len(targets) > maxTargets {
		return nil, fmt.Errorf("%d quantities are read from one body; at most %d can be", len(targets), maxTargets)
	}
	p := &paths{root: &node{}, targets: targets}
	for i, t := range targets {
		keys, err := pointerKeys(t.pointer)
		if err != nil {
			return nil, err
		}
		at := p.root
		at.below = append(at.below, i)
		for _, key := range keys {
			p.longest = max(p.longest, len(key))
			at = at.child(key)
			at.below = append(at.below, i)
		}
		if t.count {
			at.counts = append(at.counts, i)
		} else {
			at.numbers = append(at.numbers, i)
		}
	}
	return p, nil
}

func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key == key {
			return c.node
		}
	}
	c := child{key: key, index: -1, node: &node{}}
	if i, err := strconv.ParseInt(key, 10, 64); err == nil && strconv.FormatInt(i, 10) == key {
		c.index = i
	}
	n.children = append(n.children, c)
	return c.node
}

// pointerKeys splits a JSON Pointer into its unescaped keys; "" is the whole document.
func pointerKeys(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, fmt.Errorf("JSON Pointer %q does not start with \"/\"", pointer)
	}
	keys := strings.Split(pointer[1:], "/")
	if len(keys) > maxPath {
		return nil, fmt.Errorf("JSON Pointer %q has more than %d levels", pointer, maxPath)
	}
	for i, key := range keys {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(key), "~") {
			return nil, fmt.Errorf("JSON Pointer %q: \"~\" is written ~0, and \"/\" in a key ~1", pointer)
		}
		keys[i] = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
	}
	return keys, nil
}
