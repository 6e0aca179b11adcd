package caldav

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"time"

	"github.com/kalends/kalends/storage"
)

// listingPage is what a browser sees of a collection: names, nothing active.
var listingPage = template.Must(template.New("listing").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:44rem;padding:0 1rem;color-scheme:light dark}td{padding:.15rem 1rem .15rem 0}</style></head>
<body><h1>{{.Title}}</h1>
<p>This is an address for calendar programs. Enter it in Apple Calendar, Thunderbird, DAVx5 or Evolution; people use <a href="/">the web page</a>.</p>
<table>{{range .Rows}}<tr><td><a href="{{.Href}}">{{.Name}}</a></td><td>{{.Type}}</td><td>{{.Modified}}</td></tr>
{{end}}</table></body></html>
`))

const listingType = "text/html; charset=utf-8"

type listingRow struct{ Href, Name, Type, Modified string }

// getListing answers GET and HEAD of a collection that has no data of its own
// with a list of its members for browsers.
func (q *request) getListing() error {
	list, err := q.expand(q.here(), 1)
	if err != nil {
		return err
	}
	h := q.w.Header()
	rows := []listingRow{}
	tag := fnv.New64a()
	newest := int64(0)
	for i, r := range list {
		if r.col != nil {
			fmt.Fprintf(tag, "%s %d %s\n", r.col.Name, r.col.Seq, r.col.Tag)
			newest = max(newest, r.col.Modified)
		} else {
			fmt.Fprintf(tag, "%s\n", r.href())
		}
		if i == 0 || !looks(r.path.Kind, r.privs) {
			continue
		}
		row := listingRow{Href: r.href(), Name: displayName(r), Type: r.path.Kind.String()}
		if row.Name == "" {
			row.Name = r.href()
		}
		if r.col != nil {
			row.Modified = time.UnixMicro(r.col.Modified).UTC().Format(time.DateTime)
		}
		rows = append(rows, row)
	}
	if collections.has(q.path.Kind) {
		for o, err := range q.h.db.List(q.ctx, q.found.Collection.CollectionKey, storage.ColumnsMeta) {
			if err != nil {
				return err
			}
			if len(rows) == 1000 { // a page for people, not an export
				break
			}
			rows = append(rows, listingRow{Href: q.member(&o).href(), Name: o.Name, Type: o.Component, Modified: time.UnixMicro(o.Modified).UTC().Format(time.DateTime)})
		}
	}
	etag := fmt.Sprintf(`"%x"`, tag.Sum64())
	if collected.has(q.path.Kind) {
		etag = etagOf(q, list[0])
	}
	h.Set("ETag", etag)
	if newest > 0 {
		h.Set("Last-Modified", time.UnixMicro(newest).UTC().Format(http.TimeFormat))
	}
	h.Set("Content-Type", listingType)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	var page bytes.Buffer
	if err := listingPage.Execute(&page, map[string]any{"Title": q.path.String(), "Rows": rows}); err != nil {
		return err
	}
	http.ServeContent(q.w, q.r, "", time.UnixMicro(newest), bytes.NewReader(page.Bytes()))
	return nil
}
