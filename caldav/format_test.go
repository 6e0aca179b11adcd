package caldav_test

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/storage/storagetest"
)

// RFC 7265 and RFC 6321: calendar data in JSON and XML, in and out; what is
// stored is text/calendar (RFC 4791 §5.2.4, §5.3.4, §9.6).
func TestFormats(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const (
			jcal = `["vcalendar",[["version",{},"text","2.0"],["prodid",{},"text","-//test//EN"],["x-wr-x",{"x-p":"1"},"unknown","a\\,b"]],[["vevent",[["uid",{},"text","j"],["dtstamp",{},"date-time","2026-01-01T00:00:00Z"],["dtstart",{"tzid":"Europe/Berlin"},"date-time","2026-01-05T10:00:00"],["duration",{},"duration","PT1H"],["rrule",{},"recur",{"freq":"DAILY","count":3}],["summary",{},"text","Käse, <Brot>"],["x-mine",{},"text","1"]],[]]]]`
			xcal = `<?xml version="1.0"?><icalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"><vcalendar><properties><version><text>2.0</text></version><prodid><text>-//test//EN</text></prodid></properties><components><vevent><properties><uid><text>x</text></uid><dtstamp><date-time>2026-01-01T00:00:00Z</date-time></dtstamp><dtstart><date>2026-01-06</date></dtstart><summary><text>Tag</text></summary></properties></vevent></components></vcalendar></icalendar>`
		)
		a := w.do("user01", "PUT", cal+"j.ics", "Content-Type: application/calendar+json; charset=utf-8\nIf-None-Match: *", jcal).want(201)
		if tag := a.Header.Get("ETag"); tag != "" {
			t.Errorf("ETag %s for what was not stored as sent", tag)
		}
		w.do("user01", "PUT", cal+"x.ics", "Content-Type: Application/Calendar+XML", xcal).want(201)
		got := w.do("user01", "GET", cal+"j.ics", "", "").want(200, "DTSTART;TZID=Europe/Berlin:20260105T100000", "RRULE:FREQ=DAILY;COUNT=3", `SUMMARY:Käse\, <Brot>`, "X-MINE;VALUE=TEXT:1", `X-WR-X;X-P=1:a\,b`)
		tag := got.Header.Get("ETag")
		w.do("user01", "GET", cal+"x.ics", "", "").want(200, "DTSTART;VALUE=DATE:20260106")

		for _, c := range []struct{ accept, kind string }{
			{"application/calendar+json", "application/calendar+json"},
			{"text/html, application/calendar+json;q=0.9, text/calendar;q=0.5", "application/calendar+json"},
			{"application/calendar+json;q=0.5, application/calendar+xml", "application/calendar+xml"},
			{"text/calendar, application/calendar+json", "text/calendar"},
			{"application/calendar+json;q=0, */*", "text/calendar"},
			{"application/calendar+json;q=x", "text/calendar"},
			{"image/png", "text/calendar"},
			{"*/*", "text/calendar"},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := w.do("user01", method, cal+"j.ics", "Accept: "+c.accept, "").want(200)
				if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, c.kind+";") || !strings.Contains(ct, "component=VEVENT") || !strings.Contains(a.Header.Get("Vary"), "Accept") || a.Header.Get("ETag") != tag {
					t.Errorf("%s %s: %v", method, c.accept, a.Header)
				}
			}
		}
		a = w.do("user01", "GET", cal+"j.ics", "Accept: application/calendar+json", "").want(200, `["rrule",{},"recur",{"freq":"DAILY","count":3}]`)
		if !json.Valid([]byte(a.text)) {
			t.Errorf("no JSON: %s", a.text)
		}
		w.do("user01", "GET", cal+"j.ics", "Accept: application/calendar+json\nIf-None-Match: "+tag, "").want(304)
		a = w.do("user01", "GET", cal+"j.ics", "Accept: application/calendar+xml", "").want(200, "<recur><freq>DAILY</freq><count>3</count></recur>", "Käse, &lt;Brot&gt;")
		if err := xml.Unmarshal([]byte(a.text), new(struct{})); err != nil {
			t.Errorf("no XML: %v", err)
		}
		// The whole calendar.
		w.do("user01", "GET", cal, "Accept: application/calendar+json", "").want(200, `["vcalendar",[`, `"j"`, `["dtstart",{},"date","2026-01-06"]`)
		a = w.do("user01", "GET", cal, "Accept: application/calendar+xml", "").want(200, "<uid><text>j</text></uid>", "<uid><text>x</text></uid>")
		if err := xml.Unmarshal([]byte(a.text), new(struct{})); err != nil {
			t.Errorf("no XML: %v", err)
		}

		// On a condition read in another notation; with the answer in it.
		w.do("user01", "PUT", cal+"j.ics", "Content-Type: application/calendar+json\nIf-Match: \"other\"", jcal).want(412)
		a = w.do("user01", "PUT", cal+"j.ics", "Content-Type: application/calendar+json\nAccept: application/calendar+json\nPrefer: return=representation\nIf-Match: "+tag, strings.Replace(jcal, "Käse", "Wurst", 1)).want(200, "Wurst", `["vcalendar"`)
		if a.Header.Get("ETag") == "" || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/calendar+json") {
			t.Errorf("representation: %v", a.Header)
		}
		a = w.do("user01", "POST", cal+"?action=add-member", "Content-Type: application/calendar+json", strings.Replace(jcal, `"text","j"`, `"text","posted"`, 1)).want(201)
		w.do("user01", "GET", a.Header.Get("Location"), "", "").want(200, "UID:posted")

		w.do("user01", "PUT", cal+"j.ics", "Content-Type: application/calendar+json\nPrefer: return=representation", strings.Replace(jcal, "Käse", "Wurst", 1)).want(200, `["vcalendar"`)

		// Reports.
		const asked = `<C:calendar-data content-type="%" version="2.0"/>`
		for _, typ := range []string{"application/calendar+json", "application/calendar+xml"} {
			data := strings.Replace(asked, "%", typ, 1)
			for _, body := range []string{
				calendarQuery(data, `><C:comp-filter name="VEVENT"/>`, ""),
				`<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop>` + data + `</D:prop><D:href>` + cal + `j.ics</D:href></C:calendar-multiget>`,
				`<D:sync-collection xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:sync-token/><D:sync-level>1</D:sync-level><D:prop>` + data + `</D:prop></D:sync-collection>`,
			} {
				w.do("user01", "REPORT", cal, "Depth: 1", body).want(207, `<C:calendar-data content-type="`+typ+`" version="2.0">`, "Wurst")
			}
		}
		w.do("user01", "REPORT", cal, "Depth: 1", calendarQuery(`<C:calendar-data content-type="application/calendar+json"><C:expand start="20260106T000000Z" end="20260107T000000Z"/></C:calendar-data>`, `><C:comp-filter name="VEVENT"><C:time-range start="20260106T000000Z" end="20260107T000000Z"/></C:comp-filter>`, "")).
			want(207, `recurrence-id`, `2026-01-06T09:00:00Z`).lacks("rrule")
		w.do("user01", "REPORT", cal, "Depth: 1", calendarQuery(strings.Replace(asked, "%", "application/json", 1), `>`, "")).want(403, "supported-calendar-data")
		w.do("user01", "REPORT", cal, "Depth: 1\nAccept: application/calendar+json", `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260105T000000Z" end="20260106T000000Z"/></C:free-busy-query>`).
			want(200, `["freebusy",{"fbtype":"BUSY"},"period",["2026-01-05T09:00:00Z","2026-01-05T10:00:00Z"]`)
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:supported-calendar-data/>")).want(207, `content-type="text/calendar"`, `content-type="application/calendar+json"`, `content-type="application/calendar+xml"`)

		// The outbox (RFC 6638 §5).
		const question = `["vcalendar",[["version",{},"text","2.0"],["method",{},"text","REQUEST"]],[["vfreebusy",[["uid",{},"text","q"],["dtstamp",{},"date-time","2026-01-01T00:00:00Z"],["dtstart",{},"date-time","2026-01-05T00:00:00Z"],["dtend",{},"date-time","2026-01-06T00:00:00Z"],["organizer",{},"cal-address","mailto:user02@example.com"],["attendee",{},"cal-address","mailto:user01@example.com"]],[]]]]`
		ask := func(head string) answer {
			return w.do("user02", "POST", "/dav/calendars/user02/outbox/", "Content-Type: application/calendar+json\n"+head, question).want(200)
		}
		ask("").want(200, `content-type="application/calendar+json"`, `"2026-01-05T09:00:00Z","2026-01-05T10:00:00Z"`)
		ask("Accept: text/xml, application/calendar+xml").want(200, `content-type="application/calendar+xml"`, `2026-01-05T09:00:00Z`)
		ask("Accept: text/calendar").want(200, "20260105T090000Z/20260105T100000Z").lacks("content-type")

		// What is none changes nothing.
		for _, c := range map[string][3]string{
			"no JSON":         {"application/calendar+json", `{`, "valid-calendar-data"},
			"no xCal":         {"application/calendar+xml", jcal, "valid-calendar-data"},
			"not UTF-8":       {"application/calendar+json", "[\"vcalendar\",[[\"x\",{},\"text\",\"\xff\"]],[]]", "valid-calendar-data"},
			"deep":            {"application/calendar+json", strings.Repeat("[", 200_000), "valid-calendar-data"},
			"a DOCTYPE, A12":  {"application/calendar+xml", `<!DOCTYPE x [<!ENTITY a "b">]>` + xcal, "valid-calendar-data"},
			"no object":       {"application/calendar+json", `["vcalendar",[["version",{},"text","2.0"]],[]]`, "valid-calendar-object-resource"},
			"another charset": {"application/calendar+json; charset=utf-16", jcal, "supported-calendar-data"},
			"another type":    {"application/json", jcal, "supported-calendar-data"},
			"too large":       {"application/calendar+json", jcal + strings.Repeat(" ", 2<<20), "max-resource-size"},
			"another UID":     {"application/calendar+json", strings.Replace(jcal, `"text","j"`, `"text","k"`, 1), "no-uid-conflict"},
		} {
			w.do("user01", "PUT", cal+"j.ics", "Content-Type: "+c[0], c[1]).want(403, c[2])
			w.do("user01", "GET", cal+"j.ics", "", "").want(200, "Wurst")
		}
	})
}

// RFC 7809 §5.1: programs are told of the services that an administrator names.
func TestTimezoneServices(t *testing.T) {
	t.Parallel()
	const property = "<C:timezone-service-set/>"
	engines(t, func(w *world) { // nobody named one: nothing to show
		w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 0", propfind(property)).want(207, "404 Not Found")
	})
	for _, e := range storagetest.Engines(t) {
		w := newWorldWith(t, storagetest.Open(t, e), func(c *caldav.Config) {
			c.ZoneServices = []string{"https://zones.example.org/.well-known/timezone", "https://other.example.org/tz?a=b&c=d"}
		})
		w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 1", propfind(property)).want(207,
			"<C:timezone-service-set><D:href>https://zones.example.org/.well-known/timezone</D:href><D:href>https://other.example.org/tz?a=b&amp;c=d</D:href></C:timezone-service-set>")
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind(property)).want(207, "404 Not Found")
		w.do("user01", "PROPFIND", "/dav/calendars/user01/", "Depth: 0", "").want(207).lacks("timezone-service-set")
		w.do("user01", "PROPPATCH", "/dav/calendars/user01/", "", propset("<C:timezone-service-set><D:href>https://evil.example/</D:href></C:timezone-service-set>")).want(207, "cannot-modify-protected-property")
	}
}

// RFC 7809 §3.1: what the header asks for; nothing asked, nothing touched (28).
func TestCalDAVTimezones(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		own := strings.ReplaceAll(strings.TrimSuffix(eastern, "END:VCALENDAR\n"), "\n", "\r\n")
		zoned := own + "BEGIN:VEVENT\r\nUID:z\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;TZID=America/New_York:20260105T100000\r\nDTEND;TZID=Europe/Berlin:20260105T180000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
		w.do("user01", "PUT", cal+"z.ics", "", zoned).want(201)
		multiget := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop><D:href>` + cal + `z.ics</D:href></C:calendar-multiget>`
		query := calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z" end="20260201T000000Z"/></C:comp-filter>`, "")
		has := func(a answer, parts ...string) answer { return a.want(a.StatusCode, parts...) }
		for _, ask := range []func(head string) answer{
			func(head string) answer { return w.do("user01", "GET", cal+"z.ics", head, "").want(200) },
			func(head string) answer { return w.do("user01", "REPORT", cal, head, multiget).want(207) },
			func(head string) answer { return w.do("user01", "REPORT", cal, "Depth: 1\n"+head, query).want(207) },
		} {
			has(ask("CalDAV-Timezones: T"), "TZID:America/New_York", "TZID:Europe/Berlin")
			ask("CalDAV-Timezones: F").lacks("VTIMEZONE")
			has(ask(""), "TZID:America/New_York").lacks("TZID:Europe/Berlin")
			has(ask("CalDAV-Timezones: x"), "TZID:America/New_York").lacks("TZID:Europe/Berlin")
		}
		if got := w.do("user01", "GET", cal+"z.ics", "", ""); got.text != zoned {
			t.Errorf("not as sent: %s", got.text)
		}
		w.do("user01", "PUT", cal+"bogus.ics", "", strings.Replace(zoned, "TZID=Europe/Berlin", "TZID=Bogus", 1)).want(403, "valid-timezone")
		w.do("user01", "PUT", cal+"scale.ics", "", event("scale", "x", "20260101T000000Z", "RRULE:RSCALE=CHINESE;FREQ=YEARLY")).want(403, "supported-rscale")
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:supported-rscale-set/>")).want(207, "<C:supported-rscale>GREGORIAN</C:supported-rscale>")
	})
}
