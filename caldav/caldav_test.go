package caldav_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kalends/kalends/caldav"
)

// RFC 6764, RFC 5397, RFC 4791 §6.2.1, RFC 6638 §2: an e-mail address and a
// password lead to everything (clients.md 6.1).
func TestDiscovery(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for _, p := range []string{"/", "/dav/", "/dav/principals/", cal, "/dav/calendars/user01/"} {
			a := w.do("", "PROPFIND", p, "Depth: 0", propfind("<D:current-user-principal/>")).want(401)
			if got := a.Header.Get("WWW-Authenticate"); got != `Basic realm="Kalends", charset="UTF-8"` {
				t.Errorf("%s: WWW-Authenticate %q", p, got)
			}
			w.do("user01", "PROPFIND", p, "Depth: 0", propfind("<D:current-user-principal/>")).want(207, "<D:current-user-principal><D:href>/dav/principals/users/user01/</D:href>")
		}
		w.do("user01@example.com", "PROPFIND", "/", "", propfind("<D:current-user-principal/>")).want(401) // the password is the handle
		w.do("user01", "PROPFIND", "/dav/principals/users/user01/", "Depth: 0", propfind("<C:calendar-home-set/><C:calendar-user-address-set/><C:schedule-inbox-URL/><C:schedule-outbox-URL/><D:resourcetype/>")).want(207,
			"<C:calendar-home-set><D:href>/dav/calendars/user01/</D:href></C:calendar-home-set>", "<D:href>mailto:user01@example.com</D:href>",
			"<C:schedule-inbox-URL><D:href>/dav/calendars/user01/inbox/</D:href>", "<C:schedule-outbox-URL><D:href>/dav/calendars/user01/outbox/</D:href>", "<D:principal/>")
		a := w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 1", propfind("<D:resourcetype/><C:supported-calendar-component-set/><D:sync-token/><CS:getctag/>"))
		want := []string{"/dav/calendars/user01/", "/dav/calendars/user01/calendar/", "/dav/calendars/user01/inbox/", "/dav/calendars/user01/notification/", "/dav/calendars/user01/outbox/", "/dav/calendars/user01/tasks/"}
		if got := a.want(207).hrefs(); !slices.Equal(got, want) {
			t.Errorf("the home lists %v", got)
		}
		o := w.do("user01", "OPTIONS", cal, "", "").want(200)
		for _, token := range []string{"calendar-access", "calendar-schedule", "calendar-auto-schedule", "access-control", "extended-mkcol"} {
			if !strings.Contains(o.Header.Get("DAV"), token) {
				t.Errorf("DAV lacks %s: %s", token, o.Header.Get("DAV"))
			}
		}
	})
}

// RFC 4791 §5.3.2: stored octets are the client's octets; strong ETag; If-Match
// and If-None-Match.
func TestPutGetDelete(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		body := event("one", "Tea; with X-", "20260105T100000Z", "X-FOO;X-BAR=\"a;b\":kept", "CATEGORIES:A,B")
		a := w.do("user01", "PUT", cal+"one.ics", "If-None-Match: *", body).want(201)
		tag := a.Header.Get("ETag")
		g := w.do("user01", "GET", cal+"one.ics", "", "").want(200)
		if g.text != body {
			t.Errorf("GET gives other octets:\n%q\n%q", g.text, body)
		}
		if tag == "" || g.Header.Get("ETag") != tag || !strings.HasPrefix(tag, `"`) {
			t.Errorf("ETag of PUT %q, of GET %q", tag, g.Header.Get("ETag"))
		}
		if ct := g.Header.Get("Content-Type"); ct != "text/calendar; charset=utf-8; component=VEVENT" {
			t.Errorf("Content-Type %q", ct)
		}
		h := w.do("user01", "HEAD", cal+"one.ics", "", "").want(200)
		if h.Header.Get("Content-Length") != fmt.Sprint(len(body)) || h.Header.Get("ETag") != tag {
			t.Errorf("HEAD: %v", h.Header)
		}
		w.do("user01", "GET", cal+"one.ics", "If-None-Match: "+tag, "").want(304)
		w.do("user01", "PUT", cal+"one.ics", "If-None-Match: *", body).want(412)
		w.do("user01", "PUT", cal+"one.ics", `If-Match: "other"`, event("one", "Lost", "20260105T100000Z")).want(412)
		if got := w.do("user01", "GET", cal+"one.ics", "", ""); got.text != body {
			t.Error("a refused PUT changed the object")
		}
		b := w.do("user01", "PUT", cal+"one.ics", "If-Match: "+tag, event("one", "Coffee", "20260105T100000Z")).want(204)
		if b.Header.Get("ETag") == tag || b.Header.Get("ETag") == "" {
			t.Errorf("ETag after a change: %q", b.Header.Get("ETag"))
		}
		w.do("user01", "PUT", cal+"two.ics", "", event("one", "Twin", "20260105T100000Z")).want(403, "no-uid-conflict", cal+"one.ics")
		w.do("user01", "PUT", cal+"one.ics", "", event("other", "Other UID", "20260105T100000Z")).want(403, "no-uid-conflict")
		r := w.do("user01", "PUT", cal+"one.ics", "Prefer: return=representation", event("one", "Cocoa", "20260105T100000Z")).want(200, "SUMMARY:Cocoa")
		if r.Header.Get("Preference-Applied") != "return=representation" || r.Header.Get("ETag") == "" {
			t.Errorf("representation without its headers: %v", r.Header)
		}
		w.do("user01", "DELETE", cal+"one.ics", "If-Match: "+tag, "").want(412)
		w.do("user01", "DELETE", cal+"one.ics", "", "").want(204)
		w.do("user01", "GET", cal+"one.ics", "", "").want(404)
		w.do("user01", "DELETE", cal+"one.ics", "", "").want(404)
		w.do("user01", "PUT", cal+"one.ics", "If-None-Match: *", body).want(201)
	})
}

// A whole calendar defines each time zone once; of zones of the programs' own that have
// the same name each event keeps the one that it came with.
func TestZonesOfWholeCalendar(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		put := func(uid, zone, offset string) {
			w.t.Helper()
			def := "BEGIN:VTIMEZONE\r\nTZID:" + zone + "\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:" + offset + "\r\nTZOFFSETTO:" + offset + "\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT"
			text := strings.Replace(event(uid, "x", "20260105T100000"), "BEGIN:VEVENT", def, 1)
			w.do("user01", "PUT", cal+uid+".ics", "", strings.Replace(text, "DTSTART:2026", "DTSTART;TZID="+zone+":2026", 1)).want(201)
		}
		put("a", "Customized Time Zone", "+0100")
		put("b", "Customized Time Zone", "+0300")
		put("c", "Customized Time Zone", "+0100")
		put("d", "Customized Time Zone", "+0300")
		put("e", "Europe/Berlin", "+0100")
		put("f", "Europe/Berlin", "+0200")
		text := w.do("user01", "GET", cal, "", "").want(200).text
		for part, n := range map[string]int{"BEGIN:VTIMEZONE": 3, "TZID:Customized Time Zone\r\n": 1, "TZID:Customized Time Zone (2)\r\n": 1, "TZOFFSETTO:+0300": 1,
			"DTSTART;TZID=Customized Time Zone:": 2, "DTSTART;TZID=Customized Time Zone (2):": 2, "TZID:Europe/Berlin": 1, "DTSTART;TZID=Europe/Berlin:": 2} {
			if got := strings.Count(text, part); got != n {
				t.Errorf("%q stands there %d times, want %d", part, got, n)
			}
		}
		w.do("user01", "GET", cal+"b.ics", "", "").want(200, "DTSTART;TZID=Customized Time Zone:")
	})
}

// RFC 5545 §3.1: a line may be folded inside of a character. What is stored is folded
// between them, so the answer has no ETag (RFC 4791 §5.3.4).
func TestFoldInsideCharacter(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for i, more := range []string{"", "ORGANIZER:mailto:user01@example.com\r\nATTENDEE:mailto:user02@example.com\r\n"} {
			path := fmt.Sprint(cal, "fold", i, ".ics")
			text := strings.Replace(event(fmt.Sprint("fold", i), "Caf\xc3\xa9", "20260105T100000Z"), "SUMMARY:Caf\xc3\xa9\r\n", more+"SUMMARY:Caf\xc3\r\n \xa9\r\n", 1)
			for _, status := range []int{201, 204} {
				if tag := w.do("user01", "PUT", path, "", text).want(status).Header.Get("ETag"); tag != "" {
					t.Errorf("the answer to PUT has the ETag %s", tag)
				}
				w.do("user01", "GET", path, "", "").want(200, "SUMMARY:Caf\xc3\xa9\r\n")
			}
		}
		w.do("user01", "PUT", cal+"broken.ics", "", event("broken", "Caf\xc3", "20260105T100000Z")).want(403, "valid-calendar-data")
	})
}

// Bad input gets the precondition and changes nothing.
func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for name, c := range map[string]struct {
			body, head string
			status     int
			cond       string
		}{
			"no calendar":       {"hello", "", 403, "valid-calendar-data"},
			"unbalanced":        {"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n", "", 403, "valid-calendar-data"},
			"method":            {strings.Replace(event("m", "x", "20260101T000000Z"), "VERSION:2.0", "VERSION:2.0\r\nMETHOD:REQUEST", 1), "", 403, "valid-calendar-object-resource"},
			"two uids":          {strings.Replace(event("a", "x", "20260101T000000Z"), "END:VCALENDAR", "BEGIN:VEVENT\r\nUID:b\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nEND:VEVENT\r\nEND:VCALENDAR", 1), "", 403, "valid-calendar-object-resource"},
			"task in events":    {strings.ReplaceAll(event("t", "x", "20260101T000000Z"), "VEVENT", "VTODO"), "", 403, "supported-calendar-component"},
			"json":              {"{}", "Content-Type: application/json", 403, "supported-calendar-data"},
			"latin1":            {event("l", "x", "20260101T000000Z"), "Content-Type: text/calendar; charset=iso-8859-1", 403, "supported-calendar-data"},
			"content-range":     {event("l", "x", "20260101T000000Z"), "Content-Range: bytes 0-1/2", 400, ""},
			"too large":         {event("l", strings.Repeat("x", 2<<20), "20260101T000000Z"), "", 403, "max-resource-size"},
			"NUL":               {event("n", "a\x00b", "20260101T000000Z"), "", 403, "valid-calendar-data"},
			"A02 interval zero": {event("i", "x", "20260101T000000Z", "RRULE:FREQ=DAILY;INTERVAL=0"), "", 403, "valid-calendar-data"},
		} {
			a := w.do("user01", "PUT", cal+"bad.ics", c.head, c.body).want(c.status)
			if c.cond != "" && !strings.Contains(a.text, ":"+c.cond) {
				t.Errorf("%s: %s", name, a.text)
			}
			w.do("user01", "GET", cal+"bad.ics", "", "").want(404)
		}
		// A12: a DOCTYPE is refused before anything is expanded.
		w.do("user01", "PROPFIND", cal, "Depth: 0", `<!DOCTYPE x [<!ENTITY a "aaaa">]><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>`).want(400)
		w.do("user01", "PROPFIND", cal, "Depth: 0", `<D:propfind xmlns:D="DAV:"><D:allprop>`).want(400)
		// A13
		w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: infinity", "").want(403, "propfind-finite-depth")
		w.do("user01", "REPORT", cal, "", `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav"/>`).want(403, "valid-filter")
	})
}

// A21, RFC 3744: nobody but the owner gets in; what exists and what does not
// are answered alike; free/busy is open to those who signed in.
func TestOtherPeople(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Secret plans", "20260105T100000Z")).want(201)
		for _, m := range []string{"GET", "HEAD", "DELETE"} {
			have := w.do("user02", m, cal+"one.ics", "", "")
			miss := w.do("user02", m, cal+"none.ics", "", "")
			if have.StatusCode != 403 || miss.StatusCode != 403 {
				t.Errorf("%s by a stranger: %d for what exists, %d for what does not", m, have.StatusCode, miss.StatusCode)
			}
		}
		w.do("user02", "PUT", cal+"two.ics", "", event("two", "x", "20260105T100000Z")).want(403, "need-privileges")
		w.do("user02", "PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")).want(403)
		w.do("user02", "MKCALENDAR", "/dav/calendars/user01/new/", "", "").want(403)
		w.do("user02", "PROPPATCH", cal, "", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set></D:propertyupdate>`).want(403)
		fb := `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260201T000000Z"/></C:free-busy-query>`
		w.do("user02", "REPORT", cal, "Depth: 1", fb).want(200, "FREEBUSY", "20260105T100000Z/").lacks("Secret")
		w.do("user03", "REPORT", cal, "Depth: 1", `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`).want(403)

		// RFC 3744 §8: the owner grants reading, and takes it back.
		grant := `<D:acl xmlns:D="DAV:"><D:ace><D:principal><D:href>/dav/principals/users/user02/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>`
		w.do("user02", "ACL", cal, "", grant).want(403)
		w.do("user01", "ACL", cal, "", grant).want(200)
		w.do("user02", "GET", cal+"one.ics", "", "").want(200, "Secret plans")
		w.do("user02", "PUT", cal+"two.ics", "", event("two", "x", "20260105T100000Z")).want(403)
		w.do("user03", "GET", cal+"one.ics", "", "").want(403)
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207, "/dav/principals/users/user02/", "<D:read/>")
		w.do("user01", "ACL", cal, "", `<D:acl xmlns:D="DAV:"/>`).want(200)
		w.do("user02", "GET", cal+"one.ics", "", "").want(403)
		w.do("user01", "ACL", cal, "", strings.Replace(grant, "user02", "nobody", 1)).want(403, "recognized-principal")
	})
}

// RFC 6578: added, changed and removed members, truncation, foreign and
// invented tokens (A51), and the ctag.
func TestSync(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		first := w.do("user01", "REPORT", cal, "", syncBody("", "")).want(207)
		if got := first.hrefs(); len(got) != 0 {
			t.Fatalf("an empty calendar lists %v", got)
		}
		for i := range 5 {
			w.do("user01", "PUT", fmt.Sprintf("%s%d.ics", cal, i), "", event(fmt.Sprint("u", i), "x", "20260105T100000Z")).want(201)
		}
		w.do("user01", "DELETE", cal+"1.ics", "", "").want(204)
		second := w.do("user01", "REPORT", cal, "Depth: 1", syncBody(first.token(), "")).want(207)
		got := second.hrefs()
		slices.Sort(got)
		if want := []string{cal + "0.ics", cal + "1.ics 404", cal + "2.ics", cal + "3.ics", cal + "4.ics"}; !slices.Equal(got, want) {
			t.Errorf("changes: %v", got)
		}
		w.do("user01", "PUT", cal+"3.ics", "", event("u3", "y", "20260105T100000Z")).want(204)
		if got := w.do("user01", "REPORT", cal, "", syncBody(second.token(), "")).want(207).hrefs(); !slices.Equal(got, []string{cal + "3.ics"}) {
			t.Errorf("one change gives %v", got)
		}
		seen := map[string]bool{}
		token := ""
		for range 10 {
			a := w.do("user01", "REPORT", cal, "", syncBody(token, "2")).want(207)
			token = a.token()
			more := false
			for _, h := range a.hrefs() {
				if h == cal+" 507" {
					more = true
					continue
				}
				seen[h] = true
			}
			if !more {
				break
			}
		}
		if len(seen) != 4 {
			t.Errorf("pages of two give %v", seen)
		}
		prop := w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:sync-token/>")).want(207)
		if !strings.Contains(prop.text, ">"+token+"<") {
			t.Errorf("the property has another token than the report %s: %s", token, prop.text)
		}
		for _, bad := range []string{"nonsense", "urn:kalends:sync:1", token + "0", strings.Replace(token, "-", "-9", 1)} {
			w.do("user01", "REPORT", cal, "", syncBody(bad, "")).want(403, "valid-sync-token")
		}
		other := w.do("user02", "REPORT", "/dav/calendars/user02/calendar/", "", syncBody("", "")).want(207).token()
		w.do("user01", "REPORT", cal, "", syncBody(other, "")).want(403, "valid-sync-token")
	})
}

// RFC 4791 §7.8, §7.9: time ranges with recurrence and overrides, text,
// property and negated filters, expand, and multiget with a missing member.
func TestQueries(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"single.ics", "", event("single", "Dentist", "20260105T100000Z", "LOCATION:Town")).want(201)
		w.do("user01", "PUT", cal+"weekly.ics", "", event("weekly", "Choir", "20260101T180000Z", "RRULE:FREQ=WEEKLY", "CATEGORIES:Music,Fun")).want(201)
		moved := strings.Replace(event("moved", "Board", "20260102T090000Z", "RRULE:FREQ=WEEKLY;COUNT=3"), "END:VCALENDAR",
			"BEGIN:VEVENT\r\nUID:moved\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID:20260109T090000Z\r\nDTSTART:20260301T090000Z\r\nDURATION:PT1H\r\nSUMMARY:Board later\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)
		w.do("user01", "PUT", cal+"moved.ics", "", moved).want(201)
		query := func(filter string) string {
			return `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR">` + filter + `</C:comp-filter></C:filter></C:calendar-query>`
		}
		in := func(start, end string) string {
			return `<C:comp-filter name="VEVENT"><C:time-range start="` + start + `" end="` + end + `"/></C:comp-filter>`
		}
		text := func(prop, match, attr string) string {
			return `<C:comp-filter name="VEVENT"><C:prop-filter name="` + prop + `"><C:text-match ` + attr + `>` + match + `</C:text-match></C:prop-filter></C:comp-filter>`
		}
		for filter, want := range map[string]string{
			in("20260105T000000Z", "20260106T000000Z"):                                      "single",
			in("20300103T000000Z", "20300104T000000Z"):                                      "weekly",
			in("20260109T000000Z", "20260110T000000Z"):                                      "",
			in("20260301T000000Z", "20260302T000000Z"):                                      "moved",
			in("20260101T000000Z", "20260110T000000Z"):                                      "moved single weekly",
			text("SUMMARY", "dent", ""):                                                     "single",
			text("SUMMARY", "dent", `collation="i;octet"`):                                  "",
			text("SUMMARY", "dent", `negate-condition="yes"`):                               "moved weekly",
			text("CATEGORIES", "fun", ""):                                                   "weekly",
			text("UID", "single", `collation="i;octet"`):                                    "single",
			`<C:comp-filter name="VEVENT"><C:prop-filter name="LOCATION"/></C:comp-filter>`: "single",
			`<C:comp-filter name="VEVENT"><C:prop-filter name="LOCATION"><C:is-not-defined/></C:prop-filter></C:comp-filter>`: "moved weekly",
			`<C:comp-filter name="VTODO"/>`: "",
		} {
			var got []string
			for _, h := range w.do("user01", "REPORT", cal, "Depth: 1", query(filter)).want(207).hrefs() {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(h, cal), ".ics"))
			}
			slices.Sort(got)
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %q", filter, got, want)
			}
		}
		w.do("user01", "REPORT", cal, "Depth: 1", strings.Replace(query(in("20260101T000000Z", "20260116T000000Z")), "<D:getetag/>", `<C:calendar-data><C:expand start="20260101T000000Z" end="20260116T000000Z"/></C:calendar-data>`, 1)).want(207,
			"RECURRENCE-ID:20260101T180000Z", "RECURRENCE-ID:20260108T180000Z", "RECURRENCE-ID:20260115T180000Z", "DTSTART:20260102T090000Z").lacks("RRULE", "20260122")
		w.do("user01", "REPORT", cal, "Depth: 1", query(text("SUMMARY", "x", `collation="i;unknown"`))).want(403, "supported-collation")
		multi := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop><D:href>` + cal + `weekly.ics</D:href><D:href>` + cal + `none.ics</D:href><D:href>` + cal + `single.ics</D:href></C:calendar-multiget>`
		m := w.do("user01", "REPORT", cal, "", multi).want(207, "SUMMARY:Choir")
		if got := m.hrefs(); !slices.Equal(got, []string{cal + "weekly.ics", cal + "none.ics 404", cal + "single.ics"}) {
			t.Errorf("multiget: %v", got)
		}
		w.do("user01", "PROPFIND", cal+"single.ics", "Depth: 0", propfind("<C:calendar-data/>")).want(207, "SUMMARY:Dentist")
	})
}

// RFC 4791 §5.3.1, RFC 5689, RFC 4918 §9.2: making, describing and deleting
// calendars.
func TestCollections(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		list := "/dav/calendars/user01/4D1F2C8E-1111-2222-3333-444455556666/"
		mk := `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:I="http://apple.com/ns/ical/"><D:set><D:prop><D:displayname>Lists &amp; more</D:displayname><I:calendar-color symbolic-color="red">#FF2968FF</I:calendar-color><C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set><C:schedule-calendar-transp><C:transparent/></C:schedule-calendar-transp></D:prop></D:set></C:mkcalendar>`
		w.do("user01", "MKCALENDAR", list, "", mk).want(201)
		w.do("user01", "MKCALENDAR", list, "", mk).want(403, "resource-must-be-null")
		w.do("user01", "PROPFIND", list, "Depth: 0", propfind("<D:displayname/><I:calendar-color/><C:supported-calendar-component-set/><C:schedule-calendar-transp/>")).want(207,
			"Lists &amp; more", `symbolic-color="red"`, "#FF2968FF", `<C:comp name="VTODO"/>`, "<C:transparent/>").lacks("VEVENT", "404 Not Found")
		w.do("user01", "PUT", list+"e.ics", "", event("e", "x", "20260101T000000Z")).want(403, "supported-calendar-component")
		patch := func(set string) string {
			return `<D:propertyupdate xmlns:D="DAV:" xmlns:X="urn:x" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop>` + set + `</D:prop></D:set></D:propertyupdate>`
		}
		// Atomic: one protected property spoils all.
		w.do("user01", "PROPPATCH", list, "", patch("<D:displayname>New</D:displayname><D:getetag>x</D:getetag>")).want(207, "cannot-modify-protected-property", "424")
		w.do("user01", "PROPFIND", list, "Depth: 0", propfind("<D:displayname/>")).want(207, "Lists &amp; more")
		w.do("user01", "PROPPATCH", list, "", patch(`<X:own a="1"><X:deep>v</X:deep></X:own>`)).want(207, "200 OK")
		w.do("user01", "PROPFIND", list, "Depth: 0", propfind(`<X:own xmlns:X="urn:x"/>`)).want(207, `a="1"`, ">v<")
		w.do("user01", "MKCOL", "/dav/calendars/user01/plain/", "", "").want(403, "valid-resourcetype")
		w.do("user01", "MKCOL", "/dav/calendars/user01/ext/", "Content-Type: application/xml", `<D:mkcol xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:displayname>Ext</D:displayname></D:prop></D:set></D:mkcol>`).want(201)
		w.do("user01", "PUT", "/dav/calendars/user01/ext/a.ics", "", event("keep", "x", "20260101T000000Z")).want(201)
		w.do("user01", "DELETE", "/dav/calendars/user01/ext/", "", "").want(204)
		w.do("user01", "PROPFIND", "/dav/calendars/user01/ext/", "Depth: 0", "").want(404)
		w.do("user01", "MKCALENDAR", "/dav/calendars/user01/ext/", "", "").want(201)
		w.do("user01", "PUT", "/dav/calendars/user01/ext/a.ics", "", event("keep", "x", "20260101T000000Z")).want(201)
		w.do("user01", "DELETE", cal, "", "").want(403, "default-calendar-needed")
		for _, p := range []string{"inbox", "outbox", "notification"} {
			w.do("user01", "DELETE", "/dav/calendars/user01/"+p+"/", "", "").want(405)
			w.do("user01", "PUT", "/dav/calendars/user01/"+p+"/x.ics", "", event("x", "x", "20260101T000000Z")).want(map[bool]int{true: 403, false: 405}[p != "inbox"])
		}
	})
}

// RFC 4918 §9.8, §9.9, wants 33: COPY and MOVE between calendars.
func TestCopyMove(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "MKCALENDAR", "/dav/calendars/user01/office/", "", "").want(201)
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		work := "/dav/calendars/user01/office/"
		dest := func(p string) string { return "Destination: " + w.srv.URL + p }
		w.do("user01", "COPY", cal+"a.ics", dest(work+"a.ics"), "").want(201)
		w.do("user01", "COPY", cal+"a.ics", dest(cal+"b.ics"), "").want(403, "no-uid-conflict")
		w.do("user01", "DELETE", work+"a.ics", "", "").want(204)
		tag := w.do("user01", "GET", cal+"a.ics", "", "").Header.Get("ETag")
		w.do("user01", "MOVE", cal+"a.ics", dest(work+"m.ics"), "").want(201)
		w.do("user01", "GET", cal+"a.ics", "", "").want(404)
		if got := w.do("user01", "GET", work+"m.ics", "", "").want(200).Header.Get("ETag"); got != tag {
			t.Errorf("ETag after MOVE %q, before %q", got, tag)
		}
		w.do("user01", "PUT", cal+"z.ics", "", event("z", "x", "20260101T000000Z")).want(201)
		w.do("user01", "MOVE", cal+"z.ics", dest(work+"m.ics")+"\nOverwrite: F", "").want(412)
		// RFC 4791 §5.3.2.1: an object of another UID is not overwritten.
		w.do("user01", "MOVE", cal+"z.ics", dest(work+"m.ics"), "").want(403, "no-uid-conflict", work+"m.ics")
		w.do("user01", "COPY", work+"m.ics", dest(cal+"m2.ics"), "").want(201)
		w.do("user01", "MOVE", cal+"m2.ics", dest(work+"m.ics"), "").want(204)
		w.do("user01", "COPY", work+"m.ics", "Destination: https://elsewhere.test"+cal+"q.ics", "").want(502)
		w.do("user01", "COPY", work+"m.ics", dest("/dav/calendars/user02/calendar/q.ics"), "").want(403)
		w.do("user01", "MOVE", work+"m.ics", dest(work+"m.ics"), "").want(403)
	})
}

// Races have one winner (RFC 9110 §13).
func TestOneWinner(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		race := func(n int, f func(i int) int) (won int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range n {
				wg.Add(1)
				go func() {
					defer wg.Done()
					if s := f(i); s/100 == 2 {
						mu.Lock()
						won++
						mu.Unlock()
					} else if s >= 500 {
						t.Errorf("status %d", s)
					}
				}()
			}
			wg.Wait()
			return won
		}
		if n := race(16, func(i int) int {
			return w.do("user01", "PUT", cal+"r.ics", "If-None-Match: *", event("r", fmt.Sprint(i), "20260101T000000Z")).StatusCode
		}); n != 1 {
			t.Errorf("%d PUTs with If-None-Match: * succeeded", n)
		}
		tag := w.do("user01", "GET", cal+"r.ics", "", "").Header.Get("ETag")
		if n := race(16, func(i int) int {
			return w.do("user01", "PUT", cal+"r.ics", "If-Match: "+tag, event("r", fmt.Sprint("n", i), "20260101T000000Z")).StatusCode
		}); n != 1 {
			t.Errorf("%d PUTs with one If-Match succeeded", n)
		}
		if n := race(16, func(i int) int {
			return w.do("user01", "PUT", fmt.Sprintf("%stwin%d.ics", cal, i), "", event("twin", "x", "20260101T000000Z")).StatusCode
		}); n != 1 {
			t.Errorf("%d PUTs of one UID under different names succeeded", n)
		}
	})
}

// ParsePath and String are each other's inverse; odd paths name nothing (A17).
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"/", "/dav/", "/dav/principals/", "/dav/principals/users/", "/dav/principals/users/a.b-c_1/", "/dav/calendars/", "/dav/calendars/u/", "/dav/calendars/u/calendar/", "/dav/calendars/u/calendar/a.ics", "/dav/calendars/u/c%20d/%C3%A4%2Fb.ics"} {
		got, ok := caldav.ParsePath(p)
		if !ok || got.String() != p {
			t.Errorf("%s: %q, %v", p, got.String(), ok)
		}
	}
	for _, p := range []string{"/dav/calendars/U/", "/dav/calendars/u/..", "/dav/calendars/u/%2e%2e/x.ics", "/dav//calendars/", "/dav/calendars/u/c/d/e", "/dav/x/", "/dav/calendars/u/c/a.ics/", "/dav/calendars/u/%zz/", "/other", "/dav/calendars/u/a%00b/", "/dav/calendars/u/" + strings.Repeat("x", 300) + "/"} {
		if got, ok := caldav.ParsePath(p); ok {
			t.Errorf("%s names %v", p, got)
		}
	}
	if got, ok := caldav.ParsePath("/dav/calendars/u/%63alendar"); !ok || got.String() != "/dav/calendars/u/calendar/" {
		t.Errorf("an encoded letter: %v %v", got, ok)
	}
}
