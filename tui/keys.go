package tui

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// keyMap is all keys. The footer, the help and what the keys do come from it
// alone.
type keyMap struct {
	pages                            [5]key.Binding
	next, previous, help, quit, back key.Binding
	move, jump                       key.Binding
	enter, filter, sort, turn        key.Binding
	nextPage, previousPage           key.Binding
	pause, state, records            key.Binding

	suspend, resume, plan, credits, revoke, retry, void, refund key.Binding
}

func newKeys() keyMap {
	bind := func(label, does string, keys ...string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(label, does))
	}
	k := keyMap{
		next: bind("tab", "next page", "tab"), previous: bind("shift+tab", "page before", "shift+tab"),
		help: bind("?", "help", "?"), quit: bind("q", "leave", "q", "ctrl+c"), back: bind("esc", "back", "esc"),
		move:     bind("↑ ↓", "move, also j and k", "up", "down", "j", "k"),
		jump:     bind("pgup pgdn", "a screen; home and end: all the way", "pgup", "pgdown", " ", "b", "home", "end", "g", "G"),
		enter:    bind("enter", "open", "enter"),
		filter:   bind("/", "filter", "/"),
		sort:     bind("s", "sort", "s"),
		turn:     bind("o", "turn the order", "o"),
		nextPage: bind("n", "next users", "n", "right"), previousPage: bind("N", "users before", "N", "left"),
		pause:   bind("p", "pause", "p"),
		state:   bind("s", "state of invoices", "s"),
		records: bind("t", "follow the user's records", "t"),
		suspend: bind("S", "suspend", "S"), resume: bind("R", "resume", "R"), plan: bind("P", "change plan", "P"),
		credits: bind("C", "grant credits", "C"),
		revoke:  bind("X", "revoke key", "X"), retry: bind("T", "retry invoice", "T"), void: bind("V", "void invoice", "V"),
		refund: bind("F", "refund payment", "F"),
	}
	for i, name := range pageNames {
		digit := string(rune('1' + i))
		k.pages[i] = bind(digit, name, digit)
	}
	return k
}

// writes are the keys that change something.
func (k keyMap) writes() []key.Binding {
	return []key.Binding{k.suspend, k.resume, k.plan, k.credits, k.revoke, k.retry, k.void, k.refund}
}

// pageBinding names all five pages in one.
func pageBinding() key.Binding {
	return key.NewBinding(key.WithKeys("1", "2", "3", "4", "5"), key.WithHelp("1-5", "page"))
}

// footer is as many keys as fit in one line.
func footer(st styles, w int, bindings []key.Binding) string {
	var b strings.Builder
	used := 0
	for _, one := range bindings {
		h := one.Help()
		word, _, _ := strings.Cut(h.Desc, ",")
		n := width(h.Key) + 1 + width(word)
		if used > 0 {
			n += 2
		}
		if used+n > w {
			continue
		}
		if used > 0 {
			b.WriteString("  ")
		}
		b.WriteString(st.bold.Render(h.Key) + " " + word)
		used += n
	}
	return b.String()
}

// helpLines is all keys, a group a block.
func helpLines(st styles, groups []keyGroup) []row {
	var rows []row
	for _, g := range groups {
		if len(g.keys) == 0 {
			continue
		}
		if len(rows) > 0 {
			rows = append(rows, row{})
		}
		rows = append(rows, row{text: st.title.Render(g.name)})
		for _, one := range g.keys {
			h := one.Help()
			rows = append(rows, row{text: "  " + left(h.Key, 10) + " " + h.Desc})
		}
	}
	return rows
}

type keyGroup struct {
	name string
	keys []key.Binding
}

func matches(k tea.KeyMsg, b key.Binding) bool { return key.Matches(k, b) }
