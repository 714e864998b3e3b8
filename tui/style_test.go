package tui_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"
)

var colour = regexp.MustCompile(`\x1b\[([0-9]+;)*(3[0-9]|4[0-9]|9[0-7]|10[0-7])[;m]`)

// TestNothingByColourAlone: without colours and attributes the same words and
// signs are there, and NO_COLOR leaves no colour.
func TestNothingByColourAlone(t *testing.T) {
	for _, walk := range walks {
		bubble(t, walk.name, func(t *testing.T) {
			var views []string
			for _, look := range []struct {
				profile termenv.Profile
				colour  bool
			}{{termenv.Ascii, true}, {termenv.ANSI, true}, {termenv.ANSI, false}} {
				o := atRest
				o.Profile, o.Colour = look.profile, look.colour
				s := begin(t, odd(), o, 80, 24)
				s.keys(walk.keys...)
				text := s.view(80, 24)
				if coloured := colour.MatchString(text); coloured != (look.profile == termenv.ANSI && look.colour) {
					t.Errorf("%+v: coloured %t", look, coloured)
				}
				if dressed := strings.Contains(text, "\x1b["); dressed != (look.profile == termenv.ANSI) {
					t.Errorf("%+v: dressed %t", look, dressed)
				}
				var lines []string
				for l := range strings.SplitSeq(ansi.Strip(text), "\n") {
					lines = append(lines, strings.TrimRight(l, " "))
				}
				views = append(views, strings.Join(lines, "\n"))
			}
			for _, v := range views[1:] {
				if diff := cmp.Diff(views[0], v); diff != "" {
					t.Errorf("the words differ: %s", diff)
				}
			}
		})
	}
}
