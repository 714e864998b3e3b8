package tui_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/muesli/termenv"

	"tollgate/tui"
)

// bubble runs a test of the screens in a bubble of synctest.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		name  string
		keys  string // names between blanks; 'text' is typed
		has   []string
		not   []string
		asked string // the last of what the server was asked
	}{
		{"a number turns to its page", "4", []string{"[4 Records]"}, nil, `watch records user "" route "" status "" outcome "" limit 100`},
		{"tab goes on", "tab", []string{"[2 Users]"}, nil, ""},
		{"tab goes round", "5 tab", []string{"[1 Overview]"}, nil, "watch overview"},
		{"shift+tab goes back", "shift+tab", []string{"[5 Billing]"}, nil, `watch billing ""`},
		{"help names the page's keys", "2 ?", []string{"Users", "turn the order", "users before", "leave"}, []string{"suspend"}, ""},
		{"help closes", "2 ? esc", []string{"user01@example.com"}, []string{"turn the order, also"}, ""},
		{"help closes by its own key", "2 ? ?", []string{"user01@example.com"}, nil, ""},
		{"a page without a user says how to get one", "3", []string{"No user is chosen"}, nil, "watch overview"},
		{"sort", "2 s", []string{"by cost", "COST▼"}, []string{"CALLS▼"}, `watch users by cost up false filter "" from 0 limit 20`},
		{"names are sorted upward", "2 s s s s", []string{"by email", "E-MAIL▲"}, nil, `watch users by email up true filter "" from 0 limit 20`},
		{"turn the order", "2 o", []string{"CALLS▲"}, nil, `watch users by calls up true filter "" from 0 limit 20`},
		{"filter", "2 / 'Enter' enter", []string{"1-1 of 1", `filter "Enter" (of 57)`, "user02@"}, []string{"user01@"}, `watch users by calls up false filter "Enter" from 0 limit 20`},
		{"filter is left by esc", "2 / 'Enter' esc", []string{"1-20 of 57"}, []string{"filter \""}, `watch users by calls up false filter "" from 0 limit 20`},
		{"esc drops the filter", "2 / 'Enter' enter esc", []string{"1-20 of 57"}, []string{"filter \""}, `watch users by calls up false filter "" from 0 limit 20`},
		{"nothing fits", "2 / 'nobody' enter", []string{"No user fits"}, nil, ""},
		{"letters are typed into the filter, not obeyed", "2 / q 1 ? enter", []string{`filter "q1?"`}, nil, ""},
		{"what is typed can be taken back", "2 / 'one two' ctrl+w backspace enter", []string{`filter "one"`}, nil, ""},
		{"all that is typed can be taken back", "2 / 'one two' ctrl+u 'x' enter", []string{`filter "x"`}, nil, ""},
		{"next users", "2 n", []string{"21-40 of 57", "> user21@"}, nil, `watch users by calls up false filter "" from 20 limit 20`},
		{"the last users", "2 n n n n", []string{"41-57 of 57"}, nil, `watch users by calls up false filter "" from 40 limit 20`},
		{"users before", "2 n n N", []string{"21-40 of 57"}, nil, `watch users by calls up false filter "" from 20 limit 20`},
		{"there are none before the first", "2 N", []string{"1-20 of 57"}, nil, `watch users by calls up false filter "" from 0 limit 20`},
		{"down", "2 down j", []string{"> ! user03@"}, nil, ""},
		{"up", "2 down down up k k", []string{"> user01@"}, nil, ""},
		{"end and home", "2 end home", []string{"> user01@"}, nil, ""},
		{"down at the end asks for more", "2 end down", []string{"21-40 of 57"}, nil, ""},
		{"open a user", "2 down enter", []string{"[3 User]"}, nil, "watch user 2"},
		{"back to the users", "2 enter esc", []string{"[2 Users]", "> user01@"}, nil, ""},
		{"open a user by e-mail", "3 / 'user01@example.com' enter", []string{"[3 User]", "Ann Example", "847 / 1,000 (84.7%) !", "tg_live_AbCd"}, nil, "watch user user01@example.com"},
		{"nobody by that name", "3 / '99' enter", []string{"refused: there is no user 99"}, nil, ""},
		{"nothing typed changes nothing", "3 / enter", []string{"No user is chosen"}, nil, ""},
		{"the user's records", "2 enter t", []string{"[4 Records]", `filter "user:1"`}, nil, `watch records user "1" route "" status "" outcome "" limit 100`},
		{"a key in full", "2 enter enter", []string{"KEY tg_live_AbCd", "10.0.0.0/8"}, nil, ""},
		{"an invoice in full", "2 enter down down enter", []string{"INVOICE 2025-01-000042", "Pro, December 2024", "49.00"}, nil, ""},
		{"a user's record in full", "2 enter down down down enter", []string{"RECORD r0000039", "client_left"}, nil, ""},
		{"filters of records", "4 / 'user:7 status:5xx outcome:ok route:/v1/scan' enter", []string{`filter "user:7 status:5xx outcome:ok route:/v1/scan"`}, nil,
			`watch records user "7" route "/v1/scan" status "5xx" outcome "ok" limit 100`},
		{"filters of records by their looks", "4 / 'ann@example.com 404 client_left scan' enter", nil, nil,
			`watch records user "ann@example.com" route "scan" status "404" outcome "client_left" limit 100`},
		{"a route may have a colon", "4 / 'a:b' enter", []string{"No record fits yet"}, nil, `watch records user "" route "a:b" status "" outcome "" limit 100`},
		{"the filter of records is dropped", "4 / 'scan' enter esc", nil, []string{"filter \"scan\""}, `watch records user "" route "" status "" outcome "" limit 100`},
		{"a record in full", "4 down enter", []string{"RECORD r0000038", "documents  38", "cost       0.38 USD"}, nil, ""},
		{"a record that burnt credits", "4 down down down enter", []string{"RECORD r0000036", "credits burnt  29", "not covered    7"}, nil, ""},
		{"a payment in full", "5 down enter", []string{"PAYMENT 3052", "card_declined", "Usage of 2025-01 so far"}, nil, ""},
		{"a record closes", "4 enter esc", []string{"> 12:34:55"}, []string{"RECORD r"}, ""},
		{"pause", "4 p", []string{"PAUSED"}, nil, ""},
		{"pause ends", "4 p p", nil, []string{"PAUSED"}, ""},
		{"invoices by state", "5 s", []string{"INVOICES past_due"}, []string{"2025-01-000042"}, `watch billing "past_due"`},
		{"a failure in full", "5 enter", []string{"NOT COLLECTED 2025-01-000043", "Your card was declined.", "next try"}, nil, ""},
		{"the overview scrolls", "pgdown", []string{"more above"}, nil, ""},
		{"changing needs --write", "2 S", []string{"start: tollgate top --write"}, nil, ""},
		{"what was said goes with the next key", "2 S down", nil, []string{"--write"}, ""},
		{"no key to revoke without --write", "2 enter X", []string{"start: tollgate top --write"}, nil, ""},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := busy()
			s := begin(t, f, atRest, 80, 24)
			s.script(c.keys)
			s.has(c.has...)
			s.hasNot(c.not...)
			if did := f.did(); c.asked != "" && did[len(did)-1] != c.asked {
				t.Errorf("the server was asked last: %s, want %s", did[len(did)-1], c.asked)
			}
		})
	}
}

// script presses keys; 'text' between quotes is typed.
func (c *screen) script(keys string) {
	for keys != "" {
		if rest, quoted := strings.CutPrefix(keys, "'"); quoted {
			text, after, _ := strings.Cut(rest, "'")
			c.types(text)
			keys = strings.TrimPrefix(after, " ")
			continue
		}
		k, after, _ := strings.Cut(keys, " ")
		c.keys(k)
		keys = after
	}
}

func TestLeaving(t *testing.T) {
	for _, c := range []struct {
		keys string
		quit bool
	}{
		{"q", true}, {"ctrl+c", true}, {"2 / ctrl+c", true}, {"2 / q", false}, {"? q", false}, {"4 enter q", false}, {"? q q", true},
	} {
		bubble(t, c.keys, func(t *testing.T) {
			s := begin(t, busy(), atRest, 80, 24)
			s.script(c.keys)
			if s.quit != c.quit {
				t.Errorf("left: %t, want %t", s.quit, c.quit)
			}
		})
	}
}

// TestHelpHasAllKeys holds the help of each page against what its footer names.
func TestHelpHasAllKeys(t *testing.T) {
	for _, write := range []bool{false, true} {
		for page := range 5 {
			bubble(t, fmt.Sprintf("page %d write %t", page+1, write), func(t *testing.T) {
				o := atRest
				o.Write = write
				s := begin(t, busy(), o, 200, 60)
				s.keys("2", "enter", fmt.Sprint(page+1))
				lines := strings.Split(s.model.View(), "\n")
				footer := lines[len(lines)-1]
				s.keys("?")
				help := s.model.View()
				for entry := range strings.SplitSeq(footer, "  ") {
					_, does, _ := strings.Cut(entry, " ")
					if !strings.Contains(help, does) {
						t.Errorf("the help lacks %q:\n%s", entry, help)
					}
				}
				for _, act := range []string{"suspend", "void invoice", "revoke key"} {
					if got := strings.Contains(help, act); got != write {
						t.Errorf("the help has %q: %t, want %t", act, got, write)
					}
				}
			})
		}
	}
}

// TestOnlyTheShownPageIsFollowed: a page that is left costs the server nothing.
func TestOnlyTheShownPageIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		s.keys("2", "4", "5", "1", "4")
		if n := f.following(); n != 1 {
			t.Errorf("%d streams are open, want 1", n)
		}
		want := []string{"overview", "users", "records", "billing", "overview", "records"}
		var got []string
		for _, did := range f.did() {
			got = append(got, strings.Fields(did)[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("watched %v, want %v", got, want)
		}
	})
}

// TestRoomForMoreUsers: a larger screen asks for more users.
func TestRoomForMoreUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		s.keys("2")
		s.resize(80, 50)
		did := f.did()
		if want := `watch users by calls up false filter "" from 0 limit 45`; did[len(did)-1] != want {
			t.Errorf("asked %s, want %s", did[len(did)-1], want)
		}
		before := len(did)
		s.resize(80, 30)
		if len(f.did()) != before {
			t.Errorf("a smaller screen asked again: %v", f.did()[before:])
		}
		s.has("1-45 of 57")
	})
}

// FuzzScreens: no size, no keys and nothing from outside break the screens or
// their edges.
func FuzzScreens(f *testing.F) {
	f.Add(uint8(1), uint8(1), "12345", false)
	f.Add(uint8(60), uint8(20), "2 / x", true)
	f.Add(uint8(80), uint8(24), "2\rSX?j", true)
	f.Add(uint8(200), uint8(3), "2\rjjjjVuser\r", true)
	f.Add(uint8(3), uint8(200), "4pj\r?5s\r", false)
	f.Fuzz(func(t *testing.T, w, h uint8, keys string, write bool) {
		if w == 0 || h == 0 || len(keys) > 40 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			server := odd()
			o := atRest
			o.Write = write
			s := begin(t, server, o, int(w), int(h))
			s.view(int(w), int(h))
			for _, r := range keys {
				switch r {
				case '\r':
					s.keys("enter")
				case '\x1b':
					s.keys("esc")
				case '\t':
					s.keys("tab")
				default:
					s.keys(string(r))
				}
				s.view(int(w), int(h))
			}
			s.resize(int(h), int(w))
			s.view(int(h), int(w))
		})
	})
}

// TestAllSizes draws each page at many sizes, down to nothing.
func TestAllSizes(t *testing.T) {
	var some []dimension
	for n := 1; n <= 200; n += 1 + n/6 {
		some = append(some, dimension{n, n}, dimension{n, 24}, dimension{80, n}, dimension{n, 201 - n}, dimension{201 - n, 1}, dimension{1, n})
	}
	for _, server := range []func() *fake{busy, empty, odd} {
		for _, walk := range walks {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, server(), tui.Options{Currency: "jpy", Profile: termenv.ANSI, Colour: true, Write: true}, 80, 24)
				s.keys(walk.keys...)
				for _, d := range some {
					s.resize(d.w, d.h)
					s.view(d.w, d.h)
					if t.Failed() {
						t.Fatalf("%s at %s", walk.name, d)
					}
				}
				s.resize(80, 24)
				s.resize(0, 0)
				s.view(80, 24)
			})
		}
	}
}

// TestTypedAhead: keys that come together mean the same as one after the other.
func TestTypedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		s := begin(t, f, atRest, 80, 24)
		s.keys("2")
		for _, k := range []string{"/", "q", "1", "enter", "/", "ctrl+u", "E", "enter", "4", "/", "q", "enter"} {
			s.update(press(k))
		}
		s.settle()
		if s.quit {
			t.Fatal("what was typed was obeyed")
		}
		s.has("[4 Records]", `filter "q"`)
		s.keys("2")
		s.has(`filter "E"`)
	})
}

// TestKeysOfOneRead: a terminal hands over what was typed fast as one message.
func TestKeysOfOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, busy(), atRest, 80, 24)
		s.keys("2", "4?q2", "jj/b")
		s.keys("qx")
		s.has("[2 Users]", "filter: bqx")
		s.keys("esc")
		s.has("> ! user03@")
		s.types("q")
		s.types("5")
		if s.has("[2 Users]"); s.quit {
			t.Error("pasted text was obeyed")
		}
		s.keys("jqj")
		if !s.quit {
			t.Error("q among others does not leave")
		}
	})
}
