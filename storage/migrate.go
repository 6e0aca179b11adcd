package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kalends/kalends/migrations"
)

// Migrate brings the schema to the version of this binary. It may be called by
// several processes at once. A schema that is newer is refused with ErrNewer,
// one that an earlier attempt left half way with ErrDirty.
func (db *DB) Migrate(ctx context.Context) error {
	return db.migration(ctx, func(m *migrate.Migrate, latest uint) error {
		version, dirty, err := m.Version()
		switch {
		case errors.Is(err, migrate.ErrNilVersion):
		case err != nil:
			return err
		case version > latest:
			return fmt.Errorf("%w: its schema is version %d, this binary knows up to %d; start the newer binary, or go back with its `kalends migrate`", ErrNewer, version, latest)
		case version == latest && !dirty:
			return nil
		}
		// A mark seen here may be another starter's work in progress. Up looks
		// again when it has the lock.
		return m.Up()
	})
}

// MigrateDown takes back the newest steps; with them goes the data in them.
func (db *DB) MigrateDown(ctx context.Context, steps int) error {
	if steps <= 0 {
		return nil
	}
	return db.migration(ctx, func(m *migrate.Migrate, _ uint) error {
		err := m.Steps(-steps)
		var short migrate.ErrShortLimit
		if errors.As(err, &short) { // there were fewer: versions have gaps
			return nil
		}
		return err
	})
}

// MigrateForce writes down that the schema is at version and clean, after
// somebody has put it right by hand; -1 stands for an empty database.
func (db *DB) MigrateForce(ctx context.Context, version int) error {
	return db.migration(ctx, func(m *migrate.Migrate, _ uint) error { return m.Force(version) })
}

// MigrationStatus tells where the schema stands.
func (db *DB) MigrationStatus(ctx context.Context) (st MigrationState, err error) {
	err = db.migration(ctx, func(m *migrate.Migrate, latest uint) error {
		st.Latest = latest
		st.Version, st.Dirty, err = m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		return err
	})
	return st, err
}

func (db *DB) migration(ctx context.Context, fn func(m *migrate.Migrate, latest uint) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	latest, err := migrations.Latest(db.d.name)
	if err != nil {
		return err
	}
	files, err := migrations.Files(db.d.name)
	if err != nil {
		return err
	}
	source, err := iofs.New(files, ".")
	if err != nil {
		return fmt.Errorf("storage: migrations: %w", err)
	}
	var driver database.Driver
	if db.lite != nil {
		if err := db.lite.lock(ctx); err != nil {
			return err
		}
		defer db.lite.unlock()
		driver = &liteMigration{ctx: ctx, conn: db.lite.writer}
	} else {
		pool := stdlib.OpenDB(*db.pg.pool.Config().ConnConfig)
		defer pool.Close()
		// A starter may have to wait for another one's migration.
		if _, err := pool.ExecContext(ctx, "SELECT 1"); err != nil {
			return describe(err)
		}
		if driver, err = pgxmigrate.WithInstance(pool, &pgxmigrate.Config{}); err != nil {
			return describe(err)
		}
		defer func() { _ = driver.Close() }()
	}
	m, err := migrate.NewWithInstance("iofs", source, db.d.name, driver)
	if err != nil {
		return describe(err)
	}
	m.LockTimeout = 2 * time.Minute
	err = fn(m, latest)
	var dirty migrate.ErrDirty
	switch {
	case err == nil, errors.Is(err, migrate.ErrNoChange):
		return nil
	case errors.As(err, &dirty):
		return fmt.Errorf("%w at version %d: put the schema right, then run `kalends migrate force %d` (or the version before it)", ErrDirty, dirty.Version, dirty.Version)
	case errors.Is(err, migrate.ErrLockTimeout):
		return fmt.Errorf("%w: another process is migrating the database: %w", ErrUnavailable, err)
	}
	return describe(err)
}

// liteMigration is golang-migrate's driver for SQLite on our writing
// connection. The lock is a transaction around everything, so that processes
// that start together wait for each other, and a killed one leaves nothing
// behind; a failed step is undone to its savepoint and marked dirty.
type liteMigration struct {
	ctx    context.Context
	conn   *sql.Conn
	locked bool
}

func (m *liteMigration) Open(string) (database.Driver, error) {
	return nil, errors.New("storage: this driver opens no URL")
}

func (m *liteMigration) Close() error { return nil }

func (m *liteMigration) run(query string, args ...any) error {
	_, err := m.conn.ExecContext(context.WithoutCancel(m.ctx), query, args...)
	return err
}

func (m *liteMigration) Lock() error {
	if m.locked {
		return database.ErrLocked
	}
	var err error
	for attempt := 1; attempt < 24; attempt++ { // each waits for the busy timeout
		if err = m.run("BEGIN IMMEDIATE"); err == nil || classify(err) != failureRetry {
			break
		}
	}
	m.locked = err == nil
	return err
}

func (m *liteMigration) Unlock() error {
	if !m.locked {
		return database.ErrNotLocked
	}
	m.locked = false
	if err := m.run("COMMIT"); err != nil {
		_ = m.run("ROLLBACK")
		return err
	}
	return nil
}

func (m *liteMigration) Run(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := m.run("SAVEPOINT migration"); err != nil {
		return err
	}
	if err := m.run(string(text)); err != nil {
		_ = m.run("ROLLBACK TO migration")
		_ = m.run("RELEASE migration")
		return &database.Error{OrigErr: err, Err: "migration failed"}
	}
	return m.run("RELEASE migration")
}

const versionTable = `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER NOT NULL PRIMARY KEY, dirty INTEGER NOT NULL) STRICT`

func (m *liteMigration) SetVersion(version int, dirty bool) error {
	if err := m.run(versionTable); err != nil {
		return err
	}
	if err := m.run("DELETE FROM schema_migrations"); err != nil {
		return err
	}
	if version < 0 && !dirty {
		return nil
	}
	return m.run("INSERT INTO schema_migrations (version, dirty) VALUES (?, ?)", version, bit(dirty))
}

func (m *liteMigration) Version() (version int, dirty bool, err error) {
	ctx := context.WithoutCancel(m.ctx)
	var n int
	if err := m.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'").Scan(&n); err != nil {
		return 0, false, err
	}
	if n == 0 {
		return database.NilVersion, false, nil
	}
	err = m.conn.QueryRowContext(ctx, "SELECT version, dirty FROM schema_migrations").Scan(&version, &dirty)
	if errors.Is(err, sql.ErrNoRows) {
		return database.NilVersion, false, nil
	}
	return version, dirty, err
}

func (m *liteMigration) Drop() error {
	return errors.New("storage: dropping everything is not done by a migration")
}
