package storage_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kalends/kalends/migrations"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

var bg = context.Background()

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite:a?b=c", "postgres://user:secret@[::1"} {
		_, err := storage.Open(bg, url, storage.Options{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", url, err)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	db, err := storage.Open(bg, "sqlite::memory:", storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(bg); err == nil {
		t.Error("a database without schema is ready")
	}
	if err := db.Migrate(bg); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(bg); err != nil {
		t.Error(err)
	}
}

// empty gives the URL of a database without schema.
func empty(t *testing.T, e storagetest.Engine) string {
	if e == storagetest.Postgres {
		return storagetest.PostgresURL(t)
	}
	return "sqlite:" + filepath.Join(t.TempDir(), "kalends.db")
}

func open(t *testing.T, url string) *storage.DB {
	t.Helper()
	db, err := storage.Open(bg, url, storage.Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// execute runs a statement behind the package's back.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		raw, err := sql.Open("sqlite", path)
		if err == nil {
			_, err = raw.Exec(statement)
			_ = raw.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := pgx.Connect(bg, url)
	if err == nil {
		_, err = conn.Exec(bg, statement)
		_ = conn.Close(bg)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := empty(t, e)
			db := open(t, url)
			latest, err := migrations.Latest(string(e))
			if err != nil {
				t.Fatal(err)
			}
			state := func(version uint) {
				t.Helper()
				s, err := db.MigrationStatus(bg)
				if want := (storage.MigrationState{Version: version, Latest: latest}); err != nil || s != want {
					t.Fatalf("status %+v, want %+v (%v)", s, want, err)
				}
			}
			state(0)
			var wg sync.WaitGroup // several starters at once
			for range 4 {
				starter := open(t, url)
				wg.Go(func() {
					if err := starter.Migrate(bg); err != nil {
						t.Errorf("migrate: %v", err)
					}
				})
			}
			wg.Wait()
			state(latest)
			if _, err := db.CreateAccount(bg, storage.Account{Handle: "alice"}); err != nil {
				t.Fatal(err)
			}
			if err := db.MigrateDown(bg, int(latest)); err != nil {
				t.Fatal(err)
			}
			state(0)
			if err := db.Migrate(bg); err != nil {
				t.Fatal(err)
			}
			if _, err := db.AccountByHandle(bg, "alice"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("error %v", err)
			}
			// A version of the future.
			execute(t, url, "UPDATE schema_migrations SET version = 99")
			if err := db.Migrate(bg); !errors.Is(err, storage.ErrNewer) {
				t.Errorf("error %v", err)
			}
			if err := db.MigrateForce(bg, int(latest)); err != nil {
				t.Fatal(err)
			}
			state(latest)
			if err := db.Migrate(bg); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDirtyMigration(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := empty(t, e)
			execute(t, url, "CREATE TABLE peer_state (x INTEGER)") // in the way
			db := open(t, url)
			if err := db.Migrate(bg); err == nil {
				t.Fatal("migrated over a foreign table")
			}
			err := db.Migrate(bg)
			if !errors.Is(err, storage.ErrDirty) || !strings.Contains(err.Error(), "kalends migrate force") {
				t.Fatalf("error %v", err)
			}
			execute(t, url, "DROP TABLE peer_state")
			if err := db.MigrateForce(bg, -1); err != nil {
				t.Fatal(err)
			}
			if err := db.Migrate(bg); err != nil {
				t.Fatal(err)
			}
			if err := db.Ping(bg); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestServerGone stops PostgreSQL under open handles and starts it again.
func TestServerGone(t *testing.T) {
	t.Parallel()
	cluster := storagetest.NewCluster(t, storagetest.ClusterOptions{Durable: true}) // Stop is like a crash
	if err := cluster.Create(bg, "kalends", ""); err != nil {
		t.Fatal(err)
	}
	db := storagetest.OpenURL(t, cluster.URL("kalends"), storage.Options{PoolWait: 2 * time.Second})
	a, err := db.CreateAccount(bg, storage.Account{Handle: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	k, err := db.CollectionByName(bg, a.ID, "calendar")
	if err != nil {
		t.Fatal(err)
	}
	o := storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: k.CollectionKey, Name: "x"}, UID: "u", Component: "VEVENT", ETag: "e", Data: "d"}
	all := map[string]func() error{
		"find": func() error { _, err := db.Find(bg, storage.Query{Login: "alice"}); return err },
		"put":  func() error { _, err := db.PutPlain(bg, storage.PlainPut{Object: o}); return err },
		"view": func() error {
			return db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
				_, err := tx.Collections(ctx, a.ID)
				return err
			})
		},
		"tx": func() error {
			return db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
				_, err := tx.Apply(ctx, []storage.Write{{Object: o}})
				return err
			})
		},
	}
	for range 2 {
		for name, fn := range all {
			if err := fn(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := cluster.Stop(); err != nil {
			t.Fatal(err)
		}
		for name, fn := range all {
			if err := fn(); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s while the server is down: %v", name, err)
			}
		}
		if err := cluster.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for name, fn := range all {
		if err := fn(); err != nil {
			t.Errorf("%s after the restart: %v", name, err)
		}
	}
}

func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			db := storagetest.OpenWith(t, e, storage.Options{MaxConns: 1, PoolWait: 50 * time.Millisecond})
			err := db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
				if _, err := tx.Collections(ctx, 1); err != nil {
					return err
				}
				return db.Tx(ctx, func(context.Context, *storage.Tx) error { return nil })
			})
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("error %v", err)
			}
			// The connection is back, soon: the wait for one is short here, and a
			// busy machine may take longer to give it back.
			for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				if err = db.Ping(bg); err == nil {
					break
				}
				if time.Since(began) > 10*time.Second {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, storagetest.SQLite)
	a, err := db.CreateAccount(bg, storage.Account{Handle: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	k, err := db.CollectionByName(bg, a.ID, "calendar")
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.LimitPages(db, 200); err != nil {
		t.Fatal(err)
	}
	o := storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: k.CollectionKey, Name: "x"}, UID: "u", Component: "VEVENT", ETag: "e", Data: strings.Repeat("x", 2<<20)}
	if _, err := db.PutPlain(bg, storage.PlainPut{Object: o}); !errors.Is(err, storage.ErrFull) {
		t.Errorf("PutPlain: %v", err)
	}
	err = db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Apply(ctx, []storage.Write{{Object: o}})
		return err
	})
	if !errors.Is(err, storage.ErrFull) {
		t.Errorf("Tx: %v", err)
	}
	o.Data = "small"
	r, err := db.PutPlain(bg, storage.PlainPut{Object: o})
	if err != nil || r.Seq != 1 {
		t.Errorf("after it: %+v, %v", r, err)
	}
}
