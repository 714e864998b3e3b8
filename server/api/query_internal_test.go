package api

import (
	"testing"
	"time"
)

func TestAccepts(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"", typeJSON},
		{"*/*", typeJSON},
		{"application/json", typeJSON},
		{"text/csv", typeCSV},
		{"text/*", typeCSV},
		{"application/x-ndjson", typeNDJSON},
		{"TEXT/CSV; charset=utf-8", typeCSV},
		{"text/html, application/xhtml+xml, */*;q=0.8", typeJSON},
		{"application/json;q=0.5, text/csv", typeCSV},
		{"application/*, text/csv;q=0.9", typeJSON},
		{"application/json;q=0, */*", typeCSV},
		{"text/csv;q=nonsense", ""},
		{"text/csv, */*", typeCSV},
		{"application/json, text/plain, */*", typeJSON},
		{"text/html", ""},
	} {
		got, ok := accepts(tt.header, typeJSON, typeCSV, typeNDJSON)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.header, got, ok, tt.want)
		}
	}
}

func TestCursorIsReadBack(t *testing.T) {
	if cursorText(0) != nil {
		t.Error("there is a cursor to nowhere")
	}
	for _, position := range []uint64{1, 127, 128, 1 << 40, 1<<64 - 1} {
		got, ok := parseCursor(*cursorText(position))
		if !ok || got != position {
			t.Errorf("%d: got %d, %v", position, got, ok)
		}
	}
	for _, bad := range []string{"", "1", "abc", "AQA", "AYAA", "AgE", "AQE=", "AQEB", "AQ", "AYCAgICAgICAgIAC"} {
		if position, ok := parseCursor(bad); ok {
			t.Errorf("%q: read as %d", bad, position)
		}
	}
}

func TestParseInstant(t *testing.T) {
	for _, tt := range []struct{ text, zone, want string }{
		{"2025-01-15T10:00:00Z", "UTC", "2025-01-15T10:00:00Z"},
		{"2025-01-15T10:00:00.5+02:00", "UTC", "2025-01-15T08:00:00.5Z"},
		{"2025-01-15T10:00:00 02:00", "UTC", "2025-01-15T08:00:00Z"},
		{"2025-01-15", "UTC", "2025-01-15T00:00:00Z"},
		{"2025-01-15", "Europe/Berlin", "2025-01-14T23:00:00Z"},
		{"2025-02-29", "UTC", ""},
		{"yesterday", "UTC", ""},
		{"1736935200", "UTC", ""},
	} {
		got, err := parseInstant(tt.text, tt.zone)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q: read as %v", tt.text, got)
			}
		} else if err != nil || got.Format(time.RFC3339Nano) != tt.want {
			t.Errorf("%q in %s: got %v, %v, want %s", tt.text, tt.zone, got, err, tt.want)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("AQE")
	f.Add(*cursorText(1<<64 - 1))
	f.Fuzz(func(t *testing.T, text string) {
		if position, ok := parseCursor(text); ok && *cursorText(position) != text {
			t.Errorf("%q is read as %d, whose cursor is %q", text, position, *cursorText(position))
		}
	})
}

func FuzzAccepts(f *testing.F) {
	f.Add("text/html, application/xhtml+xml, */*;q=0.8")
	f.Fuzz(func(t *testing.T, header string) {
		if got, ok := accepts(header, typeJSON, typeCSV); ok && got != typeJSON && got != typeCSV {
			t.Errorf("%q: got %q", header, got)
		}
	})
}

func TestCellIsNoFormula(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""}, {"GET", "GET"}, {"POST /v1/scan", "POST /v1/scan"}, {"=1+1", "'=1+1"}, {"+1", "'+1"}, {"-1", "'-1"}, {"@SUM(A1)", "'@SUM(A1)"}, {"\t=1", "'\t=1"},
	} {
		if got := cell(tt.text); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}
