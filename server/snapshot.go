package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	snapshotPrefix = "tollgate-"
	snapshotSuffix = ".db"
)

// snapshot makes the consistent copy of the ledger that people copy away, and
// removes the oldest ones beyond those to keep.
func (s *Server) snapshot(ctx context.Context) error {
	c := s.config.Load().Ledger
	if err := os.MkdirAll(c.SnapshotDir, 0o700); err != nil {
		return fmt.Errorf("folder of the snapshots: %w", err)
	}
	name := snapshotPrefix + s.clock.Now().Format("2006-01-02") + snapshotSuffix
	path := filepath.Join(c.SnapshotDir, name)
	made, err := s.ledger.Backup(ctx, path, nil)
	if errors.Is(err, os.ErrExist) {
		return nil // of today
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	s.log.Info("a snapshot of the ledger was made", "file", path, "entries", made.Entries)
	list, err := os.ReadDir(c.SnapshotDir)
	if err != nil {
		return fmt.Errorf("old snapshots: %w", err)
	}
	var names []string
	for _, f := range list {
		if strings.HasPrefix(f.Name(), snapshotPrefix) && strings.HasSuffix(f.Name(), snapshotSuffix) {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names) // by date
	for len(names) > c.SnapshotKeep {
		if err := os.Remove(filepath.Join(c.SnapshotDir, names[0])); err != nil {
			return fmt.Errorf("old snapshots: %w", err)
		}
		names = names[1:]
	}
	return nil
}
