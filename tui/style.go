package tui

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// styles are the few ways in which text stands out. Colours are the first eight
// of the terminal's own palette, which people set to suit their background, light
// or dark; so the background is never asked for. Whatever has a style also has a
// word or a sign.
type styles struct {
	bold, faint, reverse lipgloss.Style
	title                lipgloss.Style
	good, bad, warn      lipgloss.Style
	bar                  lipgloss.Style
}

// newStyles are for a terminal of that profile; without colour only attributes
// such as bold are left, and with [termenv.Ascii] nothing is.
func newStyles(profile termenv.Profile, colour bool) styles {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(profile)
	r.SetHasDarkBackground(true) // known, so that nobody asks the terminal
	plain := r.NewStyle().Inline(true)
	s := styles{
		bold: plain.Bold(true), faint: plain.Faint(true), reverse: plain.Reverse(true),
		title: plain.Bold(true), good: plain, bad: plain.Bold(true), warn: plain.Bold(true), bar: plain,
	}
	if colour {
		s.title = s.title.Foreground(lipgloss.ANSIColor(6))
		s.good = s.good.Foreground(lipgloss.ANSIColor(2))
		s.bad = s.bad.Foreground(lipgloss.ANSIColor(1))
		s.warn = s.warn.Foreground(lipgloss.ANSIColor(5))
		s.bar = s.bar.Foreground(lipgloss.ANSIColor(6))
	}
	return s
}
