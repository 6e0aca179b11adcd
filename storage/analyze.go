package storage

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// How often AnalyzeNew looks, and how many rows make a table worth it.
const (
	analyzeEvery = 3 * time.Second
	analyzeRows  = 100
)

// tablesToAnalyze are those whose statements have more than one index to
// choose from.
const tablesToAnalyze = `SELECT t.relname, t.n_live_tup FROM pg_stat_user_tables t
	WHERE t.schemaname = current_schema() AND t.relname IN ('account', 'collection', 'object', 'journal')
	AND t.last_analyze IS NULL AND t.last_autoanalyze IS NULL`

// AnalyzeNew makes PostgreSQL look at tables that fill for the first time. A
// plan made for an empty table reads all of it and is kept for as long as a
// minute, until autovacuum comes by; meanwhile the table may have filled.
// It returns when every table has been analyzed or ctx ends; on SQLite, which
// prefers unique indexes by itself, at once.
func (db *DB) AnalyzeNew(ctx context.Context) {
	if db.pg == nil {
		return
	}
	type table struct {
		name string
		rows int64
	}
	for {
		fresh, err := readAll(ctx, db, func(r rows) (t table, err error) {
			err = r.Scan(&t.name, &t.rows)
			return
		}, tablesToAnalyze)
		if err == nil && len(fresh) == 0 {
			return
		}
		for _, t := range fresh {
			if t.rows < analyzeRows {
				continue
			}
			if _, err := db.write(ctx, `ANALYZE `+pgx.Identifier{t.name}.Sanitize()); err != nil {
				db.log.Debug("a new table could not be analyzed; autovacuum will do it", "table", t.name, "error", err)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(analyzeEvery):
		}
	}
}
