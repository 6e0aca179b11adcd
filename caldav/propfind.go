package caldav

import (
	"iter"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// propfind answers PROPFIND (RFC 4918 §9.1).
func (q *request) propfind() error {
	if q.polled() {
		return q.poll()
	}
	return q.propfindAnew()
}

func (q *request) propfindAnew() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	spec, err := davxml.ParsePropfind(root)
	if err != nil {
		return err
	}
	// RFC 4918 §9.1: no Depth means infinity. Where clients begin their
	// discovery some leave it out and mean 0 (clients.md 7); there and on what
	// has no members it is taken so.
	missing := 0
	if collected.has(q.path.Kind) {
		missing = infinite
	}
	depth, err := q.depth(missing)
	if err != nil {
		return err
	}
	if depth == infinite && items.has(q.path.Kind) {
		depth = 0
	}
	if depth == infinite {
		return precondition(davxml.DPropFindFiniteDepth, "Depth: infinity is not served; ask level by level")
	}
	if !looks(q.path.Kind, q.privs) {
		return q.forbidden(acl.Read)
	}
	list, err := q.expand(q.here(), depth)
	if err != nil {
		return err
	}
	noroot := depth == 1 && (q.prefers("depth-noroot") || strings.Contains(strings.ToLower(q.r.Header.Get("Depth")), "noroot"))
	m := q.multistatus()
	for i, r := range list {
		if i == 0 && noroot {
			continue
		}
		if i > 0 && !looks(r.path.Kind, r.privs) {
			continue // what the user may not read is not listed
		}
		q.respond(m, r, spec)
	}
	if depth == 1 && (collections.has(q.path.Kind)) {
		for o, err := range q.members(spec) {
			if err != nil {
				return q.abort(m, err)
			}
			if r := q.member(o); r.view != viewNone {
				q.respond(m, r, spec)
			}
			if m.Err() != nil {
				break
			}
		}
	}
	return q.end(m)
}

// member is an object of the request's collection as a resource.
func (q *request) member(o *storage.Object) *resource {
	k := KindObject
	if q.found.Collection.Kind == storage.CollectionInbox {
		k = KindInboxItem
	}
	return &resource{path: Path{Kind: k, Handle: q.found.Home.Handle, Collection: q.found.Collection.Name, Object: o.Name}, home: q.found.Home, col: q.found.Collection, obj: o, privs: q.privs, view: q.views(o.Flags, q.privs)}
}

// columns is what a listing must load for the properties asked for: an ETag
// listing never loads calendar data.
func (q *request) columns(spec *davxml.PropSpec) storage.Columns {
	if slices.Contains(spec.Props, davxml.CCalendarData) {
		return storage.ColumnData
	}
	return storage.ColumnsMeta
}

// members are the objects of the request's collection with what the properties
// asked for need. They are not to be written to.
func (q *request) members(spec *davxml.PropSpec) iter.Seq2[*storage.Object, error] {
	cols := q.columns(spec)
	if cols == storage.ColumnsMeta {
		return q.h.db.Listing(q.ctx, q.found.Collection)
	}
	return func(yield func(*storage.Object, error) bool) {
		for o, err := range q.h.db.List(q.ctx, q.found.Collection.CollectionKey, cols) {
			if !yield(&o, err) {
				return
			}
		}
	}
}

// end closes a multistatus; a client that went away is nobody's error.
func (q *request) end(m *davxml.Multistatus) error {
	sent := m.Sent() > 0
	err := m.Close()
	if q.tracing != nil {
		q.tracing.whole = err == nil && q.tracing.writes == 1 && q.tracing.text != nil
	}
	if err != nil && !sent && q.ctx.Err() == nil {
		return err
	}
	return nil
}

// abort ends a multistatus that cannot be finished: as an error answer while
// nothing was sent, else by cutting the connection, so that nobody takes a
// part for the whole.
func (q *request) abort(m *davxml.Multistatus, err error) error {
	if m.Sent() == 0 {
		return err
	}
	q.h.cfg.Log.Error("a listing broke off", "path", q.r.URL.Path, "error", err, "request", q.requestID())
	panic(abortHandler)
}

// respond writes one resource's properties.
func (q *request) respond(m *davxml.Multistatus, r *resource, spec *davxml.PropSpec) {
	resp := m.Response(r.href())
	q.zoneType = spec.ZoneType
	switch {
	case spec.PropName:
		for _, n := range q.names(r, true) {
			resp.Prop(n)
		}
	case spec.AllProp || len(spec.Props) == 0:
		for _, n := range q.names(r, false) {
			q.prop(resp, r, n, nil)
		}
		for _, n := range spec.Include {
			if p := properties[n]; p != nil && p.allprop {
				continue
			}
			q.prop(resp, r, n, nil)
		}
	default:
		for _, n := range spec.Props {
			q.prop(resp, r, n, spec.Data)
		}
	}
	resp.End()
}

// names lists properties: all of them, or those of allprop.
func (q *request) names(r *resource, all bool) []davxml.Name {
	var out []davxml.Name
	for n, p := range properties {
		if p.on.has(r.path.Kind) && (all || p.allprop) && (p.has == nil || p.has(q, r)) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b davxml.Name) int { return strings.Compare(a.Space+a.Local, b.Space+b.Local) })
	for _, d := range r.dead {
		n := davxml.Name{Space: d.Space, Local: d.Local}
		if p := properties[n]; p != nil && p.on.has(r.path.Kind) && !personal[n] {
			continue // stored beside the dead ones, and listed above if at all
		}
		out = append(out, n)
	}
	return out
}

// prop writes one property.
func (q *request) prop(resp *davxml.Response, r *resource, n davxml.Name, data *davxml.DataSpec) {
	if n == davxml.CCalendarData && r.obj != nil {
		q.calendarData(resp, r, data)
		return
	}
	p := properties[n]
	if p == nil || !p.on.has(r.path.Kind) || personal[n] {
		for _, d := range r.dead {
			if d.Space == n.Space && d.Local == n.Local {
				resp.RawProp(d.XML)
				return
			}
		}
	}
	if p == nil || !p.on.has(r.path.Kind) {
		resp.Missing(n)
		return
	}
	if p.need != 0 && !r.privs.Has(p.need) {
		resp.Fail(n, 403, davxml.Name{}, "")
		return
	}
	if p.has != nil && !p.has(q, r) {
		resp.Missing(n)
		return
	}
	if xml := inLanguage(r, n); xml != "" {
		resp.RawProp(xml)
		return
	}
	p.write(q, r, resp.Prop(n))
}

// inLanguage is a text of a calendar as it was set with a language (see planLang); ""
// when it has none, or is another one by now.
func inLanguage(r *resource, n davxml.Name) string {
	if r.path.Kind != KindCalendar || n != davxml.DDisplayName && n != davxml.CCalendarDescription {
		return ""
	}
	text := r.col.DisplayName
	if n == davxml.CCalendarDescription {
		text = r.col.Description
	}
	for _, d := range r.dead {
		if d.Space == n.Space && d.Local == n.Local && d.Principal == 0 {
			if node, err := davxml.Parse(strings.NewReader(d.XML), davxml.Limits{}); err == nil && node.Value() == text {
				return d.XML
			}
		}
	}
	return ""
}

// calendarData writes CALDAV:calendar-data, whole or shaped (RFC 4791 §9.6).
func (q *request) calendarData(resp *davxml.Response, r *resource, spec *davxml.DataSpec) {
	text := r.obj.Data
	if text == "" { // named in a PROPFIND of one object
		for o, err := range q.h.db.Get(q.ctx, r.col.CollectionKey, []string{r.obj.Name}, storage.ColumnData) {
			if err != nil || o.Missing() {
				resp.Missing(davxml.CCalendarData)
				return
			}
			text = o.Data
		}
	}
	if r.view != viewAll {
		veiled, err := q.veil(text)
		if err != nil {
			resp.Missing(davxml.CCalendarData)
			return
		}
		text = veiled
	}
	if spec != nil {
		shaped, err := q.shape(text, r.col, spec)
		if err != nil {
			resp.Fail(davxml.CCalendarData, 507, davxml.DNumberOfMatchesWithinLimits, err.Error())
			return
		}
		text = shaped
	}
	f := formatText
	if spec != nil {
		f, _ = formatOf(spec.ContentType)
	}
	text, err := q.convert(f, text)
	if err != nil { // stored long ago and unreadable
		resp.Missing(davxml.CCalendarData)
		return
	}
	if f == formatText {
		resp.Prop(davxml.CCalendarData).Text(text)
		return
	}
	b := resp.Prop(davxml.CCalendarData)
	b.Attr("content-type", formatTypes[f]) // RFC 4791 §9.6
	b.Attr("version", "2.0")
	b.Text(text)
}

// veil is calendar data as those see it who may know when, but not what.
func (q *request) veil(text string) (string, error) {
	o, err := calendar.Parse([]byte(text), q.h.cfg.Limits)
	if err != nil {
		return "", err
	}
	return string(calendar.Veil(o).Bytes()), nil
}

// shape expands, limits and selects calendar data.
func (q *request) shape(text string, c *storage.Collection, spec *davxml.DataSpec) (string, error) {
	if spec.Expand == nil && spec.LimitRecurrence == nil && spec.LimitFreeBusy == nil && spec.Comp == nil {
		return text, nil
	}
	o, err := calendar.Parse([]byte(text), q.h.cfg.Limits)
	if err != nil {
		return "", err
	}
	z := calendar.NewZones(o, q.zoneOf(c))
	switch {
	case spec.Expand != nil:
		o, err = calendar.Expand(o, z, spec.Expand.Start, spec.Expand.End, calendar.NewBudget())
	case spec.LimitRecurrence != nil:
		o, err = calendar.LimitRecurrenceSet(o, z, spec.LimitRecurrence.Start, spec.LimitRecurrence.End)
	}
	if err != nil {
		return "", err
	}
	if f := spec.LimitFreeBusy; f != nil {
		if o, err = calendar.LimitFreeBusySet(o, f.Start, f.End); err != nil {
			return "", err
		}
	}
	if spec.Comp != nil {
		o = calendar.Select(o, compSpec(spec.Comp))
	}
	return string(o.Bytes()), nil
}
