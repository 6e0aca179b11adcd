package caldav_test

import (
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav"
)

// The free/busy URL of a home (CalConnect, Freebusy Read URL): busy times of all
// calendars that count, and nothing else of them, for who may see them.
func TestFreeBusyURL(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const busy = "/dav/calendars/user01/freebusy/"
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Secret", "20260105T100000Z")).want(201)
		w.do("user01", "MKCALENDAR", "/dav/calendars/user01/more/", "", "").want(201)
		w.do("user01", "PUT", "/dav/calendars/user01/more/two.ics", "", event("two", "Secret", "20260106T100000Z")).want(201)
		const january = "?start=2026-01-01T00:00:00Z&period=P31D"
		for _, user := range []string{"user01", "user02"} {
			a := w.do(user, "GET", busy+january, "", "").want(200, "BEGIN:VFREEBUSY", "20260105T100000Z/", "20260106T100000Z/", "DTEND:20260201T000000Z")
			a.lacks("Secret")
			if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/calendar") {
				t.Errorf("Content-Type %q", ct)
			}
		}
		w.do("user01", "GET", strings.TrimSuffix(busy, "/")+"?start=20260106&end=20260107", "", "").want(200, "20260106T100000Z/").lacks("20260105T")
		w.do("user01", "GET", busy, "Accept: application/calendar+json", "").want(200, `"vfreebusy"`)
		if a := w.do("user01", "HEAD", busy+january, "", "").want(200); a.text != "" || a.Header.Get("Content-Length") == "" {
			t.Errorf("HEAD: %q %v", a.text, a.Header)
		}
		for _, bad := range []string{"?start=yesterday", "?period=P7D&end=20260101", "?start=20260102&end=20260101", "?period=P9999D", "?period=x"} {
			w.do("user01", "GET", busy+bad, "", "").want(400)
		}
		w.do("", "GET", busy, "", "").want(401)
		w.do("user01", "MKCALENDAR", busy, "", "").want(403, "calendar-collection-location-ok")
		w.do("user01", "PROPFIND", busy, "Depth: 0", "").want(405)
		w.do("user02", "GET", "/dav/calendars/nobody/freebusy/", "", "").want(404)
	})
}

// Under a directory policy that hides the owner his free/busy URL looks like that of
// somebody who does not exist (abuse A22).
func TestFreeBusyURLHidden(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		a := w.do("user02", "GET", "/dav/calendars/user01/freebusy/", "", "").want(403)
		b := w.do("user02", "GET", "/dav/calendars/nobody/freebusy/", "", "").want(403)
		if strings.ReplaceAll(a.text, "user01", "nobody") != b.text {
			t.Errorf("a hidden account: %s\nnone: %s", a.text, b.text)
		}
	}, func(c *caldav.Config) { c.Directory = caldav.DirectoryNone })
}

// Where everybody finds everybody anyway, GET tells a home that is not there from one
// that is closed; listings say their ETag and length, as GET gives them.
func TestListings(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for _, p := range []string{"/dav/calendars/nobody", "/dav/calendars/nobody/", "/dav/calendars/nobody/calendar", "/dav/calendars/nobody/calendar/1.ics"} {
			w.do("user01", "GET", p, "", "").want(404)
		}
		w.do("user01", "GET", "/dav/calendars/user02/", "", "").want(403)
		for _, p := range []string{"/dav/", "/dav/principals/", "/dav/calendars/", "/dav/calendars/user01/"} {
			g := w.do("user01", "GET", p, "", "").want(200)
			w.do("user01", "PROPFIND", p, "Depth: 0", propfind("<D:getetag/><D:getcontentlength/><D:getcontenttype/><D:displayname/>")).want(207,
				"<D:getetag>"+g.Header.Get("ETag")+"</D:getetag>", "<D:getcontentlength>"+g.Header.Get("Content-Length")+"</D:getcontentlength>",
				"<D:getcontenttype>text/html", "<D:displayname>").lacks("404 Not Found")
		}
	})
}

// RFC 7265, RFC 6321: calendar-timezone is set and given in other notations when the
// element says so.
func TestTimezoneNotations(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const ask = `<C:calendar-timezone content-type="application/calendar+json"/>`
		set := func(attr, value string) string {
			return `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:calendar-timezone` + attr + `>` + value + `</C:calendar-timezone></D:prop></D:set></D:propertyupdate>`
		}
		const jcal = `["vcalendar",[["version",{},"text","2.0"],["prodid",{},"text","-//x//EN"]],[["vtimezone",[["tzid",{},"text","Etc/GMT-1"]],[["standard",[["dtstart",{},"date-time","1970-01-01T00:00:00"],["tzoffsetfrom",{},"utc-offset","+01:00"],["tzoffsetto",{},"utc-offset","+01:00"]],[]]]]]]`
		w.do("user01", "PROPPATCH", cal, "", set(` content-type="application/calendar+json"`, jcal)).want(207, "200 OK")
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:calendar-timezone/><C:calendar-timezone-id/>")).want(207, "BEGIN:VTIMEZONE", "TZID:Etc/GMT-1", "<C:calendar-timezone-id>Etc/GMT-1<")
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind(ask)).want(207, `<C:calendar-timezone content-type="application/calendar+json" version="2.0">`, "vtimezone")
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind(strings.Replace(ask, "+json", "+xml", 1))).want(207, "&lt;vtimezone&gt;")
		for attr, value := range map[string]string{` content-type="application/calendar+json"`: "{}", ` content-type="text/plain"`: eastern} {
			w.do("user01", "PROPPATCH", cal, "", set(attr, value)).want(207, "403 Forbidden", "supported-calendar-data")
		}
	})
}
