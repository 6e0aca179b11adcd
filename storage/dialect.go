package storage

import (
	"regexp"
	"strings"
	"sync"
)

// dialect is what truly differs between the engines. Statements are written
// once, with PostgreSQL's placeholders and these few words:
//
//	@rows($1; r; id bigint, name text)  the objects of a JSON array as rows
//	@list($1; v)                        its scalars as v.value text, v.n from 1
//	@forupdate(o)                       row locks, where rows can be locked
//	@skiplocked(o)                      the same, passing over what others hold
type dialect struct {
	name  string
	texts sync.Map // statement as written -> statement of the engine
}

const (
	enginePostgres = "postgres"
	engineSQLite   = "sqlite"
)

var (
	rowsWord   = regexp.MustCompile(`@rows\((\$\d+); (\w+); ([^)]*)\)`)
	listWord   = regexp.MustCompile(`@list\((\$\d+); (\w+)\)`)
	lockWord   = regexp.MustCompile(`@(forupdate|skiplocked)\((\w*)\)`)
	parameters = regexp.MustCompile(`\$(\d+)`)
)

// text is query in the engine's words.
func (d *dialect) text(query string) string {
	if t, ok := d.texts.Load(query); ok {
		return t.(string)
	}
	t := d.translate(query)
	d.texts.Store(query, t)
	return t
}

func (d *dialect) translate(query string) string {
	if d.name == enginePostgres {
		// The planner takes an array for ten rows and a function for a hundred, which
		// would be worth reading a whole table of a small installation.
		query = rowsWord.ReplaceAllString(query, `(SELECT z.* FROM unnest(ARRAY(SELECT json_array_elements(CAST($1 AS json)))) AS j(j) CROSS JOIN LATERAL json_to_record(j.j) AS z($3)) AS $2`)
		query = listWord.ReplaceAllString(query, `unnest(ARRAY(SELECT json_array_elements_text(CAST($1 AS json)))) WITH ORDINALITY AS $2(value, n)`)
		return lockWord.ReplaceAllStringFunc(query, func(w string) string {
			m := lockWord.FindStringSubmatch(w)
			lock := "FOR UPDATE"
			if m[2] != "" {
				lock += " OF " + m[2]
			}
			if m[1] == "skiplocked" {
				lock += " SKIP LOCKED"
			}
			return lock
		})
	}
	query = rowsWord.ReplaceAllStringFunc(query, func(w string) string {
		m := rowsWord.FindStringSubmatch(w)
		var b strings.Builder
		b.WriteString("(SELECT ")
		for i, column := range strings.Split(m[3], ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(column), " ")
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("value ->> '$." + name + "' AS " + name)
		}
		b.WriteString(" FROM json_each(" + m[1] + ")) AS " + m[2])
		return b.String()
	})
	query = listWord.ReplaceAllString(query, `(SELECT value, key + 1 AS n FROM json_each($1)) AS $2`)
	query = lockWord.ReplaceAllString(query, "")
	return parameters.ReplaceAllString(query, "?$1")
}
