package storage

import (
	"context"
	"path/filepath"
	"testing"
)

// TestSQLiteDurable: what was committed survives a power cut: the writer syncs
// the log at each commit (synchronous=FULL), in WAL mode.
func TestSQLiteDurable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "kalends.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var mode string
	var level int
	if err := db.lite.writer.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode %q, %v", mode, err)
	}
	if err := db.lite.writer.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("synchronous %d, %v; want 2, FULL", level, err)
	}
}
