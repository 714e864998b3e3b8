package tui_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestActs(t *testing.T) {
	for _, c := range []struct {
		name, open string
		word       string // to be typed
		says       []string
		does       string // what the server is asked
		result     string
	}{
		{"suspend from the list", "2 S", "user01@example.com", []string{"SUSPEND user01@example.com", "refused with 403"}, "suspend 1", "user01@example.com is suspended."},
		{"suspend from the user's page", "2 enter S", "user01@example.com", []string{"SUSPEND user01@example.com"}, "suspend 1", "user01@example.com is suspended."},
		{"resume", "2 down down R", "user03@example.com", []string{"RESUME user03@example.com", "It is now suspended."}, "resume 3", "user03@example.com may call again."},
		{"revoke a key", "2 enter X", "tg_live_AbCd", []string{"REVOKE KEY tg_live_AbCd", "cannot be undone"}, "revoke 8", "Key tg_live_AbCd is revoked."},
		{"retry a failure", "5 T", "2025-01-000043", []string{"RETRY INVOICE 2025-01-000043", "73.50 USD is charged to user03@example.com now"}, "retry 43", "Invoice 2025-01-000043 is paid."},
		{"retry an invoice of the list", "5 down down down T", "2025-01-000043", []string{"RETRY INVOICE"}, "retry 43", "Invoice 2025-01-000043 is paid."},
		{"void", "5 end V", "2024-12-000040", []string{"VOID INVOICE 2024-12-000040", "50.00 USD due from user05@example.com", "cannot be undone"}, "void 40", "Invoice 2024-12-000040 is void."},
		{"void from the user's page", "2 enter down down V", "2025-01-000042", []string{"VOID INVOICE 2025-01-000042"}, "void 42", "Invoice 2025-01-000042 is void."},
		{"refund a purchase", "2 enter down down down F 'bought twice' enter", "R-003049", []string{"REFUND RECEIPT R-003049", "100.00 USD of receipt R-003049 go back to user01@example.com, because: bought", "what was burnt of them is owed"},
			"refund 3049 of 1: bought twice", "100.00 USD was given back of receipt R-003049, and 6.00 USD is owed."},
		{"change the plan", "2 P 'pro' enter", "user01@example.com", []string{"CHANGE PLAN OF user01@example.com TO pro", "From 2025-01-20 12:00:00 UTC on, for 49.00 USD a month.", "calls included", "19,000"},
			"plan 1 pro", "user01@example.com is on plan pro from 2025-01-20 12:00:00 UTC."},
		{"grant credits", "2 C '1,000.5' enter", "user01@example.com", []string{"GRANT 1000.5 CREDITS TO user01@example.com", "cannot be taken back"},
			"grant 1 1000.5", "user01@example.com has 1000.5 credits more, and 2001 now."},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := busy()
			if strings.HasPrefix(c.name, "refund") {
				f = prepaid()
			}
			o := atRest
			o.Write = true
			s := begin(t, f, o, 80, 24)
			s.script(c.open)
			s.has(c.says...)
			s.has("may write")
			golden(t, "dialog-"+strings.ReplaceAll(c.name, " ", "-"), s.view(80, 24))

			untouched := f.did()
			s.keys("enter")
			for _, wrong := range []string{"y", "yes", c.word[:len(c.word)-1], "X" + c.word, c.word + "x"} {
				s.keys("ctrl+u")
				s.types(wrong)
				s.keys("enter")
			}
			if did := f.did(); !slices.Equal(did, untouched) {
				t.Fatalf("enter without the word did %v", did[len(untouched):])
			}
			s.has(c.says[0])

			s.keys("ctrl+u")
			s.types(c.word)
			s.keys("enter")
			s.has(c.result)
			s.hasNot(c.says[0])
			if did := f.did(); did[len(did)-1] != c.does {
				t.Errorf("the server was asked last: %s, want %s", did[len(did)-1], c.does)
			}
			s.keys("down")
			s.hasNot(c.result)
		})
	}
}

func TestActsThatDoNothing(t *testing.T) {
	for _, c := range []struct {
		name, keys, has string
	}{
		{"esc leaves", "2 S 'user01@example.com' esc", "> user01@"},
		{"no user to suspend", "1 S", "Choose a user first"},
		{"no user to resume on billing", "5 R", "Choose a user first"},
		{"no key chosen", "2 X", "Choose a key first"},
		{"a key, not an invoice", "2 enter V", "Choose an invoice first"},
		{"no invoice", "4 T", "Choose an invoice first"},
		{"nothing due", "2 enter down down T", "Nothing is due of invoice 2025-01-000042."},
		{"no payment chosen", "2 enter F", "Choose a payment first"},
		{"nothing to give back", "5 down down F", "Nothing can be given back of receipt R-003050."},
		{"no plan typed", "2 P enter", "CHANGE PLAN"},
		{"no credits typed", "2 C enter", "GRANT CREDITS"},
		{"no number of credits", "2 C 'many' enter", "FAILED: many is not a number of credits"},
		{"less than no credits", "2 C '-5' enter", "FAILED: it is more than 0"},
		{"a plan that is not there", "2 P 'gold' enter", "FAILED: there is no plan gold; there are free, pro and enterprise"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := busy()
			o := atRest
			o.Write = true
			s := begin(t, f, o, 80, 24)
			s.script(c.keys)
			s.has(c.has)
			for _, did := range f.did() {
				if !strings.HasPrefix(did, "watch ") && !strings.HasPrefix(did, "preview ") {
					t.Errorf("the server was asked: %s", did)
				}
			}
		})
	}
}

func TestActThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		f.refuses = errors.New("user 1 is closed\x1b[2J")
		o := atRest
		o.Write = true
		s := begin(t, f, o, 80, 24)
		s.script("2 S 'user01@example.com' enter")
		s.has("FAILED: user 1 is closed?[2J")
	})
}

// TestActIsWaitedFor: while the server works nothing else is begun.
func TestActIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		f.hold = make(chan struct{})
		o := atRest
		o.Write = true
		s := begin(t, f, o, 80, 24)
		s.script("2 S 'user01@example.com' enter")
		s.has("working...")
		s.script("enter enter esc q")
		s.has("working...")
		close(f.hold)
		s.settle()
		s.has("user01@example.com is suspended.")
		n := 0
		for _, did := range f.did() {
			if did == "suspend 1" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("suspended %d times", n)
		}
	})
}
