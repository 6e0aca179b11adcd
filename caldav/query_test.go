package caldav_test

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func task(uid, summary string, more ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VTODO\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:" + summary + "\r\n" + strings.Join(append(more, ""), "\r\n") + "END:VTODO\r\nEND:VCALENDAR\r\n"
}

func calendarQuery(data, filter, more string) string {
	return `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/>` + data + `</D:prop><C:filter><C:comp-filter name="VCALENDAR"` + filter + `</C:comp-filter></C:filter>` + more + `</C:calendar-query>`
}

// Kinds of components side by side: who asks for times wants either; conditions
// on properties must all hold (RFC 4791 §9.7.1) unless test="anyof" says else.
func TestQueryOfSeveralKinds(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const mixed = "/dav/calendars/user01/mixed/"
		w.do("user01", "MKCALENDAR", mixed, "", "").want(201)
		w.do("user01", "PUT", mixed+"e.ics", "", event("e", "Red", "20260105T100000Z")).want(201)
		w.do("user01", "PUT", mixed+"late.ics", "", event("late", "Red", "20270105T100000Z")).want(201)
		w.do("user01", "PUT", mixed+"t.ics", "", task("t", "Red", "DUE:20260105T120000Z")).want(201)
		const when = `<C:time-range start="20260101T000000Z" end="20260201T000000Z"/>`
		const red = `<C:prop-filter name="SUMMARY"><C:text-match>Red</C:text-match></C:prop-filter>`
		both := func(cond string) string {
			return `<C:comp-filter name="VEVENT">` + cond + `</C:comp-filter><C:comp-filter name="VTODO">` + cond + `</C:comp-filter>`
		}
		for filter, want := range map[string]string{
			">" + both(""):                    "e late t",
			">" + both(when):                  "e t",
			">" + both(red):                   "",
			` test="anyof">` + both(red):      "e late t",
			` test="anyof">` + both(when):     "e t",
			` test="anyof">` + both(when+red): "e t",
			`>`:                               "e late t",
			`>` + when:                        "e t", // python-caldav.md: search.comp-type.optional
			`>` + when + both(""):             "e t",
			`>` + when + `<C:comp-filter name="VTODO"/>`: "t",
			`>` + when + `<C:comp-filter name="VTODO"/>` + `<C:prop-filter name="VERSION"><C:text-match>2.0</C:text-match></C:prop-filter>`: "t",
			`><C:comp-filter name="VJOURNAL"/>`:  "",
			`><C:comp-filter name="VTIMEZONE"/>`: "",
			`><C:comp-filter name="VEVENT"/><C:comp-filter name="VTODO"><C:is-not-defined/></C:comp-filter>`: "e late",
		} {
			var got []string
			for _, h := range w.do("user01", "REPORT", mixed, "Depth: 1", calendarQuery("", filter, "")).want(207).hrefs() {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(h, mixed), ".ics"))
			}
			slices.Sort(got)
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %q", filter, got, want)
			}
		}
		// RFC 4791 §7.8: the scope can be one object.
		if got := w.do("user01", "REPORT", mixed+"e.ics", "Depth: 0", calendarQuery("", ">"+both(when), "")).want(207).hrefs(); !slices.Equal(got, []string{mixed + "e.ics"}) {
			t.Errorf("a query of one object: %v", got)
		}
		if got := w.do("user01", "REPORT", mixed+"late.ics", "Depth: 0", calendarQuery("", ">"+both(when), "")).want(207).hrefs(); len(got) != 0 {
			t.Errorf("a query of one object outside of the range: %v", got)
		}
	})
}

// A query of the home covers its calendars, each with its own zone; the zone of
// the query goes before, also in what expand gives (RFC 4791 §5.2.2, §7.8, §9.6.5).
func TestQueryZones(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const home, us = "/dav/calendars/user01/", "/dav/calendars/user01/us/"
		w.do("user01", "MKCALENDAR", us, "", `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:calendar-timezone>`+eastern+`</C:calendar-timezone></D:prop></D:set></C:mkcalendar>`).want(201)
		for i, c := range []string{cal, us} {
			w.do("user01", "PUT", c+"float.ics", "", event([]string{"f", "g"}[i], "Floating", "20260105T220000")).want(201)
			w.do("user01", "PUT", c+"day.ics", "", strings.Replace(strings.Replace(event([]string{"d", "h"}[i], "Day", ";VALUE=DATE:20260105", "RRULE:FREQ=DAILY;COUNT=2"), "DTSTART:;", "DTSTART;", 1), "DURATION:PT1H", "DURATION:P1D", 1)).want(201)
		}
		// 22:00 floating is 22:00 UTC here and 03:00 UTC of the next day there.
		ask := func(path, data, start, end, more string) answer {
			return w.do("user01", "REPORT", path, "Depth: 1", calendarQuery(data, `><C:comp-filter name="VEVENT"><C:time-range start="`+start+`" end="`+end+`"/></C:comp-filter>`, more)).want(207)
		}
		if got := ask(home, "", "20260105T210000Z", "20260105T233000Z", "").hrefs(); !slices.Equal(got, []string{cal + "day.ics", cal + "float.ics", us + "day.ics"}) {
			t.Errorf("evening in UTC: %v", got)
		}
		if got := ask(home, "", "20260106T023000Z", "20260106T040000Z", "").hrefs(); !slices.Equal(got, []string{cal + "day.ics", us + "day.ics", us + "float.ics"}) {
			t.Errorf("the night after: %v", got)
		}
		zone := "<C:timezone>" + eastern + "</C:timezone>"
		if got := ask(cal, "", "20260106T023000Z", "20260106T040000Z", zone).hrefs(); !slices.Equal(got, []string{cal + "day.ics", cal + "float.ics"}) {
			t.Errorf("the query's zone: %v", got)
		}
		const expand = `<C:calendar-data><C:expand start="20260106T043000Z" end="20260106T044500Z"/></C:calendar-data>`
		ask(cal, expand, "20260106T043000Z", "20260106T044500Z", "").want(207, "DTSTART;VALUE=DATE:20260106").lacks("20260105")
		ask(cal, expand, "20260106T043000Z", "20260106T044500Z", zone).want(207, "DTSTART;VALUE=DATE:20260105").lacks("20260106")
		ask(us, expand, "20260106T043000Z", "20260106T044500Z", "").want(207, "DTSTART;VALUE=DATE:20260105").lacks("20260106")
	})
}

// RFC 4791 §7.10: busy times of one type are joined, those of different types may
// overlap; cancelled and transparent events are free.
func TestFreeBusyQueryTypes(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		put := func(name, start string, more ...string) {
			w.do("user01", "PUT", cal+name+".ics", "", event(name, "x", start, more...)).want(201)
		}
		put("a", "20260105T100000Z")
		put("b", "20260105T103000Z")
		put("c", "20260105T110000Z", "STATUS:TENTATIVE")
		put("d", "20260105T103000Z", "STATUS:TENTATIVE")
		put("e", "20260105T150000Z", "STATUS:CANCELLED")
		put("f", "20260105T160000Z", "TRANSP:TRANSPARENT")
		fb := `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260105T000000Z" end="20260106T000000Z"/></C:free-busy-query>`
		for _, p := range []string{cal, "/dav/calendars/user01/"} {
			a := w.do("user01", "REPORT", p, "Depth: 1", fb).want(200)
			text := strings.ReplaceAll(a.text, "\r\n ", "")
			for _, line := range []string{"FREEBUSY;FBTYPE=BUSY:20260105T100000Z/20260105T113000Z\r\n", "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20260105T103000Z/20260105T120000Z\r\n"} {
				if !strings.Contains(text, line) {
					t.Errorf("%s: no %q in %q", p, line, text)
				}
			}
			if strings.Contains(text, "T150000Z") || strings.Contains(text, "T160000Z") {
				t.Errorf("%s: free time is busy: %q", p, text)
			}
		}
	})
}

// A filter on the UID, in all its forms, is the index's business (want 36).
func TestQueryByUID(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const mixed = "/dav/calendars/user01/mixed/"
		w.do("user01", "MKCALENDAR", mixed, "", "").want(201)
		for i, uid := range []string{"abc-1", "abc-12", "ABC-1", "x%_*y", "grün\\,e"} {
			w.do("user01", "PUT", mixed+string(rune('a'+i))+".ics", "", event(uid, "Red", "20260105T100000Z")).want(201)
		}
		for match, want := range map[string]string{
			`collation="i;octet">abc-1`:                        "a b",
			`collation="i;octet" match-type="equals">abc-1`:    "a",
			`collation="i;octet" match-type="ends-with">-1`:    "a c",
			`collation="i;octet" match-type="starts-with">abc`: "a b",
			`>abc-1`: "a b c",
			`collation="i;unicode-casemap" match-type="equals">abc-1`: "a c",
			`collation="i;octet">%`:                                   "d",
			`collation="i;octet">_*`:                                  "d",
			`collation="i;octet">grün,e`:                              "e",
			`collation="i;unicode-casemap">GRÜN`:                      "e",
			`collation="i;octet" negate-condition="yes">abc`:          "c d e",
			`collation="i;octet">nothing of this`:                     "",
			`collation="i;octet">`:                                    "a b c d e",
		} {
			var got []string
			for _, h := range w.do("user01", "REPORT", mixed, "Depth: 1", calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match `+match+`</C:text-match></C:prop-filter></C:comp-filter>`, "")).want(207).hrefs() {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(h, mixed), ".ics"))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %q", match, got, want)
			}
		}
	})
}

// A30: names and values in filters, searches, paths and sign-ins are values, never a
// part of a statement: nothing is found by them, nothing is lost, nothing fails.
func TestFiltersTakeValuesOnly(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Tea", "20260105T100000Z")).want(201)
		for _, evil := range []string{"' OR '1'='1", "'; DROP TABLE object; --", `\' OR 1=1 --`, "%", "_", "a' UNION SELECT verifier, 1 FROM account --", "$1", "?1", "(SELECT 1)"} {
			x := strings.NewReplacer("<", "&lt;", `"`, "&quot;").Replace(evil)
			for name, filter := range map[string]string{
				"component":           `<C:comp-filter name="` + x + `"/>`,
				"property":            `<C:comp-filter name="VEVENT"><C:prop-filter name="` + x + `"/></C:comp-filter>`,
				"parameter":           `<C:comp-filter name="VEVENT"><C:prop-filter name="DTSTART"><C:param-filter name="` + x + `"/></C:prop-filter></C:comp-filter>`,
				"UID":                 `<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">` + x + `</C:text-match></C:prop-filter></C:comp-filter>`,
				"UID, exactly":        `<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet" match-type="equals">` + x + `</C:text-match></C:prop-filter></C:comp-filter>`,
				"UID, caseless":       `<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match>` + x + `</C:text-match></C:prop-filter></C:comp-filter>`,
				"UID, by a collation": `<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="` + x + `">one</C:text-match></C:prop-filter></C:comp-filter>`,
			} {
				for _, path := range []string{cal, "/dav/calendars/user01/"} {
					a := w.do("user01", "REPORT", path, "Depth: 1", calendarQuery("", ">"+filter, ""))
					if a.StatusCode != 207 && a.StatusCode != 403 || len(a.hrefs()) > 0 {
						t.Errorf("%s %q on %s: %d %s", name, evil, path, a.StatusCode, a.text)
					}
				}
			}
			search := `<D:principal-property-search xmlns:D="DAV:"><D:property-search><D:prop><D:displayname/></D:prop><D:match>` + x + `</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>`
			w.do("user01", "REPORT", "/dav/principals/", "", search).want(207).lacks("user02")
			w.do("user01", "REPORT", cal, "", syncBody(x, "")).want(403, "valid-sync-token")
			if a := w.do("user01", "GET", cal+url.PathEscape(evil), "", ""); a.StatusCode != 404 {
				t.Errorf("GET of %q: %d", evil, a.StatusCode)
			}
			r := httptest.NewRequest("PROPFIND", cal, strings.NewReader(""))
			r.SetBasicAuth(evil, evil)
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, r)
			if rec.Code != 401 {
				t.Errorf("sign-in as %q: %d", evil, rec.Code)
			}
		}
		w.do("user01", "GET", cal+"one.ics", "", "").want(200, "SUMMARY:Tea")
	})
}
