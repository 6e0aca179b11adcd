package storage

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgres is the pool of native connections. pgx keeps statements prepared
// per connection and can send several in one round trip.
type postgres struct {
	pool *pgxpool.Pool
	d    *dialect
	slow slowLog
	wait time.Duration // for a free connection

	lines pgPutLines
	reads pgReads
}

func openPostgres(ctx context.Context, rawURL string, o Options, d *dialect) (*postgres, error) {
	cfg, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, fmt.Errorf("storage: database URL: %w", redact(err, rawURL))
	}
	cfg.MaxConns = int32(o.MaxConns)
	cfg.MaxConnIdleTime = 10 * time.Minute
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.StatementCacheCapacity = 512
	for name, value := range map[string]string{
		"application_name":                    "kalends",
		"lock_timeout":                        "10s",
		"idle_in_transaction_session_timeout": "60s",
		"default_transaction_isolation":       "read committed",
		// Each statement is written for one plan, whatever its values (see
		// TestPlans). The server would plan it anew for its first five values on
		// each connection, which takes longer than all else that a PUT needs.
		"plan_cache_mode": "force_generic_plan",
	} {
		if _, ok := cfg.ConnConfig.RuntimeParams[name]; !ok {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, describe(err)
	}
	return &postgres{pool: pool, d: d, slow: newSlowLog(o), wait: o.PoolWait, reads: pgReads{trips: pgReadTrips()}}, nil
}

// redact keeps the password of a database URL out of an error's text.
func redact(err error, rawURL string) error {
	u, parseErr := url.Parse(rawURL)
	if parseErr != nil {
		return fmt.Errorf("cannot be parsed")
	}
	if p, ok := u.User.Password(); ok && p != "" {
		return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), p, "…"))
	}
	return err
}

// acquire waits a bounded time for a connection.
func (p *postgres) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	c, err := p.pool.Acquire(wait)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c, nil
}

// within runs a statement or a few on one connection, bounded by the
// connection's deadline instead of the caller's context: watching a context
// costs a goroutine for each statement, which is more than a statement itself.
// fn must use the context that it is given.
func (p *postgres) within(ctx context.Context, wait time.Duration, fn func(context.Context, session) error) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	wire := c.Conn().PgConn().Conn()
	if err := wire.SetDeadline(time.Now().Add(wait)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	err = fn(context.WithoutCancel(ctx), pgRead{c, p})
	if e := wire.SetDeadline(time.Time{}); e != nil && err == nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, e)
	}
	return err
}

// pgRead runs single statements, each its own transaction, on one connection.
type pgRead struct {
	c *pgxpool.Conn
	p *postgres
}

func (s pgRead) exec(ctx context.Context, query string, args ...any) (int64, error) {
	count(ctx, 1)
	began := time.Now()
	tag, err := s.c.Conn().Exec(ctx, s.p.d.text(query), args...)
	s.p.slow.since(ctx, began, query)
	return tag.RowsAffected(), describe(err)
}

func (s pgRead) query(ctx context.Context, query string, args ...any) (rows, error) {
	count(ctx, 1)
	began := time.Now()
	r, err := s.c.Conn().Query(ctx, s.p.d.text(query), args...)
	if err != nil {
		s.p.slow.since(ctx, began, query)
		return nil, describe(err)
	}
	return &pgRows{Rows: r, reader: reader{slow: &s.p.slow, ctx: ctx, statement: query, began: began}}, nil
}

// together sends all statements before it waits for the first result.
func (s pgRead) together(ctx context.Context, list []reading) error {
	if len(list) == 1 {
		return list[0].alone(ctx, s)
	}
	var b pgx.Batch
	for _, one := range list {
		b.Queue(s.p.d.text(one.query), one.args...)
	}
	count(ctx, len(list))
	began := time.Now()
	defer func() { s.p.slow.batch(ctx, began, &b) }()
	results := s.c.Conn().SendBatch(ctx, &b)
	for _, one := range list {
		r, err := results.Query()
		if err == nil {
			err = one.take(&pgRows{Rows: r})
			r.Close()
		}
		if err != nil {
			_ = results.Close()
			return describe(err)
		}
	}
	return describe(results.Close())
}

func (s pgRead) later(ctx context.Context, query string, args ...any) error {
	_, err := s.exec(ctx, query, args...)
	return err
}

// pgRows describes errors and ends the batch that the result was part of.
type pgRows struct {
	pgx.Rows
	reader
	results pgx.BatchResults
}

func (r *pgRows) Err() error             { return describe(r.Rows.Err()) }
func (r *pgRows) Scan(dest ...any) error { return describe(r.Rows.Scan(dest...)) }

func (r *pgRows) Close() {
	r.Rows.Close()
	if r.results != nil {
		_ = r.results.Close()
	}
	r.close()
}

// pgTx is a transaction. BEGIN and what later() was given wait for the next
// statement that has a result, or for the commit, and travel with it.
type pgTx struct {
	c       *pgxpool.Conn
	p       *postgres
	pending *pgx.Batch
	sent    bool
}

func newPgTx(c *pgxpool.Conn, p *postgres, begin string) *pgTx {
	s := &pgTx{c: c, p: p, pending: new(pgx.Batch)}
	s.pending.Queue(begin)
	return s
}

func (s *pgTx) later(_ context.Context, query string, args ...any) error {
	s.pending.Queue(s.p.d.text(query), args...)
	return nil
}

// send sends all that waits, with query as the last, and reads past the
// results before it.
func (s *pgTx) send(ctx context.Context, query string, args []any) (pgSent, error) {
	s.pending.Queue(query, args...)
	n := s.pending.Len()
	count(ctx, n)
	s.sent = true
	out := pgSent{batch: s.pending, began: time.Now()}
	out.BatchResults = s.c.Conn().SendBatch(ctx, s.pending)
	s.pending = new(pgx.Batch)
	for range n - 1 {
		if _, err := out.Exec(); err != nil {
			_ = out.Close()
			s.p.slow.batch(ctx, out.began, out.batch)
			return pgSent{}, describe(err)
		}
	}
	return out, nil
}

// pgSent is a batch of which the last result is still to be read.
type pgSent struct {
	pgx.BatchResults
	batch *pgx.Batch
	began time.Time
}

// last reads a last result without rows and ends the batch.
func (s *pgTx) last(ctx context.Context, sent pgSent) (affected int64, err error) {
	tag, err := sent.Exec()
	if closeErr := sent.Close(); err == nil {
		err = closeErr
	}
	s.p.slow.batch(ctx, sent.began, sent.batch)
	return tag.RowsAffected(), describe(err)
}

func (s *pgTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if s.pending.Len() == 0 {
		return pgRead{s.c, s.p}.exec(ctx, query, args...)
	}
	sent, err := s.send(ctx, s.p.d.text(query), args)
	if err != nil {
		return 0, err
	}
	return s.last(ctx, sent)
}

func (s *pgTx) query(ctx context.Context, query string, args ...any) (rows, error) {
	if s.pending.Len() == 0 {
		return pgRead{s.c, s.p}.query(ctx, query, args...)
	}
	sent, err := s.send(ctx, s.p.d.text(query), args)
	if err != nil {
		return nil, err
	}
	r, err := sent.Query()
	if err != nil {
		_ = sent.Close()
		s.p.slow.batch(ctx, sent.began, sent.batch)
		return nil, describe(err)
	}
	return &pgRows{Rows: r, results: sent, reader: reader{slow: &s.p.slow, ctx: ctx, batch: sent.batch, began: sent.began}}, nil
}

// commit ends the transaction; unsure tells that the error leaves open
// whether it was committed.
func (s *pgTx) commit(ctx context.Context) (unsure bool, err error) {
	if !s.sent && s.pending.Len() <= 1 {
		return false, nil // nothing was asked
	}
	if s.pending.Len() == 0 {
		_, err = pgRead{s.c, s.p}.exec(ctx, "commit")
		return err != nil, err
	}
	sent, err := s.send(ctx, "commit", nil)
	if err != nil {
		return s.c.Conn().IsClosed(), err
	}
	_, err = s.last(ctx, sent)
	return err != nil, err
}

func (s *pgTx) rollback() {
	if !s.sent || s.c.Conn().IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.c.Conn().Exec(ctx, "rollback"); err != nil {
		_ = s.c.Conn().Close(ctx)
	}
}
