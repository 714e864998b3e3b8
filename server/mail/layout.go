package mail

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strconv"
	"strings"
	texttemplate "text/template"
	"unicode"
	"unicode/utf8"
)

//go:embed templates
var templates embed.FS

// layouts are how a [letter] looks.
type layouts struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

func parseLayouts() (l layouts, err error) {
	words := map[string]any{"wrap": wrapped, "columns": columns}
	l.text, err = texttemplate.New("mail.txt").Funcs(words).Option("missingkey=error").ParseFS(templates, "templates/mail.txt")
	if err != nil {
		return l, fmt.Errorf("layout of the text: %w", err)
	}
	l.html, err = htmltemplate.New("mail.html").Option("missingkey=error").ParseFS(templates, "templates/mail.html")
	if err != nil {
		return l, fmt.Errorf("layout of the HTML: %w", err)
	}
	return l, nil
}

// width is how many columns the text has. Addresses of pages alone may be
// longer, because a broken one leads nowhere.
const width = 60

// wrapped is s in lines of the text's width, without a line's end after the last.
func wrapped(s string) string {
	return strings.Join(wrap(s, width), "\n")
}

// columns is a row of the text: the label to the left, wrapped where it is long,
// the value to the right.
func columns(r row) string {
	lines := wrap(r.Label, max(width-4-utf8.RuneCountInString(r.Value), width/3))
	first := lines[0] + strings.Repeat(" ", max(width-2-utf8.RuneCountInString(lines[0]+r.Value), 1)) + r.Value
	out := "  " + first
	for _, more := range lines[1:] {
		out += "\n  " + more
	}
	return out
}

// wrap breaks s at spaces into lines of at most n runes, and words that are
// longer than that wherever they reach it. It returns one line at least.
func wrap(s string, n int) []string {
	var lines []string
	var current []rune
	for word := range strings.FieldsSeq(s) {
		runes := []rune(word)
		if len(current) > 0 && len(current)+1+len(runes) <= n {
			current = append(append(current, ' '), runes...)
			continue
		}
		if len(current) > 0 {
			lines = append(lines, string(current))
		}
		for len(runes) > n {
			lines, runes = append(lines, string(runes[:n])), runes[n:]
		}
		current = runes
	}
	return append(lines, string(current))
}

// line is what came from outside as one line of text: valid UTF-8, words with one
// space between them, no control characters, and none that turn the direction of
// what follows.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// shorten is s with at most n runes, the last one an ellipsis where some are left
// out.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:n-1])) + "…"
}

// grouped writes a count with commas: "1,234,567".
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}
