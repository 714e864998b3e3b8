package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"tollgate/server/api"
)

// answer prints v as one JSON value with --json, else calls people to print it
// for them.
func (a *app) answer(v any, people func(w io.Writer)) error {
	if !a.json {
		var text strings.Builder
		people(&text)
		if _, err := io.WriteString(a.Stdout, text.String()); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the answer as JSON: %w", err)
	}
	if _, err := a.Stdout.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// array prints what walk adds as one JSON array, while it is walked: of a long
// list only a page is in memory.
func (a *app) array(walk func(add func(v any) error) error) error {
	between := "["
	err := walk(func(v any) error {
		text, err := json.MarshalIndent(v, "  ", "  ")
		if err != nil {
			return fmt.Errorf("writing the answer as JSON: %w", err)
		}
		_, err = fmt.Fprintf(a.Stdout, "%s\n  %s", between, text)
		between = ","
		return err
	})
	if err != nil {
		return err
	}
	if between == "[" {
		_, err = fmt.Fprintln(a.Stdout, "[]")
	} else {
		_, err = fmt.Fprintln(a.Stdout, "\n]")
	}
	return err
}

// table is columns for people. A heading that ends in ">" is of a column of
// numbers, set to the right.
type table struct {
	right []bool
	rows  [][]string
}

func newTable(headings ...string) *table {
	t := &table{right: make([]bool, len(headings))}
	row := make([]string, len(headings))
	for i, h := range headings {
		row[i], t.right[i] = strings.CutSuffix(h, ">")
	}
	t.rows = append(t.rows, row)
	return t
}

// add appends a row; cells are cleaned of what could move a terminal's cursor.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = api.Clean(c)
	}
	t.rows = append(t.rows, row)
}

// print writes the table with two spaces between columns and none at line ends.
func (t *table) print(w io.Writer) {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString("  ")
			}
			if t.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// facts prints pairs of a word and its value, one a line; pairs with an empty
// value are left out.
func facts(w io.Writer, pairs ...string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s\t%s\n", pairs[i], api.Clean(pairs[i+1]))
		}
	}
	tw.Flush()
}

// moment writes an instant in UTC to the second, nothing for the zero time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// date writes the day of an instant in UTC, nothing for the zero time.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
