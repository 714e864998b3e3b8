package tui

import (
	"slices"
	"strings"
)

// eighths fill a cell from below.
var eighths = [...]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// chart draws values, none negative, as columns, h lines high and at most w
// wide, from the top line down. The largest value has the whole height, and what
// is more than zero is seen. Where there are more values than columns the newest,
// which are last, are drawn.
func chart(values []int64, w, h int) []string {
	if w <= 0 || h <= 0 {
		return nil
	}
	values = values[max(0, len(values)-w):]
	wide := 1
	if len(values) > 0 {
		wide = min(3, w/len(values))
	}
	most := int64(1)
	if len(values) > 0 {
		most = max(most, slices.Max(values))
	}
	lines := make([]string, h)
	for i := range lines {
		below := (h - 1 - i) * 8 // of the eighths under this line
		var b strings.Builder
		for _, v := range values {
			filled := int(float64(max(v, 0)) / float64(most) * float64(h*8))
			if v > 0 {
				filled = max(filled, 1)
			}
			cell := eighths[min(max(filled-below, 0), 8)]
			if wide == 3 {
				b.WriteString(strings.Repeat(cell, 2) + " ") // a gap between wide ones
			} else {
				b.WriteString(strings.Repeat(cell, wide))
			}
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// sparkline is a chart of one line.
func sparkline(values []int64, w int) string {
	lines := chart(values[max(0, len(values)-max(w, 0)):], min(w, len(values)), 1)
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// meter draws how much of limit is used, w columns wide: ██████░░░░.
func meter(used, limit int64, w int) string {
	if w <= 0 {
		return ""
	}
	filled := w
	if limit > 0 && used < limit {
		filled = int(float64(max(used, 0)) / float64(limit) * float64(w))
	}
	return strings.Repeat("█", filled) + strings.Repeat("░", w-filled)
}
