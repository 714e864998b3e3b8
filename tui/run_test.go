package tui_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/tui"
)

// shownOn is an output that tells when it has a text.
type shownOn struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	has  chan struct{}
}

func (s *shownOn) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.has != nil && strings.Contains(s.text.String(), s.want) {
		close(s.has)
		s.has = nil
	}
	return len(p), nil
}

// TestRun: the program shows the first page, and ends by key and with its
// context; the screen is given back both times.
func TestRun(t *testing.T) {
	for _, end := range []string{"by key", "with its context"} {
		t.Run(end, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			keys, typing := io.Pipe()
			defer typing.Close()
			seen := make(chan struct{})
			out := &shownOn{want: "1,234 calls/s", has: seen}
			ended := make(chan error, 1)
			go func() { ended <- tui.Run(ctx, busy(), atRest, keys, out) }()
			limit := time.After(time.Minute)
			select {
			case <-seen:
			case err := <-ended:
				t.Fatalf("ended: %v", err)
			case <-limit:
				t.Fatal("nothing is shown")
			}
			if end == "by key" {
				if _, err := typing.Write([]byte("q")); err != nil {
					t.Fatal(err)
				}
			} else {
				cancel()
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("got %v", err)
				}
			case <-limit:
				t.Fatal("it does not end")
			}
			out.mu.Lock()
			defer out.mu.Unlock()
			text := out.text.String()
			const on, off, mouse = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?1000h"
			if strings.Count(text, on) != 1 || strings.LastIndex(text, off) < strings.Index(text, on) {
				t.Errorf("the screen is not given back: %q", text)
			}
			for _, capture := range []string{mouse, "\x1b[?1002h", "\x1b[?1003h"} {
				if strings.Contains(text, capture) {
					t.Errorf("the mouse is captured: %q", capture)
				}
			}
		})
	}
}
