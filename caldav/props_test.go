package caldav_test

import (
	"strings"
	"sync"
	"testing"
)

const eastern = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nBEGIN:VTIMEZONE\nTZID:America/New_York\nBEGIN:STANDARD\nDTSTART:19701101T020000\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\nTZOFFSETFROM:-0400\nTZOFFSETTO:-0500\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:19700308T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\nTZOFFSETFROM:-0500\nTZOFFSETTO:-0400\nEND:DAYLIGHT\nEND:VTIMEZONE\nEND:VCALENDAR\n"

func propset(xml string) string {
	return `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:I="http://apple.com/ns/ical/"><D:set><D:prop>` + xml + `</D:prop></D:set></D:propertyupdate>`
}

// RFC 4791 §5.2.2, RFC 7809 §5.2: calendar-timezone and its id follow each other,
// and no other change of properties loses them.
func TestCalendarTimezone(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ask := func(p string) answer {
			return w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:"+p+"/>")).want(207)
		}
		ask("calendar-timezone").want(207, "404")
		w.do("user01", "PROPPATCH", cal, "", propset("<C:calendar-timezone>"+eastern+"</C:calendar-timezone>")).want(207, "200 OK")
		ask("calendar-timezone").want(207, eastern)
		ask("calendar-timezone-id").want(207, ">America/New_York<")
		w.do("user01", "PROPPATCH", cal, "", propset("<D:displayname>Other</D:displayname><I:calendar-color>#112233</I:calendar-color>")).want(207, "200 OK")
		ask("calendar-timezone").want(207, eastern)

		w.do("user01", "PROPPATCH", cal, "", propset("<C:calendar-timezone-id>Asia/Tokyo</C:calendar-timezone-id>")).want(207, "200 OK")
		ask("calendar-timezone").want(207, "TZID:Asia/Tokyo", "TZOFFSETTO:+0900").lacks("New_York")
		// Apple's own zones have no known name: the id goes.
		w.do("user01", "PROPPATCH", cal, "", propset("<C:calendar-timezone>"+strings.Replace(eastern, "America/New_York", "My zone", 1)+"</C:calendar-timezone>")).want(207, "200 OK")
		ask("calendar-timezone-id").want(207, "404")
		w.do("user01", "PROPPATCH", cal, "", propset("<C:calendar-timezone-id>Mars/Olympus</C:calendar-timezone-id>")).want(207, "valid-timezone")
		w.do("user01", "PROPPATCH", cal, "", propset("<C:calendar-timezone>BEGIN:VCALENDAR</C:calendar-timezone>")).want(207, "valid-calendar-data")
		w.do("user01", "PROPPATCH", cal, "", `<D:propertyupdate xmlns:D="DAV:"><D:remove><D:prop><C:calendar-timezone xmlns:C="urn:ietf:params:xml:ns:caldav"/></D:prop></D:remove></D:propertyupdate>`).want(207, "200 OK")
		ask("calendar-timezone").want(207, "404")

		// DAVx5 makes calendars with both.
		const both = "/dav/calendars/user01/both/"
		w.do("user01", "MKCALENDAR", both, "", `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><C:calendar-timezone-id>America/New_York</C:calendar-timezone-id><C:calendar-timezone>`+eastern+`</C:calendar-timezone></D:prop></D:set></C:mkcalendar>`).want(201)
		w.do("user01", "PROPFIND", both, "Depth: 0", propfind("<C:calendar-timezone/><C:calendar-timezone-id/>")).want(207, eastern, ">America/New_York<")
	})
}

// Two devices that change different properties at once lose nothing.
func TestPropertiesAtOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		var wg sync.WaitGroup
		for i, xml := range []string{"<D:displayname>Name</D:displayname>", "<C:calendar-description>Words</C:calendar-description>", "<I:calendar-color>#010203</I:calendar-color>", "<I:calendar-order>7</I:calendar-order>", "<C:schedule-calendar-transp><C:transparent/></C:schedule-calendar-transp>"} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if a := w.do("user01", "PROPPATCH", cal, "", propset(xml)); a.StatusCode != 207 || !strings.Contains(a.text, "200 OK") {
					t.Errorf("change %d: %d %s", i, a.StatusCode, a.text)
				}
			}()
		}
		wg.Wait()
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:displayname/><C:calendar-description/><I:calendar-color/><I:calendar-order/><C:schedule-calendar-transp/>")).want(207, "Name", "Words", "#010203", ">7<", "<C:transparent/>")
	})
}

// RFC 8144 §2: a minimal answer to PROPPATCH has nothing to say when all went
// well, and the refusals when not; RFC 4791 §5.3.1: MKCALENDAR says which
// property it refused and makes nothing.
func TestMinimalAnswers(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for _, head := range []string{"Prefer: return=minimal", "Prefer: return-minimal", "Brief: t"} {
			if a := w.do("user01", "PROPPATCH", cal, head, propset("<D:displayname>A</D:displayname>")).want(200); a.text != "" || a.Header.Get("Preference-Applied") != "return=minimal" {
				t.Errorf("%s: %v %q", head, a.Header, a.text)
			}
			w.do("user01", "PROPPATCH", cal, head, propset("<D:displayname>B</D:displayname><D:getetag>x</D:getetag>")).want(207, "cannot-modify-protected-property", "424")
			w.do("user01", "PROPFIND", cal, head+"\nDepth: 0", propfind("<D:displayname/><D:nothing/>")).want(207, ">A<").lacks("404 Not Found", "nothing")
		}
		const made = "/dav/calendars/user01/made/"
		w.do("user01", "MKCALENDAR", made, "", `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:getetag>x</D:getetag><D:displayname>A</D:displayname></D:prop></D:set></C:mkcalendar>`).want(207, "<D:getetag/>", "cannot-modify-protected-property", "424")
		w.do("user01", "GET", made, "", "").want(404)
		w.do("user01", "MKCOL", made, "Content-Type: application/xml", `<D:mkcol xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:getetag>x</D:getetag></D:prop></D:set></D:mkcol>`).want(424, "mkcol-response", "403 Forbidden")
		w.do("user01", "GET", made, "", "").want(404)
	})
}

// clients.md 1: Apple asks a home for 39 properties at Depth 1; unknown ones are
// 404 in a propstat, writable unknown ones are kept for each user.
func TestManyProperties(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		var ask strings.Builder
		for _, p := range []string{"add-member", "current-user-privilege-set", "displayname", "owner", "resource-id", "resourcetype", "supported-report-set", "sync-token", "quota-available-bytes", "quota-used-bytes"} {
			ask.WriteString("<D:" + p + "/>")
		}
		for _, p := range []string{"calendar-description", "calendar-free-busy-set", "calendar-timezone", "default-alarm-vevent-date", "default-alarm-vevent-datetime", "schedule-calendar-transp", "schedule-default-calendar-URL", "supported-calendar-component-set", "supported-calendar-component-sets", "max-attendees-per-instance"} {
			ask.WriteString("<C:" + p + "/>")
		}
		for _, p := range []string{"allowed-sharing-modes", "getctag", "invite", "pre-publish-url", "publish-url", "push-transports", "pushkey", "source", "subscribed-strip-alarms", "subscribed-strip-attachments", "subscribed-strip-todos", "xmpp-server"} {
			ask.WriteString("<CS:" + p + "/>")
		}
		for _, p := range []string{"autoprovisioned", "calendar-color", "calendar-order", "language-code", "location-code", "refreshrate"} {
			ask.WriteString("<I:" + p + "/>")
		}
		a := w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 1", propfind(ask.String())).want(207, "404 Not Found", "<C:supported-calendar-component-sets><C:supported-calendar-component-set>")
		if n := len(a.hrefs()); n != 6 {
			t.Errorf("%d resources", n)
		}
		for i, p := range []string{"<C:default-alarm-vevent-datetime>BEGIN:VALARM\nEND:VALARM</C:default-alarm-vevent-datetime>", `<I:language-code>de</I:language-code>`} {
			w.do("user01", "PROPPATCH", "/dav/calendars/user01/", "", propset(p)).want(207, "200 OK")
			w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 0", propfind(ask.String())).want(207, []string{"BEGIN:VALARM", ">de<"}[i])
		}
	})
}

// RFC 4918 §15.5, §15.6: the properties that describe an entity say what GET says.
func TestEntityProperties(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		for _, p := range []string{cal + "a.ics", cal, "/dav/calendars/user01/", "/dav/calendars/user01/inbox/", "/dav/calendars/user01/outbox/"} {
			head := w.do("user01", "GET", p, "", "").want(200).Header
			w.do("user01", "PROPFIND", p, "Depth: 0", propfind("<D:getetag/><D:getcontenttype/>")).want(207, ">"+head.Get("Content-Type")+"<", ">"+head.Get("ETag")+"<")
			w.do("user01", "GET", p, "If-None-Match: "+head.Get("ETag"), "").want(304)
		}
		const home = "/dav/calendars/user01/"
		before := w.do("user01", "GET", home, "", "").Header.Get("ETag")
		w.do("user01", "PUT", cal+"b.ics", "", event("b", "x", "20260101T000000Z")).want(201)
		if after := w.do("user01", "GET", home, "", "").Header.Get("ETag"); after == before {
			t.Error("the ETag of the home stays when an event comes")
		}
	})
}
