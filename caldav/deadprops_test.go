package caldav_test

import (
	"strings"
	"testing"
)

func propremove(props string) string {
	return `<D:remove xmlns:D="DAV:"><D:prop>` + props + `</D:prop></D:remove>`
}

// RFC 4918 §9.2: the changes of a PROPPATCH apply in document order, also when one
// property is changed more than once; the answer names it once.
func TestProppatchOrder(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		x := func(v string) string { return `<x xmlns="urn:x">` + v + `</x>` }
		for _, c := range []struct{ changes, want string }{
			{propset(x("1")), ">1</x>"},
			{strings.Replace(propset(x("2")), "</D:propertyupdate>", "<D:set><D:prop>"+x("3")+"</D:prop></D:set></D:propertyupdate>", 1), ">3</x>"},
			{strings.Replace(propset(x("4")), "</D:propertyupdate>", propremove(x(""))+"</D:propertyupdate>", 1), "404"},
			{strings.Replace(propset(x("5")), "<D:set>", propremove(x(""))+"<D:set>", 1), ">5</x>"},
		} {
			for _, at := range []string{cal, home} {
				a := w.do("user01", "PROPPATCH", at, "", c.changes).want(207, "200 OK")
				if n := strings.Count(a.text, `"urn:x"`); n != 1 {
					t.Errorf("the answer names the property %d times: %s", n, a.text)
				}
				w.do("user01", "PROPFIND", at, "Depth: 0", propfind(`<x xmlns="urn:x"/>`)).want(207, c.want)
			}
		}
		body := `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop>` + x("1") + x("2") + `</D:prop></D:set></C:mkcalendar>`
		w.do("user01", "MKCALENDAR", home+"twice/", "", body).want(201)
		w.do("user01", "PROPFIND", home+"twice/", "Depth: 0", propfind(`<x xmlns="urn:x"/>`)).want(207, ">2</x>")
	})
}

// RFC 4918 §9.8.2, §9.9.1: dead properties go with what is copied and moved, into other
// homes those that the user sees.
func TestCopyMoveProperties(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const theirs = "/dav/calendars/user02/calendar/"
		has := func(user, path, value string) {
			w.t.Helper()
			w.do(user, "PROPFIND", path, "Depth: 0", propfind(`<x xmlns="urn:x"/>`)).want(207, value)
		}
		set := func(user, path, value string) {
			w.t.Helper()
			w.do(user, "PROPPATCH", path, "", propset(`<x xmlns="urn:x">`+value+`</x>`)).want(207, "200 OK")
		}
		w.do("user01", "MKCALENDAR", home+"office/", "", "").want(201)
		w.acl("user01", home, 200, ace("grant", "user02", "read"))
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		set("user01", cal+"a.ics", "all")
		set("user02", cal+"a.ics", "reader")
		w.do("user01", "MOVE", cal+"a.ics", "Destination: "+cal+"b.ics", "").want(201)
		has("user01", cal+"b.ics", ">all<")
		has("user02", cal+"b.ics", ">reader<")
		w.do("user01", "COPY", cal+"b.ics", "Destination: "+home+"office/c.ics", "").want(201)
		has("user01", cal+"b.ics", ">all<")
		has("user02", home+"office/c.ics", ">reader<")
		set("user01", cal+"b.ics", "new")
		w.do("user01", "MOVE", cal+"b.ics", "Destination: "+home+"office/c.ics", "").want(204)
		has("user01", home+"office/c.ics", ">new<")
		w.do("user01", "PUT", cal+"plain.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		w.do("user01", "COPY", cal+"plain.ics", "Destination: "+home+"office/c.ics", "").want(204)
		has("user01", home+"office/c.ics", "404")

		set("user01", cal+"plain.ics", "mine")
		w.acl("user02", theirs, 200, ace("grant", "user01", "read", "write"))
		w.do("user02", "COPY", cal+"plain.ics", "Destination: "+theirs+"a.ics", "").want(201)
		has("user02", theirs+"a.ics", ">mine<")
		has("user01", theirs+"a.ics", ">mine<")
		w.do("user02", "DELETE", theirs+"a.ics", "", "").want(204)
		w.do("user01", "MOVE", cal+"plain.ics", "Destination: "+theirs+"a.ics", "").want(201)
		has("user01", theirs+"a.ics", ">mine<") // what a sharee sets is his own view
		has("user02", theirs+"a.ics", "404")
	})
}

// RFC 4918 §4.3, RFC 4791 §5.2.1: the language of what people read stays with it.
func TestLanguageOfTexts(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		both := propfind("<D:displayname/><C:calendar-description/>")
		set := func(attr, name, text string) {
			w.t.Helper()
			w.do("user01", "PROPPATCH", cal, "", strings.Replace(propset("<D:displayname>"+name+`</D:displayname><C:calendar-description xmlns:C="urn:ietf:params:xml:ns:caldav">`+text+"</C:calendar-description>"), "<D:prop>", "<D:prop"+attr+">", 1)).want(207, "200 OK")
		}
		set(` xml:lang="fr"`, "Travail", "Agenda")
		for _, p := range []string{cal, home} {
			a := w.do("user01", "PROPFIND", p, "Depth: 1", both).want(207, ">Travail<", ">Agenda<")
			if n := strings.Count(a.text, `xml:lang="fr"`); n != 2 {
				t.Errorf("%s: the language is told %d times: %s", p, n, a.text)
			}
		}
		w.do("user01", "PROPFIND", cal, "Depth: 0", "").want(207, `xml:lang="fr"`)
		set("", "Work", "Agenda")
		w.do("user01", "PROPFIND", cal, "Depth: 0", both).want(207, ">Work<", ">Agenda<").lacks("xml:lang")
		set(` xml:lang="fr"`, "Travail", "Agenda")
		w.do("user01", "PROPPATCH", cal, "", strings.Replace(propset("<D:displayname/>"), "set>", "remove>", 2)).want(207, "200 OK")
		w.do("user01", "PROPFIND", cal, "Depth: 0", both).want(207, "Agenda").lacks("Travail")
		w.do("user01", "MKCALENDAR", home+"made/", "", `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:displayname xml:lang="de">Arbeit</D:displayname></D:prop></D:set></C:mkcalendar>`).want(201)
		w.do("user01", "PROPFIND", home+"made/", "Depth: 0", both).want(207, `xml:lang="de"`, ">Arbeit<")
	})
}
