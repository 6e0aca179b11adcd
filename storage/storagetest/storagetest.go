// Package storagetest opens databases for tests, and holds the conformance
// suite that every engine of package storage passes.
//
// PostgreSQL is a cluster made from the installed binaries, shared by all test
// processes that run at the time and gone a few seconds after the last one;
// each test has a database of its own, cloned from a migrated template. SQLite
// is a file in the test's folder. Nothing is ever skipped: where PostgreSQL is
// missing, root installs it and everybody else fails.
package storagetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

// Engine names an engine that tests run on.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Engines are all of them.
func Engines(testing.TB) []Engine { return []Engine{SQLite, Postgres} }

var (
	serial atomic.Int64
	urls   sync.Map // *storage.DB -> string
)

// URL names a fresh database with the present schema.
func URL(tb testing.TB, e Engine) string {
	tb.Helper()
	if e == SQLite {
		return "sqlite:" + filepath.Join(tb.TempDir(), "kalends.db")
	}
	name, err := template()
	if err != nil {
		tb.Fatal(err)
	}
	return create(tb, name)
}

// PostgresURL names a fresh, empty PostgreSQL database.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	return create(tb, "")
}

func create(tb testing.TB, template string) string {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := fmt.Sprintf("test_%d_%d_%d", os.Getpid(), time.Now().UnixNano(), serial.Add(1))
	if err := c.Create(ctx, name, template); err != nil {
		tb.Fatal(err)
	}
	return c.URL(name)
}

// Open opens a fresh database with the present schema; it is closed after the
// test.
func Open(tb testing.TB, e Engine) *storage.DB {
	tb.Helper()
	return OpenURL(tb, URL(tb, e), storage.Options{})
}

// OpenWith is Open with options, for instance a clock.
func OpenWith(tb testing.TB, e Engine, o storage.Options) *storage.DB {
	tb.Helper()
	return OpenURL(tb, URL(tb, e), o)
}

// OpenURL opens a database, brings its schema up to date, and closes it after
// the test.
func OpenURL(tb testing.TB, url string, o storage.Options) *storage.DB {
	tb.Helper()
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	db, err := storage.Open(context.Background(), url, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(context.Background()); err != nil {
		tb.Fatal(err)
	}
	urls.Store(db, url)
	return db
}

// Second opens the database of db once more, as another node would.
func Second(tb testing.TB, db *storage.DB) *storage.DB {
	tb.Helper()
	return SecondWith(tb, db, storage.Options{})
}

// SecondWith is Second with options.
func SecondWith(tb testing.TB, db *storage.DB, o storage.Options) *storage.DB {
	tb.Helper()
	url, ok := urls.Load(db)
	if !ok {
		tb.Fatal("storagetest: this database was not opened by the package")
	}
	return OpenURL(tb, url.(string), o)
}

// Clock is a clock that stands still until it is moved.
type Clock struct{ micros atomic.Int64 }

// NewClock begins at a fixed time.
func NewClock() *Clock {
	c := new(Clock)
	c.micros.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

// Now is the clock's time.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.micros.Load()).UTC() }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.micros.Add(d.Microseconds()) }
