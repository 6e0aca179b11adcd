package caldav_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const home1 = "/dav/calendars/user01/"

func homeSync(token, level, limit string) string {
	s := strings.Replace(syncBody(token, limit), "<D:sync-level>1<", "<D:sync-level>"+level+"<", 1)
	return strings.Replace(s, "<D:getetag/>", "<D:resourcetype/>", 1)
}

// RFC 6578 on the home, as macOS asks it: the home, its collections when content
// or properties change, those that go; the token is the property's, and the ctag
// changes with it.
func TestHomeSync(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		if dav := w.do("user01", "OPTIONS", "/dav/principals/users/user01/", "", "").want(200).Header.Get("DAV"); !strings.Contains(dav, "calendarserver-home-sync") {
			t.Errorf("DAV: %s", dav)
		}
		first := w.do("user01", "REPORT", home1, "Depth: 1", homeSync("", "1", "")).want(207)
		all := []string{home1, home1 + "calendar/", home1 + "inbox/", home1 + "notification/", home1 + "outbox/", home1 + "tasks/"}
		if got := first.hrefs(); !slices.Equal(got, all) {
			t.Errorf("a first report lists %v", got)
		}
		token := first.token()
		tags := func() (sync, ctag string) {
			a := w.do("user01", "PROPFIND", home1, "Depth: 0", propfind("<D:sync-token/><CS:getctag/>")).want(207)
			s := regexp.MustCompile(`<D:sync-token>([^<]+)<.*<CS:getctag>([^<]+)<`).FindStringSubmatch(a.text)
			if s == nil {
				t.Fatalf("no token on the home: %s", a.text)
			}
			if n := a.Header.Get("Content-Length"); n != fmt.Sprint(len(a.text)) || len(s[2]) > 40 {
				t.Errorf("said to have %q octets of %d; ctag %s", n, len(a.text), s[2])
			}
			return s[1], s[2]
		}
		sync, ctag := tags()
		if sync != token {
			t.Errorf("the property is %s, the report said %s", sync, token)
		}
		// since asks what changed, and goes on.
		since := func(level string) []string {
			t.Helper()
			a := w.do("user01", "REPORT", home1, "Depth: 1", homeSync(token, level, "")).want(207)
			token = a.token()
			got := a.hrefs()
			slices.Sort(got)
			return got
		}
		expect := func(what string, got []string, want ...string) {
			t.Helper()
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		expect("nothing", since("1"))
		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		if _, c := tags(); c == ctag {
			t.Error("the ctag of the home stays when an event comes")
		}
		expect("an event", since("1"), cal)
		w.do("user01", "PUT", cal+"b.ics", "", event("b", "x", "20260101T000000Z")).want(201)
		w.do("user01", "DELETE", cal+"a.ics", "", "").want(204)
		expect("members", since("infinite"), cal, cal+"a.ics 404", cal+"b.ics")

		set := func(xml string) string {
			return `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop>` + xml + `</D:prop></D:set></D:propertyupdate>`
		}
		w.do("user01", "PROPPATCH", home1+"tasks/", "", set("<D:displayname>To do</D:displayname>")).want(207)
		expect("a live property", since("1"), home1+"tasks/")
		w.do("user01", "PROPPATCH", home1+"tasks/", "", set(`<x xmlns="urn:x">1</x>`)).want(207)
		expect("a dead property", since("infinite"), home1+"tasks/")
		w.do("user01", "PROPPATCH", home1, "", set(`<x xmlns="urn:x">1</x>`)).want(207)
		expect("a property of the home", since("1"), home1)
		w.do("user01", "MKCALENDAR", home1+"work/", "", "").want(201)
		expect("a new calendar", since("1"), home1+"work/")
		w.do("user01", "PROPPATCH", home1+"inbox/", "", set("<C:schedule-default-calendar-URL><D:href>"+home1+"work/</D:href></C:schedule-default-calendar-URL>")).want(207, "200 OK")
		expect("another default calendar", since("1"), home1+"inbox/")
		w.do("user01", "PROPPATCH", home1+"inbox/", "", set("<C:schedule-default-calendar-URL><D:href>"+cal+"</D:href></C:schedule-default-calendar-URL>")).want(207, "200 OK")
		w.do("user01", "MOVE", home1+"work/", "Destination: "+home1+"job/", "").want(201)
		since("1")
		w.do("user01", "DELETE", home1+"job/", "", "").want(204)
		expect("a calendar that is gone", since("1"), home1+"job/ 404")
		expect("nothing again", since("infinite"))
		for _, bad := range []string{"urn:kalends:home:e30", "urn:kalends:home:%", first.token() + "A", "urn:x"} {
			w.do("user01", "REPORT", home1, "", homeSync(bad, "1", "")).want(403, "valid-sync-token")
		}
	})
}

// RFC 6578 §3.5.2: a calendar that is shared no longer is gone for the sharee, and with
// a calendar that was made anew under the name of another one went that one's members.
func TestHomeSyncOfSharee(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const work = home1 + "work/"
		w.do("user01", "MKCALENDAR", work, "", "").want(201)
		w.acl("user01", home1, 200, ace("grant", "user02", "read"))
		ask := func(token, level string) answer {
			return w.do("user02", "REPORT", home1, "", homeSync(token, level, ""))
		}
		token := ask("", "1").want(207, work).token()
		w.acl("user01", work, 200, ace("deny", "user02", "read"))
		a := ask(token, "1").want(207)
		if got := a.hrefs(); !slices.Contains(got, work+" 404") {
			t.Errorf("a calendar that is shared no longer: %v", got)
		}
		if got := ask(a.token(), "1").want(207).hrefs(); len(got) > 0 {
			t.Errorf("and again: %v", got)
		}
		w.acl("user01", work, 200)
		if got := ask(a.token(), "1").want(207).hrefs(); !slices.Contains(got, work) {
			t.Errorf("shared again: %v", got)
		}

		w.do("user01", "PUT", work+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		one, all := ask("", "1").token(), ask("", "infinite").want(207, work+"a.ics").token()
		w.do("user01", "DELETE", work, "", "").want(204)
		w.do("user01", "MKCALENDAR", work, "", "").want(201)
		ask(one, "1").want(207, work)
		ask(all, "infinite").want(403, "valid-sync-token")
	})
}

// RFC 6578 §3.6: pages of a home go on until everything was told, also what
// changed only in its properties.
func TestHomeSyncPages(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for i := range 6 {
			c := fmt.Sprintf("%sc%d/", home1, i)
			w.do("user01", "MKCALENDAR", c, "", "").want(201)
			for j := range 3 {
				w.do("user01", "PUT", fmt.Sprintf("%s%d.ics", c, j), "", event(fmt.Sprint(i, j), "x", "20260101T000000Z")).want(201)
			}
		}
		pages := func(token, level string) (map[string]bool, string) {
			seen := map[string]bool{}
			for range 60 {
				a := w.do("user01", "REPORT", home1, "", homeSync(token, level, "2")).want(207)
				token = a.token()
				more := false
				for _, h := range a.hrefs() {
					if h == home1+" 507" {
						more = true
						continue
					}
					seen[h] = true
				}
				if !more {
					return seen, token
				}
			}
			t.Fatal("the pages do not end")
			return nil, ""
		}
		seen, token := pages("", "infinite")
		if len(seen) != 1+5+6+18 {
			t.Errorf("a first report tells of %d resources: %v", len(seen), seen)
		}
		for i := range 5 {
			w.do("user01", "PROPPATCH", fmt.Sprintf("%sc%d/", home1, i), "", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>New</D:displayname></D:prop></D:set></D:propertyupdate>`).want(207)
		}
		if seen, token = pages(token, "1"); len(seen) != 5 {
			t.Errorf("five new names give %v", seen)
		}
		if seen, _ = pages(token, "infinite"); len(seen) != 0 {
			t.Errorf("nothing new gives %v", seen)
		}
	})
}
