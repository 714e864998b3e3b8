package server_test

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/server"
	"tollgate/server/config"
)

func TestSeedDemo(t *testing.T) {
	c := config.Default()
	c.Ledger.Path = filepath.Join(t.TempDir(), "tollgate.db")
	now := time.Date(2025, 1, 17, 14, 25, 3, 0, time.UTC)
	log := slog.New(slog.DiscardHandler)
	users, err := server.SeedDemo(t.Context(), c, now, rand.Reader, log)
	if err != nil {
		t.Fatal(err)
	}
	report, err := server.VerifyFile(t.Context(), c.Ledger.Path, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("the demo's ledger is not sound: %v, %v", err, report.Problems)
	}
	again, err := server.SeedDemo(t.Context(), c, now.Add(time.Hour), rand.Reader, log)
	if err != nil {
		t.Fatal(err)
	}
	for i, u := range again {
		if u.ID != users[i].ID || u.APIKey == users[i].APIKey {
			t.Errorf("started again, the demo has user %d with key %.12s, want user %d with a new key", u.ID, u.APIKey, users[i].ID)
		}
	}

	options := ledger.Options{Now: now.Add(time.Hour), Zone: c.Billing.Timezone, Currency: c.Billing.Currency}
	l, err := ledger.Open(c.Ledger.Path, options)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for month, want := range map[ledger.Month]int64{ledger.MonthOf(2024, 8): 312, ledger.MonthOf(2024, 12): 791, ledger.MonthOf(2025, 1): 847} {
		rows, err := l.Month(users[0].ID, month)
		if err != nil {
			t.Fatal(err)
		}
		if got := ledger.Sum(rows).Calls; got != want {
			t.Errorf("%s has %d calls in %v, want %d", users[0].Email, got, month, want)
		}
	}
	for kind, want := range map[ledger.VersionKind]int{ledger.PlanVersion: 3, ledger.RouteVersion: 2} {
		if got := len(l.Versions(kind)); got != want {
			t.Errorf("there are %d versions of the kind %s, want %d", got, kind, want)
		}
	}
}

func TestSeedDemoLeavesOtherLedgersAlone(t *testing.T) {
	c := config.Default()
	c.Ledger.Path = filepath.Join(t.TempDir(), "tollgate.db")
	now := time.Date(2025, 1, 17, 14, 25, 3, 0, time.UTC)
	l, err := ledger.Open(c.Ledger.Path, ledger.Options{Now: now, Zone: "UTC", Currency: "usd"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = server.SeedDemo(t.Context(), c, now, rand.Reader, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "not a ledger of the demo") {
		t.Errorf("a ledger of something else gave %v", err)
	}
}
