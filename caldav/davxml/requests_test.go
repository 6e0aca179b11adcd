package davxml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func report[T Report](t *testing.T, body string) T {
	t.Helper()
	r, err := ParseReport(parse(t, body))
	if err != nil {
		t.Fatalf("%s: %v", clip(body), err)
	}
	got, ok := r.(T)
	if !ok {
		t.Fatalf("%s: a %T", clip(body), r)
	}
	if r.ReportName() != parse(t, body).Name {
		t.Errorf("ReportName %v", r.ReportName())
	}
	return got
}

func utc(s string) time.Time {
	t, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		panic(err)
	}
	return t
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestPropfind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want PropSpec
	}{
		{"", PropSpec{AllProp: true}},
		{`<propfind xmlns="DAV:"><allprop/></propfind>`, PropSpec{AllProp: true}},
		{`<propfind xmlns="DAV:"><propname/></propfind>`, PropSpec{PropName: true}},
		{`<propfind xmlns="DAV:"><allprop/><include><owner/><acl/></include></propfind>`,
			PropSpec{AllProp: true, Include: []Name{DOwner, DACL}}},
		{`<propfind xmlns="DAV:"><prop/></propfind>`, PropSpec{Props: []Name{}}},
		{`<propfind xmlns="DAV:" xmlns:x="u"><x:new>1</x:new><prop><getetag/><x:p/><p xmlns=""/><getetag/></prop></propfind>`,
			PropSpec{Props: []Name{DGetETag, {"u", "p"}, {"", "p"}}}},
		{bodyThunderbirdCalendar, PropSpec{Props: []Name{DResourceType, DOwner, DCurrentUserPrincipal,
			DCurrentUserPrivilegeSet, DSupportedReportSet, CSupportedCalendarComponentSet, CSGetCTag}}},
		{`<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><C:calendar-data/></prop></propfind>`,
			PropSpec{Props: []Name{CCalendarData}, Data: &DataSpec{}}},
	} {
		root, err := Parse(strings.NewReader(c.body), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePropfind(root)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		same(t, *got, c.want)
	}
	home, err := ParsePropfind(parse(t, bodyAppleHome))
	if err != nil || len(home.Props) != 21 {
		t.Errorf("Apple's home: %d properties, %v", len(home.Props), err)
	}
}

// Many names, some twice: each stays once, in order.
func TestPropsOnce(t *testing.T) {
	t.Parallel()
	var s strings.Builder
	for i := range 600 {
		fmt.Fprintf(&s, "<p%d/>", i%400)
	}
	got, err := ParsePropfind(parse(t, `<propfind xmlns="DAV:"><prop>`+s.String()+`</prop></propfind>`))
	if err != nil || len(got.Props) != 400 || got.Props[399].Local != "p399" {
		t.Fatal(len(got.Props), err)
	}
}

func TestProppatch(t *testing.T) {
	t.Parallel()
	p, err := ParseProppatch(parse(t, bodyAppleProppatch))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Ops) != 3 {
		t.Fatal(p.Ops)
	}
	if op := p.Ops[0]; op.Remove || op.Name != ICalendarColor ||
		op.Value.Fragment() != `<D:calendar-color xmlns:D="http://apple.com/ns/ical/" symbolic-color="custom" xml:lang="de">#1BADF8FF</D:calendar-color>` {
		t.Errorf("%+v %s", op, op.Value.Fragment())
	}
	if op := p.Ops[1]; !op.Remove || op.Name != ICalendarOrder || op.Value != nil {
		t.Errorf("%+v", op)
	}
	if op := p.Ops[2]; op.Name != CDefaultAlarmVEventDateTime || !strings.HasPrefix(op.Value.Value(), "BEGIN:VALARM\nTRIGGER") {
		t.Errorf("%+v", op)
	}
	// The order of set and remove of one property is kept (RFC 4918 §9.2).
	p, err = ParseProppatch(parse(t, `<propertyupdate xmlns="DAV:"><set><prop><displayname>a</displayname></prop></set>
		<remove><prop><displayname/></prop></remove><set><prop><displayname>b</displayname></prop></set></propertyupdate>`))
	if err != nil || len(p.Ops) != 3 || !p.Ops[1].Remove || p.Ops[2].Value.Value() != "b" {
		t.Errorf("%+v %v", p, err)
	}
}

func TestMakeCollection(t *testing.T) {
	t.Parallel()
	for _, parse := range []func(*Node) (*MakeCollection, error){ParseMkcol, ParseMkcalendar} {
		if m, err := parse(nil); err != nil || m.Types != nil || m.Props != nil {
			t.Errorf("no body: %+v %v", m, err)
		}
	}
	m, err := ParseMkcol(parse(t, bodyMkcol))
	if err != nil || !m.Is(CCalendar) || !m.Is(DCollection) || m.Is(CSSubscribed) || len(m.Props) != 2 {
		t.Errorf("%+v %v", m, err)
	}
	m, err = ParseMkcalendar(parse(t, bodyAppleMkcalendar))
	if err != nil || m.Types != nil || len(m.Props) != 6 {
		t.Fatalf("%+v %v", m, err)
	}
	value := func(n Name) *Node {
		for _, p := range m.Props {
			if p.Name == n {
				return p.Value
			}
		}
		return nil
	}
	set, err := ComponentSet(value(CSupportedCalendarComponentSet))
	if err != nil || !reflect.DeepEqual(set, []string{"VTODO"}) {
		t.Errorf("%v %v", set, err)
	}
	if tr, err := Transparent(value(CScheduleCalendarTransp)); err != nil || !tr {
		t.Errorf("%v %v", tr, err)
	}
	if got := value(DDisplayName).Value(); got != "Groceries & more" {
		t.Error(got)
	}
	if got := value(CCalendarTimezone).Content(); got != "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n" {
		t.Errorf("%q", got)
	}
	m, err = ParseMkcalendar(parse(t, bodyDAVx5Mkcalendar))
	if err != nil || !m.Is(CCalendar) || len(m.Props) != 6 {
		t.Errorf("%+v %v", m, err)
	}
	for _, s := range []string{`<c/>`, `<c xmlns:C="urn:ietf:params:xml:ns:caldav"><C:comp/></c>`} {
		if _, err := ComponentSet(parse(t, s)); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if tr, err := Transparent(parse(t, `<c xmlns:C="urn:ietf:params:xml:ns:caldav"><C:opaque/></c>`)); err != nil || tr {
		t.Error(tr, err)
	}
	if _, err := Transparent(parse(t, `<c/>`)); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
}

func TestCalendarQuery(t *testing.T) {
	t.Parallel()
	q := report[*CalendarQuery](t, bodyAppleQuery)
	same(t, q, &CalendarQuery{
		PropSpec: PropSpec{Props: []Name{DGetETag, DGetContentType}},
		Filter: Filter{Comps: []CompFilter{{Name: "VCALENDAR", Comps: []CompFilter{
			{Name: "VEVENT", TimeRange: &TimeRange{Start: utc("20261026T000000Z")}}}}}},
	})
	q = report[*CalendarQuery](t, bodyEvolutionQuery)
	same(t, q.Data, &DataSpec{Comp: &CompSpec{Name: "VCALENDAR", Comps: []CompSpec{
		{Name: "VEVENT", Props: []PropData{{Name: "UID"}}}}}})

	// tsdav puts expand inside of getetag: passed over.
	q = report[*CalendarQuery](t, bodyTsdavQuery)
	same(t, q.PropSpec, PropSpec{Props: []Name{DGetETag}})

	q = report[*CalendarQuery](t, bodyPythonQuery)
	same(t, q.Data, &DataSpec{Expand: &TimeRange{utc("20261101T000000Z"), utc("20261108T000000Z")}})
	same(t, q.Filter.Comps[0].Comps[0], CompFilter{Name: "VTODO", Props: []PropFilter{
		{Name: "COMPLETED", NotDefined: true},
		{Name: "STATUS", Text: &TextMatch{Text: "CANCELLED", Collation: CollationASCII, MatchType: MatchContains, Negate: true}},
		{Name: "CATEGORIES", Text: &TextMatch{Text: "Home, sweet", Collation: CollationOctet, MatchType: MatchContains}},
	}})

	q = report[*CalendarQuery](t, bodyAnyOf)
	same(t, q, &CalendarQuery{
		PropSpec: PropSpec{Props: []Name{DGetETag}}, TimezoneID: "Europe/Berlin", Limit: 20,
		Filter: Filter{Comps: []CompFilter{{Name: "VCALENDAR", AnyOf: true, Comps: []CompFilter{
			{Name: "VEVENT", AnyOf: true, Props: []PropFilter{
				{Name: "SUMMARY", AnyOf: true, Text: &TextMatch{Text: "é", Collation: CollationUnicode, MatchType: MatchStartsWith}},
				{Name: "ATTENDEE", Params: []ParamFilter{
					{Name: "PARTSTAT", Text: &TextMatch{Text: "NEEDS-ACTION", Collation: CollationASCII, MatchType: MatchContains}},
					{Name: "RSVP", NotDefined: true}}},
			}},
			{Name: "VTODO"},
		}}}},
	})
}

// wrap puts the content of a VEVENT filter into a query.
func wrap(inner string) string {
	return top(`<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">` + inner + `</C:comp-filter></C:comp-filter>`)
}

func top(filter string) string {
	return `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:filter>` + filter + `</C:filter></C:calendar-query>`
}

func TestFilterErrors(t *testing.T) {
	t.Parallel()
	calendar := func(s string) string { return top(`<C:comp-filter name="VCALENDAR">` + s + `</C:comp-filter>`) }
	for _, c := range []struct {
		name, body string
		cond       Name
	}{
		{"no filter", `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav"/>`, CValidFilter},
		{"two filters", strings.Replace(wrap(""), "</C:filter>", "</C:filter><C:filter/>", 1), CValidFilter},
		{"empty filter", top(""), CValidFilter},
		{"top is not VCALENDAR", top(`<C:comp-filter name="VEVENT"/>`), CValidFilter},
		{"no name", calendar(`<C:comp-filter/>`), CValidFilter},
		{"bad name", calendar(`<C:comp-filter name="V EVENT"/>`), CValidFilter},
		{"VALARM below VCALENDAR", calendar(`<C:comp-filter name="VALARM"/>`), CValidFilter},
		{"VTODO in VEVENT", wrap(`<C:comp-filter name="VTODO"/>`), CValidFilter},
		{"VALARM in VJOURNAL", calendar(`<C:comp-filter name="VJOURNAL"><C:comp-filter name="VALARM"/></C:comp-filter>`), CValidFilter},
		{"X-THING in VALARM", wrap(`<C:comp-filter name="VALARM"><C:comp-filter name="X-THING"/></C:comp-filter>`), CValidFilter},
		{"time range on VTIMEZONE", calendar(`<C:comp-filter name="VTIMEZONE"><C:time-range start="20260101T000000Z"/></C:comp-filter>`), CValidFilter},
		{"time range on X-THING", calendar(`<C:comp-filter name="X-THING"><C:time-range start="20260101T000000Z"/></C:comp-filter>`), CSupportedFilter},
		{"time range on SUMMARY", wrap(`<C:prop-filter name="summary"><C:time-range start="20260101T000000Z"/></C:prop-filter>`), CValidFilter},
		{"no ends", wrap(`<C:time-range/>`), CValidFilter},
		{"date only", wrap(`<C:time-range start="20260101"/>`), CValidFilter},
		{"floating", wrap(`<C:time-range start="20260101T000000"/>`), CValidFilter},
		{"fraction", wrap(`<C:time-range start="20260101T000000.5Z"/>`), CValidFilter},
		{"offset", wrap(`<C:time-range start="20260101T000000+01"/>`), CValidFilter},
		{"ISO", wrap(`<C:time-range start="2026-01-01T00:00Z"/>`), CValidFilter},
		{"30 February", wrap(`<C:time-range end="20260230T000000Z"/>`), CValidFilter},
		{"end is start", wrap(`<C:time-range start="20260101T000000Z" end="20260101T000000Z"/>`), CValidFilter},
		{"end before start", wrap(`<C:time-range start="20260102T000000Z" end="20260101T000000Z"/>`), CValidFilter},
		{"two ranges", wrap(`<C:time-range start="20260101T000000Z"/><C:time-range start="20260101T000000Z"/>`), CValidFilter},
		{"two texts", wrap(`<C:prop-filter name="A"><C:text-match>x</C:text-match><C:text-match>y</C:text-match></C:prop-filter>`), CValidFilter},
		{"two texts of a parameter", wrap(`<C:prop-filter name="A"><C:param-filter name="B"><C:text-match>x</C:text-match><C:text-match>y</C:text-match></C:param-filter></C:prop-filter>`), CValidFilter},
		{"two ranges of a property", wrap(`<C:prop-filter name="DTSTART"><C:time-range start="20260101T000000Z"/><C:time-range start="20260101T000000Z"/></C:prop-filter>`), CValidFilter},
		{"not defined and range", wrap(`<C:is-not-defined/><C:time-range start="20260101T000000Z"/>`), CValidFilter},
		{"not defined and prop", wrap(`<C:prop-filter name="A"><C:is-not-defined/><C:text-match>x</C:text-match></C:prop-filter>`), CValidFilter},
		{"not defined and param", wrap(`<C:prop-filter name="A"><C:param-filter name="B"><C:is-not-defined/><C:text-match>x</C:text-match></C:param-filter></C:prop-filter>`), CValidFilter},
		{"param without name", wrap(`<C:prop-filter name="A"><C:param-filter/></C:prop-filter>`), CValidFilter},
		{"prop without name", wrap(`<C:prop-filter/>`), CValidFilter},
		{"unknown in filter", top(`<C:prop-filter name="A"/>`), CSupportedFilter},
		{"unknown in comp-filter", wrap(`<C:text-match>x</C:text-match>`), CSupportedFilter},
		{"unknown in prop-filter", wrap(`<C:prop-filter name="A"><x xmlns="u"/></C:prop-filter>`), CSupportedFilter},
		{"unknown in param-filter", wrap(`<C:prop-filter name="A"><C:param-filter name="B"><C:time-range start="20260101T000000Z"/></C:param-filter></C:prop-filter>`), CSupportedFilter},
		{"element in text-match", wrap(`<C:prop-filter name="A"><C:text-match>x<b/></C:text-match></C:prop-filter>`), CSupportedFilter},
		{"collation", wrap(`<C:prop-filter name="A"><C:text-match collation="i;basic">x</C:text-match></C:prop-filter>`), CSupportedCollation},
		{"match-type", wrap(`<C:prop-filter name="A"><C:text-match match-type="sounds-like">x</C:text-match></C:prop-filter>`), CSupportedFilter},
		{"negate", wrap(`<C:prop-filter name="A"><C:text-match negate-condition="maybe">x</C:text-match></C:prop-filter>`), CValidFilter},
		{"test", strings.Replace(wrap(""), `name="VEVENT"`, `name="VEVENT" test="oneof"`, 1), CValidFilter},
	} {
		_, err := ParseReport(parse(t, c.body))
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrPrecondition) || e.Cond != c.cond {
			t.Errorf("%s: got %v, want %v", c.name, err, c.cond)
			continue
		}
		if n := parse(t, string(e.Body())); n.Name != DError || n.Child(c.cond) == nil {
			t.Errorf("%s: body %s", c.name, e.Body())
		}
	}
	// What is fine beside them.
	for _, s := range []string{
		wrap(`<C:comp-filter name="VALARM"><C:time-range start="20260101T000000Z"/></C:comp-filter>`),
		wrap(`<C:comp-filter name="X-THING"/>`), calendar(`<C:comp-filter name="x-thing"/>`),
		wrap(`<C:prop-filter name="X-APPLE-ETAG"><C:time-range start="20260101T000000Z"/></C:prop-filter>`),
		wrap(`<C:prop-filter name="SUMMARY"><C:text-match collation="default"></C:text-match></C:prop-filter>`),
		top(`<C:comp-filter name="VCALENDAR"/><C:comp-filter name="vcalendar"/>`),
	} {
		report[*CalendarQuery](t, s)
	}
	// The element that is not supported stands in the condition.
	_, err := ParseReport(parse(t, calendar(`<C:comp-filter name="X-THING"><C:time-range start="20260101T000000Z"/></C:comp-filter>`)))
	var e *Error
	errors.As(err, &e)
	part := parse(t, string(e.Body())).Child(CSupportedFilter).Child(CCompFilter)
	if v, _ := part.Attr("name"); v != "X-THING" {
		t.Errorf("%s", e.Body())
	}
}

func TestRequestLimits(t *testing.T) {
	t.Parallel()
	props := "<prop xmlns=\"DAV:\">" + strings.Repeat("<x/>", MaxProps+1) + "</prop>"
	for name, c := range map[string]struct {
		body  string
		parse func(*Node) error
	}{
		"A14 filter parts": {wrap(strings.Repeat(`<C:prop-filter name="A"><C:text-match>x</C:text-match></C:prop-filter>`, MaxFilterParts/2)),
			func(n *Node) error { _, err := ParseReport(n); return err }},
		"propfind": {`<propfind xmlns="DAV:">` + props + `</propfind>`,
			func(n *Node) error { _, err := ParsePropfind(n); return err }},
		"proppatch": {`<propertyupdate xmlns="DAV:"><set>` + props + `</set></propertyupdate>`,
			func(n *Node) error { _, err := ParseProppatch(n); return err }},
		"A14 expand": {`<expand-property xmlns="DAV:">` + strings.Repeat(`<property name="a"><property name="b"/></property>`, MaxProps/2+1) + `</expand-property>`,
			func(n *Node) error { _, err := ParseReport(n); return err }},
		"searches": {`<principal-property-search xmlns="DAV:">` + strings.Repeat(`<property-search><prop><a/></prop><match/></property-search>`, MaxSearchTerms+1) + `</principal-property-search>`,
			func(n *Node) error { _, err := ParseReport(n); return err }},
		"tokens": {`<calendarserver-principal-search xmlns="http://calendarserver.org/ns/">` + strings.Repeat(`<search-token>a</search-token>`, MaxSearchTerms+1) + `</calendarserver-principal-search>`,
			func(n *Node) error { _, err := ParseReport(n); return err }},
		"aces": {`<acl xmlns="DAV:">` + strings.Repeat(`<ace><principal><all/></principal><grant><privilege><read/></privilege></grant></ace>`, MaxACEs+1) + `</acl>`,
			func(n *Node) error { _, err := ParseACL(n); return err }},
	} {
		if err := c.parse(parse(t, c.body)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A14: nesting is refused before any report sees it.
	for _, s := range []string{
		`<C:expand-property xmlns:C="DAV:">` + strings.Repeat(`<C:property name="owner">`, 1000) + strings.Repeat(`</C:property>`, 1000) + `</C:expand-property>`,
		wrap(strings.Repeat(`<C:comp-filter name="X-A">`, 1000) + strings.Repeat(`</C:comp-filter>`, 1000)),
	} {
		if _, err := Parse(strings.NewReader(s), Limits{}); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}
}

func TestDataSpec(t *testing.T) {
	t.Parallel()
	of := func(inner string) string {
		return `<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data content-type="application/calendar+json" version="2.0">` +
			inner + `</C:calendar-data></D:prop></C:calendar-multiget>`
	}
	r := `start="20260101T000000Z" end="20260201T000000Z"`
	tr := &TimeRange{utc("20260101T000000Z"), utc("20260201T000000Z")}
	// The shape of RFC 4791 §7.8.1.
	got := report[*CalendarMultiget](t, of(`<C:comp name="VCALENDAR"><C:prop name="VERSION"/><C:comp name="vevent"><C:prop name="SUMMARY" novalue="yes"/><C:prop name="uid"/></C:comp><C:comp name="VTIMEZONE"/></C:comp><C:limit-freebusy-set `+r+`/><C:limit-recurrence-set `+r+`/>`))
	same(t, got.Data, &DataSpec{ContentType: "application/calendar+json", Version: "2.0",
		Comp: &CompSpec{Name: "VCALENDAR", Props: []PropData{{Name: "VERSION"}}, Comps: []CompSpec{
			{Name: "VEVENT", Props: []PropData{{"SUMMARY", true}, {"UID", false}}},
			{Name: "VTIMEZONE", AllProps: true, AllComps: true}}},
		LimitRecurrence: tr, LimitFreeBusy: tr})
	got = report[*CalendarMultiget](t, of(`<C:comp name="VCALENDAR"><C:allprop/><C:allcomp/></C:comp><C:expand `+r+`/><x xmlns="u"/>`))
	same(t, got.Data.Comp, &CompSpec{Name: "VCALENDAR", AllProps: true, AllComps: true})
	same(t, got.Data.Expand, tr)

	for _, s := range []string{
		`<C:comp/>`, `<C:comp name="VEVENT"/>`, `<C:comp name="VCALENDAR"/><C:comp name="VCALENDAR"/>`,
		`<C:comp name="VCALENDAR"><C:prop/></C:comp>`, `<C:comp name="VCALENDAR"><C:comp/></C:comp>`,
		`<C:expand/>`, `<C:expand start="20260101T000000Z"/>`, `<C:expand start="20260101T000000Z" end="x"/>`,
		`<C:limit-recurrence-set end="20260101T000000Z"/>`, `<C:expand ` + r + `/><C:limit-recurrence-set ` + r + `/>`,
	} {
		if _, err := ParseReport(parse(t, of(s))); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestOtherReports(t *testing.T) {
	t.Parallel()
	same(t, report[*CalendarMultiget](t, bodyDAVx5Multiget), &CalendarMultiget{
		PropSpec: PropSpec{Props: []Name{DGetContentType, DGetETag, CScheduleTag, CCalendarData},
			Data: &DataSpec{ContentType: "text/calendar", Version: "2.0"}},
		Hrefs: []string{"/dav/calendars/u/calendar/a.ics", "/dav/calendars/u/calendar/b%20c.ics"}})
	if got := report[*CalendarMultiget](t, multigetOf(1000)); len(got.Hrefs) != 1000 || !strings.HasSuffix(got.Hrefs[999], "/00000999.ics") {
		t.Error(len(got.Hrefs))
	}
	same(t, report[*FreeBusyQuery](t, bodyTsdavFreeBusy), &FreeBusyQuery{TimeRange{utc("20261101T000000Z"), utc("20261201T000000Z")}})

	same(t, report[*SyncCollection](t, bodyDAVx5Sync), &SyncCollection{PropSpec: PropSpec{Props: []Name{DGetETag}},
		Token: "https://alpha.test/ns/sync/17", Level: SyncOne})
	same(t, report[*SyncCollection](t, bodyThunderbirdSync), &SyncCollection{
		PropSpec: PropSpec{Props: []Name{DGetContentType, DGetETag}}, Level: SyncOne})
	same(t, report[*SyncCollection](t, `<sync-collection xmlns="DAV:"><sync-level> infinite </sync-level><limit><nresults>99999999999999</nresults></limit></sync-collection>`),
		&SyncCollection{Level: SyncInfinite, Limit: 1<<31 - 1})
	same(t, report[*SyncCollection](t, `<sync-collection xmlns="DAV:"><sync-token>x</sync-token><prop/></sync-collection>`),
		&SyncCollection{Token: "x", PropSpec: PropSpec{Props: []Name{}}})

	same(t, report[*ExpandProperty](t, bodyAppleExpand), &ExpandProperty{[]ExpandedProp{
		{CSCalendarProxyWriteFor, []ExpandedProp{{Name: DDisplayName}, {Name: CCalendarUserAddressSet}, {Name: CSEmailAddressSet}}},
		{CSCalendarProxyReadFor, []ExpandedProp{{Name: DDisplayName}}}}})

	same(t, report[*PrincipalMatch](t, bodyPrincipalMatch), &PrincipalMatch{PropSpec: PropSpec{Props: []Name{DDisplayName}}, Property: DOwner})
	same(t, report[*PrincipalMatch](t, `<principal-match xmlns="DAV:"><self/></principal-match>`), &PrincipalMatch{Self: true})

	same(t, report[*PrincipalPropertySearch](t, bodyThunderbirdSearch), &PrincipalPropertySearch{
		PropSpec: PropSpec{Props: []Name{CCalendarHomeSet, CCalendarUserAddressSet, CScheduleInboxURL, CScheduleOutboxURL}},
		Searches: []PropertySearch{{Props: []Name{CCalendarHomeSet}, Match: "/dav/calendars/u/", MatchType: MatchContains}}})
	same(t, report[*PrincipalPropertySearch](t, bodyOutlookRooms), &PrincipalPropertySearch{
		PropSpec: PropSpec{Props: []Name{DDisplayName, CCalendarUserAddressSet}}, AnyOf: true, Everywhere: true,
		Searches: []PropertySearch{{Props: []Name{CCalendarUserType}, Match: "ROOM", MatchType: MatchEquals},
			{Props: []Name{CCalendarUserType}, Match: "RESOURCE", MatchType: MatchEquals, CaseSensitive: true}}})
	same(t, report[*CalendarServerPrincipalSearch](t, bodyApplePrincipalSearch), &CalendarServerPrincipalSearch{
		PropSpec: PropSpec{Props: []Name{DDisplayName, CSEmailAddressSet, CSRecordType}},
		Tokens:   []string{"car", "ol"}, Context: "attendee", Limit: 50})
	same(t, report[*ACLPrincipalPropSet](t, bodyOther), &ACLPrincipalPropSet{PropSpec{Props: []Name{DDisplayName}}})
	report[*PrincipalSearchPropertySet](t, `<principal-search-property-set xmlns="DAV:"/>`)
}

func TestACL(t *testing.T) {
	t.Parallel()
	got, err := ParseACL(parse(t, bodyACL))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, &ACL{[]ACE{
		{Principal: ACEPrincipal{Href: "/dav/principals/users/bob/"}, Privileges: []Name{DRead, DWriteContent}},
		{Principal: ACEPrincipal{Kind: PrincipalProperty, Property: DOwner}, Privileges: []Name{DAll}, Protected: true},
		{Principal: ACEPrincipal{Kind: PrincipalAuthenticated}, Privileges: []Name{CReadFreeBusy}},
		{Principal: ACEPrincipal{Kind: PrincipalSelf}, Invert: true, Deny: true, Privileges: []Name{DWrite}},
	}})
	if got, err := ParseACL(parse(t, `<acl xmlns="DAV:"/>`)); err != nil || len(got.ACEs) != 0 {
		t.Error(got, err)
	}
	grant := `<grant><privilege><read/></privilege></grant>`
	for _, c := range []struct {
		ace  string
		kind error
	}{
		{grant, ErrRequest},
		{`<principal><all/></principal>`, ErrRequest},
		{`<principal><all/></principal>` + grant + `<deny><privilege><read/></privilege></deny>`, ErrRequest},
		{`<principal><all/></principal><grant/>`, ErrRequest},
		{`<principal/>` + grant, ErrRequest},
		{`<principal><all/><self/></principal>` + grant, ErrRequest},
		{`<principal><all/></principal><invert><principal><all/></principal></invert>` + grant, ErrRequest},
		{`<invert/>` + grant, ErrRequest},
		{`<principal><href/></principal>` + grant, ErrPrecondition},
		{`<principal><everybody/></principal>` + grant, ErrPrecondition},
		{`<principal><property/></principal>` + grant, ErrPrecondition},
		{`<principal><unauthenticated/></principal>` + grant, nil},
		{`<principal><all/></principal>` + grant, nil},
	} {
		if _, err := ParseACL(parse(t, `<acl xmlns="DAV:"><ace>`+c.ace+`</ace></acl>`)); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", c.ace, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	anyReport := func(n *Node) error { _, err := ParseReport(n); return err }
	propfind := func(n *Node) error { _, err := ParsePropfind(n); return err }
	proppatch := func(n *Node) error { _, err := ParseProppatch(n); return err }
	mkcol := func(n *Node) error { _, err := ParseMkcol(n); return err }
	mkcalendar := func(n *Node) error { _, err := ParseMkcalendar(n); return err }
	acl := func(n *Node) error { _, err := ParseACL(n); return err }
	for _, c := range []struct {
		parse func(*Node) error
		body  string
	}{
		{propfind, `<propfind xmlns="DAV:"/>`},
		{propfind, `<propfind xmlns="DAV:"><prop/><allprop/></propfind>`},
		{propfind, `<propfind xmlns="DAV:"><prop/><prop/></propfind>`},
		{propfind, `<propfind/>`},
		{proppatch, ""},
		{proppatch, `<propertyupdate xmlns="DAV:"/>`},
		{proppatch, `<propertyupdate xmlns="DAV:"><set/></propertyupdate>`},
		{proppatch, `<propfind xmlns="DAV:"/>`},
		{mkcol, `<mkcalendar xmlns="urn:ietf:params:xml:ns:caldav"/>`},
		{mkcol, `<mkcol xmlns="DAV:"><remove><prop><displayname/></prop></remove></mkcol>`},
		{mkcalendar, `<mkcol xmlns="DAV:"/>`},
		{acl, ""},
		{anyReport, ""},
		{anyReport, `<sync-collection xmlns="DAV:"><sync-level>2</sync-level></sync-collection>`},
		{anyReport, `<sync-collection xmlns="DAV:"><limit/></sync-collection>`},
		{anyReport, `<sync-collection xmlns="DAV:"><limit><nresults>0</nresults></limit></sync-collection>`},
		{anyReport, `<sync-collection xmlns="DAV:"><limit><nresults>-1</nresults></limit></sync-collection>`},
		{anyReport, `<sync-collection xmlns="DAV:"><prop/><propname/></sync-collection>`},
		{anyReport, `<free-busy-query xmlns="urn:ietf:params:xml:ns:caldav"/>`},
		{anyReport, `<free-busy-query xmlns="urn:ietf:params:xml:ns:caldav"><time-range start="x"/></free-busy-query>`},
		{anyReport, `<principal-match xmlns="DAV:"/>`},
		{anyReport, `<principal-match xmlns="DAV:"><self/><principal-property><owner/></principal-property></principal-match>`},
		{anyReport, `<principal-match xmlns="DAV:"><principal-property/></principal-match>`},
		{anyReport, `<principal-property-search xmlns="DAV:"/>`},
		{anyReport, `<principal-property-search xmlns="DAV:" test="x"/>`},
		{anyReport, `<principal-property-search xmlns="DAV:"><property-search/></principal-property-search>`},
		{anyReport, `<principal-property-search xmlns="DAV:"><property-search><prop><a/></prop></property-search></principal-property-search>`},
		{anyReport, `<principal-property-search xmlns="DAV:"><property-search match-type="x"><prop><a/></prop><match/></property-search></principal-property-search>`},
		{anyReport, `<calendarserver-principal-search xmlns="http://calendarserver.org/ns/"><search-token/></calendarserver-principal-search>`},
		{anyReport, `<expand-property xmlns="DAV:"><property/></expand-property>`},
		{anyReport, `<expand-property xmlns="DAV:"><property name="a b"/></expand-property>`},
		{anyReport, `<expand-property xmlns="DAV:"><property name="a:b"/></expand-property>`},
		{anyReport, `<expand-property xmlns="DAV:"><property name="×"/></expand-property>`},
		{anyReport, `<expand-property xmlns="DAV:"><property name="a" namespace="http://www.w3.org/2000/xmlns/"/></expand-property>`},
	} {
		root, err := Parse(strings.NewReader(c.body), Limits{})
		if err != nil {
			t.Fatal(c.body, err)
		}
		if err := c.parse(root); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", c.body, err)
		} else if e := (*Error)(nil); !errors.As(err, &e) || e.Body() != nil {
			t.Errorf("%s: a body without a condition", c.body)
		}
	}
	_, err := ParseReport(parse(t, `<addressbook-query xmlns="urn:ietf:params:xml:ns:carddav"/>`))
	var e *Error
	if !errors.As(err, &e) || e.Cond != DSupportedReport {
		t.Error(err)
	}
}

// FuzzRequests feeds documents to every decoder: no panic, and only *Error.
func FuzzRequests(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	f.Add([]byte(wrap(`<C:comp-filter name="VALARM"><C:time-range start="20260101T000000Z"/></C:comp-filter>`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := Parse(strings.NewReader(string(data)), Limits{})
		if err != nil {
			return
		}
		check := func(err error) {
			var e *Error
			if err == nil {
				return
			}
			if !errors.As(err, &e) || e.Kind == nil || errors.Is(err, ErrPrecondition) == e.Cond.IsZero() && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("error %#v", err)
			}
			if b := e.Body(); b != nil {
				parse(t, string(b))
			}
		}
		spec, err := ParsePropfind(root)
		check(err)
		if err == nil {
			var out strings.Builder
			m := NewMultistatus(&out, Options{})
			r := m.Response("/")
			for i, n := range spec.Props {
				if i%2 == 0 {
					r.Prop(n).Text(n.Local)
				} else {
					r.Missing(n)
				}
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			// Any name that was read can be written.
			if _, err := Parse(strings.NewReader(out.String()), Limits{Bytes: 64 << 20}); err != nil {
				t.Fatalf("%s: %v", out.String(), err)
			}
		}
		p, err := ParseProppatch(root)
		check(err)
		if err == nil {
			for _, op := range p.Ops {
				if op.Value != nil {
					_, err = ComponentSet(op.Value)
					check(err)
					_, err = Transparent(op.Value)
					check(err)
				}
			}
		}
		_, err = ParseMkcol(root)
		check(err)
		_, err = ParseMkcalendar(root)
		check(err)
		_, err = ParseACL(root)
		check(err)
		rep, err := ParseReport(root)
		check(err)
		if (err == nil) != (rep != nil) {
			t.Fatal("a report and an error, or neither")
		}
		if q, ok := rep.(*CalendarQuery); ok {
			if len(q.Filter.Comps) == 0 || q.Filter.Comps[0].Name != "VCALENDAR" {
				t.Fatalf("%+v", q.Filter)
			}
		}
	})
}

func BenchmarkParseReport(b *testing.B) {
	for _, c := range []struct{ name, body string }{{"query", bodyPythonQuery}, {"multiget1000", multigetOf(1000)}} {
		root := parse(b, c.body)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseReport(root); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
