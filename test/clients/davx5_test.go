package clients

import (
	"strings"
	"testing"
	"time"
)

// TestDAVx5 is clients.md 2, 4 and 7: DAVx5 4.x with Etar, Tasks.org and jtx.
func TestDAVx5(t *testing.T) {
	t.Parallel()
	p := start(t, "DAVx5/4.4.9-ose (dav4jvm; okhttp/4.12.0) Android/15")
	if l := p.as("").do("PROPFIND", "/.well-known/caldav", "Depth: 0", propfind("<D:current-user-principal/>")).want(301).Header.Get("Location"); !strings.HasPrefix(l, "https://") {
		t.Errorf("from TLS to %q: it follows no redirect away from https", l)
	}
	if got := p.do("PROPFIND", "/dav/", "Depth: 0", propfind("<D:current-user-principal/>")).of("/dav/").text("current-user-principal"); got != principal {
		t.Fatalf("principal %q", got)
	}
	// OPTIONS on the principal decides whether there is CalDAV.
	a := p.do("OPTIONS", principal, "", "").want(200)
	if dav := a.Header.Get("DAV"); !strings.Contains(dav, "calendar-access") {
		t.Errorf("DAV: %s", dav)
	}
	r := p.do("PROPFIND", principal, "Depth: 0", propfind("<C:calendar-home-set/><C:calendar-user-address-set/><CS:calendar-proxy-read-for/><CS:calendar-proxy-write-for/><D:group-membership/><D:displayname/>")).of(principal)
	if r.text("calendar-home-set") != home || r.texts("calendar-user-address-set")[0] != "mailto:alice@alpha.test" {
		t.Errorf("principal: %+v", r)
	}
	const collection = "<D:current-user-privilege-set/><D:displayname/><D:owner/><D:resourcetype/><I:calendar-color/><C:calendar-description/><C:calendar-timezone/><C:calendar-timezone-id/><C:supported-calendar-component-set/><CS:source/><P:transports/><P:topic/>"
	a = p.do("PROPFIND", home, "Depth: 1", propfind(collection))
	for _, path := range []string{home, cal} { // it offers "create" with bind on the home, and editing with write-content
		set := a.of(path).prop("current-user-privilege-set")
		for _, want := range []string{"bind/>", "unbind/>", "write-content/>", "write-properties/>", "read/>", "write/>"} {
			if set == nil || !strings.Contains(set.Inner, want) {
				t.Errorf("%s: privileges lack %s: %+v", path, want, set)
			}
		}
	}
	if c := a.of(cal); c.prop("transports") == nil || c.text("topic") == "" {
		t.Errorf("no push: %+v", c)
	}
	// MKCALENDAR with type, time zone and its id together: all of IANA's ids.
	for i, zone := range []string{"Europe/Berlin", "America/Argentina/ComodRivadavia", "Asia/Calcutta", "Etc/GMT+8", "Pacific/Kanton", "Antarctica/Troll"} {
		path := home + "zone-" + string(rune('a'+i)) + "/"
		body := `<C:mkcalendar` + namespaces + `><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:displayname>Z</D:displayname><I:calendar-color>#C3EA6EFF</I:calendar-color><C:calendar-timezone-id>` + zone +
			`</C:calendar-timezone-id><C:calendar-timezone>` + strings.ReplaceAll(vtimezone, "Europe/Berlin", zone) + `</C:calendar-timezone><C:supported-calendar-component-set><C:comp name="VEVENT"/><C:comp name="VTODO"/><C:comp name="VJOURNAL"/></C:supported-calendar-component-set></D:prop></D:set></C:mkcalendar>`
		p.do("MKCALENDAR", path, "", body).want(201)
		if got := p.do("PROPFIND", path, "Depth: 0", propfind("<C:calendar-timezone-id/>")).of(path).text("calendar-timezone-id"); got != zone {
			t.Errorf("zone %q, want %q", got, zone)
		}
	}
	// Upload: a name of its own, If-None-Match; then initial sync with Depth 0,
	// and multiget of ten without Depth.
	var hrefs []string
	for i := range 12 {
		hrefs = append(hrefs, cal+"7c9e6679-7425-40de-944b-e07fc1f9"+string(rune('a'+i))+"000.ics")
		p.do("PUT", hrefs[i], "If-None-Match: *", event(hrefs[i][len(cal):])).want(201)
	}
	s := p.do("REPORT", cal, "Depth: 0", sync("", "1", "<D:getetag/>")).parsed()
	if len(s.Responses) != 12 || s.Token == "" {
		t.Errorf("initial sync: %d members, token %q", len(s.Responses), s.Token)
	}
	m := p.do("REPORT", cal, "", multiget("<D:getcontenttype/><D:getetag/><C:schedule-tag/><C:calendar-data/>", hrefs[:10]...)).parsed()
	for i, r := range m.Responses {
		if r.Href != hrefs[i] || !strings.Contains(r.text("calendar-data"), "BEGIN:VEVENT") || r.text("getetag") == "" {
			t.Errorf("multiget: %+v", r)
		}
	}
	// With a limit of days it asks by time range instead, once per component.
	for _, comp := range []string{"VEVENT", "VTODO", "VJOURNAL"} {
		filter := `<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="` + comp + `"><C:time-range start="20261001T000000Z"/></C:comp-filter></C:comp-filter></C:filter>`
		got := p.do("REPORT", cal, "Depth: 1", report("C:calendar-query", "<D:prop><D:getetag/></D:prop>"+filter)).hrefs()
		if want := map[string]int{"VEVENT": 12}[comp]; len(got) != want {
			t.Errorf("%s: %d hits, want %d", comp, len(got), want)
		}
	}
	// A conflict: 412, and nothing is changed. 404 makes it create anew.
	p.do("PUT", hrefs[0], `If-Match: "old"`, event(hrefs[0][len(cal):], "LOCATION:x")).want(412)
	p.do("DELETE", hrefs[0], `If-Match: "old"`, "").want(412)
	p.do("GET", hrefs[0], "", "").want(200).lacks("LOCATION")
	p.do("DELETE", cal+"gone.ics", `If-Match: "old"`, "").want(404)
	// Scheduling objects: only If-Schedule-Tag-Match. Bob's answer changes the
	// ETag and not the tag, so alice's edit goes through and loses nothing.
	text := event("meeting", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:MAILTO:bob@alpha.test")
	p.do("PUT", cal+"meeting.ics", "If-None-Match: *", text).want(201)
	got := p.do("GET", cal+"meeting.ics", "", "").want(200)
	tag := got.Header.Get("Schedule-Tag")
	bob := p.as("bob")
	bobs := bob.copyOf("bob", "meeting")
	bob.do("PUT", bobs, "", strings.Replace(bob.do("GET", bobs, "", "").want(200).text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED", 1)).want(204)
	p.eventually(cal+"meeting.ics", "PARTSTAT=ACCEPTED;RSVP=TRUE", "PARTSTAT=ACCEPTED;SCHEDULE-STATUS", "ACCEPTED:MAILTO:bob", "ACCEPTED:mailto:bob")
	p.do("PUT", cal+"meeting.ics", "If-Schedule-Tag-Match: "+tag, strings.Replace(text, "SUMMARY:About", "SUMMARY:More about", 1)).want(204)
	if now := p.do("GET", cal+"meeting.ics", "", "").want(200, "More about").text; strings.Contains(now, "NEEDS-ACTION") {
		t.Errorf("bob's answer is lost: %s", now)
	}
	p.do("PUT", cal+"meeting.ics", `If-Schedule-Tag-Match: "old"`, text).want(412)
	// Want 38: the registration as DAVx5 writes it, without a trigger.
	body := report("P:push-register", `<P:subscription><P:web-push-subscription><P:push-resource>https://push.example.net/up/abc</P:push-resource><P:subscription-public-key type="p256dh">BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4</P:subscription-public-key><P:auth-secret>BTBZMqHH6r4Tts7J_aSIgg</P:auth-secret></P:web-push-subscription></P:subscription><P:expires>`+
		time.Now().Add(72*time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")+`</P:expires>`)
	a = p.do("POST", cal, "", body).want(204)
	if a.Header.Get("Location") == "" || a.Header.Get("Expires") == "" {
		t.Errorf("push-register: %v", a.Header)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(a.Header.Get("Location"), "https://"), "/")
	p.do("DELETE", "/"+path, "", "").want(204)
}

// copyOf finds a user's copy of an event by its UID.
func (p *program) copyOf(user, uid string) string {
	p.Helper()
	path := "/dav/calendars/" + user + "/calendar/"
	q := report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">`+uid+`</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter>`)
	for range 200 {
		if h := p.do("REPORT", path, "Depth: 1", q).hrefs(); len(h) > 0 {
			return h[0]
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.Fatalf("%s has no copy of %s", user, uid)
	return ""
}

// eventually waits until an object has one of the texts.
func (p *program) eventually(path string, texts ...string) {
	p.Helper()
	last := ""
	for range 200 {
		last = p.do("GET", path, "", "").text
		for _, s := range texts {
			if strings.Contains(last, s) {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.Fatalf("%s never had one of %q: %s", path, texts, last)
}
