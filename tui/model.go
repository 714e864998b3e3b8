package tui

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tollgate/server/api"
)

// The pages, by their index.
const (
	overviewPage = iota
	usersPage
	userPage
	recordsPage
	billingPage
)

var pageNames = [5]string{"Overview", "Users", "User", "Records", "Billing"}

// page is a component: what it follows, its keys, its body. Its methods are
// called by Update and View only.
type page interface {
	// open makes the stream of what the page shows now, nil where there is nothing
	// to follow.
	open(ctx context.Context) *stream
	// show takes a view that the stream brought.
	show(view any)
	// asOf is the time of what is shown, zero for none.
	asOf() time.Time
	// key acts on a key. What it returns, unless nil, tells the model more, before
	// the next key.
	key(k tea.KeyMsg) tea.Msg
	// body is the page in w columns and at most h lines.
	body(w, h int) []string
	// keys are those of the page, most wanted first.
	keys() []key.Binding
	// target is what an act would concern.
	target() target
	// window is what of the body scrolls.
	window() *scroll
}

// shared is what all pages have.
type shared struct {
	server Server
	o      Options
	st     styles
	keyMap keyMap
	w, h   int // of the terminal
}

// Messages from a page to the model.
type (
	reopenMsg struct{}              // the page wants another stream
	turnMsg   struct{ to int }      // show the page
	openMsg   struct{ user string } // show the user
	followMsg struct{ user string } // show the user's records
	promptMsg struct {              // have a line typed
		label, hint string
		text        string
		done        func(text string) tea.Msg
	}
	detailMsg struct { // show something in full
		title string
		lines []string
	}
	noticeMsg struct { // say the outcome in one line
		text string
		bad  bool
	}
)

// model is the program's state.
type model struct {
	*shared
	ctx context.Context

	pages   [5]page
	at      int
	follows *stream // of the page that is shown
	heard   bool    // it has brought something
	lost    error   // why it has no connection now

	help   *scroll
	detail *detail
	prompt *prompt
	dialog *dialog
	notice noticeMsg // until the next key
}

type detail struct {
	title string
	scroll
}

type prompt struct {
	promptMsg
	input
}

// New makes the program's model. Its streams end with ctx.
func New(ctx context.Context, s Server, o Options) tea.Model {
	all := &shared{s, o, newStyles(o.Profile, o.Colour), newKeys(), 80, 24}
	return &model{shared: all, ctx: ctx, pages: [5]page{
		&overview{shared: all}, newUsers(all), &user{shared: all}, newRecords(all), &billing{shared: all},
	}}
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return m.open() }

// open follows what the page shown wants, and nothing else.
func (m *model) open() tea.Cmd {
	if m.follows != nil {
		m.follows.cancel()
	}
	m.heard, m.lost = false, nil
	if m.follows = m.pages[m.at].open(m.ctx); m.follows == nil {
		return nil
	}
	return m.follows.start
}

func (m *model) turn(to int) tea.Cmd {
	m.at = to
	m.detail = nil
	return m.open()
}

// Update implements [tea.Model].
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		if msg.Width <= 0 || msg.Height <= 0 {
			return m, nil // a serial line does not know; what was taken for granted stays
		}
		m.w, m.h = msg.Width, msg.Height
		if p, ok := m.pages[m.at].(*users); ok && p.fitting() > p.query.Limit {
			return m, m.open() // there is room for more
		}
	case tea.KeyMsg:
		return m, m.typed(msg)
	case newsMsg:
		if msg.from != m.follows {
			return m, nil // of a page that was left
		}
		if msg.view != nil {
			m.pages[m.at].show(msg.view)
		}
		m.heard, m.lost = true, msg.lost
		return m, m.follows.next
	case reopenMsg:
		return m, m.open()
	case turnMsg:
		return m, m.turn(msg.to)
	case openMsg:
		m.pages[userPage].(*user).of(msg.user)
		return m, m.turn(userPage)
	case followMsg:
		m.pages[recordsPage].(*records).of(msg.user)
		return m, m.turn(recordsPage)
	case promptMsg:
		m.prompt = &prompt{msg, input{text: msg.text}}
	case detailMsg:
		m.detail = &detail{title: msg.title}
		var rows []row
		for _, l := range msg.lines {
			rows = append(rows, row{text: l})
		}
		m.detail.set(rows)
	case noticeMsg:
		m.notice = msg
	case previewMsg, doneMsg:
		return m, m.answered(msg)
	}
	return m, nil
}

// typed takes keys apart that came in one read, as they do when somebody types
// ahead on a slow line. What is pasted is text for a line, and is obeyed nowhere.
func (m *model) typed(k tea.KeyMsg) tea.Cmd {
	switch {
	case k.Paste && m.dialog == nil && m.prompt == nil:
		return nil
	case k.Paste || k.Type != tea.KeyRunes || len(k.Runes) < 2:
		return m.key(k)
	}
	var all []tea.Cmd
	for _, r := range k.Runes {
		all = append(all, m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: k.Alt}))
	}
	return tea.Batch(all...)
}

// key acts on a key: what lies on top has it first.
func (m *model) key(k tea.KeyMsg) tea.Cmd {
	m.notice = noticeMsg{}
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	if k.String() == "ctrl+z" {
		return tea.Suspend
	}
	switch {
	case m.dialog != nil:
		return m.dialogKey(k)
	case m.prompt != nil:
		return m.promptKey(k)
	case m.help != nil:
		m.help = closing(m.help, k, m.keyMap)
		return nil
	case m.detail != nil:
		if closing(&m.detail.scroll, k, m.keyMap) == nil {
			m.detail = nil
		}
		return nil
	}
	for i, b := range m.keyMap.pages {
		if matches(k, b) {
			return m.turn(i)
		}
	}
	switch {
	case matches(k, m.keyMap.next):
		return m.turn((m.at + 1) % len(m.pages))
	case matches(k, m.keyMap.previous):
		return m.turn((m.at + len(m.pages) - 1) % len(m.pages))
	case matches(k, m.keyMap.help):
		m.help = &scroll{}
		m.help.set(helpLines(m.st, m.allKeys()))
		return nil
	case matches(k, m.keyMap.quit):
		return tea.Quit
	case key.Matches(k, m.keyMap.writes()...):
		return m.act(k)
	}
	return m.then(m.pages[m.at].key(k))
}

// then is what follows from what a page wants. It is no command: the next key,
// which may have been typed already, must find it done.
func (m *model) then(msg tea.Msg) tea.Cmd {
	if msg == nil {
		return nil
	}
	_, command := m.Update(msg)
	return command
}

// closing is the window after a key: nil when that closed it.
func closing(s *scroll, k tea.KeyMsg, keys keyMap) *scroll {
	if mine, _ := s.key(k); mine {
		return s
	}
	if key.Matches(k, keys.help, keys.back, keys.quit, keys.enter) {
		return nil
	}
	return s
}

func (m *model) promptKey(k tea.KeyMsg) tea.Cmd {
	switch k.String() {
	case "esc":
		m.prompt = nil
	case "enter":
		p := m.prompt
		m.prompt = nil
		return m.then(p.done(strings.TrimSpace(p.input.text)))
	default:
		m.prompt.input.key(k)
	}
	return nil
}

// allKeys is what the help shows.
func (m *model) allKeys() []keyGroup {
	k := m.keyMap
	groups := []keyGroup{
		{pageNames[m.at], m.pages[m.at].keys()},
		{"All pages", []key.Binding{pageBinding(), k.next, k.previous, k.move, k.jump, k.back, k.help, k.quit}},
	}
	if m.o.Write {
		groups = append(groups, keyGroup{"Acts, each asked for again", k.writes()})
	}
	return groups
}

// View implements [tea.Model].
func (m *model) View() string {
	lines, more := []string{m.tabs(), ""}, ""
	bottom := m.bottom()
	room := m.h - len(lines) - 1
	switch {
	case m.dialog != nil:
		lines = append(lines, m.dialog.body(m.shared, m.w, room)...)
	case m.help != nil:
		lines = append(lines, m.help.view(m.st, m.w, room)...)
	case m.detail != nil:
		lines = append(lines, m.st.title.Render(fit(api.Clean(m.detail.title), m.w)))
		lines = append(lines, m.detail.view(m.st, m.w, room-1)...)
	default:
		lines = append(lines, m.pages[m.at].body(m.w, room)...)
		more = m.pages[m.at].window().more()
	}
	lines[1] = m.state()
	if space := m.w - width(lines[1]) - width(more); more != "" && space >= gap {
		lines[1] += strings.Repeat(" ", space) + m.st.faint.Render(more)
	}
	for len(lines) < m.h-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:m.h-1:m.h-1], bottom)
	for i, l := range lines {
		lines[i] = strings.TrimRight(fit(l, m.w), " ")
	}
	return strings.Join(lines, "\n")
}

// tabs names the pages, the one shown in brackets; where there is no room for
// all names the others have their numbers only.
func (m *model) tabs() string {
	var long, short strings.Builder
	for i, name := range pageNames {
		digit := string(rune('1' + i))
		if i == m.at {
			text := m.st.reverse.Render("[" + digit + " " + name + "]")
			long.WriteString(text)
			short.WriteString(text)
		} else {
			long.WriteString(" " + digit + " " + name + " ")
			short.WriteString(" " + digit + " ")
		}
	}
	if width(long.String())-1 > m.w { // a blank is last
		return short.String()
	}
	return long.String()
}

// state says of when the numbers are, and whether they are live.
func (m *model) state() string {
	at := "as of --:--:-- UTC"
	live := m.st.good.Render("live")
	if m.o.Write {
		live += "  " + m.st.bold.Render("may write")
	}
	if t := m.pages[m.at].asOf(); !t.IsZero() {
		at = "as of " + t.UTC().Format("15:04:05") + " UTC"
	}
	switch {
	case m.follows == nil:
		return at
	case m.lost != nil:
		var refused *api.Error
		if errors.As(m.lost, &refused) && refused.Status < 500 {
			return at + "  " + m.st.bad.Render("refused: "+api.Clean(m.lost.Error()))
		}
		return at + "  " + m.st.bad.Render("RECONNECTING: "+api.Clean(m.lost.Error()))
	case !m.heard:
		return at + "  connecting"
	}
	return at + "  " + live
}

// bottom is the outcome of what was done, the line that is typed, or the keys.
func (m *model) bottom() string {
	switch {
	case m.notice.text != "" && m.notice.bad:
		return m.st.bad.Render("FAILED: " + api.Clean(m.notice.text))
	case m.notice.text != "":
		return m.st.bold.Render(api.Clean(m.notice.text))
	case m.dialog != nil:
		return footer(m.st, m.w, []key.Binding{label("enter", "do it once typed"), label("esc", "leave it")})
	case m.prompt != nil:
		line := m.prompt.label + ": "
		line += m.prompt.input.view(m.st, m.w-width(line))
		if m.prompt.input.text == "" {
			line += m.st.faint.Render(" " + m.prompt.hint)
		}
		return line
	case m.help != nil || m.detail != nil:
		return footer(m.st, m.w, []key.Binding{m.keyMap.back, label("↑ ↓", "move")})
	}
	k := m.keyMap
	shown := append([]key.Binding{k.quit, k.help, pageBinding()}, m.pages[m.at].keys()...)
	if m.o.Write {
		shown = append(shown, m.acts()...)
	}
	return footer(m.st, m.w, shown)
}

func label(keys, does string) key.Binding {
	return key.NewBinding(key.WithKeys(keys), key.WithHelp(keys, does))
}
