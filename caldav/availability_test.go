package caldav_test

import (
	"strings"
	"testing"
)

// officeHours is a VAVAILABILITY: away but from 9 to 17 o'clock UTC, title private.
func officeHours(uid, more string) string {
	return strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nBEGIN:VAVAILABILITY\nUID:"+uid+"\nDTSTAMP:20260101T000000Z\nSUMMARY:Secret\n"+more+
		"BEGIN:AVAILABLE\nUID:"+uid+"-hours\nDTSTAMP:20260101T000000Z\nDTSTART:20260101T090000Z\nDTEND:20260101T170000Z\nRRULE:FREQ=DAILY\nEND:AVAILABLE\nEND:VAVAILABILITY\nEND:VCALENDAR\n", "\n", "\r\n")
}

// RFC 7953: availability on the inbox, on a calendar and as an object, in
// free-busy-query and in the outbox (want 47).
func TestAvailability(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const inbox, rooms = "/dav/calendars/user01/inbox/", "/dav/calendars/user01/hours/"
		w.do("user01", "OPTIONS", cal, "", "").want(200)
		if dav := w.do("user01", "OPTIONS", cal, "", "").Header.Get("DAV"); !strings.Contains(dav, "calendar-availability") {
			t.Errorf("DAV: %s", dav)
		}
		set := func(path, name, value string) answer {
			return w.do("user01", "PROPPATCH", path, "", `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:S="http://calendarserver.org/ns/"><D:set><D:prop><`+name+`>`+value+`</`+name+`></D:prop></D:set></D:propertyupdate>`)
		}
		remove := func(path string) {
			w.do("user01", "PROPPATCH", path, "", `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:remove><D:prop><C:calendar-availability/></D:prop></D:remove></D:propertyupdate>`).want(207, "200 OK")
		}
		query := func(user, path string) answer {
			return w.do(user, "REPORT", path, "Depth: 1", `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260105T000000Z" end="20260106T000000Z"/></C:free-busy-query>`).want(200)
		}
		ask := func() answer {
			return w.do("user02", "POST", "/dav/calendars/user02/outbox/", "Content-Type: text/calendar", strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VFREEBUSY\nUID:q\nDTSTAMP:20260101T000000Z\nDTSTART:20260105T000000Z\nDTEND:20260106T000000Z\nORGANIZER:mailto:user02@example.com\nATTENDEE:mailto:user01@example.com\nEND:VFREEBUSY\nEND:VCALENDAR\n", "\n", "\r\n")).want(200)
		}
		const away = "FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20260105T000000Z/20260105T090000Z,20260105T170000\r\n Z/20260106T000000Z"
		flat := func(a answer) string {
			return strings.NewReplacer("\r\n ", "", "\n ", "", "&#13;", "", "&#xD;", "").Replace(a.text)
		}
		has := func(what string, a answer, want string, is bool) {
			t.Helper()
			if strings.Contains(flat(a), strings.ReplaceAll(want, "\r\n ", "")) != is {
				t.Errorf("%s: has %q, want %v:\n%s", what, want, !is, a.text)
			}
		}

		w.do("user01", "PUT", cal+"e.ics", "", event("e", "Talk", "20260105T163000Z")).want(201)
		has("nothing set", query("user01", cal), "UNAVAILABLE", false)

		// The inbox, under both names.
		set(inbox, "C:calendar-availability", officeHours("a", "")).want(207, "200 OK")
		w.do("user01", "PROPFIND", inbox, "Depth: 0", `<D:propfind xmlns:D="DAV:"><D:prop><x:calendar-availability xmlns:x="http://calendarserver.org/ns/"/></D:prop></D:propfind>`).want(207, "BEGIN:AVAILABLE", "UID:a").lacks("404 Not Found")
		w.do("user01", "PROPFIND", inbox, "Depth: 0", propfind("<C:calendar-availability/>")).want(207, "BEGIN:AVAILABLE")
		w.do("user01", "PROPFIND", inbox, "Depth: 0", `<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>`).want(207).lacks("VAVAILABILITY") // RFC 7953 §7.2.4
		for _, path := range []string{cal, home1} {
			has("query of "+path, query("user01", path), away, true)
			has("query of "+path, query("user01", path), "FBTYPE=BUSY:20260105T163000Z/20260105T173000Z", true)
		}
		has("another user's query", query("user02", cal), away, true)
		got := ask()
		got.lacks("Secret", "Talk")
		has("outbox, the stronger type wins", got, "FREEBUSY;FBTYPE=BUSY:20260105T163000Z/20260105T170000Z", true)
		has("outbox", got, away, true)
		remove(inbox)
		has("removed", ask(), "UNAVAILABLE", false)

		// A calendar's own counts while the calendar does.
		set(cal, "S:calendar-availability", officeHours("c", "BUSYTYPE:BUSY-TENTATIVE\n")).want(207, "200 OK")
		has("a calendar's", query("user01", cal), "BUSY-TENTATIVE", true)
		has("a calendar's", ask(), "BUSY-TENTATIVE", true)
		set(cal, "C:schedule-calendar-transp", "<C:transparent/>").want(207, "200 OK")
		has("a transparent calendar's", ask(), "FREEBUSY;", false)
		has("a transparent calendar itself", query("user01", cal), "BUSY-TENTATIVE", true)
		has("the home of a transparent calendar", query("user01", home1), "FREEBUSY;", false)
		set(cal, "C:schedule-calendar-transp", "<C:opaque/>").want(207, "200 OK")

		// Objects where the calendar takes them, by priority.
		w.do("user01", "PUT", cal+"v.ics", "", officeHours("v", "")).want(403, "supported-calendar-component")
		w.do("user01", "MKCALENDAR", rooms, "", `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:supported-calendar-component-set><C:comp name="VAVAILABILITY"/></C:supported-calendar-component-set></D:prop></D:set></C:mkcalendar>`).want(201)
		w.do("user01", "PUT", rooms+"v.ics", "", officeHours("v", "PRIORITY:5\n")).want(201)
		w.do("user01", "PUT", rooms+"bad.ics", "", officeHours("bad", "DURATION:PT1H\n")).want(403, "valid-calendar-data")
		w.do("user01", "GET", rooms+"v.ics", "", "").want(200, "BEGIN:AVAILABLE")
		has("an object of higher priority", ask(), away, true)
		has("it alone", query("user01", rooms), away, true)
		if got := w.do("user01", "REPORT", rooms, "Depth: 1", calendarQuery("", `><C:comp-filter name="VAVAILABILITY"><C:time-range start="20260105T000000Z" end="20260106T000000Z"/></C:comp-filter>`, "")).want(207).hrefs(); len(got) != 1 {
			t.Errorf("VAVAILABILITY in a time: %v", got)
		}

		// What is none is refused, and changes nothing.
		for cond, value := range map[string]string{
			"valid-calendar-data":            "hello",
			"supported-calendar-component":   event("x", "y", "20260101T000000Z"),
			"valid-calendar-object-resource": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n",
		} {
			set(cal, "C:calendar-availability", value).want(207, "403", cond)
		}
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:calendar-availability/>")).want(207, "UID:c")
		set("/dav/calendars/user01/", "C:calendar-availability", officeHours("h", "")).want(207, "cannot-modify-protected-property")
		w.do("user02", "PROPPATCH", inbox, "", `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:remove><D:prop><C:calendar-availability/></D:prop></D:remove></D:propertyupdate>`).want(403)

		// A calendar whose zone is known by its name alone reads its days in it.
		set(cal, "C:calendar-timezone-id", "America/New_York").want(207, "200 OK")
		remove(cal)
		w.do("user01", "DELETE", rooms, "", "").want(204)
		w.do("user01", "PUT", cal+"day.ics", "", strings.Replace(strings.Replace(event("day", "Off", ";VALUE=DATE:20260105"), "DTSTART:;", "DTSTART;", 1), "DURATION:PT1H", "DURATION:P1D", 1)).want(201)
		has("an all-day event", ask(), "FREEBUSY;FBTYPE=BUSY:20260105T050000Z/20260106T000000Z", true)
	})
}
