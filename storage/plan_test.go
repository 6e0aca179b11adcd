package storage_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// A statement that names one object is answered by one look into the right
// index: in an empty database, in one that was never analyzed, and when one
// calendar among many small ones is large.
func TestPlans(t *testing.T) {
	t.Parallel()
	url := storagetest.PostgresURL(t)
	db := open(t, url)
	if err := db.Migrate(bg); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(bg, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	exec := func(text string) {
		t.Helper()
		if _, err := conn.Exec(bg, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	exec("SET plan_cache_mode = force_generic_plan")
	check := func(when string, analyzed bool) {
		t.Helper()
		if err := conn.DeallocateAll(bg); err != nil {
			t.Fatal(err)
		}
		n := 0
		for text, index := range storage.HotStatements() {
			if index != "object_pkey" && !analyzed {
				continue // any index is as good as another on a table that seems empty
			}
			n++
			name := fmt.Sprint("s", n)
			d, err := conn.Prepare(bg, name, text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(d.ParamOIDs)), ", ")
			rows, err := conn.Query(bg, "EXPLAIN (COSTS off) EXECUTE "+name+"("+nulls+")", pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			whole := strings.Join(plan, "\n")
			for _, line := range plan {
				if strings.Contains(line, " on object") && strings.Contains(line, "Scan") && !strings.Contains(line, "using "+index+" ") {
					t.Errorf("%s: not by %s alone:\n%s\n%s", when, index, text, whole)
					break
				}
			}
			if !strings.Contains(whole, index) {
				t.Errorf("%s: not by %s:\n%s\n%s", when, index, text, whole)
			}
		}
	}
	check("empty", false)
	exec(`INSERT INTO object (account_id, collection_id, name, uid, item, component, etag, schedule_tag, size, start_at, end_at, flags, sequence, seq, created, modified, extra, data)
		SELECT n % 200, n % 200, 'small' || n, 'small' || n, '', 'VEVENT', 'e', '', 1, n, n + 1, 1, 0, n, 1, 1, '', repeat('x', 600) FROM generate_series(1, 1000) n
		UNION ALL SELECT 1, 1, 'large' || n, 'large' || n, '', 'VEVENT', 'e', '', 1, n, n + 1, 1, 0, n, 1, 1, '', repeat('x', 600) FROM generate_series(1, 5000) n`)
	check("never analyzed", false)
	exec("ANALYZE object")
	check("one large calendar", true)
}

// AnalyzeNew ends once the tables that filled have been analyzed.
func TestAnalyzeNew(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := empty(t, e)
			db := open(t, url)
			if err := db.Migrate(bg); err != nil {
				t.Fatal(err)
			}
			if e == storagetest.Postgres {
				conn, err := pgx.Connect(bg, url)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(bg)
				for _, text := range []string{
					`INSERT INTO account SELECT n, 'u' || n, 'u' || n, 1, '', '', 0, '', 1, 0, '', '', '', 1, 1, 0 FROM generate_series(1, 150) n`,
					`INSERT INTO collection SELECT n, n, 'c', 2, 0, '', '', 1, 0, 0, '', '', '', '', '', 1, 1, '', '' FROM generate_series(1, 150) n`,
					`INSERT INTO object SELECT n, n, 'o', 'o', '', 'VEVENT', 'e', '', 1, 1, 1, 1, 0, 1, 1, 1, '', '' FROM generate_series(1, 150) n`,
					`INSERT INTO journal SELECT n, n, 1, 'o', 0, '', 1 FROM generate_series(1, 150) n`,
				} {
					if _, err := conn.Exec(bg, text); err != nil {
						t.Fatalf("%s: %v", text, err)
					}
				}
			}
			db.AnalyzeNew(t.Context()) // hangs until the test's time is over when it does nothing
		})
	}
}
