package caldav

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"time"
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

// listedPage is what GET of a collection without data of its own answers.
type listedPage struct {
	page   []byte
	etag   string
	newest int64 // microseconds; 0: unknown
}

// getListing answers GET and HEAD of a collection that has no data of its own
// with a list of its members for browsers.
func (q *request) getListing() error {
	l, err := q.listing(q.here())
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("ETag", l.etag)
	if l.newest > 0 {
		h.Set("Last-Modified", time.UnixMicro(l.newest).UTC().Format(http.TimeFormat))
	}
	h.Set("Content-Type", listingType)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(q.w, q.r, "", time.UnixMicro(l.newest), bytes.NewReader(l.page))
	return nil
}

// listing makes the page of a collection.
func (q *request) listing(r *resource) (*listedPage, error) {
	list, err := q.expand(r, 1)
	if err != nil {
		return nil, err
	}
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
	if collections.has(r.path.Kind) {
		for o, err := range q.h.db.Listing(q.ctx, r.col) {
			if err != nil {
				return nil, err
			}
			if len(rows) == 1000 { // a page for people, not an export
				break
			}
			rows = append(rows, listingRow{Href: q.member(o).href(), Name: o.Name, Type: o.Component, Modified: time.UnixMicro(o.Modified).UTC().Format(time.DateTime)})
		}
	}
	out := &listedPage{etag: fmt.Sprintf(`"%x"`, tag.Sum64()), newest: newest}
	if collected.has(r.path.Kind) {
		out.etag = etagOf(q, list[0])
	}
	var page bytes.Buffer
	if err := listingPage.Execute(&page, map[string]any{"Title": r.path.String(), "Rows": rows}); err != nil {
		return nil, err
	}
	out.page = page.Bytes()
	return out, nil
}

// pageOf is the listing of a resource as its properties tell of it; empty when it
// cannot be read.
func (q *request) pageOf(r *resource) *listedPage {
	l, err := q.listing(r)
	if err != nil {
		q.readError("a listing", err)
		return &listedPage{}
	}
	return l
}
