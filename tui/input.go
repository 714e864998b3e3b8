package tui

import (
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// longest is how much can be typed: an e-mail address has at most 254 bytes.
const longest = 256

// input is a line that is typed. Its cursor is always at the end.
type input struct{ text string }

// key takes what was typed or pasted; it tells whether the key was one for it.
func (i *input) key(k tea.KeyMsg) bool {
	switch k.String() {
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(i.text)
		i.text = i.text[:len(i.text)-n]
		return true
	case "ctrl+w":
		i.text = strings.TrimRight(i.text, " ")
		i.text = i.text[:strings.LastIndexByte(i.text, ' ')+1]
		return true
	case "ctrl+u":
		i.text = ""
		return true
	}
	if k.Type != tea.KeyRunes && k.Type != tea.KeySpace || k.Alt {
		return false
	}
	if typed := api.Clean(string(k.Runes)); len(i.text)+len(typed) <= longest {
		i.text += typed
	}
	return true
}

// view is the line with its cursor; of a long one the end is seen.
func (i *input) view(st styles, w int) string {
	text := i.text
	for width(text) > max(w-1, 0) && text != "" {
		_, n := utf8.DecodeRuneInString(text)
		text = text[n:]
	}
	if st.reverse.Render("x") == "x" {
		return text + "_" // nothing stands out on this terminal
	}
	return text + st.reverse.Render(" ")
}
