package api

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"
)

func TestDollars(t *testing.T) {
	for _, tt := range []struct {
		minor  int64
		digits int
		want   string
	}{
		{23450, 2, "234.50"}, {0, 2, "0.00"}, {-5, 2, "-0.05"}, {1000, 0, "1000"}, {1234, 3, "1.234"},
		{9007199254740993, 2, "90071992547409.93"}, {math.MaxInt64, 2, "92233720368547758.07"},
	} {
		text, err := json.Marshal(Dollars{tt.minor, tt.digits})
		if err != nil || string(text) != tt.want {
			t.Errorf("%d with %d digits: got %s, %v, want %s", tt.minor, tt.digits, text, err, tt.want)
		}
		var back Dollars
		if err := json.Unmarshal(text, &back); err != nil || back != (Dollars{tt.minor, tt.digits}) {
			t.Errorf("%s read back: got %+v, %v", text, back, err)
		}
	}
	for _, bad := range []string{`"1"`, `1e3`, `null`, `1.2e1`, `99999999999999999999`} {
		if err := json.Unmarshal([]byte(bad), new(Dollars)); err == nil {
			t.Errorf("%s: read", bad)
		}
	}
}

func TestPercentRoundsDown(t *testing.T) {
	for _, tt := range []struct {
		used, total int64
		want        string
	}{
		{847, 1000, "84.7"}, {0, 1000, "0.0"}, {1000, 1000, "100.0"}, {9999, 10000, "99.9"}, {1200, 1000, "120.0"},
		{0, 0, "100.0"}, {2, 3, "66.6"},
		{math.MaxInt64 - 1, math.MaxInt64, "99.9"}, {math.MaxInt64, math.MaxInt64, "100.0"}, {math.MaxInt64 / 2, math.MaxInt64, "49.9"},
	} {
		if got := percent(tt.used, tt.total).String(); got != tt.want {
			t.Errorf("%d of %d: got %s, want %s", tt.used, tt.total, got, tt.want)
		}
	}
}

func FuzzPercent(f *testing.F) {
	f.Add(int64(847), int64(1000))
	f.Add(int64(math.MaxInt64), int64(3))
	f.Fuzz(func(t *testing.T, used, total int64) {
		if used < 0 || total <= 0 {
			return // counts are never negative
		}
		want := new(big.Int).Mul(big.NewInt(used), big.NewInt(1000))
		want.Quo(want, big.NewInt(total))
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if got := percent(used, total); int64(got) != want.Int64() {
			t.Errorf("%d of %d: got %d, want %v", used, total, got, want)
		}
	})
}
