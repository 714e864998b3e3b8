package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"tollgate/server/config"
)

const example = "../../config.example.toml"

func readExample(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

func TestExampleLoads(t *testing.T) {
	c, err := config.Load(example, env())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("the example has warnings: %v", c.Warnings)
	}
	d := config.Default()
	if c.Server.MaxBody != d.Server.MaxBody || c.Server.Drain != d.Server.Drain || c.Ledger.CommitInterval != d.Ledger.CommitInterval ||
		c.Ledger.MinFree != d.Ledger.MinFree || c.Billing.Grace != d.Billing.Grace || c.Billing.EventsWindow != d.Billing.EventsWindow {
		t.Error("the example shows other values than the defaults")
	}
}

// leftOut finds settings that the example shows behind a "#".
var leftOut = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

// TestExampleNamesEveryKey keeps the example complete: each key that a file
// may have is in it, in its place, if behind a "#".
func TestExampleNamesEveryKey(t *testing.T) {
	source := leftOut.ReplaceAllString(readExample(t), "$1")
	shown := config.KeysIn(source)
	for _, key := range config.KnownKeys() {
		if !shown[key] {
			t.Errorf("config.example.toml does not show %s", key)
		}
	}
}

// TestExampleExplains holds that each section and each left-out setting of the
// example is a line that a reader can use as it is.
func TestExampleExplains(t *testing.T) {
	for i, line := range strings.Split(readExample(t), "\n") {
		if strings.HasPrefix(line, "#") && len(line) > 1 && line[1] != ' ' && !leftOut.MatchString(line) {
			t.Errorf("line %d is neither a comment nor a setting: %s", i+1, line)
		}
	}
}
