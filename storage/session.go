package storage

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"
)

// rows is a result that is read forward once; Close may be called twice.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
	waited(time.Duration) // the reader of the result did something else meanwhile
}

// session runs statements on one connection or, outside of a transaction, on
// any of a pool. later may put a statement off until the next one or the
// commit, so that several travel together; its error may come as late.
type session interface {
	exec(ctx context.Context, query string, args ...any) (affected int64, err error)
	query(ctx context.Context, query string, args ...any) (rows, error)
	later(ctx context.Context, query string, args ...any) error
}

// Counter counts the statements that were sent for one context, BEGIN and
// COMMIT included, and the round trips to the database that they took.
type Counter struct {
	statements, trips, asks atomic.Int64
	above                   *Counter // of the context that this one was made from
}

type counterKey struct{}

// WithCounter returns a context whose statements are counted, for the counter
// of ctx as well.
func WithCounter(ctx context.Context) (context.Context, *Counter) {
	c := new(Counter)
	c.above, _ = ctx.Value(counterKey{}).(*Counter)
	return context.WithValue(ctx, counterKey{}, c), c
}

// uncounted is for the second and further runs of a prepared statement that
// SQLite gets for each of many rows.
func uncounted(ctx context.Context) context.Context { return context.WithValue(ctx, counterKey{}, nil) }

// Statements is the number of statements so far.
func (c *Counter) Statements() int { return int(c.statements.Load()) }

// RoundTrips is the number of times that somebody waited for the database.
func (c *Counter) RoundTrips() int { return int(c.trips.Load()) }

// Asked tells whether anybody turned to the database, even when no statement
// could be sent.
func (c *Counter) Asked() bool { return c.asks.Load() > 0 }

// Reset sets all to zero.
func (c *Counter) Reset() { c.statements.Store(0); c.trips.Store(0); c.asks.Store(0) }

func count(ctx context.Context, statements int) {
	c, _ := ctx.Value(counterKey{}).(*Counter)
	for ; c != nil; c = c.above {
		c.statements.Add(int64(statements))
		c.trips.Add(1)
	}
}

// ask notes that somebody turns to the database. What reads or writes begins
// with it.
func ask(ctx context.Context) {
	c, _ := ctx.Value(counterKey{}).(*Counter)
	for ; c != nil; c = c.above {
		c.asks.Add(1)
	}
}

// queryAll reads a whole result.
func queryAll[T any](ctx context.Context, s session, scan func(rows) (T, error), query string, args ...any) ([]T, error) {
	r, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []T
	if err := into(&out, r, scan); err != nil {
		return nil, err
	}
	return out, nil
}

// into makes *out the whole of a result.
func into[T any](out *[]T, r rows, scan func(rows) (T, error)) error {
	*out = nil
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return err
		}
		*out = append(*out, v)
	}
	return r.Err()
}

// reading is one statement of several that are read together.
type reading struct {
	query string
	args  []any
	take  func(rows) error
}

func (one *reading) alone(ctx context.Context, s session) error {
	r, err := s.query(ctx, one.query, one.args...)
	if err != nil {
		return err
	}
	defer r.Close()
	return one.take(r)
}

// queryOne reads the first row; ErrNotFound when there is none.
func queryOne[T any](ctx context.Context, s session, scan func(rows) (T, error), query string, args ...any) (T, error) {
	var zero T
	r, err := s.query(ctx, query, args...)
	if err != nil {
		return zero, err
	}
	defer r.Close()
	if !r.Next() {
		if err := r.Err(); err != nil {
			return zero, err
		}
		return zero, ErrNotFound
	}
	v, err := scan(r)
	if err != nil {
		return zero, err
	}
	r.Close()
	return v, r.Err()
}

func scanInt(r rows) (n int64, err error)   { err = r.Scan(&n); return }
func scanText(r rows) (s string, err error) { err = r.Scan(&s); return }

// jsonText is v for a parameter that @rows or @list unfolds. A nil slice is an
// empty list: PostgreSQL unfolds no null.
func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	if string(b) == "null" {
		return "[]", err
	}
	return string(b), err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// affectedOne turns "no row was there" into ErrNotFound.
func affectedOne(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
