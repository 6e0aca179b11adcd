package caldav

import (
	"bytes"
	"net/http"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// expandProperty answers the report of RFC 3253 §3.8.
func (q *request) expandProperty(rep *davxml.ExpandProperty) error {
	depth, err := q.depth(0) // RFC 3253 §3.6: with a Depth the report is made for each resource in scope
	if err != nil {
		return err
	}
	list, err := q.expand(q.here(), depth)
	if err != nil {
		return err
	}
	m := q.multistatus()
	budget := 500
	for i, r := range list {
		if i > 0 && (depth == 0 || !looks(r.path.Kind, r.privs)) {
			continue
		}
		resp := m.Response(r.href())
		q.expandInto(resp, r, rep.Props, 0, &budget)
		resp.End()
	}
	return q.end(m)
}

// expandInto writes properties of one resource; each href in a value becomes a
// response of its own. budget bounds how many resources one request opens.
func (q *request) expandInto(resp *davxml.Response, r *resource, props []davxml.ExpandedProp, level int, budget *int) {
	for _, p := range props {
		if len(p.Props) == 0 || level > 4 {
			q.prop(resp, r, p.Name, nil)
			continue
		}
		hrefs, ok, err := q.hrefsIn(r, p.Name)
		if err != nil {
			resp.Fail(p.Name, http.StatusInternalServerError, davxml.Name{}, "")
			continue
		}
		if !ok {
			q.prop(resp, r, p.Name, nil)
			continue
		}
		b := resp.Prop(p.Name)
		for _, h := range hrefs {
			if *budget == 0 {
				b.StatusResponse(h, http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
				continue
			}
			*budget--
			sub, err := q.lookup(h)
			if err != nil || sub == nil {
				status := http.StatusNotFound
				if err != nil {
					status = http.StatusInternalServerError
				}
				b.StatusResponse(h, status, davxml.Name{}, "")
				continue
			}
			if !looks(sub.path.Kind, sub.privs) {
				b.StatusResponse(h, http.StatusForbidden, davxml.Name{}, "")
				continue
			}
			in := resp.Nested(sub.href())
			q.expandInto(in, sub, p.Props, level+1, budget)
			in.End()
		}
	}
}

// hrefsIn reads the DAV:hrefs in a property's value, live or dead; ok is false
// when the resource has no such property, or not for this user.
func (q *request) hrefsIn(r *resource, n davxml.Name) (hrefs []string, ok bool, err error) {
	var doc []byte
	p := properties[n]
	if p != nil && p.on.has(r.path.Kind) {
		if p.has != nil && !p.has(q, r) || p.need != 0 && !r.privs.Has(p.need) {
			return nil, false, nil
		}
		if doc, err = davxml.Document(n, func(b *davxml.Builder) { p.write(q, r, b) }); err != nil {
			return nil, false, err
		}
	} else {
		for _, d := range r.dead {
			if d.Space == n.Space && d.Local == n.Local {
				doc = []byte(d.XML)
			}
		}
		if doc == nil {
			return nil, false, nil
		}
	}
	node, err := davxml.Parse(bytes.NewReader(doc), davxml.Limits{})
	if err != nil {
		return nil, false, err
	}
	return node.Hrefs(), true, nil
}

// lookup reads any resource by its href with the user's privileges on it; nil
// when there is none.
func (q *request) lookup(href string) (*resource, error) {
	p, ok := parseHref(href, q.sameHost)
	if !ok {
		return nil, nil
	}
	f, err := q.h.db.Find(q.ctx, storage.Query{Login: q.user.Handle, Home: p.Handle, Collection: p.Collection, Object: p.Object})
	if err != nil {
		return nil, err
	}
	sub := *q
	sub.path, sub.found, sub.veiled, sub.gone = p, f, false, false
	if err := sub.resolve(); err != nil {
		return nil, nil
	}
	if sub.gone { // as a home that gives no rights
		return &resource{path: p}, nil
	}
	if sub.missing() {
		return nil, nil
	}
	list, err := sub.expand(sub.here(), 0)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
