package clients

import (
	"strings"
	"testing"
)

// TestEvolution is clients.md 4 and 7: Evolution Data Server, GNOME Calendar.
func TestEvolution(t *testing.T) {
	t.Parallel()
	p := start(t, "Evolution/3.46.4")
	a := p.do("OPTIONS", cal, "", "").want(200)
	for _, token := range []string{"calendar-access", "calendar-schedule", "calendar-auto-schedule"} {
		if !contains(strings.Split(a.Header.Get("DAV"), ", "), token) {
			t.Errorf("DAV: %s", a.Header.Get("DAV"))
		}
	}
	for _, m := range []string{"PUT", "POST", "DELETE"} { // of the collection or of what is in it
		if !strings.Contains(a.Header.Get("Allow")+p.do("OPTIONS", cal+"x.ics", "", "").Header.Get("Allow"), m) {
			t.Errorf("Allow lacks %s: %s", m, a.Header.Get("Allow"))
		}
	}
	p.as("").do("PROPFIND", cal, "Depth: 0", propfind("<CS:getctag/>")).want(401)
	ctag := p.do("PROPFIND", cal, "Depth: 0", propfind("<CS:getctag/>")).of(cal).text("getctag")
	put := p.do("PUT", cal+"e1.ics", "If-None-Match: *\nPrefer: return=minimal", event("e1")).want(201)
	if put.Header.Get("ETag") == "" {
		t.Error("no ETag although the bytes were stored as sent")
	}
	if p.do("PROPFIND", cal, "Depth: 0", propfind("<CS:getctag/>")).of(cal).text("getctag") == ctag {
		t.Error("the ctag did not change")
	}
	q := report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>`)
	p.do("REPORT", cal, "Depth: 1", q).wantHrefs(cal + "e1.ics")
	p.do("REPORT", tasks, "Depth: 1", q).wantHrefs() // 207 without a response
	p.do("REPORT", cal, "", multiget("<D:getetag/><C:calendar-data/>", cal+"e1.ics", cal+"gone.ics")).want(207, "BEGIN:VEVENT", "404")
	p.do("DELETE", cal+"e1.ics", "", "").want(204)
	// Free/busy is asked in the name of whom the user signed in as.
	question := func(organizer string) string {
		return "BEGIN:VCALENDAR\r\nCALSCALE:GREGORIAN\r\nPRODID:-//Ximian//NONSGML Evolution Calendar//EN\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:20261201T000000Z\r\nDTSTART:20270104T000000Z\r\nDTEND:20270105T000000Z\r\nORGANIZER:" + organizer +
			"\r\nATTENDEE;CUTYPE=INDIVIDUAL;ROLE=CHAIR;PARTSTAT=NEEDS-ACTION;RSVP=FALSE:\r\n mailto:bob@alpha.test\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
	}
	p.do("POST", outbox, "", question("mailto:alice")).want(200, "2.0;", "ORGANIZER:mailto:alice@alpha.test")
	p.do("POST", outbox, "", question("mailto:bob")).want(403, "valid-organizer")
	p.do("POST", outbox, "", question("mailto:bob@alpha.test")).want(403, "valid-organizer")
}

// TestKDE is clients.md 4: kdav asks a home for its calendars.
func TestKDE(t *testing.T) {
	t.Parallel()
	p := start(t, "KDE DAV groupware client")
	a := p.do("PROPFIND", home, "Depth: 1", propfind("<D:displayname/><D:resourcetype/><I:calendar-color/><C:supported-calendar-component-set/><D:current-user-privilege-set/><CS:getctag/><P:transports/><P:topic/>"))
	r := a.of(cal)
	for _, prop := range []string{"displayname", "resourcetype", "supported-calendar-component-set", "current-user-privilege-set", "getctag", "transports", "topic"} {
		if r.prop(prop) == nil {
			t.Errorf("the calendar lacks %s", prop)
		}
	}
	p.do("PUT", cal+"k.ics", "", event("k")).want(201)
	if p.do("PROPFIND", home, "Depth: 1", propfind("<CS:getctag/>")).of(cal).text("getctag") == r.text("getctag") {
		t.Error("the ctag did not change")
	}
	p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getetag/><D:resourcetype/>")).wantHrefs(cal, cal+"k.ics")
	p.do("REPORT", "/dav/principals/", "Depth: 0", report(`D:principal-property-search`, `<D:property-search><D:prop><D:displayname/></D:prop><D:match>bob</D:match></D:property-search><D:prop><D:displayname/><C:calendar-home-set/></D:prop>`)).want(207, "/dav/principals/users/bob/")
}

// TestOutlookSynchronizer is clients.md 4: Outlook CalDav Synchronizer.
func TestOutlookSynchronizer(t *testing.T) {
	t.Parallel()
	p := start(t, "CalDavSynchronizer/4.4")
	if dav := p.do("OPTIONS", cal, "", "").want(200).Header.Get("DAV"); !strings.Contains(dav, "calendar-access") {
		t.Errorf("DAV: %s", dav)
	}
	r := p.do("PROPFIND", cal, "Depth: 0", propfind("<D:supported-report-set/><D:current-user-privilege-set/><D:resourcetype/><C:supported-calendar-component-set/>")).of(cal)
	if e := r.prop("supported-report-set"); e == nil || !strings.Contains(e.Inner, "calendar-query") {
		t.Errorf("reports: %+v", e)
	}
	put := p.do("PUT", cal+"o1.ics", "If-None-Match: *", event("o1")).want(201)
	// It takes the place and the ETag from the answer.
	etag := put.Header.Get("ETag")
	window := report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20261201T000000Z" end="20270301T000000Z"/></C:comp-filter></C:comp-filter></C:filter>`)
	if got := p.do("REPORT", cal, "Depth: 1", window).of(cal + "o1.ics").text("getetag"); got != etag || etag == "" {
		t.Errorf("ETags %q and %q", got, etag)
	}
	p.do("REPORT", cal, "Depth: 1", multiget("<D:getetag/><D:displayname/><C:calendar-data/>", cal+"o1.ics")).want(207, "BEGIN:VEVENT")
	p.do("REPORT", cal, "Depth: 1", sync("", "1", "<D:getetag/>")).want(207, "sync-token")
	p.do("PUT", cal+"o1.ics", "If-Match: "+etag, event("o1", "LOCATION:x")).want(204)
	p.do("PUT", cal+"o1.ics", "If-Match: "+etag, event("o1")).want(412)
	// MKCOL, then PROPPATCH of the name.
	p.do("MKCOL", home+"outlook/", "", `<D:mkcol`+namespaces+`><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype></D:prop></D:set></D:mkcol>`).want(201)
	p.do("PROPPATCH", home+"outlook/", "", proppatch("<D:displayname>Outlook</D:displayname>")).want(207, "200 OK")
	// Rooms by type, from wherever.
	p.do("REPORT", principal, "Depth: 0", report("D:principal-property-search", `<D:property-search><D:prop><C:calendar-user-type/></D:prop><D:match match-type="equals">ROOM</D:match></D:property-search><D:prop><D:displayname/><C:calendar-user-address-set/></D:prop><D:apply-to-principal-collection-set/>`)).
		wantHrefs("/dav/principals/locations/blue/")
}

// TestVdirsyncer is clients.md 4 and 7: vdirsyncer, khal, pimsync, calcurse.
func TestVdirsyncer(t *testing.T) {
	t.Parallel()
	p := start(t, "vdirsyncer/0.19.3")
	p.do("PROPFIND", "/dav/", "Depth: 0", propfind("<D:current-user-principal/>")).of("/dav/")
	p.do("PROPFIND", principal, "Depth: 0", propfind("<C:calendar-home-set/>")).of(principal)
	n := 0
	for _, r := range p.do("PROPFIND", home, "Depth: 1", propfind("<D:resourcetype/>")).parsed().Responses {
		if e := r.prop("resourcetype"); e != nil && strings.Contains(e.Inner, ":calendar/>") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d calendars", n)
	}
	p.do("MKCOL", home+"new/", "", `<D:mkcol`+namespaces+`><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype></D:prop></D:set></D:mkcol>`).want(201)
	for prop, value := range map[string]string{"<I:calendar-color>": "#ff0000", "<D:displayname>": "Neu & gut", "<C:calendar-description>": "About", "<I:calendar-order>": "3"} {
		end := strings.Replace(prop, "<", "</", 1)
		p.do("PROPPATCH", home+"new/", "", proppatch(prop+strings.ReplaceAll(value, "&", "&amp;")+end)).want(207, "200 OK")
		if got := p.do("PROPFIND", home+"new/", "Depth: 0", propfind(strings.Replace(prop, ">", "/>", 1))).of(home + "new/").text(strings.Trim(prop[strings.Index(prop, ":")+1:], ">")); got != value {
			t.Errorf("%s %q, want %q", prop, got, value)
		}
	}
	a := p.do("PUT", home+"new/v.ics", "If-None-Match: *", event("v")).want(201)
	if a.text != "" {
		t.Errorf("the answer to a PUT has a body: %s", a.text) // it looks for a multistatus there
	}
	etag := a.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") || !strings.HasPrefix(etag, `"`) {
		t.Errorf("ETag %q", etag)
	}
	// calcurse compares the raw getetag; both ask without Depth.
	got := p.do("REPORT", home+"new/", "", multiget("<D:getetag/><C:calendar-data/>", home+"new/v.ics")).of(home + "new/v.ics")
	if got.text("getetag") != etag {
		t.Errorf("getetag %q, ETag %q", got.text("getetag"), etag)
	}
	p.do("REPORT", home+"new/", "Depth: 1", report("C:calendar-query", `<D:prop><D:getcontenttype/><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VTODO"/></C:comp-filter></C:filter>`)).wantHrefs()
	p.do("DELETE", home+"new/v.ics", "If-Match: "+etag, "").want(204)
	p.do("DELETE", home+"new/", "", "").want(204)
}

// TestHomeAssistant is clients.md 4: Home Assistant asks by python-caldav for the
// instances of a day, and reads them without knowing anything of rules and zones.
func TestHomeAssistant(t *testing.T) {
	t.Parallel()
	p := start(t, "python-caldav/1.6.0")
	zone := vtimezone[strings.Index(vtimezone, "BEGIN:VTIMEZONE"):strings.Index(vtimezone, "END:VCALENDAR")]
	series := strings.Replace(event("series", "RRULE:FREQ=DAILY;UNTIL=20270402T080000Z", "EXDATE;TZID=Europe/Berlin:20270331T100000"), "BEGIN:VEVENT", zone+"BEGIN:VEVENT", 1)
	series = strings.Replace(series, "DTSTART:20270104T100000Z", "DTSTART;TZID=Europe/Berlin:20270326T100000", 1)
	series = strings.Replace(series, "END:VCALENDAR", "BEGIN:VEVENT\r\nUID:series\r\nDTSTAMP:20261201T000000Z\r\nRECURRENCE-ID;TZID=Europe/Berlin:20270330T100000\r\nDTSTART;TZID=Europe/Berlin:20270330T180000\r\nDTEND;TZID=Europe/Berlin:20270330T190000\r\nSUMMARY:Later\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)
	p.do("PUT", cal+"series.ics", "", series).want(201)
	p.do("PUT", cal+"day.ics", "", strings.Replace(event("day"), "DTSTART:20270104T100000Z\r\nDURATION:PT1H", "DTSTART;VALUE=DATE:20270328\r\nDTEND;VALUE=DATE:20270329", 1)).want(201)
	for _, c := range []struct{ from, to, want string }{
		{"20270327T000000Z", "20270328T000000Z", "20270327T090000Z"},          // before the clock changes
		{"20270328T000000Z", "20270329T000000Z", "20270328T080000Z 20270328"}, // after it, and a whole day
		{"20270330T000000Z", "20270331T000000Z", "20270330T160000Z"},          // moved
		{"20270331T000000Z", "20270401T000000Z", ""},                          // left out
		{"20270402T000000Z", "20270403T000000Z", "20270402T080000Z"},          // UNTIL itself counts
		{"20270403T000000Z", "20270410T000000Z", ""},
	} {
		a := p.do("REPORT", cal, "Depth: 1", report("C:calendar-query", `<D:prop><C:calendar-data><C:expand start="`+c.from+`" end="`+c.to+`"/></C:calendar-data></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="`+c.from+`" end="`+c.to+`"/></C:comp-filter></C:comp-filter></C:filter>`))
		got := map[string]bool{}
		for _, r := range a.parsed().Responses {
			text := r.text("calendar-data")
			if strings.Contains(text, "RRULE") || strings.Contains(text, "TZID") || strings.Contains(text, "EXDATE") {
				t.Errorf("from %s: not expanded: %s", c.from, text)
			}
			for _, v := range strings.Split(text, "BEGIN:VEVENT")[1:] {
				start := ""
				for line := range strings.Lines(v) {
					if strings.HasPrefix(line, "DTSTART") {
						start = strings.TrimSpace(line[strings.Index(line, ":")+1:])
					}
				}
				if got[start] = true; !strings.Contains(v, "DTEND") && !strings.Contains(v, "DURATION") {
					t.Errorf("from %s: no end: %s", c.from, v)
				}
			}
		}
		want := strings.Fields(c.want)
		for _, w := range want {
			if !got[w] {
				t.Errorf("from %s: no instance at %s: %s", c.from, w, a.text)
			}
		}
		if len(got) != len(want) {
			t.Errorf("from %s: %v, want %v", c.from, got, want)
		}
	}
}

// TestTsdav is clients.md 4 and 7: tsdav as in Cal.com, and Nextcloud's cdav-library.
func TestTsdav(t *testing.T) {
	t.Parallel()
	p := start(t, "node")
	p.do("PROPFIND", "/.well-known/caldav", "", propfind("<D:current-user-principal/>")).want(301)
	p.do("GET", "/.well-known/caldav", "", "").want(301)
	p.do("PROPFIND", "/dav/", "", propfind("<D:current-user-principal/>")).of("/dav/") // no Depth
	a := p.do("PROPFIND", home, "Depth: 1", propfind("<C:calendar-description/><C:calendar-timezone/><D:displayname/><I:calendar-color/><CS:getctag/><D:resourcetype/><C:supported-calendar-component-set/><D:sync-token/>"))
	a.of(cal)
	// New objects keep their name, all end in .ics; an expand inside of getetag is ignored.
	p.do("PUT", cal+"ts.ics", "If-None-Match: *", event("ts", "RRULE:FREQ=DAILY;COUNT=3")).want(201)
	if l := p.do("POST", cal+"?action=add-member", "", event("posted")).want(201).Header.Get("Location"); !strings.HasSuffix(l, ".ics") {
		t.Errorf("Location %q", l)
	}
	filter := `<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20270101T000000Z" end="20270201T000000Z"/></C:comp-filter></C:comp-filter></C:filter>`
	p.do("REPORT", cal, "Depth: 1", report("C:calendar-query", `<D:prop><D:getetag><C:expand start="20270101T000000Z" end="20270201T000000Z"/></D:getetag><C:calendar-data><C:expand start="20270101T000000Z" end="20270201T000000Z"/></C:calendar-data></D:prop>`+filter)).
		want(207, "RECURRENCE-ID:20270105T100000Z").lacks("RRULE")
	p.do("REPORT", cal, "", sync("", "1", "<D:getetag/><C:calendar-data/>")).want(207, "sync-token")
	p.do("REPORT", cal, "", report("C:free-busy-query", `<C:time-range start="20270101T000000Z" end="20270201T000000Z"/>`)).want(200, "FREEBUSY")
	// cdav-library: the DAV header on the PROPFIND reply; Depth 0 on everything.
	if dav := p.do("PROPFIND", principal, "Depth: 0", propfind("<D:displayname/>")).want(207).Header.Get("DAV"); !strings.Contains(dav, "calendar-access") {
		t.Errorf("DAV on the PROPFIND reply: %q", dav)
	}
	p.do("PUT", cal+"cdav.ics", "Depth: 0", event("cdav")).want(201)
	p.do("PROPFIND", cal+"cdav.ics", "Depth: 0", propfind("<D:getetag/><C:calendar-data/>")).want(207, "UID:cdav")
	p.do("DELETE", cal+"cdav.ics", "Depth: 0", "").want(204)
	p.do("MKCOL", home+"cdav/", "Depth: 0", `<D:mkcol`+namespaces+`><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:displayname>x</D:displayname><I:calendar-color>#112233</I:calendar-color></D:prop></D:set></D:mkcol>`).want(201)
	p.do("REPORT", "/dav/", "Depth: 0", report("D:principal-property-search", `<D:property-search><D:prop><D:displayname/></D:prop><D:match>bob</D:match></D:property-search><D:prop><D:displayname/></D:prop><D:apply-to-principal-collection-set/>`)).want(207, "/users/bob/")
}

// TestEveryClient is clients.md 0: what holds for all of them.
func TestEveryClient(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	// Without the final slash: GET is led to it, everything else is answered.
	bare := strings.TrimSuffix(cal, "/")
	if l := p.do("GET", bare, "", "").want(301).Header.Get("Location"); !strings.HasSuffix(l, cal) {
		t.Errorf("Location %q", l)
	}
	a := p.do("PROPFIND", bare, "Depth: 0", propfind("<D:displayname/>")).wantHrefs(cal)
	if a.Header.Get("Content-Location") != cal {
		t.Errorf("Content-Location %q", a.Header.Get("Content-Location"))
	}
	// Unknown properties never fail; no body is allprop; both XML types.
	r := p.do("PROPFIND", cal, "Depth: 0\nContent-Type: text/xml", propfind(`<X:no xmlns:X="http://example.net/"/><D:displayname/>`)).of(cal)
	if s := r.statuses(); s["200"] != 1 || s["404"] != 1 {
		t.Errorf("propstats %v", s)
	}
	if p.do("PROPFIND", cal, "Depth: 0", "").of(cal).prop("resourcetype") == nil {
		t.Error("no body is not allprop")
	}
	// Strong quoted ETags everywhere, all the same.
	put := p.do("PUT", cal+"x.ics", "If-None-Match: *", event("x")).want(201)
	etag := put.Header.Get("ETag")
	for what, got := range map[string]string{
		"GET": p.do("GET", cal+"x.ics", "", "").Header.Get("ETag"), "HEAD": p.do("HEAD", cal+"x.ics", "", "").Header.Get("ETag"),
		"PROPFIND": p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")).of(cal + "x.ics").text("getetag"),
		"sync":     p.do("REPORT", cal, "", sync("", "1", "<D:getetag/>")).of(cal + "x.ics").text("getetag"),
		"multiget": p.do("REPORT", cal, "", multiget("<D:getetag/>", cal+"x.ics")).of(cal + "x.ics").text("getetag"),
	} {
		if got != etag || !strings.HasPrefix(etag, `"`) {
			t.Errorf("%s: ETag %q, want %q", what, got, etag)
		}
	}
	// Want 37: 412 and nothing changed; a UID in use is named with its href.
	p.do("PUT", cal+"x.ics", "If-None-Match: *", event("x", "LOCATION:y")).want(412)
	p.do("PUT", cal+"y.ics", "If-None-Match: *", event("x")).want(403, "no-uid-conflict", cal+"x.ics")
	p.do("PUT", cal+"z.ics", "If-Match: *", event("z")).want(412)
	p.do("GET", cal+"x.ics", "", "").want(200).lacks("LOCATION")
	// What is stored with changes has no ETag, so that the client reads it.
	put = p.do("PUT", cal+"m.ics", "", event("m", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE:mailto:bob@alpha.test")).want(201)
	got := p.do("GET", cal+"m.ics", "", "").want(200)
	if e := put.Header.Get("ETag"); e != "" && e != got.Header.Get("ETag") {
		t.Errorf("ETag %q, GET says %q", e, got.Header.Get("ETag"))
	}
	if st := put.Header.Get("Schedule-Tag"); st == "" || st != got.Header.Get("Schedule-Tag") {
		t.Errorf("Schedule-Tag %q, GET says %q", st, got.Header.Get("Schedule-Tag"))
	}
	// Want 33: MOVE, and DELETE with PUT in any order, keep the event and send nothing.
	p.do("MKCALENDAR", home+"second/", "", "").want(201)
	before := len(p.as("bob").do("PROPFIND", "/dav/calendars/bob/inbox/", "Depth: 1", propfind("<D:getetag/>")).hrefs())
	p.do("MOVE", cal+"m.ics", "Destination: "+p.base+home+"second/m.ics\nOverwrite: F", "").want(201)
	p.do("GET", home+"second/m.ics", "", "").want(200, "UID:m")
	if after := len(p.as("bob").do("PROPFIND", "/dav/calendars/bob/inbox/", "Depth: 1", propfind("<D:getetag/>")).hrefs()); after != before {
		t.Errorf("bob's inbox went from %d to %d items by a MOVE", before, after)
	}
	// Loose events may stand in two calendars, in either order.
	p.do("PUT", home+"second/x.ics", "", event("x")).want(201)
	p.do("DELETE", cal+"x.ics", "", "").want(204)
	p.do("GET", home+"second/x.ics", "", "").want(200)
	// Want 35: the token of an empty collection works; property and report agree.
	p.do("MKCALENDAR", home+"empty/", "", "").want(201)
	s := p.do("REPORT", home+"empty/", "", sync("", "1", "<D:getetag/>")).parsed()
	if len(s.Responses) != 0 || s.Token == "" || s.Token != p.do("PROPFIND", home+"empty/", "Depth: 0", propfind("<D:sync-token/>")).of(home+"empty/").text("sync-token") {
		t.Errorf("empty calendar: %+v", s)
	}
	p.do("REPORT", home+"empty/", "", sync(s.Token, "1", "<D:getetag/>")).wantHrefs()
	// Want 34: a deleted event's UID is free at once.
	p.do("DELETE", home+"second/x.ics", "", "").want(204)
	p.do("PUT", home+"second/again.ics", "If-None-Match: *", event("x")).want(201)
}
