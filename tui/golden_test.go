package tui_test

import (
	"flag"
	"testing"
	"testing/synctest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// walks lead to each page.
var walks = []struct {
	name string
	keys []string
}{
	{"overview", []string{"1"}},
	{"users", []string{"2"}},
	{"user", []string{"2", "enter"}},
	{"records", []string{"4"}},
	{"billing", []string{"5"}},
}

func TestPages(t *testing.T) {
	for _, server := range []struct {
		name  string
		make  func() *fake
		sizes []dimension
	}{{"busy", busy, sizes}, {"empty", empty, sizes[1:2]}, {"prepaid", prepaid, sizes}, {"odd", odd, sizes}} {
		for _, walk := range walks {
			if server.name == "prepaid" && walk.name != "user" {
				continue // as the busy one
			}
			for _, size := range server.sizes {
				name := server.name + "-" + walk.name + "-" + size.String()
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := begin(t, server.make(), atRest, size.w, size.h)
						keys := walk.keys
						if walk.name == "user" && server.name == "empty" {
							c.keys("3", "/")
							c.types("ann@example.com")
							keys = []string{"enter"}
						}
						c.keys(keys...)
						golden(t, name, c.view(size.w, size.h))
					})
				})
			}
		}
	}
}

// TestOverlays is what lies over a page: the help, something in full, a line
// that is typed, a dialog where there is hardly room.
func TestOverlays(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		size       dimension
	}{
		{"help-users-60x20", "2 ?", dimension{60, 20}},
		{"help-billing-80x24", "5 ?", dimension{80, 24}},
		{"record-60x20", "4 enter", dimension{60, 20}},
		{"invoice-60x20", "5 down down down enter", dimension{60, 20}},
		{"failure-80x24", "5 enter", dimension{80, 24}},
		{"payment-80x24", "5 down enter", dimension{80, 24}},
		{"key-80x24", "2 enter enter", dimension{80, 24}},
		{"typing-60x20", "2 / 'ann@example.com'", dimension{60, 20}},
		{"hint-60x20", "4 /", dimension{60, 20}},
		{"dialog-60x20", "2 P 'pro' enter 'user01'", dimension{60, 20}},
		{"dialog-24x8", "2 S 'user01@example.com'", dimension{24, 8}},
		{"page-24x8", "2", dimension{24, 8}},
		{"nobody-60x20", "3 / '99' enter", dimension{60, 20}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			o := atRest
			o.Write = true
			s := begin(t, busy(), o, c.size.w, c.size.h)
			s.script(c.keys)
			golden(t, "over-"+c.name, s.view(c.size.w, c.size.h))
		})
	}
}
