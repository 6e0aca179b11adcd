package caldav

import (
	"io"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// report hands a REPORT to its function by the body's root (RFC 3253 §3.6).
func (q *request) report() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	rep, err := davxml.ParseReport(root)
	if err != nil {
		return err
	}
	if !slices.Contains(reportsOf(q.path.Kind), rep.ReportName()) {
		return precondition(davxml.Name{Space: davxml.NSDAV, Local: "supported-report"}, "this resource does not have the report "+rep.ReportName().Local)
	}
	if _, fb := rep.(*davxml.FreeBusyQuery); !fb && !looks(q.path.Kind, q.privs) {
		return q.forbidden(acl.Read)
	}
	if err := q.checkReport(rep); err != nil {
		return err
	}
	switch rep := rep.(type) {
	case *davxml.CalendarMultiget:
		return q.multiget(rep)
	case *davxml.CalendarQuery:
		return q.calendarQuery(rep)
	case *davxml.SyncCollection:
		return q.syncCollection(rep)
	case *davxml.FreeBusyQuery:
		return q.freeBusyQuery(rep)
	case *davxml.ExpandProperty:
		return q.expandProperty(rep)
	case *davxml.PrincipalMatch:
		return q.principalMatch(rep)
	case *davxml.PrincipalPropertySearch:
		return q.principalPropertySearch(rep)
	case *davxml.PrincipalSearchPropertySet:
		return q.principalSearchPropertySet()
	case *davxml.ACLPrincipalPropSet:
		return q.aclPrincipalPropSet(rep)
	case *davxml.CalendarServerPrincipalSearch:
		return q.principalSearch(rep)
	}
	return precondition(davxml.Name{Space: davxml.NSDAV, Local: "supported-report"}, "this report is not served")
}

// checkReport refuses a Depth that a report is not defined for, and calendar
// data in a form that is not served.
func (q *request) checkReport(rep davxml.Report) error {
	depth, err := q.depth(0)
	if err != nil {
		return err
	}
	var spec *davxml.PropSpec
	switch rep := rep.(type) {
	case *davxml.PrincipalMatch, *davxml.PrincipalSearchPropertySet, *davxml.ACLPrincipalPropSet: // RFC 3744 §9.2, §9.3, §9.5
		if depth != 0 {
			return badRequest("this report is defined for Depth: 0 only")
		}
		if a, ok := rep.(*davxml.ACLPrincipalPropSet); ok && len(a.Props) == 0 {
			return badRequest("the report names no property")
		}
	case *davxml.PrincipalPropertySearch, *davxml.ExpandProperty: // Thunderbird searches with Depth: 1
		if depth == infinite {
			return badRequest("this report is not defined for Depth: infinity")
		}
	case *davxml.CalendarQuery:
		spec = &rep.PropSpec
	case *davxml.CalendarMultiget:
		spec = &rep.PropSpec
	case *davxml.SyncCollection:
		spec = &rep.PropSpec
	}
	if spec != nil && spec.Data != nil { // RFC 4791 §7.8, §7.9
		_, known := formatOf(spec.Data.ContentType)
		if d := spec.Data; d.ContentType != "" && !known || d.Version != "" && d.Version != "2.0" {
			return precondition(davxml.CSupportedCalendarData, "calendar data is given as text/calendar, application/calendar+json or application/calendar+xml of version 2.0")
		}
	}
	return nil
}

// reportsOf is DAV:supported-report-set of a kind.
func reportsOf(k Kind) []davxml.Name {
	everywhere := []davxml.Name{davxml.DExpandProperty, davxml.DPrincipalMatch, davxml.DPrincipalPropertySearch, davxml.CSCalendarServerPrincipalSearch}
	if principalTop.has(k) {
		everywhere = append(everywhere, davxml.DPrincipalSearchPropertySet)
	}
	if collected.has(k) || items.has(k) {
		everywhere = append(everywhere, davxml.DACLPrincipalPropSet)
	}
	switch k {
	case KindCalendar:
		return append(everywhere, davxml.CCalendarQuery, davxml.CCalendarMultiget, davxml.CFreeBusyQuery, davxml.DSyncCollection)
	case KindInbox:
		return append(everywhere, davxml.CCalendarQuery, davxml.CCalendarMultiget, davxml.DSyncCollection)
	case KindHome:
		return append(everywhere, davxml.DSyncCollection, davxml.CCalendarMultiget, davxml.CCalendarQuery, davxml.CFreeBusyQuery)
	case KindOutbox, KindNotification:
		return append(everywhere, davxml.DSyncCollection)
	case KindObject, KindInboxItem:
		return append(everywhere, davxml.CCalendarQuery, davxml.CCalendarMultiget)
	}
	return everywhere
}

func writeReports(q *request, r *resource, b *davxml.Builder) {
	for _, n := range reportsOf(r.path.Kind) {
		b.Start(davxml.DSupportedReport)
		b.Start(davxml.DReport)
		b.Empty(n)
		b.End()
		b.End()
	}
}

// zoneOf is the zone in which floating times of a collection are read
// (RFC 4791 §5.2.2, RFC 7809 §5.2).
func (q *request) zoneOf(c *storage.Collection) *time.Location {
	if q.zone != nil {
		return q.zone
	}
	if c == nil {
		return time.UTC
	}
	for _, text := range []string{c.TimezoneID, c.Timezone} {
		if text == "" {
			continue
		}
		if loc, err := calendar.ParseTimezone(text); err == nil {
			return loc
		}
	}
	return time.UTC
}

// multiget answers calendar-multiget in the order asked for (RFC 4791 §7.9).
func (q *request) multiget(rep *davxml.CalendarMultiget) error {
	const most = 5000
	if len(rep.Hrefs) > most {
		return &httpError{status: http.StatusRequestEntityTooLarge, msg: "At most 5000 hrefs are answered at once; ask in parts."}
	}
	if len(rep.Hrefs) == 0 {
		return badRequest("calendar-multiget without a DAV:href")
	}
	m := q.multistatus()
	cols := q.columns(&rep.PropSpec)
	// Runs of hrefs in one collection become one statement.
	for i := 0; i < len(rep.Hrefs); {
		p, ok := parseHref(rep.Hrefs[i], q.sameHost)
		if !ok || p.Kind != KindObject {
			m.Status(rep.Hrefs[i], http.StatusNotFound, davxml.Name{}, "")
			i++
			continue
		}
		sub, err := q.reach(p)
		if err != nil {
			return q.abort(m, err)
		}
		var names, hrefs []string
		for ; i < len(rep.Hrefs); i++ {
			n, ok := parseHref(rep.Hrefs[i], q.sameHost)
			if !ok || n.Kind != KindObject || n.Handle != p.Handle || n.Collection != p.Collection {
				break
			}
			names, hrefs = append(names, n.Object), append(hrefs, rep.Hrefs[i])
		}
		if sub == nil {
			for _, h := range hrefs {
				m.Status(h, http.StatusNotFound, davxml.Name{}, "")
			}
			continue
		}
		k := 0
		for o, err := range q.h.db.Named(q.ctx, sub.found.Collection, names, cols) {
			if err != nil {
				return q.abort(m, err)
			}
			if o.Missing() {
				m.Status(hrefs[k], http.StatusNotFound, davxml.Name{}, "")
			} else {
				if r := sub.member(&o); r.view == viewNone {
					m.Status(hrefs[k], http.StatusNotFound, davxml.Name{}, "")
				} else {
					sub.respond(m, r, &rep.PropSpec)
				}
			}
			k++
			if m.Err() != nil {
				return q.end(m)
			}
		}
	}
	return q.end(m)
}

// reach finds another collection that the user may read, below the resource
// the report was sent to; nil when there is none to see.
func (q *request) reach(p Path) (*request, error) {
	if q.found.Home == nil || p.Handle != q.found.Home.Handle {
		return nil, nil
	}
	if q.found.Collection != nil {
		if q.found.Collection.Name != p.Collection {
			return nil, nil
		}
		return q, nil
	}
	f, err := q.h.db.Find(q.ctx, storage.Query{Login: q.user.Handle, Home: p.Handle, Collection: p.Collection, Columns: storage.ColumnTimezone})
	if err != nil || f.Collection == nil {
		return nil, err
	}
	sub := *q
	sub.found = f
	sub.privs = q.privilegesIn(&f, f.Collection)
	if k, _ := kindOf(f.Collection.Kind); !looks(k, sub.privs) {
		return nil, nil
	}
	return &sub, nil
}

// wholeHome tells whether the request is about all calendars of a home.
func (q *request) wholeHome() bool { return q.path.Kind == KindHome || q.path.Kind == KindBusy }

// readable lists the calendars that a report on a home covers.
func (q *request) readable(need acl.Set) ([]*request, error) {
	if !q.wholeHome() {
		return []*request{q}, nil
	}
	var cols []storage.Collection
	if q.found.Contents != nil {
		cols = q.found.Contents.Collections
	} else {
		var err error
		if cols, err = q.h.db.Collections(q.ctx, q.found.Home.ID); err != nil {
			return nil, err
		}
	}
	var out []*request
	for i := range cols {
		if cols[i].Kind != storage.CollectionCalendar || cols[i].Deleting {
			continue
		}
		sub := *q
		sub.found.Collection = &cols[i]
		sub.privs = q.privilegesIn(&q.found, &cols[i])
		if sub.privs.Has(need) {
			out = append(out, &sub)
		}
	}
	return out, nil
}

// calendarQuery answers calendar-query (RFC 4791 §7.8): the index selects
// candidates, the filter decides; what the index decides alone is not parsed.
func (q *request) calendarQuery(rep *davxml.CalendarQuery) error {
	filter, err := compFilter(&rep.Filter)
	if err != nil {
		return err
	}
	if err := q.queryZone(rep); err != nil {
		return err
	}
	depth, err := q.depth(1)
	if err != nil {
		return err
	}
	over, err := q.readable(acl.ReadBusy)
	if err != nil {
		return err
	}
	m := q.multistatus()
	if depth == 0 && !items.has(q.path.Kind) {
		return q.end(m) // a collection is no calendar object itself
	}
	budget := calendar.NewBudget()
	count := 0
	for _, part := range alternatives(filter) {
		more, err := q.queryOne(m, rep, part, over, budget, &count)
		if err != nil {
			return q.abort(m, err)
		}
		if !more {
			break
		}
	}
	return q.end(m)
}

// queryZone reads the zone that a query wants floating times in (RFC 4791 §7.8,
// RFC 7809 §5.1).
func (q *request) queryZone(rep *davxml.CalendarQuery) (err error) {
	switch {
	case rep.TimezoneID != "":
		if q.zone, err = calendar.LoadZone(rep.TimezoneID); err != nil {
			return precondition(davxml.CValidTimezone, "there is no time zone of this name")
		}
	case rep.Timezone != "":
		if q.zone, err = calendar.ParseTimezone(rep.Timezone); err != nil {
			return precondition(davxml.CValidCalendarData, "the time zone of the query is no iCalendar object with one VTIMEZONE")
		}
	}
	return nil
}

// queryOne answers one alternative of a query over the calendars that it covers; false
// says that the answer is full.
func (q *request) queryOne(m *davxml.Multistatus, rep *davxml.CalendarQuery, filter *calendar.CompFilter, over []*request, budget *calendar.Budget, count *int) (bool, error) {
	w := filter.Window()
	sel := storage.ObjectQuery{Columns: q.columns(&rep.PropSpec)}
	if w.Component != "" {
		sel.Components = []string{w.Component}
	}
	exact := w.Sufficient
	if w.OK && w.Ranged() {
		sel.From, sel.To = micros(w.Range.Start, minMicros), micros(w.Range.End, maxMicros)
		sel.Columns |= storage.ColumnData // recurring and floating objects must be looked at
	}
	if !exact {
		sel.Columns |= storage.ColumnData
	}
	found := q.candidates(over, sel, &w)
	if items.has(q.path.Kind) { // the scope is one object: the filter alone decides
		found, exact = q.h.db.Get(q.ctx, q.found.Collection.CollectionKey, []string{q.path.Object}, storage.ColumnData), false
	}
	var in *request // the calendar that o is in
	var zone *time.Location
	for o, err := range found {
		if err != nil {
			return false, err
		}
		if in == nil || in.found.Collection.ID != o.ID {
			if in = calendarOf(over, o.ID); in == nil {
				continue
			}
			zone = in.zoneOf(in.found.Collection)
		}
		r := in.member(&o)
		if r.view == viewNone {
			continue
		}
		match := exact && (!w.Ranged() || o.Flags&storage.FlagExact != 0)
		if !match {
			obj, err := calendar.Parse([]byte(o.Data), q.h.cfg.Limits)
			if err != nil {
				continue // unreadable: it matches nothing
			}
			if r.view == viewBusy { // what is hidden is not found either (abuse A24)
				obj = calendar.Veil(obj)
			}
			if match, err = filter.Match(obj, calendar.NewZones(obj, zone), budget); err != nil {
				return false, err
			}
		}
		if !match {
			continue
		}
		if rep.Limit > 0 && *count >= rep.Limit {
			m.Status(q.path.String(), http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
			return false, nil
		}
		*count++
		in.respond(m, r, &rep.PropSpec)
		if m.Err() != nil {
			return false, nil
		}
	}
	return true, nil
}

func calendarOf(over []*request, id storage.CollectionID) *request {
	for _, sub := range over {
		if sub.found.Collection.ID == id {
			return sub
		}
	}
	return nil
}

// candidates are the objects that the index leaves over in the calendars of a query,
// by one statement or two. What is asked of the UID the index answers alone, whatever
// the collation and the kind of match, and all members are those of a listing.
func (q *request) candidates(over []*request, sel storage.ObjectQuery, w *calendar.Window) iter.Seq2[storage.Object, error] {
	find := func(sel storage.ObjectQuery) iter.Seq2[storage.Object, error] {
		if q.path.Kind != KindHome {
			return q.h.db.Select(q.ctx, q.found.Collection.CollectionKey, sel)
		}
		var in []storage.CollectionID
		for _, sub := range over {
			in = append(in, sub.found.Collection.ID)
		}
		return q.h.db.SelectIn(q.ctx, q.found.Home.ID, in, sel)
	}
	listed := q.path.Kind == KindCalendar && !w.Ranged()
	switch {
	case w.UID == nil && listed && sel.Columns == storage.ColumnsMeta:
		return q.listed(w)
	case w.UID == nil:
		return find(sel)
	case w.UID.Collation == davxml.CollationOctet && w.UID.MatchType == davxml.MatchEquals:
		sel.UID = w.UID.Text
		return find(sel)
	}
	// Collations are not the database's business: UIDs are compared here, and
	// only what matches is read.
	brief := sel
	brief.Columns = storage.ColumnsMeta
	all := find(brief)
	if listed {
		all = q.listed(w)
	}
	if sel.Columns == storage.ColumnsMeta {
		return matching(all, w)
	}
	return func(yield func(storage.Object, error) bool) {
		var names []string
		for o, err := range matching(all, w) {
			if err != nil {
				yield(o, err)
				return
			}
			names = append(names, o.Name)
			sel.UIDs = append(sel.UIDs, o.UID)
		}
		switch {
		case len(names) == 0:
		case !listed, len(names) > 500: // which names would take more than one statement for
			find(sel)(yield)
		default:
			for o, err := range q.h.db.Named(q.ctx, q.found.Collection, names, sel.Columns) {
				if (err != nil || !o.Missing()) && !yield(o, err) {
					return
				}
			}
		}
	}
}

// listed are the members of the request's calendar with the component of a
// window that has no other condition.
func (q *request) listed(w *calendar.Window) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for o, err := range q.h.db.Listing(q.ctx, q.found.Collection) {
			switch {
			case err != nil:
				yield(storage.Object{}, err)
				return
			case w.Component != "" && o.Component != w.Component:
			case !yield(*o, nil):
				return
			}
		}
	}
}

// matching are the objects whose UID is asked for.
func matching(found iter.Seq2[storage.Object, error], w *calendar.Window) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		matches := w.UID.Matcher()
		for o, err := range found {
			if err == nil && !matches(o.UID) {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

const (
	minMicros = -1 << 63
	maxMicros = 1<<63 - 1
)

func micros(t time.Time, open int64) int64 {
	if t.IsZero() {
		return open
	}
	return t.UnixMicro()
}

// syncCollection answers sync-collection (RFC 6578 §3.2).
func (q *request) syncCollection(rep *davxml.SyncCollection) error {
	depth, err := q.depth(0)
	if err != nil {
		return err
	}
	if rep.Level == davxml.SyncFromDepth && depth == infinite {
		rep.Level = davxml.SyncInfinite
	}
	if q.path.Kind == KindHome {
		return q.syncHome(rep)
	}
	limit := rep.Limit
	set, err := q.h.db.ChangesTo(q.ctx, q.found.Collection, rep.Token, limit)
	if err != nil {
		return err
	}
	m := q.multistatus()
	if err := q.writeChanges(m, set, &rep.PropSpec, rep.Token == ""); err != nil {
		return q.abort(m, err)
	}
	if set.Truncated { // RFC 6578 §3.6
		m.Status(q.path.String(), http.StatusInsufficientStorage, davxml.DNumberOfMatchesWithinLimits, "")
	}
	m.SyncToken(set.Token)
	return q.end(m)
}

// writeChanges writes the members of a change set; calendar data, when asked
// for, is read in batches.
func (q *request) writeChanges(m *davxml.Multistatus, set storage.ChangeSet, spec *davxml.PropSpec, first bool) error {
	if q.columns(spec)&storage.ColumnData == 0 {
		for i := range set.Changes {
			q.writeChange(m, &set.Changes[i], spec, first)
		}
		return nil
	}
	for batch := range slices.Chunk(set.Changes, 500) {
		var names []string
		for _, c := range batch {
			if !c.Deleted {
				names = append(names, c.Name)
			}
		}
		data := map[string]storage.Object{}
		for o, err := range q.h.db.Get(q.ctx, q.found.Collection.CollectionKey, names, storage.ColumnData) {
			if err != nil {
				return err
			}
			data[o.Name] = o
		}
		for i := range batch {
			c := batch[i]
			if o, ok := data[c.Name]; ok && !c.Deleted {
				if o.Missing() { // deleted since: the next report will say so too
					c.Deleted = true
				} else {
					c.Object = &o
				}
			}
			q.writeChange(m, &c, spec, first)
		}
	}
	return nil
}

// writeChange tells of one change. What has become hidden is gone for the user,
// who may have seen it before; a first answer has no need to say so.
func (q *request) writeChange(m *davxml.Multistatus, c *storage.Change, spec *davxml.PropSpec, first bool) {
	r := q.member(c.Object)
	switch {
	case c.Deleted || r.view == viewNone && !first:
		m.Status(r.href(), http.StatusNotFound, davxml.Name{}, "")
	case r.view != viewNone:
		q.respond(m, r, spec)
	}
}

// freeBusyQuery answers free-busy-query (RFC 4791 §7.10).
func (q *request) freeBusyQuery(rep *davxml.FreeBusyQuery) error {
	if !q.privs.Has(acl.ReadFreeBusy) {
		if !q.knows(&q.found) {
			return q.forbidden(acl.Read) // as for an account that does not exist
		}
		return q.forbidden(acl.ReadFreeBusy)
	}
	from, to := rep.Start, rep.End
	if from.IsZero() {
		from = q.now().UTC()
	}
	if to.IsZero() {
		to = from.AddDate(1, 0, 0)
	}
	return q.answerBusy(from, to)
}

// answerBusy answers with what takes time in the calendars whose free/busy the
// user may read.
func (q *request) answerBusy(from, to time.Time) error {
	over, err := q.readable(acl.ReadFreeBusy)
	if err != nil {
		return err
	}
	busy, err := q.busyTimes(over, from, to)
	if err != nil {
		return err
	}
	return q.writeBusy(busy, from, to)
}

// writeBusy answers with one VFREEBUSY.
func (q *request) writeBusy(busy []calendar.Period, from, to time.Time) error {
	// RFC 4791 §7.10: times of one type are joined; those of different types may
	// overlap, so that nothing tentative is lost beside something busy.
	answer := calendar.FreeBusyComponent(nil, from, to, q.now().UTC())
	for _, t := range []calendar.BusyType{calendar.BusyTime, calendar.BusyUnavailable, calendar.BusyTentative} {
		one := slices.DeleteFunc(slices.Clone(busy), func(p calendar.Period) bool { return p.Type != t })
		answer.Props = append(answer.Props, calendar.FreeBusyComponent(one, from, to, from).All("FREEBUSY")...)
	}
	out := calendar.NewObject("-//Kalends//Kalends//EN")
	out.Children = append(out.Children, answer)
	f := q.accepted()
	text := f.write(out)
	h := q.w.Header()
	h.Set("Content-Type", f.contentType(""))
	h.Add("Vary", "Accept")
	h.Set("Content-Length", itoa(len(text)))
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	_, err := io.WriteString(q.w, text)
	return ignoreWrite(err)
}

// busyTimes is what takes time in calendars of one home, with what the home's
// owner says of his availability (RFC 7953 §7.2.3). Three statements, whatever
// the number of calendars.
func (q *request) busyTimes(over []*request, from, to time.Time) ([]calendar.Period, error) {
	busy := q.h.sched.NewBusy(*q.found.Home, from, to, calendar.NewBudget())
	zones := map[storage.CollectionID]*time.Location{}
	for _, sub := range over {
		if c := sub.found.Collection; !q.wholeHome() || !c.Transparent {
			zones[c.ID] = q.zoneOf(c)
		}
	}
	add := func(o storage.Object) error {
		zone, ok := zones[o.ID]
		if !ok {
			return nil
		}
		return busy.Add(o, zone)
	}
	own := []storage.AccountID{q.found.Home.ID}
	if q.wholeHome() {
		for b, err := range q.h.db.BusyObjects(q.ctx, own, from.UnixMicro(), to.UnixMicro()) {
			if err == nil {
				err = add(b.Object)
			}
			if err != nil {
				return nil, err
			}
		}
	} else {
		sel := storage.ObjectQuery{Components: []string{"VEVENT", "VFREEBUSY", "VAVAILABILITY"}, From: from.UnixMicro(), To: to.UnixMicro(), Columns: storage.ColumnData | storage.ColumnExtra}
		for o, err := range q.h.db.Select(q.ctx, q.found.Collection.CollectionKey, sel) {
			if err == nil {
				err = add(o)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	props, err := q.h.db.PropertiesNamed(q.ctx, own, scheduling.AvailabilitySpace, scheduling.AvailabilityLocal)
	if err != nil {
		return nil, err
	}
	for _, p := range props {
		if zone, ok := zones[p.ID]; ok || p.Kind == storage.CollectionInbox {
			busy.AddAvailability(p.XML, zone)
		}
	}
	return busy.Periods()
}
