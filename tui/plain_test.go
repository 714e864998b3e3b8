package tui_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/muesli/termenv"

	"tollgate/tui"
)

func TestPlain(t *testing.T) {
	for name, server := range map[string]*fake{"busy": busy(), "empty": empty(), "odd": odd()} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tui.Plain(t.Context(), server, tui.Options{Currency: "usd", Digits: 2, Profile: termenv.TrueColor, Colour: true}, &out); err != nil {
				t.Fatal(err)
			}
			golden(t, "plain-"+name, strings.TrimSuffix(out.String(), "\n"))
			for line := range strings.Lines(out.String()) {
				for _, r := range strings.TrimSuffix(line, "\n") {
					if unicode.IsControl(r) || r >= '▁' && r <= '░' {
						t.Errorf("%q has %q", line, r)
					}
				}
			}
		})
	}
}

func TestPlainFails(t *testing.T) {
	f := busy()
	f.fail(errGone)
	if err := tui.Plain(t.Context(), f, atRest, os.Stderr); !errors.Is(err, errGone) {
		t.Errorf("got %v, want %v", err, errGone)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tui.First(ctx, busy().WatchOverview); err != nil {
		t.Errorf("what was sent at once is lost: %v", err)
	}
}
