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
	}{{"busy", busy, sizes}, {"empty", empty, sizes[1:2]}, {"odd", odd, sizes}} {
		for _, walk := range walks {
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
