package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// dialog says what an act will do and waits until what it concerns was typed.
// Enter with anything else does nothing.
type dialog struct {
	title string
	text  []string // what will happen; wrapped
	more  []string // a table under it
	what  string   // is to be typed
	want  string   // exactly this

	do  func(ctx context.Context) (string, error)
	ask func(ctx context.Context, typed string) previewMsg // instead of do: a question first

	typed input
	busy  bool
	wrong string // the answer to the last question, when it was refused
}

func (m *model) dialogKey(k tea.KeyMsg) tea.Cmd {
	d := m.dialog
	switch {
	case d.busy && d.do != nil:
		return nil // the outcome comes; it cannot be taken back
	case k.String() == "esc":
		m.dialog = nil
	case d.busy:
		return nil
	case k.String() == "enter":
		return m.confirm(d)
	default:
		d.typed.key(k)
	}
	return nil
}

// confirm is the command of a dialog whose word was typed.
func (m *model) confirm(d *dialog) tea.Cmd {
	typed := strings.TrimSpace(d.typed.text)
	ctx := m.ctx
	switch {
	case d.ask != nil && typed != "":
		d.busy, d.wrong = true, ""
		return func() tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, actTime)
			defer cancel()
			answer := d.ask(ctx, typed)
			answer.of = d
			return answer
		}
	case d.do != nil && typed == api.Clean(d.want):
		d.busy = true
		return func() tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, actTime)
			defer cancel()
			text, err := d.do(ctx)
			return doneMsg{text, err}
		}
	}
	return nil
}

func (d *dialog) body(s *shared, w, h int) []string {
	lines := []string{s.st.title.Render(fit(api.Clean(d.title), w))}
	for _, t := range d.text {
		lines = append(lines, wrap(api.Clean(t), w)...)
	}
	if len(d.more) > 0 {
		lines = append(lines, "")
		for _, l := range d.more {
			lines = append(lines, api.Clean(l))
		}
	}
	ask := "Type " + d.what + ":"
	if d.want != "" {
		ask = "Type " + d.what + ", " + api.Clean(d.want) + ", and enter:"
	}
	last := wrap(ask, w)
	last = append(last, "> "+d.typed.view(s.st, w-2))
	if d.wrong != "" {
		last = append(last, wrap(s.st.bad.Render("FAILED: "+api.Clean(d.wrong)), w)...)
	}
	if d.busy {
		last = append(last, "working...")
	}
	if room := h - len(last) - 1; len(lines) > room {
		lines = lines[:max(0, room)]
	}
	lines = append(append(lines, ""), last...)
	return lines[max(0, len(lines)-max(0, h)):] // what is typed is always seen
}
