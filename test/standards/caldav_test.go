package standards

import (
	"strings"
	"testing"
)

// RFC 4791 §5.2, RFC 7809 §5.2, RFC 6638 §9.
func TestCalendarProperties(t *testing.T) {
	engines(t, func(w *world) {
		zone := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//EN\nBEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0200\nEND:STANDARD\nEND:VTIMEZONE\nEND:VCALENDAR\n"
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:calendar-description>What I do</C:calendar-description><C:calendar-timezone>"+zone+"</C:calendar-timezone>")).want(207, "200 OK")
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:calendar-timezone>never seen</C:calendar-timezone>")).want(207, "valid-calendar-data", "403")
		w.do("alice", "PROPFIND", "/dav/calendars/alice/", "Depth: 1", propfind("<C:calendar-timezone/>")).want(207, "TZID:Own")
		w.do("alice", "PROPFIND", cal, "Depth: 0", propfind("<C:calendar-description/><C:max-resource-size/><C:max-instances/><C:max-attendees-per-instance/><C:min-date-time/><C:max-date-time/><C:supported-collation-set/><C:supported-calendar-data/>")).
			want(207, "What I do", "<C:max-resource-size>10485760<", "<C:max-instances>4000<", "<C:max-attendees-per-instance>2000<", "i;unicode-casemap", `content-type="text/calendar"`).lacks("404 Not Found")
		// A floating time is read in the zone of the question: 23:30 of January
		// 5 in New York is 4:30 UTC of the next day.
		w.do("alice", "PUT", cal+"f.ics", "", strings.Replace(event("f", 5), "DTSTART:20260105T100000Z", "DTSTART:20260105T233000", 1)).want(201)
		query := func(from, to, zone string) string {
			return report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="`+from+`" end="`+to+`"/></C:comp-filter></C:comp-filter></C:filter>`+zone)
		}
		w.do("alice", "REPORT", cal, "Depth: 1", query("20260106T043000Z", "20260106T050000Z", "<C:timezone-id>America/New_York</C:timezone-id>")).want(207).wantHrefs(cal + "f.ics")
		w.do("alice", "REPORT", cal, "Depth: 1", query("20260106T043000Z", "20260106T050000Z", "<C:timezone-id>Asia/Tokyo</C:timezone-id>")).want(207).wantHrefs()
		w.do("alice", "REPORT", cal, "Depth: 1", query("20260105T213000Z", "20260105T223000Z", "<C:timezone-id>Mars/Olympus</C:timezone-id>")).want(403, "valid-timezone")
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:calendar-timezone-id>Europe/Berlin</C:calendar-timezone-id>")).want(207, "200 OK")
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:calendar-timezone-id>Mars/Olympus</C:calendar-timezone-id>")).want(207, "valid-timezone", "403")
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:max-resource-size>1</C:max-resource-size>")).want(207, "cannot-modify-protected-property")
		// RFC 6638 §9.1, §9.2
		in := "/dav/calendars/alice/inbox/"
		w.do("alice", "PROPFIND", in, "Depth: 0", propfind("<C:schedule-default-calendar-URL/><C:calendar-free-busy-set/>")).want(207, "<C:schedule-default-calendar-URL><D:href>"+cal+"</D:href>", "<C:calendar-free-busy-set><D:href>"+cal+"</D:href>")
		w.do("alice", "MKCALENDAR", "/dav/calendars/alice/office/", "", "").want(201)
		w.do("alice", "PROPPATCH", in, "", proppatch("<C:schedule-default-calendar-URL><D:href>/dav/calendars/alice/tasks/</D:href></C:schedule-default-calendar-URL>")).want(207, "valid-schedule-default-calendar-URL")
		w.do("alice", "PROPPATCH", in, "", proppatch("<C:schedule-default-calendar-URL><D:href>/dav/calendars/alice/office/</D:href></C:schedule-default-calendar-URL>")).want(207, "200 OK")
		w.do("alice", "DELETE", "/dav/calendars/alice/office/", "", "").want(403, "default-calendar-needed")
		w.do("bob", "PUT", "/dav/calendars/bob/calendar/i.ics", "", meeting("i", 7, "bob", "alice")).want(201)
		w.do("alice", "PROPFIND", "/dav/calendars/alice/office/", "Depth: 1", propfind("<C:calendar-data/>")).want(207, "UID:i")
		// RFC 7953 §7.2.4
		w.do("alice", "PROPPATCH", in, "", proppatch("<C:calendar-availability>BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VAVAILABILITY\nUID:a\nEND:VAVAILABILITY\nEND:VCALENDAR\n</C:calendar-availability>")).want(207, "200 OK")
		w.do("alice", "PROPFIND", in, "Depth: 0", propfind("<C:calendar-availability/>")).want(207, "BEGIN:VAVAILABILITY")
	})
}

// RFC 4791 §7.6, §9.6.1 to §9.6.7.
func TestPartialRetrieval(t *testing.T) {
	engines(t, func(w *world) {
		override := strings.Replace(vevent("s", 19, "RECURRENCE-ID:20260112T100000Z"), "About s", "Moved", 1)
		w.do("alice", "PUT", cal+"s.ics", "", ics(vevent("s", 5, "RRULE:FREQ=WEEKLY;COUNT=5", "X-SECRET:abc"), override)).want(201)
		get := func(data string) answer {
			return w.do("alice", "REPORT", cal, "", report("C:calendar-multiget", "<D:prop><C:calendar-data>"+data+"</C:calendar-data></D:prop><D:href>"+cal+"s.ics</D:href>")).want(207)
		}
		get("").want(207, "X-SECRET:abc", "RRULE", "Moved")
		get(`<C:comp name="VCALENDAR"><C:prop name="VERSION"/><C:comp name="VEVENT"><C:prop name="UID"/><C:prop name="SUMMARY" novalue="yes"/></C:comp></C:comp>`).
			want(207, "UID:s", "SUMMARY:").lacks("About", "X-SECRET", "RRULE", "DTSTART")
		get(`<C:expand start="20260105T000000Z" end="20260120T000000Z"/>`).want(207, "RECURRENCE-ID:20260105T100000Z", "RECURRENCE-ID:20260112T100000Z", "RECURRENCE-ID:20260119T100000Z", "Moved").lacks("RRULE", "20260126")
		get(`<C:limit-recurrence-set start="20260201T000000Z" end="20260301T000000Z"/>`).want(207, "RRULE").lacks("Moved")
		get(`<C:limit-recurrence-set start="20260118T000000Z" end="20260120T000000Z"/>`).want(207, "RRULE", "Moved")
		w.do("alice", "MKCALENDAR", "/dav/calendars/alice/fb/", "", `<C:mkcalendar`+namespaces+`><D:set><D:prop><C:supported-calendar-component-set><C:comp name="VFREEBUSY"/></C:supported-calendar-component-set></D:prop></D:set></C:mkcalendar>`).want(201)
		fb := ics("BEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nDTEND:20260201T000000Z\r\nFREEBUSY:20260105T100000Z/PT1H,20260115T100000Z/PT1H\r\nEND:VFREEBUSY\r\n")
		w.do("alice", "PUT", "/dav/calendars/alice/fb/fb.ics", "", fb).want(201)
		w.do("alice", "REPORT", "/dav/calendars/alice/fb/", "", report("C:calendar-multiget", `<D:prop><C:calendar-data><C:limit-freebusy-set start="20260110T000000Z" end="20260120T000000Z"/></C:calendar-data></D:prop><D:href>/dav/calendars/alice/fb/fb.ics</D:href>`)).
			want(207, "20260115T100000Z").lacks("20260105T100000Z")
	})
}

// RFC 4791 §7.10, RFC 6638 §9.1: what makes busy.
func TestFreeBusyQuery(t *testing.T) {
	engines(t, func(w *world) {
		for name, more := range map[string]string{"busy": "", "free": "TRANSP:TRANSPARENT", "maybe": "STATUS:TENTATIVE", "gone": "STATUS:CANCELLED"} {
			day := map[string]int{"busy": 5, "free": 6, "maybe": 7, "gone": 8}[name]
			if more == "" {
				more = "TRANSP:OPAQUE"
			}
			w.do("alice", "PUT", cal+name+".ics", "", event(name, day, more)).want(201)
		}
		w.do("alice", "PUT", cal+"series.ics", "", event("series", 10, "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260111T100000Z")).want(201)
		body := report("C:free-busy-query", `<C:time-range start="20260101T000000Z" end="20260201T000000Z"/>`)
		for _, p := range []string{cal, "/dav/calendars/alice/"} {
			w.do("bob", "REPORT", p, "Depth: 1", body).want(200, "20260105T100000Z/", "FBTYPE=BUSY-TENTATIVE:20260107T100000Z/", "20260110T100000Z/", "20260112T100000Z/").
				lacks("20260106", "20260108", "20260111", "About")
		}
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:schedule-calendar-transp><C:transparent/></C:schedule-calendar-transp>")).want(207, "200 OK")
		w.do("bob", "REPORT", "/dav/calendars/alice/", "Depth: 1", body).want(200).lacks("20260105")
	})
}

// RFC 4791 §5.2.2, §5.3.1: the zone of a calendar shows on the calendar itself,
// holds for floating times, and survives a change of another property.
func TestCalendarTimezone(t *testing.T) {
	engines(t, func(w *world) {
		zone := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//EN\nBEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0200\nEND:STANDARD\nEND:VTIMEZONE\nEND:VCALENDAR\n"
		w.do("alice", "PROPPATCH", cal, "", proppatch("<C:calendar-timezone>"+zone+"</C:calendar-timezone>")).want(207, "200 OK")
		w.do("alice", "PROPFIND", cal, "Depth: 0", propfind("<C:calendar-timezone/>")).want(207, "TZID:Own")
		w.do("alice", "PROPPATCH", cal, "", proppatch("<D:displayname>Other</D:displayname>")).want(207, "200 OK")
		w.do("alice", "PROPFIND", "/dav/calendars/alice/", "Depth: 1", propfind("<C:calendar-timezone/>")).want(207, "TZID:Own")
		// 23:30 of January 5 is 21:30 UTC.
		w.do("alice", "PUT", cal+"f.ics", "", strings.Replace(event("f", 5), "DTSTART:20260105T100000Z", "DTSTART:20260105T233000", 1)).want(201)
		w.do("alice", "REPORT", cal, "Depth: 1", report("C:calendar-query", `<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260105T213000Z" end="20260105T223000Z"/></C:comp-filter></C:comp-filter></C:filter>`)).
			want(207).wantHrefs(cal + "f.ics")
	})
}
