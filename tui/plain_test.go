package tui_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/muesli/termenv"

	"tollgate/server/api"
	"tollgate/tui"
)

func TestPlain(t *testing.T) {
	for name, server := range map[string]*fake{"busy": busy(), "empty": empty(), "odd": odd()} {
		bubble(t, name, func(t *testing.T) {
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
}

// rated is a server that rates the month only after a second.
type rated struct{ *fake }

func (r rated) WatchOverview(ctx context.Context, each func(api.Overview) error) error {
	unrated := r.overview
	unrated.Month.Charges = nil
	if err := each(unrated); err != nil {
		return err
	}
	<-time.After(time.Second)
	return each(r.overview)
}

// TestLookWaitsForCharges: a moment, not for ever.
func TestLookWaitsForCharges(t *testing.T) {
	bubble(t, "they come", func(t *testing.T) {
		start := time.Now()
		got, err := tui.Look(t.Context(), rated{busy()})
		if took := time.Since(start); err != nil || got.Month.Charges == nil || took != time.Second {
			t.Errorf("got %v, %v after %v", got.Month.Charges, err, took)
		}
	})
	bubble(t, "they do not", func(t *testing.T) {
		f := busy()
		f.overview.Month.Charges = nil
		start := time.Now()
		got, err := tui.Look(t.Context(), f)
		if err != nil || got.At.IsZero() || time.Since(start) > 3*time.Second {
			t.Errorf("got %v, %v after %v", got.At, err, time.Since(start))
		}
	})
	bubble(t, "interrupted", func(t *testing.T) {
		f := busy()
		f.overview.Month.Charges = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tui.Look(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
