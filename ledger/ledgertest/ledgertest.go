package ledgertest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tollgate/ledger"
)

// Start is when ledgers of tests begin unless told otherwise: the middle of a month.
var Start = time.Date(2025, 1, 15, 12, 0, 0, 0, time.UTC)

// New opens a ledger in a folder of the test's own. When the test ends it is
// verified and closed, and its file is verified again.
func New(t testing.TB, o ledger.Options) *ledger.Ledger {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "tollgate.db"), o)
}

// Open is New for a path; the ledger may exist. It may be closed before the
// test ends.
func Open(t testing.TB, path string, o ledger.Options) *ledger.Ledger {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = Start
	}
	l, err := ledger.Open(path, o)
	if err != nil {
		t.Fatalf("open ledger: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close ledger: %v", err)
		}
		Verify(t, path)
	})
	return l
}

// Verify verifies a file that no ledger has open.
func Verify(t testing.TB, path string) ledger.Report {
	t.Helper()
	report, err := ledger.VerifyFile(context.Background(), path, ledger.Checks{}, nil)
	if err != nil {
		t.Errorf("verify %s: %v", path, err)
	}
	for _, p := range report.Problems {
		t.Errorf("verify %s: %s", path, p)
	}
	return report
}
