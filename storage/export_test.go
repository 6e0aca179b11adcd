package storage

import (
	"context"
	"fmt"
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
