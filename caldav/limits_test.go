package caldav_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// RFC 4331: what is used and left, and 507 when nothing is; whoever writes fills the
// account of the calendar's owner.
func TestQuota(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, storagetest.Open(t, e), func(c *caldav.Config) { c.Quota, c.MaxCalendars = 1000, 5 })
			shows := func(path string, used, left int) {
				t.Helper()
				w.do("user01", "PROPFIND", path, "Depth: 0", propfind("<D:quota-used-bytes/><D:quota-available-bytes/>")).want(207,
					fmt.Sprintf("<D:quota-used-bytes>%d</D:quota-used-bytes>", used), fmt.Sprintf("<D:quota-available-bytes>%d</D:quota-available-bytes>", left))
			}
			shows(home, 0, 1000)
			body := event("one", strings.Repeat("x", 500), "20260105T100000Z")
			w.do("user01", "PUT", cal+"one.ics", "", body).want(201)
			shows(home, len(body), 1000-len(body))
			shows(cal, len(body), 1000-len(body))
			w.do("user01", "PUT", cal+"two.ics", "", event("two", strings.Repeat("x", 500), "20260105T100000Z")).want(507, "quota-not-exceeded")
			w.do("user01", "GET", cal+"two.ics", "", "").want(404)
			w.delegates("user01", "write", 207, "user02")
			w.do("user02", "PUT", cal+"two.ics", "", event("two", strings.Repeat("x", 500), "20260105T100000Z")).want(507)
			w.do("user01", "COPY", cal+"one.ics", "Destination: /dav/calendars/user01/tasks/one.ics", "").want(507)
			w.do("user01", "DELETE", cal+"one.ics", "", "").want(204)
			shows(home, 0, 1000)
			w.do("user01", "PUT", cal+"two.ics", "", event("two", "y", "20260105T100000Z")).want(201)
			// Above homes there is none.
			w.do("user01", "PROPFIND", "/dav/calendars/", "Depth: 0", propfind("<D:quota-used-bytes/>")).want(207, "404")

			w.do("user01", "MKCALENDAR", home+"four/", "", "").want(201) // calendar, tasks and inbox are there
			w.do("user01", "MKCALENDAR", home+"five/", "", "").want(201)
			w.do("user01", "MKCALENDAR", home+"six/", "", "").want(403, "max-collections")
			w.do("user01", "PROPFIND", home, "Depth: 0", propfind("<CS:max-collections/>")).want(207, ">5<")
		})
	}
}

// A property whose name no database key can hold is refused.
func TestPropertyNames(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		set := func(octets int) string {
			name := make([]byte, octets/2)
			for i := range name {
				name[i] = byte(i*i*7 + i>>3) // nothing that could be compressed
			}
			return fmt.Sprintf(`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:%x">1</x></D:prop></D:set></D:propertyupdate>`, name)
		}
		w.do("user01", "PROPPATCH", cal, "", set(900)).want(207, "200 OK")
		w.do("user01", "PROPPATCH", cal, "", set(6000)).want(207, "507 ")
	})
}

// RFC 4791 §5.2.6, §5.2.7: dates that no calendar has are refused with their
// precondition. The rules of a time zone may begin in 1601, as Windows writes them.
func TestDateLimits(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		for _, c := range []struct{ name, body, cond string }{
			{"too early", event("d", "x", "18991231T235959Z"), "min-date-time"},
			{"a day too early", event("d", "x", "20260105T100000Z", "RDATE;VALUE=DATE:18000101"), "min-date-time"},
			{"too late", event("d", "x", "22000101T000001Z"), "max-date-time"},
			{"override too late", strings.Replace(event("d", "x", "20260105T100000Z", "RRULE:FREQ=DAILY"), "END:VCALENDAR",
				"BEGIN:VEVENT\r\nUID:d\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID:20260106T100000Z\r\nDTSTART:99990101T100000Z\r\nEND:VEVENT\r\nEND:VCALENDAR", 1), "max-date-time"},
		} {
			if a := w.do("user01", "PUT", cal+"d.ics", "", c.body).want(403); !strings.Contains(a.text, "<C:"+c.cond+"/>") {
				t.Errorf("%s: %s", c.name, a.text)
			}
			w.do("user01", "GET", cal+"d.ics", "", "").want(404)
		}
		w.do("user01", "PUT", cal+"first.ics", "", event("first", "x", "19000101T000000Z", "RRULE:FREQ=YEARLY")).want(201)
		zone := "BEGIN:VTIMEZONE\r\nTZID:Own\r\nBEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT"
		zoned := strings.Replace(strings.Replace(event("zone", "x", "20260105T100000"), "BEGIN:VEVENT", zone, 1), "DTSTART:2026", "DTSTART;TZID=Own:2026", 1)
		w.do("user01", "PUT", cal+"zone.ics", "", zoned).want(201)
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<C:min-date-time/><C:max-date-time/>")).want(207, ">19000101T000000Z<", ">22000101T000000Z<")
		// Queries beyond are answered for what can be there.
		if got := w.do("user01", "REPORT", cal, "Depth: 1", calendarQuery("", `><C:comp-filter name="VEVENT"><C:time-range start="18000101T000000Z" end="19000102T000000Z"/></C:comp-filter>`, "")).want(207).hrefs(); len(got) != 1 {
			t.Errorf("a query that begins in 1800: %v", got)
		}
		for span, want := range map[string]int{`start="00010101T000000Z" end="19000102T000000Z"`: 1, `start="00010101T000000Z"`: 2, `end="00010101T000000Z"`: 0, `start="21991231T000000Z" end="99991231T235959Z"`: 0} {
			q := `<C:comp-filter name="VEVENT"><C:time-range ` + span + `/><C:prop-filter name="RRULE"><C:is-not-defined/></C:prop-filter></C:comp-filter>`
			if want != 0 && !strings.Contains(span, "end") || want == 1 {
				q = `<C:comp-filter name="VEVENT"><C:time-range ` + span + `/></C:comp-filter>`
			}
			if got := w.do("user01", "REPORT", cal, "Depth: 1", calendarQuery("", `>`+q, "")).want(207).hrefs(); len(got) != want {
				t.Errorf("%s: %v", span, got)
			}
		}
	})
}

// A22: whom the directory policy hides is not there for others: in searches, in lists,
// at the address of his principal and in what is open by default; the answers are the
// same as for somebody who does not exist. Rights that were given hold.
func TestDirectoryPolicy(t *testing.T) {
	t.Parallel()
	for policy, sees := range map[caldav.Directory]string{caldav.DirectoryAll: "user02 other", caldav.DirectoryDomain: "user02", caldav.DirectoryNone: ""} {
		for _, e := range storagetest.Engines(t) {
			t.Run(string(policy)+"/"+string(e), func(t *testing.T) {
				t.Parallel()
				testDirectory(t, newWorldWith(t, storagetest.Open(t, e), func(c *caldav.Config) { c.Directory = policy }), sees)
			})
		}
	}
}

func testDirectory(t *testing.T, w *world, sees string) {
	if _, err := w.db.CreateAccount(context.Background(), storage.Account{Handle: "other", Kind: storage.KindUser, DisplayName: "User Other", Emails: []string{"other@example.org"}, Verifier: "x"}); err != nil {
		t.Fatal(err)
	}
	search := `<D:principal-property-search xmlns:D="DAV:"><D:property-search><D:prop><D:displayname/></D:prop><D:match>User</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>`
	words := `<CS:calendarserver-principal-search xmlns:D="DAV:" xmlns:CS="http://calendarserver.org/ns/" context="attendee"><CS:search-token>user</CS:search-token><D:prop><D:displayname/></D:prop></CS:calendarserver-principal-search>`
	busy := `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260201T000000Z"/></C:free-busy-query>`
	for _, name := range []string{"user02", "other"} {
		principal := "/dav/principals/users/" + name + "/"
		shown := strings.Contains(sees, name)
		for what, a := range map[string]answer{
			"search":  w.do("user01", "REPORT", "/dav/principals/", "Depth: 0", search).want(207),
			"words":   w.do("user01", "REPORT", "/dav/principals/", "Depth: 0", words).want(207),
			"listing": w.do("user01", "PROPFIND", "/dav/principals/users/", "Depth: 1", propfind("<D:displayname/>")).want(207),
			"page":    w.do("user01", "GET", "/dav/principals/users/", "", "").want(200),
		} {
			if strings.Contains(a.text, principal) != shown {
				t.Errorf("%s: %s is shown: %v", what, name, !shown)
			}
		}
		same := func(method, path, ghost, body string) {
			t.Helper()
			a, b := w.do("user01", method, path, "Depth: 0", body), w.do("user01", method, ghost, "Depth: 0", body)
			hide := strings.NewReplacer(name, "X", "nobody", "X")
			if equal := a.StatusCode == b.StatusCode && hide.Replace(a.text) == hide.Replace(b.text); equal == shown {
				t.Errorf("%s %s: %d %s\nas for nobody: %d %s", method, path, a.StatusCode, a.text, b.StatusCode, b.text)
			}
		}
		same("PROPFIND", principal, "/dav/principals/users/nobody/", propfind("<D:displayname/>"))
		same("REPORT", "/dav/calendars/"+name+"/calendar/", "/dav/calendars/nobody/calendar/", busy)
		if !shown {
			same("GET", "/dav/calendars/"+name+"/", "/dav/calendars/nobody/", "")
		}
		same("GET", "/dav/calendars/"+name+"/freebusy/", "/dav/calendars/nobody/freebusy/", "")
		same("PROPFIND", principal+"calendar-proxy-read/", "/dav/principals/users/nobody/calendar-proxy-read/", propfind("<D:group-member-set/>"))
	}
	// The outbox says of whom one does not find what it says of nobody.
	ask := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nDTEND:20260201T000000Z\r\nORGANIZER:mailto:user01@example.com\r\n"
	for _, name := range []string{"user02@example.com", "other@example.org", "user01@example.com"} {
		a := w.do("user01", "POST", "/dav/calendars/user01/outbox/", "Content-Type: text/calendar", ask+"ATTENDEE:mailto:"+name+"\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n").want(200)
		handle, _, _ := strings.Cut(name, "@")
		shown := strings.Contains(sees, handle) || handle == "user01"
		if strings.Contains(a.text, "2.0;") != shown || strings.Contains(a.text, "BEGIN:VFREEBUSY") != shown {
			t.Errorf("the outbox, of %s: %s", name, a.text)
		}
	}
	w.do("user02", "ACL", "/dav/calendars/user02/calendar/", "", `<D:acl xmlns:D="DAV:"/>`).want(200)
}

// A22: whoever reads out the directory by searches is slowed down, and others are not.
func TestSearchesAreSlowed(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			testSlowed(t, storagetest.Open(t, e))
		})
	}
}

func testSlowed(t *testing.T, db *storage.DB) {
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	w := newWorldWith(t, db, func(c *caldav.Config) { c.Now = func() time.Time { return now } })
	search := `<D:principal-property-search xmlns:D="DAV:"><D:property-search><D:prop><D:displayname/></D:prop><D:match>User</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>`
	ask := func(user string) int {
		return w.do(user, "REPORT", "/dav/principals/", "Depth: 0", search).StatusCode
	}
	n := 0
	for n < 1000 && ask("user01") == 207 {
		n++
	}
	if n != 120 {
		t.Errorf("%d searches at once are answered", n)
	}
	if a := w.do("user01", "PROPFIND", "/dav/principals/users/", "Depth: 1", propfind("<D:displayname/>")).want(429); a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	w.do("user01", "GET", "/dav/principals/users/", "", "").want(429)
	fb := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nDTEND:20260201T000000Z\r\nORGANIZER:mailto:user01@example.com\r\nATTENDEE:mailto:nobody@example.com\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
	w.do("user01", "POST", "/dav/calendars/user01/outbox/", "Content-Type: text/calendar", fb).want(429)
	w.do("user01", "POST", "/dav/calendars/user01/outbox/", "Content-Type: text/calendar", strings.Replace(fb, "nobody", "user02", 1)).want(200)
	if got := ask("user02"); got != 207 {
		t.Errorf("somebody else: %d", got)
	}
	w.do("user01", "PROPFIND", "/dav/principals/users/user02/", "Depth: 0", propfind("<D:displayname/>")).want(207) // no search
	now = now.Add(3 * time.Second)
	for i, want := range []int{207, 207, 207, 429} {
		if got := ask("user01"); got != want {
			t.Errorf("search %d after three seconds: %d", i, got)
		}
	}
}

// A question about many people is refused by their number, which takes no longer
// than reading it.
func TestManyAsked(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ask := func(n int, more string) answer {
			var b strings.Builder
			b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:q\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260105T000000Z\r\nDTEND:20260106T000000Z\r\nORGANIZER:mailto:user01@example.com\r\n")
			for i := range n {
				fmt.Fprintf(&b, "ATTENDEE:mailto:u%d@example.com\r\n", i)
			}
			return w.do("user01", "POST", "/dav/calendars/user01/outbox/", "Content-Type: text/calendar", b.String()+more+"END:VFREEBUSY\r\nEND:VCALENDAR\r\n")
		}
		ask(20000, "").want(403, "max-attendees-per-instance")
		again := ask(3, strings.Repeat("ATTENDEE:MAILTO:U1@example.com\r\nATTENDEE:not an address\r\n", 15000)).want(200)
		if n := strings.Count(again.text, "<C:recipient>"); n != 4 {
			t.Errorf("%d answers for 4 addresses", n)
		}
	})
}
