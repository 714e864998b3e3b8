package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// positions lists each node of a source as path@line:column.
func positions(n *node) []string {
	var list []string
	if n.parent != nil && n.key != "" {
		list = append(list, fmt.Sprintf("%s@%d:%d", n.path(), n.line, n.column))
	}
	for _, key := range n.keys {
		list = append(list, positions(n.fields[key])...)
	}
	for i, item := range n.items {
		list = append(list, fmt.Sprintf("%s[%d]@%d:%d", n.path(), i, item.line, item.column))
		list = append(list, positions(item)...)
	}
	return list
}

func TestScanFindsPositions(t *testing.T) {
	source := `a = 1 # [not.a.table]
 "quoted key" = """text
b = 2 is text
\""" """
'lit' = '''
x''''
[t.u]
"\u00e9"   .  y = [ 1, # one
  [2, 3],
]

[[list]]
k = { in = 1, two.deep = "x", }
[[list]]
[list.sub]
z = 2025-01-01 10:00:00
[t]
w = false`
	root, err := scan(source)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a@1:1", "quoted key@2:2", "lit@5:1",
		"t@17:1", "t.u@7:1", "t.u.é@8:1", "t.u.é.y@8:1", "t.u.é.y[0]@8:21", "t.u.é.y[1]@9:3", "t.u.é.y[0]@9:4", "t.u.é.y[1]@9:7", "t.w@18:1",
		"list@12:1", "list[0]@12:1", "list.k@13:1", "list.k.in@13:7", "list.k.two@13:15", "list.k.two.deep@13:15",
		"list[1]@14:1", "list.sub@15:1", "list.sub.z@16:1",
	}
	if diff := cmp.Diff(want, positions(root)); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	if z := root.get("list").items[1].get("sub", "z"); z.text != "2025-01-01 10:00:00" {
		t.Errorf("text of a date: got %q", z.text)
	}
}

// shape describes the keys of values, without the values.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var fields []string
		for key, value := range v {
			fields = append(fields, fmt.Sprintf("%q:%s", key, shape(value)))
		}
		sort.Strings(fields)
		return "{" + strings.Join(fields, " ") + "}"
	case []map[string]any, []any:
		list := reflect.ValueOf(v)
		var items []string
		for i := range list.Len() {
			items = append(items, shape(list.Index(i).Interface()))
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	return "."
}

func (n *node) shape() string {
	switch {
	case n.fields != nil:
		var fields []string
		for key, child := range n.fields {
			fields = append(fields, fmt.Sprintf("%q:%s", key, child.shape()))
		}
		sort.Strings(fields)
		return "{" + strings.Join(fields, " ") + "}"
	case n.items != nil:
		var items []string
		for _, item := range n.items {
			items = append(items, item.shape())
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	return "."
}

// emptyShapes makes what only values tell, an empty table or list, a scalar.
var emptyShapes = strings.NewReplacer("{}", ".", "[]", ".")

// FuzzScan holds that whatever the TOML library accepts, the scanner finds
// every key of it, and that the scanner survives everything else.
func FuzzScan(f *testing.F) {
	files, _ := filepath.Glob("testdata/broken/*.toml")
	for _, file := range append(files, "testdata/contract.toml", "../../config.example.toml") {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
	}
	f.Add("a.\"b\\u0063\" . 'd' = { x = [ { y = 1 }, {} ], }\n[[a.l]]\n[a.l.m]\n[[a.l.n]]\nk=1\n[[a.l]]\n[a.l.m]\n")
	f.Add("x = \"\"\"\"quoted\"\"\"\"\"\r\ny = ''''a'''''\r\n")
	f.Fuzz(func(t *testing.T, source string) {
		source = strings.TrimPrefix(source, "\ufeff")
		if _, bad := parseTree(source); bad != nil {
			return
		}
		root, err := scan(source)
		if err != nil {
			t.Fatalf("the scanner refuses what the library accepts: %v", err)
		}
		var values map[string]any
		if err := decode(source, &values); err != nil {
			t.Fatal(err)
		}
		if want, got := emptyShapes.Replace(shape(values)), emptyShapes.Replace(root.shape()); want != got {
			t.Errorf("the library reads %s\nthe scanner     %s", want, got)
		}
		for _, p := range positions(root) {
			if strings.HasSuffix(p, "@0:0") {
				t.Errorf("%s has no position", p)
			}
		}
	})
}
