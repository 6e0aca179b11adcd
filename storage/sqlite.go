package storage

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// lite is a SQLite file: one connection that writes and a pool that reads.
// A short statement runs without the request's context, for the driver starts
// a goroutine for each statement that could be cancelled; the context is
// looked at before each statement instead.
type lite struct {
	d       *dialect
	slow    slowLog
	path    string
	remove  string // folder of a database in memory, removed at the end
	readers *sql.DB
	writers *sql.DB
	wait    time.Duration

	turn   chan struct{} // holds one token: the right to write
	writer *sql.Conn
	stmts  map[string]*sql.Stmt // of writer

	readStmts sync.Map // statement -> *sql.Stmt of readers

	putMu sync.Mutex
	puts  []*litePut // plain PUTs that wait for the turn
}

func openLite(ctx context.Context, path string, o Options, d *dialect) (*lite, error) {
	l := &lite{d: d, slow: newSlowLog(o), wait: o.PoolWait, turn: make(chan struct{}, 1), stmts: map[string]*sql.Stmt{}}
	l.turn <- struct{}{}
	synchronous := "FULL"
	if path == ":memory:" {
		dir, err := os.MkdirTemp("", "kalends-memory-")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		l.remove, path, synchronous = dir, filepath.Join(dir, "kalends.db"), "OFF"
	} else if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	l.path = path
	// Readers see the file through the memory map, so they need their own pages for
	// little more than the write-ahead log: there may be many of them.
	source := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{
			"busy_timeout(5000)", "foreign_keys(1)", "synchronous(" + synchronous + ")",
			"mmap_size(50331648)", "temp_store(2)",
		}, extra...)}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	fail := func(err error) (*lite, error) {
		_ = l.close()
		return nil, describe(err)
	}
	var err error
	if l.writers, err = sql.Open("sqlite", source("cache_size(-8192)", "journal_mode(WAL)", "journal_size_limit(67108864)")+"&_txlock=immediate"); err != nil {
		return fail(err)
	}
	l.writers.SetMaxOpenConns(1)
	if l.writer, err = l.writers.Conn(ctx); err != nil {
		return fail(err)
	}
	_ = os.Chmod(path, 0o600)
	if l.readers, err = sql.Open("sqlite", source("cache_size(-4096)", "query_only(1)")); err != nil {
		return fail(err)
	}
	l.readers.SetMaxOpenConns(o.MaxConns)
	l.readers.SetMaxIdleConns(o.MaxConns)
	return l, nil
}

func (l *lite) close() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if l.readers != nil {
		keep(l.readers.Close())
	}
	if l.writers != nil {
		if l.writer != nil {
			for _, s := range l.stmts {
				_ = s.Close()
			}
			keep(l.writer.Close())
		}
		keep(l.writers.Close())
	}
	if l.remove != "" {
		keep(os.RemoveAll(l.remove))
	}
	return first
}

// lock waits a bounded time for the turn to write.
func (l *lite) lock(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	default:
	}
	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("%w: another transaction has been writing for %v", ErrUnavailable, l.wait)
	}
}

func (l *lite) unlock() { l.turn <- struct{}{} }

// prepared is the writer's statement for query; the caller holds the turn.
func (l *lite) prepared(query string) (*sql.Stmt, error) {
	if s, ok := l.stmts[query]; ok {
		return s, nil
	}
	s, err := l.writer.PrepareContext(context.Background(), l.d.text(query))
	if err != nil {
		return nil, describe(err)
	}
	l.stmts[query] = s
	return s, nil
}

func (l *lite) readStmt(query string) (*sql.Stmt, error) {
	if s, ok := l.readStmts.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := l.readers.PrepareContext(context.Background(), l.d.text(query))
	if err != nil {
		return nil, describe(err)
	}
	if other, loaded := l.readStmts.LoadOrStore(query, s); loaded {
		_ = s.Close()
		return other.(*sql.Stmt), nil
	}
	return s, nil
}

// liteRows gives sql.Rows the shape of rows.
type liteRows struct {
	*sql.Rows
	reader
}

func (r *liteRows) Close()                 { _ = r.Rows.Close(); r.close() }
func (r *liteRows) Err() error             { return describe(r.Rows.Err()) }
func (r *liteRows) Scan(dest ...any) error { return describe(r.Rows.Scan(dest...)) }

// liteRead reads, each statement by itself or all in one snapshot.
type liteRead struct {
	l  *lite
	tx *sql.Tx // nil: each statement by itself
}

func (s liteRead) stmt(query string) (*sql.Stmt, error) {
	st, err := s.l.readStmt(query)
	if err == nil && s.tx != nil {
		st = s.tx.StmtContext(context.Background(), st)
	}
	return st, err
}

func (s liteRead) query(ctx context.Context, query string, args ...any) (rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	count(ctx, 1)
	st, err := s.stmt(query)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := st.QueryContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		s.l.slow.since(ctx, began, query)
		return nil, describe(err)
	}
	return &liteRows{r, reader{slow: &s.l.slow, ctx: ctx, statement: query, began: began}}, nil
}

func (s liteRead) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	count(ctx, 1)
	st, err := s.stmt(query)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	res, err := st.ExecContext(context.WithoutCancel(ctx), args...)
	s.l.slow.since(ctx, began, query)
	if err != nil {
		return 0, describe(err)
	}
	return res.RowsAffected()
}

func (s liteRead) later(ctx context.Context, query string, args ...any) error {
	_, err := s.exec(ctx, query, args...)
	return err
}

// liteTx is the one transaction that writes; its owner holds the turn.
type liteTx struct{ l *lite }

func (s liteTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	count(ctx, 1)
	st, err := s.l.prepared(query)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	res, err := st.ExecContext(context.Background(), args...)
	s.l.slow.since(ctx, began, query)
	if err != nil {
		return 0, describe(err)
	}
	return res.RowsAffected()
}

func (s liteTx) query(ctx context.Context, query string, args ...any) (rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	count(ctx, 1)
	st, err := s.l.prepared(query)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := st.QueryContext(context.Background(), args...)
	if err != nil {
		s.l.slow.since(ctx, began, query)
		return nil, describe(err)
	}
	return &liteRows{r, reader{slow: &s.l.slow, ctx: ctx, statement: query, began: began}}, nil
}

func (s liteTx) later(ctx context.Context, query string, args ...any) error {
	_, err := s.exec(ctx, query, args...)
	return err
}

// write runs fn between BEGIN IMMEDIATE and COMMIT. unsure tells that COMMIT
// itself failed in a way that leaves its outcome open.
func (l *lite) write(ctx context.Context, fn func(session) error) (unsure bool, err error) {
	if err := l.lock(ctx); err != nil {
		return false, err
	}
	defer l.unlock()
	s := liteTx{l}
	if _, err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return false, err
	}
	done := false
	defer func() {
		if !done { // an error, or fn panicked
			_, _ = s.exec(context.Background(), "ROLLBACK")
		}
	}()
	if err := fn(s); err != nil {
		return false, err
	}
	if _, err := s.exec(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		return false, err
	}
	done = true
	return false, nil
}

// snapshot runs fn on one consistent state of the database.
func (l *lite) snapshot(ctx context.Context, fn func(session) error) error {
	tx, err := l.readers.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return describe(err)
	}
	defer func() { _ = tx.Rollback() }()
	return fn(liteRead{l, tx})
}

// litePath is the file that a sqlite: URL names.
func litePath(rawURL string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(rawURL, "sqlite:"), "//")
	if path == "" || strings.ContainsAny(path, "?#\x00") {
		return "", fmt.Errorf("storage: %q names no file; write sqlite:PATH", rawURL)
	}
	return path, nil
}
