package config

import (
	"reflect"
	"slices"
	"testing"
)

// KnownKeys lists the dotted path of every key that a file may have, without
// the names that the user gives (of meters and headers).
func KnownKeys() []string { return knownKeys(reflect.TypeFor[file](), "") }

func knownKeys(t reflect.Type, above string) []string {
	var list []string
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, s := range settings(t) {
		path := s.name
		if above != "" {
			path = above + "." + s.name
		}
		list = append(list, path)
		if f := t.Field(s.index).Type; f != reflect.TypeFor[map[string]*sourceFile]() {
			list = append(list, knownKeys(f, path)...)
		}
	}
	return list
}

// KeysIn lists the dotted paths of the keys in a source. The same key may stand
// there more than once. What documents can say, tokens and a meter can.
func KeysIn(source string) map[string]bool {
	root, err := scan(source)
	if err != nil {
		panic(err)
	}
	keys := make(map[string]bool)
	var visit func(n *node)
	visit = func(n *node) {
		keys[n.path()] = true
		for _, child := range n.fields {
			visit(child)
		}
		for _, item := range n.items {
			visit(item)
		}
	}
	visit(root)
	for _, word := range settingNames(settings(reflect.TypeFor[sourceFile]())) {
		for key := range keys {
			if match := slices.Contains([]string{"route.meters.pages." + word, "route.meters.traffic." + word, "route.meters.jobs." + word, "route.documents." + word, "route.tokens." + word}, key); match {
				keys["route.documents."+word], keys["route.tokens."+word] = true, true
				break
			}
		}
	}
	return keys
}

func TestKnownKeysAreFound(t *testing.T) {
	known := KnownKeys()
	for _, key := range []string{"server.tls.mode", "billing.tax.percent", "route.documents.request", "plan.price.tiers.up_to", "credit_pack.id"} {
		if !slices.Contains(known, key) {
			t.Errorf("%s is not among the known keys %v", key, known)
		}
	}
}

// TestKeysHaveOneSpelling keeps the keys to small letters and underscores.
func TestKeysHaveOneSpelling(t *testing.T) {
	for _, key := range KnownKeys() {
		for _, c := range key {
			if (c < 'a' || c > 'z') && c != '_' && c != '.' {
				t.Errorf("%s has %q in it", key, c)
			}
		}
	}
}
