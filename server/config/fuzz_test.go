package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/server/config"
)

// FuzzParse holds that no file makes Parse panic, and that each problem names
// the file and a line that the file has.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/broken/*.toml")
	for _, file := range append(files, "testdata/contract.toml", "testdata/summary.toml", example) {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		c, err := config.Parse("f.toml", source, env("A", "a"))
		if err == nil {
			if s := c.Summary(); s.Listen == "" || c.Plan(c.Billing.DefaultPlan) == nil {
				t.Errorf("an accepted file gives %+v", s)
			}
			return
		}
		var wrong *config.Error
		if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
			t.Fatalf("got error %v", err)
		}
		lines := strings.Count(string(source), "\n") + 1
		for _, p := range wrong.Problems {
			if p.File != "f.toml" || p.Line < 0 || p.Line > lines || p.Message == "" {
				t.Errorf("problem %#v in a file of %d lines", p, lines)
			}
		}
	})
}

func FuzzStatusSet(f *testing.F) {
	for _, s := range []string{"2xx,3xx", "200,404", "1xx,2xx,3xx,4xx,5xx", "", "2xx,", "600", "0xx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := config.ParseStatusSet(s)
		if err != nil {
			return
		}
		again, err := config.ParseStatusSet(set.String())
		if err != nil || again != set {
			t.Errorf("%q is %q, which reads as %q, %v", s, set, again, err)
		}
		for _, code := range []int{-1, 0, 99, 600, 1 << 40} {
			if set.Contains(code) {
				t.Errorf("%q contains %d", s, code)
			}
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"32MiB", "1TiB", "8388607TiB", "8388608TiB", "1KB", "0B", "-1B", "1.5GiB", "1 MiB", "MiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := config.ParseSize(s)
		if err != nil {
			return
		}
		if again, err := config.ParseSize(size.String()); size < 0 || err != nil || again != size {
			t.Errorf("%q is %d, written %q, which reads as %d, %v", s, int64(size), size, int64(again), err)
		}
	})
}
