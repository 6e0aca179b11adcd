package clients

import (
	"fmt"
	"strings"
	"testing"
)

// The property lists of Apple's programs, each in one request.
const (
	appleWellKnown = `<D:current-user-principal/><D:principal-URL/><D:resourcetype/>`
	applePrincipal = `<C:calendar-home-set/><C:calendar-user-address-set/><D:current-user-principal/><D:displayname/><CS:dropbox-home-URL/><CS:email-address-set/>
		<CS:notification-URL/><D:principal-collection-set/><D:principal-URL/><D:resource-id/><C:schedule-inbox-URL/><C:schedule-outbox-URL/><D:supported-report-set/>`
	appleHome = `<D:add-member/><CS:allowed-sharing-modes/><I:autoprovisioned/><M:bulk-requests/><C:calendar-alarms/><I:calendar-color/><C:calendar-description/>
		<C:calendar-free-busy-set/><I:calendar-order/><C:calendar-timezone/><D:current-user-privilege-set/><C:default-alarm-vevent-date/><C:default-alarm-vevent-datetime/>
		<D:displayname/><CS:getctag/><CS:invite/><I:language-code/><I:location-code/><C:managed-attachments-server-URL/><D:owner/><CS:pre-publish-url/><CS:publish-url/>
		<CS:push-transports/><CS:pushkey/><D:quota-available-bytes/><D:quota-used-bytes/><I:refreshrate/><D:resource-id/><D:resourcetype/><C:schedule-calendar-transp/>
		<C:schedule-default-calendar-URL/><CS:source/><CS:subscribed-strip-alarms/><CS:subscribed-strip-attachments/><CS:subscribed-strip-todos/>
		<C:supported-calendar-component-set/><C:supported-calendar-component-sets/><D:supported-report-set/><D:sync-token/>`
	appleAlarm = "BEGIN:VALARM\nX-WR-ALARMUID:6A8B1F02\nUID:6A8B1F02\nTRIGGER:-PT15M\nATTACH;VALUE=URI:Basso\nACTION:AUDIO\nEND:VALARM\n"
)

// TestAppleDiscovery is clients.md 0, 4 and 6 step 1, and want 30: an account by
// address and password, from the first probe to the calendars.
func TestAppleDiscovery(t *testing.T) {
	t.Parallel()
	p := start(t, "iOS/18.4 (22E240) accountsd/1.0")
	nobody := p.as("")
	// Want 30: every probe without a password is told to bring one, and is
	// never shown a page. The realm is the same everywhere.
	for _, path := range []string{"/", "/principals/", "/principals/users/alice/", "/dav/", "/dav/principals/", "/dav/principals/users/alice/", "/caldav/v2", "/calendar/dav/alice/user/", home, cal, inbox, "/dav/nowhere/"} {
		a := nobody.do("PROPFIND", path, "Depth: 0", propfind(appleWellKnown)).want(401)
		if h := a.Header.Get("WWW-Authenticate"); h != `Basic realm="Kalends", charset="UTF-8"` {
			t.Errorf("%s: WWW-Authenticate %q", path, h)
		}
		if strings.Contains(a.text, "<html") {
			t.Errorf("%s: a page: %s", path, a.text)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PROPFIND", "OPTIONS", "REPORT"} {
		a := nobody.do(method, "/.well-known/caldav", "", "").want(301)
		if l := a.Header.Get("Location"); !strings.HasPrefix(l, "https://") || !strings.HasSuffix(l, "/dav/") {
			t.Errorf("%s: Location %q", method, l)
		}
	}
	// With a password: the principal on what is ours, 404 elsewhere.
	byAddress := p.as("")
	byAddress.head = map[string]string{"User-Agent": "x", "Authorization": "Basic YWxpY2VAYWxwaGEudGVzdDphbGljZQ=="} // alice@alpha.test:alice
	for _, path := range []string{"/", "/dav/", "/dav/principals/", principal, home, cal} {
		if got := byAddress.do("PROPFIND", path, "Depth: 0", propfind(appleWellKnown)).of(path).text("current-user-principal"); got != principal {
			t.Errorf("%s: current-user-principal %q", path, got)
		}
	}
	for _, path := range []string{"/principals/", "/principals/users/alice/", "/caldav/v2", "/calendar/dav/alice/user/", "/dav/nowhere/", "/dav/principals/users/zoe/"} {
		byAddress.do("PROPFIND", path, "Depth: 0", propfind(appleWellKnown)).want(404)
	}
	// The principal: 13 properties. Want 31: exactly one home.
	a := p.do("PROPFIND", principal, "Depth: 0", propfind(applePrincipal))
	r := a.of(principal)
	for prop, want := range map[string]string{"calendar-home-set": home, "schedule-inbox-URL": inbox, "schedule-outbox-URL": outbox, "notification-URL": home + "notification/",
		"principal-URL": principal, "principal-collection-set": "/dav/principals/", "displayname": "alice"} {
		if got := r.text(prop); got != want {
			t.Errorf("%s is %q, want %q: %s", prop, got, want, a.text)
		}
	}
	if got := r.texts("calendar-user-address-set"); len(got) != 3 || got[0] != "mailto:alice@alpha.test" || !strings.HasPrefix(got[1], "urn:uuid:") || got[2] != principal {
		t.Errorf("addresses %v", got)
	}
	if got := r.texts("calendar-home-set"); len(got) != 1 {
		t.Errorf("homes %v", got)
	}
	if got := r.statuses(); got["200"] != 12 || got["404"] != 1 { // dropbox-home-URL is not there
		t.Errorf("propstats %v", got)
	}
	// One answer to OPTIONS everywhere, that claims what is true and nothing else.
	for _, path := range []string{"/", "/dav/", "/dav/principals/", principal, home, cal, tasks, inbox, outbox, home + "notification/"} {
		h := p.do("OPTIONS", path, "", "").want(200).Header
		dav := strings.Split(h.Get("DAV"), ", ")
		for _, token := range []string{"1", "3", "access-control", "calendar-access", "calendar-auto-schedule", "calendar-schedule", "calendar-proxy", "calendar-no-timezone", "calendar-availability", "extended-mkcol", "webdav-push"} {
			if !contains(dav, token) {
				t.Errorf("%s: the DAV header lacks %s: %v", path, token, dav)
			}
		}
		for _, token := range []string{"2", "calendar-managed-attachments", "calendarserver-sharing"} {
			if contains(dav, token) {
				t.Errorf("%s: the DAV header claims %s", path, token)
			}
		}
		if allow := h.Get("Allow"); !strings.Contains(allow, "OPTIONS") || !strings.Contains(allow, "PROPFIND") {
			t.Errorf("%s: Allow %q", path, allow)
		}
	}
	p.do("REPORT", "/dav/principals/", "Depth: 0", report("D:principal-search-property-set", "")).want(200, "principal-search-property-set")
	p.do("PROPFIND", inbox, "Depth: 0", propfind("<C:calendar-availability/>")).of(inbox)
	p.do("PROPFIND", home+"notification/", "Depth: 1", propfind("<CS:notificationtype/><D:getetag/>")).wantHrefs(home + "notification/")
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// TestAppleHome is clients.md 1 and 6 steps 2 and 3: 39 properties of the home
// at once, PROPPATCH of alarms, order, colour and name, lists made and deleted.
func TestAppleHome(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	p.head["Brief"], p.head["Prefer"] = "t", "return=minimal"
	if n := strings.Count(appleHome, "/>"); n != 39 {
		t.Fatalf("%d properties", n)
	}
	a := p.do("PROPFIND", home, "Depth: 1", propfind(appleHome)).wantHrefs(home, cal, tasks, inbox, outbox, home+"notification/")
	for _, r := range a.parsed().Responses { // Brief: nothing that is missing is listed
		if s := r.statuses(); len(s) != 1 || s["200"] == 0 {
			t.Errorf("%s: propstats %v", r.Href, s)
		}
	}
	c := a.of(cal)
	for _, want := range []string{"add-member", "current-user-privilege-set", "displayname", "getctag", "owner", "resource-id", "resourcetype", "schedule-calendar-transp",
		"supported-calendar-component-set", "supported-report-set", "sync-token"} {
		if c.prop(want) == nil {
			t.Errorf("the calendar lacks %s: %s", want, a.text)
		}
	}
	for prop, want := range map[string]string{"schedule-default-calendar-URL": cal} {
		if got := a.of(inbox).text(prop); got != want {
			t.Errorf("%s of the inbox: %q", prop, got)
		}
	}
	if got := a.of(tasks).prop("supported-calendar-component-set"); got == nil || !strings.Contains(got.Inner, "VTODO") || strings.Contains(got.Inner, "VEVENT") {
		t.Errorf("the task list takes %v", got)
	}
	// Without Brief: the missing ones stand in a 404 propstat, and nothing fails.
	loud := p.as("alice")
	loud.head = map[string]string{"User-Agent": "dataaccessd/1.0"}
	for _, r := range loud.do("PROPFIND", home, "Depth: 1", propfind(appleHome)).parsed().Responses {
		if s := r.statuses(); s["200"]+s["404"]+s["403"] != 39 {
			t.Errorf("%s: propstats %v", r.Href, s)
		}
	}
	// Default alarms on home and calendar, as given; order, name, two forms of colour.
	for _, path := range []string{home, cal} {
		for _, prop := range []string{"default-alarm-vevent-date", "default-alarm-vevent-datetime"} {
			loud.do("PROPPATCH", path, "", proppatch("<C:"+prop+">"+appleAlarm+"</C:"+prop+">")).want(207, "200 OK")
			if got := p.do("PROPFIND", path, "Depth: 0", propfind("<C:"+prop+"/>")).of(path).text(prop); got != strings.TrimSpace(appleAlarm) {
				t.Errorf("%s: %s is %q", path, prop, got)
			}
		}
	}
	for _, color := range []string{"#FF2968FF", "#1badf8"} {
		p.do("PROPPATCH", cal, "", proppatch(`<I:calendar-color symbolic-color="custom">`+color+`</I:calendar-color><I:calendar-order>7</I:calendar-order><D:displayname>Work</D:displayname>`)).want(200)
		r := p.do("PROPFIND", cal, "Depth: 0", propfind("<I:calendar-color/><I:calendar-order/><D:displayname/>")).of(cal)
		if r.text("calendar-color") != color || r.text("calendar-order") != "7" || r.text("displayname") != "Work" {
			t.Errorf("after PROPPATCH: %+v", r)
		}
		if e := r.prop("calendar-color"); e == nil || len(e.Attrs) == 0 || e.Attrs[len(e.Attrs)-1].Value != "custom" {
			t.Errorf("symbolic-color is lost: %+v", e)
		}
	}
	// PROPPATCH is atomic: a protected property refuses all, with its precondition.
	loud.do("PROPPATCH", cal, "", proppatch("<D:displayname>Other</D:displayname><D:getetag>x</D:getetag>")).want(207, "403", "cannot-modify-protected-property", "424")
	if got := p.do("PROPFIND", cal, "Depth: 0", propfind("<D:displayname/>")).of(cal).text("displayname"); got != "Work" {
		t.Errorf("the name is %q", got)
	}
	// Inbox, outbox, notification are there and stay.
	for _, path := range []string{inbox, outbox, home + "notification/"} {
		if s := p.do("DELETE", path, "", "").Status; s != 403 && s != 405 {
			t.Errorf("DELETE %s: %d", path, s)
		}
		if s := p.do("PUT", path+"x.ics", "", event("x")).Status; s != 403 && s != 405 {
			t.Errorf("PUT into %s: %d", path, s)
		}
	}
	// Want 32: a list made at a UUID path is remembered as what it is, at once.
	list := home + "6D9C3F6E-0F4A-4A0B-9C55-0A1B2C3D4E5F/"
	made := `<?xml version="1.0" encoding="UTF-8"?><C:mkcalendar` + namespaces + `><D:set><D:prop><I:calendar-order>4</I:calendar-order><C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set>` +
		`<I:calendar-color>#0E61B9FF</I:calendar-color><D:displayname>Shopping</D:displayname><C:calendar-timezone>` + vtimezone + `</C:calendar-timezone><C:schedule-calendar-transp><C:opaque/></C:schedule-calendar-transp></D:prop></D:set></C:mkcalendar>`
	for range 2 { // made, deleted, made again: name and UIDs are free
		p.do("MKCALENDAR", list, "", made).want(201)
		r := p.do("PROPFIND", home, "Depth: 1", propfind(appleHome)).of(list)
		if e := r.prop("supported-calendar-component-set"); e == nil || strings.Contains(e.Inner, "VEVENT") || !strings.Contains(e.Inner, `"VTODO"`) || r.text("displayname") != "Shopping" || r.text("calendar-color") != "#0E61B9FF" {
			t.Errorf("the new list: %+v", r)
		}
		p.do("PUT", list+"milk.ics", "If-None-Match: *", ics("VTODO", "milk")).want(201)
		p.do("PUT", list+"e.ics", "", event("e")).want(403, "supported-calendar-component")
		p.do("DELETE", list, "", "").want(204)
		p.do("PROPFIND", list, "Depth: 0", propfind("<D:displayname/>")).want(404)
	}
	// A calendar without a component set takes all three.
	p.do("MKCALENDAR", home+"all/", "", "").want(201)
	for _, c := range []string{"VEVENT", "VTODO", "VJOURNAL"} {
		text := ics(c, c)
		if c == "VEVENT" {
			text = event(c)
		}
		p.do("PUT", home+"all/"+c+".ics", "", text).want(201)
	}
}

const vtimezone = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Apple Inc.//Mac OS X 15.4//EN\r\nCALSCALE:GREGORIAN\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:DAYLIGHT\r\nTZOFFSETFROM:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nDTSTART:19810329T020000\r\nTZNAME:GMT+2\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\nBEGIN:STANDARD\r\nTZOFFSETFROM:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nDTSTART:19961027T030000\r\nTZNAME:GMT+1\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n"

// TestAppleSubscription is clients.md 4: MKCALENDAR with CS:source, and DAVx5's
// way to see it. The feed is never fetched (A48).
func TestAppleSubscription(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	const feed = "webcal://feeds.example.net/holidays.ics?key=a&amp;b=c"
	sub := home + "9A0E2B1C-HOLIDAYS/"
	p.do("MKCALENDAR", sub, "", `<C:mkcalendar`+namespaces+`><D:set><D:prop><D:displayname>Holidays</D:displayname><CS:source><D:href>`+feed+`</D:href></CS:source><CS:subscribed-strip-alarms/><I:refreshrate>P1W</I:refreshrate></D:prop></D:set></C:mkcalendar>`).want(201)
	other := home + "by-type/"
	p.do("MKCOL", other, "", `<D:mkcol`+namespaces+`><D:set><D:prop><D:resourcetype><D:collection/><CS:subscribed/></D:resourcetype><CS:source><D:href>https://feeds.example.net/x.ics</D:href></CS:source></D:prop></D:set></D:mkcol>`).want(201)
	a := p.do("PROPFIND", home, "Depth: 1", propfind("<D:resourcetype/><CS:source/><D:displayname/><I:refreshrate/><CS:subscribed-strip-alarms/>"))
	r := a.of(sub)
	if e := r.prop("resourcetype"); e == nil || len(e.Kids) != 2 || e.Kids[1].XMLName.Local != "subscribed" || r.text("source") != strings.ReplaceAll(feed, "&amp;", "&") || r.text("refreshrate") != "P1W" || r.prop("subscribed-strip-alarms") == nil {
		t.Errorf("the subscription: %+v", r)
	}
	if a.of(other).text("source") != "https://feeds.example.net/x.ics" {
		t.Errorf("by resource type: %s", a.text)
	}
	p.do("PUT", sub+"x.ics", "", event("x")).want(403, "supported-calendar-component")
	p.do("PROPPATCH", sub, "", proppatch("<CS:source><D:href>https://feeds.example.net/new.ics</D:href></CS:source>")).want(207, "200 OK")
	for _, bad := range []string{"file:///etc/passwd", "javascript:alert(1)", "", "https://", "/relative"} {
		p.do("PROPPATCH", sub, "", proppatch("<CS:source><D:href>"+bad+"</D:href></CS:source>")).want(207, "403")
		p.do("MKCALENDAR", home+"bad/", "", `<C:mkcalendar`+namespaces+`><D:set><D:prop><CS:source><D:href>`+bad+`</D:href></CS:source></D:prop></D:set></C:mkcalendar>`).want(207, "403")
	}
	p.do("MKCOL", home+"bad/", "", `<D:mkcol`+namespaces+`><D:set><D:prop><D:resourcetype><D:collection/><CS:subscribed/></D:resourcetype></D:prop></D:set></D:mkcol>`).want(403, "valid-resourcetype")
	p.do("DELETE", sub, "", "").want(204)
}

// TestAppleSync is clients.md 2, 4 and 6 step 5: listing, multiget, and two
// devices that go on from their tokens.
func TestAppleSync(t *testing.T) {
	t.Parallel()
	p := start(t, "iOS/18.4 (22E240) dataaccessd/1.0")
	p.head["Brief"], p.head["Prefer"] = "t", "return=minimal"
	ctag := func() (string, string) {
		r := p.do("PROPFIND", cal, "Depth: 0", propfind("<CS:getctag/><D:sync-token/>")).of(cal)
		return r.text("getctag"), r.text("sync-token")
	}
	c0, t0 := ctag()
	homeToken := p.do("PROPFIND", home, "Depth: 0", propfind("<D:sync-token/>")).of(home).text("sync-token")
	var hrefs []string
	for i := range 30 {
		hrefs = append(hrefs, fmt.Sprint(cal, i, ".ics"))
		p.do("PUT", hrefs[i], "If-None-Match: *", event(fmt.Sprint("u", i))).want(201)
	}
	c1, t1 := ctag()
	if c0 == c1 || t0 == t1 { // the ctag changes exactly when the token does
		t.Error("ctag or token did not change")
	}
	if c2, t2 := ctag(); c1 != c2 || t1 != t2 {
		t.Error("ctag or token changed without a change")
	}
	etags := p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getcontenttype/><D:getetag/>")).parsed()
	if len(etags.Responses) != 31 {
		t.Errorf("%d responses", len(etags.Responses))
	}
	for _, r := range etags.Responses[1:] {
		if e := r.text("getetag"); !strings.HasPrefix(e, `"`) || !strings.HasPrefix(r.text("getcontenttype"), "text/calendar") {
			t.Errorf("%s: etag %s, type %s", r.Href, e, r.text("getcontenttype"))
		}
	}
	// A multiget answers in the order asked for; iOS writes %40 and the like.
	order := []string{hrefs[7], strings.Replace(hrefs[3], "alice", "%61lice", 1), cal + "missing.ics", hrefs[0]}
	m := p.do("REPORT", cal, "Depth: 1", multiget("<D:getetag/><C:calendar-data/><C:schedule-tag/>", order...)).parsed()
	if len(m.Responses) != 4 || m.Responses[0].Href != hrefs[7] || m.Responses[1].Href != hrefs[3] || !strings.Contains(m.Responses[2].Status, "404") || m.Responses[3].Href != hrefs[0] {
		t.Errorf("multiget: %+v", m.Responses)
	}
	// Home sync (macOS): the calendar counts as changed.
	if got := p.do("REPORT", home, "Depth: 1", sync(homeToken, "1", "<CS:getctag/><D:sync-token/>")).hrefs(); !contains(got, cal) {
		t.Errorf("home sync: %v", got)
	}
	p.do("PROPPATCH", tasks, "", proppatch("<D:displayname>To do</D:displayname>")).want(200)
	if got := p.do("REPORT", home, "Depth: 1", sync(homeToken, "1", "<D:displayname/>")).hrefs(); !contains(got, tasks) {
		t.Errorf("home sync after a new name: %v", got)
	}
	p.do("REPORT", principal, "Depth: 0", report("D:expand-property", `<D:property name="calendar-proxy-write-for" namespace="http://calendarserver.org/ns/"><D:property name="displayname"/></D:property><D:property name="group-membership"/>`)).want(207)
	// Clients.md 6 step 5, want 35: changes in pages, deletions as status only.
	p.do("DELETE", hrefs[29], "", "").want(204)
	token, seen, pages := t0, map[string]bool{}, 0
	for more := true; more; pages++ {
		a := p.do("REPORT", cal, "", report("D:sync-collection", "<D:sync-token>"+token+"</D:sync-token><D:sync-level>1</D:sync-level><D:limit><D:nresults>7</D:nresults></D:limit><D:prop><D:getetag/></D:prop>")).parsed()
		more = false
		for _, r := range a.Responses {
			if r.Href == cal {
				if more = strings.Contains(r.Status, "507"); !more {
					t.Errorf("the calendar itself: %+v", r)
				}
				continue
			}
			seen[r.Href] = true
		}
		token = a.Token
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
	}
	if _, now := ctag(); token != now || len(seen) < 29 || pages < 4 {
		t.Errorf("%d members in %d pages, token %s, the property says %s", len(seen), pages, token, now)
	}
	// A token of another calendar, of nothing, of the future (A51).
	for _, bad := range []string{"nonsense", "urn:kalends:sync:0-0-0", homeToken, p.do("PROPFIND", tasks, "Depth: 0", propfind("<D:sync-token/>")).of(tasks).text("sync-token")} {
		p.do("REPORT", cal, "", sync(bad, "1", "<D:getetag/>")).want(403, "valid-sync-token")
	}
	// clients.md 4: what Apple's programs write into an event comes back.
	const extra = "X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-APPLE-RADIUS=70;X-TITLE=\"Caf\u00e9\":geo:48.2,16.4\r\nX-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC\r\nX-APPLE-SORT-ORDER:12\r\nRELATED-TO;RELTYPE=PARENT:u1\r\nBEGIN:VALARM\r\nX-WR-ALARMUID:A1\r\nUID:A1\r\nTRIGGER:-PT15M\r\nACKNOWLEDGED:20270104T094500Z\r\nX-APPLE-DEFAULT-ALARM:TRUE\r\nACTION:DISPLAY\r\nDESCRIPTION:Reminder\r\nEND:VALARM"
	text := event("kept", extra)
	a := p.do("PUT", cal+"kept.ics", "If-None-Match: *", text).want(201)
	b := p.do("GET", cal+"kept.ics", "", "").want(200)
	if b.text != text || b.Header.Get("ETag") != a.Header.Get("ETag") || a.Header.Get("ETag") == "" {
		t.Errorf("stored %q, ETags %q and %q", b.text, a.Header.Get("ETag"), b.Header.Get("ETag"))
	}
}

// TestAppleAttendees is clients.md 4: completion of attendees' names.
func TestAppleAttendees(t *testing.T) {
	t.Parallel()
	p := start(t, "macOS/15.4 (24E248) CalendarAgent/1034")
	a := p.do("REPORT", "/dav/principals/", "Depth: 0", report(`CS:calendarserver-principal-search context="attendee"`, `<CS:search-token>bo</CS:search-token><CS:limit><CS:nresults>50</CS:nresults></CS:limit><D:prop><C:calendar-user-address-set/><C:calendar-user-type/><D:displayname/><CS:email-address-set/><CS:record-type/><D:principal-URL/></D:prop>`))
	if r := a.of("/dav/principals/users/bob/"); r.text("displayname") != "bob" || r.text("calendar-user-type") != "INDIVIDUAL" || r.prop("email-address-set") == nil {
		t.Errorf("the search: %s", a.text)
	}
	p.do("REPORT", "/dav/principals/", "Depth: 0", report(`D:principal-property-search test="anyof"`, `<D:property-search><D:prop><D:displayname/></D:prop><D:match>blu</D:match></D:property-search><D:property-search><D:prop><CS:email-address-set/></D:prop><D:match>blu</D:match></D:property-search><D:prop><C:calendar-user-type/></D:prop>`)).want(207, "/dav/principals/locations/blue/", "ROOM")
	// A calendar's refusals carry their precondition; 403 rather than 409.
	p.do("PUT", cal+"bad.ics", "", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n").want(403, "valid-calendar-")
	p.do("PUT", cal+"other.ics", "", event("same")).want(201)
	p.do("PUT", cal+"another.ics", "", event("same")).want(403, "no-uid-conflict", cal+"other.ics")
}
