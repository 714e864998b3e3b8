package tui

import (
	"slices"
	"strings"

	"tollgate/server/api"
)

// column is a column of a table. Of those that do not fit the ones with the
// highest drop go first; 0 stays.
type column struct {
	head  string
	right bool // numbers
	drop  int
	least int  // 0: never narrower than its cells; else it shrinks to this
	gone  bool // hidden at every width
}

// gap is between columns.
const gap = 2

// table sets cells in columns.
type table struct {
	columns []column
	rows    [][]string
	// styled cells: by row and column, what dresses the text after it was set
	dress map[[2]int]func(...string) string
}

func newTable(columns ...column) *table { return &table{columns: columns} }

// add appends a row; cells are cleaned of what could move the cursor.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		if i < len(cells) {
			row[i] = api.Clean(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// hide leaves a column out that has nothing to say.
func (t *table) hide(column int) { t.columns[column].gone = true }

// style dresses a cell of the row added last.
func (t *table) style(column int, with func(...string) string) {
	if t.dress == nil {
		t.dress = map[[2]int]func(...string) string{}
	}
	t.dress[[2]int{len(t.rows) - 1, column}] = with
}

// lay is the table in w columns of the terminal: its heading and its rows.
func (t *table) lay(w int) (head string, rows []string) {
	natural := make([]int, len(t.columns))
	for i, c := range t.columns {
		natural[i] = width(c.head)
		for _, row := range t.rows {
			natural[i] = max(natural[i], width(row[i]))
		}
	}
	widths := t.widths(natural, w)
	set := func(row int, cells []string) string {
		var b strings.Builder
		pad := 0
		for i, c := range t.columns {
			if widths[i] == 0 {
				continue
			}
			text := fit(cells[i], widths[i])
			space := widths[i] - width(text)
			if c.right {
				pad += space
				space = 0
			}
			b.WriteString(strings.Repeat(" ", pad))
			if with := t.dress[[2]int{row, i}]; with != nil {
				text = with(text)
			}
			b.WriteString(text)
			pad = space + gap
		}
		return b.String()
	}
	heads := make([]string, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
	}
	rows = make([]string, len(t.rows))
	for i, row := range t.rows {
		rows[i] = set(i, row)
	}
	return set(-1, heads), rows
}

// lines is the table with its heading, bare.
func (t *table) lines(w int) []string {
	head, rows := t.lay(w)
	return append([]string{head}, rows...)
}

// widths is what each column gets of w; 0: it is dropped.
func (t *table) widths(natural []int, w int) []int {
	widths := slices.Clone(natural)
	for i, c := range t.columns {
		if c.gone {
			widths[i] = 0
			continue
		}
		if c.least > 0 {
			widths[i] = min(natural[i], max(c.least, width(c.head)))
		}
	}
	for total(widths) > w {
		worst := -1
		for i, c := range t.columns {
			if widths[i] > 0 && c.drop > 0 && (worst < 0 || c.drop >= t.columns[worst].drop) {
				worst = i
			}
		}
		if worst < 0 {
			break // the screen cuts what is left
		}
		widths[worst] = 0
	}
	for i, c := range slices.Backward(t.columns) { // what is left widens those that were narrowed, the last first
		if c.least > 0 && widths[i] > 0 {
			widths[i] = min(natural[i], widths[i]+max(0, w-total(widths)))
		}
	}
	return widths
}

func total(widths []int) int {
	sum := -gap
	for _, n := range widths {
		if n > 0 {
			sum += n + gap
		}
	}
	return max(sum, 0)
}
