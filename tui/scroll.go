package tui

import tea "github.com/charmbracelet/bubbletea"

// row is a line of a page. What can be chosen has an id, which keeps the choice
// on the same thing when the rows around it move.
type row struct {
	text string
	id   string
	item any
}

// scroll shows rows in a window, with one chosen where there is something to
// choose.
type scroll struct {
	rows   []row
	id     string // of the chosen row
	at     int    // its index; -1: there is none
	top    int
	height int  // of the window at the last look
	moved  bool // by a person; until then the first that can be chosen is
}

// set replaces the rows. The choice stays on its id, else near where it was.
func (s *scroll) set(rows []row) {
	s.rows = rows
	if !s.moved {
		s.choose(0, 1)
		return
	}
	for i, r := range rows {
		if r.id != "" && r.id == s.id {
			s.top += i - s.at // the window moves along
			s.at = i
			return
		}
	}
	s.choose(min(max(s.at, 0), len(rows)-1), 1)
}

// choose puts the choice on row i, or the next one that can be chosen in that
// direction, or else the other way.
func (s *scroll) choose(i, direction int) {
	for _, step := range []int{direction, -direction} {
		for j := i; j >= 0 && j < len(s.rows); j += step {
			if s.rows[j].id != "" {
				s.at, s.id = j, s.rows[j].id
				return
			}
		}
	}
	s.at, s.id = -1, ""
}

// first forgets the choice and goes to the top.
func (s *scroll) first() {
	s.top, s.moved = 0, false
	s.choose(0, 1)
}

// chosen is the item of the chosen row, nil where there is none.
func (s *scroll) chosen() any {
	if s.at < 0 || s.at >= len(s.rows) {
		return nil
	}
	return s.rows[s.at].item
}

// key moves the choice, or the window where there is nothing to choose. It tells
// whether it was its key, and whether that moved anything.
func (s *scroll) key(k tea.KeyMsg) (mine, moved bool) {
	page := max(1, s.height-1)
	by := 0
	switch k.String() {
	case "up", "k":
		by = -1
	case "down", "j":
		by = 1
	case "pgup", "b":
		by = -page
	case "pgdown", " ":
		by = page
	case "home", "g":
		by = -len(s.rows)
	case "end", "G":
		by = len(s.rows)
	default:
		return false, false
	}
	at, top := s.at, s.top
	direction := 1
	if by < 0 {
		direction = -1
	}
	switch {
	case s.at >= 0 && (s.at < s.top || s.at >= s.top+s.height): // out of sight
		s.top = min(max(s.top+by, 0), max(0, len(s.rows)-s.height))
		s.sight(by > 1)
		s.moved = true
		return true, s.at != at || s.top != top
	case s.at >= 0:
		to := min(max(s.at+by, 0), len(s.rows)-1)
		s.choose(to, direction)
		if direction > 0 && s.at < at || direction < 0 && s.at > at {
			s.at, s.id = at, s.rows[at].id // there was no other that way
		}
		s.reveal()
	}
	if s.at == at { // nothing further to choose: what lies beyond is still read
		s.top = min(max(s.top+by, 0), max(0, len(s.rows)-s.height))
	}
	s.moved = s.moved || s.at != at
	if k.String() == "home" || k.String() == "g" {
		s.moved = false // what is new comes on top and is chosen again
	}
	return true, s.at != at || s.top != top
}

// sight chooses the first row in the window that can be chosen, or the last.
func (s *scroll) sight(last bool) {
	for i := s.top; i < min(s.top+s.height, len(s.rows)); i++ {
		if s.rows[i].id != "" {
			s.at, s.id = i, s.rows[i].id
			if !last {
				return
			}
		}
	}
}

// reveal moves the window to the choice.
func (s *scroll) reveal() {
	if s.at >= 0 {
		s.top = min(max(s.top, s.at-s.height+1), s.at)
	}
}

// view is the window, at most h lines. The chosen row has a sign before it.
func (s *scroll) view(st styles, w, h int) []string {
	if h <= 0 {
		return nil
	}
	if s.height != h {
		s.height = h
		if s.moved {
			s.reveal()
		}
	}
	s.top = min(max(s.top, 0), max(0, len(s.rows)-h))
	var lines []string
	for i := s.top; i < len(s.rows) && len(lines) < h; i++ {
		r := s.rows[i]
		switch {
		case i == s.at:
			lines = append(lines, st.reverse.Render(left("> "+plain(r.text), w)))
		case r.id != "":
			lines = append(lines, "  "+r.text)
		default:
			lines = append(lines, r.text)
		}
	}
	return lines
}

// more tells what lies outside the window, "" when all is seen.
func (s *scroll) more() string {
	below := len(s.rows) - s.top - s.height
	switch {
	case s.top > 0 && below > 0:
		return "more above and below"
	case below > 0:
		return "more below"
	case s.top > 0:
		return "more above"
	}
	return ""
}
