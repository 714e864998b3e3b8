package tui_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"

	"tollgate/tui"
)

// screen drives the model as the program does, with a fake server, in a bubble
// of synctest: commands run beside it, and their messages come when they are
// there. It must be used inside synctest.Test.
type screen struct {
	t       *testing.T
	model   tea.Model
	msgs    chan tea.Msg
	quit    bool
	updates int
}

// atRest has all text without colours.
var atRest = tui.Options{Currency: "usd", Digits: 2, Profile: termenv.Ascii}

// begin starts the program w by h. The bubble's context ends it.
func begin(t *testing.T, s tui.Server, o tui.Options, w, h int) *screen {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &screen{t: t, model: tui.New(ctx, s, o), msgs: make(chan tea.Msg, 64)}
	c.run(c.model.Init())
	c.resize(w, h)
	return c
}

// run runs a command beside the test, as bubbletea does.
func (c *screen) run(command tea.Cmd) {
	if command == nil {
		return
	}
	go func() {
		switch msg := command().(type) {
		case nil:
		case tea.BatchMsg:
			for _, one := range msg {
				c.run(one)
			}
		default:
			c.msgs <- msg
		}
	}()
}

// send gives the model a message, and all that follows from it.
func (c *screen) send(msg tea.Msg) {
	c.update(msg)
	c.settle()
}

func (c *screen) update(msg tea.Msg) {
	if _, ok := msg.(tea.QuitMsg); ok {
		c.quit = true
		return
	}
	c.updates++
	model, command := c.model.Update(msg)
	c.model = model
	c.model.View()
	c.run(command)
}

// settle waits until nothing happens by itself any more.
func (c *screen) settle() {
	for {
		synctest.Wait()
		select {
		case msg := <-c.msgs:
			c.update(msg)
		default:
			return
		}
	}
}

// keys presses keys: names such as enter, or single characters.
func (c *screen) keys(keys ...string) {
	for _, k := range keys {
		c.send(press(k))
	}
}

// resize gives the terminal another size.
func (c *screen) resize(w, h int) { c.send(tea.WindowSizeMsg{Width: w, Height: h}) }

// types types a text.
func (c *screen) types(text string) {
	c.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
}

var named = map[string]tea.KeyType{
	"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "up": tea.KeyUp, "down": tea.KeyDown,
	"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace,
	"ctrl+c": tea.KeyCtrlC, "ctrl+u": tea.KeyCtrlU, "ctrl+w": tea.KeyCtrlW, "left": tea.KeyLeft, "right": tea.KeyRight, "space": tea.KeySpace,
}

func press(k string) tea.KeyMsg {
	if kind, ok := named[k]; ok {
		msg := tea.KeyMsg{Type: kind}
		if kind == tea.KeySpace {
			msg.Runes = []rune{' '}
		}
		return msg
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
}

// view is the screen, which must have the size that it was given.
func (c *screen) view(w, h int) string {
	c.t.Helper()
	text := c.model.View()
	lines := strings.Split(text, "\n")
	if len(lines) != h {
		c.t.Errorf("%d lines on a screen of %d", len(lines), h)
	}
	for _, l := range lines {
		if n := ansi.StringWidth(l); n > w {
			c.t.Errorf("%d columns on a screen of %d: %q", n, w, l)
		}
	}
	return text
}

func (c *screen) has(want ...string) {
	c.t.Helper()
	text := ansi.Strip(c.model.View())
	for _, w := range want {
		if !strings.Contains(text, w) {
			c.t.Errorf("the screen does not have %q:\n%s", w, text)
		}
	}
}

func (c *screen) hasNot(unwanted ...string) {
	c.t.Helper()
	text := ansi.Strip(c.model.View())
	for _, w := range unwanted {
		if strings.Contains(text, w) {
			c.t.Errorf("the screen has %q:\n%s", w, text)
		}
	}
}

// golden compares a text with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got += "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; if it should, run: go test ./tui -update\n%s", path, diff)
	}
}

type dimension struct{ w, h int }

func (d dimension) String() string { return fmt.Sprintf("%dx%d", d.w, d.h) }

// sizes are those that people have: a narrow pane, the classic, a wide one.
var sizes = []dimension{{60, 20}, {80, 24}, {120, 40}}
