package ledger_test

import (
	"errors"
	"testing"
	"time"

	"tollgate/ledger"
	"tollgate/ledger/ledgertest"
)

// TestTermsOfOneUser: they are found for that user alone, and again after the
// ledger was opened from its log and from its checkpoint.
func TestTermsOfOneUser(t *testing.T) {
	at := time.Date(2025, time.March, 1, 0, 0, 0, 0, time.UTC)
	l := ledgertest.New(t, ledger.Options{Now: at})
	all, err := l.PublishVersion(at, ledger.PlanVersion, "pro", []byte(`{}`), at)
	if err != nil {
		t.Fatal(err)
	}
	ann, err := l.AddUser(at, "test", ledger.Personal{Email: "ann@example.com"}, "pro")
	if err != nil {
		t.Fatal(err)
	}
	first, err := l.Agree(at, "uid 7", ann.ID, "pro", []byte(`{"fee":"4"}`), at.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = l.Agree(at, "uid 7", ann.ID, "pro", []byte("null"), at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !first.Effective.Equal(at) {
		t.Errorf("the terms begin at %v, before they were made", first.Effective)
	}
	if _, err := l.Agree(at, "uid 7", 99, "pro", []byte(`{}`), at); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("of a user that is not there: %v", err)
	}
	for _, terms := range []string{"", "{"} {
		if _, err := l.Agree(at, "uid 7", ann.ID, "pro", []byte(terms), at); err == nil {
			t.Errorf("terms %q were taken", terms)
		}
	}
	for _, checkpoint := range []bool{false, true} {
		if checkpoint {
			if err := l.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = ledgertest.Open(t, l.Path(), ledger.Options{Now: at})
		own := l.OwnVersions(ann.ID)
		if len(own) != 2 || own[0].ID != first.ID || own[0].By != "uid 7" || string(own[1].Terms) != "null" {
			t.Fatalf("checkpoint %v: the user's terms are %+v", checkpoint, own)
		}
		if got := l.VersionByID(first.ID); got == nil || got.User != ann.ID {
			t.Errorf("checkpoint %v: version %d is %+v", checkpoint, first.ID, got)
		}
		if got := l.VersionAt(ledger.PlanVersion, "pro", at, at.Add(time.Minute)); got == nil || got.ID != all.ID {
			t.Errorf("checkpoint %v: everyone's terms are %+v", checkpoint, got)
		}
		if list := l.Versions(ledger.PlanVersion); len(list) != 1 {
			t.Errorf("checkpoint %v: %d versions for everyone", checkpoint, len(list))
		}
		if list := l.OwnVersions(0); list != nil {
			t.Errorf("checkpoint %v: of nobody: %v", checkpoint, list)
		}
	}
}
