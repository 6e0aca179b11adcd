// Package migrations holds the schema of the database, one folder of numbered
// DDL files per engine. It owns the text and nothing else: the storage package
// runs it. A file that has been released is never changed; a change of the
// schema is a new number in both folders, with its way back.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// Files are the migrations of an engine, "postgres" or "sqlite".
func Files(engine string) (fs.FS, error) {
	if engine != "postgres" && engine != "sqlite" {
		return nil, fmt.Errorf("migrations: there are none for engine %q", engine)
	}
	return fs.Sub(files, engine)
}

// Latest is the newest version of an engine's schema.
func Latest(engine string) (uint, error) {
	dir, err := Files(engine)
	if err != nil {
		return 0, err
	}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	var latest uint64
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("migrations: file %s has no number: %w", e.Name(), err)
		}
		latest = max(latest, n)
	}
	return uint(latest), nil
}
