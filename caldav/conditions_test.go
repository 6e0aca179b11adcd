package caldav_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// RFC 4918 §10.4, RFC 6578 §5, abuse A17: a request does nothing when its If header
// does not hold, whatever it speaks of.
func TestIfHeader(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const home, other = "/dav/calendars/user01/", "/dav/calendars/user02/calendar/"
		put := func(path, text string) string {
			t.Helper()
			return w.do(strings.Split(path, "/")[3], "PUT", path, "", text).Header.Get("ETag")
		}
		tag, second := put(cal+"a.ics", event("a", "x", "20260101T000000Z")), put(cal+"b.ics", event("b", "x", "20260101T000000Z"))
		foreign := put(other+"c.ics", event("c", "x", "20260101T000000Z"))
		tokens := func() (calendar, all string) {
			a := w.do("user01", "PROPFIND", home, "Depth: 0", propfind("<D:sync-token/>")).want(207, "<D:sync-token>")
			_, all, _ = strings.Cut(a.text, "<D:sync-token>")
			all, _, _ = strings.Cut(all, "<")
			return w.do("user01", "REPORT", cal, "", syncBody("", "")).token(), all
		}
		sync, homeSync := tokens()
		url := func(p string) string { return "<" + w.srv.URL + p + "> " }

		for _, c := range []struct {
			value  string
			status int
		}{
			{"([" + tag + "])", 204},
			{`(["other"])`, 412},
			{`(["other"]) ([` + tag + `])`, 204},
			{"([W/" + tag + "])", 412},
			{"(<DAV:no-lock>)", 412},
			{"(Not <DAV:no-lock>)", 204},
			{"(not <urn:uuid:1> [" + tag + "])", 204},
			{"(Not [" + tag + "])", 412},
			{`(<urn:uuid:1> [` + tag + `]) (Not <DAV:no-lock> ["other"])`, 412},
			{url(cal+"a.ics") + "([" + tag + "])", 204},
			{"<" + cal + "a%2Eics>([" + tag + "])", 204},
			{url(cal+"b.ics") + "([" + second + "])", 204},
			{url(cal+"b.ics") + "([" + tag + "])", 412},
			{url(cal) + "(<SYNC>)", 204},
			{url(cal) + "(<SYNC0>)", 412},
			{url(home) + "(<HOME>)", 204},
			{"(<SYNC>)", 412}, // of the calendar, not of the object
			// What is not here, or not for this user, has no state.
			{"<http://elsewhere.test" + cal + "a.ics> ([" + tag + "])", 412},
			{url(other+"c.ics") + "([" + foreign + "])", 412},
			{url(other+"c.ics") + "(Not [" + foreign + "])", 204},
			{url(other+"nothing.ics") + "(Not [" + foreign + "])", 204},
			{url(cal+"../a.ics") + "([" + tag + "])", 412},
			// No such header.
			{"garbage", 400},
			{"()", 400},
			{"([" + tag + "]", 400},
			{"(" + tag + ")", 400},
			{"(Not)", 400},
			{"<" + cal + ">", 400},
			{"(<>)", 400},
			{"([" + tag + "]) " + url(cal) + "(<SYNC>)", 400},
			{strings.Repeat("(", 1000), 400},
		} {
			got := w.do("user01", "PUT", cal+"a.ics", "If: "+strings.NewReplacer("SYNC", sync, "HOME", homeSync).Replace(c.value), event("a", "x", "20260101T000000Z"))
			if got.StatusCode != c.status {
				t.Errorf("If: %s: %d, want %d: %s", c.value, got.StatusCode, c.status, got.text)
			}
			sync, homeSync = tokens() // the octets and with them the tag are the same, the tokens may be others
		}

		// Every method, and nothing is done.
		fail := `If: (["other"])`
		w.do("user01", "MKCALENDAR", home+"spare/", "", "").want(201)
		name := `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>new</D:displayname></D:prop></D:set></D:propertyupdate>`
		dest := "Destination: " + w.srv.URL
		w.do("user01", "DELETE", cal+"a.ics", fail, "").want(412)
		w.do("user01", "GET", cal+"a.ics", fail, "").want(412)
		w.do("user01", "PROPFIND", cal, fail+"\nDepth: 0", "").want(412)
		w.do("user01", "MOVE", cal+"a.ics", fail+"\n"+dest+home+"spare/a.ics", "").want(412)
		w.do("user01", "COPY", cal+"a.ics", fail+"\n"+dest+home+"spare/a.ics", "").want(412)
		w.do("user01", "PROPPATCH", cal, fail, name).want(412)
		w.do("user01", "DELETE", home+"spare/", fail, "").want(412)
		w.do("user01", "MKCALENDAR", home+"more/", fail, "").want(412)
		w.do("user01", "POST", cal+"?action=add-member", fail, event("p", "x", "20260101T000000Z")).want(412)
		w.do("user01", "ACL", cal, fail, `<D:acl xmlns:D="DAV:"/>`).want(412)
		w.do("user01", "PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(207, "spare").lacks("new", "more")
		w.do("user02", "PUT", cal+"a.ics", "If: (Not <DAV:no-lock>)", event("a", "x", "20260101T000000Z")).want(403)

		// RFC 6578 §5: the calendar as it was, and no more after one change.
		now := w.do("user01", "REPORT", cal, "", syncBody("", "")).token()
		cond := "If: " + url(cal) + "(<" + now + ">)"
		w.do("user01", "PUT", cal+"n.ics", cond, event("n", "x", "20260101T000000Z")).want(201)
		w.do("user01", "PUT", cal+"o.ics", cond, event("o", "x", "20260101T000000Z")).want(412)

		// One header does not read the whole server.
		var many strings.Builder
		for i := range 50 {
			fmt.Fprintf(&many, "<%s%d.ics> ([\"x\"]) ", cal, i)
		}
		w.do("user01", "PUT", cal+"a.ics", "If: "+many.String(), event("a", "x", "20260101T000000Z")).want(400)
	})
}

// Who saw the same state is one winner, by the If header as by If-Match.
func TestIfHeaderRace(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		tag := w.do("user01", "PUT", cal+"r.ics", "", event("r", "x", "20260101T000000Z")).want(201).Header.Get("ETag")
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				switch a := w.do("user01", "PUT", cal+"r.ics", "If: (["+tag+"])", event("r", fmt.Sprint("by ", i), "20260101T000000Z")); a.StatusCode {
				case 204:
					won.Add(1)
				case 412:
				default:
					t.Errorf("%d: %s", a.StatusCode, a.text)
				}
			})
		}
		if wg.Wait(); won.Load() != 1 {
			t.Errorf("%d of them won", won.Load())
		}
	})
}

// RFC 9110 §13.1: conditions hold for calendars and their properties as well, and
// between homes; If-Unmodified-Since is heard where If-Match is not given.
func TestConditionsOfEverything(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const spare = "/dav/calendars/user01/spare/"
		w.do("user01", "MKCALENDAR", spare, "", "").want(201)
		tag := w.do("user01", "GET", spare, "", "").Header.Get("ETag")
		name := `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>new</D:displayname></D:prop></D:set></D:propertyupdate>`
		w.do("user01", "PROPPATCH", spare, `If-Match: "old"`, name).want(412)
		w.do("user01", "ACL", spare, "If-None-Match: *", `<D:acl xmlns:D="DAV:"/>`).want(412)
		w.do("user01", "DELETE", spare, `If-Match: "old"`, "").want(412)
		w.do("user01", "PROPPATCH", spare, "If-Match: "+tag, name).want(207, "200 OK")
		w.do("user01", "PUT", spare+"s.ics", "", event("s", "x", "20260101T000000Z")).want(201)
		w.do("user01", "DELETE", spare, "If-Match: "+tag, "").want(412)
		w.do("user01", "DELETE", spare, "If-Match: *", "").want(204)

		w.do("user01", "PUT", cal+"a.ics", "", event("a", "x", "20260101T000000Z")).want(201)
		past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: "+past, event("a", "y", "20260101T000000Z")).want(412)
		w.do("user01", "DELETE", cal+"a.ics", "If-Unmodified-Since: "+past, "").want(412)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: "+future, event("a", "y", "20260101T000000Z")).want(204)
		w.do("user01", "PUT", cal+"a.ics", "If-Unmodified-Since: yesterday", event("a", "z", "20260101T000000Z")).want(204)
		w.do("user01", "PUT", cal+"a.ics", "If-Match: *\nIf-Unmodified-Since: "+past, event("a", "z", "20260101T000000Z")).want(204)

		// Want 37: who makes what is there already is told where.
		w.do("user01", "PUT", cal+"a.ics", "If-None-Match: *", event("a", "q", "20260101T000000Z")).want(412, "<C:no-uid-conflict><D:href>"+cal+"a.ics</D:href>")

		// A MOVE into another home is no way around a condition.
		const theirs = "/dav/calendars/user02/calendar/"
		w.do("user02", "ACL", theirs, "", `<D:acl xmlns:D="DAV:"><D:ace><D:principal><D:href>/dav/principals/users/user01/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege><D:privilege><D:write/></D:privilege></D:grant></D:ace></D:acl>`).want(200)
		w.do("user01", "MOVE", cal+"a.ics", "If-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "MOVE", cal+"a.ics", "If-Schedule-Tag-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "COPY", cal+"a.ics", "If-Match: \"old\"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(412)
		w.do("user01", "GET", theirs+"a.ics", "", "").want(404)
		now := w.do("user01", "HEAD", cal+"a.ics", "", "").want(200).Header.Get("ETag")
		w.do("user01", "MOVE", cal+"a.ics", "If-Match: "+now+"\nDestination: "+w.srv.URL+theirs+"a.ics", "").want(201)
		w.do("user01", "GET", cal+"a.ics", "", "").want(404)
		w.do("user02", "GET", theirs+"a.ics", "", "").want(200, "SUMMARY:z")
	})
}
