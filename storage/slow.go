package storage

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// slowLog writes down which statements the database took long for. A statement's
// text holds no values: those are parameters.
type slowLog struct {
	limit   time.Duration // 0: nothing is slow
	log     *slog.Logger
	request func(context.Context) string
}

func newSlowLog(o Options) slowLog {
	if o.RequestID == nil {
		o.RequestID = func(context.Context) string { return "" }
	}
	return slowLog{o.SlowStatement, o.Log, o.RequestID}
}

// How many characters are written down of a statement, and of one among several.
const (
	slowText  = 2000
	slowShare = 300
)

// took is told how long statements took that travelled together.
func (l *slowLog) took(ctx context.Context, d time.Duration, statements ...string) {
	if l.limit <= 0 || d < l.limit {
		return
	}
	share := slowText
	if len(statements) > 1 {
		share = slowShare
	}
	texts := make([]string, len(statements))
	for i, s := range statements {
		texts[i] = shortened(strings.Join(strings.Fields(s), " "), share)
	}
	args := []any{"statement", shortened(strings.Join(texts, "; "), slowText), "ms", d.Milliseconds()}
	if id := l.request(ctx); id != "" {
		args = append(args, "request", id)
	}
	l.log.WarnContext(ctx, "the database took long for a statement", args...)
}

func shortened(text string, most int) string {
	if len(text) > most { // they are ASCII
		return text[:most] + "…"
	}
	return text
}

// since is took for one statement that ends now.
func (l *slowLog) since(ctx context.Context, began time.Time, statement string) {
	if l.limit <= 0 {
		return
	}
	if d := time.Since(began); d >= l.limit {
		l.took(ctx, d, statement)
	}
}

// batch is since for statements that were sent together: PostgreSQL answers to
// all at once.
func (l *slowLog) batch(ctx context.Context, began time.Time, b *pgx.Batch) {
	if l.limit <= 0 {
		return
	}
	if d := time.Since(began); d >= l.limit {
		var texts []string
		for _, q := range b.QueuedQueries {
			texts = append(texts, q.SQL)
		}
		l.took(ctx, d, texts...)
	}
}

// reader is a statement, or a batch, whose result is being read.
type reader struct {
	slow      *slowLog // nil: somebody else looks at the time
	ctx       context.Context
	statement string
	batch     *pgx.Batch
	began     time.Time
	idle      time.Duration // the time of who reads, not of the database
}

func (r *reader) waited(d time.Duration) { r.idle += d }

// close may be called twice.
func (r *reader) close() {
	switch began := r.began.Add(r.idle); {
	case r.slow == nil:
		return
	case r.batch != nil:
		r.slow.batch(r.ctx, began, r.batch)
	default:
		r.slow.since(r.ctx, began, r.statement)
	}
	r.slow = nil
}
