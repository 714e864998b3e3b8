package api_test

import (
	"strings"
	"testing"

	"tollgate/server/api"
)

func TestTextForPeople(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{api.Count(0), "0"},
		{api.Count(999), "999"},
		{api.Count(1000), "1,000"},
		{api.Count(1234567), "1,234,567"},
		{api.Count(-1234), "-1,234"},
		{api.Count(-1 << 63), "-9,223,372,036,854,775,808"},
		{api.Exact("234.500000000"), "234.50"},
		{api.Exact("1234567.000000001"), "1,234,567.000000001"},
		{api.Exact("-1234.120000000"), "-1,234.12"},
		{api.Exact("0.000000000"), "0.00"},
		{api.Exact("0.005000000"), "0.005"},
		{api.Exact("1000"), "1,000"},
		{api.Minor(0, 2), "0.00"},
		{api.Minor(5, 2), "0.05"},
		{api.Minor(123456, 2), "1,234.56"},
		{api.Minor(-123456, 2), "-1,234.56"},
		{api.Minor(123456, 0), "123,456"},
		{api.Minor(1500, 3), "1.500"},
		{api.Minor(-1<<63, 2), "-92,233,720,368,547,758.08"},
		{api.Size(0), "0 B"},
		{api.Size(1023), "1023 B"},
		{api.Size(1024), "1.0 KiB"},
		{api.Size(1024*1024 - 1), "1.0 MiB"},
		{api.Size(27 << 20), "27.0 MiB"},
		{api.Size(5 << 40), "5.0 TiB"},
		{api.Clean("Zoë, 株式会社"), "Zoë, 株式会社"},
		{api.Clean("a\x1b[2Jb"), "a?[2Jb"},
		{api.Clean("a\u202eb\u2066c"), "a?b?c"},
		{api.Clean("a\u009bb\r\n\tc\x7f"), "a?b???c?"},
		{api.Clean("a\xffb"), "a?b"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b]0;title\ab\x9b2J\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := api.Clean(s)
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e }) {
			t.Errorf("%q became %q", s, got)
		}
		if again := api.Clean(got); again != got {
			t.Errorf("%q became %q", got, again)
		}
	})
}
