package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/server/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// env is a getenv of the given names and values.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// TestBrokenFiles compares all that is said of broken files with what stands
// beside them.
func TestBrokenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no broken files: %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".toml")
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Parse(name+".toml", source, env("SET", "value"))
			var wrong *config.Error
			if !errors.As(err, &wrong) {
				t.Fatalf("got error %v, want a *config.Error", err)
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "hidden") {
				t.Errorf("a secret is repeated in:\n%s", got)
			}
			if !slices.IsSortedFunc(wrong.Problems, func(a, b config.Problem) int { return a.Line - b.Line }) {
				t.Error("the problems are not sorted by line")
			}
			golden := strings.TrimSuffix(path, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages differ (-want +got); -update writes them anew:\n%s", diff)
			}
		})
	}
}
