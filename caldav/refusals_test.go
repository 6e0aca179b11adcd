package caldav_test

import (
	"strings"
	"testing"
)

// RFC 4791 §4.2, §5.3.1.1, §5.3.2.1: what cannot be where the client wants it is
// refused with 403 and the condition, never with a bare 405.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const home = "/dav/calendars/user01/"
		body := event("a", "x", "20260101T000000Z")
		for _, p := range []string{home, cal, home + "loose.ics", "/dav/", "/dav/principals/", "/dav/other/x.ics"} {
			w.do("user01", "PUT", p, "", body).want(403, "calendar-collection-location-ok")
		}
		for _, m := range []string{"MKCALENDAR", "MKCOL"} {
			for _, p := range []string{cal + "inner/", cal + "inner", "/dav/", "/dav/calendars/", "/dav/nowhere/"} {
				w.do("user01", m, p, "", "").want(403, "calendar-collection-location-ok")
			}
		}
		for _, m := range []string{"DELETE", "MOVE", "COPY"} {
			w.do("user01", m, "/dav/", "Destination: /elsewhere/", "").want(403, "need-privileges")
		}
		w.do("user01", "PUT", cal+"a.ics", "", body).want(201)
		w.do("user01", "COPY", cal, "Destination: "+home+"copy/", "").want(403, "calendar-collection-location-ok")
		w.do("user01", "MOVE", cal, "Destination: "+cal+"inner/", "").want(403, "calendar-collection-location-ok")
		w.do("user01", "MOVE", cal+"a.ics", "Destination: "+home+"loose.ics", "").want(403, "calendar-collection-location-ok")
		w.do("user01", "GET", cal+"a.ics", "", "").want(200)

		// RFC 9110 §15.3.2: 201 says where.
		if got := w.do("user01", "MOVE", cal+"a.ics", "Destination: "+w.srv.URL+cal+"b%20c.ics", "").want(201).Header.Get("Location"); got != cal+"b%20c.ics" {
			t.Errorf("Location %q", got)
		}
	})
}

// RFC 3744 §9, RFC 4791 §7.8: reports at a Depth, or in a form, that they do not
// have.
func TestReportForms(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		const users = "/dav/principals/users/"
		match := `<D:principal-match xmlns:D="DAV:"><D:self/></D:principal-match>`
		set := `<D:principal-search-property-set xmlns:D="DAV:"/>`
		acl := `<D:acl-principal-prop-set xmlns:D="DAV:"><D:prop><D:displayname/></D:prop></D:acl-principal-prop-set>`
		search := `<D:principal-property-search xmlns:D="DAV:"><D:property-search><D:prop><D:displayname/></D:prop><D:match>user</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>`
		expand := `<D:expand-property xmlns:D="DAV:"><D:property name="displayname"/></D:expand-property>`
		for _, depth := range []string{"1", "infinity"} {
			w.do("user01", "REPORT", users, "Depth: "+depth, match).want(400)
			w.do("user01", "REPORT", users, "Depth: "+depth, set).want(400)
			w.do("user01", "REPORT", cal, "Depth: "+depth, acl).want(400)
		}
		for _, head := range []string{"", "Depth: 0"} {
			w.do("user01", "REPORT", users, head, match).want(207, users+"user01/")
			w.do("user01", "REPORT", users, head, set).want(200, "<D:displayname/>")
			w.do("user01", "REPORT", cal, head, acl).want(207, "User 01")
		}
		w.do("user01", "REPORT", cal, "", `<D:acl-principal-prop-set xmlns:D="DAV:"><D:all/></D:acl-principal-prop-set>`).want(400)
		w.do("user01", "REPORT", cal, "", set).want(403, "supported-report")
		w.do("user01", "REPORT", users, "Depth: infinity", search).want(400)
		w.do("user01", "REPORT", users, "Depth: 1", search).want(207, "User 02") // as Thunderbird asks
		w.do("user01", "REPORT", users, "Depth: infinity", expand).want(400)
		// RFC 3253 §3.6: with a Depth the report is made for each member.
		w.do("user01", "REPORT", "/dav/calendars/user01/", "Depth: 1", expand).want(207, cal, "/dav/calendars/user01/tasks/")

		query := `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`
		multi := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop><D:href>` + cal + `a.ics</D:href></C:calendar-multiget>`
		for _, body := range []string{query, multi} {
			form := func(attrs string) string {
				return strings.Replace(body, "<C:calendar-data/>", "<C:calendar-data "+attrs+"/>", 1)
			}
			w.do("user01", "REPORT", cal, "Depth: 1", form(`content-type="text/calendar" version="2.0"`)).want(207, "BEGIN:VEVENT")
			w.do("user01", "REPORT", cal, "Depth: 1", form(`content-type="text/vcalendar" version="2.0"`)).want(403, "supported-calendar-data")
			w.do("user01", "REPORT", cal, "Depth: 1", form(`content-type="text/calendar" version="3.0"`)).want(403, "supported-calendar-data")
		}
		zone := func(z string) string { return strings.Replace(query, "</C:filter>", "</C:filter>"+z, 1) }
		w.do("user01", "REPORT", cal, "Depth: 1", zone("<C:timezone>BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n</C:timezone>")).want(403, "valid-calendar-data")
		w.do("user01", "REPORT", cal, "Depth: 1", zone("<C:timezone-id>Mars/Olympus</C:timezone-id>")).want(403, "valid-timezone")
	})
}

// RFC 4918 §9.1: no Depth is infinity, which is not served; at the places where
// discovery begins it is taken as 0, for clients that leave it out (clients.md 7).
func TestPropfindDepth(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ask := propfind("<D:current-user-principal/>")
		for _, p := range []string{"/", "/dav/", "/dav/principals/", "/dav/principals/users/user01/", "/dav/calendars/"} {
			w.do("user01", "PROPFIND", p, "", ask).want(207, "/dav/principals/users/user01/")
		}
		for _, p := range []string{"/dav/calendars/user01/", cal} {
			w.do("user01", "PROPFIND", p, "", ask).want(403, "propfind-finite-depth")
			w.do("user01", "PROPFIND", p, "Depth: infinity", ask).want(403, "propfind-finite-depth")
		}
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		w.do("user01", "PROPFIND", cal+"a.ics", "", ask).want(207)
		w.do("user01", "PROPFIND", cal+"a.ics", "Depth: infinity", ask).want(207)
	})
}

// A body that is not UTF-8 is no valid data, whatever its media type says.
func TestForeignCharset(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		latin := event("l", "caf\xe9", "20260101T000000Z")
		for _, ct := range []string{"text/calendar", "text/calendar; charset=utf-8", "text/calendar; charset=iso-8859-1"} {
			a := w.do("user01", "PUT", cal+"l.ics", "Content-Type: "+ct, latin).want(403, "valid-calendar-data")
			if strings.Contains(a.text, "\xe9") {
				t.Errorf("the answer is not UTF-8: %q", a.text)
			}
		}
		w.do("user01", "PUT", cal+"l.ics", "Content-Type: text/calendar; charset=iso-8859-1", event("l", "café", "20260101T000000Z")).want(403, "supported-calendar-data")
		w.do("user01", "PUT", cal+"l.ics", "Content-Type: text/calendar; charset=UTF-8", event("l", "café", "20260101T000000Z")).want(201)
	})
}
