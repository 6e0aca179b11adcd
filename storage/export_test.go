package storage

import (
	"context"
	"fmt"
	"strings"
)

// LimitPages lets a SQLite database grow to so many pages at most.
func LimitPages(db *DB, pages int) error {
	if err := db.lite.lock(context.Background()); err != nil {
		return err
	}
	defer db.lite.unlock()
	_, err := db.lite.writer.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
	return err
}

// ParseToken is parseToken and back, for the fuzzer.
func ParseToken(s string) (string, error) {
	t, err := parseToken(s)
	return t.String(), err
}

// HotStatements are the texts that name a single object, each with the index
// that must answer it.
func HotStatements() map[string]string {
	return map[string]string{
		ownerGet:                      "object_pkey",
		pgPut(putPlain, looksAll):     "object_pkey",
		pgPut(putMatch, looksNothing): "object_pkey",
		ownerPut:                      "object_pkey",
		slotText:                      "object_pkey",
		findText(findShape{login: 2, home: true, collection: true, object: true}): "object_pkey",
		`SELECT ` + objectColumns(ColumnData) + fromUID:                           "object_uid",
	}
}

// LimitListings lets one calendar take so many octets where listings are kept.
func LimitListings(db *DB, octets int) { db.listings.most = octets }

// Gathers tells whether the next listing of a calendar is gathered to be kept.
func Gathers(db *DB, k CollectionKey) bool { return db.listings.gathers(k) }

// NoteLarge says of calendars that they are too large to be kept, and how many of
// them are remembered.
func NoteLarge(db *DB, keys ...CollectionKey) int {
	for _, k := range keys {
		db.listings.note(k, true)
	}
	return len(db.listings.large)
}

// QueueDepthText is the statement of QueueDepth.
const QueueDepthText = queueDepth

// Explain is how the engine would run a statement, with its tables analyzed.
func Explain(db *DB, query string) (string, error) {
	ctx := context.Background()
	explain := "EXPLAIN (COSTS off) "
	if db.lite != nil {
		explain = "EXPLAIN QUERY PLAN "
	}
	if _, err := db.write(ctx, "ANALYZE"); err != nil {
		return "", err
	}
	lines, err := readAll(ctx, db, func(r rows) (line string, err error) {
		if db.lite == nil {
			return scanText(r)
		}
		var a, b, c int64
		err = r.Scan(&a, &b, &c, &line)
		return
	}, explain+query)
	return strings.Join(lines, "\n"), err
}

// ReadCompany reads statements on PostgreSQL as if each had come alone while all
// round trips were under way: in company. It returns what became of each.
func ReadCompany(db *DB, ctxs []context.Context, queries []string, take func(i int, n int64)) []error {
	jobs := make([]*pgReadJob, len(queries))
	for i, query := range queries {
		jobs[i] = &pgReadJob{ctx: ctxs[i], list: []reading{{query: query, take: func(r rows) error {
			n, err := int64(0), error(nil)
			if r.Next() {
				err = r.Scan(&n)
			}
			if err == nil {
				err = r.Err()
			}
			if err == nil {
				take(i, n)
			}
			return err
		}}}}
	}
	db.pg.readJobs(ctxs[0], jobs)
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		errs[i] = j.err
	}
	return errs
}

// HoldReads keeps all round trips under way and returns how many wait for one, and
// what lets them go.
func HoldReads(db *DB) (waiting func() int, leave func()) {
	l := &db.pg.reads
	for range l.trips {
		l.enter(&pgReadJob{})
	}
	waiting = func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.wait)
	}
	return waiting, func() {
		for range l.trips {
			l.leave()
		}
	}
}
