package storage

import (
	"context"
	"os"
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

// TestSQLiteIsPrivate: private keys are in the database, so nobody else may read it,
// nor the log of what was just written, whatever folder they are in.
func TestSQLiteIsPrivate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "open to all")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := Open(ctx, "sqlite:"+filepath.Join(dir, "kalends.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kalends.db", "kalends.db-wal", "kalends.db-shm"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", name, st.Mode())
		}
	}
}
