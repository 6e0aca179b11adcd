// Package storage keeps everything that Kalends knows in a database:
// PostgreSQL or SQLite. It owns every SQL statement, the schema's versions,
// transactions and their retries, the change journal behind sync tokens, and
// the rows of deliveries.
//
// It never parses iCalendar and decides nothing about scheduling: objects come
// with their index values, messages with their text. Rows of calendar objects
// are written by the scheduling package alone.
//
// # Transactions
//
// DB.Tx runs a function in a read-write transaction (READ COMMITTED) and runs
// it again, from its start, when the database says that this may help: a
// serialization failure, a deadlock, a lock that took too long, a busy file,
// once for a unique violation (usually a race), and when the connection was
// lost before the commit. The function must therefore have no effects outside.
// Locks are rows: LockUIDs first, then LockCollections, then reading; who
// reads after locking sees what the one before committed. DB.View reads one
// consistent state. Inside of either only methods of Tx may be used; on
// SQLite a second writing transaction would wait for the first.
//
// The engine may send a statement without result together with the next one.
// So an error of Apply, Enqueue and the like may come out of a later call or
// of DB.Tx itself. After any error the transaction must be left.
//
// # Engines
//
// Each statement is written once; dialect.go holds the true differences. On
// PostgreSQL statements go through native pgx connections and not through
// database/sql: it is the same text, it is cheaper, and it can send several
// statements in one round trip (a plain PUT needs one, see DB.PutPlain). On
// SQLite they go through database/sql with prepared statements, one connection
// that writes and several that read. "sqlite::memory:" is a private file in
// the folder for temporary files, gone after Close, so that it behaves like
// any other SQLite database.
//
// # Errors
//
// ErrNotFound, ErrExists (also ErrUIDConflict, HeldError), ErrBadToken,
// ErrPrecondition, ErrNotPlain, ErrUnavailable (try again later), ErrFull,
// ErrDirty, ErrNewer; asked with errors.Is. Everything else is a defect or a
// damaged database and is wrapped as it came.
package storage

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Options of Open; the zero value is usable.
type Options struct {
	MaxConns int              // connections at most; 0: 16. On SQLite: readers
	PoolWait time.Duration    // how long to wait for one; 0: 5 s
	Clock    func() time.Time // nil: time.Now
	Rand     io.Reader        // ids, tags, nonces; nil: crypto/rand
	Log      *slog.Logger     // nil: discards
	PeerID   string           // names this process among those on the database; "": random
	Keys     KeyCodec         // how private keys lie in the database; nil: as they are

	SlowStatement time.Duration                // statements that take as long are logged; 0: none
	RequestID     func(context.Context) string // for that log
}

// KeyCodec encrypts the private keys of domains on their way into the database.
type KeyCodec interface {
	Seal(Key) (string, error) // the text to store for Key.PEM
	Open(Key) (string, error) // the text behind what is stored
}

// DB is an open database. All methods may be used by many goroutines.
type DB struct {
	d     *dialect
	pg    *postgres // one of the two
	lite  *lite
	url   string
	clock func() time.Time
	log   *slog.Logger
	peer  string
	keys  KeyCodec
	hub   hub

	accounts  accountCache
	calendars calendarCache
	contents  contentsCache
	listings  listings
	bodies    bodies
	rooms     rooms

	randMu sync.Mutex
	rand   *bufio.Reader
}

// Open opens a database: "sqlite:PATH", "sqlite::memory:" or "postgres://…".
// It does not look at the schema; Migrate does. A PostgreSQL server that is
// down is no error here but one of the first use.
func Open(ctx context.Context, rawURL string, o Options) (*DB, error) {
	if o.MaxConns <= 0 {
		o.MaxConns = 16
	}
	if o.PoolWait <= 0 {
		o.PoolWait = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db := &DB{url: rawURL, clock: o.Clock, log: o.Log, peer: o.PeerID, keys: o.Keys, rand: bufio.NewReaderSize(o.Rand, 512)}
	if db.peer == "" {
		db.peer = db.random(8)
	}
	var err error
	switch {
	case strings.HasPrefix(rawURL, "sqlite:"):
		var path string
		if path, err = litePath(rawURL); err != nil {
			return nil, err
		}
		db.d = &dialect{name: engineSQLite}
		db.lite, err = openLite(ctx, path, o, db.d)
	case strings.HasPrefix(rawURL, "postgres://"), strings.HasPrefix(rawURL, "postgresql://"):
		db.d = &dialect{name: enginePostgres}
		db.pg, err = openPostgres(ctx, rawURL, o, db.d)
	default:
		scheme, _, _ := strings.Cut(rawURL, ":")
		err = fmt.Errorf("storage: no engine for %q; write sqlite:PATH or postgres://…", scheme)
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Engine is "postgres" or "sqlite".
func (db *DB) Engine() string { return db.d.name }

// Now is the time by the clock of Options.
func (db *DB) Now() time.Time { return db.clock() }

// Close waits for the connections in use to come back and closes them.
func (db *DB) Close() error {
	if db.pg != nil {
		db.pg.pool.Close()
		return nil
	}
	return db.lite.close()
}

// Ping tells whether the database answers and has the schema of this binary.
func (db *DB) Ping(ctx context.Context) error {
	_, err := readOne(ctx, db, scanInt, `SELECT count(*) FROM lease WHERE name = 'claim'`)
	return err
}

// NewID makes up an id: positive, 62 bits.
func (db *DB) NewID() int64 {
	var b [8]byte
	db.fill(b[:])
	return int64(binary.BigEndian.Uint64(b[:])&(1<<62-1)) | 1<<32
}

// random is n random octets in hexadecimal.
func (db *DB) random(n int) string {
	b := make([]byte, n)
	db.fill(b)
	return hex.EncodeToString(b)
}

// newUUID is a version 4 UUID (RFC 9562 §5.4).
func (db *DB) newUUID() string {
	var b [16]byte
	db.fill(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (db *DB) fill(b []byte) {
	db.randMu.Lock()
	defer db.randMu.Unlock()
	if _, err := io.ReadFull(db.rand, b); err != nil {
		// Without randomness neither ids nor tags can be trusted.
		panic("storage: the source of randomness failed: " + err.Error())
	}
}

// read runs fn on a connection outside of any transaction and, when that
// turns out to be a dead one, once more on a fresh one.
func (db *DB) read(ctx context.Context, fn func(session) error) error {
	ask(ctx)
	if db.lite != nil {
		return fn(liteRead{l: db.lite})
	}
	return db.again(ctx, func() error {
		c, err := db.pg.acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		return fn(pgRead{c, db.pg})
	})
}

// readTogether reads a few rows by their keys, in one round trip where there is
// one. What takes them runs again when the statement does.
func (db *DB) readTogether(ctx context.Context, list ...reading) error {
	ask(ctx)
	if db.pg != nil {
		return db.again(ctx, func() error { return db.pg.readTogether(ctx, list) })
	}
	for _, one := range list {
		if err := one.alone(ctx, liteRead{l: db.lite}); err != nil {
			return err
		}
	}
	return nil
}

// again runs a read on PostgreSQL, anew when the connection was gone.
func (db *DB) again(ctx context.Context, fn func() error) error {
	began := time.Now()
	for attempt := 0; ; attempt++ {
		err := fn()
		switch {
		case err == nil:
			return nil
		case attempt < 2 && ctx.Err() == nil && classify(err) == failureGone:
			db.pg.pool.Reset()
		case attempt < 2 && classify(err) == failureRetry && time.Since(began) < retryFor:
		default:
			return err
		}
	}
}

// readAll and readOne are queryAll and queryOne outside of a transaction.
func readAll[T any](ctx context.Context, db *DB, scan func(rows) (T, error), query string, args ...any) (out []T, err error) {
	err = db.read(ctx, func(s session) error {
		out, err = queryAll(ctx, s, scan, query, args...)
		return err
	})
	return out, err
}

func readOne[T any](ctx context.Context, db *DB, scan func(rows) (T, error), query string, args ...any) (out T, err error) {
	err = db.read(ctx, func(s session) error {
		out, err = queryOne(ctx, s, scan, query, args...)
		return err
	})
	return out, err
}

// write runs one statement as a transaction of its own.
func (db *DB) write(ctx context.Context, query string, args ...any) (affected int64, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		affected, err = tx.s.exec(ctx, query, args...)
		return err
	})
	return affected, err
}

// retries bound how often DB.Tx runs its function, retryFor how long after its
// start it may begin again: who waited for a lock that long is told so. A
// deadlock is found within a second and always begins again.
const (
	retries  = 12
	retryFor = 8 * time.Second
)

// pause waits before attempt n (from 1) with jitter, or until ctx is done.
func pause(ctx context.Context, n int) error {
	limit := min(time.Millisecond<<min(n, 8), 200*time.Millisecond)
	timer := time.NewTimer(time.Duration(mathrand.Int64N(int64(limit))) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err())
	}
}
