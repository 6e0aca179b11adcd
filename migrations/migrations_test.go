package migrations

import (
	"io/fs"
	"regexp"
	"slices"
	"testing"
)

// Both engines must have the same tables with the same columns in the same
// order, and every step its way back.
func TestEnginesAgree(t *testing.T) {
	t.Parallel()
	table := regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\)`)
	column := regexp.MustCompile(`(?m)^    ([a-z_]+) +(?:BIGINT|INTEGER|TEXT)\b`)
	shape := func(engine string) map[string][]string {
		dir, err := Files(engine)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]string{}
		ups, _ := fs.Glob(dir, "*.up.sql")
		downs, _ := fs.Glob(dir, "*.down.sql")
		if len(ups) == 0 || len(ups) != len(downs) {
			t.Fatalf("%s: %d steps up, %d down", engine, len(ups), len(downs))
		}
		for _, name := range ups {
			text, err := fs.ReadFile(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range table.FindAllStringSubmatch(string(text), -1) {
				for _, c := range column.FindAllStringSubmatch(m[2], -1) {
					out[m[1]] = append(out[m[1]], c[1])
				}
			}
		}
		return out
	}
	pg, lite := shape("postgres"), shape("sqlite")
	if len(pg) < 20 {
		t.Fatalf("only %d tables found", len(pg))
	}
	for name, columns := range pg {
		if !slices.Equal(columns, lite[name]) {
			t.Errorf("table %s: postgres %v, sqlite %v", name, columns, lite[name])
		}
	}
	if len(lite) != len(pg) {
		t.Errorf("postgres has %d tables, sqlite %d", len(pg), len(lite))
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	a, err := Latest("postgres")
	b, err2 := Latest("sqlite")
	if err != nil || err2 != nil || a != b || a == 0 {
		t.Errorf("latest versions: %d (%v) and %d (%v)", a, err, b, err2)
	}
	if _, err := Files("oracle"); err == nil {
		t.Error("an unknown engine has migrations")
	}
}
